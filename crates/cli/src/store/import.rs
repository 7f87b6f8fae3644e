//! `quelea store import`: a log made of what an export has printed.

use std::io::{self, BufRead, Read};
use std::path::Path;

use quelea_store::{RealDisk, Writer};

use super::line::{Line, VERSION};
use super::tally::Tally;
use super::{create, verify};
use crate::failure::Failure;
use crate::print;

/// Runs `quelea store import`.
pub(super) fn run(dir: &Path) -> Result<(), Failure> {
    let mut lines = Lines { input: io::stdin().lock(), text: Vec::new(), number: 0 };
    // Before anything is made: a wrong file is a common mistake.
    lines.begin()?;
    let mut writer = create(dir)?;
    let tally = read_all(&mut lines, &mut writer)?;
    writer.finish()?;
    verify(dir, &tally)?;
    print::to_stdout(&format!("made in {}: {tally}\n", dir.display()))
}

fn read_all(
    lines: &mut Lines<impl BufRead>,
    writer: &mut Writer<RealDisk>,
) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    let mut count = 0;
    loop {
        match lines.next()? {
            Some(Line::End { items }) if items == count => return Ok(tally),
            Some(Line::End { items }) => {
                return Err(
                    lines.failure(&format!("there should be {items} items, and there are {count}"))
                );
            }
            Some(line) => {
                count += 1;
                let item = line.into_item().map_err(|what| lines.failure(&what))?;
                tally.add(&item);
                writer.put(&item)?;
            }
            None => return Err(lines.failure("the export ends here and is not complete")),
        }
    }
}

/// The lines of an export.
struct Lines<R> {
    input: R,
    text: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    fn begin(&mut self) -> Result<(), Failure> {
        match self.next() {
            Ok(Some(Line::Quelea { export: VERSION })) => Ok(()),
            Ok(Some(Line::Quelea { export })) => Err(self.failure(&format!(
                "it is an export of version {export}, which this version of quelea does not understand: it knows \
                 {VERSION}"
            ))),
            Ok(_) | Err(_) => Err(self.failure("this is no export of `quelea store export`")),
        }
    }

    fn next(&mut self) -> Result<Option<Line>, Failure> {
        self.text.clear();
        self.number += 1;
        let read = (&mut self.input).take(LINE_BYTES_MAX).read_until(b'\n', &mut self.text);
        read.map_err(|error| Failure::new(format!("cannot read standard input: {error}")))?;
        if self.text.is_empty() {
            return Ok(None);
        }
        if self.text.last() != Some(&b'\n') && self.text.len() as u64 == LINE_BYTES_MAX {
            return Err(self.failure("it is too long to be a line of an export"));
        }
        serde_json::from_slice(&self.text)
            .map(Some)
            .map_err(|error| self.failure(&error.to_string()))
    }

    fn failure(&self, what: &str) -> Failure {
        Failure::new(format!("standard input, line {}: {what}", self.number))
    }
}

/// A message can have 256 MiB, and most of them as Base64.
const LINE_BYTES_MAX: u64 = 1 << 30;
