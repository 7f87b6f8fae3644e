//! The packets that a server sends, checked by every rule that needs no memory of earlier packets.
//!
//! What is wrong is said in words that cite the statement which was broken: that one is to blame then, whatever the
//! case was about.

use super::property_table::property as id;
use super::publish::Publish;
use super::reader::{Read, Reader};
use crate::Version;

/// A packet from the server.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Packet {
    ConnAck(ConnAck),
    Publish(Publish),
    PubAck(Ack),
    PubRec(Ack),
    PubRel(Ack),
    PubComp(Ack),
    SubAck(SubAck),
    UnsubAck(SubAck),
    PingResp,
    Disconnect(Disconnect),
    Auth(Disconnect),
}

/// A CONNACK packet.
#[derive(Clone, Debug, Default)]
pub struct ConnAck {
    /// Session Present.
    pub is_session_present: bool,
    /// The reason code, or in 3.x the return code.
    pub reason: u8,
    /// Empty in 3.x.
    pub properties: PropertyList,
    /// The size of the whole packet.
    pub packet_bytes: usize,
}

/// A PUBACK, PUBREC, PUBREL or PUBCOMP packet.
#[derive(Clone, Debug)]
pub struct Ack {
    /// The packet that it is about.
    pub packet_id: u16,
    /// The reason code; 0 in 3.x.
    pub reason: u8,
    /// Empty in 3.x.
    pub properties: PropertyList,
}

/// A SUBACK or UNSUBACK packet.
#[derive(Clone, Debug)]
pub struct SubAck {
    /// The packet that it answers.
    pub packet_id: u16,
    /// One for each filter; none in an UNSUBACK of 3.x.
    pub reasons: Vec<u8>,
    /// Empty in 3.x.
    pub properties: PropertyList,
}

/// A DISCONNECT or AUTH packet.
#[derive(Clone, Debug)]
pub struct Disconnect {
    /// The reason code.
    pub reason: u8,
    /// The properties.
    pub properties: PropertyList,
}

/// The properties of a packet received, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PropertyList(pub Vec<(u8, Value)>);

/// The value of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Value {
    Byte(u8),
    Two(u16),
    Four(u32),
    Variable(u32),
    Text(String),
    Binary(Vec<u8>),
    Pair(String, String),
}

impl Packet {
    /// Reads a packet that a server of `version` sent.
    pub(crate) fn read(version: Version, first_byte: u8, body: &[u8]) -> Read<Self> {
        let mut reader = Reader(body);
        let packet_type = first_byte >> 4;
        check_flags(packet_type, first_byte & 0x0F)?;
        let packet = match packet_type {
            2 => Self::ConnAck(read_connack(&mut reader, version)?),
            3 => Self::Publish(read_publish(&mut reader, first_byte, version)?),
            4 => Self::PubAck(read_ack(&mut reader, packet_type, version)?),
            5 => Self::PubRec(read_ack(&mut reader, packet_type, version)?),
            6 => Self::PubRel(read_ack(&mut reader, packet_type, version)?),
            7 => Self::PubComp(read_ack(&mut reader, packet_type, version)?),
            9 => Self::SubAck(read_suback(&mut reader, packet_type, version)?),
            11 => Self::UnsubAck(read_suback(&mut reader, packet_type, version)?),
            13 => Self::PingResp,
            14 if version.is_v5() => Self::Disconnect(read_disconnect(&mut reader, packet_type)?),
            15 if version.is_v5() => Self::Auth(read_disconnect(&mut reader, packet_type)?),
            _ => {
                return Err(format!(
                    "packet type {packet_type}, which no server of {version} sends"
                ));
            }
        };
        reader.end()?;
        Ok(packet)
    }
}

impl PropertyList {
    /// Returns the value of a property that is a number.
    pub fn number(&self, id: u8) -> Option<u32> {
        self.0.iter().find(|(known, _)| *known == id).and_then(|(_, value)| match value {
            Value::Byte(number) => Some(u32::from(*number)),
            Value::Two(number) => Some(u32::from(*number)),
            Value::Four(number) | Value::Variable(number) => Some(*number),
            Value::Text(_) | Value::Binary(_) | Value::Pair(..) => None,
        })
    }

