//! The protocol versions, and every fact in which their packets differ beside the properties of 5.0.

use crate::PacketKind;

/// A version of the protocol, in the order of their publication.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// MQTT 3.1: protocol name `MQIsdp`, level 3.
    V31,
    /// MQTT 3.1.1: protocol name `MQTT`, level 4.
    V311,
    /// MQTT 5.0: protocol name `MQTT`, level 5.
    V5,
}

impl Version {
    /// All versions, oldest first.
    pub const ALL: [Self; 3] = [Self::V31, Self::V311, Self::V5];

    /// Returns the version that a CONNECT names by protocol name and level.
    pub fn from_name_and_level(name: &[u8], level: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|version| {
            version.protocol_name().as_bytes() == name && version.protocol_level() == level
        })
    }

    /// Returns whether this is MQTT 5.0, the only version with properties and reason codes.
    #[inline]
    pub fn is_v5(self) -> bool {
        self == Self::V5
    }

    /// Returns the protocol name of the CONNECT packet.
    pub fn protocol_name(self) -> &'static str {
        match self {
            Self::V31 => "MQIsdp",
            Self::V311 | Self::V5 => "MQTT",
        }
    }

    /// Returns the protocol level of the CONNECT packet, which 5.0 calls protocol version.
    pub fn protocol_level(self) -> u8 {
        match self {
            Self::V31 => 3,
            Self::V311 => 4,
            Self::V5 => 5,
        }
    }

    /// Returns whether a CONNECT may have an empty Client Identifier.
    ///
    /// Never in 3.1 (v3.1 §3.1), with Clean Session in 3.1.1 (v3.1.1 [MQTT-3.1.3-8]), always in 5.0
    /// ([MQTT-3.1.3-6]).
    pub(crate) fn allows_empty_client_id(self, clean_start: bool) -> bool {
        match self {
            Self::V31 => false,
            Self::V311 => clean_start,
            Self::V5 => true,
        }
    }

    /// Returns whether a Password may come without a User Name: in 5.0 only (section 3.1.2.9), not in
    /// v3.1.1 [MQTT-3.1.2-22].
    pub(crate) fn allows_password_alone(self) -> bool {
        self.is_v5()
    }

    /// Returns whether the User Name and the Password may be missing though their flags are set: the
    /// Remaining Length takes precedence over the flags (v3.1 §3.1).
    pub(crate) fn allows_missing_credentials(self) -> bool {
        self == Self::V31
    }

    /// Returns whether CONNACK has the Session Present flag. In 3.1 its byte is unused (v3.1 §3.2).
    pub(crate) fn has_session_present(self) -> bool {
        self != Self::V31
    }

    /// Returns whether flags without a meaning are disregarded: MQTT 3.1 calls them not used (v3.1 §2.1,
    /// §3.1), the later versions reserve them.
    pub(crate) fn disregards_unused_flags(self) -> bool {
        self == Self::V31
    }

    /// Returns whether `flags` are legal in the fixed header of a packet other than PUBLISH
    /// ([MQTT-2.1.3-1]).
    ///
    /// MQTT 3.1 sends PUBREL, SUBSCRIBE and UNSUBSCRIBE again with DUP, and does not use the other flags of
    /// what a client sends (v3.1 §2.1). Those of CONNECT must be zero in all versions, because they are read
    /// before the version is.
    pub(crate) fn allows_flags(self, kind: PacketKind, flags: u8) -> bool {
        match kind {
            PacketKind::PubRel | PacketKind::Subscribe | PacketKind::Unsubscribe => {
                flags == 0b0010 || self.disregards_unused_flags()
            }
            PacketKind::PubAck
            | PacketKind::PubRec
            | PacketKind::PubComp
            | PacketKind::PingReq
            | PacketKind::Disconnect => flags == 0 || self.disregards_unused_flags(),
            PacketKind::Publish => true,
            PacketKind::Connect
            | PacketKind::ConnAck
            | PacketKind::SubAck
            | PacketKind::UnsubAck
            | PacketKind::PingResp
            | PacketKind::Auth => flags == 0,
        }
    }
}
