//! A rate as one number: when what was used is paid for.
//!
//! Each unit moves that time on by what it costs at the rate (the virtual scheduling of GCRA). As long as it lies no
//! further ahead than one second, so much may be used at once; beyond that, whoever uses more waits. Many threads may
//! share a meter: it is one atomic number, and what two of them use in the same instant is counted twice.

use std::sync::atomic::{AtomicU64, Ordering};

use quelea_session::Time;

/// What was used of something that comes at a rate.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// In nanoseconds of the broker's time.
    paid_at: AtomicU64,
}

impl Meter {
    /// Uses `count` units of `per_sec` a second. What is used is not refused: [`Self::wait_millis`] says what follows.
    pub(crate) fn charge(&self, now: Time, count: u64, per_sec: u32) {
        let now = nanos(now);
        let cost = count.saturating_mul(NANOS_PER_SEC) / u64::from(per_sec.max(1));
        let _ = self.paid_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |paid_at| {
            Some(paid_at.max(now).saturating_add(cost))
        });
    }

    /// Returns how long nothing more may be used; 0 when something may.
    pub(crate) fn wait_millis(&self, now: Time) -> u64 {
        let ahead = self.paid_at.load(Ordering::Relaxed).saturating_sub(nanos(now));
        ahead.saturating_sub(BURST_NANOS).div_ceil(NANOS_PER_MILLI)
    }

    /// Returns whether nothing is left to remember.
    pub(crate) fn is_idle(&self, now: Time) -> bool {
        self.paid_at.load(Ordering::Relaxed) <= nanos(now)
    }
}

fn nanos(time: Time) -> u64 {
    time.as_millis().saturating_mul(NANOS_PER_MILLI)
}

/// What may be used at once: that of one second.
const BURST_NANOS: u64 = NANOS_PER_SEC - 1;

const NANOS_PER_SEC: u64 = 1_000_000_000;
const NANOS_PER_MILLI: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_had_at_once_and_then_the_rate() {
        for per_sec in [1, 3, 10, 1_000, 65_537, 1_000_000] {
            let meter = Meter::default();
            let mut now = Time::from_millis(5_000);
            let mut used = 0_u64;
            let seconds = 7;
            let end = now.plus_millis(seconds * 1_000);
            while now < end {
                match meter.wait_millis(now) {
                    0 => {
                        meter.charge(now, 1, per_sec);
                        used += 1;
                    }
                    wait => now = now.plus_millis(wait),
                }
            }
            // Each wait ends at a whole millisecond, and each is a chance to overdraw by one.
            let (least, most) =
                (u64::from(per_sec) * seconds, u64::from(per_sec) * (seconds + 1) + 1);
            assert!((least..=most).contains(&used), "{used} of {per_sec} a second");
        }
    }

    #[test]
    fn one_that_is_too_large_is_paid_off() {
        let meter = Meter::default();
        let now = Time::from_millis(1_000);
        meter.charge(now, 5_000, 1_000);
        assert_eq!(meter.wait_millis(now), 4_001);
        assert_eq!(meter.wait_millis(now.plus_millis(4_000)), 1);
        assert_eq!(meter.wait_millis(now.plus_millis(4_001)), 0);
        assert!(!meter.is_idle(now.plus_millis(4_999)));
        assert!(meter.is_idle(now.plus_millis(5_000)));
    }

    #[test]
    fn silence_saves_nothing_up() {
        let meter = Meter::default();
        let late = Time::from_millis(1_000_000_000);
        meter.charge(late, 10, 10);
        assert!(meter.wait_millis(late) > 0, "one second's worth, however long the silence");
        meter.charge(late, u64::MAX, 1);
        assert!(meter.wait_millis(late) > 1_000_000, "nothing overflows");
    }
}
