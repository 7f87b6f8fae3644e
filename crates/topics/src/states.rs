//! The places in the trie that the levels of a topic seen so far lead to.

use crate::nodes::ROOT;

/// A node, and how much of its label is matched.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct State {
    pub(crate) node: u32,
    /// Where the next level of the label begins; one behind the label when there is none.
    pub(crate) label_offset: u32,
}

impl State {
    /// All of the root's label is matched, which has no level.
    pub(crate) fn at_root() -> Self {
        Self { node: ROOT, label_offset: 1 }
    }

    /// Nothing of the label is matched yet.
    pub(crate) fn before(node: u32) -> Self {
        Self { node, label_offset: 0 }
    }

    /// One more level of the label is matched.
    pub(crate) fn behind(self, level: &[u8]) -> Self {
        let step = u32::try_from(level.len() + 1).expect("a filter has at most 65,535 bytes");
        let label_offset = self.label_offset + step;
        Self { label_offset, ..self }
    }

    pub(crate) fn is_at_end_of(self, label: &[u8]) -> bool {
        self.label_offset as usize > label.len()
    }
}

/// A child to be found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lookup {
    /// Of the way from the parent to the child.
    pub(crate) hash: u32,
    pub(crate) parent: u32,
}

/// A node that a state may lead to: the label has not been looked at yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Candidate {
    pub(crate) node: u32,
    /// The parent of the node, unless hashes have collided.
    pub(crate) parent: u32,
}

/// A list that allocates only when it is long: 32 are all combinations of a literal and `+` in five levels.
#[derive(Debug)]
pub(crate) struct ShortList<T> {
    first: [T; FIRST_COUNT],
    first_count: usize,
    /// Those that have no room in `first`. At most one for each node of the trie.
    others: Vec<T>,
}

impl<T: Copy + Default> ShortList<T> {
    pub(crate) fn new() -> Self {
        Self { first: [T::default(); FIRST_COUNT], first_count: 0, others: Vec::new() }
    }

    pub(crate) fn push(&mut self, value: T) {
        if let Some(place) = self.first.get_mut(self.first_count) {
            *place = value;
            self.first_count += 1;
        } else {
            self.others.push(value);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.first_count = 0;
        self.others.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first_count == 0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = T> {
        let first = &self.first[..self.first_count];
        first.iter().chain(&self.others).copied()
    }
}

const FIRST_COUNT: usize = 32;
