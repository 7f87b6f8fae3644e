//! SUBSCRIBE and UNSUBSCRIBE.
//!
//! Their answers leave only when no shard can still be routing with the table as it was before, so
//! that a message published after a SUBACK always arrives. Retained messages are read after that
//! point too: one published meanwhile arrives live, retained or both, never neither.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use quelea_codec::{
    AckProperties, Packet, QoS, ReasonCode, RetainHandling, SubAck, Subscribe, SubscribeFilter,
    SubscriptionOptions, UnsubAck, Unsubscribe, Version, check_topic_filter,
};
use quelea_session::Class;
use quelea_store::{Condition, CursorPlace, Operation, SessionNumber, Submission};
use quelea_topics::FilterId;

use super::Shard;
use super::held::{Held, HeldEntry};
use super::link::Ending;
use super::receivers::Receiver;
use super::retained::Cursor;
use super::subscriptions::Subscription;
use crate::arena::Key;
use crate::config::V31DeniedSubscribe;
use crate::table::{DurableReceiver, Gauge, Group, Member};

/// What one SUBSCRIBE or UNSUBSCRIBE has changed.
#[derive(Default)]
struct Changes {
    /// Whether others may be routing with an older table.
    table: bool,
    /// The last operation for the store.
    submitted: Submission,
    cursors: Vec<Cursor>,
}

/// A subscription that is asked for, its filter taken apart.
struct Wanted<'a> {
    /// As the client wrote it.
    text: &'a str,
    /// Without `$share` and the group.
    filter: &'a str,
    group: Option<&'a str>,
    options: SubscriptionOptions,
    subscription_id: u32,
}

impl Shard {
    /// Handles a SUBSCRIBE.
    pub(super) fn on_subscribe(&mut self, key: Key, subscribe: &Subscribe<'_>) {
        let Some(link) = self.links.get_mut(key) else { return };
        let version = link.version();
        let Some(session) = link.open().map(|open| open.session) else { return };
        let has_id = subscribe.subscription_id.is_some();
        if has_id && !self.rules.config.limits.subscription_ids_available {
            let reason = ReasonCode::SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED;
            self.fail(key, reason, &"subscription identifiers are not supported");
            return;
        }
        let mut changes = Changes::default();
        let mut reasons = Vec::new();
        for SubscribeFilter { filter, options } in subscribe.filters() {
            let id = subscribe.subscription_id.unwrap_or(0);
            let reason = match self.wanted(filter, options, id) {
                Ok(wanted) => self.subscribe_if_granted(session, wanted, &mut changes),
                Err(reason) => reason,
            };
            reasons.push(reason.0);
        }
        let is_denied = reasons.iter().any(|reason| ReasonCode(*reason).is_failure());
        if version == Version::V31 && is_denied {
            // MQTT 3.1 has no SUBACK that says no.
            if self.rules.config.policy.v31_denied_subscribe == V31DeniedSubscribe::Close {
                self.end_link(key, Ending::Abnormal(ReasonCode::NOT_AUTHORIZED));
                return;
            }
            for reason in reasons.iter_mut().filter(|it| ReasonCode(**it).is_failure()) {
                *reason = 0;
            }
        }
        let mut packet = Vec::new();
        let packet_id = subscribe.packet_id;
        let properties = AckProperties::default();
        Packet::SubAck(SubAck { packet_id, reasons: &reasons, properties })
            .encode(version, &mut packet);
        self.answer_later(key, changes, |cursors| Held::Suback { packet, cursors });
    }

    /// Handles an UNSUBSCRIBE.
    pub(super) fn on_unsubscribe(&mut self, key: Key, unsubscribe: &Unsubscribe<'_>) {
        let Some(link) = self.links.get_mut(key) else { return };
        let version = link.version();
        let Some(session) = link.open().map(|open| open.session) else { return };
        let mut changes = Changes::default();
        let mut reasons = Vec::new();
        for filter in unsubscribe.filters() {
            reasons.push(self.unsubscribe(session, filter, &mut changes).0);
        }
        let mut packet = Vec::new();
        let packet_id = unsubscribe.packet_id;
        let properties = AckProperties::default();
        Packet::UnsubAck(UnsubAck { packet_id, reasons: &reasons, properties })
            .encode(version, &mut packet);
        self.answer_later(key, changes, |_| Held::Unsuback(packet));
    }

