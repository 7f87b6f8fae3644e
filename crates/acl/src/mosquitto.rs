//! Mosquitto's ACL files, read as they are.
//!
//! The lines are `user NAME`, `topic [read|write|readwrite|deny] FILTER`, and `pattern` with the same words, where `%u`
//! and `%c` are placeholders. Lines before the first `user` are about anonymous clients, patterns about everybody. In each
//! section denials come first, wherever they stand; a user's own lines are asked before the patterns.
//!
//! Different from Mosquitto, and stricter: a name with `/` is no value for a placeholder either, and a denying pattern whose
//! placeholder has no value denies all that it could mean.

use std::collections::BTreeMap;

use crate::glob::Glob;
use crate::pattern::Pattern;
use crate::rule::{Actions, Effect, Rule, Who};

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineError {
    /// The line's number, from 1.
    pub line: usize,
    /// What is wrong, as the end of a sentence.
    pub message: String,
}

/// Reads the text of the file `name`.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn read(name: &str, text: &str) -> Result<Vec<Rule>, Vec<LineError>> {
    let mut reading = Reading::default();
    let mut errors = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line_number = index + 1;
        let origin = format!("{name}:{line_number}");
        if let Err(message) = reading.line(line.trim_end(), origin) {
            errors.push(LineError { line: line_number, message });
        }
    }
    if errors.is_empty() { Ok(reading.finish()) } else { Err(errors) }
}

#[derive(Default)]
struct Reading {
    /// Whose lines follow; nobody's are about anonymous clients.
    user: Option<Box<str>>,
    sections: BTreeMap<Option<Box<str>>, Section>,
    patterns: Section,
}

#[derive(Default)]
struct Section {
    denials: Vec<Rule>,
    others: Vec<Rule>,
}

impl Reading {
    fn line(&mut self, line: &str, origin: String) -> Result<(), String> {
        if line.starts_with('#') || line.trim().is_empty() {
            return Ok(());
        }
        let line = line.trim_start_matches(' ');
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        match word {
            "user" if rest.is_empty() => return Err("user needs a name".to_owned()),
            "user" => self.user = Some(rest.into()),
            "topic" => {
                let who = match &self.user {
                    // A `*` in a user's name is a `*`.
                    Some(user) => Who { user: Some(Glob::literal(user.clone())), ..Who::default() },
                    None => Who { is_anonymous: true, ..Who::default() },
                };
                let rule = read_rule(rest, who, origin, Pattern::literal)?;
                self.sections.entry(self.user.clone()).or_default().add(rule);
            }
            "pattern" => {
                let rule = read_rule(rest, Who::default(), origin, Pattern::with_names)?;
                self.patterns.add(rule);
            }
            // Not what it is instead: it may be a line of a password file.
            _ if word.contains([':', '$']) => {
                return Err("it is no line of an ACL file, but one of passwords perhaps".to_owned());
            }
            _ => {
                return Err(format!(
                    "a line begins with user, topic or pattern, not with \"{word}\""
                ));
            }
        }
        Ok(())
    }

    fn finish(self) -> Vec<Rule> {
        let sections = self.sections.into_values().chain([self.patterns]);
        sections.flat_map(|it| it.denials.into_iter().chain(it.others)).collect()
    }
}

impl Section {
    fn add(&mut self, rule: Rule) {
        match rule.effect {
            Effect::Deny => self.denials.push(rule),
            Effect::Allow => self.others.push(rule),
        }
    }
}

