//! The syntax of topic names and topic filters (sections 4.7 and 4.8.2).
//!
//! Only the form is judged here. Which topics match which filters is the business of `quelea-topics`.

use core::fmt;

/// What a well-formed topic filter is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterShape<'a> {
    /// The share name and the filter behind it, if this is a shared subscription.
    pub shared: Option<(&'a str, &'a str)>,
    /// Whether the filter, or the one behind the share name, contains a wildcard.
    pub has_wildcard: bool,
}

/// Why a topic filter is ill-formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterError {
    /// The filter has no character.
    Empty,
    /// `#` that is not the last level, or `#` beside other characters in its level.
    MultiLevelWildcard,
    /// U+0000 in the filter.
    NullCharacter,
    /// A shared subscription without a filter behind the share name.
    ShareFilterMissing,
    /// An empty share name, or a wildcard in it.
    ShareName,
    /// `+` beside other characters in its level.
    SingleLevelWildcard,
    /// More than 65,535 bytes.
    TooLong,
}

/// Returns whether `name` is a topic name that a PUBLISH may carry: not empty, no wildcard, no U+0000, at
/// most 65,535 bytes ([MQTT-4.7.0-1], [MQTT-4.7.3-1], [MQTT-4.7.3-2], [MQTT-4.7.3-3]).
pub fn is_valid_topic_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= STRING_BYTES_MAX
        && !name.bytes().any(|byte| matches!(byte, 0 | b'+' | b'#'))
}

/// Checks the form of a topic filter, `$share/{ShareName}/{filter}` included.
///
/// # Errors
///
/// The first rule of section 4.7 or 4.8.2 that the filter breaks.
pub fn check_topic_filter(filter: &str) -> Result<FilterShape<'_>, FilterError> {
    if filter.len() > STRING_BYTES_MAX {
        return Err(FilterError::TooLong);
    }
    let Some(share) = filter.strip_prefix("$share/") else {
        // "$share" alone is a plain filter: a shared one starts with "$share/" ([MQTT-4.8.2-1]).
        let has_wildcard = check_levels(filter)?;
        return Ok(FilterShape { shared: None, has_wildcard });
    };
    let (name, shared_filter) = share.split_once('/').ok_or(FilterError::ShareFilterMissing)?;
    if name.is_empty() || name.bytes().any(|byte| matches!(byte, b'+' | b'#')) {
        return Err(FilterError::ShareName);
    }
    if name.contains('\0') {
        return Err(FilterError::NullCharacter);
    }
    if shared_filter.is_empty() {
        return Err(FilterError::ShareFilterMissing);
    }
    let has_wildcard = check_levels(shared_filter)?;
    Ok(FilterShape { shared: Some((name, shared_filter)), has_wildcard })
}

/// Checks the levels of a filter without share name, and returns whether one is a wildcard.
fn check_levels(filter: &str) -> Result<bool, FilterError> {
    let bytes = filter.as_bytes();
    if bytes.is_empty() {
        return Err(FilterError::Empty);
    }
    let mut has_wildcard = false;
    for (index, &byte) in bytes.iter().enumerate() {
        let starts_level = index == 0 || bytes[index - 1] == b'/';
        let next = bytes.get(index + 1);
        match byte {
            0 => return Err(FilterError::NullCharacter),
            b'#' if !starts_level || next.is_some() => return Err(FilterError::MultiLevelWildcard),
            b'+' if !starts_level || next.is_some_and(|&next| next != b'/') => {
                return Err(FilterError::SingleLevelWildcard);
            }
            b'#' | b'+' => has_wildcard = true,
            _ => {}
        }
    }
    Ok(has_wildcard)
}

