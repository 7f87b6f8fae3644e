//! Leaving a service alone that is down.
//!
//! ```text
//!            so many failures in a row         the pause is over
//! Closed ------------------------------> Open ------------------> Probing
//!   ^  ^                                  ^                        |   |
//!   |  +--------- an answer after all ----+------ no answer -------+   |
//!   +-------------------------- an answer ----------------------------+
//! ```

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quelea_session::Time;

/// Decides whether a service is asked.
pub(super) struct Breaker {
    failures_max: u32,
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is asked, and had so many failures since its last answer.
    Closed { failures: u32 },
    /// It is not asked until then.
    Open { until: Time },
    /// It is asked about one client.
    Probing,
}

/// A question that may be asked. Dropped, it has found neither an answer nor a failure.
#[must_use]
pub(super) struct Attempt<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
}

/// What an outcome has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The service is left alone from here on.
    Opened,
    /// It answers again.
    Closed,
}

impl Breaker {
    /// Makes one that is closed. With `failures_max` 0 it stays so.
    pub(super) fn new(failures_max: u32, pause: Duration) -> Self {
        Self { failures_max, pause, state: Mutex::new(State::Closed { failures: 0 }) }
    }

    /// Asks whether to ask.
    pub(super) fn attempt(&self, now: Time) -> Option<Attempt<'_>> {
        let mut state = self.state();
        let is_probe = match *state {
            State::Closed { .. } => false,
            State::Open { until } if until <= now => true,
            State::Open { .. } | State::Probing => return None,
        };
        if is_probe {
            *state = State::Probing;
        }
        Some(Attempt { breaker: self, is_probe })
    }

    /// Returns whether nothing is to be had of it for now.
    pub(super) fn is_open(&self, now: Time) -> bool {
        match *self.state() {
            State::Closed { .. } => false,
            State::Open { until } => now < until,
            State::Probing => true,
        }
    }

    /// Held for a moment.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// There was an answer. It counts whenever it was asked for.
    pub(super) fn succeed(mut self) -> Option<Change> {
        self.is_probe = false;
        let before = std::mem::replace(&mut *self.breaker.state(), State::Closed { failures: 0 });
        (!matches!(before, State::Closed { .. })).then_some(Change::Closed)
    }

    /// There was none.
    pub(super) fn fail(mut self, now: Time) -> Option<Change> {
        let was_probe = std::mem::replace(&mut self.is_probe, false);
        let breaker = self.breaker;
        let open = State::Open { until: now.plus_millis(breaker.pause.as_millis() as u64) };
        let mut state = breaker.state();
        match *state {
            State::Closed { failures } => {
                let failures = failures.saturating_add(1);
                if failures == breaker.failures_max {
                    *state = open;
                    return Some(Change::Opened);
                }
                *state = State::Closed { failures };
            }
            State::Probing if was_probe => *state = open,
            // It was asked before the service was known to be down: that is no news.
            State::Open { .. } | State::Probing => {}
        }
        None
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut state = self.breaker.state();
        if self.is_probe && *state == State::Probing {
            // Whoever comes next is the probe.
            *state = State::Open { until: Time::from_millis(0) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_open_it_and_one_answer_closes_it() {
        let breaker = breaker();
        for _ in 0..3 {
            assert_eq!(at(&breaker, 0).fail(time(0)), None);
            assert_eq!(at(&breaker, 0).fail(time(0)), None);
            assert_eq!(at(&breaker, 0).succeed(), None, "these were not in a row");
        }
        open(&breaker, 0);
        assert!(breaker.is_open(time(99)) && breaker.attempt(time(99)).is_none());
        assert!(!breaker.is_open(time(100)));
        assert_eq!(at(&breaker, 100).succeed(), Some(Change::Closed));
        at(&breaker, 100).succeed();
    }

    #[test]
    fn one_probe_at_a_time_finds_out() {
        let breaker = breaker();
        open(&breaker, 0);
        let probe = at(&breaker, 150);
        assert!(breaker.attempt(time(10_000)).is_none() && breaker.is_open(time(10_000)));
        assert_eq!(probe.fail(time(200)), None, "that it is down is no news");
        assert!(breaker.attempt(time(299)).is_none());
        drop(at(&breaker, 300));
        at(&breaker, 300).succeed();
    }

    /// Those that were asked before it opened come to their end later.
    #[test]
    fn stragglers_neither_prolong_nor_probe() {
        let breaker = breaker();
        let late: Vec<_> = (0..3).map(|_| at(&breaker, 0)).collect();
        open(&breaker, 0);
        let mut late = late.into_iter();
        assert_eq!(late.next().unwrap().fail(time(90)), None);
        let probe = at(&breaker, 100);
        assert_eq!(late.next().unwrap().fail(time(100)), None);
        assert!(breaker.attempt(time(250)).is_none(), "the probe is still out");
        assert_eq!(late.next().unwrap().succeed(), Some(Change::Closed), "it answers after all");
        assert_eq!(probe.fail(time(260)), None);
        assert!(!breaker.is_open(time(260)));
    }

    #[test]
    fn none_is_never_open() {
        let breaker = Breaker::new(0, Duration::from_millis(100));
        for _ in 0..1_000 {
            assert_eq!(at(&breaker, 0).fail(time(0)), None);
        }
    }

    fn breaker() -> Breaker {
        Breaker::new(3, Duration::from_millis(100))
    }

    #[track_caller]
    fn open(breaker: &Breaker, millis: u64) {
        assert_eq!(at(breaker, millis).fail(time(millis)), None);
        assert_eq!(at(breaker, millis).fail(time(millis)), None);
        assert_eq!(at(breaker, millis).fail(time(millis)), Some(Change::Opened));
    }

    #[track_caller]
    fn at(breaker: &Breaker, millis: u64) -> Attempt<'_> {
        breaker.attempt(time(millis)).expect("it may be asked")
    }

    fn time(millis: u64) -> Time {
        Time::from_millis(millis)
    }
}
