//! One network connection: bytes in, bytes out, and whatever else wakes the driving task.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use quelea_codec::{DecodeError, Frame, Framing, next_frame};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::transport::Io;

/// A connection with its buffers.
pub(crate) struct Link {
    io: Box<dyn Io>,
    inbox: Inbox,
    /// Bytes on their way out, behind some that have left.
    outbox: Vec<u8>,
    unsent_from: usize,
    needs_flush: bool,
    timer: Pin<Box<Sleep>>,
}

/// Bytes that were read.
struct Inbox {
    /// As long as there is room.
    buffer: Vec<u8>,
    /// What was handled, and where what was read ends.
    handled: usize,
    filled: usize,
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Bytes have come.
    Read,
    /// All bytes have left.
    Wrote,
    /// The application wants something, or it is time.
    Woken,
}

impl Link {
    pub(crate) fn new(io: Box<dyn Io>) -> Self {
        Self {
            io,
            inbox: Inbox { buffer: vec![0; INBOX_BYTES_MIN], handled: 0, filled: 0 },
            outbox: Vec::new(),
            unsent_from: 0,
            needs_flush: false,
            timer: Box::pin(sleep_until(Instant::now())),
        }
    }

    /// Takes bytes to be written, and leaves an empty buffer.
    pub(crate) fn take(&mut self, out: &mut Vec<u8>) {
        if self.outbox.is_empty() {
            std::mem::swap(&mut self.outbox, out);
            // Not to hold what one great message took.
            self.outbox.shrink_to(OUTBOX_BYTES_KEPT.max(self.outbox.len()));
        } else {
            self.outbox.append(out);
        }
    }

    /// Returns how many bytes have not left.
    pub(crate) fn unsent(&self) -> usize {
        self.outbox.len() - self.unsent_from
    }

    /// Waits for the broker, for `wake`, or for `deadline`, and writes meanwhile.
    ///
    /// # Errors
    ///
    /// The network's, and `UnexpectedEof` when the broker has closed the connection.
    pub(crate) async fn step(
        &mut self,
        wake: &Notify,
        deadline: Option<Instant>,
    ) -> io::Result<Step> {
        if let Some(deadline) = deadline
            && self.timer.deadline() != deadline
        {
            self.timer.as_mut().reset(deadline);
        }
        let mut woken = pin!(wake.notified());
        std::future::poll_fn(|context| {
            let has_written = self.poll_write(context)?;
            // A broker that does not read what it is owed gets to say nothing more.
            if self.unsent() < OUTBOX_BYTES_MAX
                && let Poll::Ready(read) = self.poll_read(context)
            {
                return Poll::Ready(read.map(|()| Step::Read));
            }
            if has_written {
                return Poll::Ready(Ok(Step::Wrote));
            }
            if woken.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(Step::Woken));
            }
            if deadline.is_some() {
                ready!(self.timer.as_mut().poll(context));
                return Poll::Ready(Ok(Step::Woken));
            }
            Poll::Pending
        })
        .await
    }

    /// Writes what the network takes; returns whether all has left in this call.
    fn poll_write(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        let had_unsent = self.unsent() > 0;
        while self.unsent() > 0 {
            let unsent = &self.outbox[self.unsent_from..];
            match Pin::new(&mut self.io).poll_write(context, unsent)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => self.unsent_from += count,
                Poll::Pending => return Ok(false),
            }
            self.needs_flush = true;
        }
        if self.needs_flush && Pin::new(&mut self.io).poll_flush(context)?.is_ready() {
            self.needs_flush = false;
        }
        if had_unsent {
            self.outbox.clear();
            self.unsent_from = 0;
        }
        Ok(had_unsent)
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut buffer = ReadBuf::new(self.inbox.room());
        ready!(Pin::new(&mut self.io).poll_read(context, &mut buffer))?;
        let count = buffer.filled().len();
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.inbox.filled += count;
        Poll::Ready(Ok(()))
    }

    /// Calls `handle` for each whole packet that has come.
    ///
    /// # Errors
    ///
    /// Bytes that are no packet, and what `handle` returns.
    pub(crate) fn frames<E: From<DecodeError>>(
        &mut self,
        packet_bytes_max: u32,
        mut handle: impl FnMut(Frame<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Inbox { buffer, handled, filled } = &mut self.inbox;
        loop {
            match next_frame(&buffer[*handled..*filled], packet_bytes_max)? {
                Framing::Complete { frame, consumed } => {
                    *handled += consumed;
                    handle(frame)?;
                }
                Framing::Incomplete { total_bytes } => {
                    self.inbox.prepare(total_bytes.unwrap_or(0));
                    return Ok(());
                }
            }
        }
    }

    /// Writes what is left, and ends the connection so that the broker can read it: within `limit`.
    pub(crate) async fn close(mut self, limit: Duration) {
        let farewell = async {
            self.io.write_all(&self.outbox[self.unsent_from..]).await?;
            self.io.flush().await?;
            self.io.shutdown().await?;
            // What the broker still says must be read, or the system resets the connection, and with it our last words.
            let mut rest = vec![0; 1024];
            while self.io.read(&mut rest).await? > 0 {}
            io::Result::Ok(())
        };
        // It was the last that we wanted of it: what goes wrong goes wrong for nobody.
        let _ = timeout(limit, farewell).await;
    }
}

impl Inbox {
    /// Makes room for the rest of a packet of `packet_bytes`, or for the start of the next.
    fn prepare(&mut self, packet_bytes: usize) {
        // The last read took all the room there was: there is more to come.
        let is_busy = self.filled == self.buffer.len();
        self.buffer.copy_within(self.handled..self.filled, 0);
        self.filled -= self.handled;
        self.handled = 0;
        let wanted = match packet_bytes.max(self.filled + 1) {
            bytes if is_busy => bytes.max((self.buffer.len() * 2).min(INBOX_BYTES_KEPT)),
            bytes => bytes.max(INBOX_BYTES_MIN),
        };
        if wanted > self.buffer.len() {
            self.buffer.resize(wanted, 0);
        } else if self.buffer.len() > INBOX_BYTES_KEPT && wanted <= INBOX_BYTES_KEPT {
            self.buffer.truncate(INBOX_BYTES_KEPT);
            self.buffer.shrink_to_fit();
        }
    }

    /// Returns where the next bytes go: never nothing, because [`Self::prepare`] was called after the last ones.
    fn room(&mut self) -> &mut [u8] {
        &mut self.buffer[self.filled..]
    }
}

/// The room for what is read, at first and when there is much to read.
const INBOX_BYTES_MIN: usize = 1024;
const INBOX_BYTES_KEPT: usize = 64 * 1024;

/// How much room for what is written is kept.
const OUTBOX_BYTES_KEPT: usize = 64 * 1024;

/// How many bytes may wait for a broker that does not read them, before nothing more is read from it.
const OUTBOX_BYTES_MAX: usize = 1024 * 1024;
