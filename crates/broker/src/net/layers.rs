//! A socket with something between it and MQTT.
//!
//! ```text
//!              TLS: records are read into memory that     WebSocket: data moves to
//!              is shared, plain text goes to the shard's  the front of that buffer
//!              own buffer
//!   socket ---------> inbox -------> buffer -----------------> buffer --------> the shard
//!   socket <--------- outbox <------ frame <------------------------------------ the shard
//!      ^  what the socket does not take
//!      +------ unsent (the connection's own, bounded)
//! ```
//!
//! Between two calls a connection keeps the start of what is not complete, and what the socket did not take.
//! A read hands on all that it took in, so that a connection may move to another shard after any read.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use mio::event::Source;
use quelea_auth::Certificate;
use quelea_transport::proxy::{self, HEADER_BYTES_MAX};

use super::entrance::Place;
use super::socket::Socket;
use super::tls::Tls;
use super::websocket::{self, WebSocket};
use super::{Peer, Received};

/// A socket and its layers.
pub(crate) struct Layered {
    socket: Socket,
    place: Place,
    /// Who is at the other end; or whom a trusted proxy speaks for.
    peer: Peer,
    /// The name in the client's certificate, by the word of a trusted proxy that has verified it.
    common_name: Option<Box<str>>,
    /// The header of the PROXY protocol is still to come.
    awaits_proxy: bool,
    /// Made when the first bytes come: who connects and says nothing costs as little as without TLS.
    tls: Option<Box<Tls>>,
    websocket: Option<Box<WebSocket>>,
    /// For the socket, which had no room. At most what one write makes, and a few answers.
    unsent: Vec<u8>,
    /// The peer has ended its side.
    is_ended: bool,
    /// Our side ends as soon as nothing is unsent.
    is_ending: bool,
    /// The peer broke the rules: what it sends is thrown away, and what is for it too.
    is_broken: bool,
}

/// What the connections of one shard share.
#[derive(Default)]
pub(super) struct Tools {
    /// Where sockets are read into before their records are opened. Empty until it is needed.
    inbox: Vec<u8>,
    /// What is framed, and not yet encrypted.
    frame: Vec<u8>,
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
    pub(super) fn new(socket: Socket, place: Place, peer: Peer) -> Self {
        let websocket = place.upgrade_rules().map(|_| Box::new(WebSocket::new()));
        Self {
            socket,
            peer,
            common_name: None,
            awaits_proxy: place.awaits_proxy(),
            place,
            tls: None,
            websocket,
            unsent: Vec::new(),
            is_ended: false,
            is_ending: false,
            is_broken: false,
        }
    }

    /// Returns what is registered with a poll.
    pub(super) fn source(&mut self) -> &mut dyn Source {
        &mut self.socket
    }

    /// As [`super::Io::has_unsent`].
    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// As [`super::Io::client`].
    pub(super) fn client(&self) -> Peer {
        self.peer
    }

    /// As [`super::Io::certificate`].
    pub(super) fn certificate(&self) -> Option<Certificate> {
        let der = self.tls.as_ref().and_then(|tls| tls.client_certificate());
        der.map(|der| Certificate::Der(der.into()))
            .or_else(|| self.common_name.clone().map(Certificate::CommonName))
    }

