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
//! Subscriptions, the will, the retained cursors and the expiry of the session are the host's.

use alloc::boxed::Box;

use quelea_codec::{PacketId, QoS};

use crate::delivery::{Body, Delivery, DropReason, Entry};
use crate::exchanges::{Exchanges, Standing, State};
use crate::outbox::Effects;
use crate::position::Position;
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
    /// The position of the next message that a live session sends.
    pub(crate) next_position: Position,
    pub(crate) class: Class,
}

/// What becomes of a session when its connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It ends too. It keeps no bodies of what it has sent, except for a shared group, and numbers its messages
    /// itself.
    Live,
    /// It may be resumed. Its QoS 1 and 2 messages are numbered by the store.
    Durable,
}

/// What becomes of QoS 2 messages from the peer that are not answered when its connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsettled {
    /// They are forgotten: none of them is on its way to the store, or the session ends.
    Forget,
    /// They stay known, and the host calls [`Session::settle_publish`] for each. Otherwise a message that is on
    /// its way to the store would be routed twice when the peer sends it again.
    AwaitStore,
}

impl Session {
    /// Returns the state of a new session.
    pub fn new(class: Class) -> Self {
        Self { sent: None, queue: None, received: None, next_position: Position::new(0), class }
    }

    /// Notes that the connection ended. Its quotas go with it; what was sent stays until
    /// [`Self::resume`].
    pub fn disconnected(&mut self, unsettled: Unsettled) {
        if let Some(received) = &mut self.received {
            received.disconnect(unsettled == Unsettled::AwaitStore);
        }
        self.release_idle();
    }

    /// Has everything that was sent and not acknowledged sent again by [`Self::pump`], in order, on a new
    /// connection ([MQTT-4.4.0-1]).
    pub fn resume(&mut self) {
        if let Some(sent) = &mut self.sent {
            sent.resume();
        }
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

    /// Adds an entry that may have been sent before a restart. It keeps its packet identifier, goes out with DUP
    /// after [`Self::resume`], and is neither expired nor dropped.
    ///
    /// In order of positions, and before anything is enqueued. The host sees to it that the store hears of an
    /// acknowledgement before 65,535 later messages are sent: otherwise two entries come back that share an
    /// identifier.
    pub fn restore_sent(&mut self, position: Position, body: Body, delivery: Delivery<'_>) {
        let state = match delivery.qos {
            QoS::ExactlyOnce => State::Pubrec,
            QoS::AtLeastOnce | QoS::AtMostOnce => State::Puback,
        };
        let sent = self.sent.get_or_insert_with(|| Box::new(Exchanges::new()));
        // What is too far from the first open entry was never sent, for that is not done.
        if self.queue.is_some() || !sent.may_open(position) {
            return self.enqueue(position, body, delivery);
        }
        let entry = Box::new(Entry::new(position, body, delivery));
        sent.open(position, state, Standing::Waiting, delivery.group, Some(entry));
    }

    /// Adds an entry whose PUBREC was stored before a restart: only its PUBREL is sent ([MQTT-4.3.3-6]).
    ///
    /// In order of positions, together with [`Self::restore_sent`].
    pub fn restore_released(&mut self, position: Position) {
        let sent = self.sent.get_or_insert_with(|| Box::new(Exchanges::new()));
        if sent.may_open(position) {
            sent.open(position, State::Pubcomp, Standing::Waiting, None, None);
        }
    }

    /// Adds the packet identifier of a QoS 2 message from the peer that was accepted before a restart.
    pub fn restore_received(&mut self, packet_id: PacketId) {
        self.received.get_or_insert_default().restore(packet_id);
    }

    /// Drops the oldest message that was never sent, to make room, and returns its position. The drop is left to
    /// the caller to count.
    pub fn drop_oldest_queued(&mut self, fx: &mut Effects) -> Option<Position> {
        let entry = self.queue.as_mut()?.pop_front()?;
        let position = entry.position;
        fx.drops.push((DropReason::QueueFull, entry.into_message()));
        Some(position)
    }

    /// Returns what becomes of the session when its connection ends.
    #[inline]
    pub fn class(&self) -> Class {
        self.class
    }

    /// Returns how many messages wait to be sent for the first time.
    #[inline]
    pub fn queued_messages(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.len())
    }

    /// Returns how many bytes those messages count for.
    pub fn queued_bytes(&self) -> u64 {
        self.queue.as_ref().map_or(0, |queue| queue.bytes())
    }

    /// Returns how many messages were sent and wait for an acknowledgement.
    #[inline]
    pub fn in_flight(&self) -> usize {
        self.sent.as_ref().map_or(0, |sent| sent.open_count())
    }
}

#[cfg(test)]
mod tests {
    use super::Session;
    use crate::Connection;
    use crate::delivery::{Body, Entry};

    /// A server holds one of each for every client, most of them idle.
    #[test]
    fn idle_sessions_and_connections_are_small() {
        assert!(size_of::<Session>() <= 40, "{}", size_of::<Session>());
        assert!(size_of::<Connection>() <= 48, "{}", size_of::<Connection>());
    }

    /// A sleeping fleet has millions of queued entries.
    #[test]
    fn queued_entries_are_small() {
        assert!(size_of::<Body>() <= 16, "{}", size_of::<Body>());
        assert!(size_of::<Entry>() <= 48, "{}", size_of::<Entry>());
    }
}
