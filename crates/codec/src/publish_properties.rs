//! The properties of a PUBLISH, and of a will.

use alloc::vec::Vec;
use core::num::NonZeroU16;

use crate::error::DecodeError;
use crate::property::{Place, PropertySet};
use crate::property_value::TopicName;
use crate::write::{Count, Sink, Write};
use crate::{SubscriptionIds, UserProperties};

/// The properties of a PUBLISH, or the part of a will's that is published with it.
///
/// *Forwarded* are those that a server sends on unaltered: Payload Format Indicator ([MQTT-3.3.2-4]),
/// Response Topic ([MQTT-3.3.2-15]), Correlation Data ([MQTT-3.3.2-16]), User Properties
/// ([MQTT-3.3.2-17]) and Content Type ([MQTT-3.3.2-20]). The others belong to one hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishProperties<'a> {
    /// Payload Format Indicator: whether the payload is UTF-8 text. Forwarded.
    pub payload_is_utf8: Option<bool>,
    /// Message Expiry Interval.
    pub message_expiry_secs: Option<u32>,
    /// Topic Alias, never 0.
    pub topic_alias: Option<u16>,
    /// Response Topic. Forwarded.
    pub response_topic: Option<&'a str>,
    /// Correlation Data. Forwarded.
    pub correlation_data: Option<&'a [u8]>,
    /// Subscription Identifiers, from a server only.
    pub subscription_ids: SubscriptionIds<'a>,
    /// Content Type. Forwarded.
    pub content_type: Option<&'a str>,
    /// User Properties, in their order. Forwarded.
    pub user_properties: UserProperties<'a>,
    /// The bytes that the forwarded properties were decoded from. Whoever changes one of them resets this to
    /// its default.
    pub wire: WireForm<'a>,
}

/// The forwarded properties as they stand in the packet, where they do so side by side.
#[derive(Clone, Copy, Debug, Default)]
pub struct WireForm<'a>(Option<&'a [u8]>);

impl<'a> PublishProperties<'a> {
    /// Reads again what [`Self::append_forwarded`] wrote.
    ///
    /// Of bytes with a fault it takes nothing.
    pub fn from_forwarded(bytes: &'a [u8]) -> Self {
        Self::read(bytes).unwrap_or_default()
    }

    /// Reads the properties of a PUBLISH, without their length.
    pub(crate) fn read(section: &'a [u8]) -> Result<Self, DecodeError> {
        let mut set = PropertySet::default();
        set.fill(section, Place::Publish)?;
        Ok(set.into())
    }

    /// Appends the forwarded properties to `out`, as wire bytes without a length. User Properties keep their
    /// order.
    pub fn append_forwarded(&self, out: &mut Vec<u8>) {
        out.reserve(self.forwarded_len());
        self.write_forwarded(out);
    }

    /// Returns the number of bytes that [`Self::append_forwarded`] appends.
    pub fn forwarded_len(&self) -> usize {
        let mut count = Count(0);
        self.write_forwarded(&mut count);
        count.0
    }

    /// Returns the forwarded properties as wire bytes, when they can be borrowed: when they stand side by side
    /// in the packet, and when there are none.
    pub fn forwarded_slice(&self) -> Option<&'a [u8]> {
        let is_none = self.payload_is_utf8.is_none()
            && self.response_topic.is_none()
            && self.correlation_data.is_none()
            && self.content_type.is_none()
            && self.user_properties.is_empty();
        self.wire.0.or(is_none.then_some(&[]))
    }

    fn write_forwarded<S: Sink>(&self, sink: &mut S) {
        match self.wire.0 {
            Some(bytes) => sink.bytes(bytes),
            None => self.forwarded_set().write(sink),
        }
    }

    /// Returns the forwarded properties alone.
    fn forwarded_set(&self) -> PropertySet<'a> {
        PropertySet {
            payload_is_utf8: self.payload_is_utf8,
            content_type: self.content_type,
            response_topic: self.response_topic.map(TopicName),
            correlation_data: self.correlation_data,
            user_properties: self.user_properties,
            ..PropertySet::default()
        }
    }

    /// Returns the properties of one hop alone.
    fn hop_set(&self) -> PropertySet<'a> {
        PropertySet {
            topic_alias: self.topic_alias.and_then(NonZeroU16::new),
            subscription_ids: self.subscription_ids,
            ..PropertySet::default()
        }
    }
}