    fn answer_later(
        &mut self,
        key: Key,
        changes: Changes,
        answer: impl FnOnce(Vec<Cursor>) -> Held,
    ) {
        let needs_grace = changes.table || !changes.cursors.is_empty();
        let grace = if needs_grace { self.begin_grace(key) } else { 0 };
        let held = answer(changes.cursors);
        self.hold(Some(key), HeldEntry { after: changes.submitted, grace, held });
        self.release_held(key);
    }

    /// Checks a filter against what this broker allows.
    fn wanted<'a>(
        &self,
        text: &'a str,
        options: SubscriptionOptions,
        subscription_id: u32,
    ) -> Result<Wanted<'a>, ReasonCode> {
        let limits = &self.rules.config.limits;
        let shape = check_topic_filter(text).map_err(|_| ReasonCode::TOPIC_FILTER_INVALID)?;
        let (group, filter) = match shape.shared {
            Some((group, filter)) => (Some(group), filter),
            None => (None, text),
        };
        if group.is_some() && !limits.shared_available {
            return Err(ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED);
        }
        if shape.has_wildcard && !limits.wildcard_available {
            return Err(ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED);
        }
        let level_count = 1 + filter.bytes().filter(|it| *it == b'/').count();
        if level_count > usize::from(limits.filter_levels_max) {
            return Err(ReasonCode::TOPIC_FILTER_INVALID);
        }
        let qos = options.qos.min(self.rules.server_limits.qos_max);
        let options = SubscriptionOptions { qos, ..options };
        Ok(Wanted { text, filter, group, options, subscription_id })
    }

    /// Makes or replaces a subscription as far as the client may have it.
    fn subscribe_if_granted(
        &mut self,
        key: Key,
        mut wanted: Wanted<'_>,
        changes: &mut Changes,
    ) -> ReasonCode {
        let Some(qos) = self.granted_qos(key, wanted.filter) else {
            return ReasonCode::NOT_AUTHORIZED;
        };
        wanted.options.qos = wanted.options.qos.min(qos);
        self.subscribe(key, &wanted, changes)
    }

    /// Ends a subscription that its client has not ended.
    pub(super) fn end_subscription(&mut self, key: Key, text: &str) {
        self.unsubscribe(key, text, &mut Changes::default());
    }

    /// Makes or replaces one subscription ([MQTT-3.8.4-3]).
    fn subscribe(&mut self, key: Key, wanted: &Wanted<'_>, changes: &mut Changes) -> ReasonCode {
        let number = self.sessions.get(key).and_then(|session| session.number());
        let count_max = self.rules.config.limits.subscriptions_per_session_max as usize;
        // Most clients subscribe anew whenever they come back: what they have is theirs, however full the disk is.
        let lacks_space = number.is_some() && self.shared.store.condition() == Condition::Full;
        let session = self.sessions.get(key);
        let is_full = session.is_some_and(|it| it.subscriptions.len() >= count_max) || lacks_space;
        let is_new = self.enter(key, number, wanted, is_full, changes);
        let Some(is_new) = is_new else { return ReasonCode::QUOTA_EXCEEDED };
        let is_retained_wanted = match wanted.options.retain_handling {
            RetainHandling::SendAtSubscribe => true,
            RetainHandling::SendIfNew => is_new,
            RetainHandling::DoNotSend => false,
        };
        let mut stored_cursor = None;
        if wanted.group.is_none() && is_retained_wanted {
            let (options, id) = (wanted.options, wanted.subscription_id);
            // After the table was changed: what is routed with an order from here on comes live.
            let place = CursorPlace { until: self.shared.order(), partition: 0, after: None };
            stored_cursor = Some(place.clone());
            changes.cursors.push(Cursor::new(wanted.filter, options.qos, id, place, is_new));
        }
        if let Some(session) = number {
            changes.submitted = self.submit(Operation::Subscribe {
                session,
                filter: wanted.text.into(),
                options: wanted.options.to_byte(),
                subscription_id: wanted.subscription_id,
                cursor: stored_cursor,
            });
        }
        match wanted.options.qos {
            QoS::AtMostOnce => ReasonCode::SUCCESS,
            QoS::AtLeastOnce => ReasonCode::GRANTED_QOS_1,
            QoS::ExactlyOnce => ReasonCode::GRANTED_QOS_2,
        }
    }

    /// Enters a subscription in all lists. Returns whether it is new, or nothing when there is no room for it: if
    /// the session `is_full` it may only replace one.
    fn enter(
        &mut self,
        key: Key,
        number: Option<SessionNumber>,
        wanted: &Wanted<'_>,
        is_full: bool,
        changes: &mut Changes,
    ) -> Option<bool> {
        let is_new = match wanted.group {
            Some(group) => self.join_group(key, number, wanted, group, is_full, changes),
            None => self.subscribe_plain(key, number, wanted, is_full, changes),
        }?;
        self.counters().subscriptions_added.add(u64::from(is_new));
        Some(is_new)
    }

    /// Makes a subscription that a session had before a restart. Returns its filter, without `$share`.
    pub(super) fn restore_subscription<'a>(
        &mut self,
        key: Key,
        text: &'a str,
        options: SubscriptionOptions,
        subscription_id: u32,
    ) -> Option<&'a str> {
        let number = self.sessions.get(key)?.number();
        // What the configuration allows may have changed since: it was granted, and goes on.
        let shape = check_topic_filter(text).ok()?;
        let (group, filter) = match shape.shared {
            Some((group, filter)) => (Some(group), filter),
            None => (None, text),
        };
        let wanted = Wanted { text, filter, group, options, subscription_id };
        self.enter(key, number, &wanted, false, &mut Changes::default())?;
        Some(filter)
    }

    /// Returns whether the subscription is new, or nothing when there is no room for it.
    fn subscribe_plain(
        &mut self,
        key: Key,
        number: Option<SessionNumber>,
        wanted: &Wanted<'_>,
        is_full: bool,
        changes: &mut Changes,
    ) -> Option<bool> {
        let receiver = Receiver {
            session: key.index,
            subscription_id: wanted.subscription_id,
            options: wanted.options,
            is_durable: number.is_some(),
        };
        let known = self.shared.table.find(wanted.filter);
        let session = self.sessions.get_mut(key)?;
        let own = known.and_then(|filter| session.subscriptions.find(filter, None));
        let mut is_new = true;
        if let (Some(filter), Some(own)) = (known, own) {
            self.receivers.replace(filter, own.place, receiver);
            is_new = false;
        } else if is_full {
            return None;
        } else {
            // With another receiver of the class, this shard is in the table already.
            let is_durable = number.is_some();
            let filter = match known.filter(|filter| self.receivers.has(*filter, is_durable)) {
                Some(filter) => filter,
                None => {
                    changes.table = true;
                    self.shared.table.add_shard(wanted.filter, self.index, class_of(number))
                }
            };
            let place = self.receivers.add(filter, receiver);
            session.subscriptions.add(Subscription { filter, place, group: None });
        }
        if let Some(number) = number {
            let gauge = self.gauge_of(key);
            let receiver = DurableReceiver {
                home: self.index,
                options: wanted.options,
                subscription_id: wanted.subscription_id,
                gauge,
            };
            changes.table = true;
            self.shared.table.add_durable(wanted.filter, number, receiver);
        }
        Some(is_new)
    }

    fn join_group(
        &mut self,
        key: Key,
        durable: Option<SessionNumber>,
        wanted: &Wanted<'_>,
        name: &str,
        is_full: bool,
        changes: &mut Changes,
    ) -> Option<bool> {
        let session = self.sessions.get(key)?;
        let known = if is_full { self.shared.table.find(wanted.filter) } else { None };
        let is_own = |group: &Arc<Group>| *group.name == *name && Some(group.filter) == known;
        if is_full && !session.subscriptions.groups().any(is_own) {
            return None;
        }
        let member = Member {
            home: self.index,
            session: key,
            durable,
            options: wanted.options,
            subscription_id: wanted.subscription_id,
            gauge: self.gauge_of(key),
        };
        let (group, is_new) = self.shared.table.join_group(wanted.filter, name, member);
        changes.table = true;
        if is_new && let Some(session) = self.sessions.get_mut(key) {
            if let Some(kept) = session.extra.as_mut().and_then(|extra| extra.kept.as_mut()) {
                kept.set_shared();
            }
            let filter = group.filter;
            session.subscriptions.add(Subscription { filter, place: 0, group: Some(group) });
        }
        Some(is_new)
    }

    /// Returns what other shards see of a session.
    fn gauge_of(&mut self, key: Key) -> Arc<Gauge> {
        let Some(session) = self.sessions.get_mut(key) else { return Arc::default() };
        let link = session.link;
        let gauge = session.extra_mut().gauge.get_or_insert_default();
        let gauge = Arc::clone(gauge);
        let connection =
            link.and_then(|link| self.links.get_mut(link)).and_then(|link| link.open());
        if let Some(open) = connection {
            gauge.is_online.store(true, Ordering::Relaxed);
            let window = u32::from(open.connection.send_window());
            gauge.window.store(window, Ordering::Relaxed);
        }
        gauge
    }

    /// Ends one subscription.
    fn unsubscribe(&mut self, key: Key, text: &str, changes: &mut Changes) -> ReasonCode {
        let Ok(shape) = check_topic_filter(text) else { return ReasonCode::TOPIC_FILTER_INVALID };
        let (name, filter) = match shape.shared {
            Some((group, filter)) => (Some(group), filter),
            None => (None, text),
        };
        let removed = self.shared.table.find(filter).and_then(|filter| {
            let session = self.sessions.get_mut(key)?;
            let group = match name {
                Some(name) => {
                    let mut groups = session.subscriptions.groups();
                    Some(groups.find(|it| it.filter == filter && *it.name == *name)?.id)
                }
                None => None,
            };
            session.subscriptions.remove(filter, group)
        });
        let Some(removed) = removed else { return ReasonCode::NO_SUBSCRIPTION_EXISTED };
        let Some(session) = self.sessions.get_mut(key) else { return ReasonCode::SUCCESS };
        let number = session.number();
        if let Some(extra) = &mut session.extra
            && !extra.cursors.is_empty()
        {
            extra.cursors.retain(|cursor| name.is_some() || !cursor.is_for(filter));
        }
        if let Some(session) = number {
            let filter = text.into();
            changes.submitted = self.submit(Operation::Unsubscribe { session, filter });
        }
        changes.table = true;
        self.counters().subscriptions_removed.add(1);
        self.forget_subscription(key, number, &removed);
        if let Some(group) = &removed.group {
            self.redistribute(key, group);
        }
        ReasonCode::SUCCESS
    }

    /// Removes a subscription from this shard's lists and from the shared table.
    fn forget_subscription(
        &mut self,
        key: Key,
        number: Option<SessionNumber>,
        removed: &Subscription,
    ) {
        if let Some(group) = &removed.group {
            self.shared.table.leave_group(group, self.index, key);
            return;
        }
        let filter = removed.filter;
        if let Some(session) = self.receivers.remove(filter, removed.place) {
            self.note_moved(session, filter, removed.place);
        }
        if !self.receivers.has(filter, number.is_some()) {
            self.shared.table.remove_shard(filter, self.index, class_of(number));
        }
        if let Some(number) = number {
            self.shared.table.remove_durable(filter, number);
        }
    }

    /// Another session's receiver has taken the place of a removed one.
    fn note_moved(&mut self, session: u32, filter: FilterId, place: u32) {
        let moved = self.sessions.at_mut(session);
        if let Some(moved) = moved.and_then(|it| it.subscriptions.find(filter, None)) {
            moved.place = place;
        }
    }

    /// Ends all subscriptions of a session that ends. What a durable one has of shared groups is with the store.
    pub(super) fn drop_all_subscriptions(&mut self, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let number = session.number();
        let subscriptions = session.subscriptions.take();
        self.counters().subscriptions_removed.add(subscriptions.len() as u64);
        for subscription in &subscriptions {
            self.forget_subscription(key, number, subscription);
        }
        if number.is_none() {
            for group in subscriptions.iter().filter_map(|it| it.group.as_ref()) {
                self.redistribute(key, group);
            }
        }
    }

    /// Gives what a group's former member has not acknowledged to the other members (design rule:
    /// QoS 1 unacknowledged and QoS 1 and 2 never sent; what was sent with QoS 2 never moves).
    fn redistribute(&mut self, key: Key, group: &Arc<Group>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if let Some(number) = session.number() {
            let sent_before = session.protocol.sent_before();
            self.begin_sweep(number, Some(Arc::clone(&group.text)), sent_before);
            return;
        }
        for it in session.protocol.take_group(Some(group.id)) {
            self.hand_to_member(group, &it.message, it.qos, it.retain);
        }
        self.settle(key);
    }
}

fn class_of(number: Option<SessionNumber>) -> Class {
    if number.is_some() { Class::Durable } else { Class::Live }
}
