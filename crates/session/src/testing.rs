//! What the tests of sessions share: a session with its connection, and what it writes as text.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem::take;
use core::num::{NonZeroU16, NonZeroU32};

use quelea_codec::{
    Ack, Connect, Framing, Packet, PacketId, Publish, QoS, ReasonCode, Version, next_frame,
};

use crate::{
    Class, Connection, Content, Delivered, Delivery, Effects, Message, Negotiated, Outbox,
    Overflow, Position, Pumped, ServerLimits, Session, SessionLimits, Sharing, Time, negotiate,
};

/// A session at work.
pub(crate) struct Desk {
    pub(crate) session: Session,
    pub(crate) connection: Connection,
    pub(crate) limits: SessionLimits,
    pub(crate) outbox_bytes_max: usize,
    pub(crate) now: Time,
    pub(crate) fx: Effects,
    pub(crate) send_before: Position,
    /// The order of the retained message of every topic.
    pub(crate) latest: u64,
    pub(crate) buffer: Vec<u8>,
    version: Version,
}

impl Desk {
    /// Returns a session of a 5.0 client that has the properties given.
    pub(crate) fn new(class: Class, change: impl FnOnce(&mut Connect<'static>)) -> Self {
        Self::of_version(Version::V5, class, change)
    }

    pub(crate) fn of_version(
        version: Version,
        class: Class,
        change: impl FnOnce(&mut Connect<'static>),
    ) -> Self {
        Self {
            session: Session::new(class),
            connection: Connection::new(&agreed(version, change)),
            limits: SessionLimits {
                queued_messages_max: 10,
                queued_bytes_max: 10_000,
                overflow: Overflow::RejectNewest,
            },
            outbox_bytes_max: 10_000,
            now: Time::ZERO,
            fx: Effects::default(),
            send_before: Position::new(u64::MAX),
            latest: 0,
            buffer: Vec::new(),
            version,
        }
    }

    /// A session whose window is `window`.
    pub(crate) fn with_window(class: Class, window: u16) -> Self {
        Self::new(class, receive_maximum(window))
    }

    /// The client comes back.
    pub(crate) fn reconnect(&mut self, change: impl FnOnce(&mut Connect<'static>)) {
        self.session.disconnected(|_| true);
        self.connection = Connection::new(&agreed(self.version, change));
        self.buffer.clear();
    }

    pub(crate) fn deliver(&mut self, qos: QoS, payload: &str) -> Delivered {
        self.deliver_as(delivery(qos), &content("t", payload))
    }

    pub(crate) fn deliver_as(
        &mut self,
        delivery: Delivery<'_>,
        content: &Content<'_>,
    ) -> Delivered {
        let mut outbox =
            Outbox { buffer: &mut self.buffer, unsent_before: 0, bytes_max: self.outbox_bytes_max };
        self.session.deliver(
            &mut self.connection,
            &mut Sharing::borrowed(*content),
            delivery,
            &self.limits,
            self.now,
            &mut outbox,
            &mut self.fx,
        )
    }

    pub(crate) fn enqueue(&mut self, position: u64, qos: QoS, payload: &str) {
        let message = Message::new(&content("t", payload));
        self.session.enqueue(Position::new(position), message, delivery(qos), 0);
    }

    pub(crate) fn restore_sent(&mut self, position: u64, qos: QoS, payload: &str) {
        let message = Message::new(&content("t", payload));
        self.session.restore_sent(Position::new(position), message, delivery(qos));
    }

    pub(crate) fn restore_released(&mut self, position: u64) {
        self.session.restore_released(Position::new(position));
    }

    pub(crate) fn pump(&mut self) -> Pumped {
        let mut outbox =
            Outbox { buffer: &mut self.buffer, unsent_before: 0, bytes_max: self.outbox_bytes_max };
        let latest = self.latest;
        self.session.pump(
            &mut self.connection,
            self.now,
            self.send_before,
            &|_, order| order == latest,
            &mut outbox,
            &mut self.fx,
        )
    }

    /// Returns the packets written since the last call, each as text.
    pub(crate) fn written(&mut self) -> Vec<String> {
        let packets = packets(&self.buffer, self.version);
        self.buffer.clear();
        packets
    }

    /// Returns the positions that left the store since the last call.
    pub(crate) fn finished(&mut self) -> Vec<u64> {
        self.fx.finished.drain(..).map(Position::value).collect()
    }

    /// Returns how many messages left those never sent since the last call, and their bytes.
    pub(crate) fn left(&mut self) -> (u32, u64) {
        (take(&mut self.fx.left_messages), take(&mut self.fx.left_bytes))
    }

    /// Returns the drops reported since the last call: reason and payload.
    pub(crate) fn drops(&mut self) -> Vec<String> {
        let text = |message: Option<Arc<Message>>| {
            message.map(|it| String::from_utf8_lossy(it.content().payload).into_owned())
        };
        let drops = self.fx.drops.drain(..);
        drops
            .map(|(reason, message)| {
                format!("{} {}", reason.as_str(), text(message).unwrap_or_default())
            })
            .collect()
    }
}

/// Returns `bytes` as packets as text: `q1 #7 dup t=payload`, `PUBREL #7`, `PUBCOMP #7 0x92`.
pub(crate) fn packets(mut bytes: &[u8], version: Version) -> Vec<String> {
    let mut packets = Vec::new();
    while !bytes.is_empty() {
        let Ok(Framing::Complete { frame, consumed }) = next_frame(bytes, u32::MAX) else {
            panic!("{bytes:?} does not start with a packet");
        };
        bytes = &bytes[consumed..];
        let packet = Packet::decode(frame, version).expect("what we write is well-formed");
        packets.push(match &packet {
            Packet::Publish(publish) => publish_text(publish),
            Packet::PubAck(ack)
            | Packet::PubRec(ack)
            | Packet::PubRel(ack)
            | Packet::PubComp(ack) => ack_text(&packet, ack),
            other => format!("{other:?}"),
        });
    }
    packets
}

fn publish_text(publish: &Publish<'_>) -> String {
    let mut text = format!("q{}", publish.qos.to_byte());
    if let Some(id) = publish.packet_id {
        text += &format!(" #{id}");
    }
    for (flag, name) in [(publish.dup, " dup"), (publish.retain, " retain")] {
        text += if flag { name } else { "" };
    }
    text += &format!(" {}={}", publish.topic, String::from_utf8_lossy(publish.payload));
    let properties = &publish.properties;
    if let Some(secs) = properties.message_expiry_secs {
        text += &format!(" expiry={secs}");
    }
    if let Some(alias) = properties.topic_alias {
        text += &format!(" alias={alias}");
    }
    for id in properties.subscription_ids {
        text += &format!(" sub={id}");
    }
    text
}

fn ack_text(packet: &Packet<'_>, ack: &Ack<'_>) -> String {
    let reason = match ack.reason {
        ReasonCode::SUCCESS => String::new(),
        ReasonCode(code) => format!(" {code:#04x}"),
    };
    format!("{} #{}{reason}", packet.kind(), ack.packet_id)
}

/// A server that offers everything.
pub(crate) fn server() -> ServerLimits {
    ServerLimits {
        receive_maximum: 3,
        send_window_max: 1000,
        packet_bytes_max: 100_000,
        topic_alias_maximum: 5,
        topic_alias_maximum_out: 5,
        qos_max: QoS::ExactlyOnce,
        retain_available: true,
        wildcard_available: true,
        subscription_ids_available: true,
        shared_available: true,
        keep_alive_max_secs: 0,
        session_expiry_max_secs: u32::MAX,
        v3_session_expiry_secs: 3600,
    }
}

pub(crate) fn agreed(version: Version, change: impl FnOnce(&mut Connect<'static>)) -> Negotiated {
    let mut connect = Connect::new(version, "client");
    change(&mut connect);
    negotiate(&connect, &server()).expect("nothing is asked that the server does not have")
}

pub(crate) fn receive_maximum(window: u16) -> impl FnOnce(&mut Connect<'static>) {
    move |connect| connect.properties.receive_maximum = NonZeroU16::new(window)
}

pub(crate) fn packet_bytes_max(bytes: u32) -> impl FnOnce(&mut Connect<'static>) {
    move |connect| connect.properties.packet_bytes_max = NonZeroU32::new(bytes)
}

pub(crate) fn delivery(qos: QoS) -> Delivery<'static> {
    Delivery { qos, retain: false, subscription_ids: &[], group: None }
}

pub(crate) fn content<'a>(topic: &'a str, payload: &'a str) -> Content<'a> {
    Content { topic, payload: payload.as_bytes(), forwarded: &[], expires_at: None }
}

pub(crate) fn id(value: u16) -> PacketId {
    PacketId::new(value).expect("tests use no identifier 0")
}
