//! `cargo xtask bench durable`: what it costs to keep messages, beside brokers that keep them, too.
//!
//! Each load runs against a fresh process of each broker in turn, with an empty directory on the disk that has
//! `target/`, and each figure is the median of the rounds. What a broker promises differs, and the names say it.

use std::path::Path;

use serde_json::Value;

use super::{Measurement, generate};
use crate::{serving, tools};

mod contender;
mod report;
mod restart;
mod sync;

use contender::{Contender, Programs};

/// A load, and what the broker keeps of it.
struct Load {
    name: &'static str,
    /// For `quelea bench`; durations are added.
    arguments: &'static str,
    kind: Kind,
    /// Without those that it would take minutes.
    without: &'static [Contender],
}

/// What a load is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Each publisher has a subscriber that is there, and that would be remembered.
    Pairs,
    /// Each message is for sessions whose clients are away.
    Sleepers,
}

/// What one broker did with one load: medians.
struct Row {
    load: &'static Load,
    contender: Contender,
    /// Messages delivered, or acknowledged for sleepers, per second.
    rate: Option<f64>,
    /// The lowest and the highest rate.
    rates: (f64, f64),
    /// CPU time of the broker, user and system, for one message: microseconds.
    cpu_us: Option<f64>,
    /// Of the time until a message arrives, or is acknowledged for sleepers: microseconds.
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    /// What the broker did wrong.
    violations: Option<String>,
}

/// Measures, and writes the tables.
pub(crate) fn run(options: &[&str]) -> Result<(), String> {
    let (mut is_quick, mut is_large) = (false, false);
    for option in options {
        match *option {
            "--quick" => is_quick = true,
            "--large" => is_large = true,
            _ => return Err("bench durable takes no options but --quick and --large".to_owned()),
        }
    }
    tools::mosquitto()?;
    let nats = tools::nats_server()?;
    let programs = Programs { quelea: serving::build_quelea("release")?, nats };
    let rounds = if is_quick { 1 } else { 3 };
    let times = if is_quick { " --duration 1 --warmup 0.5" } else { " --duration 2 --warmup 0.5" };

    let mut rows = Vec::new();
    let mut syncs = Vec::new();
    for load in LOADS {
        syncs.push(sync::measure(&contender::empty_directory("sync")?)?);
        rows.extend(measure(load, rounds, times, &programs)?);
    }
    let written = written_per_message(&programs)?;
    let restarts = restart::measure(&programs, is_quick, is_large)?;
    let text = report::text(&rows, &sync::median(syncs), written, &restarts)?;
    println!("\n{text}");
    if !is_quick {
        report::write(&text)?;
    }
    let broken = rows.iter().filter(|it| it.contender.is_quelea());
    let broken = broken.filter_map(|it| it.violations.clone());
    let broken: Vec<String> =
        broken.chain(restarts.iter().filter_map(restart::Restart::quelea_violations)).collect();
    if broken.is_empty() { Ok(()) } else { Err(broken.join("; ")) }
}

fn measure(
    load: &'static Load,
    rounds: usize,
    times: &str,
    programs: &Programs,
) -> Result<Vec<Row>, String> {
    let contenders = Contender::ALL.iter().filter(|it| !load.without.contains(it));
    let mut measured: Vec<(Contender, Vec<Measurement>)> =
        contenders.map(|it| (*it, Vec::new())).collect();
    let arguments = format!("{}{times}", load.arguments);
    for _ in 0..rounds {
        for (contender, measurements) in &mut measured {
            let directory = contender::empty_directory("data")?;
            let broker = contender.start(programs, &directory)?;
            measurements.push(generate(&broker, &arguments, &programs.quelea)?);
        }
    }
    let rows = measured.into_iter().map(|(contender, it)| Row::of(load, contender, &it));
    let rows: Vec<Row> = rows.collect();
    rows.iter().for_each(|it| println!("{}", report::line(it)));
    Ok(rows)
}

/// Returns how much the log grows by one message to 10,000 sleepers: bytes, frames and all.
fn written_per_message(programs: &Programs) -> Result<f64, String> {
    let grown = |messages: u32| -> Result<f64, String> {
        let directory = contender::empty_directory("data")?;
        let broker = Contender::Quelea.start(programs, &directory)?;
        let arguments = format!(
            "sleepers --clients 10000 --qos 1 --window 10 --size 200 --messages {messages} --keep 1"
        );
        generate(&broker, &arguments, &programs.quelea)?;
        drop(broker);
        let broker = Contender::Quelea.start(programs, &directory)?;
        recovered(&broker.said, "bytes").ok_or_else(|| "no size of the log".to_owned())
    };
    let (few, many) = (10, 210);
    Ok((grown(many)? - grown(few)?) / f64::from(many - few))
}

