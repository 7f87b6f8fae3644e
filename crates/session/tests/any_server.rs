//! A client opposite a server that sends anything at any time: it never panics, never sends what it may not, keeps to its
//! limits, and each message has one outcome at most.

use std::collections::BTreeSet;
use std::num::NonZeroU16;

use proptest::prelude::*;
use quelea_codec::{
    Ack, Auth, AuthProperties, ConnAck, ConnAckProperties, Connect, Disconnect, Framing, Packet,
    PacketId, PacketKind, Publish, PublishProperties, QoS, ReasonCode, SubAck, SubscriptionOptions,
    UnsubAck, UserProperties, Version, next_frame,
};
use quelea_session::client::{ClientSession, ClientSettings, Event, Receipt};
use quelea_session::{Content, Outbox, Position, Time};

/// Something that happens to the client.
#[derive(Clone, Debug)]
enum Step {
    Connect { clean_start: bool, method: bool },
    Disconnected,
    Disconnect,
    ConnAck { session_present: bool, reason: u8, receive_maximum: u16, qos: QoS },
    Publish { qos: QoS, id: u16, alias: Option<u16>, topic: bool },
    Ack { kind: u8, id: u16, reason: u8 },
    SubAck { id: u16, count: usize },
    UnsubAck { id: u16, count: usize },
    Auth { reason: u8, method: bool },
    ServerDisconnect,
    Ping,
    Accept(QoS),
    Subscribe,
    Unsubscribe,
    Acknowledge(usize),
    Abandon(usize),
    Authenticate,
    Allow(u64),
    Release(u64),
    DropOldest,
    Pump,
    Later,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_a_server_sends_breaks_the_client(
        version in prop::sample::select(Version::ALL.to_vec()),
        keeps_beyond_process in any::<bool>(),
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let mut world = World::new(version, keeps_beyond_process);
        for step in steps {
            world.step(step);
            world.check_output();
        }
    }
}

struct World {
    session: ClientSession<u32>,
    version: Version,
    now: Time,
    out: Vec<u8>,
    receipts: Vec<Receipt>,
    accepted: u32,
    outcomes: BTreeSet<u32>,
    /// A CONNECT is written, and nothing came that ends the connection.
    is_connected: bool,
}

impl World {
    fn new(version: Version, keeps_beyond_process: bool) -> Self {
        let settings = ClientSettings { keeps_beyond_process, ..ClientSettings::default() };
        Self {
            session: ClientSession::new(settings),
            version,
            now: Time::ZERO,
            out: Vec::new(),
            receipts: Vec::new(),
            accepted: 0,
            outcomes: BTreeSet::new(),
            is_connected: false,
        }
    }

