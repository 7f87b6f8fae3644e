//! Values by topic filter, found by the topics that the filters match.
//!
//! A filter without wildcards is one entry of a hash map. The others share a trie (`trie`), whose nodes carry as many
//! levels as possible, so that a filter costs at most two of them whatever its depth. Nothing here recurses.

use std::borrow::Cow;
use std::hint::black_box;

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
            exact: HashIndex::new(),
            edges: HashIndex::new(),
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
        if node.value.is_none() {
            node.value = Some(make());
            node.generation = node.generation.wrapping_add(1);
            self.filter_count += 1;
        }
        let id = FilterId { index, generation: node.generation };
        let value = node.value.as_mut();
        (id, value.expect("it was there or has been made"))
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
        let hash = shorten(self.hasher.text(text));
        // Read at once, and in the cache when it is looked at.
        black_box(self.exact.touch(hash));
        self.match_in_trie(text, out);
        let exact = self.find_exact(hash, text);
        out.extend(exact.and_then(|index| self.id(index)));
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
        let id = FilterId { index, generation };
        node.ends_filter().then_some(id)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::levels::matches;

    /// [MQTT-4.7.1-1], [MQTT-4.7.1-2]
    #[test]
    fn wildcards_match_as_defined() {
        check(&[
            "a/b/c", "a/b/+", "a/+/c", "+/b/c", "a/b/#", "a/#", "#", "+/+/+", "a/b", "a/b/c/d",
            "a/+",
        ]);
        check(&["a/b/c/#", "+/#", "a/+/#", "a/b/c/+"]);
    }

    /// Section 4.7.3: a separator makes levels, also empty ones.
    #[test]
    fn empty_levels_are_levels() {
        check(&["/", "+", "+/+", "/+", "+/", "//", "#", "/#", "a//c", "a/+/c", "a/", "a/+"]);
    }

    /// [MQTT-4.7.2-1]
    #[test]
    fn leading_wildcard_skips_dollar_topics() {
        check(&["#", "+", "+/load", "+/#", "+/+", "$SYS/#", "$SYS/+", "$SYS", "$SYS/load"]);
    }

    /// [MQTT-4.7.3-4]
    #[test]
    fn text_is_compared_as_it_is() {
        check(&["A", "a", "a ", "caf\u{e9}", "cafe\u{301}", "+/caf\u{e9}"]);
    }

    #[test]
    fn a_value_that_is_there_stays() {
        for filter in ["a/b", "a/+"] {
            let mut table = FilterTable::with_seed(0);
            let id = table.insert(filter, 1);
            assert_eq!(table.insert(filter, 2), id);
            *table.get_mut(id).unwrap() += 10;
            assert_eq!(table.entry(filter, || unreachable!()), (id, &mut 11));
            assert_eq!(table.len(), 1);
        }
    }

    #[test]
    fn an_id_dies_with_its_filter() {
        for filter in ["a/b", "a/+", "#"] {
            let mut table = FilterTable::with_seed(0);
            let old = table.insert(filter, 1);
            assert_eq!(table.remove(old), Some(1));
            let new = table.insert(filter, 2);
            assert_eq!(new.index, old.index, "the place is used again");
            assert_ne!(new, old);
            assert_eq!((table.get(old), table.filter_of(old)), (None, None));
            assert_eq!(table.get_mut(old), None);
            assert_eq!(table.remove(old), None);
            assert_eq!(table.get(new), Some(&2));
        }
    }

    #[test]
    fn ids_of_no_filter_find_nothing() {
        let mut table = FilterTable::with_seed(0);
        table.insert("a/+/b", 1);
        table.insert("a/+/c", 2);
        // The root and the node above both filters, where none ends, and a place that does not exist.
        for index in 0..5 {
            let id = FilterId { index, generation: 0 };
            assert_eq!(table.get(id), None);
            assert_eq!(table.remove(id), None);
        }
        assert_eq!(table.len(), 2);
    }

    /// [MQTT-4.7.3-3] As many levels as there can be, nearly one a byte: neither the stack nor the time may depend on them.
    #[test]
    fn the_deepest_filters_are_nothing_special() {
        let topic = "/".repeat(65_534);
        let filters = [
            topic.clone(),
            format!("{topic}#"),
            format!("+{topic}"),
            "#".to_owned(),
            "/+/#".to_owned(),
        ];
        let mut table = FilterTable::with_seed(0);
        let mut ids = filters.each_ref().map(|filter| table.insert(filter, ()));
        let mut found = Vec::new();
        table.match_into(&topic, &mut found);
        found.sort();
        ids.sort();
        assert_eq!(found, ids);
        for filter in &filters {
            let id = table.find(filter).unwrap();
            assert_eq!(table.filter_of(id).as_deref(), Some(filter.as_str()));
            assert_eq!(table.remove(id), Some(()));
        }
    }

    /// Each filter is a node below the one before.
    #[test]
    fn a_long_chain_of_filters_comes_and_goes() {
        let filters: Vec<String> = (0..1_000).map(|depth| "+/".repeat(depth) + "a").collect();
        let mut chain: Vec<String> = (1..1_000).map(|count| vec!["+"; count].join("/")).collect();
        for _ in 0..2 {
            let mut table = FilterTable::with_seed(0);
            let ids: Vec<FilterId> = chain.iter().map(|filter| table.insert(filter, ())).collect();
            for (filter, id) in chain.iter().zip(&ids) {
                assert_eq!(table.filter_of(*id).as_deref(), Some(filter.as_str()));
                let mut found = Vec::new();
                table.match_into(&filter.replace('+', "x"), &mut found);
                assert_eq!(found, [*id]);
            }
            for filter in &filters {
                assert_eq!(table.find(filter), None);
            }
            assert_eq!(ids.into_iter().filter_map(|id| table.remove(id)).count(), chain.len());
            chain.reverse();
        }
    }

    #[test]
    fn places_are_used_again() {
        let mut table = FilterTable::with_seed(0);
        for round in 0..100 {
            let texts = (0..10).map(|it| format!("{round}/+/{}", it % 10));
            let ids: Vec<FilterId> = texts.map(|filter| table.insert(&filter, ())).collect();
            assert!(ids.iter().all(|id| id.index < 20), "{ids:?}");
            assert!(ids.iter().all(|id| table.remove(*id).is_some()));
        }
    }

    /// Matches every filter, with its wildcards replaced in some ways, against all of them.
    #[track_caller]
    fn check(filters: &[&str]) {
        let mut table = FilterTable::with_seed(0x5eed);
        for filter in filters {
            table.insert(filter, filter.to_string());
        }
        let topics = filters.iter().flat_map(|filter| {
            ["", "b", "load", "$SYS"].map(|level| filter.replace(['+', '#'], level))
        });
        for topic in topics.filter(|topic| !topic.is_empty()) {
            let mut ids = Vec::new();
            table.match_into(&topic, &mut ids);
            let mut found: Vec<&str> =
                ids.iter().map(|id| table.get(*id).unwrap().as_str()).collect();
            found.sort_unstable();
            let expected = filters.iter().filter(|filter| matches(filter, &topic));
            let mut expected: Vec<&str> = expected.copied().collect();
            expected.sort_unstable();
            assert_eq!(found, expected, "{topic}");
        }
    }
}
