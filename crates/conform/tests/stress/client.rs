//! A client of the stress tests: a blocking socket, packets in and out, nothing automatic.
//!
//! It speaks through `quelea-codec`, which has tests of its own: what is looked at here is what the broker does,
//! not how it is spelled.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use quelea_codec::{
    Auth, AuthProperties, Connect, Disconnect, DisconnectProperties, Framing, Packet, PacketId,
    PacketKind, Publish, PublishProperties, QoS, ReasonCode, Subscribe, SubscriptionOptions,
    Unsubscribe, Version, Will, next_frame,
};

/// One connection to the broker.
pub(crate) struct Client {
    version: Version,
    stream: TcpStream,
    /// Bytes that came, from `taken` on not looked at yet.
    buffer: Vec<u8>,
    taken: usize,
    /// Packets that came while another was waited for.
    inbox: VecDeque<Got>,
    last_packet_id: u16,
}

/// A packet from the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// CONNACK: Session Present and reason.
    Accepted(bool, u8),
    /// PUBLISH.
    Message(Message),
    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    Ack(PacketKind, u16, u8),
    /// SUBACK.
    Subscribed(u16, Vec<u8>),
    /// UNSUBACK.
    Unsubscribed(u16),
    /// PINGRESP.
    Pong,
    /// DISCONNECT.
    Bye(u8),
    /// AUTH: reason and data.
    Auth(u8, Vec<u8>),
    /// The broker has closed the connection.
    Closed,
}

/// A PUBLISH from the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) is_retained: bool,
    pub(crate) is_dup: bool,
    pub(crate) packet_id: u16,
}

/// A CONNECT in the making: a clean session of MQTT 5.0 without keep alive.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) version: Version,
    pub(crate) client_id: String,
    pub(crate) is_clean: bool,
    /// In 5.0; a session of 3.x that is not clean stays.
    pub(crate) expiry_secs: u32,
    pub(crate) keep_alive_secs: u16,
    pub(crate) receive_maximum: u16,
    pub(crate) will: Option<Testament>,
    pub(crate) auth: Option<(String, Vec<u8>)>,
    /// User name and password.
    pub(crate) login: Option<(String, String)>,
}

/// A will in the making.
#[derive(Clone, Debug)]
pub(crate) struct Testament {
    pub(crate) topic: String,
    pub(crate) qos: u8,
    pub(crate) delay_secs: u32,
    pub(crate) is_retained: bool,
}

impl Options {
    pub(crate) fn new(client_id: impl Into<String>) -> Self {
        Self {
            version: Version::V5,
            client_id: client_id.into(),
            is_clean: true,
            expiry_secs: 0,
            keep_alive_secs: 0,
            receive_maximum: 65_535,
            will: None,
            auth: None,
            login: None,
        }
    }

    pub(crate) fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// A session that outlives its connection.
    pub(crate) fn durable(mut self) -> Self {
        self.is_clean = false;
        self.expiry_secs = 600;
        self
    }

    pub(crate) fn expiry(mut self, secs: u32) -> Self {
        self.expiry_secs = secs;
        self
    }

    pub(crate) fn receive_maximum(mut self, count: u16) -> Self {
        self.receive_maximum = count;
        self
    }

    pub(crate) fn keep_alive(mut self, secs: u16) -> Self {
        self.keep_alive_secs = secs;
        self
    }

    /// A will of QoS 1, whose payload is the client identifier.
    pub(crate) fn will(mut self, topic: &str, delay_secs: u32) -> Self {
        let topic = topic.to_owned();
        self.will = Some(Testament { topic, qos: 1, delay_secs, is_retained: false });
        self
    }

