//! The thread of a shard: wait, take the shard, let it have its turn.
//!
//! A shard is a value behind a mutex that its thread holds for a turn. Whoever has a little mail
//! for a shard that *sleeps* may take the turn for it ([`Home::assist`]): waking a thread costs
//! more than most deliveries.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::{Events, Poll, Token};
use quelea_session::Time;

use super::sockets::key_of;
use super::{Io, Neighbours, Ready, Sockets};
use crate::clock::Clock;
use crate::shard::{After, Shard, Shared};

/// A shard with its sockets, where its thread and its assistants find it.
pub(crate) struct Home {
    shard: Mutex<Occupied>,
    clock: Clock,
    /// Set when the broker stops for good: the thread ends after its turn.
    is_over: AtomicBool,
}

struct Occupied {
    shard: Shard,
    sockets: Sockets,
}

impl Home {
    pub(crate) fn new(shard: Shard, sockets: Sockets, clock: Clock) -> Self {
        let shard = Mutex::new(Occupied { shard, sockets });
        Self { shard, clock, is_over: AtomicBool::new(false) }
    }

    /// Tells the thread to end after its next turn.
    pub(crate) fn finish(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// Takes a turn for a shard that sleeps, if nobody else has it. Returns whether its thread need
    /// not be woken.
    pub(crate) fn assist(&self) -> bool {
        let mut occupied = match self.shard.try_lock() {
            Ok(occupied) => occupied,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        let Occupied { shard, sockets } = &mut *occupied;
        sockets.begin_turn();
        assist(shard, self.now(), sockets)
    }

    fn now(&self) -> Time {
        self.clock.now()
    }
}

impl Neighbours for Arc<[Arc<Home>]> {
    fn assist(&self, index: usize) -> bool {
        self[index].assist()
    }
}

/// Takes a turn for a shard that sleeps. Returns whether whoever waits for it need not be woken.
pub(crate) fn assist(shard: &mut Shard, now: Time, io: &mut dyn Io) -> bool {
    let armed_before = shard.next_deadline();
    let after = shard.turn(now, &[], io, None);
    shard.counters().turns_assisted.add(1);
    // The sleeping thread's poll knows only the deadline that it went to sleep with.
    let is_covered = match (armed_before, after.next_deadline) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(before), Some(after)) => before <= after,
    };
    is_covered && !after.has_more
}

/// Starts the thread of `home`, which waits on `poll`.
pub(crate) fn spawn(
    index: usize,
    mut poll: Poll,
    shared: Arc<Shared>,
    homes: Arc<[Arc<Home>]>,
) -> io::Result<JoinHandle<()>> {
    let run = move || {
        let home = Arc::clone(&homes[index]);
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut ready = Vec::with_capacity(EVENTS_MAX);
        let mut after = After { has_more: true, next_deadline: None };
        while !home.is_over.load(Ordering::SeqCst) {
            wait(&mut poll, &mut events, &shared, index, &after, &home);
            ready.clear();
            ready.extend(events.iter().filter(|event| event.token() != WAKE).map(|event| Ready {
                key: key_of(event.token()),
                is_readable: event.is_readable(),
                is_writable: event.is_writable(),
                is_closed: event.is_read_closed() || event.is_error(),
            }));
            let started = home.clock.elapsed();
            let mut occupied = home.shard.lock().unwrap_or_else(PoisonError::into_inner);
            let Occupied { shard, sockets } = &mut *occupied;
            sockets.begin_turn();
            for event in ready.iter().filter(|event| event.is_writable) {
                sockets.on_writable(event.key);
            }
            after = shard.turn(home.now(), &ready, sockets, Some(&homes));
            let micros = (home.clock.elapsed() - started).as_micros() as u64;
            shard.counters().longest_turn_micros.raise(micros);
            shard.load().note_turn(micros);
            drop(occupied);
            // A busy shard never sleeps, and where there are fewer cores than threads the system
            // would take it off its core in the middle of a turn, for milliseconds. Between turns
            // is a better moment: the p99 of 100 busy pairs on two cores went from 5-8 to 4 ms.
            if ready.len() >= BUSY_EVENTS {
                std::thread::yield_now();
            }
        }
    };
    std::thread::Builder::new().name(format!("shard-{index}")).spawn(run)
}

/// Waits for readiness, mail or the next deadline.
fn wait(
    poll: &mut Poll,
    events: &mut Events,
    shared: &Shared,
    index: usize,
    after: &After,
    home: &Home,
) {
    let mailbox = &shared.mailboxes[index];
    let mut timeout = Some(Duration::ZERO);
    if !after.has_more {
        mailbox.is_sleeping.store(true, Ordering::SeqCst);
        // Mail that came before the flag was set has woken nobody.
        if mailbox.is_empty() {
            let until = |deadline: Time| {
                Duration::from_millis(deadline.as_millis().saturating_sub(home.now().as_millis()))
            };
            timeout = after.next_deadline.map(until);
        }
    }
    if let Err(error) = poll.poll(events, timeout)
        && error.kind() != io::ErrorKind::Interrupted
    {
        // The arguments are valid for the life of the poll; without it the shard is deaf.
        panic!("waiting for network events failed: {error}");
    }
    mailbox.is_sleeping.store(false, Ordering::SeqCst);
}

/// The token of a shard's waker.
pub(crate) const WAKE: Token = Token(usize::MAX);

/// A shard with so many events in a turn is busy.
const BUSY_EVENTS: usize = 4;

/// Readiness events taken at once. More wait for the next turn.
const EVENTS_MAX: usize = 1_024;