/// The forwarded properties stay side by side, so that they can be borrowed. Order has no meaning.
impl Write for PublishProperties<'_> {
    fn write<S: Sink>(&self, sink: &mut S) {
        self.hop_set().write(sink);
        self.write_forwarded(sink);
        let message_expiry_secs = self.message_expiry_secs;
        PropertySet { message_expiry_secs, ..PropertySet::default() }.write(sink);
    }
}

/// A will's properties, with its delay.
pub(crate) struct WillProperties<'a> {
    pub(crate) delay_secs: u32,
    pub(crate) properties: PublishProperties<'a>,
}

impl Write for WillProperties<'_> {
    fn write<S: Sink>(&self, sink: &mut S) {
        let set = PropertySet {
            will_delay_secs: Some(self.delay_secs).filter(|&delay_secs| delay_secs != 0),
            message_expiry_secs: self.properties.message_expiry_secs,
            ..PropertySet::default()
        };
        set.write(sink);
        self.properties.write_forwarded(sink);
    }
}

impl<'a> From<PropertySet<'a>> for PublishProperties<'a> {
    #[inline]
    fn from(set: PropertySet<'a>) -> Self {
        Self {
            payload_is_utf8: set.payload_is_utf8,
            message_expiry_secs: set.message_expiry_secs,
            topic_alias: set.topic_alias.map(NonZeroU16::get),
            response_topic: set.response_topic.map(|topic| topic.0),
            correlation_data: set.correlation_data,
            subscription_ids: set.subscription_ids,
            content_type: set.content_type,
            user_properties: set.user_properties,
            wire: WireForm(set.forwarded),
        }
    }
}

/// Two packets that say the same are equal, wherever their bytes are.
impl PartialEq for WireForm<'_> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for WireForm<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notation::bytes;

    /// Where the forwarded properties stand side by side they are borrowed, otherwise written again.
    #[test]
    fn forwarded_properties_as_they_stand() {
        check("", Some(""), "");
        check("02 00000001 23 0001", Some(""), "");
        check("01 01", Some("01 01"), "01 01");
        check("26 <k> <v> 03 <t>", Some("26 <k> <v> 03 <t>"), "26 <k> <v> 03 <t>");
        check("02 00000001 26 <k> <v> 23 0001", Some("26 <k> <v>"), "26 <k> <v>");
        check("26 <b> <> 23 0001 26 <a> <>", None, "26 <b> <> 26 <a> <>");
        check("26 <k> <v> 02 00000001 01 00", None, "01 00 26 <k> <v>");
        check("09 <c> 0B 01 08 <r>", None, "08 <r> 09 <c>");
    }

    #[test]
    fn built_properties() {
        assert_eq!(PublishProperties::default().forwarded_slice(), Some(&[][..]));
        let properties =
            PublishProperties { content_type: Some("t"), ..PublishProperties::default() };
        assert_eq!(properties.forwarded_slice(), None);
        let mut out = Vec::new();
        properties.append_forwarded(&mut out);
        assert_eq!(out, bytes("03 <t>"));
        assert_eq!(PublishProperties::from_forwarded(&out), properties);
    }

    #[test]
    fn bytes_with_a_fault_give_nothing() {
        assert_eq!(
            PublishProperties::from_forwarded(&bytes("01 01 03 0005")),
            PublishProperties::default()
        );
    }

    #[track_caller]
    fn check(section: &str, slice: Option<&str>, appended: &str) {
        let section_bytes = bytes(section);
        let properties = PublishProperties::read(&section_bytes).expect("valid properties");
        assert_eq!(properties.forwarded_slice(), slice.map(bytes).as_deref(), "{section}");

        let mut out = Vec::new();
        properties.append_forwarded(&mut out);
        assert_eq!(out, bytes(appended), "{section}");
        assert_eq!(properties.forwarded_len(), out.len(), "{section}");

        let read_again = PublishProperties::from_forwarded(&out);
        let hop_left_out = PublishProperties {
            message_expiry_secs: None,
            topic_alias: None,
            subscription_ids: SubscriptionIds::EMPTY,
            ..properties
        };
        assert_eq!(read_again, hop_left_out, "{section}");
        assert_eq!(read_again.forwarded_slice(), Some(&out[..]), "{section}");
    }
}
