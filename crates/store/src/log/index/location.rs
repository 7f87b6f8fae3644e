//! Where a record lies.

/// Where a record lies: the last 20 bits of its segment's number, and its offset there.
///
/// Never more than 2^20 segments exist at once, so that locations of different records are different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location(u64);

impl Location {
    #[inline]
    pub(crate) fn new(segment: u64, offset: u64) -> Self {
        debug_assert!(offset <= u64::from(u32::MAX), "frames end before 4 GiB");
        Self((segment & SEGMENTS_MASK) << OFFSET_BITS | offset & OFFSET_MASK)
    }

    /// Returns the location in the lowest 52 bits of `bits`.
    #[inline]
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits & ((1 << Self::BITS) - 1))
    }

    #[inline]
    pub(crate) const fn to_bits(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) const fn offset(self) -> u64 {
        self.0 & OFFSET_MASK
    }

    /// Returns how far the record's segment is behind `oldest`, the oldest that exists.
    #[inline]
    pub(crate) const fn segments_after(self, oldest: u64) -> u64 {
        (self.0 >> OFFSET_BITS).wrapping_sub(oldest) & SEGMENTS_MASK
    }

    /// How many bits a location has.
    pub(crate) const BITS: u32 = 52;
}

/// There are never more segments than this.
pub(crate) const SEGMENTS_MAX: u64 = SEGMENTS_MASK;

const OFFSET_BITS: u32 = 32;

const OFFSET_MASK: u64 = (1 << OFFSET_BITS) - 1;

const SEGMENTS_MASK: u64 = (1 << (Location::BITS - OFFSET_BITS)) - 1;

#[cfg(test)]
mod tests {
    use super::Location;

    #[test]
    fn a_location_tells_segment_and_offset() {
        for oldest in [0, 7, (1 << 20) - 1, 1 << 20, (5 << 20) + 3] {
            for after in [0, 1, 1_000_000] {
                for offset in [0, 64, (1 << 30) - 1] {
                    let location = Location::new(oldest + after, offset);
                    assert_eq!(location.segments_after(oldest), after);
                    assert_eq!(location.offset(), offset);
                    assert_eq!(Location::from_bits(location.to_bits() | 0xFFF << 52), location);
                }
            }
        }
    }
}
