//! What is durable in the model store, and what each operation does to it.
//!
//! Written from the words of `quelea_store::Operation`, for plainness: a list of sessions with a list of entries each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quelea_codec::{PacketId, QoS};
use quelea_session::{Content, Message, Position, Time};
use quelea_store::{
    Attributes, CursorPlace, Dropped, Fetch, Fetched, FetchedEntry, Operation, Placed, Presence,
    QueueLimits, Recovered, RecoveredRetained, RecoveredSession, RecoveredSubscription,
    SessionIdentity, SessionNumber, ShardIndex, StoredWill, Submission, Target, Which,
};

/// An answer.
#[derive(Debug)]
pub(super) enum Letter {
    Placed(ShardIndex, Vec<Placed>),
    Unplaced(ShardIndex, Vec<(Attributes, Arc<Message>)>),
    Fetched(ShardIndex, Fetched),
    Dropped(ShardIndex, Vec<Dropped>),
    Skipped(ShardIndex),
    Durable(ShardIndex, Submission),
}

/// All that is durable.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) sessions: BTreeMap<SessionNumber, Stored>,
    pub(super) retained: BTreeMap<String, Retained>,
    pub(super) next_order: u64,
}

#[derive(Debug)]
pub(super) struct Retained {
    /// Nothing once it was cleared: what is older must not come back.
    message: Option<Arc<Message>>,
    qos: QoS,
    order: u64,
}

/// A session.
#[derive(Debug)]
pub(super) struct Stored {
    identity: SessionIdentity,
    home: ShardIndex,
    expiry_secs: u32,
    presence: Presence,
    sent_before: Position,
    next: Position,
    pub(super) queue: Vec<Entry>,
    received: BTreeSet<PacketId>,
    subscriptions: BTreeMap<Box<str>, RecoveredSubscription>,
    will: Option<StoredWill>,
    is_ghost: bool,
}

#[derive(Debug)]
pub(super) struct Entry {
    position: Position,
    message: Option<Arc<Message>>,
    attributes: Attributes,
}

impl State {
    /// Does what an operation says. Answers go to `letters`.
    pub(super) fn apply(
        &mut self,
        shard: ShardIndex,
        operation: Operation,
        limits: &QueueLimits,
        letters: &mut Vec<Letter>,
    ) {
        match operation {
            Operation::Publish { message, qos, targets, attributes, received, retain } => {
                for target in targets {
                    self.place(shard, &message, &target, &attributes, limits, letters);
                }
                if let Some((session, packet_id)) = received
                    && let Some(session) = self.session(session)
                {
                    session.received.insert(packet_id);
                }
                if let Some(order) = retain {
                    self.retain(message, qos, order);
                }
            }
            Operation::Unretain { topic, order } => {
                if let Some(known) = self.retained.get_mut(&*topic)
                    && known.order == order
                {
                    known.message = None;
                }
            }
            Operation::Finish { session, positions } => {
                if let Some(stored) = self.sessions.get_mut(&session) {
                    stored.queue.retain(|it| !positions.contains(&it.position));
                }
                self.forget_if_empty(session);
            }
            Operation::Received { session, position } => {
                let stored = self.sessions.get_mut(&session);
                let queue = stored.into_iter().flat_map(|it| it.queue.iter_mut());
                for entry in queue.filter(|it| it.position == position) {
                    entry.message = None;
                    entry.attributes.share = None;
                }
            }
            Operation::Release { session, packet_id } => {
                if let Some(session) = self.session(session) {
                    session.received.remove(&packet_id);
                }
            }
            Operation::SessionStart { session, identity, expiry_secs } => {
                let stored = Stored {
                    identity,
                    home: shard,
                    expiry_secs,
                    presence: Presence::Connected,
                    sent_before: Position::new(0),
                    next: Position::new(0),
                    queue: Vec::new(),
                    received: BTreeSet::new(),
                    subscriptions: BTreeMap::new(),
                    will: None,
                    is_ghost: false,
                };
                let known = self.sessions.insert(session, stored);
                assert!(known.is_none(), "{session:?} begins twice");
            }
            Operation::SessionChange { session: number, expiry_secs, presence, sent_before } => {
                if let Some(session) = self.session(number) {
                    session.home = shard;
                    session.expiry_secs = expiry_secs;
                    session.presence = presence;
                    session.sent_before = sent_before;
                    session.drop_oldest(number, limits, letters);
                }
            }
            Operation::SessionEnd { session } => {
                if let Some(session) = self.session(session) {
                    session.is_ghost = true;
                    session.queue.retain(|it| it.attributes.share.is_some());
                    session.subscriptions.clear();
                    session.received.clear();
                    session.will = None;
                }
                self.forget_if_empty(session);
            }
            Operation::Subscribe { session, filter, options, subscription_id, cursor } => {
                if let Some(session) = self.session(session) {
                    let subscription = RecoveredSubscription {
                        filter: filter.clone(),
                        options,
                        subscription_id,
                        cursor,
                    };
                    session.subscriptions.insert(filter, subscription);
                }
            }
            Operation::Cursor { session, filter, cursor } => {
                self.move_cursor(session, &filter, cursor)
            }
            Operation::Unsubscribe { session, filter } => {
                if let Some(session) = self.session(session) {
                    session.subscriptions.remove(&filter);
                }
            }
            Operation::Will { session, will } => {
                if let Some(session) = self.session(session) {
                    session.will = will;
                }
            }
            Operation::Fetch(fetch) => letters.push(Letter::Fetched(shard, self.fetch(&fetch))),
        }
    }

