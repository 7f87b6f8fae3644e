//! Cost of one operation on 1,000,000 retained topics.
//!
//! Sketch: a topic is under about 11 branches, of which the lowest three are cold, at two misses each; with leaf and text
//! 8 misses: 0.5 us to find one, half as much again to insert or remove it.

use divan::{Bencher, black_box};
use quelea_topics::RetainedStore;

fn main() {
    divan::main();
}

#[divan::bench(sample_size = 1_000)]
fn get(bencher: Bencher) {
    let (store, topics) = filled();
    let mut round = 0;
    bencher.bench_local(|| {
        round = (round + 1) % topics.len();
        assert!(store.get(black_box(&topics[round])).is_some());
    });
}

#[divan::bench(sample_size = 1_000)]
fn replace(bencher: Bencher) {
    let (mut store, topics) = filled();
    let mut round = 0;
    bencher.bench_local(|| {
        round = (round + 1) % topics.len();
        assert!(store.insert(black_box(&topics[round]), 1).is_some());
    });
}

#[divan::bench(sample_size = 1_000)]
fn remove_and_insert(bencher: Bencher) {
    let (mut store, topics) = filled();
    let mut round = 0;
    bencher.bench_local(|| {
        round = (round + 1) % topics.len();
        assert!(store.remove(black_box(&topics[round])).is_some());
        assert!(store.insert(black_box(&topics[round]), 1).is_none());
    });
}

#[divan::bench(args = ["#", "plant/5/1/+/temperature", "+/5/+/+/temperature", "+/+/+/device-0500000/temperature"])]
fn scan(bencher: Bencher, filter: &str) {
    let (store, _) = filled();
    let hit_count = match filter {
        "#" => 1_000_000,
        "+/+/+/device-0500000/temperature" => 1,
        _ => 10_000,
    };
    bencher.bench_local(|| {
        let mut visited = 0;
        let end = store.scan(black_box(filter), None, usize::MAX, &mut |_, _| {
            visited += 1;
            true
        });
        assert_eq!((visited, end), (hit_count, None));
    });
}

/// What a new subscription costs the turn in which it comes: a slice, and the way back to where it ended.
#[divan::bench(sample_size = 1_000)]
fn slice_of_100(bencher: Bencher) {
    let (store, topics) = filled();
    let mut round = 0;
    bencher.bench_local(|| {
        round = (round + 1) % topics.len();
        let after = Some(topics[round].as_str());
        black_box(store.scan("plant/#", after, 100, &mut |_, _| true))
    });
}

fn filled() -> (RetainedStore<u64>, Vec<String>) {
    let topic = |index| format!("plant/{}/1/device-{index:07}/temperature", index % 100);
    let mut store = RetainedStore::new();
    for index in 0..1_000_000 {
        store.insert(&topic(index * STRIDE % 1_000_000), 0);
    }
    let topics = (0..100_000).map(|it| topic(it * STRIDE % 1_000_000));
    (store, topics.collect())
}

/// Prime, so that it leads through all of the store in no order that caches know.
const STRIDE: usize = 611_953;
