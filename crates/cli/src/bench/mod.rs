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
mod conductor;
mod control;
mod flow;
mod handshake;
mod latency;
mod pacing;
mod payload_text;
mod plan;
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
use std::process::ExitCode;

pub(crate) use args::Args;

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
    let mut reports = Vec::new();
    for (index, scenario) in scenarios.iter().enumerate() {
        let report = conductor::run(scenario)?;
        if !args.json {
            let before = if index == 0 { "" } else { "\n" };
            show(&format!("{before}{}", table::Table(&report)))?;
        }
        reports.push(report);
    }
    if args.json {
        let text = match (&args.file, reports.as_slice()) {
            (None, [report]) => serde_json::to_string_pretty(report),
            _ => serde_json::to_string_pretty(&reports),
        };
        show(&format!("{}\n", text.expect("a report has no keys but strings")))?;
    }
    let is_ok = reports.iter().all(|it| it.ok);
    Ok(if is_ok { ExitCode::SUCCESS } else { ExitCode::from(1) })
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
