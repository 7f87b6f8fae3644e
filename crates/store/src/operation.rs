//! The operations, and the names of what they touch.

use std::sync::Arc;

use quelea_codec::{PacketId, QoS};
use quelea_session::{Body, GroupId, Message, Position};

/// A session, for as long as the broker's data exists. Never used again after the session's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionNumber(pub u64);

/// One of the broker's shards, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardIndex(pub u16);

/// How many operations a shard has submitted, this one included. Grows by one with each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Submission(pub u64);

/// One atomic change of what the broker must remember.
#[derive(Debug)]
pub enum Operation {
    /// A message enters the queues of `targets`, each exactly once.
    Publish {
        /// What the targets get.
        body: Body,
        /// Who gets it. A target whose session is gone is skipped, and reported if a shared group chose
        /// it.
        targets: Vec<Target>,
        /// The inbound QoS 2 exchange that brought it: recorded as received together with it.
        received: Option<(SessionNumber, PacketId)>,
        /// Whether it becomes the retained message of its topic.
        retain: bool,
    },
    /// Entries leave a session's queue: acknowledged, expired or dropped.
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
    /// A session begins.
    SessionStart {
        /// The new session.
        session: SessionNumber,
        /// The shard it lives on.
        home: ShardIndex,
        /// Its client identifier.
        client_id: Box<str>,
        /// Seconds it outlives its connection; `u32::MAX` is for ever.
        expiry_secs: u32,
    },
    /// A session's expiry or connection changed.
    SessionChange {
        /// Which session.
        session: SessionNumber,
        /// Seconds it outlives its connection from now on.
        expiry_secs: u32,
        /// Whether its client is connected.
        is_connected: bool,
    },
    /// A session ends, with its subscriptions, queue, exchanges and will.
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
    },
    /// A subscription ends.
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
        /// The message, its quality of service, its RETAIN flag and its delay in seconds.
        will: Option<(Arc<Message>, QoS, bool, u32)>,
    },
}

/// One session that a message is for.
#[derive(Clone, Debug)]
pub struct Target {
    /// The session.
    pub session: SessionNumber,
    /// The shard it lives on.
    pub home: ShardIndex,
    /// How this session gets it.
    pub attributes: Attributes,
}

/// What differs between the receivers of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// The quality of service it is delivered with.
    pub qos: QoS,
    /// The RETAIN flag it is delivered with.
    pub retain: bool,
    /// The identifiers of the subscriptions that matched.
    pub subscription_ids: Box<[u32]>,
    /// The shared group that chose this session.
    pub group: Option<GroupId>,
}

/// A message in its place in a session's queue.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Whose queue.
    pub session: SessionNumber,
    /// Its place.
    pub position: Position,
    /// What is delivered.
    pub body: Body,
    /// How.
    pub attributes: Attributes,
}
