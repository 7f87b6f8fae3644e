//! Authentication: who decides, and how a shard asks without waiting.
//!
//! To judge a client, or to take a step of an enhanced authentication, may be slow. The shard sends it to threads
//! of their own and goes on; the answer comes as mail.
//!
//! Those threads yield to the shards: a storm of passwords to hash must not slow down who is connected.

use std::fmt;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use quelea_auth::{Chain, Credentials, Exchange, Identity, Step, Strangers};
use quelea_codec::Version;
use quelea_session::Time;

use crate::arena::Key;
use crate::chains::Door;
use crate::clock::Clock;
use crate::mail::{Letter, Mailbox};
use crate::os;

/// Enhanced authentication (MQTT 5.0 section 4.12): methods by name.
pub trait EnhancedAuthenticator: Send + Sync {
    /// Begins an exchange with a client, or returns `None` if the method is not known: the client
    /// is then refused with 0x8C, Bad authentication method.
    fn begin(&self, method: &str, client_id: &str) -> Option<Box<dyn Exchange>>;
}

/// An authentication under way on a link.
pub(crate) struct Pending {
    version: Version,
    /// The method of an enhanced authentication; empty for a client that has said all in its CONNECT.
    pub(crate) method: Box<str>,
    /// The CONNECT that waits for the outcome, as it came. Empty when a client authenticates again.
    pub(crate) connect: Vec<u8>,
    /// Absent while a step is worked out.
    pub(crate) exchange: Option<Box<dyn Exchange>>,
    /// A step is being worked out.
    pub(crate) is_asked: bool,
}

/// A client whose authentication has come to a good end, on its way to its session.
pub(crate) struct Admission {
    pub(crate) pending: Box<Pending>,
    /// Absent for one that was let in as nobody.
    pub(crate) identity: Option<Arc<Identity>>,
    /// What CONNACK says to it.
    pub(crate) data: Vec<u8>,
}

/// The outcome of a step.
pub(crate) struct Answer {
    pub(crate) exchange: Box<dyn Exchange>,
    pub(crate) step: Step,
}

/// Where shards send what authentication needs.
pub(crate) struct Authority {
    authenticator: Option<Arc<dyn EnhancedAuthenticator>>,
    requests: SyncSender<Request>,
}

/// A step to be worked out for a link.
pub(crate) struct Request {
    shard: usize,
    link: Key,
    exchange: Box<dyn Exchange>,
    data: Vec<u8>,
    /// Nobody waits for the answer any longer than that.
    deadline: Time,
}

/// The threads that work steps out.
pub(crate) struct Authenticators {
    requests: Receiver<Request>,
}

/// All that a plain CONNECT says, to be judged in one step.
pub(crate) struct Judgement {
    pub(crate) chain: Arc<Chain>,
    pub(crate) credentials: Credentials,
    pub(crate) strangers: Strangers,
}

impl Pending {
    pub(crate) fn new(version: Version, method: &str, connect: Vec<u8>) -> Self {
        Self { version, method: method.into(), connect, exchange: None, is_asked: false }
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// Returns whether the client has nothing to add: what it sends is for later.
    pub(crate) fn is_plain(&self) -> bool {
        self.method.is_empty()
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
    ) -> (Self, Authenticators) {
        let (sender, requests) = sync_channel(REQUESTS_MAX);
        (Self { authenticator, requests: sender }, Authenticators { requests })
    }

    /// Begins an exchange with a client that came in by `door`.
    pub(crate) fn begin(
        &self,
        door: &Door,
        method: &str,
        client_id: &str,
    ) -> Option<Box<dyn Exchange>> {
        let own = door.begin(method, client_id);
        own.or_else(|| self.authenticator.as_ref()?.begin(method, client_id))
    }

    /// Has a step worked out. The answer comes as [`Letter::Authenticated`]. Returns false when too
    /// many are waiting already.
    pub(crate) fn ask(
        &self,
        shard: usize,
        link: Key,
        exchange: Box<dyn Exchange>,
        data: Vec<u8>,
        deadline: Time,
    ) -> bool {
        self.requests.try_send(Request { shard, link, exchange, data, deadline }).is_ok()
    }
}

impl Authenticators {
    /// Starts so many threads, which end when the authority is gone.
    ///
    /// # Errors
    ///
    /// The system is out of threads.
    pub(crate) fn start(
        self,
        threads: usize,
        clock: Clock,
        mailboxes: &Arc<[Mailbox]>,
    ) -> io::Result<()> {
        // Who waits for a request holds the lock; who works one out does not.
        let requests = Arc::new(Mutex::new(self.requests));
        for _ in 0..threads {
            let (requests, mailboxes) = (Arc::clone(&requests), Arc::clone(mailboxes));
            let work = move || {
                os::yield_to_others();
                while let Some(request) = next(&requests) {
                    // Its client was told that the broker is busy, and is gone.
                    if request.deadline > clock.now() {
                        request.answer(&mailboxes);
                    }
                }
            };
            std::thread::Builder::new().name("authentication".to_owned()).spawn(work)?;
        }
        Ok(())
    }
}

fn next(requests: &Mutex<Receiver<Request>>) -> Option<Request> {
    requests.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

impl Request {
    /// Works the step out and posts the answer.
    fn answer(mut self, mailboxes: &[Mailbox]) {
        let step = self.exchange.step(&self.data);
        let answer = Box::new(Answer { exchange: self.exchange, step });
        mailboxes[self.shard].send(Letter::Authenticated { link: self.link, answer });
    }
}

impl Exchange for Judgement {
    fn step(&mut self, _: &[u8]) -> Step {
        match self.chain.judge(&self.credentials, self.strangers) {
            Ok(Some(identity)) => Step::Identify(Box::new(identity), Vec::new()),
            Ok(None) => Step::Accept(Vec::new()),
            Err(reason) => Step::Refuse(reason),
        }
    }
}

/// Steps that may wait. One more is refused with 0x89, Server busy.
const REQUESTS_MAX: usize = 1_024;
