//! Everything that happened in one campaign, in one order.
//!
//! One thread runs all clients, so the order is the order in which they acted: what is sent is written down before
//! it leaves, and what is received after it has arrived. Of two entries the earlier one cannot have been caused by
//! the later one; more is not known about what went on in the broker between them.

use std::fmt;
use std::rc::Rc;
use std::time::Instant;

/// A client of the campaign.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientIndex(pub u16);

/// A message: the client that published it, and its number among those that this client made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId {
    /// Who published it, or left it as its will.
    pub publisher: ClientIndex,
    /// Grows with each message of the publisher.
    pub number: u32,
}

/// All that happened.
#[derive(Debug)]
pub struct History {
    /// In order.
    pub entries: Vec<Entry>,
    /// How much longer than otherwise clients have to come back after a restart.
    pub grace_millis: u64,
    began: Instant,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Milliseconds since the campaign began.
    pub at: u64,
    /// What it was.
    pub event: Event,
}

/// What can happen.
#[derive(Clone, Debug)]
pub enum Event {
    /// The broker accepts connections.
    Started,
    /// The broker was killed.
    Killed,
    /// A client did or saw something.
    Of(ClientIndex, Act),
}

/// What a client does or sees.
#[derive(Clone, Debug)]
pub enum Act {
    /// It asks for a connection.
    ConnectSent(Connect),
    /// CONNACK, of success.
    Connected {
        /// As the broker says.
        session_present: bool,
    },
    /// It says good-bye.
    DisconnectSent {
        /// It asks for the will to be published.
        keeps_will: bool,
        /// A new session expiry.
        expiry_secs: Option<u32>,
    },
    /// It has closed the connection without a word.
    Left,
    /// The broker, or its end, has closed the connection.
    Closed,
    /// SUBSCRIBE.
    SubscribeSent {
        /// `$share` included.
        filter: Rc<str>,
        /// The highest that is wanted.
        qos: u8,
    },
    /// SUBACK, granting what was asked for.
    Subscribed {
        /// `$share` included.
        filter: Rc<str>,
    },
    /// UNSUBSCRIBE.
    UnsubscribeSent {
        /// `$share` included.
        filter: Rc<str>,
    },
    /// UNSUBACK.
    Unsubscribed {
        /// `$share` included.
        filter: Rc<str>,
    },
    /// PUBLISH from the client.
    PublishSent(Publish),
    /// PUBACK, or the first PUBREC: the broker has taken the message.
    Accepted(MessageId),
    /// PUBCOMP.
    Completed(MessageId),
    /// PUBLISH to the client. At QoS 2 what the client knows by its packet identifier is not received again.
    Received(Receipt),
    /// PUBACK or PUBREC from the client.
    AckSent(MessageId),
    /// PINGREQ.
    PingSent,
    /// PINGRESP: the broker has read everything that was sent before the PINGREQ.
    Pinged,
    /// The broker did what it never may.
    Complaint(String),
}

/// The CONNECT of a client.
#[derive(Clone, Debug)]
pub struct Connect {
    /// Whether an earlier session ends.
    pub clean_start: bool,
    /// Seconds that the session outlives its connection.
    pub expiry_secs: u32,
    /// Its will.
    pub will: Option<Will>,
}

/// The will of a connection.
#[derive(Clone, Debug)]
pub struct Will {
    /// Which message it is.
    pub message: MessageId,
    /// Where it is published.
    pub topic: Rc<str>,
    /// With which quality of service.
    pub qos: u8,
    /// How long its publication waits for the client.
    pub delay_secs: u32,
}

/// A PUBLISH from a client.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Which message it is.
    pub message: MessageId,
    /// Its topic.
    pub topic: Rc<str>,
    /// Its quality of service.
    pub qos: u8,
    /// Whether it becomes the retained message of its topic.
    pub retain: bool,
    /// Its payload is empty: the topic has no retained message any more.
    pub is_clear: bool,
    /// It was sent before, on an earlier connection.
    pub is_again: bool,
}

/// A PUBLISH to a client.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// Which message it is.
    pub message: MessageId,
    /// On which topic it came.
    pub topic: Rc<str>,
    /// With which quality of service.
    pub qos: u8,
    /// It comes because of a new subscription.
    pub retain: bool,
    /// It may have been sent before.
    pub dup: bool,
}

impl History {
    /// Begins one.
    pub fn new(grace_millis: u64) -> Self {
        Self { entries: Vec::new(), grace_millis, began: Instant::now() }
    }

    /// Adds what happens at this moment.
    pub fn add(&mut self, event: Event) {
        let at = self.now();
        self.entries.push(Entry { at, event });
    }

    /// Adds what a client does or sees at this moment.
    pub fn add_act(&mut self, client: ClientIndex, act: Act) {
        self.add(Event::Of(client, act));
    }

    /// Returns the milliseconds since the beginning.
    pub fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// Writes the entries for people that concern `message`, or, while that went round, `client` apart from other
    /// messages.
    pub fn excerpt(&self, message: Option<MessageId>, client: Option<ClientIndex>) -> Vec<String> {
        let is_about = |entry: &Entry| match &entry.event {
            Event::Of(_, act) => message.is_some() && act.message() == message,
            Event::Started | Event::Killed => false,
        };
        let first = self.entries.iter().position(is_about).unwrap_or(0);
        let last = self.entries.iter().rposition(is_about).unwrap_or(self.entries.len());
        let round = first.saturating_sub(ENTRIES_AROUND)..last + ENTRIES_AROUND;
        let concerns = |entry: &Entry| match &entry.event {
            Event::Started | Event::Killed => true,
            Event::Of(who, act) => match act.message() {
                Some(other) => Some(other) == message,
                None => Some(*who) == client && !matches!(act, Act::PingSent | Act::Pinged),
            },
        };
        let lines = self.entries.iter().enumerate();
        let lines = lines.filter(|(at, entry)| round.contains(at) && concerns(entry));
        lines.map(|(index, entry)| format!("{index:>7} {entry}")).collect()
    }
}

impl Event {
    /// Returns what a client did or saw.
    pub fn act(&self) -> Option<&Act> {
        match self {
            Self::Of(_, act) => Some(act),
            Self::Started | Self::Killed => None,
        }
    }
}

impl Act {
    /// Returns the message that it is about.
    pub fn message(&self) -> Option<MessageId> {
        match self {
            Self::PublishSent(publish) => Some(publish.message),
            Self::Received(receipt) => Some(receipt.message),
            Self::Accepted(message) | Self::Completed(message) | Self::AckSent(message) => {
                Some(*message)
            }
            Self::ConnectSent(_)
            | Self::Connected { .. }
            | Self::DisconnectSent { .. }
            | Self::Left
            | Self::Closed
            | Self::SubscribeSent { .. }
            | Self::Subscribed { .. }
            | Self::UnsubscribeSent { .. }
            | Self::Unsubscribed { .. }
            | Self::PingSent
            | Self::Pinged
            | Self::Complaint(_) => None,
        }
    }
}

impl fmt::Display for ClientIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {}", self.0)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.publisher.0, self.number)
    }
}

impl fmt::Debug for ClientIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at as f64 / 1_000.0;
        match &self.event {
            Event::Started => write!(f, "{seconds:>8.3} --- the broker accepts connections"),
            Event::Killed => write!(f, "{seconds:>8.3} --- the broker was killed"),
            Event::Of(client, act) => write!(f, "{seconds:>8.3} {client}: {act:?}"),
        }
    }
}

/// How much of the history before and after a message belongs to its excerpt.
const ENTRIES_AROUND: usize = 500;
