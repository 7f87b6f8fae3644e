//! The state of a client, between the application's calls and the task that drives the connection.
//!
//! One lock holds it together. It is held for as long as it takes to handle what is there, never while waiting for
//! anything, and no code of the application runs under it but an authenticator's first and last word. Acknowledgements of the application take another lock, a
//! small one, so that a message may be dropped anywhere.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use quelea_codec::{AckProperties, QoS, ReasonCode};
use quelea_session::client::{ClientSession, ClientSettings, Done, Outcome, Receipt, Unacceptable};
use quelea_session::{Outbox, Position, Time};
use tokio::sync::{Notify, Semaphore, broadcast, oneshot, watch};
use tokio::task::coop::consume_budget;
use tokio::time::Instant;

use crate::backoff::Random;
use crate::claims::Claims;
use crate::error::{PublishError, Reason};
use crate::event::{EVENTS_MAX, Event};
use crate::handle::{Acknowledgement, PublishHandle};
use crate::journal::{self, Journal, JournalFile, Operation};
use crate::message::Publish;
use crate::options::{Options, QueueOverflow};
use crate::registry::Registry;

/// What the application and the driving task share.
pub(crate) struct Shared {
    core: Mutex<Core>,
    /// What the application says of messages that it has received: at most as many as the broker may have under way.
    settled: Mutex<Vec<Settled>>,
    /// Keeps accepted messages beyond the process.
    journal: OnceLock<Journal>,
    /// Wakes the driving task.
    pub(crate) wake: Notify,
    /// Room in the queue, in messages.
    room: Semaphore,
    /// Room in the queue, in bytes.
    room_bytes: Semaphore,
    /// Shared, because there is a place for each of many from the start.
    pub(crate) events: broadcast::Sender<Arc<Event>>,
    /// How many messages were left undone, once the client is closed.
    pub(crate) closed: watch::Sender<Option<usize>>,
    pub(crate) options: Options,
    start: Instant,
}

pub(crate) struct Core {
    pub(crate) session: ClientSession<Ticket>,
    /// Bytes for the broker that the driving task has not taken.
    pub(crate) out: Vec<u8>,
    /// How many of them hold back further messages: fewer while the network has not taken the earlier ones.
    pub(crate) out_bytes_max: usize,
    pub(crate) registry: Registry,
    pub(crate) claims: Claims,
    pub(crate) lifecycle: Lifecycle,
    /// What is in the file, if there is one.
    pub(crate) kept: Kept,
    /// A re-authentication is wanted.
    pub(crate) reauthenticates: bool,
    /// Scratch.
    pub(crate) done: Vec<Done<Ticket>>,
    /// Who has got messages of the packets that are being handled.
    pub(crate) wakers: Vec<Waker>,
}

/// How far the file for accepted messages has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    /// One past the last message in it.
    pub(crate) kept_before: Position,
    /// What is before may be sent.
    pub(crate) mark: Position,
    /// The mark that it was told last.
    mark_told: Position,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    Open,
    /// No message is accepted any more. What is there may be sent until then.
    Closing(Instant),
    Closed,
}

/// What the application said of a message: the reason to acknowledge it with, or that it will not.
pub(crate) type Settled = (Receipt, Option<ReasonCode>);

/// What is kept of a message beside the message.
#[derive(Debug)]
pub(crate) struct Ticket {
    owner: Owner,
    /// Its part of the queue's bytes.
    bytes: u32,
}

/// Who wants to know what became of a message.
#[derive(Debug)]
enum Owner {
    /// Who holds the handle.
    Handle(oneshot::Sender<Result<Acknowledgement, PublishError>>),
    /// Nobody: an earlier process accepted it, on this topic.
    Earlier(String),
}

/// Room that was taken in the queue, and is given back if no message takes it.
struct Room<'a> {
    shared: &'a Shared,
    bytes: u32,
}

