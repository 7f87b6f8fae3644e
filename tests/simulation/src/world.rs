//! A run: a broker, its disk, the network and the clients, in virtual time and on one thread.
//!
//! Everything that happens is an event with a time; of those at one time the first made is the first to happen. So the
//! same seed gives the same run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quelea_broker::simulation::{House, Mailboxes, Wait};
use quelea_session::Time;
use quelea_store::WallMillis;

use crate::client::{Client, Hands, Mode};
use crate::fact::Fact;
use crate::judge::Judge;
use crate::network::{Notice, Side, Wires};
use crate::properties::Terms;
use crate::random::Random;
use crate::setting::{SECOND, Setting};
use crate::store::{Backend, DiskManners};

/// See the module.
pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) setting: Setting,
    pub(crate) judge: Judge,
    pub(crate) clients: Vec<Client>,
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) house: Option<House>,
    /// Messages dropped for a limit, by brokers that are gone.
    pub(crate) dropped: u64,
    pub(crate) crash_count: u64,
    wires: Arc<Mutex<Wires>>,
    random: Random,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    event_count: u64,
    /// When the broker's clock began.
    started_at: u64,
    /// By shard: when its next turn is.
    turns: Vec<Option<u64>>,
    stalled_until: Vec<u64>,
    turn_count: u64,
    store_at: Option<u64>,
    /// By client: when it does something of its own, and whether it is told that it may read or write.
    wakes: Vec<Option<u64>>,
    is_told: Vec<bool>,
    is_stopping: bool,
    has_trouble: bool,
}

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Bytes arrive at the broker's side, or at the client's.
    Arrive(u64, bool),
    /// A connection reaches the broker's listener.
    Accept(u64),
    /// A client may read or write.
    ClientReady(usize),
    /// A client does something of its own.
    ClientWake(usize),
    /// A shard has its turn.
    Turn(usize),
    /// The store does something.
    Store,
    /// A broker starts.
    Start,
    /// The broker dies.
    Crash,
    /// The broker is told to stop.
    Stop,
    /// It has stopped.
    Stopped,
    /// A connection breaks.
    Cut,
    /// A shard stands still.
    Stall,
    /// The disk is full.
    Fill,
    /// The disk is slow.
    Slow,
    /// The disk is as it was.
    MendDisk,
}

impl World {
    /// Makes the world of a seed, with a store that has nothing in it.
    pub(crate) fn new(
        setting: Setting,
        backend: Box<dyn Backend>,
        mut random: Random,
        traces: bool,
    ) -> Self {
        let grace = u64::from(setting.config.store.restart_grace_secs) * SECOND;
        let terms = Terms {
            grace,
            late_max: LATE_MAX,
            may_end_sessions: setting.may_end_sessions(),
            may_refuse: setting.may_refuse(),
            keeps_qos0: setting.config.limits.queue_qos0_offline,
            drops_oldest: setting.queue_limits().drops_oldest,
        };
        let client_count = setting.profiles.len();
        let wires = Wires::new(setting.manners, random.fork());
        let clients =
            (0..client_count).map(|index| Client::new(index, &setting, random.fork())).collect();
        let mut world = Self {
            now: 0,
            judge: Judge::new(client_count, terms, traces),
            clients,
            backend,
            house: None,
            dropped: 0,
            crash_count: 0,
            wires: Arc::new(Mutex::new(wires)),
            random,
            events: BinaryHeap::new(),
            event_count: 0,
            started_at: 0,
            turns: vec![None; setting.shard_count],
            stalled_until: vec![0; setting.shard_count],
            turn_count: 0,
            store_at: None,
            wakes: vec![None; client_count],
            is_told: vec![false; client_count],
            is_stopping: false,
            has_trouble: true,
            setting,
        };
        world.start();
        for (event, every) in world.troubles() {
            world.next_trouble(event, every);
        }
        world
    }

    /// Lets everything happen until `end`, or until something is wrong.
    pub(crate) fn run_until(&mut self, end: u64) {
        self.look_around();
        while self.judge.failure().is_none()
            && let Some(Reverse((at, _, event))) = self.events.peek().copied()
            && at <= end
        {
            self.events.pop();
            self.set_now(at);
            self.happen(event);
            self.look_around();
        }
        self.set_now(end.max(self.now));
    }

