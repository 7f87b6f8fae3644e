//! `quelea top` in a terminal of its own, with a broker.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};

#[test]
fn the_terminal_is_as_it_was_however_it_ends() {
    let broker = Broker::start();
    broker.publish("plant/temperature", "21.5");
    for end in ["q", "\x03", "TERM"] {
        let mut terminal = Terminal::start(&broker, &[]);
        terminal.wait_for("temperature");
        assert!(!terminal.is_as_it_was(), "it reads keys, not lines");
        match end {
            "TERM" => terminal.signal(end),
            keys => terminal.press(keys),
        }
        // The user's own screen, with a cursor.
        terminal.wait_for("\x1b[?1049l\x1b[?25h");
        assert_eq!(terminal.child.wait().expect("it ran").code(), Some(0), "{end:?}");
        assert!(terminal.is_as_it_was(), "{end:?}");
    }
}

#[test]
fn a_message_is_published_from_within() {
    let broker = Broker::start();
    broker.publish("plant/temperature", "21.5");
    let mut terminal = Terminal::start(&broker, &["-t", "plant/#"]);
    terminal.wait_for("temperature");
    // Another topic than the selected one, pasted; QoS 1, retained.
    terminal.press("p\x1b[Z");
    terminal.press("\x15\x1b[200~made/up\x1b[201~\thello\t1\t \r");
    terminal.wait_for("published to made/up");
    let received = broker.run(&["sub", "-t", "made/up", "-C", "1", "-v", "-W", "20"]);
    assert_eq!(text(&received.stdout), "made/up hello\n");

    // And its retained message is removed.
    terminal.press("q");
    let mut terminal = Terminal::start(&broker, &["-t", "made/#"]);
    terminal.wait_for("hello");
    terminal.press("/up\rxy");
    terminal.wait_for("removed the retained message of made/up");
    let received = broker.run(&["sub", "-t", "made/up", "--retained-only", "-W", "1"]);
    assert_eq!(text(&received.stdout), "");
}

#[test]
fn a_broker_that_goes_is_told_on_the_screen() {
    let mut broker = Broker::start();
    broker.publish("plant/temperature", "21.5");
    let mut terminal = Terminal::start(&broker, &[]);
    terminal.wait_for("temperature");
    broker.stop();
    terminal.wait_for("connecting again");
    terminal.press("q");
    assert_eq!(terminal.child.wait().expect("it ran").code(), Some(0));
}

#[test]
fn without_a_terminal_there_is_a_table() {
    let broker = Broker::start();
    broker.publish("plant/temperature", "21.5");
    let refused = broker.run(&["top"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("--once"), "{refused:?}");
    let table = broker.run(&["top", "--once", "--for", "0.5", "-t", "plant/#"]);
    assert_eq!(table.status.code(), Some(0), "{table:?}");
    let table = text(&table.stdout);
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(table.ends_with("plant/temperature = 21.5\n"), "{table}");
}

/// A terminal with `quelea top` in it.
struct Terminal {
    child: Child,
    keys: File,
    /// Kept open, as a shell does.
    own: OwnedFd,
    before: Termios,
    output: Receiver<Vec<u8>>,
    seen: Vec<u8>,
}

impl Terminal {
    fn start(broker: &Broker, flags: &[&str]) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(&size, None).expect("there is a terminal");
        let before = tcgetattr(&slave).expect("it is a terminal");
        let end = || Stdio::from(slave.try_clone().expect("there are descriptors"));
        let broker = format!("127.0.0.1:{}", broker.port);
        let mut command = command(&[&["top", &broker], flags].concat());
        command.env("TERM", "xterm-256color").stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().expect("the binary is there");
        let mut screen = File::from(master.try_clone().expect("there are descriptors"));
        let (sender, output) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while let Ok(bytes @ 1..) = screen.read(&mut buffer) {
                if sender.send(buffer[..bytes].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, keys: File::from(master), own: slave, before, output, seen: Vec::new() }
    }

    /// Waits until something is drawn, and forgets what was before it.
    #[track_caller]
    fn wait_for(&mut self, words: &str) {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let found = self.seen.windows(words.len()).position(|it| it == words.as_bytes());
            if let Some(at) = found {
                self.seen.drain(..at + words.len());
                return;
            }
            let patience = until.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(patience) {
                Ok(bytes) => self.seen.extend(bytes),
                Err(_) => {
                    let last = &self.seen[self.seen.len().saturating_sub(2_000)..];
                    panic!("{words:?} is not drawn: {}", text(last).escape_debug());
                }
            }
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the terminal is there");
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(status.expect("kill is there").success());
    }

    /// Returns whether the terminal waits for lines and echoes them.
    fn is_as_it_was(&self) -> bool {
        let lines = LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG;
        let now = tcgetattr(&self.own).expect("it is a terminal");
        now.local_flags & lines == self.before.local_flags & lines
            && now.input_flags == self.before.input_flags
            && now.output_flags == self.before.output_flags
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Broker {
    child: Child,
    port: String,
}

impl Broker {
    fn start() -> Self {
        let words = ["serve", "--listen", "127.0.0.1:0", "--in-memory"];
        let mut child =
            command(&words).stderr(Stdio::piped()).spawn().expect("the binary is there");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let port = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, rest) = line.split_once("listening on 127.0.0.1:")?;
                Some(rest.chars().take_while(char::is_ascii_digit).collect())
            })
            .expect("it says where it listens");
        // Reads on for as long as the broker writes.
        thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self { child, port }
    }

    fn publish(&self, topic: &str, message: &str) {
        let published = self.run(&["pub", "-t", topic, "-m", message, "-r", "-q", "1"]);
        assert_eq!(published.status.code(), Some(0), "{published:?}");
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = command(words);
        command.args(["-h", "127.0.0.1", "-p", &self.port]).stdin(Stdio::null());
        command.output().expect("the binary is there")
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The binary, with nothing of this process's environment in its configuration.
fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quelea"));
    command.args(words).env_clear();
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
