//! The binary, and a broker in a process of its own.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// A broker in a process of its own, on a port of its own.
pub(crate) struct Serve {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    port: String,
    pub(crate) log: Receiver<String>,
}

/// A subscriber that is known to have its subscription.
pub(crate) struct Subscriber {
    pub(crate) child: Child,
    pub(crate) output: BufReader<ChildStdout>,
}

impl Serve {
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_with(&[&["serve", "--listen", "127.0.0.1:0", "--in-memory"], flags].concat())
    }

    pub(crate) fn start_with(words: &[&str]) -> Self {
        Self::of(command(words).stderr(Stdio::piped()).spawn().expect("the binary is there"))
    }

    pub(crate) fn of(mut child: Child) -> Self {
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let (sender, log) = channel();
        // Reads on for as long as the broker writes, whoever listens.
        thread::spawn(move || {
            stderr.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)))
        });
        let address =
            log.iter().find_map(|line| address_in(&line)).expect("it says where it listens");
        Self { child, address, port: address.port().to_string(), log }
    }

    /// Returns the next address that it says it listens on.
    pub(crate) fn next_address(&self) -> SocketAddr {
        self.log.iter().find_map(|line| address_in(&line)).expect("it listens on several")
    }

    /// Runs a client to its end.
    pub(crate) fn client(&self, role: &str, flags: &[&str]) -> Output {
        self.client_with_input(role, flags, "")
    }

    pub(crate) fn client_with_input(&self, role: &str, flags: &[&str], input: &str) -> Output {
        let mut child = self
            .client_command(role, flags)
            .stdin(Stdio::piped())
            .spawn()
            .expect("the binary is there");
        let mut stdin = child.stdin.take().expect("it is piped");
        // A client that has failed does not read.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child.wait_with_output().expect("it ran")
    }

    /// Starts a subscriber, and returns when a retained message has shown that the subscription is there.
    pub(crate) fn subscribe(&self, topic: &str, flags: &[&str]) -> Subscriber {
        assert_success(&self.client("pub", &["-t", topic, "-m", "ready\n", "-r", "-q", "1"]));
        let mut child = self
            .client_command("sub", flags)
            .args(["-t", topic])
            .spawn()
            .expect("the binary is there");
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("it is UTF-8");
        assert!(line.ends_with("ready\n"), "{line:?}");
        // The message ends its line, and so does the client, unless it is told not to.
        if !flags.contains(&"-N") {
            output.read_line(&mut line).expect("it is UTF-8");
        }
        Subscriber { child, output }
    }

    pub(crate) fn client_command(&self, role: &str, flags: &[&str]) -> Command {
        let mut command = command(&[role]);
        command.args(self.place()).args(flags).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Returns the flags that lead a client here.
    pub(crate) fn place(&self) -> [&str; 4] {
        ["-h", "127.0.0.1", "-p", &self.port]
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    pub(crate) fn wait_for(&self, words: &str) {
        let line = self.log.iter().find(|line| line.contains(words));
        assert!(line.is_some(), "the log ended without {words:?}");
    }

    /// Stops it, and returns its exit code and what it has logged and nobody has read.
    pub(crate) fn stop(mut self) -> (Option<i32>, String) {
        self.signal("TERM");
        let status = self.child.wait().expect("it ran");
        (status.code(), self.log.iter().collect::<Vec<_>>().join("\n"))
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // It is gone already where a test has stopped it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Subscriber {
    /// Returns the lines that it prints before the one that is waited for.
    pub(crate) fn lines_until(&mut self, is_last: impl Fn(&str) -> bool) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            if is_last(&line) {
                return lines;
            }
            lines.push(line);
        }
    }

    /// Returns the next line that it prints.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        let count = self.output.read_line(&mut line).expect("it is UTF-8");
        assert!(count > 0, "it has ended");
        line.trim_end_matches('\n').to_owned()
    }

    /// Returns what it prints until it ends.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("it is UTF-8");
        rest
    }
}

pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args(["-s", name, &child.id().to_string()]).status();
    assert!(status.expect("kill is there").success());
}

#[track_caller]
pub(crate) fn check_usage(words: &[&str], hint: &str) {
    let output = quelea(words);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains(hint), "{output:?}");
}

#[track_caller]
pub(crate) fn assert_success(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

pub(crate) fn quelea(words: &[&str]) -> Output {
    command(words).output().expect("the binary is there")
}

/// The binary, with nothing of this process's environment in its configuration.
pub(crate) fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quelea"));
    command.args(words).env_clear();
    command
}

fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening on ")?;
    rest.split(['"', ' ']).next()?.parse().ok()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn temporary_file(name: &str, content: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{name}"));
    fs::write(&file, content).expect("cargo's temporary directory can be written");
    file
}

/// A port on which nobody listens: the system gives it to no one else so soon.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it is bound").port()
}
