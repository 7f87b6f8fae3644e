//! Sessions that sleep: they subscribe and go away, messages are sent to them, and they come back.

use super::args::Args;
use super::conductor::{Act, play, settings, sweep};
use super::plan::{self, Plan};
use super::process::Process;
use super::report::{Observations, Report};
use super::worker::{Outcome, Reception, Settings};

/// Makes the run that `args` ask for. `run` keeps its names apart from those of others.
///
/// # Errors
///
/// Says in words why it could not be made.
pub(super) fn run(args: &Args, run: u32, broker: Option<Process>) -> Result<Report, String> {
    let run = args.keep.or(args.resume).unwrap_or(run);
    let visit = plan::visitors(args, run);
    let settings = Settings { clean_start: false, ..settings(args, &visit)? };
    if let Some(sent) = args.resume.and(args.messages) {
        let plan = plan::returning(args, run, vec![sent; args.publishers as usize]);
        let (outcomes, seen) = come_back(args, &plan, &settings, broker)?;
        end(args, &visit, &settings)?;
        return Ok(Report::of_return(args, settings.way.port, &plan, &outcomes, seen));
    }

    let visiting = Settings { reception: Reception::Visit, ..settings.clone() };
    play(args, &visit, &visiting, Act::Visit, None)?;
    let plan = Plan::new(args, run);
    let (outcomes, seen) = play(args, &plan, &settings, Act::Load, broker)?;
    let port = settings.way.port;
    let mut report = Report::new(args, port, &plan, &outcomes, seen);
    if args.drain {
        let sent = outcomes.iter().flat_map(|it| it.sent.iter().copied()).collect();
        let plan = plan::returning(args, run, sent);
        let (outcomes, seen) = come_back(args, &plan, &settings, broker)?;
        report.add_return(args, &plan, &outcomes, &seen);
    }
    if args.keep.is_none() {
        end(args, &visit, &settings)?;
    }
    Ok(report)
}

fn come_back(
    args: &Args,
    plan: &Plan,
    settings: &Settings,
    broker: Option<Process>,
) -> Result<(Vec<Outcome>, Observations), String> {
    let returning = Settings { reception: Reception::Return, ..settings.clone() };
    play(args, plan, &returning, Act::Return, broker)
}

/// Ends the sessions, which those who came back in 5.0 have done themselves.
fn end(args: &Args, visit: &Plan, settings: &Settings) -> Result<(), String> {
    let is_ended = args.mqtt_version.is_v5() && (args.drain || args.resume.is_some());
    if is_ended { Ok(()) } else { sweep(args, visit, settings) }
}
