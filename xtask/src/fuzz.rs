//! `cargo xtask fuzz`: cargo-fuzz on one target.

use std::fs;
use std::process::Command;

use crate::program;

/// Runs the fuzz target `target` for `seconds`, and stops at its first finding.
pub(crate) fn run(target: &str, seconds: &str) -> Result<(), String> {
    let seconds: u32 =
        seconds.parse().map_err(|_| format!("{seconds}: not a number of seconds"))?;
    for (needed, how) in [
        (["run", "nightly", "rustc", "--version"], "rustup toolchain install nightly"),
        (["run", "nightly", "cargo-fuzz", "--version"], "cargo install cargo-fuzz"),
    ] {
        if program::output(Command::new("rustup").args(needed)).is_err() {
            return Err(format!("fuzzing needs `{how}`"));
        }
    }
    // What the search keeps goes below `target/`; the corpus in the repository is where it starts, too.
    let kept = program::target_directory().join("fuzz").join(target);
    fs::create_dir_all(&kept).map_err(|error| format!("{}: {error}", kept.display()))?;
    let mut command = Command::new("rustup");
    // The variables of the cargo that runs us name its own toolchain.
    command.env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
    command.args(["run", "nightly", "cargo", "fuzz", "run", "--features", "libfuzzer", target]);
    command.arg(kept).arg(format!("fuzz/corpus/{target}"));
    command.args(["--", &format!("-max_total_time={seconds}")]);
    program::run(&mut command)
}

/// How long a target runs when nothing is said.
pub(crate) const SECONDS_DEFAULT: &str = "60";
