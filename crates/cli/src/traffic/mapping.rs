//! Topics that are replayed under other names: `site/+/x=test/$1/x`.

use quelea_codec::{check_topic_filter, is_valid_topic_name};

/// A topic filter, and the topic that a matching one becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    filter: String,
    /// `$1` to `$9` stand for what the wildcards have matched, `$$` for a `$`.
    template: String,
}

impl Mapping {
    /// Reads `FILTER=TOPIC`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (filter, template) =
            text.split_once('=').ok_or("write FILTER=TOPIC, such as 'site/+/x=test/$1/x'")?;
        check_filter(filter)?;
        let wildcards = filter.split('/').filter(|it| matches!(*it, "+" | "#")).count();
        for number in references(template) {
            if number > wildcards {
                return Err(format!("{filter} has no wildcard for ${number}"));
            }
        }
        if template.is_empty() || template.contains(['+', '#', '\0']) {
            return Err(format!("\"{template}\" is no topic to publish to"));
        }
        Ok(Self { filter: filter.to_owned(), template: template.to_owned() })
    }

    /// Returns what `topic` becomes, if the filter matches it and what comes out is a topic.
    pub(crate) fn apply(&self, topic: &str) -> Option<String> {
        let matched = captures(&self.filter, topic)?;
        let mut result = String::with_capacity(self.template.len() + topic.len());
        let mut rest = self.template.as_str();
        while let Some((before, after)) = rest.split_once('$') {
            result.push_str(before);
            rest = match after.bytes().next() {
                Some(digit @ b'1'..=b'9') => {
                    result.push_str(matched.get(usize::from(digit - b'1'))?);
                    &after[1..]
                }
                Some(b'$') => {
                    result.push('$');
                    &after[1..]
                }
                _ => {
                    result.push('$');
                    after
                }
            };
        }
        result.push_str(rest);
        is_valid_topic_name(&result).then_some(result)
    }
}

/// Checks a filter of the command line that no broker sees.
pub(crate) fn check_filter(filter: &str) -> Result<(), String> {
    match check_topic_filter(filter) {
        Ok(shape) if shape.shared.is_none() => Ok(()),
        Ok(_) | Err(_) => Err(format!("\"{filter}\" is no topic filter that can be used here")),
    }
}

/// Returns what each wildcard of `filter` stands for in `topic`, in their order; nothing if it does not match. What `#`
/// stands for may be empty or have several levels.
pub(crate) fn captures<'a>(filter: &str, topic: &'a str) -> Option<Vec<&'a str>> {
    // [MQTT-4.7.2-1]
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return None;
    }
    let mut matched = Vec::new();
    let mut rest = Some(topic);
    for level in filter.split('/') {
        if level == "#" {
            matched.push(rest.unwrap_or_default());
            return Some(matched);
        }
        let (name, behind) = match rest?.split_once('/') {
            Some((name, behind)) => (name, Some(behind)),
            None => (rest?, None),
        };
        if level == "+" {
            matched.push(name);
        } else if level != name {
            return None;
        }
        rest = behind;
    }
    rest.is_none().then_some(matched)
}

/// Returns the numbers of the wildcards that `template` refers to.
fn references(template: &str) -> impl Iterator<Item = usize> {
    let mut bytes = template.bytes();
    std::iter::from_fn(move || {
        loop {
            if bytes.next()? == b'$'
                && let digit @ b'1'..=b'9' = bytes.next()?
            {
                return Some(usize::from(digit - b'0'));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [MQTT-4.7.1-2], [MQTT-4.7.2-1]
    #[test]
    fn wildcards_stand_for_levels() {
        check_captures("a/b", "a/b", Some(&[]));
        check_captures("a/b", "a/b/c", None);
        check_captures("a/b/c", "a/b", None);
        check_captures("+/b/+", "a/b/", Some(&["a", ""]));
        check_captures("a/#", "a/b/c", Some(&["b/c"]));
        check_captures("a/#", "a", Some(&[""]));
        check_captures("a/+/#", "a", None);
        check_captures("+/#", "a/b/c", Some(&["a", "b/c"]));
        check_captures("#", "/", Some(&["/"]));
        check_captures("#", "$SYS/x", None);
        check_captures("$SYS/#", "$SYS/x", Some(&["x"]));
    }

    #[test]
    fn topics_are_made_anew() {
        check_mapping("site/+/x=test/$1/x", "site/7/x", Some("test/7/x"));
        check_mapping("site/+/x=test/$1/x", "site/7/y", None);
        check_mapping("#=copy/$1", "a/b", Some("copy/a/b"));
        check_mapping("+/+=$2/$1/$$1", "a/b", Some("b/a/$1"));
        check_mapping("$SYS/#=old/$SYS/$1", "$SYS/a/b", Some("old/$SYS/a/b"));
        // Nothing is no topic.
        check_mapping("a/#=$1", "a", None);
        check_mapping("a/b=c=d", "a/b", Some("c=d"));
    }

    #[test]
    fn mistakes_are_found_before_anything_is_sent() {
        for wrong in ["a", "a/#/b=c", "a=", "a=b/+", "a/+=$2", "$share/g/a=b", "=a"] {
            Mapping::parse(wrong).expect_err(wrong);
        }
    }

    #[track_caller]
    fn check_captures(filter: &str, topic: &str, expected: Option<&[&str]>) {
        assert_eq!(captures(filter, topic).as_deref(), expected, "{filter} and {topic}");
    }

    #[track_caller]
    fn check_mapping(mapping: &str, topic: &str, expected: Option<&str>) {
        let mapping = Mapping::parse(mapping).expect("it is right");
        assert_eq!(mapping.apply(topic).as_deref(), expected, "{mapping:?}");
    }
}
