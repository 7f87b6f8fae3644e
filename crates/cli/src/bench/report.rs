//! What a run found, as it is written to JSON.

use std::time::Duration;

use quelea_codec::Version;
use serde::Serialize;

use super::args::{Args, Scenario};
use super::latency::{Latency, Percentiles};
use super::plan::{Plan, Stream};
use super::series::{Course, Series};
use super::worker::Outcome;

/// A run's figures and its verdict.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// As it was given.
    pub name: Option<String>,
    pub scenario: String,
    pub host: String,
    pub port: u16,
    pub mqtt: &'static str,
    pub qos: u8,
    pub size_bytes: u32,
    pub clients: u32,
    pub publishers: u32,
    pub subscribers: u32,
    pub connections: u32,
    /// In flight per publisher, in a closed loop.
    pub window: Option<u32>,
    /// Messages a second in all, in an open loop.
    pub rate: Option<f64>,
    /// In which the rate grew.
    pub ramp_secs: Option<f64>,
    pub warmup_secs: f64,
    pub duration_secs: f64,
    pub threads: u32,
    pub connect: Connections,
    /// `None` for a storm, which sends nothing.
    pub load: Option<Figures>,
    /// The pair beside a flood.
    pub bystander: Option<Figures>,
    /// With a process id only.
    pub broker: Option<BrokerFigures>,
    pub idle: Option<IdleFigures>,
    /// What was sent to sleepers.
    pub sleepers: Option<SleeperFigures>,
    /// The return of the sleepers.
    pub drain: Option<DrainFigures>,
    pub generator: GeneratorFigures,
    /// Promises that the broker broke.
    pub violations: Vec<String>,
    /// What makes the figures less than they seem.
    pub warnings: Vec<String>,
    pub ok: bool,
}

/// How the connections went.
#[derive(Debug, Serialize)]
pub(crate) struct Connections {
    pub accepted: u32,
    pub refused: u32,
    /// Of the refused, those that were told why.
    pub refused_by_connack: u32,
    /// From the first connection's beginning until all were settled.
    pub secs: f64,
    pub connack_us: Option<Percentiles>,
}

/// How the messages went. Published, delivered per second and latency are those of the measurement, the
/// faults those of the whole run.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub published: u64,
    pub delivered: u64,
    pub delivered_per_sec: f64,
    pub lost: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub refused: u64,
    pub latency_us: Option<Percentiles>,
    /// Until the exchange is complete, above QoS 0.
    pub acknowledged_us: Option<Percentiles>,
    /// Latency over time, from the start of the load to its end.
    pub course_us: Option<Course>,
}

/// What it cost the broker.
#[derive(Debug, Serialize)]
pub(crate) struct BrokerFigures {
    pub pid: i32,
    /// In the measurement.
    pub cpu_secs: f64,
    /// Of one core.
    pub cpu_percent: f64,
    pub cpu_us_per_delivery: Option<f64>,
    pub cpu_resolution_us: f64,
    pub rss_before_bytes: Option<u64>,
    pub rss_connected_bytes: Option<u64>,
    pub rss_end_bytes: Option<u64>,
    pub rss_per_connection_bytes: Option<f64>,
}

/// What idle connections cost, and whether they were reached.
#[derive(Debug, Serialize)]
pub(crate) struct IdleFigures {
    /// Of one core, while nothing was sent.
    pub cpu_percent: Option<f64>,
    /// Connections that the broadcast reached.
    pub reached: u64,
    pub memory: Option<IdleMemory>,
}

/// The broker's resident memory around an idle fleet.
#[derive(Debug, Serialize)]
pub(crate) struct IdleMemory {
    pub before_bytes: u64,
    /// Before the broadcast.
    pub held_bytes: u64,
    /// As soon as the broadcast had reached all.
    pub after_bytes: u64,
    /// 10 s later.
    pub settled_bytes: u64,
    pub per_connection_held_bytes: f64,
    pub per_connection_after_bytes: f64,
    pub per_connection_settled_bytes: f64,
}

