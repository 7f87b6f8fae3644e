//! Accepted messages in a file, so that they survive the process.
//!
//! A thread of its own writes it. What is submitted while it syncs is written together next time, with one sync for
//! all. A message is accepted when its record is synced; nothing is sent before, nor before a mark behind it is; and the
//! thread tells the session when either holds.
//!
//! The file holds records in the order in which they were submitted (`record`). What is done with is dead weight; when
//! there is more of it than of the rest, the living is copied to a new file, which takes the old one's place.

#[cfg(test)]
mod crashes;
mod disk;
mod file;
mod record;
#[cfg(test)]
mod simulated_disk;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use quelea_codec::QoS;
use quelea_session::Position;
use quelea_session::client::ClientSession;
use tokio::sync::oneshot;

use crate::error::{JournalError, PublishError};
use crate::event::Event;
use crate::shared::{Core, Shared, Ticket};

use disk::RealDisk;
pub(crate) use file::JournalFile;
use record::Record;
pub(crate) use record::accepted;

/// Where accepted messages are kept.
pub(crate) struct Journal {
    /// Absent only while this is dropped.
    operations: Option<Sender<Operation>>,
    thread: Option<JoinHandle<()>>,
}

/// What is to be kept.
pub(crate) enum Operation {
    /// A message, as the record that says so; who gave it waits.
    Accept { position: Position, record: Vec<u8>, reply: oneshot::Sender<Result<(), PublishError>> },
    /// Messages before this position may have been sent.
    Mark(Position),
    /// The broker has a QoS 2 message.
    Received(Position),
    /// A message is done with.
    Done(Position),
    /// Nothing, but that all before is kept.
    Flush(oneshot::Sender<()>),
    /// Nothing more: the file is let go of.
    Close(oneshot::Sender<()>),
}

impl Journal {
    /// Starts the thread that writes `file`.
    pub(crate) fn start(file: JournalFile, shared: &Arc<Shared>) -> io::Result<Self> {
        // Not bounded by itself: a message waits here only while it has its room in the queue, and what is told of it
        // later only when it has been written.
        let (operations, receiver) = channel();
        let shared = Arc::downgrade(shared);
        let run = move || {
            let writer = Writer { shared, replies: Vec::new(), told: Told::default() };
            writer.run(file, &receiver);
        };
        let thread = thread::Builder::new().name("mqtt-journal".to_owned()).spawn(run)?;
        Ok(Self { operations: Some(operations), thread: Some(thread) })
    }

    /// Submits what is to be kept. The order of submissions is that of the file. After the end of the thread it is
    /// dropped, with whatever waits for it.
    pub(crate) fn submit(&self, operation: Operation) {
        if let Some(operations) = &self.operations {
            // The thread has ended: the client is closed.
            let _ = operations.send(operation);
        }
    }

    /// Waits until all that was submitted is kept, or never will be.
    pub(crate) async fn flush(&self) {
        let (reply, kept) = oneshot::channel();
        self.submit(Operation::Flush(reply));
        let _ = kept.await;
    }

    /// Waits until all that was submitted is written, and lets go of the file.
    pub(crate) async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        self.submit(Operation::Close(reply));
        let _ = closed.await;
    }
}

impl Drop for Journal {
    /// Waits for the thread, so that the file can be opened again at once.
    fn drop(&mut self) {
        self.operations = None;
        if let Some(thread) = self.thread.take()
            // The last to hold the client may be the thread itself.
            && thread.thread().id() != thread::current().id()
        {
            // It has told of what went wrong.
            let _ = thread.join();
        }
    }
}

/// The thread that writes.
struct Writer {
    shared: Weak<Shared>,
    /// Who waits for the sync.
    replies: Vec<oneshot::Sender<Result<(), PublishError>>>,
    told: Told,
}

/// What the session has to be told after the next sync.
#[derive(Default)]
struct Told {
    /// One past the last message that is kept.
    kept_before: Option<Position>,
    mark: Option<Position>,
    received: Vec<Position>,
    flushes: Vec<oneshot::Sender<()>>,
    needs_sync: bool,
}

impl Writer {
    fn run(mut self, mut file: JournalFile, operations: &Receiver<Operation>) {
        let mut closes = None;
        while closes.is_none()
            && let Ok(first) = operations.recv()
        {
            let mut batch = Vec::new();
            file.begin(&mut batch);
            let mut next = Some(first);
            while let Some(operation) = next.take() {
                match operation {
                    Operation::Close(reply) => closes = Some(reply),
                    operation => self.take(operation, &mut file, &mut batch),
                }
                if closes.is_none() && batch.len() < BATCH_BYTES_MAX {
                    next = operations.try_recv().ok();
                }
            }
            let written = file.append(&batch, self.told.needs_sync);
            if let Err(error) = written.and_then(|()| file.compact_if_due()) {
                return self.fail(&error, operations);
            }
            self.tell();
        }
        drop(file);
        if let Some(closes) = closes {
            let _ = closes.send(());
        }
    }

