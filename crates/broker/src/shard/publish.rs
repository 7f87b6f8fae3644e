//! A message arrives: checked, routed, released.
//!
//! Routing finds who is to have the message; releasing hands it out and acknowledges it. When
//! nothing of it concerns the store, and nothing earlier of the same connection waits, both happen
//! at once. Otherwise the release waits in the link's queue (`held`), and all that the connection
//! sends later waits behind it: that is what keeps a publisher's messages in order.

use std::sync::Arc;

use quelea_codec::{Frame, PacketId, QoS, ReasonCode, Version, decode_publish};
use quelea_session::{AfterSettle, Content, Duplicate, Message, Sharing};
use quelea_store::{Condition, Operation, SessionNumber, ShardIndex, Submission, publish_bytes};

use super::Shard;
use super::addressing::Addressees;
use super::fanout::{Published, Reached, hands};
use super::held::{Held, HeldEntry};
use super::link::{Ending, Stage};
use crate::arena::Key;
use crate::config::V3Refusal;
use crate::mail::Direct;
use crate::table::Matched;

/// Who published a message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// A client of this shard, by its link and session.
    Client { link: Key, session: Key },
    /// The will of a session that has ended, or lost its connection.
    Will,
    /// The broker's own statistics.
    Statistics,
}

/// A message that has been routed and not yet released.
#[derive(Debug)]
pub(super) struct Routed {
    pub(super) qos: QoS,
    pub(super) retain: bool,
    /// Its order among retained messages, if it is one.
    order: Option<u64>,
    pub(super) source: Source,
    pub(super) packet_id: Option<PacketId>,
    route: Arc<Matched>,
    /// One bit for each other shard where a durable session gets it at QoS 0, so not by the store.
    pub(super) at_most_once: u64,
    /// Sessions that shared groups chose, with their shards.
    pub(super) directs: Vec<(ShardIndex, Direct)>,
    /// What is known already: durable sessions that take it, and those that had no room.
    pub(super) reached: Reached,
}

/// A message that the store has no space for.
#[derive(Debug)]
pub(super) struct Unstored {
    message: Arc<Message>,
    qos: QoS,
    retain: bool,
    packet_id: PacketId,
}

impl Shard {
    /// Handles a PUBLISH. Returns how many units of work it was.
    pub(super) fn on_publish(&mut self, key: Key, frame: Frame<'_>) -> usize {
        let Some(link) = self.links.get_mut(key) else { return 1 };
        let Stage::Open(open) = &mut link.stage else {
            self.reject_early_packet(key);
            return 1;
        };
        let version = open.connection.version();
        let publish = match decode_publish(frame, version) {
            Ok(publish) => publish,
            Err(error) => return self.fail(key, error.reason_code(), &error),
        };
        let session_key = open.session;
        let Some(session) = self.sessions.get_mut(session_key) else { return 1 };
        let inbound = match session.protocol.on_publish(&mut open.connection, &publish) {
            Ok(inbound) => inbound,
            Err(violation) => return self.fail(key, violation.reason_code(), &violation),
        };
        let link_holds = link.holds();
        let is_durable_publisher = session.number().is_some();
        let keeps_retained = self.rules.config.limits.retain_available;
        let counters = &self.shared.counters[self.index.0 as usize];
        counters.publishes_received.add(1);
        counters.publish_bytes_received.add(publish.payload.len() as u64);
        match inbound.duplicate {
            Duplicate::No => {}
            Duplicate::WaitsForFirst => return 1,
            Duplicate::Repeat => {
                self.repeat_pubrec(key, publish.packet_id);
                return 1;
            }
        }
        if let Some(reason) = self.refusal_of(&inbound.topic) {
            self.counters().dropped_not_authorized.add(1);
            return self.refuse_publish(key, publish.qos, publish.packet_id, reason);
        }
        if self.denies_publish(session_key, &inbound.topic, publish.qos, publish.retain) {
            let reason = ReasonCode::NOT_AUTHORIZED;
            return self.refuse_publish(key, publish.qos, publish.packet_id, reason);
        }
        if let Some(reason) = self.excess_of(key, &inbound.topic, &publish) {
            self.counters().dropped_over_limit.add(1);
            return self.refuse_publish(key, publish.qos, publish.packet_id, reason);
        }
        let must_wait = link_holds || (publish.qos == QoS::ExactlyOnce && is_durable_publisher);
        let mut rewritten = Vec::new();
        let forwarded = publish.properties.forwarded_slice().unwrap_or_else(|| {
            publish.properties.append_forwarded(&mut rewritten);
            &rewritten
        });
        let expiry = publish.properties.message_expiry_secs;
        let content = Content {
            topic: &inbound.topic,
            payload: publish.payload,
            forwarded,
            expires_at: expiry.map(|secs| self.now.plus_secs(secs)),
        };
        let mut sharing = Sharing::borrowed(content);
        let (qos, retain) = (publish.qos, publish.retain && keeps_retained);
        if !retain && !must_wait {
            let packet_id = publish.packet_id;
            if let Some(work) = self.publish_live(key, session_key, &mut sharing, qos, packet_id) {
                return work;
            }
        }
        if let Some(packet_id) = publish.packet_id
            && self.lacks_space(&sharing.content(), qos, retain, is_durable_publisher)
        {
            let unstored = Unstored { message: sharing.keep(), qos, retain, packet_id };
            return self.refuse_for_space(key, session_key, packet_id, unstored);
        }
        self.begin_unit();
        let source = Source::Client { link: key, session: session_key };
        let routed = self.route(source, &mut sharing, qos, retain, publish.packet_id);
        self.release_in_order(routed, &mut sharing, Submission::default())
    }

