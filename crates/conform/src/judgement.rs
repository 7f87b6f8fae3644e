//! A broker's judgement, statement by statement, out of what the cases found.
//!
//! Cases run beside each other, because most of them wait. One that fails runs once more, alone, and that run counts.
//! Where an answer did not come it runs a third time, and waits for much longer: a broker that is slow, under the load
//! of the others or by itself, has broken nothing.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::case::Finding;
use crate::statement::{self, Statement};
use crate::{Case, Report, Target, Verdict, Version, untested};

/// What is to be judged, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The versions that clients speak.
    pub versions: Vec<Version>,
    /// Ids of statements, or what ids begin with; none means all.
    pub ids: Vec<String>,
    /// Whether the rules that have no number in the texts are judged too, under ids of ours.
    pub has_unnumbered: bool,
    /// How many cases run beside each other; at least one does.
    pub concurrency: usize,
}

/// What there is to say of a statement.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The version that was spoken. For MQTT 3.1 the statement may be one of 3.1.1, where both say the same.
    pub version: Version,
    /// The statement.
    pub statement: &'static Statement,
    /// The judgement.
    pub verdict: Verdict,
    /// The case that decided it, if one did.
    pub case: Option<&'static str>,
    /// The packets that led to it: at most [`EVIDENCE_LINES_MAX`] lines.
    pub evidence: Vec<String>,
}

/// A case that runs for a version.
type Run = (&'static Case, Version);

impl Plan {
    /// Returns the statements that are judged for a version: those of its text, and what MQTT 3.1 shares with 3.1.1.
    pub fn statements(&self, version: Version) -> impl Iterator<Item = &'static Statement> {
        let is_of = move |it: &Statement| match version {
            Version::V31 => it.version != Version::V5 && is_cited(it.id, version),
            _ => it.version == version,
        };
        let mut all: Vec<_> = statement::all().iter().filter(|it| is_of(it)).collect();
        all.retain(|it| (self.has_unnumbered || !it.id.starts_with('Q')) && self.is_wanted(it.id));
        all.into_iter()
    }

    fn is_wanted(&self, id: &str) -> bool {
        let is_named = |wanted: &String| match statement::all().iter().any(|it| it.id == wanted) {
            true => id == wanted,
            false => id.starts_with(wanted.as_str()),
        };
        self.ids.is_empty() || self.ids.iter().any(is_named)
    }

    fn runs(&self) -> Vec<Run> {
        let mut runs = Vec::new();
        for version in &self.versions {
            let wanted: Vec<&str> = self.statements(*version).map(|it| it.id).collect();
            let cases = crate::cases().filter(|it| it.versions.contains(version));
            let is_wanted =
                |it: &&Case| it.statements(*version).iter().any(|id| wanted.contains(id));
            runs.extend(cases.filter(is_wanted).map(|it| (it, *version)));
        }
        runs
    }
}

/// Judges the broker at `target`. `progress` is told how many runs are done, and how many there are.
pub fn judge(
    target: &Target,
    plan: &Plan,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Vec<Judgement> {
    let runs = plan.runs();
    let mut reports = run_beside(target, &runs, plan.concurrency, target.patience, progress);
    let is_failure = |it: &Report| matches!(it.verdict, Verdict::Fail(_));
    if plan.concurrency > 1 {
        run_again(target, &runs, &mut reports, is_failure, 1, target.patience, progress);
    }
    let patience = target.patience * LONG_PATIENCE;
    let is_late = Report::is_late_failure;
    run_again(target, &runs, &mut reports, is_late, plan.concurrency, patience, progress);
    let mut found = Found::new();
    for ((case, version), report) in runs.iter().zip(&reports) {
        for finding in &report.findings {
            let best = found.entry((*version, finding.id)).or_insert((case, finding, report));
            if weight(&finding.verdict) > weight(&best.1.verdict) {
                *best = (case, finding, report);
            }
        }
    }
    let of_version = |version: &Version| {
        let version = *version;
        let found = &found;
        plan.statements(version).map(move |it| judgement(it, version, found))
    };
    plan.versions.iter().flat_map(of_version).collect()
}

/// What decides on each statement.
type Found<'a> = BTreeMap<(Version, &'static str), (&'a Case, &'a Finding, &'a Report)>;

fn run_beside(
    target: &Target,
    runs: &[Run],
    concurrency: usize,
    patience: Duration,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Vec<Report> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let reports = Mutex::new(BTreeMap::new());
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some((case, version)) = runs.get(index) else { return };
            let report = case.run_with(target, *version, patience);
            reports.lock().expect("no case panics").insert(index, report);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, runs.len());
        }
    };
    thread::scope(|scope| {
        for _ in 1..concurrency.min(runs.len()) {
            scope.spawn(work);
        }
        work();
    });
    reports.into_inner().expect("no case panics").into_values().collect()
}

/// Runs those again whose reports are chosen, and puts the new reports in the place of the old.
fn run_again(
    target: &Target,
    runs: &[Run],
    reports: &mut [Report],
    is_chosen: impl Fn(&Report) -> bool,
    concurrency: usize,
    patience: Duration,
    progress: &(dyn Fn(usize, usize) + Sync),
) {
    let chosen: Vec<usize> = (0..runs.len()).filter(|it| is_chosen(&reports[*it])).collect();
    let again: Vec<Run> = chosen.iter().map(|it| runs[*it]).collect();
    for (index, report) in
        chosen.into_iter().zip(run_beside(target, &again, concurrency, patience, progress))
    {
        reports[index] = report;
    }
}

fn judgement(statement: &'static Statement, version: Version, found: &Found<'_>) -> Judgement {
    if let Some((case, finding, report)) = found.get(&(version, statement.id)) {
        let evidence = abridge(&report.evidence[finding.evidence.clone()]);
        let (verdict, case) = (finding.verdict.clone(), Some(case.name));
        return Judgement { version, statement, verdict, case, evidence };
    }
    let reason = untested::reason(statement.version, statement.id);
    let reason = reason.unwrap_or("it binds clients, and no server has to notice");
    let verdict = Verdict::Unobservable(reason.to_owned());
    Judgement { version, statement, verdict, case: None, evidence: Vec::new() }
}

/// A failure outweighs what passed, and what was judged what was not.
fn weight(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Unobservable(_) => 0,
        Verdict::Skip(_) => 1,
        Verdict::Pass => 2,
        Verdict::Fail(_) => 3,
    }
}

/// Keeps the end, where what decides is, and some of the beginning.
fn abridge(lines: &[String]) -> Vec<String> {
    let count = lines.len();
    if count <= EVIDENCE_LINES_MAX {
        return lines.to_owned();
    }
    let (head, tail) = (&lines[..10], &lines[count - (EVIDENCE_LINES_MAX - 11)..]);
    let gap = format!("… {} lines left out", count - head.len() - tail.len());
    [head, &[gap], tail].concat()
}

fn is_cited(id: &str, version: Version) -> bool {
    crate::cases().any(|it| it.versions.contains(&version) && it.statements(version).contains(&id))
}

/// How many times as long an answer is waited for that did not come before.
const LONG_PATIENCE: u32 = 8;

/// How many lines of evidence a judgement has at most.
pub const EVIDENCE_LINES_MAX: usize = 60;