    fn session(&mut self, number: SessionNumber) -> Option<&mut Stored> {
        self.sessions.get_mut(&number).filter(|it| !it.is_ghost)
    }

    fn place(
        &mut self,
        shard: ShardIndex,
        message: &Arc<Message>,
        target: &Target,
        attributes: &[Attributes],
        limits: &QueueLimits,
        letters: &mut Vec<Letter>,
    ) {
        let number = target.session;
        let attributes = attributes[target.attributes as usize].clone();
        let Some(session) = self.session(number) else {
            letters.push(match attributes.share {
                Some(_) => Letter::Unplaced(shard, vec![(attributes, Arc::clone(message))]),
                None => Letter::Skipped(shard),
            });
            return;
        };
        let position = session.next;
        session.next = position.plus(1);
        let message = Arc::clone(message);
        let entry =
            Entry { position, message: Some(Arc::clone(&message)), attributes: attributes.clone() };
        session.queue.push(entry);
        if session.presence == Presence::Connected {
            let placed = Placed { session: number, position, message, attributes };
            letters.push(Letter::Placed(session.home, vec![placed]));
        }
        session.drop_oldest(number, limits, letters);
    }

    fn retain(&mut self, message: Arc<Message>, qos: QoS, order: u64) {
        self.next_order = self.next_order.max(order + 1);
        let content = message.content();
        let topic = content.topic.to_owned();
        if self.retained.get(&topic).is_some_and(|it| it.order > order) {
            return;
        }
        let is_empty = content.payload.is_empty();
        let message = (!is_empty).then_some(message);
        self.retained.insert(topic, Retained { message, qos, order });
    }

    fn move_cursor(&mut self, session: SessionNumber, filter: &str, cursor: Option<CursorPlace>) {
        let session = self.session(session);
        let subscriptions = session.into_iter().flat_map(|it| it.subscriptions.values_mut());
        // The broker names the filter without its `$share`, which has no retained messages.
        for subscription in subscriptions.filter(|it| *it.filter == *filter) {
            subscription.cursor = cursor.clone();
        }
    }

    fn fetch(&self, fetch: &Fetch) -> Fetched {
        let stored = self.sessions.get(&fetch.session);
        let end = stored.map_or(fetch.from, |it| it.next.max(fetch.from));
        let mut fetched = Fetched {
            session: fetch.session,
            token: fetch.token,
            which: fetch.which,
            entries: Vec::new(),
            next: end,
            is_last: true,
        };
        let mut bytes = 0;
        for entry in stored.into_iter().flat_map(|it| &it.queue) {
            let is_meant = fetch.which == Which::All || entry.attributes.share.is_some();
            if entry.position < fetch.from || !is_meant {
                continue;
            }
            let is_full =
                fetched.entries.len() >= fetch.entries_max as usize || bytes >= fetch.bytes_max;
            if is_full && !fetched.entries.is_empty() {
                (fetched.next, fetched.is_last) = (entry.position, false);
                break;
            }
            bytes += entry.message.as_ref().map_or(0, |it| it.size_bytes() as u64);
            fetched.entries.push(FetchedEntry {
                position: entry.position,
                message: entry.message.clone(),
                attributes: entry.attributes.clone(),
            });
        }
        fetched
    }

