//! What a store knew when it was opened.

use std::sync::Arc;
use std::time::Duration;

use quelea_codec::{PacketId, QoS};
use quelea_session::{Message, Position};

use crate::{CursorPlace, Presence, SessionIdentity, SessionNumber, StoredWill};

/// What a store knew when it was opened.
#[derive(Debug, Default)]
pub struct Recovered {
    /// All sessions, by rising number.
    pub sessions: Vec<RecoveredSession>,
    /// All retained messages, in no particular order.
    pub retained: Vec<RecoveredRetained>,
    /// Greater than the order of every retained message and cursor there was.
    pub next_order: u64,
    /// Sessions that are gone, but for messages of shared groups that are still to be moved; with their mark:
    /// entries before it may have been sent.
    pub ghosts: Vec<(SessionNumber, Position)>,
    /// What the recovery was like.
    pub report: Report,
}

/// A session as it was.
#[derive(Debug)]
pub struct RecoveredSession {
    /// How the store knows it.
    pub session: SessionNumber,
    /// What it is.
    pub identity: SessionIdentity,
    /// Seconds it outlives its connection; 0 for one that was stored only for its will.
    pub expiry_secs: u32,
    /// Whether it had its client.
    pub presence: Presence,
    /// Entries before this position may have been sent, those from it on certainly not.
    pub sent_before: Position,
    /// Messages that were never sent, as far as is known.
    pub queued_messages: u32,
    /// The bytes they count for: [`Message::size_bytes`] of each.
    pub queued_bytes: u64,
    /// Inbound QoS 2 exchanges that are not complete.
    pub received: Vec<PacketId>,
    /// Its subscriptions, in no particular order.
    pub subscriptions: Vec<RecoveredSubscription>,
    /// Its will.
    pub will: Option<StoredWill>,
}

/// A subscription as it was.
#[derive(Debug)]
pub struct RecoveredSubscription {
    /// The filter as the client wrote it.
    pub filter: Box<str>,
    /// The options byte of the SUBSCRIBE.
    pub options: u8,
    /// The Subscription Identifier; 0 for none.
    pub subscription_id: u32,
    /// The retained messages that it is still owed.
    pub cursor: Option<CursorPlace>,
}

/// A retained message as it was.
#[derive(Debug)]
pub struct RecoveredRetained {
    /// The message.
    pub message: Arc<Message>,
    /// The quality of service it was published with.
    pub qos: QoS,
    /// Its order among all.
    pub order: u64,
}

/// What a recovery was like.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Segments of the log.
    pub segments: u64,
    /// Frames read.
    pub frames: u64,
    /// Bytes of the log.
    pub bytes: u64,
    /// Messages that wait in queues.
    pub entries: u64,
    /// Where the log was cut because its end was not written completely, and how many bytes were cut off.
    pub cut: Option<(String, u64)>,
    /// How long it took.
    pub took: Duration,
}
