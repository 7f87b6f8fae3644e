//! The brokers that are compared, each started so that it keeps what it can.

use std::fs;
use std::path::{Path, PathBuf};

use crate::program;
use crate::serving::Broker;

/// A broker, and how it keeps messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Contender {
    /// With its defaults: an acknowledgement is sent when the disk has the message.
    Quelea,
    /// An acknowledgement is sent when the system has the message; the disk has it 100 ms later.
    QueleaInterval,
    /// Its data is written every half hour, and when it stops.
    Mosquitto,
    /// A sync for each message.
    Nats,
}

/// What there is to be started.
pub(super) struct Programs {
    pub(super) quelea: PathBuf,
    pub(super) nats: PathBuf,
}

impl Contender {
    pub(super) const ALL: &[Self] =
        &[Self::Quelea, Self::QueleaInterval, Self::Nats, Self::Mosquitto];

    /// Starts it with its data in `directory`.
    pub(super) fn start(self, programs: &Programs, directory: &Path) -> Result<Broker, String> {
        match self {
            Self::Quelea => quelea(programs, directory, "fsync"),
            Self::QueleaInterval => quelea(programs, directory, "interval"),
            Self::Mosquitto => {
                let path = directory.display();
                let persistence = format!("persistence true\npersistence_location {path}/\n");
                Broker::mosquitto_in(directory, &persistence)
            }
            Self::Nats => {
                let configuration = write(directory, "nats.conf", &nats_configuration(directory))?;
                Broker::nats(&programs.nats, &configuration)
            }
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Quelea => "Quelea",
            Self::QueleaInterval => "Quelea, `interval`",
            Self::Mosquitto => "Mosquitto",
            Self::Nats => "NATS, `sync_interval: always`",
        }
    }

    pub(super) fn is_quelea(self) -> bool {
        matches!(self, Self::Quelea | Self::QueleaInterval)
    }
}

/// Returns a new directory below `target/`.
pub(super) fn empty_directory(name: &str) -> Result<PathBuf, String> {
    let directory = program::target_directory().join("bench-durable").join(name);
    if directory.exists() {
        fs::remove_dir_all(&directory).map_err(|error| told(&directory, &error))?;
    }
    fs::create_dir_all(&directory).map_err(|error| told(&directory, &error))?;
    Ok(directory)
}

fn quelea(programs: &Programs, directory: &Path, durability: &str) -> Result<Broker, String> {
    let settings = format!(
        "[limits]\n\
         queued_messages_max = 100_000_000\n\
         queued_bytes_max = \"100 GiB\"\n\
         queued_bytes_total_max = \"1000 GiB\"\n\
         [store]\n\
         durability = \"{durability}\"\n"
    );
    let settings = write(directory, "quelea.toml", &settings)?;
    Broker::quelea_in(&programs.quelea, &directory.join("log"), &settings)
}

fn nats_configuration(directory: &Path) -> String {
    format!(
        "server_name: bench\n\
         listen: \"127.0.0.1:-1\"\n\
         jetstream {{ store_dir: \"{}\", sync_interval: always }}\n\
         mqtt {{ listen: \"127.0.0.1:-1\" }}\n",
        directory.join("jetstream").display()
    )
}

fn write(directory: &Path, name: &str, text: &str) -> Result<PathBuf, String> {
    let path = directory.join(name);
    fs::write(&path, text).map_err(|error| told(&path, &error))?;
    Ok(path)
}

fn told(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
