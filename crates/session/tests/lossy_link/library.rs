//! The client side of the crate, with an application that acknowledges late and in any order.

use std::collections::VecDeque;
use std::num::NonZeroU16;

use quelea_codec::{
    Ack, ConnAck, ConnAckProperties, Connect, Packet, PacketKind, Publish, QoS, ReasonCode, Version,
};
use quelea_session::client::{
    ClientSession, ClientSettings, Done, Event, Outcome, Receipt, Resumption,
};
use quelea_session::{Content, Outbox, Position, Time};

use crate::Peer;
use crate::file::{File, Record};
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
    /// What survives the process, if anything does.
    file: Option<File>,
    next_number: u32,
}

impl LibraryClient {
    pub(crate) fn new(version: Version, window: u16, receive_maximum: u16) -> Self {
        Self::with(version, window, receive_maximum, None)
    }

    /// A client that keeps its messages beyond the process.
    pub(crate) fn keeping(version: Version, window: u16, receive_maximum: u16) -> Self {
        Self::with(version, window, receive_maximum, Some(File::default()))
    }

    fn with(version: Version, window: u16, receive_maximum: u16, file: Option<File>) -> Self {
        let mut client = Self {
            session: new_session(file.is_some()),
            version,
            receive_maximum,
            buffer: Vec::new(),
            to_write: VecDeque::new(),
            receipts: Vec::new(),
            received: Vec::new(),
            published: Vec::new(),
            done: Vec::new(),
            file,
            next_number: 0,
        };
        client.connect(window);
        client
    }

    fn connect(&mut self, window: u16) {
        // What the broker has is kept before its PUBREL goes out again.
        self.sync();
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
            Event::Acknowledged { ticket: (qos, number), position, reason, .. } => {
                assert!(qos > QoS::AtMostOnce && !reason.is_failure());
                self.finish(position, number);
                None
            }
            Event::Received { position } => {
                let file = self.file.as_mut().expect("only a client with one hears of it");
                file.submit(Record::Received(position));
                None
            }
            Event::Connected { resumption: Resumption::Resumed | Resumption::Presumed, .. }
            | Event::Nothing => None,
            other => panic!("{other:?}"),
        }
    }

    fn finish(&mut self, position: Position, number: u32) {
        self.done.push(number);
        if let Some(file) = &mut self.file {
            file.submit(Record::Done(position));
        }
    }

    fn pump(&mut self) {
        if let Some(file) = &mut self.file {
            file.extend_mark(self.session.sent_before());
        }
        let mut done = Vec::new();
        let mut outbox = Outbox { buffer: &mut self.buffer, unsent_before: 0, bytes_max: 1000 };
        self.session.pump(Time::ZERO, &mut outbox, &mut done);
        for Done { ticket: (qos, number), outcome, position } in done {
            assert_eq!((qos, outcome), (QoS::AtMostOnce, Outcome::Sent));
            self.finish(position, number);
        }
        self.to_write.extend(packets(&self.buffer, self.version));
        self.buffer.clear();
    }
}

impl Peer for LibraryClient {
    fn publish(&mut self, qos: QoS) {
        let number = self.next_number;
        self.next_number += 1;
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
        let accepted = self.session.accept(&content, qos, false, (qos, number));
        let position = accepted.expect("a small message");
        if let Some(file) = &mut self.file {
            file.submit(Record::Accepted(position, qos, number));
        }
    }

    fn sync(&mut self) {
        let Some(file) = &mut self.file else {
            return;
        };
        let received = file.sync();
        self.session.allow_sending_before(file.send_before());
        for position in received {
            self.session.release(position, &mut self.buffer);
        }
    }

    fn crash(&mut self, window: u16, kept: u8) {
        let file = self.file.as_mut().expect("whoever dies without one loses all");
        let found = file.reopen(kept.into());
        self.session = new_session(true);
        self.session.recover_mark(found.mark);
        self.receipts.clear();
        self.to_write.clear();
        // What never got into the file was never sent.
        self.published.retain(|it| found.accepted.contains(&it.1));
        self.done.retain(|it| found.accepted.contains(it));
        for (position, message) in found.alive {
            let (qos, number) = (message.qos, message.number);
            // That it was done with, perhaps, was not written in time.
            self.done.retain(|it| *it != number);
            if message.is_received {
                self.session.recover_received(position, (qos, number));
            } else if qos == QoS::AtMostOnce && position < found.mark {
                self.finish(position, number);
            } else {
                let payload = number.to_be_bytes();
                let content =
                    Content { topic: "t", payload: &payload, forwarded: &[], expires_at: None };
                self.session.recover(position, &content, qos, false, (qos, number));
            }
        }
        self.session.recovered();
        self.reconnect(window);
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
            done.iter().eq(self.published.iter().map(|(_, number)| number)),
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

fn new_session(keeps_beyond_process: bool) -> ClientSession<(QoS, u32)> {
    ClientSession::new(ClientSettings { keeps_beyond_process, ..ClientSettings::default() })
}
