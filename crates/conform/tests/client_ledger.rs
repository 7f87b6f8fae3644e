//! The client's side of the ledger: for each statement that binds a client, the tests of the library that judge it, or
//! the reason why none does.
//!
//! The tests are those of `quelea-client`, of the session's client side, and of the codec, which both sides share; they
//! cite statements in their comments. The document is generated: `UPDATE=1` writes it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use quelea_conform::Version;
use quelea_conform::statement::{self, Role, Statement};

/// Names of tests by the statement that they cite.
type TestsById = BTreeMap<(Version, String), Vec<String>>;

#[test]
fn document_is_up_to_date() {
    let path = workspace().join("docs/conformance-client.md");
    let expected = render(&tests());
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &expected).expect("the document can be written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "docs/conformance-client.md is stale; UPDATE=1 writes it");
}

#[test]
fn every_statement_that_binds_a_client_has_a_test_or_a_reason() {
    let tests = tests();
    let is_gap = |it: &&Statement| {
        binds_clients(it) && !tests.contains_key(&key(it)) && reason(it).is_none()
    };
    let gaps: Vec<String> = statement::all()
        .iter()
        .filter(is_gap)
        .map(|it| format!("{} {} ({}): {}", it.version, it.id, it.role, it.wording))
        .collect();
    assert!(gaps.is_empty(), "neither test nor reason:\n{}", gaps.join("\n"));
}

#[test]
fn no_reason_is_given_for_what_is_judged() {
    let tests = tests();
    for (cited, reason) in REASONS {
        for citation in statement::citations(cited) {
            let found = statement::find(citation);
            assert!(found.is_some_and(binds_clients), "{citation:?} binds no client");
            let key = (citation.version, citation.id.to_owned());
            assert!(!tests.contains_key(&key), "{citation:?} is judged, not: {reason}");
        }
    }
}

/// Returns the document.
fn render(tests: &TestsById) -> String {
    let mut document = String::from(INTRODUCTION);
    let binding = || statement::all().iter().filter(|it| binds_clients(it));
    let judged = binding().filter(|it| tests.contains_key(&key(it))).count();
    let _ = writeln!(document, "{} statements; {judged} of them judged.", binding().count());
    for version in [Version::V5, Version::V311, Version::V31] {
        let _ = write!(
            document,
            "\n## MQTT {version}\n\n| statement | binds | says | judged by |\n|---|---|---|---|\n"
        );
        for statement in binding().filter(|it| it.version == version) {
            let judged = match tests.get(&key(statement)) {
                Some(names) => {
                    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
                }
                None => format!("– {}", reason(statement).unwrap_or_default()),
            };
            let Statement { id, role, wording, .. } = statement;
            let _ = writeln!(document, "| {id} | {role} | {wording} | {judged} |");
        }
    }
    document
}

/// Collects the tests of the library, with what they cite.
fn tests() -> TestsById {
    let mut files = Vec::new();
    for directory in SOURCES {
        collect(&workspace().join(directory), &mut files);
    }
    files.sort();
    assert!(files.len() > 20, "the sources were not found");
    let mut tests = TestsById::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("sources are UTF-8");
        for (name, comment) in tests_of(&text) {
            for citation in statement::citations(&comment) {
                let names = tests.entry((citation.version, citation.id.to_owned())).or_default();
                if !names.contains(&name) {
                    names.push(name.clone());
                }
            }
        }
    }
    tests
}

/// Returns the tests in a source: names and comments.
fn tests_of(text: &str) -> Vec<(String, String)> {
    let (mut found, mut comment, mut is_test) = (Vec::new(), String::new(), false);
    for line in text.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("///") {
            comment += words;
            comment += "\n";
        } else if line.starts_with("#[") {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        } else {
            let name = line.trim_start_matches("async ").strip_prefix("fn ");
            if let Some(name) = name.and_then(|it| it.split('(').next())
                && is_test
            {
                found.push((name.to_owned(), std::mem::take(&mut comment)));
            }
            comment.clear();
            is_test = false;
        }
    }
    found
}

fn binds_clients(statement: &Statement) -> bool {
    statement.role != Role::Server
}

fn key(statement: &Statement) -> (Version, String) {
    (statement.version, statement.id.to_owned())
}

fn reason(statement: &Statement) -> Option<&'static str> {
    let is_cited = |cited: &str| {
        statement::citations(cited)
            .any(|it| it.version == statement.version && it.id == statement.id)
    };
    REASONS.iter().find(|(cited, _)| is_cited(cited)).map(|(_, reason)| *reason)
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|it| it == "rs") {
            files.push(path);
        }
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where the tests are.
const SOURCES: [&str; 4] =
    ["crates/client/src", "crates/client/tests", "crates/session/src", "crates/codec/src"];

