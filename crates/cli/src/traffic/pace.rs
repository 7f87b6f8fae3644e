//! When a message is due, and how late messages were.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

/// How fast a recording is replayed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Speed {
    /// So many times as fast as it was.
    Times(f64),
    /// As fast as the broker takes it.
    Max,
}

impl Speed {
    /// Reads a factor or `max`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let factor = text.strip_suffix('x').unwrap_or(text).parse::<f64>().ok();
        factor
            .filter(|it| it.is_finite() && (SPEED_MIN..=SPEED_MAX).contains(it))
            .map(Self::Times)
            .ok_or_else(|| "write a factor, such as 10 or 0.5, or max".to_owned())
    }

    /// Returns after how long a message is due that came `micros` after the beginning; nothing if it is due at once.
    pub(super) fn due(self, micros: u64) -> Option<Duration> {
        match self {
            Self::Times(factor) => Some(Duration::from_micros((micros as f64 / factor) as u64)),
            Self::Max => None,
        }
    }
}

/// How late messages were.
#[derive(Debug)]
pub(super) struct Lateness(Histogram<u64>);

impl Lateness {
    pub(super) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LATENESS_MICROS_MAX, 3).expect("these are bounds"))
    }

    /// Notes by how much a message was late.
    pub(super) fn note(&mut self, late: Duration) {
        self.0.saturating_record(u64::try_from(late.as_micros()).unwrap_or(u64::MAX));
    }
}

impl fmt::Display for Lateness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |micros: u64| micros as f64 / 1_000.0;
        let [p50, p99] = [0.5, 0.99].map(|it| millis(self.0.value_at_quantile(it)));
        let most = millis(self.0.max());
        write!(f, "late by {p50:.1} ms at the median, {p99:.1} ms at p99, {most:.1} ms at most")
    }
}

/// Slower than this is a mistake.
const SPEED_MIN: f64 = 1e-6;

/// Faster than this is `max`.
const SPEED_MAX: f64 = 1e9;

/// A day.
const LATENESS_MICROS_MAX: u64 = 86_400_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_read() {
        assert_eq!(Speed::parse("max"), Ok(Speed::Max));
        assert_eq!(Speed::parse("10"), Ok(Speed::Times(10.0)));
        assert_eq!(Speed::parse("0.5x"), Ok(Speed::Times(0.5)));
        for wrong in ["0", "-1", "fast", "NaN", "inf", ""] {
            Speed::parse(wrong).expect_err(wrong);
        }
    }

    #[test]
    fn faster_is_earlier() {
        let second = 1_000_000;
        assert_eq!(Speed::Times(1.0).due(second), Some(Duration::from_secs(1)));
        assert_eq!(Speed::Times(10.0).due(second), Some(Duration::from_millis(100)));
        assert_eq!(Speed::Times(0.5).due(second), Some(Duration::from_secs(2)));
        assert_eq!(Speed::Max.due(second), None);
        // However long the recording and however slow: there is no overflow.
        assert!(Speed::Times(SPEED_MIN).due(u64::MAX).is_some());
    }

    #[test]
    fn lateness_is_told_in_milliseconds() {
        let mut lateness = Lateness::new();
        for millis in 1..=100 {
            lateness.note(Duration::from_millis(millis));
        }
        let told = lateness.to_string();
        assert_eq!(told, "late by 50.0 ms at the median, 99.0 ms at p99, 100.0 ms at most");
    }
}
