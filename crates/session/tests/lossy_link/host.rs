//! The session's host, with a store that answers late and in order, and has the queue of a durable session: a new
//! connection is given it a few entries at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU16;
use std::sync::Arc;

use quelea_codec::{Connect, PacketId, PacketKind, Publish, QoS, ReasonCode};
use quelea_session::{
    AfterPubrec, AfterPubrel, AfterSettle, Class, Connection, Content, Delivered, Delivery,
    DropReason, Duplicate, Effects, Message, Outbox, Position, ServerLimits, Session,
    SessionLimits, Sharing, Time, negotiate,
};

use crate::Setting;
use crate::wire::{Wire, packets};

/// QoS 1 and 2 messages that the client may have under way.
pub(crate) const RECEIVE_MAXIMUM: u16 = 3;

pub(crate) struct Host {
    setting: Setting,
    limits: SessionLimits,
    session: Session,
    connection: Connection,
    /// Counts connections. What the store completes for an earlier one writes nothing.
    generation: u32,
    buffer: Vec<u8>,
    fx: Effects,
    now: Time,
    next_number: u32,
    next_position: u64,
    store: Store,
    /// Where the next page of the queue starts, until the session has been given all of it.
    fetch_from: Option<u64>,
    /// Before this position an entry may have been sent on an earlier connection.
    resend_before: u64,
    /// The latest mark that the store was told, whether it knows it or not.
    told: u64,
    /// The last value of the session's own, which never falls.
    sent_before: Position,
    /// What was never sent, as the session counts it: messages and their bytes.
    queued: (u32, u64),
    /// Messages to the client that were taken and not dropped.
    pub(crate) expected: BTreeMap<u32, QoS>,
    /// Those among them that were dropped, but came back with a crash.
    pub(crate) revived: BTreeSet<u32>,
    /// Messages from the client, once the store has them.
    pub(crate) routed: Vec<(QoS, u32)>,
}

/// What survives a crash, and what is on its way there.
#[derive(Default)]
struct Store {
    entries: BTreeMap<u64, Stored>,
    received: BTreeSet<PacketId>,
    /// Nothing from this position on was sent.
    mark: u64,
    pending: VecDeque<(u32, Operation)>,
}

#[derive(Clone)]
struct Stored {
    message: Arc<Message>,
    qos: QoS,
    /// It may have been: it does not expire.
    was_sent: bool,
    is_released: bool,
}

#[derive(Clone, Copy)]
enum Operation {
    Publish {
        qos: QoS,
        packet_id: PacketId,
        number: u32,
    },
    /// A duplicate's answer, which keeps its place among the others.
    Repeat {
        packet_id: PacketId,
    },
    InRelease {
        packet_id: PacketId,
    },
    Received {
        position: Position,
        packet_id: PacketId,
    },
    Acknowledged {
        position: Position,
    },
    Mark {
        mark: u64,
    },
    Fetch,
}

impl Host {
    pub(crate) fn new(setting: Setting, limits: SessionLimits) -> Self {
        Self {
            setting,
            limits,
            session: Session::new(setting.class),
            connection: connect(setting, setting.window),
            generation: 0,
            buffer: Vec::new(),
            fx: Effects::default(),
            now: Time::ZERO,
            next_number: 0,
            // Packet identifiers start again from 1 before long.
            next_position: 65_500,
            store: Store::default(),
            fetch_from: None,
            resend_before: 0,
            told: 0,
            sent_before: Position::new(0),
            queued: (0, 0),
            expected: BTreeMap::new(),
            revived: BTreeSet::new(),
            routed: Vec::new(),
        }
    }