/// Groups of statements, cited as everywhere, and the reason that they share.
static REASONS: &[(&str, &str)] = &[
    (
        "[MQTT-3.4.2-3, MQTT-3.5.2-3, MQTT-3.6.2-3, MQTT-3.7.2-3, MQTT-3.14.2-3, MQTT-3.14.2-4, MQTT-3.15.2-2, \
         MQTT-3.15.2-3]",
        "the client sends none",
    ),
    (
        "[Q5-3.1.2.11.2-1, Q5-3.1.2.11.3-1, Q5-3.1.2.11.4-1, Q5-3.1.2.11.5-1, Q5-3.1.2.11.6-1, Q5-3.1.2.11.7-1, \
         Q5-3.1.2.11.9-1, Q5-3.1.2.11.10-1, Q5-3.1.3.2.2-1, Q5-3.1.3.2.3-1, Q5-3.1.3.2.4-1, Q5-3.1.3.2.5-1, \
         Q5-3.1.3.2.6-1, Q5-3.1.3.2.7-1, Q5-3.3.2.3.2-1, Q5-3.3.2.3.3-1, Q5-3.3.2.3.4-1, Q5-3.3.2.3.5-1, \
         Q5-3.3.2.3.6-1, Q5-3.3.2.3.9-1, Q5-3.4.2.2.2-1, Q5-3.5.2.2.2-1, Q5-3.6.2.2.2-1, Q5-3.7.2.2.2-1, \
         Q5-3.8.2.1.2-1, Q5-3.14.2.2.2-1, Q5-3.14.2.2.3-1, Q5-3.15.2.2-1]",
        "the codec's packets have one place for it, and its decoder has a test of the fault",
    ),
    (
        "[Q5-3.1.2.6-1, Q5-3.1.2.11.3-2, Q5-3.1.2.11.4-2, Q5-3.1.2.11.6-2, Q5-3.1.2.11.7-2, Q5-3.1.2.11.10-2, \
         Q5-3.3.2.3.2-2, Q5-3.3.2.3.8-1, Q5-3.8.2.1.2-2, Q5-3.8.3.1-1, Q5-3.8.3.1-2, Q5-3.3.2.1-1]",
        "the codec's packets cannot express it",
    ),
    (
        "[MQTT-2.2.2-1, MQTT-3.1.2-18, Q5-1.5.4-1, Q5-2.2.2.1-1, Q5-2.2.2.2-1, Q5-2.2.2.2-2, Q5-2.2.2.2-3, \
         Q5-3.5.2.1-1, Q5-3.6.2.1-2, Q5-3.7.2.1-2, Q5-3.14.2-1]",
        "the codec's tests of each packet and of any input show it",
    ),
    (
        "v3.1.1 [MQTT-1.5.3-1, MQTT-1.5.3-2, MQTT-1.5.3-3, MQTT-2.2.2-1, MQTT-3.1.2-11, MQTT-3.1.2-13, \
         MQTT-3.1.2-14, MQTT-3.1.2-15, MQTT-3.1.2-18, MQTT-3.1.2-20, MQTT-3.1.3-4, MQTT-3.1.3-10, MQTT-3.1.3-11, \
         MQTT-3.3.1-2, MQTT-3.3.1-4, MQTT-3.3.2-1, MQTT-4.7.3-3]",
        "the codec writes and reads it as it does for 5.0",
    ),
    ("[Q5-3.14.2.2.2-3]", "the client sends no other expiry in DISCONNECT than 0"),
    (
        "[MQTT-4.2-1] v3.1.1 [MQTT-7.1.2-1]",
        "TCP, and what is carried by it, is such a transport; so are Unix sockets",
    ),
    ("v3.1.1 [MQTT-4.8.0-2]", "a transient error cannot be caused from outside"),
    ("v3.1.1 [MQTT-7.0.0-2]", "every test shows it: none uses an extension"),
];

const INTRODUCTION: &str = "\
# Conformance of the client

What the three versions of MQTT ask of a client, and which test of the library `quelea-client` judges it: of its own, of
the session's, or of the codec's, which it shares with the broker. Generated: `UPDATE=1 cargo test -p quelea-conform
--test client_ledger` writes it, and the same test fails when it is stale.

[conformance.md](conformance.md) is the broker's side, and says where the identifiers come from.

";
