//! A client that knows just enough of MQTT 3.1, 3.1.1 and 5.0, and may do all that a decent one would not.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V31,
    V311,
    V5,
}

pub(crate) struct Client {
    stream: TcpStream,
    version: Version,
    next_id: u16,
    /// Messages that came when something else was waited for.
    early: VecDeque<(String, String)>,
}

/// A message for the will of a client, or to be published.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a str,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// Of a will: how long it waits.
    pub(crate) delay_secs: u8,
}

impl<'a> Message<'a> {
    pub(crate) fn new(topic: &'a str, payload: &'a str) -> Self {
        Self { topic, payload, qos: 1, retain: false, delay_secs: 0 }
    }

    pub(crate) fn retained(self) -> Self {
        Self { retain: true, ..self }
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr, version: Version, client_id: &str) -> Self {
        let (client, code) = Self::try_connect(address, version, client_id, None, true);
        assert_eq!(code, 0, "{client_id} is let in");
        client
    }

    /// Connects with a user name, and no password.
    pub(crate) fn connect_as(address: SocketAddr, client_id: &str, user: &str) -> Self {
        let (client, code) =
            Self::connect_with(address, Version::V5, client_id, Some(user), None, true);
        assert_eq!(code, 0, "{user} is let in");
        client
    }

    /// Connects as a user, with a will and with a session that stays.
    pub(crate) fn with_will(
        address: SocketAddr,
        client_id: &str,
        user: &str,
        will: Message<'_>,
    ) -> Self {
        let (client, code) =
            Self::connect_with(address, Version::V5, client_id, Some(user), Some(will), false);
        assert_eq!(code, 0, "{user} is let in with this will");
        client
    }

    /// Connects with a user name, to a session that outlives the connection.
    pub(crate) fn resume_as(address: SocketAddr, client_id: &str, user: &str) -> Self {
        let (client, code) =
            Self::connect_with(address, Version::V5, client_id, Some(user), None, false);
        assert_eq!(code, 0, "{user} is let in");
        client
    }

    /// Connects, and returns what CONNACK says.
    pub(crate) fn try_connect(
        address: SocketAddr,
        version: Version,
        client_id: &str,
        will: Option<Message<'_>>,
        is_clean: bool,
    ) -> (Self, u8) {
        Self::connect_with(address, version, client_id, None, will, is_clean)
    }

    pub(crate) fn connect_with(
        address: SocketAddr,
        version: Version,
        client_id: &str,
        user: Option<&str>,
        will: Option<Message<'_>>,
        is_clean: bool,
    ) -> (Self, u8) {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let (name, level) = match version {
            Version::V31 => ("MQIsdp", 3),
            Version::V311 => ("MQTT", 4),
            Version::V5 => ("MQTT", 5),
        };
        let mut body = text(name);
        let is_v5 = version == Version::V5;
        let mut flags = if is_clean { 2 } else { 0 };
        if let Some(will) = will {
            flags |= 4 | (will.qos << 3) | (u8::from(will.retain) << 5);
        }
        flags |= if user.is_some() { 0x80 } else { 0 };
        body.extend([level, flags, 0, 60]);
        if is_v5 && is_clean {
            body.push(0);
        } else if is_v5 {
            // Session Expiry Interval.
            body.extend([5, 17, 0, 0, 1, 0]);
        }
        body.extend(text(client_id));
        if let Some(will) = will {
            match will.delay_secs {
                0 => body.extend(is_v5.then_some(0)),
                // Will Delay Interval.
                secs => body.extend([5, 24, 0, 0, 0, secs]),
            }
            body.extend(text(will.topic));
            body.extend(text(will.payload));
        }
        body.extend(user.map(text).unwrap_or_default());
        stream.write_all(&packet(0x10, &body)).unwrap();
        let mut client = Self { stream, version, next_id: 1, early: VecDeque::new() };
        let (first, body) = client.packet().unwrap();
        assert_eq!(first, 0x20);
        (client, body[1])
    }

    /// Subscribes with QoS 1 and returns what SUBACK says.
    pub(crate) fn subscribe(&mut self, filter: &str) -> u8 {
        self.send_subscribe(filter);
        *self.answer(0x90).last().unwrap()
    }

    /// Subscribes to several filters at once with QoS 1, and returns what SUBACK says of each.
    pub(crate) fn subscribe_all(&mut self, filters: &[&str]) -> Vec<u8> {
        let mut body = self.id().to_vec();
        body.extend(self.no_properties());
        for filter in filters {
            body.extend(text(filter));
            body.push(1);
        }
        self.stream.write_all(&packet(0x82, &body)).unwrap();
        let answer = self.answer(0x90);
        answer[answer.len() - filters.len()..].to_vec()
    }

