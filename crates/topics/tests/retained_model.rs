//! The retained store against a map and the definition of matching.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use quelea_topics::{RetainedStore, matches};

#[derive(Clone, Debug)]
enum Change {
    Insert(String),
    Remove(String),
}

proptest! {
    #[test]
    fn behaves_like_a_map(changes in prop::collection::vec(change(), 0..200)) {
        let mut store = RetainedStore::new();
        let mut model = BTreeMap::new();
        for (value, change) in changes.into_iter().enumerate() {
            apply(&change, value, &mut store, &mut model);
            for (topic, value) in &model {
                prop_assert_eq!(store.get(topic), Some(value));
            }
            let (Change::Insert(topic) | Change::Remove(topic)) = &change;
            prop_assert_eq!(store.get(topic), model.get(topic));
            prop_assert_eq!(store.get_mut(topic), model.get_mut(topic));
        }
    }

    #[test]
    fn one_scan_visits_what_matches(
        topics in prop::collection::btree_set(topic(), 0..60),
        filter in filter(),
    ) {
        let mut store = RetainedStore::new();
        for topic in &topics {
            store.insert(topic, ());
        }
        let mut visited = Vec::new();
        let end = store.scan(&filter, None, usize::MAX, &mut |topic, ()| {
            visited.push(topic.to_owned());
            true
        });
        prop_assert_eq!(end, None);
        let expected = topics.iter().filter(|topic| matches(&filter, topic));
        let mut expected: Vec<String> = expected.cloned().collect();
        // The order of the levels: what is below a topic follows it at once.
        expected.sort_by(|one, other| one.split('/').cmp(other.split('/')));
        prop_assert_eq!(visited, expected);
    }

    /// A topic that is there from the first slice to the last is visited once, whatever else comes and goes.
    #[test]
    fn slices_visit_the_same_as_one_scan(
        topics in prop::collection::vec(topic(), 0..40),
        filter in filter(),
        slices in prop::collection::vec((1..6_usize, 1..4_usize, prop::collection::vec(change(), 0..6)), 1..40),
    ) {
        let mut store = RetainedStore::new();
        let mut model = BTreeMap::new();
        for topic in topics {
            apply(&Change::Insert(topic), 0, &mut store, &mut model);
        }
        let mut always_there: BTreeSet<String> = model.keys().cloned().collect();
        let mut ever_there = always_there.clone();
        let mut visited = Vec::new();
        let mut after: Option<Box<str>> = None;
        for (work_max, visits_max, changes) in slices.iter().cycle() {
            let mut visits = 0;
            after = store.scan(&filter, after.as_deref(), *work_max, &mut |topic, _| {
                visited.push(topic.to_owned());
                visits += 1;
                visits < *visits_max
            });
            prop_assert!(visits <= *work_max && visits <= *visits_max);
            if after.is_none() {
                break;
            }
            // The topic behind which the scan goes on may go too.
            for change in changes {
                apply(change, 1, &mut store, &mut model);
            }
            always_there.retain(|topic| model.contains_key(topic));
            ever_there.extend(model.keys().cloned());
        }
        let set: BTreeSet<String> = visited.iter().cloned().collect();
        prop_assert_eq!(set.len(), visited.len(), "nothing is visited twice");
        let is_hit = |topic: &&String| matches(&filter, topic);
        prop_assert!(always_there.iter().filter(is_hit).all(|topic| set.contains(topic)));
        prop_assert!(set.iter().all(|topic| is_hit(&topic) && ever_there.contains(topic)));
    }
}

fn apply(
    change: &Change,
    value: usize,
    store: &mut RetainedStore<usize>,
    model: &mut BTreeMap<String, usize>,
) {
    match change {
        Change::Insert(topic) => {
            assert_eq!(store.insert(topic, value), model.insert(topic.clone(), value))
        }
        Change::Remove(topic) => assert_eq!(store.remove(topic), model.remove(topic)),
    }
    assert_eq!(store.len(), model.len());
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![topic().prop_map(Change::Insert), topic().prop_map(Change::Remove)]
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![2 => level(), 1 => Just("+".to_owned())];
    (prop::collection::vec(level, 1..5), prop::bool::weighted(0.3)).prop_map(
        |(mut levels, ends_open)| {
            if ends_open {
                *levels.last_mut().expect("there is a level") = "#".to_owned();
            }
            levels.join("/")
        },
    )
}

fn topic() -> impl Strategy<Value = String> {
    prop::collection::vec(level(), 1..5).prop_map(|levels| levels.join("/"))
}

/// Few and alike, with characters on both sides of the separator in the order of bytes.
fn level() -> impl Strategy<Value = String> {
    prop::sample::select(LEVELS).prop_map(str::to_owned)
}

const LEVELS: &[&str] = &["", "a", "b", "ab", "$", "$a", "!", "%", "\u{1}", "\u{e9}", "\u{10ffff}"];
