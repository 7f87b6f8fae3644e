//! `quelea bench`: a load generator for any MQTT broker.
//!
//! A [`plan`] spells a scenario out: clients, subscriptions, flows. Each [`worker`] thread serves its part of
//! the connections with one poll; the [`conductor`] sets the times, looks at the broker's process, and makes
//! the [`report`]. Each payload carries a [`stamp`], and [`arrivals`] checks that every message comes once
//! and in order, so that no figure is earned by dropping.

mod alarm;
mod args;
mod arrivals;
mod client;
mod compare;
mod conductor;
mod control;
mod flow;
mod handshake;
mod html;
mod latency;
mod pacing;
mod payload_text;
mod plan;
mod plot;
mod process;
mod report;
mod scenario_file;
mod series;
mod sleepers;
mod stamp;
mod table;
mod template;
mod traffic;
mod worker;

use std::ffi::OsString;
use std::fmt::{self, Display};
use std::process::ExitCode;

use serde::Serialize;

pub(crate) use args::Args;
use compare::Comparison;
use report::Report;

use crate::print;

/// Runs what `args` ask for and prints the reports. `flags` is what `args` were made of.
///
/// Returns 0 if all went well, 1 if the broker broke a promise (a message lost, duplicated or out of order, a
/// connection refused or lost), 2 if a run could not be made.
pub(crate) fn run(args: &Args, flags: &[OsString]) -> ExitCode {
    play(args, flags).unwrap_or_else(|why| {
        for line in why.lines() {
            print::to_stderr(&format!("quelea bench: {line}"));
        }
        ExitCode::from(2)
    })
}

fn play(args: &Args, flags: &[OsString]) -> Result<ExitCode, String> {
    let scenarios = scenarios(args, flags)?;
    if let Some(file) = &args.html {
        html::check_writable(file)?;
    }
    let mut results = Vec::new();
    for (index, scenario) in scenarios.iter().enumerate() {
        let result = Played::of(scenario)?;
        if !args.json {
            let before = if index == 0 { "" } else { "\n" };
            show(&format!("{before}{result}"))?;
        }
        results.push(result);
    }
    if args.json {
        let text = match (&args.file, results.as_slice()) {
            (None, [result]) => serde_json::to_string_pretty(result),
            _ => serde_json::to_string_pretty(&results),
        };
        show(&format!("{}\n", text.expect("a report has no keys but strings")))?;
    }
    if let Some(file) = &args.html {
        html::write(file, &results)?;
    }
    let is_ok = results.iter().all(Played::is_ok);
    Ok(if is_ok { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// A scenario that was played, once or in rounds.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Played {
    Alone(Box<Report>),
    Compared(Comparison),
}

impl Played {
    fn of(scenario: &Args) -> Result<Self, String> {
        Ok(match scenario.for_the_other() {
            None => Self::Alone(conductor::run(scenario)?.into()),
            Some(other) => Self::Compared(compare::run(scenario, &other)?),
        })
    }

    fn is_ok(&self) -> bool {
        match self {
            Self::Alone(report) => report.ok,
            Self::Compared(comparison) => comparison.ok,
        }
    }
}

impl Display for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alone(report) => table::Table(report).fmt(f),
            Self::Compared(comparison) => comparison.fmt(f),
        }
    }
}

fn scenarios(args: &Args, flags: &[OsString]) -> Result<Vec<Args>, String> {
    match (&args.file, args.kind) {
        (Some(_), Some(_)) => {
            Err("--scenario is instead of a scenario: its file has the kinds".to_owned())
        }
        (Some(file), None) => scenario_file::read(file, flags),
        (None, _) => args.check().map(|()| vec![args.clone()]),
    }
}

fn show(text: &str) -> Result<(), String> {
    print::to_stdout(text).map_err(|it| it.to_string())
}
