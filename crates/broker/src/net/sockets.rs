//! The real network: TCP streams of one shard, registered with its poll.

use std::io::{self, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::Io;
use crate::arena::Key;

/// A connection's byte stream.
#[derive(Debug)]
pub(crate) enum Stream {
    /// TCP.
    Tcp(TcpStream),
}

/// The streams of one shard, by slot.
pub(crate) struct Sockets {
    registry: Registry,
    streams: Vec<Option<Stream>>,
}

impl Sockets {
    pub(crate) fn new(registry: Registry) -> Self {
        Self { registry, streams: Vec::new() }
    }

    fn at(&mut self, key: Key) -> io::Result<&mut Stream> {
        let stream = self.streams.get_mut(key.index as usize).and_then(Option::as_mut);
        stream.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Io for Sockets {
    fn adopt(&mut self, key: Key, mut stream: Stream) -> io::Result<()> {
        let Stream::Tcp(tcp) = &mut stream;
        // Both directions once: mio reports edges, and a second registration would cost a call.
        self.registry.register(tcp, token(key), Interest::READABLE | Interest::WRITABLE)?;
        let index = key.index as usize;
        if self.streams.len() <= index {
            self.streams.resize_with(index + 1, || None);
        }
        self.streams[index] = Some(stream);
        Ok(())
    }

    fn release(&mut self, key: Key) -> Option<Stream> {
        let mut stream = self.streams.get_mut(key.index as usize)?.take()?;
        let Stream::Tcp(tcp) = &mut stream;
        // A stream that cannot be deregistered was never registered: it is fresh for the next poll.
        let _ = self.registry.deregister(tcp);
        Some(stream)
    }

    #[inline]
    fn read(&mut self, key: Key, buffer: &mut [u8]) -> io::Result<usize> {
        let Stream::Tcp(tcp) = self.at(key)?;
        tcp.read(buffer)
    }

    #[inline]
    fn write(&mut self, key: Key, bytes: &[u8]) -> io::Result<usize> {
        let Stream::Tcp(tcp) = self.at(key)?;
        tcp.write(bytes)
    }

    fn shutdown(&mut self, key: Key) {
        if let Ok(Stream::Tcp(tcp)) = self.at(key) {
            // It fails when the peer is gone already; the close that follows says the same.
            let _ = tcp.shutdown(Shutdown::Write);
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
