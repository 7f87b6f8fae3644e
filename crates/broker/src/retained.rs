//! The retained messages of all shards.
//!
//! Partitioned by topic, each partition behind a lock that is held for one change or one bounded
//! scan. Every shard reads in place: a value is read when it is sent, so a subscriber never gets an
//! older value than one it has had.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use quelea_codec::QoS;
use quelea_session::Message;
use quelea_topics::RetainedStore;

use crate::config::Limits;

/// Retained messages by topic.
pub(crate) struct Retained {
    partitions: Box<[RwLock<Partition>]>,
    count: AtomicU64,
    bytes: AtomicU64,
    messages_max: AtomicU64,
    bytes_max: AtomicU64,
}

/// The topics of one hash.
struct Partition {
    values: RetainedStore<Value>,
    /// Orders of values that wait for the store: whoever is subscribed may have such a one already.
    pending: HashMap<Box<str>, u64, FixedState>,
}

/// The retained message of a topic.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) message: Arc<Message>,
    pub(crate) qos: QoS,
    /// When it was published, relative to all others: an older one never replaces a newer one.
    pub(crate) order: u64,
}

/// A place in the scan of all partitions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub(crate) partition: usize,
    pub(crate) after: Option<Box<str>>,
}

impl Retained {
    pub(crate) fn new(seed: u64, limits: &Limits) -> Self {
        Self {
            partitions: (0..PARTITIONS).map(|_| RwLock::new(Partition::new(seed))).collect(),
            count: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            messages_max: AtomicU64::new(limits.retained_messages_max),
            bytes_max: AtomicU64::new(limits.retained_bytes_max),
        }
    }

    /// Takes up other limits. What is retained beyond them stays until it is replaced.
    pub(crate) fn limit(&self, limits: &Limits) {
        self.messages_max.store(limits.retained_messages_max, Ordering::Relaxed);
        self.bytes_max.store(limits.retained_bytes_max, Ordering::Relaxed);
    }

    /// Sets the retained message of its topic. Returns false when a limit forbids it.
    pub(crate) fn set(&self, message: Arc<Message>, qos: QoS, order: u64) -> bool {
        let content = message.content();
        let topic = content.topic;
        let size = message.size_bytes() as u64;
        let mut partition = self.write(topic);
        partition.end_pending(topic, order);
        let partition = &mut partition.values;
        let before = partition.get(topic).map(|it| (it.order, it.message.size_bytes() as u64));
        let (is_new, old_size) = match before {
            Some((known, _)) if known > order => return true,
            Some((_, old_size)) => (false, old_size),
            None => (true, 0),
        };
        let count = self.count.load(Ordering::Relaxed);
        let bytes = self.bytes.load(Ordering::Relaxed);
        let is_too_many = is_new && count >= self.messages_max.load(Ordering::Relaxed);
        let is_too_big =
            size > old_size && bytes + size - old_size > self.bytes_max.load(Ordering::Relaxed);
        if is_too_many || is_too_big {
            // An older message must not go on as if it were the last one.
            if partition.remove(topic).is_some() {
                self.count.fetch_sub(1, Ordering::Relaxed);
                self.bytes.fetch_sub(old_size, Ordering::Relaxed);
            }
            return false;
        }
        let owner = Arc::clone(&message);
        partition.insert(owner.content().topic, Value { message, qos, order });
        self.count.fetch_add(u64::from(is_new), Ordering::Relaxed);
        self.bytes.fetch_add(size.wrapping_sub(old_size), Ordering::Relaxed);
        true
    }

    /// Removes the retained message of a topic ([MQTT-3.3.1-6]).
    pub(crate) fn clear(&self, topic: &str, order: u64) {
        let mut partition = self.write(topic);
        partition.end_pending(topic, order);
        partition.remove_until(topic, order, self);
    }