    fn step(&mut self, step: Step) {
        let properties = Default::default();
        match step {
            Step::Connect { clean_start, method } => {
                let mut connect = Connect { clean_start, ..Connect::new(self.version, "c") };
                connect.properties.receive_maximum = NonZeroU16::new(3);
                connect.properties.topic_alias_maximum = Some(2);
                connect.properties.authentication_method = method.then_some("m");
                self.session.connect(&connect, &mut self.out);
                self.is_connected = true;
            }
            Step::Disconnected => self.end(),
            Step::Disconnect => {
                self.session.disconnect(ReasonCode::SUCCESS, Some(0), &mut self.out);
            }
            Step::ConnAck { session_present, reason, receive_maximum, qos } => {
                let properties = ConnAckProperties {
                    receive_maximum: NonZeroU16::new(receive_maximum),
                    maximum_qos: (qos < QoS::ExactlyOnce).then_some(qos),
                    ..ConnAckProperties::default()
                };
                let reason = ReasonCode(reason);
                self.receive(&Packet::ConnAck(ConnAck { session_present, reason, properties }));
            }
            Step::Publish { qos, id, alias, topic } => {
                let topic = if topic { "t" } else { "" };
                let properties =
                    PublishProperties { topic_alias: alias, ..PublishProperties::default() };
                let packet_id = PacketId::new(id).filter(|_| qos > QoS::AtMostOnce);
                let publish = Publish { qos, packet_id, topic, properties, ..Publish::default() };
                self.receive(&Packet::Publish(publish));
            }
            Step::Ack { kind, id, reason } => {
                let ack = Ack::new(packet_id(id), ReasonCode(reason));
                self.receive(&match kind {
                    0 => Packet::PubAck(ack),
                    1 => Packet::PubRec(ack),
                    2 => Packet::PubRel(ack),
                    _ => Packet::PubComp(ack),
                });
            }
            Step::SubAck { id, count } => {
                let (packet_id, reasons) = (packet_id(id), &[0; 3][..count]);
                self.receive(&Packet::SubAck(SubAck { packet_id, reasons, properties }));
            }
            Step::UnsubAck { id, count } => {
                let (packet_id, reasons) = (packet_id(id), &[0; 3][..count]);
                self.receive(&Packet::UnsubAck(UnsubAck { packet_id, reasons, properties }));
            }
            Step::Auth { reason, method } => {
                let method = Some(if method { "m" } else { "other" });
                let properties = AuthProperties { method, ..AuthProperties::default() };
                self.receive(&Packet::Auth(Auth { reason: ReasonCode(reason), properties }));
            }
            Step::ServerDisconnect => self.receive(&Packet::Disconnect(Disconnect::default())),
            Step::Ping => self.receive(&Packet::PingReq),
            Step::Accept(qos) => {
                let content =
                    Content { topic: "t", payload: b"p", forwarded: &[], expires_at: None };
                let (out, now) = (&mut self.out, self.now);
                let mut outbox = Outbox { buffer: out, unsent_before: 0, bytes_max: 1000 };
                let is_sent = qos == QoS::AtMostOnce
                    && self.session.send_now(&content, false, now, &mut outbox);
                if !is_sent {
                    self.session.accept(&content, qos, false, self.accepted).expect("it is small");
                    self.accepted += 1;
                }
            }
            Step::Subscribe => {
                let filters = [("t", SubscriptionOptions::default())];
                let none = UserProperties::EMPTY;
                let _ = self.session.subscribe(&filters, Some(1), none, &mut self.out);
            }
            Step::Unsubscribe => {
                let _ = self.session.unsubscribe(&["t"], UserProperties::EMPTY, &mut self.out);
            }
            Step::Acknowledge(index) => {
                if let Some(receipt) = self.receipts.get(index) {
                    self.session.acknowledge(*receipt, ReasonCode::SUCCESS, &mut self.out);
                }
            }
            Step::Abandon(index) => {
                if let Some(receipt) = self.receipts.get(index) {
                    self.session.abandon(*receipt);
                }
            }
            Step::Authenticate => {
                let _ = self.session.authenticate(b"d", &mut self.out);
                let _ = self.session.reauthenticate(b"d", &mut self.out);
            }
            Step::Allow(position) => self.session.allow_sending_before(Position::new(position)),
            Step::Release(position) => self.session.release(Position::new(position), &mut self.out),
            Step::DropOldest => {
                if let Some((_, number)) = self.session.drop_oldest() {
                    self.outcome(number);
                }
            }
            Step::Pump => {
                let mut outbox =
                    Outbox { buffer: &mut self.out, unsent_before: 0, bytes_max: 1000 };
                let mut done = Vec::new();
                self.session.pump(self.now, &mut outbox, &mut done);
                done.into_iter().for_each(|it| self.outcome(it.ticket));
            }
            Step::Later => {
                self.now = self.now.plus_secs(7);
                if self.session.on_deadline(self.now, &mut self.out).is_err() {
                    self.end();
                }
            }
        }
    }

