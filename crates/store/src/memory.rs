//! The store of a broker that remembers nothing over a restart.
//!
//! It keeps the queues, and nothing else: the shards hold all the rest in memory themselves. Every
//! submission is complete at once.

mod queue;

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quelea_session::{Message, Position};

use self::queue::{Entry, Queue};
use crate::{
    Attributes, Batch, Completions, Condition, Operation, Outcomes, Placed, Presence, QueueLimits,
    SessionNumber, ShardIndex, Statistics, Store, Target,
};

/// Keeps queues in memory.
pub struct Memory {
    completions: Arc<dyn Completions>,
    limits: QueueLimits,
    /// Held while one submission is taken, which is one turn of one shard: the lock is what makes the order of
    /// positions the same for all who publish. It is not held while the answers are delivered.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By the lower half of session numbers.
    slots: Vec<Slot>,
    /// Slots whose last session is gone.
    free: Vec<u32>,
    /// Answers to be delivered.
    outbox: Outcomes,
    /// A thread is delivering what was in the outbox: what comes after it waits for that thread.
    is_delivering: bool,
}

struct Slot {
    generation: u32,
    session: Occupant,
}

enum Occupant {
    /// Nobody has the slot.
    Free,
    /// Its number was given out.
    Promised,
    /// A session, or what is left of one for shared groups.
    Queue(Box<Queue>),
}

impl Memory {
    /// Makes an empty store that answers to `completions`.
    pub fn new(completions: Arc<dyn Completions>, limits: QueueLimits) -> Self {
        Self { completions, limits, state: Mutex::default() }
    }

    /// Delivers what is in the outbox, unless another thread is at it.
    ///
    /// The lock is not held meanwhile, and yet two shards' entries for one session reach its mailbox in the
    /// order of their positions: one thread delivers at a time.
    fn deliver<'a>(&'a self, mut state: MutexGuard<'a, State>) {
        if mem::replace(&mut state.is_delivering, true) {
            return;
        }
        for _ in 0..ROUNDS_MAX {
            let outcomes = mem::take(&mut state.outbox);
            if outcomes.is_empty() {
                state.is_delivering = false;
                return;
            }
            drop(state);
            outcomes.deliver(&*self.completions);
            state = self.lock();
        }
        // The other shards have submitted faster than this one could deliver. They wait, for once.
        mem::take(&mut state.outbox).deliver(&*self.completions);
        state.is_delivering = false;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Memory {
    fn new_session(&self) -> SessionNumber {
        let mut state = self.lock();
        if let Some(slot) = state.free.pop() {
            let it = &mut state.slots[slot as usize];
            it.generation += 1;
            it.session = Occupant::Promised;
            return SessionNumber::new(slot, it.generation);
        }
        let slot = u32::try_from(state.slots.len()).expect("memory ends before 2^32 sessions");
        state.slots.push(Slot { generation: 1, session: Occupant::Promised });
        SessionNumber::new(slot, 1)
    }

    fn submit(&self, shard: ShardIndex, batch: Batch) {
        let mut state = self.lock();
        let mut outbox = mem::take(&mut state.outbox);
        for operation in batch.operations {
            state.apply(shard, operation, &self.limits, &mut outbox);
        }
        outbox.complete(shard, batch.through);
        state.outbox = outbox;
        self.deliver(state);
    }

    fn condition(&self) -> Condition {
        Condition::Ready
    }

    fn has_room(&self, _: u64) -> bool {
        true
    }

    fn statistics(&self) -> Statistics {
        Statistics::default()
    }
}

impl State {
    fn apply(
        &mut self,
        shard: ShardIndex,
        operation: Operation,
        limits: &QueueLimits,
        outbox: &mut Outcomes,
    ) {
        match operation {
            Operation::Publish { message, targets, attributes, .. } => {
                self.place(shard, &message, &targets, &attributes, limits, outbox);
            }
            Operation::Finish { session, positions } => {
                if let Some(queue) = self.queue(session) {
                    positions.into_iter().for_each(|position| queue.finish(position));
                    self.forget_if_empty(session);
                }
            }
            Operation::Received { session, position } => {
                if let Some(queue) = self.queue(session) {
                    // Once the session is gone nobody is there to complete it.
                    if queue.is_ghost {
                        queue.finish(position)
                    } else {
                        queue.release(position)
                    }
                    self.forget_if_empty(session);
                }
            }
            Operation::SessionStart { session, .. } => self.start(session, shard),
            Operation::SessionChange { session, presence, sent_before, .. } => {
                if let Some(queue) = self.queue(session).filter(|queue| !queue.is_ghost) {
                    queue.home = shard;
                    queue.is_connected = presence == Presence::Connected;
                    queue.set_sent_before(sent_before);
                    drop_oldest(session, queue, limits, outbox);
                }
            }
            Operation::SessionEnd { session } => self.end(session),
            Operation::Fetch(fetch) => {
                let fetched = match self.queue(fetch.session) {
                    Some(queue) => queue.fetch(&fetch),
                    None => Queue::new(shard).fetch(&fetch),
                };
                outbox.fetch(shard, fetched);
            }
            // The shards hold all of this in memory themselves.
            Operation::Unretain { .. }
            | Operation::Release { .. }
            | Operation::Subscribe { .. }
            | Operation::Cursor { .. }
            | Operation::Unsubscribe { .. }
            | Operation::Will { .. } => {}
        }
    }

