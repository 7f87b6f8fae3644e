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
mod plan;
mod process;
mod report;
mod series;
mod sleepers;
mod stamp;
mod table;
mod template;
mod traffic;
mod worker;

use std::process::ExitCode;

pub(crate) use args::Args;

/// Runs the scenario and prints its report.
///
/// Returns 0 if all went well, 1 if the broker broke a promise (a message lost, duplicated or out of order, a
/// connection refused or lost), 2 if the run could not be made.
pub(crate) fn run(args: &Args) -> ExitCode {
    let report = args.check().and_then(|()| conductor::run(args));
    let report = match report {
        Ok(report) => report,
        Err(why) => {
            eprintln!("quelea bench: {why}");
            return ExitCode::from(2);
        }
    };
    if args.json {
        let text = serde_json::to_string_pretty(&report).expect("a report has no keys but strings");
        println!("{text}");
    } else {
        print!("{}", table::Table(&report));
    }
    if report.ok { ExitCode::SUCCESS } else { ExitCode::from(1) }
}
