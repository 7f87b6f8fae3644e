//! Authentication: who decides, and how a shard asks without waiting.
//!
//! A step of an enhanced authentication may be slow. The shard sends it to the control plane and
//! goes on; the answer comes as mail.

use std::fmt;
use std::sync::Arc;

use quelea_codec::{ReasonCode, Version};
use tokio::sync::mpsc;

use crate::arena::Key;
use crate::mail::{Letter, Mailbox};

/// Enhanced authentication (MQTT 5.0 section 4.12): methods by name.
pub trait EnhancedAuthenticator: Send + Sync {
    /// Begins an exchange with a client, or returns `None` if the method is not known: the client
    /// is then refused with 0x8C, Bad authentication method.
    fn begin(&self, method: &str, client_id: &str) -> Option<Box<dyn Exchange>>;
}

/// One authentication of one client, step by step.
pub trait Exchange: Send {
    /// Takes what the client sent. Called off the shards: it may take its time.
    fn step(&mut self, data: &[u8]) -> Step;
}

/// What an exchange says to the client's latest data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Not yet: this goes to the client, who answers ([MQTT-4.12.0-2]).
    Continue(Vec<u8>),
    /// The client is who it says; this goes to it with the CONNACK.
    Accept(Vec<u8>),
    /// It is not, for this reason ([MQTT-4.12.0-1]).
    Refuse(ReasonCode),
}

/// An authentication under way on a link.
pub(crate) struct Pending {
    version: Version,
    pub(crate) method: Box<str>,
    /// The CONNECT that waits for the outcome, as it came. Empty when a client authenticates again.
    pub(crate) connect: Vec<u8>,
    /// Absent while a step is worked out.
    pub(crate) exchange: Option<Box<dyn Exchange>>,
    /// A step is being worked out.
    pub(crate) is_asked: bool,
}

/// The outcome of a step.
pub(crate) struct Answer {
    pub(crate) exchange: Box<dyn Exchange>,
    pub(crate) step: Step,
}

/// Where shards send what authentication needs.
pub(crate) struct Authority {
    authenticator: Option<Arc<dyn EnhancedAuthenticator>>,
    requests: mpsc::Sender<Request>,
}

/// A step to be worked out for a link.
pub(crate) struct Request {
    shard: usize,
    link: Key,
    exchange: Box<dyn Exchange>,
    data: Vec<u8>,
}

impl Pending {
    pub(crate) fn new(version: Version, method: &str, connect: Vec<u8>) -> Self {
        Self { version, method: method.into(), connect, exchange: None, is_asked: false }
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the CONNECT nor the exchange: both hold secrets.
        f.debug_struct("Pending").field("method", &self.method).finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes an authority, and the other end of its questions.
    pub(crate) fn new(
        authenticator: Option<Arc<dyn EnhancedAuthenticator>>,
    ) -> (Self, mpsc::Receiver<Request>) {
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        (Self { authenticator, requests }, receiver)
    }

    /// Begins an exchange.
    pub(crate) fn begin(&self, method: &str, client_id: &str) -> Option<Box<dyn Exchange>> {
        self.authenticator.as_ref()?.begin(method, client_id)
    }

    /// Has a step worked out. The answer comes as [`Letter::Authenticated`]. Returns false when too
    /// many are waiting already.
    pub(crate) fn ask(
        &self,
        shard: usize,
        link: Key,
        exchange: Box<dyn Exchange>,
        data: Vec<u8>,
    ) -> bool {
        self.requests.try_send(Request { shard, link, exchange, data }).is_ok()
    }
}

impl Request {
    /// Works the step out and posts the answer.
    pub(crate) fn answer(mut self, mailboxes: &[Mailbox]) {
        let step = self.exchange.step(&self.data);
        let answer = Box::new(Answer { exchange: self.exchange, step });
        mailboxes[self.shard].send(Letter::Authenticated { link: self.link, answer });
    }
}

/// Steps that may wait. One more is refused with 0x89, Server busy.
const REQUESTS_MAX: usize = 1_024;
