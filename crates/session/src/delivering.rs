//! Messages to the peer: what is sent, what waits, and what is dropped.

use alloc::boxed::Box;
use alloc::sync::Arc;

use quelea_codec::{OutgoingPublish, PacketId, PacketKind, QoS, ReasonCode};

use crate::Time;
use crate::connection::{Connection, PacketTooLarge};
use crate::delivery::{Body, Delivered, Delivery, DropReason, Entry};
use crate::exchanges::{Exchanges, Standing, State};
use crate::message::{Content, Message, Sharing};
use crate::outbox::{Effects, Outbox};
use crate::position::Position;
use crate::queue::{Overflow, SessionLimits};
use crate::session::{Class, Session};

/// Why [`Session::pump`] stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pumped {
    /// Nothing is left to be sent.
    Empty,
    /// The window or the outbox is full: an acknowledgement, or room in the outbox, lets it go on.
    Blocked,
    /// It has done much at once, and should be called again soon.
    Unfinished,
}

impl Session {
    /// Delivers a message to a connected session: any message to a live one, QoS 0 to a durable one.
    ///
    /// It is sent if the window and the outbox have room, and at QoS 1 and 2 nothing waits before it. Otherwise
    /// QoS 0 is dropped, and QoS 1 and 2 are queued within `limits`.
    #[inline]
    #[expect(
        clippy::too_many_arguments,
        reason = "all of them are lent for the call, by different owners"
    )]
    pub fn deliver(
        &mut self,
        connection: &mut Connection,
        sharing: &mut Sharing<'_>,
        delivery: Delivery<'_>,
        limits: &SessionLimits,
        now: Time,
        outbox: &mut Outbox<'_>,
        fx: &mut Effects,
    ) -> Delivered {
        let content = sharing.content();
        if content.is_expired(now) {
            return Delivered::Dropped(DropReason::Expired);
        }
        if delivery.qos == QoS::AtMostOnce {
            return deliver_at_most_once(connection, &content, delivery, now, outbox, fx);
        }
        debug_assert!(
            self.class == Class::Live,
            "the store gives durable sessions their positions"
        );
        if self.queued_messages() > 0 || !self.has_window(connection, self.next_position, outbox) {
            return self.queue_up(sharing, delivery, limits, fx);
        }
        let packet =
            Outgoing { delivery, packet_id: Some(self.next_position.packet_id()), dup: false };
        if packet.write(connection, &content, now, outbox, fx).is_err() {
            return Delivered::Dropped(DropReason::PacketTooLarge);
        }
        let position = self.take_position();
        let kept = delivery
            .group
            .map(|_| Box::new(Entry::new(position, Body::Message(sharing.keep()), delivery)));
        self.sent(connection, position, delivery, kept);
        Delivered::Sent
    }

    /// Adds a QoS 1 or 2 message at the position that the store has given it, after all before it. It is sent
    /// by [`Self::pump`].
    ///
    /// The store's counter has reserved its room, so no limit applies here.
    pub fn enqueue(&mut self, position: Position, body: Body, delivery: Delivery<'_>) {
        debug_assert!(self.class == Class::Durable, "a live session has no place in the store");
        self.queue.get_or_insert_default().push_back(Entry::new(position, body, delivery));
    }

    /// Sends what may go: first what is to be sent again, in order and with DUP, then the queue, until the window
    /// or the outbox is full. A PUBREL takes nothing of the window and does not wait for it
    /// ([MQTT-3.3.4-10]).
    ///
    /// What has never been sent and has expired is dropped ([MQTT-3.3.2-5]). `retained` reads the retained
    /// message of a topic.
    pub fn pump(
        &mut self,
        connection: &mut Connection,
        now: Time,
        retained: &dyn Fn(&str) -> Option<Arc<Message>>,
        outbox: &mut Outbox<'_>,
        fx: &mut Effects,
    ) -> Pumped {
        if !self.resend_pubrels(connection, outbox)
            || !self.resend_publishes(connection, now, retained, outbox, fx)
        {
            return Pumped::Blocked;
        }
        for _ in 0..PUMP_WORK_MAX {
            let Some(front) = self.queue.as_ref().and_then(|queue| queue.front()) else {
                return Pumped::Empty;
            };
            let position = match self.class {
                Class::Live => self.next_position,
                Class::Durable => front.position,
            };
            if !self.has_window(connection, position, outbox) {
                return Pumped::Blocked;
            }
            self.send_front(connection, position, now, retained, outbox, fx);
        }
        Pumped::Unfinished
    }

    /// Returns whether [`Self::pump`] has something to do, if it may.
    #[inline]
    pub fn wants_pump(&self) -> bool {
        self.queued_messages() > 0 || self.sent.as_ref().is_some_and(|sent| sent.has_resends())
    }

    /// Returns whether a message would be sent at once: what paces a retained cursor.
    ///
    /// At QoS 1 and 2 this is about a live session, because what a durable one sends passes the store first.
    #[inline]
    pub fn can_send(&self, connection: &Connection, qos: QoS, outbox: &Outbox<'_>) -> bool {
        match qos {
            QoS::AtMostOnce => !outbox.is_full(),
            QoS::AtLeastOnce | QoS::ExactlyOnce => {
                self.queued_messages() == 0
                    && self.has_window(connection, self.next_position, outbox)
            }
        }
    }

    /// Returns whether the message at `position` may be sent for the first time: the quota is open
    /// ([MQTT-4.9.0-2]), the packet identifier is free, the outbox has room.
    #[inline]
    fn has_window(&self, connection: &Connection, position: Position, outbox: &Outbox<'_>) -> bool {
        connection.send_quota.is_open()
            && !outbox.is_full()
            && self.sent.as_ref().is_none_or(|sent| sent.may_open(position))
    }

    /// Notes that a message has been sent for the first time.
    #[inline]
    fn sent(
        &mut self,
        connection: &mut Connection,
        position: Position,
        delivery: Delivery<'_>,
        kept: Option<Box<Entry>>,
    ) {
        connection.send_quota.take();
        let state = match delivery.qos {
            QoS::ExactlyOnce => State::Pubrec,
            QoS::AtLeastOnce | QoS::AtMostOnce => State::Puback,
        };
        self.sent.get_or_insert_with(|| Box::new(Exchanges::new())).open(
            position,
            state,
            Standing::Counted,
            delivery.group,
            kept,
        );
    }

    #[inline]
    fn take_position(&mut self) -> Position {
        let position = self.next_position;
        self.next_position = position.plus(1);
        position
    }

    /// Queues a message of a live session, if there is room or room can be made.
    #[cold]
    fn queue_up(
        &mut self,
        sharing: &mut Sharing<'_>,
        delivery: Delivery<'_>,
        limits: &SessionLimits,
        fx: &mut Effects,
    ) -> Delivered {
        // A position of its own comes with the sending.
        let entry = Entry::new(self.next_position, Body::Message(sharing.keep()), delivery);
        let size_bytes = entry.size_bytes();
        let queue = self.queue.get_or_insert_default();
        let could_fit = limits.queued_messages_max > 0 && size_bytes <= limits.queued_bytes_max;
        while !queue.has_room(size_bytes, limits) {
            match limits.overflow {
                Overflow::DropOldest if could_fit => {
                    let oldest = queue.pop_front().and_then(Entry::into_message);
                    fx.drops.push((DropReason::QueueFull, oldest));
                }
                Overflow::DropOldest | Overflow::RejectNewest => {
                    return Delivered::Dropped(DropReason::QueueFull);
                }
            }
        }
        queue.push_back(entry);
        Delivered::Queued
    }

    /// Sends or drops the first of the queue.
    fn send_front(
        &mut self,
        connection: &mut Connection,
        position: Position,
        now: Time,
        retained: &dyn Fn(&str) -> Option<Arc<Message>>,
        outbox: &mut Outbox<'_>,
        fx: &mut Effects,
    ) {
        let Some(mut entry) = self.queue.as_mut().and_then(|queue| queue.pop_front()) else {
            return;
        };
        let Some(message) = read_body(&mut entry.body, retained) else {
            // The topic has no retained message: nothing is lost, nothing is sent.
            return self.leave_store(position, fx);
        };
        let content = message.content();
        let packet = Outgoing {
            delivery: entry.delivery(),
            packet_id: Some(position.packet_id()),
            dup: false,
        };
        let dropped = if content.is_expired(now) {
            Some(DropReason::Expired)
        } else if packet.write(connection, &content, now, outbox, fx).is_err() {
            Some(DropReason::PacketTooLarge)
        } else {
            None
        };
        if let Some(reason) = dropped {
            fx.drops.push((reason, Some(message)));
            return self.leave_store(position, fx);
        }
        drop(message);
        let must_keep = match self.class {
            Class::Live => {
                self.take_position();
                entry.group.is_some()
            }
            Class::Durable => true,
        };
        let delivery = Delivery { subscription_ids: &[], ..entry.delivery() };
        let kept = must_keep.then(|| Box::new(Entry { position, ..entry }));
        self.sent(connection, position, delivery, kept);
    }

    /// Sends PUBREL again for what the peer has received; returns whether all of them are out.
    fn resend_pubrels(&mut self, connection: &Connection, outbox: &mut Outbox<'_>) -> bool {
        let Some(sent) = &mut self.sent else {
            return true;
        };
        while let Some(index) = sent.next_pubrel() {
            if outbox.is_full() {
                return false;
            }
            let packet_id = sent.position(index).packet_id();
            let (kind, reason) = (PacketKind::PubRel, ReasonCode::SUCCESS);
            connection.write_ack(kind, packet_id, reason, None, outbox.buffer);
            sent.released(index);
        }
        true
    }

    /// Sends again what was sent, however old it is ([MQTT-4.3.3-7]); returns whether all of it is out.
    fn resend_publishes(
        &mut self,
        connection: &mut Connection,
        now: Time,
        retained: &dyn Fn(&str) -> Option<Arc<Message>>,
        outbox: &mut Outbox<'_>,
        fx: &mut Effects,
    ) -> bool {
        while let Some(index) = self.sent.as_mut().and_then(|sent| sent.next_publish()) {
            if outbox.is_full() || !connection.send_quota.is_open() {
                return false;
            }
            if self.resend_publish(index, connection, now, retained, outbox, fx).is_err() {
                self.give_up(index, fx);
            }
        }
        true
    }

    fn resend_publish(
        &mut self,
        index: usize,
        connection: &mut Connection,
        now: Time,
        retained: &dyn Fn(&str) -> Option<Arc<Message>>,
        outbox: &mut Outbox<'_>,
        fx: &mut Effects,
    ) -> Result<(), CannotResend> {
        let sent = self.sent.as_mut().ok_or(CannotResend)?;
        let packet_id = sent.position(index).packet_id();
        let entry = sent.kept_mut(index).ok_or(CannotResend)?;
        let message = read_body(&mut entry.body, retained).ok_or(CannotResend)?;
        let packet = Outgoing { delivery: entry.delivery(), packet_id: Some(packet_id), dup: true };
        packet
            .write(connection, &message.content(), now, outbox, fx)
            .map_err(|PacketTooLarge| CannotResend)?;
        connection.send_quota.take();
        sent.resent(index);
        Ok(())
    }

    /// Counts a message as done that the new connection does not take ([MQTT-3.1.2-25]), or whose body, a retained
    /// message, is gone.
    #[cold]
    fn give_up(&mut self, index: usize, fx: &mut Effects) {
        let Some(sent) = &mut self.sent else {
            return;
        };
        let closed = sent.close(index);
        if let Some(message) = closed.kept.and_then(|entry| entry.into_message()) {
            fx.drops.push((DropReason::PacketTooLarge, Some(message)));
        }
        self.leave_store(closed.position, fx);
    }

    /// Tells the store that the entry at `position` is done with.
    #[inline]
    pub(crate) fn leave_store(&self, position: Position, fx: &mut Effects) {
        if self.class == Class::Durable {
            fx.finished.push(position);
        }
    }
}

