//! `--count` and `--rate`: how many messages come, instead of the messages.

use std::time::{Duration, Instant};

use quelea_client::Message;

/// Counts messages.
#[derive(Debug)]
pub(crate) struct Tally {
    begun: Instant,
    all: Counts,
    /// At the last line of rates, and when that was.
    told: (Counts, Instant),
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    messages: u64,
    payload_bytes: u64,
    retained: u64,
    duplicates: u64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self { begun: now, all: Counts::default(), told: (Counts::default(), now) }
    }

    pub(crate) fn count(&mut self, message: &Message) {
        self.all.messages += 1;
        self.all.payload_bytes += message.payload().len() as u64;
        self.all.retained += u64::from(message.is_retained());
        self.all.duplicates += u64::from(message.is_duplicate());
    }

    /// Returns the line of all that has come.
    pub(crate) fn sum(&self) -> String {
        let Counts { messages, payload_bytes, retained, duplicates } = self.all;
        let rate = Rate::of(messages, self.begun.elapsed());
        let secs = self.begun.elapsed().as_secs_f64();
        format!(
            "{messages} messages, {payload_bytes} bytes, {retained} retained, {duplicates} duplicates in {secs:.1} s: {rate} messages/s"
        )
    }

    /// Returns the line of what has come since the last.
    pub(crate) fn rates(&mut self) -> String {
        let now = Instant::now();
        let (before, then) = std::mem::replace(&mut self.told, (self.all, now));
        let past = now - then;
        let messages = Rate::of(self.all.messages - before.messages, past);
        let bytes = Rate::of(self.all.payload_bytes - before.payload_bytes, past);
        format!("{messages} messages/s, {bytes} bytes/s")
    }
}

/// How many in a second.
struct Rate(f64);

impl Rate {
    fn of(count: u64, past: Duration) -> Self {
        Self(count as f64 / past.as_secs_f64().max(1e-9))
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Below a hundred the fraction says something.
        let digits = if self.0 < 100.0 { 1 } else { 0 };
        write!(f, "{:.digits$}", self.0)
    }
}
