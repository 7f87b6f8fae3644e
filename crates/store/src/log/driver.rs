//! The threads of a log: one that appends and syncs, one for chores, one that reads queues.
//!
//! Whatever the shards submit while the disk is busy is the next frame: nothing waits to be gathered.
//! What nobody waits for is written with the next frame that somebody waits for, or a little later.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::chore::{Chore, ChoreDone};
use super::disk::{Disk, RealDisk};
use super::engine::{Appended, Engine};
use super::fetch::Lookup;
use super::numbers::Numbers;
use super::open_error::OpenError;
use super::recovery::failed;
use crate::{
    Batch, Completions, Condition, Operation, Options, Recovered, SessionNumber, ShardIndex,
    Statistics, Store, StoreError,
};

/// A store on disk: what it has completed outlives the process, and the machine.
pub struct Log {
    shared: Arc<Shared<RealDisk>>,
    numbers: Arc<Mutex<Numbers>>,
    backlog_bytes_max: u64,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Until the threads have it.
    engine: Mutex<Option<Engine<RealDisk>>>,
}

struct Shared<D: Disk> {
    inbox: Mutex<Inbox<D>>,
    arrived: Condvar,
    /// Bytes of messages that were submitted and are not in a frame.
    backlog_bytes: AtomicU64,
    /// A [`Condition`].
    condition: AtomicU8,
    /// Bytes of the largest batch that there is room for.
    room_bytes: AtomicU64,
    figures: Figures,
}

/// What is said of the log in numbers, as the thread that appends last saw it.
#[derive(Default)]
struct Figures {
    log_bytes: AtomicU64,
    live_bytes: AtomicU64,
    segments: AtomicU64,
    syncs: AtomicU64,
    sync_micros: AtomicU64,
}

/// What the thread that appends has to do.
struct Inbox<D: Disk> {
    /// Bounded by the shards, which read no publishers while the store is busy.
    batches: VecDeque<(ShardIndex, Batch)>,
    /// At most one: there is one chore at a time.
    done: Vec<ChoreDone<D::File>>,
    failure: Option<StoreError>,
    /// Somebody waits for one of the batches.
    is_urgent: bool,
    /// There was no room for something large.
    is_room_wanted: bool,
    is_closing: bool,
    /// The thread waits, and a batch that nobody waits for has to wake it, too.
    is_idle: bool,
}

