//! CONNECT.

use core::num::{NonZeroU16, NonZeroU32};

use crate::connect_flags::ConnectFlags;
use crate::error::{DecodeError, Malformed, Violation};
use crate::property::{Place, PropertySet};
use crate::property_section::{properties_of, write_section};
use crate::publish_properties::WillProperties;
use crate::read::Reader;
use crate::text::topic_name;
use crate::write::Sink;
use crate::{ConnectError, Frame, PublishProperties, QoS, UserProperties, Version};

/// A CONNECT packet (section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect<'a> {
    /// Protocol name and level.
    pub version: Version,
    /// Clean Start; Clean Session in 3.x.
    pub clean_start: bool,
    /// Keep Alive; 0 turns it off.
    pub keep_alive_secs: u16,
    /// Client Identifier; empty where the server is to assign one.
    pub client_id: &'a str,
    /// Will Message.
    pub will: Option<Will<'a>>,
    /// User Name.
    pub username: Option<&'a str>,
    /// Password. Without a User Name in 5.0 only.
    pub password: Option<&'a [u8]>,
    /// Properties; none in 3.x.
    pub properties: ConnectProperties<'a>,
}

/// The properties of CONNECT. Where one is absent its default holds, as the field says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectProperties<'a> {
    /// Session Expiry Interval; absent: 0. `u32::MAX` means never.
    pub session_expiry_secs: Option<u32>,
    /// Receive Maximum; absent: 65,535.
    pub receive_maximum: Option<NonZeroU16>,
    /// Maximum Packet Size; absent: no limit.
    pub packet_bytes_max: Option<NonZeroU32>,
    /// Topic Alias Maximum; absent: 0.
    pub topic_alias_maximum: Option<u16>,
    /// Request Response Information; absent: no.
    pub request_response_information: Option<bool>,
    /// Request Problem Information; absent: yes.
    pub request_problem_information: Option<bool>,
    /// Authentication Method; absent: no extended authentication.
    pub authentication_method: Option<&'a str>,
    /// Authentication Data, only beside a method.
    pub authentication_data: Option<&'a [u8]>,
    /// User Properties.
    pub user_properties: UserProperties<'a>,
}

/// The Will Message of a CONNECT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Will<'a> {
    /// Will QoS.
    pub qos: QoS,
    /// Will Retain.
    pub retain: bool,
    /// Will Topic: a topic name.
    pub topic: &'a str,
    /// Will Payload.
    pub payload: &'a [u8],
    /// Will Delay Interval; 0 where it is absent, and in 3.x.
    pub delay_secs: u32,
    /// The properties that are published with the will; none in 3.x.
    pub properties: PublishProperties<'a>,
}

impl<'a> Connect<'a> {
    /// Returns a CONNECT with a clean start, no keep alive, and nothing optional.
    pub fn new(version: Version, client_id: &'a str) -> Self {
        Self {
            version,
            clean_start: true,
            keep_alive_secs: 0,
            client_id,
            will: None,
            username: None,
            password: None,
            properties: ConnectProperties::default(),
        }
    }

    /// Decodes a CONNECT, finding out its version.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`], which says what is answered.
    pub fn decode(frame: Frame<'a>) -> Result<Self, ConnectError> {
        let mut reader = Reader::new(frame.body);
        let version = read_version(frame.first_byte, &mut reader)?;
        let connect = Self::decode_rest(version, reader)
            .map_err(|fault| ConnectError::Faulty { version: Some(version), fault })?;
        if connect.client_id.is_empty() && !version.allows_empty_client_id(connect.clean_start) {
            return Err(ConnectError::ClientIdEmpty { version });
        }
        Ok(connect)
    }

