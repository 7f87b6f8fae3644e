//! Property tests: what must hold for any input, and for any packet.

mod support;

use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn any_bytes_decode_or_fail(data in vec(any::<u8>(), 0..200)) {
        support::check_packet_decode(&data);
    }

    /// Nearer to packets than arbitrary bytes: a valid packet with some bytes changed.
    #[test]
    fn damaged_packets_decode_or_fail(
        choices in vec(any::<u8>(), 0..100),
        version in version(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut data = Vec::new();
        support::any_packet(&choices, version).encode(version, &mut data);
        for (index, byte) in damage {
            let at = index.index(data.len().min(64));
            data[at] = byte;
        }
        support::check_packet_decode(&data);
        support::check_framing(&data);
    }

    #[test]
    fn any_packet_survives(choices in vec(any::<u8>(), 0..150)) {
        support::check_packet_encode(&choices);
    }

    #[test]
    fn any_stream_frames_alike_however_it_arrives(
        packets in vec((vec(any::<u8>(), 0..60), version()), 0..6),
        cut in 0..10_usize,
    ) {
        let mut data = Vec::new();
        for (choices, version) in &packets {
            support::any_packet(choices, *version).encode(*version, &mut data);
        }
        data.truncate(data.len().saturating_sub(cut));
        support::check_framing(&data);
    }
}

fn version() -> impl Strategy<Value = quelea_codec::Version> {
    prop::sample::select(quelea_codec::Version::ALL.to_vec())
}
