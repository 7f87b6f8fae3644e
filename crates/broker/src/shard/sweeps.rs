//! The move of what a shared group gave to one member out of that member's queue, to others.
//!
//! The store has the queue. So the entries are fetched, a few at a time, and each is given to another member and
//! ended here in one batch. What was fetched before, by another sweep or for the client, may still have such an entry:
//! the first knows what was moved, and the second is fetched anew.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};
use quelea_codec::QoS;
use quelea_session::{Message, Position, Sharing, Withdrawn};
use quelea_store::{Attributes, Fetch, Fetched, FetchedEntry, Operation, SessionNumber, Which};

use super::Shard;
use super::queues::{HEAD_BYTES_MAX, HEAD_MESSAGES_MAX, is_member};
use super::sessions::HomeSession;
use crate::arena::Key;
use crate::config::QueueOverflow;

/// The sweeps of a shard.
#[derive(Debug, Default)]
pub(super) struct Sweeps {
    /// By the token of the fetch that it waits for: one for each member that has just left.
    under_way: HashMap<u64, Sweep, FixedState>,
    /// The sessions that they are for.
    sessions: HashMap<SessionNumber, Swept, FixedState>,
}

/// A session that is swept.
#[derive(Debug, Default)]
struct Swept {
    sweep_count: usize,
    /// What was moved while there was more than one: the others may have fetched it before. No more than a fetch
    /// brings for each of them, because the next fetch of a sweep is behind the ends of these.
    moved: HashSet<Position, FixedState>,
}

/// The move of a shared group's messages out of the queue of a former member.
#[derive(Debug)]
pub(super) struct Sweep {
    session: SessionNumber,
    /// The group, by its `$share` filter; all of them when the session is gone.
    share: Option<Arc<str>>,
    /// Entries before this one may have been sent by a session that is gone.
    sent_before: Position,
    /// Where the fetch that it waits for begins.
    from: Position,
    /// The connection that the session had when it was asked.
    link: Option<Key>,
}

impl Sweeps {
    /// Takes the sweep that a fetch was for, if it was for one.
    pub(super) fn take(&mut self, token: u64) -> Option<Sweep> {
        self.under_way.remove(&token)
    }

    /// A sweep is over.
    fn end(&mut self, session: SessionNumber) {
        if let Some(swept) = self.sessions.get_mut(&session) {
            swept.sweep_count -= 1;
            if swept.sweep_count == 0 {
                self.sessions.remove(&session);
            }
        }
    }

    /// Notes that an entry was moved.
    fn note_moved(&mut self, session: SessionNumber, position: Position) {
        if let Some(swept) = self.sessions.get_mut(&session).filter(|it| it.sweep_count > 1) {
            swept.moved.insert(position);
        }
    }

    /// Returns whether another sweep has moved an entry.
    fn has_moved(&self, session: SessionNumber, position: Position) -> bool {
        self.sessions.get(&session).is_some_and(|it| it.moved.contains(&position))
    }

    /// Returns how many there are.
    #[cfg(feature = "simulation")]
    pub(super) fn len(&self) -> usize {
        self.under_way.len() + self.sessions.len()
    }
}

impl Shard {
    /// Moves what a session has of a shared group, or of all when it has ended, to other members.
    pub(super) fn begin_sweep(
        &mut self,
        session: SessionNumber,
        share: Option<Arc<str>>,
        sent_before: Position,
    ) {
        self.sweeps.sessions.entry(session).or_default().sweep_count += 1;
        let from = Position::new(0);
        let sweep = Sweep { session, share, sent_before, from, link: None };
        self.continue_sweep(sweep, from);
    }

    fn continue_sweep(&mut self, mut sweep: Sweep, from: Position) {
        self.last_token += 1;
        let key = self.numbers.get(&sweep.session).copied();
        sweep.link = key.and_then(|key| self.sessions.get(key)).and_then(|session| session.link);
        sweep.from = from;
        let fetch = Fetch {
            session: sweep.session,
            token: self.last_token,
            from,
            entries_max: HEAD_MESSAGES_MAX as u32,
            bytes_max: HEAD_BYTES_MAX,
            which: Which::Shared,
        };
        self.sweeps.under_way.insert(self.last_token, sweep);
        self.submit_lazy(Operation::Fetch(fetch));
    }

