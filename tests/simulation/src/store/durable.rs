//! The real log on a simulated disk: what its three threads do, one thing after the other.
//!
//! A crash is the end of the process, which leaves all that was written, or a power cut, which leaves an
//! arbitrary part of what was not synced.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quelea_broker::simulation::Mailboxes;
use quelea_session::Time;
use quelea_store::{
    Appended, Batch, Chore, Cleaning, Completions, Condition, Engine, Lookup, Operation, Options,
    QueueLimits, Recovered, SessionNumber, ShardIndex, SimulatedDisk, SimulatedFile, Statistics,
    Store, StoreError, WallMillis,
};

use super::{Backend, DiskManners};
use crate::random::Random;

/// See the module.
pub(crate) struct Durable {
    disk: SimulatedDisk,
    options: Options,
    shared: Arc<Shared>,
    completions: Option<Arc<dyn Completions>>,
    manners: DiskManners,
    random: Random,
    now: u64,
    /// When the sync that is under way ends.
    syncs_until: Option<u64>,
    /// Since when something is not synced that nobody waits for.
    unsynced_since: Option<u64>,
    /// When is tried again what had no room.
    retries_at: Option<u64>,
    /// The chore that is under way, and when it is done.
    chore: Option<(u64, Chore<SimulatedDisk>)>,
    /// Reads, and when they are done.
    lookups: VecDeque<(u64, ShardIndex, Lookup<SimulatedFile>)>,
}

