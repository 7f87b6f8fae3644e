//! What must hold for any input: called by the property tests here, and by the fuzz targets and the replay of
//! their corpora, which include this file by its path.

mod any_packet;

use quelea_codec::{
    Connect, DecodeError, Frame, Framing, OutgoingPublish, Packet, Publish, PublishProperties,
    Version, next_frame,
};

pub(crate) use any_packet::any_packet;

/// Takes `data` as what a peer sends: every packet that decodes is encoded and decoded again, and is the same.
pub(crate) fn check_packet_decode(data: &[u8]) {
    for version in Version::ALL {
        let mut rest = data;
        while let Ok(Framing::Complete { frame, consumed }) = next_frame(rest, PACKET_BYTES_MAX) {
            check_frame(frame, version);
            rest = &rest[consumed..];
        }
        // Without the Remaining Length, that any input reaches the bodies.
        if let Some((&first_byte, body)) = data.split_first() {
            check_frame(Frame { first_byte, body }, version);
        }
    }
}

/// Takes `data` as choices: every packet that can be built from them survives encoding and decoding.
pub(crate) fn check_packet_encode(data: &[u8]) {
    for version in Version::ALL {
        let packet = any_packet(data, version);
        check_survives(&packet, version);
    }
}

/// Takes `data` as a stream: it gives the same packets, and the same end, when it arrives byte by byte.
pub(crate) fn check_framing(data: &[u8]) {
    let (frames, end) = frames(data);
    let mut arrived = 0;
    let mut start = 0;
    let mut frames = frames.iter();
    loop {
        match next_frame(&data[start..arrived], PACKET_BYTES_MAX) {
            Ok(Framing::Complete { frame, consumed }) => {
                assert_eq!(frames.next(), Some(&frame), "at byte {start}");
                start += consumed;
            }
            Ok(Framing::Incomplete { total_bytes }) => {
                if let Some(total_bytes) = total_bytes {
                    assert!(
                        total_bytes > arrived - start,
                        "a packet of {total_bytes} bytes is there"
                    );
                }
                if arrived == data.len() {
                    assert_eq!(end, Ok(total_bytes));
                    break;
                }
                arrived += 1;
            }
            Err(fault) => {
                assert_eq!(end, Err(fault));
                break;
            }
        }
    }
    assert_eq!(frames.next(), None);
}

/// Returns the packets in `data`, and how it ends.
fn frames(data: &[u8]) -> (Vec<Frame<'_>>, Result<Option<usize>, DecodeError>) {
    let mut frames = Vec::new();
    let mut rest = data;
    loop {
        match next_frame(rest, PACKET_BYTES_MAX) {
            Ok(Framing::Complete { frame, consumed }) => {
                assert!(consumed >= 2 + frame.body.len());
                frames.push(frame);
                rest = &rest[consumed..];
            }
            Ok(Framing::Incomplete { total_bytes }) => return (frames, Ok(total_bytes)),
            Err(fault) => return (frames, Err(fault)),
        }
    }
}

fn check_frame(frame: Frame<'_>, version: Version) {
    let connect = Connect::decode(frame);
    match Packet::decode(frame, version) {
        Ok(packet) => {
            check_survives(&packet, version);
            assert_eq!(connect.is_ok(), matches!(packet, Packet::Connect(_)));
        }
        Err(fault) => {
            assert!(fault.reason_code().is_failure(), "{fault}");
            assert!(!fault.statement().is_empty(), "{fault}");
            assert!(connect.is_err(), "{fault}");
        }
    }
}

/// Checks that `packet` is the same after encoding and decoding, and takes the bytes it said.
fn check_survives(packet: &Packet<'_>, version: Version) {
    let mut encoded = Vec::new();
    packet.encode(version, &mut encoded);
    assert_eq!(encoded.len(), packet.encoded_len(version), "{version:?}: {packet:?}");
    let framing = next_frame(&encoded, u32::MAX).expect("encoded packets have a valid header");
    let Framing::Complete { frame, consumed } = framing else {
        panic!("{version:?}: incomplete: {packet:?}");
    };
    assert_eq!(consumed, encoded.len(), "{version:?}: {packet:?}");
    let decoded = Packet::decode(frame, version);
    assert_eq!(decoded.as_ref(), Ok(packet), "{version:?}");
    if let Ok(Packet::Publish(publish)) = decoded {
        check_outgoing(&publish, &encoded, version);
    }
}

/// Checks that a broker's own encoder writes a PUBLISH as [`Packet::encode`] does.
fn check_outgoing(publish: &Publish<'_>, encoded: &[u8], version: Version) {
    let mut forwarded = Vec::new();
    publish.properties.append_forwarded(&mut forwarded);
    assert_eq!(forwarded.len(), publish.properties.forwarded_len());
    if let Some(slice) = publish.properties.forwarded_slice() {
        assert_eq!(slice, forwarded);
    }
    let read_again = PublishProperties::from_forwarded(&forwarded);
    assert_eq!(read_again.user_properties, publish.properties.user_properties);
    assert_eq!(read_again.correlation_data, publish.properties.correlation_data);

    let subscription_ids: Vec<u32> = publish.properties.subscription_ids.iter().collect();
    let outgoing = OutgoingPublish {
        dup: publish.dup,
        qos: publish.qos,
        retain: publish.retain,
        packet_id: publish.packet_id,
        topic: publish.topic,
        topic_alias: publish.properties.topic_alias,
        message_expiry_secs: publish.properties.message_expiry_secs,
        subscription_ids: &subscription_ids,
        forwarded: &forwarded,
        payload: publish.payload,
    };
    let mut out = vec![0xEE];
    outgoing.encode(version, &mut out);
    assert_eq!(&out[1..], encoded, "{version:?}: {publish:?}");
    assert_eq!(outgoing.encoded_len(version), encoded.len(), "{version:?}: {publish:?}");
}

/// The limit that inputs are framed with: above what they are long, below what their headers may say.
const PACKET_BYTES_MAX: u32 = 1 << 20;
