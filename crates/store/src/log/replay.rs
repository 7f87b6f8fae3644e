//! Records read back: the index as it was when they were written.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use quelea_session::Position;

use super::index::{Entry, Index, Location, State, Subscribed, Traits, Weighed};
use super::record::{AttributeKind, PublishRecord, Record};
use crate::SessionNumber;

/// An index that is made from records.
pub(crate) struct Replay<F> {
    pub(crate) index: Index<F>,
    /// Entries that the cleaner has copied behind later ones of the same queue.
    late: HashMap<SessionNumber, Runs, FixedState>,
    /// Segments before this one are said to be needed no longer.
    pub(crate) oldest_needed: u64,
    kinds: Vec<AttributeKind>,
}

/// Entries of one queue, in runs of rising position.
#[derive(Debug, Default)]
struct Runs(Vec<Vec<Entry>>);

impl<F> Replay<F> {
    /// Begins with the records of segment `oldest`.
    pub(crate) fn new(oldest: u64) -> Self {
        Self {
            index: Index::new(oldest),
            late: HashMap::with_hasher(FixedState::with_seed(0)),
            oldest_needed: 0,
            kinds: Vec::new(),
        }
    }

    /// Takes the next record. Returns false if it makes no sense.
    pub(crate) fn take(&mut self, record: &Record<'_>, location: Location) -> bool {
        let index = &mut self.index;
        match *record {
            Record::Publish(ref record) => return self.publish(record, location),
            Record::Finish { session, positions } => {
                positions.for_each(|position| self.finish(session, position));
            }
            Record::Received { session, position } => {
                return self.put(session, Entry::received(position.value(), location), position);
            }
            Record::Inbound { session, packet_id } => {
                index.claim(session);
                index.open_inbound(session, packet_id, location);
            }
            Record::Release { session, packet_id } => index.close_inbound(session, packet_id),
            Record::Session(ref it) => {
                return index.set_session(it, location) || self.is_past(it.change.session);
            }
            Record::Change(ref change) => {
                index.claim(change.session);
                index.change_session(change, location);
            }
            Record::End { session, sent_before } => {
                index.end_session(session, sent_before, location);
                self.end_late(session);
            }
            Record::Subscribe(it) => {
                let (options, subscription_id) = (it.options, it.subscription_id);
                let cursor = it.cursor.map(|it| Box::new(it.to_place()));
                let moved_on = None;
                let subscribed =
                    Subscribed { options, subscription_id, cursor, location, moved_on };
                index.claim(it.session);
                index.subscribe(it.session, it.filter, subscribed);
            }
            Record::Cursor { session, filter, cursor } => {
                // Of one that a copy tells of later, that copy says this, too.
                if index.is_subscribed(session, filter) {
                    let cursor = cursor.map(|it| it.to_place());
                    index.move_cursor(session, filter, cursor, location);
                }
            }
            Record::Unsubscribe { session, filter } => index.unsubscribe(session, filter),
            Record::Will { session, ref will } => {
                index.claim(session);
                let weight = |it: &super::record::WillRecord<'_>| it.size_bytes() as u64;
                let will = will.as_ref().map(|it| Weighed { location, weight: weight(it) });
                index.set_will(session, will);
            }
            Record::Unretain { topic, order } => index.unretain(topic, order),
            Record::Retired { oldest } => self.oldest_needed = self.oldest_needed.max(oldest),
            Record::Mark(mark) => index.set_mark(mark, location),
            Record::Closed => {}
        }
        true
    }

    /// Puts everything in its place that had to wait. Returns the sessions that something tells of and nothing
    /// describes, with the length of their queues.
    pub(crate) fn finish_all(&mut self) -> Vec<(SessionNumber, usize)> {
        for (session, runs) in std::mem::take(&mut self.late) {
            if let Some(slot) = self.index.sessions.slot_mut(session) {
                slot.queue.merge(runs.sorted(slot.next), slot.next);
            }
        }
        let mut over = Vec::new();
        let mut undescribed = Vec::new();
        for (session, slot) in self.index.sessions.iter_mut() {
            // The mark runs ahead of what is sent. What comes from here on must not pass for something that may have
            // been sent, nor have its packet identifier.
            slot.next = slot.next.max(slot.sent_before);
            slot.count_queued();
            match slot.state {
                // Of one that had ended there may be copies behind the record that said so.
                State::Ghost | State::Implied if slot.is_empty() => over.push(session),
                State::Implied => undescribed.push((session, slot.queue.len())),
                State::Vacant | State::Connected | State::Lost | State::Ghost => {}
            }
        }
        for session in over {
            if let Some(slot) = self.index.sessions.slot_mut(session) {
                slot.state = State::Ghost;
            }
            self.index.vacate_if_over(session);
        }
        self.index.freed.clear();
        // Nothing that is older is on its way any more.
        self.index.retained.forget_removals(0);
        undescribed
    }

    fn publish(&mut self, record: &PublishRecord<'_>, location: Location) -> bool {
        let message = &record.message;
        self.kinds.clear();
        self.kinds.extend(message.attribute_kinds());
        let size = u32::try_from(message.size_bytes()).unwrap_or(u32::MAX);
        let targets = record.targets();
        let spread = targets.len().max(1).ilog2() as u8;
        for target in targets {
            let Some(kind) = self.kinds.get(target.attributes as usize).copied() else {
                return false;
            };
            let traits = Traits { spread, attribute: target.attributes, kind };
            let entry = Entry::new(target.position.value(), size, location, traits);
            if !self.put(target.session, entry, target.position) {
                return false;
            }
        }
        if let Some(order) = message.retain {
            if message.payload.is_empty() {
                self.index.unretain(message.topic, order);
            } else {
                let weight = message.size_bytes() as u64;
                self.index.retain(message.topic, order, Weighed { location, weight });
            }
        }
        if let Some((session, packet_id)) = message.received {
            self.index.claim(session);
            self.index.open_inbound(session, packet_id, location);
        }
        true
    }

