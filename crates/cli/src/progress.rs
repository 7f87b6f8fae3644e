//! The line on standard error that says how far a run is, when someone is watching.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// A line that is written over itself.
#[derive(Debug)]
pub(crate) struct Progress {
    is_shown: bool,
    last: Option<Instant>,
}

impl Progress {
    /// Returns the line, which shows nothing if `is_quiet` or if standard error is no terminal.
    pub(crate) fn new(is_quiet: bool) -> Self {
        Self { is_shown: !is_quiet && io::stderr().is_terminal(), last: None }
    }

    /// Shows `text`, if the last one has been there for long enough to be read.
    pub(crate) fn show(&mut self, text: impl Display) {
        let is_fresh = self.last.is_some_and(|it| it.elapsed() < SHOWN_FOR);
        if !self.is_shown || is_fresh {
            return;
        }
        self.last = Some(Instant::now());
        // A terminal that takes nothing is no reason to end a run.
        let _ = write!(io::stderr(), "\r\x1b[K{text}");
    }
}

impl Drop for Progress {
    /// Leaves the line empty for what comes next.
    fn drop(&mut self) {
        if self.is_shown && self.last.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

const SHOWN_FOR: Duration = Duration::from_millis(200);
