//! The store's answers, posted to the shards.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use quelea_session::Message;
use quelea_store::{
    Attributes, Completions, Dropped, Fetched, Placed, ShardIndex, StoreError, Submission,
};

use crate::control::Signal;
use crate::mail::{Letter, Mailbox};

/// Posts the store's answers to the shards.
pub(crate) struct Post {
    mailboxes: Arc<[Mailbox]>,
    /// Taken by the first failure, which is the last answer.
    signals: Mutex<Sender<Signal>>,
}

impl Post {
    pub(crate) fn new(mailboxes: Arc<[Mailbox]>, signals: Sender<Signal>) -> Self {
        Self { mailboxes, signals: Mutex::new(signals) }
    }

    fn send(&self, shard: ShardIndex, letter: Letter) {
        self.mailboxes[shard.0 as usize].send(letter);
    }
}

impl Completions for Post {
    fn placed(&self, shard: ShardIndex, placed: Vec<Placed>) {
        self.send(shard, Letter::Placed(placed));
    }

    fn unplaced(&self, shard: ShardIndex, unplaced: Vec<(Attributes, Arc<Message>)>) {
        self.send(shard, Letter::Unplaced(unplaced));
    }

    fn skipped(&self, shard: ShardIndex, target_count: u64) {
        self.send(shard, Letter::Skipped(target_count));
    }

    fn fetched(&self, shard: ShardIndex, fetched: Fetched) {
        self.send(shard, Letter::Fetched(fetched));
    }

    fn dropped(&self, shard: ShardIndex, dropped: Vec<Dropped>) {
        self.send(shard, Letter::Dropped(dropped));
    }

    fn durable(&self, shard: ShardIndex, through: Submission) {
        self.send(shard, Letter::Durable(through));
    }

    fn failed(&self, failure: StoreError) {
        let signals = self.signals.lock().unwrap_or_else(PoisonError::into_inner);
        // Fails only when nobody waits for signals: then nobody is served either.
        let _ = signals.send(Signal::Failed(failure));
    }
}
