//! The queues of durable sessions: a bounded head here, the rest in the store.
//!
//! While a client is away nothing of its queue is in memory. When it is back its shard fetches the
//! entries, a few at a time, as the client takes them. Once it has them all, what the store places
//! comes with the report; a head that is full forgets such entries again, and fetches them later.
//!
//! ```text
//!        next                       end
//! head     |   in the store only     |   not placed yet
//! ---------+-------------------------+------------------> positions
//! ```

use std::sync::Arc;
use std::sync::atomic::Ordering;

use quelea_codec::QoS;
use quelea_session::{Delivery, DropReason, Message, Position};
use quelea_store::{
    Attributes, Dropped, Fetch, Fetched, FetchedEntry, Operation, Placed, Presence, SessionNumber,
    Which,
};

use super::Shard;
use super::sessions::HomeSession;
use crate::arena::Key;
use crate::config::QueueOverflow;

/// What a durable session's shard knows of its queue.
#[derive(Debug)]
pub(super) struct Kept {
    /// How the store knows the session.
    pub(super) number: SessionNumber,
    /// The first position that is not in memory.
    pub(super) next: Position,
    /// Greater than every position known to be placed.
    end: Position,
    /// There may be entries from `next` on.
    pub(super) is_behind: bool,
    /// The fetch under way.
    pub(super) fetch: Option<u64>,
    /// Entries before this one may have been sent on an earlier connection.
    resend_before: Position,
    /// The store knows that entries before this one may be sent.
    mark: Position,
    /// The latest mark that the store was told.
    told: Position,
    /// Shared groups may have chosen it: what they gave it has to be moved when it ends, what it is still sending
    /// at QoS 2 after it has left the group included.
    has_shared: bool,
}

impl Kept {
    /// Returns what is known of the queue of a session that starts.
    pub(super) fn new(number: SessionNumber) -> Self {
        let zero = Position::new(0);
        Self {
            number,
            next: zero,
            end: zero,
            is_behind: false,
            fetch: None,
            resend_before: zero,
            mark: zero,
            told: zero,
            has_shared: false,
        }
    }

    /// Forgets what is in memory: the client is gone.
    pub(super) fn forget(&mut self) {
        let has_shared = self.has_shared;
        *self = Self { is_behind: true, has_shared, ..Self::new(self.number) };
    }

    /// Notes that shared groups may choose the session, or may have before a restart.
    pub(super) fn set_shared(&mut self) {
        self.has_shared = true;
    }

    /// Returns whether shared groups may have chosen the session.
    pub(super) fn has_shared(&self) -> bool {
        self.has_shared
    }

    /// Has the entries before `sent_before` sent again, and those up to the returned mark sent for the first
    /// time, once the store knows it.
    pub(super) fn attach(&mut self, sent_before: Position) -> Position {
        self.resend_before = sent_before;
        self.mark = sent_before.plus(MARK_AHEAD);
        self.told = self.mark;
        self.mark
    }

    /// Returns the position from which on nothing may be sent yet.
    pub(super) fn mark(&self) -> Position {
        self.mark
    }

    /// Returns the mark that covers all that this connection may have sent.
    pub(super) fn told(&self) -> Position {
        self.told
    }
}

impl Shard {
    /// The store placed messages in queues of sessions of this shard.
    pub(super) fn on_placed(&mut self, placed: Vec<Placed>) {
        let mut touched: Vec<Key> = Vec::new();
        let mut denied = Vec::new();
        for it in placed {
            let key = self.numbers.get(&it.session).copied();
            let found = key.and_then(|key| Some((key, self.sessions.get_mut(key)?)));
            // The session ended while this was in the mail: the store kept it if it has to be moved.
            let Some((key, session)) = found else { continue };
            let protocol = &mut session.protocol;
            let Some(kept) = session.extra.as_mut().and_then(|extra| extra.kept.as_mut()) else {
                continue;
            };
            if session.link.is_none() || it.position < kept.next {
                continue;
            }
            kept.end = kept.end.max(it.position.plus(1));
            let is_full = protocol.queued_messages() >= HEAD_MESSAGES_MAX
                || protocol.queued_bytes() >= HEAD_BYTES_MAX;
            if kept.is_behind || is_full {
                kept.is_behind = true;
                // Somebody has to ask for it, however short the head becomes.
                if touched.last() != Some(&key) {
                    touched.push(key);
                }
                continue;
            }
            kept.next = it.position.plus(1);
            if session.may_not_receive(it.message.content().topic) {
                let bytes = counted_bytes(&it.message, &it.attributes);
                denied.push((key, it.session, it.position, bytes));
                continue;
            }
            enqueue(session, it.position, it.message, &it.attributes);
            // Without repeats in a row: a burst to one session is pumped once.
            if touched.last() != Some(&key) {
                touched.push(key);
            }
        }
        for (key, number, position, bytes) in denied {
            self.withhold(key, number, position, bytes);
        }
        for key in touched {
            self.drop_beyond(key);
            match self.sessions.get(key).and_then(|session| session.link) {
                Some(link) => self.pump(link, key),
                None => self.settle(key),
            }
        }
    }

