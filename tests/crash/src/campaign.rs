//! One campaign: a data directory, clients with their plans, and a broker that is killed again and again.
//!
//! The seed decides the plans, the settings and when the broker is killed. What the broker and the system do
//! meanwhile it does not decide: the same seed gives the same campaign, but not the same history.

use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use crate::actor::{Actor, Scene};
use crate::broker::{Broker, Settings};
use crate::checker::{self, Verdict};
use crate::client::State;
use crate::facts::PLENTY_OF_TIME_MILLIS;
use crate::history::{Act, ClientIndex, Event, History};
use crate::inspection::Inspector;
use crate::plan::{WILL_DELAY_MAX_SECS, fleet};
use crate::random::Random;
use crate::trial::{self, Trial};

/// A campaign under way.
#[derive(Debug)]
pub struct Campaign {
    settings: Settings,
    random: Random,
    history: History,
    actors: Vec<Actor>,
    inspector: Inspector,
    poll: Poll,
    /// When anything came last.
    heard_at: u64,
    trial: Trial,
    /// The answer upon which the broker is killed, as soon as one has come.
    last_answer: Option<fn(&Act) -> bool>,
}

/// How a campaign ended.
#[derive(Debug)]
pub struct Outcome {
    /// What the checker says.
    pub verdict: Verdict,
    /// All that happened.
    pub history: History,
    /// How the brokers were run.
    pub settings: Settings,
}

impl Campaign {
    /// Prepares a campaign.
    pub fn new(program: &Path, directory: &Path, trial: Trial, seed: u64) -> io::Result<Self> {
        let mut random = Random::new(seed);
        let settings = Settings::draw(program, directory, trial, &mut random)?;
        let actors: Vec<Actor> = (0..)
            .map(ClientIndex)
            .zip(fleet())
            .map(|(index, plan)| Actor::new(index, plan))
            .collect();
        let inspector = Inspector::new(ClientIndex(actors.len() as u16));
        Ok(Self {
            history: History::new(settings.grace_secs * 1_000),
            settings,
            random,
            actors,
            inspector,
            poll: Poll::new()?,
            heard_at: 0,
            trial,
            last_answer: None,
        })
    }

    /// Kills the broker so many times, lets what is under way come to its end, and checks all that happened.
    pub fn run(mut self, kills: usize) -> io::Result<Outcome> {
        for _ in 0..kills {
            let is_over = !self.live_and_die()?;
            if is_over {
                break;
            }
        }
        self.live_to_the_end()?;
        let verdict = checker::check(&self.history);
        Ok(Outcome { verdict, history: self.history, settings: self.settings })
    }

    /// One life of the broker, and its end. Returns whether it ended as it should.
    fn live_and_die(&mut self) -> io::Result<bool> {
        let mut broker = Broker::start(&self.settings)?;
        if self.trial == Trial::Broker && self.random.chance(DIES_EARLY_PERCENT) {
            // While it recovers, or just after it.
            let millis = self.random.within(&(0..=40));
            self.wait(millis)?;
            return self.kill(broker);
        }
        let Some(address) = self.wait_until_ready(&mut broker) else { return Ok(false) };
        let life_millis = match self.random.draw() % 10 {
            // There has to be something to lose.
            _ if self.trial == Trial::PowerCut => 800..=1_600,
            0..6 => 30..=400,
            6..9 => 400..=1_500,
            _ => 1_500..=3_000,
        };
        let life_millis = self.random.within(&life_millis);
        let dies_at = self.history.now() + life_millis;
        let mut cut_at = (self.trial == Trial::PowerCut).then_some(dies_at - life_millis / 2);
        let is_inspected = self.random.chance(INSPECTED_PERCENT);
        if self.random.chance(INSPECTED_PERCENT) {
            self.inspector.begin();
        }
        while self.history.now() < dies_at || (is_inspected && !self.inspector.is_idle()) {
            self.turn(address, false)?;
            if self.has_ended(&mut broker) {
                return Ok(false);
            }
            if cut_at.take_if(|at| *at <= self.history.now()).is_some() {
                trial::keep(&self.settings.data_path(), &self.settings.kept_path())?;
            }
        }
        if self.random.chance(UPON_ANSWER_PERCENT) {
            self.wait_for_answer(address)?;
        }
        let is_well = self.kill(broker)?;
        trial::bring_back(&self.settings.kept_path(), &self.settings.data_path())?;
        Ok(is_well)
    }

