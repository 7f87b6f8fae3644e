//! `cargo xtask bench tls`: what TLS costs, beside Mosquitto with OpenSSL.
//!
//! As with the other scenarios each runs against a fresh process of each broker in turn, and the median of the rounds
//! is reported. The certificates are made anew; no handshake is a resumption.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::{Measurement, generate, generator, measured, report};
use crate::program;
use crate::serving::{self, Broker};
use crate::tools;

/// What is measured, and what the design allows.
struct Scenario {
    name: &'static str,
    unit: &'static str,
    key: Key,
    /// For `quelea bench`.
    arguments: &'static str,
    /// What runs meanwhile, and is measured in its place.
    bystanders: Option<&'static str>,
    figure: fn(&Measurement) -> Option<f64>,
    budget: Option<f64>,
}

/// Of the broker's certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Ecdsa,
    Rsa,
}

/// Measures both brokers in turn, and writes the table.
pub(crate) fn run(options: &[&str]) -> Result<(), String> {
    let rounds = match options {
        [] => 3,
        ["--quick"] => 1,
        _ => return Err("bench tls takes no option but --quick".to_owned()),
    };
    tools::mosquitto()?;
    let quelea = serving::build_quelea("release")?;
    let directory = program::target_directory().join("bench-tls");
    fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    make_certificate(&directory, Key::Ecdsa)?;
    make_certificate(&directory, Key::Rsa)?;
    let mut table = String::from(
        "| over TLS | unit | Quelea | Mosquitto | ratio | budget |\n|---|---|--:|--:|--:|--:|\n",
    );
    for scenario in SCENARIOS {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let configuration = quelea_configuration(&directory, scenario.key)?;
            let broker = Broker::quelea_with(&quelea, &configuration, 1)?;
            ours.extend(measure(&broker, scenario, &quelea)?);
            drop(broker);
            let broker =
                Broker::mosquitto_in(&directory, &mosquitto_settings(&directory, scenario.key))?;
            theirs.extend(measure(&broker, scenario, &quelea)?);
        }
        let (ours, theirs) = (median(ours), median(theirs));
        let ratio = match (ours, theirs) {
            (Some(ours), Some(theirs)) if ours > 0.0 && theirs >= ours => {
                format!("1/{}", report::short(theirs / ours))
            }
            (Some(ours), Some(theirs)) if theirs > 0.0 => report::short(ours / theirs),
            _ => report::none(),
        };
        let [ours, theirs, budget] =
            [ours, theirs, scenario.budget].map(|it| it.map_or_else(report::none, report::short));
        let Scenario { name, unit, .. } = scenario;
        let line = format!("| {name} | {unit} | {ours} | {theirs} | {ratio} | {budget} |\n");
        print!("{line}");
        table += &line;
    }
    if options.is_empty() {
        let measured = format!("{}.\n\n{table}", report::place_and_time()?);
        report::write_between_marks("docs/performance.md", MARKS, &measured)?;
    }
    Ok(())
}

