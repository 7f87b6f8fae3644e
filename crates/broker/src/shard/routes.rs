//! Where the messages of recently used topics go.
//!
//! A route is made by one match against the shared table and is good for as long as the table's
//! generation stands. It holds filters, never sessions or connections: who receives a filter is
//! looked up for each message.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use quelea_store::ShardIndex;
use quelea_topics::FilterId;

use crate::table::{Matched, Table};

/// A bounded cache of routes.
#[derive(Debug)]
pub(super) struct Routes {
    hasher: FixedState,
    table: HashTable<Cached>,
    scratch: Vec<FilterId>,
}

#[derive(Debug)]
struct Cached {
    hash: u64,
    topic: Box<str>,
    generation: u64,
    /// Shared with messages that wait for the store.
    route: Arc<Matched>,
}

impl Routes {
    pub(super) fn new(seed: u64) -> Self {
        Self { hasher: FixedState::with_seed(seed), table: HashTable::new(), scratch: Vec::new() }
    }

    /// Returns where messages of `topic` go at this moment.
    #[inline]
    pub(super) fn find(&mut self, topic: &str, table: &Table, asking: ShardIndex) -> Arc<Matched> {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(topic.as_bytes());
        let hash = hasher.finish();
        let generation = table.generation();
        if let Some(cached) = self.table.find_mut(hash, |it| *it.topic == *topic) {
            if cached.generation != generation {
                cached.route = Arc::new(table.match_topic(topic, asking, &mut self.scratch));
                cached.generation = generation;
            }
            return Arc::clone(&cached.route);
        }
        self.add(hash, topic, table, asking, generation)
    }

    #[cold]
    fn add(
        &mut self,
        hash: u64,
        topic: &str,
        table: &Table,
        asking: ShardIndex,
        generation: u64,
    ) -> Arc<Matched> {
        let route = Arc::new(table.match_topic(topic, asking, &mut self.scratch));
        // A topic of enormous length is not worth the memory of remembering it.
        if topic.len() <= TOPIC_BYTES_MAX {
            if self.table.len() >= ROUTES_MAX {
                // Topics that are still in use come back at the price of one match each.
                self.table = HashTable::new();
            }
            let cached =
                Cached { hash, topic: topic.into(), generation, route: Arc::clone(&route) };
            self.table.insert_unique(hash, cached, |it| it.hash);
        }
        route
    }
}

/// Routes kept. Then all are forgotten.
const ROUTES_MAX: usize = 16_384;

/// The longest topic that is remembered.
const TOPIC_BYTES_MAX: usize = 512;
