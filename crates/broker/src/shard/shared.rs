//! What all shards of a broker share.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use foldhash::quality::FixedState;
use quelea_acl::Rules as AccessRules;
use quelea_session::Time;
use quelea_store::{ShardIndex, Store, WallMillis};

use crate::auth::Authority;
use crate::chains::Chains;
use crate::config::{Config, Limits};
use crate::counters::{Counters, Totals};
use crate::limits::{Addresses, Banned, Meter, Newest};
use crate::live::Live;
use crate::mail::{Letter, Mailbox};
use crate::net::Entrance;
use crate::retained::Retained;
use crate::table::Table;

/// The broker's state that belongs to no shard.
pub(crate) struct Shared {
    /// As the broker was started: for what only a restart changes.
    pub(crate) config: Config,
    /// What a reload changes.
    pub(crate) live: Live,
    /// The listeners.
    pub(crate) entrances: Vec<Arc<Entrance>>,
    pub(crate) table: Table,
    pub(crate) retained: Retained,
    pub(crate) mailboxes: Arc<[Mailbox]>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) authority: Authority,
    pub(crate) counters: Vec<Counters>,
    /// Odd while the shard is in a turn.
    turns: Vec<TurnCount>,
    /// Random for each process: which shard a client lives on is nobody's business.
    pub(crate) seed: u64,
    /// Gives retained messages their order over all shards.
    publish_order: AtomicU64,
    /// What waits in the queues of all durable sessions.
    pub(crate) backlog: Backlog,
    /// The wall clock's time at the zero of the broker's own. Fixed at the start: a step of the wall clock
    /// expires nothing.
    wall_at_zero: WallMillis,
    pub(crate) connection_count: AtomicUsize,
    pub(crate) connections_refused: AtomicU64,
    /// Connections accepted by all listeners.
    pub(crate) connects: Meter,
    pub(crate) addresses: Addresses,
    pub(crate) banned: Banned,
    /// How busy each shard is.
    pub(crate) loads: Vec<Load>,
    /// Nobody else is let in for now.
    pub(crate) is_overloaded: AtomicBool,
    /// Connections that were accepted, counted to spread them and to tell the newest.
    arrivals: AtomicU32,
    /// Set when nothing new is let in.
    pub(crate) is_stopping: AtomicBool,
}

/// On a line of its own: it is written by one thread twice a turn.
#[derive(Debug, Default)]
#[repr(align(128))]
struct TurnCount(AtomicU32);

/// How busy a shard is. Written by whoever has the shard, on a line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Load {
    /// The longest turn since somebody has looked.
    turn_micros: AtomicU64,
    /// In milliseconds of the broker's time; zero when nothing is awaited of the store.
    waits_since: AtomicU64,
}

impl Load {
    pub(crate) fn note_turn(&self, micros: u64) {
        if micros > self.turn_micros.load(Ordering::Relaxed) {
            self.turn_micros.store(micros, Ordering::Relaxed);
        }
    }

    pub(crate) fn note_waiting(&self, since: Time) {
        self.waits_since.store(since.as_millis(), Ordering::Relaxed);
    }

    /// Returns the longest turn since the last call.
    pub(crate) fn take_turn_micros(&self) -> u64 {
        self.turn_micros.swap(0, Ordering::Relaxed)
    }

