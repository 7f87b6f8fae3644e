//! The log: to standard error, through a bounded queue that never makes the broker wait.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use quelea_broker::config::{Log, LogFormat};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

use crate::failure::Failure;
use crate::print;

/// The log of a running broker. Dropped, it writes what is queued.
pub(crate) struct Logging {
    filter: reload::Handle<Targets, Registry>,
    dropped: ErrorCounter,
    worker: Option<WorkerGuard>,
}

impl Logging {
    /// Begins to log as `log` says.
    pub(crate) fn start(log: &Log) -> Result<Self, Failure> {
        let (filter, handle) = reload::Layer::new(targets(log)?);
        let lines_max = usize::try_from(log.queued_lines_max).unwrap_or(usize::MAX);
        let (queue, worker) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(lines_max)
            .finish(io::stderr());
        let dropped = queue.error_counter();
        let told = AtomicUsize::new(0);
        let lines = Lines { queue, format: log.format, dropped: dropped.clone(), told };
        let layer = fmt::layer().with_writer(lines);
        let registry = tracing_subscriber::registry().with(filter);
        match log.format {
            LogFormat::Human => registry.with(layer.with_ansi(is_for_colours())).try_init(),
            LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
        }
        .map_err(Failure::new)?;
        Ok(Self { filter: handle, dropped, worker: Some(worker) })
    }

    /// Changes the level of a log that runs.
    pub(crate) fn reload(&self, log: &Log) -> Result<(), Failure> {
        self.filter.reload(targets(log)?).map_err(Failure::new)
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        drop(self.worker.take());
        match self.dropped.dropped_lines() {
            0 => {}
            count => print::to_stderr(&format!("{count} lines of the log were dropped in all")),
        }
    }
}

fn targets(log: &Log) -> Result<Targets, Failure> {
    log.level.parse().map_err(|error| Failure::usage(format!("log.level: {error}")))
}

fn is_for_colours() -> bool {
    io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The queue of lines. A line that finds room tells of those before it that did not.
struct Lines {
    queue: NonBlocking,
    format: LogFormat,
    dropped: ErrorCounter,
    told: AtomicUsize,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = NonBlocking;

    fn make_writer(&'a self) -> NonBlocking {
        let mut queue = self.queue.clone();
        let dropped = self.dropped.dropped_lines();
        let told = self.told.swap(dropped, Ordering::Relaxed);
        if dropped > told {
            let message = format!("{} lines of the log were dropped here", dropped - told);
            // The queue takes the line, or drops it and counts that too.
            let _ = match self.format {
                LogFormat::Human => writeln!(queue, "{message}"),
                LogFormat::Json => writeln!(queue, r#"{{"level":"WARN","message":"{message}"}}"#),
            };
        }
        queue
    }
}
