//! Printing that survives its reader: `quelea config show | head` is no panic.

use std::io::{self, ErrorKind, Write};

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

/// Tells a reader that has gone from an output that is broken.
pub(crate) fn unless_unread(written: io::Result<()>) -> Result<Reader, Failure> {
    match written {
        Ok(()) => Ok(Reader::Listens),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::HasGone),
        Err(error) => Err(Failure::new(format!("cannot write to standard output: {error}"))),
    }
}
