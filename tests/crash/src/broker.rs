//! The broker's process.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::random::Random;
use crate::trial::Trial;

/// How the brokers of a campaign are run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program.
    pub program: PathBuf,
    /// Everything that a campaign leaves behind is in it.
    pub directory: PathBuf,
    /// Seconds that clients have to come back after a restart, on top of the rest.
    pub grace_secs: u64,
    configuration: String,
}

/// A broker's process. Dropped, it is killed.
#[derive(Debug)]
pub struct Broker {
    process: Child,
    address: Receiver<SocketAddr>,
}

impl Settings {
    /// Draws the settings of a campaign.
    pub fn draw(
        program: &Path,
        directory: &Path,
        trial: Trial,
        random: &mut Random,
    ) -> io::Result<Self> {
        let grace_secs = *random.pick(&[0, 1, 2]);
        let durability = match trial {
            Trial::Broker => *random.pick(&["fsync", "fsync", "fsync", "interval"]),
            Trial::Forgetful => "memory",
            Trial::PowerCut => "fsync",
        };
        let segment_bytes = *random.pick(&[65_536, 262_144, 1_048_576, 67_108_864]);
        // Of a log that is not cleaned, an earlier state has a part of what the later one has.
        let slack_bytes = match trial {
            Trial::PowerCut => 1_u64 << 40,
            Trial::Broker | Trial::Forgetful => *random.pick(&[0, 1_048_576]),
        };
        let shards = *random.pick(&[1, 2, 3]);
        let mut configuration = String::new();
        let _ = write!(
            configuration,
            "shards = {shards}\n\
             [limits]\n\
             queued_messages_max = 1_000_000\n\
             queued_bytes_max = \"8 GiB\"\n\
             [store]\n\
             data_dir = \"{}\"\n\
             durability = \"{durability}\"\n\
             segment_bytes = {segment_bytes}\n\
             cleaning_ratio = 2\n\
             cleaning_slack_bytes = {slack_bytes}\n\
             restart_grace_secs = {grace_secs}\n",
            directory.join(DATA).display(),
        );
        fs::create_dir_all(directory)?;
        fs::write(directory.join("quelea.toml"), &configuration)?;
        Ok(Self {
            program: program.to_owned(),
            directory: directory.to_owned(),
            grace_secs,
            configuration,
        })
    }

    /// Returns the configuration file.
    pub fn configuration(&self) -> &str {
        &self.configuration
    }

    /// Returns the last lines that the brokers have logged.
    pub fn last_log_lines(&self, count: usize) -> Vec<String> {
        let text = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(count)..].iter().map(|it| (*it).to_owned()).collect()
    }

    /// Returns the broker's data directory.
    pub fn data_path(&self) -> PathBuf {
        self.directory.join(DATA)
    }

    /// Returns where an earlier state of the data directory is kept.
    pub fn kept_path(&self) -> PathBuf {
        self.directory.join("kept")
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("broker.log")
    }
}

impl Broker {
    /// Starts the broker, which is not yet ready then.
    pub fn start(settings: &Settings) -> io::Result<Self> {
        let log = OpenOptions::new().create(true).append(true).open(settings.log_path())?;
        let mut process = Command::new(&settings.program)
            .args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(settings.directory.join("quelea.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let (sender, address) = channel();
        if let Some(stderr) = process.stderr.take() {
            thread::spawn(move || follow(stderr, log, &sender));
        }
        Ok(Self { process, address })
    }

    /// Waits until the broker listens, and returns where.
    pub fn wait_until_ready(&self) -> Option<SocketAddr> {
        self.address.recv_timeout(START_PATIENCE).ok()
    }

    /// Kills the broker, as a crash would, and waits for its end.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.kill()?;
        self.process.wait().map(drop)
    }

    /// Returns how the broker ended, if it did.
    pub fn ended(&mut self) -> Option<String> {
        self.process.try_wait().ok()?.map(|status| status.to_string())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It fails for a broker that has ended, which is what is wanted.
        let _ = self.kill();
    }
}

/// Copies what the broker logs, and finds out where it listens.
fn follow(stderr: ChildStderr, mut log: File, address: &Sender<SocketAddr>) {
    for line in BufReader::new(stderr).lines() {
        let Ok(line) = line else { return };
        let _ = writeln!(log, "{line}");
        let listening = line.split_once("listening on ").map(|(_, rest)| rest.trim());
        if let Some(Ok(it)) = listening.map(str::parse) {
            // Nobody waits any more for one that is killed.
            let _ = address.send(it);
        }
    }
}

/// The data directory, below that of the campaign.
const DATA: &str = "data";

/// Recovery included.
const START_PATIENCE: Duration = Duration::from_secs(60);
