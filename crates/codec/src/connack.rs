//! CONNACK.

use core::num::{NonZeroU16, NonZeroU32};

use crate::error::{DecodeError, Malformed, Violation};
use crate::property::{Place, PropertySet};
use crate::property_section::properties_of;
use crate::read::Reader;
use crate::write::Sink;
use crate::{PacketKind, QoS, ReasonCode, UserProperties, Version};

/// A CONNACK packet (section 3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnAck<'a> {
    /// Session Present: the server resumes a session. Never with a refusal ([MQTT-3.2.2-6]), never in 3.1.
    pub session_present: bool,
    /// Connect Reason Code. In 3.x it goes through [`ReasonCode::to_v3_connack`].
    pub reason: ReasonCode,
    /// Properties; none in 3.x.
    pub properties: ConnAckProperties<'a>,
}

/// The properties of CONNACK. Where one is absent its default holds, as the field says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnAckProperties<'a> {
    /// Session Expiry Interval; absent: as the client asked.
    pub session_expiry_secs: Option<u32>,
    /// Receive Maximum; absent: 65,535.
    pub receive_maximum: Option<NonZeroU16>,
    /// Maximum QoS, 0 or 1; absent: 2. A QoS 2 is not written, for it means the same.
    pub maximum_qos: Option<QoS>,
    /// Retain Available; absent: yes.
    pub retain_available: Option<bool>,
    /// Maximum Packet Size; absent: no limit.
    pub packet_bytes_max: Option<NonZeroU32>,
    /// Assigned Client Identifier.
    pub assigned_client_id: Option<&'a str>,
    /// Topic Alias Maximum; absent: 0.
    pub topic_alias_maximum: Option<u16>,
    /// Reason String.
    pub reason_string: Option<&'a str>,
    /// User Properties.
    pub user_properties: UserProperties<'a>,
    /// Wildcard Subscription Available; absent: yes.
    pub wildcard_subscription_available: Option<bool>,
    /// Subscription Identifier Available; absent: yes.
    pub subscription_id_available: Option<bool>,
    /// Shared Subscription Available; absent: yes.
    pub shared_subscription_available: Option<bool>,
    /// Server Keep Alive; absent: as the client asked.
    pub server_keep_alive_secs: Option<u16>,
    /// Response Information.
    pub response_information: Option<&'a str>,
    /// Server Reference.
    pub server_reference: Option<&'a str>,
    /// Authentication Method.
    pub authentication_method: Option<&'a str>,
    /// Authentication Data.
    pub authentication_data: Option<&'a [u8]>,
}

properties_of!(ConnAckProperties {
    session_expiry_secs,
    receive_maximum,
    maximum_qos,
    retain_available,
    packet_bytes_max,
    assigned_client_id,
    topic_alias_maximum,
    reason_string,
    user_properties,
    wildcard_subscription_available,
    subscription_id_available,
    shared_subscription_available,
    server_keep_alive_secs,
    response_information,
    server_reference,
    authentication_method,
    authentication_data,
});

impl<'a> ConnAck<'a> {
    pub(crate) fn decode(mut reader: Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let flags = reader.byte()?;
        if version.has_session_present() && flags & !SESSION_PRESENT != 0 {
            return Err(Malformed::ConnAckFlags.into());
        }
        let session_present = version.has_session_present() && flags != 0;
        let code = reader.byte()?;
        let (reason, properties) = if version.is_v5() {
            let reason = ReasonCode(code);
            if !reason.is_allowed_in(PacketKind::ConnAck) {
                return Err(Violation::ReasonCodeNotAllowed(PacketKind::ConnAck).into());
            }
            (reason, PropertySet::read_section(&mut reader, Place::ConnAck)?.into())
        } else {
            let reason = ReasonCode::from_v3_connack(code).ok_or(Malformed::ReturnCode)?;
            (reason, ConnAckProperties::default())
        };
        reader.finish()?;
        if session_present && reason != ReasonCode::SUCCESS {
            return Err(Violation::SessionPresentOnRefusal.into());
        }
        Ok(Self { session_present, reason, properties })
    }

    pub(crate) fn write_body<S: Sink>(&self, version: Version, sink: &mut S) {
        let session_present = self.session_present
            && version.has_session_present()
            && self.reason == ReasonCode::SUCCESS;
        sink.byte(if session_present { SESSION_PRESENT } else { 0 });
        if !version.is_v5() {
            // A reason that 3.x has no return code for is best not sent; sent all the same, it is said vaguely.
            sink.byte(self.reason.to_v3_connack().unwrap_or(V3_SERVER_UNAVAILABLE));
            return;
        }
        sink.byte(self.reason.0);
        let mut set = PropertySet::from(self.properties);
        set.maximum_qos = set.maximum_qos.filter(|&qos| qos != QoS::ExactlyOnce);
        set.write_section(sink);
    }
}

/// The Session Present flag; the other flags are reserved.
const SESSION_PRESENT: u8 = 1;

