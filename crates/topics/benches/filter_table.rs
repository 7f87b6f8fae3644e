//! Cost of finding the filters that match one topic of five levels, among about 1,000,000.
//!
//! Sketch: a cold filter without wildcards is 4 misses (marks and entry of the hash map, node, text), 0.3 us. In the trie
//! the upper levels are in the cache; a way that leaves them is 3 misses a level, and the ways of one level overlap.
//! When all 32 combinations of a literal and `+` exist there are 62 nodes to visit, half of them cold: 2 to 4 us.
//!
//! Topics are drawn from all of the table, so that each look-up is as cold as it gets. Their own text is in the cache: it
//! has just been read from a socket.

use divan::{Bencher, black_box};
use quelea_topics::{FilterId, FilterTable};

fn main() {
    divan::main();
}

#[divan::bench(sample_size = 1_000)]
fn exact_filters(bencher: Bencher) {
    let filters = (0..1_000_000).map(exact).collect();
    check(bencher, filters, exact, 1);
}

#[divan::bench(sample_size = 1_000)]
fn no_filter_matches(bencher: Bencher) {
    let filters = (0..1_000_000).map(exact).collect();
    check(bencher, filters, |index| exact(index + 1_000_000), 0);
}

#[divan::bench(sample_size = 1_000)]
fn wildcard_filters(bencher: Bencher) {
    let filters = (0..1_000_000).map(|index| exact(index).replace("/1/", "/+/"));
    check(bencher, filters.collect(), exact, 1);
}

#[divan::bench(sample_size = 1_000)]
fn exact_and_wildcard_filters(bencher: Bencher) {
    let filters = (0..500_000).flat_map(|index| {
        let filter = exact(index);
        [filter.replace("/temperature", "/#"), filter]
    });
    check(bencher, filters.collect(), |index| exact(index / 2), 2);
}

#[divan::bench(sample_size = 1_000)]
fn all_combinations(bencher: Bencher) {
    let filters = (0..SIDE.pow(5)).map(|index| combination(index, SIDE, "+"));
    let topic = |index| combination(index % (SIDE - 1).pow(5), SIDE - 1, "never");
    check(bencher, filters.collect(), topic, 32);
}

#[divan::bench(sample_size = 1_000)]
fn insert_and_remove(bencher: Bencher) {
    let mut table = FilterTable::with_seed(SEED);
    for index in 0..1_000_000 {
        table.insert(&exact(index).replace("/1/", "/+/"), 0_u64);
    }
    let more: Vec<String> =
        (1_000_000..1_100_000).map(|it| exact(it).replace("/1/", "/+/")).collect();
    let mut round = 0;
    bencher.bench_local(|| {
        round = (round + STRIDE) % more.len();
        let id = table.insert(&more[round], 1);
        assert_eq!(table.remove(black_box(id)), Some(1));
    });
}

fn check(
    bencher: Bencher,
    filters: Vec<String>,
    topic: impl Fn(usize) -> String,
    hit_count: usize,
) {
    let mut table = FilterTable::with_seed(SEED);
    for filter in filters {
        table.insert(&filter, 0_u64);
    }
    let mut matches: Vec<FilterId> = Vec::with_capacity(64);
    let mut round = 0;
    let next_topic = || {
        round += 1;
        topic(round * STRIDE % 1_000_000)
    };
    bencher.with_inputs(next_topic).bench_local_refs(|topic| {
        matches.clear();
        table.match_into(black_box(topic), &mut matches);
        assert_eq!(matches.len(), hit_count);
    });
}

fn exact(index: usize) -> String {
    format!("plant/{}/1/device-{index:07}/temperature", index % 100)
}

/// Level by level a digit of `index` in base `side`, of which the highest stands for `last`.
fn combination(mut index: usize, side: usize, last: &str) -> String {
    let mut levels = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        let digit = index % side;
        index /= side;
        levels.push(if digit == SIDE - 1 { last.into() } else { format!("{name}{digit}") });
    }
    levels.join("/")
}

/// Fifteen literals and a `+` at each of five levels: 1,048,576 filters.
const SIDE: usize = 16;
/// Prime, so that it leads through all of the table in no order that caches know.
const STRIDE: usize = 611_953;
const SEED: u64 = 0x5eed;
