//! What may not leave yet: it waits for the store, or until no shard uses an older table.
//!
//! A link holds a queue of such things, and they leave in order. So the acknowledgements of one
//! connection leave in the order in which its packets came, and a later publish never overtakes an
//! earlier one that the store still works on.

use std::collections::VecDeque;
use std::sync::Arc;

use quelea_codec::{PacketId, QoS, ReasonCode};
use quelea_session::{Message, Sharing};
use quelea_store::{Batch, Operation, ShardIndex, Submission, publish_bytes};

use super::Shard;
use super::connect::Welcome;
use super::link::{Ending, Link, Stage};
use super::publish::{NEVER, Routed, Unstored};
use super::retained::Cursor;
use crate::arena::Key;
use crate::mail::Letter;

/// Something held, and until when.
#[derive(Debug)]
pub(super) struct HeldEntry {
    /// The store must be done with everything up to here.
    pub(super) after: Submission,
    /// This grace period must be over; 0 for none.
    pub(super) grace: u64,
    pub(super) held: Held,
}

/// What happens when the wait is over.
#[derive(Debug)]
pub(super) enum Held {
    /// A message is handed out and acknowledged.
    Publish(Arc<Message>, Box<Routed>),
    /// A message that the store has no space for: it waits, and its publisher is not read.
    Unstored(Box<Unstored>),
    /// A PUBLISH is answered that is not handed out (again).
    Answer { session: Key, qos: QoS, packet_id: PacketId, reason: ReasonCode },
    /// PUBREL for a message that the client has received.
    Pubrel { packet_id: PacketId },
    /// A PUBREL that came before the PUBREC of its message could be sent.
    EarlyPubrel { packet_id: PacketId },
    /// PUBCOMP: the identifier may mean a new message.
    Pubcomp { packet_id: PacketId },
    /// CONNACK of a session.
    Connack(Box<Welcome>),
    /// SUBACK, and the retained messages that follow it.
    Suback { packet: Vec<u8>, cursors: Vec<Cursor> },
    /// UNSUBACK.
    Unsuback(Vec<u8>),
    /// The end of the connection, which is the answer to DISCONNECT.
    Close(Ending),
}

/// A change of the table that other shards may not have seen yet.
#[derive(Debug)]
pub(super) struct Grace {
    token: u64,
    /// Shards that were in a turn, and have not begun another.
    waits_for: usize,
    /// Links that hold something until then.
    links: Vec<Key>,
}

impl HeldEntry {
    /// Returns the inbound QoS 2 exchange whose PUBLISH is still to be answered, if it is about one.
    pub(super) fn exchange(&self) -> Option<PacketId> {
        match &self.held {
            Held::Publish(_, routed) if routed.qos == QoS::ExactlyOnce => routed.packet_id,
            Held::Answer { qos: QoS::ExactlyOnce, packet_id, .. } => Some(*packet_id),
            Held::Publish(..)
            | Held::Answer { .. }
            | Held::Unstored(_)
            | Held::Pubrel { .. }
            | Held::EarlyPubrel { .. }
            | Held::Pubcomp { .. }
            | Held::Connack(_)
            | Held::Suback { .. }
            | Held::Unsuback(_)
            | Held::Close(_) => None,
        }
    }
}

impl Shard {
    /// Hands an operation to the store with the others of this turn. Somebody waits for it.
    pub(super) fn submit(&mut self, operation: Operation) -> Submission {
        self.awaited = self.submit_lazy(operation);
        self.awaited
    }

    /// Hands an operation to the store that nobody waits for.
    pub(super) fn submit_lazy(&mut self, operation: Operation) -> Submission {
        if self.operations.capacity() == 0 {
            // As many as last time, most likely: to grow step by step costs more than all the rest.
            self.operations.reserve_exact(self.submitted_last);
        }
        if let Operation::Publish { message, targets, .. } = &operation {
            let target_count = targets.len() as u64;
            self.gathered_bytes += publish_bytes(message.size_bytes() as u64, target_count);
        }
        self.operations.push(operation);
        self.submitted.0 += 1;
        self.submitted
    }

    /// Operations follow that belong together, and to none before. Much that was gathered is submitted first: a batch is
    /// written at once, and must not become larger and larger with what a turn reads.
    #[inline]
    pub(super) fn begin_unit(&mut self) {
        if self.has_gathered_much() {
            self.submit_operations();
        }
    }