    pub(crate) fn auth(mut self, method: &str, data: &[u8]) -> Self {
        self.auth = Some((method.to_owned(), data.to_vec()));
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut connect = Connect::new(self.version, &self.client_id);
        connect.username = self.login.as_ref().map(|it| it.0.as_str());
        connect.password = self.login.as_ref().map(|it| it.1.as_bytes());
        connect.clean_start = self.is_clean;
        connect.keep_alive_secs = self.keep_alive_secs;
        if self.version.is_v5() {
            let properties = &mut connect.properties;
            properties.session_expiry_secs = Some(self.expiry_secs).filter(|secs| *secs > 0);
            properties.receive_maximum = NonZeroU16::new(self.receive_maximum);
            if let Some((method, data)) = &self.auth {
                properties.authentication_method = Some(method);
                properties.authentication_data = Some(data);
            }
        }
        connect.will = self.will.as_ref().map(|will| Will {
            qos: qos(will.qos),
            retain: will.is_retained,
            topic: &will.topic,
            payload: self.client_id.as_bytes(),
            delay_secs: will.delay_secs,
            properties: PublishProperties::default(),
        });
        encode(&Packet::Connect(connect), self.version)
    }
}

/// Connecting and leaving.
impl Client {
    /// Opens a connection and sends nothing.
    pub(crate) fn open(address: SocketAddr, version: Version) -> Self {
        Self::on(TcpStream::connect(address).expect("the broker listens"), version)
    }

    /// Speaks on a connection that is there.
    pub(crate) fn on(stream: TcpStream, version: Version) -> Self {
        stream.set_nodelay(true).expect("a fresh socket has the option");
        Self {
            version,
            stream,
            buffer: Vec::new(),
            taken: 0,
            inbox: VecDeque::new(),
            last_packet_id: 0,
        }
    }

    /// Opens a connection and sends CONNECT.
    pub(crate) fn start(address: SocketAddr, options: &Options) -> Self {
        let mut client = Self::open(address, options.version);
        client.send(&options.bytes());
        client
    }

    /// Connects, and returns whether the session was there.
    #[track_caller]
    pub(crate) fn resume(address: SocketAddr, options: &Options) -> (Self, bool) {
        let mut client = Self::start(address, options);
        match client.next() {
            Got::Accepted(is_present, 0) => (client, is_present),
            got => panic!("{} was not accepted: {got:?}", options.client_id),
        }
    }

    #[track_caller]
    pub(crate) fn connect(address: SocketAddr, options: &Options) -> Self {
        Self::resume(address, options).0
    }

    /// Sends DISCONNECT and waits until the broker has closed.
    #[track_caller]
    pub(crate) fn disconnect(mut self) {
        self.send(&[0xE0, 0]);
        while self.next() != Got::Closed {}
    }

    /// Sends DISCONNECT with a reason and perhaps another session expiry, and waits for the close.
    #[track_caller]
    pub(crate) fn disconnect_with(mut self, reason: u8, session_expiry_secs: Option<u32>) {
        let properties = DisconnectProperties { session_expiry_secs, ..Default::default() };
        let packet = Packet::Disconnect(Disconnect { reason: ReasonCode(reason), properties });
        self.send_packet(&packet);
        while self.next() != Got::Closed {}
    }

    /// Breaks the connection as a crash does: with a reset, and whatever was on its way is gone.
    pub(crate) fn crash(self) {
        if self.buffer.len() == self.taken {
            // Unread bytes make the system send a reset; a ping makes sure of some.
            let _ = (&self.stream).write_all(&[0xC0, 0]);
            let mut byte = [0];
            let _ = self.stream.set_read_timeout(Some(PATIENCE));
            let _ = self.stream.peek(&mut byte);
        }
    }
}

