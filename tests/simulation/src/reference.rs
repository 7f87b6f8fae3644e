//! The reference broker: a list of sessions, each with its subscriptions and the messages it is owed.
//!
//! It knows only what clients know. Between a packet and its acknowledgement, and after a connection was lost, a
//! client cannot know whether the broker has acted; then this says "perhaps", and whoever judges holds the
//! broker to nothing. A session is *owed* a message if it certainly was subscribed from before the message was written until
//! after the broker has acknowledged it.

use std::collections::{BTreeMap, BTreeSet};

use quelea_codec::{QoS, ReasonCode, RetainHandling, SubscriptionOptions};

use crate::fact::{Deed, Delivery, Fact, MessageId, Spec, matches, plain};

/// All that clients know.
#[derive(Debug, Default)]
pub(crate) struct Reference {
    /// By client, the session that it believes in.
    pub(crate) sessions: Vec<Session>,
    /// All messages that were ever written, wills among them.
    pub(crate) messages: BTreeMap<MessageId, Message>,
    /// Those that may still be routed.
    open: BTreeSet<MessageId>,
    /// How much longer sessions live that were connected when the broker died.
    grace: u64,
    /// At most so long after its time a timer runs.
    late_max: u64,
}

/// What a client knows of its session.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// How many sessions the client had before.
    pub(crate) incarnation: u32,
    /// Whether there is one.
    pub(crate) standing: Standing,
    /// The connection that it has.
    pub(crate) link: Option<u64>,
    /// The CONNECT that is not answered.
    pub(crate) attempt: Option<Attempt>,
    /// The last connection on which it may have been.
    pub(crate) last_link: u64,
    /// Seconds it outlives its connection.
    pub(crate) expiry_secs: u32,
    /// It has not expired before this time.
    pub(crate) alive_until: u64,
    /// It has expired at this time, unless its client came back.
    pub(crate) gone_after: Option<u64>,
    /// What it is subscribed to, or may be.
    pub(crate) subscriptions: BTreeMap<String, Subscription>,
    /// Every filter that it ever asked for.
    pub(crate) asked: BTreeMap<String, Asked>,
    /// The messages that it gets, or may get.
    pub(crate) claims: BTreeMap<MessageId, Claim>,
}

/// Whether a session is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// There is none.
    #[default]
    Absent,
    /// There may be this one, or a new one, or none.
    Doubtful,
    /// There is this one, unless it has expired.
    Certain,
}

/// A CONNECT.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    /// Its connection.
    pub(crate) link: u64,
    /// Clean Start.
    pub(crate) clean_start: bool,
    /// Session Expiry Interval.
    pub(crate) expiry_secs: u32,
    /// When it was written.
    pub(crate) at: u64,
    /// When its connection may have gone.
    pub(crate) parted_at: Option<u64>,
}

/// A subscription.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    /// It is certainly there.
    pub(crate) is_granted: bool,
    /// One of these is how.
    pub(crate) options: Vec<SubscriptionOptions>,
}

/// What a session asked for under one filter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// When it first did.
    pub(crate) since: u64,
    /// How many times it wanted the retained messages.
    pub(crate) retained_count: u32,
}

/// What is known of a message.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// The message.
    pub(crate) spec: Spec,
    /// It is a will.
    pub(crate) is_will: bool,
    /// The connection it was last written on.
    pub(crate) link: u64,
    /// How many times it was written.
    pub(crate) writes: u32,
    /// When it was first written.
    pub(crate) start: u64,
    /// When it had certainly been routed, if it was at all.
    pub(crate) end: Option<u64>,
    /// The broker has said that it has it.
    pub(crate) is_acknowledged: bool,
    /// The broker has said that it does not take it.
    pub(crate) is_refused: bool,
}

/// What a session has to do with a message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claim {
    /// It must get it, once the message is acknowledged.
    pub(crate) is_firm: bool,
    /// It must get it at QoS 2.
    pub(crate) is_exact: bool,
    /// How many times it came.
    pub(crate) deliveries: u32,
    /// How many times at QoS 1 or 2 without DUP.
    pub(crate) fresh: u32,
    /// How many times at QoS 2.
    pub(crate) exact: u32,
}

impl Reference {
    /// Makes a reference for so many clients.
    pub(crate) fn new(client_count: usize, grace: u64, late_max: u64) -> Self {
        let sessions = (0..client_count).map(|_| Session::default()).collect();
        Self { sessions, messages: BTreeMap::new(), open: BTreeSet::new(), grace, late_max }
    }

