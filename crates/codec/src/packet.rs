//! The fifteen packet types.

use alloc::vec::Vec;
use core::fmt;

use crate::{
    Ack, Auth, ConnAck, Connect, DecodeError, Disconnect, Frame, Malformed, Publish, SubAck,
    Subscribe, UnsubAck, Unsubscribe, Version,
};

/// A packet of any version, borrowed from its frame or from what it is built of.
#[derive(Clone, Debug, PartialEq)]
pub enum Packet<'a> {
    /// CONNECT.
    Connect(Connect<'a>),
    /// CONNACK.
    ConnAck(ConnAck<'a>),
    /// PUBLISH.
    Publish(Publish<'a>),
    /// PUBACK.
    PubAck(Ack<'a>),
    /// PUBREC.
    PubRec(Ack<'a>),
    /// PUBREL.
    PubRel(Ack<'a>),
    /// PUBCOMP.
    PubComp(Ack<'a>),
    /// SUBSCRIBE.
    Subscribe(Subscribe<'a>),
    /// SUBACK.
    SubAck(SubAck<'a>),
    /// UNSUBSCRIBE.
    Unsubscribe(Unsubscribe<'a>),
    /// UNSUBACK.
    UnsubAck(UnsubAck<'a>),
    /// PINGREQ.
    PingReq,
    /// PINGRESP.
    PingResp,
    /// DISCONNECT.
    Disconnect(Disconnect<'a>),
    /// AUTH, in 5.0 only.
    Auth(Auth<'a>),
}

/// The type of a packet, with its number in the fixed header (table 2-1).
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum PacketKind {
    /// CONNECT.
    Connect = 1,
    /// CONNACK.
    ConnAck = 2,
    /// PUBLISH.
    Publish = 3,
    /// PUBACK.
    PubAck = 4,
    /// PUBREC.
    PubRec = 5,
    /// PUBREL.
    PubRel = 6,
    /// PUBCOMP.
    PubComp = 7,
    /// SUBSCRIBE.
    Subscribe = 8,
    /// SUBACK.
    SubAck = 9,
    /// UNSUBSCRIBE.
    Unsubscribe = 10,
    /// UNSUBACK.
    UnsubAck = 11,
    /// PINGREQ.
    PingReq = 12,
    /// PINGRESP.
    PingResp = 13,
    /// DISCONNECT.
    Disconnect = 14,
    /// AUTH.
    Auth = 15,
}

impl<'a> Packet<'a> {
    /// Decodes the packet in `frame`, on a connection of `version`.
    ///
    /// A CONNECT names its own version and is decoded by that. A server rather calls [`Connect::decode`],
    /// whose error says what to answer.
    ///
    /// # Errors
    ///
    /// What is wrong with the packet by itself, whatever the state of the connection.
    pub fn decode(frame: Frame<'a>, version: Version) -> Result<Self, DecodeError> {
        let _ = (frame, version);
        Err(Malformed::PacketType.into())
    }

    /// Returns the packet's type.
    pub fn kind(&self) -> PacketKind {
        match self {
            Self::Connect(_) => PacketKind::Connect,
            Self::ConnAck(_) => PacketKind::ConnAck,
            Self::Publish(_) => PacketKind::Publish,
            Self::PubAck(_) => PacketKind::PubAck,
            Self::PubRec(_) => PacketKind::PubRec,
            Self::PubRel(_) => PacketKind::PubRel,
            Self::PubComp(_) => PacketKind::PubComp,
            Self::Subscribe(_) => PacketKind::Subscribe,
            Self::SubAck(_) => PacketKind::SubAck,
            Self::Unsubscribe(_) => PacketKind::Unsubscribe,
            Self::UnsubAck(_) => PacketKind::UnsubAck,
            Self::PingReq => PacketKind::PingReq,
            Self::PingResp => PacketKind::PingResp,
            Self::Disconnect(_) => PacketKind::Disconnect,
            Self::Auth(_) => PacketKind::Auth,
        }
    }

    /// Appends the packet to `out`, in the form of `version`; a CONNECT in the form of its own version.
    ///
    /// What the version has no place for is left out. The exact size is reserved once.
    ///
    /// # Panics
    ///
    /// When a field does not fit its place on the wire: a string above 65,535 bytes, a packet above
    /// 268,435,455 bytes, a PUBLISH at QoS 1 or 2 without a packet identifier.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        let _ = (version, out);
    }

    /// Returns the number of bytes that [`Self::encode`] appends.
    pub fn encoded_len(&self, version: Version) -> usize {
        let _ = version;
        0
    }
}

impl PacketKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 15] = [
        Self::Connect,
        Self::ConnAck,
        Self::Publish,
        Self::PubAck,
        Self::PubRec,
        Self::PubRel,
        Self::PubComp,
        Self::Subscribe,
        Self::SubAck,
        Self::Unsubscribe,
        Self::UnsubAck,
        Self::PingReq,
        Self::PingResp,
        Self::Disconnect,
        Self::Auth,
    ];

    /// Returns the kind of the packet that starts with `first_byte`, or `None` for the reserved type 0.
    #[inline]
    pub fn of_first_byte(first_byte: u8) -> Option<Self> {
        Self::ALL
            .get(usize::from(first_byte >> 4).wrapping_sub(1))
            .copied()
    }

    /// Returns the packet's name in the specification.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::ConnAck => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubAck => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::UnsubAck => "UNSUBACK",
            Self::PingReq => "PINGREQ",
            Self::PingResp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        }
    }
}

impl fmt::Display for PacketKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