impl Shared {
    /// Returns the state of a client that begins, with what the file of an earlier one has.
    pub(crate) fn new(options: Options, file: Option<&mut JournalFile>) -> Arc<Self> {
        let settings = ClientSettings {
            ping_patience_millis: millis(options.ping_timeout),
            keeps_beyond_process: file.is_some(),
            ..ClientSettings::default()
        };
        let mut session = ClientSession::new(settings);
        let start = Instant::now();
        let recovered =
            file.map(|file| journal::recover(file, &mut session, Time::ZERO)).unwrap_or_default();
        let core = Core {
            session,
            out: Vec::new(),
            out_bytes_max: 0,
            registry: Registry::new(Random::from_system().next()),
            claims: Claims::new(options.receive_maximum),
            lifecycle: Lifecycle::Open,
            kept: Kept {
                kept_before: recovered.kept_before,
                mark: recovered.mark,
                mark_told: recovered.mark,
            },
            reauthenticates: false,
            done: Vec::new(),
            wakers: Vec::new(),
        };
        // What came back counts, even beyond a limit that was lowered since.
        let room = options.queue.messages_max.saturating_sub(recovered.messages);
        let room_bytes = options.queue.bytes_max.saturating_sub(recovered.bytes);
        Arc::new(Self {
            core: Mutex::new(core),
            settled: Mutex::default(),
            wake: Notify::new(),
            journal: OnceLock::new(),
            room: Semaphore::new(room.min(Semaphore::MAX_PERMITS)),
            room_bytes: Semaphore::new(room_bytes.min(Semaphore::MAX_PERMITS)),
            events: broadcast::Sender::new(EVENTS_MAX),
            closed: watch::Sender::new(None),
            options,
            start,
        })
    }

    /// Accepts a message, waiting for room if the queue is full and its rule is to wait.
    pub(crate) async fn publish(
        &self,
        publish: &Publish<'_>,
    ) -> Result<PublishHandle, PublishError> {
        let forwarded = publish.forwarded().map_err(|_| PublishError::PropertyInvalid)?;
        let bytes = self.size(publish, &forwarded)?;
        if publish.qos == QoS::AtMostOnce {
            // Whoever publishes without end, and never waits, lets others have their turn.
            consume_budget().await;
            if let Some(handle) = self.send_now(publish, &forwarded) {
                return Ok(handle);
            }
        }
        let room = match self.options.queue.overflow {
            QueueOverflow::Wait => self.wait_for_room(bytes).await?,
            QueueOverflow::RejectNewest | QueueOverflow::DropOldest => self.take_room(bytes)?,
        };
        let (handle, kept) = self.accept(publish, &forwarded, room)?;
        match kept {
            None => Ok(handle),
            // Without an answer the file is gone, and with it the client.
            Some(kept) => kept.await.unwrap_or(Err(PublishError::Closed)).map(|()| handle),
        }
    }

    /// Accepts a message if there is room, or room can be made, at once.
    pub(crate) fn try_publish(&self, publish: &Publish<'_>) -> Result<PublishHandle, PublishError> {
        if self.journal.get().is_some() {
            return Err(PublishError::NeedsWaiting);
        }
        let forwarded = publish.forwarded().map_err(|_| PublishError::PropertyInvalid)?;
        let bytes = self.size(publish, &forwarded)?;
        if publish.qos == QoS::AtMostOnce
            && let Some(handle) = self.send_now(publish, &forwarded)
        {
            return Ok(handle);
        }
        let room = self.take_room(bytes)?;
        self.accept(publish, &forwarded, room).map(|(handle, _)| handle)
    }

    /// Writes a message at QoS 0 behind what the driving task is about to send, if it may go at once. It takes no room
    /// in the queue, and all that there will be to say of it is known.
    fn send_now(&self, publish: &Publish<'_>, forwarded: &[u8]) -> Option<PublishHandle> {
        let content = publish.content(forwarded, || self.now());
        // To one that does not expire all times are the same.
        let now = content.expires_at.map_or(Time::ZERO, |_| self.now());
        let mut core = self.lock();
        let Core { session, out, out_bytes_max, lifecycle, .. } = &mut *core;
        // Whoever wrote the first bytes has woken the task.
        let is_first = out.is_empty();
        let mut outbox = Outbox { buffer: out, unsent_before: 0, bytes_max: *out_bytes_max };
        let is_sent = *lifecycle == Lifecycle::Open
            && session.send_now(&content, publish.retain, now, &mut outbox);
        drop(core);
        if is_sent && is_first {
            self.wake.notify_one();
        }
        is_sent.then(PublishHandle::sent)
    }

    /// Returns what a message takes of the queue's bytes, if it could ever fit.
    fn size(&self, publish: &Publish<'_>, forwarded: &[u8]) -> Result<u32, PublishError> {
        let bytes = publish.topic.len() + publish.payload.len() + forwarded.len();
        match u32::try_from(bytes) {
            Ok(size) if bytes <= self.options.queue.bytes_max => Ok(size),
            Ok(_) | Err(_) => Err(PublishError::TooLarge),
        }
    }

