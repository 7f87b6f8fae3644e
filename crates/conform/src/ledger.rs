//! The ledger: for each statement, the cases that judge it, or the reason why none does.
//!
//! The document is generated. A test compares it with the one in the repository; with `UPDATE=1` it writes it.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::statement::{self, Role, Statement};
use crate::{Version, untested};

/// Names of cases by the statement that they judge.
type CasesById = BTreeMap<(Version, &'static str), Vec<&'static str>>;

/// Returns the document `docs/conformance.md`.
pub fn render() -> String {
    let cases = cases_by_id();
    let mut document = String::from(INTRODUCTION);
    let run_count: usize = crate::cases().map(|case| case.versions.len()).sum();
    let binding =
        || statement::all().iter().filter(|it| it.role != Role::Client || is_judged(it, &cases));
    let judged_count = binding().filter(|it| is_judged(it, &cases)).count();
    let _ = writeln!(
        document,
        "{} statements; {judged_count} of them judged by {} cases in {run_count} runs, a case running once for each version it is for.",
        statement::all().len(),
        crate::cases().count(),
    );
    for (title, is_in_section) in SECTIONS {
        let _ = write!(
            document,
            "\n## {title}\n\n| statement | binds | says | judged by |\n|---|---|---|---|\n"
        );
        for statement in statement::all().iter().filter(|it| is_in_section(it)) {
            let judged = judged_by(statement, &cases);
            let Statement { id, role, wording, .. } = statement;
            let _ = writeln!(document, "| {id} | {role} | {wording} | {judged} |");
        }
    }
    document
}

/// Returns the statements that bind a server and have neither a case nor a reason.
pub fn gaps() -> Vec<&'static Statement> {
    let cases = cases_by_id();
    let is_gap = |it: &&Statement| {
        it.role != Role::Client
            && !is_judged(it, &cases)
            && untested::reason(it.version, it.id).is_none()
    };
    statement::all().iter().filter(is_gap).collect()
}

fn cases_by_id() -> CasesById {
    let mut cases = CasesById::new();
    for case in crate::cases() {
        for citation in statement::citations(case.doc) {
            let names = cases.entry((citation.version, citation.id)).or_default();
            if !names.contains(&case.name) {
                names.push(case.name);
            }
        }
    }
    cases
}

fn is_judged(statement: &Statement, cases: &CasesById) -> bool {
    cases.contains_key(&(statement.version, statement.id))
}

fn judged_by(statement: &Statement, cases: &CasesById) -> String {
    if let Some(names) = cases.get(&(statement.version, statement.id)) {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        return names.join(", ");
    }
    let reason = untested::reason(statement.version, statement.id);
    let reason = reason.unwrap_or(match statement.role {
        Role::Client => "it binds clients",
        Role::Server | Role::Both => "",
    });
    format!("– {reason}")
}

/// Says whether a statement belongs to a section of the document.
type IsInSection = fn(&Statement) -> bool;

static SECTIONS: [(&str, IsInSection); 5] = [
    ("MQTT 5.0", |it| it.version == Version::V5 && !it.id.starts_with('Q')),
    ("MQTT 3.1.1", |it| it.version == Version::V311 && !it.id.starts_with('Q')),
    ("MQTT 5.0, rules without a number", |it| it.id.starts_with("Q5-")),
    ("MQTT 3.1.1, rules without a number", |it| it.id.starts_with("Q4-")),
    ("MQTT 3.1", |it| it.id.starts_with("Q3-")),
];

const INTRODUCTION: &str = "\
# Conformance

What the three versions of MQTT ask of a server, and which case of the conformance suite (`crates/conform`)
judges it. Generated: `UPDATE=1 cargo test -p quelea-conform --test ledger` writes it, and the same test fails
when it is stale.

The identifiers are those of the OASIS standards, whose texts are at
<https://docs.oasis-open.org/mqtt/mqtt/v5.0/os/mqtt-v5.0-os.html> and
<https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/os/mqtt-v3.1.1-os.html>; the wording is ours. Rules that have no
number there, and those of MQTT 3.1, have one of ours: `Q5-`, `Q4-` and `Q3-` for the versions, then the section,
then a counter. For MQTT 3.1 the cases of 3.1.1 run as well, where both say the same.

A statement that binds clients has a case where a server has to notice that it was broken.

";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_that_binds_a_server_has_a_case_or_a_reason() {
        let gaps: Vec<String> =
            gaps().iter().map(|it| format!("{} {}: {}", it.version, it.id, it.wording)).collect();
        assert!(gaps.is_empty(), "neither case nor reason:\n{}", gaps.join("\n"));
    }

    #[test]
    fn no_reason_is_given_for_what_is_judged() {
        let cases = cases_by_id();
        for (cited, reason) in untested::REASONS {
            for citation in statement::citations(cited) {
                let key = (citation.version, citation.id);
                assert!(statement::find(citation).is_some(), "{citation:?} does not exist");
                assert!(!cases.contains_key(&key), "{citation:?} is judged, not: {reason}");
            }
        }
    }

    #[test]
    fn every_case_cites_a_statement_for_each_version() {
        let mut empty = Vec::new();
        for case in crate::cases() {
            for version in case.versions.iter().filter(|it| case.statements(**it).is_empty()) {
                empty.push(format!("{} for {version}", case.name));
            }
        }
        assert!(empty.is_empty(), "cases that judge nothing: {empty:#?}");
    }

    #[test]
    fn names_of_cases_are_unique() {
        let mut names: Vec<&str> = crate::cases().map(|it| it.name).collect();
        names.sort_unstable();
        for pair in names.windows(2) {
            assert_ne!(pair[0], pair[1]);
        }
    }
}
