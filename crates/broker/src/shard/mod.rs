//! A shard: the connections and sessions of one thread, and everything that happens to them.
//!
//! [`Shard::turn`] is a function of its arguments. It takes what has happened (readiness, mail, the
//! time), and does all that follows: reads, decodes, runs sessions, routes, and writes to the
//! receivers' buffers; at its end it posts mail to other shards, submits to the store, and flushes
//! each connection that has something to say, once. Poll, wake-up, clock and sockets are outside.
//!
//! | module | what it does |
//! |---|---|
//! | `input` | reads links, cuts packets, hands each to its place |
//! | `connect` | CONNECT, the move to the home shard, takeover |
//! | `authenticate` | AUTH, the steps of an enhanced authentication |
//! | `access` | who may do what: asked on the way, and judged again when the rules change |
//! | `publish` | an arriving message: checks, routing, release |
//! | `addressing` | which durable sessions and members of shared groups it is for |
//! | `held` | what waits for the store or for other shards before it may leave |
//! | `fanout` | a message to this shard's live receivers |
//! | `groups` | messages that move from one member of a shared group to another |
//! | `acks` | PUBACK, PUBREC, PUBREL, PUBCOMP |
//! | `subscribe` | SUBSCRIBE, UNSUBSCRIBE, and when their answers may leave |
//! | `retained` | cursors that deliver retained messages |
//! | `sessions` | the life of a session: will, expiry, end |
//! | `queues` | the queues of durable sessions: what of them is in memory |
//! | `sweeps` | what shared groups gave to a former member, on its way to others |
//! | `restore` | sessions as they were before a restart |
//! | `close` | the end of a link, its timer |
//! | `output` | flushing, back-pressure |
//! | `rates` | links that are held to rates |
//! | `link`, `sessions`, `subscriptions`, `receivers`, `routes`, `wheel` | what the others work on |
//! | `statistics` | the broker's own messages |
//! | `shared` | what all shards share |

mod access;
mod acks;
mod addressing;
mod authenticate;
#[cfg(feature = "simulation")]
mod census;
mod close;
mod connect;
mod fanout;
mod groups;
mod held;
mod input;
mod link;
mod output;
mod publish;
mod queues;
mod rates;
mod receivers;
mod restore;
mod retained;
mod routes;
mod sessions;
mod shared;
mod statistics;
mod subscribe;
mod subscriptions;
mod sweeps;
mod wheel;

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::{HashMap, HashTable};
use quelea_acl::Compiler;
use quelea_session::{Effects, Position, SessionLimits, Time};
use quelea_store::{Operation, SessionNumber, ShardIndex, Submission};

use self::fanout::{DropLog, Merge};
use self::held::{Grace, HeldEntry};
use self::link::Link;
use self::output::Outgoing;
use self::receivers::Receivers;
use self::routes::Routes;
use self::sessions::HomeSession;
use self::sweeps::Sweeps;
use self::wheel::{Subject, Wheel};
use crate::arena::{Arena, Key};
use crate::counters::Counters;
use crate::live::Rules;
use crate::mail::{Letter, Reloaded};
use crate::net::{Io, Neighbours, Ready};

#[cfg(feature = "simulation")]
pub use self::census::{Census, Extent};
pub(crate) use self::shared::{Load, Shared};

/// The connections and sessions of one thread.
pub(crate) struct Shard {
    index: ShardIndex,
    shared: Arc<Shared>,
    now: Time,
    /// The configuration of this turn.
    rules: Arc<Rules>,
    limits: SessionLimits,

    links: Arena<Link>,
    /// Links with something to read that is not read yet. Each at most once (`Link::is_listed`).
    readable: VecDeque<Key>,
    /// Links with bytes to flush at the end of the turn. Each at most once (`Link::is_dirty`).
    dirty: VecDeque<Key>,
    /// Links that were dirty in earlier turns, and whose flush is still to come.
    backlog: VecDeque<Key>,
    timers: Wheel,

    sessions: Arena<HomeSession>,
    /// Sessions by client identifier.
    clients: HashTable<u32>,
    /// Durable sessions by number, which is how the store knows them.
    numbers: HashMap<SessionNumber, Key, foldhash::fast::FixedState>,
    /// Ended sessions whose queues are freed a slice a turn.
    dying: Vec<quelea_session::Session>,
    /// Sessions with retained messages still to come.
    cursors: VecDeque<Key>,

    receivers: Receivers,
    routes: Routes,
    merge: Merge,
    drop_log: DropLog,
    /// What was denied is said apart from what was dropped.
    denial_log: DropLog,
    /// Makes of the rules in force what each client may do.
    compiler: Compiler,
    /// Sessions that the present rules have not been applied to yet.
    to_judge: Vec<Key>,
    /// Reloads that are waited for.
    reloads: Vec<Reloaded>,