/// Sending.
impl Client {
    /// Sends bytes. That the broker has closed shows when an answer is awaited.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    pub(crate) fn send_packet(&mut self, packet: &Packet<'_>) {
        self.send(&encode(packet, self.version));
    }

    pub(crate) fn next_id(&mut self) -> u16 {
        self.last_packet_id = self.last_packet_id % 65_535 + 1;
        self.last_packet_id
    }

    /// Sends a PUBLISH; from QoS 1 on with the next packet identifier, which it returns.
    pub(crate) fn send_publish(&mut self, topic: &str, qos: u8, payload: &[u8]) -> u16 {
        self.send_publish_with(topic, qos, payload, false)
    }

    pub(crate) fn send_publish_with(
        &mut self,
        topic: &str,
        qos: u8,
        payload: &[u8],
        is_retained: bool,
    ) -> u16 {
        let id = if qos > 0 { self.next_id() } else { 0 };
        self.send(&publish_bytes(self.version, topic, qos, payload, is_retained, id));
        id
    }

    /// Publishes and waits until the broker has acknowledged, keeping other packets for later. Returns the
    /// reason of PUBACK or PUBREC.
    #[track_caller]
    pub(crate) fn publish(&mut self, topic: &str, qos: u8, payload: &[u8]) -> u8 {
        self.publish_with(topic, qos, payload, false)
    }

    #[track_caller]
    pub(crate) fn retain(&mut self, topic: &str, payload: &[u8]) {
        self.publish_with(topic, 1, payload, true);
    }

    #[track_caller]
    fn publish_with(&mut self, topic: &str, qos: u8, payload: &[u8], is_retained: bool) -> u8 {
        let id = self.send_publish_with(topic, qos, payload, is_retained);
        match qos {
            0 => 0,
            1 => self.wait_ack(PacketKind::PubAck, id),
            _ => {
                let reason = self.wait_ack(PacketKind::PubRec, id);
                if reason < 0x80 {
                    self.send_ack(PacketKind::PubRel, id);
                    self.wait_ack(PacketKind::PubComp, id);
                }
                reason
            }
        }
    }

    pub(crate) fn send_ack(&mut self, kind: PacketKind, id: u16) {
        let first_byte = (kind as u8) << 4 | u8::from(kind == PacketKind::PubRel) << 1;
        let [high, low] = id.to_be_bytes();
        self.send(&[first_byte, 2, high, low]);
    }

    pub(crate) fn send_subscribe(&mut self, filters: &[(&str, u8)]) -> u16 {
        let id = self.next_id();
        self.send(&subscribe_bytes(self.version, filters, id));
        id
    }

    /// Subscribes, and waits until that is granted, keeping other packets for later.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, filter: &str, options: u8) {
        let id = self.send_subscribe(&[(filter, options)]);
        let reasons = self.wait_for("SUBACK", |got| match got {
            Got::Subscribed(known, reasons) if *known == id => Some(reasons.clone()),
            _ => None,
        });
        assert_eq!(reasons, [options & 3], "SUBACK for {filter}");
    }

    pub(crate) fn send_unsubscribe(&mut self, filter: &str) -> u16 {
        let id = self.next_id();
        self.send_packet(&Packet::Unsubscribe(Unsubscribe::new(packet_id(id), &[filter])));
        id
    }

    #[track_caller]
    pub(crate) fn unsubscribe(&mut self, filter: &str) {
        let id = self.send_unsubscribe(filter);
        self.wait_for("UNSUBACK", |got| (*got == Got::Unsubscribed(id)).then_some(()));
    }

    pub(crate) fn send_auth(&mut self, reason: u8, method: &str, data: &[u8]) {
        let properties =
            AuthProperties { method: Some(method), data: Some(data), ..Default::default() };
        self.send_packet(&Packet::Auth(Auth { reason: ReasonCode(reason), properties }));
    }

    pub(crate) fn end_sending(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Sends what fits, without waiting for room. Returns how many bytes that was.
    pub(crate) fn send_some(&mut self, bytes: &[u8]) -> usize {
        self.stream.set_nonblocking(true).expect("an open socket has the option");
        let sent = self.stream.write(bytes).unwrap_or(0);
        self.stream.set_nonblocking(false).expect("an open socket has the option");
        sent
    }
}

