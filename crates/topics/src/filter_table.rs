//! Values by topic filter, found by the topics that the filters match.
//!
//! A filter without wildcards is one entry of a hash map. The others share a trie (`trie`), whose nodes carry as many
//! levels as possible, so that a filter costs at most two of them whatever its depth. Nothing here recurses.

use std::borrow::Cow;

use crate::hash_index::{HashIndex, SeededHasher, shorten};
use crate::levels::has_wildcard;
use crate::nodes::{NO_WILDCARD, Nodes, ROOT};

/// Names a filter in one [`FilterTable`], for as long as it is there.
///
/// The index is below twice the highest number of filters, and is used again after a removal. The generation then
/// differs, so that what still holds the old id finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilterId {
    /// Place in the table: fit to index an array.
    pub index: u32,
    /// Which use of the place this is.
    pub generation: u32,
}

/// Values by topic filter.
#[derive(Debug)]
pub struct FilterTable<V> {
    pub(crate) nodes: Nodes<V>,
    /// The filters without wildcards, by their text.
    exact: HashIndex,
    /// The children in the trie whose labels do not begin with a wildcard, by parent and first level.
    pub(crate) edges: HashIndex,
    pub(crate) hasher: SeededHasher,
    filter_count: usize,
}

impl<V> FilterTable<V> {
    /// Creates an empty table. The seed keeps others from choosing filters that collide: draw it at random.
    pub fn with_seed(seed: u64) -> Self {
        Self {
            nodes: Nodes::with_root(),
            exact: HashIndex::default(),
            edges: HashIndex::default(),
            hasher: SeededHasher::new(seed),
            filter_count: 0,
        }
    }

    /// Returns the id of `filter`, which is inserted with `value` when it is not there. A value that is there stays.
    pub fn insert(&mut self, filter: &str, value: V) -> FilterId {
        self.entry(filter, || value).0
    }

    /// Returns id and value of `filter`, which is inserted with what `make` returns when it is not there.
    pub fn entry(&mut self, filter: &str, make: impl FnOnce() -> V) -> (FilterId, &mut V) {
        let index = if has_wildcard(filter) {
            self.place_in_trie(filter.as_bytes())
        } else {
            self.place_exact(filter.as_bytes())
        };
        let node = &mut self.nodes[index];
        self.filter_count += usize::from(node.value.is_none());
        let id = FilterId { index, generation: node.generation };
        (id, node.value.get_or_insert_with(make))
    }

    /// Removes a filter and returns its value.
    pub fn remove(&mut self, id: FilterId) -> Option<V> {
        let node = self.nodes.get_mut(id.index);
        let node = node.filter(|node| node.generation == id.generation)?;
        let value = node.value.take()?;
        node.generation = node.generation.wrapping_add(1);
        self.filter_count -= 1;
        if node.parent == NO_WILDCARD {
            let hash = shorten(self.hasher.text(node.label.as_bytes()));
            self.exact.remove(hash, id.index);
            self.nodes.free(id.index);
        } else {
            self.prune(id.index);
        }
        Some(value)
    }

    /// Returns the value of a filter, `None` when it was removed.
    pub fn get_mut(&mut self, id: FilterId) -> Option<&mut V> {
        let node = self.nodes.get_mut(id.index);
        let node = node.filter(|node| node.generation == id.generation)?;
        node.value.as_mut()
    }

    /// Returns the value of a filter, `None` when it was removed.
    pub fn get(&self, id: FilterId) -> Option<&V> {
        let node = self.nodes.get(id.index);
        let node = node.filter(|node| node.generation == id.generation)?;
        node.value.as_ref()
    }

    /// Returns the id of `filter`.
    pub fn find(&self, filter: &str) -> Option<FilterId> {
        let index = if has_wildcard(filter) {
            self.find_in_trie(filter.as_bytes())
        } else {
            let text = filter.as_bytes();
            self.find_exact(shorten(self.hasher.text(text)), text)
        };
        self.id(index?)
    }

    /// Returns the text of a filter, `None` when it was removed.
    pub fn filter_of(&self, id: FilterId) -> Option<Cow<'_, str>> {
        self.get(id)?;
        let mut labels = Vec::new();
        let mut index = id.index;
        while index != ROOT && index != NO_WILDCARD {
            labels.push(self.nodes[index].label.as_bytes());
            index = self.nodes[index].parent;
        }
        let text = if let [label] = labels[..] {
            str::from_utf8(label).map(Cow::Borrowed).ok()
        } else {
            labels.reverse();
            String::from_utf8(labels.join(&b'/')).map(Cow::Owned).ok()
        };
        Some(text.expect("labels are parts of text, cut at separators"))
    }

    /// Appends the id of every filter that matches `topic`, each once, in no particular order.
    ///
    /// A filter that starts with a wildcard does not match a topic that starts with `$` ([MQTT-4.7.2-1]).
    pub fn match_into(&self, topic: &str, out: &mut Vec<FilterId>) {
        let text = topic.as_bytes();
        let exact = self.find_exact(shorten(self.hasher.text(text)), text);
        out.extend(exact.and_then(|index| self.id(index)));
        self.match_in_trie(text, out);
    }

    /// Returns the number of filters.
    pub fn len(&self) -> usize {
        self.filter_count
    }

    /// Tells whether there is no filter.
    pub fn is_empty(&self) -> bool {
        self.filter_count == 0
    }

    /// Returns the id of the filter that ends at a node, if one does.
    pub(crate) fn id(&self, index: u32) -> Option<FilterId> {
        let node = &self.nodes[index];
        let generation = node.generation;
        node.value.is_some().then_some(FilterId { index, generation })
    }

    fn place_exact(&mut self, filter: &[u8]) -> u32 {
        let hash = shorten(self.hasher.text(filter));
        self.find_exact(hash, filter).unwrap_or_else(|| {
            let index = self.nodes.add(filter, NO_WILDCARD);
            self.exact.insert(hash, index);
            index
        })
    }

    fn find_exact(&self, hash: u32, filter: &[u8]) -> Option<u32> {
        let mut candidates = self.exact.candidates(hash);
        candidates.find(|index| self.nodes[*index].label.as_bytes() == filter)
    }
}