    outgoing: Vec<Outgoing>,
    operations: Vec<Operation>,
    /// How many sessions the broker had when it was asked first in this turn.
    session_count: Option<u64>,
    /// About how many bytes they take in the store.
    gathered_bytes: u64,
    /// How many there were last time.
    submitted_last: usize,
    submitted: Submission,
    /// The last operation that somebody waits for.
    awaited: Submission,
    durable: Submission,
    /// Links that hold something until the store is done with a submission.
    waiting: VecDeque<(Submission, Key)>,
    /// Publishes held by links that are gone.
    orphans: Vec<VecDeque<HeldEntry>>,
    /// Links that hold a message for which the store has no space.
    unstored: Vec<Key>,
    /// How far sessions may send, once the store knows it.
    marks: VecDeque<(Submission, Key, Position)>,
    sweeps: Sweeps,
    last_token: u64,
    /// Since when nothing that is awaited has become durable; zero when nothing is.
    waits_since: Time,
    graces: VecDeque<Grace>,
    /// Shards that are answered when the store is done with a submission.
    pings: VecDeque<(Submission, ShardIndex, u64)>,
    grace_last: u64,
    grace_passed: u64,

    /// Where sockets are read into. Taken while packets in it are handled.
    scratch: Vec<u8>,
    /// Empty output buffers, warm in the cache.
    buffers: Vec<Vec<u8>>,
    effects: Effects,
    /// Mail that was taken out of the mailbox. What is left over after a turn comes first in the next.
    letters: VecDeque<Letter>,
    due: Vec<(Subject, Key)>,
    is_stopping: bool,
    /// Draws of the seeded generator for client identifiers.
    draws: u64,
}

/// What a turn leaves for the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct After {
    /// There is work that needs no event: the poll must not block.
    pub(crate) has_more: bool,
    /// When there will be work even without an event.
    pub(crate) next_deadline: Option<Time>,
}

impl Shard {
    pub(crate) fn new(index: ShardIndex, shared: Arc<Shared>, now: Time) -> Self {
        let rules = shared.live.rules();
        let limits = rules.session_limits;
        let compiler = Compiler::new(Arc::clone(&rules.access));
        let outgoing = (0..shared.mailboxes.len()).map(|_| Outgoing::default()).collect();
        let seed = shared.seed;
        Self {
            index,
            now,
            rules,
            limits,
            links: Arena::new(),
            readable: VecDeque::new(),
            dirty: VecDeque::new(),
            backlog: VecDeque::new(),
            timers: Wheel::new(now),
            sessions: Arena::new(),
            clients: HashTable::new(),
            numbers: HashMap::default(),
            dying: Vec::new(),
            cursors: VecDeque::new(),
            receivers: Receivers::default(),
            routes: Routes::new(seed),
            merge: Merge::default(),
            drop_log: DropLog::default(),
            denial_log: DropLog::default(),
            compiler,
            to_judge: Vec::new(),
            reloads: Vec::new(),
            outgoing,
            operations: Vec::new(),
            session_count: None,
            gathered_bytes: 0,
            submitted_last: 0,
            submitted: Submission::default(),
            awaited: Submission::default(),
            durable: Submission::default(),
            waiting: VecDeque::new(),
            orphans: Vec::new(),
            unstored: Vec::new(),
            marks: VecDeque::new(),
            sweeps: Sweeps::default(),
            last_token: 0,
            waits_since: Time::ZERO,
            graces: VecDeque::new(),
            pings: VecDeque::new(),
            grace_last: 0,
            grace_passed: 0,
            scratch: vec![0; READ_BYTES],
            buffers: Vec::new(),
            effects: Effects::default(),
            letters: VecDeque::new(),
            due: Vec::new(),
            is_stopping: false,
            draws: seed,
            shared,
        }
    }

    /// Does everything that follows from what has happened.
    ///
    /// `neighbours` are the shards that this one may assist; an assisted shard gets none, so that
    /// assistance is never nested.
    pub(crate) fn turn(
        &mut self,
        now: Time,
        ready: &[Ready],
        io: &mut dyn Io,
        neighbours: Option<&dyn Neighbours>,
    ) -> After {
        self.shared.begin_turn(self.index);
        self.now = now;
        self.session_count = None;
        self.take_rules();
        self.judge_some(io);
        self.read_mail(io);
        self.note_readiness(ready);
        self.retry_unstored();
        self.serve_readable(io);
        self.run_timers(io);
        self.drive_cursors();
        self.free_dying();
        self.submit_operations();
        // Flushed before the others are told: what this shard's own clients wait for is ready.
        self.flush_dirty(io);
        self.post_outgoing(neighbours);
        self.answer_pings();
        self.counters().turns.add(1);
        self.note_waiting();
        self.shared.end_turn(self.index, self.awaited > self.durable);
        After { has_more: self.has_more(), next_deadline: self.next_deadline() }
    }

    /// Returns when the shard has work even without an event.
    pub(crate) fn next_deadline(&mut self) -> Option<Time> {
        let timers = self.timers.next_deadline();
        // Neither another shard nor the store says when it has caught up.
        let is_waiting = !self.readable.is_empty() || !self.unstored.is_empty();
        let soon = is_waiting.then(|| self.now.plus_millis(HELD_BACK_MILLIS));
        timers.into_iter().chain(soon).min()
    }

