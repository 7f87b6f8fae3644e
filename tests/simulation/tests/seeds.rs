//! Some hundred runs; `cargo xtask simulate` does thousands.

use quelea_simulation::run;

/// How many seeds are run, on as many threads as there are here.
const SEEDS: u64 = 60;

#[test]
fn everything_is_true_of_every_seed() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let failures: Vec<String> = std::thread::scope(|scope| {
        let run_every = |first: u64| {
            move || {
                let seeds = (first..SEEDS).step_by(threads as usize);
                let failure = |seed| Some(format!("seed {seed}: {}", run(seed, false).failure?));
                seeds.filter_map(failure).collect::<Vec<String>>()
            }
        };
        let workers: Vec<_> = (0..threads).map(|first| scope.spawn(run_every(first))).collect();
        workers.into_iter().flat_map(|it| it.join().unwrap()).collect()
    });
    assert!(
        failures.is_empty(),
        "`cargo xtask simulate --seed N` shows more of\n{}",
        failures.join("\n")
    );
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..5 {
        let (first, second) = (run(seed, false), run(seed, false));
        assert_eq!(first.digest, second.digest, "seed {seed}");
        assert_eq!(first.fact_count, second.fact_count, "seed {seed}");
    }
    assert_ne!(run(0, false).digest, run(1, false).digest);
}
