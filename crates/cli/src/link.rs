//! A blocking connection to a broker: packets over TCP, with keep alive.
//!
//! It knows packets, not exchanges: acknowledgements and packet identifiers are its user's business.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use quelea_codec::{
    DecodeError, Disconnect, DisconnectProperties, Framing, Packet, PacketKind, ReasonCode,
    Version, next_frame,
};

use crate::layers::{Flow, Layers};
use crate::way::Way;

/// A connection over which packets are sent and received.
#[derive(Debug)]
pub(crate) struct Link {
    stream: TcpStream,
    /// What lies between the stream and the packets.
    layers: Option<Box<Layers>>,
    version: Version,
    /// What has come; the first `taken` bytes are done with.
    inbox: Vec<u8>,
    taken: usize,
    /// What is read at once.
    scratch: Box<[u8]>,
    outbox: Vec<u8>,
    /// What goes to the stream, when it is not what is in the outbox.
    sealed: Vec<u8>,
    keep_alive: Option<Duration>,
    last_sent: Instant,
    /// Whether a PINGREQ went out after which nothing has come.
    awaits_pong: bool,
}

/// Why a link is of no use any more.
#[derive(Debug)]
pub(crate) enum LinkError {
    /// The broker closed the connection.
    Closed,
    /// The broker said goodbye, and why.
    Disconnected {
        reason: ReasonCode,
        text: Option<String>,
    },
    Io(io::Error),
    /// What came was no packet.
    Malformed(DecodeError),
    /// The broker did not answer PINGREQ.
    Silent,
}

