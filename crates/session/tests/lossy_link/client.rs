//! A client, written for plainness: it keeps to the protocol, and sees to it that its peer does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use quelea_codec::{PacketId, PacketKind, QoS, ReasonCode};

use crate::Peer;
use crate::wire::Wire;

pub(crate) struct Client {
    window: usize,
    receive_maximum: u16,

    // What it receives.
    /// QoS 1 and 2 messages of this connection that it has not finished acknowledging.
    unacknowledged: BTreeSet<PacketId>,
    /// QoS 2 messages that are not released: session state.
    unreleased: BTreeMap<PacketId, u32>,
    answers: VecDeque<Wire>,
    received: Vec<(QoS, u32)>,

    // What it publishes.
    next_id: u16,
    next_number: u32,
    send_quota: u16,
    /// In the order of publishing: session state. The last field tells whether it was written on this connection.
    sent: Vec<(PacketId, Exchange, bool)>,
    waiting: VecDeque<(QoS, u32)>,
    published: Vec<(QoS, u32)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Exchange {
    Publish { qos: QoS, number: u32, dup: bool },
    Pubrel,
}

impl Client {
    pub(crate) fn new(window: u16, receive_maximum: u16) -> Self {
        Self {
            window: usize::from(window),
            receive_maximum,
            unacknowledged: BTreeSet::new(),
            unreleased: BTreeMap::new(),
            answers: VecDeque::new(),
            received: Vec::new(),
            next_id: 1,
            next_number: 0,
            send_quota: receive_maximum,
            sent: Vec::new(),
            waiting: VecDeque::new(),
            published: Vec::new(),
        }
    }

    fn on_publish(&mut self, dup: bool, qos: QoS, packet_id: Option<PacketId>, number: u32) {
        let Some(packet_id) = packet_id else {
            assert!(!dup);
            self.received.push((qos, number));
            return;
        };
        assert!(self.unacknowledged.insert(packet_id), "{packet_id} is in use");
        assert!(self.unacknowledged.len() <= self.window, "the window is exceeded");
        let kind = match qos {
            QoS::ExactlyOnce => {
                match self.unreleased.insert(packet_id, number) {
                    None => self.received.push((qos, number)),
                    Some(old) => assert!(dup && old == number, "{packet_id} was {old}"),
                }
                PacketKind::PubRec
            }
            QoS::AtLeastOnce | QoS::AtMostOnce => {
                assert!(!self.unreleased.contains_key(&packet_id), "{packet_id} is in use");
                self.received.push((qos, number));
                PacketKind::PubAck
            }
        };
        self.answers.push_back(Wire::Ack { kind, packet_id, reason: ReasonCode::SUCCESS });
    }

    fn on_ack(&mut self, kind: PacketKind, packet_id: PacketId, reason: ReasonCode) {
        let Some(index) = self.sent.iter().position(|it| it.0 == packet_id) else {
            panic!("{kind} {packet_id} for nothing");
        };
        match (kind, self.sent[index].1, reason.is_failure()) {
            (PacketKind::PubRec, Exchange::Publish { qos: QoS::ExactlyOnce, .. }, false) => {
                self.sent[index].1 = Exchange::Pubrel;
                self.sent[index].2 = false;
                return;
            }
            // A repeated PUBLISH was answered as well.
            (PacketKind::PubRec, Exchange::Pubrel, false) => return,
            (PacketKind::PubAck, Exchange::Publish { qos: QoS::AtLeastOnce, .. }, _)
            | (PacketKind::PubComp, Exchange::Pubrel, _) => {}
            (_, _, _) => panic!("{kind} {packet_id} is not what was to come"),
        }
        self.sent.remove(index);
        self.send_quota = (self.send_quota + 1).min(self.receive_maximum);
    }

