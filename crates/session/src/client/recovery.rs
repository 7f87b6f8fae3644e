//! Messages that outlive the process: what their keeper has to know, and how they come back.
//!
//! The host keeps each accepted message until it is done with, and three facts beside:
//!
//! - a mark: messages at positions before it may have been sent. It is kept before they are;
//! - which QoS 2 messages the broker has received: kept before their PUBREL leaves, because from then on the broker may
//!   take the message, sent again, for a new one ([MQTT-4.3.3-6]);
//! - which messages are done with: that may be lost, and they are sent again in the way that their QoS allows.

use alloc::vec::Vec;

use quelea_codec::{QoS, ReasonCode};

use super::accepted::Slot;
use super::{ClientSession, Link};
use crate::exchanges::State;
use crate::message::{Content, Message};
use crate::position::Position;

impl<T> ClientSession<T> {
    /// Notes what was kept of the mark, before anything else is given back.
    pub fn recover_mark(&mut self, mark: Position) {
        self.session.set_sent_before(mark);
    }

    /// Gives back a message that was kept, in the order of positions.
    pub fn recover(
        &mut self,
        position: Position,
        content: &Content<'_>,
        qos: QoS,
        retain: bool,
        ticket: T,
    ) {
        let message = Some(Message::new(content));
        let reason = ReasonCode::SUCCESS;
        self.accepted.insert(Slot { position, message, ticket, reason, qos, retain });
    }

    /// Gives back a QoS 2 message that the broker has received, in the order of positions together with
    /// [`Self::recover`].
    pub fn recover_received(&mut self, position: Position, ticket: T) {
        let (message, reason, qos) = (None, ReasonCode::SUCCESS, QoS::ExactlyOnce);
        self.accepted.insert(Slot { position, message, ticket, reason, qos, retain: false });
    }

    /// Ends the recovery: new messages come behind all that may have been sent.
    pub fn recovered(&mut self) {
        self.accepted.pass(self.session.sent_before());
    }

    /// Allows messages before `position` to be sent: they are kept, and so is a mark at or behind it.
    pub fn allow_sending_before(&mut self, position: Position) {
        self.send_before = self.send_before.max(position);
    }

    /// Writes the PUBREL of a message, after [`Event::Received`](super::Event::Received), once it is kept that the
    /// broker has it. In the order in which these came ([MQTT-4.6.0-4]).
    pub fn release(&mut self, position: Position, out: &mut Vec<u8>) {
        let packet_id = position.packet_id();
        let is_due = self.session.find_sent(packet_id).map(|(_, state)| state);
        let Some(Link { connection, .. }) = self.phase.link() else {
            return;
        };
        // On a connection that came later it has left already.
        if is_due == Some(State::Releasing) {
            self.session.finish_pubrec(connection, packet_id, ReasonCode::SUCCESS, out);
        }
    }

    /// Returns one past the last position that was sent or passed over: the mark has to be kept before it.
    pub fn sent_before(&self) -> Position {
        self.session.sent_before()
    }
}

#[cfg(test)]
mod tests;
