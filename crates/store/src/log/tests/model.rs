//! What a log must know, said as simply as possible.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use quelea_codec::QoS;
use quelea_session::{Message, Position};

use crate::log::disk::SimulatedDisk;
use crate::log::engine::Engine;
use crate::{
    Attributes, Batch, CursorPlace, Fetch, FetchedEntry, Operation, Presence, QueueLimits,
    Recovered, SessionNumber, ShardIndex, StoredWill, Submission, WallMillis, Which,
};

/// What a log knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Model {
    pub(super) sessions: BTreeMap<SessionNumber, ModelSession>,
    pub(super) retained: BTreeMap<String, (u64, Content)>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ModelSession {
    client_id: String,
    pub(super) is_ghost: bool,
    expiry_secs: u32,
    lost_at: Option<u64>,
    pub(super) sent_before: u64,
    pub(super) queue: BTreeMap<u64, ModelEntry>,
    pub(super) subscriptions: BTreeMap<String, (u8, u32, Option<CursorPlace>)>,
    pub(super) received: BTreeSet<u16>,
    will: Option<(Content, u8, bool, u32, Option<u32>)>,
    /// The next position; 0 for a ghost, which gets nothing any more.
    next: u64,
}

/// An entry: nothing once its client has received it.
type ModelEntry = Option<(Content, Attributes)>;

/// Topic, properties, length and checksum of the payload, expiry.
type Content = (String, Vec<u8>, (usize, u32), Option<u64>);

impl Model {
    /// Does what an operation says.
    pub(super) fn apply(&mut self, operation: &Operation, limits: &QueueLimits) {
        let Self { sessions, retained } = self;
        let live = |it: &&mut ModelSession| !it.is_ghost;
        match operation {
            Operation::Publish { message, targets, attributes, received, retain, .. } => {
                for target in targets {
                    let Some(session) = sessions.get_mut(&target.session).filter(live) else {
                        continue;
                    };
                    let attributes = attributes[target.attributes as usize].clone();
                    session.queue.insert(session.next, Some((content(message), attributes)));
                    session.next += 1;
                    session.drop_oldest(limits);
                }
                if let Some((session, packet_id)) = received
                    && let Some(session) = sessions.get_mut(session).filter(live)
                {
                    session.received.insert(packet_id.value());
                }
                let content = content(message);
                if let Some(order) = *retain {
                    if content.2.0 == 0 {
                        retained.remove(&content.0);
                    } else {
                        retained.insert(content.0.clone(), (order, content));
                    }
                }
            }
            Operation::Unretain { topic, order } => {
                if retained.get(&**topic).is_some_and(|it| it.0 <= *order) {
                    retained.remove(&**topic);
                }
            }
            Operation::Finish { session, positions } => {
                if let Some(it) = sessions.get_mut(session) {
                    positions.iter().for_each(|position| {
                        it.queue.remove(&position.value());
                    });
                    if it.is_ghost && it.queue.is_empty() {
                        sessions.remove(session);
                    }
                }
            }
            Operation::Received { session, position } => {
                let Some(it) = sessions.get_mut(session) else { return };
                if it.is_ghost {
                    it.queue.remove(&position.value());
                    if it.queue.is_empty() {
                        sessions.remove(session);
                    }
                } else if let Some(entry) = it.queue.get_mut(&position.value()) {
                    *entry = None;
                }
            }
            Operation::Release { session, packet_id } => {
                if let Some(it) = sessions.get_mut(session).filter(live) {
                    it.received.remove(&packet_id.value());
                }
            }
            Operation::SessionStart { session, identity, expiry_secs } => {
                let client_id = identity.client_id.to_string();
                let it =
                    ModelSession { client_id, expiry_secs: *expiry_secs, ..Default::default() };
                sessions.insert(*session, it);
            }
            Operation::SessionChange { session, expiry_secs, presence, sent_before } => {
                if let Some(it) = sessions.get_mut(session).filter(live) {
                    it.expiry_secs = *expiry_secs;
                    it.lost_at = lost_at(*presence);
                    it.sent_before = sent_before.value();
                    it.drop_oldest(limits);
                }
            }
            Operation::SessionEnd { session } => {
                if let Some(it) = sessions.get_mut(session).filter(live) {
                    let sent_before = it.sent_before;
                    let mut queue = std::mem::take(&mut it.queue);
                    let is_shared = |it: &ModelEntry| {
                        it.as_ref().is_some_and(|(_, attributes)| attributes.share.is_some())
                    };
                    queue.retain(|_, entry| is_shared(entry));
                    if queue.is_empty() {
                        sessions.remove(session);
                    } else {
                        *it = ModelSession {
                            is_ghost: true,
                            sent_before,
                            queue,
                            ..Default::default()
                        };
                    }
                }
            }
            Operation::Subscribe { session, filter, options, subscription_id, cursor } => {
                if let Some(it) = sessions.get_mut(session).filter(live) {
                    let subscription = (*options, *subscription_id, cursor.clone());
                    it.subscriptions.insert(filter.to_string(), subscription);
                }
            }
            Operation::Cursor { session, filter, cursor } => {
                let session = sessions.get_mut(session).filter(live);
                if let Some(it) = session.and_then(|it| it.subscriptions.get_mut(&**filter)) {
                    it.2.clone_from(cursor);
                }
            }
            Operation::Unsubscribe { session, filter } => {
                if let Some(it) = sessions.get_mut(session).filter(live) {
                    it.subscriptions.remove(&**filter);
                }
            }
            Operation::Will { session, will } => {
                if let Some(it) = sessions.get_mut(session).filter(live) {
                    it.will = will.as_ref().map(will_of);
                }
            }
            Operation::Fetch(_) => {}
        }
    }

