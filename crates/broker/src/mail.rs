//! Mail between shards.
//!
//! A shard gathers what it has for another one during a turn and posts it once, at the end: one
//! lock a turn and target, no allocation and no reference count per message. Publishes travel as
//! bytes in a [`Batch`] that goes back to be filled again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use quelea_codec::QoS;
use quelea_session::{Content, GroupId, Message, Time};
use quelea_store::{Attributes, Dropped, Fetched, Placed, SessionNumber, ShardIndex, Submission};
use quelea_topics::FilterId;

use crate::arena::Key;
use crate::auth::{Admission, Answer};
use crate::limits::{Bounds, Newest};
use crate::net::{Peer, Stream};

/// Something for a shard to do in its next turn.
pub(crate) enum Letter {
    /// Publishes of another shard.
    Batch(Batch),
    /// A network connection whose session lives here, or one fresh from a listener.
    Arrived(Box<Arrival>),
    /// The store placed messages in queues of this shard's sessions.
    Placed(Vec<Placed>),
    /// The store found sessions gone that shared groups had chosen.
    Unplaced(Vec<(Attributes, Arc<Message>)>),
    /// The store skipped so many targets whose sessions had ended.
    Skipped(u64),
    /// Entries of a queue that this shard asked for.
    Fetched(Fetched),
    /// Messages gave way to newer ones in queues of sessions whose clients are away.
    Dropped(Vec<Dropped>),
    /// A message for a session of this shard was dropped for the lack of room, as were so many others since the last
    /// such letter.
    NoRoom { session: SessionNumber, topic: Box<str>, others: u64 },
    /// The queue of a session that sleeps is full, and the configuration says that this ends it.
    EndSession(SessionNumber),
    /// Everything this shard submitted up to here is durable.
    Durable(Submission),
    /// Asks for a [`Letter::Pong`]: the turn that may have used an older table is then over.
    Ping { from: ShardIndex, token: u64 },
    /// The answer to a ping.
    Pong { token: u64 },
    /// The broker's own statistics, as topics and values to publish and retain.
    Statistics(Vec<(String, String)>),
    /// What an authenticator decided for a link.
    Authenticated { link: Key, answer: Box<Answer> },
    /// Traffic is low: give up what only helps when it is high.
    Tidy,
    /// There is another configuration.
    Reloaded(Reloaded),
    /// Memory is short: say how old the connections here are.
    CountNewest(Arc<Newest>),
    /// End the newest connections, up to this age.
    Shed { newest: Arc<Newest>, age_max: u32 },
    /// The broker stops: say goodbye to everyone.
    Stop,
}

/// Asks a shard to go by the configuration of this generation, and to judge its sessions by its rules.
pub(crate) struct Reloaded {
    pub(crate) generation: u64,
    /// Dropped when that has happened, which is all that is waited for.
    pub(crate) _pledge: Sender<()>,
}

/// A network connection on its way to a shard.
pub(crate) struct Arrival {
    pub(crate) stream: Stream,
    pub(crate) address: Peer,
    /// The place of its listener in the configuration.
    pub(crate) listener: u16,
    /// What was read and not yet handled. Its first packet is the CONNECT.
    pub(crate) unread: Vec<u8>,
    /// When the network connection was accepted: the time to CONNECT counts from here.
    pub(crate) accepted_at: Time,
    /// Its number among all arrivals.
    pub(crate) number: u32,
    /// Whether it was already moved once, and must stay.
    pub(crate) is_home: bool,
    /// What it is held to, if it is to anything.
    pub(crate) bounds: Option<Box<Bounds>>,
    /// Set when it was authenticated elsewhere, and lives here by the client id that this gave it.
    pub(crate) admission: Option<Box<Admission>>,
}

/// Publishes for one shard, in order.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    publishes: Vec<MailedPublish>,
    filters: Vec<FilterId>,
    directs: Vec<Direct>,
    receivers_guess: usize,
    /// How far the receiving shard has come.
    read: Read,
}

/// A place in a batch: how much of each of its arrays is done with.
#[derive(Clone, Copy, Debug, Default)]
struct Read {
    publishes: usize,
    bytes: usize,
    filters: usize,
    directs: usize,
}

