//! Distributions of microseconds.

use hdrhistogram::Histogram;
use serde::Serialize;

/// A distribution that is being filled: three significant digits, up to an hour.
#[derive(Debug, Clone)]
pub(crate) struct Latency(Histogram<u64>);

/// The figures of a distribution, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    /// How many were measured.
    pub count: u64,
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: u64,
    /// 90 % are not above it.
    pub p90: u64,
    /// 99 % are not above it.
    pub p99: u64,
    /// 99.9 % are not above it.
    pub p99_9: u64,
    /// The largest.
    pub max: u64,
}

impl Latency {
    /// Returns an empty distribution.
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, MICROS_MAX, 3);
        Self(histogram.expect("the bounds are legal"))
    }

    /// Adds one measurement.
    #[inline]
    pub(crate) fn record_ns(&mut self, nanos: u64) {
        self.0.saturating_record(nanos / 1_000);
    }

    /// Adds those of `other`.
    pub(crate) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("the bounds are the same");
    }

    /// Returns the figures, or `None` if nothing was measured.
    pub(crate) fn percentiles(&self) -> Option<Percentiles> {
        (!self.0.is_empty()).then(|| Percentiles {
            count: self.0.len(),
            mean: self.0.mean(),
            p50: self.0.value_at_quantile(0.5),
            p90: self.0.value_at_quantile(0.9),
            p99: self.0.value_at_quantile(0.99),
            p99_9: self.0.value_at_quantile(0.999),
            max: self.0.max(),
        })
    }
}

/// An hour.
const MICROS_MAX: u64 = 3_600_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut latency = Latency::new();
        assert_eq!(latency.percentiles(), None);
        for micros in 1..=1_000 {
            latency.record_ns(micros * 1_000);
        }
        let figures = latency.percentiles().unwrap();
        assert_eq!(figures.count, 1_000);
        assert_eq!((figures.p50, figures.p90, figures.p99), (500, 900, 990));
        assert_eq!((figures.p99_9, figures.max), (999, 1_000));
    }
}
