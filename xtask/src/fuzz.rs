//! `cargo xtask fuzz`: cargo-fuzz on one target.

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
    program::run(
        // The variables of the cargo that runs us name its own toolchain.
        Command::new("rustup").env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN").args([
            "run",
            "nightly",
            "cargo",
            "fuzz",
            "run",
            target,
            "--",
            &format!("-max_total_time={seconds}"),
        ]),
    )
}

/// How long a target runs when nothing is said.
pub(crate) const SECONDS_DEFAULT: &str = "60";