    /// Returns how long the store has made nothing durable that is awaited.
    pub(crate) fn waiting_millis(&self, now: Time) -> u64 {
        match self.waits_since.load(Ordering::Relaxed) {
            0 => 0,
            since => now.as_millis().saturating_sub(since),
        }
    }
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        entrances: Vec<Arc<Entrance>>,
        mailboxes: Arc<[Mailbox]>,
        store: Arc<dyn Store>,
        authority: Authority,
        seed: u64,
        wall_at_zero: WallMillis,
    ) -> Self {
        let shard_count = mailboxes.len();
        Self {
            live: Live::new(config.clone()),
            table: Table::new(seed),
            retained: Retained::new(seed, &config.limits),
            backlog: Backlog::new(&config.limits),
            wall_at_zero,
            counters: (0..shard_count).map(|_| Counters::default()).collect(),
            turns: (0..shard_count).map(|_| TurnCount::default()).collect(),
            publish_order: AtomicU64::new(1),
            connection_count: AtomicUsize::new(0),
            connections_refused: AtomicU64::new(0),
            connects: Meter::default(),
            addresses: Addresses::new(seed),
            banned: Banned::new(&config.banned, seed),
            loads: (0..shard_count).map(|_| Load::default()).collect(),
            is_overloaded: AtomicBool::new(false),
            arrivals: AtomicU32::new(0),
            is_stopping: AtomicBool::new(false),
            config,
            entrances,
            mailboxes,
            store,
            authority,
            seed,
        }
    }

    /// Returns the shard on which the session of `client_id` lives.
    pub(crate) fn home_of(&self, client_id: &str) -> ShardIndex {
        ShardIndex((self.hash(client_id.as_bytes()) % self.mailboxes.len() as u64) as u16)
    }

    /// Hashes with this process's key.
    pub(crate) fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = FixedState::with_seed(self.seed).build_hasher();
        hasher.write(bytes);
        hasher.finish()
    }

    /// Returns the number of an arrival, and the shard that takes it: round robin.
    pub(crate) fn next_arrival(&self) -> (u32, usize) {
        let number = self.arrivals.fetch_add(1, Ordering::Relaxed);
        (number, number as usize % self.mailboxes.len())
    }

    /// Asks all shards for the newest connections, which are to be ended.
    pub(crate) fn shed(&self, count: u64) {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let next_arrival = self.arrivals.load(Ordering::Relaxed);
        let newest = Arc::new(Newest::new(count, next_arrival, self.mailboxes.len()));
        for mailbox in self.mailboxes.iter() {
            mailbox.send(Letter::CountNewest(Arc::clone(&newest)));
        }
    }

    /// Returns a number greater than any before, on any shard.
    pub(crate) fn next_order(&self) -> u64 {
        self.publish_order.fetch_add(1, Ordering::SeqCst)
    }

    /// Gives only numbers from `order` on, which is greater than all that were given before a restart.
    pub(crate) fn continue_orders(&self, order: u64) {
        self.publish_order.fetch_max(order.max(1), Ordering::SeqCst);
    }

    /// Returns what the wall clock shows at `time`, unless it was set since the start.
    pub(crate) fn wall(&self, time: Time) -> WallMillis {
        WallMillis(self.wall_at_zero.0.saturating_add(time.as_millis()))
    }

    /// Returns when the wall clock shows `wall`, unless it was set since the start.
    pub(crate) fn time_of(&self, wall: SystemTime) -> Time {
        let since_1970 = wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let since_1970 = u64::try_from(since_1970).unwrap_or(u64::MAX);
        Time::from_millis(since_1970.saturating_sub(self.wall_at_zero.0))
    }

    /// Returns a number greater than those given so far, and not greater than those to come.
    ///
    /// A publisher takes its number and then matches; a subscriber changes the table and then asks
    /// here. So what has this number or a greater one was matched with the change (all four accesses
    /// are SeqCst).
    pub(crate) fn order(&self) -> u64 {
        self.publish_order.load(Ordering::SeqCst)
    }

    pub(crate) fn begin_turn(&self, shard: ShardIndex) {
        // Together with `is_in_turn`: either that sees the turn, or the turn sees the table as it
        // was changed before (a store then a load on both sides, so all must be SeqCst).
        if !self.is_in_turn(usize::from(shard.0)) {
            self.turns[shard.0 as usize].0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Ends a turn. While messages wait for the store, which were matched and are not handed out, it
    /// counts as going on.
    pub(crate) fn end_turn(&self, shard: ShardIndex, awaits_store: bool) {
        if !awaits_store {
            self.turns[shard.0 as usize].0.fetch_add(1, Ordering::Release);
        }
    }

    /// Returns whether a shard may be using the table as it was before the caller changed it.
    pub(crate) fn is_in_turn(&self, shard: usize) -> bool {
        self.turns[shard].0.load(Ordering::SeqCst) % 2 == 1
    }

    /// Returns how many sessions there are.
    pub(crate) fn session_count(&self) -> u64 {
        let started: u64 = self.counters.iter().map(|it| it.sessions_started.value()).sum();
        let ended: u64 = self.counters.iter().map(|it| it.sessions_ended.value()).sum();
        started.saturating_sub(ended)
    }

    /// Puts another configuration in force. Who keeps limits of its own is told; shards see it at their next turn.
    pub(crate) fn apply(&self, config: Config, access: Arc<AccessRules>, chains: Arc<Chains>) {
        self.backlog.limit(&config.limits);
        self.retained.limit(&config.limits);
        self.banned.configure(&config.banned);
        self.live.replace(config, access, chains);
    }

    /// Sums the counters of all shards.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        let mut longest = 0;
        for counters in &self.counters {
            totals.add(counters);
            longest = longest.max(counters.longest_turn_micros.value());
        }
        totals.longest_turn_micros = longest;
        totals
    }
}

/// What waits in the queues of all durable sessions, what is on its way there included.
#[derive(Debug)]
pub(crate) struct Backlog {
    messages: AtomicU64,
    bytes: AtomicU64,
    messages_max: AtomicU64,
    bytes_max: AtomicU64,
}

impl Backlog {
    fn new(limits: &Limits) -> Self {
        Self {
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            messages_max: AtomicU64::new(limits.queued_messages_total_max),
            bytes_max: AtomicU64::new(limits.queued_bytes_total_max),
        }
    }

    /// Returns how many more messages of `bytes` each the limits leave room for.
    pub(crate) fn room(&self, bytes: u64) -> u64 {
        let left = |max: &AtomicU64, used: &AtomicU64| {
            max.load(Ordering::Relaxed).saturating_sub(used.load(Ordering::Relaxed))
        };
        let messages = left(&self.messages_max, &self.messages);
        messages.min(left(&self.bytes_max, &self.bytes) / bytes.max(1))
    }

    /// Takes up other limits. What waits beyond them stays.
    pub(crate) fn limit(&self, limits: &Limits) {
        self.messages_max.store(limits.queued_messages_total_max, Ordering::Relaxed);
        self.bytes_max.store(limits.queued_bytes_total_max, Ordering::Relaxed);
    }

    /// Adds messages. Together with [`Self::room`] this may pass a limit by what the other shards add in
    /// the same instant.
    pub(crate) fn add(&self, messages: u64, bytes: u64) {
        self.messages.fetch_add(messages, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes messages away.
    pub(crate) fn take(&self, messages: u64, bytes: u64) {
        self.messages.fetch_sub(messages, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Returns how many messages there are, and their bytes.
    pub(crate) fn size(&self) -> (u64, u64) {
        (self.messages.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}
