//! The hot path's packets: a PUBLISH that is encoded once and patched for each message, and the few bytes
//! of a received one that the generator needs.

use std::sync::Arc;

use quelea_codec::{OutgoingPublish, PacketId, QoS, Version};

use super::payload_text::PayloadText;
use super::stamp::{self, Stamp};

/// What the messages of a run say.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    /// A stamp, and dots up to so many bytes.
    Stamp {
        /// All bytes.
        bytes: usize,
    },
    /// A text with the message's number and time in it.
    Text(Arc<PayloadText>),
}

impl Payload {
    /// Returns the most bytes that a message can have.
    pub(crate) fn bytes_max(&self) -> usize {
        match self {
            Self::Stamp { bytes } => *bytes,
            Self::Text(text) => text.bytes_max(),
        }
    }
}

/// A PUBLISH whose packet identifier, number of its topic and payload are filled in when it is sent.
#[derive(Debug)]
pub(crate) struct Template {
    /// The packet, or with a text what lies between its length and its payload.
    bytes: Box<[u8]>,
    topic_end: usize,
    packet_id_at: Option<usize>,
    filling: Filling,
}

#[derive(Debug)]
enum Filling {
    Stamp { at: usize },
    Text { first_byte: u8, text: Arc<PayloadText>, epoch_us: u64 },
}

impl Template {
    /// Encodes the packet. Times of a text count from `epoch_us`, in microseconds since 1970.
    ///
    /// # Panics
    ///
    /// If the payload is too small for a stamp.
    pub(crate) fn new(
        version: Version,
        topic: &str,
        qos: QoS,
        payload: &Payload,
        epoch_us: u64,
    ) -> Self {
        let blank = match payload {
            Payload::Stamp { bytes } => vec![b'.'; *bytes],
            Payload::Text(_) => Vec::new(),
        };
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
            payload: &blank,
        }
        .encode(version, &mut bytes);
        let header_bytes = 1 + bytes[1..].iter().take_while(|&&it| it & 0x80 != 0).count() + 1;
        let filling = match payload {
            Payload::Stamp { bytes: size } => {
                assert!(*size >= stamp::BYTES, "the options ask for at least 16");
                Filling::Stamp { at: bytes.len() - size }
            }
            Payload::Text(text) => {
                Filling::Text { first_byte: bytes[0], text: Arc::clone(text), epoch_us }
            }
        };
        let skipped = match filling {
            Filling::Stamp { .. } => 0,
            Filling::Text { .. } => header_bytes,
        };
        let topic_end = header_bytes - skipped + 2 + topic.len();
        Self {
            topic_end,
            packet_id_at: (qos > QoS::AtMostOnce).then_some(topic_end),
            filling,
            bytes: bytes[skipped..].into(),
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
        if let Filling::Text { first_byte, text, epoch_us } = &self.filling {
            out.push(*first_byte);
            append_length(self.bytes.len() + text.bytes(stamp, *epoch_us), out);
        }
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
        match &self.filling {
            Filling::Stamp { at } => stamp.write(&mut packet[*at..]),
            Filling::Text { text, epoch_us, .. } => text.append(stamp, *epoch_us, out),
        }
    }
}

/// Appends a Remaining Length.
fn append_length(mut length: usize, out: &mut Vec<u8>) {
    while length > 0x7F {
        out.push((length & 0x7F) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
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

/// How a receiver reads what comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading<'a> {
    /// Version of the packets.
    pub version: Version,
    /// What the messages say.
    pub payload: &'a Payload,
    /// The run's epoch, in microseconds since 1970.
    pub epoch_us: u64,
    /// The flow of messages that do not say theirs.
    pub flow: u32,
}

impl Reading<'_> {
    /// Reads a PUBLISH without looking at what it does not need: topic and properties are stepped over.
    ///
    /// `None` if it is not one of ours: cut short, or with another payload.
    #[inline]
    pub(crate) fn read(self, first_byte: u8, body: &[u8]) -> Option<Received> {
        let qos = (first_byte >> 1) & 0b11;
        let (topic_bytes, _) = body.split_first_chunk()?;
        let mut at = 2 + usize::from(u16::from_be_bytes(*topic_bytes));
        let mut packet_id = 0;
        if qos > 0 {
            packet_id = u16::from_be_bytes(*body.get(at..)?.first_chunk()?);
            at += 2;
        }
        // The other versions have no property length.
        if self.version.is_v5() {
            at += properties_bytes(body.get(at..)?)?;
        }
        let payload = body.get(at..)?;
        let stamp = match self.payload {
            Payload::Stamp { bytes } if payload.len() == *bytes => Stamp::read(payload)?,
            Payload::Stamp { .. } => return None,
            Payload::Text(text) => text.read(payload, self.epoch_us, self.flow)?,
        };
        Some(Received { qos, packet_id, stamp })
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

    const STAMP: Stamp = Stamp { sent_ns: 123_456_000, flow: 3, sequence: 99 };

    #[test]
    fn the_patched_packet_is_a_publish() {
        for version in Version::ALL {
            for qos in QoS::ALL {
                for bytes in [16, 64, 200, 20_000] {
                    check(version, qos, &Payload::Stamp { bytes });
                }
                for padding in [0, 60, 90, 20_000] {
                    let text = format!("{{${{seq}} ${{time_us}} ${{flow}} ${{random:{padding}}}}}");
                    let text = PayloadText::parse(&text).unwrap();
                    check(version, qos, &Payload::Text(text.into()));
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
        let received = read(0x32, &body, Version::V5, &STAMP_ONLY).unwrap();
        assert_eq!((received.packet_id, received.stamp), (7, STAMP));
    }

    #[test]
    fn what_is_not_ours_is_none() {
        assert_eq!(read(0x30, b"", Version::V311, &STAMP_ONLY), None);
        assert_eq!(read(0x30, b"\0\x09t", Version::V311, &STAMP_ONLY), None);
        assert_eq!(read(0x30, b"\0\x01thello", Version::V311, &STAMP_ONLY), None);
    }

    #[track_caller]
    fn check(version: Version, qos: QoS, payload: &Payload) {
        let template = Template::new(version, "quelea-bench/a/1", qos, payload, EPOCH_US);
        let mut out = b"before".to_vec();
        template.append(0x1234, None, STAMP, &mut out);

        let Ok(Framing::Complete { frame, consumed }) = next_frame(&out[6..], u32::MAX) else {
            panic!("a whole packet should be there");
        };
        assert_eq!(consumed, out.len() - 6);
        let publish: Publish<'_> = decode_publish(frame, version).unwrap();
        assert_eq!(publish.topic, "quelea-bench/a/1");
        assert_eq!(publish.qos, qos);
        if let Payload::Stamp { bytes } = payload {
            assert_eq!(publish.payload.len(), *bytes);
        }

        let received = read(frame.first_byte, frame.body, version, payload);
        let packet_id = publish.packet_id.map_or(0, PacketId::value);
        assert_eq!(packet_id, if qos == QoS::AtMostOnce { 0 } else { 0x1234 });
        let expected = Received { qos: qos.to_byte(), packet_id, stamp: STAMP };
        assert_eq!(received, Some(expected));
    }

    fn read(first_byte: u8, body: &[u8], version: Version, payload: &Payload) -> Option<Received> {
        Reading { version, payload, epoch_us: EPOCH_US, flow: 0 }.read(first_byte, body)
    }

    const STAMP_ONLY: Payload = Payload::Stamp { bytes: 16 };
    const EPOCH_US: u64 = 1_700_000_000_000_000;
}
