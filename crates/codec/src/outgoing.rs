//! The encoder of a broker's deliveries.

use alloc::vec::Vec;

use crate::{PacketId, QoS, Version};

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
        let _ = version;
        0
    }

    /// Appends the packet to `out`. In 3.x all properties are left out.
    ///
    /// # Panics
    ///
    /// As [`Packet::encode`](crate::Packet::encode).
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        let _ = (version, out);
    }
}
