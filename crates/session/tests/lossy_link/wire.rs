//! Packets on the link, as far as these tests use them.

use quelea_codec::{
    Framing, Packet, PacketId, PacketKind, Publish, QoS, ReasonCode, Version, next_frame,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// A message: its payload is a number that no other message has.
    Publish {
        dup: bool,
        qos: QoS,
        packet_id: Option<PacketId>,
        number: u32,
    },
    Ack {
        kind: PacketKind,
        packet_id: PacketId,
        reason: ReasonCode,
    },
}

/// Reads whole packets.
pub(crate) fn packets(mut bytes: &[u8], version: Version) -> Vec<Wire> {
    let mut packets = Vec::new();
    while !bytes.is_empty() {
        let Ok(Framing::Complete { frame, consumed }) = next_frame(bytes, u32::MAX) else {
            panic!("{bytes:?} does not start with a packet");
        };
        bytes = &bytes[consumed..];
        let packet = Packet::decode(frame, version).expect("what we write is well-formed");
        let kind = packet.kind();
        packets.push(match packet {
            Packet::Publish(publish) => read_publish(&publish),
            Packet::PubAck(ack)
            | Packet::PubRec(ack)
            | Packet::PubRel(ack)
            | Packet::PubComp(ack) => {
                Wire::Ack { kind, packet_id: ack.packet_id, reason: ack.reason }
            }
            other => panic!("{other:?}"),
        });
    }
    packets
}

fn read_publish(publish: &Publish<'_>) -> Wire {
    let payload: [u8; 4] = publish.payload.try_into().expect("a number");
    Wire::Publish {
        dup: publish.dup,
        qos: publish.qos,
        packet_id: publish.packet_id,
        number: u32::from_be_bytes(payload),
    }
}
