//! A message with everything that can be shown of it.

use std::borrow::Cow;

use quelea_client::Message;

use super::clock::Moment;

/// A message that has come.
#[derive(Clone, Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) moment: Cow<'a, Moment>,
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: u8,
    pub(crate) is_retained: bool,
    pub(crate) is_duplicate: bool,
    /// None at QoS 0.
    pub(crate) packet_id: Option<u16>,
    pub(crate) topic_alias: Option<u16>,
    pub(crate) is_text: Option<bool>,
    pub(crate) expiry_secs: Option<u64>,
    pub(crate) content_type: Option<&'a str>,
    pub(crate) response_topic: Option<&'a str>,
    pub(crate) correlation_data: Option<&'a [u8]>,
    pub(crate) user_properties: Vec<(&'a str, &'a str)>,
}

impl<'a> Shown<'a> {
    /// Returns what there is of a message that came at `moment`.
    pub(crate) fn of(message: &'a Message, moment: &'a Moment) -> Self {
        Self {
            moment: Cow::Borrowed(moment),
            topic: message.topic(),
            payload: message.payload(),
            qos: message.qos() as u8,
            is_retained: message.is_retained(),
            is_duplicate: message.is_duplicate(),
            packet_id: message.packet_id(),
            topic_alias: message.topic_alias(),
            is_text: message.is_text(),
            expiry_secs: message.expiry().map(|it| it.as_secs()),
            content_type: message.content_type(),
            response_topic: message.response_topic(),
            correlation_data: message.correlation_data(),
            user_properties: message.user_properties().collect(),
        }
    }

    /// Returns whether it has any property of MQTT 5.
    pub(crate) fn has_properties(&self) -> bool {
        self.is_text.is_some()
            || self.expiry_secs.is_some()
            || self.content_type.is_some()
            || self.response_topic.is_some()
            || self.correlation_data.is_some()
            || !self.user_properties.is_empty()
    }
}

#[cfg(test)]
impl Shown<'static> {
    /// A message on `plant/7`, at QoS 1, in 2026.
    pub(super) fn example(payload: &'static [u8]) -> Self {
        Self {
            moment: Cow::Owned(Moment::example()),
            topic: "plant/7",
            payload,
            qos: 1,
            is_retained: true,
            is_duplicate: false,
            packet_id: Some(3),
            topic_alias: None,
            is_text: None,
            expiry_secs: None,
            content_type: None,
            response_topic: None,
            correlation_data: None,
            user_properties: Vec::new(),
        }
    }
}
