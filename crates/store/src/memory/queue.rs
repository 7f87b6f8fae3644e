//! The queue of one session.

use std::collections::VecDeque;
use std::sync::Arc;

use quelea_session::{Message, Position};

use crate::{Attributes, Fetch, Fetched, FetchedEntry, QueueLimits, ShardIndex, Which};

/// What is to be delivered to one session, in order.
///
/// Its limits are kept by those who submit, or by [`Queue::drop_oldest`].
pub(super) struct Queue {
    /// The shard where the session lives.
    pub(super) home: ShardIndex,
    pub(super) is_connected: bool,
    /// The session is gone: only what has to be moved is left.
    pub(super) is_ghost: bool,
    /// Entries before this position may have been sent.
    sent_before: Position,
    /// The position of the next message.
    next: Position,
    /// By rising position.
    entries: VecDeque<Entry>,
    /// Entries that were never sent.
    waiting_messages: u32,
    /// Their bytes.
    waiting_bytes: u64,
}

pub(super) struct Entry {
    position: Position,
    /// Nothing once its client has received it.
    pub(super) message: Option<Arc<Message>>,
    pub(super) attributes: Attributes,
}

impl Queue {
    pub(super) fn new(home: ShardIndex) -> Self {
        Self {
            home,
            is_connected: true,
            is_ghost: false,
            sent_before: Position::new(0),
            next: Position::new(0),
            entries: VecDeque::new(),
            waiting_messages: 0,
            waiting_bytes: 0,
        }
    }

    /// Gives a message its position.
    pub(super) fn place(&mut self, message: Arc<Message>, attributes: Attributes) -> Position {
        let position = self.next;
        self.next = position.plus(1);
        let entry = Entry { position, message: Some(message), attributes };
        self.count(entry.waiting_bytes(self.sent_before), None);
        self.entries.push_back(entry);
        position
    }

    /// Takes an entry out.
    pub(super) fn finish(&mut self, position: Position) {
        if let Ok(index) = self.find(position) {
            self.remove(index);
        }
    }

    /// Forgets the message of an entry that its client has received.
    pub(super) fn release(&mut self, position: Position) {
        if let Ok(index) = self.find(position) {
            let entry = &mut self.entries[index];
            let was = entry.waiting_bytes(self.sent_before);
            entry.message = None;
            // What was received is nobody else's any more.
            entry.attributes.share = None;
            self.count(None, was);
        }
    }

    /// Moves the mark before which entries may have been sent.
    pub(super) fn set_sent_before(&mut self, sent_before: Position) {
        let (low, high) = (self.sent_before.min(sent_before), self.sent_before.max(sent_before));
        let from = self.entries.partition_point(|entry| entry.position < low);
        let to = self.entries.partition_point(|entry| entry.position < high);
        for index in from..to {
            let entry = &self.entries[index];
            let is = entry.waiting_bytes(sent_before);
            let was = entry.waiting_bytes(self.sent_before);
            self.count(is, was);
        }
        self.sent_before = sent_before;
    }

    /// Takes out what has waited longest and was never sent, until the queue is within `limits`. Returns how many
    /// messages went, and their bytes.
    pub(super) fn drop_oldest(&mut self, limits: &QueueLimits) -> (u32, u64) {
        let (mut messages, mut bytes) = (0, 0);
        while self.waiting_messages > limits.queued_messages_max
            || self.waiting_bytes > limits.queued_bytes_max
        {
            let first = self.entries.partition_point(|entry| entry.position < self.sent_before);
            let mut waiting = self.entries.range(first..);
            let Some(offset) = waiting.position(|entry| entry.message.is_some()) else { break };
            bytes += self.remove(first + offset).unwrap_or_default();
            messages += 1;
        }
        (messages, bytes)
    }

    /// Takes out all that no shared group has chosen the session for.
    pub(super) fn keep_shared(&mut self) {
        self.entries.retain(|entry| entry.attributes.share.is_some());
    }

    pub(super) fn fetch(&self, fetch: &Fetch) -> Fetched {
        let mut fetched = Fetched {
            session: fetch.session,
            token: fetch.token,
            which: fetch.which,
            entries: Vec::new(),
            next: self.next.max(fetch.from),
            is_last: true,
        };
        let from = self.entries.partition_point(|entry| entry.position < fetch.from);
        let entries = self.entries.range(from..).filter(|entry| match fetch.which {
            Which::All => true,
            Which::Shared => entry.attributes.share.is_some(),
        });
        let mut bytes = 0;
        for entry in entries {
            let count = fetched.entries.len() as u32;
            if count > 0 && (count >= fetch.entries_max || bytes >= fetch.bytes_max) {
                fetched.next = entry.position;
                fetched.is_last = false;
                break;
            }
            bytes += entry.message.as_ref().map_or(0, |message| message.size_bytes() as u64);
            fetched.entries.push(FetchedEntry {
                position: entry.position,
                message: entry.message.clone(),
                attributes: entry.attributes.clone(),
            });
        }
        fetched
    }

    pub(super) fn last(&self) -> Option<&Entry> {
        self.entries.back()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes an entry out. Returns its bytes if it was waiting.
    fn remove(&mut self, index: usize) -> Option<u64> {
        let entry = self.entries.remove(index)?;
        let was = entry.waiting_bytes(self.sent_before);
        self.count(None, was);
        was
    }

    /// Counts an entry that `is` waiting with so many bytes and `was` with so many.
    fn count(&mut self, is: Option<u64>, was: Option<u64>) {
        if let Some(bytes) = is {
            self.waiting_messages += 1;
            self.waiting_bytes += bytes;
        }
        if let Some(bytes) = was {
            self.waiting_messages -= 1;
            self.waiting_bytes -= bytes;
        }
    }

    fn find(&self, position: Position) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&position, |entry| entry.position)
    }
}

impl Entry {
    /// Returns what a message counts for that was never sent.
    fn waiting_bytes(&self, sent_before: Position) -> Option<u64> {
        let message = self.message.as_ref().filter(|_| self.position >= sent_before)?;
        // A retained message is kept by its topic.
        let is_own = self.attributes.retained_order == 0;
        Some(if is_own { message.size_bytes() as u64 } else { 0 })
    }
}
