//! A broker's shards without threads, sockets and clock, for the simulation in `tests/simulation`.
//!
//! Nothing here is part of the crate's interface. [`House`] does what `start.rs`, the accept threads and
//! `net/runner.rs` do around the shards, step by step and on one thread: whoever holds it says which shard has its turn, when, and
//! what its sockets do.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quelea_auth::Certificate;
use quelea_session::Time;
use quelea_store::{
    Completions, Recovered, SessionNumber, ShardIndex, Store, StoreError, WallMillis,
};

use crate::arena::Key;
use crate::auth::Authority;
use crate::config::Config;
use crate::control::Signal;
use crate::counters::Totals;
use crate::mail::{Arrival, Letter, Mailbox};
use crate::net::{Io, Neighbours, Peer, Ready, Received, Stream, assist};
use crate::post::Post;
use crate::shard::{After, Shard, Shared};
use crate::start::restore;

pub use crate::shard::{Census, Extent};

/// The network of a simulation. It knows connections by number.
pub trait Network: Send {
    /// Shard `shard` takes a connection over: readiness is reported to it from here on, beginning with what is
    /// ready already.
    fn adopt(&mut self, connection: u64, shard: usize);

    /// The shard gives it away.
    fn release(&mut self, connection: u64);

    /// Reads what has arrived, as [`std::io::Read`] does.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nothing has arrived, anything else when the connection is lost.
    fn read(&mut self, connection: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes what fits, as [`std::io::Write`] does.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nothing fits, anything else when the connection is lost.
    fn write(&mut self, connection: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Ends the broker's side.
    fn shutdown(&mut self, connection: u64);

    /// Closes the connection.
    fn close(&mut self, connection: u64);
}

/// What a poll would report of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Readiness {
    /// The connection.
    pub connection: u64,
    /// Bytes have arrived.
    pub is_readable: bool,
    /// There is room for bytes again.
    pub is_writable: bool,
    /// The peer has ended its side, or the connection is broken.
    pub is_closed: bool,
}

/// When a shard has to have a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// It has been woken, or has not finished.
    Now,
    /// Its poll would return at this time, or when a connection is ready.
    Until(Option<Time>),
}

/// The mailboxes of a broker that is about to be made: the store needs them before the shards need the store.
pub struct Mailboxes {
    mailboxes: Arc<[Mailbox]>,
    post: Arc<Post>,
    signals: Receiver<Signal>,
}

/// A broker.
pub struct House {
    shared: Arc<Shared>,
    rooms: Vec<Mutex<Room>>,
    signals: Receiver<Signal>,
}

/// A shard and what its thread would know.
struct Room {
    shard: Shard,
    /// The number of the connection in each slot.
    connections: Vec<Option<(Key, u64)>>,
    after: After,
}

/// The network as one shard sees it.
struct Sockets<'a> {
    index: usize,
    connections: &'a mut Vec<Option<(Key, u64)>>,
    network: &'a Mutex<dyn Network + 'static>,
}

/// The other shards, while one has its turn.
struct Others<'a> {
    house: &'a House,
    now: Time,
    network: &'a Mutex<dyn Network + 'static>,
}

impl Mailboxes {
    /// Makes the mailboxes of so many shards.
    pub fn new(shard_count: usize) -> Self {
        let mailboxes: Arc<[Mailbox]> = (0..shard_count).map(|_| Mailbox::new(None)).collect();
        let (sender, signals) = channel();
        let post = Arc::new(Post::new(Arc::clone(&mailboxes), sender));
        Self { mailboxes, post, signals }
    }

    /// Returns where the store's answers go.
    pub fn completions(&self) -> Arc<dyn Completions> {
        Arc::clone(&self.post) as Arc<dyn Completions>
    }
}

