//! The life of a session on its home shard: its connection, its will, its expiry, its end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use quelea_codec::QoS;
use quelea_session::{
    Effects, Message, Overflow, Session, SessionLimits, Sharing, Time, Unsettled,
};
use quelea_store::{Attributes, Body, Operation, SessionNumber};

use super::Shard;
use super::link::Ending;
use super::publish::Source;
use super::retained::Cursor;
use super::subscriptions::Subscriptions;
use super::wheel::Subject;
use crate::arena::Key;
use crate::table::Gauge;

/// A session and what its shard keeps with it.
#[derive(Debug)]
pub(super) struct HomeSession {
    pub(super) protocol: Session,
    pub(super) client_id: Box<str>,
    /// Its connection, while it has one.
    pub(super) link: Option<Key>,
    pub(super) subscriptions: Subscriptions,
    /// What most sessions of a large fleet don't have.
    pub(super) extra: Option<Box<Extra>>,
}

/// The rarer parts of a session.
#[derive(Debug, Default)]
pub(super) struct Extra {
    /// Seconds that the session outlives its connection; `u32::MAX` is for ever.
    pub(super) expiry_secs: u32,
    /// Set for a session that outlives its connection: how the store knows it.
    pub(super) number: Option<SessionNumber>,
    /// What other shards see of it: for durable sessions and members of shared groups.
    pub(super) gauge: Option<Arc<Gauge>>,
    /// Messages and bytes of the queue as the gauge has them.
    pub(super) settled: (u32, u64),
    pub(super) will: Option<Will>,
    /// When the will is published, once the connection is lost.
    pub(super) will_at: Option<Time>,
    /// When the session ends, once the connection is lost.
    pub(super) ends_at: Option<Time>,
    /// When its timer looks at it next; zero when it has none.
    pub(super) timer_at: Time,
    pub(super) cursors: VecDeque<Cursor>,
    /// In `Shard::cursors`.
    pub(super) is_listed: bool,
}

/// A will, ready to be published.
#[derive(Clone, Debug)]
pub(super) struct Will {
    pub(super) message: Arc<Message>,
    /// Message Expiry Interval: it runs from the publication, not from CONNECT.
    pub(super) expiry_secs: Option<u32>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) delay_secs: u32,
}

impl HomeSession {
    /// Returns the store's number of a session that outlives its connection.
    #[inline]
    pub(super) fn number(&self) -> Option<SessionNumber> {
        self.extra.as_ref()?.number
    }

    /// Returns the rarer parts, which it has from here on.
    pub(super) fn extra_mut(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// Makes the gauge show the queue as it is.
    pub(super) fn settle_gauge(&mut self) {
        let Some(extra) = &mut self.extra else { return };
        let Some(gauge) = &extra.gauge else { return };
        let queued = self.protocol.queued_messages() as u32;
        let bytes = self.protocol.queued_bytes();
        let (settled_messages, settled_bytes) = extra.settled;
        if settled_messages != queued || settled_bytes != bytes {
            gauge.give_back(
                settled_messages.wrapping_sub(queued),
                settled_bytes.wrapping_sub(bytes),
            );
            extra.settled = (queued, bytes);
        }
        let outstanding = queued + self.protocol.in_flight() as u32;
        gauge.outstanding.store(outstanding, Ordering::Relaxed);
    }

    /// Drops what has waited longest, if that is how the limits are kept: the publisher's shard then
    /// reserves room without asking.
    fn drop_beyond(&mut self, limits: &SessionLimits, effects: &mut Effects) {
        if limits.overflow != Overflow::DropOldest {
            return;
        }
        while self.protocol.queued_messages() > limits.queued_messages_max as usize
            || self.protocol.queued_bytes() > limits.queued_bytes_max
        {
            // It stays when all that waits may have been sent.
            let Some(position) = self.protocol.drop_oldest_queued(effects) else { return };
            effects.finished.push(position);
        }
    }

    /// A message arrives for which its publisher reserved room.
    pub(super) fn take_reserved(&mut self, bytes: u64) {
        if let Some(extra) = &mut self.extra {
            extra.settled.0 = extra.settled.0.wrapping_add(1);
            extra.settled.1 = extra.settled.1.wrapping_add(bytes);
        }
    }

    /// Gives the rarer parts up when nothing is in them any more.
    pub(super) fn drop_empty_extra(&mut self) {
        if self.extra.as_ref().is_some_and(|extra| extra.is_empty()) {
            self.extra = None;
        }
    }

    fn gauge(&self) -> Option<&Arc<Gauge>> {
        self.extra.as_ref()?.gauge.as_ref()
    }
}

impl Extra {
    fn is_empty(&self) -> bool {
        let is_plain = self.number.is_none() && self.gauge.is_none() && self.will.is_none();
        is_plain && self.expiry_secs == 0 && self.cursors.is_empty() && !self.is_listed
    }
}

impl Shard {
    /// Finds a session by its client identifier.
    pub(super) fn find_session(&self, client_id: &str) -> Option<Key> {
        let hash = self.shared.hash(client_id.as_bytes());
        let is_same = |index: &u32| {
            self.sessions.at(*index).is_some_and(|session| *session.client_id == *client_id)
        };
        self.sessions.key_at(*self.clients.find(hash, is_same)?)
    }

