//! `cargo xtask bench`: Quelea beside Debian's Mosquitto, on this machine, with the same load.
//!
//! Each scenario runs against a fresh process of each broker in turn, so that what the machine does meanwhile
//! hits both. The generator is `quelea bench`, which also reads the broker's CPU time and memory. Of several
//! rounds the one with the median figure is reported, whole.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::program;
use crate::serving::{self, Broker};
use crate::tools;

pub(crate) mod access;
pub(crate) mod client;
pub(crate) mod durable;
pub(crate) mod report;
pub(crate) mod tls;

/// What is measured, and what the design allows.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// For `quelea bench`; durations are added.
    arguments: &'static str,
    pub(crate) figure: Figure,
    /// In the figure's unit.
    pub(crate) budget: f64,
}

/// Which number of a run is its result. Less is better for each.
#[derive(Clone, Copy)]
pub(crate) enum Figure {
    /// The broker's CPU time, user and system, for one delivery: microseconds.
    CpuPerDelivery,
    /// The 99th percentile of a bystander's latency: milliseconds.
    BystanderP99,
    /// Resident memory for one idle connection, ten seconds after a broadcast: bytes.
    MemoryPerConnection,
    /// The broker's CPU time while all connections are idle: per cent of a core.
    IdleCpu,
}

/// One scenario's two results.
pub(crate) struct Row {
    pub(crate) scenario: &'static Scenario,
    pub(crate) quelea: Measurement,
    pub(crate) mosquitto: Measurement,
}

/// What `quelea bench` said of one run.
#[derive(Clone)]
pub(crate) struct Measurement(Value);

/// Measures both brokers in turn and writes the tables.
pub(crate) fn run(options: &[&str]) -> Result<(), String> {
    let effort = match options {
        [] => Effort { rounds: 3, duration: "5", warmup: "1", connections: "15000" },
        ["--quick"] => Effort { rounds: 1, duration: "2", warmup: "0.5", connections: "1000" },
        _ => return Err("bench takes no option but --quick".to_owned()),
    };
    tools::mosquitto()?;
    let quelea = serving::build_quelea("release")?;
    let mut rows: Vec<Row> = Vec::new();
    for scenario in SCENARIOS {
        let row = match rows.last() {
            // One run gives several figures.
            Some(last) if last.scenario.arguments == scenario.arguments => last.with(scenario),
            _ => measure(scenario, &effort, &quelea)?,
        };
        println!("{}", report::line(&row));
        rows.push(row);
    }
    println!("\n{}", report::table(&rows));
    if options.is_empty() {
        report::write(&rows)?;
    }
    let broken: Vec<String> = rows.iter().filter_map(|row| row.quelea.violations()).collect();
    if broken.is_empty() { Ok(()) } else { Err(broken.join("; ")) }
}

struct Effort {
    rounds: usize,
    duration: &'static str,
    warmup: &'static str,
    connections: &'static str,
}

fn measure(scenario: &'static Scenario, effort: &Effort, quelea: &Path) -> Result<Row, String> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        ours.push(load(&Broker::quelea(quelea)?, scenario, effort, quelea)?);
        theirs.push(load(&Broker::mosquitto()?, scenario, effort, quelea)?);
    }
    let (quelea, mosquitto) = (median(ours, scenario.figure), median(theirs, scenario.figure));
    Ok(Row { scenario, quelea, mosquitto })
}

fn load(
    broker: &Broker,
    scenario: &Scenario,
    effort: &Effort,
    quelea: &Path,
) -> Result<Measurement, String> {
    let arguments = scenario.arguments.replace("{connections}", effort.connections);
    let Effort { duration, warmup, .. } = effort;
    generate(broker, &format!("{arguments} --duration {duration} --warmup {warmup}"), quelea)
}

/// Runs `quelea bench` with `arguments` against a broker.
fn generate(broker: &Broker, arguments: &str, quelea: &Path) -> Result<Measurement, String> {
    measured(generator(broker, arguments, quelea))
        .map_err(|error| format!("quelea bench {arguments} against {}: {error}", broker.name))
}

