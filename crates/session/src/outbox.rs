//! Where a session writes, and what it tells its host beside.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::delivery::DropReason;
use crate::message::Message;
use crate::position::Position;

/// The bytes on their way to the peer, and how many there may be.
///
/// The limit holds back messages, and nothing else: whoever sees it not full may append one packet, so that it
/// is exceeded by one message at most; acknowledgements are always appended ([MQTT-3.3.4-10]).
#[derive(Debug)]
pub struct Outbox<'a> {
    /// Bytes that the socket has not taken, behind some that it has.
    pub buffer: &'a mut Vec<u8>,
    /// How many bytes at the start of `buffer` the socket has taken.
    pub unsent_before: usize,
    /// How many unsent bytes hold back further messages.
    pub bytes_max: usize,
}

/// What happened that the host must act on or count: scratch that it lends, reads and clears.
#[derive(Debug, Default)]
pub struct Effects {
    /// Positions of a durable session whose entry can leave the store.
    pub finished: Vec<Position>,
    /// Messages dropped that no return value reports, for counting and logging. The host may add its own, without
    /// the message if it is not in memory.
    pub drops: Vec<(DropReason, Option<Arc<Message>>)>,
    /// How many PUBLISH packets were written.
    pub sent: u32,
    /// How many messages of a durable session are no longer among those that were never sent: they were sent for
    /// the first time, dropped, superseded or withdrawn. What was restored as sent had left before, and what a
    /// disconnection takes from memory does not leave.
    pub left_messages: u32,
    /// What those count for: [`Message::size_bytes`] of each, and 0 for a retained one.
    pub left_bytes: u64,
}

impl Outbox<'_> {
    /// Returns whether messages have to wait.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.buffer.len().saturating_sub(self.unsent_before) >= self.bytes_max
    }
}

impl Effects {
    /// Forgets everything, and keeps the room for more.
    pub fn clear(&mut self) {
        self.finished.clear();
        self.drops.clear();
        self.sent = 0;
        self.left_messages = 0;
        self.left_bytes = 0;
    }
}