    fn receive(&mut self, packet: &Packet<'_>) {
        if !self.is_connected {
            return;
        }
        let mut done = Vec::new();
        let event = self.session.on_packet(self.now, packet, &mut self.out, &mut done);
        done.into_iter().for_each(|it| self.outcome(it.ticket));
        match event {
            Ok(Event::Message(incoming)) => self.receipts.extend(incoming.receipt),
            Ok(Event::Acknowledged { ticket, .. }) => self.outcome(ticket),
            Ok(Event::Refused { .. } | Event::Disconnected(_)) => self.end(),
            Ok(_) => {}
            Err(fault) => {
                self.session.disconnect(fault.reason_code(), None, &mut self.out);
                self.check_output();
                self.end();
            }
        }
        assert!(self.session.unacknowledged() <= 65_535);
    }

    fn end(&mut self) {
        self.session.disconnected();
        self.is_connected = false;
    }

    fn outcome(&mut self, number: u32) {
        assert!(
            number < self.accepted && self.outcomes.insert(number),
            "{number} has two outcomes"
        );
    }

    /// What is written is well-formed, and what a client may send.
    fn check_output(&mut self) {
        let mut rest = &self.out[..];
        while let Ok(Framing::Complete { frame, consumed }) = next_frame(rest, u32::MAX) {
            let packet = Packet::decode(frame, self.version).expect("it is well-formed");
            let is_of_server = matches!(
                packet.kind(),
                PacketKind::ConnAck
                    | PacketKind::SubAck
                    | PacketKind::UnsubAck
                    | PacketKind::PingResp
            );
            assert!(!is_of_server, "{packet:?}");
            rest = &rest[consumed..];
        }
        assert!(rest.is_empty(), "a part of a packet");
        self.out.clear();
    }
}

fn packet_id(value: u16) -> PacketId {
    PacketId::new(value.max(1)).expect("it is not zero")
}

fn step() -> impl Strategy<Value = Step> {
    let qos = || prop::sample::select(QoS::ALL.to_vec());
    let id = || prop_oneof![8 => 1..12u16, 1 => 65_515..=65_535u16];
    let reason = || prop::sample::select(vec![0u8, 0, 0, 0x10, 0x80, 0x97]);
    prop_oneof![
        3 => (any::<bool>(), any::<bool>())
            .prop_map(|(clean_start, method)| Step::Connect { clean_start, method }),
        1 => Just(Step::Disconnected),
        1 => Just(Step::Disconnect),
        6 => (any::<bool>(), prop::sample::select(vec![0u8, 0, 0, 0x87]), 0..4u16, qos()).prop_map(
            |(session_present, reason, receive_maximum, qos)| Step::ConnAck {
                session_present,
                reason,
                receive_maximum,
                qos
            }
        ),
        6 => (qos(), id(), prop::option::weighted(0.2, 0..4u16), any::<bool>())
            .prop_map(|(qos, id, alias, topic)| Step::Publish { qos, id, alias, topic }),
        14 => (0..4u8, id(), reason()).prop_map(|(kind, id, reason)| Step::Ack { kind, id, reason }),
        1 => (id(), 1..3usize).prop_map(|(id, count)| Step::SubAck { id, count }),
        1 => (id(), 0..3usize).prop_map(|(id, count)| Step::UnsubAck { id, count }),
        1 => (prop::sample::select(vec![0u8, 0x18]), any::<bool>())
            .prop_map(|(reason, method)| Step::Auth { reason, method }),
        1 => Just(Step::ServerDisconnect),
        1 => Just(Step::Ping),
        8 => qos().prop_map(Step::Accept),
        2 => Just(Step::Subscribe),
        1 => Just(Step::Unsubscribe),
        4 => (0..20usize).prop_map(Step::Acknowledge),
        1 => (0..20usize).prop_map(Step::Abandon),
        1 => Just(Step::Authenticate),
        2 => (0..40u64).prop_map(Step::Allow),
        2 => (0..12u64).prop_map(Step::Release),
        1 => Just(Step::DropOldest),
        8 => Just(Step::Pump),
        1 => Just(Step::Later),
    ]
}
