//! What ends a connection from the client's side.

use core::fmt;

use quelea_codec::{PacketKind, ReasonCode};

use crate::violation::Violation;

/// Something that the broker did, or failed to do, after which the client closes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// An AUTH or CONNACK with another authentication method than that of CONNECT, or without being asked.
    AuthenticationMethod,
    /// A SUBACK or UNSUBACK that has another number of reason codes than the request has filters.
    ReasonsMiscounted,
    /// Session Present, though the client asked for a clean start.
    SessionPresent,
    /// Nothing came from the broker in the time allowed, not even an answer to PINGREQ.
    Silent,
    /// A packet that a server does not send, or not now.
    Unexpected(PacketKind),
    /// A message or an acknowledgement that the state of the connection does not allow.
    Violation(Violation),
}

impl Fault {
    /// Returns the statement of MQTT 5.0 that the broker broke, where there is one.
    pub fn statement(self) -> Option<&'static str> {
        match self {
            Self::AuthenticationMethod => Some("MQTT-4.12.0-5"),
            Self::ReasonsMiscounted => Some("MQTT-3.8.4-6"),
            Self::SessionPresent => Some("MQTT-3.2.2-2"),
            Self::Silent => Some("MQTT-3.12.4-1"),
            Self::Unexpected(_) => Some("MQTT-4.13.1-1"),
            Self::Violation(violation) => Some(violation.statement()),
        }
    }

    /// Returns what an MQTT 5.0 broker is told in the DISCONNECT before the connection closes.
    pub fn reason_code(self) -> ReasonCode {
        match self {
            Self::Silent => ReasonCode::KEEP_ALIVE_TIMEOUT,
            Self::AuthenticationMethod
            | Self::ReasonsMiscounted
            | Self::SessionPresent
            | Self::Unexpected(_) => ReasonCode::PROTOCOL_ERROR,
            Self::Violation(violation) => violation.reason_code(),
        }
    }
}

impl From<Violation> for Fault {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AuthenticationMethod => {
                f.write_str("authentication method that was not asked for")
            }
            Self::ReasonsMiscounted => {
                f.write_str("reason codes in another number than the filters asked for")
            }
            Self::SessionPresent => f.write_str("session present after a clean start"),
            Self::Silent => f.write_str("no sign of life within the keep alive"),
            Self::Unexpected(kind) => write!(f, "{kind} where it does not belong"),
            Self::Violation(violation) => violation.fmt(f),
        }
    }
}

impl core::error::Error for Fault {}
