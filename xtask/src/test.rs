//! `cargo xtask test`: everything that must pass before a change lands.
//!
//! Every step runs, also after one has failed, so that one run tells all. The last line is the total.

use std::fmt;
use std::ops::AddAssign;
use std::process::Command;
use std::time::Instant;

use crate::bench::client;
use crate::crash;
use crate::interop;
use crate::program::{self, Next, Program};
use crate::tools;

/// How many tests did what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

/// Runs all steps and fails if one did.
pub(crate) fn run() -> Result<(), String> {
    let mut total = Counts::default();
    let mut report = String::new();
    let mut failures = Vec::new();
    for (name, step) in STEPS {
        println!("\n=== {name} ===");
        let start = Instant::now();
        let (counts, detail) = match step() {
            Ok(counts) if counts == Counts::default() => (counts, "ok".to_owned()),
            Ok(counts) if counts.failed == 0 => (counts, counts.to_string()),
            Ok(counts) => (counts, format!("{counts} <--")),
            Err(why) => {
                println!("{why}");
                (Counts { failed: 1, ..Counts::default() }, "failed <--".to_owned())
            }
        };
        if counts.failed > 0 {
            failures.push(name);
        }
        total += counts;
        report += &format!("{name:<8} {:>7.1} s   {detail}\n", start.elapsed().as_secs_f64());
    }
    println!("\n=== result ===\n{report}{total}");
    if failures.is_empty() { Ok(()) } else { Err(format!("failed: {}", failures.join(", "))) }
}

fn format() -> Result<Counts, String> {
    program::run(program::cargo().args(["fmt", "--all", "--check"]))?;
    // A workspace of its own, whose lints `bench client` looks at, which builds it.
    let bench = client::manifest();
    program::run(program::cargo().args(["fmt", "--check", "--manifest-path"]).arg(bench))?;
    Ok(Counts::default())
}

fn clippy() -> Result<Counts, String> {
    program::run(program::cargo().args([
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    Ok(Counts::default())
}

/// Links and examples of what the crates publish.
fn documentation() -> Result<Counts, String> {
    let mut command = program::cargo();
    command.args(["doc", "--quiet", "--workspace", "--lib", "--no-deps"]);
    program::run(command.env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Counts::default())
}

/// The crates that need no operating system are built for a machine that has none.
fn without_std() -> Result<Counts, String> {
    // It is there already, or it is downloaded once.
    program::run(Command::new("rustup").args(["target", "add", BARE_TARGET]))?;
    let mut command = program::cargo();
    command.args(["build", "--quiet", "--target", BARE_TARGET]);
    program::run(command.args(["--package", "quelea-codec", "--package", "quelea-session"]))?;
    Ok(Counts::default())
}

/// Unit, property and conformance tests, and the replay of the fuzz corpora.
fn tests() -> Result<Counts, String> {
    // Some of them start its clients.
    tools::mosquitto()?;
    let mut command = program::cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]);
    let mut program = Program::start(command)?;
    let deadline = Instant::now() + TESTS_PATIENCE;
    let mut counts = Counts::default();
    loop {
        match program.next_line(deadline) {
            Next::Line(line) => {
                println!("{line}");
                counts += counts_of(&line).unwrap_or_default();
            }
            Next::End => break,
            Next::TimedOut => return Err("the tests hang".to_owned()),
        }
    }
    let status = program.wait()?;
    match (status.success(), counts.failed, counts.passed) {
        (true, 0, 0) => Err("no test ran".to_owned()),
        // A test that did not build, or a test program that died.
        (false, 0, _) => Err(format!("cargo test: {status}")),
        _ => Ok(counts),
    }
}

/// Reads the line with which a test program ends.
fn counts_of(line: &str) -> Option<Counts> {
    let (_, results) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut counts = Counts::default();
    for result in results.split("; ") {
        let (number, what) = result.split_once(' ')?;
        match what {
            "passed" => counts.passed = number.parse().ok()?,
            "failed" => counts.failed = number.parse().ok()?,
            "ignored" => counts.skipped = number.parse().ok()?,
            _ => {}
        }
    }
    Some(counts)
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

type Step = fn() -> Result<Counts, String>;

const STEPS: [(&str, Step); 7] = [
    ("format", format),
    ("clippy", clippy),
    ("docs", documentation),
    ("no_std", without_std),
    ("tests", tests),
    ("interop", interop::count),
    ("crash", crash::count),
];

/// A small microcontroller: it has an allocator at most.
const BARE_TARGET: &str = "thumbv7em-none-eabi";

/// Building included. A run that takes longer hangs: the slowest machine needs a third of it.
const TESTS_PATIENCE: std::time::Duration = std::time::Duration::from_secs(25 * 60);

#[cfg(test)]
mod tests {
    use super::{Counts, counts_of};

    #[test]
    fn the_closing_line_of_a_test_program_is_read() {
        let line = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(counts_of(line), Some(Counts { passed: 3, failed: 0, skipped: 1 }));
        let line = "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s";
        assert_eq!(counts_of(line), Some(Counts { passed: 3, failed: 2, skipped: 0 }));
        assert_eq!(counts_of("test a::b ... ok"), None);
    }
}
