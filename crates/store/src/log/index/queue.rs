//! The queue of a session: where each message lies that its client has not finished.

use std::collections::VecDeque;

use super::location::Location;
use crate::log::record::AttributeKind;

/// The entries of a queue, by rising position.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    entries: VecDeque<Entry>,
    /// How many of the entries are gone: they are taken out from the front, or when they are half of all.
    gone_count: u32,
}

/// One entry of a queue. There are millions of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The lowest bits of its position.
    position: u32,
    /// The message's size, [`u32::MAX`] if it is larger.
    pub(crate) size: u32,
    /// The location, and above it the flags.
    bits: u64,
}

/// What is known of an entry beside its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traits {
    /// The logarithm of the number of queues that the record is for.
    pub(crate) spread: u8,
    /// Which of the record's attributes apply.
    pub(crate) attribute: u32,
    pub(crate) kind: AttributeKind,
}

impl Entry {
    #[inline]
    pub(crate) fn new(position: u64, size: u32, location: Location, traits: Traits) -> Self {
        let Traits { spread, attribute, kind } = traits;
        let attribute = attribute.min(ATTRIBUTE_UNKNOWN);
        let bits = location.to_bits()
            | if kind.is_shared { SHARED } else { 0 }
            | if kind.is_owed { OWED } else { 0 }
            | u64::from(spread.min(15)) << SPREAD_SHIFT
            | u64::from(attribute) << ATTRIBUTE_SHIFT;
        Self { position: position as u32, size, bits }
    }

    /// Returns an entry of no queue: something of about `size` bytes at `location`.
    pub(crate) fn at(location: Location, size: u32) -> Self {
        Self { position: 0, size, bits: location.to_bits() }
    }

    /// Returns an entry as [`Self::bits`] has given it.
    pub(crate) fn from_bits(position: u64, size: u32, bits: u64) -> Self {
        Self { position: position as u32, size, bits: bits & !GONE }
    }

    pub(crate) fn bits(self) -> u64 {
        self.bits
    }

    /// Returns an entry that was received by its client: `location` is that of the record that says so.
    pub(crate) fn received(position: u64, location: Location) -> Self {
        Self { position: position as u32, size: 0, bits: location.to_bits() | RELEASED }
    }

    #[inline]
    pub(crate) fn location(self) -> Location {
        Location::from_bits(self.bits)
    }

    /// Returns the entry's position, of a queue whose next one is `next`.
    #[inline]
    pub(crate) fn position(self, next: u64) -> u64 {
        next.wrapping_sub(u64::from((next as u32).wrapping_sub(self.position)))
    }

    /// Returns which of the record's attributes apply; nothing if the record has to say.
    pub(crate) fn attribute(self) -> Option<u32> {
        let attribute = (self.bits >> ATTRIBUTE_SHIFT) as u32;
        (attribute != ATTRIBUTE_UNKNOWN).then_some(attribute)
    }

    /// Returns what the entry counts for among those that were never sent; nothing if its client has received it.
    #[inline]
    pub(crate) fn counted_bytes(self) -> Option<u64> {
        match self.bits & (RELEASED | OWED) {
            0 => Some(self.size.into()),
            // A retained message is kept by its topic.
            OWED => Some(0),
            _ => None,
        }
    }

    /// Returns whether a shared group chose the session, and it has not received the message.
    #[inline]
    pub(crate) fn is_shared(self) -> bool {
        self.bits & SHARED != 0
    }

    /// Returns whether the client has received the message, so that only the exchange is left.
    #[inline]
    pub(crate) fn is_released(self) -> bool {
        self.bits & RELEASED != 0
    }

    #[inline]
    fn is_gone(self) -> bool {
        self.bits & GONE != 0
    }

    /// Returns the entry's share of the bytes of its record, about.
    #[inline]
    pub(crate) fn weight(self) -> u64 {
        let spread = (self.bits >> SPREAD_SHIFT) & 0xF;
        let own = if spread < 4 { 16 } else { 5 };
        u64::from(self.size >> spread) + own
    }
}

