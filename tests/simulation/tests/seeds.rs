//! Some hundred runs; `cargo xtask simulate` does thousands.

use quelea_simulation::{Storage, Tally, run};

/// How many seeds are run, on as many threads as there are here.
const SEEDS: u64 = 60;

#[test]
fn everything_is_true_of_every_seed() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let mut tally = Tally::default();
    let mut failures = Vec::new();
    std::thread::scope(|scope| {
        let run_every = |first: u64| {
            move || {
                let seeds = (first..SEEDS).step_by(threads as usize);
                seeds.map(|seed| (seed, run(seed, Storage::Model, false))).collect::<Vec<_>>()
            }
        };
        let workers: Vec<_> = (0..threads).map(|first| scope.spawn(run_every(first))).collect();
        for (seed, outcome) in workers.into_iter().flat_map(|it| it.join().unwrap()) {
            tally.add(outcome.tally);
            failures.extend(outcome.failure.map(|why| format!("seed {seed}: {why}")));
        }
    });
    assert!(
        failures.is_empty(),
        "`cargo xtask simulate --seed N` shows more of\n{}",
        failures.join("\n")
    );
    // What excuses everything finds nothing.
    assert!(tally.owed > 50_000 && tally.ordered > 50_000, "{tally}");
}

#[test]
fn everything_is_true_on_the_real_log() {
    for seed in 0..LOG_SEEDS {
        assert_eq!(run(seed, Storage::Log, false).failure, None, "seed {seed}");
    }
}

/// A session that had left a shared group and joined it again was given its own messages again and again.
#[test]
fn who_is_back_in_its_group_keeps_what_it_has() {
    assert_eq!(run(BACK_IN_GROUP, Storage::Model, false).failure, None);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for storage in [Storage::Model, Storage::Log] {
        for seed in 0..5 {
            let (first, second) = (run(seed, storage, false), run(seed, storage, false));
            assert_eq!(first.digest, second.digest, "seed {seed} with {storage:?}");
            assert_eq!(first.fact_count, second.fact_count, "seed {seed} with {storage:?}");
        }
    }
    assert_ne!(run(0, Storage::Model, false).digest, run(1, Storage::Model, false).digest);
}

/// In this run the power is cut. On a disk that syncs nothing is lost, and one that only says so is found out.
#[test]
fn a_disk_that_lies_is_noticed() {
    assert_eq!(run(POWER_CUT, Storage::Log, false).failure, None);
    assert!(run(POWER_CUT, Storage::LyingDisk, false).failure.is_some());
}

/// How many are run on the log, on one thread.
const LOG_SEEDS: u64 = 24;

/// See the tests.
const BACK_IN_GROUP: u64 = 1917;
const POWER_CUT: u64 = 19;
