//! What a store is told when it is opened.

use crate::WallMillis;

/// How a durable log is kept.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The size of a file of the log. One that has to hold a larger message is larger.
    pub segment_bytes: u64,
    /// What a completion promises.
    pub durability: Durability,
    /// Bytes of the disk that the log may use; at the limit it is as if the disk were full.
    pub disk_bytes_max: Option<u64>,
    /// The limits of each queue.
    pub limits: QueueLimits,
    /// When dead data is removed.
    pub cleaning: Cleaning,
    /// A log of more bytes than this is opened with the help of a snapshot of its index, so that not all of it has
    /// to be read before the broker serves its clients. What was not read is looked at afterwards.
    pub snapshot_bytes: u64,
    /// Bytes of messages submitted and not yet written from which on the store is
    /// [`Busy`](crate::Condition::Busy).
    pub backlog_bytes_max: u64,
    /// The wall clock's time when [`Time`](quelea_session::Time) was zero.
    pub wall_at_zero: WallMillis,
}

/// What it means that a submission is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The disk has it.
    Fsync,
    /// The system has it: it outlives the process, but not the machine. The disk has it `millis` later.
    Interval {
        /// The time between two syncs.
        millis: u64,
    },
}

/// The limits of each queue.
#[derive(Clone, Copy, Debug)]
pub struct QueueLimits {
    /// Messages never sent.
    pub queued_messages_max: u32,
    /// Their bytes, as counted by [`Message::size_bytes`](quelea_session::Message::size_bytes).
    pub queued_bytes_max: u64,
    /// The store drops the oldest from the queue of a session whose client is away. Otherwise the limits are kept
    /// by those who submit, and the store does not look at them.
    pub drops_oldest: bool,
}

/// When dead data is removed from the log.
#[derive(Clone, Copy, Debug)]
pub struct Cleaning {
    /// How many times larger than what is alive the log may be.
    pub ratio: u32,
    /// Bytes that it may have beyond that.
    pub slack_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            durability: Durability::Fsync,
            disk_bytes_max: None,
            limits: QueueLimits::default(),
            cleaning: Cleaning::default(),
            snapshot_bytes: 512 << 20,
            backlog_bytes_max: 16 << 20,
            wall_at_zero: WallMillis(0),
        }
    }
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { queued_messages_max: u32::MAX, queued_bytes_max: u64::MAX, drops_oldest: false }
    }
}

impl Default for Cleaning {
    fn default() -> Self {
        Self { ratio: 3, slack_bytes: 64 << 20 }
    }
}
