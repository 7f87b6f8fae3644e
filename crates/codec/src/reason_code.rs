//! Reason codes of MQTT 5.0, and the CONNACK return codes that stand for them in 3.x.

use core::fmt;

use crate::PacketKind;

/// The result of an operation. Codes from 0x80 are failures (section 2.4).
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReasonCode(pub u8);

/// Declares the constants and their names from the one list of table 2-6.
macro_rules! reason_codes {
    ($($constant:ident = $value:literal, $name:literal;)*) => {
        impl ReasonCode {
            $(
                #[doc = concat!($name, ".")]
                pub const $constant: Self = Self($value);
            )*

            /// Returns the name that the specification gives the code, if it knows the code.
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$constant => Some($name),)*
                    _ => None,
                }
            }
        }
    };
}

reason_codes! {
    SUCCESS = 0x00, "Success";
    GRANTED_QOS_1 = 0x01, "Granted QoS 1";
    GRANTED_QOS_2 = 0x02, "Granted QoS 2";
    DISCONNECT_WITH_WILL_MESSAGE = 0x04, "Disconnect with Will Message";
    NO_MATCHING_SUBSCRIBERS = 0x10, "No matching subscribers";
    NO_SUBSCRIPTION_EXISTED = 0x11, "No subscription existed";
    CONTINUE_AUTHENTICATION = 0x18, "Continue authentication";
    RE_AUTHENTICATE = 0x19, "Re-authenticate";
    UNSPECIFIED_ERROR = 0x80, "Unspecified error";
    MALFORMED_PACKET = 0x81, "Malformed Packet";
    PROTOCOL_ERROR = 0x82, "Protocol Error";
    IMPLEMENTATION_SPECIFIC_ERROR = 0x83, "Implementation specific error";
    UNSUPPORTED_PROTOCOL_VERSION = 0x84, "Unsupported Protocol Version";
    CLIENT_IDENTIFIER_NOT_VALID = 0x85, "Client Identifier not valid";
    BAD_USER_NAME_OR_PASSWORD = 0x86, "Bad User Name or Password";
    NOT_AUTHORIZED = 0x87, "Not authorized";
    SERVER_UNAVAILABLE = 0x88, "Server unavailable";
    SERVER_BUSY = 0x89, "Server busy";
    BANNED = 0x8A, "Banned";
    SERVER_SHUTTING_DOWN = 0x8B, "Server shutting down";
    BAD_AUTHENTICATION_METHOD = 0x8C, "Bad authentication method";
    KEEP_ALIVE_TIMEOUT = 0x8D, "Keep Alive timeout";
    SESSION_TAKEN_OVER = 0x8E, "Session taken over";
    TOPIC_FILTER_INVALID = 0x8F, "Topic Filter invalid";
    TOPIC_NAME_INVALID = 0x90, "Topic Name invalid";
    PACKET_IDENTIFIER_IN_USE = 0x91, "Packet Identifier in use";
    PACKET_IDENTIFIER_NOT_FOUND = 0x92, "Packet Identifier not found";
    RECEIVE_MAXIMUM_EXCEEDED = 0x93, "Receive Maximum exceeded";
    TOPIC_ALIAS_INVALID = 0x94, "Topic Alias invalid";
    PACKET_TOO_LARGE = 0x95, "Packet too large";
    MESSAGE_RATE_TOO_HIGH = 0x96, "Message rate too high";
    QUOTA_EXCEEDED = 0x97, "Quota exceeded";
    ADMINISTRATIVE_ACTION = 0x98, "Administrative action";
    PAYLOAD_FORMAT_INVALID = 0x99, "Payload format invalid";
    RETAIN_NOT_SUPPORTED = 0x9A, "Retain not supported";
    QOS_NOT_SUPPORTED = 0x9B, "QoS not supported";
    USE_ANOTHER_SERVER = 0x9C, "Use another server";
    SERVER_MOVED = 0x9D, "Server moved";
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9E, "Shared Subscriptions not supported";
    CONNECTION_RATE_EXCEEDED = 0x9F, "Connection rate exceeded";
    MAXIMUM_CONNECT_TIME = 0xA0, "Maximum connect time";
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED = 0xA1, "Subscription Identifiers not supported";
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED = 0xA2, "Wildcard Subscriptions not supported";
}

impl ReasonCode {
    /// Normal disconnection: what [`Self::SUCCESS`] means in DISCONNECT.
    pub const NORMAL_DISCONNECTION: Self = Self(0x00);
    /// Granted QoS 0: what [`Self::SUCCESS`] means in SUBACK.
    pub const GRANTED_QOS_0: Self = Self(0x00);

