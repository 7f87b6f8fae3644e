//! A message to the live receivers of this shard.

use std::collections::VecDeque;

use quelea_codec::{QoS, ReasonCode, SubscriptionOptions};
use quelea_session::{Delivered, Delivery, DropReason, Effects, SessionLimits, Sharing, Time};
use quelea_topics::FilterId;

use super::Shard;
use super::link::Link;
use super::receivers::{Receiver, Receivers};
use super::sessions::HomeSession;
use crate::arena::{Arena, Key};
use crate::counters::Counters;
use crate::mail::{Batch, Direct, Posted};

/// What became of a message among some receivers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reached {
    /// Receivers that have it, sent or queued.
    pub(super) taken: u32,
    /// Receivers that had no room.
    pub(super) refused: u32,
    /// Receivers that were looked at, whatever came of it: that is the work.
    pub(super) visited: u32,
}

impl Reached {
    /// Returns what the publisher is told: success is only said when someone has the message.
    pub(super) fn reason(self) -> ReasonCode {
        match self {
            Self { taken: 0, refused: 0, .. } => ReasonCode::NO_MATCHING_SUBSCRIBERS,
            Self { taken: 0, .. } => ReasonCode::QUOTA_EXCEEDED,
            Self { .. } => ReasonCode::SUCCESS,
        }
    }
}

/// Scratch for messages that match several filters at once.
#[derive(Debug, Default)]
pub(super) struct Merge {
    receivers: Vec<Receiver>,
    subscription_ids: Vec<u32>,
}

/// How a message was published, which is what a subscription's options are applied to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Published {
    pub(super) qos: QoS,
    pub(super) retain: bool,
    /// The publisher's session on this shard, for No Local.
    pub(super) publisher: Option<u32>,
}

/// The parts of a shard that a delivery touches: borrowed apart from the lists of receivers.
pub(super) struct Hands<'a> {
    pub(super) sessions: &'a mut Arena<HomeSession>,
    pub(super) links: &'a mut Arena<Link>,
    pub(super) dirty: &'a mut VecDeque<Key>,
    pub(super) buffers: &'a mut Vec<Vec<u8>>,
    pub(super) effects: &'a mut Effects,
    pub(super) limits: &'a SessionLimits,
    pub(super) bytes_max: usize,
    pub(super) now: Time,
    pub(super) drop_log: &'a mut DropLog,
    pub(super) counters: &'a Counters,
}

/// Says which messages are dropped, to whom and why: one line a second, with the number of those
/// that it stands for. All of them are counted.
#[derive(Debug, Default)]
pub(super) struct DropLog {
    next_at: Time,
    unsaid: u64,
}

impl DropLog {
    #[cold]
    pub(super) fn note(&mut self, now: Time, client_id: &str, topic: &str, reason: &str) {
        if let Some(others) = self.next_line(now) {
            log_drop(client_id, topic, reason, others);
        }
    }

