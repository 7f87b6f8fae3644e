//! The fifteen packet types.

use alloc::vec::Vec;
use core::fmt;

use crate::property::Place;
use crate::read::Reader;
use crate::write::{Count, Sink, variable_len};
use crate::{
    Ack, Auth, ConnAck, Connect, DecodeError, Disconnect, Frame, Malformed, Publish, SubAck,
    Subscribe, UnsubAck, Unsubscribe, Version, decode_publish,
};

/// A packet of any version, borrowed from its frame or from what it is built of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        let kind = PacketKind::of_first_byte(frame.first_byte).ok_or(Malformed::PacketType)?;
        if !version.allows_flags(kind, frame.first_byte & 0x0F) {
            return Err(Malformed::FixedHeaderFlags.into());
        }
        let reader = Reader::new(frame.body);
        match kind {
            PacketKind::Connect => Ok(Self::Connect(Connect::decode(frame)?)),
            PacketKind::ConnAck => ConnAck::decode(reader, version).map(Self::ConnAck),
            PacketKind::Publish => decode_publish(frame, version).map(Self::Publish),
            PacketKind::PubAck => {
                Ack::decode(kind, Place::PubAck, reader, version).map(Self::PubAck)
            }
            PacketKind::PubRec => {
                Ack::decode(kind, Place::PubRec, reader, version).map(Self::PubRec)
            }
            PacketKind::PubRel => {
                Ack::decode(kind, Place::PubRel, reader, version).map(Self::PubRel)
            }
            PacketKind::PubComp => {
                Ack::decode(kind, Place::PubComp, reader, version).map(Self::PubComp)
            }
            PacketKind::Subscribe => Subscribe::decode(reader, version).map(Self::Subscribe),
            PacketKind::SubAck => SubAck::decode(reader, version).map(Self::SubAck),
            PacketKind::Unsubscribe => Unsubscribe::decode(reader, version).map(Self::Unsubscribe),
            PacketKind::UnsubAck => UnsubAck::decode(reader, version).map(Self::UnsubAck),
            PacketKind::PingReq => Ok(reader.finish().map(|()| Self::PingReq)?),
            PacketKind::PingResp => Ok(reader.finish().map(|()| Self::PingResp)?),
            PacketKind::Disconnect => Disconnect::decode(reader, version).map(Self::Disconnect),
            PacketKind::Auth if version.is_v5() => Auth::decode(reader).map(Self::Auth),
            PacketKind::Auth => Err(Malformed::PacketType.into()),
        }
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
        self.encode_as(self.first_byte(), version, out);
    }

    /// Appends the packet with another first byte: acknowledgements of PUBLISH differ in nothing else.
    pub(crate) fn encode_as(&self, first_byte: u8, version: Version, out: &mut Vec<u8>) {
        let remaining = self.body_len(version);
        out.reserve(1 + variable_len(remaining) + remaining);
        out.push(first_byte);
        out.variable(remaining);
        self.write_body(version, out);
    }

    /// Returns the number of bytes that [`Self::encode`] appends.
    pub fn encoded_len(&self, version: Version) -> usize {
        let remaining = self.body_len(version);
        1 + variable_len(remaining) + remaining
    }

    /// Returns the Remaining Length.
    fn body_len(&self, version: Version) -> usize {
        let mut count = Count(0);
        self.write_body(version, &mut count);
        count.0
    }

    fn first_byte(&self) -> u8 {
        match self {
            Self::Publish(publish) => publish.first_byte(),
            Self::PubRel(_) | Self::Subscribe(_) | Self::Unsubscribe(_) => {
                (self.kind() as u8) << 4 | 0b0010
            }
            Self::Connect(_)
            | Self::ConnAck(_)
            | Self::PubAck(_)
            | Self::PubRec(_)
            | Self::PubComp(_)
            | Self::SubAck(_)
            | Self::UnsubAck(_)
            | Self::PingReq
            | Self::PingResp
            | Self::Disconnect(_)
            | Self::Auth(_) => (self.kind() as u8) << 4,
        }
    }

    /// Writes variable header and payload.
    fn write_body<S: Sink>(&self, version: Version, sink: &mut S) {
        match self {
            Self::Connect(connect) => connect.write_body(sink),
            Self::ConnAck(connack) => connack.write_body(version, sink),
            Self::Publish(publish) => publish.write_body(version, sink),
            Self::PubAck(ack) | Self::PubRec(ack) | Self::PubRel(ack) | Self::PubComp(ack) => {
                ack.write_body(version, sink);
            }
            Self::Subscribe(subscribe) => subscribe.write_body(version, sink),
            Self::SubAck(suback) => suback.write_body(version, sink),
            Self::Unsubscribe(unsubscribe) => unsubscribe.write_body(version, sink),
            Self::UnsubAck(unsuback) => unsuback.write_body(version, sink),
            Self::PingReq | Self::PingResp => {}
            Self::Disconnect(disconnect) => disconnect.write_body(version, sink),
            Self::Auth(auth) => auth.write_body(sink),
        }
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
        Self::ALL.get(usize::from(first_byte >> 4).wrapping_sub(1)).copied()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notation::{check_fault, check_packet};

    #[test]
    fn pings() {
        check_packet(&Version::ALL, 0xC0, "", &Packet::PingReq);
        check_packet(&Version::ALL, 0xD0, "", &Packet::PingResp);
        check_fault(&Version::ALL, 0xC0, "00", Malformed::TrailingBytes);
        check_fault(&Version::ALL, 0xD0, "00", Malformed::TrailingBytes);
    }

    /// [MQTT-2.1.3-1], v3.1.1 [MQTT-2.2.2-2]
    #[test]
    fn reserved_flags() {
        for kind in PacketKind::ALL.into_iter().filter(|&kind| kind != PacketKind::Publish) {
            for flags in 0..16 {
                for version in Version::ALL {
                    let frame = Frame { first_byte: (kind as u8) << 4 | flags, body: &[] };
                    let is_fault =
                        Packet::decode(frame, version) == Err(Malformed::FixedHeaderFlags.into());
                    assert_eq!(
                        is_fault,
                        !version.allows_flags(kind, flags),
                        "{version:?} {kind} {flags:04b}"
                    );
                }
            }
        }
        let reserved = Frame { first_byte: 0x00, body: &[] };
        assert_eq!(Packet::decode(reserved, Version::V5), Err(Malformed::PacketType.into()));
    }

    #[test]
    fn kinds_have_their_numbers() {
        for (index, kind) in PacketKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index + 1);
            assert_eq!(PacketKind::of_first_byte((kind as u8) << 4 | 0x0F), Some(kind));
        }
        assert_eq!(PacketKind::of_first_byte(0x0F), None);
    }
}
