//! Topic filter against topic, level by level: the definition that the indexes are tested against.

/// Tells whether `filter` matches `topic` (section 4.7 of MQTT 5.0).
///
/// A filter that starts with a wildcard matches no topic that starts with `$` ([MQTT-4.7.2-1]). An empty level is a
/// level, and `a/#` matches `a` as well as all below it.
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && is_wildcard(first_level(filter)) {
        return false;
    }
    let mut topic_levels = topic.split('/');
    for level in filter.split('/') {
        match (level, topic_levels.next()) {
            ("#", _) | ("+", Some(_)) => {}
            (literal, Some(found)) if literal == found => {}
            (_, _) => return false,
        }
        if level == "#" {
            return true;
        }
    }
    topic_levels.next().is_none()
}

/// Tells whether any level of `filter` is a wildcard.
pub(crate) fn has_wildcard(filter: &str) -> bool {
    filter.split('/').any(is_wildcard)
}

/// Returns the text before the first separator: all of `text` when there is none.
pub(crate) fn first_level(text: &str) -> &str {
    &text[..text.find('/').unwrap_or(text.len())]
}

pub(crate) fn is_wildcard(level: &str) -> bool {
    matches!(level, "+" | "#")
}
