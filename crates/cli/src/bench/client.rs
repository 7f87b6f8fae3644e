//! One connection of the generator: its socket, what is unsent, and a packet that has come in part.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::layers::Layers;
use crate::way::Way;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not begun.
    Idle,
    /// TCP handshake.
    Connecting,
    /// CONNECT is sent.
    Greeting,
    /// SUBSCRIBE is sent.
    Subscribing,
    /// All that was planned before the traffic is done.
    Ready,
    /// DISCONNECT is sent, and the broker has not closed yet.
    Leaving,
    /// Refused, lost or closed.
    Gone,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    /// How far it has come.
    pub stage: Stage,
    /// What is to be sent; the first `written` bytes are.
    pub out: Vec<u8>,
    /// When it began, or was to begin, in nanoseconds since the epoch.
    pub began_ns: u64,
    /// PUBLISH packets above QoS 0 that may still be sent before an acknowledgement ([MQTT-3.3.4-7]).
    pub quota: u32,
    /// Whether it is in the worker's list of those with something to send.
    pub is_dirty: bool,
    /// Whether it is in the worker's list of those with something to read.
    pub is_unread: bool,
    /// Whether a message has come.
    pub has_received: bool,
    /// The peer will send nothing more: what is left is read to its end.
    pub is_read_closed: bool,
    stream: Option<TcpStream>,
    /// What lies between the stream and the packets.
    layers: Option<Box<Layers>>,
    /// What of `out` has gone through the layers, and what they have to say themselves.
    sealed: Vec<u8>,
    /// What has come through them, and found no room in the buffer.
    opened: Vec<u8>,
    /// How much has left of `sealed`, or of `out` where there are no layers.
    written: usize,
    is_blocked: bool,
    partial: Vec<u8>,
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadOutcome {
    /// The buffer holds so many bytes, those of an earlier part included, and the socket has no more.
    Drained(usize),
    /// The buffer holds so many bytes, and the socket may have more.
    MayHaveMore(usize),
    /// The peer has closed the connection.
    Closed,
}

impl Client {
    /// Returns a connection that is not begun.
    pub(crate) fn new() -> Self {
        Self {
            stage: Stage::Idle,
            out: Vec::new(),
            began_ns: 0,
            quota: u32::from(u16::MAX),
            is_dirty: false,
            is_unread: false,
            has_received: false,
            is_read_closed: false,
            stream: None,
            layers: None,
            sealed: Vec::new(),
            opened: Vec::new(),
            written: 0,
            is_blocked: true,
            partial: Vec::new(),
        }
    }

    /// Begins the TCP handshake.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub(crate) fn connect(
        &mut self,
        address: SocketAddr,
        registry: &Registry,
        token: Token,
    ) -> io::Result<()> {
        let mut stream = TcpStream::connect(address)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        self.stream = Some(stream);
        self.stage = Stage::Connecting;
        Ok(())
    }

    /// Returns whether the TCP handshake is done. Then what `way` has above TCP begins.
    ///
    /// # Errors
    ///
    /// The reason why it failed.
    pub(crate) fn finish_connect(&mut self, way: &Way) -> io::Result<bool> {
        let Some(stream) = &self.stream else {
            return Ok(false);
        };
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(false),
            Err(error) => return Err(error),
        }
        stream.set_nodelay(true)?;
        self.layers = Layers::new(way, &mut self.sealed)?;
        self.is_blocked = false;
        Ok(true)
    }

    /// Notes that the socket takes bytes again.
    pub(crate) fn on_writable(&mut self) {
        self.is_blocked = false;
    }

    /// Writes what the socket takes.
    ///
    /// # Errors
    ///
    /// Those of the socket.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else {
            self.out.clear();
            return Ok(());
        };
        let out = match &mut self.layers {
            None => &mut self.out,
            Some(layers) => {
                if !self.out.is_empty() {
                    layers.seal(&self.out, &mut self.sealed)?;
                    self.out.clear();
                }
                &mut self.sealed
            }
        };
        while !self.is_blocked && self.written < out.len() {
            match stream.write(&out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.is_blocked = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.written == out.len() {
            out.clear();
            self.written = 0;
        } else if self.written > out.len() / 2 {
            out.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }

    /// Returns how many bytes are unsent.
    pub(crate) fn unsent_bytes(&self) -> usize {
        self.out.len() + self.sealed.len() - self.written
    }

    /// Puts what is left of the last read, and one read more, at the start of `buffer`.
    ///
    /// # Errors
    ///
    /// Those of the socket.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<ReadOutcome> {
        let Some(stream) = &mut self.stream else {
            return Ok(ReadOutcome::Drained(0));
        };
        let kept = self.partial.len();
        buffer[..kept].copy_from_slice(&self.partial);
        if self.layers.is_some() {
            return self.read_through_layers(buffer);
        }
        loop {
            match stream.read(&mut buffer[kept..]) {
                Ok(0) => return Ok(ReadOutcome::Closed),
                // A short read has emptied the socket, and what comes later is an event. The end of the
                // stream, once announced, is not.
                Ok(count) if kept + count < buffer.len() && !self.is_read_closed => {
                    return Ok(ReadOutcome::Drained(kept + count));
                }
                Ok(count) => return Ok(ReadOutcome::MayHaveMore(kept + count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(ReadOutcome::Drained(kept));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Puts one read more behind what is left of the last, through the layers.
    fn read_through_layers(&mut self, buffer: &mut [u8]) -> io::Result<ReadOutcome> {
        let (Some(stream), Some(layers)) = (&mut self.stream, &mut self.layers) else {
            return Ok(ReadOutcome::Drained(0));
        };
        let mut may_have_more = true;
        // What found no room goes first.
        if self.opened.is_empty() {
            let mut arrived = [0; READ_BYTES];
            match stream.read(&mut arrived) {
                Ok(0) => return Ok(ReadOutcome::Closed),
                Ok(count) => {
                    may_have_more = count == READ_BYTES || self.is_read_closed;
                    layers.open(&arrived[..count], &mut self.opened, &mut self.sealed)?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => may_have_more = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            self.flush()?;
        }
        let kept = self.partial.len();
        let moved = self.opened.len().min(buffer.len() - kept);
        buffer[kept..kept + moved].copy_from_slice(&self.opened[..moved]);
        self.opened.drain(..moved);
        let length = kept + moved;
        if may_have_more || !self.opened.is_empty() {
            return Ok(ReadOutcome::MayHaveMore(length));
        }
        Ok(ReadOutcome::Drained(length))
    }

    /// Keeps `rest`, the part of a packet that is not whole, for the next read.
    pub(crate) fn keep(&mut self, rest: &[u8]) {
        self.partial.clear();
        self.partial.extend_from_slice(rest);
    }

    /// Closes the socket.
    pub(crate) fn close(&mut self) {
        self.stage = Stage::Gone;
        self.stream = None;
        self.layers = None;
        self.sealed = Vec::new();
        self.opened = Vec::new();
        self.out = Vec::new();
        self.written = 0;
        self.partial = Vec::new();
    }
}

/// What is read at once below layers.
const READ_BYTES: usize = 16 * 1024;
