//! The client's side of a session: what an application's messages and subscriptions need from one connection to the
//! next.
//!
//! A [`ClientSession`] is a value without a clock and without a socket. It shares windows, exchanges, packet
//! identifiers and aliases with the server's side, a durable [`Session`]: only that its store is in memory,
//! and that it is the peer's packets which tell what the queue may do.
//!
//! # How to call it
//!
//! The host opens a network connection and calls [`connect`](ClientSession::connect). It decodes each packet and
//! calls [`on_packet`](ClientSession::on_packet), which returns what the packet means to the application. It gives
//! messages by [`accept`](ClientSession::accept), connected or not. After any of this it calls
//! [`pump`](ClientSession::pump), writes the bytes, and says so by [`wrote`](ClientSession::wrote); at the
//! [`deadline`](ClientSession::deadline) it calls [`on_deadline`](ClientSession::on_deadline). When the connection
//! has ended, for whatever reason, it calls [`disconnected`](ClientSession::disconnected).
//!
//! ```text
//!           connect              CONNACK               disconnect
//! Offline ----------> Connecting --------> Connected ------------> Closing
//!    ^                     |                   |                      |
//!    +---------------------+-- disconnected ---+----------------------+
//! ```
//!
//! # What is promised
//!
//! A message at QoS 1 is sent until it is acknowledged, whatever happens to the connection or to the broker's memory
//! of the session. One at QoS 2 is never sent twice: if the broker has lost the session while it was under way, its
//! outcome is [`Outcome::Unknown`].

mod accepted;
mod ack_order;
mod authentication;
#[cfg(test)]
mod desk;
mod event;
mod fault;
mod handshake;
mod keep_alive;
mod receiving;
mod recovery;
mod requests;
mod sending;
mod subscribing;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use quelea_codec::{
    Connect, Disconnect, DisconnectProperties, Packet, PacketKind, ReasonCode, Version,
};

use accepted::Accepted;
use ack_order::AckOrder;
use handshake::Asked;
use keep_alive::{Due, KeepAlive};
use requests::Requests;

pub use ack_order::Receipt;
pub use event::{Done, Event, Incoming, Outcome, Resumption, ServerOffer, Unacceptable, Unsent};
pub use fault::Fault;

use crate::Time;
use crate::connection::Connection;
use crate::outbox::Effects;
use crate::position::Position;
use crate::session::{Class, Session};

/// The protocol state of a client, with all messages that are not done with.
///
/// `T` is what the host knows a message by.
#[derive(Debug)]
pub struct ClientSession<T> {
    settings: ClientSettings,
    session: Session,
    phase: Phase,
    accepted: Accepted<T>,
    /// The position behind the last message that the session's queue was given on this connection.
    fed_before: Position,
    /// Nothing from this position on is sent: the host does not know yet that it may have been.
    send_before: Position,
    requests: Requests,
    acks: AckOrder,
    keep_alive: KeepAlive,
    /// Scratch.
    fx: Effects,
}

/// What a client decides by itself, and no CONNECT says.
#[derive(Clone, Copy, Debug)]
pub struct ClientSettings {
    /// QoS 1 and 2 messages under way to the broker, whatever more it allows; not 0.
    pub send_window_max: u16,
    /// The highest Topic Alias to use, whatever more the broker allows.
    pub topic_alias_maximum_out: u16,
    /// How long the broker may take to show life after a PINGREQ.
    pub ping_patience_millis: u64,
    /// Whether the host keeps messages beyond the process: then nothing is sent before it has said so
    /// ([`ClientSession::allow_sending_before`]), and PUBREL waits for [`ClientSession::release`].
    pub keeps_beyond_process: bool,
}

#[derive(Debug)]
enum Phase {
    Offline,
    /// CONNECT is written.
    Connecting(Asked),
    Connected(Link),
    /// DISCONNECT is written: nothing may follow ([MQTT-3.14.4-2]).
    Closing,
}

/// What belongs to a connection that the broker has accepted.
#[derive(Debug)]
struct Link {
    asked: Asked,
    offer: ServerOffer,
    connection: Connection,
    is_reauthenticating: bool,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            send_window_max: u16::MAX,
            topic_alias_maximum_out: u16::MAX,
            ping_patience_millis: 10_000,
            keeps_beyond_process: false,
        }
    }
}

