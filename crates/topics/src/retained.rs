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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_a_topic_follows_it() {
        check(
            "#",
            &["a!", "a/b/c", "b", "a", "/", "a/b", "a/", "ab", "/a"],
            &["/", "/a", "a", "a/", "a/b", "a/b/c", "a!", "ab", "b"],
        );
    }

    /// [MQTT-4.7.1-1], [MQTT-4.7.1-2]
    #[test]
    fn wildcards_match_as_defined() {
        let topics = ["a", "a/b", "a/b/c", "a/b/c/d", "a/c", "a/c/c", "ab/c", "b/b/c"];
        check("a/#", &topics, &["a", "a/b", "a/b/c", "a/b/c/d", "a/c", "a/c/c"]);
        check("a/+", &topics, &["a/b", "a/c"]);
        check("a/+/c", &topics, &["a/b/c", "a/c/c"]);
        check("+/b/c", &topics, &["a/b/c", "b/b/c"]);
        check("+/+", &topics, &["a/b", "a/c", "ab/c"]);
        check("a/b/c", &topics, &["a/b/c"]);
        check("a/b/x", &topics, &[]);
        check("+/b/#", &topics, &["a/b", "a/b/c", "a/b/c/d", "b/b/c"]);
    }

    /// Section 4.7.3: a separator makes levels, also empty ones.
    #[test]
    fn empty_levels_are_levels() {
        let topics = ["/", "//", "/a", "a", "a/", "a//b", "a/b"];
        check("+/+", &topics, &["/", "/a", "a/", "a/b"]);
        check("/+", &topics, &["/", "/a"]);
        check("/#", &topics, &["/", "//", "/a"]);
        check("a/+/b", &topics, &["a//b"]);
        check("+", &topics, &["a"]);
    }

    /// [MQTT-4.7.2-1]
    #[test]
    fn leading_wildcard_skips_dollar_topics() {
        let topics = ["!", "$", "$SYS", "$SYS/load", "a/$SYS", "a/load"];
        check("#", &topics, &["!", "a/$SYS", "a/load"]);
        check("+/load", &topics, &["a/load"]);
        check("+", &topics, &["!"]);
        check("$SYS/#", &topics, &["$SYS", "$SYS/load"]);
        check("$SYS/+", &topics, &["$SYS/load"]);
    }

    #[test]
    fn subtrees_that_cannot_match_are_skipped() {
        let mut store = RetainedStore::new();
        for it in 0..1_000 {
            store.insert(&format!("a/noise/{it}"), ());
            store.insert(&format!("b/noise/{it}"), ());
        }
        store.insert("a/wanted/1", ());
        store.insert("b/wanted/1", ());
        for filter in ["+/wanted/+", "+/wanted/#", "+/+/1"] {
            let work_max = if filter == "+/+/1" { 16 } else { 8 };
            let mut visited = Vec::new();
            let end = store.scan(filter, None, work_max, &mut |topic, ()| {
                visited.push(topic.to_owned());
                true
            });
            assert_eq!(end, None, "{filter}");
            assert!(visited.contains(&"b/wanted/1".to_owned()), "{filter}");
        }
    }

    #[test]
    fn a_scan_stops_and_goes_on() {
        let mut store = RetainedStore::new();
        for topic in ["a", "b", "c", "d"] {
            store.insert(topic, ());
        }
        let scan = |after: Option<&str>, work_max, visits_max: usize| {
            let mut visited = String::new();
            let end = store.scan("#", after, work_max, &mut |topic, ()| {
                visited.push_str(topic);
                visited.len() < visits_max
            });
            (visited, end.as_deref().map(str::to_owned))
        };
        let some = |topic: &str| Some(topic.to_owned());
        assert_eq!(scan(None, 2, 9), ("ab".into(), some("b")));
        assert_eq!(scan(Some("b"), 9, 1), ("c".into(), some("c")), "the last one visited counts");
        assert_eq!(
            scan(Some("bb"), 9, 9),
            ("cd".into(), None),
            "where it goes on need not be there"
        );
        assert_eq!(scan(Some("d"), 9, 9), (String::new(), None));
        assert_eq!(scan(None, 0, 9), ("a".into(), some("a")), "a scan always gets on");
        assert_eq!(scan(None, 4, 9), ("abcd".into(), None), "nothing is left to go on for");
    }

    /// [MQTT-4.7.3-3] A branch at every byte: neither the stack nor the time may depend on it.
    #[test]
    fn the_deepest_topics_are_nothing_special() {
        let deepest = "/".repeat(65_535);
        let mut store = RetainedStore::new();
        for length in (1..=65_535).step_by(257) {
            assert_eq!(store.insert(&deepest[..length], length), None);
        }
        let mut visited = Vec::new();
        let end = store.scan("#", None, usize::MAX, &mut |topic, length| {
            assert_eq!(topic.len(), *length);
            visited.push(*length);
            true
        });
        assert_eq!(end, None);
        assert!(visited.is_sorted());
        assert!(visited.iter().all(|length| store.remove(&deepest[..*length]) == Some(*length)));
        assert!(store.is_empty());
    }

    #[track_caller]
    fn check(filter: &str, topics: &[&str], expected: &[&str]) {
        let mut store = RetainedStore::new();
        for topic in topics {
            assert_eq!(store.insert(topic, topic.len()), None);
        }
        let mut visited = Vec::new();
        let end = store.scan(filter, None, usize::MAX, &mut |topic, length| {
            assert_eq!(topic.len(), *length);
            visited.push(topic.to_owned());
            true
        });
        assert_eq!(
            (visited, end),
            (expected.iter().map(|it| it.to_string()).collect(), None),
            "{filter}"
        );
    }
}