    /// Adds a session under its client identifier.
    pub(super) fn add_session(&mut self, session: HomeSession) -> Key {
        let hash = self.shared.hash(session.client_id.as_bytes());
        let key = self.sessions.insert(session);
        let Self { clients, sessions, shared, .. } = self;
        clients.insert_unique(hash, key.index, |index| {
            let client_id = sessions.at(*index).map_or("", |session| &session.client_id);
            shared.hash(client_id.as_bytes())
        });
        self.counters().sessions_started.add(1);
        key
    }

    /// Returns a number that no session has had.
    pub(super) fn new_number(&mut self) -> SessionNumber {
        self.next_number += 1;
        SessionNumber(u64::from(self.index.0) << 48 | self.next_number)
    }

    /// The session's connection is gone. Its will is published, now or later, and the session ends,
    /// now or later.
    pub(super) fn detach(&mut self, key: Key, ending: Ending, unsettled: Unsettled) {
        let (now, is_quiet) = (self.now, self.is_quiet());
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.link = None;
        session.protocol.disconnected(unsettled);
        self.counters().clients_connected.add(1_u64.wrapping_neg());
        let Some(session) = self.sessions.get_mut(key) else { return };
        if let Some(gauge) = session.gauge() {
            gauge.is_online.store(false, Ordering::Relaxed);
        }
        let Some(extra) = &mut session.extra else {
            self.end_session(key);
            return;
        };
        let expiry_secs = extra.expiry_secs;
        let is_delayed = extra.will.as_ref().is_some_and(|will| will.delay_secs > 0);
        let is_dropped = match ending {
            Ending::Normal => true,
            // The client is back within the delay ([MQTT-3.1.3-9]), unless this ends its session.
            Ending::TakenOver { ends } => !ends && is_delayed,
            Ending::WithWill | Ending::Abnormal(_) => is_quiet,
        };
        let delay_secs = match &extra.will {
            Some(_) if is_dropped => {
                extra.will = None;
                None
            }
            Some(will) => Some(will.delay_secs.min(expiry_secs)),
            None => None,
        };
        if expiry_secs == 0 || ending == (Ending::TakenOver { ends: true }) {
            self.end_session(key);
            return;
        }
        if expiry_secs != u32::MAX {
            extra.ends_at = Some(now.plus_secs(expiry_secs));
        }
        extra.will_at = delay_secs.map(|secs| now.plus_secs(secs));
        let deadline = extra.ends_at.into_iter().chain(extra.will_at).min();
        if let Some(number) = session.number() {
            let change =
                Operation::SessionChange { session: number, expiry_secs, is_connected: false };
            self.submit(change);
        }
        self.counters().clients_disconnected.add(1);
        if delay_secs == Some(0) {
            self.publish_will(key);
        }
        if let Some(deadline) = deadline {
            self.arm_session(key, deadline);
        }
    }

    /// Has a session looked at by `due`. It has one timer that counts: the earliest.
    fn arm_session(&mut self, key: Key, due: Time) {
        let now = self.now;
        let extra = self.sessions.get_mut(key).and_then(|session| session.extra.as_mut());
        if let Some(extra) = extra
            && (extra.timer_at <= now || due < extra.timer_at)
        {
            extra.timer_at = due;
            self.timers.arm(Subject::Session, key, due);
        }
    }

