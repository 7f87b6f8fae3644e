//! The hot path's packets: a PUBLISH that is encoded once and patched for each message, and the few bytes
//! of a received one that the generator needs.

use quelea_codec::{OutgoingPublish, PacketId, QoS, Version};

use super::stamp::{self, Stamp};

/// A PUBLISH whose packet identifier, number of its topic and stamp are filled in when it is sent.
#[derive(Debug)]
pub(crate) struct Template {
    bytes: Box<[u8]>,
    topic_end: usize,
    packet_id_at: Option<usize>,
    payload_at: usize,
}

impl Template {
    /// Encodes the packet with a payload of `payload_bytes`.
    ///
    /// # Panics
    ///
    /// If the payload is too small for a stamp.
    pub(crate) fn new(version: Version, topic: &str, qos: QoS, payload_bytes: usize) -> Self {
        assert!(payload_bytes >= stamp::BYTES, "the options ask for at least 16");
        let payload = vec![b'.'; payload_bytes];
        let mut bytes = Vec::new();
        OutgoingPublish {
            dup: false,
            qos,
            retain: false,
            packet_id: PacketId::new(1).filter(|_| qos > QoS::AtMostOnce),
            topic,
            topic_alias: None,
            message_expiry_secs: None,
            subscription_ids: &[],
            forwarded: &[],
            payload: &payload,
        }
        .encode(version, &mut bytes);
        let header_bytes = 1 + bytes[1..].iter().take_while(|&&it| it & 0x80 != 0).count() + 1;
        Self {
            topic_end: header_bytes + 2 + topic.len(),
            packet_id_at: (qos > QoS::AtMostOnce).then_some(header_bytes + 2 + topic.len()),
            payload_at: bytes.len() - payload_bytes,
            bytes: bytes.into(),
        }
    }

    /// Appends the packet to `out`. `packet_id` is written above QoS 0 only, `topic` over the last
    /// [`TOPIC_DIGITS`] characters of the topic.
    #[inline]
    pub(crate) fn append(
        &self,
        packet_id: u16,
        topic: Option<u32>,
        stamp: Stamp,
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let packet = &mut out[start..];
        if let Some(mut rest) = topic {
            for digit in packet[self.topic_end - TOPIC_DIGITS..self.topic_end].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        if let Some(at) = self.packet_id_at {
            packet[at..at + 2].copy_from_slice(&packet_id.to_be_bytes());
        }
        stamp.write(&mut packet[self.payload_at..]);
    }
}

/// Digits of a topic's number.
pub(crate) const TOPIC_DIGITS: usize = 8;

/// What the generator reads of a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// QoS bits of the fixed header.
    pub qos: u8,
    /// Packet identifier, 0 at QoS 0.
    pub packet_id: u16,
    /// Stamp of the payload.
    pub stamp: Stamp,
}

impl Received {
    /// Reads a PUBLISH without looking at what it does not need: topic and properties are stepped over.
    ///
    /// `None` if it is not one of ours: cut short, or with a payload of another size.
    #[inline]
    pub(crate) fn read(
        first_byte: u8,
        body: &[u8],
        version: Version,
        payload_bytes: usize,
    ) -> Option<Self> {
        let qos = (first_byte >> 1) & 0b11;
        let (topic_bytes, _) = body.split_first_chunk()?;
        let mut at = 2 + usize::from(u16::from_be_bytes(*topic_bytes));
        let mut packet_id = 0;
        if qos > 0 {
            packet_id = u16::from_be_bytes(*body.get(at..)?.first_chunk()?);
            at += 2;
        }
        // The other versions have no property length.
        if version.is_v5() {
            at += properties_bytes(body.get(at..)?)?;
        }
        let payload = body.get(at..)?;
        if payload.len() != payload_bytes {
            return None;
        }
        Some(Self { qos, packet_id, stamp: Stamp::read(payload)? })
    }
}

/// Returns the size of the properties at the start of `bytes`, their length included.
fn properties_bytes(bytes: &[u8]) -> Option<usize> {
    let mut length = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Some(index + 1 + length);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use quelea_codec::{Framing, Publish, decode_publish, next_frame};

    const STAMP: Stamp = Stamp { sent_ns: 123_456_789, flow: 3, sequence: 99 };

    #[test]
    fn the_patched_packet_is_a_publish() {
        for version in Version::ALL {
            for qos in QoS::ALL {
                for payload_bytes in [16, 64, 200, 20_000] {
                    check(version, qos, payload_bytes);
                }
            }
        }
    }

    #[test]
    fn properties_are_stepped_over() {
        let mut body = b"\0\x01t\0\x07\x03\x23\0\x01".to_vec();
        let mut payload = [0; 16];
        STAMP.write(&mut payload);
        body.extend(payload);
        let received = Received::read(0x32, &body, Version::V5, 16).unwrap();
        assert_eq!((received.packet_id, received.stamp), (7, STAMP));
    }

    #[test]
    fn what_is_not_ours_is_none() {
        assert_eq!(Received::read(0x30, b"", Version::V311, 16), None);
        assert_eq!(Received::read(0x30, b"\0\x09t", Version::V311, 16), None);
        assert_eq!(Received::read(0x30, b"\0\x01thello", Version::V311, 16), None);
    }

    #[track_caller]
    fn check(version: Version, qos: QoS, payload_bytes: usize) {
        let template = Template::new(version, "quelea-bench/a/1", qos, payload_bytes);
        let mut out = b"before".to_vec();
        template.append(0x1234, None, STAMP, &mut out);

        let Ok(Framing::Complete { frame, consumed }) = next_frame(&out[6..], u32::MAX) else {
            panic!("a whole packet should be there");
        };
        assert_eq!(consumed, out.len() - 6);
        let publish: Publish<'_> = decode_publish(frame, version).unwrap();
        assert_eq!(publish.topic, "quelea-bench/a/1");
        assert_eq!(publish.qos, qos);
        assert_eq!(publish.payload.len(), payload_bytes);

        let received = Received::read(frame.first_byte, frame.body, version, payload_bytes);
        let packet_id = publish.packet_id.map_or(0, PacketId::value);
        assert_eq!(packet_id, if qos == QoS::AtMostOnce { 0 } else { 0x1234 });
        let expected = Received { qos: qos.to_byte(), packet_id, stamp: STAMP };
        assert_eq!(received, Some(expected));
    }
}
