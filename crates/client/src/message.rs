//! Messages: as an application publishes them, and as it receives them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use quelea_codec::{
    PacketId, PublishProperties, QoS, ReasonCode, UserProperties, is_valid_topic_name,
};
use quelea_session::{self as session, Time};

use crate::receipt::SharedReceipt;
use crate::shared::millis;

/// A message to be published.
///
/// ```
/// use quelea_client::{Publish, QoS};
///
/// let reading = Publish::new("plant/7/temperature", "21.5");
/// let status = Publish::new("plant/7/status", "ok").qos(QoS::ExactlyOnce).retain();
/// ```
///
/// Without more it is published at least once (QoS 1), and not retained. MQTT 3.x has no properties; there they are
/// left out.
#[derive(Clone, Debug)]
pub struct Publish<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) expiry: Option<Duration>,
    is_text: Option<bool>,
    content_type: Option<&'a str>,
    pub(crate) response_topic: Option<&'a str>,
    pub(crate) correlation_data: Option<&'a [u8]>,
    user_properties: Vec<(&'a str, &'a str)>,
}

/// A property that MQTT cannot carry: more than 65,535 bytes, U+0000 in a string, or a response topic with a wildcard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PropertyInvalid;

impl<'a> Publish<'a> {
    /// Returns a message at QoS 1.
    pub fn new(
        topic: &'a (impl AsRef<str> + ?Sized),
        payload: &'a (impl AsRef<[u8]> + ?Sized),
    ) -> Self {
        Self {
            topic: topic.as_ref(),
            payload: payload.as_ref(),
            qos: QoS::AtLeastOnce,
            retain: false,
            expiry: None,
            is_text: None,
            content_type: None,
            response_topic: None,
            correlation_data: None,
            user_properties: Vec::new(),
        }
    }

    /// Sets the Quality of Service.
    #[must_use]
    pub fn qos(self, qos: QoS) -> Self {
        Self { qos, ..self }
    }

    /// Has the broker keep the message, for those who subscribe later. An empty payload removes what it keeps.
    #[must_use]
    pub fn retain(self) -> Self {
        Self { retain: true, ..self }
    }

    /// Has the message expire, here before it is sent, and at the broker if it speaks MQTT 5. Whole seconds count
    /// there.
    #[must_use]
    pub fn expiry(self, expiry: Duration) -> Self {
        Self { expiry: Some(expiry), ..self }
    }

    /// Says that the payload is text in UTF-8.
    #[must_use]
    pub fn text(self) -> Self {
        Self { is_text: Some(true), ..self }
    }

    /// Says what the payload is, such as `application/json`.
    #[must_use]
    pub fn content_type(self, content_type: &'a str) -> Self {
        Self { content_type: Some(content_type), ..self }
    }

    /// Says where a response should go. [`Client::request`](crate::Client::request) does this by itself.
    #[must_use]
    pub fn response_topic(self, topic: &'a str) -> Self {
        Self { response_topic: Some(topic), ..self }
    }

    /// Says which request a response is for.
    #[must_use]
    pub fn correlation_data(self, data: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self { correlation_data: Some(data.as_ref()), ..self }
    }

    /// Adds a property of the application's own. Names may repeat, and the order is kept.
    #[must_use]
    pub fn user_property(mut self, name: &'a str, value: &'a str) -> Self {
        self.user_properties.push((name, value));
        self
    }

    /// Returns the message as a session takes it. `forwarded` are its properties; few messages expire, so that the time
    /// is seldom asked for.
    pub(crate) fn content<'b>(
        &self,
        forwarded: &'b [u8],
        now: impl FnOnce() -> Time,
    ) -> session::Content<'b>
    where
        'a: 'b,
    {
        let expires_at = self.expiry.map(|expiry| now().plus_millis(millis(expiry)));
        session::Content { topic: self.topic, payload: self.payload, forwarded, expires_at }
    }

    /// Returns the properties as they stand in a packet.
    pub(crate) fn forwarded(&self) -> Result<Vec<u8>, PropertyInvalid> {
        let mut bytes = Vec::new();
        if !self.has_properties() {
            return Ok(bytes);
        }
        let texts = [self.content_type, self.response_topic].into_iter().flatten();
        let pairs = self.user_properties.iter().flat_map(|&(name, value)| [name, value]);
        let is_valid = texts.chain(pairs).all(is_valid_text)
            && self.response_topic.is_none_or(is_valid_topic_name)
            && self.correlation_data.is_none_or(|data| data.len() <= BINARY_BYTES_MAX);
        if !is_valid {
            return Err(PropertyInvalid);
        }
        let properties = PublishProperties {
            payload_is_utf8: self.is_text,
            content_type: self.content_type,
            response_topic: self.response_topic,
            correlation_data: self.correlation_data,
            user_properties: UserProperties::from_pairs(&self.user_properties),
            ..PublishProperties::default()
        };
        properties.append_forwarded(&mut bytes);
        Ok(bytes)
    }

    fn has_properties(&self) -> bool {
        self.is_text.is_some()
            || self.content_type.is_some()
            || self.response_topic.is_some()
            || self.correlation_data.is_some()
            || !self.user_properties.is_empty()
    }
}

