//! What happens, as the clients see it. All that is judged is judged by these.

use std::fmt;

use quelea_codec::{QoS, ReasonCode, SubscriptionOptions};

/// A message, by who publishes it and how many that client published before it. It is in the payload.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MessageId {
    /// The client.
    pub(crate) client: usize,
    /// The number among its messages, in the order in which they are first written.
    pub(crate) number: u32,
}

/// A message as it is published.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// Its name.
    pub(crate) id: MessageId,
    /// Its topic.
    pub(crate) topic: &'static str,
    /// Its quality of service.
    pub(crate) qos: QoS,
    /// RETAIN.
    pub(crate) retain: bool,
    /// Its payload is empty: what is retained goes.
    pub(crate) is_empty: bool,
    /// Message Expiry Interval.
    pub(crate) expiry_secs: Option<u32>,
}

/// The will of a CONNECT.
#[derive(Clone, Debug)]
pub(crate) struct WillSpec {
    /// What is published.
    pub(crate) message: Spec,
    /// Will Delay Interval.
    pub(crate) delay_secs: u32,
}

/// A PUBLISH that a client has read, and that is no repetition at QoS 2.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    /// The message.
    pub(crate) id: MessageId,
    /// Its topic.
    pub(crate) topic: String,
    /// The quality of service of the delivery.
    pub(crate) qos: QoS,
    /// RETAIN.
    pub(crate) retain: bool,
    /// DUP.
    pub(crate) dup: bool,
}

/// Something that happened to a client, or that it did.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    /// CONNECT is written, on this connection.
    Connect {
        /// The connection.
        link: u64,
        /// Clean Start.
        clean_start: bool,
        /// Session Expiry Interval.
        expiry_secs: u32,
        /// The will.
        will: Option<WillSpec>,
    },
    /// CONNACK has come, and accepts.
    Welcomed {
        /// Session Present.
        is_resumed: bool,
        /// Session Expiry Interval, as the broker has it.
        expiry_secs: u32,
    },
    /// CONNACK has come, and refuses.
    Refused,
    /// DISCONNECT is written.
    Disconnect {
        /// The will is to be published.
        with_will: bool,
        /// The new Session Expiry Interval.
        expiry_secs: Option<u32>,
    },
    /// The client has no connection any more, or has given it up.
    Parted {
        /// The connection.
        link: u64,
        /// The broker has read DISCONNECT, and has closed.
        is_acknowledged: bool,
    },
    /// PUBLISH is written.
    Publish {
        /// The message.
        spec: Spec,
        /// It is written again.
        is_again: bool,
    },
    /// PUBACK or PUBREC has come.
    Settled {
        /// The message.
        id: MessageId,
        /// What the broker says.
        reason: ReasonCode,
    },
    /// The session that published is gone: nobody will know what became of the message.
    GivenUp(MessageId),
    /// SUBSCRIBE is written.
    Subscribe {
        /// The filter, `$share` included.
        filter: String,
        /// How.
        options: SubscriptionOptions,
    },
    /// SUBACK has come.
    Subscribed {
        /// The filter.
        filter: String,
        /// How it was asked for.
        options: SubscriptionOptions,
        /// What the broker says.
        reason: ReasonCode,
    },
    /// UNSUBSCRIBE is written.
    Unsubscribe(String),
    /// UNSUBACK has come.
    Unsubscribed {
        /// The filter.
        filter: String,
        /// What the broker says; success in 3.x.
        reason: ReasonCode,
    },
    /// PUBLISH has come.
    Delivered(Delivery),
}

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) enum Fact {
    /// To a client.
    Client(usize, Deed),
    /// A connection broke.
    Cut(u64),
    /// The broker has ended its side of a connection.
    BrokerEnded(u64),
    /// The broker's process is gone, with all it had in memory.
    Crashed,
    /// The broker stops in good order: clients are told, and nothing is lost.
    Stopping,
    /// A broker is there again.
    Started,
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.client, self.number)
    }
}

impl MessageId {
    /// Returns the name as a payload begins with it.
    pub(crate) fn to_bytes(self) -> [u8; 6] {
        let mut bytes = [0; 6];
        bytes[..2].copy_from_slice(&(self.client as u16).to_be_bytes());
        bytes[2..].copy_from_slice(&self.number.to_be_bytes());
        bytes
    }

    /// Reads the name at the beginning of a payload.
    pub(crate) fn from_payload(payload: &[u8]) -> Option<Self> {
        let (client, rest) = payload.split_first_chunk::<2>()?;
        let (number, _) = rest.split_first_chunk::<4>()?;
        let client = usize::from(u16::from_be_bytes(*client));
        Some(Self { client, number: u32::from_be_bytes(*number) })
    }
}

/// Returns whether a topic matches a filter without `$share`, level by level.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    let mut topic = topic.split('/');
    for level in filter.split('/') {
        match (level, topic.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(it)) if level == it => {}
            (_, _) => return false,
        }
    }
    topic.next().is_none()
}

/// Takes a shared filter apart: the filter, and whether it is shared.
pub(crate) fn plain(filter: &str) -> (&str, bool) {
    match filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/')) {
        Some((_, filter)) => (filter, true),
        None => (filter, false),
    }
}
