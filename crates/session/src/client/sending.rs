//! Messages of the application.

use alloc::sync::Arc;
use alloc::vec::Vec;

use quelea_codec::{QoS, is_valid_topic_name};

use super::accepted::Slot;
use super::event::{Done, Outcome, ServerOffer, Unacceptable};
use super::handshake::PACKET_BYTES_MAX;
use super::{ClientSession, Link, Phase};
use crate::Time;
use crate::delivering::{Pumped, deliver_at_most_once};
use crate::delivery::{Delivered, Delivery, DropReason};
use crate::message::{Content, Message};
use crate::outbox::Outbox;
use crate::position::Position;

impl<T> ClientSession<T> {
    /// Takes a message, to be sent in its turn, now or on a later connection.
    ///
    /// How many may wait is the host's business.
    ///
    /// # Errors
    ///
    /// A message that no PUBLISH can carry, with the ticket.
    pub fn accept(
        &mut self,
        content: &Content<'_>,
        qos: QoS,
        retain: bool,
        ticket: T,
    ) -> Result<Position, (Unacceptable, T)> {
        if !is_valid_topic_name(content.topic) {
            return Err((Unacceptable::TopicInvalid, ticket));
        }
        let bytes = content.topic.len() + content.payload.len() + content.forwarded.len();
        if bytes > PACKET_BYTES_MAX as usize - OVERHEAD_BYTES_MAX {
            return Err((Unacceptable::TooLarge, ticket));
        }
        Ok(self.accepted.push(Message::new(content), qos, retain, ticket))
    }

    /// Sends a message at QoS 0 at once, without taking it, if nothing that was accepted waits to be sent. Returns
    /// whether it is written; if not it is to be [accepted](Self::accept), and what is wrong with it is said there.
    ///
    /// Nobody acknowledges it, so that there is nothing to be kept: it goes from the application's bytes to the
    /// outbox's.
    pub fn send_now(
        &mut self,
        content: &Content<'_>,
        retain: bool,
        now: Time,
        outbox: &mut Outbox<'_>,
    ) -> bool {
        // What the host keeps beyond the process is sent when it has it.
        if self.settings.keeps_beyond_process || self.session.wants_pump() {
            return false;
        }
        let is_first = self.accepted.ends_before(self.fed_before);
        let Phase::Connected(Link { connection, offer, .. }) = &mut self.phase else {
            return false;
        };
        let is_supported = offer.retain_available || !retain;
        if !is_first || !is_supported || !is_valid_topic_name(content.topic) {
            return false;
        }
        let delivery = Delivery { retain, ..AT_MOST_ONCE };
        self.fx.clear();
        deliver_at_most_once(connection, content, delivery, now, outbox, &mut self.fx)
            == Delivered::Sent
    }

    /// Takes back the oldest message that was certainly never sent, to make room.
    pub fn drop_oldest(&mut self) -> Option<(Position, T)> {
        self.fx.clear();
        let position = match self.session.drop_oldest_queued(&mut self.fx) {
            Some(position) => position,
            None => {
                let from = self.session.sent_before().max(self.fed_before());
                self.accepted.first_from(from)?.position
            }
        };
        self.fx.clear();
        self.accepted.remove(position).map(|slot| (position, slot.ticket))
    }

    /// Sends what may go, as long as the outbox has room. Messages that are done with are added to `done`.
    pub fn pump(&mut self, now: Time, outbox: &mut Outbox<'_>, done: &mut Vec<Done<T>>) -> Pumped {
        loop {
            let has_more = self.feed(done);
            let Phase::Connected(Link { connection, .. }) = &mut self.phase else {
                return Pumped::Empty;
            };
            self.fx.clear();
            let send_before = self.send_before;
            let fx = &mut self.fx;
            let pumped = self.session.pump(connection, now, send_before, &|_, _| true, outbox, fx);
            self.finish(done);
            match pumped {
                Pumped::Empty if has_more => {}
                Pumped::Empty | Pumped::Blocked | Pumped::Unfinished => return pumped,
            }
        }
    }

