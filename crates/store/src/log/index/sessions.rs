//! The sessions, by slot.

use std::hint::black_box;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use quelea_codec::PacketId;
use quelea_session::Position;

use super::LIGHT;
use super::location::Location;
use super::queue::{Entry, Queue};
use crate::log::record::ChangeRecord;
use crate::{CursorPlace, Presence, SessionIdentity, SessionNumber, ShardIndex};

/// The sessions, by slot.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// A page is made with the first session in it: a number that makes no sense costs a page, not a table.
    pages: Vec<Option<Box<Page>>>,
}

type Page = [Slot; PAGE_SLOTS];

/// One session, as far as messages are concerned; the rest is in the [`Details`].
#[derive(Debug)]
pub(crate) struct Slot {
    generation: u32,
    pub(crate) state: State,
    /// The shard that is told of what is placed.
    pub(crate) home: ShardIndex,
    /// Of the entries from `sent_before` on, which were never sent.
    pub(crate) queued_messages: u32,
    pub(crate) queued_bytes: u64,
    pub(crate) queue: Queue,
    /// The position of the next message.
    pub(crate) next: u64,
    /// Entries before this position may have been sent.
    pub(crate) sent_before: u64,
    /// No message that was never sent is before this position: there are holes where older ones were dropped.
    queued_from: u64,
    details: Option<Box<Details>>,
}

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No session.
    Vacant,
    /// A session that records told of before the one that says what it is: that one has been moved.
    Implied,
    /// A session with its client.
    Connected,
    /// A session whose client is away.
    Lost,
    /// What is left of a session that has ended, for shared groups.
    Ghost,
}

/// What a session is beside its queue.
#[derive(Debug)]
pub(crate) struct Details {
    pub(crate) client_id: Box<str>,
    pub(crate) owner: Box<str>,
    pub(crate) expiry_secs: u32,
    pub(crate) presence: Presence,
    /// The record with all of that; of a ghost the one that says that it is one.
    pub(crate) header: Option<Location>,
    /// A later record that changes some of it.
    pub(crate) change: Option<Location>,
    pub(crate) subscriptions: HashMap<Box<str>, Subscribed, FixedState>,
    /// Inbound exchanges that are not complete.
    pub(crate) inbound: HashMap<PacketId, Location, FixedState>,
    pub(crate) will: Option<Weighed>,
}

/// A subscription.
#[derive(Debug)]
pub(crate) struct Subscribed {
    pub(crate) options: u8,
    pub(crate) subscription_id: u32,
    pub(crate) cursor: Option<Box<CursorPlace>>,
    /// The record with all of that.
    pub(crate) location: Location,
    /// A later record that changes the cursor.
    pub(crate) moved_on: Option<Location>,
}

/// A record with a message, and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Weighed {
    pub(crate) location: Location,
    pub(crate) weight: u64,
}

impl Sessions {
    /// Returns the session, or what is left of it.
    #[inline]
    pub(crate) fn slot_mut(&mut self, session: SessionNumber) -> Option<&mut Slot> {
        let page = self.pages.get_mut(session.slot() as usize / PAGE_SLOTS)?.as_mut()?;
        let slot = &mut page[session.slot() as usize % PAGE_SLOTS];
        (slot.generation == session.generation() && slot.state != State::Vacant).then_some(slot)
    }

    #[inline]
    pub(crate) fn slot(&self, session: SessionNumber) -> Option<&Slot> {
        let page = self.pages.get(session.slot() as usize / PAGE_SLOTS)?.as_ref()?;
        let slot = &page[session.slot() as usize % PAGE_SLOTS];
        (slot.generation == session.generation() && slot.state != State::Vacant).then_some(slot)
    }

    /// Reads what will be touched when messages are put at the end of these queues, all at once: the memory of
    /// many is on its way together, and not one after the other.
    #[inline]
    pub(crate) fn fetch_ends(&self, sessions: impl Iterator<Item = SessionNumber>) {
        let ends = sessions.filter_map(|it| self.slot(it)).map(|slot| slot.queue.last_size());
        black_box(ends.fold(0, |all, it| all ^ it));
    }

