//! Which durable sessions and members of shared groups a message is for.
//!
//! They are addressed by the publisher's shard, one by one, because the store's record of the
//! message names them. A fan-out to ten thousand sleeping sessions is one pass over the filter's
//! list, in the order in which the store wants them.

use std::hint::black_box;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use quelea_codec::{PacketId, QoS, SubscriptionOptions};
use quelea_session::{Content, DropReason, Message, Sharing, SubscriptionIds};
use quelea_store::{Attributes, Operation, SessionNumber, Target};

use super::Shard;
use super::fanout::{Merged, log_drop, merge};
use super::publish::{Routed, Source};
use crate::config::QueueOverflow;
use crate::mail::{Direct, Letter};
use crate::table::{Addressed, DurableReceiver, Gauge, Matched};

/// The sessions that get a message through the store.
#[derive(Debug, Default)]
pub(super) struct Addressees {
    /// By rising number, a session several times if shared groups have chosen it, too.
    targets: Vec<Target>,
    attributes: Vec<Attributes>,
    /// Bytes of the names of these groups.
    group_bytes: usize,
}

/// How much a message may still add to the queues.
struct Room {
    size: u64,
    messages_max: u32,
    bytes_max: u64,
    /// Messages that the limits over all sessions leave.
    total_left: u64,
    /// Messages for which room was found.
    taken: u64,
}

impl Addressees {
    /// Returns how many copies there are.
    pub(super) fn len(&self) -> usize {
        self.targets.len()
    }

    /// Returns what the store has to do for a message.
    pub(super) fn operation(
        self,
        message: Arc<Message>,
        qos: QoS,
        received: Option<(SessionNumber, PacketId)>,
        retain: Option<u64>,
    ) -> Operation {
        let Self { targets, attributes, .. } = self;
        Operation::Publish { message, qos, targets, attributes, received, retain }
    }

    /// Adds a session that is after all others.
    #[inline]
    fn push(&mut self, session: SessionNumber, qos: QoS, retain: bool, ids: &[u32]) {
        // Comparing the identifiers one by one is no call, and mostly there are none.
        let is_same = |it: &Attributes| {
            it.qos == qos && it.retain == retain && it.subscription_ids.as_slice().iter().eq(ids)
        };
        // Most are like the last; with identifiers of their own all differ, and a search would find none.
        let searched = self.attributes.len().saturating_sub(ATTRIBUTES_SEARCHED);
        let found = self.attributes[searched..].iter().rposition(is_same);
        let attributes = match found {
            Some(at) => searched + at,
            None => {
                let subscription_ids = SubscriptionIds::new(ids);
                let retained_order = 0;
                let share = None;
                let it = Attributes { qos, retain, subscription_ids, share, retained_order };
                // Mostly there are no others.
                self.attributes.reserve_exact(usize::from(self.attributes.is_empty()));
                self.attributes.push(it);
                self.attributes.len() - 1
            }
        };
        self.targets.push(Target { session, attributes: attributes as u32 });
    }

    /// Adds a session that a shared group chose.
    fn add_chosen(&mut self, session: SessionNumber, attributes: Attributes) {
        let at = self.targets.partition_point(|it| it.session <= session);
        let index = self.attributes.len() as u32;
        self.group_bytes += attributes.share.as_ref().map_or(0, |it| it.len());
        self.attributes.push(attributes);
        self.targets.insert(at, Target { session, attributes: index });
    }
}

impl Shard {
    /// Finds who gets a message through the store, and whom shared groups choose, reserving room in the queues.
    pub(super) fn address(
        &mut self,
        route: &Matched,
        sharing: &mut Sharing<'_>,
        routed: &mut Routed,
        addressees: &mut Addressees,
    ) {
        if routed.qos != QoS::AtMostOnce || self.keeps_at_most_once(&sharing.content()) {
            self.address_durable(route, sharing, routed, addressees);
        }
        for addressed in &route.addressed {
            self.address_groups(addressed, sharing, routed, addressees);
        }
        routed.reached.taken += addressees.len() as u32;
    }

    /// Returns whether messages at QoS 0 are kept for clients that are away. While there is no space for them,
    /// whoever is there gets them, and that is all.
    fn keeps_at_most_once(&mut self, content: &Content<'_>) -> bool {
        let is_wanted = self.rules.config.limits.queue_qos0_offline;
        let has_space = is_wanted && self.has_room(content);
        self.counters().dropped_no_space.add(u64::from(is_wanted && !has_space));
        has_space
    }

