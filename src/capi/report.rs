//! What reaches the C caller while work goes on: progress, which it may stop, and the log. Input: events of the library. Output: calls of
//! the caller's functions.

use std::ffi::{c_char, c_void, CString};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use crate::progress::Progress;
use crate::{Error, Result};

/// Called during long work, from the thread that asked for it: `stage` is a name in English that lives for the call, `done` of
/// `total` steps are finished (0: their number is not known). Return 0 to go on and anything else to stop at the next step.
pub type ProgressFn = Option<extern "C" fn(stage: *const c_char, done: u64, total: u64, user: *mut c_void) -> i32>;

/// Called for each message of the log, from any thread, possibly from several at once: `level` is 1 for errors, 2 for warnings, 3 for
/// information and 4 for details, and `text` lives for the call. Call nothing of this library from it.
pub type LogFn = Option<extern "C" fn(level: i32, text: *const c_char, user: *mut c_void)>;

/// Progress by a C function.
pub(super) struct Teller {
    call: ProgressFn,
    /// The caller's pointer, handed back as it came.
    user: usize,
    stage: Mutex<(CString, u64, u64)>,
    stopped: AtomicBool,
}

impl Teller {
    pub(super) fn new(call: ProgressFn, user: *mut c_void) -> Self {
        Teller { call, user: user as usize, stage: Mutex::default(), stopped: AtomicBool::new(false) }
    }

    fn tell(&self) {
        let stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(call) = self.call {
            if call(stage.0.as_ptr(), stage.1, stage.2, self.user as *mut c_void) != 0 {
                self.stopped.store(true, Ordering::Relaxed);
            }
        }
    }
}

impl Progress for Teller {
    fn begin(&self, stage: &str, total: u64) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = (text(stage), 0, total);
        self.tell();
    }

    fn advance(&self, done: u64, _note: &str) {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner).1 = done;
        self.tell();
    }

    fn cancelled(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

/// A text for C; what stands behind a NUL is lost.
fn text(text: &str) -> CString {
    let end = text.find('\0').unwrap_or(text.len());
    CString::new(&text[..end]).unwrap_or_default()
}

/// The process's log, once a caller wants it.
struct Listener(RwLock<(LogFn, usize)>);

impl log::Log for Listener {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }

    fn log(&self, record: &log::Record) {
        let (call, user) = *self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(call) = call {
            let level = (record.level() as i32).min(4);
            call(level, text(&record.args().to_string()).as_ptr(), user as *mut c_void);
        }
    }

    fn flush(&self) {}
}

/// The log keeps a reference for ever, so this one listener serves all calls.
static LISTENER: Listener = Listener(RwLock::new((None, 0)));
static LISTENING: AtomicBool = AtomicBool::new(false);

/// Sends the log's messages up to `level` (0: none) to `call`, or nowhere.
///
/// # Errors
/// Misuse for another level, or where the process has a log of its own in Rust.
pub(super) fn listen(call: LogFn, user: *mut c_void, level: i32) -> Result<()> {
    let filter = match level {
        0 => log::LevelFilter::Off,
        1 => log::LevelFilter::Error,
        2 => log::LevelFilter::Warn,
        3 => log::LevelFilter::Info,
        4 => log::LevelFilter::Debug,
        n => return Err(Error::Misuse(format!("log level {n}: 0 to 4 are known"))),
    };
    if !LISTENING.swap(true, Ordering::SeqCst) && log::set_logger(&LISTENER).is_err() {
        LISTENING.store(false, Ordering::SeqCst);
        return Err(Error::Misuse("this process has another log already".into()));
    }
    *LISTENER.0.write().unwrap_or_else(PoisonError::into_inner) = (call, user as usize);
    log::set_max_level(if call.is_some() { filter } else { log::LevelFilter::Off });
    Ok(())
}
