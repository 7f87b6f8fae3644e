//! Programs that a test starts, and a directory for what they need.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// A directory of a test's own, until it is dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("guarded-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&directory).expect("cargo's temporary directory can be written");
        Self(directory)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the name of a file in it.
    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("the path is UTF-8").to_owned()
    }

    /// Writes a file, and returns its name.
    pub(crate) fn write(&self, name: &str, content: &str) -> String {
        let file = self.file(name);
        fs::write(&file, content).expect("the directory can be written");
        file
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // One that stays is in nobody's way.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A program whose log is read. It is killed when this is dropped.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
    /// What it has said so far, as far as anybody has looked.
    pub(crate) said: String,
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
        let (sender, lines) = channel();
        let output: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("it is piped")),
            Box::new(child.stderr.take().expect("it is piped")),
        ];
        for output in output {
            let sender = sender.clone();
            thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    // Nobody may be listening any more: it is read on all the same, so that the pipe is never full.
                    let _ = sender.send(line);
                }
            });
        }
        Self { child, lines, said: String::new() }
    }

    /// Waits for a line that `choose` takes; nothing if the program ends before.
    #[track_caller]
    pub(crate) fn line<T>(&mut self, mut choose: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = match self.lines.recv_timeout(left) {
                Ok(line) => line,
                Err(_) if left.is_zero() => panic!("it says only:\n{}", self.said),
                Err(_) => return None,
            };
            self.said += &line;
            self.said.push('\n');
            if let Some(found) = choose(&line) {
                return Some(found);
            }
        }
    }

    /// Returns its exit code, and all that it has said, when it has ended.
    #[track_caller]
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let _ = self.line(|_| None::<()>);
        let status = self.child.wait().expect("it ran");
        (status.code(), std::mem::take(&mut self.said))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(status.expect("kill is there").success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It is gone already where a test has waited for that.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command, with nothing of this process's environment in its configuration.
pub(crate) fn quelea() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quelea"));
    command.env_clear();
    command
}

/// Reads the address out of a line of the log that tells one.
pub(crate) fn listening(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening on ")?;
    rest.split(['"', ' ']).next()?.parse().ok()
}

/// A port on which nobody listens: the system gives it to no one else so soon.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it is bound").port()
}

/// What has not happened by then does not.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
