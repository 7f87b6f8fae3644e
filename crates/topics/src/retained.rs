//! Values by topic, in an order in which a scan can stop and go on: the dual of the filter table.

use crate::radix_tree::RadixTree;

/// Retained messages, or anything else, by topic.
#[derive(Debug)]
pub struct RetainedStore<V> {
    topics: RadixTree<V>,
    topic_count: usize,
}

impl<V> Default for RetainedStore<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V> RetainedStore<V> {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self { topics: RadixTree::new(), topic_count: 0 }
    }

    /// Sets the value of `topic` and returns the one it had.
    pub fn insert(&mut self, topic: &str, value: V) -> Option<V> {
        let old = self.topics.insert(topic, value);
        self.topic_count += usize::from(old.is_none());
        old
    }

    /// Removes `topic` and returns its value.
    pub fn remove(&mut self, topic: &str) -> Option<V> {
        let old = self.topics.remove(topic);
        self.topic_count -= usize::from(old.is_some());
        old
    }

    /// Returns the value of `topic`.
    pub fn get_mut(&mut self, topic: &str) -> Option<&mut V> {
        self.topics.get_mut(topic)
    }

    /// Returns the value of `topic`.
    pub fn get(&self, topic: &str) -> Option<&V> {
        self.topics.get(topic)
    }

    /// Visits the topics that `filter` matches and that come after `after`, in the order of the store.
    ///
    /// The order is fixed by the texts alone: a topic is followed by all that is below it, then by its next sibling.
    /// `after` need not be in the store, so topics may come and go between two scans.
    ///
    /// Stops behind the topic for which `visit` returns false (it counts as visited), and after `work_max` topics were
    /// looked at, at least one. Returns the topic to go on behind, or `None` when nothing is left.
    ///
    /// A filter that starts with a wildcard does not match a topic that starts with `$` ([MQTT-4.7.2-1]).
    pub fn scan(
        &self,
        filter: &str,
        after: Option<&str>,
        work_max: usize,
        visit: &mut dyn FnMut(&str, &V) -> bool,
    ) -> Option<Box<str>> {
        let mut cursor = self.topics.cursor();
        let mut bound = String::new();
        let mut found = match after {
            None => cursor.seek(literal_start(filter)),
            Some(after) => {
                let at = cursor.seek(after);
                at.and_then(|(topic, _)| if topic == after { cursor.next() } else { at })
            }
        };
        let mut work_left = work_max.max(1);
        while let Some((topic, value)) = found {
            let mut goes_on = true;
            found = match compare(filter, topic, &mut bound) {
                Verdict::Match => {
                    goes_on = visit(topic, value);
                    cursor.next()
                }
                Verdict::GoOnAtBound => cursor.seek(&bound),
                Verdict::NothingBehind => return None,
            };
            work_left -= 1;
            if found.is_some() && (work_left == 0 || !goes_on) {
                return Some(topic.into());
            }
        }
        None
    }

    /// Returns the number of topics.
    pub fn len(&self) -> usize {
        self.topic_count
    }

    /// Tells whether there is no topic.
    pub fn is_empty(&self) -> bool {
        self.topic_count == 0
    }
}

/// What a filter has to do with a topic, and with those behind it.
enum Verdict {
    Match,
    /// No match, and none before the bound that was set.
    GoOnAtBound,
    NothingBehind,
}

/// Compares a filter with a topic. Unless they match, no topic between this one and the bound matches either.
fn compare(filter: &str, topic: &str, bound: &mut String) -> Verdict {
    let mut go_on_at = |start: &str, level: &str| {
        bound.clear();
        bound.push_str(start);
        bound.push_str(level);
        Verdict::GoOnAtBound
    };
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return go_on_at(BEHIND_DOLLAR, "");
    }
    // Where the last level ends that a `+` matched: its siblings are what may match when all else is decided.
    let mut plus_end = None;
    let mut offset = 0;
    for level in filter.split('/') {
        if level == "#" {
            return Verdict::Match;
        }
        let Some(rest) = topic.get(offset..) else {
            // The topic ends above what the filter asks for.
            let below = if level == "+" { "" } else { level };
            return go_on_at(&[topic, "/"].concat(), below);
        };
        let found = &rest[..rest.find('/').unwrap_or(rest.len())];
        let end = offset + found.len();
        if level == "+" {
            plus_end = Some(end);
        } else if found < level {
            return go_on_at(&topic[..offset], level);
        } else if found > level {
            return behind_siblings(topic, plus_end, go_on_at);
        }
        offset = end + 1;
    }
    if offset > topic.len() {
        return Verdict::Match;
    }
    behind_siblings(topic, plus_end, go_on_at)
}

/// Goes on behind all that is below the level that the last `+` matched.
fn behind_siblings(
    topic: &str,
    plus_end: Option<usize>,
    mut go_on_at: impl FnMut(&str, &str) -> Verdict,
) -> Verdict {
    match plus_end {
        None => Verdict::NothingBehind,
        Some(end) => go_on_at(&topic[..end], BEHIND_ALL_BELOW),
    }
}

/// Returns a text that no match of a filter comes before: its levels before the first wildcard.
fn literal_start(filter: &str) -> &str {
    let Some(wildcard) = filter.find(['+', '#']) else {
        return filter;
    };
    let start = &filter[..wildcard];
    // Without the separator: `a/#` matches `a`.
    start.strip_suffix('/').unwrap_or(start)
}

/// The lowest text that is behind all that starts with a `$`.
const BEHIND_DOLLAR: &str = "%";
/// Put behind a topic, makes the lowest text that is behind all that is below the topic.
const BEHIND_ALL_BELOW: &str = "\0";
