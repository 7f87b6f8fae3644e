//! A message with its time, as the commands hand it around.

use std::time::Duration;

use quelea_codec::QoS;
use quelea_traffic::Entry;

/// A message of a recording, or one to be recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// Microseconds since the recording began.
    pub(super) micros: u64,
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    /// Whether the publisher says that the payload is text.
    pub(super) is_text: Option<bool>,
    pub(super) expiry_secs: Option<u32>,
    pub(super) content_type: Option<String>,
    pub(super) response_topic: Option<String>,
    pub(super) correlation_data: Option<Vec<u8>>,
    pub(super) user_properties: Vec<(String, String)>,
}

impl Message {
    /// Returns the message of a file's entry.
    pub(super) fn of(entry: &Entry<'_>) -> Self {
        let publish = &entry.publish;
        let properties = &publish.properties;
        let pairs = properties.user_properties.iter();
        Self {
            micros: entry.micros,
            topic: publish.topic.to_owned(),
            payload: publish.payload.to_owned(),
            qos: publish.qos,
            retain: publish.retain,
            is_text: properties.payload_is_utf8,
            expiry_secs: properties.message_expiry_secs,
            content_type: properties.content_type.map(str::to_owned),
            response_topic: properties.response_topic.map(str::to_owned),
            correlation_data: properties.correlation_data.map(<[u8]>::to_owned),
            user_properties: pairs.map(|(name, value)| (name.into(), value.into())).collect(),
        }
    }

    /// Returns what a client is to publish.
    pub(super) fn to_publish(&self) -> quelea_client::Publish<'_> {
        let mut publish = quelea_client::Publish::new(&self.topic, &self.payload).qos(self.qos);
        if self.retain {
            publish = publish.retain();
        }
        if self.is_text == Some(true) {
            publish = publish.text();
        }
        if let Some(secs) = self.expiry_secs {
            publish = publish.expiry(Duration::from_secs(secs.into()));
        }
        if let Some(content_type) = &self.content_type {
            publish = publish.content_type(content_type);
        }
        if let Some(topic) = &self.response_topic {
            publish = publish.response_topic(topic);
        }
        if let Some(data) = &self.correlation_data {
            publish = publish.correlation_data(data);
        }
        self.user_properties
            .iter()
            .fold(publish, |publish, (name, value)| publish.user_property(name, value))
    }
}
