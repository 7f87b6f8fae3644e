//! Child programs: run to the end, or followed line by line.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// A running child whose standard output and error arrive as lines. Dropping it ends the child.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
    name: String,
}

/// What the next line of a program is.
pub(crate) enum Next {
    Line(String),
    /// Both outputs are closed.
    End,
    /// Nothing came before the deadline.
    TimedOut,
}

impl Program {
    /// Starts `command` with nothing to read and both outputs followed.
    pub(crate) fn start(mut command: Command) -> Result<Self, String> {
        let name = name_of(&command);
        let mut child = command
            .current_dir(root())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{name} does not start: {error}"))?;
        let (sender, lines) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            follow(stdout, sender.clone());
        }
        if let Some(stderr) = child.stderr.take() {
            follow(stderr, sender);
        }
        Ok(Self { child, lines, name })
    }

    /// Waits for the next line, at most until `deadline`.
    pub(crate) fn next_line(&mut self, deadline: Instant) -> Next {
        match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => Next::Line(line),
            Err(RecvTimeoutError::Disconnected) => Next::End,
            Err(RecvTimeoutError::Timeout) => Next::TimedOut,
        }
    }

    /// Waits for the end of a program whose outputs are closed.
    pub(crate) fn wait(&mut self) -> Result<ExitStatus, String> {
        self.child.wait().map_err(|error| format!("{}: {error}", self.name))
    }

    /// Asks the program to stop as a service manager would, and waits for it.
    pub(crate) fn terminate(&mut self, patience: Duration) -> Result<ExitStatus, String> {
        run(Command::new("kill").args(["-TERM", &self.child.id().to_string()]))?;
        let deadline = Instant::now() + patience;
        loop {
            match self.next_line(deadline) {
                Next::Line(_) => {}
                Next::End => return self.wait(),
                Next::TimedOut => return Err(format!("{} does not stop when asked to", self.name)),
            }
        }
    }

    /// Returns the lines that have come and were not read.
    pub(crate) fn unread_lines(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// Returns the process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only for a child that has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `command` to its end with its output on our own.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let name = name_of(command);
    let status = command
        .current_dir(root())
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("{name} does not start: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{name}: {status}")) }
}

/// Runs `command` to its end and returns what it wrote to standard output; shows its errors only if it fails.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let output = finish(command)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = [output.stdout, output.stderr].concat();
    Err(format!("{}: {}\n{}", name_of(command), output.status, String::from_utf8_lossy(&text)))
}

/// Runs `command` to its end and returns what it wrote to standard output, if it wrote anything.
pub(crate) fn output_of_any_end(command: &mut Command) -> Result<String, String> {
    let output = finish(command)?;
    if !output.stdout.is_empty() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}\n{text}", name_of(command), output.status))
}

/// Returns the repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the repository")
}

/// Returns the directory for what cargo and these commands build, which git ignores.
pub(crate) fn target_directory() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => root().join(directory),
        None => root().join("target"),
    }
}

/// Returns the cargo that runs us.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn finish(command: &mut Command) -> Result<Output, String> {
    command
        .current_dir(root())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{} does not start: {error}", name_of(command)))
}

fn follow(output: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n') {
            let Ok(line) = line else { return };
            // Nobody listens any more when the program is being dropped: reading on keeps the child
            // from blocking on a full pipe until it is killed.
            let _ = lines.send(String::from_utf8_lossy(&line).into_owned());
        }
    });
}

fn name_of(command: &Command) -> String {
    let arguments = command.get_args().map(|it| it.to_string_lossy());
    let program = command.get_program().to_string_lossy();
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    arguments.fold(program, |name, argument| name + " " + &argument)
}
