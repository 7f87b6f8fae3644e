//! The store so simple that it is obviously right: batches wait, are committed together after a while, and then are
//! durable. A crash loses what waits, and what is being committed is there or not.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quelea_broker::simulation::Mailboxes;
use quelea_session::Time;
use quelea_store::{
    Batch, Completions, Condition, QueueLimits, Recovered, SessionNumber, ShardIndex, Statistics,
    Store,
};

use super::model_state::{Letter, State};
use super::{Backend, DiskManners};
use crate::random::Random;

/// See the module.
pub(crate) struct Model {
    limits: QueueLimits,
    durable: State,
    shared: Arc<Shared>,
    completions: Option<Arc<dyn Completions>>,
    committing: Vec<(ShardIndex, Batch)>,
    committed_at: u64,
    letters: VecDeque<Letter>,
    disk: DiskManners,
    random: Random,
    now: u64,
    /// What the wall clock showed at zero of the broker's clock.
    wall_millis: Option<u64>,
}

/// What the shards reach.
#[derive(Default)]
struct Shared {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    waiting: Vec<(ShardIndex, Batch)>,
    next_session: u32,
    is_full: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Model {
    /// Makes an empty store.
    pub(crate) fn new(limits: QueueLimits, disk: DiskManners, random: Random) -> Self {
        Self {
            limits,
            durable: State::default(),
            shared: Arc::default(),
            completions: None,
            committing: Vec::new(),
            committed_at: 0,
            letters: VecDeque::new(),
            disk,
            random,
            now: 0,
            wall_millis: None,
        }
    }

    /// What was being written is durable.
    fn commit(&mut self) {
        let mut letters = Vec::new();
        for (shard, batch) in mem::take(&mut self.committing) {
            for operation in batch.operations {
                self.durable.apply(shard, operation, &self.limits, &mut letters);
            }
            letters.push(Letter::Durable(shard, batch.through));
        }
        self.letters.extend(letters);
    }

    fn deliver(&self, letter: Letter) {
        let Some(completions) = &self.completions else { return };
        match letter {
            Letter::Placed(shard, placed) => completions.placed(shard, placed),
            Letter::Unplaced(shard, unplaced) => completions.unplaced(shard, unplaced),
            Letter::Fetched(shard, fetched) => completions.fetched(shard, fetched),
            Letter::Dropped(shard, dropped) => completions.dropped(shard, dropped),
            Letter::Skipped(shard) => completions.skipped(shard, 1),
            Letter::Durable(shard, through) => completions.durable(shard, through),
        }
    }
}

impl Backend for Model {
    fn open(&mut self, _: Time, wall_millis: u64) -> Result<Recovered, String> {
        if let Some(before) = self.wall_millis.replace(wall_millis) {
            self.durable.shift(wall_millis - before);
        }
        Ok(self.durable.recover())
    }

    fn start(&mut self, mailboxes: &Mailboxes) -> Arc<dyn Store> {
        self.completions = Some(mailboxes.completions());
        Arc::clone(&self.shared) as Arc<dyn Store>
    }

    fn set_places(&mut self, places: &[(SessionNumber, ShardIndex)]) {
        for (session, home) in places {
            self.durable.set_place(*session, *home);
        }
    }

    fn next_at(&self) -> Option<u64> {
        if !self.letters.is_empty() {
            return Some(self.now + 1);
        }
        if !self.committing.is_empty() {
            return Some(self.committed_at);
        }
        let inner = self.shared.lock();
        let is_awaited = inner.waiting.iter().any(|it| it.1.is_awaited);
        let delay = if is_awaited { 1 } else { LAZY_MICROS };
        (!inner.waiting.is_empty()).then_some(self.now + delay)
    }

    fn step(&mut self, now_micros: u64) {
        self.now = now_micros;
        if let Some(letter) = self.letters.pop_front() {
            self.deliver(letter);
            // Several are often seen together.
            while self.random.percent(70)
                && let Some(letter) = self.letters.pop_front()
            {
                self.deliver(letter);
            }
        } else if !self.committing.is_empty() {
            if self.committed_at <= now_micros {
                self.commit();
            }
        } else {
            self.committing = mem::take(&mut self.shared.lock().waiting);
            self.committed_at = now_micros + 1 + self.random.within(0..self.disk.commit_max);
        }
    }

    fn finish(&mut self, now_micros: u64) {
        while let Some(at) = self.next_at() {
            self.step(at.max(now_micros));
        }
    }

    fn crash(&mut self, random: &mut Random) {
        if random.percent(50) {
            self.commit();
        }
        self.letters.clear();
        self.committing.clear();
        self.completions = None;
        self.shared.lock().waiting.clear();
    }

    fn set_disk(&mut self, disk: DiskManners) {
        self.disk = disk;
        self.shared.lock().is_full = disk.is_full;
    }

    fn leftovers(&mut self) -> Vec<String> {
        let sessions = self.durable.sessions.values().map(|it| format!("{it:?}"));
        let retained = match self.durable.retained_count() {
            0 => None,
            count => Some(format!("{count} retained messages")),
        };
        sessions.chain(retained).collect()
    }
}

impl Store for Shared {
    fn new_session(&self) -> SessionNumber {
        let mut inner = self.lock();
        inner.next_session += 1;
        SessionNumber::new(inner.next_session, 1)
    }

    fn submit(&self, shard: ShardIndex, batch: Batch) {
        self.lock().waiting.push((shard, batch));
    }

    fn condition(&self) -> Condition {
        let inner = self.lock();
        if inner.is_full {
            // What is taken all the same has its reserve.
            Condition::Full
        } else if inner.waiting.len() > WAITING_MAX {
            Condition::Busy
        } else {
            Condition::Ready
        }
    }

    fn has_room(&self, _: u64) -> bool {
        !self.lock().is_full
    }

    fn statistics(&self) -> Statistics {
        Statistics::default()
    }
}

/// What nobody waits for is committed after this time.
const LAZY_MICROS: u64 = 100_000;

/// Batches that wait before the store says that it has much to do.
const WAITING_MAX: usize = 64;
