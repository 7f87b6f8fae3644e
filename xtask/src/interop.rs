//! `cargo xtask interop`: clients of other projects against a running broker.
//!
//! The programs are in `tests/interop`. Each gets the broker's host and port, prints a line `ok - NAME` or
//! `not ok - NAME: WHY` for each case, and fails if a case did. Then come the matrix of clients and the examples.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::matrix::{self, Extent};
use crate::program::{self, Next, Program};
use crate::serving::{self, Broker};
use crate::test::Counts;
use crate::tools;

/// Runs every program and fails if a case did.
pub(crate) fn run(options: &[&str]) -> Result<(), String> {
    let counts = match options {
        [] => ours(Extent::All, false)?,
        ["--document"] => ours(Extent::All, true)?,
        ["--mosquitto"] => against(&mosquitto()?)?,
        _ => return Err("interop takes --document or --mosquitto".to_owned()),
    };
    println!("{counts}");
    if counts.failed == 0 {
        Ok(())
    } else {
        Err("a client does not work with the broker".to_owned())
    }
}

/// Runs what is quick enough for every change.
pub(crate) fn count() -> Result<Counts, String> {
    ours(Extent::Some, false)
}

/// Runs every program against our own broker, which must also stop well afterwards.
fn ours(extent: Extent, is_documented: bool) -> Result<Counts, String> {
    let binary = serving::build_quelea("dev")?;
    let mut counts = judge(Broker::quelea(&binary)?, against)?;
    counts += judge(ways_in(&binary)?, by_each_way)?;
    counts += judge(for_proxies(&binary)?, behind_proxies)?;
    counts += matrix::matrix(extent, is_documented)?;
    counts += matrix::examples(extent)?;
    Ok(counts)
}

/// Runs programs against a broker of ours, which must also stop well afterwards.
fn judge(
    broker: Broker,
    programs: impl FnOnce(&Broker) -> Result<Counts, String>,
) -> Result<Counts, String> {
    let mut counts = programs(&broker)?;
    if counts.failed > 0 {
        println!("--- the broker's log ---\n{}", broker.log());
    }
    match broker.stop() {
        Ok(()) => counts.passed += 1,
        Err(why) => {
            println!("not ok - the broker stops: {why}");
            counts.failed += 1;
        }
    }
    Ok(counts)
}

/// Starts our broker with listeners for TLS and WebSocket, and makes the certificates for them.
fn ways_in(binary: &Path) -> Result<Broker, String> {
    let directory = certificates();
    let failed = |error| format!("{}: {error}", directory.display());
    fs::create_dir_all(&directory).map_err(failed)?;
    let script = program::root().join("tests/interop/certificates.sh");
    program::run(Command::new("bash").arg(script).arg(&directory))?;
    let file = |name: &str| directory.join(name).display().to_string();
    let own = format!("certificate = {:?}, key = {:?}", file("server.pem"), file("server.key"));
    let mutual = format!("{own}, client_ca = {:?}", file("ca.pem"));
    let listener = "[[listener]]\naddress = \"127.0.0.1:0\"";
    let websocket = format!("{listener}\nprotocol = \"websocket\"");
    let guarded = format!("{websocket}\nallowed_origins = [\"http://app.example.com\"]");
    let configuration = directory.join("quelea.toml");
    let text = format!(
        "{listener}\ntls = {{ {own} }}\n{listener}\ntls = {{ {mutual} }}\n{websocket}\n{websocket}\ntls = {{ {own} }}\n\
         {guarded}\n{guarded}\ntls = {{ {own} }}\n"
    );
    fs::write(&configuration, text).map_err(failed)?;
    Broker::quelea_with(binary, &configuration, 6)
}

/// Runs the programs that come in by TLS and WebSocket.
fn by_each_way(broker: &Broker) -> Result<Counts, String> {
    let programs = program::root().join("tests/interop");
    let mut shell = Command::new("bash");
    shell.arg(programs.join("secure_clients.sh"));
    let mut python = Command::new(tools::python()?);
    python.arg(programs.join("ways_in.py"));
    let mut node = Command::new("node");
    node.arg(programs.join("ways_in.js")).env::<_, PathBuf>("NODE_PATH", tools::node_modules()?);
    let mut counts = Counts::default();
    for mut command in [shell, python, node] {
        command.arg(certificates());
        command.args(broker.addresses.iter().map(|it| it.port().to_string()));
        counts += follow(Program::start(command)?)?;
    }
    tools::chromium()?;
    let mut browser = Command::new("node");
    browser.arg(programs.join("browser.js")).env::<_, PathBuf>("NODE_PATH", tools::node_modules()?);
    browser.arg(certificates());
    browser.args(broker.addresses[4..].iter().map(|it| it.port().to_string()));
    counts += follow(Program::start(browser)?)?;
    Ok(counts)
}

