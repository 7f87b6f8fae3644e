//! A history, sorted by message, by connection and by session.
//!
//! Positions are indices into the entries of the history. The rules of the checker read this and nothing else.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use crate::history::{Act, ClientIndex, Connect, Event, History, MessageId, Publish, Receipt};

/// A history, sorted.
#[derive(Debug)]
pub struct Facts<'a> {
    /// What it was made of.
    pub history: &'a History,
    /// All messages that were published or left as a will.
    pub messages: BTreeMap<MessageId, Message>,
    /// The connections of each client, in their order.
    pub connections: BTreeMap<ClientIndex, Vec<Connection>>,
    /// The sessions, by client and by their number among those of the client.
    pub sessions: BTreeMap<(ClientIndex, usize), Session>,
    /// When the broker began to accept connections.
    pub starts: Vec<usize>,
    /// When it was killed.
    pub kills: Vec<usize>,
    /// What clients complained of.
    pub complaints: Vec<(ClientIndex, String)>,
}

/// A message on its way to the broker.
#[derive(Clone, Debug)]
pub struct Message {
    /// What was sent first; of a will, what will be.
    pub publish: Publish,
    /// When it was sent, first and again. Of a will, when the CONNECT was.
    pub sent: Vec<usize>,
    /// When the broker took it.
    pub accepted: Option<usize>,
    /// It is a will.
    pub is_will: bool,
}

/// A connection, or the attempt to make one.
#[derive(Clone, Debug)]
pub struct Connection {
    /// When CONNECT was sent.
    pub sent: usize,
    /// What it said.
    pub connect: Connect,
    /// When it was accepted, and whether with a session.
    pub accepted: Option<(usize, bool)>,
    /// Which of the client's sessions it has, once it is accepted.
    pub session: usize,
    /// When the client said good-bye, and whether it kept its will.
    pub disconnect: Option<(usize, bool)>,
    /// The session expiry that the good-bye asked for.
    pub new_expiry_secs: Option<u32>,
    /// When it ended, and whether the client was who ended it.
    pub ended: Option<(usize, bool)>,
    /// Acknowledgements of messages received.
    pub acks: Vec<(usize, MessageId)>,
    /// PINGREQ sent, and its PINGRESP received.
    pub pings: Vec<(usize, Option<usize>)>,
}

/// A session.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// What was sent and answered, by filter.
    pub filters: BTreeMap<Rc<str>, Vec<Change>>,
    /// What came, in order.
    pub receipts: Vec<Received>,
    /// The same by message: indices into `receipts`.
    pub by_message: HashMap<MessageId, Vec<usize>>,
}

/// A change of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// SUBSCRIBE sent, with this quality of service.
    SubscribeSent(usize, u8),
    /// SUBACK received.
    Subscribed(usize),
    /// UNSUBSCRIBE sent.
    UnsubscribeSent(usize),
    /// UNSUBACK received.
    Unsubscribed(usize),
}

/// A message that came.
#[derive(Clone, Debug)]
pub struct Received {
    /// When.
    pub at: usize,
    /// On which of the client's connections.
    pub connection: usize,
    /// What.
    pub receipt: Receipt,
}

/// When the broker took a client to be lost, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Not before this.
    pub earliest: u64,
    /// Not after this.
    pub latest: u64,
    /// The broker may have been killed before it knew.
    pub is_cut: bool,
}

impl<'a> Facts<'a> {
    /// Sorts `history`.
    pub fn new(history: &'a History) -> Self {
        let mut facts = Self {
            history,
            messages: BTreeMap::new(),
            connections: BTreeMap::new(),
            sessions: BTreeMap::new(),
            starts: Vec::new(),
            kills: Vec::new(),
            complaints: Vec::new(),
        };
        for (at, entry) in history.entries.iter().enumerate() {
            match &entry.event {
                Event::Started => facts.starts.push(at),
                Event::Killed => facts.kills.push(at),
                Event::Of(client, act) => facts.take(at, *client, act),
            }
        }
        facts
    }

    /// Returns when something happened, in milliseconds since the beginning.
    pub fn millis(&self, at: usize) -> u64 {
        self.history.entries[at].at
    }

