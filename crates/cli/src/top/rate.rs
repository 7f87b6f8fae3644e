//! How often something happens, and how often it did.

use std::collections::VecDeque;

/// Something a second, smoothed so that it can be read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rate {
    per_second: f32,
}

/// The rates of the last minutes.
#[derive(Debug, Default)]
pub(crate) struct History(VecDeque<f64>);

impl Rate {
    /// Takes in that it happened `count` times in the `secs` since the last tick.
    pub(crate) fn tick(&mut self, count: u64, secs: f64) {
        let now = (count as f64 / secs.max(SECS_MIN)) as f32;
        self.per_second = match (self.per_second, now) {
            (0.0, now) => now,
            (before, 0.0) if before * KEPT < STILL => 0.0,
            (before, now) => before * KEPT + now * (1.0 - KEPT),
        };
    }

    pub(crate) fn per_second(self) -> f64 {
        self.per_second.into()
    }
}

impl History {
    pub(crate) fn push(&mut self, rate: f64) {
        if self.0.len() == HISTORY_MAX {
            self.0.pop_front();
        }
        self.0.push_back(rate);
    }

    /// Returns the last `count` rates, the newest last.
    pub(crate) fn last(&self, count: usize) -> impl Iterator<Item = f64> {
        self.0.iter().skip(self.0.len().saturating_sub(count)).copied()
    }
}

/// What remains of a rate after a tick.
const KEPT: f32 = 0.5;

/// Less than this a second is nothing, when nothing comes.
const STILL: f32 = 0.02;

/// A clock may stand still.
const SECS_MIN: f64 = 0.001;

const HISTORY_MAX: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_follow_what_happens_and_come_to_rest() {
        let mut rate = Rate::default();
        rate.tick(20, 2.0);
        assert_eq!(rate.per_second(), 10.0);
        rate.tick(20, 1.0);
        assert_eq!(rate.per_second(), 15.0);
        for _ in 0..20 {
            rate.tick(0, 1.0);
        }
        assert_eq!(rate.per_second(), 0.0);
        rate.tick(u64::MAX, 0.0);
        assert!(rate.per_second().is_finite());
    }

    #[test]
    fn history_keeps_the_newest() {
        let mut history = History::default();
        (0..200).for_each(|it| history.push(f64::from(it)));
        assert_eq!(history.last(2).collect::<Vec<_>>(), [198.0, 199.0]);
        assert_eq!(history.last(1_000).count(), HISTORY_MAX);
    }
}
