//! What is submitted, as records and as changes of the index.

use std::sync::Arc;

use quelea_codec::{PacketId, QoS};
use quelea_session::{Message, Position};

use super::disk::Disk;
use super::engine::Engine;
use super::index::{Entry, Location, Subscribed, Traits, Weighed};
use super::record::{
    self, AttributeKind, ChangeRecord, OpenPublish, PublishParts, SessionRecord, TargetRecord,
};
use crate::{
    Attributes, Operation, Placed, Presence, SessionIdentity, SessionNumber, ShardIndex,
    StoredWill, Target,
};

/// A message, and what becomes of it.
struct Publish<'a> {
    message: &'a Arc<Message>,
    qos: QoS,
    targets: &'a [Target],
    attributes: &'a [Attributes],
    received: Option<(SessionNumber, PacketId)>,
    retain: Option<u64>,
}

impl<D: Disk> Engine<D> {
    /// Appends to the frame what is to be remembered of an operation of `shard`.
    ///
    /// At most [`bytes_max`] of the operation are appended, and what nothing follows from is not written at all.
    pub(super) fn apply(&mut self, shard: ShardIndex, operation: Operation) {
        match operation {
            Operation::Publish { message, qos, targets, attributes, received, retain } => {
                let (message, targets) = (&message, targets.as_slice());
                let attributes = attributes.as_slice();
                let publish = Publish { message, qos, targets, attributes, received, retain };
                self.publish(shard, &publish);
            }
            Operation::Unretain { topic, order } => {
                let known = self.index.retained.message(&topic);
                if known.is_some_and(|it| it.0 <= order) {
                    record::put_unretain(&mut self.frame, &topic, order);
                    self.index.unretain(&topic, order);
                }
            }
            Operation::Finish { session, positions } => {
                if self.index.sessions.slot(session).is_some() {
                    record::put_finish(&mut self.frame, session, &positions);
                    positions.iter().for_each(|it| self.index.finish(session, *it));
                }
            }
            Operation::Received { session, position } => {
                let Some(slot) = self.index.sessions.slot(session) else { return };
                if slot.is_ghost() {
                    // Nobody is there to complete it.
                    let positions = vec![position];
                    self.apply(shard, Operation::Finish { session, positions });
                } else if slot.queue.entry(position.value(), slot.next).is_some() {
                    let location = self.here();
                    record::put_received(&mut self.frame, session, position);
                    self.index.receive(session, position, location);
                }
            }
            Operation::Release { session, packet_id } => {
                if self.index.sessions.live_mut(session).is_some() {
                    record::put_release(&mut self.frame, session, packet_id);
                    self.index.close_inbound(session, packet_id);
                }
            }
            Operation::SessionStart { session, identity, expiry_secs } => {
                self.start_session(shard, session, &identity, expiry_secs);
            }
            Operation::SessionChange { session, expiry_secs, presence, sent_before } => {
                let change = ChangeRecord { session, expiry_secs, presence, sent_before };
                self.change_session(shard, &change);
            }
            Operation::SessionEnd { session } => self.end_session(session),
            Operation::Subscribe { session, filter, options, subscription_id, cursor } => {
                if self.index.sessions.live_mut(session).is_none() {
                    return;
                }
                let location = self.here();
                let frame = &mut self.frame;
                let at = cursor.as_ref();
                record::put_subscribe(frame, session, &filter, options, subscription_id, at);
                let cursor = cursor.map(Box::new);
                let moved_on = None;
                let it = Subscribed { options, subscription_id, cursor, location, moved_on };
                self.index.subscribe(session, &filter, it);
            }
            Operation::Cursor { session, filter, cursor } => {
                if self.index.is_subscribed(session, &filter) {
                    let location = self.here();
                    record::put_cursor(&mut self.frame, session, &filter, cursor.as_ref());
                    self.index.move_cursor(session, &filter, cursor, location);
                }
            }
            Operation::Unsubscribe { session, filter } => {
                if self.index.is_subscribed(session, &filter) {
                    record::put_unsubscribe(&mut self.frame, session, &filter);
                    self.index.unsubscribe(session, &filter);
                }
            }
            Operation::Will { session, will } => self.set_will(session, will.as_ref()),
            Operation::Fetch(fetch) => self.look_up(shard, fetch),
        }
    }

    /// Returns where the next record will lie.
    #[inline]
    pub(super) fn here(&self) -> Location {
        self.tail.location(self.frame.len())
    }

