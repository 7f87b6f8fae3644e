//! What a broker must remember, as operations with numbered submissions and completions.
//!
//! A shard gathers the operations of one turn and submits them together. The store makes them
//! durable, in submission order for each shard, and answers through [`Completions`], never inside
//! the call that submitted: a shard is never entered while it is running. Whatever promises
//! something to a peer (a PUBACK, a CONNACK with a session, a PUBCOMP) waits for the completion
//! of the submission that it depends on.
//!
//! The store gives a message its place in each target session's queue: the shards that publish do
//! not own the sessions they publish to, and the order of the log is the only order there is.
//!
//! It keeps the queues, too. While a session's client is away nothing of its queue is anywhere
//! else; when it is back, its shard [fetches](Operation::Fetch) the entries a few at a time.
//!
//! [`Memory`] keeps everything in memory; it serves `--in-memory`, tests and simulation.

mod log;
mod memory;
mod operation;
mod options;
mod outcomes;
mod recovered;

use std::fmt;
use std::sync::Arc;

use quelea_session::Message;

pub use log::{
    Appended, Chore, ChoreDone, Contents, Disk, Engine, Item, Log, LogFile, Lookup, Loss,
    OpenError, RealDisk, SimulatedDisk, SimulatedFile, StoredMessage, StoredSession, StoredTarget,
    Strictness, WriteError, Writer,
};
pub use memory::Memory;
pub use operation::{
    Attributes, Batch, CursorPlace, Dropped, Fetch, Fetched, FetchedEntry, Operation, Placed,
    Presence, SessionIdentity, SessionNumber, ShardIndex, StoredWill, Submission, Target,
    WallMillis, Which,
};
pub use options::{Cleaning, Durability, Options, QueueLimits};
pub use outcomes::Outcomes;
pub use recovered::{
    Recovered, RecoveredRetained, RecoveredSession, RecoveredSubscription, Report,
};

/// Where operations go. One value is shared by all shards.
pub trait Store: Send + Sync {
    /// Returns the number of a session that is about to start.
    fn new_session(&self) -> SessionNumber;

    /// Takes operations of `shard`, atomic all together.
    ///
    /// [`Completions::durable`] is called with the batch's last number, or with a later one, when all of
    /// them are as safe as the store makes them.
    fn submit(&self, shard: ShardIndex, batch: Batch);

    /// Returns what the store can take at this moment.
    fn condition(&self) -> Condition;

    /// Returns whether there is room now for a publish that takes `bytes` ([`publish_bytes`]). If there is none, the store
    /// makes some as far as it can.
    fn has_room(&self, bytes: u64) -> bool;

    /// Returns what can be said of the store in numbers.
    fn statistics(&self) -> Statistics;
}

/// Returns about how many bytes of a batch a publish of a message of so many bytes takes, or more.
pub fn publish_bytes(message_bytes: u64, target_count: u64) -> u64 {
    // With what the ways take in which the targets get it, if they are not too strange.
    PUBLISH_BYTES + message_bytes + TARGET_BYTES * target_count
}

const PUBLISH_BYTES: u64 = 1_024;
const TARGET_BYTES: u64 = 80;

/// A store in numbers. One in memory has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Bytes of the log.
    pub log_bytes: u64,
    /// About how many of them are of things that are alive.
    pub live_bytes: u64,
    /// Files of the log.
    pub segments: u64,
    /// How often the disk was asked to make durable what was written.
    pub syncs: u64,
    /// How long that took, in microseconds in all.
    pub sync_micros: u64,
}

/// What a store can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Condition {
    /// Anything.
    Ready,
    /// Anything, but it has much to do: publishers should not be read until it has caught up.
    Busy,
    /// Nothing that needs space: the disk is full. Acknowledgements and ends are taken.
    Full,
    /// Nothing: the disk has failed, and no submission will be completed.
    Failed,
}

/// Where the store's answers go: the mailboxes of the shards.
pub trait Completions: Send + Sync {
    /// Messages were placed in queues of sessions with a client on `shard`, in this order. Called before
    /// [`Self::durable`] of the same submission, and when they are durable.
    fn placed(&self, shard: ShardIndex, placed: Vec<Placed>);

    /// Shared groups chose sessions that are gone: what `shard` submitted for them has to go to other
    /// members. Called before [`Self::durable`] of the same submission.
    fn unplaced(&self, shard: ShardIndex, unplaced: Vec<(Attributes, Arc<Message>)>);

    /// So many targets of what `shard` submitted were skipped: their sessions had ended since. Those of shared groups are
    /// not among them. Called before [`Self::durable`] of the same submission.
    fn skipped(&self, shard: ShardIndex, target_count: u64);

    /// The answer to a fetch that `shard` submitted. What is placed later is reported later or earlier:
    /// positions tell.
    fn fetched(&self, shard: ShardIndex, fetched: Fetched);

    /// Messages gave way to newer ones in queues of sessions that were last connected to `shard`.
    fn dropped(&self, shard: ShardIndex, dropped: Vec<Dropped>);

    /// Everything that `shard` submitted up to and including `through` is durable.
    fn durable(&self, shard: ShardIndex, through: Submission);

    /// The store has failed and will complete nothing any more. The broker has to stop: what it has
    /// promised is on the disk, and what it has not promised is not told from it any longer.
    fn failed(&self, failure: StoreError);
}

/// What went wrong with the disk.
#[derive(Clone, Debug)]
pub struct StoreError {
    /// What was tried, on which file.
    pub action: String,
    /// What the system said.
    pub source: Arc<std::io::Error>,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.action, self.source)
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}
