//! Topic filters with placeholders: `%u`, `%c` and `${claim}`.
//!
//! A value stands for a part of one level, and never for more. One that is missing or empty, or holds `/`, `+`, `#`
//! or NUL, or would make the first level begin with `$`, cannot be filled in. What follows depends on what the rule does:
//!
//! - An allowing rule matches nothing: nobody gains anything by a name.
//! - A denying rule is widened to all that it could have meant: its level becomes `+`, and with a `/` in the value all
//!   below is denied. Nobody escapes a denial by a name either.

use std::fmt;

use quelea_codec::check_topic_filter;

use crate::filter::Filter;
use crate::rule::Effect;
use crate::subject::Subject;

/// A topic filter with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The parts of each level.
    levels: Box<[Box<[Part]>]>,
}

/// What is wrong with a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// It is not a topic filter, whatever is filled in.
    NotAFilter,
    /// It begins with `$share/`: rules are about the topics behind that.
    Shared,
    /// A `${` has no `}`, or no name between them.
    UnfinishedPlaceholder,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    User,
    ClientId,
    Claim(Box<str>),
}

/// Which placeholders there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placeholders {
    None,
    Names,
    All,
}

/// What a placeholder stands for.
#[derive(Clone, Copy)]
enum Value<'a> {
    Usable(&'a str),
    /// It must not be filled in, and cannot be more than one level.
    Unusable,
    /// It must not be filled in, and would be several levels.
    Levels,
}

impl Pattern {
    /// Reads a pattern with all placeholders.
    ///
    /// # Errors
    ///
    /// It is no filter, or a placeholder has no end.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        Self::read(text, Placeholders::All)
    }

    /// Reads a pattern of which `%u` and `%c` are the only placeholders.
    ///
    /// # Errors
    ///
    /// It is no filter.
    pub fn with_names(text: &str) -> Result<Self, PatternError> {
        Self::read(text, Placeholders::Names)
    }

    /// Reads a filter in which nothing is a placeholder.
    ///
    /// # Errors
    ///
    /// It is no filter.
    pub fn literal(text: &str) -> Result<Self, PatternError> {
        Self::read(text, Placeholders::None)
    }

    fn read(text: &str, placeholders: Placeholders) -> Result<Self, PatternError> {
        if text.starts_with("$share/") {
            return Err(PatternError::Shared);
        }
        let mut levels = Vec::new();
        let mut level = Level::default();
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            let (part, len) = match placeholders {
                Placeholders::None => (None, 0),
                Placeholders::Names | Placeholders::All if rest.starts_with("%u") => {
                    (Some(Part::User), 2)
                }
                Placeholders::Names | Placeholders::All if rest.starts_with("%c") => {
                    (Some(Part::ClientId), 2)
                }
                Placeholders::All if rest.starts_with("${") => {
                    let end = rest.find('}').filter(|end| *end > 2);
                    let end = end.ok_or(PatternError::UnfinishedPlaceholder)?;
                    (Some(Part::Claim(rest[2..end].into())), end + 1)
                }
                Placeholders::Names | Placeholders::All => (None, 0),
            };
            match part {
                Some(part) => level.placeholder(part),
                None if next == '/' => levels.push(std::mem::take(&mut level).finish()),
                None => level.text.push(next),
            }
            rest = &rest[len.max(next.len_utf8())..];
        }
        levels.push(level.finish());
        let pattern = Self { levels: levels.into() };
        let sample = pattern.fill(|_| "x");
        check_topic_filter(&sample).map_err(|_| PatternError::NotAFilter)?;
        Ok(pattern)
    }

    /// Returns the filter that it is for every client, if it has no placeholders.
    pub(crate) fn fixed(&self) -> Option<Filter> {
        let is_text = |part| matches!(part, &Part::Text(_));
        self.levels.iter().flatten().all(is_text).then(|| Filter::new(self.fill(|_| "")))
    }

    /// Fills in what is known of `subject`. Returns nothing when the rule matches nothing.
    pub(crate) fn filter(&self, subject: &Subject, effect: Effect) -> Option<Filter> {
        let is_unusable = |part: &Part| !matches!(part.value(subject), Value::Usable(_));
        let starts_with_value =
            self.levels[0].first().is_some_and(|it| !matches!(it, Part::Text(_)));
        if !self.levels.iter().flatten().any(is_unusable) {
            let text = self.fill(|part| match part.value(subject) {
                Value::Usable(value) => value,
                Value::Unusable | Value::Levels => "",
            });
            // A user named `$SYS` must not get what is in there.
            let is_lent = starts_with_value && text.starts_with('$') && effect == Effect::Allow;
            return (!is_lent && check_topic_filter(&text).is_ok()).then(|| Filter::new(text));
        }
        (effect == Effect::Deny).then(|| self.widen(subject))
    }

    /// Returns all that the pattern could mean if values were other than they are.
    fn widen(&self, subject: &Subject) -> Filter {
        let mut levels = Vec::new();
        let mut reaches_dollar = false;
        for (index, level) in self.levels.iter().enumerate() {
            let mut text = String::new();
            let (mut is_unknown, mut is_several) = (false, false);
            for part in level {
                match part.value(subject) {
                    Value::Usable(value) => text.push_str(value),
                    Value::Unusable => is_unknown = true,
                    Value::Levels => is_several = true,
                }
            }
            reaches_dollar |= index == 0 && (is_unknown || is_several);
            if is_several {
                levels.push("#".to_owned());
                break;
            }
            levels.push(if is_unknown { "+".to_owned() } else { text });
        }
        let text = levels.join("/");
        if reaches_dollar { Filter::reaching_dollar(text) } else { Filter::new(text) }
    }

    fn fill<'a>(&'a self, value: impl Fn(&'a Part) -> &'a str) -> String {
        let mut text = String::new();
        for (index, level) in self.levels.iter().enumerate() {
            if index > 0 {
                text.push('/');
            }
            for part in level {
                text.push_str(if let Part::Text(text) = part { text } else { value(part) });
            }
        }
        text
    }
}