    /// Offers the session a message.
    pub(crate) fn offer(&mut self, qos: QoS, gap: u64, expires: bool) {
        let number = self.next_number;
        self.next_number += 1;
        self.expected.insert(number, qos);
        let payload = number.to_be_bytes();
        let expires_at = expires.then(|| self.now.plus_secs(2));
        let content = Content { topic: "t", payload: &payload, forwarded: &[], expires_at };
        let delivery = delivery(qos);
        // QoS 0 that is in the queue must not be overtaken.
        let is_stored = qos > QoS::AtMostOnce
            || self.fetch_from.is_some()
            || self.store.entries.values().any(|it| it.qos == QoS::AtMostOnce);
        if self.setting.class == Class::Durable && is_stored {
            self.enqueue(gap, Message::new(&content), delivery);
        } else {
            self.deliver(&content, delivery, number);
        }
        self.settle_effects();
    }

    fn deliver(&mut self, content: &Content<'_>, delivery: Delivery<'_>, number: u32) {
        let mut outbox = Outbox {
            buffer: &mut self.buffer,
            unsent_before: 0,
            bytes_max: self.setting.outbox_bytes_max,
        };
        let delivered = self.session.deliver(
            &mut self.connection,
            &mut Sharing::borrowed(*content),
            delivery,
            &self.limits,
            self.now,
            &mut outbox,
            &mut self.fx,
        );
        match delivered {
            Delivered::Sent | Delivered::Queued => {}
            Delivered::Dropped(DropReason::SlowReader | DropReason::QueueFull) => {
                self.expected.remove(&number);
            }
            Delivered::Dropped(reason) => panic!("{reason:?}"),
        }
    }

    fn enqueue(&mut self, gap: u64, message: Arc<Message>, delivery: Delivery<'_>) {
        let position = self.next_position + gap;
        self.next_position = position + 1;
        let stored = Stored {
            message: Arc::clone(&message),
            qos: delivery.qos,
            was_sent: false,
            is_released: false,
        };
        self.store.entries.insert(position, stored);
        self.queued.0 += 1;
        self.queued.1 += message.size_bytes() as u64;
        if self.fetch_from.is_none() {
            self.session.enqueue(Position::new(position), message, delivery, 0);
        }
    }

    pub(crate) fn pump(&mut self) {
        let mut outbox = Outbox {
            buffer: &mut self.buffer,
            unsent_before: 0,
            bytes_max: self.setting.outbox_bytes_max,
        };
        let send_before = Position::new(self.store.mark);
        let (connection, fx) = (&mut self.connection, &mut self.fx);
        self.session.pump(connection, self.now, send_before, &|_, _| true, &mut outbox, fx);
        self.mark_sent();
        self.settle_effects();
        self.extend_mark();
    }

    /// Tells the store how far the session may come.
    fn extend_mark(&mut self) {
        let sent_before = self.session.sent_before();
        assert!(sent_before >= self.sent_before, "the mark falls");
        self.sent_before = sent_before;
        if self.setting.class == Class::Durable && sent_before.value() + 1 > self.told {
            self.told = sent_before.value() + 3;
            let operation = Operation::Mark { mark: self.told };
            self.store.pending.push_back((self.generation, operation));
        }
    }

    /// Gives the session a page of its queue.
    fn fetch(&mut self) {
        let Some(from) = self.fetch_from.take() else {
            return;
        };
        let mut page = self.store.entries.range(from..);
        for (&position, stored) in page.by_ref().take(PAGE_ENTRIES) {
            let at = Position::new(position);
            let message = Arc::clone(&stored.message);
            let delivery = delivery(stored.qos);
            let was_sent = position < self.resend_before;
            match stored.qos {
                _ if stored.is_released => self.session.restore_released(at),
                // It might come twice.
                QoS::AtMostOnce if was_sent => self.fx.finished.push(at),
                QoS::AtLeastOnce | QoS::ExactlyOnce if was_sent => {
                    self.session.restore_sent(at, message, delivery);
                }
                QoS::AtMostOnce | QoS::AtLeastOnce | QoS::ExactlyOnce => {
                    self.session.enqueue(at, message, delivery, 0);
                }
            }
        }
        self.fetch_from = page.next().map(|(&position, _)| position);
        if self.fetch_from.is_some() {
            self.store.pending.push_back((self.generation, Operation::Fetch));
        }
        self.settle_effects();
    }

