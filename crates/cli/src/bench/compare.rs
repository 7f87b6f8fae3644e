//! The same scenario against two brokers in turn, round by round.
//!
//! What the machine does meanwhile changes slowly, so that rounds in turn share it fairly, and each other round
//! the second broker begins. A figure of a broker is the median of its rounds.

use std::fmt;

use serde::Serialize;

use super::args::Args;
use super::conductor;
use super::latency::Percentiles;
use super::report::Report;

/// What the rounds of two brokers came to.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    pub rounds: u32,
    /// In the order in which they were named.
    pub brokers: [Side; 2],
    pub figures: Vec<Compared>,
    /// Whether no round has a violation.
    pub ok: bool,
}

/// One broker, with a report of each round.
#[derive(Debug, Serialize)]
pub(crate) struct Side {
    pub place: String,
    pub reports: Vec<Report>,
}

/// One figure of both.
#[derive(Debug, Serialize)]
pub(crate) struct Compared {
    pub figure: &'static str,
    pub medians: [f64; 2],
    /// The second broker's by the first one's; nothing if that is 0.
    pub ratio: Option<f64>,
}

/// Makes the rounds that `args` ask for, against its broker and `other`.
///
/// # Errors
///
/// Says why a round could not be made.
pub(crate) fn run(args: &Args, other: &Args) -> Result<Comparison, String> {
    let mut sides = [args, other].map(|it| Side { place: place(it), reports: Vec::new() });
    for round in 0..args.rounds {
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for index in order {
            let report = conductor::run([args, other][index])?;
            sides[index].reports.push(report);
        }
    }
    Ok(Comparison::of(args.rounds, sides))
}

impl Comparison {
    fn of(rounds: u32, brokers: [Side; 2]) -> Self {
        let compared = |figure: &Figure| {
            let [first, second] =
                brokers.each_ref().map(|it| median(it.reports.iter(), figure.read));
            let medians = [first?, second?];
            let ratio = (medians[0] > 0.0).then(|| medians[1] / medians[0]);
            Some(Compared { figure: figure.key, medians, ratio })
        };
        let figures = FIGURES.iter().filter_map(compared).collect();
        let ok = brokers.iter().flat_map(|it| &it.reports).all(|it| it.ok);
        Self { rounds, brokers, figures, ok }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = &self.brokers;
        if let Some(report) = first.reports.first() {
            let name = report.name.as_ref().map(|it| format!("{it}: ")).unwrap_or_default();
            let Report { scenario, mqtt, qos, .. } = report;
            writeln!(
                f,
                "{name}{scenario}, MQTT {mqtt}, QoS {qos}, medians of {} rounds",
                self.rounds
            )?;
        }
        let width = first.place.len().max(second.place.len()).max(14) + 2;
        writeln!(
            f,
            "{:<26}{:>width$}{:>width$}{:>16}",
            "", first.place, second.place, "second/first"
        )?;
        for Compared { figure, medians, ratio } in &self.figures {
            let [first, second] = medians.map(shown);
            let ratio = ratio.map_or("-".to_owned(), |it| format!("{it:.2}"));
            writeln!(f, "{figure:<26}{first:>width$}{second:>width$}{ratio:>16}")?;
        }
        for side in &self.brokers {
            for (round, report) in side.reports.iter().enumerate() {
                for warning in &report.warnings {
                    writeln!(f, "warning        {}, round {}: {warning}", side.place, round + 1)?;
                }
                for violation in &report.violations {
                    writeln!(f, "VIOLATION      {}, round {}: {violation}", side.place, round + 1)?;
                }
            }
        }
        Ok(())
    }
}

/// Returns a figure with as many digits as mean something.
pub(super) fn shown(figure: f64) -> String {
    if figure >= 100.0 { format!("{figure:.0}") } else { format!("{figure:.2}") }
}

fn place(args: &Args) -> String {
    args.port.map_or_else(|| args.host.clone(), |port| format!("{}:{port}", args.host))
}

/// Returns the median of the rounds that have the figure.
pub(super) fn median<'a>(reports: impl Iterator<Item = &'a Report>, read: Read) -> Option<f64> {
    middle(reports.filter_map(read).collect())
}

/// Returns the median of some figures.
pub(super) fn middle(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let upper = *figures.get(figures.len() / 2)?;
    let lower = figures[(figures.len() - 1) / 2];
    Some((lower + upper) / 2.0)
}

/// A figure of a report.
pub(super) struct Figure {
    /// Its name for machines.
    pub key: &'static str,
    /// Its name for people.
    pub label: &'static str,
    pub read: Read,
}

/// Finds a figure in a report.
pub(super) type Read = fn(&Report) -> Option<f64>;

const fn figure(key: &'static str, label: &'static str, read: Read) -> Figure {
    Figure { key, label, read }
}

/// All that is compared, where both brokers have it.
pub(super) const FIGURES: [Figure; 13] = [
    figure("delivered_per_sec", "Deliveries a second", |it| {
        Some(it.load.as_ref()?.delivered_per_sec)
    }),
    figure("latency_p50_us", "Latency p50, µs", |it| latency(it, |it| it.p50)),
    figure("latency_p99_us", "Latency p99, µs", |it| latency(it, |it| it.p99)),
    figure("latency_p99_9_us", "Latency p99.9, µs", |it| latency(it, |it| it.p99_9)),
    figure("latency_max_us", "Latency, the largest, µs", |it| latency(it, |it| it.max)),
    figure("acknowledged_p50_us", "Acknowledged p50, µs", |it| {
        Some(it.load.as_ref()?.acknowledged_us?.p50 as f64)
    }),
    figure("acknowledged_p99_us", "Acknowledged p99, µs", |it| {
        Some(it.load.as_ref()?.acknowledged_us?.p99 as f64)
    }),
    figure("bystander_p99_us", "Bystander's latency p99, µs", |it| {
        Some(it.bystander.as_ref()?.latency_us?.p99 as f64)
    }),
    figure("connack_p50_us", "CONNACK p50, µs", |it| Some(it.connect.connack_us?.p50 as f64)),
    figure("connack_p99_us", "CONNACK p99, µs", |it| Some(it.connect.connack_us?.p99 as f64)),
    figure("cpu_us_per_delivery", "Broker CPU per delivery, µs", |it| {
        it.broker.as_ref()?.cpu_us_per_delivery
    }),
    figure("rss_end_bytes", "Broker memory at the end, bytes", |it| {
        Some(it.broker.as_ref()?.rss_end_bytes? as f64)
    }),
    figure("first_message_p50_us", "First message back p50, µs", |it| {
        Some(it.drain.as_ref()?.first_message_us?.p50 as f64)
    }),
];

fn latency(report: &Report, of: fn(Percentiles) -> u64) -> Option<f64> {
    Some(of(report.load.as_ref()?.latency_us?) as f64)
}
