//! The network between clients and broker: it is slow, narrow, and breaks.
//!
//! Bytes arrive in pieces and late, always in order. A pipe holds a bounded number of bytes; a writer that found it
//! full is told when there is room. When a connection is cut, some of what was under way arrives, and
//! then each side finds out, or does not.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use quelea_broker::simulation::{Network, Readiness};

use crate::random::Random;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The broker's.
    Broker,
    /// The client's.
    Client,
}

/// How a network is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manners {
    /// A piece of bytes takes up to so many microseconds.
    pub(crate) latency_max: u64,
    /// Bytes that a pipe holds.
    pub(crate) pipe_bytes: usize,
    /// A piece has up to so many bytes.
    pub(crate) piece_bytes_max: u64,
}

/// What the world is to do for the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A client connects.
    Connect(u64),
    /// [`Wires::arrive`] at this time.
    ArriveAt(u64, u64, Side),
    /// A client has something to read, or room to write.
    Client(usize),
    /// The broker has ended its side of this connection.
    BrokerEnded(u64),
}

/// All connections.
#[derive(Debug)]
pub(crate) struct Wires {
    now: u64,
    random: Random,
    manners: Manners,
    connections: BTreeMap<u64, Connection>,
    next: u64,
    /// By shard: connections whose readiness is to be reported, in order.
    ready: Vec<VecDeque<u64>>,
    notices: Vec<Notice>,
    /// Of all that the broker wrote, and when.
    digest: u64,
}

#[derive(Debug)]
struct Connection {
    client: usize,
    shard: Option<usize>,
    /// To the broker.
    up: Pipe,
    /// To the client.
    down: Pipe,
    pending: Option<Readiness>,
    has_ended: bool,
}

#[derive(Debug, Default)]
struct Pipe {
    flying: VecDeque<(u64, Piece)>,
    last_arrival: u64,
    arrived: VecDeque<u8>,
    /// Bytes in `flying`.
    flying_bytes: usize,
    /// The reader finds the end behind what has arrived.
    has_ended: bool,
    /// The reader finds the connection broken.
    is_reset: bool,
    /// Whoever reads it is gone.
    is_unread: bool,
    /// Nothing arrives any more.
    is_cut: bool,
    /// The writer found no room.
    is_awaited: bool,
}

#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    End,
    Reset,
}

impl Pipe {
    fn room(&self, pipe_bytes: usize) -> usize {
        pipe_bytes.saturating_sub(self.flying_bytes + self.arrived.len())
    }

    fn is_readable(&self) -> bool {
        !self.arrived.is_empty() || self.has_ended || self.is_reset
    }
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Broker => Self::Client,
            Self::Client => Self::Broker,
        }
    }
}

impl Connection {
    /// Returns the pipe that `side` reads.
    fn inward(&mut self, side: Side) -> &mut Pipe {
        match side {
            Side::Broker => &mut self.up,
            Side::Client => &mut self.down,
        }
    }
}

impl Wires {
    /// Makes a network without connections.
    pub(crate) fn new(manners: Manners, random: Random) -> Self {
        Self {
            now: 0,
            random,
            manners,
            connections: BTreeMap::new(),
            next: 1,
            ready: Vec::new(),
            notices: Vec::new(),
            digest: 0,
        }
    }

    /// Sets the time.
    pub(crate) fn set_now(&mut self, now: u64) {
        self.now = now;
    }

    /// Has nothing more go wrong: pipes are wide and quick.
    pub(crate) fn heal(&mut self) {
        self.manners = Manners { latency_max: 1_000, pipe_bytes: 65_536, piece_bytes_max: 4_096 };
    }

    /// The broker's process is new, with so many shards.
    pub(crate) fn restart(&mut self, shard_count: usize) {
        self.ready = vec![VecDeque::new(); shard_count];
    }

    /// Makes a connection.
    pub(crate) fn connect(&mut self, client: usize) -> u64 {
        let number = self.next;
        self.next += 1;
        let (up, down) = (Pipe::default(), Pipe::default());
        let connection =
            Connection { client, shard: None, up, down, pending: None, has_ended: false };
        self.connections.insert(number, connection);
        self.notices.push(Notice::Connect(number));
        number
    }

    /// Draws a connection that is neither broken nor closed.
    pub(crate) fn any_connection(&mut self) -> Option<u64> {
        let is_whole = |it: &Connection| !it.up.is_cut && !it.down.is_unread && !it.has_ended;
        let whole = self.connections.iter().filter(|it| is_whole(it.1)).map(|it| *it.0);
        let whole: Vec<u64> = whole.collect();
        (!whole.is_empty()).then(|| *self.random.choose(&whole))
    }

    /// Takes what the world is to do.
    pub(crate) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Takes what the poll of a shard would report.
    pub(crate) fn take_ready(&mut self, shard: usize) -> Vec<Readiness> {
        let mut ready = Vec::new();
        for number in std::mem::take(&mut self.ready[shard]) {
            let known = self.connections.get_mut(&number).filter(|it| it.shard == Some(shard));
            ready.extend(known.and_then(|it| it.pending.take()));
        }
        ready
    }

