//! Timers: a coarse wheel whose entries are re-armed lazily.
//!
//! An entry only says "look at this then". Whoever is looked at knows its own deadline, and arms a
//! new entry when that lies ahead: a connection that sends packets all the time moves its deadline
//! without touching the wheel.

use std::collections::BinaryHeap;

use quelea_session::Time;

use crate::arena::Key;

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// A link: time to CONNECT, keep alive, lingering close.
    Link,
    /// A session without a connection: expiry, delayed will.
    Session,
}

/// Entries by due time: near ones in slots of [`TICK_MILLIS`], far ones in a heap.
#[derive(Debug)]
pub(crate) struct Wheel {
    slots: Vec<Vec<Entry>>,
    /// The tick whose slot is looked at next.
    next_tick: u64,
    /// No slot before this tick holds anything.
    first_filled: u64,
    /// How many entries the slots hold.
    near_count: usize,
    far: BinaryHeap<Far>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    subject: Subject,
    key: Key,
}

/// An entry beyond the wheel's horizon. Ordered so that the heap's greatest is the earliest.
#[derive(Debug)]
struct Far {
    tick: u64,
    entry: Entry,
}

impl Wheel {
    pub(crate) fn new(now: Time) -> Self {
        Self {
            slots: (0..SLOT_COUNT).map(|_| Vec::new()).collect(),
            next_tick: now.as_millis() / TICK_MILLIS,
            first_filled: 0,
            near_count: 0,
            far: BinaryHeap::new(),
        }
    }

    /// Asks for a look at `key` at `due`, at most a tick late.
    pub(crate) fn arm(&mut self, subject: Subject, key: Key, due: Time) {
        let tick = (due.as_millis() / TICK_MILLIS + 1).max(self.next_tick);
        self.put(tick, Entry { subject, key });
    }

    fn put(&mut self, tick: u64, entry: Entry) {
        if tick < self.next_tick + SLOT_COUNT {
            self.slots[(tick % SLOT_COUNT) as usize].push(entry);
            self.near_count += 1;
            self.first_filled = self.first_filled.min(tick);
        } else {
            self.far.push(Far { tick, entry });
        }
    }

    /// Moves what is due by `now` into `due`.
    pub(crate) fn expire(&mut self, now: Time, due: &mut Vec<(Subject, Key)>) {
        let last = now.as_millis() / TICK_MILLIS;
        while self.next_tick <= last {
            if self.near_count == 0 && self.far.is_empty() {
                self.next_tick = last + 1;
                return;
            }
            let slot = &mut self.slots[(self.next_tick % SLOT_COUNT) as usize];
            self.near_count -= slot.len();
            due.extend(slot.drain(..).map(|entry| (entry.subject, entry.key)));
            // A storm of connections must not leave its timers' memory behind.
            if slot.capacity() > 64 {
                *slot = Vec::new();
            }
            self.next_tick += 1;
            self.bring_near();
        }
    }

    fn bring_near(&mut self) {
        let horizon = self.next_tick + SLOT_COUNT;
        while let Some(far) = self.far.peek() {
            if far.tick >= horizon {
                return;
            }
            if let Some(Far { tick, entry }) = self.far.pop() {
                self.put(tick.max(self.next_tick), entry);
            }
        }
    }

    /// Returns when something may be due.
    pub(crate) fn next_deadline(&mut self) -> Option<Time> {
        let at = |tick: u64| Time::from_millis(tick * TICK_MILLIS);
        if self.near_count > 0 {
            let mut tick = self.first_filled.max(self.next_tick);
            while self.slots[(tick % SLOT_COUNT) as usize].is_empty() {
                tick += 1;
            }
            self.first_filled = tick;
            return Some(at(tick));
        }
        // Nothing near: wake when the first far entry comes within the horizon.
        self.far.peek().map(|far| at(far.tick.saturating_sub(SLOT_COUNT - 1).max(self.next_tick)))
    }
}

impl PartialEq for Far {
    fn eq(&self, other: &Self) -> bool {
        self.tick == other.tick
    }
}

impl Eq for Far {}

impl PartialOrd for Far {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Far {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.tick.cmp(&self.tick)
    }
}

/// How late a timer may be.
const TICK_MILLIS: u64 = 64;

/// The wheel reaches 65 seconds ahead.
const SLOT_COUNT: u64 = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_when_due_and_not_before() {
        let mut wheel = Wheel::new(Time::from_millis(1_000_000));
        let delays = [0, 1, 63, 64, 5_000, 65_000, 66_000, 1_000_000, 90_000_000];
        for (index, delay) in delays.iter().enumerate() {
            let key = Key { index: index as u32, generation: 0 };
            wheel.arm(Subject::Session, key, Time::from_millis(1_000_000 + delay));
        }
        let mut seen = Vec::new();
        while let Some(deadline) = wheel.next_deadline() {
            let mut due = Vec::new();
            wheel.expire(deadline, &mut due);
            for (_, key) in due {
                let wanted = 1_000_000 + delays[key.index as usize];
                assert!(deadline.as_millis() >= wanted, "{} came early", key.index);
                assert!(
                    deadline.as_millis() <= wanted + 2 * TICK_MILLIS,
                    "{} came late",
                    key.index
                );
                seen.push(key.index as usize);
            }
        }
        assert_eq!(seen, (0..delays.len()).collect::<Vec<_>>());
    }
}
