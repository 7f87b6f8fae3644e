//! Packet identifiers.

use core::num::NonZeroU16;

/// The Packet Identifier of an exchange: never zero ([MQTT-2.2.1-3]).
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// Returns the identifier, or `None` for zero.
    #[inline]
    pub fn new(value: u16) -> Option<Self> {
        NonZeroU16::new(value).map(Self)
    }

    /// Returns the identifier as a number.
    #[inline]
    pub fn value(self) -> u16 {
        self.0.get()
    }
}

impl core::fmt::Display for PacketId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}