    /// The short way of most messages: nothing of them is kept, and nothing waits before them.
    /// Returns the work done, or nothing if the message has to go the long way.
    #[inline]
    fn publish_live(
        &mut self,
        link: Key,
        session: Key,
        sharing: &mut Sharing<'_>,
        qos: QoS,
        packet_id: Option<PacketId>,
    ) -> Option<usize> {
        let topic = sharing.content().topic;
        let route = self.routes.find(topic, &self.shared.table, self.index);
        if !route.addressed.is_empty() {
            return None;
        }
        let published = Published { qos, retain: false, publisher: Some(session.index) };
        let mut hands = hands!(self);
        let (receivers, merge) = (&self.receivers, &mut self.merge);
        let mut reached = hands.fan_out(sharing, published, &route.local, receivers, merge);
        for (shard, filters) in &route.remote {
            let batch = &mut self.outgoing[shard.0 as usize].batch;
            batch.push(&sharing.content(), qos, false, filters, &[]);
            reached.taken += 1;
        }
        self.count_effects();
        if reached.taken == 0 && reached.refused == 0 {
            self.counters().unmatched.add(1);
        }
        if let Some(packet_id) = packet_id {
            self.answer_publish(link, session, qos, packet_id, reached.reason());
        }
        Some(1 + reached.visited as usize)
    }

    /// Finds who is to have a message, reserving room in the queues of durable sessions.
    fn route(
        &mut self,
        source: Source,
        sharing: &mut Sharing<'_>,
        qos: QoS,
        retain: bool,
        packet_id: Option<PacketId>,
    ) -> (Routed, Addressees) {
        // Before the match: whoever subscribes and does not find it retained is matched.
        let order = retain.then(|| self.shared.next_order());
        let route = self.routes.find(sharing.content().topic, &self.shared.table, self.index);
        let route = Arc::clone(route);
        let mut routed = Routed {
            qos,
            retain,
            order,
            source,
            packet_id,
            route,
            at_most_once: 0,
            directs: Vec::new(),
            reached: Reached::default(),
        };
        let mut addressees = Addressees::default();
        if !routed.route.addressed.is_empty() {
            let route = Arc::clone(&routed.route);
            self.address(&route, sharing, &mut routed, &mut addressees);
        }
        (routed, addressees)
    }

