//! Rules as they are written, and the lists of them in JSON that tokens and services bring.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};

use crate::pattern::Pattern;
use crate::rule::{Actions, Effect, Rule, Who};

/// What a rule says, as it is written; not whom it is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// What it allows: "publish", "subscribe".
    #[serde(default, deserialize_with = "some_words")]
    pub allow: Option<Vec<String>>,
    /// What it denies.
    #[serde(default, deserialize_with = "some_words")]
    pub deny: Option<Vec<String>>,
    /// The topic filters that it is about, with placeholders.
    #[serde(deserialize_with = "words")]
    pub topics: Vec<String>,
    /// The highest quality of service that it allows.
    #[serde(default)]
    pub qos_max: Option<u8>,
    /// Whether it allows retained messages.
    #[serde(default)]
    pub retain: Option<bool>,
}

/// What is wrong with a list of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesError(String);

impl Draft {
    /// Returns the rule that it is about `who`.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn rule(&self, origin: &str, who: Who) -> Result<Rule, String> {
        let (effect, words) = match (&self.allow, &self.deny) {
            (Some(allow), None) => (Effect::Allow, allow),
            (None, Some(deny)) => (Effect::Deny, deny),
            (Some(_), Some(_)) => return Err("a rule has allow or deny, not both".to_owned()),
            (None, None) => return Err("a rule needs allow or deny".to_owned()),
        };
        if effect == Effect::Deny && (self.qos_max.is_some() || self.retain.is_some()) {
            let message =
                "qos_max and retain bound what a rule allows: a rule with deny has neither";
            return Err(message.to_owned());
        }
        let qos_max = self.qos_max.unwrap_or(2);
        if qos_max > 2 {
            return Err("qos_max must be 0, 1 or 2".to_owned());
        }
        if self.topics.is_empty() {
            return Err(
                "a rule needs topics; [\"#\"] are all but those that begin with $".to_owned()
            );
        }
        let pattern = |text: &String| {
            Pattern::new(text).map_err(|error| format!("{:?} in topics {error}", shortened(text)))
        };
        Ok(Rule {
            origin: origin.into(),
            who,
            effect,
            actions: Actions::of_words(words)?,
            topics: self.topics.iter().map(pattern).collect::<Result<_, _>>()?,
            qos_max,
            retain: self.retain.unwrap_or(true),
        })
    }
}

impl Actions {
    /// Reads a list of "publish" and "subscribe".
    ///
    /// # Errors
    ///
    /// What else there is in it, or that it is empty.
    pub fn of_words(words: &[String]) -> Result<Self, String> {
        let mut actions = Self::default();
        for word in words {
            match word.as_str() {
                "publish" => actions.publish = true,
                "subscribe" => actions.subscribe = true,
                _ => {
                    let word = shortened(word);
                    return Err(format!(
                        "must be a list of \"publish\" and \"subscribe\", and {word:?} is neither"
                    ));
                }
            }
        }
        if actions == Self::default() {
            return Err("must be a list of \"publish\" and \"subscribe\", and is empty".to_owned());
        }
        Ok(actions)
    }
}

/// Reads the rules that an identity brings: in JSON a list of objects, each with the keys of an `[[acl]]` that say what
/// it allows or denies. All of it is right, or nothing counts.
///
/// # Errors
///
/// What is wrong with it. It is no list of rules, a rule is not right, or there is more than is read: 64 KiB and 256
/// rules.
pub fn read_json(text: &str) -> Result<Arc<[Rule]>, RulesError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(RulesError(format!("the rules have more than {TEXT_BYTES_MAX} bytes")));
    }
    let drafts: Vec<Draft> = serde_json::from_str(text)
        .map_err(|error| RulesError(shortened(&error.to_string()).into_owned()))?;
    if drafts.len() > RULES_MAX {
        return Err(RulesError(format!("there are more than {RULES_MAX} rules")));
    }
    let rule = |(index, draft): (usize, &Draft)| {
        let origin = format!("rule {} of the client's own", index + 1);
        let rule = draft.rule(&origin, Who::default());
        rule.map_err(|why| RulesError(format!("rule {}: {why}", index + 1)))
    };
    drafts.iter().enumerate().map(rule).collect()
}

