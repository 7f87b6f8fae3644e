//! `cargo xtask crash`: the broker is killed again and again, and every acknowledged message is accounted for.
//!
//! The program is in `tests/crash`. It prints a line for each campaign, and what went wrong.

use std::path::Path;
use std::process::Command;

use crate::program;
use crate::serving;
use crate::test::Counts;

/// Kills the broker as often as the options say.
pub(crate) fn run(options: &[&str]) -> Result<(), String> {
    let broker = serving::build_quelea(PROFILE)?;
    program::run(crash(&broker)?.args(options))
}

/// Kills the broker some dozens of times, after two runs that show that the checker is awake.
pub(crate) fn count() -> Result<Counts, String> {
    let broker = serving::build_quelea(PROFILE)?;
    let mut counts = Counts::default();
    for options in
        [&["--forgetful", "--kills", "2"][..], &["--power-cut", "--kills", "4"], &["--kills", "45"]]
    {
        match program::run(crash(&broker)?.args(options)) {
            Ok(()) => counts.passed += 1,
            Err(why) => {
                println!("not ok - {why}");
                counts.failed += 1;
            }
        }
    }
    Ok(counts)
}

fn crash(broker: &Path) -> Result<Command, String> {
    program::run(program::cargo().args(["build", "--quiet", "--package", "quelea-crash"]))?;
    let mut command = Command::new(program::target_directory().join("debug/crash"));
    command.arg("--broker").arg(broker);
    Ok(command)
}

/// With assertions.
const PROFILE: &str = "dev";
