//! `cargo xtask audit`: what others have written, held against `deny.toml` and the newest advisories.
//!
//! It takes a network for the advisories, and some minutes for the first time: it is no part of `cargo xtask test`,
//! which checks licenses, sources and doubles.

use std::path::PathBuf;
use std::process::Command;

use crate::program;

/// Runs cargo-deny; `--offline` leaves the advisories out.
pub(crate) fn run(options: &[&str]) -> Result<(), String> {
    let checks: &[&str] = match options {
        [] => &["advisories", "bans", "licenses", "sources"],
        ["--offline"] => &["bans", "licenses", "sources"],
        _ => return Err("audit takes no option but --offline".to_owned()),
    };
    let program = cargo_deny()?;
    let mut command = Command::new(program);
    command.args(["--workspace", "--locked", "check"]).args(checks);
    program::run(command.current_dir(program::root()))
}

/// Returns cargo-deny, built below `target/` when it is not there.
fn cargo_deny() -> Result<PathBuf, String> {
    let root = program::target_directory().join("tools").join(format!("cargo-deny-{VERSION}"));
    let program = root.join("bin/cargo-deny");
    if !program.exists() {
        println!("building cargo-deny {VERSION}");
        let mut install = program::cargo();
        install.args(["install", "cargo-deny", "--locked", "--quiet", "--version", VERSION]);
        program::run(install.arg("--root").arg(&root))?;
    }
    Ok(program)
}

const VERSION: &str = "0.20.2";
