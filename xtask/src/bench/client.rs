//! `cargo xtask bench client`: our client library beside rumqttc and Paho's for C, with the same load.
//!
//! The programs are in `tests/client-bench`, a workspace of its own. Each run is a process of its own against one broker,
//! ours, and the clients take turns, so that what the machine does meanwhile hits all. Of several rounds the median of
//! each figure is reported.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::report::{place_and_time, short, thousands, write_between_marks};
use crate::program;
use crate::serving::{self, Broker};
use crate::tools;

/// A client, and its programs.
struct Contender {
    name: &'static str,
    load: PathBuf,
    minimal: PathBuf,
    /// How much of the messages it gets: the slow need not be waited for.
    divisor: u64,
}

/// How much is measured.
struct Effort {
    rounds: usize,
    messages: u64,
    connections: u64,
    /// It only shows that all works.
    is_quick: bool,
}

const FULL: Effort = Effort { rounds: 5, messages: 500_000, connections: 100, is_quick: false };
const QUICK: Effort = Effort { rounds: 1, messages: 100_000, connections: 20, is_quick: true };

/// What one run took.
struct Run {
    messages_per_sec: f64,
    cpu_micros: f64,
}

/// Measures the clients in turn and writes the table.
pub(crate) fn run(options: &[&str]) -> Result<(), String> {
    let (effort, quelea) = match options {
        ["--quick", rest @ ..] => (QUICK, rest),
        rest => (FULL, rest),
    };
    let quelea = match quelea {
        [] => serving::build_quelea("release")?,
        ["--broker", program] => PathBuf::from(program),
        _ => return Err("bench client takes no options but --quick and --broker".to_owned()),
    };
    let contenders = build()?;
    let mut table = String::from(
        "| | | Quelea | rumqttc | Paho C |\n\
         |---|---|--:|--:|--:|\n",
    );
    let mut row = |what: &str, unit: &str, cells: &[String]| {
        let row = format!("| {what} | {unit} | {} |\n", cells.join(" | "));
        print!("{row}");
        table += &row;
    };
    for qos in ["0", "1", "2"] {
        let mut runs: Vec<Vec<Run>> = contenders.iter().map(|_| Vec::new()).collect();
        for _ in 0..effort.rounds {
            for (contender, runs) in contenders.iter().zip(&mut runs) {
                let broker = Broker::quelea(&quelea)?;
                runs.push(pair(contender, broker.address, qos, effort.messages)?);
                broker.stop()?;
            }
        }
        let what = format!("a publisher and a subscriber, QoS {qos}");
        let medians = |figure: fn(&Run) -> f64| {
            runs.iter().map(move |it| median(it.iter().map(figure).collect()))
        };
        let cells: Vec<_> = medians(|it| it.messages_per_sec).map(thousands).collect();
        row(&what, "messages/s", &cells);
        let cells: Vec<_> = medians(|it| it.cpu_micros).map(short).collect();
        row(&what, "CPU us per message", &cells);
    }
    let mut cells = Vec::new();
    for contender in &contenders {
        let broker = Broker::quelea(&quelea)?;
        let said = load(contender, broker.address, "idle", effort.connections)?;
        cells.push(thousands(number(&said)?));
        broker.stop()?;
    }
    row("an idle connection", "bytes of memory", &cells);
    let sizes: Result<Vec<_>, String> = contenders.iter().map(|it| size(&it.minimal)).collect();
    row("a program that publishes one message", "bytes, stripped", &sizes?);
    if !effort.is_quick {
        let text = format!("{}.\n\n{table}", place_and_time()?);
        write_between_marks("docs/performance.md", MARKS, &text)?;
    }
    Ok(())
}

/// Returns where the programs say what they need: in a workspace of their own.
pub(crate) fn manifest() -> PathBuf {
    directory().join("Cargo.toml")
}

fn directory() -> PathBuf {
    program::root().join("tests/client-bench")
}

/// Builds all programs, and looks at their lints, which no other command does.
fn build() -> Result<Vec<Contender>, String> {
    tools::paho_c()?;
    let target = program::target_directory().join("client-bench");
    let cargo = |arguments: &[&str], more: &[&str]| {
        let mut command = program::cargo();
        command.args(arguments).args(["--quiet", "--manifest-path"]).arg(manifest());
        program::run(command.arg("--target-dir").arg(&target).args(more))
    };
    cargo(&["clippy", "--all-targets"], &["--", "-D", "warnings"])?;
    cargo(&["build", "--release"], &[])?;
    let sources = directory();
    let built = target.join("release");
    for (source, library) in [("load", "libpaho-mqtt3a.a"), ("minimal", "libpaho-mqtt3c.a")] {
        let mut command = Command::new("cc");
        command.args(["-O2", "-s", "-o"]).arg(built.join(format!("paho_{source}")));
        // With the library in it, as the others have theirs.
        command.arg(sources.join(format!("paho/{source}.c")));
        program::run(command.args([&format!("-l:{library}"), "-lpthread"]))?;
    }
    let contender = |name, prefix: &str, divisor| Contender {
        name,
        load: built.join(format!("{prefix}_load")),
        minimal: built.join(format!("{prefix}_minimal")),
        divisor,
    };
    Ok(vec![
        contender("Quelea", "quelea", 1),
        contender("rumqttc", "rumqttc", 1),
        contender("Paho C", "paho", 20),
    ])
}

fn pair(
    contender: &Contender,
    broker: SocketAddr,
    qos: &str,
    messages: u64,
) -> Result<Run, String> {
    let messages = messages / contender.divisor;
    let said = load(contender, broker, qos, messages)?;
    let (wall, cpu) = said.trim().split_once(' ').ok_or_else(|| format!("{said}: two numbers"))?;
    let messages = messages as f64;
    Ok(Run {
        messages_per_sec: messages * 1e6 / number(wall)?,
        cpu_micros: number(cpu)? / messages,
    })
}

fn load(
    contender: &Contender,
    broker: SocketAddr,
    kind: &str,
    count: u64,
) -> Result<String, String> {
    let mut command = Command::new(&contender.load);
    command.args([&broker.ip().to_string(), &broker.port().to_string(), kind, &count.to_string()]);
    program::output(&mut command).map_err(|error| format!("{}: {error}", contender.name))
}

fn number(text: &str) -> Result<f64, String> {
    text.trim().parse().map_err(|_| format!("{text}: no number"))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn size(program: &Path) -> Result<String, String> {
    let metadata = fs::metadata(program).map_err(|it| format!("{}: {it}", program.display()))?;
    Ok(thousands(metadata.len() as f64))
}

const MARKS: (&str, &str) =
    ("<!-- client: written by `cargo xtask bench client` -->", "<!-- end of client -->");
