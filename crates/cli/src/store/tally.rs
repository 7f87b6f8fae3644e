//! How much there is in a log.

use std::fmt;

use quelea_store::{Item, StoredMessage};

/// How much there is in a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    sessions: u64,
    subscriptions: u64,
    wills: u64,
    /// Inbound QoS 2 exchanges that are not complete.
    inbound: u64,
    retained: u64,
    /// Places in queues.
    queued: u64,
    /// Bytes of the topics, properties and payloads of the messages that are queued, each counted once.
    queued_bytes: u64,
}

impl Tally {
    /// Counts an item.
    pub(super) fn add(&mut self, item: &Item) {
        match item {
            Item::Session(it) => {
                self.sessions += 1;
                self.subscriptions += it.session.subscriptions.len() as u64;
                self.wills += u64::from(it.session.will.is_some());
                self.inbound += it.session.received.len() as u64;
            }
            Item::Message(it) => {
                self.retained += u64::from(it.retain.is_some());
                self.queued += it.targets.len() as u64;
                if !it.targets.is_empty() {
                    self.queued_bytes += bytes(it);
                }
            }
            Item::Received { .. } => self.queued += 1,
            Item::Mark { .. } | Item::Ghost { .. } => {}
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sessions, subscriptions, wills, inbound, retained, queued, queued_bytes } = self;
        write!(
            f,
            "{sessions} sessions, {subscriptions} subscriptions, {wills} wills, {inbound} incoming QoS 2 exchanges, \
             {retained} retained messages, {queued} queued messages ({queued_bytes} bytes)"
        )
    }
}

fn bytes(it: &StoredMessage) -> u64 {
    let content = it.message.content();
    (content.topic.len() + content.forwarded.len() + content.payload.len()) as u64
}
