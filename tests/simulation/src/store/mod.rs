//! Stores that a simulation can crash.

mod durable;
mod model;
mod model_state;

use std::sync::Arc;

use quelea_broker::simulation::Mailboxes;
use quelea_session::Time;
use quelea_store::{Recovered, SessionNumber, ShardIndex, Store};

use crate::random::Random;

pub(crate) use durable::Durable;
pub(crate) use model::Model;

/// A store that does one thing after the other, when it is told to, and outlives the broker.
pub(crate) trait Backend {
    /// Finds what is there, for a broker that starts at this time; `wall_millis` is what the wall clock showed at zero of
    /// the broker's clock.
    ///
    /// # Errors
    ///
    /// What is damaged.
    fn open(&mut self, now: Time, wall_millis: u64) -> Result<Recovered, String>;

    /// Begins to work for a broker. The sessions live on the shards that `places` says.
    fn start(&mut self, mailboxes: &Mailboxes) -> Arc<dyn Store>;

    /// Learns where the sessions live that were recovered.
    fn set_places(&mut self, places: &[(SessionNumber, ShardIndex)]);

    /// Returns when there is something to do next, in microseconds.
    fn next_at(&self) -> Option<u64>;

    /// Does one thing.
    fn step(&mut self, now_micros: u64);

    /// The broker stops in good order: does what is left.
    fn finish(&mut self, now_micros: u64);

    /// The broker's process dies: what is not durable may be lost.
    fn crash(&mut self, random: &mut Random);

    /// How the disk is from here on.
    fn set_disk(&mut self, disk: DiskManners);

    /// Returns what is left, in words; nothing if that is nothing.
    fn leftovers(&mut self) -> Vec<String>;
}

/// The store of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// One that is obviously right.
    Model,
    /// The log.
    Log,
    /// The log on a disk that forgets what it was asked to sync. A power cut must not go unnoticed.
    LyingDisk,
}

/// How a disk is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DiskManners {
    /// A commit takes up to so many microseconds.
    pub(crate) commit_max: u64,
    /// There is no space.
    pub(crate) is_full: bool,
}