    /// As [`super::Io::read`].
    pub(super) fn read(&mut self, buffer: &mut [u8], tools: &mut Tools) -> io::Result<Received> {
        if self.is_broken {
            return self.discard(tools);
        }
        if self.awaits_proxy && !self.take_proxy_header(tools)? {
            return Ok(Received::END);
        }
        for _ in 0..READS_MAX {
            if self.is_ended {
                return Ok(Received::END);
            }
            let received = if self.place.has_tls() {
                match self.read_tls(buffer, tools)? {
                    // The handshake goes on, or a record does.
                    None => continue,
                    Some(received) => received,
                }
            } else {
                Received::of(self.socket.read(buffer)?, buffer.len())
            };
            if self.websocket.is_none() || received.bytes == 0 {
                return Ok(received);
            }
            let bytes = self.take_frames(&mut buffer[..received.bytes], tools)?;
            if bytes > 0 {
                // Whoever asks again is told of the end.
                let is_drained = received.is_drained && !self.is_ended;
                return Ok(Received { bytes, is_drained });
            }
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    /// As [`super::Io::write`].
    pub(super) fn write(&mut self, bytes: &[u8], tools: &mut Tools) -> io::Result<usize> {
        if self.is_broken || self.is_ending {
            return Ok(bytes.len());
        }
        self.send_unsent()?;
        if self.tls.is_none() && self.websocket.is_none() {
            return self.socket.write(bytes);
        }
        let mut taken = 0;
        // All that was given, as long as the socket has room: it reports only when it had none.
        while taken < bytes.len() && self.unsent.is_empty() {
            let chunk = &bytes[taken..bytes.len().min(taken + CHUNK_BYTES)];
            taken += chunk.len();
            match &mut self.websocket {
                None => self.say(chunk, &mut tools.outbox)?,
                Some(websocket) => {
                    tools.frame.clear();
                    websocket.frame(chunk, &mut tools.frame);
                    self.say(&tools.frame, &mut tools.outbox)?;
                }
            }
        }
        Ok(taken)
    }

    /// The socket has room again.
    pub(super) fn on_writable(&mut self, tools: &mut Tools) {
        if self.unsent.is_empty() {
            return;
        }
        // A socket that is lost says so when it is read.
        let _ = self.send_unsent().and_then(|()| self.answer_ping(tools));
        if self.is_ending {
            self.end_if_sent();
        }
    }

    /// As [`super::Io::shutdown`].
    pub(super) fn shutdown(&mut self, tools: &mut Tools) {
        if std::mem::replace(&mut self.is_ending, true) {
            return;
        }
        tools.frame.clear();
        if let Some(websocket) = &mut self.websocket {
            websocket.close(&mut tools.frame);
        }
        self.end(tools);
    }

    /// Reads from the socket and opens what has come. Returns nothing if that holds no plain text yet.
    fn read_tls(&mut self, buffer: &mut [u8], tools: &mut Tools) -> io::Result<Option<Received>> {
        let tls = match &mut self.tls {
            Some(tls) => tls,
            tls @ None => {
                let Some(config) = self.place.tls() else { return Ok(Some(Received::END)) };
                tls.insert(Box::new(Tls::new(config).map_err(io::Error::other)?))
            }
        };
        let was_handshaking = tls.is_handshaking();
        if was_handshaking && tools.handshakes_left == 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        tools.inbox.resize(INBOX_BYTES, 0);
        let kept = tls.partial().len();
        // Plain text is never longer than what it was: all of it fits into the buffer.
        let size = buffer.len().min(INBOX_BYTES);
        let incoming = &mut tools.inbox[..size];
        incoming[..kept].copy_from_slice(tls.partial());
        let received = Received::of(self.socket.read(&mut incoming[kept..])?, size - kept);
        if received.bytes == 0 {
            return Ok(Some(Received::END));
        }
        tools.outbox.clear();
        let incoming = &mut incoming[..kept + received.bytes];
        let result = tls.open(incoming, buffer, &mut tools.outbox);
        let is_over = was_handshaking && (result.is_err() || !tls.is_handshaking());
        tools.ended_handshakes += u64::from(is_over);
        if is_over || result.as_ref().is_ok_and(|opened| opened.was_handshake) {
            tools.handshakes_left = tools.handshakes_left.saturating_sub(1);
        }
        send(&mut self.socket, &mut self.unsent, &tools.outbox)?;
        let opened = match result {
            Ok(opened) => opened,
            Err(error) => {
                self.break_off(tools);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        };
        if self.unsent.len() > UNSENT_BYTES_MAX {
            return Err(io::Error::other("the peer does not read what TLS has to say"));
        }
        self.is_ended = opened.is_end;
        if opened.plain_bytes == 0 {
            return Ok(opened.is_end.then_some(Received::END));
        }
        let is_drained = received.is_drained && !self.is_ended;
        Ok(Some(Received { bytes: opened.plain_bytes, is_drained }))
    }

    /// Takes frames apart. Returns how many bytes of data are now at the front.
    fn take_frames(&mut self, arrived: &mut [u8], tools: &mut Tools) -> io::Result<usize> {
        let (Some(websocket), Some(rules)) = (&mut self.websocket, self.place.upgrade_rules())
        else {
            return Ok(arrived.len());
        };
        let mut answer = std::mem::take(&mut tools.frame);
        answer.clear();
        let result = websocket.take(arrived, rules, &mut answer);
        let said = if answer.is_empty() { Ok(()) } else { self.say(&answer, &mut tools.outbox) };
        tools.frame = answer;
        said?;
        match result {
            Ok(taken) => {
                self.is_ended |= taken.is_end;
                if !taken.forwarded_for.is_empty() {
                    self.note_client(&taken.forwarded_for);
                }
                self.answer_ping(tools)?;
                Ok(taken.data_bytes)
            }
            Err(error) => {
                self.break_off(tools);
                Err(error)
            }
        }
    }

    fn note_client(&mut self, forwarded_for: &[String]) {
        let is_trusted = |address| self.place.forwards(address);
        let client = match self.peer.ip() {
            Some(peer) => websocket::client(peer, forwarded_for, is_trusted),
            // Who may open a Unix socket is a matter of its file: whoever does is a proxy, where there are any.
            None if self.place.is_forwarded() => websocket::named(forwarded_for, is_trusted),
            None => None,
        };
        if let Some(address) = client {
            // Of the client's port nothing is known.
            self.peer = SocketAddr::new(address, 0).into();
        }
    }

    /// Takes the header of the PROXY protocol. Returns false when the peer has ended its side.
    fn take_proxy_header(&mut self, tools: &mut Tools) -> io::Result<bool> {
        tools.inbox.resize(INBOX_BYTES, 0);
        // Looked at first, because what follows it is for the other layers.
        let arrived = self.socket.peek(&mut tools.inbox[..HEADER_BYTES_MAX])?;
        if arrived == 0 {
            return Ok(false);
        }
        let proxied = match proxy::read(&tools.inbox[..arrived]) {
            Ok(Some(proxied)) => proxied,
            Ok(None) => return Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => {
                self.break_off(tools);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        };
        self.socket.read_exact(&mut tools.inbox[..proxied.header_bytes])?;
        self.awaits_proxy = false;
        let proxy = self.peer;
        if let Some(client) = proxied.client {
            self.peer = client.into();
        }
        let verified = proxied.tls.as_ref().filter(|tls| tls.is_verified);
        self.common_name = verified.and_then(|tls| tls.common_name.as_deref()).map(Into::into);
        tracing::debug!(%proxy, client = %self.peer, tls = ?proxied.tls, "connected by a proxy");
        Ok(true)
    }

    /// Answers a ping, unless the peer has not read what was said before: then later, and the latest only.
    fn answer_ping(&mut self, tools: &mut Tools) -> io::Result<()> {
        let Some(websocket) = self.websocket.as_mut().filter(|_| self.unsent.is_empty()) else {
            return Ok(());
        };
        tools.frame.clear();
        websocket.pong(&mut tools.frame);
        if tools.frame.is_empty() {
            return Ok(());
        }
        self.say(&tools.frame, &mut tools.outbox)
    }

    /// Sends `bytes` to the peer, through TLS if it is spoken.
    fn say(&mut self, bytes: &[u8], outbox: &mut Vec<u8>) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            return send(&mut self.socket, &mut self.unsent, bytes);
        };
        outbox.clear();
        tls.seal(bytes, outbox).map_err(io::Error::other)?;
        send(&mut self.socket, &mut self.unsent, outbox)
    }

    /// Ends a connection whose peer broke the rules, and was told.
    fn break_off(&mut self, tools: &mut Tools) {
        self.is_broken = true;
        self.is_ending = true;
        tools.frame.clear();
        self.end(tools);
    }

    /// Throws away what arrives. The peer reads why only if the connection is not closed before.
    fn discard(&mut self, tools: &mut Tools) -> io::Result<Received> {
        tools.inbox.resize(INBOX_BYTES, 0);
        for _ in 0..READS_MAX {
            if self.socket.read(&mut tools.inbox)? == 0 {
                return Ok(Received::END);
            }
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    /// Says what is framed and the end of TLS, and ends our side once all has left.
    fn end(&mut self, tools: &mut Tools) {
        tools.outbox.clear();
        let mut sealed = Ok(());
        if let Some(tls) = &mut self.tls {
            if !tools.frame.is_empty() {
                sealed = tls.seal(&tools.frame, &mut tools.outbox);
            }
            tls.close(&mut tools.outbox);
        } else {
            tools.outbox.extend_from_slice(&tools.frame);
        }
        // It fails when the peer is gone already; the close that follows says the same.
        if sealed.is_err() || send(&mut self.socket, &mut self.unsent, &tools.outbox).is_err() {
            self.unsent = Vec::new();
        }
        self.end_if_sent();
    }

    fn end_if_sent(&mut self) {
        if self.unsent.is_empty() {
            // It fails when the peer is gone already; the close that follows says the same.
            let _ = self.socket.end_sending();
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
fn send(socket: &mut Socket, unsent: &mut Vec<u8>, mut bytes: &[u8]) -> io::Result<()> {
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
const HANDSHAKE_STEPS: u32 = 4;

/// Reads of one socket in a turn that yield nothing for MQTT.
const READS_MAX: usize = 4;

/// What is read from a socket at once.
const INBOX_BYTES: usize = 64 * 1024;

/// What is encrypted at once. Also bounds what the socket may leave over.
const CHUNK_BYTES: usize = 64 * 1024;

/// Answers of TLS that a peer may leave unread, beside a chunk.
const UNSENT_BYTES_MAX: usize = 2 * CHUNK_BYTES;
