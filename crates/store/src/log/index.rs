//! What is alive, and where it lies: all that the log tells, but for the messages.
//!
//! Each thing remembers where its latest record lies. So a segment knows how many things it still
//! holds, and the cleaner whether a record that it comes by is still the latest of something.
//!
//! What is written and what is read back change the index by the same functions.

mod location;
mod queue;
mod retained;
mod segments;
mod sessions;

use quelea_codec::PacketId;
use quelea_session::Position;

pub(crate) use location::{Location, SEGMENTS_MAX};
pub(crate) use queue::{Entry, Traits};
pub(crate) use retained::Retained;
pub(crate) use segments::{Segment, Segments};
pub(crate) use sessions::{Sessions, Slot, State, Subscribed, Weighed};

use super::record::{ChangeRecord, MarkRecord, SessionRecord};
use crate::{CursorPlace, SessionNumber, ShardIndex};

/// What is alive, and where it lies.
#[derive(Debug)]
pub(crate) struct Index<F> {
    pub(crate) sessions: Sessions,
    pub(crate) retained: Retained,
    pub(crate) segments: Segments<F>,
    pub(crate) mark: MarkRecord,
    mark_location: Option<Location>,
    /// Sessions of which nothing is left, since the caller last looked.
    pub(crate) freed: Vec<SessionNumber>,
}

impl<F> Index<F> {
    /// Begins with an empty log whose first segment will be `oldest`.
    pub(crate) fn new(oldest: u64) -> Self {
        Self {
            sessions: Sessions::default(),
            retained: Retained::default(),
            segments: Segments::new(oldest),
            mark: MarkRecord::default(),
            mark_location: None,
            freed: Vec::new(),
        }
    }

    /// A session begins, or a record tells of it anew. Returns false if its number makes no sense.
    pub(crate) fn set_session(&mut self, record: &SessionRecord<'_>, location: Location) -> bool {
        let session = record.change.session;
        self.mark.generation = self.mark.generation.max(session.generation());
        let Some(slot) = self.claim(session) else { return false };
        slot.next = slot.next.max(record.next);
        let details = slot.details_mut();
        let olds = [details.header.take(), details.change.take()];
        details.client_id = record.client_id.into();
        details.owner = record.owner.into();
        details.header = Some(location);
        slot.apply_change(&record.change);
        olds.into_iter().flatten().for_each(|old| self.segments.remove(old, LIGHT));
        self.segments.add(location, LIGHT);
        true
    }

    /// What changes often of a session is new.
    pub(crate) fn change_session(&mut self, change: &ChangeRecord, location: Location) {
        let Some(slot) = self.sessions.live_mut(change.session) else { return };
        slot.apply_change(change);
        if let Some(old) = slot.details_mut().change.replace(location) {
            self.segments.remove(old, LIGHT);
        }
        self.segments.add(location, LIGHT);
    }

    /// A session has ended. What a shared group chose it for stays; the record at `location` says so until that is
    /// gone, too ([`Self::vacate_if_over`]).
    pub(crate) fn end_session(
        &mut self,
        session: SessionNumber,
        sent_before: Position,
        location: Location,
    ) {
        let Some(slot) = self.claim(session) else { return };
        slot.state = State::Ghost;
        let details = slot.take_details();
        slot.details_mut().header = Some(location);
        slot.set_sent_before(sent_before.value());
        let mut gone = Vec::new();
        slot.queue.retain(|entry| {
            if !entry.is_shared() {
                gone.push(entry);
            }
            entry.is_shared()
        });
        slot.count_queued();
        let segments = &mut self.segments;
        gone.iter().for_each(|it| segments.remove(it.location(), it.weight()));
        let records = details.iter().flat_map(|it| it.records());
        records.for_each(|(location, weight)| segments.remove(location, weight));
        segments.add(location, LIGHT);
    }

