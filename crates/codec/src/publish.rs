//! PUBLISH.

use crate::{DecodeError, Frame, Malformed, PacketId, PublishProperties, QoS, Version};

/// A PUBLISH packet (section 3.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Publish<'a> {
    /// The packet is sent again.
    pub dup: bool,
    /// Quality of Service.
    pub qos: QoS,
    /// RETAIN.
    pub retain: bool,
    /// Topic Name: empty only beside a Topic Alias, and then it is the alias that names the topic.
    pub topic: &'a str,
    /// Packet Identifier: present exactly at QoS 1 and 2.
    pub packet_id: Option<PacketId>,
    /// Properties; none in 3.x.
    pub properties: PublishProperties<'a>,
    /// Application message.
    pub payload: &'a [u8],
}

/// Decodes a PUBLISH: the hot path of a broker.
///
/// # Errors
///
/// As [`Packet::decode`](crate::Packet::decode); [`Malformed::PacketType`] if the frame is no PUBLISH.
pub fn decode_publish<'a>(frame: Frame<'a>, version: Version) -> Result<Publish<'a>, DecodeError> {
    let _ = (frame, version);
    Err(Malformed::PacketType.into())
}
