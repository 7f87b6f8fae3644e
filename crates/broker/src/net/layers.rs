//! A socket with something between it and MQTT.
//!
//! ```text
//!            read: plain text goes to the shard's own buffer
//!   socket ------> inbox (shared) ---- TLS ----> the shard
//!   socket <------ outbox (shared) <-- TLS ----- the shard
//!      ^  what the socket does not take
//!      +------ unsent (the connection's own, bounded)
//! ```
//!
//! Between two calls a connection keeps the start of what is not complete, and what the socket did not take.
//! A read hands on all that it took in, so that a connection may move to another shard after any read.

use std::io::{self, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;

use super::Received;
use super::entrance::Place;
use super::tls::Tls;

/// A socket and its layers.
pub(crate) struct Layered {
    socket: TcpStream,
    place: Place,
    /// Made when the first bytes come: who connects and says nothing costs as little as without TLS.
    tls: Option<Box<Tls>>,
    /// Encrypted for the socket, which had no room. At most what one write makes, and a few answers.
    unsent: Vec<u8>,
    /// The peer has ended its side within TLS.
    is_ended: bool,
    /// Our side ends as soon as nothing is unsent.
    is_ending: bool,
    /// The peer broke the rules: what it sends is thrown away, and what is for it too.
    is_broken: bool,
}

/// What the connections of one shard share.
#[derive(Default)]
pub(super) struct Tools {
    /// Where sockets are read into. Empty until it is needed.
    inbox: Vec<u8>,
    /// What is to be written at once.
    outbox: Vec<u8>,
    handshakes_left: u32,
    ended_handshakes: u64,
}

impl Tools {
    pub(super) fn begin_turn(&mut self) {
        self.handshakes_left = HANDSHAKE_STEPS;
    }

    /// Returns how many handshakes have come to their end since this was last asked.
    pub(super) fn take_ended_handshakes(&mut self) -> u64 {
        std::mem::take(&mut self.ended_handshakes)
    }
}

impl Layered {
    pub(super) fn new(socket: TcpStream, place: Place) -> Self {
        Self {
            socket,
            place,
            tls: None,
            unsent: Vec::new(),
            is_ended: false,
            is_ending: false,
            is_broken: false,
        }
    }

    /// Returns what is registered with a poll.
    pub(super) fn source(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// As [`super::Io::read`].
    pub(super) fn read(&mut self, buffer: &mut [u8], tools: &mut Tools) -> io::Result<Received> {
        tools.inbox.resize(INBOX_BYTES, 0);
        if self.is_broken {
            return self.discard(tools);
        }
        if self.is_ended {
            return Ok(Received::END);
        }
        if self.place.has_tls() {
            return self.read_tls(buffer, tools);
        }
        Ok(Received::of(self.socket.read(buffer)?, buffer.len()))
    }

    /// As [`super::Io::write`].
    pub(super) fn write(&mut self, bytes: &[u8], tools: &mut Tools) -> io::Result<usize> {
        if self.is_broken || self.is_ending {
            return Ok(bytes.len());
        }
        self.send_unsent()?;
        let Some(tls) = &mut self.tls else { return self.socket.write(bytes) };
        let mut taken = 0;
        // All that was given, as long as the socket has room: it reports only when it had none.
        while taken < bytes.len() && self.unsent.is_empty() {
            let chunk = &bytes[taken..bytes.len().min(taken + CHUNK_BYTES)];
            tools.outbox.clear();
            tls.seal(chunk, &mut tools.outbox).map_err(io::Error::other)?;
            taken += chunk.len();
            send(&mut self.socket, &mut self.unsent, &tools.outbox)?;
        }
        Ok(taken)
    }

    /// The socket has room again.
    pub(super) fn on_writable(&mut self, tools: &mut Tools) {
        // A socket that is lost says so when it is read.
        if !self.unsent.is_empty() && self.send_unsent().is_ok() && self.is_ending {
            self.finish(tools);
        }
    }

    /// As [`super::Io::shutdown`].
    pub(super) fn shutdown(&mut self, tools: &mut Tools) {
        if std::mem::replace(&mut self.is_ending, true) {
            return;
        }
        tools.outbox.clear();
        if let Some(tls) = &mut self.tls {
            tls.close(&mut tools.outbox);
        }
        self.finish(tools);
    }

    fn read_tls(&mut self, buffer: &mut [u8], tools: &mut Tools) -> io::Result<Received> {
        for _ in 0..READS_MAX {
            let tls = match &mut self.tls {
                Some(tls) => tls,
                tls @ None => {
                    let Some(config) = self.place.tls() else { return Ok(Received::END) };
                    tls.insert(Box::new(Tls::new(config).map_err(io::Error::other)?))
                }
            };
            let was_handshaking = tls.is_handshaking();
            if was_handshaking && tools.handshakes_left == 0 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let kept = tls.partial().len();
            // Plain text is never longer than what it was: all of it fits into the buffer.
            let size = buffer.len().min(tools.inbox.len());
            let incoming = &mut tools.inbox[..size];
            incoming[..kept].copy_from_slice(tls.partial());
            let bytes = self.socket.read(&mut incoming[kept..])?;
            if bytes == 0 {
                return Ok(Received::END);
            }
            let received = Received::of(bytes, size - kept);
            tools.outbox.clear();
            let result = tls.open(&mut incoming[..kept + bytes], buffer, &mut tools.outbox);
            let is_over = was_handshaking && (result.is_err() || !tls.is_handshaking());
            tools.ended_handshakes += u64::from(is_over);
            if is_over || result.as_ref().is_ok_and(|opened| opened.was_handshake) {
                tools.handshakes_left = tools.handshakes_left.saturating_sub(1);
            }
            if !tools.outbox.is_empty() {
                send(&mut self.socket, &mut self.unsent, &tools.outbox)?;
            }
            let opened = match result {
                Ok(opened) => opened,
                Err(error) => return Err(self.break_off(error, tools)),
            };
            if self.unsent.len() > UNSENT_BYTES_MAX {
                return Err(io::Error::other("the peer does not read what TLS has to say"));
            }
            self.is_ended = opened.is_end;
            if opened.plain_bytes > 0 {
                // Whoever asks again is told of the end.
                let is_drained = received.is_drained && !self.is_ended;
                return Ok(Received { bytes: opened.plain_bytes, is_drained });
            }
            if opened.is_end {
                return Ok(Received::END);
            }
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    /// Ends a connection whose peer broke the rules, and was told.
    fn break_off(&mut self, error: rustls::Error, tools: &mut Tools) -> io::Error {
        self.is_broken = true;
        self.is_ending = true;
        tools.outbox.clear();
        self.finish(tools);
        io::Error::new(io::ErrorKind::InvalidData, error)
    }

    /// Throws away what arrives. The peer reads why only if the connection is not closed before.
    fn discard(&mut self, tools: &mut Tools) -> io::Result<Received> {
        for _ in 0..READS_MAX {
            if self.socket.read(&mut tools.inbox)? == 0 {
                return Ok(Received::END);
            }
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    /// Sends the outbox, and ends our side once all has left.
    fn finish(&mut self, tools: &mut Tools) {
        let sent = send(&mut self.socket, &mut self.unsent, &tools.outbox);
        tools.outbox.clear();
        if sent.is_err() || self.unsent.is_empty() {
            // It fails when the peer is gone already; the close that follows says the same.
            let _ = self.socket.shutdown(Shutdown::Write);
        }
    }

    /// Sends what was left over.
    fn send_unsent(&mut self) -> io::Result<()> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        let unsent = std::mem::take(&mut self.unsent);
        send(&mut self.socket, &mut self.unsent, &unsent)?;
        if self.unsent.is_empty() { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }
}

/// Writes `bytes` behind what is unsent. What the socket does not take is unsent.
fn send(socket: &mut TcpStream, unsent: &mut Vec<u8>, mut bytes: &[u8]) -> io::Result<()> {
    while unsent.is_empty() && !bytes.is_empty() {
        match socket.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    unsent.extend_from_slice(bytes);
    Ok(())
}

impl std::fmt::Debug for Layered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layered").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Handshake steps with public-key cryptography in a turn, a fraction of a millisecond each. More wait for the
/// next: in between all others are served.
const HANDSHAKE_STEPS: u32 = 8;

/// Reads of one socket in a turn that yield nothing for MQTT.
const READS_MAX: usize = 4;

/// What is read from a socket at once.
const INBOX_BYTES: usize = 64 * 1024;

/// What is encrypted at once. Also bounds what the socket may leave over.
const CHUNK_BYTES: usize = 64 * 1024;

/// Answers of TLS that a peer may leave unread, beside a chunk.
const UNSENT_BYTES_MAX: usize = 2 * CHUNK_BYTES;