    /// Releases a routed message now, or puts it where it waits for its turn: not before the store is done
    /// with `after`. Returns the work done.
    fn release_in_order(
        &mut self,
        (mut routed, addressees): (Routed, Addressees),
        sharing: &mut Sharing<'_>,
        after: Submission,
    ) -> usize {
        let received = self.exchange_to_record(&routed);
        let is_own = matches!(routed.source, Source::Statistics);
        let retain = routed.order.filter(|_| !is_own);
        let is_awaited = routed.qos != QoS::AtMostOnce;
        let target_count = addressees.len();
        let mut is_stored = target_count > 0 || received.is_some() || retain.is_some();
        let is_only_retained = target_count == 0 && !is_awaited;
        if retain.is_some() && is_only_retained && !self.has_room(&sharing.content()) {
            // QoS 0: whoever is there gets it, and that is all.
            self.counters().dropped_no_space.add(1);
            is_stored = false;
            routed.order = None;
        }
        let link = match routed.source {
            Source::Client { link, .. } => Some(link),
            Source::Will | Source::Statistics => None,
        };
        // What clients that are gone have left behind goes before their wills.
        let is_behind = link.is_none() && !self.orphans.is_empty();
        let must_wait = (is_stored && is_awaited)
            || is_behind
            || after > self.durable
            || link.and_then(|key| self.links.get(key)).is_some_and(|link| link.holds());
        let mut after = if is_behind { self.awaited } else { after };
        if is_stored {
            let message = sharing.keep();
            let operation = addressees.operation(message, routed.qos, received, retain);
            let number = self.submit_lazy(operation);
            if is_awaited {
                self.awaited = number;
                after = number;
            }
        }
        if !must_wait {
            return self.release(&routed, sharing);
        }
        let local_count: usize =
            routed.route.local.iter().map(|filter| self.receivers.of(*filter).len()).sum();
        if let Some(order) = routed.order {
            self.shared.retained.announce(sharing.content().topic, order);
        }
        let held = Held::Publish(sharing.keep(), Box::new(routed));
        self.hold(link, HeldEntry { after, grace: 0, held });
        // The fan-out to come is not this turn's, but whoever causes it is not read on and on.
        1 + target_count + local_count
    }

    /// Returns whether the store has no space for what a message needs of it.
    fn lacks_space(
        &mut self,
        content: &Content<'_>,
        qos: QoS,
        retain: bool,
        is_durable: bool,
    ) -> bool {
        if qos == QoS::AtMostOnce || self.has_room(content) {
            return false;
        }
        let is_recorded = qos == QoS::ExactlyOnce && is_durable;
        let route = self.routes.find(content.topic, &self.shared.table, self.index);
        retain || is_recorded || !route.addressed.is_empty()
    }

    /// Returns whether the store has room for a message, whoever is to have it.
    pub(super) fn has_room(&mut self, content: &Content<'_>) -> bool {
        let Content { topic, payload, forwarded, .. } = content;
        let message_bytes = topic.len() + payload.len() + forwarded.len();
        // Looked up once a turn: it is in memory that other shards write to.
        let count = self.session_count.get_or_insert_with(|| self.shared.session_count());
        let most = publish_bytes(message_bytes as u64, *count);
        self.shared.store.has_room(most)
    }

    /// The store has no space. A 5.0 client is told; an older one, which cannot be, waits, and is closed if
    /// that takes too long.
    #[cold]
    fn refuse_for_space(
        &mut self,
        key: Key,
        session: Key,
        packet_id: PacketId,
        unstored: Unstored,
    ) -> usize {
        self.counters().dropped_no_space.add(1);
        let is_v5 = self.links.get(key).is_some_and(|link| link.version() == Version::V5);
        let held = if is_v5 {
            let (qos, reason) = (unstored.qos, ReasonCode::QUOTA_EXCEEDED);
            Held::Answer { session, qos, packet_id, reason }
        } else {
            Held::Unstored(Box::new(unstored))
        };
        let after = if is_v5 { Submission::default() } else { NEVER };
        self.hold(Some(key), HeldEntry { after, grace: 0, held });
        if is_v5 {
            self.release_held(key);
        } else {
            self.unstored.push(key);
        }
        1
    }

    /// Goes on with what waited for space, as soon as there is some.
    pub(super) fn retry_unstored(&mut self) {
        if self.unstored.is_empty() || self.shared.store.condition() == Condition::Full {
            return;
        }
        for key in std::mem::take(&mut self.unstored) {
            let Some(link) = self.links.get_mut(key) else { continue };
            let Some(session) = link.open().map(|open| open.session) else { continue };
            let Some(held) = &mut link.held else { continue };
            let is_meant = |it: &mut HeldEntry| matches!(it.held, Held::Unstored(_));
            let Some(entry) = held.pop_back_if(is_meant) else { continue };
            if held.is_empty() {
                link.held = None;
            }
            let Held::Unstored(unstored) = entry.held else { continue };
            if !self.has_room(&unstored.message.content()) {
                // A smaller one may have found some.
                self.hold(Some(key), HeldEntry { held: Held::Unstored(unstored), ..entry });
                self.unstored.push(key);
                continue;
            }
            self.begin_unit();
            let source = Source::Client { link: key, session };
            let Unstored { message, qos, retain, packet_id } = *unstored;
            let mut sharing = Sharing::kept(&message);
            let routed = self.route(source, &mut sharing, qos, retain, Some(packet_id));
            self.release_in_order(routed, &mut sharing, Submission::default());
            self.review_pause(key);
        }
    }

