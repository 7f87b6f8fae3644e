//! The client that fills the model, on a thread of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use quelea_client::{
    Acknowledge, Buffering, Client, Event, Events, Message, Overflow, Publish, QoS, SubscribeError,
    Subscription,
};
use tokio::runtime::{Handle, Runtime};

use super::form::Form;
use super::model::{Connection, Model};
use crate::failure::Failure;
use crate::received::with_packet;
use crate::trouble;
use crate::watch::{Happened, Watch};

/// A client that is connected, and the model that it fills.
pub(crate) struct Feed {
    client: Client,
    watch: Watch,
    events: Events,
    messages: Subscription,
    shared: Arc<Shared>,
}

/// What is subscribed to.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    pub(crate) filters: Vec<String>,
    pub(crate) qos: QoS,
}

/// A feed that runs beside the thread that draws.
pub(crate) struct Running {
    client: Client,
    runtime: Handle,
    shared: Arc<Shared>,
}

struct Shared {
    /// A lock between two threads: the feed takes it for a batch of messages, the screen to make a picture or to obey a
    /// key, and neither waits for anything while it has it.
    model: Mutex<Model>,
    /// Whether a signal has asked for the end.
    is_over: AtomicBool,
}

impl Feed {
    /// Connects.
    pub(crate) async fn connect(
        connection: crate::connection::Connection,
        model: Model,
    ) -> Result<Self, Failure> {
        let (client, mut watch) = connection.start()?;
        let messages = client.unclaimed(BUFFERING);
        watch.connected().await?;
        let shared = Shared { model: Mutex::new(model), is_over: AtomicBool::new(false) };
        let connected = Connection::Connected { since: Instant::now() };
        shared.lock().connection = connected;
        Ok(Self { events: client.events(), client, watch, messages, shared: Arc::new(shared) })
    }

    /// Fills the model for some time.
    pub(crate) async fn look(
        &mut self,
        requests: &Requests,
        time: Duration,
    ) -> Result<(), Failure> {
        self.watch.set_timeout(Some(time));
        let ended = self.receive(requests).await;
        self.model().tick(Instant::now());
        self.watch.close(&self.client).await;
        ended
    }

    /// Goes on on a thread of its own.
    pub(crate) fn run_beside(
        mut self,
        runtime: Runtime,
        requests: Requests,
    ) -> Result<Running, Failure> {
        let running = Running {
            client: self.client.clone(),
            runtime: runtime.handle().clone(),
            shared: Arc::clone(&self.shared),
        };
        let feed = move || {
            let ended = runtime.block_on(self.receive(&requests));
            if let Err(failure) = ended {
                let why = failure.to_string();
                self.shared.lock().connection = Connection::Ended { why };
            } else {
                self.shared.is_over.store(true, Ordering::Release);
            }
            runtime.block_on(self.watch.close(&self.client));
        };
        let spawned = thread::Builder::new().name("feed".to_owned()).spawn(feed);
        spawned.map_err(|error| Failure::new(format!("there is no thread to be had: {error}")))?;
        Ok(running)
    }

    /// Receives until a signal comes or the time is over.
    async fn receive(&mut self, requests: &Requests) -> Result<(), Failure> {
        self.subscribe(requests);
        loop {
            tokio::select! {
                biased;
                happened = self.watch.next() => match happened {
                    Happened::Interrupted | Happened::TimedOut => return Ok(()),
                    Happened::Lost(failure) => return Err(failure),
                    // The event says more.
                    Happened::SubscriptionLost => {}
                },
                Some(event) = self.events.next() => self.on_event(&event),
                message = self.messages.next() => match message {
                    Some(message) => self.on_messages(message),
                    None => return Err(Failure::new("the client has ended")),
                },
            }
        }
    }

