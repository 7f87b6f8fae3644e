//! `quelea migrate`: makes a `quelea.toml` of a Mosquitto configuration.
//!
//! The result goes to standard output, with the line that each setting comes from. What could not be carried over
//! goes to standard error, with its line and what it means for the broker. Where that would let in somebody who had
//! been kept out, the result keeps everybody out instead.

mod directive;
mod draft;
mod listener;
mod settings;
mod translation;

use std::path::PathBuf;

use clap::Args;

use self::translation::Translation;
use crate::failure::Failure;
use crate::print;

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// The configuration of Mosquitto, such as /etc/mosquitto/mosquitto.conf.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Runs `quelea migrate`.
pub(crate) fn run(args: &MigrateArgs) -> Result<(), Failure> {
    let (directives, notes) = directive::read(&args.file)
        .map_err(|it| Failure::usage(format!("cannot read {}: {it}", args.file.display())))?;
    let result = Translation::of(&directives);
    for note in notes.iter().chain(&result.notes) {
        print::to_stderr(note);
    }
    print::to_stdout(&result.text)
}

#[cfg(test)]
mod tests;