impl Log {
    /// Opens the log in a directory, or begins one. The threads are started by [`Log::start`].
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what is in the way. Nothing was changed then.
    #[expect(
        clippy::disallowed_methods,
        reason = "says how long it took, and nothing follows from it"
    )]
    pub fn open(directory: &Path, options: Options) -> Result<(Self, Recovered), OpenError> {
        let started = Instant::now();
        let disk = RealDisk::new(directory)
            .map_err(|error| failed(&format!("making {}", directory.display()), error))?;
        let (engine, mut recovered) = Engine::open(disk, options)?;
        recovered.report.took = started.elapsed();
        let inbox = Inbox {
            batches: VecDeque::new(),
            done: Vec::new(),
            failure: None,
            is_urgent: false,
            is_room_wanted: false,
            is_closing: false,
            is_idle: false,
        };
        let shared = Arc::new(Shared {
            inbox: Mutex::new(inbox),
            arrived: Condvar::new(),
            backlog_bytes: AtomicU64::new(0),
            condition: AtomicU8::new(Condition::Ready as u8),
            room_bytes: AtomicU64::new(engine.room_bytes()),
            figures: Figures::default(),
        });
        let log = Self {
            shared,
            numbers: engine.numbers(),
            // What is under way when the disk turns out to be full has room in one segment of the reserve.
            backlog_bytes_max: options.backlog_bytes_max.min(options.segment_bytes),
            threads: Mutex::default(),
            engine: Mutex::new(Some(engine)),
        };
        Ok((log, recovered))
    }

    /// Starts to work. The sessions that were there live on the shards that `places` says.
    ///
    /// # Errors
    ///
    /// When the system gives no more threads.
    pub fn start(
        &self,
        completions: Arc<dyn Completions>,
        places: &[(SessionNumber, ShardIndex)],
    ) -> io::Result<()> {
        let Some(mut engine) = lock(&self.engine).take() else { return Ok(()) };
        engine.place_sessions(places);
        let (chores, chores_to_do) = channel();
        let (lookups, lookups_to_do) = channel();
        let mut threads = lock(&self.threads);
        let shared = Arc::clone(&self.shared);
        let worker = move || do_chores(&shared, &chores_to_do);
        threads.push(Builder::new().name("store-files".to_owned()).spawn(worker)?);
        let shared = Arc::clone(&self.shared);
        let told = Arc::clone(&completions);
        let reader = move || read_lookups(&shared, &lookups_to_do, &*told);
        threads.push(Builder::new().name("store-read".to_owned()).spawn(reader)?);
        let shared = Arc::clone(&self.shared);
        let driver =
            Driver { shared, engine, completions, chores, lookups, batches: VecDeque::new() };
        threads.push(Builder::new().name("store-log".to_owned()).spawn(move || driver.run())?);
        Ok(())
    }

    /// Completes everything that was submitted, and ends.
    pub fn close(&self) {
        lock(&self.shared.inbox).is_closing = true;
        self.shared.arrived.notify_one();
        for thread in lock(&self.threads).drain(..).rev() {
            // One that has panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Store for Log {
    fn new_session(&self) -> SessionNumber {
        lock(&self.numbers).draw()
    }

    fn submit(&self, shard: ShardIndex, batch: Batch) {
        let has_fetch = || batch.operations.iter().any(|it| matches!(it, Operation::Fetch(_)));
        let is_urgent = batch.is_awaited || has_fetch();
        self.shared.backlog_bytes.fetch_add(message_bytes(&batch), Ordering::Relaxed);
        let mut inbox = lock(&self.shared.inbox);
        let is_new = is_urgent && !inbox.is_urgent;
        inbox.batches.push_back((shard, batch));
        inbox.is_urgent |= is_urgent;
        let wakes = is_new || inbox.is_idle;
        inbox.is_idle &= !wakes;
        drop(inbox);
        if wakes {
            self.shared.arrived.notify_one();
        }
    }

    fn has_room(&self, bytes: u64) -> bool {
        let under_way = self.shared.backlog_bytes.load(Ordering::Relaxed);
        let room_bytes = self.shared.room_bytes.load(Ordering::Relaxed);
        let condition = self.shared.condition.load(Ordering::Relaxed);
        if condition != FULL && under_way + bytes <= room_bytes {
            return true;
        }
        if condition != FULL {
            lock(&self.shared.inbox).is_room_wanted = true;
            self.shared.arrived.notify_one();
        }
        false
    }

    fn statistics(&self) -> Statistics {
        let figures = &self.shared.figures;
        let read = |it: &AtomicU64| it.load(Ordering::Relaxed);
        Statistics {
            log_bytes: read(&figures.log_bytes),
            live_bytes: read(&figures.live_bytes),
            segments: read(&figures.segments),
            syncs: read(&figures.syncs),
            sync_micros: read(&figures.sync_micros),
        }
    }

    fn condition(&self) -> Condition {
        match self.shared.condition.load(Ordering::Relaxed) {
            FULL => Condition::Full,
            FAILED => Condition::Failed,
            _ if self.shared.backlog_bytes.load(Ordering::Relaxed) > self.backlog_bytes_max => {
                Condition::Busy
            }
            _ => Condition::Ready,
        }
    }
}

/// The thread that appends.
struct Driver<D: Disk> {
    shared: Arc<Shared<D>>,
    engine: Engine<D>,
    completions: Arc<dyn Completions>,
    chores: Sender<Chore<D>>,
    lookups: Sender<(ShardIndex, Lookup<D::File>)>,
    /// Taken out of the inbox, and not yet in a frame.
    batches: VecDeque<(ShardIndex, Batch)>,
}

impl<D: Disk> Driver<D> {
    fn run(mut self) {
        if let Err(failure) = self.work() {
            self.shared.condition.store(FAILED, Ordering::Relaxed);
            self.completions.failed(failure);
        }
    }

    fn work(&mut self) -> Result<(), StoreError> {
        let mut has_chore = false;
        // Something of the disk has changed.
        let mut has_news = true;
        let mut has_room = true;
        let mut unsynced_since: Option<Instant> = None;
        let mut looked_for_space = None;
        loop {
            if self.engine.condition() == Condition::Full {
                self.look_for_space(&mut looked_for_space);
            }
            if !has_chore && let Some(chore) = self.engine.next_chore() {
                has_chore = true;
                // Its thread is there as long as this one.
                let _ = self.chores.send(chore);
            }
            let condition = self.engine.condition() as u8;
            self.shared.condition.store(condition, Ordering::Relaxed);
            if has_news {
                self.shared.room_bytes.store(self.engine.room_bytes(), Ordering::Relaxed);
            }
            let (log_bytes, live_bytes, segments) = self.engine.sizes();
            let figures = &self.shared.figures;
            figures.log_bytes.store(log_bytes, Ordering::Relaxed);
            figures.live_bytes.store(live_bytes, Ordering::Relaxed);
            figures.segments.store(segments, Ordering::Relaxed);
            let pause = self.pause(has_room, unsynced_since);
            let mut inbox = self.shared.wait(pause);
            // What was taken out last time comes first.
            self.batches.append(&mut inbox.batches);
            inbox.is_urgent = false;
            let is_room_wanted = std::mem::take(&mut inbox.is_room_wanted);
            let is_closing = inbox.is_closing;
            let (done, failure) = (std::mem::take(&mut inbox.done), inbox.failure.take());
            drop(inbox);
            if let Some(failure) = failure {
                return Err(failure);
            }
            has_news = !done.is_empty() || !has_room || is_room_wanted;
            if is_room_wanted {
                self.engine.want_room();
            }
            for done in done {
                has_chore = false;
                self.engine.end_chore(done)?;
            }
            has_room = self.append_all()?;
            unsynced_since = self.sync_late(unsynced_since)?;
            self.tell();
            // A segment that is on its way is worth waiting for; space on a full disk is not.
            let has_no_room = !has_room && !has_chore;
            if is_closing && (self.batches.is_empty() || has_no_room) {
                return self.engine.close();
            }
        }
    }

    /// Appends what there is, frame by frame. Returns false if there is no room for all.
    fn append_all(&mut self) -> Result<bool, StoreError> {
        loop {
            let bytes: u64 = self.batches.iter().map(|it| message_bytes(&it.1)).sum();
            let appended = self.engine.append(&mut self.batches)?;
            let left: u64 = self.batches.iter().map(|it| message_bytes(&it.1)).sum();
            self.shared.backlog_bytes.fetch_sub(bytes - left, Ordering::Relaxed);
            if self.engine.is_sync_due() {
                self.sync()?;
            }
            self.tell();
            if appended == Appended::NoRoom {
                return Ok(false);
            }
            if self.batches.is_empty() {
                return Ok(true);
            }
        }
    }

    /// Syncs what nobody waits for, when its time has come. Returns since when something is not synced.
    #[expect(clippy::disallowed_methods, reason = "the thread tells the time by itself")]
    fn sync_late(&mut self, since: Option<Instant>) -> Result<Option<Instant>, StoreError> {
        if !self.engine.has_unsynced() {
            return Ok(None);
        }
        let now = Instant::now();
        let since = since.unwrap_or(now);
        if now.duration_since(since) < self.engine.sync_interval() {
            return Ok(Some(since));
        }
        self.sync()?;
        Ok(None)
    }

    /// Returns how long there is nothing to do by itself; nothing for as long as nobody submits.
    #[expect(clippy::disallowed_methods, reason = "the thread tells the time by itself")]
    fn pause(&self, has_room: bool, unsynced_since: Option<Instant>) -> Option<Duration> {
        if !has_room {
            return Some(NO_ROOM_RETRY);
        }
        if self.engine.wants_append() {
            return Some(Duration::ZERO);
        }
        let is_full = self.engine.condition() == Condition::Full;
        let due = unsynced_since.map(|it| it + self.engine.sync_interval());
        let due = due.map(|it| it.saturating_duration_since(Instant::now()));
        due.into_iter().chain(is_full.then_some(SPACE_RETRY)).min()
    }

    /// Tries now and then whether others have left space on the disk.
    #[expect(clippy::disallowed_methods, reason = "the thread tells the time by itself")]
    fn look_for_space(&mut self, last: &mut Option<Instant>) {
        let now = Instant::now();
        if last.is_none_or(|it| now.duration_since(it) >= SPACE_RETRY) {
            *last = Some(now);
            self.engine.look_for_space();
        }
    }

    #[expect(clippy::disallowed_methods, reason = "only to be said in a figure")]
    fn sync(&mut self) -> Result<(), StoreError> {
        let started = Instant::now();
        self.engine.sync()?;
        let figures = &self.shared.figures;
        figures.syncs.fetch_add(1, Ordering::Relaxed);
        let micros = started.elapsed().as_micros() as u64;
        figures.sync_micros.fetch_add(micros, Ordering::Relaxed);
        Ok(())
    }

    fn tell(&mut self) {
        for lookup in self.engine.take_lookups() {
            // Its thread is there as long as this one.
            let _ = self.lookups.send(lookup);
        }
        self.engine.take_outcomes().deliver(&*self.completions);
    }
}

impl<D: Disk> Shared<D> {
    /// Waits for something to do, or for the end of `pause`.
    ///
    /// Without a pause it first waits a little: what nobody waits for may come with something urgent.
    fn wait(&self, pause: Option<Duration>) -> MutexGuard<'_, Inbox<D>> {
        let mut inbox = lock(&self.inbox);
        let mut is_lazy = false;
        loop {
            let has_news = !inbox.done.is_empty() || inbox.failure.is_some() || inbox.is_closing;
            let is_urgent = inbox.is_urgent || inbox.is_room_wanted;
            if is_urgent || has_news || pause == Some(Duration::ZERO) {
                return inbox;
            }
            let linger = match pause {
                Some(pause) => pause,
                None if inbox.batches.is_empty() && is_lazy => {
                    inbox.is_idle = true;
                    inbox = self.arrived.wait(inbox).unwrap_or_else(PoisonError::into_inner);
                    inbox.is_idle = false;
                    is_lazy = false;
                    continue;
                }
                None => LAZY,
            };
            let waited = self.arrived.wait_timeout(inbox, linger);
            let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            inbox = guard;
            if timeout.timed_out() && (pause.is_some() || !inbox.batches.is_empty()) {
                return inbox;
            }
            is_lazy = timeout.timed_out();
        }
    }

    fn fail(&self, failure: StoreError) {
        lock(&self.inbox).failure.get_or_insert(failure);
        self.arrived.notify_one();
    }
}

fn do_chores<D: Disk>(shared: &Shared<D>, chores: &Receiver<Chore<D>>) {
    for chore in chores {
        let done = chore.run();
        lock(&shared.inbox).done.push(done);
        shared.arrived.notify_one();
    }
}

fn read_lookups<D: Disk>(
    shared: &Shared<D>,
    lookups: &Receiver<(ShardIndex, Lookup<D::File>)>,
    completions: &dyn Completions,
) {
    for (shard, lookup) in lookups {
        match lookup.read() {
            Ok(fetched) => completions.fetched(shard, fetched),
            Err(failure) => return shared.fail(failure),
        }
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const FULL: u8 = Condition::Full as u8;
const FAILED: u8 = Condition::Failed as u8;

/// How long waits what nobody waits for.
pub(super) const LAZY: Duration = Duration::from_millis(100);

/// How soon a disk is looked at again on which others may have made space.
const SPACE_RETRY: Duration = Duration::from_secs(1);

/// How soon is tried again what had no room.
const NO_ROOM_RETRY: Duration = Duration::from_millis(50);
