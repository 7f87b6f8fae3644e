//! What the threads of a run have in common: the clock, the timeline, the gauges and the sign to stop.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The conductor writes, the workers read; the gauges go the other way.
#[derive(Debug)]
pub(crate) struct Control {
    epoch: Instant,
    /// The epoch, in microseconds since 1970.
    pub epoch_us: u64,
    timeline: OnceLock<Timeline>,
    is_stopped: AtomicBool,
    /// One for each worker.
    pub gauges: Vec<Gauges>,
}

/// The times of a run, in nanoseconds since the epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeline {
    /// Traffic begins.
    pub start_ns: u64,
    /// Messages sent from here on are measured.
    pub measure_from_ns: u64,
    /// Nothing is sent any more but what was due before.
    pub measure_to_ns: u64,
}

/// What a worker shows of itself after each turn. A cache line each: the conductor only looks now and then.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Gauges {
    /// Connections that are ready or have failed.
    pub settled: AtomicU64,
    /// Connections that have failed, before they were ready or since.
    pub failed: AtomicU64,
    /// Messages sent.
    pub published: AtomicU64,
    /// First arrivals.
    pub delivered: AtomicU64,
    /// Exchanges of the messages sent that are complete.
    pub acknowledged: AtomicU64,
    /// Deliveries and acknowledgements that are still to come, and messages that are due.
    pub outstanding: AtomicU64,
}

impl Control {
    /// Begins the run's clock.
    pub(crate) fn new(worker_count: usize) -> Self {
        Self {
            epoch: Instant::now(),
            epoch_us: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |it| it.as_micros() as u64),
            timeline: OnceLock::new(),
            is_stopped: AtomicBool::new(false),
            gauges: (0..worker_count).map(|_| Gauges::default()).collect(),
        }
    }

    /// Sets the times, once. Workers see them when they wake.
    pub(crate) fn set_timeline(&self, timeline: Timeline) {
        let is_first = self.timeline.set(timeline).is_ok();
        debug_assert!(is_first, "a run has one timeline");
    }

    /// Tells the workers to end. They see it when they wake.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
    }

    /// Returns whether the workers are to end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }

    /// Returns the times, once they are set.
    pub(crate) fn timeline(&self) -> Option<Timeline> {
        self.timeline.get().copied()
    }

    /// Returns the nanoseconds since the epoch.
    pub(crate) fn now_ns(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    /// Returns a figure that grows as long as the broker does something.
    pub(crate) fn progress(&self) -> u64 {
        self.sum(|it| &it.delivered) + self.sum(|it| &it.acknowledged)
    }

    /// Returns the sum of a gauge over the workers.
    pub(crate) fn sum(&self, gauge: impl Fn(&Gauges) -> &AtomicU64) -> u64 {
        let values = self.gauges.iter().map(|it| gauge(it).load(Ordering::Relaxed));
        values.sum()
    }
}