    /// Reads what follows the protocol level, in the order of [MQTT-3.1.3-1].
    fn decode_rest(version: Version, mut reader: Reader<'a>) -> Result<Self, DecodeError> {
        let flags = ConnectFlags::read(&mut reader, version)?;
        let keep_alive_secs = reader.two_bytes()?;
        let mut properties = ConnectProperties::default();
        if version.is_v5() {
            properties = PropertySet::read_section(&mut reader, Place::Connect)?.into();
        }
        let client_id = reader.text()?;
        let will = if flags.will { Some(Will::read(&mut reader, flags, version)?) } else { None };
        let is_there = |flag: bool, reader: &Reader<'_>| {
            flag && !(version.allows_missing_credentials() && reader.is_empty())
        };
        let username = if is_there(flags.username, &reader) { Some(reader.text()?) } else { None };
        let password =
            if is_there(flags.password, &reader) { Some(reader.binary()?) } else { None };
        reader.finish()?;
        if properties.authentication_data.is_some() && properties.authentication_method.is_none() {
            return Err(Violation::AuthenticationDataAlone.into());
        }
        let clean_start = flags.clean_start;
        Ok(Self {
            version,
            clean_start,
            keep_alive_secs,
            client_id,
            will,
            username,
            password,
            properties,
        })
    }

    pub(crate) fn write_body<S: Sink>(&self, sink: &mut S) {
        let version = self.version;
        sink.text(version.protocol_name());
        sink.byte(version.protocol_level());
        sink.byte(ConnectFlags::of(self).to_byte());
        sink.two_bytes(self.keep_alive_secs);
        if version.is_v5() {
            PropertySet::from(self.properties).write_section(sink);
        }
        sink.text(self.client_id);
        if let Some(will) = &self.will {
            will.write(version, sink);
        }
        if let Some(username) = self.username {
            sink.text(username);
        }
        if let Some(password) = self.password {
            sink.binary(password);
        }
    }
}

/// Reads protocol name and level.
///
/// The name tells whether this is MQTT at all; a wrong one is not answered. A level is answered in the version
/// that the client most likely understands: that of 5.0 to a later one, otherwise that of 3.x. Bridges of some
/// brokers set bit 0x80 in the level, and fall back when they get return code 1.
fn read_version(first_byte: u8, reader: &mut Reader<'_>) -> Result<Version, ConnectError> {
    let faulty = |fault: Malformed| ConnectError::Faulty { version: None, fault: fault.into() };
    match first_byte {
        CONNECT => {}
        0x11..=0x1F => return Err(faulty(Malformed::FixedHeaderFlags)),
        _ => return Err(faulty(Malformed::PacketType)),
    }
    let name = reader.binary().map_err(faulty)?;
    if !Version::ALL.iter().any(|version| version.protocol_name().as_bytes() == name) {
        return Err(ConnectError::VersionUnsupported { answer: None });
    }
    let level = reader.byte().map_err(faulty)?;
    Version::from_name_and_level(name, level).ok_or_else(|| {
        let is_later = name == b"MQTT" && (6..0x80).contains(&level);
        ConnectError::VersionUnsupported {
            answer: Some(if is_later { Version::V5 } else { Version::V311 }),
        }
    })
}

properties_of!(ConnectProperties {
    session_expiry_secs,
    receive_maximum,
    packet_bytes_max,
    topic_alias_maximum,
    request_response_information,
    request_problem_information,
    authentication_method,
    authentication_data,
    user_properties,
});

impl<'a> Will<'a> {
    fn read(
        reader: &mut Reader<'a>,
        flags: ConnectFlags,
        version: Version,
    ) -> Result<Self, DecodeError> {
        let mut will = Self { qos: flags.will_qos, retain: flags.will_retain, ..Self::default() };
        if version.is_v5() {
            let set = PropertySet::read_section(reader, Place::Will)?;
            will.delay_secs = set.will_delay_secs.unwrap_or(0);
            will.properties = set.into();
        }
        will.topic = topic_name(reader.binary()?)?;
        will.payload = reader.binary()?;
        Ok(will)
    }

    fn write<S: Sink>(&self, version: Version, sink: &mut S) {
        if version.is_v5() {
            write_section(
                &WillProperties { delay_secs: self.delay_secs, properties: self.properties },
                sink,
            );
        }
        sink.text(self.topic);
        sink.binary(self.payload);
    }
}