    fn forget_if_empty(&mut self, session: SessionNumber) {
        if self.sessions.get(&session).is_some_and(|it| it.is_ghost && it.queue.is_empty()) {
            self.sessions.remove(&session);
        }
    }

    /// The broker's clock begins anew: its zero is `later_millis` later than it was.
    pub(super) fn shift(&mut self, later_millis: u64) {
        let queues = self.sessions.values_mut().flat_map(|it| it.queue.iter_mut());
        let queued = queues.filter_map(|it| it.message.as_mut());
        let retained = self.retained.values_mut().filter_map(|it| it.message.as_mut());
        for message in queued.chain(retained) {
            let content = message.content();
            if let Some(at) = content.expires_at {
                let millis = at.as_millis().saturating_sub(later_millis);
                let expires_at = Some(Time::from_millis(millis));
                *message = Message::new(&Content { expires_at, ..content });
            }
        }
    }

    /// Returns what is there. Places given from here on come behind all that may have been sent.
    pub(super) fn recover(&mut self) -> Recovered {
        let mut recovered = Recovered { next_order: self.next_order, ..Recovered::default() };
        for (number, stored) in &mut self.sessions {
            stored.next = stored.next.max(stored.sent_before);
            if stored.is_ghost {
                recovered.ghosts.push((*number, stored.sent_before));
                continue;
            }
            let waiting =
                || stored.queue.iter().filter_map(|it| it.waiting_bytes(stored.sent_before));
            recovered.sessions.push(RecoveredSession {
                session: *number,
                identity: stored.identity.clone(),
                expiry_secs: stored.expiry_secs,
                presence: stored.presence,
                sent_before: stored.sent_before,
                queued_messages: waiting().count() as u32,
                queued_bytes: waiting().sum(),
                received: stored.received.iter().copied().collect(),
                subscriptions: stored.subscriptions.values().map(copy_of).collect(),
                will: stored.will.clone(),
            });
        }
        for retained in self.retained.values() {
            let Retained { message: Some(message), qos, order } = retained else { continue };
            let (message, qos, order) = (Arc::clone(message), *qos, *order);
            recovered.retained.push(RecoveredRetained { message, qos, order });
        }
        recovered
    }

    /// Learns where a session lives.
    pub(super) fn set_place(&mut self, session: SessionNumber, home: ShardIndex) {
        if let Some(stored) = self.sessions.get_mut(&session) {
            stored.home = home;
        }
    }

    /// Returns how many retained messages there are.
    pub(super) fn retained_count(&self) -> usize {
        self.retained.values().filter(|it| it.message.is_some()).count()
    }
}

impl Stored {
    /// Keeps the limits of the queue of a session whose client is away.
    fn drop_oldest(
        &mut self,
        number: SessionNumber,
        limits: &QueueLimits,
        letters: &mut Vec<Letter>,
    ) {
        if !limits.drops_oldest || self.presence == Presence::Connected {
            return;
        }
        loop {
            let sent_before = self.sent_before;
            let waiting = || self.queue.iter().filter_map(|it| it.waiting_bytes(sent_before));
            let is_over = waiting().count() > limits.queued_messages_max as usize
                || waiting().sum::<u64>() > limits.queued_bytes_max;
            let oldest = self.queue.iter().position(|it| it.waiting_bytes(sent_before).is_some());
            let (true, Some(oldest)) = (is_over, oldest) else { return };
            let bytes = self.queue.remove(oldest).waiting_bytes(sent_before).unwrap_or_default();
            let dropped = Dropped { session: number, messages: 1, bytes };
            letters.push(Letter::Dropped(self.home, vec![dropped]));
        }
    }
}

impl Entry {
    /// Returns what a message counts for that was never sent.
    fn waiting_bytes(&self, sent_before: Position) -> Option<u64> {
        let message = self.message.as_ref().filter(|_| self.position >= sent_before)?;
        // A retained message is kept by its topic.
        Some(if self.attributes.retained_order == 0 { message.size_bytes() as u64 } else { 0 })
    }
}

fn copy_of(it: &RecoveredSubscription) -> RecoveredSubscription {
    RecoveredSubscription {
        filter: it.filter.clone(),
        options: it.options,
        subscription_id: it.subscription_id,
        cursor: it.cursor.clone(),
    }
}