    /// Returns the value of a property that is a string.
    pub fn text(&self, id: u8) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == id).and_then(|(_, value)| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// Returns the value of a property that is Binary Data.
    pub fn binary(&self, id: u8) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| *known == id).and_then(|(_, value)| match value {
            Value::Binary(bytes) => Some(bytes.as_slice()),
            _ => None,
        })
    }

    /// Returns the User Properties in their order.
    pub fn pairs(&self) -> Vec<(&str, &str)> {
        let pairs = self.0.iter().filter_map(|(_, value)| match value {
            Value::Pair(name, value) => Some((name.as_str(), value.as_str())),
            _ => None,
        });
        pairs.collect()
    }

    /// Returns the subscription identifiers, sorted: their order means nothing.
    pub fn subscription_ids(&self) -> Vec<u32> {
        let ids = self.0.iter().filter_map(|(known, value)| match value {
            Value::Variable(number) if *known == id::SUBSCRIPTION_IDENTIFIER => Some(*number),
            _ => None,
        });
        let mut ids: Vec<u32> = ids.collect();
        ids.sort_unstable();
        ids
    }

    /// Says whether there is a Reason String or a User Property.
    pub fn has_problem_information(&self) -> bool {
        self.0.iter().any(|(known, _)| [id::REASON_STRING, id::USER_PROPERTY].contains(known))
    }
}

fn check_flags(packet_type: u8, flags: u8) -> Read<()> {
    let expected = match packet_type {
        3 => return Ok(()),
        6 => 2,
        _ => 0,
    };
    if flags == expected {
        Ok(())
    } else {
        Err(format!(
            "flags {flags:#03x} in packet type {packet_type}, [MQTT-2.1.3-1] v3.1.1 [MQTT-2.2.2-1]"
        ))
    }
}

fn read_connack(reader: &mut Reader<'_>, version: Version) -> Read<ConnAck> {
    let packet_bytes = reader.0.len() + if reader.0.len() < 128 { 2 } else { 3 };
    let flags = reader.byte()?;
    let reason = reader.byte()?;
    // The first byte is reserved in 3.1; in the others it holds one flag, which only success may set.
    if flags > 1 || flags == 1 && (version == Version::V31 || reason != 0) {
        let statement = match flags {
            1 => "[MQTT-3.2.2-6] v3.1.1 [MQTT-3.2.2-4]",
            _ => "[MQTT-3.2.2-1]",
        };
        return Err(format!(
            "Connect Acknowledge Flags {flags:#04x} with reason {reason:#04x}, {statement}"
        ));
    }
    check_reason(2, reason, version)?;
    let properties = if version.is_v5() { reader.properties(2)? } else { PropertyList::default() };
    check_connack_values(&properties)?;
    Ok(ConnAck { is_session_present: flags == 1, reason, properties, packet_bytes })
}

fn check_connack_values(properties: &PropertyList) -> Read<()> {
    let flags = [
        id::MAXIMUM_QOS,
        id::RETAIN_AVAILABLE,
        id::WILDCARD_SUBSCRIPTION_AVAILABLE,
        id::SUBSCRIPTION_IDENTIFIERS_AVAILABLE,
        id::SHARED_SUBSCRIPTION_AVAILABLE,
    ];
    let is_wrong_flag = flags.iter().any(|flag| properties.number(*flag).is_some_and(|it| it > 1));
    let sizes = [id::RECEIVE_MAXIMUM, id::MAXIMUM_PACKET_SIZE];
    let is_wrong_size = sizes.iter().any(|size| properties.number(*size) == Some(0));
    if is_wrong_flag || is_wrong_size {
        Err("a CONNACK property out of its range".into())
    } else {
        Ok(())
    }
}