    /// The record that says that a session has ended has been written anew.
    pub(crate) fn move_end(&mut self, session: SessionNumber, location: Location) {
        let Some(slot) = self.sessions.slot_mut(session) else { return };
        if let Some(old) = slot.details_mut().header.replace(location) {
            self.segments.remove(old, LIGHT);
        }
        self.segments.add(location, LIGHT);
    }

    pub(crate) fn subscribe(&mut self, session: SessionNumber, filter: &str, it: Subscribed) {
        let location = it.location;
        let until = it.cursor.as_ref().map_or(0, |it| it.until);
        self.mark.order = self.mark.order.max(until);
        let Some(slot) = self.sessions.live_mut(session) else { return };
        if let Some(old) = slot.details_mut().subscriptions.insert(filter.into(), it) {
            old.records().for_each(|old| self.segments.remove(old, LIGHT));
        }
        self.segments.add(location, LIGHT);
    }

    pub(crate) fn is_subscribed(&self, session: SessionNumber, filter: &str) -> bool {
        let details = self.sessions.slot(session).and_then(Slot::details);
        details.is_some_and(|it| it.subscriptions.contains_key(filter))
    }

    pub(crate) fn unsubscribe(&mut self, session: SessionNumber, filter: &str) {
        let Some(slot) = self.sessions.live_mut(session) else { return };
        if let Some(old) = slot.details_mut().subscriptions.remove(filter) {
            old.records().for_each(|old| self.segments.remove(old, LIGHT));
        }
    }

    /// The delivery of retained messages has come further. Returns false if nobody is owed any.
    pub(crate) fn move_cursor(
        &mut self,
        session: SessionNumber,
        filter: &str,
        cursor: Option<CursorPlace>,
        location: Location,
    ) {
        let until = cursor.as_ref().map_or(0, |it| it.until);
        self.mark.order = self.mark.order.max(until);
        let Some(slot) = self.sessions.live_mut(session) else { return };
        let Some(it) = slot.details_mut().subscriptions.get_mut(filter) else { return };
        it.cursor = cursor.map(Box::new);
        if let Some(old) = it.moved_on.replace(location) {
            self.segments.remove(old, LIGHT);
        }
        self.segments.add(location, LIGHT);
    }

    pub(crate) fn set_will(&mut self, session: SessionNumber, will: Option<Weighed>) {
        let Some(slot) = self.sessions.live_mut(session) else { return };
        let old = std::mem::replace(&mut slot.details_mut().will, will);
        if let Some(old) = old {
            self.segments.remove(old.location, old.weight);
        }
        if let Some(will) = will {
            self.segments.add(will.location, will.weight);
        }
    }

    /// An inbound QoS 2 exchange is open.
    pub(crate) fn open_inbound(
        &mut self,
        session: SessionNumber,
        packet_id: PacketId,
        location: Location,
    ) {
        let Some(slot) = self.sessions.live_mut(session) else { return };
        if let Some(old) = slot.details_mut().inbound.insert(packet_id, location) {
            self.segments.remove(old, LIGHT);
        }
        self.segments.add(location, LIGHT);
    }

    /// Returns whether an inbound exchange is open, and `location` says so.
    pub(crate) fn is_inbound(
        &self,
        session: SessionNumber,
        packet_id: PacketId,
        location: Location,
    ) -> bool {
        let details = self.sessions.slot(session).and_then(Slot::details);
        details.and_then(|it| it.inbound.get(&packet_id)) == Some(&location)
    }

    /// An inbound QoS 2 exchange is complete.
    pub(crate) fn close_inbound(&mut self, session: SessionNumber, packet_id: PacketId) {
        let Some(slot) = self.sessions.live_mut(session) else { return };
        if let Some(old) = slot.details_mut().inbound.remove(&packet_id) {
            self.segments.remove(old, LIGHT);
        }
    }

    /// Puts a message at the end of a queue.
    #[inline]
    pub(crate) fn push(&mut self, session: SessionNumber, entry: Entry) {
        if let Some(slot) = self.sessions.slot_mut(session) {
            slot.push(entry);
            self.segments.add(entry.location(), entry.weight());
        }
    }

