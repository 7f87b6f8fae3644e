//! `cargo xtask simulate`: runs many seeds, and says which of them fail.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use quelea_simulation::{Outcome, Storage, Tally, run};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Some(plan) = Plan::of(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    // A broker that panics is a failure with a seed, and its message comes with that.
    if !plan.traces {
        std::panic::set_hook(Box::new(|_| {}));
    }
    let failed = AtomicU64::new(0);
    let tally = Mutex::new(Tally::default());
    let (next, fact_count, crash_count) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..plan.threads {
            scope.spawn(|| {
                loop {
                    let count = next.fetch_add(1, Ordering::Relaxed);
                    if count >= plan.count {
                        return;
                    }
                    let seed = plan.from + count;
                    let outcome = run(seed, plan.storage, plan.traces);
                    fact_count.fetch_add(outcome.fact_count, Ordering::Relaxed);
                    crash_count.fetch_add(outcome.crash_count, Ordering::Relaxed);
                    tally.lock().unwrap_or_else(PoisonError::into_inner).add(outcome.tally);
                    report(seed, &outcome, &failed);
                }
            });
        }
    });
    let (facts, crashes) = (fact_count.into_inner(), crash_count.into_inner());
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("judged: {tally}");
    let (count, failed) = (plan.count, failed.into_inner());
    println!("{count} seeds, {facts} events at clients, {crashes} crashes: {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn report(seed: u64, outcome: &Outcome, failed: &AtomicU64) {
    for line in &outcome.trace {
        println!("{line}");
    }
    if let Some(failure) = &outcome.failure {
        failed.fetch_add(1, Ordering::Relaxed);
        let commit = std::env::var("QUELEA_COMMIT").unwrap_or("unknown".to_owned());
        println!("seed {seed}, commit {commit}: {failure}");
    }
}

/// What was asked for.
struct Plan {
    from: u64,
    count: u64,
    threads: usize,
    storage: Storage,
    traces: bool,
}

impl Plan {
    fn of(arguments: &[&str]) -> Option<Self> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut plan =
            Self { from: 0, count: 1_000, threads, storage: Storage::Model, traces: false };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match *argument {
                "--seeds" => plan.count = arguments.next()?.parse().ok()?,
                "--from" => plan.from = arguments.next()?.parse().ok()?,
                "--threads" => plan.threads = arguments.next()?.parse().ok()?,
                "--seed" => {
                    (plan.from, plan.count) = (arguments.next()?.parse().ok()?, 1);
                }
                "--log" => plan.storage = Storage::Log,
                "--lying-disk" => plan.storage = Storage::LyingDisk,
                "--trace" => plan.traces = true,
                _ => return None,
            }
        }
        Some(plan)
    }
}

const USAGE: &str = "\
Usage: simulate [--seeds N] [--from S] [--threads N] [--log | --lying-disk]
       simulate --seed S [--trace] [--log | --lying-disk]

--log runs the broker on its real log, and --lying-disk on one whose syncs do nothing:
that one has to fail wherever the power is cut.";
