//! Servers that break the protocol: the client tells them, closes, and comes back.

use std::num::NonZeroU16;
use std::num::NonZeroU32;
use std::time::Duration;

use quelea_client::{Client, ConnectionError, Event, Options, Publish, QoS, ReasonCode, Version};
use quelea_codec::{
    Ack, Auth, ConnAck, ConnAckProperties, Connect, Packet, PacketId, PacketKind,
    Publish as PublishPacket, PublishProperties, SubAck, UnsubAck,
};

use crate::connecting::hasty;
use crate::support::server::{Peer, Server};
use crate::support::soon;

/// [Q5-1.5.5-1, Q5-2.1-1, Q5-2.1.3-1, Q5-3.3.1.2-1] v3.1.1 [Q4-2.1-1, Q4-2.2.3-1]
#[tokio::test]
async fn bytes_that_are_no_packet() {
    for bytes in [
        &b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"[..],
        &[0x00, 0x00],
        &[0x36, 0x00],
        &[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
        &[0x40, 0x02, 0x00, 0x00],
        &[0x40, 0x01, 0x00],
        &[0x30, 0x04, 0x00, 0x01, b'#', 0x00],
    ] {
        check(Options::new(), Reply::Bytes(bytes)).await;
    }
}

#[tokio::test]
async fn packets_above_our_maximum() {
    let options = Options::new().packet_bytes_max(NonZeroU32::new(100).unwrap());
    let payload = [0; 200];
    let publish = PublishPacket { topic: "t", payload: &payload, ..PublishPacket::default() };
    check(options, Reply::Packets(&[Packet::Publish(publish)])).await;
}

#[tokio::test]
async fn packets_that_a_server_does_not_send() {
    let id = PacketId::new(1).unwrap();
    for packet in [
        Packet::Connect(Connect::new(Version::V5, "server")),
        Packet::PingReq,
        Packet::ConnAck(ConnAck::default()),
        Packet::Auth(Auth::default()),
        Packet::SubAck(SubAck { packet_id: id, reasons: &[0], properties: Default::default() }),
        Packet::UnsubAck(UnsubAck { packet_id: id, reasons: &[0], properties: Default::default() }),
    ] {
        check(Options::new(), Reply::Packets(&[packet])).await;
    }
}

#[tokio::test]
async fn more_messages_than_our_receive_maximum() {
    let options = Options::new().receive_maximum(NonZeroU16::new(2).unwrap());
    let publish = |packet_id: u16| {
        let packet_id = PacketId::new(packet_id);
        Packet::Publish(PublishPacket {
            qos: QoS::ExactlyOnce,
            packet_id,
            topic: "t",
            ..PublishPacket::default()
        })
    };
    check(options, Reply::Packets(&[publish(1), publish(2), publish(3)])).await;
}

#[tokio::test]
async fn aliases_without_a_meaning() {
    let aliased = |alias| {
        let properties = PublishProperties { topic_alias: Some(alias), ..Default::default() };
        Packet::Publish(PublishPacket { properties, ..PublishPacket::default() })
    };
    for alias in [1, 33] {
        check(Options::new(), Reply::Packets(&[aliased(alias)])).await;
    }
}

/// Acknowledgements for what was never sent are ignored, or answered as the specification says.
///
/// [Q5-3.6.2.1-1, Q5-3.7.2.1-1]
#[tokio::test]
async fn acknowledgements_of_nothing() {
    let server = Server::new().await;
    let _client = Client::start(&server.url(), hasty()).unwrap();
    let mut peer = server.serve(ConnAck::default()).await;
    let id = PacketId::new(7).unwrap();
    peer.send_ack(PacketKind::PubAck, id).await;
    peer.send_ack(PacketKind::PubComp, id).await;
    peer.send_ack(PacketKind::PubRec, id).await;
    let not_found = ReasonCode::PACKET_IDENTIFIER_NOT_FOUND;
    assert_eq!(peer.expect(PacketKind::PubRel).await.ack(), Ack::new(id, not_found));
    peer.send_ack(PacketKind::PubRel, id).await;
    assert_eq!(peer.expect(PacketKind::PubComp).await.ack(), Ack::new(id, not_found));
}

#[tokio::test]
async fn acknowledgements_of_the_wrong_kind() {
    let server = Server::new().await;
    let client = Client::start(&server.url(), hasty()).unwrap();
    let mut peer = server.serve(ConnAck::default()).await;
    let handle = client.try_publish(&Publish::new("t", "").qos(QoS::ExactlyOnce)).unwrap();
    let packet_id = peer.expect(PacketKind::Publish).await.publish().packet_id.unwrap();
    peer.send_ack(PacketKind::PubAck, packet_id).await;
    assert_eq!(peer.rest().await, [PacketKind::Disconnect]);
    // The message is not lost.
    let session_present = true;
    let mut peer = server.serve(ConnAck { session_present, ..ConnAck::default() }).await;
    let again = peer.expect(PacketKind::Publish).await;
    assert_eq!((again.publish().dup, again.publish().packet_id), (true, Some(packet_id)));
    peer.send_ack(PacketKind::PubRec, packet_id).await;
    peer.expect(PacketKind::PubRel).await;
    peer.send_ack(PacketKind::PubComp, packet_id).await;
    soon("the acknowledgement", handle).await.unwrap();
}

/// [MQTT-3.2.2-4]
#[tokio::test]
async fn a_session_that_nobody_asked_for() {
    let server = Server::new().await;
    let _client = Client::start(&server.url(), hasty()).unwrap();
    let mut peer = server.serve(ConnAck { session_present: true, ..ConnAck::default() }).await;
    assert_eq!(peer.rest().await, [PacketKind::Disconnect]);
}

/// [Q5-2.1-2] v3.1.1 [Q4-2.1-2]
#[tokio::test]
async fn a_server_that_cuts_packets_in_pieces() {
    let server = Server::new().await;
    let client = Client::start(&server.url(), hasty()).unwrap();
    let mut messages = client.subscribe_later("t").unwrap();
    let mut peer = server.serve(ConnAck::default()).await;
    peer.grant(ReasonCode::GRANTED_QOS_1).await;
    let payload = [b'x'; 70_000];
    let publish = PublishPacket { topic: "t", payload: &payload, ..PublishPacket::default() };
    let mut bytes = Vec::new();
    for _ in 0..3 {
        Packet::Publish(publish).encode(Version::V5, &mut bytes);
    }
    let (start, rest) = bytes.split_at(20);
    for byte in start {
        peer.send_bytes(&[*byte]).await;
    }
    for piece in rest.chunks(9_999) {
        peer.send_bytes(piece).await;
    }
    for _ in 0..3 {
        let message = soon("a message", messages.next()).await.unwrap();
        assert_eq!(message.payload(), payload);
    }
}

/// [MQTT-3.1.2-20], [MQTT-3.1.2-21], [MQTT-3.2.2-21]
#[tokio::test]
async fn a_server_that_falls_silent() {
    let server = Server::new().await;
    let options = hasty().ping_timeout(Duration::from_millis(50));
    let client = Client::start(&server.url(), options).unwrap();
    let mut events = client.events();
    let properties = ConnAckProperties { server_keep_alive_secs: Some(1), ..Default::default() };
    let mut peer = server.serve(ConnAck { properties, ..ConnAck::default() }).await;
    peer.expect(PacketKind::PingReq).await;
    peer.send(&Packet::PingResp).await;
    peer.expect(PacketKind::PingReq).await;
    assert_eq!(peer.rest().await, [PacketKind::Disconnect]);
    assert!(matches!(soon("an event", events.next()).await, Some(Event::Connected { .. })));
    let event = soon("an event", events.next()).await;
    assert!(matches!(event, Some(Event::Disconnected { error: ConnectionError::Fault(_), .. })));
}

enum Reply<'a> {
    Bytes(&'a [u8]),
    Packets(&'a [Packet<'a>]),
}

/// A client that is connected gets this, says DISCONNECT, closes, and connects again.
async fn check(options: Options, reply: Reply<'_>) {
    let server = Server::new().await;
    let options = options
        .backoff(quelea_client::Backoff::new(Duration::from_millis(1), Duration::from_millis(1)));
    let client = Client::start(&server.url(), options).unwrap();
    // At QoS 2 without an answer.
    let _rest = client.unclaimed(quelea_client::Buffering {
        acknowledge: quelea_client::Acknowledge::Manually,
        ..Default::default()
    });
    let mut peer: Peer = server.serve(ConnAck::default()).await;
    match reply {
        Reply::Bytes(bytes) => peer.send_bytes(bytes).await,
        Reply::Packets(packets) => {
            for packet in packets {
                peer.send(packet).await;
            }
        }
    }
    let Some(received) = soon("a packet", peer.read()).await else {
        panic!("the client closed without a word");
    };
    let Packet::Disconnect(disconnect) = received.packet() else {
        panic!("{:?}", received.packet());
    };
    assert!(disconnect.reason.is_failure());
    assert!(peer.rest().await.is_empty());
    drop(peer);
    server.serve(ConnAck::default()).await;
}
