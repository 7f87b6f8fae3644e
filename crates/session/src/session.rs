//! A session: what a server remembers of a client, from one connection to the next.
//!
//! # How to call it
//!
//! A session and its [`Connection`](crate::Connection) are values without a clock and without a socket. The host
//! decodes a packet and calls the `on_*` function for it; that returns what is owed to the peer, and the host,
//! once it has done its own part (routing, or the store), calls the `finish_*` function, which writes it. It
//! offers messages by [`Session::deliver`] or [`Session::enqueue`], and calls [`Session::pump`] after whatever may
//! let more of them go: an acknowledgement, room in the outbox, or a new connection.
//!
//! # Durable sessions
//!
//! The store has the queue of a durable session, and all that it has sent and not finished; here is a short head of
//! it while a client is connected, and nothing while none is. A message that was sent is not kept, because it is
//! sent again on another connection only.
//!
//! ```text
//!             sent_before                send_before
//!  restored as    |     the queue,          |   the queue,
//!  sent before    |     may be sent         |   has to wait
//! ----------------+-------------------------+--------------> positions
//! ```
//!
//! On a new connection the host gives back what the store has, by rising position and as slowly as it likes:
//! [`Session::restore_sent`] and [`Session::restore_released`] for what comes before [`Session::sent_before`],
//! [`Session::enqueue`] for the rest, and for all at QoS 0. The session may be pumped meanwhile. After a restart
//! `sent_before` is what the store was told ([`Session::set_sent_before`]), and to this end nothing is sent for the
//! first time at or after the `send_before` that the host gives [`Session::pump`].
//!
//! Subscriptions, the will, the retained cursors and the expiry of the session are the host's.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use quelea_codec::{PacketId, QoS};

use crate::delivery::{Delivery, DropReason, Entry};
use crate::exchanges::{Exchanges, Standing, State};
use crate::message::Message;
use crate::outbox::Effects;
use crate::position::{GroupId, Position};
use crate::queue::Queue;
use crate::received::ReceivedIds;

/// The messaging state of one session.
///
/// Small while nothing happens: windows and queue come with the first message, and go when the host finds the
/// session [idle](Self::release_idle).
#[derive(Debug)]
pub struct Session {
    pub(crate) sent: Option<Box<Exchanges>>,
    pub(crate) queue: Option<Box<Queue>>,
    pub(crate) received: Option<Box<ReceivedIds>>,
    /// The position of the next message that a live session sends. A durable one sends nothing before it for the
    /// first time.
    pub(crate) next_position: Position,
    pub(crate) class: Class,
}

/// What becomes of a session when its connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It ends too. It numbers its messages itself, and of what it has sent it keeps only what came through a shared
    /// group.
    Live,
    /// It may be resumed. The store numbers its messages and keeps them until they are finished.
    Durable,
}

impl Session {
    /// Returns the state of a new session.
    pub fn new(class: Class) -> Self {
        Self { sent: None, queue: None, received: None, next_position: Position::new(0), class }
    }

    /// Notes that the connection ended. Its quotas go with it, and for a durable session all that the store has.
    ///
    /// Of the QoS 2 messages that came on it and are not answered, those stay known of which `is_awaited` says that
    /// they are on their way to the store: the host calls [`Session::settle_publish`] for each. Otherwise such a
    /// message would be routed twice when the peer sends it again. The others are forgotten.
    pub fn disconnected(&mut self, is_awaited: impl Fn(PacketId) -> bool) {
        if let Some(received) = &mut self.received {
            received.disconnect(is_awaited);
        }
        if self.class == Class::Durable {
            self.queue = None;
            self.sent = None;
        }
        self.release_idle();
    }

    /// Gives back the memory of windows and queues that stand empty.
    ///
    /// They are not given back at once, because a connection with traffic would ask for them again with the
    /// next message. A good moment is a PINGREQ: it comes when there is no traffic.
    pub fn release_idle(&mut self) {
        match &mut self.sent {
            Some(sent) if sent.open_count() > 0 => sent.shrink(),
            _ => self.sent = None,
        }
        match &mut self.queue {
            Some(queue) if queue.len() > 0 => queue.shrink(),
            _ => self.queue = None,
        }
        match &mut self.received {
            Some(received) if !received.is_empty() => received.shrink(),
            _ => self.received = None,
        }
    }

    /// Frees at most `work` messages; returns whether nothing is left. A session with a million messages is
    /// freed in slices.
    pub fn free_slice(&mut self, work: usize) -> bool {
        for _ in 0..work {
            if let Some(queue) = self.queue.as_mut().filter(|queue| queue.len() > 0) {
                queue.pop_front();
            } else if let Some(sent) = self.sent.as_mut().filter(|sent| sent.open_count() > 0) {
                sent.forget_first();
            } else {
                break;
            }
        }
        if self.queued_messages() + self.in_flight() > 0 {
            return false;
        }
        self.sent = None;
        self.queue = None;
        self.received = None;
        true
    }