    /// Asks for all filters. The answers are told when they come.
    fn subscribe(&self, requests: &Requests) {
        for filter in &requests.filters {
            let (client, shared) = (self.client.clone(), Arc::clone(&self.shared));
            let (requests, filter) = (requests.clone(), filter.clone());
            tokio::spawn(async move {
                if let Err(error) = client.subscribe_unclaimed(requests.subscribe(&filter)).await {
                    let refused = refused(&filter, &error);
                    shared.lock().complain(refused, Instant::now());
                }
            });
        }
    }

    /// Takes in a message, and those that wait behind it.
    fn on_messages(&mut self, first: Message) {
        let now = Instant::now();
        let mut model = self.shared.lock();
        let mut next = Some(first);
        for _ in 0..BATCH_MAX {
            let Some(message) = next else { break };
            with_packet(&message, |packet| model.note(packet, now));
            next = self.messages.try_next();
        }
        if let Some(message) = next {
            with_packet(&message, |packet| model.note(packet, now));
        }
        model.totals.dropped = self.messages.dropped();
    }

    fn on_event(&self, event: &Event) {
        let now = Instant::now();
        let mut model = self.shared.lock();
        match event {
            Event::Connected { .. } => model.connection = Connection::Connected { since: now },
            Event::Disconnected { error, .. } => {
                let why = format!("{}; connecting again", trouble::lost(error));
                model.connection = Connection::Lost { why };
            }
            Event::SubscriptionLost { filter, error } => {
                model.complain(refused(filter, error), now);
            }
            _ => {}
        }
    }

    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        self.shared.lock()
    }
}

impl Running {
    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        self.shared.lock()
    }

    /// Returns whether a signal has asked for the end.
    pub(crate) fn is_over(&self) -> bool {
        self.shared.is_over.load(Ordering::Acquire)
    }

    /// Publishes a message. What becomes of it is told when it is known.
    pub(crate) fn publish(&self, form: &Form) {
        let mut publish = Publish::new(form.topic.text(), form.payload.text()).qos(form.qos);
        if form.retain {
            publish = publish.retain();
        }
        self.send(&publish, format!("published to {}", form.topic.text()));
    }

    /// Removes the retained message of a topic.
    pub(crate) fn remove_retained(&self, topic: &str) {
        let publish = Publish::new(topic, "").qos(QoS::AtLeastOnce).retain();
        self.send(&publish, format!("removed the retained message of {topic}"));
    }

    fn send(&self, publish: &Publish<'_>, done: String) {
        let handle = match self.client.try_publish(publish) {
            Ok(handle) => handle,
            Err(error) => {
                return self.model().complain(trouble::not_published(&error), Instant::now());
            }
        };
        let shared = Arc::clone(&self.shared);
        self.runtime.spawn(async move {
            let outcome = handle.await;
            let (mut model, now) = (shared.lock(), Instant::now());
            match outcome {
                Ok(_) => model.say(done, now),
                Err(error) => model.complain(trouble::not_published(&error), now),
            }
        });
    }

    /// Closes the connection in good order, if that takes no time.
    pub(crate) fn close(&self) {
        // The thread of the runtime does it, or has done it.
        let closing = self.client.clone();
        let (done, waiting) = std::sync::mpsc::channel();
        self.runtime.spawn(async move {
            closing.close(FAREWELL_TIME_MAX).await;
            let _ = done.send(());
        });
        let _ = waiting.recv_timeout(FAREWELL_TIME_MAX);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(filter: &str, error: &SubscribeError) -> String {
    let why = match error {
        SubscribeError::Refused(reason) => trouble::said(reason),
        other => other.to_string(),
    };
    format!("no subscription to {filter}: {why}")
}

/// What comes between two turns of the feed, and what it cannot take is dropped and counted. It is acknowledged at once:
/// whoever only looks must not hold back the broker.
const BUFFERING: Buffering = Buffering {
    capacity: 100_000,
    overflow: Overflow::DropOldest,
    acknowledge: Acknowledge::Automatically,
};

/// How many messages are taken in under one lock: less than a frame's time.
const BATCH_MAX: usize = 1_000;

const FAREWELL_TIME_MAX: Duration = Duration::from_secs(1);