    /// Acts on what the session reports.
    fn settle_effects(&mut self) {
        for (reason, message) in self.fx.drops.drain(..) {
            let message = message.expect("all bodies are in memory");
            let number = number_of(&message);
            let qos = self.expected.remove(&number);
            assert!(qos.is_some(), "dropped twice");
            assert!(matches!(reason, DropReason::Expired | DropReason::QueueFull), "{reason:?}");
            let stored = self.store.entries.values().find(|it| number_of(&it.message) == number);
            assert!(stored.is_none_or(|it| !it.was_sent), "dropped after it may have been sent");
        }
        self.queued.0 = self.queued.0.checked_sub(self.fx.left_messages).expect("left once");
        self.queued.1 = self.queued.1.checked_sub(self.fx.left_bytes).expect("left once");
        for position in self.fx.finished.drain(..) {
            self.store.pending.push_back((self.generation, Operation::Acknowledged { position }));
        }
        self.fx.clear();
    }

    /// Returns what was written. What has left may have arrived.
    pub(crate) fn flush(&mut self) -> Vec<Wire> {
        let packets = packets(&self.buffer, self.setting.version);
        self.buffer.clear();
        packets
    }

    /// Notes which entries were written, and sees to it that the store knows that they may have been.
    fn mark_sent(&mut self) {
        for packet in packets(&self.buffer, self.setting.version) {
            if let Wire::Publish { number, .. } = packet {
                let mut entries = self.store.entries.iter_mut();
                if let Some((&position, entry)) =
                    entries.find(|it| number_of(&it.1.message) == number)
                {
                    assert!(position < self.store.mark, "sent before the store knows");
                    entry.was_sent = true;
                }
            }
        }
    }

    pub(crate) fn read(&mut self, packet: Wire) {
        match packet {
            Wire::Publish { dup, qos, packet_id, number } => {
                self.on_publish(dup, qos, packet_id, number)
            }
            Wire::Ack { kind, packet_id, reason } => self.on_ack(kind, packet_id, reason),
        }
        self.pump();
    }

    fn on_publish(&mut self, dup: bool, qos: QoS, packet_id: Option<PacketId>, number: u32) {
        let payload = number.to_be_bytes();
        let publish =
            Publish { dup, qos, packet_id, topic: "t", payload: &payload, ..Publish::default() };
        let inbound = self.session.on_publish(&mut self.connection, &publish);
        let inbound = inbound.expect("the client keeps to the protocol");
        let operation = match (inbound.duplicate, packet_id) {
            (Duplicate::No, None) => return self.routed.push((qos, number)),
            (Duplicate::No, Some(packet_id)) => Operation::Publish { qos, packet_id, number },
            (Duplicate::Repeat, Some(packet_id)) => Operation::Repeat { packet_id },
            (Duplicate::WaitsForFirst, _) => return,
            (Duplicate::Repeat, None) => panic!("QoS 0 has no duplicates"),
        };
        self.store.pending.push_back((self.generation, operation));
    }

    fn on_ack(&mut self, kind: PacketKind, packet_id: PacketId, reason: ReasonCode) {
        let legal = "the client keeps to the protocol";
        match kind {
            PacketKind::PubAck => {
                self.session
                    .on_puback(&mut self.connection, packet_id, reason, &mut self.fx)
                    .expect(legal);
            }
            PacketKind::PubComp => {
                self.session
                    .on_pubcomp(&mut self.connection, packet_id, &mut self.fx)
                    .expect(legal);
            }
            PacketKind::PubRec => {
                let after =
                    self.session.on_pubrec(&mut self.connection, packet_id, reason, &mut self.fx);
                self.after_pubrec(packet_id, after.expect(legal));
            }
            PacketKind::PubRel => match self.session.on_pubrel(packet_id).expect(legal) {
                AfterPubrel::Complete => {
                    let operation = Operation::InRelease { packet_id };
                    self.store.pending.push_back((self.generation, operation));
                }
                AfterPubrel::Unknown => {
                    self.finish_pubrel(packet_id, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND)
                }
            },
            other => panic!("{other}"),
        }
        self.settle_effects();
    }

