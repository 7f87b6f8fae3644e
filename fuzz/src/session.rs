//! Operations on a session: a host that keeps to the calling contract, and a client that keeps to nothing.

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use quelea_codec::{
    Connect, Framing, Packet, PacketId, Publish, PublishProperties, QoS, ReasonCode, Version,
    next_frame,
};
use quelea_session::{
    AfterPubrec, AfterPubrel, Class, Connection, Content, Delivery, Duplicate, Effects, GroupId,
    Message, Outbox, Overflow, Position, Pumped, ServerLimits, Session, SessionLimits, Sharing,
    SubscriptionIds, Time, Violation, Withdrawn, negotiate,
};

/// Reads `input` as a setting of four bytes, then operations: a byte for what to do and one for how.
pub fn check_operations(input: &[u8]) {
    let Some((&[version, class, window, size], operations)) = input.split_first_chunk() else {
        return;
    };
    let class = if class % 2 == 0 { Class::Live } else { Class::Durable };
    let mut desk = Desk::new(Version::ALL[usize::from(version) % 3], class, window, size);
    for pair in operations.chunks_exact(2) {
        desk.apply(pair[0] % 16, pair[1]);
        desk.check();
    }
    let is_empty = (0..1000).any(|_| desk.session.free_slice(100));
    assert!(is_empty, "a session can be freed");
}

struct Desk {
    session: Session,
    connection: Connection,
    connect: Connect<'static>,
    buffer: Vec<u8>,
    fx: Effects,
    now: Time,
    next_position: u64,
    /// What the store has, and the session has not finished.
    stored: BTreeMap<Position, Stored>,
    /// Where the next page of it starts, until the session has been given all.
    fetch_from: Option<Position>,
    /// What comes before may have been sent on an earlier connection.
    resend_before: Position,
    send_before: Position,
    sent_before: Position,
    /// What was never sent, as the session counts it: messages and their bytes.
    queued: (u32, u64),
}

struct Stored {
    message: Arc<Message>,
    qos: QoS,
    subscription_ids: SubscriptionIds,
    group: Option<GroupId>,
    retained_order: u64,
    is_released: bool,
}

impl Desk {
    fn new(version: Version, class: Class, window: u8, size: u8) -> Self {
        let mut connect = Connect::new(version, "client");
        if version.is_v5() {
            connect.properties.receive_maximum = NonZeroU16::new(u16::from(window) % 8);
            connect.properties.packet_bytes_max = NonZeroU32::new(u32::from(size));
            connect.properties.topic_alias_maximum = Some(u16::from(size) % 4);
        }
        Self {
            session: Session::new(class),
            connection: connection(&connect),
            connect,
            buffer: Vec::new(),
            fx: Effects::default(),
            now: Time::ZERO,
            next_position: 65_530,
            stored: BTreeMap::new(),
            fetch_from: None,
            resend_before: Position::new(0),
            send_before: Position::new(65_540),
            sent_before: Position::new(0),
            queued: (0, 0),
        }
    }

    fn apply(&mut self, operation: u8, how: u8) {
        let (id, reason) = (packet_id(how), ReasonCode(if how & 0x80 == 0 { 0 } else { 0x97 }));
        let outcome = match operation {
            0..=2 => self.offer(how),
            3 => self.pump(),
            4 | 5 => self.on_publish(how),
            6 => self.finish_publish(how, id, reason),
            7 | 8 => {
                self.session.on_puback(&mut self.connection, id, reason, &mut self.fx).map(drop)
            }
            9 | 10 => self.on_pubrec(id, reason),
            11 => self.session.on_pubcomp(&mut self.connection, id, &mut self.fx).map(drop),
            12 => self.on_pubrel(id),
            13 => self.settle(how, id, reason),
            14 => self.withdraw(how),
            _ => Err(Violation::ReceiveMaximumExceeded),
        };
        self.take_effects();
        if outcome.is_err() {
            self.reconnect(how);
        }
    }

    fn take_effects(&mut self) {
        for position in self.fx.finished.drain(..) {
            let stored = self.stored.remove(&position);
            assert!(stored.is_some(), "{position:?} is finished twice");
        }
        self.queued.0 = self.queued.0.checked_sub(self.fx.left_messages).expect("left once");
        self.queued.1 = self.queued.1.checked_sub(self.fx.left_bytes).expect("left once");
        self.fx.clear();
    }