impl House {
    /// Makes a broker as it is after `recovered` was found. Returns also which session lives on which shard.
    pub fn new(
        config: Config,
        mailboxes: Mailboxes,
        store: Arc<dyn Store>,
        recovered: Recovered,
        seed: u64,
        now: Time,
        wall_at_zero: WallMillis,
    ) -> (Self, Vec<(SessionNumber, ShardIndex)>) {
        let Mailboxes { mailboxes, signals, .. } = mailboxes;
        // Nobody answers: without an authenticator nobody is asked.
        let (authority, _) = Authority::new(None);
        let shared =
            Shared::new(config, Vec::new(), mailboxes, store, authority, seed, wall_at_zero);
        let shared = Arc::new(shared);
        let indexes = 0..shared.mailboxes.len() as u16;
        let new_shard = |index| Shard::new(ShardIndex(index), Arc::clone(&shared), now);
        let mut shards: Vec<Shard> = indexes.map(new_shard).collect();
        let places = restore(&shared, &mut shards, recovered);
        let after = After { has_more: true, next_deadline: None };
        let new_room = |shard| Mutex::new(Room { shard, connections: Vec::new(), after });
        let rooms = shards.into_iter().map(new_room).collect();
        (Self { shared, rooms, signals }, places)
    }

    /// Takes in a network connection, as an accept thread would. Returns false if there are too many.
    pub fn accept(&self, connection: u64, now: Time) -> bool {
        let count = self.shared.connection_count.fetch_add(1, Ordering::Relaxed);
        if count >= self.shared.live.rules().config.limits.connections_max as usize {
            self.shared.connection_count.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        let (number, shard) = self.shared.next_arrival();
        self.shared.mailboxes[shard].send(Letter::Arrived(Box::new(Arrival {
            stream: Stream::Simulated(connection),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, connection as u16)).into(),
            listener: 0,
            unread: Vec::new(),
            accepted_at: now,
            number,
            is_home: false,
            bounds: None,
            admission: None,
        })));
        true
    }

    /// Gives a shard its turn.
    pub fn turn(
        &self,
        index: usize,
        now: Time,
        ready: &[Readiness],
        network: &Mutex<dyn Network + 'static>,
    ) {
        let mailbox = &self.shared.mailboxes[index];
        mailbox.is_sleeping.store(false, Ordering::SeqCst);
        let mut room = self.room(index);
        let Room { shard, connections, after } = &mut *room;
        let of = |it: &Readiness| {
            let mut known = connections.iter().flatten();
            let key = known.find(|(_, connection)| *connection == it.connection)?.0;
            let Readiness { is_readable, is_writable, is_closed, .. } = *it;
            Some(Ready { key, is_readable, is_writable, is_closed })
        };
        let ready: Vec<Ready> = ready.iter().filter_map(of).collect();
        let mut sockets = Sockets { index, connections, network };
        let others = Others { house: self, now, network };
        *after = shard.turn(now, &ready, &mut sockets, Some(&others));
        mailbox.is_sleeping.store(!after.has_more, Ordering::SeqCst);
    }

    /// Returns when a shard has to have its next turn.
    pub fn wait(&self, index: usize) -> Wait {
        let mailbox = &self.shared.mailboxes[index];
        let after = self.room(index).after;
        // Who goes to sleep looks into the mailbox once more; from then on it has to be woken. A letter that is posted
        // without that is seen here by nobody.
        if after.has_more || !mailbox.is_sleeping.load(Ordering::SeqCst) {
            Wait::Now
        } else {
            Wait::Until(after.next_deadline)
        }
    }

    /// Has every shard give up what only helps under load.
    pub fn tidy(&self) {
        for mailbox in self.shared.mailboxes.iter() {
            mailbox.send(Letter::Tidy);
        }
    }

    /// Tells every shard that the broker stops.
    pub fn stop(&self) {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        for mailbox in self.shared.mailboxes.iter() {
            mailbox.send(Letter::Stop);
        }
    }

    /// Returns how many connections there are.
    pub fn connection_count(&self) -> usize {
        self.shared.connection_count.load(Ordering::Relaxed)
    }

    /// Returns what was counted since the start.
    pub fn totals(&self) -> Totals {
        self.shared.totals()
    }

    /// Returns why the store has failed, if it has.
    pub fn failure(&self) -> Option<StoreError> {
        match self.signals.try_recv() {
            Ok(Signal::Failed(failure)) => Some(failure),
            Ok(Signal::Stop | Signal::Reload) | Err(_) => None,
        }
    }

    /// Counts what the broker holds.
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for (index, mailbox) in self.shared.mailboxes.iter().enumerate() {
            self.room(index).shard.count_into(&mut census);
            census.add("mail", usize::from(!mailbox.is_empty()));
        }
        let (messages, bytes) = self.shared.backlog.size();
        for (name, count) in [
            ("filters", self.shared.table.filter_count()),
            ("queued messages", messages as usize),
            ("queued bytes", bytes as usize),
            ("retained messages", self.shared.retained.count() as usize),
            ("retained bytes", self.shared.retained.bytes() as usize),
            ("retained messages to come", self.shared.retained.pending_count()),
            ("connections counted", self.connection_count()),
            ("sessions counted", self.shared.session_count() as usize),
        ] {
            census.add(name, count);
        }
        census
    }

    /// Measures what is bounded.
    pub fn extent(&self) -> Extent {
        let mut extent = Extent::default();
        for index in 0..self.rooms.len() {
            self.room(index).shard.measure(&mut extent);
        }
        extent
    }

    fn room(&self, index: usize) -> MutexGuard<'_, Room> {
        self.rooms[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Neighbours for Others<'_> {
    fn assist(&self, index: usize) -> bool {
        // Whoever has its turn is not assisted.
        let Ok(mut room) = self.house.rooms[index].try_lock() else { return false };
        let Room { shard, connections, .. } = &mut *room;
        let mut sockets = Sockets { index, connections, network: self.network };
        assist(shard, self.now, &mut sockets)
    }
}