    /// Adds the durable sessions.
    fn address_durable(
        &mut self,
        route: &Matched,
        sharing: &mut Sharing<'_>,
        routed: &mut Routed,
        addressees: &mut Addressees,
    ) {
        let own = self.number_of(routed.source);
        let mut ids = Vec::new();
        let mut room = None;
        if let [addressed] = route.addressed.as_slice() {
            let durable = addressed.durable.read().unwrap_or_else(PoisonError::into_inner);
            if durable.is_empty() {
                return;
            }
            addressees.targets.reserve(durable.len());
            let mut ahead = durable.values();
            for (at, (number, receiver)) in durable.iter().enumerate() {
                if at % FETCHED_TOGETHER == 0 && durable.len() > 1 {
                    // A reservation waits for the one before, a look does not: the memory of all these gauges is
                    // on its way together.
                    let sum = |all, it: &DurableReceiver| {
                        all ^ it.gauge.queued_messages.load(Ordering::Relaxed)
                    };
                    black_box(ahead.by_ref().take(FETCHED_TOGETHER).fold(0, sum));
                }
                let options = [(receiver.options, receiver.subscription_id)];
                let merged = merge_for(&options, own == Some(*number), routed.qos, &mut ids);
                let Some(merged) = merged else { continue };
                let room = room.get_or_insert_with(|| self.room_for(sharing));
                self.address_one(
                    *number, receiver, merged, &ids, sharing, routed, room, addressees,
                );
            }
            self.count_reserved(room);
            return;
        }
        let mut receivers = Vec::new();
        for addressed in &route.addressed {
            let durable = addressed.durable.read().unwrap_or_else(PoisonError::into_inner);
            receivers.extend(durable.iter().map(|(number, it)| (*number, it.clone())));
        }
        receivers.sort_by_key(|(number, _)| *number);
        let mut options = Vec::new();
        for same in receivers.chunk_by(|a, b| a.0 == b.0) {
            let (number, first) = &same[0];
            options.clear();
            options.extend(same.iter().map(|(_, it)| (it.options, it.subscription_id)));
            let merged = merge_for(&options, own == Some(*number), routed.qos, &mut ids);
            let Some(merged) = merged else { continue };
            let room = room.get_or_insert_with(|| self.room_for(sharing));
            self.address_one(*number, first, merged, &ids, sharing, routed, room, addressees);
        }
        self.count_reserved(room);
    }

    #[inline]
    #[expect(clippy::too_many_arguments, reason = "all of it is lent for the call")]
    fn address_one(
        &mut self,
        number: SessionNumber,
        receiver: &DurableReceiver,
        merged: Merged,
        ids: &[u32],
        sharing: &Sharing<'_>,
        routed: &mut Routed,
        room: &mut Room,
        addressees: &mut Addressees,
    ) {
        if merged.qos == QoS::AtMostOnce {
            let is_away = !receiver.gauge.is_online.load(Ordering::Relaxed);
            if !(is_away && self.rules.config.limits.queue_qos0_offline) {
                routed.at_most_once |= 1 << receiver.home.0;
                return;
            }
        }
        if !self.reserve(&receiver.gauge, room) {
            self.on_no_room(number, receiver.home.0, &receiver.gauge, sharing, routed);
            return;
        }
        let retain = routed.retain && merged.retain_as_published;
        addressees.push(number, merged.qos, retain, ids);
    }

    /// Lets each shared group of a matching filter choose its member.
    fn address_groups(
        &mut self,
        addressed: &Addressed,
        sharing: &mut Sharing<'_>,
        routed: &mut Routed,
        addressees: &mut Addressees,
    ) {
        let groups = addressed.groups.read().unwrap_or_else(PoisonError::into_inner);
        if groups.is_empty() {
            return;
        }
        let publisher = self.publisher_hash(routed.source);
        for group in groups.iter() {
            let is_queueable = routed.qos != QoS::AtMostOnce;
            let strategy = self.rules.strategy;
            let Some(member) = group.choose(strategy, publisher, is_queueable) else {
                self.counters().dropped_no_member.add(1);
                continue;
            };
            let qos = routed.qos.min(member.options.qos);
            let retain = routed.retain && member.options.retain_as_published;
            let id = [member.subscription_id];
            match member.durable {
                Some(number) if qos != QoS::AtMostOnce => {
                    let mut room = self.room_for(sharing);
                    let fits = addressees.group_bytes <= GROUP_BYTES_MAX
                        && self.reserve(&member.gauge, &mut room);
                    self.count_reserved(Some(room));
                    if !fits {
                        let home = member.home.0;
                        self.on_no_room(number, home, &member.gauge, sharing, routed);
                        continue;
                    }
                    let ids = if member.subscription_id == 0 { &[][..] } else { &id };
                    let attributes = Attributes {
                        qos,
                        retain,
                        subscription_ids: SubscriptionIds::new(ids),
                        share: Some(Arc::clone(&group.text)),
                        retained_order: 0,
                    };
                    addressees.add_chosen(number, attributes);
                }
                Some(_) | None => {
                    let direct = Direct {
                        session: member.session,
                        qos,
                        retain,
                        subscription_id: member.subscription_id,
                        group: group.id,
                    };
                    routed.directs.push((member.home, direct));
                }
            }
        }
    }

