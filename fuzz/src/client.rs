//! A client's session opposite a server that keeps to nothing: whole packets that may come at any time, and bytes.

use std::collections::{BTreeSet, VecDeque};
use std::num::NonZeroU16;

use quelea_codec::{
    Ack, ConnAck, Connect, Framing, Packet, PacketId, Publish, PublishProperties, QoS, ReasonCode,
    SubscriptionOptions, UserProperties, Version, next_frame,
};
use quelea_session::client::{ClientSession, ClientSettings, Done, Event, Outcome, Receipt};
use quelea_session::{Content, Outbox, Position, Time};

/// Reads `input` as a setting of two bytes, then operations: a byte for what to do and one for how, and for some of them
/// the bytes that the server sends.
pub fn check_server(input: &[u8]) {
    let Some((&[version, settings], mut operations)) = input.split_first_chunk() else {
        return;
    };
    let mut desk = Desk::new(Version::ALL[usize::from(version) % 3], settings % 2 == 1);
    while let Some((&[what, how], rest)) = operations.split_first_chunk() {
        operations = desk.apply(what % 16, how, rest);
        desk.check();
    }
}

struct Desk {
    session: ClientSession<u32>,
    version: Version,
    keeps: bool,
    now: Time,
    out: Vec<u8>,
    done: Vec<Done<u32>>,
    /// Tickets that were given out: each is also the payload of its message.
    tickets: u32,
    /// Those that are done with.
    finished: BTreeSet<u32>,
    /// One past the last message that was accepted.
    accepted_before: Position,
    /// QoS 2 messages that the broker has for certain, as the session has said.
    received: Vec<Position>,
    receipts: Vec<Receipt>,
    /// QoS 1 messages that came on this connection, and are not acknowledged.
    owed: VecDeque<PacketId>,
}

impl Desk {
    fn new(version: Version, keeps: bool) -> Self {
        let settings = ClientSettings { keeps_beyond_process: keeps, ..ClientSettings::default() };
        Self {
            session: ClientSession::new(settings),
            version,
            keeps,
            now: Time::ZERO,
            out: Vec::new(),
            done: Vec::new(),
            tickets: 0,
            finished: BTreeSet::new(),
            accepted_before: Position::new(0),
            received: Vec::new(),
            receipts: Vec::new(),
            owed: VecDeque::new(),
        }
    }

