//! Authentication: who decides, and how a shard asks without waiting.
//!
//! To judge a client, or to take a step of an enhanced authentication, may be slow. The shard sends it to threads
//! of their own and goes on; the answer comes as mail. Who has to ask elsewhere about a client says so, and the thread
//! goes on too: that is waited for on the runtime of the control plane.
//!
//! Those threads yield to the shards: a storm of passwords to hash must not slow down who is connected.

use std::fmt;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quelea_auth::{
    Chain, Credentials, Exchange, Identity, Judged, Later, SoFar, Step, Strangers, Verdict,
};
use quelea_codec::{ReasonCode, Version};
use quelea_session::Time;
use tokio::runtime::Handle;
use tokio::time::timeout;

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

/// The outcome of a step, or of a judgement.
pub(crate) struct Answer {
    /// What the step was of, if it goes on.
    pub(crate) exchange: Option<Box<dyn Exchange>>,
    pub(crate) step: Step,
}

/// Where shards send what authentication needs.
pub(crate) struct Authority {
    authenticator: Option<Arc<dyn EnhancedAuthenticator>>,
    requests: SyncSender<Request>,
}

/// Something to be worked out.
struct Request {
    asker: Asker,
    work: Work,
}

/// Whom the answer is for.
struct Asker {
    shard: usize,
    link: Key,
    /// It does not wait any longer than that.
    deadline: Time,
    /// For what is still to be done when somebody has been asked elsewhere.
    requests: SyncSender<Request>,
}

/// What is to be worked out.
enum Work {
    /// A step of an exchange, with what the client has sent.
    Step(Box<dyn Exchange>, Vec<u8>),
    /// All that a plain CONNECT says.
    Judge(Box<Judgement>),
}

/// The threads that work steps out.
pub(crate) struct Authenticators {
    requests: Receiver<Request>,
}

/// What those threads need.
#[derive(Clone)]
struct Desk {
    clock: Clock,
    mailboxes: Arc<[Mailbox]>,
    /// Where it is waited for what somebody says later.
    runtime: Handle,
}

/// A client that is judged by its chain.
pub(crate) struct Judgement {
    chain: Arc<Chain>,
    credentials: Credentials,
    strangers: Strangers,
    so_far: SoFar,
    /// What the latest source has said.
    latest: Verdict,
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
        self.send(shard, link, Work::Step(exchange, data), deadline)
    }

    /// Has a client judged; the answer comes in the same way. Returns false when too many are waiting already.
    pub(crate) fn judge(
        &self,
        shard: usize,
        link: Key,
        judgement: Judgement,
        deadline: Time,
    ) -> bool {
        self.send(shard, link, Work::Judge(Box::new(judgement)), deadline)
    }

    fn send(&self, shard: usize, link: Key, work: Work, deadline: Time) -> bool {
        let asker = Asker { shard, link, deadline, requests: self.requests.clone() };
        self.requests.try_send(Request { asker, work }).is_ok()
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
        runtime: Handle,
    ) -> io::Result<()> {
        let desk = Desk { clock, mailboxes: Arc::clone(mailboxes), runtime };
        // Who waits for a request holds the lock; who works one out does not.
        let requests = Arc::new(Mutex::new(self.requests));
        for _ in 0..threads {
            let (requests, desk) = (Arc::clone(&requests), desk.clone());
            let work = move || {
                os::yield_to_others();
                while let Some(request) = next(&requests) {
                    request.work_out(&desk);
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
    fn work_out(self, desk: &Desk) {
        if self.asker.deadline <= desk.clock.now() {
            // Who wanted to come in was told so, and is gone. Who is in, and authenticates again, still waits.
            return self.asker.answer(None, Step::Refuse(ReasonCode::SERVER_BUSY), desk);
        }
        match self.work {
            Work::Step(mut exchange, data) => {
                let step = exchange.step(&data);
                self.asker.answer(Some(exchange), step, desk);
            }
            Work::Judge(judgement) => self.asker.judge(judgement, desk),
        }
    }
}

impl Asker {
    fn judge(self, mut judgement: Box<Judgement>, desk: &Desk) {
        let step = match judgement.go_on() {
            Judged::Done(Ok(Some(identity))) => Step::Identify(Box::new(identity), Vec::new()),
            Judged::Done(Ok(None)) => Step::Accept(Vec::new()),
            Judged::Done(Err(reason)) => Step::Refuse(reason),
            Judged::Later { verdict, so_far } => {
                judgement.so_far = so_far;
                drop(desk.runtime.spawn(self.wait(judgement, verdict, desk.clone())));
                return;
            }
        };
        self.answer(None, step, desk);
    }

    /// Waits for what somebody says later. It takes a thread again only if others are to be asked.
    async fn wait(self, mut judgement: Box<Judgement>, verdict: Later, desk: Desk) {
        let left = self.deadline.as_millis().saturating_sub(desk.clock.now().as_millis());
        let Ok(latest) = timeout(Duration::from_millis(left), verdict).await else {
            // Its client was told that the broker is busy, and is gone.
            return;
        };
        let others_are_to_be_asked = matches!(latest, Verdict::Next | Verdict::Unable);
        judgement.latest = latest;
        if !others_are_to_be_asked {
            return self.judge(judgement, &desk);
        }
        let requests = self.requests.clone();
        let request = Request { asker: self, work: Work::Judge(judgement) };
        // Without the authority, nobody waits for an answer either.
        if let Err(TrySendError::Full(request)) = requests.try_send(request) {
            request.asker.answer(None, Step::Refuse(ReasonCode::SERVER_BUSY), &desk);
        }
    }

    fn answer(self, exchange: Option<Box<dyn Exchange>>, step: Step, desk: &Desk) {
        let answer = Box::new(Answer { exchange, step });
        desk.mailboxes[self.shard].send(Letter::Authenticated { link: self.link, answer });
    }
}

impl Judgement {
    pub(crate) fn new(chain: Arc<Chain>, credentials: Credentials, strangers: Strangers) -> Self {
        Self { chain, credentials, strangers, so_far: SoFar::default(), latest: Verdict::Next }
    }

    fn go_on(&mut self) -> Judged {
        let latest = std::mem::replace(&mut self.latest, Verdict::Next);
        self.chain.go_on(self.so_far, latest, &self.credentials, self.strangers)
    }
}

/// Steps that may wait. One more is refused with 0x89, Server busy.
const REQUESTS_MAX: usize = 1_024;