impl<T> ClientSession<T> {
    /// Returns a client that knows of nothing.
    pub fn new(settings: ClientSettings) -> Self {
        Self {
            settings,
            session: Session::new(Class::Durable),
            phase: Phase::Offline,
            accepted: Accepted::new(),
            fed_before: Position::new(0),
            send_before: Position::new(if settings.keeps_beyond_process { 0 } else { u64::MAX }),
            requests: Requests::default(),
            acks: AckOrder::default(),
            keep_alive: KeepAlive::new(0, settings.ping_patience_millis, Time::ZERO),
            fx: Effects::default(),
        }
    }

    /// Writes CONNECT on a network connection that has just been opened ([MQTT-3.1.0-1]).
    ///
    /// Nothing else is written before CONNACK, but for AUTH ([MQTT-3.1.2-30]).
    pub fn connect(&mut self, connect: &Connect<'_>, out: &mut Vec<u8>) {
        self.disconnected();
        Packet::Connect(*connect).encode(connect.version, out);
        self.phase = Phase::Connecting(Asked::new(connect));
    }

    /// Notes that the network connection is gone. Messages stay, and are sent on the next one.
    pub fn disconnected(&mut self) {
        self.phase = Phase::Offline;
        self.requests.clear();
        self.session.disconnected(|_| true);
        let session = &mut self.session;
        self.acks.disconnect(|packet_id, reason| {
            session.settle_publish(packet_id, reason);
        });
    }

    /// Writes DISCONNECT, after which the host closes the network connection. `session_expiry_secs` is left out
    /// where the version has no place for it.
    pub fn disconnect(
        &mut self,
        reason: ReasonCode,
        session_expiry_secs: Option<u32>,
        out: &mut Vec<u8>,
    ) {
        if let Some(version) = self.version() {
            let properties =
                DisconnectProperties { session_expiry_secs, ..DisconnectProperties::default() };
            // MQTT 3.x has only a normal disconnection, and a connection that is closed without one is a failure.
            if version.is_v5() || !reason.is_failure() {
                Packet::Disconnect(Disconnect { reason, properties }).encode(version, out);
            }
        }
        self.phase = Phase::Closing;
    }

    /// Notes that bytes were read from the broker.
    pub fn heard(&mut self, now: Time) {
        self.keep_alive.heard(now);
    }

    /// Notes that bytes were written to the broker.
    pub fn wrote(&mut self, now: Time) {
        self.keep_alive.sent(now);
    }

    /// Does what is due at the [`deadline`](Self::deadline).
    ///
    /// # Errors
    ///
    /// [`Fault::Silent`] when the broker has not answered a PINGREQ.
    pub fn on_deadline(&mut self, now: Time, out: &mut Vec<u8>) -> Result<(), Fault> {
        let Phase::Connected(link) = &self.phase else {
            return Ok(());
        };
        match self.keep_alive.due(now) {
            Due::Nothing => Ok(()),
            Due::Ping => {
                Packet::PingReq.encode(link.asked.version, out);
                self.keep_alive.pinged(now);
                Ok(())
            }
            Due::Dead => Err(Fault::Silent),
        }
    }

    /// Returns when [`on_deadline`](Self::on_deadline) is to be called, if nothing happens before.
    pub fn deadline(&self) -> Option<Time> {
        match self.phase {
            Phase::Connected(_) => self.keep_alive.deadline(),
            Phase::Offline | Phase::Connecting(_) | Phase::Closing => None,
        }
    }

    /// Returns what the broker offers on the present connection.
    pub fn offer(&self) -> Option<&ServerOffer> {
        self.link().map(|link| &link.offer)
    }

    /// Returns whether the broker has accepted the connection.
    pub fn is_connected(&self) -> bool {
        self.link().is_some()
    }

    /// Returns how many messages are not done with.
    pub fn unfinished(&self) -> usize {
        self.accepted.len()
    }

    /// Returns how many acknowledgements wait for the application, or for one before them.
    pub fn unacknowledged(&self) -> usize {
        self.acks.len()
    }

    /// Returns whether nothing is under way in either direction that another packet could settle.
    pub fn is_at_rest(&self) -> bool {
        self.unfinished() == 0 && self.requests.is_empty()
    }

    /// Returns the protocol version of the present connection.
    fn version(&self) -> Option<Version> {
        match &self.phase {
            Phase::Connecting(asked) => Some(asked.version),
            Phase::Connected(link) => Some(link.asked.version),
            Phase::Offline | Phase::Closing => None,
        }
    }

    fn link(&self) -> Option<&Link> {
        match &self.phase {
            Phase::Connected(link) => Some(link),
            Phase::Offline | Phase::Connecting(_) | Phase::Closing => None,
        }
    }
}

/// Returns the fault of a packet that has come at the wrong time or from the wrong side.
fn unexpected(kind: PacketKind) -> Fault {
    Fault::Unexpected(kind)
}
