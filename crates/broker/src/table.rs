//! The subscriptions as all shards see them: which filters exist, and who has receivers.
//!
//! Two levels. This table is shared: it knows for each topic filter the shards with live
//! receivers, the durable sessions (whose messages go through the store, addressed by session) and
//! the shared groups. Each shard keeps its own live receivers of each filter
//! (`shard::receivers`), without a lock.
//!
//! A subscriber that joins a filter which its shard already has does not touch the table, so a
//! fleet that shares one filter writes it once per shard.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use quelea_codec::SubscriptionOptions;
use quelea_session::{Class, GroupId};
use quelea_store::{SessionNumber, ShardIndex};
use quelea_topics::{FilterId, FilterTable, MemberLoad, SharedStrategy, choose_member};

use crate::arena::Key;

/// Filters and who has receivers of them.
pub(crate) struct Table {
    /// Held for one match on a route cache miss, or for one change; never across a turn.
    filters: RwLock<FilterTable<FilterEntry>>,
    /// Grows with every change that can alter a route. Loaded for every publish.
    generation: AtomicU64,
    next_group: AtomicU32,
}

/// What is known of one filter.
#[derive(Debug, Default)]
struct FilterEntry {
    /// One bit for each shard that has receivers whose sessions end with their connection.
    live: u64,
    /// One bit for each shard that has receivers in durable sessions: for QoS 0 they are live too.
    durable: u64,
    /// Absent for the many filters that have only live receivers.
    addressed: Option<Arc<Addressed>>,
}

/// The receivers of one filter that are addressed by the publisher's shard itself.
#[derive(Debug, Default)]
pub(crate) struct Addressed {
    /// Sessions that outlive their connection. Locked to copy them into a store operation, or to
    /// change one: joining a filter that has such a list invalidates nobody's route. By number, which is the
    /// order in which the store wants them.
    pub(crate) durable: RwLock<BTreeMap<SessionNumber, DurableReceiver>>,
    /// The `$share` groups of the filter.
    pub(crate) groups: RwLock<Vec<Arc<Group>>>,
}

/// A durable session's subscription.
#[derive(Clone, Debug)]
pub(crate) struct DurableReceiver {
    pub(crate) home: ShardIndex,
    pub(crate) options: SubscriptionOptions,
    pub(crate) subscription_id: u32,
    pub(crate) gauge: Arc<Gauge>,
}

/// What other shards may know, and reserve, of a session that they don't own.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    /// Messages queued and not yet sent, those on the way to the queue included.
    pub(crate) queued_messages: AtomicU32,
    /// Their bytes.
    pub(crate) queued_bytes: AtomicU64,
    /// Messages sent or queued and not acknowledged: what shared groups compare.
    pub(crate) outstanding: AtomicU32,
    /// How many may be in flight.
    pub(crate) window: AtomicU32,
    /// Whether the client is connected.
    pub(crate) is_online: AtomicBool,
    /// The session is to end because its queue is full.
    ends: AtomicBool,
    /// Messages that were dropped since its client was last told of.
    dropped: AtomicU32,
}

impl Gauge {
    /// Reserves room for one message, unless that would pass a limit.
    pub(crate) fn reserve(&self, bytes: u64, messages_max: u32, bytes_max: u64) -> bool {
        let messages_before = self.queued_messages.fetch_add(1, Ordering::Relaxed);
        let bytes_before = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = messages_before < messages_max.min(ENDED) && bytes_before + bytes <= bytes_max;
        if !fits {
            self.give_back(1, bytes);
        }
        fits
    }

