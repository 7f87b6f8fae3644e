//! The filter table against a list of filters and the definition of matching.

use proptest::prelude::*;
use quelea_topics::{FilterId, FilterTable, matches};

#[derive(Clone, Debug)]
enum Operation {
    Insert(String),
    /// The n-th of the filters that are there.
    Remove(usize),
    Match(String),
}

/// The filters that are there, and the ids of those that are gone.
#[derive(Default)]
struct Model {
    filters: Vec<(String, FilterId, u32)>,
    gone: Vec<FilterId>,
}

proptest! {
    #[test]
    fn behaves_like_a_list(seed: u64, operations in prop::collection::vec(operation(), 0..200)) {
        let mut table = FilterTable::with_seed(seed);
        let mut model = Model::default();
        for (value, operation) in operations.into_iter().enumerate() {
            match operation {
                Operation::Insert(filter) => model.insert(&mut table, filter, value as u32),
                Operation::Remove(place) => model.remove(&mut table, place),
                Operation::Match(topic) => model.check_match(&table, &topic),
            }
            model.check_all(&table);
        }
        while !model.filters.is_empty() {
            model.remove(&mut table, 0);
            model.check_all(&table);
        }
        // Nothing is left behind that another filter could meet.
        prop_assert!(table.is_empty());
        for topic in ["a", "", "a/b/c", "$a/b"] {
            model.check_match(&table, topic);
        }
    }
}

impl Model {
    fn insert(&mut self, table: &mut FilterTable<u32>, filter: String, value: u32) {
        let known = self.filters.iter().find(|(text, ..)| *text == filter);
        let known = known.map(|(_, id, value)| (*id, *value));
        let (id, found) = table.entry(&filter, || value);
        if let Some(known) = known {
            assert_eq!((id, *found), known);
        } else {
            assert_eq!(*found, value);
            assert!(self.filters.iter().all(|(_, other, _)| other.index != id.index));
            self.filters.push((filter, id, value));
        }
    }

    fn remove(&mut self, table: &mut FilterTable<u32>, place: usize) {
        if self.filters.is_empty() {
            return;
        }
        let (_, id, value) = self.filters.swap_remove(place % self.filters.len());
        assert_eq!(table.remove(id), Some(value));
        self.gone.push(id);
    }

    fn check_match(&self, table: &FilterTable<u32>, topic: &str) {
        let hits = self.filters.iter().filter(|(filter, ..)| matches(filter, topic));
        let mut expected: Vec<FilterId> = hits.map(|(_, id, _)| *id).collect();
        let mut found = Vec::new();
        table.match_into(topic, &mut found);
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{topic}");
    }

    fn check_all(&self, table: &FilterTable<u32>) {
        assert_eq!(table.len(), self.filters.len());
        for (filter, id, value) in &self.filters {
            assert_eq!(table.find(filter), Some(*id));
            assert_eq!(table.get(*id), Some(value));
            assert_eq!(table.filter_of(*id).as_deref(), Some(filter.as_str()));
        }
        for id in &self.gone {
            assert_eq!((table.get(*id), table.filter_of(*id)), (None, None), "{id:?} is gone");
        }
    }
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => filter().prop_map(Operation::Insert),
        2 => any::<usize>().prop_map(Operation::Remove),
        3 => topic().prop_map(Operation::Match),
    ]
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![6 => level(), 3 => Just("+".to_owned())];
    (prop::collection::vec(level, 1..6), prop::bool::weighted(0.25)).prop_map(
        |(mut levels, ends_open)| {
            if ends_open {
                *levels.last_mut().expect("there is a level") = "#".to_owned();
            }
            levels.join("/")
        },
    )
}

fn topic() -> impl Strategy<Value = String> {
    prop::collection::vec(level(), 1..6).prop_map(|levels| levels.join("/"))
}

/// Few and alike, so that most operations meet what others have left.
fn level() -> impl Strategy<Value = String> {
    prop::sample::select(LEVELS).prop_map(str::to_owned)
}

const LEVELS: &[&str] = &["", "a", "b", "ab", "$", "$a", "\u{e9}", "a level of more than 22 bytes"];
