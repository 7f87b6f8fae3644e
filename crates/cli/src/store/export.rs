//! `quelea store export`: everything in the log as lines of JSON.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;

use quelea_store::{Contents, RealDisk, StoreError, Strictness};

use super::line::Line;
use super::{intact, read};
use crate::failure::Failure;

/// Why an export ends early.
enum Stop {
    /// Nobody reads it any more.
    Unread,
    Failed(Failure),
}

/// Runs `quelea store export`.
pub(super) fn run(dir: &Path) -> Result<(), Failure> {
    let contents = read(dir, Strictness::Whole)?;
    match write_all(&contents, &mut BufWriter::new(io::stdout().lock())) {
        Ok(()) | Err(Stop::Unread) => Ok(()),
        Err(Stop::Failed(failure)) => Err(failure),
    }
}

fn write_all(contents: &Contents<RealDisk>, out: &mut impl Write) -> Result<(), Stop> {
    write(out, &Line::begin())?;
    let mut items = 0;
    contents.for_each(|item| {
        items += 1;
        write(out, &Line::of(&intact(item)?))
    })?;
    write(out, &Line::End { items })?;
    Ok(out.flush()?)
}

fn write(out: &mut impl Write, line: &Line) -> Result<(), Stop> {
    serde_json::to_writer(&mut *out, line).map_err(io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self::Unread,
            _ => Self::Failed(Failure::new(format!("cannot write to standard output: {error}"))),
        }
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}
