//! DISCONNECT.

use crate::error::{DecodeError, Violation};
use crate::property::{Place, PropertySet};
use crate::property_section::properties_of;
use crate::read::Reader;
use crate::write::Sink;
use crate::{PacketKind, ReasonCode, UserProperties, Version};

/// A DISCONNECT packet (section 3.14).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// Disconnect Reason Code; always normal disconnection in 3.x.
    pub reason: ReasonCode,
    /// Properties; none in 3.x.
    pub properties: DisconnectProperties<'a>,
}

/// The properties of DISCONNECT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DisconnectProperties<'a> {
    /// Session Expiry Interval, from a client only ([MQTT-3.14.2-2]).
    pub session_expiry_secs: Option<u32>,
    /// Reason String.
    pub reason_string: Option<&'a str>,
    /// User Properties.
    pub user_properties: UserProperties<'a>,
    /// Server Reference, from a server only.
    pub server_reference: Option<&'a str>,
}

properties_of!(DisconnectProperties {
    session_expiry_secs,
    reason_string,
    user_properties,
    server_reference
});

impl<'a> Disconnect<'a> {
    pub(crate) fn decode(mut reader: Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let mut disconnect = Self::default();
        // The short forms: without Reason Code, and without Property Length (section 3.14.2).
        if version.is_v5() && !reader.is_empty() {
            disconnect.reason = reader.reason()?;
            if !disconnect.reason.is_allowed_in(PacketKind::Disconnect) {
                return Err(Violation::ReasonCodeNotAllowed(PacketKind::Disconnect).into());
            }
            if !reader.is_empty() {
                disconnect.properties =
                    PropertySet::read_section(&mut reader, Place::Disconnect)?.into();
            }
        }
        reader.finish()?;
        Ok(disconnect)
    }

    pub(crate) fn write_body<S: Sink>(&self, version: Version, sink: &mut S) {
        if !version.is_v5() {
            return;
        }
        let has_properties = self.properties != DisconnectProperties::default();
        if has_properties || self.reason != ReasonCode::NORMAL_DISCONNECTION {
            sink.byte(self.reason.0);
        }
        if has_properties {
            PropertySet::from(self.properties).write_section(sink);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Packet;
    use crate::error::Malformed;
    use crate::notation::{check_decodes, check_fault, check_packet};

    const V3: [Version; 2] = [Version::V31, Version::V311];
    const V5: [Version; 1] = [Version::V5];

    /// Section 3.14.2: Reason Code and Property Length may be left out.
    #[test]
    fn short_and_long_forms() {
        let normal = Disconnect::default();
        check_packet(&Version::ALL, 0xE0, "", &Packet::Disconnect(normal));
        check_decodes(&V5, 0xE0, "00", &Packet::Disconnect(normal));
        check_decodes(&V5, 0xE0, "00 00", &Packet::Disconnect(normal));
        let with_will = Disconnect { reason: ReasonCode::DISCONNECT_WITH_WILL_MESSAGE, ..normal };
        check_packet(&V5, 0xE0, "04", &Packet::Disconnect(with_will));
        let properties = DisconnectProperties {
            session_expiry_secs: Some(0),
            reason_string: Some("r"),
            user_properties: UserProperties::from_pairs(&[("k", "v")]),
            server_reference: Some("s"),
        };
        let packet = Packet::Disconnect(Disconnect { properties, ..normal });
        check_packet(&V5, 0xE0, "00 { 11 00000000 1C <s> 1F <r> 26 <k> <v> }", &packet);
    }

    /// [MQTT-3.14.1-1], [MQTT-3.14.2-1], v3.1.1 [MQTT-3.14.1-1]
    #[test]
    fn faults() {
        check_fault(&[Version::V311, Version::V5], 0xE1, "", Malformed::FixedHeaderFlags);
        check_fault(&V3, 0xE0, "00", Malformed::TrailingBytes);
        check_fault(&V5, 0xE0, "00 00 00", Malformed::TrailingBytes);
        check_fault(&V5, 0xE0, "00 01", Malformed::Truncated);
        for code in ["01", "10", "84", "85", "92", "FF"] {
            check_fault(&V5, 0xE0, code, Violation::ReasonCodeNotAllowed(PacketKind::Disconnect));
        }
    }
}