    /// Goes on until an answer of some kind has come, and no further: what it promises must be kept.
    fn wait_for_answer(&mut self, address: SocketAddr) -> io::Result<()> {
        self.last_answer = Some(*self.random.pick(ANSWERS));
        let give_up_at = self.history.now() + ANSWER_PATIENCE_MILLIS;
        while self.last_answer.is_some() && self.history.now() < give_up_at {
            self.turn(address, false)?;
        }
        self.last_answer = None;
        Ok(())
    }

    /// The last life: what is under way comes to its end.
    fn live_to_the_end(&mut self) -> io::Result<()> {
        let mut broker = Broker::start(&self.settings)?;
        let Some(address) = self.wait_until_ready(&mut broker) else { return Ok(()) };
        let ends_at = self.history.now() + self.random.within(&LAST_LIFE_MILLIS);
        while self.history.now() < ends_at {
            self.turn(address, false)?;
        }
        let wills_millis = u64::from(WILL_DELAY_MAX_SECS) * 1_000 + self.history.grace_millis;
        let quiet_from = self.history.now() + wills_millis + 2 * PLENTY_OF_TIME_MILLIS;
        let patience_millis = match self.trial {
            Trial::Broker => PATIENCE_MILLIS,
            // What is lost does not come.
            Trial::Forgetful | Trial::PowerCut => 0,
        };
        let give_up_at = quiet_from + patience_millis;
        let mut looks_at = quiet_from;
        let mut is_inspected = false;
        loop {
            self.turn(address, true)?;
            if self.has_ended(&mut broker) {
                return Ok(());
            }
            let now = self.history.now();
            if now < looks_at {
                continue;
            }
            looks_at = now + LOOK_PAUSE_MILLIS;
            let is_quiet = now - self.heard_at >= QUIET_MILLIS || now >= give_up_at;
            let is_done = self.actors.iter().all(Actor::is_done);
            if is_quiet && !is_inspected && self.inspector.is_idle() {
                self.inspector.begin();
                is_inspected = true;
            } else if now >= give_up_at {
                self.complain_of_the_slow();
                return Ok(());
            } else if is_inspected
                && self.inspector.is_idle()
                && is_done
                && !checker::is_owing(&self.history)
            {
                return Ok(());
            }
        }
    }

    /// Reads what has come, and lets every client act.
    fn turn(&mut self, address: SocketAddr, is_ending: bool) -> io::Result<()> {
        let was_awaited = self.last_answer.is_some();
        self.listen(TURN)?;
        if was_awaited && self.last_answer.is_none() {
            return Ok(());
        }
        let mut scene = Scene {
            address,
            registry: self.poll.registry(),
            history: &mut self.history,
            random: &mut self.random,
            is_ending,
        };
        for actor in &mut self.actors {
            actor.act(&mut scene);
        }
        self.inspector.act(&mut scene);
        Ok(())
    }

