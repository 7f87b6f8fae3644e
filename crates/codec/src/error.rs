//! What is wrong with bytes that should be a packet.
//!
//! [`Malformed`] cannot be parsed, [`Violation`] was parsed and holds what the protocol forbids (section
//! 1.2). Both end the connection; they differ in what the peer is told.

use core::fmt;

use crate::{FilterError, PacketKind, Property, ReasonCode};

/// Why a packet was not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes are no packet.
    Malformed(Malformed),
    /// The packet holds what the protocol forbids.
    Violation(Violation),
}

/// Bytes that cannot be parsed as a packet of the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// A reserved bit in the flags of CONNACK is set.
    ConnAckFlags,
    /// The reserved bit of the Connect Flags is set.
    ConnectFlags,
    /// A string contains a control character or a non-character.
    ControlCharacter,
    /// Reserved flags of the fixed header have other values than those listed.
    FixedHeaderFlags,
    /// A string contains U+0000.
    NullCharacter,
    /// The packet is larger than the receiver accepts.
    PacketTooLarge,
    /// A packet type that the version does not have.
    PacketType,
    /// A Password without a User Name, in MQTT 3.x.
    PasswordWithoutUserName,
    /// A property that the packet cannot carry.
    PropertyNotAllowed(Property),
    /// A property identifier that the specification does not know.
    PropertyUnknown,
    /// QoS 3, or DUP at QoS 0, in a PUBLISH.
    PublishFlags,
    /// A return code of 3.x that is reserved.
    ReturnCode,
    /// Reserved bits of the Subscription Options are set.
    SubscriptionOptions,
    /// A Topic Filter that is not formed as section 4.7 and 4.8.2 demand.
    TopicFilter(FilterError),
    /// A Topic Name without a character.
    TopicNameEmpty,
    /// A wildcard in a Topic Name.
    TopicNameWildcard,
    /// Bytes left after the last field of the packet.
    TrailingBytes,
    /// The packet ends inside a field.
    Truncated,
    /// Ill-formed UTF-8 in a string.
    Utf8,
    /// A Variable Byte Integer of more than four bytes, or longer than its value needs.
    VariableByteInteger,
    /// Will QoS 3, or Will QoS or Will Retain without the Will Flag.
    WillFlags,
}

/// A rule of the specification that a decoded packet breaks. It always ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// Authentication Data without an Authentication Method.
    AuthenticationDataAlone,
    /// An AUTH with properties but without an Authentication Method.
    AuthenticationMethodMissing,
    /// An empty Client Identifier where the version demands one.
    ClientIdEmpty,
    /// No Local on a shared subscription.
    NoLocalOnShared,
    /// A property that may come once came twice.
    PropertyRepeated(Property),
    /// A property has a value that its definition excludes.
    PropertyValue(Property),
    /// A reason code that the packet cannot carry.
    ReasonCodeNotAllowed(PacketKind),
    /// A Retain Handling of 3.
    RetainHandling,
    /// Session Present in a CONNACK that refuses the connection.
    SessionPresentOnRefusal,
    /// A SUBSCRIBE without a Topic Filter.
    SubscribeEmpty,
    /// A Maximum QoS of 3 in a SUBSCRIBE.
    SubscribeQoS,
    /// A Topic Alias of 0.
    TopicAliasZero,
    /// An empty Topic Name in a PUBLISH without a Topic Alias.
    TopicNameMissing,
    /// An UNSUBSCRIBE without a Topic Filter.
    UnsubscribeEmpty,
    /// A protocol name or level that is not supported.
    VersionUnsupported,
    /// A Packet Identifier of 0.
    ZeroPacketId,
}

impl DecodeError {
    /// Returns the broken statement of MQTT 5.0, for logs and for the conformance report.
    pub fn statement(self) -> &'static str {
        match self {
            Self::Malformed(fault) => fault.statement(),
            Self::Violation(fault) => fault.statement(),
        }
    }

    /// Returns what an MQTT 5.0 peer is told in DISCONNECT or CONNACK before the connection closes.
    pub fn reason_code(self) -> ReasonCode {
        match self {
            Self::Malformed(fault) => fault.reason_code(),
            Self::Violation(fault) => fault.reason_code(),
        }
    }
}