    fn after_pubrec(&mut self, packet_id: PacketId, after: AfterPubrec) {
        match after {
            AfterPubrec::Release { position } if self.setting.class == Class::Durable => {
                let operation = Operation::Received { position, packet_id };
                self.store.pending.push_back((self.generation, operation));
            }
            AfterPubrec::Release { .. } | AfterPubrec::ReleaseAgain => {
                self.finish_pubrec(packet_id, ReasonCode::SUCCESS);
            }
            // What it answers is perhaps not restored yet.
            AfterPubrec::Unknown if self.fetch_from.is_some() => {}
            AfterPubrec::Unknown => {
                self.finish_pubrec(packet_id, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND);
            }
            AfterPubrec::WaitsForFirst => {}
            AfterPubrec::Refused { .. } => panic!("the client refuses nothing"),
        }
    }

    fn finish_pubrec(&mut self, packet_id: PacketId, reason: ReasonCode) {
        self.session.finish_pubrec(&mut self.connection, packet_id, reason, &mut self.buffer);
    }

    fn finish_pubrel(&mut self, packet_id: PacketId, reason: ReasonCode) {
        self.session.finish_pubrel(&mut self.connection, packet_id, reason, &mut self.buffer);
    }

    fn finish_publish(&mut self, qos: QoS, packet_id: PacketId) {
        let (connection, buffer) = (&mut self.connection, &mut self.buffer);
        self.session.finish_publish(connection, qos, packet_id, ReasonCode::SUCCESS, buffer);
    }

    pub(crate) fn store_completes(&mut self, count: u8) {
        for _ in 0..count {
            let Some((generation, operation)) = self.store.pending.pop_front() else {
                return;
            };
            self.complete(operation, generation == self.generation);
        }
    }

    fn complete(&mut self, operation: Operation, is_current: bool) {
        match operation {
            Operation::Publish { qos, packet_id, number } => {
                self.routed.push((qos, number));
                if qos == QoS::ExactlyOnce {
                    self.store.received.insert(packet_id);
                }
                let is_awaited = !is_current
                    && qos == QoS::ExactlyOnce
                    && self.session.settle_publish(packet_id, ReasonCode::SUCCESS)
                        == AfterSettle::Answer;
                if is_current || is_awaited {
                    self.finish_publish(qos, packet_id);
                }
            }
            Operation::Repeat { packet_id } if is_current => {
                self.finish_publish(QoS::ExactlyOnce, packet_id);
            }
            Operation::InRelease { packet_id } => {
                self.store.received.remove(&packet_id);
                if is_current {
                    self.finish_pubrel(packet_id, ReasonCode::SUCCESS);
                }
            }
            Operation::Received { position, packet_id } => {
                if let Some(entry) = self.store.entries.get_mut(&position.value()) {
                    entry.is_released = true;
                }
                if is_current {
                    self.finish_pubrec(packet_id, ReasonCode::SUCCESS);
                }
            }
            Operation::Mark { mark } => self.store.mark = mark,
            Operation::Fetch => {
                if is_current {
                    self.fetch();
                }
            }
            Operation::Acknowledged { position } => {
                let entry = self.store.entries.remove(&position.value());
                assert!(entry.is_some(), "{position:?} left the store twice");
            }
            Operation::Repeat { .. } => {}
        }
    }

    pub(crate) fn tick(&mut self) {
        self.now = self.now.plus_secs(1);
    }

