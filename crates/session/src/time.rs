//! Time as the caller tells it.

/// A moment of a monotonic clock that the caller reads, in milliseconds since a start that it chooses.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(u64);

impl Time {
    /// The start of the clock.
    pub const ZERO: Self = Self(0);

    /// Returns the moment `millis` after the clock's start.
    #[inline]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since the clock's start.
    #[inline]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Returns the moment `millis` later, or the last there is.
    #[inline]
    pub const fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Returns the moment `secs` later, or the last there is.
    #[inline]
    pub const fn plus_secs(self, secs: u32) -> Self {
        self.plus_millis(secs as u64 * 1000)
    }

    /// Returns the milliseconds from `earlier` to here; 0 if `earlier` is later.
    #[inline]
    pub const fn saturating_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
