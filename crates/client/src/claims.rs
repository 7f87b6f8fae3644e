//! Messages at QoS 1 and 2 that nobody takes at present, in a session that outlives the process.
//!
//! A broker that has kept the session sends what waited at once, when a process that has just started may not have
//! made its subscriptions; and when one is about to end, its subscriptions go before its connection. Such a message is
//! held, unacknowledged, until a subscription claims it, or the connection ends and the broker keeps it. After some
//! time the application has certainly not forgotten to subscribe, but does not want to any more: then it is dropped,
//! because acknowledgements are in order, and it would hold back all others for ever.

use std::num::NonZeroU16;
use std::time::Duration;

use tokio::time::Instant;

use crate::message::Message;

/// The messages that wait to be claimed, in the order in which they came. Each has its receipt.
pub(crate) struct Claims {
    held: Vec<Message>,
    /// They wait until then, and after it none does.
    until: Option<Instant>,
    held_max: usize,
}

impl Claims {
    /// Holds as many messages as the broker may have under way.
    pub(crate) fn new(receive_maximum: NonZeroU16) -> Self {
        Self { held: Vec::new(), until: None, held_max: receive_maximum.get().into() }
    }

    /// Begins to hold messages, or goes on for longer.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.until = Some(now + PATIENCE);
    }

    /// Returns whether another message can be held.
    pub(crate) fn has_room(&self) -> bool {
        self.until.is_some() && self.held.len() < self.held_max
    }

    /// Holds a message. Only after [`Self::has_room`], or when it was held before.
    pub(crate) fn hold(&mut self, message: Message) {
        self.held.push(message);
    }

    /// Takes what is held, to look for receivers again.
    pub(crate) fn take(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.held)
    }

    /// Holds no more.
    pub(crate) fn end(&mut self) -> Vec<Message> {
        self.until = None;
        self.take()
    }

    /// Returns when nobody will claim them any more.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.until
    }
}

/// How long a message waits to be claimed.
const PATIENCE: Duration = Duration::from_secs(10);
