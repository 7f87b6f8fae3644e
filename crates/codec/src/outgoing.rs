//! The encoder of a broker's deliveries.

use alloc::vec::Vec;

use crate::publish::{ID_IS_THERE, first_byte};
use crate::write::{length_prefix, variable_bytes, variable_len};
use crate::{PacketId, Property, QoS, Version};

/// A PUBLISH to one receiver of a message that many receive.
///
/// What the receivers share (topic, payload, forwarded properties) is borrowed as wire bytes; what is decided
/// per receiver stands in fields of its own. Encoding agrees with that of
/// [`Packet::Publish`](crate::Packet::Publish).
#[derive(Clone, Copy, Debug, Default)]
pub struct OutgoingPublish<'a> {
    /// The packet is sent again.
    pub dup: bool,
    /// Quality of Service.
    pub qos: QoS,
    /// RETAIN.
    pub retain: bool,
    /// Packet Identifier: there at QoS 1 and 2, ignored at QoS 0.
    pub packet_id: Option<PacketId>,
    /// Topic Name; empty when the alias alone is sent.
    pub topic: &'a str,
    /// Topic Alias.
    pub topic_alias: Option<u16>,
    /// What is left of the Message Expiry Interval.
    pub message_expiry_secs: Option<u32>,
    /// Identifiers of the subscriptions that matched.
    pub subscription_ids: &'a [u32],
    /// Forwarded properties, as written by
    /// [`append_forwarded`](crate::PublishProperties::append_forwarded).
    pub forwarded: &'a [u8],
    /// Application message.
    pub payload: &'a [u8],
}

impl OutgoingPublish<'_> {
    /// Returns the number of bytes that [`Self::encode`] appends: what the receiver's Maximum Packet Size is
    /// compared with ([MQTT-3.1.2-24]).
    pub fn encoded_len(&self, version: Version) -> usize {
        let (_, remaining) = self.lengths(version);
        1 + variable_len(remaining) + remaining
    }

    /// Appends the packet to `out`. In 3.x all properties are left out.
    ///
    /// # Panics
    ///
    /// As [`Packet::encode`](crate::Packet::encode).
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        let (properties, remaining) = self.lengths(version);
        let (length, length_bytes) = variable_bytes(remaining);
        out.reserve(1 + length_bytes + remaining);

        out.push(first_byte(self.dup, self.qos, self.retain));
        out.extend_from_slice(&length[..length_bytes]);
        out.extend_from_slice(&length_prefix(self.topic.as_bytes()).to_be_bytes());
        out.extend_from_slice(self.topic.as_bytes());
        if self.qos != QoS::AtMostOnce {
            out.extend_from_slice(&self.packet_id.expect(ID_IS_THERE).value().to_be_bytes());
        }
        if version.is_v5() {
            self.write_properties(properties, out);
        }
        out.extend_from_slice(self.payload);
    }

    /// Returns the Property Length and the Remaining Length.
    #[inline]
    fn lengths(&self, version: Version) -> (usize, usize) {
        let packet_id = if self.qos == QoS::AtMostOnce { 0 } else { 2 };
        let plain = 2 + self.topic.len() + packet_id + self.payload.len();
        if !version.is_v5() {
            return (0, plain);
        }
        let subscription_ids: usize =
            self.subscription_ids.iter().map(|&id| 1 + variable_len(id as usize)).sum();
        let properties = self.message_expiry_secs.map_or(0, |_| 5)
            + self.topic_alias.map_or(0, |_| 3)
            + subscription_ids
            + self.forwarded.len();
        (properties, plain + variable_len(properties) + properties)
    }

    /// Writes the property section, in the order of [`Packet::Publish`](crate::Packet::Publish).
    #[inline]
    fn write_properties(&self, length: usize, out: &mut Vec<u8>) {
        if length == 0 {
            out.push(0);
            return;
        }
        let (length, length_bytes) = variable_bytes(length);
        out.extend_from_slice(&length[..length_bytes]);
        if let Some(topic_alias) = self.topic_alias {
            out.push(Property::TopicAlias.id());
            out.extend_from_slice(&topic_alias.to_be_bytes());
        }
        for &id in self.subscription_ids {
            let (id, id_bytes) = variable_bytes(id as usize);
            out.push(Property::SubscriptionIdentifier.id());
            out.extend_from_slice(&id[..id_bytes]);
        }
        out.extend_from_slice(self.forwarded);
        if let Some(message_expiry_secs) = self.message_expiry_secs {
            out.push(Property::MessageExpiryInterval.id());
            out.extend_from_slice(&message_expiry_secs.to_be_bytes());
        }
    }
}
