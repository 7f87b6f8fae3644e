//! What the application has subscribed to: which streams a message goes to, and what the broker has still to be told.
//!
//! ```text
//!          SUBSCRIBE          SUBACK
//! Wanted -----------> Asked ---------> Confirmed
//!    ^                  |                  |
//!    +-- connection -----+---- session -----+
//!        is lost              is lost
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use quelea_codec::{PacketId, QoS, SubscriptionOptions, UserProperties, check_topic_filter};
use quelea_session::client::{ClientSession, Unsent};
use quelea_topics::{FilterId, FilterTable, matches};
use tokio::sync::oneshot;

use crate::error::{Reason, SubscribeError};
use crate::inbox::Inbox;
use crate::message::Message;
use crate::request::Responses;

/// The subscriptions of a client.
pub(crate) struct Registry {
    /// By subscription identifier.
    entries: BTreeMap<u32, Entry>,
    /// Entries that another has kept from the identifier that their filter gives.
    displaced_count: usize,
    /// Identifiers of the entries that a topic matches: once there are more than it takes little time to look at.
    table: Option<Box<FilterTable<Vec<u32>>>>,
    seed: u64,
    /// Identifiers of the entries that the broker has to be told of, in the order in which they came.
    wanted: VecDeque<u32>,
    asked: Vec<(PacketId, u32)>,
    /// Filters that the broker is to forget.
    leaving: VecDeque<Leaving>,
    /// Takes what no subscription does.
    rest: Option<Sink>,
    /// Scratch.
    hits: Vec<FilterId>,
    /// The entries that were found last, and whether none of them has a receiver.
    targets: Vec<u32>,
    is_for_rest: bool,
}

/// A topic filter, with all who receive what matches it.
struct Entry {
    filter: String,
    /// Where the filter that topics are matched against begins: behind `$share/name/`.
    plain_from: usize,
    has_wildcard: bool,
    options: SubscriptionOptions,
    sinks: Vec<Sink>,
    state: State,
    /// Who waits to hear whether the broker grants it.
    waiting: Vec<Granted>,
}

/// Where messages go.
#[derive(Clone)]
pub(crate) enum Sink {
    Inbox(Arc<Inbox>),
    Responses(Arc<Responses>),
}

/// Where the broker's word on a subscription goes: the QoS it grants.
pub(crate) type Granted = oneshot::Sender<Result<QoS, SubscribeError>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Wanted,
    Asked,
    Confirmed(QoS),
}

struct Leaving {
    filter: String,
    asked: Option<PacketId>,
    /// Who waits for the end.
    waiting: Option<oneshot::Sender<()>>,
}