    fn place(
        &mut self,
        shard: ShardIndex,
        message: &Arc<Message>,
        targets: &[Target],
        attributes: &[Attributes],
        limits: &QueueLimits,
        outbox: &mut Outcomes,
    ) {
        for &Target { session, attributes: index } in targets {
            let attributes = attributes[index as usize].clone();
            // A session that ended since the message was routed has no queue to place it in.
            let Some(queue) = self.queue(session).filter(|queue| !queue.is_ghost) else {
                match attributes.share {
                    Some(_) => outbox.unplace(shard, attributes, message),
                    None => outbox.skip(shard),
                }
                continue;
            };
            let position = queue.place(Arc::clone(message), attributes);
            if queue.is_connected {
                report(session, queue, position, outbox);
            }
            drop_oldest(session, queue, limits, outbox);
        }
    }

    fn start(&mut self, session: SessionNumber, home: ShardIndex) {
        let slot = self.slots.get_mut(session.slot() as usize);
        let slot = slot.filter(|slot| slot.generation == session.generation());
        debug_assert!(slot.is_some(), "session {session:?} has a number that was not given out");
        if let Some(slot) = slot {
            slot.session = Occupant::Queue(Box::new(Queue::new(home)));
        }
    }

    fn end(&mut self, session: SessionNumber) {
        let Some(queue) = self.queue(session) else { return };
        queue.is_ghost = true;
        queue.keep_shared();
        self.forget_if_empty(session);
    }

    /// Gives up the number of a session that is gone, once nothing has to be moved any more.
    fn forget_if_empty(&mut self, session: SessionNumber) {
        let is_over = self.queue(session).is_some_and(|queue| queue.is_ghost && queue.is_empty());
        if !is_over {
            return;
        }
        let slot = &mut self.slots[session.slot() as usize];
        slot.session = Occupant::Free;
        // A slot whose generations are used up is given up.
        if slot.generation < u32::MAX {
            self.free.push(session.slot());
        }
    }

    fn queue(&mut self, session: SessionNumber) -> Option<&mut Queue> {
        let slot = self.slots.get_mut(session.slot() as usize)?;
        match &mut slot.session {
            Occupant::Queue(queue) if slot.generation == session.generation() => Some(queue),
            Occupant::Queue(_) | Occupant::Promised | Occupant::Free => None,
        }
    }
}

/// Has the shard of a connected session told what was placed in its queue.
fn report(session: SessionNumber, queue: &Queue, position: Position, outbox: &mut Outcomes) {
    let Some(Entry { message: Some(message), attributes, .. }) = queue.last() else { return };
    let (message, attributes) = (Arc::clone(message), attributes.clone());
    outbox.place(queue.home, Placed { session, position, message, attributes });
}

/// Keeps the limits of the queue of a session whose client is away.
fn drop_oldest(
    session: SessionNumber,
    queue: &mut Queue,
    limits: &QueueLimits,
    outbox: &mut Outcomes,
) {
    if limits.drops_oldest && !queue.is_connected {
        let (messages, bytes) = queue.drop_oldest(limits);
        outbox.drop_oldest(queue.home, session, messages, bytes);
    }
}

/// How many times a thread delivers what came while it was delivering, before it makes the others wait.
const ROUNDS_MAX: usize = 8;
