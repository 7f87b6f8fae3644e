//! Messages of a session that have not been sent.

use alloc::collections::VecDeque;

use quelea_codec::QoS;

use crate::delivery::Entry;
use crate::position::Position;

/// How much a session may have queued. Reaching either limit is the session's full queue.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// Messages.
    pub queued_messages_max: u32,
    /// Bytes, as counted by [`Message::size_bytes`](crate::Message::size_bytes) for each queued message,
    /// though sessions may share it.
    pub queued_bytes_max: u64,
    /// What a full queue does.
    pub overflow: Overflow,
}

/// What a full queue does with one more message. What was sent once is in no queue and is never dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The new message is dropped.
    #[default]
    RejectNewest,
    /// The oldest make room for it, unless it could not fit into an empty queue.
    DropOldest,
}

/// The queue of one session, in the order in which it is sent: of a durable session the head only, by rising
/// position.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    entries: VecDeque<Entry>,
    /// The sum of the entries' sizes.
    bytes: u64,
}

impl Queue {
    pub(crate) fn push_back(&mut self, entry: Entry) {
        self.bytes += entry.size_bytes();
        self.entries.push_back(entry);
    }

    pub(crate) fn pop_front(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.size_bytes();
        Some(entry)
    }

    /// Takes out the entry at `position`, of a queue whose positions rise.
    pub(crate) fn remove(&mut self, position: Position) -> Option<Entry> {
        let index = self.entries.binary_search_by_key(&position, |entry| entry.position).ok()?;
        let entry = self.entries.remove(index)?;
        self.bytes -= entry.size_bytes();
        Some(entry)
    }

    /// Takes out the entries that `is_taken` chooses; the others keep their order.
    pub(crate) fn extract(
        &mut self,
        mut is_taken: impl FnMut(&Entry) -> bool,
        mut take: impl FnMut(Entry),
    ) {
        if !self.entries.iter().any(&mut is_taken) {
            return;
        }
        let mut kept = VecDeque::with_capacity(self.entries.len());
        for entry in self.entries.drain(..) {
            if is_taken(&entry) {
                self.bytes -= entry.size_bytes();
                take(entry);
            } else {
                kept.push_back(entry);
            }
        }
        self.entries = kept;
    }

    /// Gives back room beyond what the entries need.
    pub(crate) fn shrink(&mut self) {
        self.entries.shrink_to_fit();
    }

    pub(crate) fn back(&self) -> Option<&Entry> {
        self.entries.back()
    }

    pub(crate) fn front(&self) -> Option<&Entry> {
        self.entries.front()
    }

    /// Returns whether nothing of the queue will be acknowledged.
    pub(crate) fn is_at_most_once(&self) -> bool {
        self.entries.iter().all(|entry| entry.qos == QoS::AtMostOnce)
    }

    /// Returns whether an entry of `size_bytes` fits.
    pub(crate) fn has_room(&self, size_bytes: u64, limits: &SessionLimits) -> bool {
        self.entries.len() < limits.queued_messages_max as usize
            && self.bytes.saturating_add(size_bytes) <= limits.queued_bytes_max
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}