/// One publish of a batch. Its parts lie one after the other in the batch's arrays.
#[derive(Clone, Copy, Debug)]
struct MailedPublish {
    topic_bytes: u32,
    forwarded_bytes: u32,
    payload_bytes: u32,
    filter_count: u32,
    direct_count: u32,
    expires_at: Option<Time>,
    qos: QoS,
    retain: bool,
}

/// A session that a shared group chose, on another shard than the publisher's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Direct {
    pub(crate) session: Key,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) subscription_id: u32,
    pub(crate) group: GroupId,
}

/// A publish taken out of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Posted<'a> {
    pub(crate) content: Content<'a>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) filters: &'a [FilterId],
    pub(crate) directs: &'a [Direct],
}

impl Batch {
    /// Appends a publish.
    pub(crate) fn push(
        &mut self,
        content: &Content<'_>,
        qos: QoS,
        retain: bool,
        filters: &[FilterId],
        directs: &[Direct],
    ) {
        self.publishes.push(MailedPublish {
            topic_bytes: content.topic.len() as u32,
            forwarded_bytes: content.forwarded.len() as u32,
            payload_bytes: content.payload.len() as u32,
            filter_count: filters.len() as u32,
            direct_count: directs.len() as u32,
            expires_at: content.expires_at,
            qos,
            retain,
        });
        self.bytes.reserve(content.topic.len() + content.forwarded.len() + content.payload.len());
        self.bytes.extend_from_slice(content.topic.as_bytes());
        self.bytes.extend_from_slice(content.forwarded);
        self.bytes.extend_from_slice(content.payload);
        self.filters.extend_from_slice(filters);
        self.directs.extend_from_slice(directs);
        self.receivers_guess += filters.len() + directs.len();
    }

    /// Returns whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.publishes.is_empty()
    }

    /// Returns whether it is small enough to be delivered by whoever wrote it.
    pub(crate) fn is_small(&self) -> bool {
        self.receivers_guess <= ASSISTED_RECEIVERS_MAX && self.bytes.len() <= ASSISTED_BYTES_MAX
    }

    /// Returns the bytes it holds on to.
    pub(crate) fn size_bytes(&self) -> usize {
        self.bytes.len() + self.publishes.len() * size_of::<MailedPublish>()
    }

    /// Returns the next publish, in the order in which they were pushed.
    pub(crate) fn next(&mut self) -> Option<Posted<'_>> {
        let publish = *self.publishes.get(self.read.publishes)?;
        let from = self.read;
        self.read = Read {
            publishes: from.publishes + 1,
            bytes: from.bytes + publish.size_bytes(),
            filters: from.filters + publish.filter_count as usize,
            directs: from.directs + publish.direct_count as usize,
        };
        let bytes = &self.bytes[from.bytes..self.read.bytes];
        let (topic, rest) = bytes.split_at(publish.topic_bytes as usize);
        let (forwarded, payload) = rest.split_at(publish.forwarded_bytes as usize);
        let topic = std::str::from_utf8(topic).expect("it was pushed as a str");
        Some(Posted {
            content: Content { topic, payload, forwarded, expires_at: publish.expires_at },
            qos: publish.qos,
            retain: publish.retain,
            filters: &self.filters[from.filters..self.read.filters],
            directs: &self.directs[from.directs..self.read.directs],
        })
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.publishes.clear();
        self.filters.clear();
        self.directs.clear();
        self.receivers_guess = 0;
        self.read = Read::default();
        // One large burst must not be paid for ever.
        self.bytes.shrink_to(SPARE_BYTES_MAX);
    }
}

impl MailedPublish {
    fn size_bytes(&self) -> usize {
        (self.topic_bytes + self.forwarded_bytes + self.payload_bytes) as usize
    }
}

/// Where a shard's mail arrives.
pub(crate) struct Mailbox {
    inner: Mutex<Inbox>,
    /// Whether the shard waits in its poll, or is about to. Whoever else turns it to false wakes it.
    pub(crate) is_sleeping: AtomicBool,
    /// Bytes of batches that wait. The other shards read no connection while it is above
    /// [`DEBT_BYTES_MAX`].
    debt_bytes: AtomicUsize,
    /// Absent where nobody waits in a poll: whoever drives the shard looks at `is_sleeping`.
    waker: Option<mio::Waker>,
}