    pub(crate) fn reconnect(&mut self, window: u16) {
        self.session.disconnected(|_| true);
        assert_eq!((self.session.queued_messages(), self.session.in_flight()), (0, 0));
        self.connect_again(window);
    }

    pub(crate) fn crash(&mut self, window: u16) {
        self.store.pending.clear();
        self.session = Session::new(self.setting.class);
        let mark = self.store.mark;
        self.session.set_sent_before(Position::new(mark));
        self.sent_before = Position::new(mark);
        self.told = mark;
        // What is new is not among what may have been sent.
        self.next_position = self.next_position.max(mark);
        self.queued = (0, 0);
        for (&position, stored) in &mut self.store.entries {
            let number = number_of(&stored.message);
            // What was dropped is back if the store has not heard of it. It may have been sent, for all that the
            // store knows, and so it is, though perhaps after its successors.
            if self.expected.insert(number, stored.qos).is_none() {
                self.revived.insert(number);
            }
            stored.was_sent = position < mark;
            if !stored.was_sent {
                self.queued.0 += 1;
                self.queued.1 += stored.message.size_bytes() as u64;
            }
        }
        for &packet_id in &self.store.received {
            self.session.restore_received(packet_id);
        }
        self.connect_again(window);
    }

    fn connect_again(&mut self, window: u16) {
        self.generation += 1;
        self.buffer.clear();
        self.connection = connect(self.setting, window);
        if self.setting.class == Class::Durable {
            self.resend_before = self.session.sent_before().value();
            self.fetch_from = Some(0);
            self.store.pending.push_back((self.generation, Operation::Fetch));
        }
    }

    /// Returns whether nothing is left that happens without the client.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.store.pending.is_empty() && !self.session.wants_pump() && self.session.in_flight() == 0
    }

    pub(crate) fn check_bounds(&self) {
        if self.setting.class == Class::Live {
            assert!(self.session.queued_messages() <= self.limits.queued_messages_max as usize);
            assert!(self.session.queued_bytes() <= self.limits.queued_bytes_max);
            assert!(self.session.in_flight() <= usize::from(self.connection.send_window()));
        }
    }

    pub(crate) fn check_at_rest(&mut self) {
        assert!(
            self.store.entries.is_empty(),
            "never acknowledged: {:?}",
            self.store.entries.keys()
        );
        assert!(self.store.pending.is_empty() && self.store.received.is_empty());
        assert_eq!(self.session.in_flight(), 0);
        assert_eq!((self.session.queued_messages(), self.session.queued_bytes()), (0, 0));
        assert!(!self.session.wants_pump());
        assert_eq!(self.queued, (0, 0), "left once");
        assert!(self.session.free_slice(0), "something is left");
    }
}

fn connect(setting: Setting, window: u16) -> Connection {
    let limits = ServerLimits {
        receive_maximum: RECEIVE_MAXIMUM,
        send_window_max: window,
        packet_bytes_max: u32::MAX,
        topic_alias_maximum: 0,
        topic_alias_maximum_out: 0,
        qos_max: QoS::ExactlyOnce,
        retain_available: true,
        wildcard_available: true,
        subscription_ids_available: true,
        shared_available: true,
        keep_alive_max_secs: 0,
        session_expiry_max_secs: u32::MAX,
        v3_session_expiry_secs: u32::MAX,
    };
    let mut connect = Connect::new(setting.version, "client");
    if setting.version.is_v5() {
        connect.properties.receive_maximum = NonZeroU16::new(window);
    }
    Connection::new(&negotiate(&connect, &limits).expect("nothing is asked"))
}

fn delivery(qos: QoS) -> Delivery<'static> {
    Delivery { qos, retain: false, subscription_ids: &[], group: None }
}

fn number_of(message: &Message) -> u32 {
    u32::from_be_bytes(message.content().payload.try_into().expect("a number"))
}

/// Entries of the queue that the session is given at once.
const PAGE_ENTRIES: usize = 3;
