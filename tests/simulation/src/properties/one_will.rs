//! A will is published once when its client dies, and not at all when its client said goodbye or came back in time.
//!
//! A client cannot know at what moment the broker finds out that it is gone, so there are times between. That a will
//! comes only once is judged with all other messages.

use std::collections::BTreeMap;

use quelea_codec::QoS;

use super::{Property, Rest, Terms};
use crate::fact::{Deed, Fact, MessageId, WillSpec};
use crate::reference::{Reference, later};

/// See the module.
#[derive(Debug)]
pub(super) struct OneWill {
    terms: Terms,
    /// Wills that nothing is decided of, by client.
    open: BTreeMap<usize, Vec<Open>>,
    decided: BTreeMap<MessageId, Fate>,
}

/// What becomes of a will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is published.
    Published,
    /// It is not published.
    Cancelled,
    /// Nobody can know.
    Unknown,
}

/// A will that may yet be published.
#[derive(Debug)]
struct Open {
    id: MessageId,
    link: u64,
    delay_secs: u32,
    expiry_secs: u32,
    stage: Stage,
    /// The broker has died since.
    was_cut: bool,
    /// The connection had gone before that, and the broker may have known.
    was_running: bool,
    /// How many times the client has tried to come back.
    attempts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// CONNECT is not answered.
    Asked,
    /// It is in force.
    Armed,
    /// DISCONNECT is written: without the will, or with it, at this time.
    Leaving { with_will: bool, at: u64 },
    /// The connection is gone. The will is published not before the one time, and before the other.
    Running { earliest: u64, latest: Option<u64> },
    /// The broker that had it in force has died.
    Orphaned,
}

impl OneWill {
    pub(super) fn new(terms: Terms) -> Self {
        Self { terms, open: BTreeMap::new(), decided: BTreeMap::new() }
    }

    fn decide(&mut self, id: MessageId, fate: Fate, known: &Reference) -> Result<(), String> {
        self.decided.insert(id, fate);
        if fate != Fate::Cancelled {
            return Ok(());
        }
        let came = |it: &crate::reference::Session| {
            it.claims.get(&id).is_some_and(|claim| claim.deliveries > 0)
        };
        match known.sessions.iter().position(came) {
            Some(client) => Err(format!("the will {id:?} has come to client {client}, too early")),
            None => Ok(()),
        }
    }

    /// A client writes CONNECT.
    fn on_connect(
        &mut self,
        now: u64,
        client: usize,
        link: u64,
        expiry_secs: u32,
        will: Option<&WillSpec>,
    ) {
        let wills = self.open.entry(client).or_default();
        let mut published = Vec::new();
        wills.retain_mut(|it| {
            if it.is_over_by(now) {
                published.push(it.id);
                return false;
            }
            it.attempts += 1;
            true
        });
        wills.extend(will.map(|will| Open {
            id: will.message.id,
            link,
            delay_secs: will.delay_secs,
            expiry_secs,
            stage: Stage::Asked,
            was_cut: false,
            was_running: false,
            attempts: 0,
        }));
        self.decided.extend(published.into_iter().map(|id| (id, Fate::Published)));
    }

    /// A client is back: its earlier wills are decided.
    fn on_welcome(
        &mut self,
        now: u64,
        client: usize,
        is_resumed: bool,
        expiry_secs: u32,
        known: &Reference,
    ) -> Result<(), String> {
        let Some(attempt) = known.sessions[client].attempt else { return Ok(()) };
        for mut will in self.open.remove(&client).unwrap_or_default() {
            if will.link == attempt.link {
                will.stage = Stage::Armed;
                will.expiry_secs = expiry_secs;
                self.open.entry(client).or_default().push(will);
                continue;
            }
            let mut fate = will.fate_on_return(now, is_resumed, attempt.clean_start);
            // A session that ended meanwhile for its full queue has taken its will along.
            if fate == Fate::Cancelled && !is_resumed && self.terms.may_end_sessions {
                fate = Fate::Unknown;
            }
            self.decide(will.id, fate, known)?;
        }
        Ok(())
    }

    fn each(&mut self, link: u64, change: impl Fn(&mut Open)) {
        self.open.values_mut().flatten().filter(|it| it.link == link).for_each(change);
    }
}

