//! Keep alive as a client sees it: PINGREQ in time, and a watchdog on the broker.

use crate::Time;

/// When a PINGREQ is due, and when the broker is taken for dead.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeepAlive {
    /// Silence that calls for a PINGREQ; `None` is no keep alive.
    interval_millis: Option<u64>,
    /// How long the broker may take to say anything after it.
    patience_millis: u64,
    last_sent: Time,
    last_heard: Time,
    pinged_at: Option<Time>,
}

/// What the time asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
    /// The broker is silent.
    Dead,
}

impl KeepAlive {
    /// Starts at `now`, with the keep alive in force.
    ///
    /// Policy: three quarters of it pass before a PINGREQ, so that a timer that is late does not break the promise
    /// ([MQTT-3.1.2-20]).
    pub(super) fn new(keep_alive_secs: u16, patience_millis: u64, now: Time) -> Self {
        Self {
            interval_millis: (keep_alive_secs > 0).then(|| u64::from(keep_alive_secs) * 750),
            patience_millis,
            last_sent: now,
            last_heard: now,
            pinged_at: None,
        }
    }

    /// Notes that bytes were written.
    pub(super) fn sent(&mut self, now: Time) {
        self.last_sent = now;
    }

    /// Notes that bytes were read.
    ///
    /// Policy: any byte is a sign of life, since a PINGRESP may be far behind in what is on its way.
    pub(super) fn heard(&mut self, now: Time) {
        self.last_heard = now;
        self.pinged_at = None;
    }

    /// Notes that a PINGREQ was written.
    pub(super) fn pinged(&mut self, now: Time) {
        self.pinged_at = Some(now);
        self.last_sent = now;
    }

    /// Returns when something will be due.
    ///
    /// Policy: a PINGREQ also follows a silence of the broker, however much we send: otherwise a client that only
    /// publishes at QoS 0 would not notice that nobody is there.
    pub(super) fn deadline(&self) -> Option<Time> {
        let interval_millis = self.interval_millis?;
        Some(match self.pinged_at {
            Some(pinged_at) => {
                let next_ping = self.last_sent.plus_millis(interval_millis);
                pinged_at.plus_millis(self.patience_millis).min(next_ping)
            }
            None => self.last_sent.min(self.last_heard).plus_millis(interval_millis),
        })
    }

    /// Returns what is due.
    pub(super) fn due(&self, now: Time) -> Due {
        let is_dead = self.pinged_at.is_some_and(|it| now >= it.plus_millis(self.patience_millis));
        match self.deadline() {
            Some(_) if is_dead => Due::Dead,
            Some(deadline) if now >= deadline => Due::Ping,
            Some(_) | None => Due::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [MQTT-3.1.2-20], v3.1.1 [MQTT-3.1.2-23]
    #[test]
    fn silence_of_ours_is_broken_in_time() {
        let mut keep_alive = KeepAlive::new(10, 5_000, Time::ZERO);
        assert_eq!(keep_alive.due(at(7_499)), Due::Nothing);
        assert_eq!(keep_alive.due(at(7_500)), Due::Ping);
        keep_alive.sent(at(5_000));
        keep_alive.heard(at(5_000));
        assert_eq!(keep_alive.due(at(12_499)), Due::Nothing);
        assert_eq!(keep_alive.deadline(), Some(at(12_500)));
    }

    #[test]
    fn a_silent_broker_is_noticed_however_much_we_send() {
        let mut keep_alive = KeepAlive::new(10, 5_000, Time::ZERO);
        keep_alive.sent(at(7_000));
        assert_eq!(keep_alive.due(at(7_500)), Due::Ping);
        keep_alive.pinged(at(7_500));
        keep_alive.sent(at(12_000));
        assert_eq!(keep_alive.due(at(12_499)), Due::Nothing);
        assert_eq!(keep_alive.due(at(12_500)), Due::Dead);
        keep_alive.heard(at(12_500));
        assert_eq!(keep_alive.due(at(12_500)), Due::Nothing);
    }

    #[test]
    fn without_keep_alive_nothing_is_ever_due() {
        let keep_alive = KeepAlive::new(0, 5_000, Time::ZERO);
        assert_eq!(keep_alive.deadline(), None);
        assert_eq!(keep_alive.due(at(u64::MAX)), Due::Nothing);
    }

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }
}
