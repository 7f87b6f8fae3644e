//! Places in a session's outbound order, and the packet identifiers that follow from them.

use core::num::NonZeroU32;

use quelea_codec::PacketId;

/// The place of a message in the outbound order of one session: of any at QoS 1 or 2, and of one at QoS 0 that was
/// kept for a client that was away.
///
/// It never changes and is never used again, and the packet identifier follows from it: so a message that is
/// sent again has its original identifier ([MQTT-4.4.0-1]) without anyone having written it down.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(u64);

/// The shared subscription that a delivery came from. The host knows which one it means.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupId(NonZeroU32);

impl Position {
    /// Returns the position numbered `value`.
    #[inline]
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// Returns the position's number.
    #[inline]
    pub const fn value(self) -> u64 {
        self.0
    }

    /// Returns the packet identifier of the message at this position.
    #[inline]
    pub fn packet_id(self) -> PacketId {
        let id = 1 + self.0 % PACKET_ID_COUNT;
        PacketId::new(id as u16).expect("1 + n % 65,535 is from 1 to 65,535")
    }

    /// Returns the position `count` later.
    #[inline]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }

    /// Returns how many positions `earlier` is before this one.
    #[inline]
    pub(crate) const fn distance_from(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl GroupId {
    /// Returns the group numbered `value`, or `None` for 0.
    #[inline]
    pub fn new(value: u32) -> Option<Self> {
        NonZeroU32::new(value).map(Self)
    }

    /// Returns the group's number.
    #[inline]
    pub fn value(self) -> u32 {
        self.0.get()
    }
}

/// How many packet identifiers there are: all of 16 bits but 0.
pub(crate) const PACKET_ID_COUNT: u64 = 65_535;

#[cfg(test)]
mod tests {
    use super::Position;

    /// [MQTT-2.2.1-3] identifiers are never 0, and 65,535 positions in a row have different ones.
    #[test]
    fn packet_ids_follow_from_positions() {
        for (position, id) in [(0, 1), (1, 2), (65_534, 65_535), (65_535, 1), (65_536, 2)] {
            assert_eq!(Position::new(position).packet_id().value(), id, "{position}");
        }
    }
}