    /// Takes in what happened.
    pub(crate) fn note(&mut self, now: u64, fact: &Fact) {
        match fact {
            Fact::Client(client, deed) => self.note_deed(now, *client, deed),
            Fact::Cut(link) => self.may_part(now, *link),
            Fact::BrokerEnded(link) => {
                self.may_part(now, *link);
                let late = now + self.late_max;
                for session in self.sessions.iter_mut().filter(|it| it.last_link == *link) {
                    session.gone_after = later(late, session.longest_expiry());
                }
            }
            Fact::Crashed => {
                for session in &mut self.sessions {
                    session.gone_after = None;
                    session.may_part(now, session.expiry_secs);
                    session.weaken_if_live();
                }
            }
            Fact::Stopping => {}
            Fact::Started => {
                let late = now + self.grace + self.late_max;
                for session in &mut self.sessions {
                    session.gone_after = later(late, session.longest_expiry());
                }
            }
        }
    }

    fn note_deed(&mut self, now: u64, client: usize, deed: &Deed) {
        match deed {
            Deed::Connect { link, clean_start, expiry_secs, will } => {
                let session = &mut self.sessions[client];
                if session.expiry_secs == 0 && session.standing == Standing::Certain {
                    // It ended with its connection, or ends now: nobody can come back to it.
                    session.standing = Standing::Absent;
                    session.subscriptions.clear();
                }
                if session.attempt.is_some() && session.standing == Standing::Absent {
                    // The one before was not answered, and may have made a session.
                    session.standing = Standing::Doubtful;
                }
                let (link, at, expiry_secs) = (*link, now, *expiry_secs);
                let clean_start = *clean_start;
                session.may_part(now, session.expiry_secs);
                session.may_part(now, expiry_secs);
                session.attempt =
                    Some(Attempt { link, clean_start, expiry_secs, at, parted_at: None });
                session.last_link = link;
                session.gone_after = None;
                session.weaken_if_live();
                if clean_start && session.standing == Standing::Certain {
                    session.standing = Standing::Doubtful;
                }
                if let Some(will) = will {
                    self.open_message(now, link, &will.message, true);
                }
            }
            Deed::Welcomed { is_resumed, expiry_secs } => {
                self.end_earlier(now, client, None);
                self.sessions[client].welcome(*is_resumed, *expiry_secs);
            }
            Deed::Refused => {
                // A broker that is full has looked at no session.
                self.sessions[client].attempt = None;
            }
            Deed::Disconnect { expiry_secs, .. } => {
                let session = &mut self.sessions[client];
                session.weaken_if_live();
                if *expiry_secs == Some(0) {
                    session.alive_until = now;
                    session.standing = Standing::Doubtful;
                }
                session.may_part(now, session.expiry_secs);
                if let Some(secs) = expiry_secs {
                    session.may_part(now, *secs);
                    session.expiry_secs = session.expiry_secs.max(*secs);
                }
            }
            Deed::Parted { link, is_acknowledged } => {
                self.may_part(now, *link);
                let session = &mut self.sessions[client];
                if session.link == Some(*link) {
                    session.link = None;
                    if *is_acknowledged && session.alive_until <= now {
                        session.standing = Standing::Absent;
                    }
                }
            }
            Deed::Publish { spec, is_again } => {
                let link = self.sessions[client].link.unwrap_or_default();
                if !is_again {
                    self.open_message(now, link, spec, false);
                } else if let Some(message) = self.messages.get_mut(&spec.id) {
                    message.writes += 1;
                    message.link = link;
                }
            }
            Deed::Settled { id, reason } => {
                self.end_earlier(now, client, Some(*id));
                self.open.remove(id);
                if let Some(message) = self.messages.get_mut(id) {
                    message.end = Some(now);
                    message.is_acknowledged = !reason.is_failure();
                    message.is_refused = reason.is_failure();
                }
            }
            Deed::GivenUp(id) => {
                self.open.remove(id);
                if let Some(message) = self.messages.get_mut(id) {
                    message.end = Some(now);
                }
            }
            Deed::Subscribe { filter, options } => self.ask(now, client, filter, *options),
            Deed::Subscribed { filter, options, reason } => {
                let known = self.sessions[client].subscriptions.get_mut(filter);
                if let (Some(known), false) = (known, reason.is_failure()) {
                    *known = Subscription { is_granted: true, options: vec![*options] };
                }
            }
            Deed::Unsubscribe(filter) => {
                if let Some(known) = self.sessions[client].subscriptions.get_mut(filter) {
                    known.is_granted = false;
                }
                self.review_open(client);
            }
            Deed::Unsubscribed { filter, .. } => {
                self.sessions[client].subscriptions.remove(filter);
            }
            Deed::Delivered(delivery) => {
                if let Some(claim) = self.sessions[client].claims.get_mut(&delivery.id) {
                    claim.count(delivery);
                }
            }
        }
    }