impl Queue {
    /// Appends an entry, whose position is above all others.
    #[inline]
    pub(crate) fn push(&mut self, entry: Entry) {
        if self.entries.len() == self.entries.capacity() && self.entries.len() >= EXACT_MIN {
            // A quarter more instead of twice as many: most memory of the store is here.
            self.entries.reserve_exact(self.entries.len() / 4);
        }
        self.entries.push_back(entry);
    }

    /// Takes out the entry at `position`, of a queue whose next one is `next`.
    #[inline]
    pub(crate) fn finish(&mut self, position: u64, next: u64) -> Option<Entry> {
        let index = self.find(position, next)?;
        let entry = self.entries[index];
        if index == 0 {
            self.entries.pop_front();
            self.drop_gone();
        } else {
            self.entries[index].bits |= GONE;
            self.gone_count += 1;
            if self.gone_count as usize * 2 > self.entries.len() {
                self.entries.retain(|it| !it.is_gone());
                self.gone_count = 0;
            }
        }
        Some(entry)
    }

    /// Puts an entry in the place of one with the same position. Returns that one; nothing is changed if there is
    /// none.
    pub(crate) fn replace(&mut self, position: u64, next: u64, entry: Entry) -> Option<Entry> {
        let index = self.find(position, next)?;
        Some(std::mem::replace(&mut self.entries[index], entry))
    }

    /// Takes out what `is_kept` does not choose.
    pub(crate) fn retain(&mut self, mut is_kept: impl FnMut(Entry) -> bool) {
        self.entries.retain(|it| !it.is_gone() && is_kept(*it));
        self.gone_count = 0;
        self.shrink();
    }

    /// Puts `late` entries, by rising position, where they belong.
    pub(crate) fn merge(&mut self, late: Vec<Entry>, next: u64) {
        let mut merged = VecDeque::with_capacity(self.entries.len() + late.len());
        let mut late = late.into_iter().peekable();
        for entry in self.iter() {
            while let Some(it) = late.next_if(|it| it.position(next) < entry.position(next)) {
                merged.push_back(it);
            }
            merged.push_back(entry);
        }
        merged.extend(late);
        *self = Self { entries: merged, gone_count: 0 };
    }

    /// Returns the entry at `position`, of a queue whose next one is `next`.
    pub(crate) fn entry(&self, position: u64, next: u64) -> Option<Entry> {
        self.find(position, next).map(|it| self.entries[it])
    }

    /// Returns the entries from `position` on, of a queue whose next one is `next`.
    pub(crate) fn from(&self, position: u64, next: u64) -> impl Iterator<Item = Entry> {
        let start = self.entries.partition_point(|it| it.position(next) < position);
        self.entries.range(start..).copied().filter(|it| !it.is_gone())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Entry> {
        self.entries.iter().copied().filter(|it| !it.is_gone())
    }

    /// Returns the position of the first entry, or `next`, the queue's next one, if there is none.
    #[inline]
    pub(crate) fn front_position(&self, next: u64) -> u64 {
        self.entries.front().map_or(next, |it| it.position(next))
    }

    /// Returns the size of the last message, gone or not; 0 without any.
    #[inline]
    pub(crate) fn last_size(&self) -> u32 {
        self.entries.back().map_or(0, |it| it.size)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.gone_count as usize
    }

    #[inline]
    fn find(&self, position: u64, next: u64) -> Option<usize> {
        if position >= next || next - position > u64::from(u32::MAX) {
            return None;
        }
        let front = self.entries.front()?.position(next);
        let guess = usize::try_from(position.checked_sub(front)?).ok()?;
        // A queue without holes is the rule.
        let is_there = |it: &Entry| it.position == position as u32;
        let index = if self.entries.get(guess).is_some_and(is_there) {
            guess
        } else {
            let index = self.entries.partition_point(|it| it.position(next) < position);
            self.entries.get(index).filter(|it| is_there(it)).map(|_| index)?
        };
        (!self.entries[index].is_gone()).then_some(index)
    }

    fn drop_gone(&mut self) {
        while self.gone_count > 0 && self.entries.front().is_some_and(|it| it.is_gone()) {
            self.entries.pop_front();
            self.gone_count -= 1;
        }
        self.shrink();
    }

    #[inline]
    fn shrink(&mut self) {
        if self.entries.capacity() > EXACT_MIN && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.len() * 2);
        }
    }
}

