//! SUBACK and UNSUBACK: two packets of one form.

use crate::error::{DecodeError, Malformed, Violation};
use crate::property::{Place, PropertySet};
use crate::read::Reader;
use crate::write::Sink;
use crate::{AckProperties, PacketId, PacketKind, ReasonCode, Version};

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

impl<'a> SubAck<'a> {
    pub(crate) fn decode(mut reader: Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let properties = read_properties(&mut reader, Place::SubAck, version)?;
        let reasons = reader.take_rest();
        if version.is_v5() {
            check_reasons(reasons, PacketKind::SubAck)?;
        } else if reasons.is_empty() {
            return Err(Malformed::Truncated.into());
        } else if !reasons.iter().all(|&code| matches!(code, 0..=2 | V3_FAILURE)) {
            return Err(Malformed::ReturnCode.into());
        }
        Ok(Self { packet_id, reasons, properties })
    }

    pub(crate) fn write_body<S: Sink>(&self, version: Version, sink: &mut S) {
        sink.two_bytes(self.packet_id.value());
        if version.is_v5() {
            PropertySet::from(self.properties).write_section(sink);
            sink.bytes(self.reasons);
            return;
        }
        // 3.x knows one failure (v3.1.1 [MQTT-3.9.3-2]).
        for &reason in self.reasons {
            sink.byte(if ReasonCode(reason).is_failure() { V3_FAILURE } else { reason });
        }
    }
}

impl<'a> UnsubAck<'a> {
    pub(crate) fn decode(mut reader: Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let properties = read_properties(&mut reader, Place::UnsubAck, version)?;
        let mut reasons: &[u8] = &[];
        if version.is_v5() {
            reasons = reader.take_rest();
            check_reasons(reasons, PacketKind::UnsubAck)?;
        }
        reader.finish()?;
        Ok(Self { packet_id, reasons, properties })
    }

    pub(crate) fn write_body<S: Sink>(&self, version: Version, sink: &mut S) {
        sink.two_bytes(self.packet_id.value());
        if version.is_v5() {
            PropertySet::from(self.properties).write_section(sink);
            sink.bytes(self.reasons);
        }
    }
}

fn read_properties<'a>(
    reader: &mut Reader<'a>,
    place: Place,
    version: Version,
) -> Result<AckProperties<'a>, DecodeError> {
    if !version.is_v5() {
        return Ok(AckProperties::default());
    }
    PropertySet::read_section(reader, place).map(AckProperties::from)
}

/// Checks that there is a reason code, as there is a Topic Filter in every packet acknowledged, and that all are
/// of the packet's list.
fn check_reasons(reasons: &[u8], kind: PacketKind) -> Result<(), DecodeError> {
    if reasons.is_empty() {
        return Err(Malformed::Truncated.into());
    }
    if !reasons.iter().all(|&code| ReasonCode(code).is_allowed_in(kind)) {
        return Err(Violation::ReasonCodeNotAllowed(kind).into());
    }
    Ok(())
}

/// The return code of 3.1.1 for every failure to subscribe.
const V3_FAILURE: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notation::{check_fault, check_packet, whole_packet};
    use crate::{Packet, UserProperties};

    const V3: [Version; 2] = [Version::V31, Version::V311];
    const V5: [Version; 1] = [Version::V5];

    #[test]
    fn suback() {
        let suback = SubAck {
            packet_id: id(),
            reasons: &[0, 1, 2, 0x80],
            properties: AckProperties::default(),
        };
        check_packet(&V3, 0x90, "000A 00010280", &Packet::SubAck(suback));
        check_packet(&V5, 0x90, "000A 00 00010280", &Packet::SubAck(suback));
        let properties = AckProperties {
            reason_string: Some("why"),
            user_properties: UserProperties::from_pairs(&[("k", "v")]),
        };
        let packet = Packet::SubAck(SubAck { properties, reasons: &[0x97, 0x8F], ..suback });
        check_packet(&V5, 0x90, "000A { 1F <why> 26 <k> <v> } 978F", &packet);
    }

    #[test]
    fn unsuback() {
        let unsuback =
            UnsubAck { packet_id: id(), reasons: &[], properties: AckProperties::default() };
        check_packet(&V3, 0xB0, "000A", &Packet::UnsubAck(unsuback));
        let packet = Packet::UnsubAck(UnsubAck { reasons: &[0x00, 0x11, 0x87], ..unsuback });
        check_packet(&V5, 0xB0, "000A 00 001187", &packet);
    }

    /// v3.1.1 [MQTT-3.9.3-2]: one code stands for all failures.
    #[test]
    fn failures_in_3_1_1() {
        let properties = AckProperties { reason_string: Some("why"), ..AckProperties::default() };
        let suback = SubAck { packet_id: id(), reasons: &[0x02, 0x87, 0xA2], properties };
        let mut encoded = alloc::vec::Vec::new();
        Packet::SubAck(suback).encode(Version::V311, &mut encoded);
        assert_eq!(encoded, whole_packet(0x90, "000A 028080"));
    }

    /// [MQTT-3.9.3-2], [MQTT-3.11.3-2]
    #[test]
    fn faults() {
        for code in ["03", "81", "92", "FF"] {
            let body = std::format!("000A 00 {code}");
            check_fault(&V5, 0x90, &body, Violation::ReasonCodeNotAllowed(PacketKind::SubAck));
            check_fault(&V5, 0xB0, &body, Violation::ReasonCodeNotAllowed(PacketKind::UnsubAck));
            check_fault(&V3, 0x90, &std::format!("000A {code}"), Malformed::ReturnCode);
        }
        for first_byte in [0x90, 0xB0] {
            check_fault(&Version::ALL, first_byte, "0000 00 00", Violation::ZeroPacketId);
            check_fault(&Version::ALL, first_byte, "00", Malformed::Truncated);
            check_fault(&V5, first_byte, "000A 00", Malformed::Truncated);
        }
        check_fault(&V3, 0x90, "000A", Malformed::Truncated);
        check_fault(&V3, 0xB0, "000A 00", Malformed::TrailingBytes);
    }

    fn id() -> PacketId {
        PacketId::new(10).expect("not zero")
    }
}
