//! The numbers of sessions.

use std::collections::VecDeque;

use super::index::Index;
use crate::SessionNumber;

/// Draws the numbers of sessions: none twice, for as long as the log exists.
///
/// A number is a slot and a generation. A slot is used again with the next generation; when a log is opened, slots
/// go on with one that is above all that were ever given.
#[derive(Debug)]
pub(crate) struct Numbers {
    /// The last numbers of slots that are free, the longest free first.
    free: VecDeque<SessionNumber>,
    /// All slots from this one on are free.
    next_slot: u32,
    /// The generation of a slot's first use since the log was opened.
    first_generation: u32,
}

impl Numbers {
    /// Begins after the sessions of a log.
    pub(crate) fn after<F>(index: &Index<F>) -> Self {
        let generation = index.mark.generation;
        let mut numbers = Self {
            free: VecDeque::new(),
            next_slot: 0,
            first_generation: generation.saturating_add(1),
        };
        // They come by rising slot.
        for (session, _) in index.sessions.iter() {
            let between = numbers.next_slot..session.slot();
            numbers.free.extend(between.map(|slot| SessionNumber::new(slot, generation)));
            numbers.next_slot = session.slot() + 1;
        }
        numbers
    }

    /// Returns a number that was never given.
    pub(crate) fn draw(&mut self) -> SessionNumber {
        // Many slots take turns, so that none uses up its generations.
        if self.free.len() > FREE_MIN
            && let Some(last) = self.free.pop_front()
        {
            return SessionNumber::new(last.slot(), last.generation() + 1);
        }
        let slot = self.next_slot;
        self.next_slot = slot.checked_add(1).expect("memory ends before 2^32 sessions");
        SessionNumber::new(slot, self.first_generation)
    }

    /// Nothing is left of a session.
    pub(crate) fn give_back(&mut self, session: SessionNumber) {
        // A slot whose generations are used up is given up.
        if session.generation() < u32::MAX {
            self.free.push_back(session);
        }
    }
}

/// So many slots are free before one is used again.
const FREE_MIN: usize = 256;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_number_comes_twice() {
        let mut numbers = Numbers::after(&Index::<()>::new(1));
        let mut seen = BTreeSet::new();
        for _ in 0..3 * FREE_MIN {
            let number = numbers.draw();
            assert!(seen.insert(number), "{number:?} came twice");
            numbers.give_back(number);
        }
        assert!(seen.iter().any(|it| it.generation() > 1), "slots are used again");
        assert!(seen.iter().all(|it| it.slot() <= FREE_MIN as u32), "slots are used again");
    }
}