    #[inline]
    pub(super) fn has_gathered_much(&self) -> bool {
        self.gathered_bytes > GATHERED_BYTES_MAX
    }

    /// Submits what the turn has gathered.
    pub(super) fn submit_operations(&mut self) {
        if !self.operations.is_empty() {
            self.post_mail();
            let operations = std::mem::take(&mut self.operations);
            self.gathered_bytes = 0;
            self.submitted_last = operations.len();
            let first = Submission(self.submitted.0 + 1 - operations.len() as u64);
            let is_awaited = self.awaited >= first;
            let batch = Batch { through: self.submitted, is_awaited, operations };
            self.shared.store.submit(self.index, batch);
        }
    }

    /// Puts something at the end of what a link holds. Without a link, only the store is waited for.
    pub(super) fn hold(&mut self, key: Option<Key>, entry: HeldEntry) {
        let after = entry.after;
        let link = key.and_then(|key| Some((key, self.holder(key)?)));
        let Some((key, link)) = link else {
            self.orphans.push(VecDeque::from([entry]));
            return;
        };
        link.held.get_or_insert_default().push_back(entry);
        if after > self.durable && after != NEVER {
            self.waiting.push_back((after, key));
        }
        self.review_pause(key);
    }

    /// Puts something in front of what a link holds: what comes first has to wait longer.
    pub(super) fn hold_first(&mut self, key: Key, entry: HeldEntry) {
        let after = entry.after;
        match self.holder(key) {
            Some(link) => {
                link.held.get_or_insert_default().push_front(entry);
                self.waiting.push_back((after, key));
            }
            None => self.orphans.push(VecDeque::from([entry])),
        }
    }

    /// Returns a link that can hold something: one that only waits for its peer to read the last of it cannot, and
    /// what it held has been adopted.
    fn holder(&mut self, key: Key) -> Option<&mut Link> {
        self.links.get_mut(key).filter(|link| !matches!(link.stage, Stage::Lingering))
    }

    /// The store is done with everything up to `through`.
    pub(super) fn on_durable(&mut self, through: Submission) {
        self.durable = self.durable.max(through);
        self.waits_since = self.now;
        // First: the same client may be back already, and hold later messages.
        self.release_orphans();
        self.pass_marks();
        while let Some((after, key)) = self.waiting.front().copied() {
            if after > self.durable {
                break;
            }
            self.waiting.pop_front();
            self.release_held(key);
        }
    }

    /// Lets go what a link holds, as far as the waiting is over.
    pub(super) fn release_held(&mut self, key: Key) {
        loop {
            let Some(link) = self.links.get_mut(key) else { return };
            let Some(held) = &mut link.held else { return };
            let Some(entry) = held.front() else {
                link.held = None;
                break;
            };
            if entry.after > self.durable || entry.grace > self.grace_passed {
                return;
            }
            let Some(entry) = held.pop_front() else { return };
            if held.is_empty() {
                link.held = None;
            }
            self.let_go(key, entry.held);
            self.review_pause(key);
        }
    }

    fn let_go(&mut self, key: Key, held: Held) {
        match held {
            Held::Publish(message, routed) => {
                self.release(&routed, &mut Sharing::kept(&message));
            }
            // Its time never comes: it is taken out, or goes with its link.
            Held::Unstored(_) => {}
            Held::Answer { session, qos, packet_id, reason } => {
                self.answer_publish(key, session, qos, packet_id, reason);
            }
            Held::Pubrel { packet_id } => self.send_pubrel(key, packet_id, ReasonCode::SUCCESS),
            Held::EarlyPubrel { packet_id } => self.complete_received(key, packet_id),
            Held::Pubcomp { packet_id } => self.send_pubcomp(key, packet_id, ReasonCode::SUCCESS),
            Held::Connack(welcome) => self.welcome(key, &welcome),
            Held::Suback { packet, cursors } => {
                self.append_fitting(key, &packet);
                self.start_cursors(key, cursors);
            }
            Held::Unsuback(packet) => self.append_fitting(key, &packet),
            Held::Close(ending) => self.end_link(key, ending),
        }
    }

    /// Takes over what a closed link held: its messages were accepted and must reach their
    /// receivers, though nobody is there to be told.
    pub(super) fn adopt_held(&mut self, mut held: VecDeque<HeldEntry>) {
        // What the store had no space for was not accepted: its publisher sends it again.
        held.retain(|entry| !matches!(entry.held, Held::Unstored(_)));
        if !held.is_empty() {
            self.orphans.push(held);
        }
    }

