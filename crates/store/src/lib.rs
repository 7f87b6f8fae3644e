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
//! [`Memory`] keeps nothing but the next free place of each session; it serves `--in-memory`,
//! tests and simulation.

mod memory;
mod operation;

pub use memory::Memory;
pub use operation::{Attributes, Operation, Placed, SessionNumber, ShardIndex, Submission, Target};
pub use quelea_session::Body;

/// Where operations go. One value is shared by all shards.
pub trait Store: Send + Sync {
    /// Takes the operations of one turn of `shard`, all atomic on their own, in order.
    ///
    /// `through` is the number of the last of them. [`Completions::durable`] is called with it, or
    /// with a later one, when all of them are as safe as the store makes them.
    fn submit(&self, shard: ShardIndex, through: Submission, operations: Vec<Operation>);
}

/// Where the store's answers go: the mailboxes of the shards.
pub trait Completions: Send + Sync {
    /// Messages were placed in queues of sessions that live on `shard`, in this order.
    fn placed(&self, shard: ShardIndex, placed: Vec<Placed>);

    /// Shared groups chose sessions that are gone: what `shard` submitted for them has to go to other
    /// members. Called before [`Self::durable`] of the same submission.
    fn unplaced(&self, shard: ShardIndex, unplaced: Vec<(Target, Body)>);

    /// Everything that `shard` submitted up to and including `through` is durable.
    fn durable(&self, shard: ShardIndex, through: Submission);
}