    /// Returns the session if it has not ended.
    #[inline]
    pub(crate) fn live_mut(&mut self, session: SessionNumber) -> Option<&mut Slot> {
        self.slot_mut(session).filter(|it| it.state != State::Ghost)
    }

    /// Returns the session's slot, whatever is there; nothing if its number is beyond all bounds.
    pub(crate) fn place_for(&mut self, session: SessionNumber) -> Option<&mut Slot> {
        if session.slot() >= SLOTS_MAX {
            return None;
        }
        let index = session.slot() as usize;
        if self.pages.len() <= index / PAGE_SLOTS {
            self.pages.resize_with(index / PAGE_SLOTS + 1, || None);
        }
        let page = &mut self.pages[index / PAGE_SLOTS];
        let page = page.get_or_insert_with(|| Box::new(std::array::from_fn(|_| Slot::vacant(0))));
        Some(&mut page[index % PAGE_SLOTS])
    }

    /// Returns the number of slots that there may be sessions in.
    pub(crate) fn slot_count(&self) -> u32 {
        (self.pages.len() * PAGE_SLOTS) as u32
    }

    /// Returns the session in a slot, or what is left of it.
    pub(crate) fn at(&self, slot: u32) -> Option<(SessionNumber, &Slot)> {
        let page = self.pages.get(slot as usize / PAGE_SLOTS)?.as_ref()?;
        let it = &page[slot as usize % PAGE_SLOTS];
        (it.state != State::Vacant).then(|| (it.number(slot), it))
    }

    /// Returns all slots that exist, those without a session, too.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (SessionNumber, &mut Slot)> {
        self.pages
            .iter_mut()
            .enumerate()
            .filter_map(|(page, it)| Some((page, it.as_mut()?)))
            .flat_map(|(page, slots)| {
                slots.iter_mut().enumerate().map(move |it| (number(page, it.0, it.1), it.1))
            })
    }

    /// Returns all sessions, and what is left of others.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SessionNumber, &Slot)> {
        self.pages
            .iter()
            .enumerate()
            .filter_map(|(page, it)| Some((page, it.as_ref()?)))
            .flat_map(|(page, slots)| {
                slots.iter().enumerate().map(move |it| (number(page, it.0, it.1), it.1))
            })
            .filter(|(_, slot)| slot.state != State::Vacant)
    }
}

impl Slot {
    pub(crate) fn vacant(generation: u32) -> Self {
        Self {
            generation,
            state: State::Vacant,
            home: ShardIndex(0),
            queued_messages: 0,
            queued_bytes: 0,
            queue: Queue::default(),
            next: 0,
            sent_before: 0,
            queued_from: 0,
            details: None,
        }
    }

