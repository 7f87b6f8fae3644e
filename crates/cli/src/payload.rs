//! The one message that `pub` and `rr` send, from wherever it is.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::failure::Failure;

/// The flags that name a message.
#[derive(Clone, Debug, Args)]
pub(crate) struct PayloadArgs {
    /// The message.
    #[arg(short, long, group = "source", allow_hyphen_values = true)]
    message: Option<String>,

    /// Sends the content of a file; - is standard input.
    #[arg(short, long, value_name = "FILE", group = "source")]
    file: Option<PathBuf>,

    /// Sends all of standard input as one message.
    #[arg(short = 's', long, group = "source")]
    stdin_file: bool,

    /// Sends an empty message; with -r, this removes the retained one.
    #[arg(short, long, group = "source")]
    null_message: bool,
}

impl PayloadArgs {
    /// Reads the message; nothing if no flag names one.
    pub(crate) fn read(&self) -> Result<Option<Vec<u8>>, Failure> {
        let mut whole = Vec::new();
        let reads_stdin = self.stdin_file || self.file.as_deref() == Some(Path::new("-"));
        if let Some(message) = &self.message {
            whole.extend_from_slice(message.as_bytes());
        } else if reads_stdin {
            io::stdin().read_to_end(&mut whole).map_err(stdin_failed)?;
        } else if let Some(file) = &self.file {
            whole = fs::read(file).map_err(|error| {
                Failure::new(format!("cannot read {}: {error}", file.display()))
            })?;
        } else if !self.null_message {
            return Ok(None);
        }
        Ok(Some(whole))
    }
}

/// The failure of who cannot read standard input.
pub(crate) fn stdin_failed(error: io::Error) -> Failure {
    Failure::new(format!("cannot read standard input: {error}"))
}
