//! Whether the broker has more to do than it can, and how many connections have to go for that.

use crate::config;

/// What was measured since the last look.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Measures {
    pub(crate) memory_bytes: u64,
    /// The longest turn of any shard.
    pub(crate) turn_micros: u64,
    /// How long the store has owed something.
    pub(crate) store_millis: u64,
}

/// What is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Memory,
    Store,
    Turn,
}

/// What has changed with a look, and what to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) began: Vec<Cause>,
    pub(crate) ended: Vec<Cause>,
    /// Connections that have to go.
    pub(crate) shed: u64,
}

/// What was too much at the last look.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    excesses: Vec<Cause>,
    /// Connections that may still be ended for this excess of memory.
    may_shed: u64,
}

impl Watch {
    /// Looks at what was measured, with so many connections there.
    pub(crate) fn look(
        &mut self,
        measures: Measures,
        limits: &config::Overload,
        connections: u64,
    ) -> Outcome {
        let rows = [
            (Cause::Memory, measures.memory_bytes, limits.memory_bytes_max),
            (Cause::Store, measures.store_millis, limits.store_millis_max.map(u64::from)),
            (
                Cause::Turn,
                measures.turn_micros,
                limits.turn_millis_max.map(|it| u64::from(it) * 1_000),
            ),
        ];
        let mut outcome = Outcome::default();
        for (cause, value, max) in rows {
            let was_over = self.excesses.contains(&cause);
            let is_over = match max {
                // It ends a tenth below, so that it does not begin and end at each look.
                Some(max) if was_over => value > max - max / 10,
                Some(max) => value > max,
                None => false,
            };
            match (was_over, is_over) {
                (false, true) => {
                    self.excesses.push(cause);
                    outcome.began.push(cause);
                    if cause == Cause::Memory {
                        self.may_shed = connections / 2;
                    }
                }
                (true, false) => {
                    self.excesses.retain(|it| *it != cause);
                    outcome.ended.push(cause);
                }
                (false, false) | (true, true) => {}
            }
        }
        // Within the last tenth nobody else comes, and nobody has to go.
        let is_too_much = limits.memory_bytes_max.is_some_and(|max| measures.memory_bytes > max);
        if is_too_much {
            outcome.shed = connections.div_ceil(SHED_PART).min(self.may_shed);
            self.may_shed -= outcome.shed;
        }
        outcome
    }

    /// Returns whether something is too much.
    pub(crate) fn is_over(&self) -> bool {
        !self.excesses.is_empty()
    }
}

impl Cause {
    /// Returns what is too much, for the log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Store => "the store's delay",
            Self::Turn => "the longest turn",
        }
    }
}

/// One in so many connections is ended at each look.
const SHED_PART: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excess_begins_at_its_limit_and_ends_a_tenth_below() {
        let limits = config::Overload { turn_millis_max: Some(100), ..config::Overload::default() };
        let mut watch = Watch::default();
        let mut look = |turn_micros| {
            let outcome = watch.look(Measures { turn_micros, ..Measures::default() }, &limits, 10);
            assert_eq!(outcome.shed, 0, "nobody goes for a long turn");
            (outcome.began.len(), outcome.ended.len(), watch.is_over())
        };
        assert_eq!(look(100_000), (0, 0, false));
        assert_eq!(look(100_001), (1, 0, true));
        assert_eq!(look(90_001), (0, 0, true));
        assert_eq!(look(90_000), (0, 1, false));
    }

    #[test]
    fn no_more_than_half_go_for_one_excess() {
        let limits =
            config::Overload { memory_bytes_max: Some(1_000), ..config::Overload::default() };
        let mut watch = Watch::default();
        let (mut connections, mut first) = (1_000, 0);
        for round in 0..200 {
            let measures = Measures { memory_bytes: 1_001, ..Measures::default() };
            let shed = watch.look(measures, &limits, connections).shed;
            first = if round == 0 { shed } else { first };
            connections -= shed;
        }
        assert_eq!((first, connections), (10, 500));
        // Memory goes down, and up again: that is another excess.
        assert_eq!(watch.look(Measures::default(), &limits, connections).ended, [Cause::Memory]);
        let measures = Measures { memory_bytes: 2_000, ..Measures::default() };
        assert_eq!(watch.look(measures, &limits, connections).shed, 5);
    }

    #[test]
    fn each_cause_counts_by_itself() {
        let limits = config::Overload {
            store_millis_max: Some(50),
            turn_millis_max: Some(1),
            memory_bytes_max: None,
        };
        let mut watch = Watch::default();
        let measures = Measures { memory_bytes: u64::MAX, turn_micros: 2_000, store_millis: 51 };
        assert_eq!(watch.look(measures, &limits, 10).began, [Cause::Store, Cause::Turn]);
        let measures = Measures { turn_micros: 2_000, ..Measures::default() };
        assert_eq!(watch.look(measures, &limits, 10).ended, [Cause::Store]);
        assert!(watch.is_over());
        // Limits that are taken away end what they began.
        assert_eq!(watch.look(measures, &config::Overload::default(), 10).ended, [Cause::Turn]);
        assert!(!watch.is_over());
    }
}
