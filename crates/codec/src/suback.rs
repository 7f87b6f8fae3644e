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