impl Link {
    /// Connects to the first of the host's addresses that accepts.
    pub(crate) fn connect(way: &Way, version: Version) -> io::Result<Self> {
        let stream = connect_any(&way.host, way.port)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(ANSWER_TIME_MAX))?;
        let mut sealed = Vec::new();
        let layers = Layers::new(way, &mut sealed)?;
        let mut link = Self {
            stream,
            layers,
            version,
            inbox: Vec::new(),
            taken: 0,
            scratch: vec![0; READ_BYTES].into(),
            outbox: Vec::new(),
            sealed,
            keep_alive: None,
            last_sent: Instant::now(),
            awaits_pong: false,
        };
        link.open_layers()?;
        Ok(link)
    }

    /// Lets TLS and WebSocket get ready, if they are there.
    fn open_layers(&mut self) -> io::Result<()> {
        let end = Instant::now() + CONNECT_TIME_MAX;
        self.write_sealed()?;
        while self.layers.as_ref().is_some_and(|layers| !layers.is_open()) {
            if Instant::now() >= end {
                return Err(ErrorKind::TimedOut.into());
            }
            match self.read(Some(end)) {
                Ok(0) => return Err(io::Error::other("the broker closed the connection")),
                Err(error) if !is_timeout(&error) => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Sends a PINGREQ whenever nothing else has been sent for this long; 0 never does.
    pub(crate) fn set_keep_alive(&mut self, secs: u16) {
        self.keep_alive = (secs > 0).then(|| Duration::from_secs(secs.into()));
    }

    /// Sends a packet.
    pub(crate) fn send(&mut self, packet: &Packet<'_>) -> Result<(), LinkError> {
        self.outbox.clear();
        packet.encode(self.version, &mut self.outbox);
        self.last_sent = Instant::now();
        if let Err(error) = self.write_outbox() {
            return Err(self.last_word().unwrap_or(LinkError::Io(error)));
        }
        Ok(())
    }

    /// Returns the next packet, or nothing when `until` comes first. Keeps the connection alive meanwhile.
    pub(crate) fn receive(
        &mut self,
        until: Option<Instant>,
    ) -> Result<Option<Packet<'_>>, LinkError> {
        let size = loop {
            match self.next_packet_bytes()? {
                Some(size) if self.is_pong() => self.taken += size,
                Some(size) => break size,
                None if self.wait(until)? => {}
                None => return Ok(None),
            }
        };
        let packet = self.taken..self.taken + size;
        self.taken = packet.end;
        let Framing::Complete { frame, .. } = next_frame(&self.inbox[packet], u32::MAX)? else {
            return Ok(None);
        };
        match Packet::decode(frame, self.version)? {
            Packet::Disconnect(disconnect) => Err(disconnect.into()),
            packet => Ok(Some(packet)),
        }
    }

    /// Returns whether a packet has come that `receive` has not returned.
    pub(crate) fn has_received(&self) -> bool {
        matches!(self.next_packet_bytes(), Ok(Some(_)))
    }

    /// Returns when the next PINGREQ is due.
    pub(crate) fn ping_at(&self) -> Option<Instant> {
        self.keep_alive.map(|keep_alive| self.last_sent + keep_alive)
    }

    /// Ends the connection in good order: what has been sent arrives.
    pub(crate) fn close(mut self) {
        let goodbye = Disconnect {
            reason: ReasonCode::NORMAL_DISCONNECTION,
            properties: DisconnectProperties::default(),
        };
        if self.send(&Packet::Disconnect(goodbye)).is_err() {
            return;
        }
        // Closing a socket with unread bytes would reset the connection, and lose what the broker has not read.
        if let Some(layers) = &mut self.layers {
            let _ = layers.close(&mut self.sealed);
            let _ = self.write_sealed();
        }
        let _ = self.stream.shutdown(Shutdown::Write);
        let end = Instant::now() + FAREWELL_TIME_MAX;
        while self.read(Some(end)).is_ok_and(|bytes| bytes > 0) {
            self.inbox.clear();
        }
    }

    fn next_packet_bytes(&self) -> Result<Option<usize>, LinkError> {
        // A client trusts its broker with any size: memory grows only as bytes come.
        match next_frame(&self.inbox[self.taken..], u32::MAX)? {
            Framing::Complete { consumed, .. } => Ok(Some(consumed)),
            Framing::Incomplete { .. } => Ok(None),
        }
    }

    fn is_pong(&self) -> bool {
        let first_byte = self.inbox.get(self.taken).copied();
        first_byte.and_then(PacketKind::of_first_byte) == Some(PacketKind::PingResp)
    }

    /// Waits for bytes; returns false when `until` has come.
    fn wait(&mut self, until: Option<Instant>) -> Result<bool, LinkError> {
        if until.is_some_and(|until| until <= Instant::now()) {
            return Ok(false);
        }
        if self.ping_at().is_some_and(|ping_at| ping_at <= Instant::now()) {
            if self.awaits_pong {
                return Err(LinkError::Silent);
            }
            self.send(&Packet::PingReq)?;
            self.awaits_pong = true;
        }
        let end = [until, self.ping_at()].into_iter().flatten().min();
        match self.read(end) {
            Ok(0) => Err(LinkError::Closed),
            Ok(_) => {
                self.awaits_pong = false;
                Ok(true)
            }
            Err(error) if is_timeout(&error) => Ok(true),
            Err(error) => Err(LinkError::Io(error)),
        }
    }

    fn write_outbox(&mut self) -> io::Result<()> {
        match &mut self.layers {
            None => self.stream.write_all(&self.outbox),
            Some(layers) => {
                layers.seal(&self.outbox, &mut self.sealed)?;
                self.write_sealed()
            }
        }
    }

    fn write_sealed(&mut self) -> io::Result<()> {
        let written = self.stream.write_all(&self.sealed);
        self.sealed.clear();
        written
    }

    /// Reads once, until `end` at the latest. 0 is the end of the stream; what was read need not be for MQTT.
    fn read(&mut self, end: Option<Instant>) -> io::Result<usize> {
        let patience = end.map(|end| end.saturating_duration_since(Instant::now()).max(MOMENT));
        self.stream.set_read_timeout(patience)?;
        self.inbox.drain(..self.taken);
        self.taken = 0;
        let bytes = self.stream.read(&mut self.scratch)?;
        let arrived = &self.scratch[..bytes];
        let Some(layers) = &mut self.layers else {
            self.inbox.extend_from_slice(arrived);
            return Ok(bytes);
        };
        let before = self.inbox.len();
        let opened = layers.open(arrived, &mut self.inbox, &mut self.sealed);
        // Also after an error: the broker is told.
        self.write_sealed()?;
        let is_end = opened? == Flow::Ended && self.inbox.len() == before;
        Ok(if is_end { 0 } else { bytes })
    }

    /// A broker that closes may have said why before writing to it failed.
    fn last_word(&mut self) -> Option<LinkError> {
        self.receive(Some(Instant::now() + MOMENT)).err()
    }
}

/// Like `TcpStream::connect`, with a bound on the time for each address.
fn connect_any(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the host has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIME_MAX) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

impl From<DecodeError> for LinkError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

impl From<Disconnect<'_>> for LinkError {
    fn from(disconnect: Disconnect<'_>) -> Self {
        let text = disconnect.properties.reason_string.map(str::to_owned);
        Self::Disconnected { reason: disconnect.reason, text }
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the broker closed the connection"),
            Self::Disconnected { reason, text } => {
                write!(f, "the broker ended the connection: {}", Reason(*reason, text.as_deref()))
            }
            Self::Io(error) => write!(f, "the connection failed: {error}"),
            Self::Malformed(error) => write!(f, "the broker sent what is no MQTT packet: {error}"),
            Self::Silent => f.write_str("the broker does not answer any more"),
        }
    }
}

