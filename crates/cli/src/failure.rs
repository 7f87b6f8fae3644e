//! Why a command ends without having done its work.

use std::fmt::{self, Display};
use std::process::ExitCode;

/// A reason for failing, and the exit code that says it to scripts.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// The work could not be done.
    pub(crate) fn new(message: impl Display) -> Self {
        Self { message: message.to_string(), code: 1 }
    }

    /// The command line, or the configuration, asks for what cannot be.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self { message: message.to_string(), code: 2 }
    }

    /// Fails with an exit code that users of Mosquitto's clients know.
    pub(crate) fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// Fails without a word.
    pub(crate) fn silenced(self) -> Self {
        Self { message: String::new(), ..self }
    }

    /// Returns whether it is that the time was over.
    pub(crate) fn is_timeout(&self) -> bool {
        self.code == TIMED_OUT
    }

    /// Returns the exit code.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// Says why on standard error, and returns the exit code.
    pub(crate) fn tell(&self) -> ExitCode {
        for line in self.message.lines() {
            crate::print::to_stderr(line);
        }
        ExitCode::from(self.code)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The peer ended the connection without a word.
pub(crate) const CONNECTION_LOST: u8 = 7;

/// A signal ended it before its work was done, as shells say it of SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;

/// The time given by `-W` is over.
pub(crate) const TIMED_OUT: u8 = 27;