    /// Adds an operation to a batch.
    fn take(&mut self, operation: Operation, file: &mut JournalFile, batch: &mut Vec<u8>) {
        let told = &mut self.told;
        match operation {
            Operation::Accept { position, record, reply } => {
                file.note(&Record::Accepted { position }, batch.len(), record.len());
                batch.extend_from_slice(&record);
                told.kept_before = Some(position.plus(1));
                told.needs_sync = true;
                self.replies.push(reply);
            }
            Operation::Mark(mark) => {
                file.write(&Record::Mark(mark), batch);
                told.mark = Some(mark);
                told.needs_sync = true;
            }
            Operation::Received(position) => {
                file.write(&Record::Received(position), batch);
                told.received.push(position);
                told.needs_sync = true;
            }
            // If it is lost the message is sent again, in the way that its QoS allows.
            Operation::Done(position) => file.write(&Record::Done(position), batch),
            Operation::Flush(reply) => {
                told.flushes.push(reply);
                told.needs_sync = true;
            }
            Operation::Close(_) => {}
        }
    }

    /// Tells of what is kept: the session, and then those who wait.
    fn tell(&mut self) {
        let told = std::mem::take(&mut self.told);
        if let Some(shared) = self.shared.upgrade() {
            let mut core = shared.lock();
            let Core { session, out, kept, .. } = &mut *core;
            kept.kept_before = told.kept_before.unwrap_or(kept.kept_before);
            kept.mark = told.mark.unwrap_or(kept.mark);
            session.allow_sending_before(kept.kept_before.min(kept.mark));
            for position in told.received {
                session.release(position, out);
            }
            drop(core);
            shared.wake.notify_one();
        }
        for reply in self.replies.drain(..) {
            let _ = reply.send(Ok(()));
        }
        for flush in told.flushes {
            let _ = flush.send(());
        }
    }

    /// Nothing can be promised any more: says so to all who wait, and to all who come.
    fn fail(mut self, error: &io::Error, operations: &Receiver<Operation>) {
        if let Some(shared) = self.shared.upgrade() {
            shared.emit(Event::JournalFailed(error.to_string()));
        }
        let refuse = |reply: oneshot::Sender<_>| {
            let _ = reply.send(Err(PublishError::JournalFailed));
        };
        self.replies.drain(..).for_each(refuse);
        // Those who wait for a flush find it gone.
        drop(std::mem::take(&mut self.told));
        while let Ok(operation) = operations.recv() {
            if let Operation::Accept { reply, .. } = operation {
                refuse(reply);
            }
        }
    }
}

/// Gives the session what the file has, and returns how much it is: messages and bytes.
pub(crate) fn recover(
    file: &mut JournalFile,
    session: &mut ClientSession<Ticket>,
    now: quelea_session::Time,
) -> Recovered {
    let wall = wall_millis();
    let mut recovered = Recovered::default();
    let found = file.take_found();
    session.recover_mark(found.mark);
    recovered.mark = found.mark;
    for (position, message) in found.messages {
        recovered.kept_before = position.plus(1);
        let bytes = u32::try_from(message.size()).unwrap_or(u32::MAX);
        let ticket = |topic: &str| Ticket::recovered(topic.to_owned(), bytes);
        if message.is_received {
            session.recover_received(position, ticket(message.topic()));
        } else if message.qos == QoS::AtMostOnce && position < found.mark {
            // It may have been sent, and is not to arrive twice.
            file.forget(position);
            continue;
        } else {
            let content = message.content(now, wall);
            session.recover(position, &content, message.qos, message.retain, ticket(content.topic));
        }
        recovered.messages += 1;
        recovered.bytes += bytes as usize;
    }
    session.recovered();
    session.allow_sending_before(recovered.kept_before.min(found.mark));
    recovered
}

/// What came back from a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recovered {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) kept_before: Position,
    pub(crate) mark: Position,
}

impl Default for Recovered {
    fn default() -> Self {
        let none = Position::new(0);
        Self { messages: 0, bytes: 0, kept_before: none, mark: none }
    }
}

/// Opens the file at `path` for the session of `client_id`, or makes it.
pub(crate) fn open(path: &Path, client_id: &str) -> Result<JournalFile, JournalError> {
    JournalFile::open(Arc::new(RealDisk), PathBuf::from(path), client_id)
}

/// Returns the time of the wall, which goes on while no process runs.
pub(crate) fn wall_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// How much is written at once.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
