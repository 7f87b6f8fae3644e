//! `cargo xtask simulate`: thousands of runs in virtual time.

use std::process::Command;

use crate::program;

/// Runs the simulation with `options`, optimized and with all assertions.
pub(crate) fn run(options: &[&str]) -> Result<(), String> {
    let mut command = program::cargo();
    command.args(["run", "--quiet", "--package", "quelea-simulation", "--profile", "simulation"]);
    command.args(["--bin", "simulate", "--"]).args(options);
    // A failure is reproduced by its seed and this.
    if let Ok(commit) = program::output(Command::new("git").args(["rev-parse", "--short", "HEAD"]))
    {
        command.env("QUELEA_COMMIT", commit.trim());
    }
    program::run(&mut command)
}
