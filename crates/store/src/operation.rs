//! The operations, and the names of what they touch.

use std::sync::Arc;

use quelea_codec::{PacketId, QoS};
use quelea_session::{Message, Position, SubscriptionIds};

/// A session, for as long as the broker's data exists. Never used again after the session's end.
///
/// The lower half is a slot that is used again, the upper half tells those apart that have had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionNumber(pub u64);

/// One of the broker's shards, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardIndex(pub u16);

/// How many operations a shard has submitted, this one included. Grows by one with each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Submission(pub u64);

/// Milliseconds since the beginning of 1970: what has to be understood after a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallMillis(pub u64);

/// What a shard submits at the end of a turn, or earlier where nothing is cut in two that belongs together. After a crash all of it is there, or none of it.
#[derive(Debug)]
pub struct Batch {
    /// The number of the last operation.
    pub through: Submission,
    /// Somebody waits for one of the operations. Otherwise it is enough that they are written with
    /// the next batch, or within a tenth of a second.
    pub is_awaited: bool,
    /// In order.
    pub operations: Vec<Operation>,
}

/// One change of what the broker must remember.
#[derive(Debug)]
pub enum Operation {
    /// A message enters the queues of `targets`, becomes the retained message of its
    /// topic, or is known as received: what of this applies, applies together.
    Publish {
        /// What the targets get.
        message: Arc<Message>,
        /// The quality of service it was published with.
        qos: QoS,
        /// Who gets it, by rising session number: a session once, and once more for each shared group that chose it.
        /// A target whose session is gone is skipped, and reported if a shared group chose it.
        targets: Vec<Target>,
        /// The different ways in which targets get it.
        attributes: Vec<Attributes>,
        /// The inbound QoS 2 exchange that brought it: recorded as received.
        received: Option<(SessionNumber, PacketId)>,
        /// Its order among retained messages, if it becomes the retained message of its topic. One with
        /// a lower order never replaces one with a higher. With an empty payload the topic has none.
        retain: Option<u64>,
    },
    /// The retained message of a topic has expired: it goes, unless a later one has taken its place.
    Unretain {
        /// The topic.
        topic: Box<str>,
        /// The order of the message that goes.
        order: u64,
    },
    /// Entries leave a session's queue: acknowledged, expired, dropped, or moved to another member of their
    /// group by a [`Operation::Publish`] of the same batch.
    Finish {
        /// Whose queue.
        session: SessionNumber,
        /// Which entries.
        positions: Vec<Position>,
    },
    /// A QoS 2 entry was received by its client: from here on only PUBREL is sent for it.
    Received {
        /// Whose entry.
        session: SessionNumber,
        /// Which entry.
        position: Position,
    },
    /// An inbound QoS 2 exchange is complete: its packet identifier may mean a new message.
    Release {
        /// Who published.
        session: SessionNumber,
        /// The identifier set free.
        packet_id: PacketId,
    },
    /// A session begins. Its client is connected, to the shard that submits this.
    SessionStart {
        /// The new session, a number from [`Store::new_session`](crate::Store::new_session).
        session: SessionNumber,
        /// What the session is.
        identity: SessionIdentity,
        /// Seconds it outlives its connection; `u32::MAX` is for ever, 0 for one that is stored only for
        /// its will.
        expiry_secs: u32,
    },
    /// A session's expiry or connection changed, or the mark in its queue.
    SessionChange {
        /// Which session.
        session: SessionNumber,
        /// Seconds it outlives its connection from here on.
        expiry_secs: u32,
        /// Whether its client is connected. The shard that submits this is the one where it lives.
        presence: Presence,
        /// Entries before this position may have been sent, those from it on certainly not.
        sent_before: Position,
    },
    /// A session ends, with its subscriptions, queue, exchanges and will. What waits in its queue for a shared
    /// group stays under its number until it is moved and finished.
    SessionEnd {
        /// Which session.
        session: SessionNumber,
    },
    /// A subscription is made or replaced.
    Subscribe {
        /// Whose.
        session: SessionNumber,
        /// The filter as the client wrote it, `$share` included.
        filter: Box<str>,
        /// The options byte of the SUBSCRIBE.
        options: u8,
        /// The Subscription Identifier; 0 for none.
        subscription_id: u32,
        /// The retained messages that it is owed.
        cursor: Option<CursorPlace>,
    },
    /// The delivery of retained messages for a subscription has come further. Together with the
    /// [`Operation::Publish`] of what it delivered.
    Cursor {
        /// Whose.
        session: SessionNumber,
        /// The filter as the client wrote it.
        filter: Box<str>,
        /// How far it has come; nothing once it is done.
        cursor: Option<CursorPlace>,
    },
    /// A subscription ends, and the delivery of its retained messages.
    Unsubscribe {
        /// Whose.
        session: SessionNumber,
        /// The filter as the client wrote it.
        filter: Box<str>,
    },
    /// A will is stored, or removed.
    Will {
        /// Whose.
        session: SessionNumber,
        /// The will.
        will: Option<StoredWill>,
    },
    /// Asks for entries of a session's queue, as the operations before have left it. Changes nothing.
    Fetch(Fetch),
}

