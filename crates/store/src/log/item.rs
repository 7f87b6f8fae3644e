//! What a log holds, as things that stand by themselves: what is exported, salvaged and imported.

use std::sync::Arc;

use quelea_codec::QoS;
use quelea_session::{Message, Position};

use crate::{Attributes, RecoveredSession, SessionNumber};

/// One thing that a log holds. A log can be made anew of all its items, in any order.
///
/// Times of messages are in milliseconds of the wall clock.
#[derive(Debug)]
pub enum Item {
    /// What must not be forgotten though nothing that is kept says it.
    Mark {
        /// The upper half of session numbers that have been given was this at most.
        generation: u32,
        /// The order of retained messages was this at most.
        order: u64,
    },
    /// A session, without its queue.
    Session(StoredSession),
    /// What is left of a session that has ended: messages of shared groups that are still to be moved.
    Ghost {
        /// Its number.
        session: SessionNumber,
        /// Entries before this position may have been sent.
        sent_before: Position,
    },
    /// A message in queues, or the retained message of its topic, or both.
    Message(StoredMessage),
    /// An entry of a queue that its client has received and not completed.
    Received {
        /// Whose queue.
        session: SessionNumber,
        /// Its place.
        position: Position,
    },
}

/// A session, without its queue.
#[derive(Debug)]
pub struct StoredSession {
    /// The session.
    pub session: RecoveredSession,
    /// The position after all that were given so far.
    pub next: Position,
}

/// A message, and where it is kept.
#[derive(Debug)]
pub struct StoredMessage {
    /// The message.
    pub message: Arc<Message>,
    /// The quality of service it was published with.
    pub qos: QoS,
    /// Its order among retained messages, if it is the retained message of its topic.
    pub retain: Option<u64>,
    /// The different ways in which targets get it.
    pub attributes: Vec<Attributes>,
    /// The queues it is in.
    pub targets: Vec<StoredTarget>,
}

/// A place in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredTarget {
    /// Whose queue.
    pub session: SessionNumber,
    /// The place in it.
    pub position: Position,
    /// Which of the message's attributes apply.
    pub attributes: u32,
}
