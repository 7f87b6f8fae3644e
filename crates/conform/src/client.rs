//! A client of the suite: a socket, and the patience to wait for what should come.
//!
//! Exchanges of more than one packet are in `exchange`.

use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use crate::broker::Evidence;
use crate::wire::{ConnAck, Packet, Publish, property as id, split_packet};
use crate::{Broker, Failure, Outcome, Stream, Version};

/// One connection to the broker.
#[derive(Debug)]
pub struct Client {
    pub(crate) version: Version,
    pub(crate) last_packet_id: u16,
    pub(crate) marker_topic: Option<String>,
    marker_root: String,
    /// What topics of the suite begin with, and those of this case among them.
    topic_stems: [String; 2],
    stream: Box<dyn Stream>,
    /// The highest QoS of a message that the broker is known to take.
    pub(crate) qos_max: u8,
    is_quelea: bool,
    patience: Duration,
    /// Bytes that are no whole packet yet.
    buffer: Vec<u8>,
    /// Packets that came while another was waited for.
    pub(crate) inbox: VecDeque<Packet>,
    connack: ConnAck,
    aliases: HashMap<u32, String>,
    largest_packet_bytes: usize,
    label: usize,
    evidence: Evidence,
}

/// What a read comes to.
enum Arrival {
    Packet(Packet),
    Closed,
    TimedOut,
}

impl Client {
    pub(crate) fn new(
        stream: Box<dyn Stream>,
        version: Version,
        broker: &Broker<'_>,
        label: usize,
        evidence: Evidence,
    ) -> Self {
        Self {
            version,
            last_packet_id: 0,
            marker_topic: None,
            marker_root: broker.target().topic_root(),
            topic_stems: broker.topic_stems(),
            stream,
            qos_max: broker.target().known_qos_max(version),
            is_quelea: broker.is_quelea(),
            patience: broker.patience(),
            buffer: Vec::new(),
            inbox: VecDeque::new(),
            connack: ConnAck::default(),
            aliases: HashMap::new(),
            largest_packet_bytes: 0,
            label,
            evidence,
        }
    }