impl Part {
    fn value<'a>(&'a self, subject: &'a Subject) -> Value<'a> {
        let value = match self {
            Self::Text(text) => return Value::Usable(text),
            Self::User => subject.user.as_deref(),
            Self::ClientId => Some(&*subject.client_id),
            Self::Claim(name) => subject.claim(name),
        };
        match value {
            Some(value) if value.contains('/') => Value::Levels,
            Some(value) if !value.is_empty() && !value.contains(['+', '#', '\0']) => {
                Value::Usable(value)
            }
            Some(_) | None => Value::Unusable,
        }
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAFilter => "is no topic filter",
            Self::Shared => {
                "begins with $share/, which rules do not look at: write the filter behind it"
            }
            Self::UnfinishedPlaceholder => "has a ${ without a name and a } behind it",
        })
    }
}

impl std::error::Error for PatternError {}

/// A level that is being read.
#[derive(Default)]
struct Level {
    parts: Vec<Part>,
    text: String,
}

impl Level {
    fn placeholder(&mut self, part: Part) {
        self.end_text();
        self.parts.push(part);
    }

    fn end_text(&mut self) {
        if !self.text.is_empty() {
            self.parts.push(Part::Text(std::mem::take(&mut self.text).into()));
        }
    }

    fn finish(mut self) -> Box<[Part]> {
        self.end_text();
        self.parts.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_filled_in() {
        let subject = subject("c1", Some("ann"), &[("site", "north"), ("https://a/b", "x")]);
        check("%u/%c/${site}/#", &subject, Some("ann/c1/north/#"), Some("ann/c1/north/#"));
        check("id-%u-%c/+", &subject, Some("id-ann-c1/+"), Some("id-ann-c1/+"));
        check("${https://a/b}/y", &subject, Some("x/y"), Some("x/y"));
        check("100%/%x/a", &subject, Some("100%/%x/a"), Some("100%/%x/a"));
    }

    #[test]
    fn a_value_is_never_more_than_a_part_of_a_level() {
        for value in ["", "+", "#", "a+", "a#", "a\0"] {
            let subject = subject(value, Some(value), &[("k", value)]);
            check("a/%u/b", &subject, None, Some("a/+/b"));
            check("a/x%c/#", &subject, None, Some("a/+/#"));
            check("a/${k}", &subject, None, Some("a/+"));
        }
        for value in ["a/b", "/", "a/+", "a/#"] {
            let subject = subject(value, Some(value), &[("k", value)]);
            check("a/%u/b", &subject, None, Some("a/#"));
            check("a/x%c/#", &subject, None, Some("a/#"));
            check("a/${k}", &subject, None, Some("a/#"));
        }
        check("a/%u", &subject("c", None, &[]), None, Some("a/+"));
        check("a/${k}", &subject("c", None, &[]), None, Some("a/+"));
    }

    #[test]
    fn no_name_opens_what_begins_with_a_dollar_sign() {
        let clever = subject("$SYS", Some("$SYS"), &[]);
        check("%u/#", &clever, None, Some("$SYS/#"));
        check("a/%u/#", &clever, Some("a/$SYS/#"), Some("a/$SYS/#"));
        let widened = Pattern::new("%u/#").unwrap().filter(&subject("c", None, &[]), Effect::Deny);
        assert!(widened.unwrap().covers("$SYS/load"));
    }

    #[test]
    fn mistakes_are_found() {
        for (text, error) in [
            ("", PatternError::NotAFilter),
            ("a/#/b", PatternError::NotAFilter),
            ("a+", PatternError::NotAFilter),
            ("#%u", PatternError::NotAFilter),
            ("a/${", PatternError::UnfinishedPlaceholder),
            ("a/${}", PatternError::UnfinishedPlaceholder),
            ("$share/g/a", PatternError::Shared),
        ] {
            assert_eq!(Pattern::new(text), Err(error), "{text}");
        }
        assert!(Pattern::literal("a/${/%u").is_ok());
    }

    #[track_caller]
    fn check(text: &str, subject: &Subject, allows: Option<&str>, denies: Option<&str>) {
        let pattern = Pattern::new(text).unwrap();
        for (effect, expected) in [(Effect::Allow, allows), (Effect::Deny, denies)] {
            let filter = pattern.filter(subject, effect);
            assert_eq!(
                filter.map(|it| it.text().to_owned()).as_deref(),
                expected,
                "{text}, {effect:?}"
            );
        }
    }

    fn subject(client_id: &str, user: Option<&str>, claims: &[(&str, &str)]) -> Subject {
        Subject {
            client_id: client_id.into(),
            user: user.map(Into::into),
            claims: claims.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            ..Subject::default()
        }
    }
}
