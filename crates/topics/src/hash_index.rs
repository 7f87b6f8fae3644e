//! Node indexes by seeded hash.

use std::hash::Hasher;

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;
use hashbrown::HashTable;

/// Finds nodes by the hash of their key. The key itself is in the node: the caller compares.
///
/// The hash is kept beside the index, so that neither growth nor most false candidates touch a node.
#[derive(Debug, Default)]
pub(crate) struct HashIndex {
    entries: HashTable<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry {
    hash: u32,
    node: u32,
}

impl HashIndex {
    pub(crate) fn insert(&mut self, hash: u32, node: u32) {
        let entry = Entry { hash, node };
        self.entries.insert_unique(entry.spread(), entry, Entry::spread);
    }

    pub(crate) fn remove(&mut self, hash: u32, node: u32) {
        let entry = Entry { hash, node };
        if let Ok(found) = self.entries.find_entry(entry.spread(), |it| *it == entry) {
            found.remove();
        }
    }

    /// Puts a node in the place of another that has the same key.
    pub(crate) fn replace(&mut self, hash: u32, old: u32, new: u32) {
        let entry = Entry { hash, node: old };
        if let Some(found) = self.entries.find_mut(entry.spread(), |it| *it == entry) {
            found.node = new;
        }
    }

    /// Returns the nodes that may have a key with this hash: nearly always the one that has it, or none.
    pub(crate) fn candidates(&self, hash: u32) -> impl Iterator<Item = u32> {
        let entries = self.entries.iter_hash(spread(hash));
        entries.filter(move |entry| entry.hash == hash).map(|entry| entry.node)
    }
}

impl Entry {
    fn spread(&self) -> u64 {
        spread(self.hash)
    }
}

/// The table takes places from the low bits and marks from the high ones: both get all we have.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

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
