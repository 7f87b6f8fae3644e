//! Operations on the filter table and on the retained topics, against models that are obviously right.

use std::collections::{BTreeMap, BTreeSet};

use quelea_topics::{FilterId, FilterTable, RetainedStore, matches};

/// Reads `input` as operations: a byte for what to do, then a topic or filter (`text`).
pub fn check_operations(input: &[u8]) {
    let mut filters = Filters { table: FilterTable::with_seed(1), model: BTreeMap::new() };
    let mut topics = Topics { store: RetainedStore::new(), model: BTreeMap::new() };
    let mut bytes = input.iter().copied();
    while let Some(operation) = bytes.next() {
        match operation % 6 {
            0 | 1 => filters.insert(&text(&mut bytes, FILTER_LEVELS)),
            2 => filters.remove(&text(&mut bytes, FILTER_LEVELS)),
            3 => filters.check(&text(&mut bytes, TOPIC_LEVELS)),
            4 => topics.toggle(&text(&mut bytes, TOPIC_LEVELS)),
            _ => topics.check(&text(&mut bytes, FILTER_LEVELS), 1 + usize::from(operation) / 6),
        }
    }
}

struct Filters {
    table: FilterTable<String>,
    model: BTreeMap<String, FilterId>,
}

impl Filters {
    fn insert(&mut self, filter: &str) {
        let id = self.table.insert(filter, filter.to_owned());
        let known = self.model.insert(filter.to_owned(), id);
        assert!(known.is_none_or(|it| it == id), "a filter that is there keeps its id");
        assert_eq!(self.table.find(filter), Some(id));
    }

    fn remove(&mut self, filter: &str) {
        let Some(id) = self.model.remove(filter) else {
            assert_eq!(self.table.find(filter), None);
            return;
        };
        assert_eq!(self.table.remove(id).as_deref(), Some(filter));
        assert_eq!(self.table.get(id), None, "an id dies with its filter");
        assert_eq!(self.table.len(), self.model.len());
    }

    fn check(&self, topic: &str) {
        let mut found = Vec::new();
        self.table.match_into(topic, &mut found);
        let unique: BTreeSet<FilterId> = found.iter().copied().collect();
        assert_eq!(unique.len(), found.len(), "{topic}: each filter once");
        let expected = self.model.iter().filter(|(filter, _)| matches(filter, topic));
        assert_eq!(unique, expected.map(|(_, id)| *id).collect(), "{topic}");
        for id in found {
            let filter = self.table.get(id).expect("what matches is there");
            assert_eq!(self.table.filter_of(id).as_deref(), Some(filter.as_str()));
        }
    }
}

struct Topics {
    store: RetainedStore<u32>,
    model: BTreeMap<String, u32>,
}

impl Topics {
    fn toggle(&mut self, topic: &str) {
        let value = self.model.len() as u32;
        match self.model.remove(topic) {
            Some(old) => assert_eq!(self.store.remove(topic), Some(old)),
            None => {
                assert_eq!(self.store.insert(topic, value), None);
                self.model.insert(topic.to_owned(), value);
            }
        }
        assert_eq!(self.store.len(), self.model.len());
        assert_eq!(self.store.get(topic), self.model.get(topic));
    }

    /// A scan in slices finds what one look at everything finds, each once, and comes to an end.
    fn check(&self, filter: &str, work_max: usize) {
        let mut found = BTreeMap::new();
        let mut after: Option<Box<str>> = None;
        for _ in 0..=2 * self.model.len() {
            after = self.store.scan(filter, after.as_deref(), work_max, &mut |topic, value| {
                assert_eq!(found.insert(topic.to_owned(), *value), None, "{topic}: once");
                true
            });
            if after.is_none() {
                break;
            }
        }
        assert_eq!(after, None, "{filter}: the scan ends");
        let expected = self.model.iter().filter(|(topic, _)| matches(filter, topic));
        assert_eq!(found, expected.map(|(topic, value)| (topic.clone(), *value)).collect());
    }
}

/// Reads a byte for the number of levels, at most 6, and one for each level.
fn text(bytes: &mut impl Iterator<Item = u8>, levels: &[&str]) -> String {
    let count = usize::from(bytes.next().unwrap_or_default()) % 6;
    let mut text = String::new();
    for index in 0..=count {
        let level = levels[usize::from(bytes.next().unwrap_or_default()) % levels.len()];
        if index > 0 {
            text.push('/');
        }
        text += level;
        // Only the last level of a filter may be `#`.
        if level == "#" {
            break;
        }
    }
    // A topic has at least one character.
    if text.is_empty() { "a".to_owned() } else { text }
}

const TOPIC_LEVELS: &[&str] = &["", "a", "b", "ab", "$S", "a\u{e9}"];
const FILTER_LEVELS: &[&str] = &["", "a", "b", "ab", "$S", "a\u{e9}", "+", "+", "#"];
