//! The only source of chance in a run: everything that differs between two seeds is drawn here.

use std::ops::Range;

/// A stream of numbers that its seed determines (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Returns the stream of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Begins a stream of its own, so that what is drawn from it changes nothing for others.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.draw())
    }

    /// Draws any number.
    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Draws a number of a range that is not empty.
    pub(crate) fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.draw() % (range.end - range.start)
    }

    /// Draws a number of a range, small ones as likely as large ones by order of magnitude.
    pub(crate) fn scattered(&mut self, range: Range<u64>) -> u64 {
        let span = range.end - range.start;
        let bits = u64::from(u64::BITS - span.leading_zeros());
        let width = 1u64 << self.within(0..bits + 1).min(63);
        range.start + self.draw() % width.min(span)
    }

    /// Returns true `percent` times in a hundred.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.within(0..100) < percent
    }

    /// Draws one of several.
    pub(crate) fn choose<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.within(0..of.len() as u64) as usize]
    }

    /// Draws an index by weight.
    pub(crate) fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut left = self.within(0..weights.iter().sum());
        weights
            .iter()
            .position(|weight| {
                let is_it = left < *weight;
                left = left.saturating_sub(*weight);
                is_it
            })
            .unwrap_or_default()
    }
}
