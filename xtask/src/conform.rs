//! `cargo xtask conform`: what `quelea conform` says of several brokers, and the document that tells it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::bench::report::{shell, write_between_marks};
use crate::program;
use crate::serving::{self, Broker};
use crate::tools;

/// What was said of one broker.
struct Judged {
    name: String,
    rows: Vec<Value>,
}

/// Judges each broker in turn, and writes docs/conform.md. It fails if Quelea fails a statement.
pub(crate) fn run() -> Result<(), String> {
    tools::mosquitto()?;
    let nats = tools::nats_server()?;
    let aedes = tools::aedes()?;
    let quelea = serving::build_quelea("dev")?;
    let version = shell("git describe --always --dirty")?;
    let mosquitto = shell("PATH=$PATH:/usr/sbin mosquitto -h | head -n 1 | cut -d ' ' -f 3")?;
    let directory = directory()?;
    let judged = [
        judge(&quelea, format!("Quelea {version}"), Broker::quelea(&quelea)?)?,
        judge(
            &quelea,
            format!("Mosquitto {mosquitto}"),
            Broker::mosquitto_in(&directory, AS_SHIPPED)?,
        )?,
        judge(
            &quelea,
            format!("NATS Server {}", tools::NATS_VERSION),
            Broker::nats(&nats, &nats_configuration(&directory)?)?,
        )?,
        judge(
            &quelea,
            format!("Aedes {}", tools::AEDES_VERSION),
            Broker::aedes(&aedes, &aedes_program(&directory)?)?,
        )?,
    ];
    write_between_marks("docs/conform.md", MARKS, &report(&judged))?;
    match faults(&judged[0]).count() {
        0 => Ok(()),
        count => Err(format!("Quelea fails {count} statements")),
    }
}

fn judge(quelea: &Path, name: String, broker: Broker) -> Result<Judged, String> {
    println!("judging {name}");
    let mut command = Command::new(quelea);
    command.args(["conform", &broker.address.to_string(), "--json", "--quiet"]);
    let output = program::output_of_any_end(&mut command)?;
    let rows = serde_json::from_str(&output).map_err(|error| format!("{name}: {error}"))?;
    // How it ends when it has been asked for what no client may ask is not the question here.
    drop(broker);
    Ok(Judged { name, rows })
}

fn report(judged: &[Judged]) -> String {
    let mut text = String::from(
        "\n| broker | MQTT | pass | fail | skip | unobservable |\n|---|---|---:|---:|---:|---:|\n",
    );
    for it in judged {
        for (version, counts) in counts(it) {
            let count = |verdict: &str| counts.get(verdict).copied().unwrap_or(0);
            let _ = writeln!(
                text,
                "| {} | {version} | {} | {} | {} | {} |",
                it.name,
                count("pass"),
                count("fail"),
                count("skip"),
                count("unobservable"),
            );
        }
    }
    for it in judged.iter().filter(|it| faults(it).next().is_some()) {
        let _ = write!(
            text,
            "\n### {}\n\n| MQTT | statement | asks | shown by |\n|---|---|---|---|\n",
            it.name
        );
        for fault in faults(it) {
            let field = |name: &str| fault[name].as_str().unwrap_or_default();
            let _ = writeln!(
                text,
                "| {} | {} | {} | `{}` |",
                field("version"),
                field("id"),
                field("statement"),
                field("case"),
            );
        }
    }
    text.push('\n');
    text
}

fn faults(judged: &Judged) -> impl Iterator<Item = &Value> {
    judged.rows.iter().filter(|it| it["verdict"] == "fail")
}

/// How often each verdict was given, for each version that the broker speaks.
fn counts(judged: &Judged) -> BTreeMap<&str, BTreeMap<&str, usize>> {
    let mut counts = BTreeMap::<&str, BTreeMap<&str, usize>>::new();
    for row in &judged.rows {
        let [version, verdict] = ["version", "verdict"].map(|it| row[it].as_str().unwrap_or(""));
        *counts.entry(version).or_default().entry(verdict).or_default() += 1;
    }
    counts.retain(|_, it| it.contains_key("pass"));
    counts
}

fn directory() -> Result<PathBuf, String> {
    let directory = program::target_directory().join("conform");
    let told = |error| format!("{}: {error}", directory.display());
    if directory.exists() {
        fs::remove_dir_all(&directory).map_err(told)?;
    }
    fs::create_dir_all(&directory).map_err(told)?;
    Ok(directory)
}

fn nats_configuration(directory: &Path) -> Result<PathBuf, String> {
    let text = format!(
        "server_name: conform\n\
         listen: \"127.0.0.1:-1\"\n\
         jetstream {{ store_dir: \"{}\" }}\n\
         mqtt {{ listen: \"127.0.0.1:-1\" }}\n",
        directory.join("jetstream").display()
    );
    write(directory, "nats.conf", &text)
}

fn aedes_program(directory: &Path) -> Result<PathBuf, String> {
    write(directory, "aedes.mjs", AEDES_PROGRAM)
}

fn write(directory: &Path, name: &str, text: &str) -> Result<PathBuf, String> {
    let path = directory.join(name);
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

/// Mosquitto's own defaults where our measurements want others.
const AS_SHIPPED: &str = "persistence false\nmax_inflight_messages 20\nmax_queued_messages 1000\nset_tcp_nodelay false\n";

/// Modules are found from where a program lies, so it is told where they are.
const AEDES_PROGRAM: &str = "\
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
const { Aedes } = createRequire(process.argv[2] + '/')('aedes');
const broker = await Aedes.createBroker();
const server = createServer(broker.handle);
server.listen(0, '127.0.0.1', () => console.log(`listening on 127.0.0.1:${server.address().port}`));
";

const MARKS: (&str, &str) =
    ("<!-- judged: written by `cargo xtask conform` -->", "<!-- end of judged -->");