    /// A message is written for the first time: who is subscribed, gets it.
    fn open_message(&mut self, now: u64, link: u64, spec: &Spec, is_will: bool) {
        let message = Message {
            spec: spec.clone(),
            is_will,
            link,
            writes: 1,
            start: now,
            end: None,
            is_acknowledged: false,
            is_refused: false,
        };
        for (client, session) in self.sessions.iter_mut().enumerate() {
            if session.is_perhaps_for(client, &message) {
                let (is_firm, is_exact) = session.is_certainly_for(client, &message);
                let claim = Claim { is_firm, is_exact, ..Claim::default() };
                session.claims.insert(spec.id, claim);
            }
        }
        self.messages.insert(spec.id, message);
        self.open.insert(spec.id);
    }

    /// A client subscribes: of what is under way it may get something, or may not get it as it would have.
    fn ask(&mut self, now: u64, client: usize, filter: &str, options: SubscriptionOptions) {
        let session = &mut self.sessions[client];
        let asked = session.asked.entry(filter.to_owned());
        let asked = asked.or_insert(Asked { since: now, retained_count: 0 });
        let is_wanted = options.retain_handling != RetainHandling::DoNotSend;
        asked.retained_count += u32::from(is_wanted);
        let new = Subscription { is_granted: false, options: Vec::new() };
        session.subscriptions.entry(filter.to_owned()).or_insert(new).options.push(options);
        let open = self.open.iter().map(|id| &self.messages[id]);
        for message in open {
            if session.is_perhaps_for(client, message) {
                session.claims.entry(message.spec.id).or_default();
            }
        }
        self.review_open(client);
    }

    /// A client's subscriptions have changed: what it certainly gets of what is under way may be less.
    fn review_open(&mut self, client: usize) {
        let session = &self.sessions[client];
        let open = self.open.iter().map(|id| &self.messages[id]);
        let lost: Vec<MessageId> = open
            .filter(|it| !session.is_certainly_for(client, it).0)
            .map(|it| it.spec.id)
            .collect();
        for id in lost {
            if let Some(claim) = self.sessions[client].claims.get_mut(&id) {
                (claim.is_firm, claim.is_exact) = (false, false);
            }
        }
    }

    /// What a client has published at QoS 0 before something else was answered is not under way any more.
    fn end_earlier(&mut self, now: u64, client: usize, than: Option<MessageId>) {
        let first = MessageId { client, number: 0 };
        let last = than.unwrap_or(MessageId { client, number: u32::MAX });
        let link = self.sessions[client].link;
        let messages = &mut self.messages;
        self.open.retain(|id| {
            let message = messages.get_mut(id).filter(|_| (first..last).contains(id));
            let Some(message) = message else { return true };
            let is_same = than.is_none() || Some(message.link) == link;
            let is_over = is_same && message.spec.qos == QoS::AtMostOnce && !message.is_will;
            if is_over {
                message.end = Some(now);
            }
            !is_over
        });
    }

    /// The broker may know from here on that a connection is gone.
    fn may_part(&mut self, now: u64, link: u64) {
        for session in self.sessions.iter_mut().filter(|it| it.last_link == link) {
            session.may_part(now, session.expiry_secs);
            session.weaken_if_live();
        }
    }
}

impl Session {
    /// CONNACK has come.
    fn welcome(&mut self, is_resumed: bool, expiry_secs: u32) {
        let attempt = self.attempt.take();
        if !is_resumed {
            *self = Self { incarnation: self.incarnation + 1, ..Self::default() };
        } else if self.standing != Standing::Certain {
            self.weaken();
            for subscription in self.subscriptions.values_mut() {
                subscription.is_granted = false;
            }
        }
        self.standing = Standing::Certain;
        self.link = attempt.map(|it| it.link);
        self.last_link = attempt.map_or(0, |it| it.link);
        self.expiry_secs = expiry_secs;
        self.alive_until = u64::MAX;
        if let Some(at) = attempt.and_then(|it| it.parted_at) {
            self.may_part(at, expiry_secs);
        }
        self.gone_after = None;
    }

