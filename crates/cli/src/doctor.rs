//! `quelea doctor`: what a broker can do and where its limits are, measured.

use std::cell::RefCell;
use std::fmt::Write;
use std::process::ExitCode;

use clap::Args;
use quelea_conform::Version;
use quelea_conform::doctor::{Ability, Measure, examine};
use serde::Serialize;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::progress::Progress;
use crate::target::TargetArgs;

/// What `quelea doctor` is asked to do.
#[derive(Clone, Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    target: TargetArgs,

    /// Prints one object.
    #[arg(long)]
    json: bool,

    /// Shows no progress.
    #[arg(short, long)]
    quiet: bool,
}

/// What it does to the broker, and the exit codes, for the help.
pub(crate) const AFTER_HELP: &str = "\
It sends some thousand small messages and a few of up to a megabyte, on topics that begin with
quelea-conform-, and takes away what it has left.

Exit codes:
  0  the broker was examined
  2  the command line is wrong
  3  the broker cannot be reached, or accepts no client";

pub(crate) fn run(args: &DoctorArgs) -> Result<ExitCode, Failure> {
    let target = args.target.target()?;
    TargetArgs::check(&target, &Version::ALL)?;
    let progress = RefCell::new(Progress::new(args.quiet));
    let abilities = examine(&target, &|next| progress.borrow_mut().show(next));
    drop(progress);
    let text = if args.json {
        json(args.target.name(), &abilities)
    } else {
        text(args.target.name(), &abilities)
    };
    crate::print::to_stdout(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// An ability as programs read it.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    version: String,
    measured: Value,
    /// Whether more was not tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    announced: Option<Value>,
    contradicts: bool,
    /// Why there is no measurement.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'static str>,
}

fn json(broker: &str, abilities: &[Ability]) -> String {
    let rows: Vec<Row> = abilities.iter().map(row).collect();
    let object = json!({ "broker": broker, "abilities": rows });
    let mut text =
        serde_json::to_string_pretty(&object).expect("an object has no keys but strings");
    text.push('\n');
    text
}

fn row(ability: &Ability) -> Row {
    Row {
        name: ability.name,
        version: ability.version.to_string(),
        measured: value(&ability.measured),
        at_least: matches!(ability.measured, Measure::AtLeast(_)).then_some(true),
        announced: ability.announced.as_ref().map(value),
        contradicts: ability.is_contradicted(),
        reason: match &ability.measured {
            Measure::Unknown(why) => Some(why.clone()),
            _ => None,
        },
        advice: ability.advice,
    }
}

fn value(measure: &Measure) -> Value {
    match measure {
        Measure::Yes => true.into(),
        Measure::No => false.into(),
        Measure::Exactly(number) | Measure::AtLeast(number) => (*number).into(),
        Measure::Unknown(_) => Value::Null,
    }
}

fn text(broker: &str, abilities: &[Ability]) -> String {
    let mut text = format!("{broker}\n\n");
    let width = abilities.iter().map(|it| it.name.len()).max().unwrap_or_default();
    for it in abilities {
        let measured = it.measured.to_string();
        let announced = match &it.announced {
            Some(announced) if it.is_contradicted() => format!("  but CONNACK says {announced}"),
            _ => String::new(),
        };
        let _ = writeln!(text, "{:width$}  {measured}{announced}", it.name);
    }
    let advice: Vec<_> =
        abilities.iter().filter_map(|it| it.advice.map(|advice| (it, advice))).collect();
    if !advice.is_empty() {
        text.push_str("\nWhat follows:\n");
    }
    for (ability, advice) in advice {
        let _ = writeln!(text, "  {}, {}: {advice}", ability.name, ability.measured);
    }
    text
}
