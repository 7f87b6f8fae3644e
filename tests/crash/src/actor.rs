//! A client that follows its plan, by chance.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use mio::Registry;

use crate::client::{Client, Draft, State, Wish};
use crate::history::{ClientIndex, History};
use crate::plan::Plan;
use crate::random::Random;

/// A client that follows its plan.
#[derive(Debug)]
pub struct Actor {
    /// Who acts.
    pub client: Client,
    plan: Plan,
    /// Whether it was away when it was looked at last.
    was_away: bool,
    /// When it comes, while it is away; when it leaves, while it is there.
    moves_at: u64,
    acknowledges_at: u64,
    changes_at: u64,
    pings_at: u64,
    publishes_at: u64,
}

/// What is around the clients.
#[derive(Debug)]
pub struct Scene<'a> {
    /// Where the broker listens.
    pub address: SocketAddr,
    /// Where connections are watched.
    pub registry: &'a Registry,
    /// What is written down.
    pub history: &'a mut History,
    /// Where chance comes from.
    pub random: &'a mut Random,
    /// Nothing new is begun: what is under way is brought to its end.
    pub is_ending: bool,
}

impl Actor {
    /// Makes the client of `plan`.
    pub fn new(index: ClientIndex, plan: Plan) -> Self {
        Self {
            client: Client::new(index, plan.version, plan.name.clone()),
            plan,
            was_away: false,
            moves_at: 0,
            acknowledges_at: 0,
            changes_at: 0,
            pings_at: 0,
            publishes_at: 0,
        }
    }

    /// Does what is due.
    pub fn act(&mut self, scene: &mut Scene<'_>) {
        let now = scene.history.now();
        let is_away = self.client.state() == State::Away;
        if is_away && !self.was_away {
            self.moves_at = now + scene.random.within(&self.plan.away_millis);
        }
        self.was_away = is_away;
        match self.client.state() {
            State::Away => self.come(now, scene),
            State::Connected => self.work(now, scene),
            State::Connecting | State::Leaving => {}
        }
        self.client.flush();
    }

    /// Says whether everything that it had to do at the end is done.
    pub fn is_done(&self) -> bool {
        let is_there = self.client.state() == State::Connected;
        let has_filter = |filter| self.client.is_subscribed(filter) == Some(true);
        let is_subscribed = self.plan.filters.iter().all(|(filter, _)| has_filter(filter));
        !self.plan.is_back_at_end || (is_there && is_subscribed && !self.client.is_waiting())
    }

    fn come(&mut self, now: u64, scene: &mut Scene<'_>) {
        let is_wanted =
            if scene.is_ending { self.plan.is_back_at_end } else { now >= self.moves_at };
        if is_wanted {
            self.connect(now, scene);
        }
    }

    fn connect(&mut self, now: u64, scene: &mut Scene<'_>) {
        let Scene { random, history, registry, address, is_ending } = scene;
        let will =
            self.plan.will.as_ref().map(|(topic, delays)| {
                (topic.clone(), *random.pick(&[1, 2]), *random.pick(delays))
            });
        let wish = Wish {
            clean_start: !*is_ending && random.chance(self.plan.clean_start_percent),
            expiry_secs: *random.pick(self.plan.expiry_secs),
            receive_maximum: if self.plan.is_slow { 8 } else { *random.pick(&[20, u16::MAX]) },
            will,
        };
        self.client.connect(&wish, *address, registry, history);
        self.moves_at = now + random.within(&self.plan.online_millis);
    }

    fn work(&mut self, now: u64, scene: &mut Scene<'_>) {
        if now >= self.moves_at && !scene.is_ending {
            self.go(now, scene);
            return;
        }
        self.acknowledge(now, scene);
        for (filter, qos) in &self.plan.filters {
            if self.client.is_subscribed(filter) == Some(false) {
                self.client.subscribe(filter, *qos, scene.history);
            }
        }
        if is_due(&mut self.pings_at, now, &PING_PAUSE_MILLIS, scene.random) {
            self.client.ping(scene.history);
        }
        if !scene.is_ending {
            self.change(now, scene);
            self.publish(now, scene);
        }
    }

    fn go(&mut self, now: u64, scene: &mut Scene<'_>) {
        if scene.random.chance(TAKEOVER_PERCENT) {
            self.connect(now, scene);
            return;
        }
        let Scene { random, history, .. } = scene;
        if random.chance(self.plan.abort_percent) {
            self.client.leave(history);
            return;
        }
        let keeps_will = random.chance(self.plan.keeps_will_percent);
        let is_new = random.chance(self.plan.new_expiry_percent) && self.client.may_change_expiry();
        let expiry_secs = is_new.then(|| *random.pick(self.plan.expiry_secs));
        self.client.disconnect(keeps_will, expiry_secs, history);
    }

    fn acknowledge(&mut self, now: u64, scene: &mut Scene<'_>) {
        if !self.plan.is_slow || scene.is_ending {
            self.client.acknowledge(usize::MAX, scene.history);
        } else if is_due(&mut self.acknowledges_at, now, &SLOW_PAUSE_MILLIS, scene.random) {
            let count = scene.random.within(&(0..=8)) as usize;
            self.client.acknowledge(count, scene.history);
        }
    }

    fn change(&mut self, now: u64, scene: &mut Scene<'_>) {
        let is_due = is_due(&mut self.changes_at, now, &CHANGE_PAUSE_MILLIS, scene.random);
        if self.plan.changing.is_empty() || !is_due {
            return;
        }
        let (filter, qos) = scene.random.pick(&self.plan.changing);
        match self.client.is_subscribed(filter) {
            // Now and then it subscribes to what it has: the retained messages come again.
            Some(true) if scene.random.chance(75) => self.client.unsubscribe(filter, scene.history),
            Some(_) => self.client.subscribe(filter, *qos, scene.history),
            None => {}
        }
    }

    fn publish(&mut self, now: u64, scene: &mut Scene<'_>) {
        let Some(publishing) = &self.plan.publishing else { return };
        let Scene { random, history, .. } = scene;
        let is_free = self.client.in_flight() < publishing.window;
        if !is_free || !is_due(&mut self.publishes_at, now, &publishing.pause_millis, random) {
            return;
        }
        for _ in 0..random.within(&(1..=3)) {
            let filler_bytes = match random.draw() % 100 {
                0 => random.within(&(0..=60_000)),
                1..10 => random.within(&(0..=5_000)),
                _ => random.within(&(0..=200)),
            };
            let draft = Draft {
                topic: random.pick(&publishing.topics).clone(),
                qos: *random.pick(publishing.qos),
                retain: publishing.retain,
                is_clear: publishing.retain && random.chance(25),
                filler_bytes: filler_bytes as usize,
            };
            self.client.publish(draft, history);
        }
    }
}

/// Says whether something is due, and when it is, sets when it will be next.
fn is_due(at: &mut u64, now: u64, pause: &RangeInclusive<u64>, random: &mut Random) -> bool {
    let is_due = now >= *at;
    if is_due {
        *at = now + random.within(pause);
    }
    is_due
}

/// How often a client connects again instead of leaving: the broker takes its session over.
const TAKEOVER_PERCENT: u64 = 20;

const CHANGE_PAUSE_MILLIS: RangeInclusive<u64> = 5..=150;
const PING_PAUSE_MILLIS: RangeInclusive<u64> = 20..=300;
const SLOW_PAUSE_MILLIS: RangeInclusive<u64> = 1..=100;