    /// Entries have arrived that were asked for.
    pub(super) fn on_fetched(&mut self, fetched: Fetched) {
        if let Some(sweep) = self.sweeps.take(fetched.token) {
            self.sweep(sweep, fetched);
            return;
        }
        let Some(key) = self.numbers.get(&fetched.session).copied() else { return };
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(kept) = session.extra.as_mut().and_then(|extra| extra.kept.as_mut()) else {
            return;
        };
        // Another connection asked.
        if kept.fetch != Some(fetched.token) {
            return;
        }
        kept.fetch = None;
        kept.end = kept.end.max(fetched.next);
        kept.next = fetched.next;
        kept.is_behind = !fetched.is_last || kept.next < kept.end;
        let resend_before = kept.resend_before;
        let (mut strays, mut denied) = (Vec::new(), Vec::new());
        for FetchedEntry { position, message, attributes } in fetched.entries {
            let was_sent = position < resend_before && attributes.qos != QoS::AtMostOnce;
            let Some(message) = message else {
                session.protocol.restore_released(position);
                continue;
            };
            if !was_sent && session.may_not_receive(message.content().topic) {
                denied.push((position, counted_bytes(&message, &attributes)));
            } else if !was_sent && !is_member(session, attributes.share.as_deref()) {
                strays.push((position, message, attributes));
            } else if was_sent {
                session.protocol.restore_sent(position, message, delivery(&attributes));
            } else {
                enqueue(session, position, message, &attributes);
            }
        }
        for (position, bytes) in denied {
            self.withhold(key, fetched.session, position, bytes);
        }
        for (position, message, attributes) in strays {
            self.give_back(key, 1, message.size_bytes() as u64);
            self.move_entry(fetched.session, position, &message, &attributes);
        }
        self.drop_beyond(key);
        match self.sessions.get(key).and_then(|session| session.link) {
            Some(link) => self.pump(link, key),
            None => self.settle(key),
        }
    }

    /// Asks for entries when the head is short and there are more.
    pub(super) fn refill(&mut self, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let waiting = session.protocol.queued_messages() + session.protocol.waiting_resends();
        let Some(kept) = session.extra.as_mut().and_then(|extra| extra.kept.as_mut()) else {
            return;
        };
        if session.link.is_none() || !kept.is_behind || kept.fetch.is_some() {
            return;
        }
        if waiting >= HEAD_MESSAGES_MAX / 2 {
            return;
        }
        self.last_token += 1;
        kept.fetch = Some(self.last_token);
        let fetch = Fetch {
            session: kept.number,
            token: self.last_token,
            from: kept.next,
            entries_max: HEAD_MESSAGES_MAX as u32,
            bytes_max: HEAD_BYTES_MAX,
            which: Which::All,
        };
        self.submit_lazy(Operation::Fetch(fetch));
    }

    /// Tells the store in time how far a session may come with sending.
    ///
    /// The mark stays below the position whose packet identifier is that of the oldest open exchange:
    /// what is before it in the log is done when the store knows the mark, so that no two entries that
    /// come back after a crash share an identifier.
    pub(super) fn extend_mark(&mut self, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let sent_before = session.protocol.sent_before();
        let first_open = session.protocol.first_open();
        let Some(extra) = &mut session.extra else { return };
        let expiry_secs = extra.expiry_secs;
        let Some(kept) = &mut extra.kept else { return };
        if session.link.is_none() || sent_before.plus(MARK_AHEAD / 2) < kept.told {
            return;
        }
        let most = first_open.map_or(u64::MAX, |first| first.value() + PACKET_IDS);
        let mark = Position::new(sent_before.value().saturating_add(MARK_AHEAD).min(most));
        if mark <= kept.told {
            return;
        }
        kept.told = mark;
        let session = kept.number;
        let presence = Presence::Connected;
        let change = Operation::SessionChange { session, expiry_secs, presence, sent_before: mark };
        let after = self.submit(change);
        self.marks.push_back((after, key, mark));
    }

    /// Lets sessions send up to marks that the store knows.
    pub(super) fn pass_marks(&mut self) {
        while let Some((_, key, mark)) = self.marks.pop_front_if(|it| it.0 <= self.durable) {
            let Some(session) = self.sessions.get_mut(key) else { continue };
            let Some(kept) = session.extra.as_mut().and_then(|extra| extra.kept.as_mut()) else {
                continue;
            };
            // One of an earlier connection says nothing about this one.
            if mark <= kept.told {
                kept.mark = kept.mark.max(mark);
            }
            if let (Some(link), true) = (session.link, session.protocol.wants_pump()) {
                self.pump(link, key);
            }
        }
    }