    /// Adds a QoS 1 or 2 message of a durable session that may have been sent on an earlier connection. It keeps its
    /// packet identifier, goes out with DUP before anything of the queue, and does not expire ([MQTT-4.4.0-1]).
    ///
    /// In order of positions, and before anything but QoS 0 is enqueued. The host sees to it that the store hears of an
    /// acknowledgement before 65,535 later messages are sent: otherwise two entries come back that share an
    /// identifier.
    pub fn restore_sent(
        &mut self,
        position: Position,
        message: Arc<Message>,
        delivery: Delivery<'_>,
    ) {
        self.pass(position.plus(1));
        let state = match delivery.qos {
            // What is too far from the first open entry was never sent, for that is not done.
            _ if !self.may_restore(position) => State::Done,
            // It has no exchange.
            QoS::AtMostOnce => State::Done,
            QoS::AtLeastOnce => State::Puback,
            QoS::ExactlyOnce => State::Pubrec,
        };
        if state == State::Done {
            return self.enqueue(position, message, delivery, 0);
        }
        let entry = Box::new(Entry::new(position, message, delivery, 0));
        self.restore(position, state, delivery.group, Some(entry));
    }

    /// Adds an entry of a durable session whose PUBREC was stored on an earlier connection: only its PUBREL is sent
    /// ([MQTT-4.3.3-6]).
    ///
    /// In order of positions, together with [`Self::restore_sent`].
    pub fn restore_released(&mut self, position: Position) {
        self.pass(position.plus(1));
        // Otherwise it shares an identifier, and the host sees to it that none does. It would stay in the store, and
        // come back with the next connection.
        if self.may_restore(position) {
            self.restore(position, State::Pubcomp, None, None);
        }
    }

    /// Notes what the store was told before a restart: messages before `position` may have been sent. Those placed
    /// after the restart come behind it.
    pub fn set_sent_before(&mut self, position: Position) {
        self.pass(position);
    }

    /// Returns whether the message at `position` can have an exchange before anything of the queue is sent: none of
    /// the queue has an earlier position and will have an exchange, too.
    fn may_restore(&self, position: Position) -> bool {
        self.queue.as_ref().is_none_or(|queue| queue.is_at_most_once())
            && self.sent.as_ref().is_none_or(|sent| sent.may_open(position))
    }

    fn restore(
        &mut self,
        position: Position,
        state: State,
        group: Option<GroupId>,
        kept: Option<Box<Entry>>,
    ) {
        debug_assert!(self.class == Class::Durable, "a live session has no place in the store");
        debug_assert!(self.comes_last(position), "{position:?} is out of order");
        let sent = self.sent.get_or_insert_with(|| Box::new(Exchanges::new()));
        sent.open(position, state, Standing::Waiting, group, kept);
    }

    /// Adds the packet identifier of a QoS 2 message from the peer that was accepted before a restart.
    pub fn restore_received(&mut self, packet_id: PacketId) {
        self.received.get_or_insert_default().restore(packet_id);
    }

    /// Drops the oldest message in a durable session's memory that was certainly never sent, to make room, and
    /// returns its position: the entry is the caller's to take from the store.
    pub fn drop_oldest_queued(&mut self, fx: &mut Effects) -> Option<Position> {
        let queue = self.queue.as_mut()?;
        let position = queue.front()?.position;
        if position < self.next_position {
            return None;
        }
        let entry = queue.pop_front()?;
        self.count_left(&entry, fx);
        self.pass(position.plus(1));
        fx.drops.push((DropReason::QueueFull, Some(entry.message)));
        Some(position)
    }

    /// Drops what waits in memory with a topic that `is_dropped` chooses, and was never sent. Returns how many there
    /// were. The entries of a durable session are the caller's to take from the store.
    pub fn drop_queued(&mut self, is_dropped: impl Fn(&str) -> bool, fx: &mut Effects) -> u64 {
        let Some(queue) = &mut self.queue else { return 0 };
        let mut dropped = Vec::new();
        queue.extract(|it| is_dropped(it.message.content().topic), |it| dropped.push(it));
        for entry in &dropped {
            self.count_left(entry, fx);
            self.leave_store(entry.position, fx);
        }
        dropped.len() as u64
    }

    /// Returns what becomes of the session when its connection ends.
    #[inline]
    pub fn class(&self) -> Class {
        self.class
    }

    /// Returns one past the last position of a durable session that was sent or passed over, on this connection or
    /// an earlier one: messages from it on were certainly never sent. It never falls.
    #[inline]
    pub fn sent_before(&self) -> Position {
        self.next_position
    }

    /// Returns the position of the oldest message that was sent and waits for an acknowledgement.
    #[inline]
    pub fn first_open(&self) -> Option<Position> {
        self.sent.as_ref().and_then(|sent| sent.first())
    }

    /// Returns how many packets of an earlier connection are still to be sent again.
    #[inline]
    pub fn waiting_resends(&self) -> usize {
        self.sent.as_ref().map_or(0, |sent| sent.resend_count())
    }

    /// Returns how many messages in memory wait to be sent for the first time.
    #[inline]
    pub fn queued_messages(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.len())
    }

    /// Returns how many bytes of memory those messages take.
    pub fn queued_bytes(&self) -> u64 {
        self.queue.as_ref().map_or(0, |queue| queue.bytes())
    }

    /// Returns how many messages were sent and wait for an acknowledgement, of those in memory.
    #[inline]
    pub fn in_flight(&self) -> usize {
        self.sent.as_ref().map_or(0, |sent| sent.open_count())
    }

    /// Returns whether `position` is behind all that is in memory.
    pub(crate) fn comes_last(&self, position: Position) -> bool {
        let sent = self.sent.as_ref().and_then(|sent| sent.last());
        let queued = self.queue.as_ref().and_then(|queue| queue.back());
        sent.max(queued.map(|entry| entry.position)) < Some(position)
    }
}

#[cfg(test)]
mod tests;