fn read_publish(reader: &mut Reader<'_>, first_byte: u8, version: Version) -> Read<Publish> {
    let qos = first_byte >> 1 & 3;
    let is_dup = first_byte & 8 != 0;
    let topic = reader.text()?;
    let packet_id = if qos > 0 { reader.two()? } else { 0 };
    let received = if version.is_v5() { reader.properties(3)? } else { PropertyList::default() };
    let alias = received.number(id::TOPIC_ALIAS);
    let rule = match () {
        () if qos == 3 => "a PUBLISH of QoS 3, [MQTT-3.3.1-4] v3.1.1 [MQTT-3.3.1-4]",
        () if qos == 0 && is_dup => {
            "a PUBLISH of QoS 0 with DUP, [MQTT-3.3.1-2] v3.1.1 [MQTT-3.3.1-2]"
        }
        () if qos > 0 && packet_id == 0 => "packet identifier 0, [MQTT-2.2.1-4]",
        () if topic.contains(['+', '#']) => {
            "a wildcard in a topic name, [MQTT-3.3.2-2] v3.1.1 [MQTT-3.3.2-2]"
        }
        () if topic.is_empty() && alias.is_none() => {
            "neither a topic name nor a topic alias, [MQTT-4.7.3-1] v3.1.1 [MQTT-4.7.3-1]"
        }
        () if alias == Some(0) => "topic alias 0, [MQTT-3.3.2-8]",
        () if received.number(id::SUBSCRIPTION_IDENTIFIER) == Some(0) => {
            "subscription identifier 0"
        }
        () => "",
    };
    if !rule.is_empty() {
        return Err(rule.into());
    }
    let payload = reader.take(reader.0.len())?.to_owned();
    let is_retained = first_byte & 1 != 0;
    Ok(Publish {
        topic,
        payload,
        qos,
        is_retained,
        is_dup,
        packet_id,
        received,
        ..Publish::default()
    })
}

fn read_ack(reader: &mut Reader<'_>, packet_type: u8, version: Version) -> Read<Ack> {
    let packet_id = reader.two()?;
    let (reason, properties) = match version {
        Version::V5 => read_reason(reader, packet_type)?,
        Version::V31 | Version::V311 => (0, PropertyList::default()),
    };
    Ok(Ack { packet_id, reason, properties })
}

fn read_disconnect(reader: &mut Reader<'_>, packet_type: u8) -> Read<Disconnect> {
    let (reason, properties) = read_reason(reader, packet_type)?;
    // A server never sends a Session Expiry Interval here, [MQTT-3.14.2-2].
    if packet_type == 14 && properties.number(id::SESSION_EXPIRY_INTERVAL).is_some() {
        return Err("a DISCONNECT with a Session Expiry Interval, [MQTT-3.14.2-2]".into());
    }
    Ok(Disconnect { reason, properties })
}

/// Reads a reason code and properties, both of which may be left out at the end of a packet.
fn read_reason(reader: &mut Reader<'_>, packet_type: u8) -> Read<(u8, PropertyList)> {
    if reader.0.is_empty() {
        return Ok((0, PropertyList::default()));
    }
    let reason = reader.byte()?;
    check_reason(packet_type, reason, Version::V5)?;
    let is_short = reader.0.is_empty();
    Ok((reason, if is_short { PropertyList::default() } else { reader.properties(packet_type)? }))
}

fn read_suback(reader: &mut Reader<'_>, packet_type: u8, version: Version) -> Read<SubAck> {
    let packet_id = reader.two()?;
    let properties =
        if version.is_v5() { reader.properties(packet_type)? } else { PropertyList::default() };
    let reasons = reader.take(reader.0.len())?.to_owned();
    for reason in &reasons {
        check_reason(packet_type, *reason, version)?;
    }
    Ok(SubAck { packet_id, reasons, properties })
}

