//! Messages that a client has received, as packets.

use quelea_client::Message;
use quelea_codec::{Publish, PublishProperties, UserProperties};

/// Gives `use_it` a message as the packet in which it came, without what belongs to the connection.
pub(crate) fn with_packet<T>(message: &Message, use_it: impl FnOnce(&Publish<'_>) -> T) -> T {
    let pairs: Vec<_> = message.user_properties().collect();
    let expiry_secs = message.expiry().map(|it| u32::try_from(it.as_secs()).unwrap_or(u32::MAX));
    let properties = PublishProperties {
        payload_is_utf8: message.is_text(),
        message_expiry_secs: expiry_secs,
        response_topic: message.response_topic(),
        correlation_data: message.correlation_data(),
        content_type: message.content_type(),
        user_properties: UserProperties::from_pairs(&pairs),
        ..PublishProperties::default()
    };
    use_it(&Publish {
        qos: message.qos(),
        retain: message.is_retained(),
        topic: message.topic(),
        payload: message.payload(),
        properties,
        ..Publish::default()
    })
}
