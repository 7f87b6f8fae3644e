//! Node indexes by seeded hash.

use std::hash::Hasher;

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;

use crate::nodes::NONE;

/// Finds nodes by the hash of their key. The key itself is in the node: the caller compares.
///
/// Many maps, each with its share of the hashes: one that grows moves a sixty-fourth of the entries, in half a
/// millisecond instead of thirty when there are a million.
#[derive(Debug)]
pub(crate) struct HashIndex {
    parts: [Part; PART_COUNT],
}

/// A hash map whose buckets are one cache line each, with the hashes in it: to look up is one miss, where a map with its
/// marks apart has two, and neither growth nor all but one in a billion false candidates touch a node.
#[derive(Debug, Default)]
struct Part {
    /// A power of two of them, or none. At least half empty after growth, never more than six sevenths full.
    buckets: Vec<Bucket>,
    entry_count: usize,
}

/// Entries whose hash leads here, or to a bucket before this one that was full.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Bucket {
    hashes: [u32; PLACE_COUNT],
    /// [`NONE`] where there is no entry.
    nodes: [u32; PLACE_COUNT],
    /// How many entries are further on because this bucket was full when they came.
    passed_count: u32,
}

impl HashIndex {
    pub(crate) fn new() -> Self {
        Self { parts: std::array::from_fn(|_| Part::default()) }
    }

    pub(crate) fn insert(&mut self, hash: u32, node: u32) {
        self.parts[part_of(hash)].insert(hash, node);
    }

    pub(crate) fn remove(&mut self, hash: u32, node: u32) {
        self.parts[part_of(hash)].remove(hash, node);
    }

    /// Puts a node in the place of another that has the same key.
    pub(crate) fn replace(&mut self, hash: u32, old: u32, new: u32) {
        self.parts[part_of(hash)].replace(hash, old, new);
    }

    /// Returns the nodes that may have a key with this hash: nearly always the one that has it, or none.
    pub(crate) fn candidates(&self, hash: u32) -> impl Iterator<Item = u32> {
        self.parts[part_of(hash)].candidates(hash)
    }

    /// Reads the bucket where a look-up begins. The value means nothing.
    pub(crate) fn touch(&self, hash: u32) -> u32 {
        self.parts[part_of(hash)].touch(hash)
    }
}

/// The highest bits: the lowest choose the bucket.
fn part_of(hash: u32) -> usize {
    (hash >> (u32::BITS - PART_COUNT.ilog2())) as usize
}

impl Part {
    fn insert(&mut self, hash: u32, node: u32) {
        if self.entry_count >= self.buckets.len() * ENTRIES_PER_BUCKET_MAX {
            self.grow();
        }
        self.entry_count += 1;
        self.put(hash, node);
    }

    fn remove(&mut self, hash: u32, node: u32) {
        let Some((bucket, place)) = self.place_of(hash, node) else {
            debug_assert!(false, "an edge that was attached is here");
            return;
        };
        self.buckets[bucket].nodes[place] = NONE;
        self.entry_count -= 1;
        let mut passed = self.home(hash);
        while passed != bucket {
            self.buckets[passed].passed_count -= 1;
            passed = self.behind(passed);
        }
    }

    fn replace(&mut self, hash: u32, old: u32, new: u32) {
        if let Some((bucket, place)) = self.place_of(hash, old) {
            self.buckets[bucket].nodes[place] = new;
        }
    }

    fn candidates(&self, hash: u32) -> impl Iterator<Item = u32> {
        self.places(hash).map(|(bucket, place)| self.buckets[bucket].nodes[place])
    }

    fn touch(&self, hash: u32) -> u32 {
        let bucket = self.buckets.get(self.home(hash));
        bucket.map_or(0, |bucket| bucket.passed_count)
    }

    fn place_of(&self, hash: u32, node: u32) -> Option<(usize, usize)> {
        let mut places = self.places(hash);
        places.find(|(bucket, place)| self.buckets[*bucket].nodes[*place] == node)
    }

    /// Returns where the entries with this hash are.
    fn places(&self, hash: u32) -> impl Iterator<Item = (usize, usize)> {
        let home = self.home(hash);
        let mut next_bucket = (!self.buckets.is_empty()).then_some(home);
        let mut bucket = 0;
        let mut found = 0;
        std::iter::from_fn(move || {
            while found == 0 {
                bucket = next_bucket?;
                found = self.buckets[bucket].places(hash);
                let behind = self.behind(bucket);
                // In a small map entries may have passed each of the buckets, and the way would never end.
                let is_last = self.buckets[bucket].passed_count == 0 || behind == home;
                next_bucket = (!is_last).then_some(behind);
            }
            let place = found.trailing_zeros() as usize;
            found &= found - 1;
            Some((bucket, place))
        })
    }

    fn put(&mut self, hash: u32, node: u32) {
        let mut index = self.home(hash);
        loop {
            let bucket = &mut self.buckets[index];
            if let Some(place) = bucket.nodes.iter().position(|node| *node == NONE) {
                bucket.hashes[place] = hash;
                bucket.nodes[place] = node;
                return;
            }
            bucket.passed_count += 1;
            index = self.behind(index);
        }
    }

