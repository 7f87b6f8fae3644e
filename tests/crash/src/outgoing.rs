//! A message on its way to the broker.

use quelea_codec::{Packet, PacketId, Publish, PublishProperties, QoS, Version};

use crate::client::Draft;
use crate::history::{self, MessageId};
use crate::payload;

/// A message on its way to the broker.
#[derive(Debug)]
pub struct Outgoing {
    /// Which it is.
    pub message: MessageId,
    /// There at QoS 1 and 2.
    pub packet_id: Option<PacketId>,
    /// How far it has come.
    pub stage: Stage,
    draft: Draft,
    payload: Vec<u8>,
}

/// How far a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// PUBACK or PUBREC is awaited.
    Published,
    /// PUBCOMP is awaited.
    Released,
}

impl Outgoing {
    /// Makes one that was not sent.
    pub fn new(
        message: MessageId,
        draft: Draft,
        payload: Vec<u8>,
        packet_id: Option<PacketId>,
    ) -> Self {
        Self { message, packet_id, stage: Stage::Published, draft, payload }
    }

    /// Says whether this is what an acknowledgement speaks of.
    pub fn is_at(&self, packet_id: PacketId, qos: u8, stage: Stage) -> bool {
        self.packet_id == Some(packet_id) && self.draft.qos == qos && self.stage == stage
    }

    /// Returns what the history is told of it.
    pub fn record(&self, is_again: bool) -> history::Publish {
        history::Publish {
            message: self.message,
            topic: self.draft.topic.clone(),
            qos: self.draft.qos,
            retain: self.draft.retain,
            is_clear: self.draft.is_clear,
            is_again,
        }
    }

    /// Appends its PUBLISH to `output`.
    pub fn encode(&self, dup: bool, version: Version, output: &mut Vec<u8>) {
        // What has no payload is told by this.
        let name = payload::write(self.message, 0);
        let correlation_data = self.payload.is_empty().then_some(&*name);
        let publish = Publish {
            dup,
            qos: QoS::from_byte(self.draft.qos).unwrap_or_default(),
            retain: self.draft.retain,
            topic: &self.draft.topic,
            packet_id: self.packet_id,
            properties: PublishProperties { correlation_data, ..PublishProperties::default() },
            payload: &self.payload,
        };
        Packet::Publish(publish).encode(version, output);
    }
}
