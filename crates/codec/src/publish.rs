//! PUBLISH.

use crate::error::{DecodeError, Malformed, Violation};
use crate::property_section::write_section;
use crate::read::Reader;
use crate::text::topic_name_or_empty;
use crate::write::Sink;
use crate::{Frame, PacketId, PublishProperties, QoS, Version};

/// A PUBLISH packet (section 3.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Publish<'a> {
    /// The packet is sent again.
    pub dup: bool,
    /// Quality of Service.
    pub qos: QoS,
    /// RETAIN.
    pub retain: bool,
    /// Topic Name: empty only beside a Topic Alias, and then it is the alias that names the topic.
    pub topic: &'a str,
    /// Packet Identifier: present exactly at QoS 1 and 2.
    pub packet_id: Option<PacketId>,
    /// Properties; none in 3.x.
    pub properties: PublishProperties<'a>,
    /// Application message.
    pub payload: &'a [u8],
}

/// Decodes a PUBLISH: the hot path of a broker.
///
/// # Errors
///
/// As [`Packet::decode`](crate::Packet::decode); [`Malformed::PacketType`] if the frame is no PUBLISH.
#[inline]
pub fn decode_publish<'a>(frame: Frame<'a>, version: Version) -> Result<Publish<'a>, DecodeError> {
    if frame.first_byte >> 4 != 3 {
        return Err(Malformed::PacketType.into());
    }
    let (dup, retain) = (frame.first_byte & DUP != 0, frame.first_byte & RETAIN != 0);
    let qos = QoS::from_byte(frame.first_byte >> 1 & 0b11).ok_or(Malformed::PublishFlags)?;
    if dup && qos == QoS::AtMostOnce {
        return Err(Malformed::PublishFlags.into());
    }

    let mut reader = Reader::new(frame.body);
    let topic = topic_name_or_empty(reader.binary()?)?;
    let packet_id = if qos == QoS::AtMostOnce { None } else { Some(reader.packet_id()?) };
    let properties =
        if version.is_v5() { read_properties(&mut reader)? } else { PublishProperties::default() };
    if topic.is_empty() && properties.topic_alias.is_none() {
        return Err(topic_missing(version));
    }
    let payload = reader.take_rest();
    Ok(Publish { dup, qos, retain, topic, packet_id, properties, payload })
}

/// Reads the property section; most packets have none.
#[inline]
fn read_properties<'a>(reader: &mut Reader<'a>) -> Result<PublishProperties<'a>, DecodeError> {
    if let [0, ..] = reader.rest() {
        reader.byte()?;
        return Ok(PublishProperties::default());
    }
    let length = reader.variable()?;
    PublishProperties::read(reader.take(length as usize)?)
}

/// Returns what an empty Topic Name without alias is called: 5.0 says Protocol Error (section 3.3.2.1).
#[cold]
fn topic_missing(version: Version) -> DecodeError {
    if version.is_v5() {
        Violation::TopicNameMissing.into()
    } else {
        Malformed::TopicNameEmpty.into()
    }
}

impl Publish<'_> {
    pub(crate) fn first_byte(&self) -> u8 {
        first_byte(self.dup, self.qos, self.retain)
    }

    pub(crate) fn write_body<S: Sink>(&self, version: Version, sink: &mut S) {
        sink.text(self.topic);
        if self.qos != QoS::AtMostOnce {
            sink.two_bytes(self.packet_id.expect(ID_IS_THERE).value());
        }
        if version.is_v5() {
            write_section(&self.properties, sink);
        }
        sink.bytes(self.payload);
    }
}

/// Returns the first byte of a PUBLISH. DUP is 0 at QoS 0 ([MQTT-3.3.1-2]).
#[inline]
pub(crate) fn first_byte(dup: bool, qos: QoS, retain: bool) -> u8 {
    let dup = dup && qos != QoS::AtMostOnce;
    0x30 | if dup { DUP } else { 0 } | qos.to_byte() << 1 | if retain { RETAIN } else { 0 }
}

const DUP: u8 = 1 << 3;
const RETAIN: u8 = 1;