    /// Returns whether the poll of a shard would return.
    pub(crate) fn is_ready(&self, shard: usize) -> bool {
        !self.ready[shard].is_empty()
    }

    /// Returns whether nothing is under way or unread.
    pub(crate) fn is_still(&self) -> bool {
        self.connections.values().all(|it| {
            it.up.flying.is_empty() && it.down.flying.is_empty() && it.up.arrived.is_empty()
        })
    }

    /// Returns a number that differs if the broker has ever written anything else, or at another time.
    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    /// Something may have arrived at `side`.
    pub(crate) fn arrive(&mut self, number: u64, side: Side) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let pipe = connection.inward(side);
        while let Some((_, piece)) = pipe.flying.pop_front_if(|it| it.0 <= self.now) {
            match piece {
                Piece::Bytes(bytes) => {
                    pipe.flying_bytes -= bytes.len();
                    if !pipe.is_unread {
                        pipe.arrived.extend(bytes);
                    }
                }
                Piece::End => pipe.has_ended = true,
                Piece::Reset => {
                    pipe.is_reset = true;
                    // What was not read is gone, or not.
                    if self.random.percent(50) {
                        pipe.arrived.clear();
                    }
                }
            }
        }
        if pipe.is_unread && side == Side::Client {
            // The client's system answers what nobody reads.
            let is_new = !connection.up.is_cut && connection.up.flying.is_empty();
            if is_new {
                self.send_piece(number, Side::Broker, Piece::Reset);
            }
            return;
        }
        self.tell_reader(number, side);
    }

    fn tell_reader(&mut self, number: u64, side: Side) {
        let Some(connection) = self.connections.get(&number) else { return };
        match side {
            Side::Broker => self.report(number, true, false),
            Side::Client => self.notices.push(Notice::Client(connection.client)),
        }
    }

    /// Reports readiness to the shard, once for each change.
    fn report(&mut self, number: u64, is_readable: bool, is_writable: bool) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let Some(shard) = connection.shard else { return };
        let is_closed = connection.up.has_ended || connection.up.is_reset;
        if connection.pending.is_none() {
            self.ready[shard].push_back(number);
        }
        let pending = connection.pending.get_or_insert(Readiness {
            connection: number,
            is_readable: false,
            is_writable: false,
            is_closed: false,
        });
        pending.is_readable |= is_readable;
        pending.is_writable |= is_writable || connection.up.is_reset;
        pending.is_closed |= is_closed;
    }

    /// Sends a piece to `to`.
    fn send_piece(&mut self, number: u64, to: Side, piece: Piece) {
        let latency = 1 + self.random.within(0..self.manners.latency_max);
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let pipe = connection.inward(to);
        if let Piece::Bytes(bytes) = &piece {
            pipe.flying_bytes += bytes.len();
        }
        if pipe.is_cut {
            return;
        }
        let at = (self.now + latency).max(pipe.last_arrival);
        pipe.last_arrival = at;
        pipe.flying.push_back((at, piece));
        self.notices.push(Notice::ArriveAt(at, number, to));
    }

    /// Writes from `side`, as much as fits.
    fn write_from(&mut self, number: u64, side: Side, bytes: &[u8]) -> io::Result<usize> {
        let pipe_bytes = self.manners.pipe_bytes;
        let Some(connection) = self.connections.get_mut(&number) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        if connection.inward(side).is_reset {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let pipe = connection.inward(side.other());
        let count = pipe.room(pipe_bytes).min(bytes.len());
        pipe.is_awaited |= count < bytes.len();
        if count == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut rest = &bytes[..count];
        while !rest.is_empty() {
            let size = 1 + self.random.scattered(0..self.manners.piece_bytes_max);
            let (piece, others) = rest.split_at(rest.len().min(size as usize));
            self.send_piece(number, side.other(), Piece::Bytes(piece.to_vec()));
            rest = others;
        }
        Ok(count)
    }

    /// Reads what has arrived at `side`.
    fn read_at(&mut self, number: u64, side: Side, buffer: &mut [u8]) -> io::Result<usize> {
        let pipe_bytes = self.manners.pipe_bytes;
        let Some(connection) = self.connections.get_mut(&number) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let pipe = connection.inward(side);
        if pipe.arrived.is_empty() {
            return match (pipe.is_reset, pipe.has_ended) {
                (true, _) => Err(io::ErrorKind::ConnectionReset.into()),
                (false, true) => Ok(0),
                (false, false) => Err(io::ErrorKind::WouldBlock.into()),
            };
        }
        let count = pipe.arrived.len().min(buffer.len());
        for (place, byte) in buffer.iter_mut().zip(pipe.arrived.drain(..count)) {
            *place = byte;
        }
        if pipe.is_awaited && pipe.room(pipe_bytes) > 0 {
            pipe.is_awaited = false;
            self.tell_writer(number, side.other());
        }
        Ok(count)
    }

    fn tell_writer(&mut self, number: u64, side: Side) {
        match side {
            Side::Broker => self.report(number, false, true),
            Side::Client => self.tell_reader(number, Side::Client),
        }
    }

    /// The client writes.
    ///
    /// # Errors
    ///
    /// As [`Network::write`].
    pub(crate) fn client_write(&mut self, number: u64, bytes: &[u8]) -> io::Result<usize> {
        self.write_from(number, Side::Client, bytes)
    }

    /// The client reads.
    ///
    /// # Errors
    ///
    /// As [`Network::read`].
    pub(crate) fn client_read(&mut self, number: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_at(number, Side::Client, buffer)
    }

    /// The client closes: what it has written arrives, and then the end.
    pub(crate) fn client_close(&mut self, number: u64) {
        self.send_piece(number, Side::Broker, Piece::End);
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.down.is_unread = true;
            connection.down.arrived.clear();
            self.drop_if_over(number);
        }
    }

    /// The connection breaks: a part of what is under way still arrives, and then either side finds out, if at all.
    pub(crate) fn cut(&mut self, number: u64, finds_out: impl Fn(Side) -> bool) {
        for side in [Side::Broker, Side::Client] {
            let Some(connection) = self.connections.get_mut(&number) else { return };
            let pipe = connection.inward(side);
            let kept = self.random.within(0..pipe.flying.len() as u64 + 1) as usize;
            pipe.flying.truncate(kept);
            if finds_out(side) {
                self.send_piece(number, side, Piece::Reset);
            }
            if let Some(connection) = self.connections.get_mut(&number) {
                connection.inward(side).is_cut = true;
            }
        }
    }

    /// The broker's process is gone: its system tells the clients.
    pub(crate) fn crash(&mut self) {
        let numbers: Vec<u64> = self.connections.keys().copied().collect();
        for number in numbers {
            self.cut(number, |side| side == Side::Client);
            if let Some(connection) = self.connections.get_mut(&number) {
                connection.shard = None;
                connection.has_ended = true;
            }
            self.drop_if_over(number);
        }
    }

    /// Forgets a connection that neither side has.
    fn drop_if_over(&mut self, number: u64) {
        let is_over = self
            .connections
            .get(&number)
            .is_some_and(|it| it.has_ended && it.shard.is_none() && it.down.is_unread);
        if is_over {
            self.connections.remove(&number);
        }
    }

    fn note_end(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if !connection.has_ended {
            connection.has_ended = true;
            self.notices.push(Notice::BrokerEnded(number));
        }
    }

    /// Returns whether the broker has read all that the client wrote.
    pub(crate) fn is_all_read(&self, number: u64) -> bool {
        self.connections
            .get(&number)
            .is_none_or(|it| it.up.flying_bytes == 0 && it.up.arrived.is_empty())
    }

    fn digest_more(&mut self, bytes: &[u8]) {
        let words = [self.now, bytes.len() as u64];
        let words = words.iter().flat_map(|word| word.to_le_bytes());
        for byte in words.chain(bytes.iter().copied()) {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
}

impl Network for Wires {
    fn adopt(&mut self, connection: u64, shard: usize) {
        let Some(known) = self.connections.get_mut(&connection) else { return };
        known.shard = Some(shard);
        known.pending = None;
        let is_readable = known.up.is_readable();
        self.report(connection, is_readable, true);
    }

    fn release(&mut self, connection: u64) {
        if let Some(known) = self.connections.get_mut(&connection) {
            known.shard = None;
            known.pending = None;
        }
    }

    fn read(&mut self, connection: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_at(connection, Side::Broker, buffer)
    }

    fn write(&mut self, connection: u64, bytes: &[u8]) -> io::Result<usize> {
        let written = self.write_from(connection, Side::Broker, bytes)?;
        self.digest_more(&bytes[..written]);
        Ok(written)
    }

    fn shutdown(&mut self, connection: u64) {
        let is_open = self.connections.get(&connection).is_some_and(|it| !it.has_ended);
        if is_open {
            self.send_piece(connection, Side::Client, Piece::End);
            self.note_end(connection);
        }
    }

    fn close(&mut self, connection: u64) {
        let Some(known) = self.connections.get_mut(&connection) else { return };
        known.shard = None;
        // The system does not deliver what was written to a peer that is still talking.
        let is_unread = !known.up.arrived.is_empty() || !known.up.flying.is_empty();
        known.up.is_unread = true;
        known.up.arrived.clear();
        let was_open = !known.has_ended;
        if is_unread {
            self.send_piece(connection, Side::Client, Piece::Reset);
        } else if was_open {
            self.send_piece(connection, Side::Client, Piece::End);
        }
        self.note_end(connection);
        self.drop_if_over(connection);
    }
}
