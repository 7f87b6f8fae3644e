//! When the messages of a flow are to be sent.

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
    },
    /// One message, when the measurement begins.
    Once {
        /// In nanoseconds from the start.
        at_ns: u64,
    },
}

impl Pacing {
    /// Returns the share of flow number `flow` of `flow_count` in `rate` messages a second: one flow after
    /// the other sends, and each rests equally long.
    pub(crate) fn even(rate: f64, flow: u32, flow_count: u32) -> Self {
        let apart_ns = 1e9 / rate;
        Self::Even {
            first_ns: apart_ns * f64::from(flow),
            step_ns: apart_ns * f64::from(flow_count),
        }
    }

    /// Returns when message number `sequence` is to be sent, in nanoseconds from the start, or `None` if no
    /// time is set for it.
    pub(crate) fn due_ns(self, sequence: u32) -> Option<u64> {
        match self {
            Self::Closed { .. } => None,
            Self::Even { first_ns, step_ns } => {
                Some((first_ns + step_ns * f64::from(sequence)) as u64)
            }
            Self::Once { at_ns } => (sequence == 0).then_some(at_ns),
        }
    }

    /// Returns whether the flow waits for its messages to arrive.
    pub(crate) fn is_closed(self) -> bool {
        matches!(self, Self::Closed { .. })
    }
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
        let flows: Vec<Pacing> = (0..4).map(|flow| Pacing::even(1_000.0, flow, 4)).collect();
        let mut turn = Turn::default();
        for message in 0..12 {
            let due_ns = flows[turn.flow].due_ns(turn.sequence);
            assert_eq!(due_ns, Some(message * 1_000_000), "message {message}");
            turn = turn.following(flows.len());
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