    /// Waits for something to come, for `patience`, and reads it.
    fn listen(&mut self, patience: Duration) -> io::Result<()> {
        let mut events = Events::with_capacity(64);
        match self.poll.poll(&mut events, Some(patience)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Ok(()) | Err(_) => {}
        }
        for event in &events {
            let client = match self.actors.get_mut(event.token().0) {
                Some(actor) => &mut actor.client,
                None => &mut self.inspector.client,
            };
            client.flush();
            let count = self.history.entries.len();
            client.read(&mut self.history);
            let acts = self.history.entries[count..].iter().filter_map(|entry| entry.event.act());
            let (mut is_news, mut is_last) = (false, false);
            for act in acts {
                is_news |= !matches!(act, Act::Pinged);
                is_last |= self.last_answer.is_some_and(|it| it(act));
            }
            if is_news {
                self.heard_at = self.history.now();
            }
            if is_last {
                self.last_answer = None;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Waits, with all clients away.
    fn wait(&mut self, millis: u64) -> io::Result<()> {
        let until = self.history.now() + millis;
        while self.history.now() < until {
            self.listen(Duration::from_millis(1))?;
        }
        Ok(())
    }

    fn wait_until_ready(&mut self, broker: &mut Broker) -> Option<SocketAddr> {
        let address = broker.wait_until_ready();
        if address.is_some() {
            self.history.add(Event::Started);
        } else if !self.has_ended(broker) {
            self.complain("the broker does not start".to_owned());
        }
        address
    }

    /// Says whether the broker ended by itself, which it never may.
    fn has_ended(&mut self, broker: &mut Broker) -> bool {
        let Some(status) = broker.ended() else { return false };
        self.history.add(Event::Killed);
        self.complain(format!("the broker ended by itself: {status}"));
        true
    }

    /// Kills the broker; the clients read what it had sent, and lose their connections.
    fn kill(&mut self, mut broker: Broker) -> io::Result<bool> {
        let ended = broker.ended();
        broker.kill()?;
        self.history.add(Event::Killed);
        self.inspector.give_up();
        if let Some(status) = ended {
            self.complain(format!("the broker ended by itself: {status}"));
            return Ok(false);
        }
        let give_up_at = Instant::now() + LOST_PATIENCE;
        while self.clients().any(|state| state != State::Away) && Instant::now() < give_up_at {
            self.listen(Duration::from_millis(1))?;
        }
        Ok(true)
    }

    fn clients(&self) -> impl Iterator<Item = State> {
        let actors = self.actors.iter().map(|actor| actor.client.state());
        actors.chain([self.inspector.client.state()])
    }

    /// What is not done at the end is not done by somebody.
    fn complain_of_the_slow(&mut self) {
        for actor in self.actors.iter().filter(|actor| !actor.is_done()) {
            let what = format!("it never came to its end: {:?}", actor.client.state());
            actor.client.complain(what, &mut self.history);
        }
    }

    fn complain(&mut self, what: String) {
        self.history.add_act(self.inspector.client.index(), Act::Complaint(what));
    }
}

/// How often the broker dies while it starts.
const DIES_EARLY_PERCENT: u64 = 10;

/// How often the retained messages are looked at, and how often the broker has to live until they are seen.
const INSPECTED_PERCENT: u64 = 50;

/// How often the broker dies just after an answer.
const UPON_ANSWER_PERCENT: u64 = 50;

/// How long such an answer is waited for.
const ANSWER_PATIENCE_MILLIS: u64 = 1_000;

/// Answers that promise something.
const ANSWERS: &[fn(&Act) -> bool] = &[
    |act| matches!(act, Act::Accepted(_)),
    |act| matches!(act, Act::Closed),
    |act| matches!(act, Act::Completed(_)),
    |act| matches!(act, Act::Connected { .. }),
    |act| matches!(act, Act::Subscribed { .. }),
    |act| matches!(act, Act::Unsubscribed { .. }),
];

/// The longest time between two looks of the clients at what they have to do.
const TURN: Duration = Duration::from_millis(1);

/// How long clients go on after the last kill.
const LAST_LIFE_MILLIS: RangeInclusive<u64> = 200..=2_000;

/// How long nothing may come for it to be quiet at the end.
const QUIET_MILLIS: u64 = 300;

/// How often it is looked whether the end has come.
const LOOK_PAUSE_MILLIS: u64 = 300;

/// How long what is owed at the end is waited for.
const PATIENCE_MILLIS: u64 = 30_000;

/// How long the end of a process takes to become the end of its connections.
const LOST_PATIENCE: Duration = Duration::from_secs(10);
