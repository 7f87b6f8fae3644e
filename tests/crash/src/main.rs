//! `crash`: campaigns against a broker, from the command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, process};

use quelea_crash::campaign::{Campaign, Outcome};
use quelea_crash::checker::{Figures, Finding};
use quelea_crash::random::Random;
use quelea_crash::trial::Trial;

/// What is asked for.
struct Arguments {
    program: PathBuf,
    kills: usize,
    seed: u64,
    trial: Trial,
}

fn main() -> ExitCode {
    match parse(env::args().skip(1)).and_then(|arguments| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("crash: {message}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut program = None;
    let mut arguments =
        Arguments { program: PathBuf::new(), kills: KILLS_DEFAULT, seed: 0, trial: Trial::Broker };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--broker" => program = Some(PathBuf::from(value()?)),
            "--kills" => arguments.kills = number(&value()?)? as usize,
            "--seed" => arguments.seed = number(&value()?)?,
            "--forgetful" => arguments.trial = Trial::Forgetful,
            "--power-cut" => arguments.trial = Trial::PowerCut,
            _ => return Err(format!("no such argument: {word}\n\n{USAGE}")),
        }
    }
    arguments.program = program.ok_or(USAGE)?;
    Ok(arguments)
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text}: not a number"))
}

/// Runs campaigns until the broker was killed often enough, or until one fails.
fn run(arguments: &Arguments) -> Result<(), String> {
    let mut seeds = Random::new(arguments.seed);
    let mut total = Figures::default();
    let mut left = arguments.kills;
    loop {
        let kills = left.min(KILLS_A_CAMPAIGN);
        left -= kills;
        // The first campaign has the seed that was given: so a failure is run again by its own.
        let seed = if total == Figures::default() { arguments.seed } else { seeds.draw() };
        let directory = env::temp_dir().join(format!("quelea-crash-{}-{seed}", process::id()));
        let outcome = campaign(arguments, &directory, seed, kills)?;
        total += outcome.verdict.figures;
        println!("seed {seed}: {}", outcome.verdict.figures);
        judge(arguments.trial, &outcome).map_err(|why| {
            explain(&outcome);
            format!("{why}, with --seed {seed} --kills {kills}; all is in {}", directory.display())
        })?;
        // Only what failed is worth keeping.
        let _ = fs::remove_dir_all(&directory);
        if left == 0 {
            break;
        }
    }
    println!("{total}");
    Ok(())
}

/// Says whether a campaign showed what it was to show.
fn judge(trial: Trial, outcome: &Outcome) -> Result<(), String> {
    let findings = &outcome.verdict.findings;
    match trial.expected_finding() {
        None if findings.is_empty() => Ok(()),
        None => Err(format!("{} findings", findings.len())),
        Some(rule) if findings.iter().any(|finding| finding.rule == rule) => {
            println!("as it must, the checker complains of {}", by_rule(outcome));
            Ok(())
        }
        Some(rule) => Err(format!("the checker does not complain of {rule}")),
    }
}

/// Counts the findings by rule.
fn by_rule(outcome: &Outcome) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for finding in &outcome.verdict.findings {
        *counts.entry(finding.rule).or_default() += 1;
    }
    let counts: Vec<String> =
        counts.iter().map(|(rule, count)| format!("{rule} {count}")).collect();
    counts.join(", ")
}

fn campaign(
    arguments: &Arguments,
    directory: &Path,
    seed: u64,
    kills: usize,
) -> Result<Outcome, String> {
    let campaign = Campaign::new(&arguments.program, directory, arguments.trial, seed);
    campaign.and_then(|it| it.run(kills)).map_err(|error| format!("seed {seed}: {error}"))
}

/// Prints the first findings with what led to them, and leaves the whole history beside the data.
fn explain(outcome: &Outcome) {
    println!("--- configuration ---\n{}", outcome.settings.configuration());
    for finding in outcome.verdict.findings.iter().take(FINDINGS_SHOWN) {
        println!("--- {finding} ---");
        for line in excerpt(outcome, finding) {
            println!("{line}");
        }
    }
    println!("--- all findings ---");
    for finding in &outcome.verdict.findings {
        println!("{finding}");
    }
    println!("--- the last lines of the broker's log ---");
    for line in outcome.settings.last_log_lines(LOG_LINES_SHOWN) {
        println!("{line}");
    }
    let entries = outcome.history.entries.iter().enumerate();
    let text: String = entries.map(|(index, entry)| format!("{index:>7} {entry}\n")).collect();
    let path = outcome.settings.directory.join("history.txt");
    if let Err(error) = fs::write(&path, text) {
        println!("{}: {error}", path.display());
    }
}

fn excerpt(outcome: &Outcome, finding: &Finding) -> Vec<String> {
    let mut lines = outcome.history.excerpt(finding.message, finding.client);
    let skipped = lines.len().saturating_sub(LINES_SHOWN);
    if skipped > 0 {
        lines.drain(..skipped);
        lines.insert(0, format!("… {skipped} lines before"));
    }
    lines
}

const USAGE: &str =
    "Usage: crash --broker PROGRAM [--kills N] [--seed S] [--forgetful | --power-cut]";

const KILLS_DEFAULT: usize = 200;

/// A campaign ends with all that is owed; one with more kills finds less of what a life leaves behind.
const KILLS_A_CAMPAIGN: usize = 15;

const FINDINGS_SHOWN: usize = 3;
const LINES_SHOWN: usize = 80;
const LOG_LINES_SHOWN: usize = 20;
