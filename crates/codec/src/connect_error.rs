//! Why a CONNECT was not decoded, and what the client is told.

use core::fmt;

use crate::{DecodeError, ReasonCode, Version, Violation};

/// Why a CONNECT was not decoded. The connection ends, with the CONNACK that [`answer`](Self::answer) names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// An empty Client Identifier where the version demands one. Everything else in the packet is right.
    ClientIdEmpty {
        /// The version of the client: 3.1 or 3.1.1.
        version: Version,
    },
    /// The packet is malformed, or breaks the protocol.
    Faulty {
        /// The version, if the packet was readable up to there.
        version: Option<Version>,
        /// What is wrong.
        fault: DecodeError,
    },
    /// A protocol name or level that is not supported.
    VersionUnsupported {
        /// The version in which the client will understand an answer, if there is one.
        answer: Option<Version>,
    },
}

impl ConnectError {
    /// Returns the CONNACK that the client is sent before the connection closes: its version and reason.
    ///
    /// `None` closes without CONNACK. That is the duty towards a malformed CONNECT of 3.1.1
    /// (v3.1.1 [MQTT-3.1.4-1]). Policy: it is also what happens when the version is not known, because
    /// nothing says that the other side speaks MQTT.
    pub fn answer(self) -> Option<(Version, ReasonCode)> {
        match self {
            Self::ClientIdEmpty { version } => {
                Some((version, ReasonCode::CLIENT_IDENTIFIER_NOT_VALID))
            }
            Self::Faulty { version, fault } => {
                let version = version.filter(|version| version.is_v5())?;
                Some((version, fault.reason_code()))
            }
            Self::VersionUnsupported { answer } => {
                Some((answer?, ReasonCode::UNSUPPORTED_PROTOCOL_VERSION))
            }
        }
    }
}

impl From<ConnectError> for DecodeError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::ClientIdEmpty { .. } => Violation::ClientIdEmpty.into(),
            ConnectError::Faulty { fault, .. } => fault,
            ConnectError::VersionUnsupported { .. } => Violation::VersionUnsupported.into(),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        DecodeError::from(*self).fmt(f)
    }
}

impl core::error::Error for ConnectError {}