    /// Says how `other` differs, line by line.
    pub(super) fn difference(&self, other: &Self) -> String {
        let (this, other) = (format!("{self:#?}"), format!("{other:#?}"));
        let only = |sign: char, of: &str, not_of: &str| -> String {
            let lines = of.lines().filter(|line| !not_of.lines().any(|it| it == *line));
            lines.map(|line| format!("\n{sign}{line}")).collect()
        };
        only('-', &this, &other) + &only('+', &other, &this)
    }

    /// Returns what it is after a restart: places that are given then come behind all that may have been sent.
    pub(super) fn reopened(mut self) -> Self {
        for session in self.sessions.values_mut().filter(|it| !it.is_ghost) {
            session.next = session.next.max(session.sent_before);
        }
        self
    }

    /// Returns what it is after a second restart, which may know nothing of the first, if that is how it was `seen`:
    /// places that nothing was given may be given.
    pub(super) fn reopened_as(self, seen: &Self) -> Self {
        let mut model = self.reopened();
        for (number, session) in &mut model.sessions {
            let last = session.queue.last_key_value().map_or(0, |it| it.0 + 1);
            let lowest = last.max(session.sent_before).min(session.next);
            let found = seen.sessions.get(number).map_or(0, |it| it.next);
            session.next = found.clamp(lowest, session.next);
        }
        model
    }

