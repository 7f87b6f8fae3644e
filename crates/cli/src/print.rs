//! Printing that survives its reader: `quelea config show | head` is no panic.

use std::future::pending;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;

use tokio::io::Interest;
use tokio::net::unix::pipe;

use crate::failure::Failure;

/// Prints a command's result. A reader that has read enough is none of our business.
pub(crate) fn to_stdout(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    unless_unread(written).map(|_| ())
}

/// Prints a line for a person. If nobody can read it, there is nobody to tell.
pub(crate) fn to_stderr(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Whether anyone still reads what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    Listens,
    HasGone,
}

/// Learns that the reader of standard output has gone, though nothing is written: `quelea sub … | head -1` is to end even
/// if no more messages come.
pub(crate) struct Departure(Option<pipe::Sender>);

impl Departure {
    /// Begins to watch, within a runtime. A file has no reader that could go.
    pub(crate) fn watch() -> Self {
        let output = io::stdout().as_fd().try_clone_to_owned();
        // Unchecked, it stays a blocking one: what is printed goes into the same pipe.
        Self(output.and_then(pipe::Sender::from_owned_fd_unchecked).ok())
    }

    /// Waits for it, which may be for ever.
    pub(crate) async fn wait(&self) {
        if let Some(output) = &self.0
            && output.ready(Interest::ERROR).await.is_ok()
        {
            return;
        }
        pending().await
    }
}

/// Tells a reader that has gone from an output that is broken.
pub(crate) fn unless_unread(written: io::Result<()>) -> Result<Reader, Failure> {
    match written {
        Ok(()) => Ok(Reader::Listens),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::HasGone),
        Err(error) => Err(Failure::new(format!("cannot write to standard output: {error}"))),
    }
}
