//! The broker's clock: the one place where time is read.
//!
//! Shards are told the time of each turn; only what drives them reads it here.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use quelea_session::Time;
use quelea_store::WallMillis;

/// A monotonic clock that started with the broker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// Starts a clock.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Returns how long it has run.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// Returns what the wall clock showed at the zero of the shards' time, as it is set at this moment.
    pub(crate) fn wall_at_zero(self) -> WallMillis {
        WallMillis((self.wall().as_millis() as u64).saturating_sub(self.now().as_millis()))
    }

    /// Returns what the wall clock shows, counted since 1970.
    #[expect(clippy::disallowed_methods, clippy::unused_self, reason = "this is the clock")]
    pub(crate) fn wall(self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    /// Returns the time for the shards: from one second on, so that 0 is before everything.
    pub(crate) fn now(self) -> Time {
        Time::from_millis(self.elapsed().as_millis() as u64 + 1_000)
    }
}
