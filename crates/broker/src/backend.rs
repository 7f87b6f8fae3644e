//! The store that the configuration asks for.

use std::io;
use std::path::Path;
use std::sync::Arc;

use quelea_store::{
    Cleaning, Completions, Durability, Log, Memory, OpenError, Options, QueueLimits, Recovered,
    SessionNumber, ShardIndex, Store, WallMillis,
};

use crate::config::{self, Config, QueueOverflow};

/// A store, and how it is started and ended.
pub(crate) enum Backend {
    /// Nothing outlives the process.
    Memory(Arc<Memory>),
    /// The durable log.
    Log { log: Arc<Log>, completions: Arc<dyn Completions> },
}

impl Backend {
    /// Opens the store, and finds what was there before a restart.
    pub(crate) fn open(
        config: &Config,
        completions: Arc<dyn Completions>,
        wall_at_zero: WallMillis,
    ) -> Result<(Self, Recovered), OpenError> {
        let limits = queue_limits(config);
        let durability = match config.store.durability {
            config::Durability::Fsync => Durability::Fsync,
            config::Durability::Interval => {
                Durability::Interval { millis: config.store.interval_millis.into() }
            }
            config::Durability::Memory => {
                let memory = Memory::new(completions, limits);
                return Ok((Self::Memory(Arc::new(memory)), Recovered::default()));
            }
        };
        let options = Options {
            segment_bytes: config.store.segment_bytes,
            durability,
            disk_bytes_max: config.store.disk_bytes_max,
            limits,
            cleaning: Cleaning {
                ratio: config.store.cleaning_ratio,
                slack_bytes: config.store.cleaning_slack_bytes,
            },
            wall_at_zero,
            ..Options::default()
        };
        let dir = config.store.data_dir.as_path();
        let (log, recovered) = Log::open(dir, options)?;
        tell(dir, &recovered);
        Ok((Self::Log { log: Arc::new(log), completions }, recovered))
    }

    /// Begins to work. The sessions live on the shards that `places` says.
    pub(crate) fn start(&self, places: &[(SessionNumber, ShardIndex)]) -> io::Result<()> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Log { log, completions } => log.start(Arc::clone(completions), places),
        }
    }

    /// Returns the store for the shards.
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Memory(memory) => Arc::clone(memory) as Arc<dyn Store>,
            Self::Log { log, .. } => Arc::clone(log) as Arc<dyn Store>,
        }
    }

    /// Writes what is still to be written.
    pub(crate) fn close(&self) {
        match self {
            Self::Memory(_) => {}
            Self::Log { log, .. } => log.close(),
        }
    }
}

fn queue_limits(config: &Config) -> QueueLimits {
    let limits = &config.limits;
    QueueLimits {
        queued_messages_max: limits.queued_messages_max,
        queued_bytes_max: limits.queued_bytes_max,
        drops_oldest: limits.queue_overflow == QueueOverflow::DropOldest,
    }
}

/// Says what was found.
fn tell(dir: &Path, recovered: &Recovered) {
    let report = &recovered.report;
    tracing::info!(
        directory = %dir.display(),
        sessions = recovered.sessions.len(),
        queued = report.entries,
        retained = recovered.retained.len(),
        bytes = report.bytes,
        millis = report.took.as_millis() as u64,
        "data recovered"
    );
    if let Some((file, bytes)) = &report.cut {
        tracing::warn!(
            file,
            bytes,
            "the end of the log was not written completely, and was cut off: nothing of it had been promised"
        );
    }
}
