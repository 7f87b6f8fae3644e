//! The properties of a PUBLISH, and of a will.

use alloc::vec::Vec;

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
    /// Of other bytes it takes what comes before the first fault.
    pub fn from_forwarded(bytes: &'a [u8]) -> Self {
        let _ = bytes;
        Self::default()
    }

    /// Appends the forwarded properties to `out`, as wire bytes without a length. User Properties keep their
    /// order.
    pub fn append_forwarded(&self, out: &mut Vec<u8>) {
        let _ = out;
    }

    /// Returns the number of bytes that [`Self::append_forwarded`] appends.
    pub fn forwarded_len(&self) -> usize {
        0
    }

    /// Returns the forwarded properties as wire bytes, when they can be borrowed: when they stand side by side
    /// in the packet, and when there are none.
    pub fn forwarded_slice(&self) -> Option<&'a [u8]> {
        self.wire.0
    }
}

/// Two packets that say the same are equal, wherever their bytes are.
impl PartialEq for WireForm<'_> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for WireForm<'_> {}