    /// Takes room without asking, for what was there before a restart.
    pub(crate) fn reserve_all(&self, messages: u32, bytes: u64) {
        self.queued_messages.fetch_add(messages, Ordering::Relaxed);
        self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Notes that messages for the session were dropped.
    pub(crate) fn note_dropped(&self, messages: u32) {
        // Some more or less are nothing where there are so many.
        if self.dropped.load(Ordering::Relaxed) < u32::MAX / 2 {
            self.dropped.fetch_add(messages.min(u32::MAX / 2), Ordering::Relaxed);
        }
    }

    /// Returns how many messages were dropped since this was asked last.
    pub(crate) fn take_dropped(&self) -> u32 {
        self.dropped.swap(0, Ordering::Relaxed)
    }

    /// Returns true for the first who asks for the session's end.
    pub(crate) fn ask_for_end(&self) -> bool {
        !self.ends.swap(true, Ordering::Relaxed)
    }

    /// The session goes on.
    pub(crate) fn take_back_end(&self) {
        self.ends.store(false, Ordering::Relaxed);
    }

    /// Notes that the session has ended: nothing can be reserved any more. Returns the messages and bytes that
    /// it had, those on the way to it included.
    pub(crate) fn end(&self) -> (u32, u64) {
        let messages = self.queued_messages.swap(ENDED, Ordering::Relaxed);
        (messages, self.queued_bytes.swap(0, Ordering::Relaxed))
    }

    /// Gives room back.
    pub(crate) fn give_back(&self, messages: u32, bytes: u64) {
        self.queued_messages.fetch_sub(messages, Ordering::Relaxed);
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A `$share` group on one filter.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) name: Box<str>,
    /// As its members write it: `$share`, the name and the filter.
    pub(crate) text: Arc<str>,
    pub(crate) filter: FilterId,
    /// Locked for one choice or one change.
    members: RwLock<Vec<Member>>,
    rotation: AtomicU32,
    /// The token of the member that got the last message.
    last: AtomicU64,
}

/// A session in a group.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) home: ShardIndex,
    /// Where the session is on its home shard.
    pub(crate) session: Key,
    /// Set for a session that outlives its connection.
    pub(crate) durable: Option<SessionNumber>,
    pub(crate) options: SubscriptionOptions,
    pub(crate) subscription_id: u32,
    pub(crate) gauge: Arc<Gauge>,
}

impl Member {
    /// Returns a number that no other member of the group has: never 0, and by all odds never again.
    fn token(&self) -> u64 {
        let generation = u64::from(self.session.generation as u16);
        1 << 63 | u64::from(self.home.0) << 48 | generation << 32 | u64::from(self.session.index)
    }
}

impl Group {
    /// Chooses who gets a message, by rule 10: the one with the most room, those online first.
    ///
    /// With nobody online a message of QoS 1 or 2 goes to the queue of a durable member.
    pub(crate) fn choose(
        &self,
        strategy: SharedStrategy,
        publisher_hash: u64,
        is_queueable: bool,
    ) -> Option<Member> {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        let is_candidate = |member: &Member| {
            member.gauge.is_online.load(Ordering::Relaxed)
                || (is_queueable && member.durable.is_some())
        };
        let candidate_count = members.iter().filter(|it| is_candidate(it)).count();
        // The usual case is that all are: no list of candidates then.
        let index_of = |nth: usize| {
            if candidate_count == members.len() {
                return Some(nth);
            }
            members.iter().enumerate().filter(|(_, it)| is_candidate(it)).map(|(i, _)| i).nth(nth)
        };
        let load = |nth: usize| {
            let gauge = index_of(nth).map(|index| &members[index].gauge);
            gauge.map_or(MemberLoad { is_online: false, in_flight: u32::MAX, window: 1 }, |gauge| {
                MemberLoad {
                    is_online: gauge.is_online.load(Ordering::Relaxed),
                    in_flight: gauge.outstanding.load(Ordering::Relaxed),
                    window: gauge.window.load(Ordering::Relaxed).max(1),
                }
            })
        };
        let last = self.last.load(Ordering::Relaxed);
        let is_last =
            |nth: &usize| index_of(*nth).is_some_and(|index| members[index].token() == last);
        let sticky = match strategy {
            SharedStrategy::Sticky => (0..candidate_count).find(is_last),
            SharedStrategy::HashPublisher
            | SharedStrategy::LeastInFlight
            | SharedStrategy::RoundRobin => None,
        };
        let mut rotation = self.rotation.load(Ordering::Relaxed);
        let chosen =
            choose_member(strategy, candidate_count, load, &mut rotation, publisher_hash, sticky)?;
        self.rotation.store(rotation, Ordering::Relaxed);
        let member = members[index_of(chosen)?].clone();
        self.last.store(member.token(), Ordering::Relaxed);
        member.gauge.outstanding.fetch_add(1, Ordering::Relaxed);
        Some(member)
    }

    /// Adds a member, or replaces its options. Returns whether it is new.
    pub(crate) fn join(&self, member: Member) -> bool {
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        let same = |it: &&mut Member| it.home == member.home && it.session == member.session;
        if let Some(known) = members.iter_mut().find(same) {
            *known = member;
            return false;
        }
        members.push(member);
        true
    }

    /// Removes a member. Returns whether nobody is left.
    fn leave(&self, home: ShardIndex, session: Key) -> bool {
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        members.retain(|it| it.home != home || it.session != session);
        members.is_empty()
    }
}

