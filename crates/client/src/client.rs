//! What the application holds.

use std::sync::Arc;
use std::time::Duration;

use quelea_codec::{QoS, SubscriptionOptions, check_topic_filter};
use tokio::sync::{OnceCell, oneshot};
use tokio::time::timeout;

use crate::driver::Driver;
use crate::error::{
    ConnectError, JournalError, PublishError, RequestError, StartError, SubscribeError,
};
use crate::event::{Event, Events};
use crate::handle::PublishHandle;
use crate::inbox::{Buffering, Inbox};
use crate::journal;
use crate::message::{Message, Publish};
use crate::options::Options;
use crate::registry::Sink;
use crate::request::Responses;
use crate::shared::{Lifecycle, Shared};
use crate::subscription::{Subscribe, Subscription};
use crate::transport::Dialer;
use crate::url::{Target, Url};

/// A client of an MQTT broker. Clones are the same client, and cheap.
///
/// A task of its own drives the connection, and makes it again whenever it is lost. When the last clone and the last
/// [`Subscription`] are dropped the client closes, after what was accepted has been published, or ten seconds.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    /// Once the first request was made.
    responses: OnceCell<Arc<Responses>>,
}

/// Where the broker's word on a subscription comes.
type Grant = oneshot::Receiver<Result<QoS, SubscribeError>>;

