//! When keys are fetched from their server, and for how long they are good.
//!
//! | what happens | what follows |
//! |---|---|
//! | the keys have come | they are fetched again when the server says that they are old, within bounds |
//! | they have not | it is tried again after 1, 2, 4 … 60 seconds, and the keys before stay good for so long as is configured |
//! | a token names a key that is not there | they are fetched at once: three times, and once more for each 30 seconds that pass |
//!
//! So tokens with bogus keys, however many, cost the server a request in 30 seconds, and while it is dead none.

use std::time::{Duration, Instant};

/// The plan of one server's keys. One fetch is under way at a time.
#[derive(Debug)]
pub(super) struct Schedule {
    /// How long keys stay good that could not be fetched again.
    keep: Duration,
    is_under_way: bool,
    next_at: Instant,
    fetched_at: Option<Instant>,
    /// In a row.
    failures: u32,
    /// Each fetch that a token causes moves it on by [`REGAIN`]; it may be so far ahead as for [`HURRIED_MAX`] of them.
    hurried_until: Instant,
}

impl Schedule {
    /// Makes the plan of keys of which none were fetched yet: that is due now.
    pub(super) fn new(keep: Duration, now: Instant) -> Self {
        Self {
            keep,
            is_under_way: false,
            next_at: now,
            fetched_at: None,
            failures: 0,
            hurried_until: now,
        }
    }

    /// Begins a fetch if one is due. Whoever gets true tells how it ended.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let begins = !self.is_under_way && self.next_at <= now;
        self.is_under_way |= begins;
        begins
    }

    /// The keys have come, and are fresh for as long as the server says.
    pub(super) fn succeed(&mut self, fresh: Option<Duration>, now: Instant) {
        self.is_under_way = false;
        self.failures = 0;
        self.fetched_at = Some(now);
        self.next_at = now + fresh.unwrap_or(FRESH).clamp(FRESH_MIN, FRESH_MAX);
    }

    /// The keys have not come. Returns in how long it is tried again.
    pub(super) fn fail(&mut self, now: Instant) -> Duration {
        self.is_under_way = false;
        let delay = Duration::from_secs(1 << self.failures.min(6)).min(RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
        self.next_at = now + delay;
        delay
    }

    /// A token names a key that is not there, or there are none. Returns whether more may be known soon: a fetch is
    /// under way, or due from here on.
    ///
    /// A server that has just failed is not asked the sooner because strangers want it, nor waited for.
    pub(super) fn hurry(&mut self, now: Instant) -> bool {
        if self.is_failing() {
            return false;
        }
        if self.is_under_way || self.next_at <= now {
            return true;
        }
        let ahead = self.hurried_until.saturating_duration_since(now) + REGAIN;
        let hurries = ahead <= REGAIN * HURRIED_MAX;
        if hurries {
            self.hurried_until = now + ahead;
            self.next_at = now;
        }
        hurries
    }

    /// Returns whether the server did not answer rightly when it was asked last.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Returns whether the keys that were fetched last are still good.
    pub(super) fn is_good(&self, now: Instant) -> bool {
        let freshest = FRESH_MAX.max(self.keep);
        self.fetched_at.is_some_and(|it| now.saturating_duration_since(it) < freshest)
    }
}

/// How long keys are fresh whose server does not say it.
const FRESH: Duration = Duration::from_secs(300);

/// Keys are not fetched more often than that, whatever their server says.
const FRESH_MIN: Duration = Duration::from_secs(60);

/// Keys are not fetched less often than that: one that was revoked has to go.
const FRESH_MAX: Duration = Duration::from_secs(3_600);

/// The longest time between two attempts at a server that fails.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Fetches that tokens may cause in a row.
const HURRIED_MAX: u32 = 3;

/// In that time tokens may cause one more.
const REGAIN: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_fetched_when_they_are_old() {
        for (fresh, expected) in [
            (None, 300),
            (Some(0), 60),
            (Some(600), 600),
            (Some(86_400), 3_600),
            (Some(u64::MAX), 3_600),
        ] {
            let mut plan = Plan::new();
            assert!(plan.begin(0) && !plan.begin(0));
            plan.schedule.succeed(fresh.map(Duration::from_secs), plan.at(1));
            assert!(!plan.begin(expected) && plan.begin(expected + 1), "{fresh:?}");
        }
    }

    #[test]
    fn a_server_that_fails_is_asked_less_and_less_often() {
        let mut plan = Plan::new();
        let mut now = 0;
        for expected in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            assert!(plan.begin(now));
            let delay = plan.schedule.fail(plan.at(now));
            assert_eq!(delay.as_secs(), expected);
            assert!(!plan.begin(now + expected - 1));
            // Nor because of tokens.
            assert!(!plan.schedule.hurry(plan.at(now)) && !plan.begin(now));
            now += expected;
        }
        assert!(plan.begin(now));
        plan.schedule.succeed(None, plan.at(now));
        assert!(plan.schedule.hurry(plan.at(now)));
    }

    /// A flood of tokens with bogus keys, one each second for an hour, is no lever.
    #[test]
    fn tokens_cause_few_fetches() {
        let mut plan = Plan::new();
        let mut fetches = 0;
        for now in 0..3_600 {
            plan.schedule.hurry(plan.at(now));
            if plan.begin(now) {
                fetches += 1;
                plan.schedule.succeed(None, plan.at(now));
            }
        }
        // The first, three at once, and one in 30 seconds.
        assert_eq!(fetches, 1 + 3 + 119);
    }

    #[test]
    fn who_waits_is_told_whether_it_is_worth_it() {
        let mut plan = Plan::new();
        assert!(plan.schedule.hurry(plan.at(0)) && plan.begin(0));
        assert!(plan.schedule.hurry(plan.at(0)));
        plan.schedule.succeed(None, plan.at(0));
        for _ in 0..3 {
            assert!(plan.schedule.hurry(plan.at(1)) && plan.begin(1));
            plan.schedule.succeed(None, plan.at(1));
        }
        assert!(!plan.schedule.hurry(plan.at(1)) && !plan.begin(1));
        assert!(plan.schedule.hurry(plan.at(31)) && plan.begin(31));
    }

    #[test]
    fn keys_of_a_dead_server_stay_good_for_a_while() {
        let mut plan = Plan::new();
        assert!(!plan.schedule.is_good(plan.at(0)) && plan.begin(0));
        plan.schedule.succeed(None, plan.at(0));
        assert!(plan.begin(300));
        plan.schedule.fail(plan.at(300));
        assert!(plan.schedule.is_good(plan.at(86_399)) && !plan.schedule.is_good(plan.at(86_400)));
        // Between two fetches they are good in any case.
        plan.schedule.keep = Duration::ZERO;
        assert!(plan.schedule.is_good(plan.at(3_599)) && !plan.schedule.is_good(plan.at(3_600)));
    }

    /// A plan that keeps keys for a day, and the time at which it began.
    struct Plan {
        schedule: Schedule,
        start: Instant,
    }

    impl Plan {
        fn new() -> Self {
            let start = Instant::now();
            Self { schedule: Schedule::new(Duration::from_secs(86_400), start), start }
        }

        fn at(&self, secs: u64) -> Instant {
            self.start + Duration::from_secs(secs)
        }

        fn begin(&mut self, secs: u64) -> bool {
            let now = self.at(secs);
            self.schedule.begin(now)
        }
    }
}