/// Why the packet identifier of a PUBLISH at QoS 1 or 2 is there.
pub(crate) const ID_IS_THERE: &str = "who sends at QoS 1 or 2 gives a packet identifier";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notation::{check_decodes, check_fault, check_packet};
    use crate::{Packet, PacketKind, SubscriptionIds, UserProperties};

    const V3: [Version; 2] = [Version::V31, Version::V311];

    #[test]
    fn flags() {
        let publish = Publish { topic: "a/b", payload: b"hi", ..Publish::default() };
        check_packet(&V3, 0x30, "<a/b> 6869", &Packet::Publish(publish));
        check_packet(&[Version::V5], 0x30, "<a/b> 00 6869", &Packet::Publish(publish));
        check_packet(
            &V3,
            0x31,
            "<a/b> 6869",
            &Packet::Publish(Publish { retain: true, ..publish }),
        );

        let packet_id = PacketId::new(10);
        for (first_byte, qos, dup, retain) in [
            (0x32, QoS::AtLeastOnce, false, false),
            (0x3B, QoS::AtLeastOnce, true, true),
            (0x34, QoS::ExactlyOnce, false, false),
            (0x3C, QoS::ExactlyOnce, true, false),
        ] {
            let packet = Packet::Publish(Publish { qos, dup, retain, packet_id, ..publish });
            check_packet(&V3, first_byte, "<a/b> 000A 6869", &packet);
            check_packet(&[Version::V5], first_byte, "<a/b> 000A 00 6869", &packet);
        }
    }

    #[test]
    fn empty_payload() {
        let publish = Publish { topic: "t", ..Publish::default() };
        check_packet(&V3, 0x30, "<t>", &Packet::Publish(publish));
        check_packet(&[Version::V5], 0x30, "<t> 00", &Packet::Publish(publish));
    }

    #[test]
    fn all_properties() {
        let properties = PublishProperties {
            payload_is_utf8: Some(false),
            message_expiry_secs: Some(1),
            topic_alias: Some(2),
            response_topic: Some("r"),
            correlation_data: Some(b"c"),
            subscription_ids: SubscriptionIds::from_slice(&[1, 268_435_455, 1]),
            content_type: Some("t"),
            user_properties: UserProperties::from_pairs(&[("k", "v"), ("", ""), ("k", "v")]),
            ..PublishProperties::default()
        };
        let packet =
            Packet::Publish(Publish { topic: "", payload: b"p", properties, ..Publish::default() });
        let body = "<> { 23 0002 0B 01 0B FFFFFF7F 0B 01 01 00 03 <t> 08 <r> 09 <c>
            26 <k> <v> 26 <> <> 26 <k> <v> 02 00000001 } 70";
        check_packet(&[Version::V5], 0x30, body, &packet);
        // Order has no meaning but among User Properties.
        let body = "<> { 26 <k> <v> 0B FFFFFF7F 26 <> <> 09 <c> 08 <r> 0B 01 03 <t> 23 0002 01 00 26 <k> <v> 0B 01
            02 00000001 } 70";
        let ids = SubscriptionIds::from_slice(&[268_435_455, 1, 1]);
        let properties = PublishProperties { subscription_ids: ids, ..properties };
        let packet =
            Packet::Publish(Publish { topic: "", payload: b"p", properties, ..Publish::default() });
        check_decodes(&[Version::V5], 0x30, body, &packet);
    }

    /// [MQTT-3.3.1-2], [MQTT-3.3.1-4]: such packets do not pass [`crate::next_frame`] either.
    #[test]
    fn flags_that_no_publish_has() {
        for first_byte in [0x36, 0x37, 0x38, 0x39, 0x3E, 0x3F] {
            check_fault(&Version::ALL, first_byte, "<t> 0001 00", Malformed::PublishFlags);
            let frame = Frame { first_byte, body: b"\0\x01t\0\x01\0" };
            assert_eq!(decode_publish(frame, Version::V5), Err(Malformed::PublishFlags.into()));
        }
        for kind in PacketKind::ALL.into_iter().filter(|&kind| kind != PacketKind::Publish) {
            let frame = Frame { first_byte: (kind as u8) << 4, body: b"\0\x01t\0" };
            assert_eq!(decode_publish(frame, Version::V5), Err(Malformed::PacketType.into()));
        }
    }

    /// [MQTT-3.3.2-1], [MQTT-3.3.2-2], [MQTT-4.7.3-1], v3.1.1 [MQTT-4.7.3-1]
    #[test]
    fn topic_name() {
        check_fault(&Version::ALL, 0x30, "<a/+> 00", Malformed::TopicNameWildcard);
        check_fault(&Version::ALL, 0x30, "<#> 00", Malformed::TopicNameWildcard);
        check_fault(&Version::ALL, 0x30, "0003 610062 00", Malformed::NullCharacter);
        check_fault(&Version::ALL, 0x30, "0002 C328 00", Malformed::Utf8);
        check_fault(&Version::ALL, 0x30, "0002 61", Malformed::Truncated);
        check_fault(&Version::ALL, 0x30, "00", Malformed::Truncated);
        check_fault(&V3, 0x30, "<>", Malformed::TopicNameEmpty);
        check_fault(&[Version::V5], 0x30, "<> 00", Violation::TopicNameMissing);
        check_fault(&[Version::V5], 0x30, "<> { 02 00000001 }", Violation::TopicNameMissing);
    }

    /// [MQTT-2.2.1-3], v3.1.1 [MQTT-2.3.1-1]
    #[test]
    fn packet_id() {
        check_fault(&Version::ALL, 0x32, "<t> 0000 00", Violation::ZeroPacketId);
        check_fault(&Version::ALL, 0x34, "<t> 0000 00", Violation::ZeroPacketId);
        check_fault(&Version::ALL, 0x32, "<t>", Malformed::Truncated);
        check_fault(&Version::ALL, 0x32, "<t> 01", Malformed::Truncated);
        check_fault(&[Version::V5], 0x30, "<t>", Malformed::Truncated);
    }
}