/// Reads a text, or a list of texts.
fn words<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a text or a list of texts is expected")]
    enum Words {
        One(String),
        Several(Vec<String>),
    }
    Words::deserialize(from).map(|words| match words {
        Words::One(word) => vec![word],
        Words::Several(words) => words,
    })
}

fn some_words<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    words(from).map(Some)
}

/// Returns the start of a text that others wrote, for a message.
fn shortened(text: &str) -> std::borrow::Cow<'_, str> {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RulesError {}

/// Rules of one client. Its session keeps what they compile to.
const RULES_MAX: usize = 256;

/// The rules of one client as text.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// How much a message repeats of what others wrote.
const SHOWN_CHARS_MAX: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_in_their_order() {
        let text = r#"[
            {"deny": ["publish", "subscribe"], "topics": ["+/private/#"]},
            {"allow": "publish", "topics": "site/${site}/%c", "qos_max": 1, "retain": false}
        ]"#;
        let rules = read_json(text).unwrap();
        assert_eq!((rules[0].effect, rules[1].effect), (Effect::Deny, Effect::Allow));
        assert_eq!(rules[0].actions, Actions { publish: true, subscribe: true });
        assert_eq!(rules[1].actions, Actions { publish: true, subscribe: false });
        assert_eq!(rules[1].topics, [Pattern::new("site/${site}/%c").unwrap()]);
        assert_eq!((rules[1].qos_max, rules[1].retain), (1, false));
        assert_eq!(&*rules[1].origin, "rule 2 of the client's own");
        assert!(read_json("[]").unwrap().is_empty());
    }

    /// Whoever wrote it meant something: nothing is passed over.
    #[test]
    fn what_is_not_right_is_refused() {
        check("", "EOF");
        check("{}", "invalid type: map");
        check(r#"[{"allow": "publish"}]"#, "missing field `topics`");
        check(r#"[{"allow": "publish", "topics": []}]"#, "rule 1: a rule needs topics");
        check(r#"[{"topics": "a"}]"#, "rule 1: a rule needs allow or deny");
        check(r#"[{"allow": [], "topics": "a"}]"#, "rule 1: must be a list of");
        check(r#"[{"allow": null, "topics": "a"}]"#, "a text or a list of texts is expected");
        check(r#"[{"allow": "write", "topics": "a"}]"#, "rule 1: must be a list of");
        check(r#"[{"allow": "publish", "deny": "publish", "topics": "a"}]"#, "not both");
        check(r#"[{"allow": "publish", "topics": "a", "qos_max": 3}]"#, "qos_max must be 0, 1");
        check(r#"[{"deny": "publish", "topics": "a", "qos_max": 1}]"#, "has neither");
        check(r#"[{"allow": "publish", "topics": "a/#/b"}]"#, "\"a/#/b\" in topics");
        check(r#"[{"allow": "publish", "topics": "$share/g/a"}]"#, "in topics");
        check(r#"[{"allow": "publish", "topics": "a", "user": "bob"}]"#, "unknown field `user`");
        check(r#"[{"allow": "publish", "allow": "subscribe", "topics": "a"}]"#, "duplicate field");
        check(r#"[{"allow": "publish", "topics": "a"}] x"#, "trailing characters");
        check(&"[".repeat(60_000), "");
    }

    #[test]
    fn more_than_is_read_is_refused() {
        let rule = r#"{"allow":"publish","topics":"a"}"#;
        let list = |count: usize| format!("[{}]", vec![rule; count].join(","));
        assert_eq!(read_json(&list(RULES_MAX)).unwrap().len(), RULES_MAX);
        check(&list(RULES_MAX + 1), "more than 256 rules");
        check(&" ".repeat(TEXT_BYTES_MAX + 1), "more than 65536 bytes");
        let long = format!(r#"[{{"allow": "{}", "topics": "a"}}]"#, "w".repeat(10_000));
        assert!(read_json(&long).unwrap_err().to_string().len() < 300);
    }

    #[track_caller]
    fn check(text: &str, mistake: &str) {
        let error = read_json(text).expect_err("it is not right").to_string();
        assert!(error.contains(mistake), "{error}");
    }
}