    /// Returns what a 3.x CONNACK return code means, or `None` if the code is reserved.
    pub fn from_v3_connack(return_code: u8) -> Option<Self> {
        match return_code {
            0 => Some(Self::SUCCESS),
            1 => Some(Self::UNSUPPORTED_PROTOCOL_VERSION),
            2 => Some(Self::CLIENT_IDENTIFIER_NOT_VALID),
            3 => Some(Self::SERVER_UNAVAILABLE),
            4 => Some(Self::BAD_USER_NAME_OR_PASSWORD),
            5 => Some(Self::NOT_AUTHORIZED),
            _ => None,
        }
    }

    /// Returns whether the code is a failure.
    #[inline]
    pub fn is_failure(self) -> bool {
        self.0 >= 0x80
    }

    /// Returns the 3.x CONNACK return code that says the same, or `None` if there is none and the
    /// connection is closed without CONNACK (v3.1.1 [MQTT-3.2.2-6]).
    pub fn to_v3_connack(self) -> Option<u8> {
        match self {
            Self::SUCCESS => Some(0),
            Self::UNSUPPORTED_PROTOCOL_VERSION => Some(1),
            Self::CLIENT_IDENTIFIER_NOT_VALID => Some(2),
            Self::SERVER_UNAVAILABLE
            | Self::SERVER_BUSY
            | Self::SERVER_SHUTTING_DOWN
            | Self::UNSPECIFIED_ERROR
            | Self::IMPLEMENTATION_SPECIFIC_ERROR
            | Self::QUOTA_EXCEEDED
            | Self::CONNECTION_RATE_EXCEEDED
            | Self::USE_ANOTHER_SERVER
            | Self::SERVER_MOVED => Some(3),
            Self::BAD_USER_NAME_OR_PASSWORD => Some(4),
            Self::NOT_AUTHORIZED | Self::BANNED | Self::BAD_AUTHENTICATION_METHOD => Some(5),
            _ => None,
        }
    }

    /// Returns whether a packet of `kind` may carry the code (the last column of table 2-6).
    ///
    /// Section 2.4 allows Bad authentication method in DISCONNECT, table 3-10 leaves it out.
    /// Policy: it is accepted, because a failed re-authentication has no better code.
    pub fn is_allowed_in(self, kind: PacketKind) -> bool {
        match kind {
            PacketKind::ConnAck => matches!(
                self.0,
                0x00 | 0x80..=0x8A | 0x8C | 0x90 | 0x95 | 0x97 | 0x99..=0x9D | 0x9F
            ),
            PacketKind::PubAck | PacketKind::PubRec => {
                matches!(self.0, 0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99)
            }
            PacketKind::PubRel | PacketKind::PubComp => matches!(self.0, 0x00 | 0x92),
            PacketKind::SubAck => matches!(
                self.0,
                0x00..=0x02 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91 | 0x97 | 0x9E | 0xA1 | 0xA2
            ),
            PacketKind::UnsubAck => {
                matches!(self.0, 0x00 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91)
            }
            PacketKind::Disconnect => matches!(
                self.0,
                0x00 | 0x04 | 0x80..=0x83 | 0x87 | 0x89 | 0x8B..=0x90 | 0x93..=0xA2
            ),
            PacketKind::Auth => matches!(self.0, 0x00 | 0x18 | 0x19),
            PacketKind::Connect
            | PacketKind::Publish
            | PacketKind::Subscribe
            | PacketKind::Unsubscribe
            | PacketKind::PingReq
            | PacketKind::PingResp => false,
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "0x{:02X} ({name})", self.0),
            None => write!(f, "0x{:02X}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_allowed_code_has_a_name() {
        for kind in PacketKind::ALL {
            for code in (0..=u8::MAX).map(ReasonCode).filter(|code| code.is_allowed_in(kind)) {
                assert!(code.name().is_some(), "{code} in {kind}");
            }
        }
    }

    /// How many rows tables 3-1, 3-4 to 3-11 have; DISCONNECT has one more than its table, as the code says.
    #[test]
    fn as_many_codes_as_the_tables_have() {
        for (kind, count) in [
            (PacketKind::ConnAck, 22),
            (PacketKind::PubAck, 9),
            (PacketKind::PubRec, 9),
            (PacketKind::PubRel, 2),
            (PacketKind::PubComp, 2),
            (PacketKind::SubAck, 12),
            (PacketKind::UnsubAck, 7),
            (PacketKind::Disconnect, 29 + 1),
            (PacketKind::Auth, 3),
            (PacketKind::Publish, 0),
        ] {
            let codes = (0..=u8::MAX).map(ReasonCode).filter(|code| code.is_allowed_in(kind));
            assert_eq!(codes.count(), count, "{kind}");
        }
    }

    #[test]
    fn return_codes_survive() {
        for return_code in 0..=5 {
            let reason = ReasonCode::from_v3_connack(return_code).expect("a return code of 3.x");
            assert_eq!(reason.to_v3_connack(), Some(return_code));
        }
        assert_eq!(ReasonCode::from_v3_connack(6), None);
        assert_eq!(ReasonCode::MALFORMED_PACKET.to_v3_connack(), None);
    }
}