/// The only first byte of a CONNECT.
const CONNECT: u8 = 0x10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Packet;
    use crate::notation::{check_decodes, check_fault, check_packet, check_refused};

    #[test]
    fn the_shortest_of_each_version() {
        for (version, body) in [
            (Version::V31, "<MQIsdp> 03 02 0000 <c>"),
            (Version::V311, "<MQTT> 04 02 0000 <c>"),
            (Version::V5, "<MQTT> 05 02 0000 00 <c>"),
        ] {
            // A CONNECT is decoded by the version it names, whatever the connection thought.
            check_packet(&Version::ALL, 0x10, body, &Packet::Connect(Connect::new(version, "c")));
        }
    }

    #[test]
    fn everything_in_it() {
        let will = Will {
            qos: QoS::ExactlyOnce,
            retain: true,
            topic: "w",
            payload: b"\0\xFF",
            ..Will::default()
        };
        let connect = Connect {
            clean_start: false,
            keep_alive_secs: 60,
            will: Some(will),
            username: Some("u"),
            password: Some(b"\xFF"),
            ..Connect::new(Version::V311, "c")
        };
        let packet = Packet::Connect(connect);
        check_packet(
            &[Version::V311],
            0x10,
            "<MQTT> 04 F4 003C <c> <w> 0002 00FF <u> 0001 FF",
            &packet,
        );

        let properties = PublishProperties {
            payload_is_utf8: Some(true),
            message_expiry_secs: Some(9),
            content_type: Some("t"),
            response_topic: Some("r"),
            correlation_data: Some(b"d"),
            user_properties: UserProperties::from_pairs(&[("k", "v"), ("k", "w")]),
            ..PublishProperties::default()
        };
        let packet = Packet::Connect(Connect {
            version: Version::V5,
            will: Some(Will { delay_secs: 5, properties, ..will }),
            properties: ConnectProperties {
                session_expiry_secs: Some(u32::MAX),
                receive_maximum: NonZeroU16::new(10),
                packet_bytes_max: NonZeroU32::new(1000),
                topic_alias_maximum: Some(0),
                request_response_information: Some(true),
                request_problem_information: Some(false),
                authentication_method: Some("m"),
                authentication_data: Some(b"d"),
                user_properties: UserProperties::from_pairs(&[("a", "b")]),
            },
            ..connect
        });
        let body = "<MQTT> 05 F4 003C { 11 FFFFFFFF 15 <m> 16 <d> 17 00 19 01 21 000A 22 0000 27 000003E8 26 <a> <b> }
            <c> { 02 00000009 18 00000005 01 01 03 <t> 08 <r> 09 <d> 26 <k> <v> 26 <k> <w> } <w> 0002 00FF <u> 0001 FF";
        check_packet(&[Version::V5], 0x10, body, &packet);
    }

    /// [MQTT-3.1.2-1], [MQTT-3.1.2-2], v3.1.1 [MQTT-3.1.2-2]
    #[test]
    fn other_names_and_levels() {
        let answered = |answer| ConnectError::VersionUnsupported { answer };
        check_refused("<MQTT> 06 02 0000 00 <c>", answered(Some(Version::V5)));
        check_refused("<MQTT> 7F", answered(Some(Version::V5)));
        check_refused("<MQTT> 03 02 0000 <c>", answered(Some(Version::V311)));
        check_refused("<MQTT> 00 02 0000 <c>", answered(Some(Version::V311)));
        check_refused("<MQTT> 84 02 0000 <c>", answered(Some(Version::V311)));
        check_refused("<MQIsdp> 83 02 0000 <c>", answered(Some(Version::V311)));
        check_refused("<MQIsdp> 04 02 0000 <c>", answered(Some(Version::V311)));
        for name in ["<mqtt>", "<MQTT5>", "<>", "<HTTP>", "0002 FFFF"] {
            check_refused(&std::format!("{name} 04 02 0000 <c>"), answered(None));
        }
        assert_eq!(
            answered(Some(Version::V5)).answer(),
            Some((Version::V5, crate::ReasonCode::UNSUPPORTED_PROTOCOL_VERSION))
        );
        assert_eq!(answered(None).answer(), None);
    }

    /// v3.1.1 [MQTT-3.1.3-8], [MQTT-3.1.3-6]
    #[test]
    fn empty_client_id() {
        check_refused(
            "<MQIsdp> 03 02 0000 <>",
            ConnectError::ClientIdEmpty { version: Version::V31 },
        );
        check_refused(
            "<MQTT> 04 00 0000 <>",
            ConnectError::ClientIdEmpty { version: Version::V311 },
        );
        check_decodes(
            &Version::ALL,
            0x10,
            "<MQTT> 04 02 0000 <>",
            &Packet::Connect(Connect::new(Version::V311, "")),
        );
        check_decodes(
            &Version::ALL,
            0x10,
            "<MQTT> 05 02 0000 00 <>",
            &Packet::Connect(Connect::new(Version::V5, "")),
        );
        // Longer than 23 bytes is accepted everywhere.
        let client_id = "0123456789012345678901234567890123456789";
        let packet = Packet::Connect(Connect::new(Version::V31, client_id));
        check_packet(
            &[Version::V31],
            0x10,
            &std::format!("<MQIsdp> 03 02 0000 <{client_id}>"),
            &packet,
        );
    }

    /// [MQTT-3.1.2-3], [MQTT-3.1.2-11], [MQTT-3.1.2-12], [MQTT-3.1.2-13]
    #[test]
    fn connect_flags() {
        for (start, empty) in [("<MQTT> 04", ""), ("<MQTT> 05", "00")] {
            for (flags, fault) in [
                ("03", Malformed::ConnectFlags),
                ("0A", Malformed::WillFlags),
                ("12", Malformed::WillFlags),
                ("22", Malformed::WillFlags),
                ("1E", Malformed::WillFlags),
            ] {
                check_fault(
                    &Version::ALL,
                    0x10,
                    &std::format!("{start} {flags} 0000 {empty} <c>"),
                    fault,
                );
            }
        }
    }

    /// v3.1 §3.1: what is not used, or says something of a will that there is not, is disregarded.
    #[test]
    fn connect_flags_in_3_1() {
        let packet = Packet::Connect(Connect::new(Version::V31, "c"));
        for flags in ["02", "03", "0A", "12", "1A", "22", "3B"] {
            let body = std::format!("<MQIsdp> 03 {flags} 0000 <c>");
            check_decodes(&Version::ALL, 0x10, &body, &packet);
        }
        let will_qos_3 = "<MQIsdp> 03 1E 0000 <c> <w> <p>";
        check_fault(&Version::ALL, 0x10, will_qos_3, Malformed::WillFlags);
    }

    /// [MQTT-3.1.2-9], [MQTT-3.1.2-16] to [MQTT-3.1.2-19], [MQTT-3.1.3-1], [MQTT-3.1.3-3]
    #[test]
    fn the_payload_is_what_the_flags_say() {
        for body in [
            "",
            "00",
            "<MQTT>",
            "<MQTT> 04",
            "<MQTT> 04 02",
            "<MQTT> 04 02 00",
            "<MQTT> 04 02 0000",
            "<MQTT> 04 02 0000 0001",
            "<MQTT> 04 06 0000 <c>",
            "<MQTT> 04 06 0000 <c> <w>",
            "<MQTT> 04 82 0000 <c>",
            "<MQTT> 04 C2 0000 <c> <u>",
            "<MQTT> 05 02 0000",
            "<MQTT> 05 06 0000 00 <c> <w> <p>",
        ] {
            check_fault(&Version::ALL, 0x10, body, Malformed::Truncated);
        }
        for body in [
            "<MQTT> 04 02 0000 <c> 00",
            "<MQTT> 04 82 0000 <c> <u> <p>",
            "<MQTT> 05 02 0000 00 <c> <w>",
        ] {
            check_fault(&Version::ALL, 0x10, body, Malformed::TrailingBytes);
        }
    }

    /// v3.1 §3.1: the Remaining Length takes precedence over the flags of User Name and Password.
    #[test]
    fn missing_credentials_in_3_1() {
        let nobody = Connect::new(Version::V31, "c");
        check_decodes(&Version::ALL, 0x10, "<MQIsdp> 03 C2 0000 <c>", &Packet::Connect(nobody));
        let somebody = Packet::Connect(Connect { username: Some("u"), ..nobody });
        check_decodes(&Version::ALL, 0x10, "<MQIsdp> 03 C2 0000 <c> <u>", &somebody);
        check_fault(&Version::ALL, 0x10, "<MQIsdp> 03 C2 0000 <c> 00", Malformed::Truncated);
    }

    /// v3.1.1 [MQTT-3.1.2-22], and section 3.1.2.9 of 5.0.
    #[test]
    fn password_without_user_name() {
        for body in ["<MQIsdp> 03 42 0000 <c> <p>", "<MQTT> 04 42 0000 <c> <p>"] {
            check_fault(&Version::ALL, 0x10, body, Malformed::PasswordWithoutUserName);
        }
        let packet =
            Packet::Connect(Connect { password: Some(b"p"), ..Connect::new(Version::V5, "c") });
        check_packet(&[Version::V5], 0x10, "<MQTT> 05 42 0000 00 <c> <p>", &packet);
    }

    /// [MQTT-3.1.3-4], [MQTT-3.1.3-11], [MQTT-3.1.3-12], [MQTT-4.7.0-1], [MQTT-4.7.3-1]
    #[test]
    fn strings() {
        for (body, fault) in [
            ("<MQTT> 04 02 0000 0001 FF", Malformed::Utf8),
            ("<MQTT> 04 02 0000 0001 00", Malformed::NullCharacter),
            ("<MQTT> 04 82 0000 <c> 0001 FF", Malformed::Utf8),
            ("<MQTT> 04 06 0000 <c> 0001 FF <p>", Malformed::Utf8),
            ("<MQTT> 04 06 0000 <c> <a/+> <p>", Malformed::TopicNameWildcard),
            ("<MQTT> 04 06 0000 <c> <> <p>", Malformed::TopicNameEmpty),
        ] {
            check_fault(&Version::ALL, 0x10, body, fault);
        }
    }

    /// Section 3.1.2.11.10.
    #[test]
    fn authentication_data_without_method() {
        check_fault(
            &Version::ALL,
            0x10,
            "<MQTT> 05 02 0000 { 16 <d> } <c>",
            Violation::AuthenticationDataAlone,
        );
    }

    /// [MQTT-3.1.4-1], v3.1.1 [MQTT-3.1.4-1]: who is answered, and what.
    #[test]
    fn answers_to_faults() {
        use crate::ReasonCode;
        for (body, answer) in [
            ("<MQTT> 05 03 0000 00 <c>", Some((Version::V5, ReasonCode::MALFORMED_PACKET))),
            ("<MQTT> 05 02 0000 { 21 0000 } <c>", Some((Version::V5, ReasonCode::PROTOCOL_ERROR))),
            ("<MQTT> 04 03 0000 <c>", None),
            ("<MQIsdp> 03 1E 0000 <c> <w> <p>", None),
            ("<MQTT>", None),
            (
                "<MQIsdp> 03 02 0000 <>",
                Some((Version::V31, ReasonCode::CLIENT_IDENTIFIER_NOT_VALID)),
            ),
        ] {
            let body_bytes = crate::notation::bytes(body);
            let error =
                Connect::decode(Frame { first_byte: 0x10, body: &body_bytes }).expect_err(body);
            assert_eq!(error.answer(), answer, "{body}");
        }
        for first_byte in [0x11, 0x00, 0x30, 0xC0] {
            let error = Connect::decode(Frame { first_byte, body: &[] }).expect_err("no CONNECT");
            assert_eq!(error.answer(), None, "{first_byte:02X}");
        }
    }
}
