//! Progress and cancellation of long work.

use crate::error::{Error, Result};

/// Receives the progress of long work and may stop it. Methods are called from one thread at a time.
pub trait Progress: Send + Sync {
    /// A stage of `total` steps begins (0: not known).
    fn begin(&self, _stage: &str, _total: u64) {}
    /// `done` steps of the stage are finished; `note` is a short figure for the reader, possibly empty.
    fn advance(&self, _done: u64, _note: &str) {}
    /// The stage is over.
    fn end(&self) {}
    /// True asks the work to stop at the next step with [`Error::Cancelled`].
    fn cancelled(&self) -> bool {
        false
    }
}

/// Says nothing and never cancels.
pub struct Silent;

impl Progress for Silent {}

/// `Err(Cancelled)` if the caller asked to stop.
pub fn check(progress: &dyn Progress) -> Result<()> {
    if progress.cancelled() {
        Err(Error::Cancelled)
    } else {
        Ok(())
    }
}
