//! PUBACK, PUBREC, PUBREL and PUBCOMP: four packets of one form.

use alloc::vec::Vec;

use crate::error::{DecodeError, Violation};
use crate::property::{Place, PropertySet};
use crate::property_section::properties_of;
use crate::read::Reader;
use crate::write::Sink;
use crate::{Packet, PacketId, PacketKind, ReasonCode, UserProperties, Version};

/// An acknowledgement in the exchange of a PUBLISH (sections 3.4 to 3.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack<'a> {
    /// Packet Identifier of the PUBLISH.
    pub packet_id: PacketId,
    /// Reason Code; always success in 3.x.
    pub reason: ReasonCode,
    /// Properties; none in 3.x.
    pub properties: AckProperties<'a>,
}

/// The properties of acknowledgements, SUBACK and UNSUBACK included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AckProperties<'a> {
    /// Reason String.
    pub reason_string: Option<&'a str>,
    /// User Properties.
    pub user_properties: UserProperties<'a>,
}

properties_of!(AckProperties { reason_string, user_properties });

impl<'a> Ack<'a> {
    pub(crate) fn decode(
        kind: PacketKind,
        place: Place,
        mut reader: Reader<'a>,
        version: Version,
    ) -> Result<Self, DecodeError> {
        let mut ack = Self::new(reader.packet_id()?, ReasonCode::SUCCESS);
        // The short forms: without Reason Code, and without Property Length (section 3.4.2).
        if version.is_v5() && !reader.is_empty() {
            ack.reason = reader.reason()?;
            if !ack.reason.is_allowed_in(kind) {
                return Err(Violation::ReasonCodeNotAllowed(kind).into());
            }
            if !reader.is_empty() {
                ack.properties = PropertySet::read_section(&mut reader, place)?.into();
            }
        }
        reader.finish()?;
        Ok(ack)
    }

    pub(crate) fn write_body<S: Sink>(&self, version: Version, sink: &mut S) {
        sink.two_bytes(self.packet_id.value());
        if !version.is_v5() {
            return;
        }
        let has_properties = self.properties != AckProperties::default();
        if has_properties || self.reason != ReasonCode::SUCCESS {
            sink.byte(self.reason.0);
        }
        if has_properties {
            PropertySet::from(self.properties).write_section(sink);
        }
    }
}

impl Ack<'_> {
    /// Returns an acknowledgement without properties.
    pub fn new(packet_id: PacketId, reason: ReasonCode) -> Self {
        Self { packet_id, reason, properties: AckProperties::default() }
    }
}

/// Appends a PUBACK, PUBREC, PUBREL or PUBCOMP to `out`: 4 bytes in 3.x, and for a success without reason
/// string in 5.0.
///
/// In 3.x `reason` and `reason_string` are left out.
///
/// # Panics
///
/// When `kind` is another packet, or the reason string is longer than 65,535 bytes.
#[inline]
pub fn encode_ack(
    kind: PacketKind,
    packet_id: PacketId,
    reason: ReasonCode,
    reason_string: Option<&str>,
    version: Version,
    out: &mut Vec<u8>,
) {
    let first_byte = match kind {
        PacketKind::PubAck => 0x40,
        PacketKind::PubRec => 0x50,
        PacketKind::PubRel => 0x62,
        PacketKind::PubComp => 0x70,
        PacketKind::Connect
        | PacketKind::ConnAck
        | PacketKind::Publish
        | PacketKind::Subscribe
        | PacketKind::SubAck
        | PacketKind::Unsubscribe
        | PacketKind::UnsubAck
        | PacketKind::PingReq
        | PacketKind::PingResp
        | PacketKind::Disconnect
        | PacketKind::Auth => panic!("{kind} is not an acknowledgement of PUBLISH"),
    };
    let [high, low] = packet_id.value().to_be_bytes();
    if !version.is_v5() || (reason == ReasonCode::SUCCESS && reason_string.is_none()) {
        out.extend_from_slice(&[first_byte, 2, high, low]);
    } else if let Some(text) = reason_string {
        let properties = AckProperties { reason_string: Some(text), ..AckProperties::default() };
        Packet::PubAck(Ack { packet_id, reason, properties }).encode_as(first_byte, version, out);
    } else {
        out.extend_from_slice(&[first_byte, 3, high, low, reason.0]);
    }
}