    fn next_packet(&mut self) -> Option<Wire> {
        if let Some(answer) = self.answers.pop_front() {
            if let Wire::Ack { kind: PacketKind::PubAck | PacketKind::PubComp, packet_id, .. } =
                answer
            {
                self.unacknowledged.remove(&packet_id);
            }
            return Some(answer);
        }
        // PUBREL does not wait for the quota.
        for (packet_id, exchange, is_written) in &mut self.sent {
            if *exchange == Exchange::Pubrel && !*is_written {
                *is_written = true;
                let (kind, reason) = (PacketKind::PubRel, ReasonCode::SUCCESS);
                return Some(Wire::Ack { kind, packet_id: *packet_id, reason });
            }
        }
        for (packet_id, exchange, is_written) in &mut self.sent {
            if let Exchange::Publish { qos, number, dup } = *exchange
                && !*is_written
            {
                self.send_quota = self.send_quota.checked_sub(1)?;
                *is_written = true;
                return Some(Wire::Publish { dup, qos, packet_id: Some(*packet_id), number });
            }
        }
        let &(qos, number) = self.waiting.front()?;
        if qos == QoS::AtMostOnce {
            self.waiting.pop_front();
            return Some(Wire::Publish { dup: false, qos, packet_id: None, number });
        }
        self.send_quota = self.send_quota.checked_sub(1)?;
        self.waiting.pop_front();
        let packet_id = self.free_id();
        self.sent.push((packet_id, Exchange::Publish { qos, number, dup: false }, true));
        Some(Wire::Publish { dup: false, qos, packet_id: Some(packet_id), number })
    }

    /// Few identifiers, so that they are used again soon.
    fn free_id(&mut self) -> PacketId {
        loop {
            self.next_id = self.next_id % 7 + 1;
            let id = PacketId::new(self.next_id).expect("from 1");
            if self.sent.iter().all(|it| it.0 != id) {
                return id;
            }
        }
    }
}

impl Peer for Client {
    fn publish(&mut self, qos: QoS) {
        self.waiting.push_back((qos, self.next_number));
        self.published.push((qos, self.next_number));
        self.next_number += 1;
    }

    fn reconnect(&mut self, window: u16) {
        self.window = usize::from(window);
        self.unacknowledged.clear();
        // It may be late with a PUBREC, which it owes until it has a PUBREL.
        self.answers.retain(|answer| matches!(answer, Wire::Ack { kind: PacketKind::PubRec, .. }));
        self.send_quota = self.receive_maximum;
        for (_, exchange, is_written) in &mut self.sent {
            if let Exchange::Publish { dup, .. } = exchange {
                *dup |= *is_written;
            }
            *is_written = false;
        }
    }

    fn read(&mut self, packet: Wire) {
        match packet {
            Wire::Publish { dup, qos, packet_id, number } => {
                self.on_publish(dup, qos, packet_id, number)
            }
            Wire::Ack { kind: PacketKind::PubRel, packet_id, .. } => {
                let known = self.unreleased.remove(&packet_id);
                let reason = match known {
                    Some(_) => ReasonCode::SUCCESS,
                    None => ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
                };
                self.answers.push_back(Wire::Ack { kind: PacketKind::PubComp, packet_id, reason });
            }
            Wire::Ack { kind, packet_id, reason } => self.on_ack(kind, packet_id, reason),
        }
    }

    fn write(&mut self, count: u8) -> Vec<Wire> {
        let mut written = Vec::new();
        while written.len() < usize::from(count) {
            let Some(packet) = self.next_packet() else {
                break;
            };
            written.push(packet);
        }
        written
    }

    fn is_at_rest(&self) -> bool {
        self.answers.is_empty() && self.sent.is_empty() && self.waiting.is_empty()
    }

    fn check_at_rest(&self) {
        assert!(self.unacknowledged.is_empty());
        assert!(self.unreleased.is_empty(), "never released: {:?}", self.unreleased);
        assert!(self.sent.is_empty() && self.waiting.is_empty(), "never answered");
    }

    fn received(&self) -> &[(QoS, u32)] {
        &self.received
    }

    fn published(&self) -> &[(QoS, u32)] {
        &self.published
    }
}