    /// Hands a message out and acknowledges it. Returns the work done.
    pub(super) fn release(&mut self, routed: &Routed, sharing: &mut Sharing<'_>) -> usize {
        let publisher = match routed.source {
            // The session may have ended since, and its slot be another's.
            Source::Client { session, .. } => {
                self.sessions.get(session).is_some().then_some(session.index)
            }
            Source::Will | Source::Statistics => None,
        };
        if let Some(order) = routed.order {
            // Together with the live copies: whoever subscribes finds it, or is among the receivers.
            self.retain(sharing, routed.qos, order);
        }
        let published = Published { qos: routed.qos, retain: routed.retain, publisher };
        let mut reached = routed.reached;
        if !routed.route.local.is_empty() {
            let live = self.fan_out(sharing, published, &routed.route.local);
            reached.taken += live.taken;
            reached.refused += live.refused;
            reached.visited += live.visited;
        }
        let mailed = routed.route.remote_live | routed.at_most_once;
        for (shard, filters) in &routed.route.remote {
            if routed.qos != QoS::AtMostOnce && mailed & (1 << shard.0) == 0 {
                continue;
            }
            let batch = &mut self.outgoing[shard.0 as usize].batch;
            batch.push(&sharing.content(), routed.qos, routed.retain, filters, &[]);
            reached.taken += 1;
        }
        for (shard, direct) in &routed.directs {
            if *shard == self.index {
                let live = self.deliver_direct(sharing, direct);
                reached.taken += live.taken;
                reached.refused += live.refused;
            } else {
                let batch = &mut self.outgoing[shard.0 as usize].batch;
                batch.push(&sharing.content(), routed.qos, routed.retain, &[], &[*direct]);
                reached.taken += 1;
            }
        }
        if reached.taken == 0 && reached.refused == 0 {
            self.counters().unmatched.add(1);
        }
        self.acknowledge(routed, reached);
        1 + reached.visited as usize
    }

    /// Answers a publisher: success is only said when someone has the message, its topic among them, or nobody
    /// wanted it.
    fn acknowledge(&mut self, routed: &Routed, reached: Reached) {
        let (Source::Client { link: key, session }, Some(packet_id)) =
            (routed.source, routed.packet_id)
        else {
            return;
        };
        let qos = routed.qos;
        let reason = match reached.reason() {
            // Everyone who subscribes from here on gets it.
            ReasonCode::QUOTA_EXCEEDED if routed.order.is_some() => ReasonCode::SUCCESS,
            reason => reason,
        };
        if reason.is_failure()
            && let Some((number, packet_id)) = self.exchange_to_record(routed)
            && self.says_no_to(key)
        {
            // It was recorded with the message. The refusal frees the identifier ([MQTT-4.3.3-9]), and after a crash
            // the next message under it must not be taken for this one.
            let after = self.submit(Operation::Release { session: number, packet_id });
            let held = Held::Answer { session, qos, packet_id, reason };
            self.hold_first(key, HeldEntry { after, grace: 0, held });
            return;
        }
        self.answer_publish(key, session, qos, packet_id, reason);
    }

    /// Returns whether the publisher on a link learns that a message is refused: in 3.x it gets the
    /// acknowledgement all the same, unless it is closed for that.
    fn says_no_to(&self, key: Key) -> bool {
        let closes = self.rules.config.policy.v3_queues_full == V3Refusal::Close;
        closes || self.links.get(key).is_none_or(|link| link.version() == Version::V5)
    }

    /// Answers a PUBLISH.
    pub(super) fn answer_publish(
        &mut self,
        key: Key,
        session: Key,
        qos: QoS,
        packet_id: PacketId,
        reason: ReasonCode,
    ) {
        let link = self.links.get_mut(key).filter(|link| matches!(link.stage, Stage::Open(_)));
        let Some(link) = link else {
            self.settle_publish(session, qos, packet_id, reason);
            return;
        };
        let Stage::Open(open) = &mut link.stage else { return };
        let Some(home) = self.sessions.get_mut(session) else { return };
        let refused = reason.is_failure() && open.connection.version() != Version::V5;
        if refused && self.rules.config.policy.v3_queues_full == V3Refusal::Close {
            self.end_link(key, Ending::Abnormal(reason));
            return;
        }
        // A 3.x client cannot be told: it gets the acknowledgement, and the drop is counted.
        let reason = if refused { ReasonCode::SUCCESS } else { reason };
        if link.output.capacity() == 0 {
            link.output = self.buffers.pop().unwrap_or_default();
        }
        let connection = &mut open.connection;
        home.protocol.finish_publish(connection, qos, packet_id, reason, &mut link.output);
        self.mark_dirty(key);
    }

