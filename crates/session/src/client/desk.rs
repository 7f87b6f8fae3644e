//! A client's session with its buffers, opposite a server that a test plays.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::mem::take;
use core::num::NonZeroU16;

use quelea_codec::{
    Ack, ConnAck, ConnAckProperties, Connect, Packet, PacketKind, QoS, ReasonCode,
    SubscriptionOptions, UserProperties, Version,
};

use super::tests::{accepted, publish};
use super::{ClientSession, ClientSettings, Done, Event, Receipt, Unsent};
use crate::testing::{content, id, packets};
use crate::{Outbox, Time};

/// A client at work, opposite a server that a test plays.
pub(super) struct Desk {
    pub(super) session: ClientSession<String>,
    pub(super) version: Version,
    pub(super) now: Time,
    pub(super) buffer: Vec<u8>,
    pub(super) done: Vec<Done<String>>,
    pub(super) receipts: Vec<Receipt>,
}

impl Desk {
    pub(super) const OUTBOX_BYTES_MAX: usize = 1_000_000;

    pub(super) fn offline(version: Version) -> Self {
        Self::with(version, ClientSettings::default())
    }

    /// A client whose host keeps messages beyond the process.
    pub(super) fn lasting() -> Self {
        let settings = ClientSettings { keeps_beyond_process: true, ..ClientSettings::default() };
        Self::with(Version::V5, settings)
    }

    fn with(version: Version, settings: ClientSettings) -> Self {
        Self {
            session: ClientSession::new(settings),
            version,
            now: Time::ZERO,
            buffer: Vec::new(),
            done: Vec::new(),
            receipts: Vec::new(),
        }
    }

    pub(super) fn connected(version: Version) -> Self {
        let mut desk = Self::offline(version);
        desk.connect(false);
        desk
    }

    pub(super) fn connect(&mut self, session_present: bool) -> Vec<String> {
        self.send_connect();
        self.handle(&accepted(session_present))
    }

    pub(super) fn connect_to(&mut self, change: impl FnOnce(&mut ConnAckProperties<'static>)) {
        self.send_connect();
        let mut connack = ConnAck::default();
        change(&mut connack.properties);
        self.handle(&Packet::ConnAck(connack));
    }

    pub(super) fn send_connect(&mut self) {
        let clean_start = false;
        let mut connect = Connect { clean_start, ..Connect::new(self.version, "client") };
        connect.properties.receive_maximum = NonZeroU16::new(3);
        connect.properties.topic_alias_maximum = Some(3);
        self.session.connect(&connect, &mut self.buffer);
        self.buffer.clear();
    }

    pub(super) fn publish(&mut self, qos: QoS, payload: &str) {
        self.publish_quietly(qos, payload);
        self.pump();
    }

    pub(super) fn publish_quietly(&mut self, qos: QoS, payload: &str) {
        self.session.accept(&content("t", payload), qos, false, payload.to_string()).unwrap();
    }

    pub(super) fn send_now(&mut self, topic: &str, payload: &str, retain: bool) -> bool {
        let bytes_max = Self::OUTBOX_BYTES_MAX;
        let mut outbox = Outbox { buffer: &mut self.buffer, unsent_before: 0, bytes_max };
        self.session.send_now(&content(topic, payload), retain, self.now, &mut outbox)
    }

    pub(super) fn publish_retained(&mut self, payload: &str) {
        let content = content("t", payload);
        self.session.accept(&content, QoS::AtMostOnce, true, payload.to_string()).unwrap();
    }

    pub(super) fn publish_until(&mut self, qos: QoS, payload: &str, millis: u64) {
        let mut content = content("t", payload);
        content.expires_at = Some(Time::from_millis(millis));
        self.session.accept(&content, qos, false, payload.to_string()).unwrap();
    }

    pub(super) fn subscribe(&mut self, filter: &str) -> Result<u16, Unsent> {
        let filters = [(filter, SubscriptionOptions::default())];
        let none = UserProperties::EMPTY;
        let request = self.session.subscribe(&filters, None, none, &mut self.buffer)?;
        Ok(request.value())
    }

    pub(super) fn arrive(&mut self, qos: QoS, packet_id: u16) -> Vec<String> {
        self.handle(&publish(qos, packet_id))
    }

    pub(super) fn acknowledge(&mut self, receipt: Receipt) {
        self.session.acknowledge(receipt, ReasonCode::SUCCESS, &mut self.buffer);
    }

    pub(super) fn ack(
        &mut self,
        kind: PacketKind,
        packet_id: u16,
        reason: ReasonCode,
    ) -> Vec<String> {
        let ack = Ack::new(id(packet_id), reason);
        self.handle(&match kind {
            PacketKind::PubAck => Packet::PubAck(ack),
            PacketKind::PubRec => Packet::PubRec(ack),
            PacketKind::PubRel => Packet::PubRel(ack),
            _ => Packet::PubComp(ack),
        })
    }

    /// Handles a packet, and returns what it means: nothing or one text.
    pub(super) fn handle(&mut self, packet: &Packet<'_>) -> Vec<String> {
        let event = self.session.on_packet(self.now, packet, &mut self.buffer, &mut self.done);
        let text = match event.expect("the packet is legal") {
            Event::Nothing => None,
            Event::Acknowledged { ticket, reason, .. } => {
                Some(format!("acknowledged {ticket} {:#04x}", reason.0))
            }
            Event::Authenticate(_) => Some("authenticate".to_string()),
            Event::Authenticated(_) => Some("authenticated".to_string()),
            Event::Connected { resumption, .. } => Some(format!("connected {resumption:?}")),
            Event::Disconnected(_) => Some("disconnected".to_string()),
            Event::Message(incoming) => {
                self.receipts.extend(incoming.receipt);
                Some(format!("message {}", &*incoming.topic))
            }
            Event::Received { position } => Some(format!("received {}", position.value())),
            Event::Refused { reason, .. } => Some(format!("refused {:#04x}", reason.0)),
            Event::Subscribed { request, reasons, .. } => {
                Some(format!("subscribed {request} {reasons:?}"))
            }
            Event::Unsubscribed { request, reasons, .. } => {
                Some(format!("unsubscribed {request} {reasons:?}"))
            }
        };
        text.into_iter().collect()
    }

    pub(super) fn drop_oldest(&mut self) -> Option<String> {
        self.session.drop_oldest().map(|(_, ticket)| ticket)
    }

    pub(super) fn pump(&mut self) {
        let bytes_max = Self::OUTBOX_BYTES_MAX;
        let mut outbox = Outbox { buffer: &mut self.buffer, unsent_before: 0, bytes_max };
        self.session.pump(self.now, &mut outbox, &mut self.done);
    }

    /// Returns the packets written since the last call, each as text.
    pub(super) fn written(&mut self) -> Vec<String> {
        self.pump();
        packets(&take(&mut self.buffer), self.version)
    }

    pub(super) fn done(&mut self) -> Vec<String> {
        self.done.drain(..).map(|it| format!("{} {:?}", it.ticket, it.outcome)).collect()
    }
}