    /// Returns what the limits leave for copies of a message.
    fn room_for(&self, sharing: &mut Sharing<'_>) -> Room {
        let limits = &self.rules.config.limits;
        let size = sharing.keep().size_bytes() as u64;
        let (messages_max, bytes_max) = match limits.queue_overflow {
            QueueOverflow::RejectNewest | QueueOverflow::EndSession => {
                (limits.queued_messages_max, limits.queued_bytes_max)
            }
            // Whoever has the queue drops what has waited longest.
            QueueOverflow::DropOldest => (u32::MAX, u64::MAX),
        };
        let total_left = self.shared.backlog.room(size);
        Room { size, messages_max, bytes_max, total_left, taken: 0 }
    }

    /// Reserves room for one copy in a session's queue.
    #[inline]
    fn reserve(&self, gauge: &Gauge, room: &mut Room) -> bool {
        let fits = room.taken < room.total_left
            && gauge.reserve(room.size, room.messages_max, room.bytes_max);
        room.taken += u64::from(fits);
        fits
    }

    /// Counts what was reserved among all that waits.
    fn count_reserved(&self, room: Option<Room>) {
        if let Some(room) = room {
            self.shared.backlog.add(room.taken, room.taken * room.size);
        }
    }

    /// A session has no room for a message: it is dropped, or the session ends, which the configuration decides.
    #[cold]
    fn on_no_room(
        &mut self,
        number: SessionNumber,
        home: u16,
        gauge: &Gauge,
        sharing: &Sharing<'_>,
        routed: &mut Routed,
    ) {
        routed.reached.refused += 1;
        self.counters().dropped_queue_full.add(1);
        gauge.note_dropped(1);
        let is_away = !gauge.is_online.load(Ordering::Relaxed);
        let ends = self.rules.config.limits.queue_overflow == QueueOverflow::EndSession;
        if ends && is_away && gauge.ask_for_end() {
            self.shared.mailboxes[usize::from(home)].send(Letter::EndSession(number));
        }
        let Some(others) = self.drop_log.next_line(self.now) else { return };
        let reason = DropReason::QueueFull.as_str();
        let topic = sharing.content().topic;
        match self.numbers.get(&number).and_then(|key| self.sessions.get(*key)) {
            Some(session) => log_drop(&session.client_id, topic, reason, others),
            // It is known here by its number only.
            None => {
                let letter = Letter::NoRoom { session: number, topic: topic.into(), others };
                self.shared.mailboxes[usize::from(home)].send(letter);
            }
        }
    }

    /// Says for another shard that a message for a session of this one was dropped.
    pub(super) fn on_no_room_elsewhere(&mut self, number: SessionNumber, topic: &str, others: u64) {
        let session = self.numbers.get(&number).and_then(|key| self.sessions.get(*key));
        let reason = DropReason::QueueFull.as_str();
        let client_id = session.map_or("(ended since)", |session| &session.client_id);
        log_drop(client_id, topic, reason, others);
    }

    /// A sleeping session's queue is full, and that ends it.
    pub(super) fn on_end_session(&mut self, number: SessionNumber) {
        let Some(key) = self.numbers.get(&number).copied() else { return };
        let Some(session) = self.sessions.get(key) else { return };
        if session.link.is_some() {
            // It came back in the meantime. The next message finds room, or is dropped.
            if let Some(gauge) = session.gauge() {
                gauge.take_back_end();
            }
            return;
        }
        tracing::warn!(client_id = %session.client_id, "session ended: its queue is full");
        self.counters().sessions_ended_by_limit.add(1);
        self.counters().clients_disconnected.add(1_u64.wrapping_neg());
        self.end_session(key);
    }

    pub(super) fn number_of(&self, source: Source) -> Option<SessionNumber> {
        let Source::Client { session, .. } = source else { return None };
        self.sessions.get(session)?.number()
    }
}

/// Returns what a session's matching subscriptions make of a message.
#[inline]
fn merge_for(
    options: &[(SubscriptionOptions, u32)],
    is_own: bool,
    published: QoS,
    ids: &mut Vec<u32>,
) -> Option<Merged> {
    merge(options.iter().copied(), is_own, published, ids)
}

/// Bytes of the names of shared groups that a message is kept for, from which on there is no room for others: they are
/// written with it.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// Gauges that are brought into the processor's cache at once.
const FETCHED_TOGETHER: usize = 32;

/// Attributes that are compared with those of the next session.
const ATTRIBUTES_SEARCHED: usize = 4;