    /// Sends bytes. That the broker has closed shows when an answer is awaited.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.log('>', bytes);
        let _ = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
    }

    /// Sends PINGREQ.
    pub(crate) fn send_ping(&mut self) {
        self.send(&[0xC0, 0]);
    }

    /// Ends what this side sends, and keeps reading.
    pub(crate) fn end_sending(&mut self) {
        let _ = self.stream.end_sending();
    }

    /// Returns the size of the largest packet that came.
    pub(crate) fn largest_packet_bytes(&self) -> usize {
        self.largest_packet_bytes
    }

    /// Returns the CONNACK that accepted this client.
    pub(crate) fn connack(&self) -> &ConnAck {
        &self.connack
    }

    pub(crate) fn is_session_present(&self) -> bool {
        self.connack.is_session_present
    }

    pub(crate) fn is_quelea(&self) -> bool {
        self.is_quelea
    }

    /// Returns the first level of the topics that only this client uses.
    pub(crate) fn marker_root(&self) -> &str {
        &self.marker_root
    }

    /// Waits for the next packet.
    #[track_caller]
    pub(crate) fn expect_packet(&mut self) -> Outcome<Packet> {
        self.expect_packet_within(self.patience)
    }

    /// Waits up to `limit` for the next packet.
    #[track_caller]
    pub(crate) fn expect_packet_within(&mut self, limit: Duration) -> Outcome<Packet> {
        let problem = match self.receive(limit) {
            Ok(Arrival::Packet(packet)) => return Ok(packet),
            Ok(Arrival::Closed) => "the broker closed the connection".to_owned(),
            Ok(Arrival::TimedOut) => format!("nothing came within {limit:.1?}"),
            Err(malformed) => format!("the broker sent {malformed}"),
        };
        Err(Failure::broken(problem))
    }

    /// Waits for the broker to close, and returns what it sent before.
    #[track_caller]
    pub(crate) fn expect_close(&mut self) -> Outcome<Vec<Packet>> {
        self.expect_close_within(self.patience)
    }

    /// Waits up to `limit` for the broker to close, and returns what it sent before.
    #[track_caller]
    pub(crate) fn expect_close_within(&mut self, limit: Duration) -> Outcome<Vec<Packet>> {
        let deadline = Instant::now() + limit;
        let mut packets = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.receive(left) {
                Ok(Arrival::Packet(packet)) => packets.push(packet),
                Ok(Arrival::Closed) => return Ok(packets),
                Ok(Arrival::TimedOut) => {
                    let what =
                        format!("the connection is still open after {limit:.1?}; got {packets:?}");
                    return Err(Failure::broken(what));
                }
                Err(malformed) => {
                    return Err(Failure::broken(format!("the broker sent {malformed}")));
                }
            }
        }
    }

    /// Waits for the broker to close although it was asked for a PINGRESP, and returns what it sent before.
    ///
    /// Whoever answers may have an error on its way, and has a fifth of the patience for the close then.
    #[track_caller]
    pub(crate) fn expect_close_or_pong(&mut self) -> Outcome<Vec<Packet>> {
        let mut packets = Vec::new();
        loop {
            match self.receive(self.patience) {
                Ok(Arrival::Packet(Packet::PingResp)) if self.is_quelea => {
                    return Err(Failure::broken("a PINGRESP came instead of a close"));
                }
                Ok(Arrival::Packet(Packet::PingResp)) => {
                    let rest = self.expect_close_within(self.patience / 5).map_err(|_| {
                        Failure::broken(format!("the broker goes on; got {packets:?}"))
                    })?;
                    packets.extend(rest);
                    return Ok(packets);
                }
                Ok(Arrival::Packet(packet)) => packets.push(packet),
                Ok(Arrival::Closed) => return Ok(packets),
                Ok(Arrival::TimedOut) => {
                    let what = format!(
                        "the connection is still open after {:.1?}; got {packets:?}",
                        self.patience
                    );
                    return Err(Failure::broken(what));
                }
                Err(malformed) => {
                    return Err(Failure::broken(format!("the broker sent {malformed}")));
                }
            }
        }
    }

    /// Waits for the next packet, or for the broker to close, which is `None`.
    #[track_caller]
    pub(crate) fn expect_close_or_packet(&mut self) -> Outcome<Option<Packet>> {
        match self.receive(self.patience) {
            Ok(Arrival::Packet(packet)) => Ok(Some(packet)),
            Ok(Arrival::Closed) => Ok(None),
            Ok(Arrival::TimedOut) => {
                Err(Failure::broken(format!("nothing came within {:.1?}", self.patience)))
            }
            Err(malformed) => Err(Failure::broken(format!("the broker sent {malformed}"))),
        }
    }

    /// Waits for the broker to close, and returns the bytes that it sent before, whatever they mean.
    #[track_caller]
    pub(crate) fn expect_bytes_until_close(&mut self) -> Outcome<Vec<u8>> {
        let mut bytes = std::mem::take(&mut self.buffer);
        let _ = self.stream.set_read_timeout(self.patience);
        match (&mut self.stream).take(BYTES_UNTIL_CLOSE_MAX).read_to_end(&mut bytes) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(Failure::broken(format!("the connection is still open; got {bytes:02x?}")))
            }
            _ => {
                self.log('<', &bytes);
                Ok(bytes)
            }
        }
    }

    /// Sends bytes, and expects exactly `answer` and a close.
    #[track_caller]
    pub(crate) fn expect_rejected_bytes(&mut self, bytes: &[u8], answer: &[u8]) -> Outcome {
        self.send(bytes);
        let got = self.expect_bytes_until_close()?;
        if got == answer {
            return Ok(());
        }
        Err(Failure::broken(format!("expected {answer:02x?} and a close, got {got:02x?}")))
    }

    /// Takes note of the CONNACK that accepted this client.
    pub(crate) fn accept(&mut self, connack: ConnAck) {
        self.connack = connack;
    }

    /// Waits for the CONNACK of an accepted connection.
    #[track_caller]
    pub(crate) fn expect_accepted(&mut self) -> Outcome {
        match self.expect_packet()? {
            Packet::ConnAck(connack) if connack.reason == 0 => {
                self.connack = connack;
                Ok(())
            }
            Packet::ConnAck(ConnAck { reason, .. }) => {
                Err(Failure::broken(format!("its CONNACK refuses, with the code {reason:#04x}")))
            }
            packet => {
                Err(Failure::broken(format!("expected a CONNACK of success, got {packet:?}")))
            }
        }
    }

    /// Fails if anything came before the answer to a PINGREQ.
    #[track_caller]
    pub(crate) fn expect_silence(&mut self) -> Outcome {
        self.send_ping();
        self.expect_pong()
    }

    /// Waits for a PINGRESP, and fails if anything else comes.
    #[track_caller]
    pub(crate) fn expect_pong(&mut self) -> Outcome {
        match self.expect_packet()? {
            Packet::PingResp => Ok(()),
            packet => {
                Err(Failure::broken(format!("expected nothing but a PINGRESP, got {packet:?}")))
            }
        }
    }

    /// Waits for the answer to a PINGREQ, keeping other packets for later.
    #[track_caller]
    pub(crate) fn ping(&mut self) -> Outcome {
        self.send_ping();
        self.wait_for("PINGRESP", |packet| matches!(packet, Packet::PingResp).then_some(()))
    }

    /// Waits for a packet that `choose` takes, keeping others for later.
    #[track_caller]
    pub(crate) fn wait_for<T>(
        &mut self,
        what: &str,
        choose: impl Fn(&Packet) -> Option<T>,
    ) -> Outcome<T> {
        let mut early = VecDeque::new();
        // A broker that never stops sending other things does not hold the suite up.
        let deadline = Instant::now() + self.patience * 4;
        let found = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.receive(self.patience.min(left)) {
                Ok(Arrival::Packet(packet)) => match choose(&packet) {
                    Some(found) => break Ok(found),
                    None => early.push_back(packet),
                },
                Ok(Arrival::Closed) => break Err("the broker closed the connection".to_owned()),
                Ok(Arrival::TimedOut) => {
                    break Err(format!("nothing came within {:.1?}", self.patience));
                }
                Err(malformed) => break Err(format!("the broker sent {malformed}")),
            }
        };
        let found = match found {
            Ok(found) => found,
            Err(problem) => {
                let what = format!("waiting for {what}: {problem}; got {early:?}");
                return Err(Failure::broken(what));
            }
        };
        early.append(&mut self.inbox);
        self.inbox = early;
        Ok(found)
    }

    /// Takes the next packet, from the inbox or from the socket.
    fn receive(&mut self, limit: Duration) -> Result<Arrival, String> {
        if let Some(packet) = self.inbox.pop_front() {
            return Ok(Arrival::Packet(packet));
        }
        let deadline = Instant::now() + limit;
        loop {
            if let Some((first_byte, body, size)) = split_packet(&self.buffer)? {
                let packet = Packet::read(self.version, first_byte, body);
                let bytes: Vec<u8> = self.buffer.drain(..size).collect();
                self.log('<', &bytes);
                self.largest_packet_bytes = self.largest_packet_bytes.max(size);
                let packet = self.resolve_alias(packet?)?;
                if !self.is_stray(&packet) {
                    return Ok(Arrival::Packet(packet));
                }
                self.evidence.borrow_mut().push(format!("#{} passes this over", self.label));
                continue;
            }
            // A read timeout of zero would mean none.
            let left = deadline.saturating_duration_since(Instant::now());
            let _ = self.stream.set_read_timeout(left.max(Duration::from_millis(1)));
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(self.closed()),
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if Instant::now() >= deadline {
                        let line = format!("#{} {NOTHING_CAME} within {limit:.1?}", self.label);
                        self.evidence.borrow_mut().push(line);
                        return Ok(Arrival::TimedOut);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Ok(self.closed()),
            }
        }
    }

    fn closed(&mut self) -> Arrival {
        self.evidence.borrow_mut().push(format!("#{} closed", self.label));
        Arrival::Closed
    }

    /// Says whether a packet is a message of another case, which nobody here subscribed to: a fault, but of the broker's
    /// subscriptions, and none that this case should be judged by.
    fn is_stray(&self, packet: &Packet) -> bool {
        let Packet::Publish(publish) = packet else { return false };
        let [suite, case] = &self.topic_stems;
        let is_own = |root: &String| {
            publish
                .topic
                .strip_prefix(root.as_str())
                .is_some_and(|it| it.is_empty() || it.starts_with('/'))
        };
        publish.topic.starts_with(suite.as_str()) && !is_own(case) && !is_own(&self.marker_root)
    }

    /// Puts the topic name where the broker sent only its alias.
    fn resolve_alias(&mut self, packet: Packet) -> Result<Packet, String> {
        let Packet::Publish(mut publish) = packet else {
            return Ok(packet);
        };
        if let Some(alias) = publish.received.number(id::TOPIC_ALIAS) {
            if publish.topic.is_empty() {
                let known = self.aliases.get(&alias);
                publish.topic =
                    known.ok_or(format!("topic alias {alias} without a topic"))?.clone();
            } else {
                self.aliases.insert(alias, publish.topic.clone());
            }
        }
        Ok(Packet::Publish(publish))
    }

    fn log(&self, direction: char, bytes: &[u8]) {
        let shown: Vec<String> = bytes.iter().take(96).map(|byte| format!("{byte:02x}")).collect();
        let rest =
            if bytes.len() > 96 { format!(" … {} bytes", bytes.len()) } else { String::new() };
        let line = format!("#{} {direction} {}{rest}", self.label, shown.join(" "));
        self.evidence.borrow_mut().push(line);
    }
}

/// What the evidence says where an answer was waited for in vain.
pub(crate) const NOTHING_CAME: &str = "nothing came";

/// More than any broker has to say before it closes.
const BYTES_UNTIL_CLOSE_MAX: u64 = 64 * 1024;

/// Returns the publish of a packet that is one.
pub(crate) fn as_publish(packet: &Packet) -> Option<Publish> {
    match packet {
        Packet::Publish(publish) => Some(publish.clone()),
        _ => None,
    }
}