    fn publish(&mut self, shard: ShardIndex, publish: &Publish<'_>) {
        let Publish { message, qos, .. } = *publish;
        let content = message.content();
        let location = self.here();
        let retain = publish.retain;
        let retain = retain.filter(|it| self.index.retained.is_newest(content.topic, *it));
        let received = publish.received;
        let received = received.filter(|it| self.index.sessions.live_mut(it.0).is_some());
        let wall = |it: quelea_session::Time| it.as_millis() + self.options.wall_at_zero.0;
        let expires_at = content.expires_at.map_or(0, wall);
        let (topic, forwarded, payload) = (content.topic, content.forwarded, content.payload);
        let parts = PublishParts { qos, expires_at, retain, received, topic, forwarded, payload };
        let is_placed = self.place(shard, publish, &parts, location);
        if !is_placed && retain.is_some() {
            record::put_publish(&mut self.frame, &parts, &[], &[]);
        }
        match received {
            Some((session, packet_id)) if is_placed || retain.is_some() => {
                self.index.open_inbound(session, packet_id, location);
            }
            Some((session, packet_id)) => self.open_inbound(session, packet_id),
            None => {}
        }
        if let Some(order) = retain {
            let weight = message.size_bytes() as u64;
            let message = Weighed { location, weight };
            if content.payload.is_empty() {
                self.index.unretain(content.topic, order);
            } else {
                self.index.retain(content.topic, order, message);
            }
        }
        if self.options.limits.drops_oldest {
            let mut left = DROPS_MAX + publish.targets.len();
            publish.targets.iter().for_each(|it| self.drop_oldest(it.session, &mut left));
        }
    }

    /// Writes that an inbound exchange is open, without the message that opened it.
    pub(super) fn open_inbound(&mut self, session: SessionNumber, packet_id: PacketId) {
        let location = self.here();
        record::put_inbound(&mut self.frame, session, packet_id);
        self.index.open_inbound(session, packet_id, location);
    }

    /// Gives a message its places in queues, and writes that. Returns whether there is any; otherwise nothing is
    /// written.
    fn place(
        &mut self,
        shard: ShardIndex,
        publish: &Publish<'_>,
        parts: &PublishParts<'_>,
        location: Location,
    ) -> bool {
        let Publish { message, targets, attributes, .. } = *publish;
        if targets.is_empty() {
            return false;
        }
        let start = self.frame.len();
        let mut record = OpenPublish::begin(&mut self.frame, parts, attributes, targets.len());
        let mut weight = 0;
        let size = u32::try_from(message.size_bytes()).unwrap_or(u32::MAX);
        let spread = targets.len().max(1).ilog2() as u8;
        for (at, &Target { session, attributes: index }) in targets.iter().enumerate() {
            if at % FETCHED_TOGETHER == 0 && targets.len() > 1 {
                let next = targets[at..].iter().take(FETCHED_TOGETHER).map(|it| it.session);
                self.index.sessions.fetch_ends(next);
            }
            let its = &attributes[index as usize];
            let slot = self.index.sessions.live_mut(session).filter(|it| it.has_position());
            let Some(slot) = slot else {
                match its.share {
                    Some(_) => self.outcomes.unplace(shard, its.clone(), message),
                    None => self.outcomes.skip(shard),
                }
                continue;
            };
            let position = Position::new(slot.next);
            let kind = AttributeKind::of(its);
            let traits = Traits { spread, attribute: index, kind };
            let entry = Entry::new(slot.next, size, location, traits);
            slot.push(entry);
            if slot.is_connected() {
                let (message, attributes) = (Arc::clone(message), its.clone());
                let placed = Placed { session, position, message, attributes };
                self.outcomes.place(slot.home, placed);
            }
            weight += entry.weight();
            record
                .put_target(&mut self.frame, TargetRecord { session, position, attributes: index });
        }
        let count = record.target_count();
        self.index.segments.add_all(location, count as u64, weight);
        self.has_unsynced_publishes |= count > 0;
        match count {
            0 => self.frame.truncate(start),
            _ => record.end(&mut self.frame),
        }
        count > 0
    }