    /// Returns this shard's counters.
    #[inline]
    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters[self.index.0 as usize]
    }

    /// Returns where it says how busy it is.
    pub(crate) fn load(&self) -> &Load {
        &self.shared.loads[usize::from(self.index.0)]
    }

    fn has_more(&self) -> bool {
        (!self.readable.is_empty() && !self.is_held_back())
            || !self.letters.is_empty()
            || !self.dirty.is_empty()
            || !self.backlog.is_empty()
            || !self.cursors.is_empty()
            || !self.dying.is_empty()
            || !self.to_judge.is_empty()
            || !self.reloads.is_empty()
            || !self.shared.mailboxes[self.index.0 as usize].is_empty()
    }

    /// Goes by another configuration from here on, if there is one.
    fn take_rules(&mut self) {
        if let Some(rules) = self.shared.live.newer_than(&self.rules) {
            self.limits = rules.session_limits;
            let has_same_access = self.rules.access == rules.access;
            if !has_same_access {
                self.compiler = Compiler::new(Arc::clone(&rules.access));
            }
            self.rules = rules;
            self.bound_open_links();
            self.end_banned_links();
            if !has_same_access {
                self.judge_all_again();
            }
        }
    }

    /// Handles mail, as much as a turn may take. The rest waits, and its order stays.
    fn read_mail(&mut self, io: &mut dyn Io) {
        let shared = Arc::clone(&self.shared);
        let mailbox = &shared.mailboxes[self.index.0 as usize];
        let mut letters = std::mem::take(&mut self.letters);
        mailbox.take(&mut letters);
        let mut units = MAIL_UNITS;
        while units > 0
            && let Some(letter) = letters.pop_front()
        {
            units -= 1;
            match letter {
                Letter::Batch(mut batch) => {
                    units = self.deliver_batch(&mut batch, units);
                    if units == 0 {
                        letters.push_front(Letter::Batch(batch));
                    } else {
                        mailbox.recycle(batch);
                    }
                }
                Letter::Arrived(arrival) => self.on_arrival(*arrival, io),
                Letter::Placed(placed) => self.on_placed(placed),
                Letter::Unplaced(unplaced) => self.on_unplaced(unplaced),
                Letter::Skipped(count) => self.counters().dropped_session_ended.add(count),
                Letter::NoRoom { session, topic, others } => {
                    self.on_no_room_elsewhere(session, &topic, others)
                }
                Letter::Fetched(fetched) => self.on_fetched(fetched),
                Letter::Dropped(dropped) => self.on_dropped(dropped),
                Letter::EndSession(number) => self.on_end_session(number),
                Letter::Durable(through) => self.on_durable(through),
                Letter::Ping { from, token } => self.on_ping_of_shard(from, token),
                Letter::Pong { token } => self.on_pong(token),
                Letter::Statistics(values) => self.publish_statistics(values),
                Letter::Authenticated { link, answer } => self.on_answer(link, *answer, io),
                Letter::Reloaded(reloaded) => self.reloads.push(reloaded),
                Letter::CountNewest(newest) => self.count_newest(&newest),
                Letter::Shed { newest, age_max } => self.shed(&newest, age_max),
                Letter::Tidy => self.tidy(),
                Letter::Stop => self.on_stop(io),
            }
        }
        self.letters = letters;
    }

    /// Gives up what only helps under load, so that its memory can go back to the system.
    fn tidy(&mut self) {
        self.routes.forget();
        self.buffers = Vec::new();
        self.readable.shrink_to_fit();
        self.dirty.shrink_to_fit();
        self.backlog.shrink_to_fit();
        self.effects.drops = Vec::new();
    }

    fn note_readiness(&mut self, ready: &[Ready]) {
        for event in ready {
            let Some(link) = self.links.get_mut(event.key) else { continue };
            link.is_closed |= event.is_closed;
            if event.is_readable || event.is_closed {
                link.has_input = true;
                self.list_readable(event.key);
            }
            if event.is_writable {
                self.on_writable(event.key);
            }
        }
    }

    fn run_timers(&mut self, io: &mut dyn Io) {
        let mut due = std::mem::take(&mut self.due);
        self.timers.expire(self.now, &mut due);
        for (subject, key) in due.drain(..) {
            match subject {
                Subject::Link => self.on_link_timer(key, io),
                Subject::Session => self.on_session_timer(key),
            }
        }
        self.due = due;
    }
}

/// How soon a shard looks again whether it may go on reading.
const HELD_BACK_MILLIS: u64 = 1;

/// Bytes read from one connection in a turn, and the size of the shared read buffer.
const READ_BYTES: usize = 64 * 1024;

/// Units of work for one connection in a turn: a packet is one, a receiver is one.
const WORK_UNITS: usize = 4_096;

/// Units of work for mail in a turn: a letter is one, a receiver is one.
const MAIL_UNITS: usize = 16_384;