    fn grow(&mut self) {
        let count = (self.buckets.len() * 2).max(1);
        let old = std::mem::replace(&mut self.buckets, vec![Bucket::EMPTY; count]);
        for bucket in &old {
            for (hash, node) in bucket.hashes.iter().zip(bucket.nodes) {
                if node != NONE {
                    self.put(*hash, node);
                }
            }
        }
    }

    fn home(&self, hash: u32) -> usize {
        hash as usize & self.buckets.len().wrapping_sub(1)
    }

    fn behind(&self, bucket: usize) -> usize {
        (bucket + 1) & (self.buckets.len() - 1)
    }
}

impl Bucket {
    const EMPTY: Self =
        Self { hashes: [0; PLACE_COUNT], nodes: [NONE; PLACE_COUNT], passed_count: 0 };

    /// Returns a bit for each entry with this hash. Without a branch: which place it is cannot be foreseen.
    fn places(&self, hash: u32) -> u32 {
        let mut found = 0;
        for place in 0..PLACE_COUNT {
            let is_here = (self.hashes[place] == hash) & (self.nodes[place] != NONE);
            found |= u32::from(is_here) << place;
        }
        found
    }
}

const PART_COUNT: usize = 64;
const PLACE_COUNT: usize = 7;
const ENTRIES_PER_BUCKET_MAX: usize = 6;
const _: () = assert!(size_of::<Bucket>() == 64);

/// Hashes with two secrets drawn from one seed: who does not know it cannot choose texts that collide.
#[derive(Debug)]
pub(crate) struct SeededHasher {
    seed: u64,
    shared: SharedSeed,
}

impl SeededHasher {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            // Another number, so that knowing one of the two does not give the other away for nothing.
            shared: SharedSeed::from_u64(seed.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15),
        }
    }

    pub(crate) fn text(&self, text: &[u8]) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        hasher.write(text);
        hasher.finish()
    }

    /// Hash of the way from a node to its child. The level is hashed once, for all nodes that look for it.
    pub(crate) fn edge(&self, parent: u32, level: u64) -> u32 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        hasher.write_u64(level);
        hasher.write_u32(parent);
        shorten(hasher.finish())
    }
}

/// Keeps the half of a hash that an entry has room for.
pub(crate) fn shorten(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries that no bucket has room for go on to the next, and are found there whatever leaves before them.
    #[test]
    fn colliding_entries_come_and_go() {
        let hashes = [0, 0, 1, 0, u32::MAX];
        let hash_of = |node: u32| hashes[node as usize % hashes.len()];
        for stride in [1, 7, 99] {
            let mut index = Part::default();
            for node in 0..100 {
                index.insert(hash_of(node), node);
            }
            let mut left: Vec<u32> = (0..100).collect();
            while !left.is_empty() {
                for hash in hashes {
                    let mut found: Vec<u32> = index.candidates(hash).collect();
                    found.sort_unstable();
                    let expected = left.iter().copied().filter(|node| hash_of(*node) == hash);
                    let mut expected: Vec<u32> = expected.collect();
                    expected.sort_unstable();
                    assert_eq!(found, expected);
                }
                let node = left.swap_remove(stride % left.len());
                index.remove(hash_of(node), node);
            }
            assert!(index.buckets.iter().all(|bucket| bucket.passed_count == 0));
        }
    }

    /// Each of two buckets was full when an entry came, and has had room since.
    #[test]
    fn a_lookup_ends_when_all_buckets_were_passed() {
        let mut index = Part::default();
        for node in 0..8 {
            index.insert(0, node);
        }
        for node in 0..3 {
            index.remove(0, node);
        }
        for node in 10..17 {
            index.insert(1, node);
        }
        assert!(index.buckets.iter().all(|bucket| bucket.passed_count > 0));
        assert_eq!(index.buckets.len(), 2);
        assert_eq!(index.candidates(2).next(), None);
        assert_eq!(index.candidates(0).count(), 5);
        assert_eq!(index.candidates(1).count(), 7);
    }

    #[test]
    fn a_replaced_node_keeps_its_place() {
        let mut index = Part::default();
        assert_eq!(index.candidates(5).next(), None);
        index.insert(5, 1);
        index.insert(5, 2);
        index.replace(5, 1, 3);
        let mut found: Vec<u32> = index.candidates(5).collect();
        found.sort_unstable();
        assert_eq!(found, [2, 3]);
    }

    /// What collides under one seed does not under another.
    #[test]
    fn the_seed_decides_what_collides() {
        let low_bits = |seed, text: &str| SeededHasher::new(seed).text(text.as_bytes()) & 0xfff;
        let first = low_bits(1, "0");
        let texts = (0..100_000).map(|it: u32| it.to_string());
        let colliding: Vec<String> = texts.filter(|text| low_bits(1, text) == first).collect();
        assert!(colliding.len() > 10);
        let first = low_bits(2, "0");
        let still_colliding = colliding.iter().filter(|text| low_bits(2, text) == first);
        assert!(still_colliding.count() < 5);
    }
}