    /// Puts an entry in its place: of one that there is, at the end of the queue, or among those that are late.
    fn put(&mut self, session: SessionNumber, entry: Entry, position: Position) -> bool {
        let at = position.value();
        let Some(slot) = self.index.claim(session) else { return self.is_past(session) };
        // Entries are told apart by 32 bits of their positions.
        let front = slot.queue.front_position(slot.next).min(at);
        if at == u64::MAX || at.max(slot.next) - front > u64::from(u32::MAX) {
            return false;
        }
        if at >= slot.next {
            slot.next = at;
            self.index.push(session, entry);
            return true;
        }
        if self.index.replace(session, position, entry) {
            return true;
        }
        let next = self.index.sessions.slot(session).map_or(0, |it| it.next);
        let runs = self.late.entry(session).or_default();
        if let Some(old) = runs.put(at, next, entry) {
            self.index.segments.remove(old.location(), old.weight());
        }
        self.index.segments.add(entry.location(), entry.weight());
        true
    }

    /// Returns whether a session's slot has another one since: a snapshot may have seen that before the record.
    fn is_past(&self, session: SessionNumber) -> bool {
        let held_by = self.index.sessions.at(session.slot());
        held_by.is_some_and(|it| it.0.generation() > session.generation())
    }

    fn finish(&mut self, session: SessionNumber, position: Position) {
        let slot = self.index.sessions.slot(session);
        let next = slot.map_or(0, |it| it.next);
        if let Some(runs) = self.late.get_mut(&session)
            && let Some(old) = runs.remove(position.value(), next)
        {
            self.index.segments.remove(old.location(), old.weight());
            return;
        }
        let Some(slot) = self.index.sessions.slot_mut(session) else { return };
        // One that is over is given up at the end, or when its slot is needed.
        if let Some(old) = slot.finish(position.value()) {
            self.index.segments.remove(old.location(), old.weight());
        }
    }

    /// A session has ended: of what is late, too, only that of shared groups stays.
    fn end_late(&mut self, session: SessionNumber) {
        let Some(runs) = self.late.get_mut(&session) else { return };
        for run in &mut runs.0 {
            run.retain(|entry| {
                if !entry.is_shared() {
                    self.index.segments.remove(entry.location(), entry.weight());
                }
                entry.is_shared()
            });
        }
        runs.0.retain(|run| !run.is_empty());
    }
}

impl Runs {
    /// Puts an entry in the place of another, which is returned, or adds it.
    fn put(&mut self, position: u64, next: u64, entry: Entry) -> Option<Entry> {
        if let Some(known) = self.find(position, next) {
            return Some(std::mem::replace(known, entry));
        }
        if self.0.len() >= RUNS_MAX {
            let all = std::mem::take(self).sorted(next);
            self.0.push(all);
        }
        let is_next = |it: &Entry| it.position(next) < position;
        match self.0.last_mut() {
            Some(run) if run.last().is_none_or(is_next) => run.push(entry),
            Some(_) | None => self.0.push(vec![entry]),
        }
        None
    }

    fn remove(&mut self, position: u64, next: u64) -> Option<Entry> {
        let found = self.0.iter().enumerate().find_map(|(index, run)| {
            let at = run.binary_search_by_key(&position, |it| it.position(next)).ok()?;
            Some((index, at))
        });
        let (index, at) = found?;
        Some(self.0[index].remove(at))
    }

    fn find(&mut self, position: u64, next: u64) -> Option<&mut Entry> {
        self.0.iter_mut().find_map(|run| {
            let at = run.binary_search_by_key(&position, |it| it.position(next)).ok()?;
            run.get_mut(at)
        })
    }

    fn sorted(self, next: u64) -> Vec<Entry> {
        let mut all: Vec<_> = self.0.into_iter().flatten().collect();
        all.sort_unstable_by_key(|it| it.position(next));
        all
    }
}

/// Runs of one queue that are searched one after the other.
const RUNS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::log::index::Traits;

    proptest! {
        /// Against a map from position to size, with positions in any order.
        #[test]
        fn runs_are_a_map(steps in prop::collection::vec((any::<bool>(), 0..60_u64), 0..200),
                          next in prop::sample::select(vec![60_u64, (1 << 32) + 20])) {
            let mut runs = Runs::default();
            let mut model = BTreeMap::new();
            for (size, (is_put, before)) in (1..).zip(steps) {
                let position = next - 60 + before;
                if is_put {
                    let old = runs.put(position, next, entry(position, size));
                    prop_assert_eq!(old.map(|it| it.size), model.insert(position, size));
                } else {
                    let old = runs.remove(position, next);
                    prop_assert_eq!(old.map(|it| it.size), model.remove(&position));
                }
                prop_assert!(runs.0.len() <= RUNS_MAX);
            }
            let sorted = runs.sorted(next).into_iter().map(|it| (it.position(next), it.size));
            prop_assert_eq!(sorted.collect::<Vec<_>>(), model.into_iter().collect::<Vec<_>>());
        }
    }

    fn entry(position: u64, size: u32) -> Entry {
        let kind = AttributeKind { is_shared: false, is_owed: false };
        let traits = Traits { spread: 0, attribute: 0, kind };
        Entry::new(position, size, Location::new(0, 64), traits)
    }
}
