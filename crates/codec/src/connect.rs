//! CONNECT.

use core::num::{NonZeroU16, NonZeroU32};

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

/// The Connect Flags (section 3.1.2.3).
#[derive(Clone, Copy, Debug)]
struct ConnectFlags {
    clean_start: bool,
    will: bool,
    will_qos: QoS,
    will_retain: bool,
    password: bool,
    username: bool,
}

impl ConnectFlags {
    fn read(reader: &mut Reader<'_>, version: Version) -> Result<Self, Malformed> {
        let byte = reader.byte()?;
        if byte & 1 != 0 {
            return Err(Malformed::ConnectFlags);
        }
        let flags = Self {
            clean_start: byte & CLEAN_START != 0,
            will: byte & WILL != 0,
            will_qos: QoS::from_byte(byte >> 3 & 0b11).ok_or(Malformed::WillFlags)?,
            will_retain: byte & WILL_RETAIN != 0,
            password: byte & PASSWORD != 0,
            username: byte & USER_NAME != 0,
        };
        // [MQTT-3.1.2-11], [MQTT-3.1.2-13]
        if !flags.will && (flags.will_qos != QoS::AtMostOnce || flags.will_retain) {
            return Err(Malformed::WillFlags);
        }
        if flags.password && !flags.username && !version.allows_password_alone() {
            return Err(Malformed::PasswordWithoutUserName);
        }
        Ok(flags)
    }

    fn of(connect: &Connect<'_>) -> Self {
        Self {
            clean_start: connect.clean_start,
            will: connect.will.is_some(),
            will_qos: connect.will.map_or(QoS::AtMostOnce, |will| will.qos),
            will_retain: connect.will.is_some_and(|will| will.retain),
            password: connect.password.is_some(),
            username: connect.username.is_some(),
        }
    }

    fn to_byte(self) -> u8 {
        let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        flag(self.clean_start, CLEAN_START)
            | flag(self.will, WILL)
            | self.will_qos.to_byte() << 3
            | flag(self.will_retain, WILL_RETAIN)
            | flag(self.password, PASSWORD)
            | flag(self.username, USER_NAME)
    }
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

const CLEAN_START: u8 = 1 << 1;
const WILL: u8 = 1 << 2;
const WILL_RETAIN: u8 = 1 << 5;
const PASSWORD: u8 = 1 << 6;
const USER_NAME: u8 = 1 << 7;
