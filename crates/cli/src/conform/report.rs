//! What was judged, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write;

use quelea_conform::{Judgement, Verdict, Version};
use serde::Serialize;

/// A judgement as programs read it.
#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    version: String,
    verdict: &'static str,
    /// Why it is not a pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    statement: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    case: Option<&'a str>,
    evidence: &'a [String],
}

/// Returns one array of objects.
pub(crate) fn json(judgements: &[Judgement]) -> String {
    let rows: Vec<Row<'_>> = judgements.iter().map(row).collect();
    let mut text = serde_json::to_string_pretty(&rows).expect("a row has no keys but strings");
    text.push('\n');
    text
}

fn row(judgement: &Judgement) -> Row<'_> {
    let (verdict, reason) = parts(&judgement.verdict);
    Row {
        id: judgement.statement.id,
        version: judgement.version.to_string(),
        verdict,
        reason,
        statement: judgement.statement.wording,
        case: judgement.case,
        evidence: &judgement.evidence,
    }
}

/// Returns what a person wants to know: what fails and why, what was not judged and why, and how many there are.
pub(crate) fn text(broker: &str, judgements: &[Judgement], is_verbose: bool) -> String {
    let mut text = String::new();
    if is_verbose {
        for it in judgements {
            let (verdict, _) = parts(&it.verdict);
            let line = format!(
                "{verdict:12}  {:5}  {:15}  {}",
                it.version, it.statement.id, it.statement.wording
            );
            let _ = writeln!(text, "{line}");
        }
        text.push('\n');
    }
    for it in judgements.iter().filter(|it| is_failure(it)) {
        append_failure(&mut text, it);
    }
    append_skips(&mut text, judgements);
    let _ = writeln!(text, "{broker}");
    let mut counts = BTreeMap::<Version, BTreeMap<&str, usize>>::new();
    for it in judgements {
        *counts.entry(it.version).or_default().entry(parts(&it.verdict).0).or_default() += 1;
    }
    for (version, counts) in counts {
        let count = |verdict| counts.get(verdict).copied().unwrap_or(0);
        let _ = writeln!(
            text,
            "MQTT {version:5}  {:3} pass  {:3} fail  {:3} skip  {:3} unobservable",
            count("pass"),
            count("fail"),
            count("skip"),
            count("unobservable"),
        );
    }
    text
}

fn append_failure(text: &mut String, judgement: &Judgement) {
    let Judgement { version, statement, case, evidence, .. } = judgement;
    let (_, reason) = parts(&judgement.verdict);
    let _ = writeln!(text, "fail  MQTT {version}  {}: {}", statement.id, statement.wording);
    let _ = writeln!(text, "  {}", reason.unwrap_or_default());
    let _ = writeln!(text, "  in the case {}:", case.unwrap_or_default());
    let shown = evidence.len().saturating_sub(SHOWN_LINES);
    for line in &evidence[shown..] {
        let _ = writeln!(text, "    {line}");
    }
    text.push('\n');
}

/// Skipped statements that share their reason are told of together.
fn append_skips(text: &mut String, judgements: &[Judgement]) {
    let mut by_reason = BTreeMap::<(Version, &str), Vec<&str>>::new();
    for it in judgements {
        if let Verdict::Skip(reason) = &it.verdict {
            by_reason.entry((it.version, reason)).or_default().push(it.statement.id);
        }
    }
    for ((version, reason), ids) in by_reason {
        let _ = writeln!(text, "skip  MQTT {version}  {reason}");
        for line in ids.chunks(5) {
            let _ = writeln!(text, "    {}", line.join(" "));
        }
        text.push('\n');
    }
}

pub(crate) fn is_failure(judgement: &Judgement) -> bool {
    matches!(judgement.verdict, Verdict::Fail(_))
}

fn parts(verdict: &Verdict) -> (&'static str, Option<&str>) {
    match verdict {
        Verdict::Pass => ("pass", None),
        Verdict::Fail(why) => ("fail", Some(why)),
        Verdict::Skip(why) => ("skip", Some(why)),
        Verdict::Unobservable(why) => ("unobservable", Some(why)),
    }
}

/// How many packets people are shown of a failure; programs get more.
const SHOWN_LINES: usize = 16;