/// From so many entries on a queue grows by a quarter, and shrinks.
const EXACT_MIN: usize = 64;

const RELEASED: u64 = 1 << 52;

const SHARED: u64 = 1 << 53;

const GONE: u64 = 1 << 54;

/// Not a message of a publisher, but a retained one that a new subscription is owed.
const OWED: u64 = 1 << 55;

const SPREAD_SHIFT: u32 = 56;

const ATTRIBUTE_SHIFT: u32 = 60;

/// Attributes from this one on are not kept: the record says which.
const ATTRIBUTE_UNKNOWN: u32 = 15;

const _: () = assert!(size_of::<Entry>() == 16);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_entry_keeps_all_it_is_told() {
        let location = Location::new(77, 123_456);
        for attribute in [0, 1, 14, 15, 1000] {
            for (is_shared, is_owed) in [(false, false), (true, false), (false, true)] {
                let kind = AttributeKind { is_shared, is_owed };
                let traits = Traits { spread: 13, attribute, kind };
                let entry = Entry::new((9 << 32) + 5, 8192, location, traits);
                assert_eq!(entry.location(), location);
                assert_eq!(entry.attribute(), (attribute < 15).then_some(attribute));
                assert_eq!(entry.is_shared(), is_shared);
                assert_eq!(entry.counted_bytes(), Some(if is_owed { 0 } else { 8192 }));
                assert_eq!(entry.position((9 << 32) + 6), (9 << 32) + 5);
                assert_eq!(entry.position((10 << 32) + 4), (9 << 32) + 5);
                assert_eq!(entry.weight(), 1 + 5);
                assert!(!entry.is_released() && !entry.is_gone());
            }
        }
        assert!(Entry::received(3, location).is_released());
    }

    proptest! {
        /// Against a map from position to size, with positions that pass 2^32.
        #[test]
        fn a_queue_is_a_map(start in prop::sample::select(vec![0_u64, (1 << 32) - 50, 7 << 40]),
                            steps in prop::collection::vec((0..6u8, 0..120u64), 1..400)) {
            let mut queue = Queue::default();
            let mut model = BTreeMap::new();
            let mut next = start;
            for (what, number) in steps {
                let position = next.saturating_sub(number);
                match what {
                    0..=2 => {
                        queue.push(entry(next, number as u32));
                        model.insert(next, number as u32);
                        next += 1;
                    }
                    3 => prop_assert_eq!(
                        queue.finish(position, next).map(|it| it.size), model.remove(&position)
                    ),
                    4 => {
                        let previous = queue.replace(position, next, entry(position, 7));
                        prop_assert_eq!(previous.map(|it| it.size), model.get(&position).copied());
                        model.entry(position).and_modify(|it| *it = 7);
                    }
                    _ => {
                        let kept = |size: u32| u64::from(size) != number;
                        queue.retain(|it| kept(it.size));
                        model.retain(|_, size| kept(*size));
                    }
                }
                prop_assert_eq!(queue.len(), model.len());
                prop_assert_eq!(
                    queue.entry(position, next).map(|it| it.size), model.get(&position).copied()
                );
                let found: Vec<_> = queue.from(position, next).map(|it| it.position(next)).collect();
                let expected: Vec<_> = model.range(position..).map(|it| *it.0).collect();
                prop_assert_eq!(found, expected);
            }
        }

        #[test]
        fn late_entries_come_to_their_place(late in prop::collection::btree_set(0..100u64, 0..50)) {
            let mut queue = Queue::default();
            (0..100).filter(|it| !late.contains(it)).for_each(|it| queue.push(entry(it, 1)));
            queue.merge(late.iter().map(|it| entry(*it, 1)).collect(), 100);
            let found: Vec<_> = queue.iter().map(|it| it.position(100)).collect();
            prop_assert_eq!(found, (0..100).collect::<Vec<_>>());
        }
    }

    fn entry(position: u64, size: u32) -> Entry {
        let kind = AttributeKind { is_shared: false, is_owed: false };
        let traits = Traits { spread: 0, attribute: 0, kind };
        Entry::new(position, size, Location::new(0, 64), traits)
    }
}
