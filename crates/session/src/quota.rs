//! How many QoS 1 and 2 messages may be under way on a connection (section 4.9).
//!
//! Both sides of it belong to the connection and vanish with it. Which messages are under way is the session's
//! business.

/// What we may still send: the peer's Receive Maximum at work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SendQuota {
    start: u16,
    left: u16,
}

/// What the peer may still send: our Receive Maximum at work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceiveQuota {
    maximum: u16,
    /// At most `maximum`.
    open: u16,
}

impl SendQuota {
    /// Returns a whole quota of `start`, which is not 0 ([MQTT-4.9.0-1]).
    pub(crate) fn new(start: u16) -> Self {
        Self { start, left: start }
    }

    /// Takes one, for a PUBLISH ([MQTT-4.9.0-2]). Only after [`Self::is_open`].
    #[inline]
    pub(crate) fn take(&mut self) {
        debug_assert!(self.left > 0, "asked before taking");
        self.left = self.left.saturating_sub(1);
    }

    /// Gives one back. It never rises above its start, whatever the peer acknowledges.
    #[inline]
    pub(crate) fn give_back(&mut self) {
        if self.left < self.start {
            self.left += 1;
        }
    }

    /// Returns whether a PUBLISH may be sent.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.left > 0
    }

    pub(crate) fn start(&self) -> u16 {
        self.start
    }
}

impl ReceiveQuota {
    pub(crate) fn new(maximum: u16) -> Self {
        Self { maximum, open: 0 }
    }

    /// Counts a PUBLISH in, and returns whether there was room for it ([MQTT-3.3.4-7]).
    #[inline]
    pub(crate) fn try_take(&mut self) -> bool {
        let has_room = self.open < self.maximum;
        if has_room {
            self.open += 1;
        }
        has_room
    }

    /// Counts a PUBLISH out.
    #[inline]
    pub(crate) fn give_back(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    /// Allows one more, for the rest of the connection.
    pub(crate) fn widen(&mut self) {
        self.maximum = self.maximum.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::{ReceiveQuota, SendQuota};

    /// [MQTT-4.9.0-2], and section 4.9: not incremented if already equal to the initial quota.
    #[test]
    fn send_quota_stays_between_zero_and_its_start() {
        let mut quota = SendQuota::new(2);
        quota.give_back();
        quota.take();
        quota.take();
        assert!(!quota.is_open());
        quota.give_back();
        assert!(quota.is_open());
    }

    /// [MQTT-3.3.4-7]
    #[test]
    fn receive_quota_refuses_one_above_the_maximum() {
        let mut quota = ReceiveQuota::new(1);
        quota.give_back();
        assert!(quota.try_take());
        assert!(!quota.try_take());
        quota.give_back();
        assert!(quota.try_take());
    }
}
