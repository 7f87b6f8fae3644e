//! Operations on a session: a host that keeps to the calling contract, and a client that keeps to nothing.

use std::collections::BTreeSet;
use std::num::{NonZeroU16, NonZeroU32};

use quelea_codec::{
    Connect, Framing, Packet, PacketId, Publish, PublishProperties, QoS, ReasonCode, Version,
    next_frame,
};
use quelea_session::{
    AfterPubrec, AfterPubrel, Body, Class, Connection, Content, Delivery, Duplicate, Effects,
    GroupId, Message, Outbox, Overflow, Position, Pumped, ServerLimits, Session, SessionLimits,
    Sharing, Time, Unsettled, Violation, negotiate,
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
    /// Positions that the store has, and the session has not finished.
    stored: BTreeSet<Position>,
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
            stored: BTreeSet::new(),
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
            14 => self.take_group(how),
            _ => Err(Violation::ReceiveMaximumExceeded),
        };
        for position in self.fx.finished.drain(..) {
            assert!(self.stored.remove(&position), "{position:?} is finished twice");
        }
        self.fx.clear();
        if outcome.is_err() {
            self.reconnect(how);
        }
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
        if self.session.class() == Class::Durable && delivery.qos > QoS::AtMostOnce {
            let position = Position::new(self.next_position);
            self.next_position += 1 + u64::from(how / 100);
            self.stored.insert(position);
            let body = if how == 0xFF {
                Body::Retained(Message::new(&content))
            } else {
                Body::Message(Message::new(&content))
            };
            self.session.enqueue(position, body, delivery);
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

    fn pump(&mut self) -> Result<(), Violation> {
        self.now = self.now.plus_millis(10);
        self.buffer.clear();
        let mut outbox =
            Outbox { buffer: &mut self.buffer, unsent_before: 0, bytes_max: OUTBOX_BYTES_MAX };
        let (connection, fx) = (&mut self.connection, &mut self.fx);
        let pumped = self.session.pump(connection, self.now, &|_| None, &mut outbox, fx);
        assert_eq!(pumped == Pumped::Empty, !self.session.wants_pump());
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
            self.session.settle_pubrec(id);
        } else {
            self.session.settle_publish(id, reason);
        }
        Ok(())
    }

    fn take_group(&mut self, how: u8) -> Result<(), Violation> {
        for moved in self.session.take_group(GroupId::new(u32::from(how) % 4)) {
            if let Some(position) = moved.position {
                assert!(self.stored.remove(&position), "{position:?} has moved twice");
            }
        }
        Ok(())
    }

    fn reconnect(&mut self, how: u8) {
        self.buffer.clear();
        if self.session.class() == Class::Live {
            self.session = Session::new(Class::Live);
        }
        self.session.disconnected(if how & 1 == 0 {
            Unsettled::Forget
        } else {
            Unsettled::AwaitStore
        });
        self.connection = connection(&self.connect);
        self.session.resume();
    }

    fn check(&mut self) {
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
