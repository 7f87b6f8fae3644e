//! The PUBLISH packet, which goes both ways.

use std::fmt;

use super::{Body, Properties, PropertyList};
use crate::Version;

/// A PUBLISH packet.
#[derive(Clone, Default)]
pub struct Publish {
    /// The topic name, empty when a topic alias stands for it.
    pub topic: String,
    /// The application message.
    pub payload: Vec<u8>,
    /// 0, 1 or 2; other values only in what cases send.
    pub qos: u8,
    /// The RETAIN flag.
    pub is_retained: bool,
    /// The DUP flag.
    pub is_dup: bool,
    /// The packet identifier, which QoS 0 does not have.
    pub packet_id: u16,
    /// The properties of a packet received.
    pub received: PropertyList,
    /// The properties of a packet to send.
    pub properties: Properties,
}

impl fmt::Debug for Publish {
    /// Shows what verdicts are about, and of a payload the beginning.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, qos, packet_id, is_dup, is_retained, .. } = self;
        let text: String = self.text().chars().take(24).collect();
        let rest = if text.len() < self.payload.len() { " …" } else { "" };
        write!(f, "QoS {qos} id {packet_id}")?;
        f.write_str(if *is_dup { " DUP" } else { "" })?;
        f.write_str(if *is_retained { " RETAIN" } else { "" })?;
        write!(f, " {topic:?} {text:?}{rest} {:?}", self.received.0)
    }
}

/// Makes a PUBLISH packet of QoS 0.
pub fn publish(topic: &str, payload: &str) -> Publish {
    Publish {
        topic: topic.to_owned(),
        payload: payload.as_bytes().to_owned(),
        ..Publish::default()
    }
}

impl Publish {
    pub(crate) fn qos(mut self, qos: u8) -> Self {
        self.qos = qos;
        self
    }

    pub(crate) fn retain(mut self) -> Self {
        self.is_retained = true;
        self
    }

    pub(crate) fn dup(mut self) -> Self {
        self.is_dup = true;
        self
    }

    pub(crate) fn packet_id(mut self, packet_id: u16) -> Self {
        self.packet_id = packet_id;
        self
    }

    /// Adds properties; for 5.0 only.
    pub(crate) fn with(mut self, add: impl FnOnce(Properties) -> Properties) -> Self {
        self.properties = add(self.properties);
        self
    }

    /// Returns the packet.
    pub(crate) fn bytes(&self, version: Version) -> Vec<u8> {
        let mut body = Body::new().text(&self.topic);
        if self.qos > 0 {
            body = body.two(self.packet_id);
        }
        if version.is_v5() {
            body = body.properties(&self.properties);
        }
        let flags = u8::from(self.is_dup) << 3 | self.qos << 1 | u8::from(self.is_retained);
        body.raw(&self.payload).packet(0x30 | flags)
    }

    /// Returns the payload for people.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}