    /// Returns why nobody may publish to a topic.
    pub(super) fn refusal_of(&self, topic: &str) -> Option<ReasonCode> {
        // The broker's own statistics: a client must not be able to make them up.
        if topic.as_bytes().first() == Some(&b'$') && is_statistics(topic) {
            return Some(ReasonCode::NOT_AUTHORIZED);
        }
        let levels_max = usize::from(self.rules.config.limits.topic_levels_max);
        let is_too_deep = topic.len() >= levels_max
            && topic.bytes().filter(|it| *it == b'/').count() >= levels_max;
        is_too_deep.then_some(ReasonCode::TOPIC_NAME_INVALID)
    }

    /// Refuses a message that may not be published: dropped, and said where it can be.
    fn refuse_publish(
        &mut self,
        key: Key,
        qos: QoS,
        packet_id: Option<PacketId>,
        reason: ReasonCode,
    ) -> usize {
        let Some(link) = self.links.get_mut(key) else { return 1 };
        let Stage::Open(open) = &mut link.stage else { return 1 };
        let Some(packet_id) = packet_id else { return 1 };
        let is_v5 = open.connection.version() == Version::V5;
        if !is_v5 && self.rules.config.policy.v3_denied_publish == V3Refusal::Close {
            self.end_link(key, Ending::Abnormal(reason));
            return 1;
        }
        let session = open.session;
        let reason = if is_v5 { reason } else { ReasonCode::SUCCESS };
        if link.holds() {
            let held = Held::Answer { session, qos, packet_id, reason };
            self.hold(Some(key), HeldEntry { after: Submission::default(), grace: 0, held });
        } else {
            self.answer_publish(key, session, qos, packet_id, reason);
        }
        1
    }

    /// The store is done with a publish whose connection is gone: the exchange is the session's.
    pub(super) fn settle_publish(
        &mut self,
        key: Key,
        qos: QoS,
        packet_id: PacketId,
        reason: ReasonCode,
    ) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if qos != QoS::ExactlyOnce {
            return;
        }
        let after = session.protocol.settle_publish(packet_id, reason);
        if let (AfterSettle::Answer, Some(link)) = (after, session.link) {
            self.answer_publish(link, key, qos, packet_id, reason);
        }
    }

    /// Answers a QoS 2 PUBLISH that was received before, in the order of arrival.
    fn repeat_pubrec(&mut self, key: Key, packet_id: Option<PacketId>) {
        let Some(packet_id) = packet_id else { return };
        let Some(open) = self.links.get_mut(key).and_then(|link| link.open()) else { return };
        let session = open.session;
        let (qos, reason) = (QoS::ExactlyOnce, ReasonCode::SUCCESS);
        let held = Held::Answer { session, qos, packet_id, reason };
        self.hold(Some(key), HeldEntry { after: Submission::default(), grace: 0, held });
        self.release_held(key);
    }

    /// Returns the inbound QoS 2 exchange that must be recorded with the message: one of a session
    /// that may be resumed.
    fn exchange_to_record(&self, routed: &Routed) -> Option<(SessionNumber, PacketId)> {
        if routed.qos != QoS::ExactlyOnce {
            return None;
        }
        Some((self.number_of(routed.source)?, routed.packet_id?))
    }

    pub(super) fn publisher_hash(&self, source: Source) -> u64 {
        let Source::Client { session, .. } = source else { return 0 };
        let client_id = self.sessions.get(session).map(|it| it.client_id.as_bytes());
        client_id.map_or(0, |client_id| self.shared.hash(client_id))
    }

    /// Publishes something that no connection sent, when the store is done with `after`.
    pub(super) fn publish_from(
        &mut self,
        source: Source,
        sharing: &mut Sharing<'_>,
        qos: QoS,
        retain: bool,
        after: Submission,
    ) {
        let routed = self.route(source, sharing, qos, retain, None);
        self.release_in_order(routed, sharing, after);
    }
}

fn is_statistics(topic: &str) -> bool {
    topic == "$SYS" || topic.starts_with("$SYS/")
}

/// No submission has this number.
pub(super) const NEVER: Submission = Submission(u64::MAX);
