//! What a session is given to deliver.

use alloc::boxed::Box;
use alloc::sync::Arc;

use quelea_codec::QoS;

use crate::message::Message;
use crate::position::{GroupId, Position};

/// How one session is to receive a message: the outcome of its subscriptions.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The lower of the message's QoS and what the subscription was granted.
    pub qos: QoS,
    /// RETAIN as the receiver is to see it.
    pub retain: bool,
    /// Identifiers of all subscriptions that matched ([MQTT-3.3.4-4]).
    pub subscription_ids: &'a [u32],
    /// The shared subscription it came through.
    pub group: Option<GroupId>,
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// It is in the outbox.
    Sent,
    /// It waits in the session's queue.
    Queued,
    /// It is gone.
    Dropped(DropReason),
}

/// Why a receiver did not get a message. Each drop is reported once.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// The Message Expiry Interval passed ([MQTT-3.3.2-5]).
    Expired,
    /// QoS 0 to a session without a connection.
    NotConnected,
    /// Above the receiver's Maximum Packet Size ([MQTT-3.1.2-25]).
    PacketTooLarge,
    /// The session's queue is at its limit.
    QueueFull,
    /// QoS 0 to a receiver whose write buffer is full.
    SlowReader,
}

/// A message that waits to be sent, or to be sent again.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Given by the store to a durable session. A live one gives it at sending, and before this is meaningless.
    pub(crate) position: Position,
    pub(crate) message: Arc<Message>,
    /// The order of a retained message that a new subscription is owed; 0 for any other. It is sent only if it is
    /// still the latest when its turn comes: a newer one comes by itself, in its place among the publisher's others.
    pub(crate) retained_order: u64,
    pub(crate) subscription_ids: SubscriptionIds,
    pub(crate) group: Option<GroupId>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
}

/// Subscription Identifiers of a kept message: nearly always none or one, which take no allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionIds(KeptIds);

/// Each list has one form only: `Many` holds two or more.
#[derive(Clone, Debug, PartialEq, Eq)]
enum KeptIds {
    /// The first `count` of `ids`. The form makes the type two words.
    Few {
        ids: [u32; 1],
        count: u32,
    },
    Many(Box<[u32]>),
}

impl DropReason {
    /// All reasons.
    pub const ALL: [Self; 5] = [
        Self::Expired,
        Self::NotConnected,
        Self::PacketTooLarge,
        Self::QueueFull,
        Self::SlowReader,
    ];

    /// Returns the reason's name in statistics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NotConnected => "not-connected",
            Self::PacketTooLarge => "packet-too-large",
            Self::QueueFull => "queue-full",
            Self::SlowReader => "slow-reader",
        }
    }
}

impl Entry {
    pub(crate) fn new(
        position: Position,
        message: Arc<Message>,
        delivery: Delivery<'_>,
        retained_order: u64,
    ) -> Self {
        Self {
            position,
            message,
            retained_order,
            subscription_ids: SubscriptionIds::new(delivery.subscription_ids),
            group: delivery.group,
            qos: delivery.qos,
            retain: delivery.retain,
        }
    }

    pub(crate) fn delivery(&self) -> Delivery<'_> {
        Delivery {
            qos: self.qos,
            retain: self.retain,
            subscription_ids: self.subscription_ids.as_slice(),
            group: self.group,
        }
    }

    /// Returns the entry's share of the queue's bytes in memory.
    pub(crate) fn size_bytes(&self) -> u64 {
        size_of::<Self>() as u64 + self.message.size_bytes() as u64
    }

    /// Returns what the entry counts for among those that were never sent.
    pub(crate) fn counted_bytes(&self) -> u64 {
        // A retained message is kept by its topic.
        if self.retained_order == 0 { self.message.size_bytes() as u64 } else { 0 }
    }
}

impl SubscriptionIds {
    /// Returns a list of `ids`.
    pub fn new(ids: &[u32]) -> Self {
        Self(match *ids {
            [] => KeptIds::default(),
            [id] => KeptIds::Few { ids: [id], count: 1 },
            _ => KeptIds::Many(ids.into()),
        })
    }

    /// Returns the identifiers, in the order given.
    pub fn as_slice(&self) -> &[u32] {
        match &self.0 {
            KeptIds::Few { ids, count } => &ids[..*count as usize],
            KeptIds::Many(ids) => ids,
        }
    }
}

impl Default for KeptIds {
    fn default() -> Self {
        Self::Few { ids: [0], count: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::SubscriptionIds;

    #[test]
    fn subscription_identifiers_come_back_as_given() {
        for ids in [&[][..], &[7], &[7, 7], &[3, 2, 1]] {
            let kept = SubscriptionIds::new(ids);
            assert_eq!(kept.as_slice(), ids);
            assert_eq!(kept, SubscriptionIds::new(ids));
        }
        assert_eq!(SubscriptionIds::default(), SubscriptionIds::new(&[]));
    }

    #[test]
    fn subscription_identifiers_take_two_words() {
        assert!(size_of::<SubscriptionIds>() <= 16, "{}", size_of::<SubscriptionIds>());
    }
}