impl Malformed {
    /// Returns the broken statement of MQTT 5.0; faults that the text names without a statement of their
    /// own cite the one on malformed packets in general.
    pub fn statement(self) -> &'static str {
        match self {
            Self::ConnAckFlags => "MQTT-3.2.2-1",
            Self::ConnectFlags => "MQTT-3.1.2-3",
            Self::FixedHeaderFlags => "MQTT-2.1.3-1",
            Self::NullCharacter => "MQTT-1.5.4-2",
            Self::PacketTooLarge => "MQTT-3.2.2-15",
            // The one fault that 5.0 does not know.
            Self::PasswordWithoutUserName => "v3.1.1 MQTT-3.1.2-22",
            Self::PublishFlags => "MQTT-3.3.1-4",
            Self::ReturnCode => "MQTT-3.2.2-8",
            Self::SubscriptionOptions => "MQTT-3.8.3-5",
            Self::TopicFilter(fault) => fault.statement(),
            Self::TopicNameEmpty => "MQTT-4.7.3-1",
            Self::TopicNameWildcard => "MQTT-3.3.2-2",
            Self::Utf8 => "MQTT-1.5.4-1",
            Self::VariableByteInteger => "MQTT-1.5.5-1",
            Self::WillFlags => "MQTT-3.1.2-12",
            Self::ControlCharacter
            | Self::PacketType
            | Self::PropertyNotAllowed(_)
            | Self::PropertyUnknown
            | Self::TrailingBytes
            | Self::Truncated => "MQTT-4.13.1-1",
        }
    }

    /// Returns what an MQTT 5.0 peer is told.
    ///
    /// Policy: an ill-formed Topic Filter is Malformed Packet, because Topic Filter invalid is for those correctly
    /// formed but not accepted. A wildcard in a Topic Name and a packet type that does not exist can be parsed and
    /// are not allowed, which is how section 1.2 defines Protocol Error.
    pub fn reason_code(self) -> ReasonCode {
        match self {
            Self::PacketTooLarge => ReasonCode::PACKET_TOO_LARGE,
            Self::PacketType | Self::TopicNameWildcard => ReasonCode::PROTOCOL_ERROR,
            Self::ConnAckFlags
            | Self::ConnectFlags
            | Self::ControlCharacter
            | Self::FixedHeaderFlags
            | Self::NullCharacter
            | Self::PasswordWithoutUserName
            | Self::PropertyNotAllowed(_)
            | Self::PropertyUnknown
            | Self::PublishFlags
            | Self::ReturnCode
            | Self::SubscriptionOptions
            | Self::TopicFilter(_)
            | Self::TopicNameEmpty
            | Self::TrailingBytes
            | Self::Truncated
            | Self::Utf8
            | Self::VariableByteInteger
            | Self::WillFlags => ReasonCode::MALFORMED_PACKET,
        }
    }
}

impl Violation {
    /// Returns the broken statement of MQTT 5.0; faults that the text names without a statement of their
    /// own cite the one on protocol errors in general.
    pub fn statement(self) -> &'static str {
        match self {
            Self::ClientIdEmpty => "MQTT-3.1.3-8",
            Self::NoLocalOnShared => "MQTT-3.8.3-4",
            Self::ReasonCodeNotAllowed(kind) => reason_code_statement(kind),
            Self::SessionPresentOnRefusal => "MQTT-3.2.2-6",
            Self::SubscribeEmpty => "MQTT-3.8.3-2",
            Self::TopicAliasZero => "MQTT-3.3.2-8",
            Self::TopicNameMissing => "MQTT-4.7.3-1",
            Self::UnsubscribeEmpty => "MQTT-3.10.3-2",
            Self::VersionUnsupported => "MQTT-3.1.2-2",
            Self::ZeroPacketId => "MQTT-2.2.1-3",
            Self::AuthenticationDataAlone
            | Self::AuthenticationMethodMissing
            | Self::PropertyRepeated(_)
            | Self::PropertyValue(_)
            | Self::RetainHandling
            | Self::SubscribeQoS => "MQTT-4.13.1-1",
        }
    }

    /// Returns what an MQTT 5.0 peer is told.
    pub fn reason_code(self) -> ReasonCode {
        match self {
            Self::ClientIdEmpty => ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
            Self::TopicAliasZero => ReasonCode::TOPIC_ALIAS_INVALID,
            Self::VersionUnsupported => ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
            Self::AuthenticationDataAlone
            | Self::AuthenticationMethodMissing
            | Self::NoLocalOnShared
            | Self::PropertyRepeated(_)
            | Self::PropertyValue(_)
            | Self::ReasonCodeNotAllowed(_)
            | Self::RetainHandling
            | Self::SessionPresentOnRefusal
            | Self::SubscribeEmpty
            | Self::SubscribeQoS
            | Self::TopicNameMissing
            | Self::UnsubscribeEmpty
            | Self::ZeroPacketId => ReasonCode::PROTOCOL_ERROR,
        }
    }
}

/// Returns the statement that binds a packet to its list of reason codes.
fn reason_code_statement(kind: PacketKind) -> &'static str {
    match kind {
        PacketKind::ConnAck => "MQTT-3.2.2-8",
        PacketKind::PubAck => "MQTT-3.4.2-1",
        PacketKind::PubRec => "MQTT-3.5.2-1",
        PacketKind::PubRel => "MQTT-3.6.2-1",
        PacketKind::PubComp => "MQTT-3.7.2-1",
        PacketKind::SubAck => "MQTT-3.9.3-2",
        PacketKind::UnsubAck => "MQTT-3.11.3-2",
        PacketKind::Disconnect => "MQTT-3.14.2-1",
        PacketKind::Auth => "MQTT-3.15.2-1",
        PacketKind::Connect
        | PacketKind::Publish
        | PacketKind::Subscribe
        | PacketKind::Unsubscribe
        | PacketKind::PingReq
        | PacketKind::PingResp => "MQTT-4.13.1-1",
    }
}