/// What messages to those who are away cost.
#[derive(Debug, Serialize)]
pub(crate) struct SleeperFigures {
    /// In the measurement.
    pub acknowledged: u64,
    pub acknowledged_per_sec: f64,
    /// Sessions that each message was for.
    pub sessions_per_message: u32,
    pub cpu_us_per_message: Option<f64>,
    /// Per message and session.
    pub cpu_us_per_queued: Option<f64>,
}

/// How those who were away got what they had missed.
#[derive(Debug, Serialize)]
pub(crate) struct DrainFigures {
    /// From the first connection to the last message.
    pub secs: f64,
    /// Sessions that were there.
    pub present: u32,
    /// From the beginning of a connection to its first message.
    pub first_message_us: Option<Percentiles>,
    pub load: Figures,
    pub broker: Option<BrokerFigures>,
}

/// What the run cost ourselves.
#[derive(Debug, Serialize)]
pub(crate) struct GeneratorFigures {
    /// Of one core, in the measurement.
    pub cpu_percent: f64,
}

/// What the conductor saw of the broker's process, and of time.
#[derive(Debug, Default)]
pub(crate) struct Observations {
    pub connect_time: Duration,
    /// The measurement as it was.
    pub measured: Duration,
    /// First arrivals in it.
    pub delivered: u64,
    /// Exchanges that were completed in it.
    pub acknowledged: u64,
    /// First arrivals in it of the bystander.
    pub delivered_to_bystander: u64,
    pub broker_cpu: Option<Duration>,
    pub broker_cpu_resolution: Duration,
    pub generator_cpu: Duration,
    pub rss_before: Option<u64>,
    pub rss_connected: Option<u64>,
    pub rss_end: Option<u64>,
    pub idle_cpu_percent: Option<f64>,
    pub rss_idle_held: Option<u64>,
    pub rss_idle_after: Option<u64>,
    pub rss_idle_settled: Option<u64>,
    /// What cut the run short.
    pub violations: Vec<String>,
}

impl Report {
    /// Makes the report of a run that was made.
    pub(crate) fn new(
        args: &Args,
        port: u16,
        plan: &Plan,
        outcomes: &[Outcome],
        seen: Observations,
    ) -> Self {
        let connections = plan.connection_count();
        let mut connack = Latency::new();
        for outcome in outcomes {
            connack.add(&outcome.connack);
        }
        let load = figures(outcomes, Stream::Load, &seen);
        let bystander = figures(outcomes, Stream::Bystander, &seen);
        let is_storm = args.scenario() == Scenario::Storm;
        let idle = (args.scenario() == Scenario::Idle).then(|| IdleFigures {
            cpu_percent: seen.idle_cpu_percent,
            reached: outcomes.iter().map(|it| it.delivered).sum(),
            memory: idle_memory(&seen, connections),
        });
        let is_filled = args.scenario() == Scenario::Sleepers && args.resume.is_none();
        let sleepers = is_filled.then(|| sleepers(args, &seen));
        let mut violations = violations(args, outcomes);
        violations.extend(seen.violations.iter().cloned());
        let secs = seen.measured.as_secs_f64().max(1e-9);
        let generator =
            GeneratorFigures { cpu_percent: 100.0 * seen.generator_cpu.as_secs_f64() / secs };
        Self {
            name: args.name.clone(),
            scenario: format!("{:?}", args.scenario()).to_lowercase(),
            host: args.host.clone(),
            port,
            mqtt: args.version_name(),
            qos: args.qos,
            size_bytes: args.payload_bytes(),
            clients: args.client_count(),
            publishers: plan.publisher_count,
            subscribers: plan.subscriber_count,
            connections,
            window: args.closed_window(),
            rate: args.rate,
            ramp_secs: args.ramp.map(|it| it.as_secs_f64()),
            warmup_secs: args.warmup.as_secs_f64(),
            duration_secs: args.duration.as_secs_f64(),
            threads: plan.workers.len() as u32,
            connect: Connections {
                accepted: outcomes.iter().map(|it| it.accepted).sum(),
                refused: outcomes.iter().map(|it| it.refused).sum(),
                refused_by_connack: outcomes.iter().map(|it| it.refused_by_connack).sum(),
                secs: seen.connect_time.as_secs_f64(),
                connack_us: connack.percentiles(),
            },
            load: load.filter(|_| !is_storm),
            bystander,
            broker: args.pid.map(|pid| broker(pid, &seen, connections)),
            idle,
            sleepers,
            drain: None,
            warnings: warnings(args, plan, outcomes, &generator),
            generator,
            ok: violations.is_empty(),
            violations,
        }
    }

