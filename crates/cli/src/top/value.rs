//! The last message of a topic, as much of it as there is room for.

use std::time::Instant;

use quelea_codec::{Publish, QoS};

/// The last message of a topic.
#[derive(Debug, Default)]
pub(crate) struct Value {
    /// The beginning of the payload.
    payload: Vec<u8>,
    /// How long the whole payload is.
    pub(crate) payload_bytes: usize,
    pub(crate) qos: QoS,
    pub(crate) is_retained: bool,
    pub(crate) at: Option<Instant>,
    /// Only where there are any: most messages have none.
    pub(crate) properties: Option<Box<Properties>>,
}

/// The properties of a message, each as long as there is room for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Properties {
    pub(crate) content_type: Option<String>,
    pub(crate) response_topic: Option<String>,
    pub(crate) correlation_data: Option<Vec<u8>>,
    pub(crate) expiry_secs: Option<u32>,
    pub(crate) user: Vec<(String, String)>,
}

/// How many bytes the values of all topics have together.
#[derive(Debug, Default)]
pub(crate) struct ValueLimits {
    bytes: usize,
}

impl Value {
    /// Takes the place of the message before.
    pub(crate) fn set(&mut self, message: &Publish<'_>, now: Instant, limits: &mut ValueLimits) {
        limits.bytes -= self.payload.len();
        let payload = message.payload;
        let bytes_max = if limits.bytes < VALUES_BYTES_MAX { VALUE_BYTES_MAX } else { SHORT_BYTES };
        let kept = &payload[..payload.len().min(bytes_max)];
        self.payload.clear();
        // A short value does not keep the room of a long one.
        if self.payload.capacity() > kept.len().max(SHORT_BYTES) * 2 {
            self.payload = Vec::new();
        }
        self.payload.extend_from_slice(kept);
        limits.bytes += kept.len();
        self.payload_bytes = payload.len();
        self.qos = message.qos;
        self.is_retained = message.retain;
        self.at = Some(now);
        self.properties = Properties::of(message);
    }

    /// Returns the payload, or its beginning.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Returns whether all of the payload is here.
    pub(crate) fn is_whole(&self) -> bool {
        self.payload.len() == self.payload_bytes
    }
}

impl Properties {
    fn of(message: &Publish<'_>) -> Option<Box<Self>> {
        let from = &message.properties;
        let user = from.user_properties.iter().take(USER_PROPERTIES_MAX);
        let properties = Self {
            content_type: from.content_type.map(shortened),
            response_topic: from.response_topic.map(shortened),
            correlation_data: from
                .correlation_data
                .map(|data| data[..data.len().min(PROPERTY_BYTES_MAX)].to_owned()),
            expiry_secs: from.message_expiry_secs,
            user: user.map(|(name, value)| (shortened(name), shortened(value))).collect(),
        };
        (properties != Self::default()).then(|| Box::new(properties))
    }
}

fn shortened(text: &str) -> String {
    let end = text.floor_char_boundary(PROPERTY_BYTES_MAX);
    if end < text.len() { format!("{}…", &text[..end]) } else { text.to_owned() }
}

/// How much of one payload is kept.
const VALUE_BYTES_MAX: usize = 64 << 10;

/// How many bytes of payloads are kept before only the beginnings are.
const VALUES_BYTES_MAX: usize = 32 << 20;

/// How much of a payload is kept when there is no more room.
const SHORT_BYTES: usize = 512;

const USER_PROPERTIES_MAX: usize = 16;

const PROPERTY_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::super::testing::message;
    use super::*;

    #[test]
    fn long_values_are_cut() {
        let (mut value, mut limits) = (Value::default(), ValueLimits::default());
        let long = "x".repeat(VALUE_BYTES_MAX + 1);
        value.set(&message("t", &long), Instant::now(), &mut limits);
        assert_eq!((value.payload().len(), value.payload_bytes), (VALUE_BYTES_MAX, long.len()));
        assert!(!value.is_whole());
        value.set(&message("t", "short"), Instant::now(), &mut limits);
        assert!(value.is_whole() && value.payload.capacity() <= 2 * SHORT_BYTES);
        assert_eq!(limits.bytes, 5);
    }

    #[test]
    fn all_values_together_are_bounded() {
        let mut limits = ValueLimits::default();
        let long = "x".repeat(VALUE_BYTES_MAX);
        let mut values: Vec<Value> = Vec::new();
        for _ in 0..VALUES_BYTES_MAX / VALUE_BYTES_MAX + 100 {
            let mut value = Value::default();
            value.set(&message("t", &long), Instant::now(), &mut limits);
            values.push(value);
        }
        let kept: usize = values.iter().map(|it| it.payload().len()).sum();
        assert_eq!(kept, limits.bytes);
        assert_eq!(kept, VALUES_BYTES_MAX + 100 * SHORT_BYTES);
    }
}
