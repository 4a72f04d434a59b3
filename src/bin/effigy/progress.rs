//! Progress for people: bars with the time left on a terminal, plain lines elsewhere, nothing when quiet.
//!
//! Input: the library's [`Progress`] calls. Output: standard error; standard output is for results. Ctrl-C sets a flag that the library
//! asks for between steps.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use effigy::progress::Progress;
use effigy::{Error, Result};
use indicatif::{ProgressBar, ProgressStyle};

/// Set by Ctrl-C. A process has one terminal, hence one flag.
static CANCELLED: AtomicBool = AtomicBool::new(false);

/// Time between two plain lines of one stage.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// True after Ctrl-C.
pub fn cancelled() -> bool {
    CANCELLED.load(Ordering::Relaxed)
}

/// Makes Ctrl-C (and a request to terminate) set the flag; a second one ends the process at once.
pub fn catch_interrupts() -> Result<()> {
    ctrlc::set_handler(|| {
        if CANCELLED.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(crate::exit::CANCELLED));
        }
    })
    .map_err(|e| Error::Device(format!("cannot catch Ctrl-C: {e}")))
}

#[derive(Clone, Copy, PartialEq)]
enum Style {
    Bars,
    Lines,
    Quiet,
}

struct Stage {
    name: String,
    total: u64,
    begun: Instant,
    spoke: Instant,
    bar: Option<ProgressBar>,
}

/// Shows progress in the way that fits where standard error goes.
pub struct Reporter {
    style: Style,
    stage: Mutex<Option<Stage>>,
}

impl Reporter {
    /// Bars on a terminal, lines otherwise, nothing when `quiet`.
    pub fn new(quiet: bool) -> Self {
        let style = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Style::Quiet,
            (false, true) => Style::Bars,
            (false, false) => Style::Lines,
        };
        Reporter { style, stage: Mutex::new(None) }
    }

    /// A line about what was done, unless quiet.
    pub fn say(&self, line: &str) {
        if self.style != Style::Quiet {
            eprintln!("{line}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Stage>> {
        // A panic elsewhere leaves at worst an unfinished bar.
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `12 s`, `3 min 20 s`, `2 h 05 min`.
pub fn duration(time: Duration) -> String {
    match time.as_secs() {
        0..=9 => format!("{:.1} s", time.as_secs_f64()),
        s @ 10..=59 => format!("{s} s"),
        s @ 60..=3599 => format!("{} min {:02} s", s / 60, s % 60),
        s => format!("{} h {:02} min", s / 3600, s % 3600 / 60),
    }
}

fn bar(stage: &str, total: u64) -> ProgressBar {
    let known = "{prefix:24} [{bar:30}] {pos}/{len}  {eta} left  {msg}";
    let unknown = "{prefix:24} {spinner} {pos}  {elapsed}  {msg}";
    let bar = if total > 0 { ProgressBar::new(total) } else { ProgressBar::new_spinner() };
    let template = if total > 0 { known } else { unknown };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(stage.to_string());
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// Says nothing of what it is given, but stops when the user asks.
#[cfg(feature = "encode")]
pub struct Muted<'a>(pub &'a Reporter);

#[cfg(feature = "encode")]
impl Progress for Muted<'_> {
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}

impl Progress for Reporter {
    fn begin(&self, stage: &str, total: u64) {
        self.end();
        let now = Instant::now();
        let bar = (self.style == Style::Bars).then(|| bar(stage, total));
        *self.lock() = Some(Stage { name: stage.to_string(), total, begun: now, spoke: now, bar });
    }

    fn advance(&self, done: u64, note: &str) {
        let mut guard = self.lock();
        let Some(stage) = guard.as_mut() else { return };
        if let Some(bar) = &stage.bar {
            bar.set_position(done);
            bar.set_message(note.to_string());
        } else if self.style == Style::Lines && stage.spoke.elapsed() >= LINE_EVERY {
            stage.spoke = Instant::now();
            eprintln!("{}", plain_line(stage, done, note));
        }
    }

    fn end(&self) {
        let Some(stage) = self.lock().take() else { return };
        if let Some(bar) = stage.bar {
            bar.finish_and_clear();
        }
        if self.style != Style::Quiet && !cancelled() {
            eprintln!("{}: {}", stage.name, duration(stage.begun.elapsed()));
        }
    }

    fn cancelled(&self) -> bool {
        cancelled()
    }
}

/// `stage 120/354, 2 min 03 s left, note`.
fn plain_line(stage: &Stage, done: u64, note: &str) -> String {
    let mut line = format!("{} {done}", stage.name);
    if stage.total > 0 {
        line.push_str(&format!("/{}", stage.total));
    }
    if done > 0 && stage.total > done {
        let left = stage.begun.elapsed().mul_f64((stage.total - done) as f64 / done as f64);
        line.push_str(&format!(", {} left", duration(left)));
    }
    if !note.is_empty() {
        line.push_str(&format!(", {note}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_like_a_clock() {
        assert_eq!(duration(Duration::from_millis(1234)), "1.2 s");
        assert_eq!(duration(Duration::from_secs(42)), "42 s");
        assert_eq!(duration(Duration::from_secs(200)), "3 min 20 s");
        assert_eq!(duration(Duration::from_secs(7500)), "2 h 05 min");
    }

    #[test]
    fn a_plain_line_estimates_the_time_left() {
        let begun = Instant::now() - Duration::from_secs(100);
        let stage = Stage { name: "pose".into(), total: 40, begun, spoke: begun, bar: None };
        assert_eq!(plain_line(&stage, 10, "loss 0.5"), "pose 10/40, 5 min 00 s left, loss 0.5");
        assert_eq!(plain_line(&stage, 40, ""), "pose 40/40");
    }
}