    /// Makes the report of a run that was nothing but a return.
    pub(crate) fn of_return(
        args: &Args,
        port: u16,
        plan: &Plan,
        outcomes: &[Outcome],
        seen: Observations,
    ) -> Self {
        let drain = drain(args, plan, outcomes, &seen);
        let mut report = Self::new(args, port, plan, outcomes, seen);
        report.publishers = args.publishers;
        (report.load, report.drain) = (None, drain);
        report.add_violations(absent(args, plan, outcomes));
        report
    }

    /// Adds how the sleepers came back.
    pub(crate) fn add_return(
        &mut self,
        args: &Args,
        plan: &Plan,
        outcomes: &[Outcome],
        seen: &Observations,
    ) {
        self.subscribers = plan.subscriber_count;
        self.drain = drain(args, plan, outcomes, seen);
        self.add_violations(violations(args, outcomes));
        self.add_violations(seen.violations.clone());
        self.add_violations(absent(args, plan, outcomes));
    }

    fn add_violations(&mut self, more: Vec<String>) {
        self.violations.extend(more);
        self.ok = self.violations.is_empty();
    }
}

fn figures(outcomes: &[Outcome], stream: Stream, seen: &Observations) -> Option<Figures> {
    let of_stream = || outcomes.iter().filter(|it| it.stream == stream);
    of_stream().next()?;
    let (mut latency, mut acknowledging) = (Latency::new(), Latency::new());
    let mut series = Series::new();
    for outcome in of_stream() {
        latency.add(&outcome.latency);
        series.add(&outcome.series);
        acknowledging.add(&outcome.acknowledging);
    }
    let sum = |of: fn(&Outcome) -> u64| of_stream().map(of).sum::<u64>();
    let delivered = match stream {
        Stream::Load => seen.delivered - seen.delivered_to_bystander,
        Stream::Bystander => seen.delivered_to_bystander,
    };
    Some(Figures {
        published: sum(|it| it.published),
        delivered,
        delivered_per_sec: delivered as f64 / seen.measured.as_secs_f64().max(1e-9),
        lost: sum(|it| it.lost),
        duplicated: sum(|it| it.duplicated),
        reordered: sum(|it| it.reordered),
        refused: sum(|it| it.refused_publishes),
        latency_us: latency.percentiles(),
        acknowledged_us: acknowledging.percentiles(),
        course_us: series.course(),
    })
}

fn sleepers(args: &Args, seen: &Observations) -> SleeperFigures {
    let acknowledged = seen.acknowledged;
    let sessions_per_message = if args.distinct { 1 } else { args.client_count() };
    let cpu_us = seen.broker_cpu.filter(|_| acknowledged > 0).map(|it| it.as_secs_f64() * 1e6);
    let cpu_us_per_message = cpu_us.map(|it| it / acknowledged as f64);
    SleeperFigures {
        acknowledged,
        acknowledged_per_sec: acknowledged as f64 / seen.measured.as_secs_f64().max(1e-9),
        sessions_per_message,
        cpu_us_per_message,
        cpu_us_per_queued: cpu_us_per_message.map(|it| it / f64::from(sessions_per_message)),
    }
}

fn drain(
    args: &Args,
    plan: &Plan,
    outcomes: &[Outcome],
    seen: &Observations,
) -> Option<DrainFigures> {
    let mut first_message = Latency::new();
    for outcome in outcomes {
        first_message.add(&outcome.first_message);
    }
    Some(DrainFigures {
        secs: seen.measured.as_secs_f64(),
        present: outcomes.iter().map(|it| it.present).sum(),
        first_message_us: first_message.percentiles(),
        load: figures(outcomes, Stream::Load, seen)?,
        broker: args.pid.map(|pid| broker(pid, seen, plan.connection_count())),
    })
}

