//! `quelea conform`: the conformance suite against any broker, statement by statement.

mod report;

use std::process::ExitCode;
use std::sync::Mutex;

use clap::Args;
use quelea_conform::{Plan, Version, judge};

use crate::failure::Failure;
use crate::progress::Progress;
use crate::target::{TargetArgs, version};

/// What `quelea conform` is asked to do.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConformArgs {
    #[command(flatten)]
    target: TargetArgs,

    /// The versions to judge, with commas between them.
    #[arg(short = 'V', long = "version", value_name = "VERSIONS", value_delimiter = ',', default_value = "3.1.1,5.0", value_parser = version)]
    versions: Vec<Version>,

    /// Judges only these statements: an id, or what ids begin with. May be repeated.
    #[arg(long = "id", value_name = "ID", value_delimiter = ',')]
    ids: Vec<String>,

    /// Judges also the rules that have no number in the standards, under ids of this suite: Q5- for 5.0, Q4- for
    /// 3.1.1, Q3- for 3.1, then the section.
    #[arg(long)]
    unnumbered: bool,

    /// Judges also what the standards leave open or only recommend, by the choices that Quelea makes. What fails
    /// then is not wrong.
    #[arg(long)]
    strict: bool,

    /// How many cases run beside each other. One that fails runs again, alone.
    #[arg(short, long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,

    /// Prints one array of objects: id, version, verdict, reason, evidence.
    #[arg(long)]
    json: bool,

    /// Prints a line for each statement, not only for those that fail.
    #[arg(short, long, conflicts_with = "json")]
    verbose: bool,

    /// Shows no progress.
    #[arg(short, long)]
    quiet: bool,
}

/// The exit codes, for the help.
pub(crate) const AFTER_HELP: &str = "\
Verdicts:
  pass          the broker did what the statement asks
  fail          it did not; the evidence shows the packets
  skip          it offers not what the statement is about, or refuses it as it may
  unobservable  no packet could show it, or it binds clients only

Exit codes:
  0  no statement fails
  1  some statement fails
  2  the command line is wrong
  3  the broker cannot be reached, or accepts no client of the versions asked for";

pub(crate) fn run(args: &ConformArgs) -> Result<ExitCode, Failure> {
    let plan = args.plan()?;
    let mut target = args.target.target()?;
    target.is_quelea = args.strict;
    TargetArgs::check(&target, &plan.versions)?;
    let progress = Mutex::new(Progress::new(args.quiet));
    let judgements = judge(&target, &plan, &|done, all| {
        if let Ok(mut progress) = progress.lock() {
            progress.show(format_args!("{done} of {all} cases"));
        }
    });
    drop(progress);
    let text = match args.json {
        true => report::json(&judgements),
        false => report::text(args.target.name(), &judgements, args.verbose),
    };
    crate::print::to_stdout(&text)?;
    let is_clean = judgements.iter().all(|it| !report::is_failure(it));
    Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

impl ConformArgs {
    fn plan(&self) -> Result<Plan, Failure> {
        let mut versions = self.versions.clone();
        versions.sort_unstable();
        versions.dedup();
        let has_unnumbered =
            self.unnumbered || self.strict || self.ids.iter().any(|it| it.starts_with('Q'));
        let concurrency = self.concurrency.into();
        let plan = Plan { versions, ids: self.ids.clone(), has_unnumbered, concurrency };
        let is_empty = plan.versions.iter().all(|it| plan.statements(*it).next().is_none());
        match is_empty {
            true => Err(Failure::usage("no statement of these versions has such an id")),
            false => Ok(plan),
        }
    }
}
