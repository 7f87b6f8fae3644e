//! Retained messages for new subscriptions: cursors that read each value when it is sent.
//!
//! A cursor goes on as long as the session's window and the link's buffer have room, and a bounded
//! number of messages a turn. It never drops anything and starves nobody.

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashSet;
use quelea_codec::QoS;
use quelea_session::{Delivered, Delivery, Sharing, SubscriptionIds};
use quelea_store::{Attributes, CursorPlace, Operation, SessionNumber, Target};

use super::Shard;
use crate::arena::Key;
use crate::retained::{Place, Value};

/// How far the delivery of retained messages for one subscription has come.
#[derive(Debug)]
pub(super) struct Cursor {
    filter: Box<str>,
    qos: QoS,
    subscription_id: u32,
    place: Place,
    /// The order of the first message that may be newer than the subscription. Those come live, each
    /// in its place among the publisher's others.
    until: u64,
    /// The subscription is new: there is no earlier cursor of its filter.
    is_first: bool,
    /// Topics that the last scan found and that are not sent yet.
    found: VecDeque<Arc<str>>,
    /// The partition they are in.
    found_in: usize,
    /// The last topic of that partition that is done.
    done: Option<Arc<str>>,
    /// There is more done than the store knows.
    is_ahead: bool,
    is_done: bool,
}

/// What is next for a session's cursors.
enum Next {
    Message(Value, QoS, u32),
    /// Nothing matched in the part that was looked at.
    LookOn,
    Done,
}

impl Cursor {
    pub(super) fn new(
        filter: &str,
        qos: QoS,
        subscription_id: u32,
        place: CursorPlace,
        is_first: bool,
    ) -> Self {
        let CursorPlace { until, partition, after } = place;
        let partition = usize::from(partition);
        Self {
            filter: filter.into(),
            qos,
            subscription_id,
            place: Place { partition, after },
            until,
            is_first,
            found: VecDeque::new(),
            found_in: partition,
            done: None,
            is_ahead: false,
            is_done: false,
        }
    }

    /// Returns how far it has come, as the store keeps it.
    fn progress(&self) -> CursorPlace {
        CursorPlace {
            until: self.until,
            partition: self.found_in as u16,
            after: self.done.as_deref().map(Box::from),
        }
    }

    /// Returns whether this is the cursor of a filter.
    pub(super) fn is_for(&self, filter: &str) -> bool {
        *self.filter == *filter
    }
}

impl Shard {
    /// Sets or clears the retained message of a topic.
    pub(super) fn retain(&mut self, sharing: &mut Sharing<'_>, qos: QoS, order: u64) {
        let topic = sharing.content().topic;
        if sharing.content().payload.is_empty() {
            self.shared.retained.clear(topic, order);
        } else if !self.shared.retained.set(sharing.keep(), qos, order) {
            self.counters().dropped_retained_limit.add(1);
            // It is nobody's message: the topic is what counts.
            self.drop_log.note(self.now, "", topic, "retained-limit");
            self.submit_lazy(Operation::Unretain { topic: topic.into(), order });
        }
    }

    /// Begins to deliver retained messages, after SUBACK.
    pub(super) fn start_cursors(&mut self, link: Key, cursors: Vec<Cursor>) {
        let open = self.links.get_mut(link).and_then(|link| link.open());
        let Some(key) = open.map(|open| open.session) else { return };
        let Some(session) = self.sessions.get_mut(key) else { return };
        if cursors.is_empty() || self.shared.retained.count() == 0 {
            if let Some(number) = session.number() {
                for cursor in cursors {
                    self.store_cursor(number, cursor.filter, None);
                }
            }
            return;
        }
        let list = &mut session.extra_mut().cursors;
        // Subscribed again before the first delivery was over: it starts anew.
        if cursors.iter().any(|cursor| !cursor.is_first) {
            let filters = cursors.iter().map(|cursor| &*cursor.filter);
            let again: HashSet<&str, FixedState> = filters.collect();
            list.retain(|it| !again.contains(&*it.filter));
        }
        list.extend(cursors);
        self.continue_cursors(key);
    }

