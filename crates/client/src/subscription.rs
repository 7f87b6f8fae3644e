//! Messages of a topic filter, as a stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use quelea_codec::{QoS, RetainHandling, SubscriptionOptions};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::client::Client;
use crate::inbox::{Acknowledge, Buffering, Inbox, Overflow};
use crate::message::Message;

/// What is subscribed to, and how its messages wait.
///
/// ```
/// use quelea_client::{Overflow, QoS, Subscribe};
///
/// let readings = Subscribe::new("plant/+/temperature").qos(QoS::AtMostOnce);
/// let orders = Subscribe::new("orders/#").overflow(Overflow::HoldBack).acknowledge_manually();
/// ```
///
/// Without more it is subscribed to at QoS 1, with a [queue for 1,000 messages](Buffering::default).
#[derive(Clone, Copy, Debug)]
pub struct Subscribe<'a> {
    pub(crate) filter: &'a str,
    pub(crate) options: SubscriptionOptions,
    pub(crate) buffering: Buffering,
}

/// The messages of one subscription, in the order in which they came.
///
/// Dropped, it ends the subscription, but for a session that is to be [resumed](crate::Options::resume_session): there
/// the broker keeps it, with the messages that come meanwhile, until [`unsubscribe`](Self::unsubscribe).
///
/// It is a [`Stream`], and has [`next`](Self::next) for those who need no more.
#[must_use = "dropped, it receives nothing"]
pub struct Subscription {
    client: Client,
    /// `None` for one that takes what no other does.
    filter: Option<String>,
    inbox: Arc<Inbox>,
    granted: Option<QoS>,
    is_left: bool,
}

impl<'a> Subscribe<'a> {
    /// Returns a subscription at QoS 1.
    pub fn new(filter: &'a (impl AsRef<str> + ?Sized)) -> Self {
        Self {
            filter: filter.as_ref(),
            options: SubscriptionOptions::new(QoS::AtLeastOnce),
            buffering: Buffering::default(),
        }
    }

    /// Sets the highest QoS with which messages come.
    #[must_use]
    pub fn qos(mut self, qos: QoS) -> Self {
        self.options.qos = qos;
        self
    }

    /// Leaves out what this client publishes itself. Of MQTT 5 only.
    #[must_use]
    pub fn no_local(mut self) -> Self {
        self.options.no_local = true;
        self
    }

    /// Has messages say whether they were published to be retained. Of MQTT 5 only.
    #[must_use]
    pub fn retain_as_published(mut self) -> Self {
        self.options.retain_as_published = true;
        self
    }

    /// Sets when the broker sends what it retains. Of MQTT 5 only.
    #[must_use]
    pub fn retain_handling(mut self, retain_handling: RetainHandling) -> Self {
        self.options.retain_handling = retain_handling;
        self
    }

    /// Sets how many messages may wait: 1,000 unless set.
    #[must_use]
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.buffering.capacity = capacity;
        self
    }

    /// Sets what becomes of one more: it is dropped and counted, unless set.
    #[must_use]
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.buffering.overflow = overflow;
        self
    }

    /// Leaves it to the application to [acknowledge](Message::acknowledge) each message at QoS 1 and 2.
    #[must_use]
    pub fn acknowledge_manually(mut self) -> Self {
        self.buffering.acknowledge = Acknowledge::Manually;
        self
    }
}

impl<'a> From<&'a str> for Subscribe<'a> {
    fn from(filter: &'a str) -> Self {
        Self::new(filter)
    }
}

impl Subscription {
    pub(crate) fn new(
        client: Client,
        filter: Option<String>,
        inbox: Arc<Inbox>,
        granted: Option<QoS>,
    ) -> Self {
        Self { client, filter, inbox, granted, is_left: false }
    }

    /// Waits for the next message; `None` when there will be none, because the client is closed or the broker has taken
    /// the subscription back. No message is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Message> {
        std::future::poll_fn(|context| self.inbox.poll_next(context)).await
    }

    /// Takes the next message, if one is there.
    pub fn try_next(&mut self) -> Option<Message> {
        self.inbox.try_next()
    }

    /// Ends the subscription, and waits until the broker has heard of it, or will never have to.
    pub async fn unsubscribe(mut self) {
        let (gone, heard) = oneshot::channel();
        self.is_left = true;
        self.leave(Some(gone));
        // It is dropped when nobody need be told, or the client closes.
        let _ = heard.await;
    }

    /// Returns the QoS that the broker granted.
    pub fn granted_qos(&self) -> Option<QoS> {
        self.granted
    }

    /// Returns how many messages were dropped because the queue was full.
    pub fn dropped(&self) -> u64 {
        self.inbox.dropped()
    }

    /// Returns how many messages wait.
    pub fn waiting(&self) -> usize {
        self.inbox.len()
    }

    pub(crate) fn set_granted(&mut self, granted: QoS) {
        self.granted = Some(granted);
    }

    /// Ends the subscription here and at the broker.
    fn leave(&mut self, gone: Option<oneshot::Sender<()>>) {
        let shared = self.client.shared();
        let mut core = shared.lock();
        match &self.filter {
            Some(filter) => core.registry.remove(filter, &self.inbox, gone),
            None => core.registry.set_rest(None),
        }
        drop(core);
        // Nobody asks for them any more.
        self.inbox.clear().iter().for_each(Message::acknowledge);
        shared.wake.notify_one();
    }

    /// Ends the subscription here. The broker keeps it, and gets back what was not taken, unless another subscription
    /// claims it.
    fn detach(&mut self, filter: &str) {
        let shared = self.client.shared();
        let mut core = shared.lock();
        core.registry.detach(filter, &self.inbox);
        let held = self.inbox.clear().into_iter().filter(|it| it.receipt.is_some());
        core.claims.begin(Instant::now());
        held.for_each(|message| core.claims.hold(message));
        drop(core);
        shared.wake.notify_one();
    }
}

impl Stream for Subscription {
    type Item = Message;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Message>> {
        self.inbox.poll_next(context)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if self.is_left {
            return;
        }
        match self.filter.take() {
            Some(filter) if !self.client.shared().options.session_ends_with_client() => {
                self.detach(&filter);
            }
            filter => {
                self.filter = filter;
                self.leave(None);
            }
        }
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").field("filter", &self.filter).finish_non_exhaustive()
    }
}
