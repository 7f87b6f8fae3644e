//! The client for programs without async: the same, each call waits.
//!
//! ```no_run
//! use std::time::Duration;
//! use quelea_client::blocking::Client;
//! use quelea_client::{Options, Publish};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect("mqtt://localhost", Options::new())?;
//! let mut readings = client.subscribe("plant/+/temperature")?;
//! client.publish(&Publish::new("plant/7/temperature", "21.5"))?.wait()?;
//! if let Some(reading) = readings.next() {
//!     println!("{}: {:?}", reading.topic(), reading.text());
//! }
//! client.close(Duration::from_secs(5));
//! # Ok(())
//! # }
//! ```
//!
//! A thread for each client drives its connection. None of this may be called from async code, which it would block: it
//! panics there.

use std::io;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::time::timeout;

use crate::error::{ConnectError, PublishError, RequestError, StartError, SubscribeError};
use crate::event::{Event, Events};
use crate::handle::{Acknowledgement, PublishHandle};
use crate::message::{Message, Publish};
use crate::options::Options;
use crate::subscription::{Subscribe, Subscription as AsyncSubscription};

/// A client of an MQTT broker, as [`crate::Client`]. Clones are the same client.
///
/// A program that ends takes the client's thread with it, wherever it is: [`close`](Self::close) waits until all is
/// published.
#[derive(Clone, Debug)]
pub struct Client {
    client: crate::Client,
    runtime: Handle,
}

/// A message that was accepted, and will be published.
#[derive(Debug)]
#[must_use = "wait for it to learn what became of the message, or drop it on purpose"]
pub struct Publishing {
    handle: PublishHandle,
    runtime: Handle,
}

/// The messages of one subscription, as [`crate::Subscription`]. An iterator that waits for the next.
#[derive(Debug)]
pub struct Subscription {
    subscription: AsyncSubscription,
    runtime: Handle,
}

/// What happens to a client: an iterator that waits for the next event.
#[derive(Debug)]
pub struct Watching {
    events: Events,
    runtime: Handle,
}

impl Client {
    /// Connects to the broker at `url`, as [`crate::Client::connect`].
    ///
    /// # Errors
    ///
    /// [`ConnectError`] says what is in the way, and what to do.
    pub fn connect(url: &str, options: Options) -> Result<Self, ConnectError> {
        let (client, target, events) = Self::start_to(url, options)?;
        client.runtime.block_on(client.client.connected(&target, events))?;
        Ok(client)
    }

    /// Starts a client that connects when the broker is there, as [`crate::Client::start`].
    ///
    /// # Errors
    ///
    /// [`StartError`] says what is wrong with address or options.
    pub fn start(url: &str, options: Options) -> Result<Self, StartError> {
        Self::start_to(url, options).map(|(client, _, _)| client)
    }

    fn start_to(
        url: &str,
        options: Options,
    ) -> Result<(Self, crate::url::Target, Events), StartError> {
        let no_thread = |error: io::Error| StartError::System(error.to_string());
        let runtime = Builder::new_current_thread().enable_all().build().map_err(no_thread)?;
        let handle = runtime.handle().clone();
        let entered = runtime.enter();
        let (client, target, events) = crate::Client::start_to(url, options)?;
        drop(entered);
        let mut closed = client.shared().closed.subscribe();
        let drive = move || {
            // It ends when the client has closed, which it does when nobody holds it any more.
            let _ = runtime.block_on(closed.wait_for(Option::is_some));
        };
        thread::Builder::new().name("mqtt-client".to_owned()).spawn(drive).map_err(no_thread)?;
        Ok((Self { client, runtime: handle }, target, events))
    }

    /// Publishes a message, as [`crate::Client::publish`].
    ///
    /// # Errors
    ///
    /// [`PublishError`] says why the message is not accepted.
    pub fn publish(&self, publish: &Publish<'_>) -> Result<Publishing, PublishError> {
        let handle = self.runtime.block_on(self.client.publish(publish))?;
        Ok(Publishing { handle, runtime: self.runtime.clone() })
    }

    /// Publishes a message without waiting for anything, as [`crate::Client::try_publish`].
    ///
    /// # Errors
    ///
    /// [`PublishError`] says why the message is not accepted.
    pub fn try_publish(&self, publish: &Publish<'_>) -> Result<Publishing, PublishError> {
        let handle = self.client.try_publish(publish)?;
        Ok(Publishing { handle, runtime: self.runtime.clone() })
    }

    /// Subscribes to a topic filter, as [`crate::Client::subscribe`].
    ///
    /// # Errors
    ///
    /// [`SubscribeError`] says why there is no subscription.
    pub fn subscribe<'a>(
        &self,
        subscribe: impl Into<Subscribe<'a>>,
    ) -> Result<Subscription, SubscribeError> {
        let subscription = self.runtime.block_on(self.client.subscribe(subscribe))?;
        Ok(Subscription { subscription, runtime: self.runtime.clone() })
    }

    /// Publishes a request and waits for its response, as [`crate::Client::request`].
    ///
    /// # Errors
    ///
    /// [`RequestError`] says why there is no response.
    pub fn request(&self, publish: Publish<'_>, limit: Duration) -> Result<Message, RequestError> {
        self.runtime.block_on(self.client.request(publish, limit))
    }

    /// Closes the client, as [`crate::Client::close`].
    pub fn close(&self, limit: Duration) -> usize {
        self.runtime.block_on(self.client.close(limit))
    }

    /// Returns what happens to the client from now on.
    pub fn events(&self) -> Watching {
        Watching { events: self.client.events(), runtime: self.runtime.clone() }
    }

    /// Returns the same client for async code.
    pub fn as_async(&self) -> &crate::Client {
        &self.client
    }
}

impl Publishing {
    /// Waits until it is known what became of the message.
    ///
    /// # Errors
    ///
    /// [`PublishError`] says why it was not, or may not have been, published.
    pub fn wait(self) -> Result<Acknowledgement, PublishError> {
        self.runtime.block_on(self.handle)
    }
}

impl Subscription {
    /// Waits for the next message for so long; `None` if there is none.
    pub fn next_within(&mut self, limit: Duration) -> Option<Message> {
        let next = self.subscription.next();
        // The timer belongs to the runtime.
        self.runtime.block_on(async { timeout(limit, next).await.ok().flatten() })
    }

    /// Takes the next message, if one is there.
    pub fn try_next(&mut self) -> Option<Message> {
        self.subscription.try_next()
    }

    /// Returns how many messages were dropped because the queue was full.
    pub fn dropped(&self) -> u64 {
        self.subscription.dropped()
    }

    /// Ends the subscription, and waits until the broker has heard of it.
    pub fn unsubscribe(self) {
        self.runtime.block_on(self.subscription.unsubscribe());
    }
}

impl Iterator for Subscription {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        self.runtime.block_on(self.subscription.next())
    }
}

impl Iterator for Watching {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.runtime.block_on(self.events.next())
    }
}