/// A reason code for people, with the reason string if there is one.
pub(crate) struct Reason<'a>(pub(crate) ReasonCode, pub(crate) Option<&'a str>);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(code, text) = self;
        write!(f, "{} (0x{:02X})", code.name().unwrap_or("unknown reason"), code.0)?;
        match text {
            Some(text) => write!(f, ", {text}"),
            None => Ok(()),
        }
    }
}

/// How long one address of a host may take to accept.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a broker may take to answer.
pub(crate) const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// How long the broker may take to close its side.
const FAREWELL_TIME_MAX: Duration = Duration::from_secs(1);

/// The shortest wait: a read timeout of zero would be none at all.
const MOMENT: Duration = Duration::from_millis(1);

/// How many bytes are read at once.
const READ_BYTES: usize = 65_536;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    use super::*;

    #[test]
    fn packets_are_found_however_they_are_cut() {
        let ((mut link, mut peer), bytes) = (pair(), [0x40, 2, 0, 1, 0x40, 2, 0, 2]);
        let writer = thread::spawn(move || {
            for byte in bytes {
                peer.write_all(&[byte]).expect("the link is there");
            }
            peer
        });
        let ids: Vec<u16> = (0..2).map(|_| packet_id(&mut link)).collect();
        assert_eq!(ids, [1, 2]);
        assert!(!link.has_received());
        drop(writer.join().expect("it has no reason to panic"));
        assert!(matches!(link.receive(None), Err(LinkError::Closed)));
    }

    #[test]
    fn waiting_ends_in_time() {
        let (mut link, _peer) = pair();
        let until = Instant::now() + MOMENT;
        assert!(matches!(link.receive(Some(until)), Ok(None)));
        assert!(Instant::now() >= until);
    }

    #[test]
    fn silence_is_checked_by_pings() {
        let (mut link, mut peer) = pair();
        link.keep_alive = Some(Duration::from_millis(20));
        let answering = thread::spawn(move || {
            let mut ping = [0; 2];
            peer.read_exact(&mut ping).expect("a ping comes");
            peer.write_all(&[0xD0, 0]).expect("the link is there");
            // The second stays without an answer.
            peer.read_exact(&mut ping).expect("another ping comes");
            (ping, peer)
        });
        assert!(matches!(link.receive(None), Err(LinkError::Silent)));
        let (ping, _peer) = answering.join().expect("it has no reason to panic");
        assert_eq!(ping, [0xC0, 0]);
    }

    #[test]
    fn goodbye_of_the_broker_is_an_end() {
        let (mut link, mut peer) = pair();
        peer.write_all(&[0xE0, 2, 0x8B, 0]).expect("the link is there");
        let error = link.receive(None).expect_err("it is the end");
        assert_eq!(
            error.to_string(),
            "the broker ended the connection: Server shutting down (0x8B)"
        );
    }

    #[test]
    fn closing_waits_until_the_broker_has_read() {
        let (link, mut peer) = pair();
        let reader: JoinHandle<Vec<u8>> = thread::spawn(move || {
            // Bytes that nobody asked for must not reset the connection.
            peer.write_all(&[0x40, 2, 0, 1]).expect("the link is there");
            let mut received = Vec::new();
            peer.read_to_end(&mut received).expect("the connection ends in order");
            received
        });
        link.close();
        assert_eq!(reader.join().expect("it has no reason to panic"), [0xE0, 0]);
    }

    fn packet_id(link: &mut Link) -> u16 {
        match link.receive(None).expect("the peer is there") {
            Some(Packet::PubAck(ack)) => ack.packet_id.value(),
            other => panic!("{other:?} is no PUBACK"),
        }
    }

    fn way(port: u16) -> Way {
        Way { host: "127.0.0.1".to_owned(), port, tls: None, path: None }
    }

    fn pair() -> (Link, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let link = Link::connect(&way(address.port()), Version::V5).expect("the listener is there");
        let (peer, _) = listener.accept().expect("the link has connected");
        (link, peer)
    }
}
