//! What `quelea top` knows: topics, totals, what the broker says of itself, and how the connection is.
//!
//! It is filled by the thread that receives and read by the one that draws; neither clock nor terminal is known here.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use quelea_codec::Publish;

use super::rate::{History, Rate};
use super::tree::{NodeId, Tree};

/// All that is shown.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) tree: Tree,
    pub(crate) totals: Totals,
    /// Messages a second, of the last minutes.
    pub(crate) history: History,
    pub(crate) connection: Connection,
    /// What is said to the user until something else is.
    pub(crate) notice: Option<Notice>,
    /// What the broker says of itself, by the name behind `$SYS/broker/`.
    broker: BTreeMap<Box<str>, Box<str>>,
    ticked: Instant,
}

/// What was counted, but for `$SYS`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// Messages of topics for which the tree has no room.
    pub(crate) untold: u64,
    /// Messages that came faster than they could be taken in.
    pub(crate) dropped: u64,
    pub(crate) message_rate: Rate,
    pub(crate) byte_rate: Rate,
    messages_before: u64,
    bytes_before: u64,
}

/// How the connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Connection {
    Connecting,
    Connected {
        since: Instant,
    },
    Lost {
        why: String,
    },
    /// Nothing more will come.
    Ended {
        why: String,
    },
}

/// A sentence for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) text: String,
    pub(crate) is_trouble: bool,
    pub(crate) at: Instant,
}

impl Model {
    /// Returns a model with room for `topics_max` topics.
    pub(crate) fn new(topics_max: usize, now: Instant) -> Self {
        Self {
            tree: Tree::new(topics_max),
            totals: Totals::default(),
            history: History::default(),
            connection: Connection::Connecting,
            notice: None,
            broker: BTreeMap::new(),
            ticked: now,
        }
    }

    /// Takes in a message.
    pub(crate) fn note(&mut self, message: &Publish<'_>, now: Instant) {
        if let Some(name) = message.topic.strip_prefix(BROKER_PREFIX) {
            self.note_broker(name, message.payload);
        } else if !message.topic.starts_with('$') {
            self.totals.messages += 1;
            self.totals.bytes += message.payload.len() as u64;
        }
        if self.tree.note(message, now).is_err() {
            self.totals.untold += 1;
        }
    }

    fn note_broker(&mut self, name: &str, value: &[u8]) {
        let is_known = self.broker.contains_key(name);
        if (!is_known && self.broker.len() >= BROKER_VALUES_MAX) || value.len() > BROKER_BYTES_MAX {
            return;
        }
        let value = String::from_utf8_lossy(value).trim().into();
        if name.len() <= BROKER_BYTES_MAX {
            self.broker.insert(name.into(), value);
        }
    }

    /// Computes the rates, if a second has passed. Returns whether that is so.
    pub(crate) fn tick(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.ticked);
        if elapsed < TICK {
            return false;
        }
        self.ticked = now;
        let secs = elapsed.as_secs_f64();
        self.tree.tick(secs);
        let totals = &mut self.totals;
        let count = totals.messages - totals.messages_before;
        totals.message_rate.tick(count, secs);
        totals.byte_rate.tick(totals.bytes - totals.bytes_before, secs);
        (totals.messages_before, totals.bytes_before) = (totals.messages, totals.bytes);
        self.history.push(count as f64 / secs);
        true
    }

    /// Says something to the user.
    pub(crate) fn say(&mut self, text: impl Into<String>, now: Instant) {
        self.notice = Some(Notice { text: text.into(), is_trouble: false, at: now });
    }

    /// Tells the user what went wrong.
    pub(crate) fn complain(&mut self, text: impl Into<String>, now: Instant) {
        self.notice = Some(Notice { text: text.into(), is_trouble: true, at: now });
    }

    /// Returns what the broker says of itself under `$SYS/broker/`.
    pub(crate) fn broker(&self, name: &str) -> Option<&str> {
        self.broker.get(name).map(|it| &**it)
    }

    /// Returns the first level of all topics.
    pub(crate) fn roots(&self) -> &[NodeId] {
        self.tree.children(NodeId::ROOT)
    }
}

/// How often rates are computed.
const TICK: Duration = Duration::from_secs(1);

const BROKER_PREFIX: &str = "$SYS/broker/";

/// Brokers have some hundred at most.
const BROKER_VALUES_MAX: usize = 500;

const BROKER_BYTES_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::super::testing::message;
    use super::*;

    #[test]
    fn what_the_broker_says_of_itself_is_no_traffic() {
        let now = Instant::now();
        let mut model = Model::new(10, now);
        model.note(&message("$SYS/broker/version", "mosquitto 2.0\n"), now);
        model.note(&message("a", "1234"), now);
        assert!(!model.tick(now + Duration::from_millis(900)));
        assert!(model.tick(now + Duration::from_secs(2)));
        assert_eq!(model.broker("version"), Some("mosquitto 2.0"));
        assert_eq!((model.totals.messages, model.totals.bytes), (1, 4));
        assert_eq!(model.totals.message_rate.per_second(), 0.5);
        assert_eq!(model.tree.topic_count(), 2);
    }

    #[test]
    fn what_has_no_room_is_counted() {
        let now = Instant::now();
        let mut model = Model::new(1, now);
        for topic in ["a", "b", "a", "c"] {
            model.note(&message(topic, ""), now);
        }
        assert_eq!((model.totals.messages, model.totals.untold), (4, 2));
        for number in 0..2 * BROKER_VALUES_MAX {
            model.note(&message(&format!("$SYS/broker/{number}"), "0"), now);
        }
        assert_eq!(model.broker.len(), BROKER_VALUES_MAX);
    }
}