impl FilterError {
    /// Returns the broken statement of MQTT 5.0.
    pub fn statement(self) -> &'static str {
        match self {
            Self::Empty => "MQTT-4.7.3-1",
            Self::MultiLevelWildcard => "MQTT-4.7.1-1",
            Self::NullCharacter => "MQTT-4.7.3-2",
            Self::ShareFilterMissing => "MQTT-4.8.2-2",
            Self::ShareName => "MQTT-4.8.2-1",
            Self::SingleLevelWildcard => "MQTT-4.7.1-2",
            Self::TooLong => "MQTT-4.7.3-3",
        }
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty",
            Self::MultiLevelWildcard => "'#' is not alone in the last level",
            Self::NullCharacter => "contains U+0000",
            Self::ShareFilterMissing => "no filter behind the share name",
            Self::ShareName => "share name empty or with a wildcard",
            Self::SingleLevelWildcard => "'+' is not alone in its level",
            Self::TooLong => "longer than 65,535 bytes",
        })
    }
}

impl core::error::Error for FilterError {}

/// The longest string that a packet can hold (section 1.5.4).
const STRING_BYTES_MAX: usize = 65_535;

#[cfg(test)]
mod tests {
    use super::*;

    /// [MQTT-4.7.1-1]
    #[test]
    fn multi_level_wildcard_is_the_last_level() {
        check(&["#", "/#", "a/#", "a//#", "$SYS/#", "+/#"], Ok(shape(None, true)));
        check(&["a#", "#/", "a/#/b", "##", "a/b#", "#a"], Err(FilterError::MultiLevelWildcard));
    }

    /// [MQTT-4.7.1-2]
    #[test]
    fn single_level_wildcard_is_a_whole_level() {
        check(&["+", "+/+", "/+", "+/", "a/+/b", "a/+"], Ok(shape(None, true)));
        check(&["a+", "+a", "a/b+/c", "a/+b", "++", "+#"], Err(FilterError::SingleLevelWildcard));
    }

    /// [MQTT-4.7.3-1], [MQTT-4.7.3-2], [MQTT-4.7.3-3]
    #[test]
    fn plain_filters() {
        check(
            &["a", "/", "//", " ", "a/b", "$SYS", "$share", "$shared/a/b", "$SHARE/a", "\u{FEFF}"],
            Ok(shape(None, false)),
        );
        check(&[""], Err(FilterError::Empty));
        check(&["a\0", "\0", "$share/g\0/a"], Err(FilterError::NullCharacter));
        check(&["a".repeat(65_535).as_str()], Ok(shape(None, false)));
        check(&["a".repeat(65_536).as_str()], Err(FilterError::TooLong));
    }

    /// [MQTT-4.8.2-1], [MQTT-4.8.2-2]
    #[test]
    fn shared_subscriptions() {
        check(&["$share/g/a"], Ok(shape(Some(("g", "a")), false)));
        check(&["$share/g/a/+/#"], Ok(shape(Some(("g", "a/+/#")), true)));
        check(&["$share/g//"], Ok(shape(Some(("g", "/")), false)));
        check(&["$share/g/$share/h/a"], Ok(shape(Some(("g", "$share/h/a")), false)));
        check(&["$share/", "$share/g", "$share/g/"], Err(FilterError::ShareFilterMissing));
        check(&["$share//a", "$share/+/a", "$share/g#/a"], Err(FilterError::ShareName));
        check(&["$share/g/a#"], Err(FilterError::MultiLevelWildcard));
    }

    /// [MQTT-4.7.0-1]
    #[test]
    fn topic_names() {
        for (name, is_valid) in [
            ("a", true),
            ("/", true),
            ("$SYS/a b", true),
            ("", false),
            ("a/+", false),
            ("#", false),
            ("a\0", false),
        ] {
            assert_eq!(is_valid_topic_name(name), is_valid, "{name:?}");
        }
        assert!(is_valid_topic_name(&"a".repeat(65_535)));
        assert!(!is_valid_topic_name(&"a".repeat(65_536)));
    }

    fn shape<'a>(shared: Option<(&'a str, &'a str)>, has_wildcard: bool) -> FilterShape<'a> {
        FilterShape { shared, has_wildcard }
    }

    #[track_caller]
    fn check(filters: &[&str], expected: Result<FilterShape<'_>, FilterError>) {
        for filter in filters {
            assert_eq!(check_topic_filter(filter), expected, "{filter:?}");
        }
    }
}
