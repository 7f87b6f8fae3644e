//! Sockets: what a shard reads from and writes to, and how connections come in.
//!
//! A shard knows its connections by [`Key`] and does all input and output through [`Io`]. That
//! trait is the line between the real network and the simulated one.

mod accept;
mod bind;
mod entrance;
mod layers;
mod peer;
mod runner;
mod socket;
mod sockets;
mod tls;
mod websocket;

use std::io;

use quelea_auth::Certificate;

pub(crate) use accept::Acceptor;
pub(crate) use bind::bind;
pub(crate) use entrance::Entrance;
pub(crate) use peer::Peer;
#[cfg(feature = "simulation")]
pub(crate) use runner::assist;
pub(crate) use runner::{Home, WAKE, spawn};
pub(crate) use socket::ListeningSocket;
pub(crate) use sockets::{Sockets, Stream};
pub(crate) use tls::{MaterialError, Read};

use crate::arena::Key;

/// The network as a shard sees it. Nothing here blocks.
pub(crate) trait Io: Send {
    /// Takes over a stream under the name `key`. Its readiness is reported from here on.
    ///
    /// # Errors
    ///
    /// The stream cannot be watched. It is closed.
    fn adopt(&mut self, key: Key, stream: Stream) -> io::Result<()>;

    /// Gives a stream away. Nothing is reported of it any more.
    fn release(&mut self, key: Key) -> Option<Stream>;

    /// Reads what has arrived. 0 bytes mean that the peer has ended its side.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nothing has arrived; `Interrupted` when there is more to do, later in this
    /// turn or in the next; `InvalidData` when the peer broke the rules of TLS or of what else lies
    /// below MQTT: it has been told, and what is written is thrown away; anything else when the
    /// connection is lost.
    fn read(&mut self, key: Key, buffer: &mut [u8]) -> io::Result<Received>;

    /// Writes as much of `bytes` as fits. A stream that took less reports when there is room.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nothing fits, anything else when the connection is lost.
    fn write(&mut self, key: Key, bytes: &[u8]) -> io::Result<usize>;

    /// Returns whether a layer holds back what was written, until the socket has room: then it leaves first, and the
    /// stream reports that it is writable.
    fn has_unsent(&self, key: Key) -> bool;

    /// Returns the client's address if a proxy that is trusted has named it.
    fn client(&self, key: Key) -> Option<Peer>;

    /// Returns the client's certificate, if TLS or a proxy that is trusted has verified one.
    fn certificate(&self, key: Key) -> Option<Certificate>;

    /// Ends our side of the connection: the peer reads what was written, then the end.
    fn shutdown(&mut self, key: Key);

    /// Closes the connection.
    fn close(&mut self, key: Key);
}

/// What was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    pub(crate) bytes: usize,
    /// Nothing more has arrived, so that the next arrival is reported.
    pub(crate) is_drained: bool,
}

impl Received {
    /// The peer has ended its side.
    const END: Self = Self { bytes: 0, is_drained: true };

    /// What a read of a socket into a buffer of `space` bytes says: a short one has drained it.
    #[inline]
    pub(crate) fn of(bytes: usize, space: usize) -> Self {
        Self { bytes, is_drained: bytes < space }
    }
}

/// The other shards, for one that has a little mail for them.
pub(crate) trait Neighbours {
    /// Takes a turn for shard `index`, which sleeps, if nobody else has it. Returns whether its thread need not
    /// be woken.
    fn assist(&self, index: usize) -> bool;
}

/// Readiness of a connection, as reported by the system. It is reported once, when it changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    pub(crate) key: Key,
    pub(crate) is_readable: bool,
    pub(crate) is_writable: bool,
    /// The peer has ended its side, or the connection is broken: reading tells which, after what
    /// arrived before. Nothing more is reported.
    pub(crate) is_closed: bool,
}