/// What the shards reach.
#[derive(Default)]
struct Shared {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    engine: Option<Engine<SimulatedDisk>>,
    batches: VecDeque<(ShardIndex, Batch)>,
    is_urgent: bool,
    is_room_wanted: bool,
    has_failed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Durable {
    /// Makes an empty log. Files are small, so that everything moves.
    pub(crate) fn new(
        limits: QueueLimits,
        manners: DiskManners,
        lies: bool,
        mut random: Random,
    ) -> Self {
        let disk = SimulatedDisk::new(CAPACITY);
        if lies {
            disk.ignore_syncs();
        }
        let segment_bytes = *random.choose(&[32_768, 131_072, 1_048_576]);
        let options = Options {
            segment_bytes,
            limits,
            cleaning: Cleaning { ratio: 2, slack_bytes: segment_bytes },
            snapshot_bytes: *random.choose(&[65_536, u64::MAX]),
            backlog_bytes_max: segment_bytes,
            ..Options::default()
        };
        Self {
            disk,
            options,
            shared: Arc::default(),
            completions: None,
            manners,
            random,
            now: 0,
            syncs_until: None,
            unsynced_since: None,
            retries_at: None,
            chore: None,
            lookups: VecDeque::new(),
        }
    }

    /// The thread that appends has nothing to wait for.
    fn append(&mut self) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let mut inner = shared.lock();
        let Inner { engine, batches, is_urgent, is_room_wanted, .. } = &mut *inner;
        let Some(engine) = engine else { return Ok(()) };
        *is_urgent = false;
        if std::mem::take(is_room_wanted) {
            engine.want_room();
        }
        if engine.condition() == Condition::Full {
            engine.look_for_space();
        }
        let appended = engine.append(batches)?;
        self.retries_at = (appended == Appended::NoRoom).then_some(self.now + NO_ROOM_RETRY);
        if engine.is_sync_due() {
            self.syncs_until = Some(self.now + 1 + self.random.within(0..self.manners.commit_max));
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.syncs_until = None;
        self.unsynced_since = None;
        let mut inner = self.shared.lock();
        inner.engine.as_mut().map_or(Ok(()), Engine::sync)
    }

    fn end_chore(&mut self) -> Result<(), StoreError> {
        let Some((_, chore)) = self.chore.take() else { return Ok(()) };
        let done = chore.run();
        let mut inner = self.shared.lock();
        inner.engine.as_mut().map_or(Ok(()), |engine| engine.end_chore(done))
    }

    /// Tells what may be told, and sees what there is to do next.
    fn tell(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut inner = shared.lock();
        let Some(engine) = inner.engine.as_mut() else { return };
        for (shard, lookup) in engine.take_lookups() {
            let last = self.lookups.back().map_or(self.now, |it| it.0);
            let at = last + 1 + self.random.within(0..READ_MICROS);
            self.lookups.push_back((at, shard, lookup));
        }
        let outcomes = engine.take_outcomes();
        self.unsynced_since = match engine.has_unsynced() {
            true => self.unsynced_since.or(Some(self.now)),
            false => None,
        };
        if self.chore.is_none() {
            let at = self.now + 1 + self.random.within(0..self.manners.commit_max);
            self.chore = engine.next_chore().map(|chore| (at, chore));
        }
        drop(inner);
        if let Some(completions) = &self.completions {
            outcomes.deliver(&**completions);
        }
    }

    /// Returns when the thread that appends has something to do.
    fn appends_at(&self) -> Option<u64> {
        if let Some(at) = self.syncs_until {
            return Some(at);
        }
        let inner = self.shared.lock();
        let engine = inner.engine.as_ref()?;
        let late = self.unsynced_since.map(|it| it + LAZY_MICROS);
        let work = if let Some(at) = self.retries_at {
            Some(at)
        } else if inner.is_urgent || inner.is_room_wanted || engine.wants_append() {
            Some(self.now + 1)
        } else if !inner.batches.is_empty() {
            Some(self.now + LAZY_MICROS)
        } else if engine.condition() == Condition::Full {
            Some(self.now + SPACE_RETRY)
        } else {
            None
        };
        work.into_iter().chain(late).min()
    }

    fn work(&mut self) -> Result<(), StoreError> {
        let (chore_at, lookup_at) = (self.chore_at(), self.lookup_at());
        if chore_at.is_some_and(|at| at <= self.now) {
            return self.end_chore();
        }
        if lookup_at.is_some_and(|at| at <= self.now) {
            let Some((_, shard, lookup)) = self.lookups.pop_front() else { return Ok(()) };
            let fetched = lookup.read()?;
            if let Some(completions) = &self.completions {
                completions.fetched(shard, fetched);
            }
            return Ok(());
        }
        if let Some(at) = self.syncs_until {
            return if at <= self.now { self.sync() } else { Ok(()) };
        }
        if self.unsynced_since.is_some_and(|it| it + LAZY_MICROS <= self.now) {
            return self.sync();
        }
        self.append()
    }

    /// Returns whether a log that is to be closed has something to do first. A segment that is on its way is worth
    /// waiting for; space on a full disk is not.
    fn is_finishing(&self) -> bool {
        let has_batches = !self.shared.lock().batches.is_empty();
        let has_hope = self.retries_at.is_none() || self.chore.is_some();
        self.syncs_until.is_some() || (has_batches && has_hope)
    }

    fn chore_at(&self) -> Option<u64> {
        self.chore.as_ref().map(|it| it.0)
    }

    fn lookup_at(&self) -> Option<u64> {
        self.lookups.front().map(|it| it.0)
    }

    fn fail(&mut self, failure: StoreError) {
        *self.shared.lock() = Inner { has_failed: true, ..Inner::default() };
        self.forget();
        if let Some(completions) = &self.completions {
            completions.failed(failure);
        }
    }

    /// Nothing is under way any more.
    fn forget(&mut self) {
        (self.syncs_until, self.unsynced_since, self.retries_at) = (None, None, None);
        self.chore = None;
        self.lookups.clear();
    }

    fn fill(&self) {
        let used_bytes = self.disk.used_bytes();
        self.disk.set_capacity(if self.manners.is_full { used_bytes } else { CAPACITY });
    }
}

impl Backend for Durable {
    fn open(&mut self, _: Time, wall_millis: u64) -> Result<Recovered, String> {
        // Who starts a broker on a full disk is told so, and makes room.
        self.disk.set_capacity(CAPACITY);
        self.options.wall_at_zero = WallMillis(wall_millis);
        let opened = Engine::open(self.disk.clone(), self.options);
        let (engine, recovered) = opened.map_err(|error| error.to_string())?;
        *self.shared.lock() = Inner { engine: Some(engine), ..Inner::default() };
        self.fill();
        Ok(recovered)
    }

    fn start(&mut self, mailboxes: &Mailboxes) -> Arc<dyn Store> {
        self.completions = Some(mailboxes.completions());
        Arc::clone(&self.shared) as Arc<dyn Store>
    }

    fn set_places(&mut self, places: &[(SessionNumber, ShardIndex)]) {
        if let Some(engine) = self.shared.lock().engine.as_mut() {
            engine.place_sessions(places);
        }
        self.tell();
    }