    /// Looks at a session whose will or expiry may be due.
    pub(super) fn on_session_timer(&mut self, key: Key) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(extra) = &mut session.extra else { return };
        if extra.timer_at > now {
            // Another one counts.
            return;
        }
        extra.timer_at = Time::ZERO;
        if session.link.is_some() {
            return;
        }
        if extra.ends_at.is_some_and(|at| at <= now) {
            self.counters().sessions_expired.add(1);
            self.counters().clients_disconnected.add(1_u64.wrapping_neg());
            self.end_session(key);
            return;
        }
        if extra.will_at.is_some_and(|at| at <= now) {
            self.publish_will(key);
        }
        let Some(extra) = self.sessions.get_mut(key).and_then(|it| it.extra.as_mut()) else {
            return;
        };
        if let Some(next) = extra.ends_at.into_iter().chain(extra.will_at).min() {
            self.arm_session(key, next);
        }
    }

    /// Publishes a session's will and forgets it ([MQTT-3.1.2-8], [MQTT-3.1.2-10]).
    pub(super) fn publish_will(&mut self, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let number = session.number();
        let Some(extra) = &mut session.extra else { return };
        extra.will_at = None;
        let Some(will) = extra.will.take() else { return };
        let mut content = will.message.content();
        content.expires_at = will.expiry_secs.map(|secs| self.now.plus_secs(secs));
        self.counters().wills_published.add(1);
        self.publish_from(Source::Will, &mut Sharing::borrowed(content), will.qos, will.retain);
        // In the same batch as the publish: a will is neither lost nor sent twice.
        if let Some(session) = number {
            self.submit(Operation::Will { session, will: None });
        }
    }

    /// Ends a session: its subscriptions, queue, exchanges; its will is published if it has one
    /// still (design rule: the end of the session is the end of the will's delay, [MQTT-3.1.3-9]).
    pub(super) fn end_session(&mut self, key: Key) {
        self.publish_will(key);
        self.drop_all_subscriptions(key);
        let Some(mut session) = self.sessions.remove(key) else { return };
        let hash = self.shared.hash(session.client_id.as_bytes());
        if let Ok(entry) = self.clients.find_entry(hash, |index| *index == key.index) {
            entry.remove();
        }
        self.counters().sessions_ended.add(1);
        if let Some(number) = session.number() {
            self.numbers.remove(&number);
            self.submit(Operation::SessionEnd { session: number });
        }
        if !session.protocol.free_slice(FREED_AT_ONCE) {
            self.dying.push(session.protocol);
        }
    }

    /// Frees queues of ended sessions, a slice a turn.
    pub(super) fn free_dying(&mut self) {
        if let Some(session) = self.dying.last_mut()
            && session.free_slice(FREED_A_TURN)
        {
            self.dying.pop();
        }
    }

    /// The store placed messages in queues of sessions of this shard.
    pub(super) fn on_placed(&mut self, placed: Vec<quelea_store::Placed>) {
        let mut touched: Vec<Key> = Vec::new();
        for it in placed {
            let key = self.numbers.get(&it.session).copied();
            let found = key.and_then(|key| Some((key, self.sessions.get_mut(key)?)));
            let Some((key, session)) = found else {
                // It ended while this was in the mail.
                if let (Some(group), Body::Message(message)) = (it.attributes.group, it.body) {
                    let Attributes { qos, retain, .. } = it.attributes;
                    self.hand_on(&mut Sharing::kept(&message), group, qos, retain);
                }
                continue;
            };
            let reserved = match &it.body {
                Body::Message(message) => message.size_bytes() as u64,
                Body::Retained(_) => 0,
            };
            session.take_reserved(reserved);
            let delivery = quelea_session::Delivery {
                qos: it.attributes.qos,
                retain: it.attributes.retain,
                subscription_ids: &it.attributes.subscription_ids,
                group: it.attributes.group,
            };
            session.protocol.enqueue(it.position, it.body, delivery);
            session.drop_beyond(&self.limits, &mut self.effects);
            if !self.effects.finished.is_empty() {
                self.settle(key);
            }
            // Without repeats in a row: a burst to one session is pumped once.
            if touched.last() != Some(&key) {
                touched.push(key);
            }
        }
        for key in touched {
            match self.sessions.get(key).and_then(|session| session.link) {
                Some(link) => self.pump(link, key),
                None => self.settle(key),
            }
        }
    }

    /// Returns whether wills are kept back, because it is the broker that leaves.
    fn is_quiet(&self) -> bool {
        self.is_stopping && !self.shared.config.stop.publish_wills
    }
}

/// Queued messages freed together with their session.
const FREED_AT_ONCE: usize = 256;

/// Queued messages of ended sessions freed in one turn.
const FREED_A_TURN: usize = 4_096;
