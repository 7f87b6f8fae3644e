//! How long to wait before connecting again.

use std::time::Duration;

/// Waits that double from one failure to the next, and vary.
///
/// Each is drawn from the upper half of its range, so that a fleet that lost its broker in one moment does not come
/// back in one.
#[derive(Clone, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
}

/// The waits of one client.
#[derive(Debug)]
pub(crate) struct Waits {
    backoff: Backoff,
    failures: u32,
    random: Random,
}

/// Numbers that need not be secret.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Backoff {
    /// Waits from `min` after the first failure up to `max`.
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max: max.max(min) }
    }
}

impl Default for Backoff {
    /// From 100 ms to 30 s.
    fn default() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(30))
    }
}

impl Waits {
    pub(crate) fn new(backoff: Backoff) -> Self {
        Self { backoff, failures: 0, random: Random::from_system() }
    }

    /// Returns how long to wait after one more failure.
    pub(crate) fn next(&mut self) -> Duration {
        let Backoff { min, max } = self.backoff;
        let doubled = 2u32.checked_pow(self.failures).and_then(|factor| min.checked_mul(factor));
        self.failures += 1;
        let longest = doubled.map_or(max, |it| it.min(max));
        longest.mul_f64(0.5 + self.random.fraction() / 2.0)
    }

    /// Has the next wait be the longest: to come back soon would not help.
    pub(crate) fn skip_to_longest(&mut self) {
        self.failures = self.failures.max(31);
    }

    /// Begins again with the shortest.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

impl Random {
    /// Starts where the system's hash seeds put it.
    pub(crate) fn from_system() -> Self {
        use std::hash::{BuildHasher, RandomState};
        Self(RandomState::new().hash_one(std::process::id()))
    }

    /// Returns the next number (xorshift*).
    pub(crate) fn next(&mut self) -> u64 {
        // Zero would stay zero.
        self.0 |= u64::from(self.0 == 0);
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Returns a number from 0 to 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 32) as f64 / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let mut waits = Waits::new(backoff);
        for longest in [100, 200, 400, 800, 1000, 1000] {
            check(waits.next(), longest);
        }
        waits.reset();
        check(waits.next(), 100);
        waits.skip_to_longest();
        check(waits.next(), 1000);
        for _ in 0..100 {
            check(waits.next(), 1000);
        }
    }

    #[test]
    fn waits_vary() {
        let mut waits = Waits::new(Backoff::new(Duration::from_secs(1), Duration::from_secs(1)));
        let first = waits.next();
        assert!((0..10).any(|_| waits.next() != first));
    }

    #[track_caller]
    fn check(wait: Duration, longest_millis: u64) {
        let longest = Duration::from_millis(longest_millis);
        assert!(longest / 2 <= wait && wait <= longest, "{wait:?} of {longest:?}");
    }
}