fn measure(broker: &Broker, scenario: &Scenario, quelea: &Path) -> Result<Option<f64>, String> {
    let arguments = |it: &str| format!("{it} --insecure");
    let Some(bystanders) = scenario.bystanders else {
        return Ok((scenario.figure)(&generate(broker, &arguments(scenario.arguments), quelea)?));
    };
    let bystanders = generator(broker, &arguments(bystanders), quelea);
    let bystanders = thread::spawn(|| measured(bystanders));
    // They connect before it begins.
    thread::sleep(BYSTANDERS_BEFORE);
    let storm = generate(broker, &arguments(scenario.arguments), quelea)?;
    if storm.number("/connect/accepted") != Some(f64::from(STORM)) {
        return Err(format!("{} has not taken everybody in", broker.name));
    }
    let bystanders = bystanders.join().map_err(|_| "the bystanders have failed".to_owned())??;
    Ok((scenario.figure)(&bystanders))
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

/// Makes a certificate that has signed itself.
fn make_certificate(directory: &Path, key: Key) -> Result<(), String> {
    let kind: &[&str] = match key {
        Key::Ecdsa => &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
        Key::Rsa => &["-newkey", "rsa:2048"],
    };
    let (certificate, private) = files(directory, key);
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=localhost"]).args(kind);
    openssl.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    openssl.arg("-keyout").arg(private).arg("-out").arg(certificate);
    program::output(&mut openssl).map(drop)
}

fn quelea_configuration(directory: &Path, key: Key) -> Result<PathBuf, String> {
    let (certificate, private) = files(directory, key);
    let text = format!(
        "allow_anonymous = true\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
         tls = {{ certificate = {certificate:?}, key = {private:?} }}\n"
    );
    let configuration = directory.join("quelea.toml");
    fs::write(&configuration, text).map_err(|it| format!("{}: {it}", configuration.display()))?;
    Ok(configuration)
}

fn mosquitto_settings(directory: &Path, key: Key) -> String {
    let (certificate, private) = files(directory, key);
    let (certificate, private) = (certificate.display(), private.display());
    format!("persistence false\ncertfile {certificate}\nkeyfile {private}\n")
}

fn files(directory: &Path, key: Key) -> (PathBuf, PathBuf) {
    let name = if key == Key::Ecdsa { "ecdsa" } else { "rsa" };
    (directory.join(format!("{name}.pem")), directory.join(format!("{name}.key")))
}

fn cpu_per_delivery(measurement: &Measurement) -> Option<f64> {
    measurement.number("/broker/cpu_us_per_delivery")
}

/// CPU time for one connection, from its beginning to its end.
fn cpu_per_connection(measurement: &Measurement) -> Option<f64> {
    let accepted = measurement.number("/connect/accepted").filter(|it| *it > 0.0)?;
    Some(measurement.number("/broker/cpu_secs")? * 1e6 / accepted)
}

fn bytes_per_connection(measurement: &Measurement) -> Option<f64> {
    measurement.number("/idle/memory/per_connection_settled_bytes")
}

fn p99_millis(measurement: &Measurement) -> Option<f64> {
    measurement.latency_p99().map(|it| it / 1000.0)
}

/// After this time bystanders have connected, and their warm-up is not over.
const BYSTANDERS_BEFORE: Duration = Duration::from_millis(700);

/// Handshakes of a storm.
const STORM: u32 = 2_000;

const PAIRS: Scenario = Scenario {
    name: "10 pairs, QoS 0, window 100",
    unit: "CPU us per delivery",
    key: Key::Ecdsa,
    arguments: "pairs --clients 10 --qos 0 --window 100 --duration 3 --warmup 1",
    bystanders: None,
    figure: cpu_per_delivery,
    budget: None,
};

const HANDSHAKES: Scenario = Scenario {
    name: "a connection with a full handshake, ECDSA P-256",
    unit: "CPU us",
    arguments: "storm --clients 2000 --window 50",
    figure: cpu_per_connection,
    budget: Some(200.0),
    ..PAIRS
};

const SCENARIOS: &[Scenario] = &[
    PAIRS,
    Scenario {
        name: "10 pairs, QoS 1, window 100",
        arguments: "pairs --clients 10 --qos 1 --window 100 --duration 3 --warmup 1",
        ..PAIRS
    },
    HANDSHAKES,
    Scenario {
        name: "a connection with a full handshake, RSA-2048",
        key: Key::Rsa,
        budget: Some(500.0),
        ..HANDSHAKES
    },
    Scenario {
        name: "an idle connection with one subscription",
        unit: "bytes",
        arguments: "idle --clients 5000 --duration 5",
        figure: bytes_per_connection,
        budget: Some(5_000.0),
        ..PAIRS
    },
    Scenario {
        name: "100 pairs at 1,000 messages/s, in a storm of 2,000 handshakes",
        unit: "p99, ms",
        arguments: "storm --clients 2000",
        bystanders: Some("pairs --clients 100 --qos 1 --rate 1000 --duration 2 --warmup 0.5"),
        figure: p99_millis,
        budget: Some(20.0),
        ..PAIRS
    },
];

const MARKS: (&str, &str) =
    ("<!-- tls: written by `cargo xtask bench tls` -->", "<!-- end of tls -->");
