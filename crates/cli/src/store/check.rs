//! `quelea store check`: is the log what was written?

use std::fmt::Write;
use std::path::Path;

use quelea_store::{OpenError, Strictness};

use super::{count, open, read};
use crate::failure::Failure;
use crate::print;

/// Runs `quelea store check`.
pub(super) fn run(dir: &Path) -> Result<(), Failure> {
    let damaged = matches!(open(dir, Strictness::Whole)?, Err(OpenError::Corrupt { .. }));
    let strictness = if damaged { Strictness::Salvage } else { Strictness::Whole };
    let contents = read(dir, strictness)?;
    let mut losses = contents.losses().to_vec();
    let tally = count(&contents, &mut losses)?;
    let report = contents.report();
    let mut text = format!(
        "{} segments, {} frames, {} bytes\n{tally}\n",
        report.segments, report.frames, report.bytes
    );
    if let Some((file, bytes)) = &report.cut {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "the last {bytes} bytes of {file} were not written completely; nothing of them was promised to anybody, \
             and the broker will cut them off"
        );
    }
    if losses.is_empty() {
        text.push_str("nothing is damaged\n");
        return print::to_stdout(&text);
    }
    print::to_stdout(&text)?;
    let list: String = losses.iter().map(|it| format!("\n  {it}")).collect();
    Err(Failure::new(format!(
        "the log is damaged:{list}\nRestore the directory from a backup, or copy what can be read with `quelea store \
         salvage`"
    )))
}
