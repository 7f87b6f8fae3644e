//! The life of a session on its home shard: its connection, its will, its expiry, its end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use quelea_codec::PacketId;
use quelea_session::{Session, Sharing, Time};
use quelea_store::{Operation, Presence, SessionNumber, StoredWill, Submission};

use super::Shard;
use super::access::Access;
use super::link::Ending;
use super::publish::Source;
use super::queues::Kept;
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
    /// What the client may do; nothing without rules.
    pub(super) access: Option<Box<Access>>,
    /// What most sessions of a large fleet don't have.
    pub(super) extra: Option<Box<Extra>>,
}

/// The rarer parts of a session.
#[derive(Debug, Default)]
pub(super) struct Extra {
    /// Seconds that the session outlives its connection; `u32::MAX` is for ever.
    pub(super) expiry_secs: u32,
    /// Who made it, and alone may resume it. Empty where nobody is asked.
    pub(super) owner: Box<str>,
    /// Set for a session that outlives its connection.
    pub(super) kept: Option<Kept>,
    /// Set for one that ends with its connection and has a will: the store knows it for that.
    pub(super) will_number: Option<SessionNumber>,
    /// What other shards see of it: for durable sessions and members of shared groups.
    pub(super) gauge: Option<Arc<Gauge>>,
    pub(super) will: Option<StoredWill>,
    /// It had its client when the broker died, and the client has not come back yet.
    pub(super) was_cut: bool,
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

impl HomeSession {
    /// Returns the store's number of a session that outlives its connection.
    #[inline]
    pub(super) fn number(&self) -> Option<SessionNumber> {
        Some(self.kept()?.number)
    }

    /// Returns what is known of the queue of a session that outlives its connection.
    #[inline]
    pub(super) fn kept(&self) -> Option<&Kept> {
        self.extra.as_ref()?.kept.as_ref()
    }

    /// Returns how the store knows the session, if it does.
    pub(super) fn stored_number(&self) -> Option<SessionNumber> {
        let extra = self.extra.as_ref()?;
        extra.kept.as_ref().map(|kept| kept.number).or(extra.will_number)
    }

    /// Returns the rarer parts, which it has from here on.
    pub(super) fn extra_mut(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// Makes the gauge show how much the session has to do.
    pub(super) fn settle_gauge(&mut self) {
        let Some(extra) = &self.extra else { return };
        let Some(gauge) = &extra.gauge else { return };
        let queued = match &extra.kept {
            Some(_) => gauge.queued_messages.load(Ordering::Relaxed) as usize,
            None => self.protocol.queued_messages(),
        };
        let outstanding = (queued + self.protocol.in_flight()) as u32;
        gauge.outstanding.store(outstanding, Ordering::Relaxed);
    }

    /// Gives the rarer parts up when nothing is in them any more.
    pub(super) fn drop_empty_extra(&mut self) {
        if self.extra.as_ref().is_some_and(|extra| extra.is_empty()) {
            self.extra = None;
        }
    }

    pub(super) fn gauge(&self) -> Option<&Arc<Gauge>> {
        self.extra.as_ref()?.gauge.as_ref()
    }
}

impl Extra {
    fn is_empty(&self) -> bool {
        let is_stored = self.kept.is_some() || self.will_number.is_some();
        let is_plain = !is_stored && self.gauge.is_none() && self.will.is_none();
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

    /// The session's connection is gone. Its will is published, now or later, and the session ends,
    /// now or later. `awaited` are its inbound QoS 2 exchanges that are still to be answered, in order.
    pub(super) fn detach(&mut self, key: Key, ending: Ending, awaited: &[PacketId]) {
        let (now, is_quiet) = (self.now, self.is_quiet());
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.link = None;
        session.protocol.disconnected(|packet_id| awaited.binary_search(&packet_id).is_ok());
        if let Some(kept) = session.extra.as_mut().and_then(|extra| extra.kept.as_mut()) {
            kept.forget();
        }
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
            Some(_) if is_dropped => None,
            Some(will) => Some(will.delay_secs.min(expiry_secs)),
            None => None,
        };
        let forgets_will = is_dropped && extra.will.take().is_some();
        if expiry_secs == 0 || ending == (Ending::TakenOver { ends: true }) {
            self.end_session(key);
            return;
        }
        if expiry_secs != u32::MAX {
            extra.ends_at = Some(now.plus_secs(expiry_secs));
        }
        extra.will_at = delay_secs.map(|secs| now.plus_secs(secs));
        let deadline = extra.ends_at.into_iter().chain(extra.will_at).min();
        let sent_before = session.protocol.sent_before();
        if let Some(session) = session.number() {
            let presence = Presence::Lost(self.shared.wall(now));
            let change = Operation::SessionChange { session, expiry_secs, presence, sent_before };
            self.submit_lazy(change);
            if forgets_will {
                self.submit_lazy(Operation::Will { session, will: None });
            }
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
    pub(super) fn arm_session(&mut self, key: Key, due: Time) {
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
            self.expire_session(key);
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

    /// Ends a session whose client has stayed away for too long.
    pub(super) fn expire_session(&mut self, key: Key) {
        self.counters().sessions_expired.add(1);
        self.counters().clients_disconnected.add(1_u64.wrapping_neg());
        self.end_session(key);
    }

    /// Publishes a session's will and forgets it ([MQTT-3.1.2-8], [MQTT-3.1.2-10]).
    pub(super) fn publish_will(&mut self, key: Key) {
        self.begin_unit();
        let Some(session) = self.sessions.get_mut(key) else { return };
        let number = session.stored_number();
        let Some(extra) = &mut session.extra else { return };
        extra.will_at = None;
        let Some(will) = extra.will.take() else { return };
        let mut content = will.message.content();
        content.expires_at = will.expiry_secs.map(|secs| self.now.plus_secs(secs));
        // In the same batch as the publish, and before anyone has it: a will is neither lost nor sent
        // twice.
        let after = match number {
            Some(session) => self.submit(Operation::Will { session, will: None }),
            None => Submission::default(),
        };
        // The rules may be others than when the client connected.
        if self.denies_publish(key, content.topic, will.qos, will.retain) {
            return;
        }
        self.counters().wills_published.add(1);
        let mut sharing = Sharing::borrowed(content);
        self.publish_from(Source::Will, &mut sharing, will.qos, will.retain, after);
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
        if let Some(session) = session.stored_number() {
            self.submit(Operation::SessionEnd { session });
        }
        if let Some(number) = session.number() {
            self.numbers.remove(&number);
            if let Some(gauge) = session.gauge() {
                let (messages, bytes) = gauge.end();
                self.shared.backlog.take(messages.into(), bytes);
            }
            if session.kept().is_some_and(Kept::has_shared) {
                self.begin_sweep(number, None, session.protocol.sent_before());
            }
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

    /// Returns whether wills are kept back, because it is the broker that leaves.
    fn is_quiet(&self) -> bool {
        self.is_stopping && !self.rules.config.stop.publish_wills
    }
}

/// Queued messages freed together with their session.
const FREED_AT_ONCE: usize = 256;

/// Queued messages of ended sessions freed in one turn.
const FREED_A_TURN: usize = 4_096;