impl From<Malformed> for DecodeError {
    fn from(fault: Malformed) -> Self {
        Self::Malformed(fault)
    }
}

impl From<Violation> for DecodeError {
    fn from(fault: Violation) -> Self {
        Self::Violation(fault)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(fault) => write!(f, "malformed packet: {fault}"),
            Self::Violation(fault) => write!(f, "protocol error: {fault}"),
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::ConnAckFlags => "reserved bits set in the flags of CONNACK",
            Self::ConnectFlags => "reserved bit set in the connect flags",
            Self::FixedHeaderFlags => "reserved flags of the fixed header have the wrong value",
            Self::ControlCharacter => "a string contains a control character or a non-character",
            Self::NullCharacter => "a string contains U+0000",
            Self::PacketTooLarge => "larger than the maximum packet size",
            Self::PacketType => "no such packet type",
            Self::PasswordWithoutUserName => "password without user name",
            Self::PropertyNotAllowed(property) => {
                return write!(f, "the packet cannot have the property {property}");
            }
            Self::PropertyUnknown => "unknown property",
            Self::PublishFlags => "QoS 3, or DUP at QoS 0, in a PUBLISH",
            Self::ReturnCode => "reserved return code",
            Self::SubscriptionOptions => "reserved bits set in the subscription options",
            Self::TopicFilter(fault) => return write!(f, "topic filter: {fault}"),
            Self::TopicNameEmpty => "empty topic name",
            Self::TopicNameWildcard => "wildcard in a topic name",
            Self::TrailingBytes => "bytes after the end of the packet's content",
            Self::Truncated => "the packet ends inside a field",
            Self::Utf8 => "ill-formed UTF-8",
            Self::VariableByteInteger => {
                "variable byte integer not in its shortest form, or too long"
            }
            Self::WillFlags => "will QoS 3, or will QoS or retain without a will",
        };
        f.write_str(text)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::AuthenticationDataAlone => "authentication data without authentication method",
            Self::AuthenticationMethodMissing => "AUTH without authentication method",
            Self::ClientIdEmpty => "empty client identifier",
            Self::NoLocalOnShared => "No Local on a shared subscription",
            Self::PropertyRepeated(property) => return write!(f, "property {property} repeated"),
            Self::PropertyValue(property) => {
                return write!(f, "property {property} has a value that is not allowed");
            }
            Self::ReasonCodeNotAllowed(kind) => {
                return write!(f, "reason code that {kind} cannot have");
            }
            Self::RetainHandling => "retain handling 3",
            Self::SessionPresentOnRefusal => "session present in a CONNACK that refuses",
            Self::SubscribeEmpty => "SUBSCRIBE without a topic filter",
            Self::SubscribeQoS => "maximum QoS 3 in a SUBSCRIBE",
            Self::TopicAliasZero => "topic alias 0",
            Self::TopicNameMissing => "neither topic name nor topic alias",
            Self::UnsubscribeEmpty => "UNSUBSCRIBE without a topic filter",
            Self::VersionUnsupported => "protocol version not supported",
            Self::ZeroPacketId => "packet identifier 0",
        };
        f.write_str(text)
    }
}

impl core::error::Error for DecodeError {}
impl core::error::Error for Malformed {}
impl core::error::Error for Violation {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each fault that the text gives a code of its own.
    #[test]
    fn codes_other_than_the_general_ones() {
        check(Malformed::PacketTooLarge, 0x95, "MQTT-3.2.2-15");
        check(Malformed::TopicNameWildcard, 0x82, "MQTT-3.3.2-2");
        check(Malformed::TopicFilter(FilterError::ShareName), 0x81, "MQTT-4.8.2-1");
        check(Violation::TopicAliasZero, 0x94, "MQTT-3.3.2-8");
        check(Violation::VersionUnsupported, 0x84, "MQTT-3.1.2-2");
        check(Violation::ClientIdEmpty, 0x85, "MQTT-3.1.3-8");
        check(Violation::PropertyRepeated(Property::TopicAlias), 0x82, "MQTT-4.13.1-1");
        check(Violation::ReasonCodeNotAllowed(PacketKind::PubRec), 0x82, "MQTT-3.5.2-1");
    }

    #[track_caller]
    fn check(fault: impl Into<DecodeError>, code: u8, statement: &str) {
        let fault = fault.into();
        assert_eq!(
            (fault.reason_code(), fault.statement()),
            (ReasonCode(code), statement),
            "{fault}"
        );
    }
}