impl Registry {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            entries: BTreeMap::new(),
            displaced_count: 0,
            table: None,
            seed,
            wanted: VecDeque::new(),
            asked: Vec::new(),
            leaving: VecDeque::new(),
            rest: None,
            hits: Vec::new(),
            targets: Vec::new(),
            is_for_rest: false,
        }
    }

    /// Adds a topic filter, or a receiver to one that is there. With other options than the filter has, the broker is asked
    /// for these. Without any receiver its messages are for who takes the rest.
    pub(crate) fn add(
        &mut self,
        filter: &str,
        options: SubscriptionOptions,
        sink: Option<Sink>,
        granted: Granted,
    ) {
        self.leaving.retain(|it| it.filter != filter || it.asked.is_some());
        let id = self.id_of(filter);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.sinks.extend(sink);
            match entry.state {
                State::Confirmed(qos) if entry.options == options => {
                    // Whoever does not wait for it any more need not hear it.
                    let _ = granted.send(Ok(qos));
                    return;
                }
                State::Wanted => {}
                State::Asked if entry.options == options => {}
                State::Asked | State::Confirmed(_) => {
                    entry.state = State::Wanted;
                    self.wanted.push_back(id);
                }
            }
            entry.options = options;
            entry.waiting.push(granted);
            return;
        }
        let entry = Entry {
            plain_from: filter.len() - plain(filter).len(),
            has_wildcard: filter.contains(['+', '#']),
            filter: filter.to_owned(),
            options,
            sinks: sink.into_iter().collect(),
            state: State::Wanted,
            waiting: vec![granted],
        };
        if let Some(table) = &mut self.table {
            table.entry(entry.plain(), Vec::new).1.push(id);
        }
        self.displaced_count += usize::from(id != hash(filter));
        self.entries.insert(id, entry);
        self.wanted.push_back(id);
        if self.table.is_none() && self.entries.len() > SCANNED_MAX {
            let mut table = Box::new(FilterTable::with_seed(self.seed));
            for (id, entry) in &self.entries {
                table.entry(entry.plain(), Vec::new).1.push(*id);
            }
            self.table = Some(table);
        }
    }

    /// Takes a receiver from a topic filter, which stays subscribed to.
    pub(crate) fn detach(&mut self, filter: &str, inbox: &Arc<Inbox>) {
        if let Some(entry) = self.entries.get_mut(&self.id_of(filter)) {
            entry.sinks.retain(|it| !it.is(inbox));
        }
    }

    /// Takes a receiver from a topic filter. With the last one the broker is told; `gone` hears of it.
    pub(crate) fn remove(
        &mut self,
        filter: &str,
        inbox: &Arc<Inbox>,
        gone: Option<oneshot::Sender<()>>,
    ) {
        let id = self.id_of(filter);
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.sinks.retain(|it| !it.is(inbox));
        if entry.sinks.is_empty() {
            self.forget(id);
            let filter = filter.to_owned();
            self.leaving.push_back(Leaving { filter, asked: None, waiting: gone });
        }
    }

    /// Has the broker forget a topic filter, with all its receivers; `gone` hears of it.
    pub(crate) fn leave(&mut self, filter: &str, gone: oneshot::Sender<()>) {
        if let Some(entry) = self.forget(self.id_of(filter)) {
            entry.sinks.iter().for_each(Sink::end);
        }
        let filter = filter.to_owned();
        self.leaving.push_back(Leaving { filter, asked: None, waiting: Some(gone) });
    }

    /// Sets who takes what no subscription does.
    pub(crate) fn set_rest(&mut self, inbox: Option<Arc<Inbox>>) {
        self.rest = inbox.map(Sink::Inbox);
    }

    /// Forgets a filter; returns its receivers, and who waits to hear of it.
    fn forget(&mut self, id: u32) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.displaced_count -= usize::from(id != hash(&entry.filter));
        if let Some(table) = &mut self.table
            && let Some(filter) = table.find(entry.plain())
            && let Some(ids) = table.get_mut(filter)
        {
            ids.retain(|it| *it != id);
            if ids.is_empty() {
                table.remove(filter);
            }
        }
        Some(entry)
    }

    /// Finds the receivers of a message on `topic` that came with these subscription identifiers, for
    /// [`Self::receivers`].
    ///
    /// The identifiers are believed as far as the topic fits: those of a session that an earlier process began may mean
    /// something else here.
    pub(crate) fn find(&mut self, topic: &str, subscription_ids: impl Iterator<Item = u32>) {
        self.targets.clear();
        for id in subscription_ids {
            let entry = self.entries.get(&id);
            if entry.is_some_and(|it| it.matches(topic)) {
                self.targets.push(id);
            }
        }
        match &self.table {
            _ if !self.targets.is_empty() => {}
            None => {
                let hits = self.entries.iter().filter(|(_, entry)| entry.matches(topic));
                self.targets.extend(hits.map(|(id, _)| *id));
            }
            Some(table) => {
                self.hits.clear();
                table.match_into(topic, &mut self.hits);
                self.targets.extend(self.hits.iter().flat_map(|&hit| table.get(hit)).flatten());
            }
        }
        let is_taken = |id: &u32| self.entries.get(id).is_some_and(|it| !it.sinks.is_empty());
        self.is_for_rest = !self.targets.iter().any(is_taken);
    }

    /// Returns the receivers that were found last.
    pub(crate) fn receivers(&self) -> impl Iterator<Item = &Sink> {
        let entries = self.targets.iter().filter_map(|id| self.entries.get(id));
        let rest = self.rest.iter().filter(|_| self.is_for_rest);
        entries.flat_map(|entry| &entry.sinks).chain(rest)
    }

    /// Writes what the broker has to be told. Returns what cannot be asked for: filter, reason, and whether somebody
    /// waited for it.
    pub(crate) fn write_requests<T>(
        &mut self,
        session: &mut ClientSession<T>,
        out: &mut Vec<u8>,
        mut lost: impl FnMut(String, SubscribeError),
    ) {
        for leaving in self.leaving.iter_mut().filter(|it| it.asked.is_none()) {
            let filters = [leaving.filter.as_str()];
            match session.unsubscribe(&filters, UserProperties::EMPTY, out) {
                Ok(request) => leaving.asked = Some(request),
                Err(_) => return,
            }
        }
        while let Some(&id) = self.wanted.front() {
            let Some(entry) = self.entries.get_mut(&id).filter(|it| it.state == State::Wanted)
            else {
                self.wanted.pop_front();
                continue;
            };
            let filters = [(entry.filter.as_str(), entry.options)];
            match session.subscribe(&filters, Some(id), UserProperties::EMPTY, out) {
                Ok(request) => {
                    entry.state = State::Asked;
                    self.asked.push((request, id));
                }
                Err(Unsent::Busy | Unsent::NotConnected) => return,
                Err(Unsent::NotSupported(code)) => {
                    let error = SubscribeError::Refused(Reason { code, text: None });
                    self.fail(id, &error, &mut lost);
                }
                Err(Unsent::TooLarge) => self.fail(id, &SubscribeError::TooLarge, &mut lost),
                Err(_) => self.fail(id, &SubscribeError::FilterInvalid, &mut lost),
            }
            self.wanted.pop_front();
        }
    }

    /// Notes a SUBACK.
    pub(crate) fn on_subscribed(
        &mut self,
        request: PacketId,
        reason: Reason,
        mut lost: impl FnMut(String, SubscribeError),
    ) {
        let Some(index) = self.asked.iter().position(|it| it.0 == request) else {
            return;
        };
        let (_, id) = self.asked.swap_remove(index);
        let Some(entry) = self.entries.get_mut(&id).filter(|it| it.state == State::Asked) else {
            return;
        };
        match QoS::from_byte(reason.code.0) {
            Some(qos) => {
                entry.state = State::Confirmed(qos);
                for waiting in entry.waiting.drain(..) {
                    let _ = waiting.send(Ok(qos));
                }
            }
            None => self.fail(id, &SubscribeError::Refused(reason), &mut lost),
        }
    }

    /// Notes an UNSUBACK. Whatever it says, nobody is there for the filter any more.
    pub(crate) fn on_unsubscribed(&mut self, request: PacketId) {
        let Some(index) = self.leaving.iter().position(|it| it.asked == Some(request)) else {
            return;
        };
        if let Some(waiting) = self.leaving.remove(index).and_then(|it| it.waiting) {
            let _ = waiting.send(());
        }
    }

    /// Ends a subscription that the broker does not grant.
    fn fail(
        &mut self,
        id: u32,
        error: &SubscribeError,
        lost: &mut impl FnMut(String, SubscribeError),
    ) {
        let Some(entry) = self.forget(id) else {
            return;
        };
        if entry.waiting.is_empty() {
            lost(entry.filter, error.clone());
        }
        for waiting in entry.waiting {
            let _ = waiting.send(Err(error.clone()));
        }
        entry.sinks.iter().for_each(Sink::end);
    }

    /// Notes that the broker has accepted a connection: what it does not know, or may not, is asked for again.
    pub(crate) fn on_connected(&mut self, knowledge: Knowledge) {
        if knowledge == Knowledge::Nothing {
            for leaving in self.leaving.drain(..) {
                if let Some(waiting) = leaving.waiting {
                    let _ = waiting.send(());
                }
            }
        }
        for (&id, entry) in &mut self.entries {
            let is_known =
                knowledge == Knowledge::Everything && matches!(entry.state, State::Confirmed(_));
            if !is_known && entry.state != State::Wanted {
                entry.state = State::Wanted;
                self.wanted.push_back(id);
            }
        }
    }

    /// Notes that a connection is gone: requests without an answer are made again on the next.
    pub(crate) fn on_disconnected(&mut self) {
        for (_, id) in self.asked.drain(..) {
            if let Some(entry) = self.entries.get_mut(&id)
                && entry.state == State::Asked
            {
                entry.state = State::Wanted;
                self.wanted.push_back(id);
            }
        }
        for leaving in &mut self.leaving {
            leaving.asked = None;
        }
    }

    /// Returns whether the broker has still to forget a filter.
    pub(crate) fn is_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// Ends all streams.
    pub(crate) fn end(&mut self) {
        for (_, entry) in std::mem::take(&mut self.entries) {
            entry.sinks.iter().for_each(Sink::end);
        }
        self.displaced_count = 0;
        self.table = None;
        if let Some(rest) = self.rest.take() {
            rest.end();
        }
        self.leaving.clear();
    }

    /// Returns the identifier of a filter: the same in every process, because a broker that keeps the session keeps the
    /// identifier.
    fn id_of(&self, filter: &str) -> u32 {
        let mut id = hash(filter);
        match self.entries.get(&id) {
            Some(entry) if entry.filter == filter => return id,
            None if self.displaced_count == 0 => return id,
            // Once in a lifetime.
            Some(_) | None => {
                let mut entries = self.entries.iter();
                if let Some((id, _)) = entries.find(|(_, entry)| entry.filter == filter) {
                    return *id;
                }
            }
        }
        while self.entries.contains_key(&id) {
            id = id % SUBSCRIPTION_ID_MAX + 1;
        }
        id
    }
}