#[derive(Default)]
struct Inbox {
    letters: Vec<Letter>,
    spares: Vec<Batch>,
}

impl Mailbox {
    pub(crate) fn new(waker: Option<mio::Waker>) -> Self {
        Self {
            inner: Mutex::default(),
            is_sleeping: AtomicBool::new(false),
            debt_bytes: AtomicUsize::new(0),
            waker,
        }
    }

    /// Posts a batch and takes an empty one in exchange. Does not wake.
    pub(crate) fn post_batch(&self, batch: Batch) -> Batch {
        self.debt_bytes.fetch_add(batch.size_bytes(), Ordering::Relaxed);
        let mut inbox = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inbox.letters.push(Letter::Batch(batch));
        inbox.spares.pop().unwrap_or_default()
    }

    /// Posts a letter. Does not wake.
    pub(crate) fn post(&self, letter: Letter) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).letters.push(letter);
    }

    /// Posts a letter and wakes the shard if it sleeps.
    pub(crate) fn send(&self, letter: Letter) {
        self.post(letter);
        self.wake();
    }

    /// Wakes the shard if it sleeps.
    pub(crate) fn wake(&self) {
        if self.is_sleeping.swap(false, Ordering::SeqCst)
            && let Some(waker) = &self.waker
        {
            // Fails only when the eventfd's counter is full, and then it is readable anyway.
            let _ = waker.wake();
        }
    }

    /// Moves all mail to the end of `into`.
    pub(crate) fn take(&self, into: &mut VecDeque<Letter>) {
        let mut inbox = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        into.extend(inbox.letters.drain(..));
    }

    /// Returns whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).letters.is_empty()
    }

    /// Gives back a batch that was handled.
    pub(crate) fn recycle(&self, mut batch: Batch) {
        self.debt_bytes.fetch_sub(batch.size_bytes(), Ordering::Relaxed);
        batch.clear();
        let mut inbox = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inbox.spares.len() < SPARES_MAX {
            inbox.spares.push(batch);
        }
    }

    /// Returns whether so much waits that publishers should not be read.
    pub(crate) fn is_overdue(&self) -> bool {
        self.debt_bytes.load(Ordering::Relaxed) > DEBT_BYTES_MAX
    }
}

/// A batch for more receivers is left to the shard's own thread.
const ASSISTED_RECEIVERS_MAX: usize = 16;

/// A larger batch is left to the shard's own thread.
const ASSISTED_BYTES_MAX: usize = 64 * 1024;

/// How many empty batches a mailbox keeps.
const SPARES_MAX: usize = 8;

/// How large an empty batch may be that is kept.
const SPARE_BYTES_MAX: usize = 256 * 1024;

/// Bytes of waiting batches beyond which publishers are not read until the shard has caught up.
const DEBT_BYTES_MAX: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishes_come_out_of_a_batch_as_they_went_in() {
        let mut batch = Batch::default();
        let filter = |index| FilterId { index, generation: 0 };
        let content = |topic, payload| Content {
            topic,
            payload,
            forwarded: b"\x01\x01",
            expires_at: Some(Time::from_millis(5)),
        };
        batch.push(&content("a", b"one"), QoS::AtMostOnce, false, &[filter(1)], &[]);
        batch.push(&content("b/c", b""), QoS::ExactlyOnce, true, &[filter(2), filter(3)], &[]);
        let mut seen = Vec::new();
        while let Some(it) = batch.next() {
            assert_eq!(it.content.forwarded, b"\x01\x01");
            assert_eq!(it.filters.len(), seen.len() + 1);
            let content = (it.content.topic.to_owned(), it.content.payload.to_vec());
            seen.push((content.0, content.1, it.qos, it.retain));
        }
        let expected = [
            ("a".to_owned(), b"one".to_vec(), QoS::AtMostOnce, false),
            ("b/c".to_owned(), vec![], QoS::ExactlyOnce, true),
        ];
        assert_eq!(seen, expected);
    }
}