    /// Returns when the history ends.
    pub fn end_millis(&self) -> u64 {
        self.history.entries.last().map_or(0, |entry| entry.at)
    }

    /// Says whether the broker has certainly done by `later` what was due at `earlier`.
    pub fn is_long_before(&self, earlier: usize, later: usize) -> bool {
        later >= self.long_after(earlier)
    }

    /// Returns from when on the broker has certainly done what was due at `at`: its process has ended since, or it
    /// has had plenty of time.
    pub fn long_after(&self, at: usize) -> usize {
        let in_time = self.long_after_alive(at);
        let killed = self.kills.get(self.kills.partition_point(|kill| *kill < at));
        killed.map_or(in_time, |kill| in_time.min(kill + 1))
    }

    /// Returns the session that a client has on an open connection when the history ends.
    pub fn final_sessions(&self) -> impl Iterator<Item = (ClientIndex, &Session)> {
        self.connections.iter().filter_map(|(client, connections)| {
            let last = connections.last()?;
            let is_open = last.accepted.is_some() && last.ended.is_none();
            let session = self.sessions.get(&(*client, last.session))?;
            is_open.then_some((*client, session))
        })
    }

    /// Returns when what a connection sent at `sent` had certainly been read by the broker.
    pub fn read_at(&self, connection: &Connection, sent: usize) -> Option<usize> {
        let pings = connection.pings.iter().filter(|(ping, _)| *ping > sent);
        let pinged = pings.filter_map(|(_, pinged)| *pinged).next();
        let is_before_goodbye = connection.disconnect.is_some_and(|(bye, _)| sent < bye);
        pinged.or(self.parted_at(connection).filter(|_| is_before_goodbye))
    }

    /// Returns when the broker closed a connection in answer to a good-bye.
    pub fn parted_at(&self, connection: &Connection) -> Option<usize> {
        let (ended, is_by_client) = connection.ended?;
        let is_answer = connection.disconnect.is_some() && !is_by_client;
        (is_answer && self.kill_during(connection).is_none()).then_some(ended)
    }

    /// Returns when the broker took a client to be lost whose connection has ended. `next` is when it came back.
    pub fn lost(&self, connection: &Connection, next: Option<usize>) -> Lost {
        let Some((ended, _)) = connection.ended else {
            return Lost { earliest: u64::MAX, latest: u64::MAX, is_cut: false };
        };
        let killed = self.kill_during(connection);
        let earliest = match (connection.disconnect, killed) {
            (Some((bye, _)), _) => self.millis(bye),
            (None, Some(kill)) => self.millis(kill) + self.history.grace_millis,
            (None, None) => self.millis(ended),
        };
        // A broker that is killed before it has noticed and written it down finds the client connected, and gives
        // it grace; and so on.
        let is_cut = self.parted_at(connection).is_none()
            && self
                .kills
                .iter()
                .any(|kill| (connection.sent..self.long_after_alive(ended)).contains(kill));
        let latest = if is_cut {
            let next = next.unwrap_or(usize::MAX);
            let last_start = self.starts.iter().rfind(|start| (ended..next).contains(*start));
            last_start.map(|start| self.millis(*start) + self.history.grace_millis)
        } else {
            Some(self.millis(ended))
        };
        let latest = latest.map_or(u64::MAX, |latest| latest + PLENTY_OF_TIME_MILLIS);
        Lost { earliest, latest, is_cut }
    }

    /// Returns when the broker was killed that a connection was made to, while it was there.
    pub fn kill_during(&self, connection: &Connection) -> Option<usize> {
        let ended = connection.ended.map_or(usize::MAX, |(at, _)| at);
        self.kills.iter().copied().find(|kill| (connection.sent..ended).contains(kill))
    }

    /// Returns from when on a broker that lives has had plenty of time since `at`.
    fn long_after_alive(&self, at: usize) -> usize {
        let patience = self.millis(at) + PLENTY_OF_TIME_MILLIS;
        self.history.entries.partition_point(|entry| entry.at < patience)
    }

