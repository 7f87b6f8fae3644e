//! The control plane: one tokio runtime for all that is slow or rare.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Duration;

use quelea_store::{Condition, StoreError};
use tokio::runtime::{Builder, Handle};
use tokio::signal::unix::{Signal as UnixSignal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

use crate::clock::Clock;
use crate::limits::{Measures, Watch};
use crate::mail::Letter;
use crate::net::Read;
use crate::os;
use crate::shard::{Load, Shared};
use crate::sys::Reporter;

/// What a signal asks of the broker.
#[derive(Clone, Debug)]
pub enum Signal {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
    /// The disk has failed: nothing is promised to anyone any more.
    Failed(StoreError),
}

/// The thread of the control plane.
pub(crate) struct Control {
    end: oneshot::Sender<()>,
    runtime: Handle,
    thread: JoinHandle<()>,
}

impl Control {
    /// Starts the control plane.
    ///
    /// # Errors
    ///
    /// The system is out of threads, files or memory.
    pub(crate) fn start(
        shared: Arc<Shared>,
        signals: Sender<Signal>,
        clock: Clock,
    ) -> io::Result<Self> {
        let (end, ended) = oneshot::channel();
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS)
            .build()?;
        // Before anyone is told that the broker runs: from then on a signal stops it in good order.
        let watched = runtime.block_on(async { Watched::new() });
        let handle = runtime.handle().clone();
        let run = move || {
            match watched {
                Ok(watched) => drop(runtime.spawn(watched.forward(signals))),
                Err(error) => tracing::warn!(%error, "signals end the broker at once"),
            }
            runtime.spawn(report(Arc::clone(&shared)));
            runtime.spawn(give_memory_back(Arc::clone(&shared)));
            runtime.spawn(watch_files(Arc::clone(&shared)));
            runtime.spawn(watch_store(Arc::clone(&shared)));
            runtime.spawn(watch_load(shared, clock));
            // An error means that the broker was dropped, not stopped: serve on.
            if runtime.block_on(ended).is_err() {
                runtime.block_on(std::future::pending::<()>());
            }
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("control".to_owned()).spawn(run)?;
        Ok(Self { end, runtime: handle, thread })
    }

    /// Returns where others may have something slow done.
    pub(crate) fn runtime(&self) -> Handle {
        self.runtime.clone()
    }

    /// Ends the control plane.
    pub(crate) fn stop(self) {
        // Fails only when the thread is gone already.
        let _ = self.end.send(());
        let _ = self.thread.join();
    }
}

/// The signals that the broker listens to.
struct Watched {
    terminate: UnixSignal,
    interrupt: UnixSignal,
    hangup: UnixSignal,
}

impl Watched {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Passes each signal on, until nobody wants them any more.
    async fn forward(mut self, signals: Sender<Signal>) {
        loop {
            let received = tokio::select! {
                _ = self.terminate.recv() => Signal::Stop,
                _ = self.interrupt.recv() => Signal::Stop,
                _ = self.hangup.recv() => Signal::Reload,
            };
            if signals.send(received).is_err() {
                return;
            }
        }
    }
}

/// Publishes the statistics under `$SYS`.
async fn report(shared: Arc<Shared>) {
    let mut reporter = Reporter::new();
    let mut interval = tokio::time::interval(LOOK_EVERY);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut due_secs = 0;
    loop {
        interval.tick().await;
        // A reload may have changed it.
        let secs = shared.live.rules().config.sys.interval_secs;
        if due_secs == 0 && secs > 0 {
            // Any shard can publish them; the first always exists.
            shared.mailboxes[0].send(Letter::Statistics(reporter.report(&shared)));
            due_secs = secs;
        }
        due_secs = due_secs.min(secs).saturating_sub(1);
    }
}

/// Returns the memory of what has passed (a storm, a broadcast) to the system, when traffic is low.
async fn give_memory_back(shared: Arc<Shared>) {
    let mut interval = tokio::time::interval(TRIM_EVERY);
    let mut bytes_before = 0;
    let mut is_due = false;
    loop {
        interval.tick().await;
        let totals = shared.totals();
        let bytes = totals.bytes_received + totals.bytes_sent;
        let passed = bytes - bytes_before;
        bytes_before = bytes;
        if passed > BUSY_BYTES {
            is_due = true;
        } else if is_due {
            is_due = false;
            for mailbox in shared.mailboxes.iter() {
                mailbox.send(Letter::Tidy);
            }
            interval.tick().await;
            os::trim_memory();
        }
    }
}

/// Reads the files of TLS again when they have changed, and warns of certificates that expire, once a day.
async fn watch_files(shared: Arc<Shared>) {
    let clock = Clock::start();
    let mut interval = tokio::time::interval(LOOK_EVERY);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut warned_at = clock.elapsed();
    loop {
        interval.tick().await;
        let is_warning_due = clock.elapsed() - warned_at >= WARN_EVERY;
        if is_warning_due {
            warned_at = clock.elapsed();
        }
        let shared = Arc::clone(&shared);
        let look = move || {
            shared.live.rules().chains.refresh();
            for entrance in &shared.entrances {
                entrance.look_at_files(clock.wall(), Read::WhenSettled);
                if is_warning_due {
                    entrance.warn_of_expiries(clock.wall());
                }
            }
        };
        // A look that panicked would have been logged; the next one is as good.
        let _ = tokio::task::spawn_blocking(look).await;
    }
}

/// Says when the disk is full, and when it is not any more.
async fn watch_store(shared: Arc<Shared>) {
    let mut interval = tokio::time::interval(LOOK_EVERY);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut was_full = false;
    loop {
        interval.tick().await;
        let is_full = shared.store.condition() == Condition::Full;
        match (was_full, is_full) {
            (false, true) => tracing::error!(
                data_dir = %shared.config.store.data_dir.display(),
                "no space left for the log: messages that have to be kept are refused until there is some"
            ),
            (true, false) => tracing::info!("there is space for the log again"),
            (false, false) | (true, true) => {}
        }
        was_full = is_full;
    }
}

/// Keeps others out while the broker has more to do than it can, and ends connections when memory is short.
async fn watch_load(shared: Arc<Shared>, clock: Clock) {
    let mut interval = tokio::time::interval(LOOK_AT_LOAD_EVERY);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut watch = Watch::default();
    loop {
        interval.tick().await;
        let rules = shared.live.rules();
        let limits = &rules.config.overload;
        let turns = shared.loads.iter().map(Load::take_turn_micros);
        let now = clock.now();
        let waiting = shared.loads.iter().map(|load| load.waiting_millis(now));
        let measures = Measures {
            memory_bytes: limits.memory_bytes_max.map_or(0, |_| os::resident_bytes()),
            turn_micros: turns.max().unwrap_or(0),
            store_millis: waiting.max().unwrap_or(0),
        };
        let connections = shared.connection_count.load(Ordering::Relaxed) as u64;
        let outcome = watch.look(measures, limits, connections);
        for cause in &outcome.began {
            let cause = cause.as_str();
            tracing::warn!(
                ?measures,
                "overloaded: {cause} is beyond its limit, and nobody else is let in"
            );
        }
        for cause in &outcome.ended {
            tracing::info!(?measures, "{} is within its limit again", cause.as_str());
        }
        shared.is_overloaded.store(watch.is_over(), Ordering::Relaxed);
        if outcome.shed > 0 {
            tracing::warn!(
                "memory is short: {} of {connections} connections are ended, the newest first",
                outcome.shed
            );
            shared.shed(outcome.shed);
        }
        if watch.is_over() && limits.memory_bytes_max.is_some() {
            // What has been freed counts as used until the system has it.
            os::trim_memory();
        }
    }
}

/// One looks at files, and the others look up names of services: each service has one look-up at a time.
const BLOCKING_THREADS: usize = 4;

/// How often it is looked whether files have changed, and whether the disk is full.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often it is looked whether the broker is overloaded.
const LOOK_AT_LOAD_EVERY: Duration = Duration::from_millis(500);

/// How often it is said that a certificate expires.
const WARN_EVERY: Duration = Duration::from_secs(86_400);

/// How often it is looked whether memory can be given back.
const TRIM_EVERY: Duration = Duration::from_secs(2);

/// Traffic in that time that makes it worth a look once it is over.
const BUSY_BYTES: u64 = 256 * 1024;
