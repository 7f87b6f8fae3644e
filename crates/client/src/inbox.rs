//! Messages that wait for the application: the queue of one subscription.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use quelea_codec::{QoS, ReasonCode};

use crate::message::Message;

/// How the messages of a subscription wait for the application.
#[derive(Clone, Copy, Debug)]
pub struct Buffering {
    /// How many messages may wait.
    pub capacity: usize,
    /// What becomes of one more.
    pub overflow: Overflow,
    /// Who says that a message has been dealt with.
    pub acknowledge: Acknowledge,
}

/// What a full queue does with one more message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The new message is dropped, and counted.
    #[default]
    DropNewest,
    /// The oldest message is dropped, and counted.
    DropOldest,
    /// The broker is held back: a message at QoS 1 or 2 is acknowledged when the application takes it, so that no more
    /// of them wait than the client's [Receive Maximum](crate::Options::receive_maximum), whatever the capacity. The
    /// acknowledgements of all subscriptions are in order, so that this holds back all of them. QoS 0 cannot be held
    /// back: beyond the capacity it is dropped and counted.
    HoldBack,
}

/// Who says that a message has been dealt with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acknowledge {
    /// The client: when a message is in the queue, or with [`Overflow::HoldBack`] when it is taken from there.
    #[default]
    Automatically,
    /// The application, by [`Message::acknowledge`](crate::Message::acknowledge). The broker is held back as with
    /// [`Overflow::HoldBack`], whatever the rule says, until messages are acknowledged.
    Manually,
}

/// A queue, shared by the client that fills it and the subscription that empties it.
pub(crate) struct Inbox {
    buffering: Buffering,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Message>,
    dropped: u64,
    is_ended: bool,
    waker: Option<Waker>,
}

impl Inbox {
    pub(crate) fn new(buffering: Buffering) -> Arc<Self> {
        Arc::new(Self { buffering, queue: Mutex::default() })
    }

    /// Returns whether a message at `qos` is acknowledged only when it has left the queue.
    pub(crate) fn keeps_receipt(&self, qos: QoS) -> bool {
        let Buffering { overflow, acknowledge, .. } = self.buffering;
        qos > QoS::AtMostOnce
            && (overflow == Overflow::HoldBack || acknowledge == Acknowledge::Manually)
    }

    /// Adds a message, as far as the rules allow. Who waits for it is added to `wakers`, to be woken when no more come at
    /// once: or it would contend with the task for the queue, message by message.
    pub(crate) fn push(&self, message: Message, wakers: &mut Vec<Waker>) {
        let mut queue = self.lock();
        if queue.is_ended {
            drop(queue);
            message.acknowledge();
            return;
        }
        // Those that keep their receipt are bounded by the Receive Maximum.
        let is_full =
            !self.keeps_receipt(message.qos) && queue.messages.len() >= self.buffering.capacity;
        let dropped = match self.buffering.overflow {
            _ if !is_full => None,
            Overflow::DropOldest => queue.messages.pop_front(),
            Overflow::DropNewest | Overflow::HoldBack => {
                queue.dropped += 1;
                return;
            }
        };
        queue.dropped += u64::from(dropped.is_some());
        // With a capacity of 0 nothing waits.
        if !is_full || self.buffering.capacity > 0 {
            queue.messages.push_back(message);
        }
        wakers.extend(queue.waker.take());
        drop(queue);
        if let Some(message) = dropped {
            message.acknowledge();
        }
    }

    /// Takes the next message; `None` when there will be none.
    pub(crate) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Message>> {
        let mut queue = self.lock();
        match queue.messages.pop_front() {
            Some(message) => {
                drop(queue);
                Poll::Ready(Some(self.hand_over(message)))
            }
            None if queue.is_ended => Poll::Ready(None),
            None => {
                queue.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Takes the next message, if one is there.
    pub(crate) fn try_next(&self) -> Option<Message> {
        let message = self.lock().messages.pop_front()?;
        Some(self.hand_over(message))
    }

    fn hand_over(&self, mut message: Message) -> Message {
        if self.buffering.acknowledge == Acknowledge::Automatically
            && let Some(receipt) = message.receipt.take()
        {
            receipt.answer(ReasonCode::SUCCESS);
        }
        message
    }

    /// Ends the queue. What is in it can still be taken.
    pub(crate) fn end(&self) {
        let mut queue = self.lock();
        queue.is_ended = true;
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends the queue, and takes what is in it: nobody else will.
    pub(crate) fn clear(&self) -> VecDeque<Message> {
        let mut queue = self.lock();
        queue.is_ended = true;
        std::mem::take(&mut queue.messages)
    }

    /// Returns how many messages were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Returns how many messages wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().messages.len()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Buffering {
    /// 1,000 messages, then new ones are dropped; acknowledged automatically.
    fn default() -> Self {
        Self { capacity: 1_000, overflow: Overflow::default(), acknowledge: Acknowledge::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Context;

    use quelea_session::{Content, Message as Kept};

    use super::*;

    #[test]
    fn the_newest_is_dropped_and_counted() {
        check(Overflow::DropNewest, &["a", "b"], 1);
        check(Overflow::HoldBack, &["a", "b"], 1);
    }

    #[test]
    fn the_oldest_is_dropped_and_counted() {
        check(Overflow::DropOldest, &["b", "c"], 1);
    }

    #[test]
    fn an_ended_queue_gives_what_it_has() {
        let inbox = Inbox::new(Buffering::default());
        inbox.push(message("a"), &mut Vec::new());
        inbox.end();
        inbox.push(message("b"), &mut Vec::new());
        let mut context = Context::from_waker(Waker::noop());
        assert!(matches!(inbox.poll_next(&mut context), Poll::Ready(Some(_))));
        assert!(matches!(inbox.poll_next(&mut context), Poll::Ready(None)));
    }

    /// Three messages at QoS 0 into a queue for two.
    #[track_caller]
    fn check(overflow: Overflow, expected: &[&str], dropped: u64) {
        let inbox = Inbox::new(Buffering { capacity: 2, overflow, ..Buffering::default() });
        for payload in ["a", "b", "c"] {
            inbox.push(message(payload), &mut Vec::new());
        }
        let left: Vec<Message> = std::iter::from_fn(|| inbox.try_next()).collect();
        let left: Vec<&str> = left.iter().filter_map(Message::text).collect();
        assert_eq!((&left[..], inbox.dropped()), (expected, dropped));
    }

    fn message(payload: &str) -> Message {
        let payload = payload.as_bytes();
        let content = Content { topic: "t", payload, forwarded: &[], expires_at: None };
        Message {
            content: Kept::new(&content),
            qos: QoS::AtMostOnce,
            retain: false,
            dup: false,
            packet_id: None,
            topic_alias: None,
            expiry: None,
            receipt: None,
        }
    }
}