    /// Gives the session what was sent on earlier connections of it, to be sent again ([MQTT-4.4.0-1]).
    pub(super) fn restore(&mut self, done: &mut Vec<Done<T>>) {
        let Some(Link { offer, .. }) = self.phase.link() else {
            return;
        };
        let offer = *offer;
        let sent_before = self.session.sent_before();
        let mut from = Position::new(0);
        while let Some(slot) = self.accepted.first_from(from) {
            let position = slot.position;
            if position >= sent_before {
                break;
            }
            from = position.plus(1);
            match (&slot.message, unsupported(slot, &offer)) {
                (None, _) => self.session.restore_released(position),
                (Some(message), None) => {
                    let message = Arc::clone(message);
                    self.session.restore_sent(position, message, delivery(slot));
                }
                (Some(_), Some(outcome)) => self.finish_one(position, outcome, done),
            }
        }
        self.fed_before = from.max(sent_before);
    }

    /// Gives the session's queue a few messages more; returns whether there are more.
    fn feed(&mut self, done: &mut Vec<Done<T>>) -> bool {
        let Some(Link { offer, .. }) = self.phase.link() else {
            return false;
        };
        let offer = *offer;
        while self.session.queued_messages() < QUEUE_HEAD_MAX {
            let Some(slot) = self.accepted.first_from(self.fed_before) else {
                return false;
            };
            let position = slot.position;
            self.fed_before = position.plus(1);
            match (&slot.message, unsupported(slot, &offer)) {
                (Some(message), None) => {
                    let message = Arc::clone(message);
                    self.session.enqueue(position, message, delivery(slot), 0);
                }
                (Some(_), Some(outcome)) => self.finish_one(position, outcome, done),
                (None, _) => debug_assert!(false, "{position:?} was released before it was sent"),
            }
        }
        true
    }

    fn fed_before(&self) -> Position {
        match self.phase {
            Phase::Connected(_) => self.fed_before,
            Phase::Offline | Phase::Connecting(_) | Phase::Closing => Position::new(0),
        }
    }

    /// Takes out the messages that the session is done with.
    fn finish(&mut self, done: &mut Vec<Done<T>>) {
        let mut drops = self.fx.drops.drain(..).peekable();
        for position in self.fx.finished.drain(..) {
            let Some(slot) = self.accepted.remove(position) else {
                continue;
            };
            // Drops are noted in the order in which their positions are.
            let dropped = drops.next_if(|(_, message)| match (message, &slot.message) {
                (Some(dropped), Some(message)) => Arc::ptr_eq(dropped, message),
                (_, _) => false,
            });
            let outcome = match dropped {
                None => Outcome::Sent,
                Some((DropReason::Expired, _)) => Outcome::Expired,
                Some((
                    DropReason::PacketTooLarge
                    | DropReason::NotConnected
                    | DropReason::QueueFull
                    | DropReason::SlowReader,
                    _,
                )) => Outcome::TooLarge,
            };
            done.push(Done { ticket: slot.ticket, position, outcome });
        }
    }

    fn finish_one(&mut self, position: Position, outcome: Outcome, done: &mut Vec<Done<T>>) {
        let slot = self.accepted.remove(position);
        done.extend(slot.map(|slot| Done { ticket: slot.ticket, position, outcome }));
    }
}

/// Returns what is to be said of a message that the broker cannot take.
fn unsupported<T>(slot: &Slot<T>, offer: &ServerOffer) -> Option<Outcome> {
    if slot.qos > offer.qos_max {
        Some(Outcome::QoSNotSupported)
    } else if slot.retain && !offer.retain_available {
        Some(Outcome::RetainNotSupported)
    } else {
        None
    }
}

fn delivery<T>(slot: &Slot<T>) -> Delivery<'static> {
    Delivery { qos: slot.qos, retain: slot.retain, subscription_ids: &[], group: None }
}

const AT_MOST_ONCE: Delivery<'static> =
    Delivery { qos: QoS::AtMostOnce, retain: false, subscription_ids: &[], group: None };

/// How many messages the session's queue holds at most; the rest waits where it was accepted.
const QUEUE_HEAD_MAX: usize = 256;

/// What a PUBLISH has beside topic, properties and payload: fixed header, lengths, identifier, expiry, alias.
const OVERHEAD_BYTES_MAX: usize = 32;
