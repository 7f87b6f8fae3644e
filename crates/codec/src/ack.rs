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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Malformed;
    use crate::notation::{check_fault, check_packet, whole_packet};

    const V3: [Version; 2] = [Version::V31, Version::V311];
    const KINDS: [(u8, PacketKind); 4] = [
        (0x40, PacketKind::PubAck),
        (0x50, PacketKind::PubRec),
        (0x62, PacketKind::PubRel),
        (0x70, PacketKind::PubComp),
    ];

    /// Sections 3.4.2, 3.5.2, 3.6.2 and 3.7.2: Reason Code and Property Length may be left out.
    #[test]
    fn short_and_long_forms() {
        for (first_byte, kind) in KINDS {
            let failure = failure_of(kind);
            check_packet(
                &Version::ALL,
                first_byte,
                "0102",
                &packet(kind, ack(ReasonCode::SUCCESS)),
            );
            check_packet(
                &[Version::V5],
                first_byte,
                &std::format!("0102 {:02X}", failure.0),
                &packet(kind, ack(failure)),
            );
            let properties = AckProperties {
                reason_string: Some("why"),
                user_properties: UserProperties::from_pairs(&[("k", "v")]),
            };
            let long = packet(kind, Ack { properties, ..ack(ReasonCode::SUCCESS) });
            check_packet(&[Version::V5], first_byte, "0102 00 { 1F <why> 26 <k> <v> }", &long);
            for body in ["0102 00", "0102 00 00"] {
                crate::notation::check_decodes(
                    &[Version::V5],
                    first_byte,
                    body,
                    &packet(kind, ack(ReasonCode::SUCCESS)),
                );
            }
        }
    }

    /// [MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1], [MQTT-3.7.2-1]
    #[test]
    fn faults() {
        for (first_byte, kind) in KINDS {
            check_fault(
                &[Version::V5],
                first_byte,
                "0102 01",
                Violation::ReasonCodeNotAllowed(kind),
            );
            check_fault(
                &[Version::V5],
                first_byte,
                "0102 FF 00",
                Violation::ReasonCodeNotAllowed(kind),
            );
            check_fault(&Version::ALL, first_byte, "0000", Violation::ZeroPacketId);
            check_fault(&Version::ALL, first_byte, "", Malformed::Truncated);
            check_fault(&Version::ALL, first_byte, "01", Malformed::Truncated);
            check_fault(&V3, first_byte, "0102 00", Malformed::TrailingBytes);
            check_fault(&[Version::V5], first_byte, "0102 00 00 00", Malformed::TrailingBytes);
            check_fault(&[Version::V5], first_byte, "0102 00 05 1F", Malformed::Truncated);
        }
        check_fault(
            &[Version::V5],
            0x40,
            "0102 92",
            Violation::ReasonCodeNotAllowed(PacketKind::PubAck),
        );
        check_fault(
            &[Version::V5],
            0x62,
            "0102 10",
            Violation::ReasonCodeNotAllowed(PacketKind::PubRel),
        );
    }

    /// [MQTT-3.6.1-1], v3.1.1 [MQTT-3.6.1-1], v3.1 §2.1: only 3.1 sends PUBREL again with DUP.
    #[test]
    fn dup_of_pubrel() {
        let pubrel = packet(PacketKind::PubRel, ack(ReasonCode::SUCCESS));
        crate::notation::check_decodes(&[Version::V31], 0x6A, "0102", &pubrel);
        check_fault(&[Version::V311, Version::V5], 0x6A, "0102", Malformed::FixedHeaderFlags);
    }

    #[test]
    fn direct_encoding_agrees() {
        for (first_byte, kind) in KINDS {
            let failure = failure_of(kind);
            for (reason, text, body) in [
                (ReasonCode::SUCCESS, None, "0102".into()),
                (failure, None, std::format!("0102 {:02X}", failure.0)),
                (ReasonCode::SUCCESS, Some("x"), "0102 00 { 1F <x> }".into()),
                (failure, Some(""), std::format!("0102 {:02X} {{ 1F <> }}", failure.0)),
            ] {
                for version in Version::ALL {
                    let mut encoded = Vec::new();
                    encode_ack(kind, id(), reason, text, version, &mut encoded);
                    let expected = if version.is_v5() { &body } else { "0102" };
                    assert_eq!(
                        encoded,
                        whole_packet(first_byte, expected),
                        "{version:?} {kind} {reason} {text:?}"
                    );
                }
            }
        }
    }

    fn id() -> PacketId {
        PacketId::new(0x0102).expect("not zero")
    }

    fn ack(reason: ReasonCode) -> Ack<'static> {
        Ack::new(id(), reason)
    }

    fn failure_of(kind: PacketKind) -> ReasonCode {
        match kind {
            PacketKind::PubRel | PacketKind::PubComp => ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
            _ => ReasonCode::QUOTA_EXCEEDED,
        }
    }

    fn packet(kind: PacketKind, ack: Ack<'_>) -> Packet<'_> {
        match kind {
            PacketKind::PubAck => Packet::PubAck(ack),
            PacketKind::PubRec => Packet::PubRec(ack),
            PacketKind::PubRel => Packet::PubRel(ack),
            _ => Packet::PubComp(ack),
        }
    }
}
