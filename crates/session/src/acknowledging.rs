//! Acknowledgements of the peer: PUBACK, PUBREC and PUBCOMP in, PUBREL out.
//!
//! Policy: an acknowledgement that does not fit the QoS of its message is a protocol error and ends the connection.
//! There is no answer to it, and to free the exchange would lose a message, to keep it would block a part of the
//! window for ever. One whose packet identifier is not in use may have crossed with something of ours, and is
//! ignored or answered as the specification says.

use alloc::sync::Arc;
use alloc::vec::Vec;

use quelea_codec::{PacketId, PacketKind, QoS, ReasonCode};

use crate::connection::Connection;
use crate::delivery::Entry;
use crate::exchanges::{Closed, State};
use crate::message::Message;
use crate::outbox::Effects;
use crate::position::{GroupId, Position};
use crate::session::{Class, Session};
use crate::violation::Violation;

/// What a PUBACK did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterPuback {
    /// The exchange is complete.
    Freed {
        /// The shared group of the message.
        group: Option<GroupId>,
    },
    /// The client refused the message, and the exchange is complete. No other member of the group gets it
    /// ([MQTT-4.8.2-6]).
    Refused {
        /// The shared group of the message.
        group: Option<GroupId>,
    },
    /// There is no such exchange.
    Unknown,
}

/// What the host owes after a PUBREC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterPubrec {
    /// [`Session::finish_pubrec`] with success: for a durable session once the store knows that the client has
    /// the message.
    Release {
        /// The message's place in the store.
        position: Position,
    },
    /// [`Session::finish_pubrec`] with success, at once: the client repeats itself.
    ReleaseAgain,
    /// Nothing: the first PUBREC of this message still waits for the store.
    WaitsForFirst,
    /// Nothing. The client refused the message, and its exchange is complete ([MQTT-4.4.0-2]), or was so before.
    Refused {
        /// The shared group of the message.
        group: Option<GroupId>,
    },
    /// [`Session::finish_pubrec`] with Packet Identifier not found: there is no such exchange.
    ///
    /// Nothing while a durable session has not been given all that is to be sent again: this may answer a part of
    /// it, from an earlier connection. The client would forget that it has the message, and take it twice.
    Unknown,
}

/// What a PUBCOMP did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterPubcomp {
    /// The exchange is complete.
    Freed {
        /// The shared group of the message.
        group: Option<GroupId>,
    },
    /// There is no such exchange.
    Unknown,
}

/// A message that leaves its session for another member of its shared group.
#[derive(Clone, Debug)]
pub struct Moved {
    /// The group.
    pub group: GroupId,
    /// The message.
    pub message: Arc<Message>,
    /// QoS it was delivered with.
    pub qos: QoS,
    /// RETAIN it was delivered with.
    pub retain: bool,
}

/// What [`Session::withdraw`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawn {
    /// It waited to be sent for the first time, and is taken out.
    Queued,
    /// It was sent at QoS 1 and is not acknowledged. If that was on this connection its packet identifier stays in
    /// use until it is, and nothing more comes of the acknowledgement.
    Sent,
    /// It was sent at QoS 2, and never moves ([MQTT-4.8.2-5]).
    Kept,
    /// It is not in memory: it may be in the store, or done with.
    Absent,
}

impl Session {
    /// Handles a PUBACK, which completes a QoS 1 message whatever its reason code ([MQTT-4.4.0-2]).
    ///
    /// # Errors
    ///
    /// [`Violation::AcknowledgementMismatched`] if the message has QoS 2.
    #[inline]
    pub fn on_puback(
        &mut self,
        connection: &mut Connection,
        packet_id: PacketId,
        reason: ReasonCode,
        fx: &mut Effects,
    ) -> Result<AfterPuback, Violation> {
        let Some((index, state)) = self.find_sent(packet_id) else {
            return Ok(AfterPuback::Unknown);
        };
        match state {
            State::Puback | State::Withdrawn => {
                let group = self.complete(connection, index, fx);
                Ok(if reason.is_failure() {
                    AfterPuback::Refused { group }
                } else {
                    AfterPuback::Freed { group }
                })
            }
            State::Pubrec | State::Releasing | State::Pubcomp | State::Done => {
                Err(Violation::AcknowledgementMismatched)
            }
        }
    }

    /// Handles a PUBREC.
    ///
    /// A repeated one asks for its PUBREL again ([MQTT-4.3.3-4]). A refusal never asks for one.
    ///
    /// # Errors
    ///
    /// [`Violation::AcknowledgementMismatched`] if the message has QoS 1.
    #[inline]
    pub fn on_pubrec(
        &mut self,
        connection: &mut Connection,
        packet_id: PacketId,
        reason: ReasonCode,
        fx: &mut Effects,
    ) -> Result<AfterPubrec, Violation> {
        let Some((index, state)) = self.find_sent(packet_id) else {
            return Ok(if reason.is_failure() {
                AfterPubrec::Refused { group: None }
            } else {
                AfterPubrec::Unknown
            });
        };
        match (state, reason.is_failure()) {
            (State::Puback | State::Withdrawn, _) => Err(Violation::AcknowledgementMismatched),
            (State::Pubrec, true) => {
                let group = self.complete(connection, index, fx);
                Ok(AfterPubrec::Refused { group })
            }
            (State::Pubrec, false) => Ok(self.start_release(index)),
            // Policy: a refusal after an acceptance is answered like a repeat, because only PUBCOMP ends an
            // exchange whose PUBREL has been sent.
            (State::Releasing | State::Done, _) => Ok(AfterPubrec::WaitsForFirst),
            (State::Pubcomp, _) => Ok(AfterPubrec::ReleaseAgain),
        }
    }

