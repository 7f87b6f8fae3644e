//! A server that does what a test says, right or wrong.

use std::net::SocketAddr;

use quelea_codec::{
    Ack, ConnAck, Connect, Framing, Packet, PacketId, PacketKind, Publish, QoS, ReasonCode, SubAck,
    Version, next_frame,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::soon;

/// A listening server.
pub struct Server {
    listener: TcpListener,
    pub address: SocketAddr,
}

/// A connection of a client.
pub struct Peer {
    stream: TcpStream,
    version: Version,
    received: Vec<u8>,
}

/// A packet of the client as bytes, to be decoded.
pub struct Received {
    bytes: Vec<u8>,
    version: Version,
}

impl Server {
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port 0 is always free");
        let address = listener.local_addr().expect("it is bound");
        Self { listener, address }
    }

    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    /// Takes the next connection.
    pub async fn accept(&self) -> Peer {
        self.accept_version(Version::V5).await
    }

    pub async fn accept_version(&self, version: Version) -> Peer {
        let accepted = soon("a connection", self.listener.accept()).await;
        let (stream, _) = accepted.expect("the listener is there");
        Peer { stream, version, received: Vec::new() }
    }

    /// Takes the next connection, and accepts the client.
    pub async fn serve(&self, connack: ConnAck<'_>) -> Peer {
        let mut peer = self.accept().await;
        peer.expect(PacketKind::Connect).await;
        peer.send(&Packet::ConnAck(connack)).await;
        peer
    }
}

impl Peer {
    pub async fn send(&mut self, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes);
        self.send_bytes(&bytes).await;
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the client is there");
    }

    pub async fn send_ack(&mut self, kind: PacketKind, packet_id: PacketId) {
        let ack = Ack::new(packet_id, ReasonCode::SUCCESS);
        self.send(&match kind {
            PacketKind::PubAck => Packet::PubAck(ack),
            PacketKind::PubRec => Packet::PubRec(ack),
            PacketKind::PubRel => Packet::PubRel(ack),
            _ => Packet::PubComp(ack),
        })
        .await;
    }

    pub async fn publish(&mut self, qos: QoS, packet_id: u16, payload: &str) {
        let packet_id = (qos > QoS::AtMostOnce).then(|| PacketId::new(packet_id).unwrap());
        let payload = payload.as_bytes();
        let publish = Publish { qos, packet_id, topic: "t", payload, ..Publish::default() };
        self.send(&Packet::Publish(publish)).await;
    }

    /// Answers a SUBSCRIBE with one filter.
    pub async fn grant(&mut self, reason: ReasonCode) {
        let subscribe = self.expect(PacketKind::Subscribe).await;
        let Packet::Subscribe(subscribe) = subscribe.packet() else {
            panic!("it is no SUBSCRIBE");
        };
        let (packet_id, properties) = (subscribe.packet_id, Default::default());
        let suback = SubAck { packet_id, reasons: &[reason.0], properties };
        self.send(&Packet::SubAck(suback)).await;
    }

    /// Reads the next packet, which is of this kind.
    #[track_caller]
    pub fn expect(&mut self, kind: PacketKind) -> impl Future<Output = Received> {
        let place = std::panic::Location::caller();
        async move {
            let received = soon("a packet", self.read()).await;
            let received = received.unwrap_or_else(|| panic!("no {kind} but the end, at {place}"));
            assert_eq!(received.packet().kind(), kind, "{:?}, at {place}", received.packet());
            received
        }
    }

    /// Reads until the client closes; returns the kinds of the packets that came before.
    pub async fn rest(&mut self) -> Vec<PacketKind> {
        let mut kinds = Vec::new();
        while let Some(received) = soon("the end", self.read()).await {
            kinds.push(received.packet().kind());
        }
        kinds
    }

    /// Reads the next packet; `None` at the end.
    pub async fn read(&mut self) -> Option<Received> {
        loop {
            let framing = next_frame(&self.received, u32::MAX).expect("the client writes packets");
            if let Framing::Complete { consumed, .. } = framing {
                let bytes = self.received.drain(..consumed).collect();
                return Some(Received { bytes, version: self.version });
            }
            match self.stream.read_buf(&mut self.received).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}

impl Received {
    pub fn packet(&self) -> Packet<'_> {
        let Ok(Framing::Complete { frame, .. }) = next_frame(&self.bytes, u32::MAX) else {
            panic!("it is a whole packet");
        };
        Packet::decode(frame, self.version).expect("the client writes well-formed packets")
    }

    pub fn connect(&self) -> Connect<'_> {
        match self.packet() {
            Packet::Connect(connect) => connect,
            other => panic!("{other:?}"),
        }
    }

    pub fn publish(&self) -> Publish<'_> {
        match self.packet() {
            Packet::Publish(publish) => publish,
            other => panic!("{other:?}"),
        }
    }

    pub fn ack(&self) -> Ack<'_> {
        match self.packet() {
            Packet::PubAck(ack)
            | Packet::PubRec(ack)
            | Packet::PubRel(ack)
            | Packet::PubComp(ack) => ack,
            other => panic!("{other:?}"),
        }
    }
}