    /// Puts a session with cursors back on the list, when it may have room again.
    pub(super) fn continue_cursors(&mut self, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(extra) = &mut session.extra else { return };
        if !extra.cursors.is_empty() && !extra.is_listed {
            extra.is_listed = true;
            self.cursors.push_back(key);
        }
    }

    /// Lets each listed session's cursors go on.
    pub(super) fn drive_cursors(&mut self) {
        for _ in 0..self.cursors.len().min(SESSIONS_A_TURN) {
            let Some(key) = self.cursors.pop_front() else { return };
            let Some(session) = self.sessions.get_mut(key) else { continue };
            if let Some(extra) = &mut session.extra {
                extra.is_listed = false;
            }
            if self.drive(key) {
                self.continue_cursors(key);
            } else if let Some(session) = self.sessions.get_mut(key) {
                session.drop_empty_extra();
            }
        }
    }

    /// Has the cursors go on that a session had before a restart.
    pub(super) fn restore_cursor(&mut self, key: Key, cursor: Cursor) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.extra_mut().cursors.push_back(cursor);
        }
    }

    /// Tells the store how far a cursor has come, or that it is done.
    fn store_cursor(
        &mut self,
        session: SessionNumber,
        filter: Box<str>,
        cursor: Option<CursorPlace>,
    ) {
        self.submit_lazy(Operation::Cursor { session, filter, cursor });
    }

    /// Returns whether there is more to do that need not wait for room.
    fn drive(&mut self, key: Key) -> bool {
        let goes_on = self.drive_on(key);
        // In one batch with what was queued.
        let Some(session) = self.sessions.get_mut(key) else { return false };
        let number = session.number();
        let cursor = session.extra.as_mut().and_then(|extra| extra.cursors.front_mut());
        if let (Some(cursor), Some(number)) = (cursor, number)
            && cursor.is_ahead
        {
            cursor.is_ahead = false;
            let (filter, progress) = (cursor.filter.clone(), cursor.progress());
            self.store_cursor(number, filter, Some(progress));
        }
        goes_on
    }

    fn drive_on(&mut self, key: Key) -> bool {
        self.begin_unit();
        for _ in 0..MESSAGES_A_TURN {
            if !self.has_room_for_retained(key) {
                return false;
            }
            if self.has_gathered_much() {
                return true;
            }
            match self.next_retained(key) {
                Next::Message(value, qos, id) => self.send_retained(key, &value, qos, id),
                Next::LookOn => return true,
                Next::Done => return false,
            }
        }
        true
    }

    fn has_room_for_retained(&mut self, key: Key) -> bool {
        let bytes_max = self.rules.config.limits.write_buffer_bytes_max as usize;
        let Some(session) = self.sessions.get(key) else { return false };
        let Some(cursor) = session.extra.as_ref().and_then(|it| it.cursors.front()) else {
            return false;
        };
        let Some(link) = session.link.and_then(|link| self.links.get_mut(link)) else {
            return false;
        };
        if !link.is_answered {
            return false;
        }
        // The other half is for live messages: they would be dropped where this has filled it up.
        let Some((connection, outbox)) = link.sender(bytes_max / 2) else { return false };
        if session.number().is_some() && cursor.qos != QoS::AtMostOnce {
            return session.protocol.queued_messages() < QUEUED_MAX && !outbox.is_full();
        }
        session.protocol.can_send(connection, cursor.qos, &outbox)
    }

    fn next_retained(&mut self, key: Key) -> Next {
        let Some(session) = self.sessions.get_mut(key) else { return Next::Done };
        let number = session.number();
        let Some(extra) = &mut session.extra else { return Next::Done };
        let Some(cursor) = extra.cursors.front_mut() else { return Next::Done };
        let mut expired = Vec::new();
        let mut next = None;
        while next.is_none()
            && let Some(topic) = cursor.found.pop_front()
        {
            // Read now, not when it was found: an older value never follows a newer one.
            if let Some(value) = self.shared.retained.read(&topic) {
                let expires_at = value.message.content().expires_at;
                if expires_at.is_some_and(|at| at <= self.now) {
                    self.shared.retained.forget(&topic, value.order);
                    expired.push((Arc::clone(&topic), value.order));
                } else if value.order < cursor.until {
                    let qos = cursor.qos.min(value.qos);
                    next = Some(Next::Message(value, qos, cursor.subscription_id));
                }
            }
            cursor.done = Some(topic);
            cursor.is_ahead = true;
        }
        for (topic, order) in expired {
            self.submit_lazy(Operation::Unretain { topic: (&*topic).into(), order });
        }
        if let Some(next) = next {
            return next;
        }
        let Some(session) = self.sessions.get_mut(key) else { return Next::Done };
        let Some(extra) = &mut session.extra else { return Next::Done };
        let Some(cursor) = extra.cursors.front_mut() else { return Next::Done };
        if cursor.is_done {
            let done = extra.cursors.pop_front();
            if extra.cursors.is_empty() {
                extra.cursors = VecDeque::new();
            }
            let next = if extra.cursors.is_empty() { Next::Done } else { Next::LookOn };
            if let (Some(cursor), Some(number)) = (done, number) {
                self.store_cursor(number, cursor.filter, None);
            }
            return next;
        }
        let mut found = Vec::new();
        let retained = &self.shared.retained;
        cursor.found_in = cursor.place.partition;
        cursor.done = cursor.place.after.as_deref().map(Arc::from);
        cursor.is_done = !retained.scan(&cursor.filter, &mut cursor.place, FOUND_MAX, &mut found);
        cursor.found.extend(found.iter().map(|it| Arc::from(it.message.content().topic)));
        Next::LookOn
    }

    fn send_retained(&mut self, key: Key, value: &Value, qos: QoS, id: u32) {
        let ids = [id];
        let subscription_ids = if id == 0 { &[][..] } else { &ids };
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.may_not_receive(value.message.content().topic) {
            self.counters().dropped_denied.add(1);
            return;
        }
        if let (Some(number), true) = (session.number(), qos != QoS::AtMostOnce) {
            self.queue_retained(key, number, value, qos, subscription_ids);
            return;
        }
        let bytes_max = self.rules.config.limits.write_buffer_bytes_max as usize;
        let Some(link) = session.link.and_then(|link| self.links.get_mut(link)) else { return };
        let Some((connection, mut outbox)) = link.sender(bytes_max) else { return };
        let delivery = Delivery { qos, retain: true, subscription_ids, group: None };
        let delivered = session.protocol.deliver(
            connection,
            &mut Sharing::kept(&value.message),
            delivery,
            &self.limits,
            self.now,
            &mut outbox,
            &mut self.effects,
        );
        if let Delivered::Dropped(reason) = delivered {
            self.effects.drops.push((reason, None));
        }
        if let Some(link) = session.link {
            self.mark_dirty(link);
        }
        self.count_effects();
    }

    /// Goes through the store, which gives it its place in the queue of a durable session. It is sent
    /// if it is still what is retained: a newer one comes live, and may be before it in the queue.
    fn queue_retained(
        &mut self,
        key: Key,
        session: SessionNumber,
        value: &Value,
        qos: QoS,
        subscription_ids: &[u32],
    ) {
        let attributes = Attributes {
            qos,
            retain: true,
            subscription_ids: SubscriptionIds::new(subscription_ids),
            share: None,
            retained_order: value.order,
        };
        let gauge = self.sessions.get(key).and_then(|session| session.gauge());
        if gauge.is_some_and(|gauge| gauge.reserve(0, u32::MAX, u64::MAX)) {
            self.shared.backlog.add(1, 0);
        }
        self.submit(Operation::Publish {
            message: Arc::clone(&value.message),
            qos: value.qos,
            targets: vec![Target { session, attributes: 0 }],
            attributes: vec![attributes],
            received: None,
            retain: None,
        });
    }
}

/// Sessions whose cursors go on in one turn.
const SESSIONS_A_TURN: usize = 64;

/// Retained messages sent to one session in one turn.
const MESSAGES_A_TURN: usize = 256;

/// Topics found by one scan.
const FOUND_MAX: usize = 64;

/// A durable session with more in its queue gets its next retained messages later.
const QUEUED_MAX: usize = 64;
