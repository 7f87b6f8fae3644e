//! The nodes of a filter table: where they are kept, and how their places are used again.

use std::ops::{Index, IndexMut};

use crate::chunks::Chunks;
use crate::label::Label;

/// A filter without wildcards, or a place in the trie of those with wildcards.
///
/// 64 bytes when the value is a word. In this order, so that all that matching reads is in one cache line, however
/// the allocator aligns the whole.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Node<V> {
    /// The levels between the parent and here; all levels of a filter without wildcards.
    pub(crate) label: Label,
    /// Counts the filters that were inserted and removed here: odd when one ends here. Wraps: an id would have to be
    /// held over two billion removals to be taken for another.
    pub(crate) generation: u32,
    /// The node above, or [`NO_WILDCARD`]. In a free place: the next free place, or [`NONE`].
    pub(crate) parent: u32,
    /// The child whose label begins with `+`, or [`NONE`].
    pub(crate) plus: u32,
    /// The child whose label is `#`, or [`NONE`].
    pub(crate) number_sign: u32,
    /// How many other children there are. They are found through the edges of the table.
    pub(crate) literal_count: u32,
    /// The indexes of these children, combined by exclusive or: the index itself when there is one.
    pub(crate) literal_xor: u32,
    /// Present when a filter ends here.
    pub(crate) value: Option<V>,
}

/// All nodes. A place is used again when it is free, so indexes stay below twice the highest number of filters.
#[derive(Debug)]
pub(crate) struct Nodes<V> {
    places: Chunks<Node<V>>,
    first_free: u32,
}

impl<V> Nodes<V> {
    /// Creates the arena with the root of the trie in it.
    pub(crate) fn with_root() -> Self {
        let mut nodes = Self { places: Chunks::new(), first_free: NONE };
        let root = nodes.add(b"", NONE);
        debug_assert_eq!(root, ROOT);
        nodes
    }

    /// Adds a node without value and children.
    pub(crate) fn add(&mut self, label: &[u8], parent: u32) -> u32 {
        if self.first_free == NONE {
            self.add_free();
        }
        let index = self.first_free;
        let node = &mut self[index];
        let next_free = node.parent;
        node.label = Label::new(label);
        node.parent = parent;
        self.first_free = next_free;
        index
    }

    /// Frees a place that has neither value nor children.
    pub(crate) fn free(&mut self, index: u32) {
        let next_free = self.first_free;
        let node = &mut self[index];
        debug_assert!(node.value.is_none(), "a removed filter has given its value away");
        node.label = Label::default();
        node.parent = next_free;
        self.first_free = index;
    }

    pub(crate) fn get(&self, index: u32) -> Option<&Node<V>> {
        self.places.get(index)
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut Node<V>> {
        self.places.get_mut(index)
    }

    fn add_free(&mut self) {
        let index = self.places.push(Node {
            label: Label::default(),
            value: None,
            generation: 0,
            parent: NONE,
            plus: NONE,
            number_sign: NONE,
            literal_count: 0,
            literal_xor: 0,
        });
        assert!(index < NO_WILDCARD, "four billion nodes do not fit into memory");
        self.first_free = index;
    }
}

impl<V> Node<V> {
    pub(crate) fn child_count(&self) -> u32 {
        self.literal_count + u32::from(self.plus != NONE) + u32::from(self.number_sign != NONE)
    }

    pub(crate) fn ends_filter(&self) -> bool {
        self.generation % 2 == 1
    }

    /// Returns the only child of a node that has one.
    pub(crate) fn only_child(&self) -> u32 {
        debug_assert_eq!(self.child_count(), 1);
        match (self.plus, self.number_sign) {
            (NONE, NONE) => self.literal_xor,
            (NONE, child) | (child, _) => child,
        }
    }
}

impl<V> Index<u32> for Nodes<V> {
    type Output = Node<V>;

    fn index(&self, index: u32) -> &Node<V> {
        self.places.get(index).expect(HELD)
    }
}

impl<V> IndexMut<u32> for Nodes<V> {
    fn index_mut(&mut self, index: u32) -> &mut Node<V> {
        self.places.get_mut(index).expect(HELD)
    }
}

const HELD: &str = "nodes and hash map hold indexes of nodes only";

/// The root of the trie: above the first level, with a label of no level at all.
pub(crate) const ROOT: u32 = 0;
/// No node.
pub(crate) const NONE: u32 = u32::MAX;
/// Parent of the filters without wildcards, which are in no trie.
pub(crate) const NO_WILDCARD: u32 = u32::MAX - 1;

const _: () = assert!(size_of::<Node<u64>>() == 64);