    /// Keeps the limits of the queue of a session whose client is away. What is `left` bounds how many messages go
    /// in one operation; the next one goes on.
    fn drop_oldest(&mut self, session: SessionNumber, left: &mut usize) {
        let limits = self.options.limits;
        let Some(slot) = self.index.sessions.live_mut(session) else { return };
        if !limits.drops_oldest || slot.is_connected() {
            return;
        }
        let home = slot.home;
        let (mut positions, mut bytes) = (Vec::new(), 0);
        while *left > 0
            && (slot.queued_messages > limits.queued_messages_max
                || slot.queued_bytes > limits.queued_bytes_max)
        {
            let Some(position) = slot.first_queued() else { break };
            let Some(entry) = slot.finish(position) else { break };
            self.index.segments.remove(entry.location(), entry.weight());
            bytes += entry.counted_bytes().unwrap_or_default();
            positions.push(Position::new(position));
            *left -= 1;
        }
        if !positions.is_empty() {
            record::put_finish(&mut self.frame, session, &positions);
            self.outcomes.drop_oldest(home, session, positions.len() as u32, bytes);
        }
    }

    fn start_session(
        &mut self,
        shard: ShardIndex,
        session: SessionNumber,
        identity: &SessionIdentity,
        expiry_secs: u32,
    ) {
        let presence = Presence::Connected;
        let sent_before = Position::new(0);
        let change = ChangeRecord { session, expiry_secs, presence, sent_before };
        let (client_id, owner) = (&*identity.client_id, &*identity.owner);
        let it = SessionRecord { client_id, owner, change, next: 0 };
        let location = self.here();
        let is_new = self.index.set_session(&it, location);
        debug_assert!(is_new, "session {session:?} has a number that was not given out");
        if is_new {
            record::put_session(&mut self.frame, &it);
            self.index.set_home(session, shard);
        }
    }

    fn change_session(&mut self, shard: ShardIndex, change: &ChangeRecord) {
        if self.index.sessions.live_mut(change.session).is_none() {
            return;
        }
        let location = self.here();
        record::put_change(&mut self.frame, change);
        self.index.change_session(change, location);
        self.index.set_home(change.session, shard);
        self.drop_oldest(change.session, &mut DROPS_MAX.clone());
    }

    fn end_session(&mut self, session: SessionNumber) {
        let Some(slot) = self.index.sessions.live_mut(session) else { return };
        let sent_before = Position::new(slot.sent_before);
        let location = self.here();
        record::put_end(&mut self.frame, session, sent_before);
        self.index.end_session(session, sent_before, location);
        self.index.vacate_if_over(session);
    }

    fn set_will(&mut self, session: SessionNumber, will: Option<&StoredWill>) {
        let Some(slot) = self.index.sessions.live_mut(session) else { return };
        if will.is_none() && slot.details().is_none_or(|it| it.will.is_none()) {
            return;
        }
        let location = self.here();
        record::put_will(&mut self.frame, session, will);
        let weight = |it: &StoredWill| it.message.size_bytes() as u64;
        let will = will.map(|it| Weighed { location, weight: weight(it) });
        self.index.set_will(session, will);
    }
}

/// Returns more bytes than an operation takes in a frame.
pub(super) fn bytes_max(operation: &Operation, drops_oldest: bool) -> usize {
    let cursor_bytes = |it: &Option<crate::CursorPlace>| {
        it.as_ref().and_then(|it| it.after.as_ref()).map_or(0, |it| it.len())
    };
    let variable = match operation {
        Operation::Publish { message, targets, attributes, .. } => {
            let drops = if drops_oldest { targets.len() * DROP_BYTES + DROPS_BYTES } else { 0 };
            let message_bytes = message.size_bytes();
            record::publish_bytes_max(message_bytes, attributes, targets.len()) + drops
        }
        Operation::Unretain { topic, .. } => topic.len(),
        Operation::Finish { positions, .. } => 10 * positions.len(),
        Operation::SessionStart { identity, .. } => identity.client_id.len() + identity.owner.len(),
        Operation::Subscribe { filter, cursor, .. } | Operation::Cursor { filter, cursor, .. } => {
            filter.len() + cursor_bytes(cursor)
        }
        Operation::Unsubscribe { filter, .. } => filter.len(),
        Operation::Will { will, .. } => will.as_ref().map_or(0, |it| it.message.size_bytes()),
        Operation::SessionChange { .. } if drops_oldest => DROPS_BYTES,
        Operation::Received { .. }
        | Operation::Release { .. }
        | Operation::SessionChange { .. }
        | Operation::SessionEnd { .. }
        | Operation::Fetch(_) => 0,
    };
    96 + variable
}

/// Queues that are brought into the processor's cache at once.
const FETCHED_TOGETHER: usize = 32;

/// Messages that one operation drops from queues, beside one for each target.
const DROPS_MAX: usize = 4_096;

/// Bytes that say so: a position each.
const DROPS_BYTES: usize = DROPS_MAX * 10;

/// Bytes of the record that says that one message was dropped.
const DROP_BYTES: usize = 40;