    fn take(&mut self, at: usize, client: ClientIndex, act: &Act) {
        match act {
            Act::ConnectSent(connect) => self.connect(at, client, connect),
            Act::Connected { session_present } => self.connected(at, client, *session_present),
            Act::DisconnectSent { keeps_will, expiry_secs } => {
                let connection = self.connection(client);
                connection.disconnect = Some((at, *keeps_will));
                connection.new_expiry_secs = *expiry_secs;
            }
            Act::Left => self.connection(client).ended = Some((at, true)),
            Act::Closed => self.connection(client).ended = Some((at, false)),
            Act::SubscribeSent { filter, qos } => {
                self.change(client, filter, Change::SubscribeSent(at, *qos));
            }
            Act::Subscribed { filter } => self.change(client, filter, Change::Subscribed(at)),
            Act::UnsubscribeSent { filter } => {
                self.change(client, filter, Change::UnsubscribeSent(at));
            }
            Act::Unsubscribed { filter } => self.change(client, filter, Change::Unsubscribed(at)),
            Act::PublishSent(publish) => self.publish(at, publish),
            Act::Accepted(message) => {
                if let Some(message) = self.messages.get_mut(message) {
                    message.accepted.get_or_insert(at);
                }
            }
            Act::Completed(_) => {}
            Act::Received(receipt) => self.receive(at, client, receipt),
            Act::AckSent(message) => self.connection(client).acks.push((at, *message)),
            Act::PingSent => self.connection(client).pings.push((at, None)),
            Act::Pinged => {
                let pings = &mut self.connection(client).pings;
                if let Some(ping) = pings.iter_mut().find(|(_, pinged)| pinged.is_none()) {
                    ping.1 = Some(at);
                }
            }
            Act::Complaint(what) => self.complaints.push((client, what.clone())),
        }
    }

    fn connect(&mut self, at: usize, client: ClientIndex, connect: &Connect) {
        let connections = self.connections.entry(client).or_default();
        connections.push(Connection {
            sent: at,
            connect: connect.clone(),
            accepted: None,
            session: connections.last().map_or(0, |last| last.session),
            disconnect: None,
            new_expiry_secs: None,
            ended: None,
            acks: Vec::new(),
            pings: Vec::new(),
        });
        if let Some(will) = &connect.will {
            let publish = Publish {
                message: will.message,
                topic: will.topic.clone(),
                qos: will.qos,
                retain: false,
                is_clear: false,
                is_again: false,
            };
            let message = Message { publish, sent: vec![at], accepted: None, is_will: true };
            self.messages.insert(will.message, message);
        }
    }

    fn connected(&mut self, at: usize, client: ClientIndex, session_present: bool) {
        let connection = self.connection(client);
        connection.accepted = Some((at, session_present));
        if !session_present {
            connection.session += 1;
        }
        let session = connection.session;
        self.sessions.entry((client, session)).or_default();
    }

    fn publish(&mut self, at: usize, publish: &Publish) {
        let new = || Message {
            publish: publish.clone(),
            sent: Vec::new(),
            accepted: None,
            is_will: false,
        };
        self.messages.entry(publish.message).or_insert_with(new).sent.push(at);
    }

    fn receive(&mut self, at: usize, client: ClientIndex, receipt: &Receipt) {
        let connection = self.connections.get(&client).map_or(0, |all| all.len() - 1);
        let session = self.session(client);
        let index = session.receipts.len();
        session.receipts.push(Received { at, connection, receipt: receipt.clone() });
        session.by_message.entry(receipt.message).or_default().push(index);
    }

    fn change(&mut self, client: ClientIndex, filter: &Rc<str>, change: Change) {
        self.session(client).filters.entry(filter.clone()).or_default().push(change);
    }

    fn session(&mut self, client: ClientIndex) -> &mut Session {
        let session = self.connection(client).session;
        self.sessions.entry((client, session)).or_default()
    }

    fn connection(&mut self, client: ClientIndex) -> &mut Connection {
        let connections = self.connections.get_mut(&client);
        connections.and_then(|it| it.last_mut()).expect("a client connects before all else")
    }
}

impl Message {
    /// Returns how many copies of it the broker may have taken until `at`: to the broker, a QoS 1 message that is
    /// sent again is another one.
    pub fn copies_until(&self, at: usize) -> usize {
        if self.publish.qos == 1 && !self.is_will {
            self.sent.iter().filter(|sent| **sent < at).count()
        } else {
            1
        }
    }
}