/// Returns `quelea bench` with `arguments` against a broker.
fn generator(broker: &Broker, arguments: &str, quelea: &Path) -> Command {
    let mut command = Command::new(quelea);
    command.arg("bench").args(arguments.split(' '));
    command.args(["--host", &broker.address.ip().to_string()]);
    command.args(["--port", &broker.address.port().to_string()]);
    command.args(["--pid", &broker.id().to_string()]);
    command.args(["--json", "--quiet"]);
    command
}

fn measured(mut generator: Command) -> Result<Measurement, String> {
    // It fails when a message was lost, too, and says so in what it writes.
    let text = program::output_of_any_end(&mut generator)?;
    serde_json::from_str(&text).map(Measurement).map_err(|error| format!("{error}\n{text}"))
}

/// Takes the measurement in the middle; those without the figure come last.
fn median(mut measurements: Vec<Measurement>, figure: Figure) -> Measurement {
    measurements.sort_by(|a, b| {
        let of = |it: &Measurement| it.figure(figure).unwrap_or(f64::INFINITY);
        of(a).total_cmp(&of(b))
    });
    measurements.swap_remove(measurements.len() / 2)
}

impl Row {
    /// Returns another figure of the same runs.
    fn with(&self, scenario: &'static Scenario) -> Self {
        Self { scenario, quelea: self.quelea.clone(), mosquitto: self.mosquitto.clone() }
    }
}

impl Measurement {
    pub(crate) fn figure(&self, figure: Figure) -> Option<f64> {
        match figure {
            Figure::CpuPerDelivery => self.number("/broker/cpu_us_per_delivery"),
            Figure::BystanderP99 => self.number("/bystander/latency_us/p99").map(|it| it / 1000.0),
            Figure::MemoryPerConnection => self.number("/idle/memory/per_connection_settled_bytes"),
            Figure::IdleCpu => self.number("/idle/cpu_percent"),
        }
    }

    /// Returns the 99th percentile of the latency, in microseconds, where the load has one.
    pub(crate) fn latency_p99(&self) -> Option<f64> {
        self.number("/load/latency_us/p99")
    }

    pub(crate) fn delivered_per_sec(&self) -> Option<f64> {
        self.number("/load/delivered_per_sec")
    }

    /// Returns what the broker did wrong.
    pub(crate) fn violations(&self) -> Option<String> {
        let violations = self.0["violations"].as_array()?;
        let words: Vec<&str> = violations.iter().filter_map(Value::as_str).collect();
        (!words.is_empty()).then(|| words.join("; "))
    }

    fn number(&self, pointer: &str) -> Option<f64> {
        self.0.pointer(pointer)?.as_f64()
    }
}

/// Those that need neither TLS nor a disk. The budgets hold on two cores of about 2.5 GHz.
const SCENARIOS: &[Scenario] = &[
    cpu("10 pairs, QoS 0, window 100", "pairs --clients 10 --qos 0 --window 100", 0.20),
    cpu("10 pairs, QoS 1, window 100", "pairs --clients 10 --qos 1 --window 100", 0.32),
    cpu("10 pairs, QoS 2, window 100", "pairs --clients 10 --qos 2 --window 100", 0.50),
    cpu("100 pairs, QoS 1, window 1", "pairs --clients 100 --qos 1 --window 1", 9.0),
    cpu("1 to 100, QoS 0", "fanout --clients 100 --qos 0 --window 10", 0.40),
    cpu("1 to 100, QoS 1", "fanout --clients 100 --qos 1 --window 10", 0.55),
    cpu("100 pairs, QoS 1, 10,000 messages/s", "pairs --clients 100 --qos 1 --rate 10000", 10.0),
    Scenario {
        name: "1,000 messages/s beside a flood to 1,000",
        arguments: "flood --clients 1000",
        figure: Figure::BystanderP99,
        budget: 20.0,
    },
    Scenario {
        name: "15,000 idle connections",
        arguments: "idle --clients {connections}",
        figure: Figure::MemoryPerConnection,
        budget: 700.0,
    },
    Scenario {
        name: "15,000 idle connections",
        arguments: "idle --clients {connections}",
        figure: Figure::IdleCpu,
        budget: 1.0,
    },
];

const fn cpu(name: &'static str, arguments: &'static str, budget: f64) -> Scenario {
    Scenario { name, arguments, figure: Figure::CpuPerDelivery, budget }
}