    fn offer(&mut self, how: u8) -> Result<(), Violation> {
        let payload = vec![how; usize::from(how) % 40];
        let expires_at = (how & 0x10 != 0).then(|| self.now.plus_millis(u64::from(how)));
        let topic = ["t", "topic/1", "topic/2", "topic/3"][usize::from(how) % 4];
        let content = Content { topic, payload: &payload, forwarded: &[], expires_at };
        let delivery = Delivery {
            qos: QoS::ALL[usize::from(how) % 3],
            retain: how & 0x20 != 0,
            subscription_ids: &[1, 2][..usize::from(how) % 3],
            group: GroupId::new(u32::from(how) / 64),
        };
        let is_kept = delivery.qos > QoS::AtMostOnce || how & 0x08 != 0;
        if self.session.class() == Class::Durable && is_kept {
            let retained_order = if how > 0xF8 { u64::from(how) } else { 0 };
            self.store(Message::new(&content), delivery, retained_order, u64::from(how / 100));
            return Ok(());
        }
        let mut outbox =
            Outbox { buffer: &mut self.buffer, unsent_before: 0, bytes_max: OUTBOX_BYTES_MAX };
        let (connection, fx) = (&mut self.connection, &mut self.fx);
        let mut sharing = Sharing::borrowed(content);
        self.session.deliver(
            connection,
            &mut sharing,
            delivery,
            &LIMITS,
            self.now,
            &mut outbox,
            fx,
        );
        Ok(())
    }

    fn store(
        &mut self,
        message: Arc<Message>,
        delivery: Delivery<'_>,
        retained_order: u64,
        gap: u64,
    ) {
        let position = Position::new(self.next_position);
        self.next_position += 1 + gap;
        self.queued.0 += 1;
        self.queued.1 += if retained_order == 0 { message.size_bytes() as u64 } else { 0 };
        let stored = Stored {
            message: Arc::clone(&message),
            qos: delivery.qos,
            subscription_ids: SubscriptionIds::new(delivery.subscription_ids),
            group: delivery.group,
            retained_order,
            is_released: false,
        };
        self.stored.insert(position, stored);
        if self.fetch_from.is_none() {
            self.session.enqueue(position, message, delivery, retained_order);
        }
    }

    /// Gives the session a page of what the store has.
    fn fetch(&mut self) {
        let Some(from) = self.fetch_from.take() else {
            return;
        };
        let mut page = self.stored.range(from..);
        for (&position, stored) in page.by_ref().take(3) {
            let message = Arc::clone(&stored.message);
            let delivery = Delivery {
                qos: stored.qos,
                retain: false,
                subscription_ids: stored.subscription_ids.as_slice(),
                group: stored.group,
            };
            if stored.is_released {
                self.session.restore_released(position);
            } else if position < self.resend_before && stored.qos > QoS::AtMostOnce {
                self.session.restore_sent(position, message, delivery);
            } else {
                self.session.enqueue(position, message, delivery, stored.retained_order);
            }
        }
        self.fetch_from = page.next().map(|(&position, _)| position);
    }

    fn pump(&mut self) -> Result<(), Violation> {
        self.now = self.now.plus_millis(10);
        self.buffer.clear();
        let mut outbox =
            Outbox { buffer: &mut self.buffer, unsent_before: 0, bytes_max: OUTBOX_BYTES_MAX };
        let (connection, fx) = (&mut self.connection, &mut self.fx);
        let is_latest = |_: &str, order| order % 2 == 0;
        let before = self.send_before;
        let pumped = self.session.pump(connection, self.now, before, &is_latest, &mut outbox, fx);
        assert_eq!(pumped == Pumped::Empty, !self.session.wants_pump());
        self.send_before = self.session.sent_before().plus(4);
        Ok(())
    }

    fn on_publish(&mut self, how: u8) -> Result<(), Violation> {
        let qos = QoS::ALL[usize::from(how) % 3];
        let is_v5 = self.connection.version().is_v5();
        let properties = PublishProperties {
            topic_alias: (is_v5 && how & 0x10 != 0).then_some(u16::from(how) % 6),
            ..PublishProperties::default()
        };
        let publish = Publish {
            qos,
            topic: if how & 0x20 == 0 { "t" } else { "" },
            packet_id: (qos > QoS::AtMostOnce).then(|| packet_id(how / 4)),
            properties,
            ..Publish::default()
        };
        let inbound = self.session.on_publish(&mut self.connection, &publish)?;
        assert!(!inbound.topic.is_empty());
        if inbound.duplicate == Duplicate::Repeat {
            self.finish_publish(2, packet_id(how / 4), ReasonCode::SUCCESS)?;
        }
        Ok(())
    }

    fn finish_publish(
        &mut self,
        how: u8,
        id: PacketId,
        reason: ReasonCode,
    ) -> Result<(), Violation> {
        let qos = QoS::ALL[usize::from(how) % 3];
        self.session.finish_publish(&mut self.connection, qos, id, reason, &mut self.buffer);
        Ok(())
    }

