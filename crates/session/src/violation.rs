//! Rules of the protocol that a peer broke, as far as it takes the state of the connection to see it.

use core::fmt;

use quelea_codec::ReasonCode;

/// A packet that the peer may not send now. It always ends the connection.
///
/// Faults that the bytes of the packet show by themselves are reported by the codec.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Violation {
    /// An acknowledgement of another QoS than the PUBLISH had, or a PUBCOMP before the PUBREL.
    AcknowledgementMismatched,
    /// A PUBREL for a PUBLISH whose PUBREC has not been sent.
    PubrelTooEarly,
    /// A PUBLISH above the Maximum QoS.
    QoSNotSupported,
    /// More QoS 1 and 2 messages under way than the Receive Maximum.
    ReceiveMaximumExceeded,
    /// A retained PUBLISH where Retain Available is 0.
    RetainNotSupported,
    /// A Subscription Identifier in a PUBLISH of a client.
    SubscriptionIdFromClient,
    /// A Topic Alias above the Topic Alias Maximum.
    TopicAliasAboveMaximum,
    /// A Topic Alias without a Topic Name that has not been given a meaning before.
    TopicAliasUnknown,
    /// A PUBLISH with neither Topic Name nor Topic Alias.
    TopicNameMissing,
}

impl Violation {
    /// Returns the broken statement of MQTT 5.0, for logs and for the conformance report.
    pub fn statement(self) -> &'static str {
        match self {
            Self::AcknowledgementMismatched => "MQTT-3.3.4-1",
            Self::PubrelTooEarly => "MQTT-4.3.3-4",
            Self::QoSNotSupported => "MQTT-3.2.2-11",
            Self::ReceiveMaximumExceeded => "MQTT-3.3.4-7",
            Self::RetainNotSupported => "MQTT-3.2.2-14",
            Self::SubscriptionIdFromClient => "MQTT-3.3.4-6",
            Self::TopicAliasAboveMaximum => "MQTT-3.2.2-17",
            // Named in section 3.3.4 without a statement of its own.
            Self::TopicAliasUnknown => "MQTT-4.13.1-1",
            Self::TopicNameMissing => "MQTT-4.7.3-1",
        }
    }

    /// Returns what an MQTT 5.0 client is told in the DISCONNECT before the connection closes.
    pub fn reason_code(self) -> ReasonCode {
        match self {
            Self::AcknowledgementMismatched
            | Self::PubrelTooEarly
            | Self::SubscriptionIdFromClient
            | Self::TopicAliasUnknown
            | Self::TopicNameMissing => ReasonCode::PROTOCOL_ERROR,
            Self::QoSNotSupported => ReasonCode::QOS_NOT_SUPPORTED,
            Self::ReceiveMaximumExceeded => ReasonCode::RECEIVE_MAXIMUM_EXCEEDED,
            Self::RetainNotSupported => ReasonCode::RETAIN_NOT_SUPPORTED,
            Self::TopicAliasAboveMaximum => ReasonCode::TOPIC_ALIAS_INVALID,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AcknowledgementMismatched => "acknowledgement that does not fit the exchange",
            Self::PubrelTooEarly => "PUBREL before PUBREC",
            Self::QoSNotSupported => "QoS above the maximum",
            Self::ReceiveMaximumExceeded => "receive maximum exceeded",
            Self::RetainNotSupported => "retain is not supported",
            Self::SubscriptionIdFromClient => "subscription identifier from a client",
            Self::TopicAliasAboveMaximum => "topic alias above the maximum",
            Self::TopicAliasUnknown => "topic alias without a meaning",
            Self::TopicNameMissing => "neither topic name nor topic alias",
        })
    }
}

impl core::error::Error for Violation {}
