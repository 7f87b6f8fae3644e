//! Topic filter against topic, level by level: the definition that the indexes are tested against.

/// Tells whether `filter` matches `topic` (section 4.7 of MQTT 5.0).
///
/// A filter that starts with a wildcard matches no topic that starts with `$` ([MQTT-4.7.2-1]). An empty level is a
/// level, and `a/#` matches `a` as well as all below it.
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#')) {
        return false;
    }
    let mut topic_levels = topic.split('/');
    for level in filter.split('/') {
        match (level, topic_levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (literal, Some(found)) if literal == found => {}
            (_, _) => return false,
        }
    }
    topic_levels.next().is_none()
}

/// Tells whether any level of `filter` is a wildcard.
pub(crate) fn has_wildcard(filter: &str) -> bool {
    filter.split('/').any(|level| matches!(level, "+" | "#"))
}

/// Returns the text before the first separator: all of `text` when there is none.
pub(crate) fn first_level(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| *byte == b'/');
    &text[..end.unwrap_or(text.len())]
}

/// Tells whether the first level of `text` is `level`.
pub(crate) fn starts_with_level(text: &[u8], level: &[u8]) -> bool {
    let behind = text.strip_prefix(level);
    behind.is_some_and(|behind| matches!(behind, [] | [b'/', ..]))
}

/// Returns how many bytes the levels take that `one` and `other` begin with alike, without a separator behind.
///
/// Both begin with the same level.
pub(crate) fn common_levels(one: &[u8], other: &[u8]) -> usize {
    let pairs = one.iter().zip(other);
    let alike = pairs.take_while(|(a, b)| a == b).count();
    let ends_level = |text: &[u8]| text.get(alike).is_none_or(|byte| *byte == b'/');
    if ends_level(one) && ends_level(other) {
        return alike;
    }
    let last_separator = one[..alike].iter().rposition(|byte| *byte == b'/');
    last_separator.expect("the first level is the same")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [MQTT-4.7.1-1]
    #[test]
    fn number_sign_matches_the_parent_and_all_below() {
        check(
            "sport/tennis/player1/#",
            &[
                "sport/tennis/player1",
                "sport/tennis/player1/ranking",
                "sport/tennis/player1/score/wimbledon",
            ],
            &["sport/tennis", "sport/tennis/player2", "sport/tennis/player10"],
        );
        check("sport/#", &["sport", "sport/", "sport//"], &["sports", "spor"]);
        check("#", &["a", "/", "a/b", "//"], &[]);
    }

    /// [MQTT-4.7.1-2]
    #[test]
    fn plus_sign_matches_one_level() {
        check(
            "sport/tennis/+",
            &["sport/tennis/player1", "sport/tennis/"],
            &["sport/tennis", "sport/tennis/player1/ranking"],
        );
        check("sport/+", &["sport/"], &["sport", "sport//"]);
        check("+", &["finance"], &["/finance"]);
        check("+/+", &["/finance", "a/b", "/"], &["a", "a/b/c"]);
        check("/+", &["/finance", "/"], &["finance"]);
        check(
            "+/tennis/#",
            &["sport/tennis", "/tennis", "a/tennis/b/c"],
            &["tennis", "a/b/tennis"],
        );
    }

    /// Section 4.7.3: a separator makes levels, also empty ones.
    #[test]
    fn empty_levels_are_levels() {
        check("/", &["/"], &["", "//", "a/", "/a"]);
        check("a//b", &["a//b"], &["a/b", "a///b"]);
        check("a/+/b", &["a//b", "a/x/b"], &["a/b"]);
        check("+/#", &["a", "/", "/a"], &[]);
    }

    /// [MQTT-4.7.2-1]
    #[test]
    fn leading_wildcard_skips_dollar_topics() {
        check("#", &["a", "/", "a/$SYS"], &["$SYS", "$SYS/load", "$"]);
        check("+/load", &["a/load"], &["$SYS/load"]);
        check("+/#", &["a/load"], &["$SYS/load", "$SYS"]);
        check("$SYS/#", &["$SYS", "$SYS/load"], &["a/$SYS"]);
        check("$SYS/+", &["$SYS/load", "$SYS/$x"], &["$SYS"]);
    }

    /// [MQTT-4.7.3-4]
    #[test]
    fn text_is_compared_as_it_is() {
        check("ACCOUNTS", &["ACCOUNTS"], &["Accounts", "ACCOUNTS ", " ACCOUNTS"]);
        // The same to the eye: composed, and as a letter with a combining accent.
        check("caf\u{e9}", &["caf\u{e9}"], &["cafe\u{301}"]);
    }

    #[track_caller]
    fn check(filter: &str, hits: &[&str], misses: &[&str]) {
        for topic in hits {
            assert!(matches(filter, topic), "{filter} should match {topic}");
        }
        for topic in misses {
            assert!(!matches(filter, topic), "{filter} should not match {topic}");
        }
    }

    #[test]
    fn common_levels_end_at_a_separator() {
        for (one, other, common) in [
            ("a", "a", "a"),
            ("a/b", "a/c", "a"),
            ("a/bc", "a/bd", "a"),
            ("a", "a/b", "a"),
            ("a/", "a", "a"),
            ("a/", "a/b", "a"),
            ("", "/a", ""),
            ("//", "/", "/"),
            ("a/b/c", "a/b/", "a/b"),
        ] {
            assert_eq!(
                common_levels(one.as_bytes(), other.as_bytes()),
                common.len(),
                "{one} {other}"
            );
            assert_eq!(
                common_levels(other.as_bytes(), one.as_bytes()),
                common.len(),
                "{other} {one}"
            );
        }
    }
}