    async fn wait_for_room(&self, bytes: u32) -> Result<Room<'_>, PublishError> {
        // Nearly always there is some. What is given back goes first to those who wait: nobody is overtaken for ever.
        if let Some(room) = self.try_room(bytes) {
            return Ok(room);
        }
        // Whoever has a place and waits for bytes waits only for messages that are under way, and these need neither:
        // so the two cannot wait for each other.
        let place = self.room.acquire().await.map_err(|_| PublishError::Closed)?;
        let share = self.room_bytes.acquire_many(bytes).await.map_err(|_| PublishError::Closed)?;
        place.forget();
        share.forget();
        Ok(Room { shared: self, bytes })
    }

    fn try_room(&self, bytes: u32) -> Option<Room<'_>> {
        let place = self.room.try_acquire().ok()?;
        let share = self.room_bytes.try_acquire_many(bytes).ok()?;
        place.forget();
        share.forget();
        Some(Room { shared: self, bytes })
    }

    fn take_room(&self, bytes: u32) -> Result<Room<'_>, PublishError> {
        loop {
            if self.room.is_closed() {
                return Err(PublishError::Closed);
            }
            if let Some(room) = self.try_room(bytes) {
                return Ok(room);
            }
            if self.options.queue.overflow != QueueOverflow::DropOldest {
                return Err(PublishError::QueueFull);
            }
            // Each turn drops one message, until none is left that may be.
            let oldest = self.lock().session.drop_oldest();
            let (position, oldest) = oldest.ok_or(PublishError::QueueFull)?;
            self.resolve(position, oldest, Err(PublishError::Displaced));
        }
    }

    /// Hands a message to the session, and to the file if there is one: then it is accepted when that says so.
    fn accept(
        &self,
        publish: &Publish<'_>,
        forwarded: &[u8],
        room: Room<'_>,
    ) -> Result<(PublishHandle, Option<KeptReply>), PublishError> {
        let content = publish.content(forwarded, || self.now());
        let (reply, receiver) = oneshot::channel();
        let ticket = Ticket { owner: Owner::Handle(reply), bytes: room.bytes };
        let mut core = self.lock();
        if core.lifecycle != Lifecycle::Open {
            return Err(PublishError::Closed);
        }
        let position = match core.session.accept(&content, publish.qos, publish.retain, ticket) {
            Ok(position) => position,
            Err((Unacceptable::TopicInvalid, _)) => return Err(PublishError::TopicInvalid),
            Err(_) => return Err(PublishError::TooLarge),
        };
        // Under the lock: the file has the messages in their order.
        let kept = self.journal.get().map(|journal| {
            let expires_at_wall = publish
                .expiry
                .map_or(0, |expiry| journal::wall_millis().saturating_add(millis(expiry)));
            let (qos, retain) = (publish.qos, publish.retain);
            let record = journal::accepted(position, &content, qos, retain, expires_at_wall);
            let (reply, kept) = oneshot::channel();
            journal.submit(Operation::Accept { position, record, reply });
            kept
        });
        drop(core);
        room.keep();
        self.wake.notify_one();
        Ok((PublishHandle::new(receiver), kept))
    }

    /// Starts to keep messages in a file.
    pub(crate) fn keep_in(self: &Arc<Self>, file: JournalFile) -> io::Result<()> {
        let journal = Journal::start(file, self)?;
        // It is called once.
        let _ = self.journal.set(journal);
        Ok(())
    }

    pub(crate) fn journal(&self) -> Option<&Journal> {
        self.journal.get()
    }

    /// Has the file say, before it is so, that further messages may have been sent.
    pub(crate) fn extend_mark(&self, core: &mut Core) {
        let Some(journal) = self.journal.get() else {
            return;
        };
        let sent_before = core.session.sent_before();
        if sent_before.plus(MARK_AHEAD / 2) > core.kept.mark_told {
            let mark = sent_before.plus(MARK_AHEAD);
            core.kept.mark_told = mark;
            journal.submit(Operation::Mark(mark));
        }
    }

    /// Tells the application what became of a message, and gives its room to others.
    pub(crate) fn resolve(
        &self,
        position: Position,
        ticket: Ticket,
        result: Result<Acknowledgement, PublishError>,
    ) {
        if let Some(journal) = self.journal.get() {
            journal.submit(Operation::Done(position));
        }
        self.give_back(ticket.bytes);
        match (ticket.owner, result) {
            // The application may have dropped the handle: the message was sent all the same.
            (Owner::Handle(reply), result) => drop(reply.send(result)),
            (Owner::Earlier(_), Ok(_)) => {}
            (Owner::Earlier(topic), Err(error)) => self.emit(Event::NotPublished { topic, error }),
        }
    }

    /// Tells the application of a broker's last word on a message.
    pub(crate) fn acknowledged(
        &self,
        position: Position,
        ticket: Ticket,
        code: ReasonCode,
        properties: &AckProperties<'_>,
    ) {
        let result = if code.is_failure() {
            let text = properties.reason_string.map(str::to_owned);
            Err(PublishError::Refused(Reason { code, text }))
        } else {
            Ok(Acknowledgement::by_broker(code, properties))
        };
        self.resolve(position, ticket, result);
    }

    /// Tells the application of messages that are done with, though no acknowledgement came.
    pub(crate) fn finish(&self, done: &mut Vec<Done<Ticket>>) {
        for Done { ticket, position, outcome } in done.drain(..) {
            self.resolve(position, ticket, result_of(outcome));
        }
    }

    fn give_back(&self, bytes: u32) {
        self.room_bytes.add_permits(bytes as usize);
        self.room.add_permits(1);
    }

    /// Notes what the application says of a message.
    pub(crate) fn settle(&self, receipt: Receipt, answer: Option<ReasonCode>) {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).push((receipt, answer));
        self.wake.notify_one();
    }

    /// Takes what the application has said of messages.
    pub(crate) fn take_settled(&self) -> Vec<Settled> {
        std::mem::take(&mut *self.settled.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Accepts no more messages, and has the client close when those that are there are done with, or after `limit`.
    pub(crate) fn begin_close(&self, limit: Duration) {
        let until = Instant::now() + limit;
        let mut core = self.lock();
        core.lifecycle = match core.lifecycle {
            Lifecycle::Open => Lifecycle::Closing(until),
            Lifecycle::Closing(earlier) => Lifecycle::Closing(earlier.min(until)),
            Lifecycle::Closed => Lifecycle::Closed,
        };
        drop(core);
        self.room.close();
        self.room_bytes.close();
        self.wake.notify_one();
    }

    /// Ends everything that waits for the client. The driving task does nothing more.
    pub(crate) fn finish_close(&self) {
        let mut core = self.lock();
        core.lifecycle = Lifecycle::Closed;
        let unfinished = core.session.unfinished();
        // Whoever waits for a message of it finds that nobody will answer.
        core.session = ClientSession::new(ClientSettings::default());
        core.registry.end();
        let unclaimed = core.claims.end();
        drop(core);
        drop(unclaimed);
        self.room.close();
        self.room_bytes.close();
        self.emit(Event::Closed);
        self.closed.send_replace(Some(unfinished));
    }

    /// Tells those who watch.
    pub(crate) fn emit(&self, event: Event) {
        // Nobody may be watching.
        let _ = self.events.send(Arc::new(event));
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the time as sessions have it.
    pub(crate) fn now(&self) -> Time {
        Time::from_millis(millis(self.start.elapsed()))
    }

    /// Returns when it will be `time`.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        self.start + Duration::from_millis(time.as_millis())
    }
}

impl Ticket {
    /// Returns the ticket of a message that an earlier process accepted.
    pub(crate) fn recovered(topic: String, bytes: u32) -> Self {
        Self { owner: Owner::Earlier(topic), bytes }
    }
}

impl Room<'_> {
    /// Leaves the room to a message that was accepted.
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.shared.give_back(self.bytes);
    }
}

fn result_of(outcome: Outcome) -> Result<Acknowledgement, PublishError> {
    match outcome {
        Outcome::Sent => Ok(Acknowledgement::sent()),
        Outcome::Expired => Err(PublishError::Expired),
        Outcome::QoSNotSupported => Err(PublishError::QoSNotSupported),
        Outcome::RetainNotSupported => Err(PublishError::RetainNotSupported),
        Outcome::TooLarge => Err(PublishError::TooLarge),
        Outcome::Unknown => Err(PublishError::Unknown),
        // What a later version of the session may say of a message that no acknowledgement came for.
        _ => Err(PublishError::Unknown),
    }
}

/// Where the file says that it has a message.
type KeptReply = oneshot::Receiver<Result<(), PublishError>>;

/// How many positions the mark is ahead of what was sent. After a crash so many messages may be taken for sent that were
/// not: they are sent with DUP, which costs nothing, and those at QoS 0 are dropped.
const MARK_AHEAD: u64 = 1_024;

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
