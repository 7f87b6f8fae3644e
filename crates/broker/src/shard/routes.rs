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
    /// The last route of a topic that is not kept.
    unremembered: Arc<Matched>,
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
        Self {
            hasher: FixedState::with_seed(seed),
            table: HashTable::new(),
            unremembered: Arc::default(),
            scratch: Vec::new(),
        }
    }

    /// Returns where messages of `topic` go at this moment.
    #[inline]
    pub(super) fn find(&mut self, topic: &str, table: &Table, asking: ShardIndex) -> &Arc<Matched> {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(topic.as_bytes());
        let hash = hasher.finish();
        let generation = table.generation();
        let index = match self.table.find_bucket_index(hash, |it| *it.topic == *topic) {
            Some(index) => index,
            None => match self.remember(hash, topic) {
                Some(index) => index,
                None => {
                    self.unremembered =
                        Arc::new(table.match_topic(topic, asking, &mut self.scratch));
                    return &self.unremembered;
                }
            },
        };
        let cached = self.table.get_bucket_mut(index).expect("it was found, or just put there");
        if cached.generation != generation {
            let route = Arc::new(table.match_topic(topic, asking, &mut self.scratch));
            if self.scratch.len() > FILTERS_MAX {
                self.unremembered = route;
                return &self.unremembered;
            }
            cached.route = route;
            cached.generation = generation;
        }
        &cached.route
    }

    /// Forgets all routes: they come back at the price of one match each.
    pub(super) fn forget(&mut self) {
        self.table = HashTable::new();
    }

    /// Makes a place for a topic's route, which has yet to be found.
    #[cold]
    fn remember(&mut self, hash: u64, topic: &str) -> Option<usize> {
        // A topic of enormous length is not worth the memory of remembering it.
        if topic.len() > TOPIC_BYTES_MAX {
            return None;
        }
        if self.table.len() >= ROUTES_MAX {
            // Topics that are still in use come back at the price of one match each.
            self.table = HashTable::new();
        }
        let cached = Cached { hash, topic: topic.into(), generation: NEVER, route: Arc::default() };
        Some(self.table.insert_unique(hash, cached, |it| it.hash).bucket_index())
    }
}

/// The table's generation is never this one.
const NEVER: u64 = 0;

/// Routes kept. Then all are forgotten.
const ROUTES_MAX: usize = 16_384;

/// A topic that matches more filters is matched anew for each message.
const FILTERS_MAX: usize = 256;

/// The longest topic that is remembered.
const TOPIC_BYTES_MAX: usize = 512;
