//! Messages from the peer: PUBLISH and PUBREL in, PUBACK, PUBREC and PUBCOMP out.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Deref;

use quelea_codec::{PacketId, PacketKind, Publish, QoS, ReasonCode};

use crate::connection::Connection;
use crate::received::{Arrival, Release};
use crate::session::Session;
use crate::violation::Violation;

/// A PUBLISH that the peer was allowed to send.
#[derive(Clone, Debug)]
pub struct Inbound<'p> {
    /// Its topic, whether it came by name or by alias.
    pub topic: Topic<'p>,
    /// Whether it came before.
    pub duplicate: Duplicate,
}

/// The topic of a PUBLISH.
#[derive(Clone, Debug)]
pub enum Topic<'p> {
    /// As the packet has it.
    Borrowed(&'p str),
    /// As a Topic Alias stands for it.
    Aliased(Arc<str>),
}

/// What a PUBLISH is beside those that came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicate {
    /// It is new: route it, then call [`Session::finish_publish`].
    No,
    /// Its first copy has not been answered, and one answer does for both: do nothing.
    WaitsForFirst,
    /// Its first copy was answered with a PUBREC. Do not route it, and answer again ([MQTT-4.3.3-10]):
    /// [`Session::finish_publish`] with success, in the order of arrival.
    Repeat,
}

/// What the host owes after a PUBREL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterPubrel {
    /// [`Session::finish_pubrel`] with success, once the store has forgotten the packet identifier.
    Complete,
    /// [`Session::finish_pubrel`] with Packet Identifier not found, at once.
    Unknown,
}

/// What the host owes after the store has settled a publish of an earlier connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterSettle {
    /// Nothing.
    Nothing,
    /// [`Session::finish_publish`]: the peer has sent the message again, and waits.
    Answer,
}

impl Session {
    /// Handles a PUBLISH.
    ///
    /// # Errors
    ///
    /// A [`Violation`] when it does not fit what the handshake allowed, its alias means nothing, or there are
    /// more of them under way than the Receive Maximum ([MQTT-3.3.4-7]).
    #[inline]
    pub fn on_publish<'p>(
        &mut self,
        connection: &mut Connection,
        publish: &Publish<'p>,
    ) -> Result<Inbound<'p>, Violation> {
        let topic = connection.accept(publish)?;
        let duplicate = match (publish.qos, publish.packet_id) {
            (QoS::AtMostOnce, _) | (_, None) => Duplicate::No,
            // Irrespective of DUP, it is a new message ([MQTT-4.3.2-5]).
            (QoS::AtLeastOnce, Some(_)) => {
                take_receive_quota(connection)?;
                Duplicate::No
            }
            (QoS::ExactlyOnce, Some(packet_id)) => self.on_publish_once(connection, packet_id)?,
        };
        Ok(Inbound { topic, duplicate })
    }

    fn on_publish_once(
        &mut self,
        connection: &mut Connection,
        packet_id: PacketId,
    ) -> Result<Duplicate, Violation> {
        let received = self.received.get_or_insert_default();
        match received.on_publish(packet_id) {
            Arrival::New => {
                take_receive_quota(connection)?;
                Ok(Duplicate::No)
            }
            Arrival::Pending => Ok(Duplicate::WaitsForFirst),
            Arrival::Received => Ok(Duplicate::Repeat),
            // The peer counts what it sends again on a new connection, and so do we, except that there is no
            // harm in one too many: its identifier is held anyway.
            Arrival::PendingInherited => {
                connection.receive_quota.try_take();
                Ok(Duplicate::WaitsForFirst)
            }
            Arrival::ReceivedInherited => {
                connection.receive_quota.try_take();
                Ok(Duplicate::Repeat)
            }
        }
    }

    /// Answers a PUBLISH of this connection: PUBACK at QoS 1 ([MQTT-4.3.2-4]), PUBREC at QoS 2
    /// ([MQTT-4.3.3-8]), nothing at QoS 0.
    ///
    /// A failure frees the packet identifier ([MQTT-4.3.3-9]). 3.x has no failure; the peer sees a success, and
    /// its PUBREL for the identifier will find it unknown, which it does not learn either.
    #[inline]
    pub fn finish_publish(
        &mut self,
        connection: &mut Connection,
        qos: QoS,
        packet_id: PacketId,
        reason: ReasonCode,
        out: &mut Vec<u8>,
    ) {
        match qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => {
                connection.receive_quota.give_back();
                connection.write_ack(PacketKind::PubAck, packet_id, reason, None, out);
            }
            QoS::ExactlyOnce => {
                let received = self.received.get_or_insert_default();
                if !reason.is_failure() {
                    received.accept(packet_id);
                } else if received.forget(packet_id) {
                    connection.receive_quota.give_back();
                }
                connection.write_ack(PacketKind::PubRec, packet_id, reason, None, out);
            }
        }
    }

    /// Notes how a QoS 2 publish turned out at the store whose connection is gone ([`Self::disconnected`]).
    pub fn settle_publish(&mut self, packet_id: PacketId, reason: ReasonCode) -> AfterSettle {
        let is_accepted = !reason.is_failure();
        let is_awaited =
            self.received.as_mut().is_some_and(|received| received.settle(packet_id, is_accepted));
        if is_awaited { AfterSettle::Answer } else { AfterSettle::Nothing }
    }

    /// Handles a PUBREL. Its packet identifier stays known until [`Self::finish_pubrel`].
    ///
    /// # Errors
    ///
    /// Policy: a PUBREL for a message that has not been answered with a PUBREC is a protocol error. If it
    /// were ignored, the identifier would be held for ever, and its next use taken for a duplicate.
    #[inline]
    pub fn on_pubrel(&mut self, packet_id: PacketId) -> Result<AfterPubrel, Violation> {
        let release = self.received.as_ref().map_or(Release::Unknown, |it| it.release(packet_id));
        match release {
            Release::Received => Ok(AfterPubrel::Complete),
            Release::NotAnswered => Err(Violation::PubrelTooEarly),
            Release::Unknown => Ok(AfterPubrel::Unknown),
        }
    }

    /// Forgets the packet identifier and writes PUBCOMP ([MQTT-4.3.3-11], [MQTT-4.3.3-12]).
    ///
    /// Policy: a PUBREL without a PUBLISH on this connection widens the Receive Maximum by one. For the peer
    /// adds one to its quota with each PUBCOMP (section 4.9), and so may rightly have that much more under way.
    #[inline]
    pub fn finish_pubrel(
        &mut self,
        connection: &mut Connection,
        packet_id: PacketId,
        reason: ReasonCode,
        out: &mut Vec<u8>,
    ) {
        if self.received.as_mut().is_some_and(|received| received.complete(packet_id)) {
            connection.receive_quota.give_back();
        } else {
            connection.receive_quota.widen();
        }
        connection.write_ack(PacketKind::PubComp, packet_id, reason, None, out);
    }
}

#[inline]
fn take_receive_quota(connection: &mut Connection) -> Result<(), Violation> {
    if connection.receive_quota.try_take() {
        Ok(())
    } else {
        Err(Violation::ReceiveMaximumExceeded)
    }
}

impl Deref for Topic<'_> {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(topic) => topic,
            Self::Aliased(topic) => topic,
        }
    }
}

#[cfg(test)]
mod tests;