impl Entry {
    fn plain(&self) -> &str {
        &self.filter[self.plain_from..]
    }

    fn matches(&self, topic: &str) -> bool {
        // Without a wildcard there is no need to look at levels.
        self.plain() == topic || (self.has_wildcard && matches(self.plain(), topic))
    }
}

/// What the broker knows of our subscriptions when it has accepted a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Knowledge {
    /// Those that it has confirmed.
    Everything,
    /// It does not say.
    Perhaps,
    /// None.
    Nothing,
}

impl Sink {
    /// Returns whether a message at `qos` is acknowledged later, by the application.
    pub(crate) fn keeps_receipt(&self, qos: QoS) -> bool {
        match self {
            Self::Inbox(inbox) => inbox.keeps_receipt(qos),
            Self::Responses(_) => false,
        }
    }

    fn is(&self, inbox: &Arc<Inbox>) -> bool {
        matches!(self, Self::Inbox(it) if Arc::ptr_eq(it, inbox))
    }

    pub(crate) fn push(&self, message: Message, wakers: &mut Vec<Waker>) {
        match self {
            Self::Inbox(inbox) => inbox.push(message, wakers),
            Self::Responses(responses) => responses.push(message),
        }
    }

    fn end(&self) {
        match self {
            Self::Inbox(inbox) => inbox.end(),
            Self::Responses(responses) => responses.end(),
        }
    }
}

