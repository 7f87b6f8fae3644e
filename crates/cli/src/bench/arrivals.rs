//! Whether the messages of one flow arrive once each, in order, all of them.
//!
//! The usual case, the next message, costs one comparison. Numbers that were passed over are kept as ranges,
//! so that a late message is told from a duplicate.

use std::ops::Range;

/// What has arrived of one flow, at one receiver or at one group.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    /// All numbers from here on have not been seen.
    next: u32,
    /// Numbers below `next` that have not been seen, ascending, at most [`GAPS_MAX`].
    gaps: Vec<Range<u32>>,
    /// Numbers of gaps that were forgotten because there were too many.
    forgotten: u64,
}

/// What a message says about those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The first with this number, and all seen so far came before it in the flow.
    Ahead,
    /// The first with this number, after a later one of the flow.
    Late,
    /// Its number was seen before. If gaps had to be forgotten, it may be a very late one.
    Duplicate,
}

impl Arrivals {
    /// Notes the message with number `sequence`.
    #[inline]
    pub(crate) fn on_message(&mut self, sequence: u32) -> Arrival {
        if sequence == self.next {
            self.next += 1;
            return Arrival::Ahead;
        }
        self.on_unexpected(sequence)
    }

    /// Returns how many of the flow's first `sent_count` messages have not arrived.
    pub(crate) fn missing_of(&self, sent_count: u32) -> u64 {
        let in_gaps: u64 = self.gaps.iter().map(|gap| gap.len() as u64).sum();
        self.forgotten + in_gaps + u64::from(sent_count.saturating_sub(self.next))
    }

    #[cold]
    fn on_unexpected(&mut self, sequence: u32) -> Arrival {
        if sequence > self.next {
            if self.gaps.len() == GAPS_MAX {
                self.forgotten += self.gaps.remove(0).len() as u64;
            }
            self.gaps.push(self.next..sequence);
            self.next = sequence + 1;
            return Arrival::Ahead;
        }
        let index = self.gaps.partition_point(|gap| gap.end <= sequence);
        let Some(gap) = self.gaps.get(index).cloned() else {
            return Arrival::Duplicate;
        };
        if !gap.contains(&sequence) {
            return Arrival::Duplicate;
        }
        let rest = [gap.start..sequence, sequence + 1..gap.end];
        self.gaps.splice(index..=index, rest.into_iter().filter(|it| !it.is_empty()));
        Arrival::Late
    }
}

/// How many gaps are remembered: a broker that loses every other message fills them quickly, and 8 bytes
/// for each of 1,000 receivers is what we are ready to pay.
const GAPS_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;
    use Arrival::{Ahead, Duplicate, Late};

    #[test]
    fn in_order_nothing_is_missing() {
        check(&[(0, Ahead), (1, Ahead), (2, Ahead)], 3, 0);
    }

    #[test]
    fn the_end_that_never_came_is_missing() {
        check(&[(0, Ahead)], 3, 2);
        check(&[], 3, 3);
    }

    #[test]
    fn a_gap_is_missing_until_it_is_filled() {
        check(&[(0, Ahead), (4, Ahead)], 5, 3);
        check(&[(0, Ahead), (4, Ahead), (2, Late)], 5, 2);
        check(&[(0, Ahead), (4, Ahead), (2, Late), (1, Late), (3, Late)], 5, 0);
    }

    #[test]
    fn a_second_copy_is_a_duplicate() {
        check(&[(0, Ahead), (0, Duplicate)], 1, 0);
        check(&[(2, Ahead), (1, Late), (1, Duplicate), (2, Duplicate)], 3, 1);
    }

    #[test]
    fn forgotten_gaps_stay_missing() {
        let mut arrivals = Arrivals::default();
        let count = GAPS_MAX as u32 + 10;
        for sequence in 0..count {
            assert_eq!(arrivals.on_message(2 * sequence + 1), Ahead);
        }
        assert_eq!(arrivals.missing_of(2 * count), u64::from(count));
    }

    #[track_caller]
    fn check(messages: &[(u32, Arrival)], sent_count: u32, missing: u64) {
        let mut arrivals = Arrivals::default();
        for &(sequence, expected) in messages {
            assert_eq!(arrivals.on_message(sequence), expected, "message {sequence}");
        }
        assert_eq!(arrivals.missing_of(sent_count), missing);
    }
}
