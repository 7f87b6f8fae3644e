//! The real network: the streams of one shard, registered with its poll.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use quelea_auth::Certificate;

use super::entrance::Place;
use super::layers::{Layered, Tools};
use super::socket::Socket;
use super::{Io, Peer, Received};
use crate::arena::Key;
use crate::counters::Counters;
use crate::shard::Shared;

/// A connection's byte stream.
#[derive(Debug)]
pub(crate) enum Stream {
    /// TCP, and MQTT on it.
    Tcp(TcpStream),
    /// A socket with something between it and MQTT.
    Layered(Box<Layered>),
    /// A connection of a simulation, by its number there. No poll watches it, and nothing here has one.
    #[cfg(feature = "simulation")]
    Simulated(u64),
}

impl Stream {
    /// Makes the stream of a connection that was let in.
    pub(super) fn new(socket: Socket, place: Place, peer: Peer) -> Self {
        match socket {
            Socket::Tcp(tcp) if place.is_plain() => Self::Tcp(tcp),
            socket => Self::Layered(Box::new(Layered::new(socket, place, peer))),
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(tcp) => tcp,
            Self::Layered(layered) => layered.source(),
            #[cfg(feature = "simulation")]
            Self::Simulated(_) => unreachable!("it is not let in"),
        }
    }
}

/// The streams of one shard, by slot.
pub(crate) struct Sockets {
    registry: Registry,
    streams: Vec<Option<Stream>>,
    tools: Tools,
    shared: Arc<Shared>,
    shard_index: usize,
}

impl Sockets {
    pub(crate) fn new(registry: Registry, shared: Arc<Shared>, shard_index: usize) -> Self {
        Self { registry, streams: Vec::new(), tools: Tools::default(), shared, shard_index }
    }

    /// A turn begins: there is work to spend again.
    pub(super) fn begin_turn(&mut self) {
        self.tools.begin_turn();
    }

    /// A socket has room again: what a layer holds back leaves first.
    pub(super) fn on_writable(&mut self, key: Key) {
        if let Ok(Stream::Layered(layered)) = at(&mut self.streams, key) {
            layered.on_writable(&mut self.tools);
        }
    }

    /// Written by whoever has the shard, to which these sockets belong.
    fn counters(&self) -> &Counters {
        &self.shared.counters[self.shard_index]
    }
}

#[inline]
fn at(streams: &mut [Option<Stream>], key: Key) -> io::Result<&mut Stream> {
    let stream = streams.get_mut(key.index as usize).and_then(Option::as_mut);
    stream.ok_or_else(|| io::ErrorKind::NotConnected.into())
}

impl Io for Sockets {
    fn adopt(&mut self, key: Key, mut stream: Stream) -> io::Result<()> {
        #[cfg(feature = "simulation")]
        if matches!(stream, Stream::Simulated(_)) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        // Both directions once: mio reports edges, and a second registration would cost a call.
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.registry.register(stream.source(), token(key), interest)?;
        let index = key.index as usize;
        if self.streams.len() <= index {
            self.streams.resize_with(index + 1, || None);
        }
        self.streams[index] = Some(stream);
        Ok(())
    }

    fn release(&mut self, key: Key) -> Option<Stream> {
        let mut stream = self.streams.get_mut(key.index as usize)?.take()?;
        // A stream that cannot be deregistered was never registered: it is fresh for the next poll.
        let _ = self.registry.deregister(stream.source());
        Some(stream)
    }

    #[inline]
    fn read(&mut self, key: Key, buffer: &mut [u8]) -> io::Result<Received> {
        match at(&mut self.streams, key)? {
            Stream::Tcp(tcp) => Ok(Received::of(tcp.read(buffer)?, buffer.len())),
            Stream::Layered(layered) => {
                let result = layered.read(buffer, &mut self.tools);
                let ended = self.tools.take_ended_handshakes();
                self.counters().tls_handshakes.add(ended);
                result
            }
            #[cfg(feature = "simulation")]
            Stream::Simulated(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    #[inline]
    fn write(&mut self, key: Key, bytes: &[u8]) -> io::Result<usize> {
        match at(&mut self.streams, key)? {
            Stream::Tcp(tcp) => tcp.write(bytes),
            Stream::Layered(layered) => layered.write(bytes, &mut self.tools),
            #[cfg(feature = "simulation")]
            Stream::Simulated(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn has_unsent(&self, key: Key) -> bool {
        match self.streams.get(key.index as usize) {
            Some(Some(Stream::Layered(layered))) => layered.has_unsent(),
            Some(Some(Stream::Tcp(_)) | None) | None => false,
            #[cfg(feature = "simulation")]
            Some(Some(Stream::Simulated(_))) => false,
        }
    }

    fn client(&self, key: Key) -> Option<Peer> {
        match self.streams.get(key.index as usize)? {
            Some(Stream::Layered(layered)) => Some(layered.client()),
            Some(Stream::Tcp(_)) | None => None,
            #[cfg(feature = "simulation")]
            Some(Stream::Simulated(_)) => None,
        }
    }

    fn certificate(&self, key: Key) -> Option<Certificate> {
        match self.streams.get(key.index as usize)? {
            Some(Stream::Layered(layered)) => layered.certificate(),
            Some(Stream::Tcp(_)) | None => None,
            #[cfg(feature = "simulation")]
            Some(Stream::Simulated(_)) => None,
        }
    }

    fn shutdown(&mut self, key: Key) {
        match at(&mut self.streams, key) {
            // It fails when the peer is gone already; the close that follows says the same.
            Ok(Stream::Tcp(tcp)) => drop(tcp.shutdown(Shutdown::Write)),
            Ok(Stream::Layered(layered)) => layered.shutdown(&mut self.tools),
            #[cfg(feature = "simulation")]
            Ok(Stream::Simulated(_)) => {}
            Err(_) => {}
        }
    }

    fn close(&mut self, key: Key) {
        drop(self.release(key));
    }
}

/// Returns the token under which a connection is registered.
fn token(key: Key) -> Token {
    Token((key.generation as usize) << 32 | key.index as usize)
}

/// Returns the connection of a token.
pub(super) fn key_of(token: Token) -> Key {
    Key { index: token.0 as u32, generation: (token.0 >> 32) as u32 }
}