    /// Announces a value that is set or cleared when the store is done with it.
    ///
    /// Until then the older one is not sent to anyone who is subscribed: it could come behind the newer one,
    /// which durable sessions get from the store.
    pub(crate) fn announce(&self, topic: &str, order: u64) {
        let mut partition = self.write(topic);
        match partition.pending.get_mut(topic) {
            Some(known) => *known = order.max(*known),
            None => {
                partition.pending.insert(topic.into(), order);
            }
        }
    }

    /// Removes a message that has expired, unless another has taken its place.
    pub(crate) fn forget(&self, topic: &str, order: u64) {
        self.write(topic).remove_until(topic, order, self);
    }

    /// Returns the retained message of a topic, unless a newer one is on its way.
    pub(crate) fn read(&self, topic: &str) -> Option<Value> {
        let partition = read(&self.partitions[self.partition_of(topic)]);
        let value = partition.values.get(topic)?;
        let pending = partition.pending.get(topic);
        pending.is_none_or(|order| *order <= value.order).then(|| value.clone())
    }

    /// Appends up to `count_max` matches of `filter` to `found` and moves `place` behind them.
    /// Returns false when there are no more.
    ///
    /// Looks at a bounded number of topics at a time, so that no writer waits long: it may return
    /// true with nothing found.
    pub(crate) fn scan(
        &self,
        filter: &str,
        place: &mut Place,
        count_max: usize,
        found: &mut Vec<Value>,
    ) -> bool {
        if !filter.contains(['+', '#']) {
            found.extend(self.read(filter));
            return false;
        }
        let Some(partition) = self.partitions.get(place.partition) else { return false };
        let enough = found.len() + count_max;
        let next =
            read(partition).values.scan(filter, place.after.as_deref(), SCAN_WORK, &mut |_, it| {
                found.push(it.clone());
                found.len() < enough
            });
        match next {
            Some(after) => place.after = Some(after),
            None => *place = Place { partition: place.partition + 1, after: None },
        }
        place.partition < self.partitions.len()
    }

    /// Returns how many values wait for the store.
    #[cfg(feature = "simulation")]
    pub(crate) fn pending_count(&self) -> usize {
        self.partitions.iter().map(|it| read(it).pending.len()).sum()
    }

    /// Returns how many messages are retained.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns how many bytes they take.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn partition_of(&self, topic: &str) -> usize {
        // FNV-1a: the same in every process, because places in a scan are kept over a restart. Whoever
        // makes all topics fall into one partition gains that writers of retained messages wait for each
        // other.
        let fold = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        let hash = topic.bytes().fold(0xCBF2_9CE4_8422_2325, fold);
        (hash ^ (hash >> 32)) as usize % self.partitions.len()
    }

    fn write(&self, topic: &str) -> RwLockWriteGuard<'_, Partition> {
        let partition = &self.partitions[self.partition_of(topic)];
        partition.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Partition {
    fn new(seed: u64) -> Self {
        let pending = HashMap::with_hasher(FixedState::with_seed(seed));
        Self { values: RetainedStore::new(), pending }
    }

    /// Removes the value of a topic, unless its order is greater than `order`.
    fn remove_until(&mut self, topic: &str, order: u64, sizes: &Retained) {
        if self.values.get(topic).is_some_and(|it| it.order <= order)
            && let Some(old) = self.values.remove(topic)
        {
            sizes.count.fetch_sub(1, Ordering::Relaxed);
            sizes.bytes.fetch_sub(old.message.size_bytes() as u64, Ordering::Relaxed);
        }
    }

    fn end_pending(&mut self, topic: &str, order: u64) {
        if !self.pending.is_empty() && self.pending.get(topic).is_some_and(|it| *it <= order) {
            self.pending.remove(topic);
        }
    }
}

fn read(partition: &RwLock<Partition>) -> RwLockReadGuard<'_, Partition> {
    partition.read().unwrap_or_else(PoisonError::into_inner)
}

/// Never changes: the log knows how far a delivery has come by partition and topic.
const PARTITIONS: usize = 16;

/// Nodes of the topic tree that one scan looks at, some tens of microseconds.
const SCAN_WORK: usize = 1_024;
