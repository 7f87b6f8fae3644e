//! A broker as it is installed, its data, the way to it, and the examples as programs.

#![allow(unreachable_pub, reason = "it is a module of a program")]

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use quelea_client::{Backoff, Options};

use crate::support::PATIENCE;
use crate::support::relay::Relay;

/// A broker whose data survives it, at an address that does.
pub struct Site {
    relay: Relay,
    directory: PathBuf,
    broker: Option<Child>,
}

impl Site {
    /// Returns one with nothing in it, whose broker does not run yet.
    pub async fn new(name: &str) -> Self {
        let name = format!("quelea-judged-{}-{name}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).unwrap();
        Self { relay: Relay::to(None).await, directory, broker: None }
    }

    pub fn url(&self) -> String {
        self.relay.url()
    }

    pub fn path(&self, name: &str) -> String {
        self.directory.join(name).to_str().unwrap().to_owned()
    }

    /// Starts the broker, and waits until it serves.
    pub fn start(&mut self) {
        assert!(self.broker.is_none());
        let mut command = Command::new(program("quelea"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(self.path("data"));
        let mut broker = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(broker.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.by_ref().find_map(|it| address_in(&it)).expect("the broker listens");
        // It must not wait for a reader of its log.
        thread::spawn(|| lines.for_each(drop));
        self.broker = Some(broker);
        self.relay.lead_to(Some(address));
    }

    /// Kills the broker, as SIGKILL does.
    pub fn kill(&mut self) {
        self.relay.lead_to(None);
        kill(self.broker.take().expect("it runs"));
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(broker) = self.broker.take() {
            kill(broker);
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// An example that runs.
pub struct Example {
    child: Option<Child>,
    output: Receiver<String>,
}

impl Example {
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program("examples").join(name));
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, output) = channel();
        // Whoever waits for a line can give up, and whoever is gone does not hold it up.
        thread::spawn(|| lines.map_while(Result::ok).try_for_each(move |it| sender.send(it)));
        Self { child: Some(child), output }
    }

    /// Gives it a line.
    pub fn feed(&mut self, line: &str) {
        let input = self.child.as_mut().unwrap().stdin.as_mut().unwrap();
        writeln!(input, "{line}").unwrap();
    }

    /// Waits for its next line; `None` at its end.
    pub fn line(&mut self) -> Option<String> {
        match self.output.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no line in {PATIENCE:?}"),
        }
    }

    /// Kills it. What it had printed can still be read.
    pub fn kill(&mut self) {
        kill(self.child.take().expect("it runs"));
    }

    /// Ends its input, and waits until it has ended well.
    pub fn finish(mut self) -> Vec<String> {
        let mut child = self.child.take().unwrap();
        drop(child.stdin.take());
        let rest = std::iter::from_fn(|| self.line()).collect();
        assert!(child.wait().unwrap().success());
        rest
    }

    /// Returns how much memory it has, in bytes.
    pub fn memory(&self) -> usize {
        let id = self.child.as_ref().unwrap().id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().trim().parse::<usize>().unwrap() * 1024
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            kill(child);
        }
    }
}

/// Returns options of one who watches, and misses little.
pub fn hasty() -> Options {
    Options::new().backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(50)))
}

fn kill(mut child: Child) {
    // It fails for one that has ended, which is what is wanted.
    let _ = child.kill();
    child.wait().unwrap();
}

fn address_in(line: &str) -> Option<SocketAddr> {
    line.split_once("listening on ")?.1.trim().parse().ok()
}

/// Returns a file that Cargo builds, which it has then done: a test of one package does not build the others'.
fn program(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let directory = BUILT.get_or_init(|| {
        let this = std::env::current_exe().unwrap();
        let directory = this.parent().and_then(Path::parent).unwrap().to_owned();
        let profile = match directory.file_name().unwrap().to_str().unwrap() {
            "debug" => "dev",
            other => other,
        };
        for packages in [&["quelea-cli", "--bins"][..], &["quelea-client", "--examples"]] {
            let mut command = Command::new(env!("CARGO"));
            command.args(["build", "--quiet", "--profile", profile, "--package"]).args(packages);
            command.arg("--target-dir").arg(directory.parent().unwrap());
            let status = command.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
            assert!(status.success());
        }
        directory
    });
    directory.join(name)
}