/// Returns the filter that topics are matched against: without `$share/name/`.
pub(crate) fn plain(filter: &str) -> &str {
    match check_topic_filter(filter) {
        Ok(shape) => shape.shared.map_or(filter, |(_, plain)| plain),
        Err(_) => filter,
    }
}

/// Returns a subscription identifier for a filter (FNV-1a).
fn hash(filter: &str) -> u32 {
    let hash = filter
        .bytes()
        .fold(0x811C_9DC5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash % SUBSCRIPTION_ID_MAX + 1
}

/// The largest subscription identifier (section 3.8.2.1.2).
const SUBSCRIPTION_ID_MAX: u32 = 268_435_455;

/// So many filters are looked at one by one, which takes less time than the table, and no memory.
const SCANNED_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::inbox::Buffering;

    /// Few filters are looked at one by one, many are in a table: they match the same.
    #[test]
    fn as_many_filters_as_one_likes_find_their_topics() {
        let mut house = House::default();
        for number in 0..3 * SCANNED_MAX {
            house.add(&format!("a/{number}"));
            house.add(&format!("$share/group/+/{number}"));
            house.check(&format!("a/{number}"), 2);
            house.check(&format!("b/{number}"), 1);
            house.check(&format!("$SYS/{number}"), 0);
        }
        for number in 0..3 * SCANNED_MAX {
            house.remove(&format!("a/{number}"));
            house.check(&format!("a/{number}"), 1);
        }
    }

    #[test]
    fn filters_of_the_same_identifier_do_not_meet() {
        let (one, other) = twins();
        let mut house = House::default();
        for filter in [&one, &other] {
            house.add(filter);
        }
        house.check(&one, 1);
        house.check(&other, 1);
        house.remove(&one);
        // It is still found where the first has kept it from its place.
        house.add(&other);
        house.check(&other, 2);
        house.add(&one);
        house.check(&one, 1);
        house.remove(&other);
        house.check(&other, 1);
        house.remove(&other);
        house.check(&other, 0);
        assert_eq!(house.registry.entries.len(), 1);
        assert_eq!(house.registry.displaced_count, 0);
    }

    /// Two filters that give the same identifier.
    fn twins() -> (String, String) {
        let mut seen = BTreeMap::new();
        for number in 0.. {
            let filter = format!("twin/{number}");
            if let Some(other) = seen.insert(hash(&filter), filter.clone()) {
                return (other, filter);
            }
        }
        unreachable!("there are more filters than identifiers")
    }

    /// A registry, and the inboxes that it does not give back.
    struct House {
        registry: Registry,
        inboxes: Vec<(String, Arc<Inbox>)>,
    }

    impl Default for House {
        fn default() -> Self {
            Self { registry: Registry::new(0), inboxes: Vec::new() }
        }
    }

    impl House {
        fn add(&mut self, filter: &str) {
            let inbox = Inbox::new(Buffering::default());
            let (granted, _) = oneshot::channel();
            let sink = Sink::Inbox(Arc::clone(&inbox));
            self.registry.add(filter, SubscriptionOptions::default(), Some(sink), granted);
            self.inboxes.push((filter.to_owned(), inbox));
        }

        fn remove(&mut self, filter: &str) {
            let index = self.inboxes.iter().position(|it| it.0 == filter).unwrap();
            let (filter, inbox) = self.inboxes.remove(index);
            self.registry.remove(&filter, &inbox, None);
        }

        #[track_caller]
        fn check(&mut self, topic: &str, receiver_count: usize) {
            self.registry.find(topic, std::iter::empty());
            assert_eq!(self.registry.receivers().count(), receiver_count, "{topic}");
        }
    }
}