/// Reads a number of what our broker says of its data when it starts.
fn recovered(said: &str, key: &str) -> Option<f64> {
    let line = said.lines().find(|it| it.contains("data recovered"))?;
    let words = line.split_whitespace().find_map(|it| it.strip_prefix(key)?.strip_prefix('='));
    words?.parse().ok()
}

impl Row {
    fn of(load: &'static Load, contender: Contender, measurements: &[Measurement]) -> Self {
        let number = |pointer: &str| {
            let mut numbers: Vec<f64> =
                measurements.iter().filter_map(|it| it.number(pointer)).collect();
            numbers.sort_by(f64::total_cmp);
            numbers
        };
        let (rate, cpu, latency) = match load.kind {
            Kind::Pairs => {
                ("/load/delivered_per_sec", "/broker/cpu_us_per_delivery", "/load/latency_us")
            }
            Kind::Sleepers => (
                "/sleepers/acknowledged_per_sec",
                "/sleepers/cpu_us_per_message",
                "/load/acknowledged_us",
            ),
        };
        let rates = number(rate);
        let ends = rates.first().copied().zip(rates.last().copied());
        Self {
            load,
            contender,
            rate: middle(rates),
            rates: ends.unwrap_or_default(),
            cpu_us: middle(number(cpu)),
            p50_us: middle(number(&format!("{latency}/p50"))),
            p99_us: middle(number(&format!("{latency}/p99"))),
            violations: measurements.iter().find_map(Measurement::violations),
        }
    }
}

/// Returns the one in the middle of ascending numbers.
fn middle(numbers: Vec<f64>) -> Option<f64> {
    numbers.get(numbers.len() / 2).copied()
}

/// Where the resident memory of a process is, in a run's figures: megabytes.
fn megabytes(figures: &Value, pointer: &str) -> Option<f64> {
    figures.pointer(pointer)?.as_f64().map(|it| it / 1e6)
}

/// Removes what a run has left on the disk.
fn remove(directory: &Path) {
    // What cannot be removed is in the way of the next run, which says so.
    let _ = std::fs::remove_dir_all(directory);
}

const LOADS: &[Load] = &[
    pairs("1 pair, QoS 1, 1 in flight", "pairs --clients 1 --qos 1 --window 1 --clean false"),
    pairs("1 pair, QoS 1, 100 in flight", "pairs --clients 1 --qos 1 --window 100 --clean false"),
    pairs(
        "10 pairs, QoS 1, 100 in flight",
        "pairs --clients 10 --qos 1 --window 100 --clean false",
    ),
    pairs(
        "100 pairs, QoS 1, 10 in flight",
        "pairs --clients 100 --qos 1 --window 10 --clean false",
    ),
    pairs(
        "1,000 pairs, QoS 1, 1 in flight",
        "pairs --clients 1000 --qos 1 --window 1 --clean false",
    ),
    pairs("1 pair, QoS 2, 100 in flight", "pairs --clients 1 --qos 2 --window 100 --clean false"),
    pairs(
        "10 pairs, QoS 2, 100 in flight",
        "pairs --clients 10 --qos 2 --window 100 --clean false",
    ),
    Load {
        // NATS delivers some hundreds of these a second: it would take minutes.
        without: &[Contender::Nats],
        ..pairs(
            "100 pairs, QoS 2, 10 in flight",
            "pairs --clients 100 --qos 2 --window 10 --clean false",
        )
    },
    Load {
        name: "1 to 1,000 sleepers, QoS 1, 100 in flight",
        arguments: "sleepers --clients 1000 --qos 1 --window 100 --messages 3000",
        kind: Kind::Sleepers,
        without: &[],
    },
    Load {
        name: "1 to 10,000 sleepers, QoS 1, 10 in flight",
        arguments: "sleepers --clients 10000 --qos 1 --window 10 --messages 100",
        kind: Kind::Sleepers,
        // It makes a stream's consumer for each session.
        without: &[Contender::Nats],
    },
    Load {
        name: "10 to one each of 10,000 sleepers, QoS 1, 100 in flight",
        arguments: "sleepers --clients 10000 --publishers 10 --distinct --qos 1 --window 100 --messages 10000",
        kind: Kind::Sleepers,
        without: &[Contender::Nats],
    },
];

const fn pairs(name: &'static str, arguments: &'static str) -> Load {
    Load { name, arguments, kind: Kind::Pairs, without: &[] }
}

#[cfg(test)]
mod tests {
    use super::{middle, recovered};

    #[test]
    fn what_the_broker_says_of_its_data_is_read() {
        let said = "a\nINFO data recovered directory=/x sessions=2 queued=7 bytes=4096 millis=3\n";
        assert_eq!(recovered(said, "bytes"), Some(4096.0));
        assert_eq!(recovered(said, "millis"), Some(3.0));
        assert_eq!(recovered("nothing", "bytes"), None);
    }

    #[test]
    fn the_middle_is_the_median() {
        assert_eq!(middle(vec![1.0, 2.0, 9.0]), Some(2.0));
        assert_eq!(middle(vec![]), None);
    }
}
