//! The known key that someone probably meant.

use super::Config;
use super::{acl, listener, listener_keys};

/// Returns the key of the setting nearest to `unknown`, if one is near.
///
/// Words in another order count as near, so that `max_connections` finds `connections_max`, and so does the
/// right name in the wrong table.
pub(super) fn nearest_key(unknown: &str) -> Option<String> {
    let known = Config::settings().map(|setting| setting.key());
    let sections = Config::settings().map(|setting| setting.section.to_owned());
    let table = listener::TABLE;
    let listener = listener_keys::keys().map(|key| format!("{table}.{}", key.name));
    let acl_keys = acl::keys().map(|key| format!("{}.{}", acl::TABLE, key.name));
    known
        .chain([acl::TABLE.to_owned()])
        .chain(acl_keys)
        .chain(sections.filter(|section| !section.is_empty()))
        .chain(listener)
        .chain(
            ["", ".authentication", ".tls", ".forwarded_for", ".proxy_protocol"]
                .map(|name| format!("{table}{name}")),
        )
        // Of two names in other tables, the one whose table is nearer.
        .map(|key| (difference(unknown, &key), edits(unknown, &key), key))
        .filter(|(difference, _, key)| *difference <= key.len().min(unknown.len()) / 3)
        .min()
        .map(|(.., key)| key)
}

/// Returns the nearest of a few names, if one is near.
pub(super) fn nearest_of<'a>(unknown: &str, names: &[&'a str]) -> Option<&'a str> {
    let near = names.iter().map(|name| (difference(unknown, name), *name));
    near.filter(|(difference, name)| *difference <= name.len() / 3).min().map(|(_, name)| name)
}

/// Counts the changes between two keys; another table counts as one.
fn difference(unknown: &str, key: &str) -> usize {
    let whole = edits(unknown, key);
    let (unknown, key) = (name_of(unknown), name_of(key));
    let name = 1 + edits(unknown, key).min(edits(&sorted_words(unknown), &sorted_words(key)));
    whole.min(name)
}

/// Returns the part after the table.
fn name_of(key: &str) -> &str {
    key.rsplit_once('.').map_or(key, |(_, name)| name)
}

fn sorted_words(name: &str) -> String {
    let mut words: Vec<&str> = name.split('_').collect();
    words.sort_unstable();
    words.join("_")
}

/// Counts the insertions, deletions and replacements that make `left` into `right` (Levenshtein's distance).
fn edits(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (left_index, left_byte) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = left_index + 1;
        for (right_index, right_byte) in right.bytes().enumerate() {
            let replaced = diagonal + usize::from(left_byte != right_byte);
            diagonal = row[right_index + 1];
            row[right_index + 1] = replaced.min(diagonal + 1).min(row[right_index] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_keys_are_found() {
        check("limits.conections_max", Some("limits.connections_max"));
        check("limits.max_connections", Some("limits.connections_max"));
        check("packet_bytes_max", Some("limits.packet_bytes_max"));
        check("limits.shards", Some("shards"));
        check("alow_anonymous", Some("allow_anonymous"));
        check("listeners", Some("listener"));
        check("listener.adress", Some("listener.address"));
        check("acl.topic", Some("acl.topics"));
        check("acls", Some("acl"));
        check("persistence", None);
        check("x", None);
    }

    #[track_caller]
    fn check(unknown: &str, expected: Option<&str>) {
        assert_eq!(nearest_key(unknown).as_deref(), expected, "{unknown}");
    }
}
