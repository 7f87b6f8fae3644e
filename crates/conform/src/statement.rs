//! The statements of the three versions, and the citations of them in doc comments.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use crate::Version;

/// Something that a version of MQTT asks of somebody.
#[derive(Clone, Copy, Debug)]
pub struct Statement {
    /// The version that has it.
    pub version: Version,
    /// Its number in that version's text; one of our own, starting with `Q`, where the text has none.
    pub id: &'static str,
    /// Whom it binds.
    pub role: Role,
    /// What it asks, in our words.
    pub wording: &'static str,
}

/// Whom a statement binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Servers only.
    Server,
    /// Clients only.
    Client,
    /// Both.
    Both,
}

/// A statement named in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Citation<'a> {
    /// The version that it is of.
    pub version: Version,
    /// The statement.
    pub id: &'a str,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Client => "client",
            Self::Both => "both",
        })
    }
}

/// Returns all statements, 5.0 first, in the order of the texts; those without a number of their own last.
pub fn all() -> &'static [Statement] {
    static ALL: LazyLock<Vec<Statement>> = LazyLock::new(|| {
        let numbered = [
            (Some(Version::V5), include_str!("../spec/mqtt-5.0.tsv")),
            (Some(Version::V311), include_str!("../spec/mqtt-3.1.1.tsv")),
            (None, include_str!("../spec/unnumbered.tsv")),
        ];
        numbered.into_iter().flat_map(|(version, table)| parse(version, table)).collect()
    });
    &ALL
}

/// Returns the statement that a citation means.
pub fn find(citation: Citation<'_>) -> Option<&'static Statement> {
    static INDEX: LazyLock<BTreeMap<(Version, &str), &Statement>> = LazyLock::new(|| {
        all().iter().map(|statement| ((statement.version, statement.id), statement)).collect()
    });
    INDEX.get(&(citation.version, citation.id)).copied()
}

/// Finds the citations in a text: a bare id is of 5.0, one after `v3.1.1` of 3.1.1.
///
/// Several ids may share a pair of brackets, `[MQTT-3.3.1-5, MQTT-3.3.1-6]`, and the version before it.
pub fn citations(text: &str) -> impl Iterator<Item = Citation<'_>> {
    text.match_indices('[').flat_map(move |(start, _)| {
        let is_v311 = text[..start].trim_end_matches(is_between).ends_with("v3.1.1");
        let inside = text[start + 1..].split(']').next().unwrap_or_default();
        inside.split(',').filter_map(move |id| {
            let id = id.trim_matches(is_between);
            let version = match id {
                _ if !is_id(id) => return None,
                _ if id.starts_with('Q') => version_of_own(id)?,
                _ if is_v311 => Version::V311,
                _ => Version::V5,
            };
            Some(Citation { version, id })
        })
    })
}

/// Finds the ids of the statements that a text cites for a server that speaks `version`.
///
/// MQTT 3.1 has few ids of its own: where it says the same as 3.1.1, the id of 3.1.1 stands for both.
pub fn binding(text: &str, version: Version) -> impl Iterator<Item = &str> {
    let is_meant = move |cited| match version {
        Version::V5 => cited == Version::V5,
        Version::V311 => cited == Version::V311,
        Version::V31 => cited != Version::V5,
    };
    citations(text).filter(move |it| is_meant(it.version)).map(|it| it.id)
}

fn parse(version: Option<Version>, table: &'static str) -> impl Iterator<Item = Statement> {
    table.lines().skip(1).map(move |line| {
        let mut columns = line.split('\t');
        let mut next = || columns.next().expect("a row has three columns");
        let (id, role, wording) = (next(), next(), next());
        let version = version.or_else(|| version_of_own(id));
        let role = match role {
            "server" => Role::Server,
            "client" => Role::Client,
            "both" => Role::Both,
            _ => panic!("{id} binds nobody known: {role}"),
        };
        Statement { version: version.expect("our own ids name their version"), id, role, wording }
    })
}

fn version_of_own(id: &str) -> Option<Version> {
    match id.get(..3)? {
        "Q5-" => Some(Version::V5),
        "Q4-" => Some(Version::V311),
        "Q3-" => Some(Version::V31),
        _ => None,
    }
}

/// Says whether a character may stand between a version and an id: space, or the start of a comment's next line.
fn is_between(character: char) -> bool {
    character.is_whitespace() || character == '/' || character == '!'
}

/// Says whether a text has the form of an id: a prefix, a section, a counter.
pub fn is_id(text: &str) -> bool {
    // The text of 3.1.1 itself has `MQTT-3-8.3-4`, with a dash too many.
    let prefixes = ["MQTT-", "Q5-", "Q4-", "Q3-"];
    let Some(rest) = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix)) else {
        return false;
    };
    rest.contains('-')
        && rest
            .chars()
            .all(|it| it.is_ascii_digit() || it.is_ascii_uppercase() || it == '.' || it == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn citations_are_found_with_their_version() {
        check("obeys [MQTT-3.3.4-9].", &[(Version::V5, "MQTT-3.3.4-9")]);
        check("v3.1.1 [MQTT-3.1.2-24]", &[(Version::V311, "MQTT-3.1.2-24")]);
        check("v3.1.1 [MQTT-3-8.3-4]", &[(Version::V311, "MQTT-3-8.3-4")]);
        check("[Q3-3.1-1]", &[(Version::V31, "Q3-3.1-1")]);
        check(
            "[MQTT-1.5.4-1, MQTT-1.5.4-2] and `[u8]`, [MQTT], a[0]",
            &[(Version::V5, "MQTT-1.5.4-1"), (Version::V5, "MQTT-1.5.4-2")],
        );
    }

    /// Parses the tables, which panics where a row is wrong.
    #[test]
    fn ids_are_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for statement in all() {
            assert!(is_id(statement.id), "{} has not the form of an id", statement.id);
            assert!(seen.insert((statement.version, statement.id)), "{} twice", statement.id);
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &[(Version, &str)]) {
        let found: Vec<_> = citations(text).map(|it| (it.version, it.id)).collect();
        assert_eq!(found, expected);
    }
}