    /// Takes a message out of a queue.
    #[inline]
    pub(crate) fn finish(&mut self, session: SessionNumber, position: Position) {
        let Some(slot) = self.sessions.slot_mut(session) else { return };
        let Some(entry) = slot.finish(position.value()) else { return };
        self.segments.remove(entry.location(), entry.weight());
        if slot.state == State::Ghost {
            self.vacate_if_over(session);
        }
    }

    /// A QoS 2 message was received by its client.
    pub(crate) fn receive(
        &mut self,
        session: SessionNumber,
        position: Position,
        location: Location,
    ) {
        let entry = Entry::received(position.value(), location);
        self.replace(session, position, entry);
    }

    /// Puts an entry in the place of another. Returns whether there was one.
    pub(crate) fn replace(
        &mut self,
        session: SessionNumber,
        position: Position,
        entry: Entry,
    ) -> bool {
        let Some(slot) = self.sessions.slot_mut(session) else { return false };
        let Some(old) = slot.replace(position.value(), entry) else { return false };
        self.segments.remove(old.location(), old.weight());
        self.segments.add(entry.location(), entry.weight());
        true
    }

    /// Sets the retained message of a topic.
    pub(crate) fn retain(&mut self, topic: &str, order: u64, message: Weighed) {
        self.mark.order = self.mark.order.max(order);
        if let Some(old) = self.retained.set(topic, order, message) {
            self.segments.remove(old.location, old.weight);
        }
        self.segments.add(message.location, message.weight);
    }

    /// Removes the retained message of a topic.
    pub(crate) fn unretain(&mut self, topic: &str, order: u64) {
        self.mark.order = self.mark.order.max(order);
        if let Some(old) = self.retained.remove(topic, order) {
            self.segments.remove(old.location, old.weight);
        }
    }

    pub(crate) fn set_mark(&mut self, mark: MarkRecord, location: Location) {
        self.mark.generation = self.mark.generation.max(mark.generation);
        self.mark.order = self.mark.order.max(mark.order);
        if let Some(old) = self.mark_location.replace(location) {
            self.segments.remove(old, LIGHT);
        }
        self.segments.add(location, LIGHT);
    }

    pub(crate) fn mark_location(&self) -> Option<Location> {
        self.mark_location
    }

    pub(crate) fn is_mark(&self, location: Location) -> bool {
        self.mark_location == Some(location)
    }

    /// Returns the slot for a session of which a record tells, whatever was there; nothing if the number makes no
    /// sense, or another session has the slot.
    pub(crate) fn claim(&mut self, session: SessionNumber) -> Option<&mut Slot> {
        let held_by = self.sessions.place_for(session)?.number(session.slot());
        if held_by != session {
            // While a log is read, what is over is not given up before the next one needs the room.
            self.vacate_if_over(held_by);
        }
        let slot = self.sessions.place_for(session)?;
        if slot.state == State::Vacant {
            *slot = Slot::implied(session.generation());
        }
        (slot.generation() == session.generation()).then_some(slot)
    }

    /// Gives up the slot of a session that is gone, once nothing is left of it.
    pub(crate) fn vacate_if_over(&mut self, session: SessionNumber) {
        let Some(slot) = self.sessions.slot_mut(session) else { return };
        if slot.state != State::Ghost || slot.queue.len() > 0 {
            return;
        }
        if let Some(details) = slot.take_details() {
            let segments = &mut self.segments;
            details.records().for_each(|(location, weight)| segments.remove(location, weight));
        }
        *slot = Slot::vacant(session.generation());
        self.freed.push(session);
    }

    /// Sets which shard is told of a session.
    pub(crate) fn set_home(&mut self, session: SessionNumber, home: ShardIndex) {
        if let Some(slot) = self.sessions.slot_mut(session) {
            slot.home = home;
        }
    }
}

/// What a small record counts for.
pub(crate) const LIGHT: u64 = 48;
