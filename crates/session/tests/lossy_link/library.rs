//! The client side of the crate, with an application that acknowledges late and in any order.

use std::collections::VecDeque;
use std::num::NonZeroU16;

use quelea_codec::{
    Ack, ConnAck, ConnAckProperties, Connect, Packet, PacketKind, Publish, QoS, ReasonCode, Version,
};
use quelea_session::client::{
    ClientSession, ClientSettings, Done, Event, Outcome, Receipt, Resumption,
};
use quelea_session::{Content, Outbox, Time};

use crate::Peer;
use crate::wire::{Wire, packets};

pub(crate) struct LibraryClient {
    session: ClientSession<(QoS, u32)>,
    version: Version,
    receive_maximum: u16,
    buffer: Vec<u8>,
    to_write: VecDeque<Wire>,
    receipts: Vec<Receipt>,
    received: Vec<(QoS, u32)>,
    published: Vec<(QoS, u32)>,
    /// The numbers of the messages that the session is done with.
    done: Vec<u32>,
}

impl LibraryClient {
    pub(crate) fn new(version: Version, window: u16, receive_maximum: u16) -> Self {
        let mut client = Self {
            session: ClientSession::new(ClientSettings::default()),
            version,
            receive_maximum,
            buffer: Vec::new(),
            to_write: VecDeque::new(),
            receipts: Vec::new(),
            received: Vec::new(),
            published: Vec::new(),
            done: Vec::new(),
        };
        client.connect(window);
        client
    }

    fn connect(&mut self, window: u16) {
        let (version, clean_start) = (self.version, false);
        let mut connect = Connect { clean_start, ..Connect::new(version, "client") };
        // What a 3.x broker has under way is its own affair.
        if version.is_v5() {
            connect.properties.receive_maximum = NonZeroU16::new(window);
        }
        self.session.connect(&connect, &mut self.buffer);
        self.buffer.clear();
        let receive_maximum = NonZeroU16::new(self.receive_maximum).filter(|_| version.is_v5());
        let connack = ConnAck {
            session_present: version != Version::V31,
            reason: ReasonCode::SUCCESS,
            properties: ConnAckProperties { receive_maximum, ..ConnAckProperties::default() },
        };
        let event = self.handle(&Packet::ConnAck(connack));
        assert!(event.is_none());
    }

    /// Handles a packet. Returns a message, if it is one.
    fn handle(&mut self, packet: &Packet<'_>) -> Option<(QoS, u32, Option<Receipt>)> {
        let mut done = Vec::new();
        let event = self.session.on_packet(Time::ZERO, packet, &mut self.buffer, &mut done);
        assert!(done.is_empty(), "nothing is sent here, nor lost");
        match event.expect("the host keeps to the protocol") {
            Event::Message(incoming) => {
                let payload = incoming.publish.payload.try_into().expect("a number");
                Some((incoming.publish.qos, u32::from_be_bytes(payload), incoming.receipt))
            }
            Event::Acknowledged { ticket: (qos, number), reason, .. } => {
                assert!(qos > QoS::AtMostOnce && !reason.is_failure());
                self.done.push(number);
                None
            }
            Event::Connected { resumption: Resumption::Resumed | Resumption::Presumed, .. }
            | Event::Nothing => None,
            other => panic!("{other:?}"),
        }
    }

    fn pump(&mut self) {
        let mut done = Vec::new();
        let mut outbox = Outbox { buffer: &mut self.buffer, unsent_before: 0, bytes_max: 1000 };
        self.session.pump(Time::ZERO, &mut outbox, &mut done);
        for Done { ticket: (qos, number), outcome, .. } in done {
            assert_eq!((qos, outcome), (QoS::AtMostOnce, Outcome::Sent));
            self.done.push(number);
        }
        self.to_write.extend(packets(&self.buffer, self.version));
        self.buffer.clear();
    }
}

impl Peer for LibraryClient {
    fn publish(&mut self, qos: QoS) {
        let number = self.published.len() as u32;
        self.published.push((qos, number));
        let payload = number.to_be_bytes();
        let content = Content { topic: "t", payload: &payload, forwarded: &[], expires_at: None };
        let mut outbox = Outbox { buffer: &mut self.buffer, unsent_before: 0, bytes_max: 1000 };
        // Both ways of QoS 0.
        if qos == QoS::AtMostOnce
            && number.is_multiple_of(2)
            && self.session.send_now(&content, false, Time::ZERO, &mut outbox)
        {
            self.done.push(number);
            return;
        }
        self.session.accept(&content, qos, false, (qos, number)).expect("a small message");
    }

    fn reconnect(&mut self, window: u16) {
        self.session.disconnected();
        self.to_write.clear();
        self.connect(window);
    }

    fn read(&mut self, packet: Wire) {
        let message = match packet {
            Wire::Publish { dup, qos, packet_id, number } => {
                let payload = number.to_be_bytes();
                let publish = Publish {
                    dup,
                    qos,
                    packet_id,
                    topic: "t",
                    payload: &payload,
                    ..Publish::default()
                };
                self.handle(&Packet::Publish(publish))
            }
            Wire::Ack { kind, packet_id, reason } => {
                let ack = Ack::new(packet_id, reason);
                self.handle(&match kind {
                    PacketKind::PubAck => Packet::PubAck(ack),
                    PacketKind::PubRec => Packet::PubRec(ack),
                    PacketKind::PubRel => Packet::PubRel(ack),
                    _ => Packet::PubComp(ack),
                })
            }
        };
        if let Some((qos, number, receipt)) = message {
            self.received.push((qos, number));
            self.receipts.extend(receipt);
        }
    }

    fn write(&mut self, count: u8) -> Vec<Wire> {
        // The latest half first, so that what may leave is not what was acknowledged.
        let late = self.receipts.len() / 2;
        for receipt in self.receipts.split_off(late) {
            self.session.acknowledge(receipt, ReasonCode::SUCCESS, &mut self.buffer);
        }
        self.pump();
        let count = self.to_write.len().min(usize::from(count));
        self.to_write.drain(..count).collect()
    }

    fn is_at_rest(&self) -> bool {
        self.session.is_at_rest() && self.receipts.is_empty() && self.to_write.is_empty()
    }

    fn check_at_rest(&self) {
        assert_eq!((self.session.unfinished(), self.session.unacknowledged()), (0, 0));
        let mut done = self.done.clone();
        done.sort_unstable();
        assert!(
            done.iter().copied().eq(0..self.published.len() as u32),
            "each is done with once: {done:?}"
        );
    }

    fn received(&self) -> &[(QoS, u32)] {
        &self.received
    }

    fn published(&self) -> &[(QoS, u32)] {
        &self.published
    }
}
