//! Values by topic filter, found by the topics that the filters match.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::matches;

/// Names a filter in one [`FilterTable`], for as long as it is there.
///
/// The index is small and used again after a removal. The generation then differs, so that what still holds the old id
/// finds nothing.
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
    filters: BTreeMap<String, (u32, V)>,
    next: u32,
}

impl<V> FilterTable<V> {
    /// Creates an empty table. The seed keeps others from choosing filters that collide.
    pub fn with_seed(_seed: u64) -> Self {
        Self {
            filters: BTreeMap::new(),
            next: 0,
        }
    }

    /// Returns the id of `filter`, which is inserted with `value` when it is not there. A value that is there stays.
    pub fn insert(&mut self, filter: &str, value: V) -> FilterId {
        self.entry(filter, || value).0
    }

    /// Returns id and value of `filter`, which is inserted with what `make` returns when it is not there.
    pub fn entry(&mut self, filter: &str, make: impl FnOnce() -> V) -> (FilterId, &mut V) {
        let next = &mut self.next;
        let (index, value) = self.filters.entry(filter.into()).or_insert_with(|| {
            *next += 1;
            (*next, make())
        });
        (id(*index), value)
    }

    /// Removes a filter and returns its value.
    pub fn remove(&mut self, id: FilterId) -> Option<V> {
        let filter = self.filter_of(id)?.into_owned();
        self.filters.remove(&filter).map(|(_, value)| value)
    }

    /// Returns the value of a filter, `None` when it was removed.
    pub fn get_mut(&mut self, id: FilterId) -> Option<&mut V> {
        let mut all = self.filters.values_mut();
        all.find(|(index, _)| *index == id.index).map(|(_, v)| v)
    }

    /// Returns the value of a filter, `None` when it was removed.
    pub fn get(&self, id: FilterId) -> Option<&V> {
        let mut all = self.filters.values();
        all.find(|(index, _)| *index == id.index).map(|(_, v)| v)
    }

    /// Returns the id of `filter`.
    pub fn find(&self, filter: &str) -> Option<FilterId> {
        self.filters.get(filter).map(|(index, _)| id(*index))
    }

    /// Returns the text of a filter, `None` when it was removed.
    pub fn filter_of(&self, id: FilterId) -> Option<Cow<'_, str>> {
        let mut all = self.filters.iter();
        all.find(|(_, (index, _))| *index == id.index)
            .map(|(text, _)| Cow::Borrowed(text.as_str()))
    }

    /// Appends the id of every filter that matches `topic`, each once, in no particular order.
    pub fn match_into(&self, topic: &str, out: &mut Vec<FilterId>) {
        let all = self.filters.iter();
        let hits = all.filter(|(filter, _)| matches(filter, topic));
        out.extend(hits.map(|(_, (index, _))| id(*index)));
    }

    /// Returns the number of filters.
    pub fn len(&self) -> usize {
        self.filters.len()
    }

    /// Tells whether there is no filter.
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }
}

fn id(index: u32) -> FilterId {
    FilterId {
        index,
        generation: 0,
    }
}