    /// Subscribes and waits for nothing.
    pub(crate) fn send_subscribe(&mut self, filter: &str) {
        let mut body = self.id().to_vec();
        body.extend(self.no_properties());
        body.extend(text(filter));
        body.push(1);
        self.stream.write_all(&packet(0x82, &body)).unwrap();
    }

    /// Publishes with QoS 2, to the end of the exchange, and returns what PUBREC says.
    pub(crate) fn publish_exactly_once(&mut self, message: Message<'_>) -> u8 {
        self.send(Message { qos: 2, ..message }, &[]);
        let answer = self.answer(0x50);
        let told = answer.get(2).copied().unwrap_or(0);
        if told < 0x80 {
            self.stream.write_all(&[0x62, 2, answer[0], answer[1]]).unwrap();
            self.answer(0x70);
        }
        told
    }

    /// Publishes with QoS 1 and returns what PUBACK says.
    pub(crate) fn publish(&mut self, message: Message<'_>) -> u8 {
        self.publish_with(message, &[])
    }

    /// Publishes with properties of MQTT 5.0.
    pub(crate) fn publish_with(&mut self, message: Message<'_>, properties: &[u8]) -> u8 {
        self.send(message, properties);
        self.answer(0x40).get(2).copied().unwrap_or(0)
    }

    /// Publishes and waits for nothing.
    pub(crate) fn send(&mut self, message: Message<'_>, properties: &[u8]) {
        let mut body = text(message.topic);
        if message.qos > 0 {
            body.extend(self.id());
        }
        if self.version == Version::V5 {
            body.push(properties.len() as u8);
            body.extend(properties);
        }
        body.extend(message.payload.as_bytes());
        let first = 0x30 | (message.qos << 1) | u8::from(message.retain);
        self.stream.write_all(&packet(first, &body)).unwrap();
    }

    /// Takes everything that has arrived, up to the answer to a ping: topics and payloads. Acknowledges it.
    pub(crate) fn take(&mut self) -> Vec<(String, String)> {
        self.stream.write_all(&[0xC0, 0]).unwrap();
        self.answer(0xD0);
        self.early.drain(..).collect()
    }

    /// Waits for the next message.
    pub(crate) fn wait(&mut self) -> (String, String) {
        if let Some(message) = self.early.pop_front() {
            return message;
        }
        loop {
            let (first, body) = self.packet().unwrap();
            if let Some(message) = self.message(first, &body) {
                return message;
            }
        }
    }

    /// Goes without a word.
    pub(crate) fn vanish(self) {}

    /// Returns whether the broker closes the connection.
    pub(crate) fn is_closed(&mut self) -> bool {
        while let Some((first, _)) = self.packet() {
            assert_eq!(first, 0xE0);
        }
        true
    }

    /// Waits for an answer, and keeps the messages that come before it.
    fn answer(&mut self, kind: u8) -> Vec<u8> {
        loop {
            let (first, body) = self.packet().unwrap();
            if first == kind {
                return body;
            }
            let message = self.message(first, &body);
            self.early.push_back(message.expect("nothing else comes"));
        }
    }

    fn message(&mut self, first: u8, body: &[u8]) -> Option<(String, String)> {
        if first & 0xF0 != 0x30 {
            return None;
        }
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
        let mut rest = &body[2 + length..];
        if first & 6 != 0 {
            let ack = [0x40, 2, rest[0], rest[1]];
            self.stream.write_all(&ack).unwrap();
            rest = &rest[2..];
        }
        if self.version == Version::V5 {
            rest = &rest[1 + usize::from(rest[0])..];
        }
        Some((topic, String::from_utf8(rest.to_vec()).unwrap()))
    }

    /// Reads the next packet: its first byte and its body. Nothing when the broker has closed.
    fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte).ok()?;
        let first = byte[0];
        let (mut length, mut shift) = (0, 0);
        loop {
            self.stream.read_exact(&mut byte).ok()?;
            length |= usize::from(byte[0] & 0x7F) << shift;
            shift += 7;
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).ok()?;
        Some((first, body))
    }

    fn id(&mut self) -> [u8; 2] {
        self.next_id += 1;
        self.next_id.to_be_bytes()
    }

    fn no_properties(&self) -> Option<u8> {
        (self.version == Version::V5).then_some(0)
    }
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u16).to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut rest = body.len();
    loop {
        let more = rest >= 0x80;
        packet.push((rest as u8 & 0x7F) | if more { 0x80 } else { 0 });
        rest >>= 7;
        if !more {
            break;
        }
    }
    packet.extend(body);
    packet
}

/// Nothing that is to come takes longer.
const PATIENCE: Duration = Duration::from_secs(20);