/// Where a topic's messages go, as far as the shared table knows.
#[derive(Debug, Default)]
pub(crate) struct Matched {
    /// Filters with receivers on the asking shard.
    pub(crate) local: Vec<FilterId>,
    /// Other shards with receivers, each with all its filters: what they make of one session's
    /// overlapping subscriptions takes all of them.
    pub(crate) remote: Vec<(ShardIndex, Vec<FilterId>)>,
    /// One bit for each of those with live receivers. The others get QoS 1 and 2 through the store.
    pub(crate) remote_live: u64,
    /// The addressed receivers of matching filters.
    pub(crate) addressed: Vec<Arc<Addressed>>,
}

impl Table {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            filters: RwLock::new(FilterTable::with_seed(seed)),
            // Route caches start at generation 0, which is never current.
            generation: AtomicU64::new(1),
            next_group: AtomicU32::new(1),
        }
    }

    /// Returns the generation that routes made from now on belong to.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        // See `Shared::begin_turn` and `Shared::order` for what this load is part of.
        self.generation.load(Ordering::SeqCst)
    }

    /// Returns how many filters there are.
    pub(crate) fn filter_count(&self) -> usize {
        self.read().len()
    }

    /// Finds where messages of `topic` go.
    pub(crate) fn match_topic(
        &self,
        topic: &str,
        asking: ShardIndex,
        scratch: &mut Vec<FilterId>,
    ) -> Matched {
        scratch.clear();
        let filters = self.read();
        filters.match_into(topic, scratch);
        let mut matched = Matched::default();
        for id in scratch.iter() {
            let Some(entry) = filters.get(*id) else { continue };
            matched.addressed.extend(entry.addressed.clone());
            let own = 1 << asking.0;
            if (entry.live | entry.durable) & own != 0 {
                matched.local.push(*id);
            }
            add_shards(&mut matched.remote, (entry.live | entry.durable) & !own, *id);
            matched.remote_live |= entry.live & !own;
        }
        matched
    }

    /// Returns the filter's id, if anyone has subscribed to it.
    pub(crate) fn find(&self, filter: &str) -> Option<FilterId> {
        self.read().find(filter)
    }

    /// Returns the text of a filter that someone is subscribed to.
    pub(crate) fn filter_of(&self, id: FilterId) -> Option<String> {
        self.read().filter_of(id).map(Cow::into_owned)
    }

    /// Records that `shard` has receivers of this class.
    pub(crate) fn add_shard(&self, filter: &str, shard: ShardIndex, class: Class) -> FilterId {
        self.change(filter, |_, entry| *entry.shards(class) |= 1 << shard.0).0
    }

    /// Records that `shard` has no receiver of this class any more.
    pub(crate) fn remove_shard(&self, id: FilterId, shard: ShardIndex, class: Class) {
        self.change_or_remove(id, |entry| *entry.shards(class) &= !(1 << shard.0));
    }

    /// Adds a durable session's subscription, or replaces it. Returns the filter's id.
    pub(crate) fn add_durable(
        &self,
        filter: &str,
        session: SessionNumber,
        receiver: DurableReceiver,
    ) -> FilterId {
        self.change(filter, |_, entry| {
            let addressed = entry.addressed.get_or_insert_default();
            let mut durable = addressed.durable.write().unwrap_or_else(PoisonError::into_inner);
            durable.insert(session, receiver);
        })
        .0
    }

    /// Removes a durable session's subscription.
    pub(crate) fn remove_durable(&self, id: FilterId, session: SessionNumber) {
        self.change_or_remove(id, |entry| {
            if let Some(addressed) = &entry.addressed {
                let mut durable = addressed.durable.write().unwrap_or_else(PoisonError::into_inner);
                durable.remove(&session);
            }
        });
    }

    /// Adds a session to a shared group. Returns the group, and whether the member is new in it.
    pub(crate) fn join_group(
        &self,
        filter: &str,
        name: &str,
        member: Member,
    ) -> (Arc<Group>, bool) {
        // Inside the change: a group that nobody has joined yet would be swept away.
        self.change(filter, |id, entry| {
            let addressed = entry.addressed.get_or_insert_default();
            let mut groups = addressed.groups.write().unwrap_or_else(PoisonError::into_inner);
            let group = match groups.iter().find(|group| *group.name == *name) {
                Some(group) => Arc::clone(group),
                None => {
                    let group = Arc::new(self.new_group(name, filter, id));
                    groups.push(Arc::clone(&group));
                    group
                }
            };
            let is_new = group.join(member);
            (group, is_new)
        })
        .1
    }

    fn new_group(&self, name: &str, text: &str, filter: FilterId) -> Group {
        let number = self.next_group.fetch_add(1, Ordering::Relaxed);
        Group {
            id: GroupId::new(number.max(1)).expect("at least 1"),
            name: name.into(),
            text: format!("$share/{name}/{text}").into(),
            filter,
            members: RwLock::default(),
            rotation: AtomicU32::new(0),
            last: AtomicU64::new(0),
        }
    }

    /// Removes a session from a shared group.
    pub(crate) fn leave_group(&self, group: &Group, home: ShardIndex, session: Key) {
        self.change_or_remove(group.filter, |entry| {
            if group.leave(home, session)
                && let Some(addressed) = &entry.addressed
            {
                let mut groups = addressed.groups.write().unwrap_or_else(PoisonError::into_inner);
                groups.retain(|it| it.id != group.id);
            }
        });
    }

    /// Changes a filter's entry, making it if need be, and tells everyone if routes may differ.
    fn change<R>(
        &self,
        filter: &str,
        change: impl FnOnce(FilterId, &mut FilterEntry) -> R,
    ) -> (FilterId, R) {
        let mut filters = self.filters.write().unwrap_or_else(PoisonError::into_inner);
        let (id, entry) = filters.entry(filter, FilterEntry::default);
        let before = (entry.live, entry.durable, entry.addressed.is_some());
        let result = change(id, entry);
        if before != (entry.live, entry.durable, entry.addressed.is_some()) {
            self.generation.fetch_add(1, Ordering::SeqCst);
        }
        (id, result)
    }

    fn change_or_remove(&self, id: FilterId, change: impl FnOnce(&mut FilterEntry)) {
        let mut filters = self.filters.write().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = filters.get_mut(id) else { return };
        let before = (entry.live, entry.durable, entry.addressed.is_some());
        change(entry);
        if entry.addressed.as_ref().is_some_and(|addressed| addressed.is_empty()) {
            entry.addressed = None;
        }
        let is_unused = entry.live | entry.durable == 0 && entry.addressed.is_none();
        if before != (entry.live, entry.durable, entry.addressed.is_some()) {
            self.generation.fetch_add(1, Ordering::SeqCst);
        }
        if is_unused {
            filters.remove(id);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, FilterTable<FilterEntry>> {
        self.filters.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FilterEntry {
    fn shards(&mut self, class: Class) -> &mut u64 {
        match class {
            Class::Live => &mut self.live,
            Class::Durable => &mut self.durable,
        }
    }
}

/// Adds `filter` to the list of each shard whose bit is set.
fn add_shards(lists: &mut Vec<(ShardIndex, Vec<FilterId>)>, mut shards: u64, filter: FilterId) {
    while shards != 0 {
        let shard = ShardIndex(shards.trailing_zeros() as u16);
        shards &= shards - 1;
        match lists.iter_mut().find(|(it, _)| *it == shard) {
            Some((_, list)) => list.push(filter),
            None => lists.push((shard, vec![filter])),
        }
    }
}

impl Addressed {
    fn is_empty(&self) -> bool {
        self.durable.read().unwrap_or_else(PoisonError::into_inner).is_empty()
            && self.groups.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// A gauge with so many messages is that of a session that has ended.
const ENDED: u32 = 1 << 31;

#[cfg(test)]
mod tests {
    use quelea_codec::QoS;

    use super::*;

    #[test]
    fn a_sticky_group_keeps_its_member_until_it_leaves() {
        let table = Table::new(1);
        let member = |index| {
            let gauge = Gauge { is_online: AtomicBool::new(true), ..Gauge::default() };
            Member {
                home: ShardIndex(0),
                session: Key { index, generation: 0 },
                durable: None,
                options: SubscriptionOptions::new(QoS::AtMostOnce),
                subscription_id: 0,
                gauge: Arc::new(gauge),
            }
        };
        let (group, _) = table.join_group("t", "g", member(0));
        for index in 1..3 {
            assert!(table.join_group("t", "g", member(index)).1);
        }
        let choose = || group.choose(SharedStrategy::Sticky, 0, false).map(|it| it.session);
        let first = choose().expect("all are online");
        assert_eq!(choose(), Some(first));
        assert_eq!(choose(), Some(first));
        table.leave_group(&group, ShardIndex(0), first);
        let second = choose().expect("two are left");
        assert_ne!(second, first);
        assert_eq!(choose(), Some(second));
    }
}
