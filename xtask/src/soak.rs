//! `cargo xtask soak`: the client library opposite several brokers, over links that break, for minutes.

use std::fs;
use std::path::PathBuf;

use crate::program;
use crate::serving::{self, Broker};
use crate::tools;

/// Runs against each broker in turn, for `minutes` each.
pub(crate) fn run(minutes: &str) -> Result<(), String> {
    let minutes: f64 = minutes.parse().map_err(|_| format!("{minutes}: no number of minutes"))?;
    tools::mosquitto()?;
    let nats = tools::nats_server()?;
    let quelea = serving::build_quelea("dev")?;
    let mut failures = Vec::new();
    for version in ["3.1.1", "5"] {
        soak(&Broker::quelea(&quelea)?, version, "exact", minutes, &mut failures);
        soak(&Broker::mosquitto()?, version, "exact", minutes, &mut failures);
    }
    // It speaks 3.1.1 only, and is not judged as strictly: the test says why.
    let nats = Broker::nats(&nats, &nats_configuration()?)?;
    soak(&nats, "3.1.1", "loose", minutes, &mut failures);
    if failures.is_empty() { Ok(()) } else { Err(format!("failed: {}", failures.join(", "))) }
}

fn soak(broker: &Broker, version: &str, kind: &str, minutes: f64, failures: &mut Vec<String>) {
    println!("\n=== {} with MQTT {version} ===", broker.name);
    let mut command = program::cargo();
    command.args(["test", "--quiet", "--package", "quelea-client", "--test", "soak"]);
    command.args(["--", "--ignored", "--nocapture"]);
    command.env("QUELEA_SOAK_BROKER", broker.address.to_string());
    command.env("QUELEA_SOAK_SECS", format!("{:.0}", (minutes * 60.0).max(1.0)));
    command.env("QUELEA_SOAK_VERSION", version).env("QUELEA_SOAK_BROKER_IS", kind);
    if let Err(error) = program::run(&mut command) {
        failures.push(format!("{} with MQTT {version}: {error}", broker.name));
    }
}

/// Writes the configuration of a NATS Server with its data in a new directory below `target/`.
fn nats_configuration() -> Result<PathBuf, String> {
    let directory = program::target_directory().join("soak");
    let told = |error| format!("{}: {error}", directory.display());
    if directory.exists() {
        fs::remove_dir_all(&directory).map_err(told)?;
    }
    fs::create_dir_all(&directory).map_err(told)?;
    let path = directory.join("nats.conf");
    let text = format!(
        "server_name: soak\n\
         listen: \"127.0.0.1:-1\"\n\
         jetstream {{ store_dir: \"{}\" }}\n\
         mqtt {{ listen: \"127.0.0.1:-1\", ack_wait: \"10s\" }}\n",
        directory.join("jetstream").display()
    );
    fs::write(&path, text).map_err(told)?;
    Ok(path)
}

/// For each broker and version, when nothing is said.
pub(crate) const MINUTES_DEFAULT: &str = "2";
