//! A broker started for a test or a measurement, on a port of its own.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::program::{self, Next, Program};

/// A broker that accepts connections. It is stopped when this is dropped.
pub(crate) struct Broker {
    /// Where it listens first.
    pub(crate) address: SocketAddr,
    /// Where it listens, in the order of its configuration.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The name for reports.
    pub(crate) name: &'static str,
    /// What it said until it listened.
    pub(crate) said: String,
    program: Program,
}

impl Broker {
    /// Starts our own broker on a port the system chooses.
    pub(crate) fn quelea(binary: &Path) -> Result<Self, String> {
        let mut command = Command::new(binary);
        command.args(["serve", "--listen", "127.0.0.1:0", "--in-memory"]);
        Self::start("Quelea", command, 1, told_address)
    }

    /// Starts our own broker with the listeners of `configuration`, of which there are `count`.
    pub(crate) fn quelea_with(
        binary: &Path,
        configuration: &Path,
        count: usize,
    ) -> Result<Self, String> {
        let mut command = Command::new(binary);
        command.args(["serve", "--in-memory", "--config"]).arg(configuration);
        Self::start("Quelea", command, count, told_address)
    }

    /// Starts Debian's Mosquitto, all in memory and without limits where it would drop or disconnect.
    pub(crate) fn mosquitto() -> Result<Self, String> {
        Self::mosquitto_in(&program::target_directory(), "persistence false\n")
    }

    /// Starts Debian's Mosquitto with its configuration in `directory`, which says how it persists.
    pub(crate) fn mosquitto_in(directory: &Path, persistence: &str) -> Result<Self, String> {
        // Mosquitto takes no port 0, so a free one is looked up. Another process may take it in between:
        // then Mosquitto says so and the command fails.
        let address = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map_err(|error| format!("no free port: {error}"))?;
        let configuration = directory.join("mosquitto.conf");
        fs::write(&configuration, mosquitto_configuration(address) + persistence)
            .map_err(|error| format!("{}: {error}", configuration.display()))?;
        let mut command = Command::new("mosquitto");
        // Debian installs it where an ordinary user's PATH does not look.
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.arg("-c").arg(&configuration);
        Self::start("Mosquitto", command, 1, |line| line.contains(" running").then_some(address))
    }

    /// Starts NATS Server, which takes MQTT clients where `configuration` says.
    pub(crate) fn nats(binary: &Path, configuration: &Path) -> Result<Self, String> {
        let mut command = Command::new(binary);
        command.arg("-c").arg(configuration);
        let mut address = None;
        Self::start("NATS", command, 1, |line| {
            if let Some((_, rest)) = line.split_once("clients on mqtt://") {
                address = leading_address(rest);
            }
            address.filter(|_| line.contains("Server is ready"))
        })
    }

    /// Starts Aedes, whose modules are in `modules`, by a program of Node.
    pub(crate) fn aedes(modules: &Path, program: &Path) -> Result<Self, String> {
        let mut command = Command::new("node");
        command.arg(program).arg(modules);
        Self::start("Aedes", command, 1, told_address)
    }

    /// Starts our own broker with its data in `directory`.
    pub(crate) fn quelea_in(
        binary: &Path,
        directory: &Path,
        settings: &Path,
    ) -> Result<Self, String> {
        let mut command = Command::new(binary);
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(settings);
        command.arg("--data-dir").arg(directory);
        Self::start("Quelea", command, 1, told_address)
    }

    fn start(
        name: &'static str,
        command: Command,
        count: usize,
        mut ready: impl FnMut(&str) -> Option<SocketAddr>,
    ) -> Result<Self, String> {
        let mut program = Program::start(command)?;
        let deadline = Instant::now() + START_PATIENCE;
        let mut said = String::new();
        let mut addresses = Vec::new();
        loop {
            match program.next_line(deadline) {
                Next::Line(line) => {
                    addresses.extend(ready(&line));
                    if addresses.len() == count {
                        let address = addresses[0];
                        return Ok(Self { address, addresses, name, said, program });
                    }
                    said += &line;
                    said.push('\n');
                }
                Next::End => return Err(format!("{name} ended instead of listening:\n{said}")),
                Next::TimedOut => {
                    return Err(format!("{name} does not say where it listens:\n{said}"));
                }
            }
        }
    }

    /// Stops the broker as a service manager would, and fails if it does not end well.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        let status = self.program.terminate(STOP_PATIENCE)?;
        if status.success() { Ok(()) } else { Err(format!("{} stopped with {status}", self.name)) }
    }

    /// Returns what the broker has logged since it began to listen.
    pub(crate) fn log(&self) -> String {
        self.program.unread_lines().join("\n")
    }

    /// Returns the process id.
    pub(crate) fn id(&self) -> u32 {
        self.program.id()
    }
}

/// Builds the `quelea` command and returns its path.
pub(crate) fn build_quelea(profile: &str) -> Result<PathBuf, String> {
    program::run(program::cargo().args([
        "build",
        "--quiet",
        "--package",
        "quelea-cli",
        "--profile",
        profile,
    ]))?;
    let directory = if profile == "dev" { "debug" } else { profile };
    Ok(program::target_directory().join(directory).join("quelea"))
}

/// Returns the address that a line of our broker's log names.
fn told_address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening on ")?;
    leading_address(rest)
}

fn mosquitto_configuration(address: SocketAddr) -> String {
    format!(
        "listener {} {}\n\
         allow_anonymous true\n\
         set_tcp_nodelay true\n\
         max_inflight_messages 0\n\
         max_queued_messages 0\n\
         user root\n\
         log_dest stderr\n\
         log_type error\n\
         log_type warning\n\
         log_type information\n\
         connection_messages false\n",
        address.port(),
        address.ip(),
    )
}

/// Reads the address that `text` begins with, whatever follows it.
fn leading_address(text: &str) -> Option<SocketAddr> {
    let end = text.find(|it: char| !(it.is_ascii_hexdigit() || "[]:.".contains(it)));
    text[..end.unwrap_or(text.len())].trim_end_matches('.').parse().ok()
}

const START_PATIENCE: Duration = Duration::from_secs(120);
const STOP_PATIENCE: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::leading_address;

    #[test]
    fn an_address_is_read_whatever_follows() {
        check("127.0.0.1:1883", Some("127.0.0.1:1883"));
        check("127.0.0.1:1883 (MQTT)", Some("127.0.0.1:1883"));
        check("[::1]:1883, and more", Some("[::1]:1883"));
        check("127.0.0.1:1883\u{1b}[0m", Some("127.0.0.1:1883"));
        check("nowhere", None);
    }

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(leading_address(text).map(|it| it.to_string()).as_deref(), expected);
    }
}