/// Receiving.
impl Client {
    /// Waits for the next packet, or the close.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Got {
        match self.next_within(PATIENCE) {
            Some(got) => got,
            None => panic!("nothing came within {PATIENCE:?}"),
        }
    }

    /// Waits for the next packet, or the close, up to `limit`.
    pub(crate) fn next_within(&mut self, limit: Duration) -> Option<Got> {
        if let Some(got) = self.inbox.pop_front() {
            return Some(got);
        }
        self.next_fresh(Instant::now() + limit)
    }

    /// Waits for a message, which must be next.
    #[track_caller]
    pub(crate) fn message(&mut self) -> Message {
        match self.next() {
            Got::Message(message) => message,
            got => panic!("expected a message, got {got:?}"),
        }
    }

    /// Waits for a message, and acknowledges it to the end.
    #[track_caller]
    pub(crate) fn take(&mut self) -> Message {
        let message = self.message();
        self.acknowledge(&message);
        message
    }

    /// Acknowledges a message to the end.
    #[track_caller]
    pub(crate) fn acknowledge(&mut self, message: &Message) {
        match message.qos {
            0 => {}
            1 => self.send_ack(PacketKind::PubAck, message.packet_id),
            _ => {
                self.send_ack(PacketKind::PubRec, message.packet_id);
                self.wait_ack(PacketKind::PubRel, message.packet_id);
                self.send_ack(PacketKind::PubComp, message.packet_id);
            }
        }
    }

    #[track_caller]
    pub(crate) fn wait_ack(&mut self, kind: PacketKind, id: u16) -> u8 {
        self.wait_for("an acknowledgement", |got| match got {
            Got::Ack(known, of, reason) if *known == kind && *of == id => Some(*reason),
            _ => None,
        })
    }

    /// Waits for a packet that `choose` takes, keeping others for later.
    #[track_caller]
    pub(crate) fn wait_for<T>(&mut self, what: &str, choose: impl Fn(&Got) -> Option<T>) -> T {
        if let Some(found) = self.inbox.iter().position(|got| choose(got).is_some()) {
            let got = self.inbox.remove(found).expect("it was just found");
            return choose(&got).expect("it was just chosen");
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Some(got) = self.next_fresh(deadline) else {
                panic!("{what} did not come, but {:?}", self.inbox);
            };
            if let Some(found) = choose(&got) {
                return found;
            }
            assert!(got != Got::Closed, "closed before {what}, after {:?}", self.inbox);
            self.inbox.push_back(got);
        }
    }

    /// Sends a PINGREQ and returns what came before the answer.
    #[track_caller]
    pub(crate) fn before_pong(&mut self) -> Vec<Got> {
        self.send(&[0xC0, 0]);
        self.wait_for("PINGRESP", |got| (*got == Got::Pong).then_some(()));
        self.inbox.drain(..).collect()
    }

    /// Waits for the close, and returns the reason that the broker gave.
    #[track_caller]
    pub(crate) fn closing_reason(&mut self) -> Option<u8> {
        let mut reason = None;
        loop {
            match self.next() {
                Got::Closed => return reason,
                Got::Bye(said) | Got::Accepted(_, said) => reason = Some(said),
                _ => {}
            }
        }
    }

    fn next_fresh(&mut self, deadline: Instant) -> Option<Got> {
        loop {
            let rest = &self.buffer[self.taken..];
            match next_frame(rest, u32::MAX).expect("the broker sends packets") {
                Framing::Complete { frame, consumed } => {
                    let packet = Packet::decode(frame, self.version);
                    let got = owned(packet.expect("the broker sends well-formed packets"));
                    self.taken += consumed;
                    return Some(got);
                }
                Framing::Incomplete { .. } => {}
            }
            self.buffer.drain(..self.taken);
            self.taken = 0;
            let left = deadline.saturating_duration_since(Instant::now());
            // A read timeout of zero would mean none.
            let timeout = left.max(Duration::from_millis(1));
            let _ = self.stream.set_read_timeout(Some(timeout));
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Some(Got::Closed),
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if left.is_zero() {
                        return None;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Some(Got::Closed),
            }
        }
    }
}