    /// Does one thing. Returns what is left of the input.
    fn apply<'a>(&mut self, what: u8, how: u8, rest: &'a [u8]) -> &'a [u8] {
        let packet_id = PacketId::new(u16::from(how % 8) + 1).expect("it is not 0");
        let reason = if how & 0x80 == 0 { ReasonCode::SUCCESS } else { ReasonCode::QUOTA_EXCEEDED };
        match what {
            0 => self.connect(how),
            1 => self.disconnect(),
            2 => self.publish(QoS::ALL[usize::from(how) % 3]),
            3 => match how % 4 {
                3 => self.send_now(),
                qos => self.publish(QoS::ALL[usize::from(qos)]),
            },
            4 => self.subscribe(how),
            5 => {
                let now = self.now.plus_millis(u64::from(how) * 100);
                self.now = now;
                if self.session.on_deadline(now, &mut self.out).is_err() {
                    self.disconnect();
                }
            }
            6 if !self.receipts.is_empty() => {
                let receipt = self.receipts.swap_remove(usize::from(how) % self.receipts.len());
                match how & 0x40 {
                    0 => self.session.acknowledge(receipt, reason, &mut self.out),
                    _ => self.session.abandon(receipt),
                }
            }
            7 if self.keeps => {
                self.session.allow_sending_before(self.accepted_before);
                for position in self.received.drain(..) {
                    self.session.release(position, &mut self.out);
                }
            }
            8 => {
                if let Some((_, ticket)) = self.session.drop_oldest() {
                    self.finish(ticket);
                }
            }
            // What a server says.
            9 => self.hear(&Packet::PubAck(Ack::new(packet_id, reason))),
            10 => self.hear(&Packet::PubRec(Ack::new(packet_id, reason))),
            11 => self.hear(&Packet::PubComp(Ack::new(packet_id, ReasonCode::SUCCESS))),
            12 => self.hear(&Packet::PubRel(Ack::new(packet_id, ReasonCode::SUCCESS))),
            13 => {
                let qos = QoS::ALL[usize::from(how >> 3) % 3];
                self.hear(&Packet::Publish(Publish {
                    dup: how & 0x40 != 0 && qos > QoS::AtMostOnce,
                    qos,
                    retain: false,
                    topic: "t",
                    packet_id: (qos > QoS::AtMostOnce).then_some(packet_id),
                    properties: PublishProperties::default(),
                    payload: b"",
                }));
            }
            _ => {
                let (bytes, rest) = rest.split_at(rest.len().min(usize::from(how)));
                self.read(bytes);
                return rest;
            }
        }
        rest
    }

    fn connect(&mut self, how: u8) {
        self.disconnect();
        let mut connect =
            Connect { clean_start: how & 1 == 1, ..Connect::new(self.version, "client") };
        if self.version.is_v5() {
            connect.properties.receive_maximum = NonZeroU16::new(u16::from(how >> 5));
            connect.properties.topic_alias_maximum = Some(u16::from(how >> 3) % 4);
        }
        self.session.connect(&connect, &mut self.out);
        if how & 2 == 0 {
            let session_present = how & 4 != 0 && how & 1 == 0;
            self.hear(&Packet::ConnAck(ConnAck { session_present, ..ConnAck::default() }));
        }
    }

    fn disconnect(&mut self) {
        self.session.disconnect(ReasonCode::NORMAL_DISCONNECTION, None, &mut self.out);
        self.look_at_output();
        self.session.disconnected();
        self.received.clear();
        self.owed.clear();
    }

    fn publish(&mut self, qos: QoS) {
        let ticket = self.tickets;
        self.tickets += 1;
        let payload = ticket.to_le_bytes();
        let content = Content { topic: "t", payload: &payload, forwarded: &[], expires_at: None };
        let position = self.session.accept(&content, qos, false, ticket);
        self.accepted_before = position.expect("the message is small").plus(1);
    }

    /// Publishes at QoS 0, without anything kept if that may be.
    fn send_now(&mut self) {
        let payload = self.tickets.to_le_bytes();
        let content = Content { topic: "t", payload: &payload, forwarded: &[], expires_at: None };
        let mut outbox = Outbox { buffer: &mut self.out, unsent_before: 0, bytes_max: 4096 };
        if self.session.send_now(&content, false, self.now, &mut outbox) {
            let position = Position::new(0);
            self.done.push(Done { ticket: self.tickets, position, outcome: Outcome::Sent });
            self.tickets += 1;
        } else {
            self.publish(QoS::AtMostOnce);
        }
    }

    fn subscribe(&mut self, how: u8) {
        let none = UserProperties::EMPTY;
        // It is an error when there is no connection, or no identifier is left.
        let _ = match how % 2 {
            0 => {
                let filters = [("t", SubscriptionOptions::default())];
                self.session.subscribe(&filters, None, none, &mut self.out)
            }
            _ => self.session.unsubscribe(&["t"], none, &mut self.out),
        };
    }

    /// Hears bytes, which may be packets.
    fn read(&mut self, mut bytes: &[u8]) {
        while let Ok(Framing::Complete { frame, consumed }) = next_frame(bytes, 1_000) {
            bytes = &bytes[consumed..];
            match Packet::decode(frame, self.version) {
                Ok(packet) => self.hear(&packet),
                Err(_) => return self.disconnect(),
            }
        }
    }

    fn hear(&mut self, packet: &Packet<'_>) {
        self.session.heard(self.now);
        let event = self.session.on_packet(self.now, packet, &mut self.out, &mut self.done);
        match event {
            Ok(Event::Acknowledged { ticket, .. }) => self.finish(ticket),
            Ok(Event::Received { position }) => self.received.push(position),
            Ok(Event::Message(incoming)) => {
                self.receipts.extend(incoming.receipt);
                if incoming.publish.qos == QoS::AtLeastOnce {
                    self.owed.extend(incoming.publish.packet_id);
                }
            }
            Ok(Event::Authenticate(_)) => {
                self.session.authenticate(b"answer", &mut self.out).expect("it was asked for");
            }
            Ok(
                Event::Nothing
                | Event::Authenticated(_)
                | Event::Connected { .. }
                | Event::Subscribed { .. }
                | Event::Unsubscribed { .. },
            ) => {}
            Ok(Event::Disconnected(_) | Event::Refused { .. }) | Err(_) => self.disconnect(),
        }
        self.finish_done();
    }

    /// Notes that the application was told of a message: once.
    fn finish(&mut self, ticket: u32) {
        assert!(ticket < self.tickets && self.finished.insert(ticket), "{ticket} is done twice");
    }

    fn finish_done(&mut self) {
        for Done { ticket, .. } in std::mem::take(&mut self.done) {
            self.finish(ticket);
        }
    }

    fn check(&mut self) {
        let mut outbox = Outbox { buffer: &mut self.out, unsent_before: 0, bytes_max: 500 };
        self.session.pump(self.now, &mut outbox, &mut self.done);
        self.look_at_output();
        self.finish_done();
        assert_eq!(self.session.unfinished(), self.tickets as usize - self.finished.len());
    }

    /// Whatever the server says, what the client says is right.
    fn look_at_output(&mut self) {
        let out = std::mem::take(&mut self.out);
        let mut bytes = &out[..];
        while !bytes.is_empty() {
            let Ok(Framing::Complete { frame, consumed }) = next_frame(bytes, u32::MAX) else {
                panic!("{bytes:?} is no packet");
            };
            bytes = &bytes[consumed..];
            match Packet::decode(frame, self.version).expect("the client writes packets") {
                Packet::Publish(publish) => {
                    let ticket = publish.payload.try_into().map(u32::from_le_bytes);
                    let ticket = ticket.expect("it is one of ours");
                    assert!(!self.finished.contains(&ticket), "{ticket} is sent again");
                }
                // [MQTT-4.6.0-2]
                Packet::PubAck(ack) => assert_eq!(self.owed.pop_front(), Some(ack.packet_id)),
                Packet::Disconnect(_) => assert!(bytes.is_empty(), "it is the last word"),
                Packet::Auth(_)
                | Packet::Connect(_)
                | Packet::PingReq
                | Packet::PubComp(_)
                | Packet::PubRec(_)
                | Packet::PubRel(_)
                | Packet::Subscribe(_)
                | Packet::Unsubscribe(_) => {}
                Packet::ConnAck(_) | Packet::PingResp | Packet::SubAck(_) | Packet::UnsubAck(_) => {
                    panic!("a client does not say that")
                }
            }
        }
    }
}