/// What a session is, for its whole life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionIdentity {
    /// Its client identifier.
    pub client_id: Box<str>,
    /// Who made it, and alone may resume it. Empty where nobody is asked.
    pub owner: Box<str>,
}

/// Whether a session has its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It has. What is placed in its queue is reported to the shard where it lives.
    Connected,
    /// It lost it at this time.
    Lost(WallMillis),
}

/// A will, to be published when its session loses its client.
#[derive(Clone, Debug)]
pub struct StoredWill {
    /// The message. It does not expire before it is published.
    pub message: Arc<Message>,
    /// Its quality of service.
    pub qos: QoS,
    /// Whether it is retained.
    pub retain: bool,
    /// How long its publication waits for the client's return.
    pub delay_secs: u32,
    /// Message Expiry Interval, from the publication on.
    pub expiry_secs: Option<u32>,
}

/// How far the delivery of retained messages for a new subscription has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorPlace {
    /// Messages of this order and later ones are not part of it: they come live.
    pub until: u64,
    /// The partition that it is in.
    pub partition: u16,
    /// The last topic of the partition that is done.
    pub after: Option<Box<str>>,
}

/// One session that a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The session.
    pub session: SessionNumber,
    /// Which of the operation's attributes apply.
    pub attributes: u32,
}

/// What differs between the receivers of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// The quality of service it is delivered with. At 0 it is kept for a client that is away.
    pub qos: QoS,
    /// The RETAIN flag it is delivered with.
    pub retain: bool,
    /// The identifiers of the subscriptions that matched.
    pub subscription_ids: SubscriptionIds,
    /// The shared subscription that chose this session, `$share` and all.
    pub share: Option<Arc<str>>,
    /// For a retained message that a new subscription is owed: its order. Sent only if it is still the one
    /// when its turn comes, because a newer one comes by itself. 0 for every other message.
    pub retained_order: u64,
}

/// A request for entries of a session's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Whose queue.
    pub session: SessionNumber,
    /// Comes back with the answer: two connections of one client may ask the same.
    pub token: u64,
    /// The first position that is wanted.
    pub from: Position,
    /// At most so many entries, and at least one if there is any.
    pub entries_max: u32,
    /// No further entry once there are so many bytes of messages.
    pub bytes_max: u64,
    /// Which entries.
    pub which: Which,
}

/// Which entries of a queue are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// Those that a shared group chose the session for.
    Shared,
}

/// A message in its place in a session's queue.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Whose queue.
    pub session: SessionNumber,
    /// Its place.
    pub position: Position,
    /// What is delivered.
    pub message: Arc<Message>,
    /// How.
    pub attributes: Attributes,
}

/// The answer to a [`Fetch`].
#[derive(Debug)]
pub struct Fetched {
    /// Whose queue.
    pub session: SessionNumber,
    /// As in the request.
    pub token: u64,
    /// Which entries were asked for.
    pub which: Which,
    /// By rising position.
    pub entries: Vec<FetchedEntry>,
    /// Where to go on: behind all that was looked at.
    pub next: Position,
    /// There was nothing behind that.
    pub is_last: bool,
}

/// One entry of a queue.
#[derive(Debug)]
pub struct FetchedEntry {
    /// Its place.
    pub position: Position,
    /// What is to be delivered; nothing for a QoS 2 message that its client has received and not completed.
    pub message: Option<Arc<Message>>,
    /// How.
    pub attributes: Attributes,
}

/// What the store took out of the queue of a session whose client is away, to keep its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Whose queue.
    pub session: SessionNumber,
    /// How many messages.
    pub messages: u32,
    /// The bytes they counted for.
    pub bytes: u64,
}

impl SessionNumber {
    /// Puts a number together.
    #[inline]
    pub const fn new(slot: u32, generation: u32) -> Self {
        Self((generation as u64) << 32 | slot as u64)
    }

    /// Returns where the session is among those of its time.
    #[inline]
    pub const fn slot(self) -> u32 {
        self.0 as u32
    }

    /// Returns how many have had the slot, this one included.
    #[inline]
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}