impl Property for OneWill {
    fn before(&mut self, now: u64, fact: &Fact, known: &Reference) -> Result<(), String> {
        let Terms { grace, late_max, .. } = self.terms;
        match fact {
            Fact::Client(client, deed) => match deed {
                Deed::Connect { link, expiry_secs, will, .. } => {
                    self.on_connect(now, *client, *link, *expiry_secs, will.as_ref());
                }
                Deed::Welcomed { is_resumed, expiry_secs } => {
                    self.on_welcome(now, *client, *is_resumed, *expiry_secs, known)?;
                }
                Deed::Refused => {
                    let link = known.sessions[*client].attempt.map_or(0, |it| it.link);
                    let wills = self.open.entry(*client).or_default();
                    let at = wills.iter().position(|it| it.link == link);
                    if let Some(will) = at.map(|at| wills.remove(at)) {
                        self.decide(will.id, Fate::Cancelled, known)?;
                    }
                }
                Deed::Disconnect { with_will, expiry_secs } => {
                    let link = known.sessions[*client].last_link;
                    self.each(link, |it| {
                        if it.stage == Stage::Armed {
                            it.stage = Stage::Leaving { with_will: *with_will, at: now };
                        }
                        it.expiry_secs = expiry_secs.unwrap_or(it.expiry_secs);
                    });
                }
                Deed::Parted { link, is_acknowledged } => {
                    let wills = self.open.entry(*client).or_default();
                    let is_left = |it: &Open| {
                        let is_quiet = matches!(it.stage, Stage::Leaving { with_will: false, .. });
                        it.link == *link && is_quiet && *is_acknowledged && !it.was_cut
                    };
                    let left: Option<Open> = wills.extract_if(.., |it| is_left(it)).next();
                    if let Some(will) = left {
                        self.decide(will.id, Fate::Cancelled, known)?;
                    }
                    self.each(*link, |it| it.part(now));
                }
                Deed::Publish { .. }
                | Deed::Settled { .. }
                | Deed::GivenUp(_)
                | Deed::Subscribe { .. }
                | Deed::Subscribed { .. }
                | Deed::Unsubscribe(_)
                | Deed::Unsubscribed { .. }
                | Deed::Delivered(_) => {}
            },
            Fact::Cut(link) => self.each(*link, |it| it.part(now)),
            Fact::BrokerEnded(link) => self.each(*link, |it| {
                it.part(now);
                let delay = it.delay();
                if let Stage::Running { latest, .. } = &mut it.stage {
                    *latest = later(now + late_max, delay);
                }
            }),
            Fact::Crashed => {
                for will in self.open.values_mut().flatten() {
                    will.was_cut = true;
                    if will.stage == Stage::Armed {
                        will.stage = Stage::Orphaned;
                    } else if let Stage::Running { latest, .. } = &mut will.stage {
                        *latest = None;
                        will.was_running = true;
                    }
                }
            }
            Fact::Stopping => {
                // Whoever is still there is not announced as dead; the others are, or not, in time.
                self.open.values_mut().flatten().for_each(|will| will.stage = Stage::Asked);
            }
            Fact::Started => {
                for will in self.open.values_mut().flatten() {
                    let latest = later(now + grace + late_max, will.delay());
                    match &mut will.stage {
                        Stage::Orphaned => {
                            let earliest = later(now + grace, will.delay()).unwrap_or(u64::MAX);
                            will.stage = Stage::Running { earliest, latest };
                        }
                        Stage::Running { latest: known, .. } => *known = latest,
                        Stage::Asked | Stage::Armed | Stage::Leaving { .. } => {}
                    }
                }
            }
        }
        Ok(())
    }

    fn after(&mut self, _: u64, fact: &Fact, _: &Reference) -> Result<(), String> {
        let Fact::Client(client, Deed::Delivered(delivery)) = fact else { return Ok(()) };
        match self.decided.get(&delivery.id) {
            Some(Fate::Cancelled) => {
                Err(format!("the will {:?} comes to client {client}, too late", delivery.id))
            }
            Some(Fate::Published | Fate::Unknown) | None => Ok(()),
        }
    }

    fn at_rest(&mut self, rest: &Rest, known: &Reference) -> Result<(), String> {
        let over = self.open.values().flatten().filter(|it| it.is_over_by(rest.now));
        let over: Vec<MessageId> = over.map(|it| it.id).collect();
        let decided = self.decided.iter().filter(|it| *it.1 == Fate::Published);
        let published = decided.map(|it| *it.0).chain(over);
        let mut missing = Vec::new();
        for id in published.filter(|id| known.messages[id].spec.qos > QoS::AtMostOnce) {
            for (client, session) in known.sessions.iter().enumerate() {
                let claim = session.claims.get(&id);
                if claim.is_some_and(|claim| claim.is_firm && claim.deliveries == 0) {
                    missing.push(format!("{id:?} for client {client}"));
                }
            }
        }
        if rest.allows(missing.len() as u64) {
            return Ok(());
        }
        Err(format!("wills are lost: {missing:?}"))
    }
}

impl Open {
    /// Returns how long the will waits, once the connection is gone: not beyond the session's end.
    fn delay(&self) -> u32 {
        self.delay_secs.min(self.expiry_secs)
    }

    /// The connection is gone, as far as anyone can tell.
    fn part(&mut self, now: u64) {
        let from = match self.stage {
            Stage::Armed => now,
            Stage::Leaving { with_will: true, at } => at,
            Stage::Leaving { with_will: false, .. }
            | Stage::Asked
            | Stage::Running { .. }
            | Stage::Orphaned => return,
        };
        let earliest = later(from, self.delay()).unwrap_or(u64::MAX);
        self.stage = Stage::Running { earliest, latest: None };
    }

    /// Returns whether it must have been published by this time.
    fn is_over_by(&self, now: u64) -> bool {
        let Stage::Running { latest: Some(latest), .. } = self.stage else { return false };
        latest < now && self.attempts == 0
    }

    /// The client is back on another connection.
    fn fate_on_return(&self, now: u64, is_resumed: bool, clean_start: bool) -> Fate {
        let has_session = self.expiry_secs > 0;
        match self.stage {
            Stage::Asked | Stage::Leaving { with_will: false, .. } => Fate::Unknown,
            // It is the broker that was away: nobody has died. Who had died before, is dead when its session ends.
            Stage::Running { earliest, .. } if self.was_cut => {
                if now < earliest && !(clean_start && self.was_running) {
                    Fate::Cancelled
                } else {
                    Fate::Unknown
                }
            }
            Stage::Orphaned => Fate::Unknown,
            Stage::Leaving { .. } if self.was_cut => Fate::Unknown,
            // At once, or when the session ended.
            Stage::Running { .. } | Stage::Armed | Stage::Leaving { .. }
                if self.delay() == 0 || !has_session || clean_start =>
            {
                if clean_start && self.attempts > 1 && has_session && self.delay() > 0 {
                    // It may have come back before, without being told.
                    Fate::Unknown
                } else {
                    Fate::Published
                }
            }
            Stage::Armed | Stage::Leaving { .. } => Fate::Unknown,
            Stage::Running { earliest, .. } if is_resumed && now < earliest => Fate::Cancelled,
            Stage::Running { .. } => Fate::Unknown,
        }
    }
}