/// The return code of 3.x that gives the least away.
const V3_SERVER_UNAVAILABLE: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Packet;
    use crate::notation::{check_decodes, check_fault, check_packet};

    const V3: [Version; 2] = [Version::V31, Version::V311];

    #[test]
    fn accepted() {
        let accepted = ConnAck::default();
        check_packet(&V3, 0x20, "00 00", &Packet::ConnAck(accepted));
        check_packet(&[Version::V5], 0x20, "00 00 00", &Packet::ConnAck(accepted));
        let resumed = Packet::ConnAck(ConnAck { session_present: true, ..accepted });
        check_packet(&[Version::V311], 0x20, "01 00", &resumed);
        check_packet(&[Version::V5], 0x20, "01 00 00", &resumed);
        // 3.1 has no such flag: the byte is unused, whatever it holds.
        check_decodes(&[Version::V31], 0x20, "01 00", &Packet::ConnAck(accepted));
    }

    #[test]
    fn all_properties() {
        let packet = Packet::ConnAck(ConnAck {
            session_present: false,
            reason: ReasonCode::SUCCESS,
            properties: ConnAckProperties {
                session_expiry_secs: Some(1),
                receive_maximum: NonZeroU16::new(2),
                maximum_qos: Some(QoS::AtLeastOnce),
                retain_available: Some(true),
                packet_bytes_max: NonZeroU32::new(3),
                assigned_client_id: Some("c"),
                topic_alias_maximum: Some(4),
                reason_string: Some("r"),
                user_properties: UserProperties::from_pairs(&[("k", "v")]),
                wildcard_subscription_available: Some(false),
                subscription_id_available: Some(true),
                shared_subscription_available: Some(false),
                server_keep_alive_secs: Some(5),
                response_information: Some("i"),
                server_reference: Some("s"),
                authentication_method: Some("m"),
                authentication_data: Some(b"d"),
            },
        });
        let body = "00 00 { 11 00000001 12 <c> 13 0005 15 <m> 16 <d> 1A <i> 1C <s> 1F <r> 21 0002 22 0004 24 01 25 01
            27 00000003 28 00 29 01 2A 00 26 <k> <v> }";
        check_packet(&[Version::V5], 0x20, body, &packet);
    }

    #[test]
    fn return_codes_of_3_x() {
        for (return_code, reason) in [
            ("00", ReasonCode::SUCCESS),
            ("01", ReasonCode::UNSUPPORTED_PROTOCOL_VERSION),
            ("02", ReasonCode::CLIENT_IDENTIFIER_NOT_VALID),
            ("03", ReasonCode::SERVER_UNAVAILABLE),
            ("04", ReasonCode::BAD_USER_NAME_OR_PASSWORD),
            ("05", ReasonCode::NOT_AUTHORIZED),
        ] {
            let packet = Packet::ConnAck(ConnAck { reason, ..ConnAck::default() });
            check_packet(&V3, 0x20, &std::format!("00 {return_code}"), &packet);
        }
        check_fault(&V3, 0x20, "00 06", Malformed::ReturnCode);
        check_fault(&V3, 0x20, "00 80", Malformed::ReturnCode);
    }

    /// [MQTT-3.2.2-1], [MQTT-3.2.2-6], [MQTT-3.2.2-8]
    #[test]
    fn faults() {
        let later = [Version::V311, Version::V5];
        check_fault(&later, 0x20, "02 00 00", Malformed::ConnAckFlags);
        check_fault(&later, 0x20, "80 00 00", Malformed::ConnAckFlags);
        check_fault(&[Version::V311], 0x20, "01 05", Violation::SessionPresentOnRefusal);
        check_fault(&[Version::V5], 0x20, "01 87 00", Violation::SessionPresentOnRefusal);
        let not_allowed = Violation::ReasonCodeNotAllowed(PacketKind::ConnAck);
        for code in ["01", "04", "8B", "8D", "9E", "A2", "FF"] {
            check_fault(&[Version::V5], 0x20, &std::format!("00 {code} 00"), not_allowed);
        }
        check_fault(&Version::ALL, 0x20, "00", Malformed::Truncated);
        check_fault(&[Version::V5], 0x20, "00 00", Malformed::Truncated);
        check_fault(&V3, 0x20, "00 00 00", Malformed::TrailingBytes);
        check_fault(&[Version::V5], 0x20, "00 00 00 00", Malformed::TrailingBytes);
    }

    /// [MQTT-3.2.2-6], and what a receiver would reject or misread.
    #[test]
    fn fields_without_a_place_are_left_out() {
        let refused =
            ConnAck { session_present: true, reason: ReasonCode::BANNED, ..ConnAck::default() };
        check_encodes(refused, Version::V5, "00 8A 00");
        check_encodes(refused, Version::V311, "00 05");
        let malformed = ConnAck { reason: ReasonCode::MALFORMED_PACKET, ..ConnAck::default() };
        check_encodes(malformed, Version::V311, "00 03");
        let properties = ConnAckProperties {
            maximum_qos: Some(QoS::ExactlyOnce),
            ..ConnAckProperties::default()
        };
        check_encodes(ConnAck { properties, ..ConnAck::default() }, Version::V5, "00 00 00");
    }

    #[track_caller]
    fn check_encodes(connack: ConnAck<'_>, version: Version, body: &str) {
        let mut encoded = alloc::vec::Vec::new();
        Packet::ConnAck(connack).encode(version, &mut encoded);
        assert_eq!(encoded, crate::notation::whole_packet(0x20, body));
    }
}