    /// Moves the entries that have been fetched.
    pub(super) fn sweep(&mut self, sweep: Sweep, fetched: Fetched) {
        self.begin_unit();
        let key = self.numbers.get(&sweep.session).copied();
        let session = key.and_then(|key| self.sessions.get(key));
        let drops_oldest = self.rules.config.limits.queue_overflow == QueueOverflow::DropOldest;
        if drops_oldest && session.is_some_and(|session| session.link.is_none()) {
            // The client has gone in the meantime, and the store drops from its queue: what both take out would be
            // counted twice. It is moved when the client is back, or with the session's end.
            self.sweeps.end(sweep.session);
            return;
        }
        if session.is_some_and(|session| session.link != sweep.link) {
            // It has gone, or come back: what is in this answer may have been moved or dropped meanwhile, and it is
            // not known any more how far the client had come.
            let from = sweep.from;
            self.continue_sweep(sweep, from);
            return;
        }
        // It has joined the group again: what it still has is its own. Moved on, it would come back to it, and be found
        // again, for ever if there is no other member.
        let is_back = |session: &HomeSession| {
            sweep.share.is_some() && is_member(session, sweep.share.as_deref())
        };
        if session.is_some_and(is_back) {
            self.sweeps.end(sweep.session);
            return;
        }
        let (mut left_count, mut left) = (0, 0);
        let mut is_unseen = false;
        for FetchedEntry { position, message, attributes } in fetched.entries {
            let is_meant = sweep.share.is_none() || attributes.share == sweep.share;
            if !is_meant || self.sweeps.has_moved(sweep.session, position) {
                continue;
            }
            let session = key.and_then(|key| self.sessions.get_mut(key));
            let stays = match session {
                Some(session) => match session.protocol.withdraw(position, &mut self.effects) {
                    Withdrawn::Kept => true,
                    Withdrawn::Queued | Withdrawn::Sent => false,
                    // Not in memory: on the disk only, unless its client is away with it.
                    Withdrawn::Absent => {
                        let is_done = session.kept().is_none_or(|kept| position < kept.next);
                        let was_sent = position < session.protocol.sent_before();
                        let is_fixed = was_sent && attributes.qos == QoS::ExactlyOnce;
                        let stays = is_done || is_fixed || message.is_none();
                        is_unseen |= !stays;
                        if !stays && !was_sent {
                            left += message.as_ref().map_or(0, |it| it.size_bytes() as u64);
                            left_count += 1;
                        }
                        stays
                    }
                },
                None => false,
            };
            if stays {
                continue;
            }
            let was_sent = position < sweep.sent_before;
            let ends = key.is_none() && was_sent && attributes.qos == QoS::ExactlyOnce;
            match message {
                // What was sent at QoS 2 never moves: it ends with its session.
                Some(message) if !ends => {
                    self.move_entry(sweep.session, position, &message, &attributes);
                }
                Some(_) | None => {
                    self.finish(sweep.session, position);
                }
            }
            self.sweeps.note_moved(sweep.session, position);
            if let Some(key) = key {
                self.settle(key);
            }
        }
        if let Some(key) = key {
            self.give_back(key, left_count, left);
            if is_unseen {
                self.fetch_anew(key);
            }
        }
        if fetched.is_last {
            self.sweeps.end(sweep.session);
        } else {
            self.continue_sweep(sweep, fetched.next);
        }
    }

    /// Entries have left the queue that were not in memory. A report of their placing may be in the mail,
    /// or the answer to a fetch: neither counts. They are asked for again, after their end.
    fn fetch_anew(&mut self, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if let Some(kept) = session.extra.as_mut().and_then(|extra| extra.kept.as_mut()) {
            kept.is_behind = true;
            kept.fetch = None;
        }
        self.refill(key);
    }

    /// Gives an entry to another member of its group, in one batch with its end in this queue.
    pub(super) fn move_entry(
        &mut self,
        session: SessionNumber,
        position: Position,
        message: &Arc<Message>,
        attributes: &Attributes,
    ) {
        if let Some(share) = &attributes.share {
            let (qos, retain) = (attributes.qos, attributes.retain);
            self.hand_on_share(&mut Sharing::kept(message), share, qos, retain);
        }
        self.finish(session, position);
    }
}