impl Session {
    /// Returns the filters that match `topic`, those of shared subscriptions included.
    pub fn matching(&self, topic: &str) -> impl Iterator<Item = (&Rc<str>, &Vec<Change>)> {
        self.filters.iter().filter(move |(filter, _)| matches(filter, topic))
    }
}

impl Change {
    /// Returns when it was.
    pub fn at(self) -> usize {
        match self {
            Self::SubscribeSent(at, _)
            | Self::Subscribed(at)
            | Self::UnsubscribeSent(at)
            | Self::Unsubscribed(at) => at,
        }
    }
}

/// Returns the quality of service with which a subscription was certainly in force all the time between `from`
/// and `to`: confirmed before, and untouched until after.
pub fn certainly_subscribed(changes: &[Change], from: usize, to: usize) -> Option<u8> {
    let mut asked = 0;
    let mut certain = None;
    for change in changes.iter().take_while(|change| change.at() < to) {
        match *change {
            Change::SubscribeSent(_, qos) => {
                asked = qos;
                certain = None;
            }
            Change::Subscribed(at) if at < from => certain = Some(asked),
            Change::Subscribed(_) | Change::UnsubscribeSent(_) | Change::Unsubscribed(_) => {
                certain = None;
            }
        }
    }
    certain
}

/// Says whether a subscription may have been in force at a moment between `from` and `to`: asked for before the
/// end, and not confirmed to be gone before the beginning.
pub fn possibly_subscribed(changes: &[Change], from: usize, to: usize) -> bool {
    let mut is_possible = false;
    for change in changes {
        match *change {
            Change::SubscribeSent(at, _) if at < to => is_possible = true,
            Change::Unsubscribed(at) if at < from => is_possible = false,
            Change::SubscribeSent(..)
            | Change::Subscribed(_)
            | Change::UnsubscribeSent(_)
            | Change::Unsubscribed(_) => {}
        }
    }
    is_possible
}

/// Says whether a topic filter, which may be that of a shared subscription, matches a topic.
pub fn matches(filter: &str, topic: &str) -> bool {
    let filter = match filter.strip_prefix("$share/") {
        Some(rest) => rest.split_once('/').map_or("", |(_, filter)| filter),
        None => filter,
    };
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        if wanted == "#" {
            return true;
        }
        match levels.next() {
            Some(level) if wanted == "+" || wanted == level => {}
            Some(_) | None => return false,
        }
    }
    levels.next().is_none()
}

/// Within it the broker does whatever waits for nothing: it is ten times what the log lets an acknowledgement
/// wait, because the machine may have other things to do.
pub const PLENTY_OF_TIME_MILLIS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_topics() {
        for (filter, topic, expected) in [
            ("m/#", "m/1/2", true),
            ("m/#", "m", true),
            ("m/+/2", "m/1/2", true),
            ("m/+", "m/1/2", false),
            ("m/1/2", "m/1", false),
            ("m/1", "m/1", true),
            ("$share/g/s/+", "s/1", true),
            ("$share/g/s/+", "m/1", false),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
    }

    #[test]
    fn subscriptions_are_certain_between_answers_and_possible_between_requests() {
        use Change::*;
        let changes = [
            SubscribeSent(10, 1),
            Subscribed(12),
            SubscribeSent(20, 2),
            Subscribed(22),
            UnsubscribeSent(30),
            Unsubscribed(32),
            SubscribeSent(40, 0),
        ];
        for (from, to, certain, possible) in [
            (5, 8, None, false),
            (5, 11, None, true),
            (11, 15, None, true),
            (13, 19, Some(1), true),
            (13, 21, None, true),
            (23, 29, Some(2), true),
            (23, 31, None, true),
            (31, 39, None, true),
            (33, 39, None, false),
            (33, 45, None, true),
        ] {
            assert_eq!(certainly_subscribed(&changes, from, to), certain, "{from} to {to}");
            assert_eq!(possibly_subscribed(&changes, from, to), possible, "{from} to {to}");
        }
    }
}
