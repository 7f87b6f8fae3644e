//! Values by topic, in an order in which a scan can stop and go on: the dual of the filter table.

use std::collections::BTreeMap;

use crate::matches;

/// Retained messages, or anything else, by topic.
#[derive(Debug)]
pub struct RetainedStore<V> {
    topics: BTreeMap<Box<str>, V>,
}

impl<V> Default for RetainedStore<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V> RetainedStore<V> {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self {
            topics: BTreeMap::new(),
        }
    }

    /// Sets the value of `topic` and returns the one it had.
    pub fn insert(&mut self, topic: &str, value: V) -> Option<V> {
        self.topics.insert(topic.into(), value)
    }

    /// Removes `topic` and returns its value.
    pub fn remove(&mut self, topic: &str) -> Option<V> {
        self.topics.remove(topic)
    }

    /// Returns the value of `topic`.
    pub fn get(&self, topic: &str) -> Option<&V> {
        self.topics.get(topic)
    }

    /// Returns the value of `topic`.
    pub fn get_mut(&mut self, topic: &str) -> Option<&mut V> {
        self.topics.get_mut(topic)
    }

    /// Returns the number of topics.
    pub fn len(&self) -> usize {
        self.topics.len()
    }

    /// Tells whether there is no topic.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Visits the topics that `filter` matches and that come after `after` in the order of the store.
    ///
    /// Stops behind the topic for which `visit` returns false (it counts as visited), and after `work_max` topics were
    /// looked at, at least one. Returns the topic to go on behind, or `None` when nothing is left.
    pub fn scan(
        &self,
        filter: &str,
        after: Option<&str>,
        work_max: usize,
        visit: &mut dyn FnMut(&str, &V) -> bool,
    ) -> Option<Box<str>> {
        let rest = self
            .topics
            .iter()
            .filter(|(topic, _)| after.is_none_or(|after| &***topic > after));
        for (work, (topic, value)) in rest.enumerate() {
            let goes_on = !matches(filter, topic) || visit(topic, value);
            if !goes_on || work + 1 >= work_max {
                return Some(topic.clone());
            }
        }
        None
    }
}
