//! What a service has said, in numbers, and what is logged of its failures.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use quelea_session::Time;

/// Counts since the source was made.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Clients that it let in.
    pub(super) allowed: AtomicU64,
    /// Clients that it denied.
    pub(super) denied: AtomicU64,
    /// Clients that it left to the next of the chain.
    pub(super) passed: AtomicU64,
    /// Clients about which it had no answer, or one that made no sense.
    pub(super) failed: AtomicU64,
    /// Clients about which it was not asked, because it was down.
    pub(super) spared: AtomicU64,
    /// Clients about which it was not asked, because too many were waiting.
    pub(super) busy: AtomicU64,
    /// Questions that were asked again.
    pub(super) retries: AtomicU64,
}

impl Tally {
    /// Returns the numbers with their names under `$SYS/broker/authentication/http`.
    pub(super) fn numbers(&self) -> [(&'static str, u64); 7] {
        let value = |number: &AtomicU64| number.load(Ordering::Relaxed);
        [
            ("allowed", value(&self.allowed)),
            ("denied", value(&self.denied)),
            ("next", value(&self.passed)),
            ("failed", value(&self.failed)),
            ("not asked", value(&self.spared)),
            ("busy", value(&self.busy)),
            ("asked again", value(&self.retries)),
        ]
    }
}

/// Counts one more.
pub(super) fn count(number: &AtomicU64) {
    number.fetch_add(1, Ordering::Relaxed);
}

/// Lets a line be logged every now and then, and counts those that are left out.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<Paced>);

#[derive(Debug, Default)]
struct Paced {
    next_at: Option<Time>,
    left_out: u64,
}

impl Pace {
    /// Asks whether to log a line; if so, returns how many were left out before it.
    pub(super) fn next(&self, now: Time) -> Option<u64> {
        let mut paced = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if paced.next_at.is_some_and(|it| now < it) {
            paced.left_out += 1;
            return None;
        }
        paced.next_at = Some(now.plus_secs(SAID_EVERY_SECS));
        Some(std::mem::take(&mut paced.left_out))
    }
}

/// The least time between two lines.
const SAID_EVERY_SECS: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_stands_for_many() {
        let pace = Pace::default();
        let at = |secs| Time::from_millis(0).plus_secs(secs);
        assert_eq!(pace.next(at(1)), Some(0));
        assert_eq!((pace.next(at(2)), pace.next(at(10))), (None, None));
        assert_eq!(pace.next(at(11)), Some(2));
        assert_eq!(pace.next(at(30)), Some(0));
    }
}
