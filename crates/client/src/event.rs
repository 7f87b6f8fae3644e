//! What happens to a client's connection, for those who want to watch.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;

use crate::error::{ConnectionError, PublishError, SubscribeError};

/// Something that happened to a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The client is closed: nothing more happens.
    Closed,
    /// The broker accepted the connection.
    Connected {
        /// The broker had the session: nothing was lost, and subscriptions are there.
        session_present: bool,
    },
    /// The connection was lost, or an attempt to connect failed. The client goes on by itself.
    Disconnected {
        /// Why.
        error: ConnectionError,
        /// How long it waits before the next attempt.
        retry_in: Duration,
    },
    /// The file for accepted messages cannot be written any more: nothing more is accepted or sent.
    JournalFailed(
        /// What the system says.
        String,
    ),
    /// A message that an earlier process had accepted was not, or may not have been, published.
    NotPublished {
        /// Its topic.
        topic: String,
        /// Why.
        error: PublishError,
    },
    /// The broker did not confirm a subscription that it had confirmed before, or that nobody waits for: its stream
    /// ends.
    SubscriptionLost {
        /// The topic filter.
        filter: String,
        /// Why.
        error: SubscribeError,
    },
    /// The broker sent a message that no subscription of this client asked for, and it was dropped. The session was
    /// resumed, and has subscriptions that the application has not made again: it should, or unsubscribe.
    Unclaimed {
        /// The topic of the message.
        topic: String,
    },
}

/// What happens to a client, from when it was asked for.
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Arc<Event>>);

impl Events {
    pub(crate) fn new(receiver: broadcast::Receiver<Arc<Event>>) -> Self {
        Self(receiver)
    }

    /// Waits for the next event; `None` when the client is closed and gone. Whoever falls behind by more than 64 events
    /// misses the oldest.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.0.recv().await {
                Ok(event) => return Some(Arc::unwrap_or_clone(event)),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

/// How many events wait for one who watches.
pub(crate) const EVENTS_MAX: usize = 64;