    /// Lets go what closed links have left behind, as far as the store is done with it.
    pub(super) fn release_orphans(&mut self) {
        if self.orphans.is_empty() {
            return;
        }
        let mut orphans = std::mem::take(&mut self.orphans);
        for held in &mut orphans {
            while held.front().is_some_and(|entry| entry.after <= self.durable) {
                match held.pop_front().map(|entry| entry.held) {
                    Some(Held::Publish(message, routed)) => {
                        self.release(&routed, &mut Sharing::kept(&message));
                    }
                    Some(Held::Answer { session, qos, packet_id, reason }) => {
                        self.settle_publish(session, qos, packet_id, reason);
                    }
                    // Packets from and to a peer that is gone.
                    Some(
                        Held::EarlyPubrel { .. }
                        | Held::Pubrel { .. }
                        | Held::Unstored(_)
                        | Held::Pubcomp { .. }
                        | Held::Connack(_)
                        | Held::Suback { .. }
                        | Held::Unsuback(_)
                        | Held::Close(_),
                    )
                    | None => {}
                }
            }
        }
        orphans.retain(|held| !held.is_empty());
        self.orphans.append(&mut orphans);
    }

    /// Returns the grace period after a change of the table: over when no shard can be routing with
    /// the table as it was, and all that was routed with it has arrived.
    pub(super) fn begin_grace(&mut self, link: Key) -> u64 {
        let own = usize::from(self.index.0);
        let others = 0..self.shared.mailboxes.len();
        let busy: Vec<usize> =
            others.filter(|it| *it != own && self.shared.is_in_turn(*it)).collect();
        self.grace_last += 1;
        let token = self.grace_last;
        self.graces.push_back(Grace { token, waits_for: busy.len() + 1, links: vec![link] });
        // Behind what is in this shard's own mailbox.
        self.shared.mailboxes[own].post(Letter::Ping { from: self.index, token });
        for shard in busy {
            // It is awake, and reads its mail when its next turn begins.
            let letter = Letter::Ping { from: self.index, token };
            self.shared.mailboxes[shard].send(letter);
        }
        token
    }

    /// Another shard asks to be told when this one's turns so far are over, and what they have left
    /// with the store is handed out.
    pub(super) fn on_ping_of_shard(&mut self, from: ShardIndex, token: u64) {
        self.pings.push_back((self.awaited, from, token));
    }

    /// Answers other shards, at the end of a turn, behind what it has posted to them.
    pub(super) fn answer_pings(&mut self) {
        while let Some((_, from, token)) = self.pings.pop_front_if(|it| it.0 <= self.durable) {
            self.shared.mailboxes[from.0 as usize].send(Letter::Pong { token });
        }
    }

    /// A shard has begun a new turn since it was asked.
    pub(super) fn on_pong(&mut self, token: u64) {
        if let Some(grace) = self.graces.iter_mut().find(|it| it.token == token) {
            grace.waits_for = grace.waits_for.saturating_sub(1);
        }
        while self.graces.front().is_some_and(|grace| grace.waits_for == 0) {
            let Some(grace) = self.graces.pop_front() else { return };
            self.grace_passed = grace.token;
            for link in grace.links {
                self.release_held(link);
            }
        }
    }

    /// Appends a packet that the client may find too large. There is no shorter one that answers
    /// every filter, so all that is left is to say why the connection ends ([MQTT-3.1.2-24]).
    fn append_fitting(&mut self, key: Key, packet: &[u8]) {
        let open = self.links.get_mut(key).and_then(|link| link.open());
        if open.is_some_and(|open| !open.connection.has_room_for(packet.len())) {
            self.end_link(key, Ending::Abnormal(ReasonCode::PACKET_TOO_LARGE));
        } else {
            self.append_output(key, packet);
        }
    }

    /// Appends a whole packet to a link's output.
    pub(super) fn append_output(&mut self, key: Key, packet: &[u8]) {
        if let Some(link) = self.links.get_mut(key) {
            link.output.extend_from_slice(packet);
            self.mark_dirty(key);
        }
    }
}

/// Bytes from which on a turn submits what it has gathered before it begins with something else.
const GATHERED_BYTES_MAX: u64 = 4 << 20;