    /// A session that something tells of before the record that says what it is.
    pub(crate) fn implied(generation: u32) -> Self {
        Self { state: State::Implied, ..Self::vacant(generation) }
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Returns the number of the session in the slot, which is at `index`.
    pub(crate) fn number(&self, index: u32) -> SessionNumber {
        SessionNumber::new(index, self.generation)
    }

    /// Returns whether nothing is known of the session but, perhaps, that it has ended.
    pub(crate) fn is_empty(&self) -> bool {
        let records = self.details.as_ref().map_or(0, |it| it.records().count());
        let ends = usize::from(self.state == State::Ghost);
        self.queue.len() == 0 && records <= ends
    }

    /// Returns whether only messages of shared groups are left of the session.
    pub(crate) fn is_ghost(&self) -> bool {
        self.state == State::Ghost
    }

    /// Returns whether its shard is told of what is placed.
    #[inline]
    pub(crate) fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    pub(crate) fn details(&self) -> Option<&Details> {
        self.details.as_deref()
    }

    pub(crate) fn details_mut(&mut self) -> &mut Details {
        self.details.get_or_insert_with(|| Box::new(Details::unknown()))
    }

    /// Returns what changes often.
    pub(crate) fn change(&self, session: SessionNumber) -> ChangeRecord {
        let (expiry_secs, presence) =
            self.details().map_or((0, Presence::Connected), |it| (it.expiry_secs, it.presence));
        let sent_before = Position::new(self.sent_before);
        ChangeRecord { session, expiry_secs, presence, sent_before }
    }

    /// Takes over what changes often.
    pub(crate) fn apply_change(&mut self, change: &ChangeRecord) {
        self.state = match change.presence {
            Presence::Connected => State::Connected,
            Presence::Lost(_) => State::Lost,
        };
        let details = self.details_mut();
        details.expiry_secs = change.expiry_secs;
        details.presence = change.presence;
        self.set_sent_before(change.sent_before.value());
    }

    /// Takes the details of a session that has ended.
    pub(crate) fn take_details(&mut self) -> Option<Box<Details>> {
        self.details.take()
    }

    /// Appends an entry for the next position.
    #[inline]
    pub(crate) fn push(&mut self, entry: Entry) {
        if let Some(bytes) = entry.counted_bytes().filter(|_| self.next >= self.sent_before) {
            self.queued_messages += 1;
            self.queued_bytes += bytes;
        }
        self.queue.push(entry);
        self.next += 1;
    }

    /// Returns whether there is a position for one more message: entries are told apart by 32 bits.
    #[inline]
    pub(crate) fn has_position(&self) -> bool {
        // Most queues never come so far, and need not be looked at.
        let told_apart = u64::from(u32::MAX);
        self.next < told_apart || self.next - self.queue.front_position(self.next) < told_apart
    }

    /// Takes an entry out.
    #[inline]
    pub(crate) fn finish(&mut self, position: u64) -> Option<Entry> {
        let entry = self.queue.finish(position, self.next)?;
        self.count_out(position, entry);
        Some(entry)
    }

    /// Puts an entry in the place of another with the same position.
    pub(crate) fn replace(&mut self, position: u64, entry: Entry) -> Option<Entry> {
        let previous = self.queue.replace(position, self.next, entry)?;
        self.count_out(position, previous);
        if let Some(bytes) = entry.counted_bytes().filter(|_| position >= self.sent_before) {
            self.queued_messages += 1;
            self.queued_bytes += bytes;
            self.queued_from = self.queued_from.min(position);
        }
        Some(previous)
    }

    /// Returns the position of the first message that was never sent. It passes over each hole once.
    pub(crate) fn first_queued(&mut self) -> Option<u64> {
        let next = self.next;
        let mut entries = self.queue.from(self.queued_from.max(self.sent_before), next);
        let first = entries.find(|it| it.counted_bytes().is_some()).map(|it| it.position(next));
        self.queued_from = first.unwrap_or(next);
        first
    }

    /// Moves the mark before which entries may have been sent. Looks at those between the two marks only.
    pub(crate) fn set_sent_before(&mut self, sent_before: u64) {
        let next = self.next;
        let is_back = sent_before < self.sent_before;
        let (low, high) = (self.sent_before.min(sent_before), self.sent_before.max(sent_before));
        let between = self.queue.from(low, next).take_while(|it| it.position(next) < high);
        let (mut messages, mut bytes) = (0, 0);
        for its in between.filter_map(Entry::counted_bytes) {
            messages += 1;
            bytes += its;
        }
        if is_back {
            self.queued_messages += messages;
            self.queued_bytes += bytes;
            self.queued_from = self.queued_from.min(sent_before);
        } else {
            self.queued_messages -= messages;
            self.queued_bytes -= bytes;
        }
        self.sent_before = sent_before;
    }

    /// Counts from the beginning what is queued.
    pub(crate) fn count_queued(&mut self) {
        (self.queued_messages, self.queued_bytes) = (0, 0);
        self.queued_from = self.sent_before;
        let queued = self.queue.from(self.sent_before, self.next);
        for bytes in queued.filter_map(Entry::counted_bytes) {
            self.queued_messages += 1;
            self.queued_bytes += bytes;
        }
    }

    #[inline]
    fn count_out(&mut self, position: u64, entry: Entry) {
        if let Some(bytes) = entry.counted_bytes().filter(|_| position >= self.sent_before) {
            self.queued_messages -= 1;
            self.queued_bytes -= bytes;
        }
    }
}

impl Details {
    pub(crate) fn unknown() -> Self {
        let hasher = FixedState::with_seed(0);
        Self {
            client_id: Box::default(),
            owner: Box::default(),
            expiry_secs: 0,
            presence: Presence::Connected,
            header: None,
            change: None,
            subscriptions: HashMap::with_hasher(hasher.clone()),
            inbound: HashMap::with_hasher(hasher),
            will: None,
        }
    }