    /// Returns how many others there were since the last line, if it is time for one.
    #[cold]
    pub(super) fn next_line(&mut self, now: Time) -> Option<u64> {
        if now < self.next_at {
            self.unsaid += 1;
            return None;
        }
        self.next_at = now.plus_millis(DROP_LOG_MILLIS);
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// Says that a message was dropped.
pub(super) fn log_drop(client_id: &str, topic: &str, reason: &str, others: u64) {
    tracing::warn!(client_id, topic, reason, others, "message dropped");
}

/// Time between two lines about dropped messages.
const DROP_LOG_MILLIS: u64 = 1_000;

/// Borrows the hands of a shard apart from its other parts.
macro_rules! hands {
    ($shard:expr) => {
        $crate::shard::fanout::Hands {
            sessions: &mut $shard.sessions,
            links: &mut $shard.links,
            dirty: &mut $shard.dirty,
            buffers: &mut $shard.buffers,
            effects: &mut $shard.effects,
            limits: &$shard.limits,
            bytes_max: $shard.rules.config.limits.write_buffer_bytes_max as usize,
            now: $shard.now,
            drop_log: &mut $shard.drop_log,
            counters: &$shard.shared.counters[$shard.index.0 as usize],
        }
    };
}

pub(super) use hands;

impl Shard {
    /// Delivers to the receivers of `filters`, each session once.
    pub(super) fn fan_out(
        &mut self,
        sharing: &mut Sharing<'_>,
        published: Published,
        filters: &[FilterId],
    ) -> Reached {
        let mut hands = hands!(self);
        let reached = hands.fan_out(sharing, published, filters, &self.receivers, &mut self.merge);
        self.count_effects();
        reached
    }

    /// Delivers to one session that a shared group chose.
    pub(super) fn deliver_direct(&mut self, sharing: &mut Sharing<'_>, direct: &Direct) -> Reached {
        let mut reached = Reached::default();
        if self.sessions.get(direct.session).is_none() {
            self.hand_on(sharing, direct.group, direct.qos, direct.retain);
            reached.taken = 1;
            return reached;
        }
        let id = [direct.subscription_id];
        let delivery = Delivery {
            qos: direct.qos,
            retain: direct.retain,
            subscription_ids: if direct.subscription_id == 0 { &[] } else { &id },
            group: Some(direct.group),
        };
        hands!(self).give(sharing, direct.session.index, delivery, &mut reached);
        self.count_effects();
        reached
    }

    /// Delivers what another shard posted, as far as `units` of work go. Returns what is left of
    /// them: more than none if and only if the batch is done.
    pub(super) fn deliver_batch(&mut self, batch: &mut Batch, units: usize) -> usize {
        let mut left = units;
        while left > 0 {
            let Some(posted) = batch.next() else { return left };
            left = left.saturating_sub(self.deliver_posted(&posted));
        }
        0
    }

    fn deliver_posted(&mut self, posted: &Posted<'_>) -> usize {
        let published = Published { qos: posted.qos, retain: posted.retain, publisher: None };
        let mut sharing = Sharing::borrowed(posted.content);
        let mut work = 1 + posted.directs.len();
        if !posted.filters.is_empty() {
            work += self.fan_out(&mut sharing, published, posted.filters).visited as usize;
        }
        for direct in posted.directs {
            self.deliver_direct(&mut sharing, direct);
        }
        work
    }

    /// Counts what sessions reported, except entries finished: those need their session's number.
    #[inline]
    pub(super) fn count_effects(&mut self) {
        self.counters().publishes_sent.add(u64::from(self.effects.sent));
        self.effects.sent = 0;
        if !self.effects.drops.is_empty() {
            self.count_drops();
        }
    }

    #[cold]
    fn count_drops(&mut self) {
        let counters = &self.shared.counters[self.index.0 as usize];
        for (reason, _) in self.effects.drops.drain(..) {
            let counter = match reason {
                DropReason::Expired => &counters.dropped_expired,
                DropReason::NotConnected => &counters.dropped_not_connected,
                DropReason::PacketTooLarge => &counters.dropped_packet_too_large,
                DropReason::QueueFull => &counters.dropped_queue_full,
                DropReason::SlowReader => &counters.dropped_slow_reader,
            };
            counter.add(1);
        }
    }
}

impl Hands<'_> {
    /// Delivers to the receivers of `filters`, each session once.
    #[inline]
    pub(super) fn fan_out(
        &mut self,
        sharing: &mut Sharing<'_>,
        published: Published,
        filters: &[FilterId],
        receivers: &Receivers,
        merge: &mut Merge,
    ) -> Reached {
        let mut reached = Reached::default();
        if let [filter] = filters {
            let receivers = receivers.of(*filter);
            reached.visited += receivers.len() as u32;
            for receiver in receivers {
                self.deliver(sharing, published, receiver, &mut reached);
            }
            return reached;
        }
        merge.receivers.clear();
        for filter in filters {
            merge.receivers.extend_from_slice(receivers.of(*filter));
        }
        reached.visited += merge.receivers.len() as u32;
        // No order is promised for the identifiers of several subscriptions.
        merge.receivers.sort_unstable_by_key(|it| it.session);
        for receivers in merge.receivers.chunk_by(|a, b| a.session == b.session) {
            let ids = &mut merge.subscription_ids;
            self.deliver_merged(sharing, published, receivers, ids, &mut reached);
        }
        reached
    }

    #[inline]
    fn deliver(
        &mut self,
        sharing: &mut Sharing<'_>,
        published: Published,
        receiver: &Receiver,
        reached: &mut Reached,
    ) {
        if receiver.options.no_local && published.publisher == Some(receiver.session) {
            return;
        }
        let qos = receiver.qos(published.qos);
        if receiver.is_durable && qos != QoS::AtMostOnce {
            // Comes through the store, which gives it its place.
            return;
        }
        let id = [receiver.subscription_id];
        let delivery = Delivery {
            qos,
            retain: published.retain && receiver.options.retain_as_published,
            subscription_ids: if receiver.subscription_id == 0 { &[] } else { &id },
            group: None,
        };
        self.give(sharing, receiver.session, delivery, reached);
    }

    /// Delivers once to a session with several matching subscriptions ([MQTT-3.3.4-2],
    /// [MQTT-3.3.4-4]).
    fn deliver_merged(
        &mut self,
        sharing: &mut Sharing<'_>,
        published: Published,
        receivers: &[Receiver],
        ids: &mut Vec<u32>,
        reached: &mut Reached,
    ) {
        let session = receivers[0].session;
        let is_own = published.publisher == Some(session);
        let options = receivers.iter().map(|it| (it.options, it.subscription_id));
        let Some(merged) = merge(options, is_own, published.qos, ids) else { return };
        if receivers[0].is_durable && merged.qos != QoS::AtMostOnce {
            return;
        }
        let delivery = Delivery {
            qos: merged.qos,
            retain: published.retain && merged.retain_as_published,
            subscription_ids: ids,
            group: None,
        };
        self.give(sharing, session, delivery, reached);
    }

    #[inline]
    fn give(
        &mut self,
        sharing: &mut Sharing<'_>,
        session: u32,
        delivery: Delivery<'_>,
        reached: &mut Reached,
    ) {
        let Some(session) = self.sessions.at_mut(session) else { return };
        if session.may_not_receive(sharing.content().topic) {
            self.counters.dropped_denied.add(1);
            return;
        }
        let link = session.link.and_then(|key| Some((key, self.links.get_mut(key)?)));
        let Some((key, link)) = link.filter(|(_, link)| link.is_answered) else {
            self.effects.drops.push((DropReason::NotConnected, None));
            return;
        };
        if link.output.capacity() == 0 {
            link.output = self.buffers.pop().unwrap_or_default();
        }
        let Some((connection, mut outbox)) = link.sender(self.bytes_max) else { return };
        let delivered = session.protocol.deliver(
            connection,
            sharing,
            delivery,
            self.limits,
            self.now,
            &mut outbox,
            self.effects,
        );
        match delivered {
            Delivered::Sent | Delivered::Queued => reached.taken += 1,
            Delivered::Dropped(reason) => {
                reached.refused += u32::from(reason == DropReason::QueueFull);
                self.effects.drops.push((reason, None));
                let topic = sharing.content().topic;
                self.drop_log.note(self.now, &session.client_id, topic, reason.as_str());
            }
        }
        if !link.is_dirty {
            link.is_dirty = true;
            self.dirty.push_back(key);
        }
    }
}

/// What several subscriptions of one session make of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Merged {
    pub(super) qos: QoS,
    pub(super) retain_as_published: bool,
}

/// Merges overlapping subscriptions: the highest quality of service, all identifiers, and RETAIN as
/// published if any of them asks for it. No Local excludes only its own subscription. Returns
/// `None` when nothing is left.
pub(super) fn merge(
    subscriptions: impl Iterator<Item = (SubscriptionOptions, u32)>,
    is_own: bool,
    published: QoS,
    ids: &mut Vec<u32>,
) -> Option<Merged> {
    ids.clear();
    let mut merged: Option<Merged> = None;
    for (options, id) in subscriptions {
        if options.no_local && is_own {
            continue;
        }
        if id != 0 {
            ids.push(id);
        }
        let known =
            merged.get_or_insert(Merged { qos: QoS::AtMostOnce, retain_as_published: false });
        known.qos = known.qos.max(published.min(options.qos));
        known.retain_as_published |= options.retain_as_published;
    }
    merged
}