impl Client {
    /// Connects to the broker at `url`, such as `mqtt://user:password@host:1883`, and waits until it accepts.
    ///
    /// Later the client connects again by itself, whatever happens. To have it start that way, though no broker is there
    /// yet, see [`start`](Self::start).
    ///
    /// # Errors
    ///
    /// [`ConnectError`] says what is in the way, and what to do.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn connect(url: &str, options: Options) -> Result<Self, ConnectError> {
        let (client, target, events) = Self::start_to(url, options)?;
        client.connected(&target, events).await?;
        Ok(client)
    }

    /// Waits for the end of the first attempt to connect.
    pub(crate) async fn connected(
        &self,
        target: &Target,
        mut events: Events,
    ) -> Result<(), ConnectError> {
        loop {
            match events.next().await {
                Some(Event::Connected { .. }) => return Ok(()),
                Some(Event::Disconnected { error: source, .. }) => {
                    self.0.shared.begin_close(Duration::ZERO);
                    return Err(ConnectError::Connection { broker: target.to_string(), source });
                }
                Some(Event::Closed) | None => {
                    return Err(
                        StartError::Options("the client was closed while it connected").into()
                    );
                }
                Some(_) => {}
            }
        }
    }

    /// Starts a client of the broker at `url` that connects when the broker is there, and returns at once.
    ///
    /// # Errors
    ///
    /// [`StartError`] says what is wrong with address or options.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start(url: &str, options: Options) -> Result<Self, StartError> {
        Self::start_to(url, options).map(|(client, _, _)| client)
    }

    pub(crate) fn start_to(
        url: &str,
        options: Options,
    ) -> Result<(Self, Target, Events), StartError> {
        let url = Url::parse(url)?;
        let options = options.complete(&url)?;
        let dialer = Dialer::new(&url.target, &options)?;
        let path = options.queue_file.clone();
        let mut file = path.as_deref().map(|it| journal::open(it, options.id())).transpose()?;
        let shared = Shared::new(options, file.as_mut());
        if let Some(file) = file {
            let started = shared.keep_in(file);
            let path = path.unwrap_or_default();
            started.map_err(|error| JournalError::Io { path, error: error.to_string() })?;
        }
        // Before the task could tell anything.
        let events = Events::new(shared.events.subscribe());
        let driver = Driver::new(Arc::clone(&shared), dialer, url.target.clone());
        tokio::spawn(driver.run());
        let client = Self(Arc::new(Inner { shared, responses: OnceCell::new() }));
        Ok((client, url.target, events))
    }

    /// Publishes a message, connected or not: it is accepted when this returns, and the handle tells what becomes of it.
    ///
    /// Waits only for room in the [queue](Options::queue). No message is half published when the future is dropped.
    ///
    /// # Errors
    ///
    /// [`PublishError`] says why the message is not accepted.
    pub async fn publish(&self, publish: &Publish<'_>) -> Result<PublishHandle, PublishError> {
        self.0.shared.publish(publish).await
    }

    /// Publishes a message without waiting for anything.
    ///
    /// # Errors
    ///
    /// [`PublishError`] says why the message is not accepted: [`QueueFull`](PublishError::QueueFull) among others.
    pub fn try_publish(&self, publish: &Publish<'_>) -> Result<PublishHandle, PublishError> {
        self.0.shared.try_publish(publish)
    }

    /// Subscribes to a topic filter, and waits until the broker has granted it: as long as that takes, if there is no
    /// connection. From then on the subscription is made again whenever the broker has lost it.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`] says why there is no subscription.
    pub async fn subscribe<'a>(
        &self,
        subscribe: impl Into<Subscribe<'a>>,
    ) -> Result<Subscription, SubscribeError> {
        let (mut subscription, granted) = self.add(&subscribe.into())?;
        match granted.await {
            Ok(Ok(qos)) => {
                subscription.set_granted(qos);
                Ok(subscription)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(SubscribeError::Closed),
        }
    }

    /// Subscribes to a topic filter, without waiting for the broker. If it does not grant it the stream ends, and
    /// [`Event::SubscriptionLost`] says why.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`] if the filter is not well-formed, or the client closed.
    pub fn subscribe_later<'a>(
        &self,
        subscribe: impl Into<Subscribe<'a>>,
    ) -> Result<Subscription, SubscribeError> {
        self.add(&subscribe.into()).map(|(subscription, _)| subscription)
    }

    /// Subscribes to a topic filter without a stream of its own, and waits until the broker has granted it: its messages
    /// are [unclaimed](Self::unclaimed). A message that several such filters match comes as often as the broker sends it.
    ///
    /// The filter stays subscribed to until [`unsubscribe`](Self::unsubscribe).
    ///
    /// # Errors
    ///
    /// [`SubscribeError`] says why there is no subscription.
    pub async fn subscribe_unclaimed<'a>(
        &self,
        subscribe: impl Into<Subscribe<'a>>,
    ) -> Result<QoS, SubscribeError> {
        let Subscribe { filter, options, .. } = subscribe.into();
        check(filter, options)?;
        let granted = self.register(filter, options, None)?;
        granted.await.unwrap_or(Err(SubscribeError::Closed))
    }

    /// Has the broker forget a topic filter, though it may be one that an earlier process has subscribed to, and waits
    /// until it has heard of it. Streams of the filter end.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`] if the filter is not well-formed, or the client closed.
    pub async fn unsubscribe(&self, filter: &str) -> Result<(), SubscribeError> {
        self.leave(filter)?.await.map_err(|_| SubscribeError::Closed)
    }

    fn leave(&self, filter: &str) -> Result<oneshot::Receiver<()>, SubscribeError> {
        check_topic_filter(filter).map_err(|_| SubscribeError::FilterInvalid)?;
        let shared = &self.0.shared;
        let (gone, heard) = oneshot::channel();
        let mut core = shared.lock();
        if core.lifecycle != Lifecycle::Open {
            return Err(SubscribeError::Closed);
        }
        core.registry.leave(filter, gone);
        drop(core);
        shared.wake.notify_one();
        Ok(heard)
    }

    fn add(&self, subscribe: &Subscribe<'_>) -> Result<(Subscription, Grant), SubscribeError> {
        let Subscribe { filter, options, buffering } = *subscribe;
        check(filter, options)?;
        let inbox = Inbox::new(buffering);
        let granted = self.register(filter, options, Some(Sink::Inbox(Arc::clone(&inbox))))?;
        let filter = Some(filter.to_owned());
        Ok((Subscription::new(self.clone(), filter, inbox, None), granted))
    }

    fn register(
        &self,
        filter: &str,
        options: SubscriptionOptions,
        sink: Option<Sink>,
    ) -> Result<Grant, SubscribeError> {
        let shared = &self.0.shared;
        let (sender, granted) = oneshot::channel();
        let mut core = shared.lock();
        if core.lifecycle != Lifecycle::Open {
            return Err(SubscribeError::Closed);
        }
        core.registry.add(filter, options, sink, sender);
        core.hand_out_claims();
        drop(core);
        shared.wake.notify_one();
        Ok(granted)
    }

    /// Takes the messages that no subscription of this client asks for: those of a resumed session, and what a broker
    /// sends by itself. A second call ends the first's stream.
    pub fn unclaimed(&self, buffering: Buffering) -> Subscription {
        let shared = &self.0.shared;
        let inbox = Inbox::new(buffering);
        let mut core = shared.lock();
        core.registry.set_rest(Some(Arc::clone(&inbox)));
        core.hand_out_claims();
        drop(core);
        Subscription::new(self.clone(), None, inbox, None)
    }

    /// Publishes a request, and waits for its response, which has to come within `limit`.
    ///
    /// The other side publishes it to the request's [response topic](Message::response_topic), with its [correlation
    /// data](Message::correlation_data).
    ///
    /// # Errors
    ///
    /// [`RequestError`] says why there is no response.
    pub async fn request(
        &self,
        publish: Publish<'_>,
        limit: Duration,
    ) -> Result<Message, RequestError> {
        if !self.0.shared.options.version.is_v5() {
            return Err(RequestError::VersionTooOld);
        }
        timeout(limit, self.exchange(publish)).await.unwrap_or(Err(RequestError::TimedOut))
    }

    async fn exchange(&self, publish: Publish<'_>) -> Result<Message, RequestError> {
        let responses = self.0.responses.get_or_try_init(|| self.receive_responses()).await?;
        let mut request = responses.begin();
        let correlation = request.correlation_data();
        let publish = publish.response_topic(&responses.topic).correlation_data(&correlation);
        let handle = self.publish(&publish).await.map_err(RequestError::Publish)?;
        handle.await.map_err(RequestError::Publish)?;
        (&mut request.response).await.map_err(|_| RequestError::Publish(PublishError::Closed))
    }

    async fn receive_responses(&self) -> Result<Arc<Responses>, RequestError> {
        let responses = Arc::new(Responses::new(format!("response/{}", self.client_id())));
        let options = SubscriptionOptions::new(QoS::AtLeastOnce);
        let sink = Sink::Responses(Arc::clone(&responses));
        let granted = self.register(&responses.topic, options, Some(sink));
        let granted = granted.map_err(RequestError::Subscribe)?.await;
        granted.unwrap_or(Err(SubscribeError::Closed)).map_err(RequestError::Subscribe)?;
        Ok(responses)
    }

    /// Authenticates again, with the [authenticator](Options::authenticator) of the options. If the broker does not
    /// accept it ends the connection.
    pub fn reauthenticate(&self) {
        self.0.shared.lock().reauthenticates = true;
        self.0.shared.wake.notify_one();
    }

    /// Closes the client: what was accepted is published, and acknowledged, within `limit`, and then the broker is told.
    /// Returns how many messages were not: 0 if all went well. No clone of the client accepts anything more.
    ///
    /// What the broker has not acknowledged may have been published all the same.
    pub async fn close(&self, limit: Duration) -> usize {
        let mut closed = self.0.shared.closed.subscribe();
        self.0.shared.begin_close(limit);
        let unfinished = closed.wait_for(Option::is_some).await;
        unfinished.ok().and_then(|it| *it).unwrap_or(0)
    }

    /// Returns what happens to the client from now on.
    pub fn events(&self) -> Events {
        Events::new(self.0.shared.events.subscribe())
    }

    /// Returns whether the broker has accepted the present connection.
    pub fn is_connected(&self) -> bool {
        self.0.shared.lock().session.is_connected()
    }

    /// Returns the client id: that of the options, or the one that was made up.
    pub fn client_id(&self) -> &str {
        self.0.shared.options.id()
    }

    /// Returns how many messages are accepted and not done with.
    pub fn unfinished(&self) -> usize {
        self.0.shared.lock().session.unfinished()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.begin_close(CLOSE_MAX);
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("client_id", &self.client_id()).finish_non_exhaustive()
    }
}

fn check(filter: &str, options: SubscriptionOptions) -> Result<(), SubscribeError> {
    let shape = check_topic_filter(filter).map_err(|_| SubscribeError::FilterInvalid)?;
    // [MQTT-3.8.3-4]
    if shape.shared.is_some() && options.no_local {
        return Err(SubscribeError::FilterInvalid);
    }
    Ok(())
}

/// How long a client that nobody holds any more has to publish what it accepted.
const CLOSE_MAX: Duration = Duration::from_secs(10);