    fn on_pubrec(&mut self, id: PacketId, reason: ReasonCode) -> Result<(), Violation> {
        let after = self.session.on_pubrec(&mut self.connection, id, reason, &mut self.fx)?;
        if let AfterPubrec::Release { position } = after
            && let Some(stored) = self.stored.get_mut(&position)
        {
            stored.is_released = true;
        }
        // Odd identifiers wait for the store.
        if after == AfterPubrec::ReleaseAgain || id.value().is_multiple_of(2) {
            self.session.finish_pubrec(
                &mut self.connection,
                id,
                ReasonCode::SUCCESS,
                &mut self.buffer,
            );
        }
        Ok(())
    }

    fn on_pubrel(&mut self, id: PacketId) -> Result<(), Violation> {
        let reason = match self.session.on_pubrel(id)? {
            AfterPubrel::Complete => ReasonCode::SUCCESS,
            AfterPubrel::Unknown => ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
        };
        self.session.finish_pubrel(&mut self.connection, id, reason, &mut self.buffer);
        Ok(())
    }

    fn settle(&mut self, how: u8, id: PacketId, reason: ReasonCode) -> Result<(), Violation> {
        if how & 1 == 0 {
            self.fetch();
        } else {
            self.session.settle_publish(id, reason);
        }
        Ok(())
    }

    /// Takes what moves to other members of a shared group.
    fn withdraw(&mut self, how: u8) -> Result<(), Violation> {
        let group = GroupId::new(u32::from(how) % 4);
        if self.session.class() == Class::Live {
            self.session.take_group(group);
            return Ok(());
        }
        if how & 0x80 != 0 {
            if let Some(position) = self.session.drop_oldest_queued(&mut self.fx) {
                self.fx.finished.push(position);
            }
            return Ok(());
        }
        let of_group = self.stored.iter().filter(|it| it.1.group == group);
        let positions: Vec<_> = of_group.map(|it| *it.0).collect();
        for position in positions {
            match self.session.withdraw(position, &mut self.fx) {
                Withdrawn::Queued | Withdrawn::Sent => self.fx.finished.push(position),
                Withdrawn::Kept => assert_eq!(self.stored[&position].qos, QoS::ExactlyOnce),
                Withdrawn::Absent => assert!(self.fetch_from.is_some(), "all is in memory"),
            }
        }
        Ok(())
    }

    fn reconnect(&mut self, how: u8) {
        self.buffer.clear();
        if self.session.class() == Class::Live {
            self.session = Session::new(Class::Live);
            self.sent_before = Position::new(0);
        }
        self.session.disconnected(|packet_id| packet_id.value() & u16::from(how) != 0);
        self.connection = connection(&self.connect);
        if self.session.class() == Class::Durable {
            assert_eq!((self.session.queued_messages(), self.session.in_flight()), (0, 0));
            self.resend_before = self.session.sent_before();
            self.fetch_from = Some(Position::new(0));
            self.fetch();
        }
    }

    fn check(&mut self) {
        assert!(self.session.sent_before() >= self.sent_before, "the mark falls");
        self.sent_before = self.session.sent_before();
        if self.session.class() == Class::Live {
            assert!(self.session.in_flight() <= usize::from(self.connection.send_window()));
            assert!(self.session.queued_messages() <= LIMITS.queued_messages_max as usize);
            assert!(self.session.queued_bytes() <= LIMITS.queued_bytes_max);
        }
        let (mut bytes, version) = (&self.buffer[..], self.connection.version());
        while !bytes.is_empty() {
            let Ok(Framing::Complete { frame, consumed }) = next_frame(bytes, u32::MAX) else {
                panic!("{bytes:?} does not start with a packet");
            };
            bytes = &bytes[consumed..];
            let packet = Packet::decode(frame, version).expect("what is written is well-formed");
            let is_publish = matches!(packet, Packet::Publish(_));
            assert!(!is_publish || self.connection.has_room_for(consumed), "a packet is too large");
        }
        self.buffer.clear();
    }
}

/// Few identifiers, so that they meet.
fn packet_id(how: u8) -> PacketId {
    let value = u16::from(how) % 12;
    PacketId::new(if value < 6 { value + 1 } else { u16::MAX - (value - 6) }).expect("never 0")
}

fn connection(connect: &Connect<'_>) -> Connection {
    let limits = ServerLimits {
        receive_maximum: 4,
        send_window_max: 6,
        packet_bytes_max: 1000,
        topic_alias_maximum: 4,
        topic_alias_maximum_out: 4,
        qos_max: QoS::ExactlyOnce,
        retain_available: true,
        wildcard_available: true,
        subscription_ids_available: true,
        shared_available: true,
        keep_alive_max_secs: 0,
        session_expiry_max_secs: u32::MAX,
        v3_session_expiry_secs: u32::MAX,
    };
    Connection::new(&negotiate(connect, &limits).expect("there is no will"))
}

const LIMITS: SessionLimits =
    SessionLimits { queued_messages_max: 5, queued_bytes_max: 600, overflow: Overflow::DropOldest };

const OUTBOX_BYTES_MAX: usize = 100;