/// A message that was received.
///
/// A clone shares topic and payload. Of a [manually acknowledged](crate::Acknowledge::Manually) subscription it has
/// to be [acknowledged](Self::acknowledge); dropping all clones without that has the broker send it again on the next
/// connection.
#[derive(Clone)]
pub struct Message {
    pub(crate) content: Arc<session::Message>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) packet_id: Option<PacketId>,
    pub(crate) topic_alias: Option<u16>,
    pub(crate) expiry: Option<Duration>,
    pub(crate) receipt: Option<SharedReceipt>,
}

impl Message {
    /// Returns the topic.
    pub fn topic(&self) -> &str {
        self.content.content().topic
    }

    /// Returns the payload.
    pub fn payload(&self) -> &[u8] {
        self.content.content().payload
    }

    /// Returns the payload as text, if it is UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.payload()).ok()
    }

    /// Returns the Quality of Service with which the message came.
    pub fn qos(&self) -> QoS {
        self.qos
    }

    /// Returns whether the message was kept by the broker from before the subscription.
    pub fn is_retained(&self) -> bool {
        self.retain
    }

    /// Returns whether the broker has tried to deliver the message before.
    pub fn is_duplicate(&self) -> bool {
        self.dup
    }

    /// Returns the packet identifier with which the message came, for tools: it says nothing beyond the connection. None at
    /// QoS 0.
    pub fn packet_id(&self) -> Option<u16> {
        self.packet_id.map(PacketId::value)
    }

    /// Returns the topic alias with which the message came, for tools: the client has already replaced it by the
    /// [topic](Self::topic).
    pub fn topic_alias(&self) -> Option<u16> {
        self.topic_alias
    }

    /// Returns whether the publisher says that the payload is text in UTF-8, or that it is not; `None` if it says nothing.
    pub fn is_text(&self) -> Option<bool> {
        self.properties().payload_is_utf8
    }

    /// Returns how long the message was good when it came.
    pub fn expiry(&self) -> Option<Duration> {
        self.expiry
    }

    /// Returns what the payload is, such as `application/json`.
    pub fn content_type(&self) -> Option<&str> {
        self.properties().content_type
    }

    /// Returns where a response should go.
    pub fn response_topic(&self) -> Option<&str> {
        self.properties().response_topic
    }

    /// Returns which request the message responds to.
    pub fn correlation_data(&self) -> Option<&[u8]> {
        self.properties().correlation_data
    }

    /// Returns the properties of the application's own, in their order.
    pub fn user_properties(&self) -> impl Iterator<Item = (&str, &str)> {
        self.properties().user_properties.iter()
    }

    /// Says that the application is done with the message: the broker forgets it. In any order; what leaves is in the
    /// order of the messages. Does nothing for a message that was acknowledged before or needs no acknowledgement.
    pub fn acknowledge(&self) {
        if let Some(receipt) = &self.receipt {
            receipt.answer(ReasonCode::SUCCESS);
        }
    }

    /// Refuses the message, for a `reason` of 0x80 or above, which an MQTT 5 broker gets to see. It does not come
    /// again.
    pub fn reject(&self, reason: ReasonCode) {
        if let Some(receipt) = &self.receipt {
            receipt.answer(reason);
        }
    }

    fn properties(&self) -> PublishProperties<'_> {
        PublishProperties::from_forwarded(self.content.content().forwarded)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic())
            .field("payload_bytes", &self.payload().len())
            .field("qos", &self.qos)
            .finish_non_exhaustive()
    }
}

/// Returns whether MQTT can carry `text` ([MQTT-1.5.4-2]).
pub(crate) fn is_valid_text(text: &str) -> bool {
    text.len() <= BINARY_BYTES_MAX && !text.contains('\0')
}

/// The longest string and the longest binary data (section 1.5).
pub(crate) const BINARY_BYTES_MAX: usize = 65_535;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_that_mqtt_cannot_carry_are_noticed() {
        let long = "x".repeat(BINARY_BYTES_MAX + 1);
        let fine = &long[1..];
        let publish = || Publish::new("t", "");
        for (publish, is_valid) in [
            (publish(), true),
            (publish().content_type(fine), true),
            (publish().content_type(&long), false),
            (publish().user_property(fine, "v"), true),
            (publish().user_property("n", &long), false),
            (publish().user_property("n\0", "v"), false),
            (publish().correlation_data(&long), false),
            (publish().response_topic("a/b"), true),
            (publish().response_topic("a/+"), false),
            (publish().response_topic(""), false),
        ] {
            assert_eq!(publish.forwarded().is_ok(), is_valid, "{publish:?}");
        }
    }
}