    /// Drops what has waited longest, if that is how the limits are kept: the publisher's shard then
    /// reserves room without asking. For a session whose client is away the store does it.
    fn drop_beyond(&mut self, key: Key) {
        let limits = &self.rules.config.limits;
        if limits.queue_overflow != QueueOverflow::DropOldest {
            return;
        }
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(gauge) = session.gauge() else { return };
        let messages = gauge.queued_messages.load(Ordering::Relaxed);
        let bytes = gauge.queued_bytes.load(Ordering::Relaxed);
        let left_before = (self.effects.left_messages, self.effects.left_bytes);
        loop {
            let left = self.effects.left_messages - left_before.0;
            let left_bytes = self.effects.left_bytes - left_before.1;
            let is_over = messages.saturating_sub(left) > limits.queued_messages_max
                || bytes.saturating_sub(left_bytes) > limits.queued_bytes_max;
            if !is_over {
                return;
            }
            // The rest stays while all that is in memory may have been sent.
            let dropped = session.protocol.drop_oldest_queued(&mut self.effects);
            let Some(position) = dropped else { return };
            self.effects.finished.push(position);
        }
    }

    /// The store has dropped what waited longest for clients that are away.
    pub(super) fn on_dropped(&mut self, dropped: Vec<Dropped>) {
        for Dropped { session, messages, bytes } in dropped {
            self.counters().dropped_queue_full.add(messages.into());
            let Some(key) = self.numbers.get(&session).copied() else { continue };
            let Some(session) = self.sessions.get(key) else { continue };
            let reason = DropReason::QueueFull.as_str();
            tracing::debug!(client_id = %session.client_id, messages, reason, "messages dropped");
            if let Some(gauge) = session.gauge() {
                gauge.note_dropped(messages);
            }
            self.give_back(key, messages, bytes);
        }
    }

    /// Makes room for others: messages have left a queue.
    pub(super) fn give_back(&mut self, key: Key, messages: u32, bytes: u64) {
        if messages == 0 {
            return;
        }
        if let Some(gauge) = self.sessions.get(key).and_then(|session| session.gauge()) {
            gauge.give_back(messages, bytes);
            self.shared.backlog.take(messages.into(), bytes);
        }
    }

    /// Drops an entry that its client may not have.
    fn withhold(&mut self, key: Key, session: SessionNumber, position: Position, bytes: u64) {
        self.counters().dropped_denied.add(1);
        self.give_back(key, 1, bytes);
        self.finish(session, position);
    }

    /// Has an entry leave the store.
    pub(super) fn finish(&mut self, session: SessionNumber, position: Position) {
        self.effects.finished.push(position);
        self.finish_all(session);
    }

    /// Has the entries leave the store that are reported as finished.
    pub(super) fn finish_all(&mut self, session: SessionNumber) {
        let finished = &mut self.effects.finished;
        match self.operations.last_mut() {
            Some(Operation::Finish { session: last, positions }) if *last == session => {
                positions.append(finished);
            }
            Some(_) | None => {
                let mut positions = Vec::with_capacity(finished.len().max(FINISHED_TOGETHER));
                positions.append(finished);
                self.submit_lazy(Operation::Finish { session, positions });
            }
        }
    }
}

/// Returns how many bytes a message takes of a queue's room: a retained one is not kept for it.
fn counted_bytes(message: &Message, attributes: &Attributes) -> u64 {
    if attributes.retained_order == 0 { message.size_bytes() as u64 } else { 0 }
}

/// Returns whether a session is still in the group that chose it, if one did.
pub(super) fn is_member(session: &HomeSession, share: Option<&str>) -> bool {
    share.is_none_or(|share| session.subscriptions.groups().any(|it| *it.text == *share))
}

fn enqueue(
    session: &mut HomeSession,
    position: Position,
    message: Arc<Message>,
    attributes: &Attributes,
) {
    let order = attributes.retained_order;
    session.protocol.enqueue(position, message, delivery(attributes), order);
}

fn delivery(attributes: &Attributes) -> Delivery<'_> {
    Delivery {
        qos: attributes.qos,
        retain: attributes.retain,
        subscription_ids: attributes.subscription_ids.as_slice(),
        // The store knows what belongs to a group.
        group: None,
    }
}

/// Messages in the head of a queue. The rest is in the store.
pub(super) const HEAD_MESSAGES_MAX: usize = 128;

/// Bytes in the head of a queue, unless a single message is larger.
pub(super) const HEAD_BYTES_MAX: u64 = 128 * 1024;

/// Entries that a client mostly finishes in one turn, if it finishes several.
const FINISHED_TOGETHER: usize = 16;

/// How far ahead of its sending a session tells the store what it may send: after a crash so much goes
/// out with DUP that was never sent.
const MARK_AHEAD: u64 = 1_024;

/// Positions with different packet identifiers.
const PACKET_IDS: u64 = 65_535;