/// Starts our broker with a listener for the PROXY protocol and one for `X-Forwarded-For`.
fn for_proxies(binary: &Path) -> Result<Broker, String> {
    let configuration = certificates().join("quelea-for-proxies.toml");
    let text = "allow_anonymous = true\n\
                [[listener]]\naddress = \"127.0.0.1:0\"\nproxy_protocol = { trusted = [\"127.0.0.1\"] }\n\
                [[listener]]\naddress = \"127.0.0.1:0\"\nprotocol = \"websocket\"\n\
                allowed_origins = [\"https://app.example.com\"]\nforwarded_for = { trusted = [\"127.0.0.1\"] }\n";
    fs::write(&configuration, text)
        .map_err(|error| format!("{}: {error}", configuration.display()))?;
    Broker::quelea_with(binary, &configuration, 2)
}

/// Runs the program that comes in through proxies, and looks whether the broker has known its clients.
fn behind_proxies(broker: &Broker) -> Result<Counts, String> {
    tools::proxies()?;
    let mut python = Command::new(tools::python()?);
    python.arg(program::root().join("tests/interop/proxies.py")).arg(certificates());
    python.args(broker.addresses.iter().map(|it| it.port().to_string()));
    let mut counts = follow(Program::start(python)?)?;
    let deadline = Instant::now() + LOG_PATIENCE;
    let mut log = String::new();
    for (client, address) in
        [("behind-haproxy", "address=127.0.0.2:"), ("behind-nginx", "address=127.0.0.3:0")]
    {
        let is_known = |log: &str| {
            log.lines().any(|line| {
                line.contains("disconnected") && line.contains(client) && line.contains(address)
            })
        };
        while !is_known(&log) && Instant::now() < deadline {
            log += &broker.log();
            log.push('\n');
            std::thread::yield_now();
        }
        if is_known(&log) {
            println!("ok - proxies: {client} is known by its own address");
            counts.passed += 1;
        } else {
            println!("not ok - proxies: {client} is not in the log with {address}:\n{log}");
            counts.failed += 1;
        }
    }
    Ok(counts)
}

/// The directory of the certificates that other programs than the first make use of.
pub(crate) fn certificates() -> PathBuf {
    program::target_directory().join("interop-certificates")
}

fn mosquitto() -> Result<Broker, String> {
    tools::mosquitto()?;
    Broker::mosquitto()
}

fn against(broker: &Broker) -> Result<Counts, String> {
    tools::mosquitto()?;
    let programs = program::root().join("tests/interop");

    let mut shell = Command::new("bash");
    shell.arg(programs.join("mosquitto_clients.sh"));
    let mut python = Command::new(tools::python()?);
    python.arg(programs.join("paho_python.py"));
    let mut node = Command::new("node");
    node.arg(programs.join("mqtt_js.js")).env::<_, PathBuf>("NODE_PATH", tools::node_modules()?);

    let mut counts = Counts::default();
    for mut command in [shell, python, node] {
        command.arg(broker.address.ip().to_string()).arg(broker.address.port().to_string());
        counts += follow(Program::start(command)?)?;
    }
    Ok(counts)
}

/// Passes on what a program says of its cases, and counts them.
pub(crate) fn follow(mut program: Program) -> Result<Counts, String> {
    let deadline = Instant::now() + PROGRAM_PATIENCE;
    let mut counts = Counts::default();
    loop {
        match program.next_line(deadline) {
            Next::Line(line) => {
                println!("{line}");
                counts.passed += u64::from(line.starts_with("ok - "));
                counts.failed += u64::from(line.starts_with("not ok - "));
            }
            Next::End => break,
            Next::TimedOut => {
                println!("not ok - the program did not end in {} s", PROGRAM_PATIENCE.as_secs());
                counts.failed += 1;
                return Ok(counts);
            }
        }
    }
    if !program.wait()?.success() && counts.failed == 0 {
        println!("not ok - the program failed outside its cases");
        counts.failed += 1;
    }
    Ok(counts)
}

/// The broker logs the end of a connection at once; the rest is the machine's.
const LOG_PATIENCE: Duration = Duration::from_secs(10);

/// One program with all its cases; each but the matrix, with all its clients, takes well under a minute.
const PROGRAM_PATIENCE: Duration = Duration::from_secs(1_200);