    pub(crate) fn identity(&self) -> SessionIdentity {
        SessionIdentity { client_id: self.client_id.clone(), owner: self.owner.clone() }
    }

    /// Returns all records that tell of the session, with what they count for.
    pub(crate) fn records(&self) -> impl Iterator<Item = (Location, u64)> {
        let of_subscriptions = self.subscriptions.values().flat_map(Subscribed::records);
        let light = self.header.into_iter().chain(self.change).chain(of_subscriptions);
        let light = light.chain(self.inbound.values().copied()).map(|it| (it, LIGHT));
        light.chain(self.will.map(|it| (it.location, it.weight)))
    }
}

impl Subscribed {
    /// Returns the records that tell of it.
    pub(crate) fn records(&self) -> impl Iterator<Item = Location> + use<> {
        [Some(self.location), self.moved_on].into_iter().flatten()
    }
}

fn number(page: usize, index: usize, slot: &Slot) -> SessionNumber {
    SessionNumber::new((page * PAGE_SLOTS + index) as u32, slot.generation)
}

const PAGE_SLOTS: usize = 64;

/// Numbers of sessions with a slot from this one on are not valid.
pub(crate) const SLOTS_MAX: u32 = 1 << 26;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::log::index::Traits;
    use crate::log::record::AttributeKind;

    proptest! {
        /// However marks move and messages go, the counts and the first are those of a count from the beginning.
        #[test]
        fn counts_are_kept(steps in prop::collection::vec((0..6u8, 0..60u64), 1..300)) {
            let mut slot = Slot::implied(1);
            for (what, number) in steps {
                let position = slot.next.saturating_sub(number);
                match what {
                    0..=1 => slot.push(entry(slot.next, number as u32, number % 3 == 0)),
                    2 => drop(slot.finish(position)),
                    3 => {
                        let entry = match number % 2 {
                            0 => Entry::received(position, Location::new(0, 64)),
                            _ => entry(position, 7, false),
                        };
                        slot.replace(position, entry);
                    }
                    4 => slot.set_sent_before(position + number / 2),
                    _ => {
                        if let Some(first) = slot.first_queued() {
                            slot.finish(first);
                        }
                    }
                }
                let queued = || {
                    let entries = slot.queue.from(slot.sent_before, slot.next);
                    entries.filter(|it| it.counted_bytes().is_some())
                };
                let first = queued().next().map(|it| it.position(slot.next));
                let bytes: u64 = queued().filter_map(Entry::counted_bytes).sum();
                prop_assert_eq!(slot.queued_messages as usize, queued().count());
                prop_assert_eq!(slot.queued_bytes, bytes);
                prop_assert_eq!(slot.first_queued(), first);
            }
        }
    }

    fn entry(position: u64, size: u32, is_owed: bool) -> Entry {
        let kind = AttributeKind { is_shared: false, is_owed };
        Entry::new(position, size, Location::new(0, 64), Traits { spread: 0, attribute: 0, kind })
    }
}