/// Checks a reason code by the table of its packet, as far as a server may send it.
fn check_reason(packet_type: u8, reason: u8, version: Version) -> Read<()> {
    let allowed: &[u8] = match (packet_type, version) {
        (2, Version::V31 | Version::V311) => &[0, 1, 2, 3, 4, 5],
        (2, Version::V5) => &[
            0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90,
            0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
        ],
        (4 | 5, _) => &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99],
        (6 | 7, _) => &[0x00, 0x92],
        (9, Version::V31) => &[0, 1, 2],
        (9, Version::V311) => &[0, 1, 2, 0x80],
        (9, Version::V5) => &[0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2],
        (11, Version::V5) => &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91],
        (14, _) => &[
            0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94,
            0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
        ],
        (15, _) => &[0x00, 0x18],
        _ => &[],
    };
    if allowed.contains(&reason) {
        Ok(())
    } else {
        let statement = match packet_type {
            2 => "[MQTT-3.2.2-8]",
            4 => "[MQTT-3.4.2-1]",
            5 => "[MQTT-3.5.2-1]",
            6 => "[MQTT-3.6.2-1]",
            7 => "[MQTT-3.7.2-1]",
            9 => "[MQTT-3.9.3-2] v3.1.1 [MQTT-3.9.3-2]",
            11 => "[MQTT-3.11.3-2]",
            14 => "[MQTT-3.14.2-1]",
            _ => "[MQTT-3.15.2-1]",
        };
        Err(format!(
            "reason code {reason:#04x} in packet type {packet_type} of {version}, {statement}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{publish, split_packet};

    #[test]
    fn what_no_server_sends_is_refused() {
        let v5 = Version::V5;
        refuse(v5, &[0x20, 3, 2, 0, 0], "Connect Acknowledge Flags");
        refuse(v5, &[0x20, 3, 1, 0x84, 0], "Connect Acknowledge Flags");
        refuse(Version::V31, &[0x20, 2, 1, 0], "Connect Acknowledge Flags");
        refuse(Version::V311, &[0x20, 2, 0, 6], "reason code");
        refuse(v5, &[0x20, 2, 0, 0], "a field of 1 bytes");
        refuse(v5, &[0x20, 6, 0, 0, 3, 0x21, 0, 0], "out of its range");
        refuse(v5, &[0x20, 7, 0, 0, 4, 0x24, 1, 0x24, 1], "twice");
        refuse(v5, &[0x38, 4, 0, 1, b'a', 0], "QoS 0 with DUP");
        refuse(v5, &[0x32, 6, 0, 1, b'a', 0, 0, 0], "packet identifier 0");
        refuse(v5, &[0x30, 4, 0, 1, b'#', 0], "wildcard");
        refuse(v5, &[0x30, 3, 0, 0, 0], "neither a topic name");
        refuse(v5, &[0x30, 5, 0, 1, 0xFF, 0, b'a'], "not UTF-8");
        refuse(v5, &[0x40, 3, 0, 1, 0x92], "reason code");
        refuse(v5, &[0x41, 2, 0, 1], "flags");
        refuse(Version::V31, &[0x90, 3, 0, 1, 0x80], "reason code");
        refuse(v5, &[0xD0, 1, 0], "1 bytes after the end");
        refuse(v5, &[0xE0, 7, 0, 5, 0x11, 0, 0, 0, 1], "Session Expiry");
        refuse(Version::V311, &[0xE0, 0], "packet type 14");
        refuse(v5, &[0x10, 0], "packet type 1");
    }

    #[test]
    fn what_is_written_can_be_read() {
        for version in Version::ALL {
            let bytes = publish("a/b", "payload").qos(1).packet_id(7).retain().bytes(version);
            let (first_byte, body, size) =
                split_packet(&bytes).expect("it has a length").expect("it is whole");
            assert_eq!(size, bytes.len());
            let Ok(Packet::Publish(got)) = Packet::read(version, first_byte, body) else {
                panic!("{bytes:02x?} is a PUBLISH");
            };
            assert_eq!(
                (got.topic.as_str(), got.text().as_str(), got.packet_id),
                ("a/b", "payload", 7)
            );
            assert!(got.is_retained && !got.is_dup);
        }
    }

    #[track_caller]
    fn refuse(version: Version, bytes: &[u8], reason: &str) {
        let whole = split_packet(bytes).expect("the test gives a length");
        let (first_byte, body, _) = whole.expect("the test gives a whole packet");
        match Packet::read(version, first_byte, body) {
            Ok(packet) => panic!("{bytes:02x?} was read as {packet:?}"),
            Err(problem) => assert!(problem.contains(reason), "{bytes:02x?}: {problem}"),
        }
    }
}
