//! Messages to the peer: what is sent, what waits, and what is dropped.

use alloc::boxed::Box;
use alloc::sync::Arc;

use quelea_codec::{OutgoingPublish, PacketId, PacketKind, QoS, ReasonCode};

use crate::Time;
use crate::connection::{Connection, PacketTooLarge};
use crate::delivery::{Delivered, Delivery, DropReason, Entry};
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
    /// The window or the outbox is full, or the next message may not be sent yet: an acknowledgement, room in the
    /// outbox, or a higher `send_before` lets it go on.
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
        let kept =
            delivery.group.map(|_| Box::new(Entry::new(position, sharing.keep(), delivery, 0)));
        self.sent(connection, position, delivery, kept);
        Delivered::Sent
    }

    /// Adds a message at the position that the store has given it, after all before it. It is sent by
    /// [`Self::pump`].
    ///
    /// At QoS 0 it was kept while the client was away. `retained_order` is the order of a retained message that a
    /// new subscription is owed, and 0 for any other message. Positions may be left out. No limit applies here: the
    /// store's counter has reserved the message's room, and the host sees to it that only a short head of the queue
    /// is in memory.
    pub fn enqueue(
        &mut self,
        position: Position,
        message: Arc<Message>,
        delivery: Delivery<'_>,
        retained_order: u64,
    ) {
        debug_assert!(self.class == Class::Durable, "a live session has no place in the store");
        debug_assert!(self.comes_last(position), "{position:?} is out of order");
        let entry = Entry::new(position, message, delivery, retained_order);
        self.queue.get_or_insert_default().push_back(entry);
    }

    /// Sends what may go: first what is to be sent again, in order and with DUP, then the queue, until the window
    /// or the outbox is full. A PUBREL takes nothing of the window and does not wait for it
    /// ([MQTT-3.3.4-10]).
    ///
    /// What has never been sent and has expired is dropped ([MQTT-3.3.2-5]). `is_latest` tells whether the retained
    /// message of a topic is the one of an order.
    ///
    /// Of a durable session nothing from `send_before` on leaves the queue: the store does not know yet that it may
    /// have been sent. For a live one that means nothing.
    pub fn pump(
        &mut self,
        connection: &mut Connection,
        now: Time,
        send_before: Position,
        is_latest: &dyn Fn(&str, u64) -> bool,
        outbox: &mut Outbox<'_>,
        fx: &mut Effects,
    ) -> Pumped {
        if !self.resend_pubrels(connection, outbox)
            || !self.resend_publishes(connection, now, outbox, fx)
        {
            return Pumped::Blocked;
        }
        for _ in 0..PUMP_WORK_MAX {
            let Some(front) = self.queue.as_ref().and_then(|queue| queue.front()) else {
                return Pumped::Empty;
            };
            let (position, qos) = match self.class {
                Class::Live => (self.next_position, front.qos),
                Class::Durable => (front.position, front.qos),
            };
            // What is not in memory before the first of the queue is done with.
            self.pass(position);
            if self.class == Class::Durable && position >= send_before {
                return Pumped::Blocked;
            }
            let may_send = match qos {
                QoS::AtMostOnce => !outbox.is_full(),
                QoS::AtLeastOnce | QoS::ExactlyOnce => {
                    self.has_window(connection, position, outbox)
                }
            };
            if !may_send {
                return Pumped::Blocked;
            }
            self.send_front(connection, position, now, is_latest, outbox, fx);
        }
        Pumped::Unfinished
    }

    /// Returns whether [`Self::pump`] has something to do, if it may.
    #[inline]
    pub fn wants_pump(&self) -> bool {
        self.queued_messages() > 0 || self.waiting_resends() > 0
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
        let entry = Entry::new(self.next_position, sharing.keep(), delivery, 0);
        let size_bytes = entry.size_bytes();
        let queue = self.queue.get_or_insert_default();
        let could_fit = limits.queued_messages_max > 0 && size_bytes <= limits.queued_bytes_max;
        while !queue.has_room(size_bytes, limits) {
            match limits.overflow {
                Overflow::DropOldest if could_fit => {
                    let oldest = queue.pop_front().map(|entry| entry.message);
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
        is_latest: &dyn Fn(&str, u64) -> bool,
        outbox: &mut Outbox<'_>,
        fx: &mut Effects,
    ) {
        let Some(entry) = self.queue.as_mut().and_then(|queue| queue.pop_front()) else {
            return;
        };
        self.count_left(&entry, fx);
        let content = entry.message.content();
        let order = entry.retained_order;
        if order != 0 && !is_latest(content.topic, order) {
            // The subscription gets the newer one: nothing is lost.
            return self.skip(position, fx);
        }
        let is_acknowledged = entry.qos > QoS::AtMostOnce;
        let packet = Outgoing {
            delivery: entry.delivery(),
            packet_id: is_acknowledged.then(|| position.packet_id()),
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
            fx.drops.push((reason, Some(entry.message)));
            return self.skip(position, fx);
        }
        if !is_acknowledged {
            return self.skip(position, fx);
        }
        self.pass(position.plus(1));
        // The store keeps what a durable session sends.
        let must_keep = self.class == Class::Live && entry.group.is_some();
        let delivery = Delivery { subscription_ids: &[], ..entry.delivery() };
        let kept = must_keep.then(|| Box::new(Entry { position, ..entry }));
        self.sent(connection, position, delivery, kept);
    }

    /// Is done with what was at `position` of the queue: nobody will acknowledge it. A live session has given it
    /// no position.
    fn skip(&mut self, position: Position, fx: &mut Effects) {
        if self.class == Class::Durable {
            self.pass(position.plus(1));
        }
        self.leave_store(position, fx);
    }

    /// Notes that nothing before `position` is to be sent for the first time any more.
    pub(crate) fn pass(&mut self, position: Position) {
        self.next_position = self.next_position.max(position);
    }

    /// Counts an entry of a durable session that leaves the queue.
    pub(crate) fn count_left(&self, entry: &Entry, fx: &mut Effects) {
        // What may have been sent before a restart has been counted then.
        if self.class == Class::Durable && entry.position >= self.next_position {
            fx.left_messages += 1;
            fx.left_bytes += entry.counted_bytes();
        }
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
        outbox: &mut Outbox<'_>,
        fx: &mut Effects,
    ) -> bool {
        while let Some(index) = self.sent.as_mut().and_then(|sent| sent.next_publish()) {
            if outbox.is_full() || !connection.send_quota.is_open() {
                return false;
            }
            if self.resend_publish(index, connection, now, outbox, fx).is_err() {
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
        outbox: &mut Outbox<'_>,
        fx: &mut Effects,
    ) -> Result<(), PacketTooLarge> {
        let Some(sent) = &mut self.sent else {
            return Ok(());
        };
        let packet_id = sent.position(index).packet_id();
        let entry = sent.kept(index).expect("what waits to be sent again was restored with a body");
        let packet = Outgoing { delivery: entry.delivery(), packet_id: Some(packet_id), dup: true };
        packet.write(connection, &entry.message.content(), now, outbox, fx)?;
        connection.send_quota.take();
        sent.resent(index);
        Ok(())
    }

    /// Counts a message as done that the new connection does not take ([MQTT-3.1.2-25]).
    #[cold]
    fn give_up(&mut self, index: usize, fx: &mut Effects) {
        let Some(sent) = &mut self.sent else {
            return;
        };
        let closed = sent.close(index);
        let message = closed.kept.map(|entry| entry.message);
        fx.drops.push((DropReason::PacketTooLarge, message));
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

/// Writes a message at QoS 0, if it may be.
#[inline]
pub(crate) fn deliver_at_most_once(
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