impl Sockets<'_> {
    fn connection(&self, key: Key) -> io::Result<u64> {
        let slot = self.connections.get(key.index as usize).copied().flatten();
        let known = slot.filter(|(known, _)| *known == key);
        known.map(|it| it.1).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn network(&self) -> MutexGuard<'_, dyn Network + 'static> {
        self.network.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Io for Sockets<'_> {
    fn adopt(&mut self, key: Key, stream: Stream) -> io::Result<()> {
        let Stream::Simulated(connection) = stream else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let slot = key.index as usize;
        if self.connections.len() <= slot {
            self.connections.resize(slot + 1, None);
        }
        self.connections[slot] = Some((key, connection));
        self.network().adopt(connection, self.index);
        Ok(())
    }

    fn release(&mut self, key: Key) -> Option<Stream> {
        let connection = self.connection(key).ok()?;
        self.connections[key.index as usize] = None;
        self.network().release(connection);
        Some(Stream::Simulated(connection))
    }

    fn read(&mut self, key: Key, buffer: &mut [u8]) -> io::Result<Received> {
        let connection = self.connection(key)?;
        let bytes = self.network().read(connection, buffer)?;
        Ok(Received::of(bytes, buffer.len()))
    }

    fn write(&mut self, key: Key, bytes: &[u8]) -> io::Result<usize> {
        let connection = self.connection(key)?;
        self.network().write(connection, bytes)
    }

    fn client(&self, _: Key) -> Option<Peer> {
        None
    }

    fn certificate(&self, _: Key) -> Option<Certificate> {
        None
    }

    fn has_unsent(&self, _: Key) -> bool {
        false
    }

    fn shutdown(&mut self, key: Key) {
        if let Ok(connection) = self.connection(key) {
            self.network().shutdown(connection);
        }
    }

    fn close(&mut self, key: Key) {
        if let Ok(connection) = self.connection(key) {
            self.connections[key.index as usize] = None;
            self.network().close(connection);
        }
    }
}