    /// Nothing goes wrong any more.
    pub(crate) fn end_trouble(&mut self) {
        self.has_trouble = false;
        let commit_max = 1_000;
        self.backend.set_disk(DiskManners { commit_max, is_full: false });
        self.setting.turn_max = 100;
        self.wires().heal();
    }

    /// Returns whether nothing is under way.
    pub(crate) fn is_at_rest(&self) -> bool {
        let Some(house) = &self.house else { return false };
        let is_busy = |name: &str| BUSY.contains(&name);
        let mut census = house.census().0.into_iter();
        self.clients.iter().all(Client::is_at_rest)
            && self.wires().is_still()
            && self.backend.next_at().is_none()
            && census.all(|(name, count)| count == 0 || !is_busy(name))
    }

    /// Returns a number that differs if the run was another.
    pub(crate) fn digest(&self) -> u64 {
        self.wires().digest() ^ self.event_count.rotate_left(32) ^ self.judge.fact_count()
    }

    /// Sets what a client is at.
    pub(crate) fn set_mode(&mut self, client: usize, mode: Mode) {
        self.clients[client].set_mode(mode, self.now);
    }

    fn wires(&self) -> MutexGuard<'_, Wires> {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_now(&mut self, now: u64) {
        self.now = now;
        self.judge.set_now(now);
        self.wires().set_now(now);
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.event_count += 1;
        self.events.push(Reverse((at.max(self.now), self.event_count, event)));
    }

    /// Returns what goes wrong, and how often.
    fn troubles(&self) -> Vec<(Event, u64)> {
        let setting = &self.setting;
        let all = [
            (Event::Crash, setting.crash_every),
            (Event::Stop, setting.stop_every),
            (Event::Cut, setting.cut_every),
            (Event::Stall, setting.stall_every),
            (Event::Fill, setting.full_every),
            (Event::Slow, setting.slow_every),
        ];
        all.into_iter().filter_map(|(event, every)| Some((event, every?))).collect()
    }

    fn next_trouble(&mut self, event: Event, every: u64) {
        let at = self.now + 1 + self.random.within(0..2 * every);
        self.schedule(at, event);
    }

    fn happen(&mut self, event: Event) {
        let trouble = self.troubles().into_iter().find(|it| it.0 == event);
        if let Some((_, every)) = trouble {
            if !self.has_trouble {
                return;
            }
            self.next_trouble(event, every);
        }
        match event {
            Event::Arrive(connection, is_up) => {
                let side = if is_up { Side::Broker } else { Side::Client };
                self.wires().arrive(connection, side);
            }
            Event::Accept(connection) => {
                let now = self.broker_now();
                let is_taken = !self.is_stopping
                    && self.house.as_ref().is_some_and(|house| house.accept(connection, now));
                if !is_taken {
                    self.wires().cut(connection, |side| side == Side::Client);
                }
            }
            Event::ClientReady(client) => {
                self.is_told[client] = false;
                self.with_client(client, Client::on_ready);
            }
            Event::ClientWake(client) => {
                if self.wakes[client] == Some(self.now) {
                    self.wakes[client] = None;
                    self.with_client(client, Client::on_wake);
                }
            }
            Event::Turn(shard) => self.turn(shard),
            Event::Store => {
                if self.store_at == Some(self.now) {
                    self.store_at = None;
                    self.backend.step(self.now);
                }
            }
            Event::Start => self.start(),
            Event::Crash => self.crash(),
            Event::Stop => self.stop(),
            Event::Stopped => self.stopped(),
            Event::Cut => {
                let link = self.wires().any_connection();
                if let Some(link) = link {
                    self.judge.note(&Fact::Cut(link));
                    let (broker, client) = (self.random.percent(60), self.random.percent(60));
                    let finds_out = |side| if side == Side::Broker { broker } else { client };
                    self.wires().cut(link, finds_out);
                }
            }
            Event::Stall => {
                let shard = self.random.within(0..self.setting.shard_count as u64) as usize;
                self.stalled_until[shard] = self.now + self.random.scattered(0..STALL_MAX);
            }
            Event::Fill => {
                let commit_max = self.setting.disk.commit_max;
                self.break_disk(DiskManners { commit_max, is_full: true });
            }
            Event::Slow => {
                let commit_max = self.setting.disk.commit_max * 50;
                self.break_disk(DiskManners { commit_max, is_full: false });
            }
            Event::MendDisk => self.backend.set_disk(self.setting.disk),
        }
    }

    fn break_disk(&mut self, disk: DiskManners) {
        self.judge.say(|| format!("the disk: {disk:?}"));
        self.backend.set_disk(disk);
        let at = self.now + 1 + self.random.scattered(0..5 * SECOND);
        self.schedule(at, Event::MendDisk);
    }

    fn with_client(&mut self, index: usize, act: impl FnOnce(&mut Client, &mut Hands<'_>)) {
        let wires = Arc::clone(&self.wires);
        let mut wires = wires.lock().unwrap_or_else(PoisonError::into_inner);
        let is_up = self.house.is_some() && !self.is_stopping;
        let judge = &mut self.judge;
        let mut hands = Hands { now: self.now, wires: &mut wires, judge, is_up };
        act(&mut self.clients[index], &mut hands);
    }

    fn turn(&mut self, shard: usize) {
        if self.turns[shard] != Some(self.now) {
            return;
        }
        self.turns[shard] = None;
        let now = self.broker_now();
        let Some(house) = &self.house else { return };
        let ready = self.wires().take_ready(shard);
        house.turn(shard, now, &ready, &*self.wires);
        self.turn_count += 1;
        if self.turn_count.is_multiple_of(BOUNDS_EVERY) {
            if let Err(why) = crate::bounds::check(&house.extent(), &self.setting.config.limits) {
                self.judge.fail(why);
            }
            if let Some((name, count)) = house.census().0.into_iter().find(|it| it.1 > 1 << 40) {
                self.judge.fail(format!("{} {name}", count as i64));
            }
            if let Some(failure) = house.failure() {
                self.judge.fail(format!("the store has failed: {failure}"));
            }
        }
    }

    /// Makes events of all that has become possible.
    fn look_around(&mut self) {
        loop {
            let notices = self.wires().take_notices();
            if notices.is_empty() {
                break;
            }
            for notice in notices {
                match notice {
                    Notice::ArriveAt(at, connection, side) => {
                        self.schedule(at, Event::Arrive(connection, side == Side::Broker));
                    }
                    Notice::Connect(connection) => {
                        let at = self.now + 1 + self.random.within(0..1_000);
                        self.schedule(at, Event::Accept(connection));
                    }
                    Notice::Client(client) if !self.is_told[client] => {
                        self.is_told[client] = true;
                        let at = self.now + 1 + self.random.within(0..50);
                        self.schedule(at, Event::ClientReady(client));
                    }
                    Notice::Client(_) => {}
                    Notice::BrokerEnded(link) => self.judge.note(&Fact::BrokerEnded(link)),
                }
            }
        }
        for client in 0..self.clients.len() {
            let wakes_at = self.clients[client].wakes_at();
            if let Some(at) = wakes_at
                && self.wakes[client].is_none_or(|known| known > at)
            {
                let at = at.max(self.now + 1);
                self.wakes[client] = Some(at);
                self.schedule(at, Event::ClientWake(client));
            }
        }
        if let Some(at) = self.backend.next_at() {
            let at = at.max(self.now + 1);
            if self.store_at.is_none_or(|known| known > at) {
                self.store_at = Some(at);
                self.schedule(at, Event::Store);
            }
        }
        self.plan_turns();
    }

    /// Gives each shard a turn that would not go on sleeping.
    fn plan_turns(&mut self) {
        let Some(house) = &self.house else { return };
        let mut plans = Vec::new();
        for shard in 0..self.setting.shard_count {
            let is_ready = self.wires().is_ready(shard);
            let due = match house.wait(shard) {
                _ if is_ready => self.now,
                Wait::Now => self.now,
                Wait::Until(None) => continue,
                Wait::Until(Some(deadline)) => self.micros_of(deadline),
            };
            let due = due.max(self.stalled_until[shard]).max(self.now);
            if self.turns[shard].is_none_or(|known| known > due + self.setting.turn_max) {
                plans.push((shard, due));
            }
        }
        for (shard, due) in plans {
            let at = due + 1 + self.random.within(0..self.setting.turn_max);
            self.turns[shard] = Some(at);
            self.schedule(at, Event::Turn(shard));
        }
    }

    fn start(&mut self) {
        if self.house.is_some() {
            return;
        }
        self.started_at = self.now;
        let now = self.broker_now();
        let wall_at_zero = WALL_AT_ZERO + self.now / 1_000 - now.as_millis();
        let recovered = match self.backend.open(now, wall_at_zero) {
            Ok(recovered) => recovered,
            Err(why) => return self.judge.fail(format!("the store cannot be opened: {why}")),
        };
        let mailboxes = Mailboxes::new(self.setting.shard_count);
        let store = self.backend.start(&mailboxes);
        let config = self.setting.config.clone();
        let seed = self.random.draw();
        let wall_at_zero = WallMillis(wall_at_zero);
        let (house, places) =
            House::new(config, mailboxes, store, recovered, seed, now, wall_at_zero);
        self.backend.set_places(&places);
        self.wires().restart(self.setting.shard_count);
        self.turns.fill(None);
        self.house = Some(house);
        self.judge.note(&Fact::Started);
    }

    /// The broker's process is gone.
    fn end_process(&mut self) {
        let Some(house) = self.house.take() else { return };
        self.dropped += dropped(&house, self.setting.may_end_sessions());
        self.judge.note(&Fact::Crashed);
        self.is_stopping = false;
        self.wires().crash();
        self.store_at = None;
        let at = self.now + 1 + self.random.scattered(0..8 * SECOND);
        self.schedule(at, Event::Start);
    }

    fn crash(&mut self) {
        if self.house.is_some() {
            self.crash_count += 1;
            self.backend.crash(&mut self.random);
            self.end_process();
        }
    }

    /// The broker is told to stop.
    fn stop(&mut self) {
        if let Some(house) = &self.house
            && !self.is_stopping
        {
            self.is_stopping = true;
            house.stop();
            self.judge.note(&Fact::Stopping);
            self.schedule(self.now + STOP_MICROS, Event::Stopped);
        }
    }

    /// The broker has stopped: the store does what is left.
    fn stopped(&mut self) {
        if !self.is_stopping {
            return;
        }
        self.backend.finish(self.now);
        self.backend.crash(&mut self.random);
        self.end_process();
    }

    /// Returns messages dropped for a limit so far.
    pub(crate) fn dropped(&self) -> u64 {
        let house = self.house.as_ref();
        let may_end_sessions = self.setting.may_end_sessions();
        self.dropped + house.map_or(0, |house| dropped(house, may_end_sessions))
    }

    /// Returns the time as the broker's clock shows it: from one second on, as a real one does.
    fn broker_now(&self) -> Time {
        Time::from_millis((self.now - self.started_at) / 1_000 + 1_000)
    }

    fn micros_of(&self, time: Time) -> u64 {
        self.started_at + time.as_millis().saturating_sub(1_000) * 1_000
    }
}