impl Message {
    /// Returns the number that the payload starts with.
    pub(crate) fn number(&self) -> u64 {
        let digits = self.payload.split(|byte| !byte.is_ascii_digit()).next().unwrap_or_default();
        std::str::from_utf8(digits).ok().and_then(|it| it.parse().ok()).expect("a number")
    }
}

pub(crate) fn publish_bytes(
    version: Version,
    topic: &str,
    qos: u8,
    payload: &[u8],
    is_retained: bool,
    id: u16,
) -> Vec<u8> {
    encode(&Packet::Publish(publish(topic, qos, payload, is_retained, id, false)), version)
}

/// Returns a PUBLISH that is sent again.
pub(crate) fn duplicate_bytes(
    version: Version,
    topic: &str,
    qos: u8,
    payload: &[u8],
    id: u16,
) -> Vec<u8> {
    encode(&Packet::Publish(publish(topic, qos, payload, false, id, true)), version)
}

fn publish<'a>(
    topic: &'a str,
    level: u8,
    payload: &'a [u8],
    retain: bool,
    id: u16,
    dup: bool,
) -> Publish<'a> {
    let packet_id = PacketId::new(id).filter(|_| level > 0);
    let properties = PublishProperties::default();
    Publish { dup, qos: qos(level), retain, topic, packet_id, properties, payload }
}

pub(crate) fn subscribe_bytes(version: Version, filters: &[(&str, u8)], id: u16) -> Vec<u8> {
    let filters: Vec<_> = filters
        .iter()
        .map(|(filter, options)| {
            (*filter, SubscriptionOptions::from_byte(*options).expect("valid"))
        })
        .collect();
    encode(&Packet::Subscribe(Subscribe::new(packet_id(id), None, &filters)), version)
}

fn encode(packet: &Packet<'_>, version: Version) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes);
    bytes
}

fn packet_id(id: u16) -> PacketId {
    PacketId::new(id).expect("packet identifiers are not 0")
}

fn qos(level: u8) -> QoS {
    [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(level)]
}

fn owned(packet: Packet<'_>) -> Got {
    match packet {
        Packet::ConnAck(it) => Got::Accepted(it.session_present, it.reason.0),
        Packet::Publish(it) => Got::Message(Message {
            topic: it.topic.to_owned(),
            payload: it.payload.to_vec(),
            qos: it.qos as u8,
            is_retained: it.retain,
            is_dup: it.dup,
            packet_id: it.packet_id.map_or(0, PacketId::value),
        }),
        Packet::PubAck(it) => Got::Ack(PacketKind::PubAck, it.packet_id.value(), it.reason.0),
        Packet::PubRec(it) => Got::Ack(PacketKind::PubRec, it.packet_id.value(), it.reason.0),
        Packet::PubRel(it) => Got::Ack(PacketKind::PubRel, it.packet_id.value(), it.reason.0),
        Packet::PubComp(it) => Got::Ack(PacketKind::PubComp, it.packet_id.value(), it.reason.0),
        Packet::SubAck(it) => Got::Subscribed(it.packet_id.value(), it.reasons.to_vec()),
        Packet::UnsubAck(it) => Got::Unsubscribed(it.packet_id.value()),
        Packet::PingResp => Got::Pong,
        Packet::Disconnect(it) => Got::Bye(it.reason.0),
        Packet::Auth(it) => Got::Auth(it.reason.0, it.properties.data.unwrap_or_default().to_vec()),
        Packet::Connect(_) | Packet::Subscribe(_) | Packet::Unsubscribe(_) | Packet::PingReq => {
            panic!("a packet that only clients send: {packet:?}")
        }
    }
}

/// How long an answer may take before it counts as missing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
