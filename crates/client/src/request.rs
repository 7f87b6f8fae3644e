//! Request and response (MQTT 5 section 4.10): who waits for which response.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::message::Message;

/// The requests of a client that wait for their responses.
pub(crate) struct Responses {
    /// Where the responses come.
    pub(crate) topic: String,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// By correlation data. An entry goes when its response has come or nobody waits for it any more.
    requests: HashMap<u64, oneshot::Sender<Message>>,
    next: u64,
}

/// A request that waits. Dropped, it waits no more.
pub(crate) struct Request<'a> {
    responses: &'a Responses,
    correlation: u64,
    pub(crate) response: oneshot::Receiver<Message>,
}

impl Responses {
    pub(crate) fn new(topic: String) -> Self {
        Self { topic, waiting: Mutex::default() }
    }

    /// Begins to wait.
    pub(crate) fn begin(&self) -> Request<'_> {
        let (sender, response) = oneshot::channel();
        let mut waiting = self.lock();
        let correlation = waiting.next;
        waiting.next += 1;
        waiting.requests.insert(correlation, sender);
        Request { responses: self, correlation, response }
    }

    /// Gives a response to who waits for it. One that nobody waits for is late, and dropped.
    pub(crate) fn push(&self, message: Message) {
        let correlation = message.correlation_data().and_then(|it| it.try_into().ok());
        let Some(correlation) = correlation.map(u64::from_be_bytes) else {
            return;
        };
        if let Some(waiting) = self.lock().requests.remove(&correlation) {
            let _ = waiting.send(message);
        }
    }

    /// Ends all waiting.
    pub(crate) fn end(&self) {
        self.lock().requests.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Request<'_> {
    /// Returns what tells this request's response from others.
    pub(crate) fn correlation_data(&self) -> [u8; 8] {
        self.correlation.to_be_bytes()
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.responses.lock().requests.remove(&self.correlation);
    }
}