fn read_rule(
    rest: &str,
    who: Who,
    origin: String,
    read_pattern: impl Fn(&str) -> Result<Pattern, crate::PatternError>,
) -> Result<Rule, String> {
    // A single word is the topic: with `topic read`, the topic is `read`.
    let (access, topic) = match rest.split_once(' ') {
        Some((access, topic)) => (access, topic.trim()),
        None => ("readwrite", rest),
    };
    if topic.is_empty() {
        return Err("there is no topic".to_owned());
    }
    let both = Actions { publish: true, subscribe: true };
    let (effect, actions) = match access {
        "read" => (Effect::Allow, Actions { subscribe: true, ..Actions::default() }),
        "write" => (Effect::Allow, Actions { publish: true, ..Actions::default() }),
        "readwrite" => (Effect::Allow, both),
        "deny" => (Effect::Deny, both),
        _ => {
            return Err(format!(
                "access is read, write, readwrite or deny, not \"{access}\"; a topic with a space needs one before it"
            ));
        }
    };
    let pattern = read_pattern(topic).map_err(|error| format!("\"{topic}\" {error}"))?;
    let origin = origin.into();
    Ok(Rule { origin, who, effect, actions, topics: vec![pattern], qos_max: 2, retain: true })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Publish, Rules, Subject};

    const FILE: &str = "\
# for everybody without a name
topic read $SYS/#
topic public/#

user ann
topic readwrite ann/#
topic deny ann/secret/#
topic read with space
user b*
topic write b/%u/#

# for all
pattern write devices/%c/up
pattern read devices/%c/down
pattern read users/%u/#
pattern deny devices/%c/down/locked
";

    #[test]
    fn sections_are_for_whom_they_are() {
        check(None, "$SYS/load", "r");
        check(None, "public/a", "rw");
        check(None, "ann/a", "");
        check(Some("ann"), "public/a", "");
        check(Some("ann"), "ann/a", "rw");
        check(Some("ann"), "with space", "r");
        // The denial comes first, though its line is the second.
        check(Some("ann"), "ann/secret/a", "");
        // Neither is a wildcard, nor a placeholder.
        check(Some("b*"), "b/%u/x", "w");
        check(Some("bob"), "b/%u/x", "");
        check(Some("b*"), "b/b*/x", "");
    }

    #[test]
    fn patterns_are_for_all() {
        for user in [None, Some("ann"), Some("eve")] {
            check(user, "devices/c1/up", "w");
            check(user, "devices/c1/down", "r");
            check(user, "devices/c2/up", "");
            check(user, "devices/c1/down/locked", "");
        }
        check(Some("eve"), "users/eve/a", "r");
        check(None, "users//a", "");
        check(Some("+"), "users/eve/a", "");
    }

    #[test]
    fn all_mistakes_are_named_with_their_lines() {
        let text = "topic\ntopic reed a/b\nusr x\nuser\npattern read a/#/b\ntopic read $share/g/a\ntopic a\n";
        let errors = read("acl", text).unwrap_err();
        let lines: Vec<usize> = errors.iter().map(|it| it.line).collect();
        assert_eq!(lines, [1, 2, 3, 4, 5, 6], "{errors:?}");
        assert!(errors[1].message.contains("not \"reed\""), "{errors:?}");
    }

    /// Who names the password file here must not find it in the log.
    #[test]
    fn lines_of_other_files_are_not_repeated() {
        for line in ["ann:$7$101$c2FsdA==$aGFzaA==", "$7$101$aGFzaA=="] {
            let errors = read("acl", line).unwrap_err();
            assert!(!errors[0].message.contains("aGFzaA"), "{errors:?}");
        }
    }

    #[test]
    fn windows_lines_and_blanks_are_no_matter() {
        let rules = read("acl", "user  ann \r\n\r\ntopic   read   a/b \r\n# c\r\n").unwrap();
        assert_eq!(rules.len(), 1);
        assert_eq!(&*rules[0].origin, "acl:3");
        assert_eq!(rules[0].topics, [Pattern::literal("a/b").unwrap()]);
    }

    #[track_caller]
    fn check(user: Option<&str>, topic: &str, expected: &str) {
        let rules = Rules {
            rules: read("acl", FILE).unwrap(),
            filter_on_delivery: true,
            ..Rules::default()
        };
        let subject =
            Subject { client_id: "c1".into(), user: user.map(Into::into), ..Subject::default() };
        let permissions = rules.permissions(subject);
        let mut found = String::new();
        if permissions.receive(topic).is_allowed() {
            found.push('r');
        }
        if permissions.publish(Publish { topic, qos: 2, retain: true }).is_allowed() {
            found.push('w');
        }
        assert_eq!(found, expected, "{user:?} and {topic}");
    }
}
