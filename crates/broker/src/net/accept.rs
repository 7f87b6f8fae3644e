//! Accepting connections: one thread per listener, round robin to the shards.
//!
//! `SO_REUSEPORT` is not used: a second broker would start on the same port without a word.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token, Waker};

use super::socket::Socket;
use super::{Entrance, ListeningSocket, Peer, Stream};
use crate::clock::Clock;
use crate::limits::{Bounds, Caller};
use crate::mail::{Arrival, Letter};
use crate::shard::Shared;

/// A thread that accepts connections of one listener.
pub(crate) struct Acceptor {
    waker: Waker,
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Acceptor {
    /// Starts to accept.
    ///
    /// # Errors
    ///
    /// The system is out of files, memory or threads.
    pub(crate) fn start(
        mut listener: ListeningSocket,
        entrance: Arc<Entrance>,
        shared: Arc<Shared>,
        clock: Clock,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.registry().register(listener.source(), LISTENER, Interest::READABLE)?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let is_over_too = Arc::clone(&is_over);
        let work = Work { listener, entrance, poll, shared, clock, is_over: is_over_too };
        let thread =
            std::thread::Builder::new().name("accept".to_owned()).spawn(move || work.run())?;
        Ok(Self { waker, is_over, thread })
    }

    /// Closes the listener. Connections that wait in its backlog are refused by the system.
    pub(crate) fn stop(self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Without the wake-up the thread ends at its next retry.
        let _ = self.waker.wake();
        let _ = self.thread.join();
    }
}

struct Work {
    listener: ListeningSocket,
    entrance: Arc<Entrance>,
    poll: Poll,
    shared: Arc<Shared>,
    clock: Clock,
    is_over: Arc<AtomicBool>,
}

impl Work {
    fn run(mut self) {
        let mut events = Events::with_capacity(8);
        let mut reserve = Reserve::open();
        let mut retry_after = None;
        while !self.is_over.load(Ordering::SeqCst) {
            // The listener reports an edge: after "too many files", or at a rate, nothing more is reported, and
            // only a retry finds out that there is room again.
            if let Err(error) = self.poll.poll(&mut events, retry_after)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "no more connections are accepted");
                return;
            }
            retry_after = self.accept_all(&mut reserve);
        }
    }

    /// Accepts until nothing waits. Returns when to try again, if more may wait: files ran out, or a rate is reached.
    fn accept_all(&self, reserve: &mut Reserve) -> Option<Duration> {
        while !self.is_over.load(Ordering::SeqCst) {
            let wait = self.wait_millis();
            if wait > 0 {
                return Some(Duration::from_millis(wait).min(RETRY));
            }
            match self.listener.accept() {
                Ok((socket, peer)) => self.admit(socket, peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if is_out_of_files(&error) => {
                    tracing::warn!(%error, "a connection was refused");
                    if !reserve.turn_away(&self.listener) {
                        return Some(RETRY);
                    }
                }
                // The connection was gone before it was accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    return Some(RETRY);
                }
            }
        }
        None
    }

    /// Returns how long the next connection has to wait in the system's queue.
    fn wait_millis(&self) -> u64 {
        let now = self.clock.now();
        let own =
            self.entrance.connects_per_sec.map_or(0, |_| self.entrance.connects.wait_millis(now));
        let is_limited = self.shared.live.rules().config.rates.connects_total_per_sec.is_some();
        if is_limited { own.max(self.shared.connects.wait_millis(now)) } else { own }
    }

    fn admit(&self, socket: Socket, peer: Peer) {
        let now = self.clock.now();
        let rules = self.shared.live.rules();
        let rates = &rules.config.rates;
        if let Some(per_sec) = self.entrance.connects_per_sec {
            self.entrance.connects.charge(now, 1, per_sec);
        }
        if let Some(per_sec) = rates.connects_total_per_sec {
            self.shared.connects.charge(now, 1, per_sec);
        }
        let count = self.shared.connection_count.fetch_add(1, Ordering::Relaxed);
        let is_full = count >= rules.config.limits.connections_max as usize;
        let place = self.entrance.enter().filter(|place| !is_full && place.admits(peer));
        // A proxy speaks for many: each counts with its own address, when that is known.
        let ip = peer.ip().filter(|ip| !self.entrance.is_proxy(*ip));
        let caller = Caller { client_id: "", user: None, ip };
        let is_banned = self.shared.banned.has(caller, now, self.shared.wall(now));
        let address = self.shared.addresses.enter(ip.filter(|_| !is_banned), now, rates);
        let (Some(place), Ok(address), false) = (place, address, is_banned) else {
            self.shared.connection_count.fetch_sub(1, Ordering::Relaxed);
            self.shared.connections_refused.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let entrance = self.entrance.has_terms().then(|| Arc::clone(&self.entrance));
        let (number, shard) = self.shared.next_arrival();
        self.shared.mailboxes[shard].send(Letter::Arrived(Box::new(Arrival {
            stream: Stream::new(socket, place, peer),
            address: peer,
            listener: self.entrance.listener,
            unread: Vec::new(),
            accepted_at: now,
            number,
            is_home: false,
            bounds: Bounds::of(address, entrance),
            admission: None,
        })));
    }
}

/// A descriptor kept for the moment when there is none: with it a connection can be accepted to be
/// closed, and its peer is told instead of left hanging.
struct Reserve(Option<std::fs::File>);

impl Reserve {
    fn open() -> Self {
        Self(std::fs::File::open("/dev/null").ok())
    }

    /// Accepts one connection and closes it. Returns false when not even that worked.
    fn turn_away(&mut self, listener: &ListeningSocket) -> bool {
        if self.0.take().is_none() {
            *self = Self::open();
            return false;
        }
        let is_refused = listener.accept().is_ok();
        *self = Self::open();
        is_refused
    }
}

fn is_out_of_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// How often a listener without files looks for some.
const RETRY: Duration = Duration::from_millis(100);

const LISTENER: Token = Token(0);
const WAKE: Token = Token(1);