/// A message that cannot be sent again.
struct CannotResend;

#[inline]
fn deliver_at_most_once(
    connection: &mut Connection,
    content: &Content<'_>,
    delivery: Delivery<'_>,
    now: Time,
    outbox: &mut Outbox<'_>,
    fx: &mut Effects,
) -> Delivered {
    if outbox.is_full() {
        return Delivered::Dropped(DropReason::SlowReader);
    }
    let packet = Outgoing { delivery, packet_id: None, dup: false };
    match packet.write(connection, content, now, outbox, fx) {
        Ok(()) => Delivered::Sent,
        Err(PacketTooLarge) => Delivered::Dropped(DropReason::PacketTooLarge),
    }
}

/// Returns the message of a body, which from then on is this message and no other.
fn read_body(
    body: &mut Body,
    retained: &dyn Fn(&str) -> Option<Arc<Message>>,
) -> Option<Arc<Message>> {
    match body {
        Body::Message(message) => Some(Arc::clone(message)),
        Body::Retained(message) => {
            let message = Arc::clone(message);
            let latest = retained(message.content().topic)?;
            if !Arc::ptr_eq(&latest, &message) {
                return None;
            }
            *body = Body::Message(latest);
            Some(message)
        }
    }
}

/// A PUBLISH to be written.
struct Outgoing<'a> {
    delivery: Delivery<'a>,
    packet_id: Option<PacketId>,
    dup: bool,
}

impl Outgoing<'_> {
    #[inline]
    fn write(
        &self,
        connection: &mut Connection,
        content: &Content<'_>,
        now: Time,
        outbox: &mut Outbox<'_>,
        fx: &mut Effects,
    ) -> Result<(), PacketTooLarge> {
        let packet = OutgoingPublish {
            dup: self.dup,
            qos: self.delivery.qos,
            retain: self.delivery.retain,
            packet_id: self.packet_id,
            topic: content.topic,
            topic_alias: None,
            message_expiry_secs: content.remaining_secs(now),
            subscription_ids: self.delivery.subscription_ids,
            forwarded: content.forwarded,
            payload: content.payload,
        };
        connection.write_publish(packet, outbox.buffer)?;
        fx.sent += 1;
        Ok(())
    }
}

/// How many queued messages one call looks at: with many expired ones a turn would take too long.
const PUMP_WORK_MAX: usize = 1024;

#[cfg(test)]
mod tests;
