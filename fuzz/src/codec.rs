//! Bytes to packets: no panic, no allocation beyond the input, and what is decoded can be written again.

use quelea_codec::{Connect, Frame, Framing, Packet, Version, next_frame};

/// Reads `input` as a stream of packets, once for each version.
pub fn run(input: &[u8]) {
    for version in [Version::V31, Version::V311, Version::V5] {
        let mut rest = input;
        while let Ok(Framing::Complete { frame, consumed }) = next_frame(rest, PACKET_BYTES_MAX) {
            assert!((2..=rest.len()).contains(&consumed), "progress, within the input");
            check_prefixes(&rest[..consumed]);
            check_packet(frame, version);
            // A CONNECT finds its version itself.
            let _ = Connect::decode(frame);
            rest = &rest[consumed..];
        }
    }
}

/// The start of a packet is incomplete and nothing else, wherever it ends.
fn check_prefixes(packet: &[u8]) {
    for end in (0..packet.len()).take(PREFIXES_MAX) {
        let framing = next_frame(&packet[..end], PACKET_BYTES_MAX);
        let Ok(Framing::Incomplete { total_bytes }) = framing else {
            panic!("{end} of {} bytes are {framing:?}", packet.len());
        };
        assert!(total_bytes.is_none_or(|it| it == packet.len()), "the size is told right");
    }
}

/// What was decoded means the same after it was written and read.
fn check_packet(frame: Frame<'_>, version: Version) {
    let Ok(packet) = Packet::decode(frame, version) else { return };
    // A CONNECT is written in the version that it names.
    let version = match &packet {
        Packet::Connect(connect) => connect.version,
        _ => version,
    };
    let mut written = Vec::new();
    packet.encode(version, &mut written);
    assert_eq!(written.len(), packet.encoded_len(version), "{packet:?}");
    match next_frame(&written, PACKET_BYTES_MAX) {
        Ok(Framing::Complete { frame, consumed }) => {
            assert_eq!(consumed, written.len());
            assert_eq!(Packet::decode(frame, version).as_ref(), Ok(&packet));
        }
        other => panic!("{packet:?} is written as {other:?}"),
    }
}

const PACKET_BYTES_MAX: u32 = 1 << 20;

/// Enough for every header, and for every field of a small packet.
const PREFIXES_MAX: usize = 64;