    /// Writes PUBREL.
    #[inline]
    pub fn finish_pubrec(
        &mut self,
        connection: &mut Connection,
        packet_id: PacketId,
        reason: ReasonCode,
        out: &mut Vec<u8>,
    ) {
        if let Some(sent) = &mut self.sent
            && let Some(index) = sent.find(packet_id)
            && matches!(sent.state(index), State::Releasing | State::Pubcomp)
        {
            sent.released(index);
        }
        connection.write_ack(PacketKind::PubRel, packet_id, reason, None, out);
    }

    /// Handles a PUBCOMP, which completes a QoS 2 message whatever its reason code.
    ///
    /// # Errors
    ///
    /// [`Violation::AcknowledgementMismatched`] if the PUBREL has not been sent.
    #[inline]
    pub fn on_pubcomp(
        &mut self,
        connection: &mut Connection,
        packet_id: PacketId,
        fx: &mut Effects,
    ) -> Result<AfterPubcomp, Violation> {
        let Some((index, state)) = self.find_sent(packet_id) else {
            return Ok(AfterPubcomp::Unknown);
        };
        match state {
            State::Pubcomp => {
                let group = self.complete(connection, index, fx);
                Ok(AfterPubcomp::Freed { group })
            }
            State::Puback | State::Withdrawn | State::Pubrec | State::Releasing | State::Done => {
                Err(Violation::AcknowledgementMismatched)
            }
        }
    }

    /// Takes what moves to another member when this live session leaves `group`, or with `None` when it ends: QoS 1
    /// messages without an acknowledgement, and whatever of the group was never sent. A QoS 2 message that was
    /// sent stays ([MQTT-4.8.2-5]).
    ///
    /// The messages of a durable session are in the store, and leave it one by one by [`Self::withdraw`].
    pub fn take_group(&mut self, group: Option<GroupId>) -> Vec<Moved> {
        debug_assert!(self.class == Class::Live, "the store knows what else there is of the group");
        let is_taken = |of: GroupId| group.is_none_or(|group| group == of);
        let mut moved = Vec::new();
        let mut take = |entry: Entry| {
            let Entry { message, group, qos, retain, .. } = entry;
            moved.extend(group.map(|group| Moved { group, message, qos, retain }));
        };
        if let Some(sent) = &mut self.sent {
            sent.take_unacknowledged(is_taken, &mut take);
        }
        if let Some(queue) = &mut self.queue {
            queue.extract(|entry| entry.group.is_some_and(is_taken), take);
        }
        moved
    }

    /// Takes the message at `position` out of a durable session, because it moves to another member of its shared
    /// group. If it does, its entry is the host's to take from the store.
    pub fn withdraw(&mut self, position: Position, fx: &mut Effects) -> Withdrawn {
        debug_assert!(self.class == Class::Durable, "a live session has no place in the store");
        if let Some(sent) = &mut self.sent
            && let Some(index) = sent.find_position(position)
        {
            return match sent.state(index) {
                State::Puback => {
                    sent.withdraw(index);
                    Withdrawn::Sent
                }
                State::Withdrawn | State::Done => Withdrawn::Absent,
                State::Pubrec | State::Releasing | State::Pubcomp => Withdrawn::Kept,
            };
        }
        let Some(entry) = self.queue.as_mut().and_then(|queue| queue.remove(position)) else {
            return Withdrawn::Absent;
        };
        self.count_left(&entry, fx);
        Withdrawn::Queued
    }

    #[inline]
    pub(crate) fn find_sent(&self, packet_id: PacketId) -> Option<(usize, State)> {
        let sent = self.sent.as_deref()?;
        let index = sent.find(packet_id)?;
        Some((index, sent.state(index)))
    }

    #[inline]
    fn start_release(&mut self, index: usize) -> AfterPubrec {
        let Some(sent) = &mut self.sent else {
            return AfterPubrec::Unknown;
        };
        sent.start_release(index);
        AfterPubrec::Release { position: sent.position(index) }
    }

    /// Ends an exchange: its quota goes back, and its entry leaves the store.
    #[inline]
    fn complete(
        &mut self,
        connection: &mut Connection,
        index: usize,
        fx: &mut Effects,
    ) -> Option<GroupId> {
        let sent = self.sent.as_mut()?;
        let Closed { position, group, is_counted, is_withdrawn, kept: _ } = sent.close(index);
        if is_counted {
            connection.send_quota.give_back();
        }
        if !is_withdrawn {
            self.leave_store(position, fx);
        }
        group
    }
}

#[cfg(test)]
mod tests;