    /// Returns what a log says that was opened.
    pub(super) fn of(recovered: &Recovered, engine: &mut Engine<SimulatedDisk>) -> Self {
        let mut model = Self::default();
        for it in &recovered.sessions {
            let subscriptions = it.subscriptions.iter().map(|it| {
                let value = (it.options, it.subscription_id, it.cursor.clone());
                (it.filter.to_string(), value)
            });
            let session = ModelSession {
                client_id: it.identity.client_id.to_string(),
                is_ghost: false,
                expiry_secs: it.expiry_secs,
                lost_at: lost_at(it.presence),
                sent_before: it.sent_before.value(),
                queue: queue_of(engine, it.session),
                subscriptions: subscriptions.collect(),
                received: it.received.iter().map(|it| it.value()).collect(),
                will: it.will.as_ref().map(will_of),
                next: engine.index.sessions.slot(it.session).unwrap().next,
            };
            assert_eq!(
                (it.queued_messages, it.queued_bytes),
                session.queued(),
                "what is queued of {:?}",
                it.session
            );
            model.sessions.insert(it.session, session);
        }
        for (session, sent_before) in &recovered.ghosts {
            let queue = queue_of(engine, *session);
            let sent_before = sent_before.value();
            let ghost = ModelSession { is_ghost: true, sent_before, queue, ..Default::default() };
            model.sessions.insert(*session, ghost);
        }
        for it in &recovered.retained {
            let content = content(&it.message);
            assert!(it.order < recovered.next_order);
            model.retained.insert(content.0.clone(), (it.order, content));
        }
        model
    }
}

impl ModelSession {
    fn waiting(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> {
        let entries = self.queue.range(self.sent_before..);
        entries.filter_map(|(position, entry)| {
            let (content, attributes) = entry.as_ref()?;
            let bytes = content.0.len() + content.1.len() + content.2.0;
            let is_owed = attributes.retained_order != 0;
            Some((*position, if is_owed { 0 } else { Message::size_of(bytes) as u64 }))
        })
    }

    fn queued(&self) -> (u32, u64) {
        (self.waiting().count() as u32, self.waiting().map(|it| it.1).sum())
    }

    fn drop_oldest(&mut self, limits: &QueueLimits) {
        if !limits.drops_oldest || self.lost_at.is_none() {
            return;
        }
        loop {
            let (messages, bytes) = self.queued();
            let is_over = messages > limits.queued_messages_max || bytes > limits.queued_bytes_max;
            let Some((oldest, _)) = self.waiting().next().filter(|_| is_over) else { return };
            self.queue.remove(&oldest);
        }
    }
}

/// Returns the whole queue of a session, a few entries at a time.
fn queue_of(
    engine: &mut Engine<SimulatedDisk>,
    session: SessionNumber,
) -> BTreeMap<u64, ModelEntry> {
    let mut queue = BTreeMap::new();
    let mut from = Position::new(0);
    loop {
        let fetch =
            Fetch { session, token: 7, from, entries_max: 3, bytes_max: 2_000, which: Which::All };
        let operations = vec![Operation::Fetch(fetch)];
        let batch = Batch { through: Submission(0), is_awaited: false, operations };
        engine.append(&mut VecDeque::from([(ShardIndex(0), batch)])).unwrap();
        let mut lookups = engine.take_lookups();
        let (shard, lookup) = lookups.pop().unwrap();
        assert!(lookups.is_empty() && shard == ShardIndex(0));
        let fetched = lookup.read().unwrap();
        assert_eq!((fetched.session, fetched.token), (session, 7));
        for FetchedEntry { position, message, attributes } in fetched.entries {
            assert!(position >= from);
            let entry = message.map(|it| (content(&it), attributes));
            assert!(queue.insert(position.value(), entry).is_none());
        }
        if fetched.is_last {
            return queue;
        }
        from = fetched.next;
    }
}

fn lost_at(presence: Presence) -> Option<u64> {
    match presence {
        Presence::Connected => None,
        Presence::Lost(WallMillis(at)) => Some(at),
    }
}

fn will_of(will: &StoredWill) -> (Content, u8, bool, u32, Option<u32>) {
    let StoredWill { message, qos, retain, delay_secs, expiry_secs } = will;
    let mut content = content(message);
    // It does not expire before it is published.
    content.3 = None;
    (content, QoS::to_byte(*qos), *retain, *delay_secs, *expiry_secs)
}

fn content(message: &Message) -> Content {
    let it = message.content();
    let expires_at = it.expires_at.map(|it| it.as_millis());
    let payload = (it.payload.len(), crc32fast::hash(it.payload));
    (it.topic.to_owned(), it.forwarded.to_vec(), payload, expires_at)
}
