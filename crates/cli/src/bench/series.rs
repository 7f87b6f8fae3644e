//! How a load went from second to second: what arrived, and how long it had taken.
//!
//! A long run has longer intervals instead of more of them: when there is no room for another, each two
//! become one.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Latencies by the interval in which their messages arrived, from the start of the load.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    /// A power of two.
    interval_secs: u32,
    /// One for each interval, at most [`INTERVALS_MAX`]. They grow with what they hold, to about 14 KB.
    intervals: Vec<Histogram<u32>>,
}

/// A series as it is reported.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Course {
    /// How long each interval is.
    pub interval_secs: u32,
    /// From the start of the load, warm-up included; the last one may have been cut short.
    pub intervals: Vec<Interval>,
}

/// What arrived in one interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Interval {
    /// When it began.
    pub from_secs: u32,
    /// First arrivals.
    pub delivered: u64,
    /// Microseconds, to two significant digits; nothing if nothing arrived.
    pub p50: Option<u64>,
    pub p99: Option<u64>,
    pub p99_9: Option<u64>,
    pub max: Option<u64>,
}

impl Series {
    /// Returns a series in which nothing has arrived.
    pub(crate) fn new() -> Self {
        Self { interval_secs: 1, intervals: Vec::new() }
    }

    /// Notes a message that arrived `at_ns` after the start of the load and had taken `latency_ns`.
    #[inline]
    pub(crate) fn record(&mut self, at_ns: u64, latency_ns: u64) {
        let mut index = self.index(at_ns);
        while index >= INTERVALS_MAX {
            self.coarsen();
            index = self.index(at_ns);
        }
        if index >= self.intervals.len() {
            self.intervals.resize_with(index + 1, empty);
        }
        let micros = (latency_ns / 1_000).clamp(1, MICROS_MAX);
        self.intervals[index].record(micros).expect("it grows to the largest");
    }

    /// Adds the arrivals of `other`.
    pub(crate) fn add(&mut self, other: &Self) {
        let mut other = other.clone();
        while self.interval_secs < other.interval_secs {
            self.coarsen();
        }
        while other.interval_secs < self.interval_secs {
            other.coarsen();
        }
        if self.intervals.len() < other.intervals.len() {
            self.intervals.resize_with(other.intervals.len(), empty);
        }
        for (own, other) in self.intervals.iter_mut().zip(&other.intervals) {
            own.add(other).expect("it grows to the largest");
        }
    }

    /// Returns the figures, or `None` if nothing arrived.
    pub(crate) fn course(&self) -> Option<Course> {
        let interval = |(index, latencies): (usize, &Histogram<u32>)| {
            let quantile =
                |it: f64| (!latencies.is_empty()).then(|| latencies.value_at_quantile(it));
            Interval {
                from_secs: index as u32 * self.interval_secs,
                delivered: latencies.len(),
                p50: quantile(0.5),
                p99: quantile(0.99),
                p99_9: quantile(0.999),
                max: quantile(1.0),
            }
        };
        let intervals: Vec<Interval> = self.intervals.iter().enumerate().map(interval).collect();
        (!intervals.is_empty()).then_some(Course { interval_secs: self.interval_secs, intervals })
    }

    /// Makes one interval of each two.
    #[cold]
    fn coarsen(&mut self) {
        let merged = self.intervals.chunks(2).map(|pair| {
            let mut sum = empty();
            for part in pair {
                sum.add(part).expect("it grows to the largest");
            }
            sum
        });
        self.intervals = merged.collect();
        self.interval_secs *= 2;
    }

    fn index(&self, at_ns: u64) -> usize {
        (at_ns / (u64::from(self.interval_secs) * 1_000_000_000)) as usize
    }
}

fn empty() -> Histogram<u32> {
    Histogram::new(2).expect("two digits are legal")
}

/// Four minutes of seconds, or an hour of quarters of a minute: as many as a plot can show.
const INTERVALS_MAX: usize = 240;

/// An hour.
const MICROS_MAX: u64 = 3_600_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: u64 = 1_000_000_000;

    #[test]
    fn each_second_has_its_own_figures() {
        let mut series = Series::new();
        series.record(0, 10_000);
        series.record(SEC - 1, 20_000);
        series.record(2 * SEC, 90_000);
        let course = series.course().unwrap();
        let figures: Vec<_> = course.intervals.iter().map(|it| (it.delivered, it.max)).collect();
        assert_eq!(figures, [(2, Some(20)), (0, None), (1, Some(90))]);
    }

    #[test]
    fn a_long_run_has_longer_intervals() {
        let mut series = Series::new();
        for second in 0..1_000 {
            series.record(second * SEC, 5_000);
        }
        let course = series.course().unwrap();
        assert_eq!(course.interval_secs, 8);
        assert_eq!(course.intervals.len(), 125);
        assert!(course.intervals.iter().all(|it| it.delivered == 8));
        assert_eq!(course.intervals[1].from_secs, 8);
    }

    #[test]
    fn series_of_different_lengths_are_added() {
        let (mut short, mut long) = (Series::new(), Series::new());
        short.record(SEC, 1_000);
        long.record(300 * SEC, 1_000);
        for (left, right) in [(&short, &long), (&long, &short)] {
            let mut sum = left.clone();
            sum.add(right);
            let course = sum.course().unwrap();
            assert_eq!(course.interval_secs, 2);
            assert_eq!(course.intervals.iter().map(|it| it.delivered).sum::<u64>(), 2);
            assert_eq!((course.intervals[0].delivered, course.intervals[150].delivered), (1, 1));
        }
    }

    #[test]
    fn nothing_is_nothing() {
        assert_eq!(Series::new().course(), None);
    }
}
