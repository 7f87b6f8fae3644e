//! SUBACK and UNSUBACK: two packets of one form.

use crate::{AckProperties, PacketId};

/// A SUBACK packet (section 3.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubAck<'a> {
    /// Packet Identifier of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// A reason code for each Topic Filter of the SUBSCRIBE, in their order ([MQTT-3.9.3-1]). In 3.x every
    /// failure is 0x80 on the wire.
    pub reasons: &'a [u8],
    /// Properties; none in 3.x.
    pub properties: AckProperties<'a>,
}

/// An UNSUBACK packet (section 3.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsubAck<'a> {
    /// Packet Identifier of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// A reason code for each Topic Filter of the UNSUBSCRIBE, in their order ([MQTT-3.11.3-1]). In 3.x there
    /// are none on the wire.
    pub reasons: &'a [u8],
    /// Properties; none in 3.x.
    pub properties: AckProperties<'a>,
}