/// Says whether sessions were gone. MQTT 3.1 does not tell.
fn absent(args: &Args, plan: &Plan, outcomes: &[Outcome]) -> Vec<String> {
    let present: u32 = outcomes.iter().map(|it| it.present).sum();
    let absent = plan.subscriber_count.saturating_sub(present);
    let is_told = args.mqtt_version != Version::V31;
    let sentence = (is_told && absent > 0).then(|| format!("{absent} sessions were gone"));
    sentence.into_iter().collect()
}

fn broker(pid: i32, seen: &Observations, connections: u32) -> BrokerFigures {
    let cpu_secs = seen.broker_cpu.unwrap_or_default().as_secs_f64();
    let grown = seen.rss_connected.zip(seen.rss_before).map(|(now, then)| now as f64 - then as f64);
    BrokerFigures {
        pid,
        cpu_secs,
        cpu_percent: 100.0 * cpu_secs / seen.measured.as_secs_f64().max(1e-9),
        cpu_us_per_delivery: (seen.delivered > 0).then(|| 1e6 * cpu_secs / seen.delivered as f64),
        cpu_resolution_us: seen.broker_cpu_resolution.as_secs_f64() * 1e6,
        rss_before_bytes: seen.rss_before,
        rss_connected_bytes: seen.rss_connected,
        rss_end_bytes: seen.rss_end,
        rss_per_connection_bytes: grown.map(|it| it / f64::from(connections)),
    }
}

fn idle_memory(seen: &Observations, connections: u32) -> Option<IdleMemory> {
    let before_bytes = seen.rss_before?;
    let per_connection = |bytes: u64| (bytes as f64 - before_bytes as f64) / f64::from(connections);
    let (held_bytes, after_bytes) = (seen.rss_idle_held?, seen.rss_idle_after?);
    let settled_bytes = seen.rss_idle_settled?;
    Some(IdleMemory {
        before_bytes,
        held_bytes,
        after_bytes,
        settled_bytes,
        per_connection_held_bytes: per_connection(held_bytes),
        per_connection_after_bytes: per_connection(after_bytes),
        per_connection_settled_bytes: per_connection(settled_bytes),
    })
}

fn violations(args: &Args, outcomes: &[Outcome]) -> Vec<String> {
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    let mut violations = Vec::new();
    let mut add = |count: u64, what: &str| {
        if count > 0 {
            violations.push(format!("{count} {what}"));
        }
    };
    add(sum(|it| it.reordered), "messages came after a later one of their publisher and topic");
    add(sum(|it| it.duplicated), "messages came more than once");
    add(sum(|it| it.foreign), "messages came to the wrong receiver, or were not of this run");
    add(sum(|it| it.stray), "acknowledgements were of nothing");
    if !args.is_loss_allowed() {
        add(sum(|it| it.lost), "deliveries never came");
    }
    for outcome in outcomes {
        for (why, &count) in &outcome.failures {
            let times = if count == 1 { "time" } else { "times" };
            add(u64::from(count), &format!("{times}: {why}"));
        }
    }
    violations
}

fn warnings(
    args: &Args,
    plan: &Plan,
    outcomes: &[Outcome],
    generator: &GeneratorFigures,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let lost: u64 = outcomes.iter().map(|it| it.lost).sum();
    if lost > 0 && args.is_loss_allowed() {
        warnings.push(format!("{lost} deliveries never came, which QoS 0 allows"));
    }
    let threads = plan.workers.len() as f64;
    if generator.cpu_percent > GENERATOR_BUSY_PERCENT * threads {
        let percent = generator.cpu_percent;
        warnings
            .push(format!("the generator was busy {percent:.0} % of a core: it may be the limit"));
    }
    let receive_maximum = outcomes.iter().filter_map(|it| it.receive_maximum).min();
    if let (Some(maximum), Some(window)) = (receive_maximum, args.closed_window())
        && args.qos > 0
        && u32::from(maximum) < window
    {
        warnings.push(format!(
            "the broker's Receive Maximum is {maximum}, so that no window was wider than that"
        ));
    }
    warnings
}

/// Of each thread's core.
const GENERATOR_BUSY_PERCENT: f64 = 90.0;