    /// It may have no connection from here on, and lives so many seconds more. The broker counts milliseconds, by its own
    /// clock and by that of the wall, and each may have begun a moment before.
    fn may_part(&mut self, now: u64, expiry_secs: u32) {
        let until = later(now, expiry_secs).unwrap_or(u64::MAX);
        self.alive_until = self.alive_until.min(until.saturating_sub(CLOCKS_MICROS));
        if let Some(attempt) = &mut self.attempt {
            attempt.parted_at.get_or_insert(now);
        }
    }

    /// Nothing is certain any more of what it was to get.
    fn weaken(&mut self) {
        for claim in self.claims.values_mut() {
            (claim.is_firm, claim.is_exact) = (false, false);
        }
    }

    /// A session that ends with its connection is owed nothing when that is gone.
    fn weaken_if_live(&mut self) {
        if self.expiry_secs == 0 {
            self.weaken();
            self.link = None;
        }
    }

    fn longest_expiry(&self) -> u32 {
        self.expiry_secs.max(self.attempt.map_or(0, |it| it.expiry_secs))
    }

    /// Returns the subscriptions that match a topic, and whether they are shared.
    pub(crate) fn matching(&self, topic: &str) -> impl Iterator<Item = (bool, &Subscription)> {
        self.subscriptions.iter().filter_map(move |(filter, it)| {
            let (filter, is_shared) = plain(filter);
            matches(filter, topic).then_some((is_shared, it))
        })
    }

    /// Returns what it ever asked for that matches a topic, and whether that is shared.
    pub(crate) fn asked_for(&self, topic: &str) -> impl Iterator<Item = (bool, &Asked)> {
        self.asked.iter().filter_map(move |(filter, asked)| {
            let (filter, is_shared) = plain(filter);
            matches(filter, topic).then_some((is_shared, asked))
        })
    }

    fn is_perhaps_for(&self, client: usize, message: &Message) -> bool {
        let is_own = message.spec.id.client == client && !message.is_will;
        let mut matching = self.matching(message.spec.topic);
        matching.any(|(_, it)| it.options.iter().any(|it| !(it.no_local && is_own)))
    }

    /// Returns whether it gets a message in any case, and at QoS 2.
    fn is_certainly_for(&self, client: usize, message: &Message) -> (bool, bool) {
        let is_there = self.standing == Standing::Certain
            && self.attempt.is_none_or(|it| !it.clean_start)
            && (self.expiry_secs > 0 || self.link.is_some());
        let is_own = message.spec.id.client == client;
        let certain = self.matching(message.spec.topic).filter(|(is_shared, it)| {
            let is_excluded = it.options.iter().any(|it| it.no_local && is_own);
            !is_shared && it.is_granted && !is_excluded
        });
        let lowest = certain.filter_map(|(_, it)| it.options.iter().map(|it| it.qos).min()).max();
        let qos = lowest.map_or(QoS::AtMostOnce, |it| it.min(message.spec.qos));
        // What has no payload has no name, either: nobody can tell whether it came.
        let is_there = is_there && !message.spec.is_empty;
        (is_there && qos > QoS::AtMostOnce, is_there && qos == QoS::ExactlyOnce)
    }
}

impl Claim {
    fn count(&mut self, delivery: &Delivery) {
        self.deliveries += 1;
        self.fresh += u32::from(!delivery.dup && delivery.qos > QoS::AtMostOnce);
        self.exact += u32::from(delivery.qos == QoS::ExactlyOnce);
    }
}

impl Message {
    /// Returns whether the broker has said that every durable subscriber will get it.
    pub(crate) fn is_promised(&self) -> bool {
        self.is_acknowledged && !self.is_will
    }
}

/// Returns the time so many seconds later; nothing if that is never.
pub(crate) fn later(now: u64, secs: u32) -> Option<u64> {
    (secs != u32::MAX).then(|| now + u64::from(secs) * 1_000_000)
}

/// The steps of two clocks of milliseconds.
const CLOCKS_MICROS: u64 = 2_000;

/// The reason code of an acknowledgement that says that nobody wanted the message.
pub(crate) const NOBODY: ReasonCode = ReasonCode::NO_MATCHING_SUBSCRIBERS;