    fn next_at(&self) -> Option<u64> {
        [self.appends_at(), self.chore_at(), self.lookup_at()].into_iter().flatten().min()
    }

    fn step(&mut self, now_micros: u64) {
        self.now = now_micros;
        match self.work() {
            Ok(()) => self.tell(),
            Err(failure) => self.fail(failure),
        }
    }

    fn finish(&mut self, now_micros: u64) {
        self.now = now_micros;
        while self.is_finishing() {
            let Some(at) = self.next_at() else { break };
            self.step(at.max(self.now));
        }
        let mut inner = self.shared.lock();
        let closed = inner.engine.as_mut().map_or(Ok(()), Engine::close);
        drop(inner);
        if let Err(failure) = closed {
            self.fail(failure);
        }
    }

    fn crash(&mut self, random: &mut Random) {
        if random.percent(50)
            && let Some((_, chore)) = self.chore.take()
        {
            chore.run();
        }
        self.forget();
        self.completions = None;
        *self.shared.lock() = Inner::default();
        if random.percent(50) {
            self.disk.cut_power(&mut || random.draw());
        } else {
            self.disk.kill();
        }
    }

    fn set_disk(&mut self, disk: DiskManners) {
        self.manners = disk;
        self.fill();
    }

    fn leftovers(&mut self) -> Vec<String> {
        *self.shared.lock() = Inner::default();
        self.forget();
        self.disk.kill();
        let recovered = match Engine::open(self.disk.clone(), self.options) {
            Ok((_, recovered)) => recovered,
            Err(error) => return vec![error.to_string()],
        };
        let sessions = recovered.sessions.iter().map(|it| format!("{it:?}"));
        let ghosts = recovered.ghosts.iter().map(|it| format!("what is left of {it:?}"));
        let retained = match recovered.retained.len() {
            0 => None,
            count => Some(format!("{count} retained messages")),
        };
        sessions.chain(ghosts).chain(retained).collect()
    }
}

impl Store for Shared {
    fn new_session(&self) -> SessionNumber {
        let inner = self.lock();
        // One that has failed takes nothing any more, and its numbers mean nothing.
        inner.engine.as_ref().map_or(SessionNumber::new(0, 0), Engine::new_session)
    }

    fn submit(&self, shard: ShardIndex, batch: Batch) {
        let mut inner = self.lock();
        let mut operations = batch.operations.iter();
        inner.is_urgent |=
            batch.is_awaited || operations.any(|it| matches!(it, Operation::Fetch(_)));
        inner.batches.push_back((shard, batch));
    }

    fn condition(&self) -> Condition {
        let inner = self.lock();
        match &inner.engine {
            _ if inner.has_failed => Condition::Failed,
            Some(engine) if engine.condition() == Condition::Full => Condition::Full,
            Some(_) if inner.batches.len() > WAITING_MAX => Condition::Busy,
            Some(_) | None => Condition::Ready,
        }
    }

    fn has_room(&self, bytes: u64) -> bool {
        let mut inner = self.lock();
        let under_way: u64 = inner.batches.iter().map(|it| message_bytes(&it.1)).sum();
        let Some(engine) = &inner.engine else { return false };
        let is_full = engine.condition() == Condition::Full;
        let has_room = !is_full && under_way + bytes <= engine.room_bytes();
        inner.is_room_wanted |= !has_room && !is_full;
        has_room
    }

    fn statistics(&self) -> Statistics {
        Statistics::default()
    }
}

/// Returns the bytes of a batch's messages.
fn message_bytes(batch: &Batch) -> u64 {
    let messages = batch.operations.iter().filter_map(|it| match it {
        Operation::Publish { message, .. } => Some(message.size_bytes() as u64),
        _ => None,
    });
    messages.sum()
}

/// Bytes of the disk, when it is not full.
const CAPACITY: u64 = 256 << 20;

/// What nobody waits for is committed after this time.
const LAZY_MICROS: u64 = 100_000;

/// How soon is tried again what had no room.
const NO_ROOM_RETRY: u64 = 50_000;

/// How soon a disk is looked at again that was full.
const SPACE_RETRY: u64 = 1_000_000;

/// A read takes up to so long.
const READ_MICROS: u64 = 2_000;

/// Batches that wait before the store says that it has much to do.
const WAITING_MAX: usize = 64;
