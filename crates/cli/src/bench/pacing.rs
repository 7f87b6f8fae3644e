//! When the messages of a flow are to be sent.

use std::time::Duration;

/// The rhythm of one flow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pacing {
    /// The next message goes when fewer than `window` are on their way.
    Closed {
        /// Messages that are sent and have not arrived everywhere, at most.
        window: u32,
    },
    /// At even distances.
    Even {
        /// When the first message goes, in nanoseconds from the start.
        first_ns: f64,
        /// From one message to the next.
        step_ns: f64,
        /// How long the rate takes to grow to that, from nothing.
        ramp_ns: f64,
    },
    /// One message, when the measurement begins.
    Once {
        /// In nanoseconds from the start.
        at_ns: u64,
    },
}

impl Pacing {
    /// Returns the share of flow number `flow` of `flow_count` in `rate` messages a second: one flow after
    /// the other sends, and each rests equally long. The rate takes `ramp` to grow.
    pub(crate) fn even(rate: f64, ramp: Duration, flow: u32, flow_count: u32) -> Self {
        let apart_ns = 1e9 / rate;
        Self::Even {
            first_ns: apart_ns * f64::from(flow),
            step_ns: apart_ns * f64::from(flow_count),
            ramp_ns: ramp.as_nanos() as f64,
        }
    }

    /// Returns when message number `sequence` is to be sent, in nanoseconds from the start, or `None` if no
    /// time is set for it.
    pub(crate) fn due_ns(self, sequence: u32) -> Option<u64> {
        match self {
            Self::Closed { .. } => None,
            Self::Even { first_ns, step_ns, ramp_ns } => {
                let even_ns = first_ns + step_ns * f64::from(sequence);
                Some(ramped_ns(even_ns, ramp_ns) as u64)
            }
            Self::Once { at_ns } => (sequence == 0).then_some(at_ns),
        }
    }

    /// Returns whether the flow waits for its messages to arrive.
    pub(crate) fn is_closed(self) -> bool {
        matches!(self, Self::Closed { .. })
    }
}

/// Returns when that is to happen which would at `even_ns` if the rate were there from the start, and does not
/// take `ramp_ns` to grow.
///
/// In the ramp, `t * t / (2 * ramp)` of the time's work is done at `t`, and half of the ramp's at its end.
pub(crate) fn ramped_ns(even_ns: f64, ramp_ns: f64) -> f64 {
    if even_ns < ramp_ns / 2.0 { (2.0 * ramp_ns * even_ns).sqrt() } else { even_ns + ramp_ns / 2.0 }
}

/// The next message that is due among flows of equal rhythm: one of each flow in turn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turn {
    /// The flow whose message is next.
    pub flow: usize,
    /// The number of that message in its flow.
    pub sequence: u32,
}

impl Turn {
    /// Returns what comes after this, among `flow_count` flows.
    pub(crate) fn following(self, flow_count: usize) -> Self {
        if self.flow + 1 < flow_count {
            Self { flow: self.flow + 1, ..self }
        } else {
            Self { flow: 0, sequence: self.sequence + 1 }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_rate_is_spread_over_flows_and_time() {
        let flows: Vec<Pacing> =
            (0..4).map(|flow| Pacing::even(1_000.0, Duration::ZERO, flow, 4)).collect();
        let mut turn = Turn::default();
        for message in 0..12 {
            let due_ns = flows[turn.flow].due_ns(turn.sequence);
            assert_eq!(due_ns, Some(message * 1_000_000), "message {message}");
            turn = turn.following(flows.len());
        }
    }

    #[test]
    fn a_ramp_sends_half_as_much_and_ends_at_the_rate() {
        let pacing = Pacing::even(1_000.0, Duration::from_secs(4), 0, 1);
        let due_ms = |sequence| pacing.due_ns(sequence).map(|it| it / 1_000_000);
        assert_eq!(due_ms(0), Some(0));
        // A quarter of the ramp's messages in its first half.
        assert_eq!(due_ms(500), Some(2_000));
        assert_eq!(due_ms(2_000), Some(4_000));
        assert_eq!(due_ms(2_001), Some(4_001));
        let mut last_ns = 0;
        for sequence in 1..3_000 {
            let due_ns = pacing.due_ns(sequence).unwrap();
            assert!(due_ns > last_ns, "message {sequence}");
            last_ns = due_ns;
        }
    }

    #[test]
    fn a_closed_loop_has_no_times() {
        assert_eq!(Pacing::Closed { window: 1 }.due_ns(0), None);
    }

    #[test]
    fn once_is_once() {
        let once = Pacing::Once { at_ns: 5 };
        assert_eq!(once.due_ns(0), Some(5));
        assert_eq!(once.due_ns(1), None);
    }
}
