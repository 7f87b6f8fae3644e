//! Memory of 1,000,000 filters and 1,000,000 retained topics, beside the bytes of their own texts.
//!
//! Sketch: a filter is a node of 64 bytes, and 9 bytes of a hash map that is 43 to 86 %
//! full: 75 to 85 bytes; an allocation of its own, with what the allocator adds, when it is longer than 22 bytes. Filters
//! that branch need up to twice as many nodes. A topic is a leaf of 24 bytes, its text, and its share of the branches.
//!
//! Prints what was asked of the allocator, and what glibc's makes of it (8 bytes more, rounded up to 16, at least 32).
//! Fails above the budget of 150 bytes a filter.

#![allow(unsafe_code)] // An allocator that counts is one.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use quelea_topics::{FilterTable, RetainedStore};

fn main() {
    let device = |it| format!("plant/{}/1/device-{it:07}/temperature", it % 100);
    for count in [900_000, 1_000_000, 1_100_000] {
        filters("exact, long", count, device);
        filters("exact, short", count, |it| format!("d/{it:07}"));
        filters("wildcard at the end", count, |it| device(it).replace("temperature", "+"));
        filters("wildcard at the start", count, |it| device(it).replace("plant", "+"));
        filters("two of a kind", count, |it| format!("device-{:07}/+/{}", it / 2, it % 2));
        filters("all combinations", count, combination);
    }
    topics("in order", 1_000_000, |it| it);
    topics("in no order", 1_000_000, |it| it * 611_953 % 1_000_000);
}

fn filters(name: &str, count: usize, filter: impl Fn(usize) -> String) {
    let texts_bytes: usize = (0..count).map(|it| filter(it).len()).sum();
    let before = Usage::now();
    let mut table = FilterTable::with_seed(0x5eed);
    for it in 0..count {
        table.insert(&filter(it), 0_u64);
    }
    let usage = Usage::now().since(before);
    assert_eq!(table.len(), count);
    let bytes = usage.report(&format!("filters, {name}"), count, texts_bytes);
    assert!(bytes <= 150.0, "the budget is 150 bytes beside the text");
}

fn topics(name: &str, count: usize, order: impl Fn(usize) -> usize) {
    let topic = |it| format!("plant/{}/1/device-{it:07}/temperature", it % 100);
    let texts_bytes: usize = (0..count).map(|it| topic(it).len()).sum();
    let before = Usage::now();
    let mut store = RetainedStore::new();
    for it in 0..count {
        store.insert(&topic(order(it)), 0_u64);
    }
    let usage = Usage::now().since(before);
    assert_eq!(store.len(), count);
    usage.report(&format!("retained, {name}"), count, texts_bytes);
}

/// Nothing but branches: a level is one of 16, one of which is a `+`.
fn combination(mut index: usize) -> String {
    let mut filter = String::new();
    for _ in 0..6 {
        match index % 16 {
            0 => filter.push('+'),
            digit => filter.push_str(&digit.to_string()),
        }
        filter.push('/');
        index /= 16;
    }
    filter
}

#[derive(Clone, Copy)]
struct Usage {
    asked_bytes: usize,
    taken_bytes: usize,
}

impl Usage {
    fn now() -> Self {
        Self {
            asked_bytes: ASKED_BYTES.load(Ordering::Relaxed),
            taken_bytes: TAKEN_BYTES.load(Ordering::Relaxed),
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            asked_bytes: self.asked_bytes - before.asked_bytes,
            taken_bytes: self.taken_bytes - before.taken_bytes,
        }
    }

    /// Prints bytes for each of `count`, and returns those taken.
    fn report(self, name: &str, count: usize, texts_bytes: usize) -> f64 {
        let each = |bytes: usize| (bytes as f64 - texts_bytes as f64) / count as f64;
        let (asked, taken) = (each(self.asked_bytes), each(self.taken_bytes));
        let text = texts_bytes as f64 / count as f64;
        println!(
            "{count:>9} {name:32} text {text:4.1} B, beside it {asked:5.1} B asked, {taken:5.1} B taken"
        );
        taken
    }
}

static ASKED_BYTES: AtomicUsize = AtomicUsize::new(0);
static TAKEN_BYTES: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static COUNTING: Counting = Counting;

struct Counting;

// SAFETY: everything is done by the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), usize::wrapping_add);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(layout.size(), usize::wrapping_sub);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(place, layout) }
    }
}

fn count(asked_bytes: usize, change: fn(usize, usize) -> usize) {
    let taken_bytes = (asked_bytes + 8).next_multiple_of(16).max(32);
    for (counter, bytes) in [(&ASKED_BYTES, asked_bytes), (&TAKEN_BYTES, taken_bytes)] {
        let counted = change(counter.load(Ordering::Relaxed), bytes);
        counter.store(counted, Ordering::Relaxed);
    }
}