/// Returns the messages that a broker has dropped for a limit.
fn dropped(house: &House, may_end_sessions: bool) -> u64 {
    let totals = house.totals();
    // What a session had for a group, that is ended for its full queue, may find no other member.
    let lost_members = if may_end_sessions { totals.dropped_no_member } else { 0 };
    totals.dropped_queue_full + totals.dropped_no_space + lost_members
}

/// What is not at rest, if there is any of it.
const BUSY: [&str; 17] = [
    "held",
    "readable",
    "dirty",
    "backlog of flushes",
    "dying",
    "cursors",
    "operations",
    "waiting",
    "orphans",
    "unstored",
    "marks",
    "sweeps",
    "graces",
    "pings",
    "letters",
    "mail",
    "queued messages",
];

/// What the wall clock shows when a run begins, in milliseconds.
const WALL_AT_ZERO: u64 = 1_700_000_000_000;

/// At most so long after its time a timer runs: its tick, a turn, a shard that stands still.
const LATE_MAX: u64 = SECOND;

/// The longest time that a shard stands still.
const STALL_MAX: u64 = SECOND / 3;

/// A broker that is told to stop has so long.
const STOP_MICROS: u64 = SECOND;

/// Bounds are looked at once in so many turns.
const BOUNDS_EVERY: u64 = 32;
