//! A network connection as its shard sees it.

use std::collections::VecDeque;
use std::sync::Arc;

use quelea_auth::Identity;
use quelea_codec::{ReasonCode, Version};
use quelea_session::{Connection, Outbox, Time};

use super::held::{Held, HeldEntry};
use crate::arena::Key;
use crate::auth::Pending;
use crate::limits::Bounds;
use crate::net::Peer;

/// One connection, from its arrival until its socket is closed.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) stage: Stage,
    pub(super) address: Peer,
    /// When it must have done something: complete its CONNECT, take what keeps it paused, be gone.
    pub(super) stage_ends_at: Time,
    /// When its timer looks at it next; zero when it has none.
    pub(super) timer_at: Time,
    /// When a whole packet last arrived: keep alive counts from here.
    pub(super) last_packet_at: Time,
    /// What was read and is not handled yet: the start of a packet, or whole ones while paused.
    pub(super) unread: Vec<u8>,
    /// Bytes for the peer. Those before `written` have left.
    pub(super) output: Vec<u8>,
    pub(super) written: u32,
    /// Its number among all that were accepted.
    pub(super) arrival: u32,
    /// The place of its listener in the configuration.
    pub(super) listener: u16,
    /// What waits for the store or other shards, in the order in which it may leave. Boxed, because
    /// most links never hold anything.
    #[expect(clippy::box_collection, reason = "8 bytes instead of 32 in every idle link")]
    pub(super) held: Option<Box<VecDeque<HeldEntry>>>,
    /// What it is held to. Boxed, and absent unless something is configured.
    pub(super) bounds: Option<Box<Bounds>>,
    /// The socket has something to read, as far as we know.
    pub(super) has_input: bool,
    /// The peer has ended its side: a short read does not mean that the next arrival is reported.
    pub(super) is_closed: bool,
    /// `unread` may hold a whole packet: it was put there when work ran out.
    pub(super) has_packets: bool,
    /// In `Shard::readable`.
    pub(super) is_listed: bool,
    /// In `Shard::dirty`.
    pub(super) is_dirty: bool,
    /// The socket took less than it was given: it reports when there is room.
    pub(super) is_blocked: bool,
    /// Not read from until its output or what it holds has shrunk.
    pub(super) is_paused: bool,
    /// Not read from until it has paid off what it sent beyond a rate.
    pub(super) is_throttled: bool,
    /// It was moved to this shard, where its session lives.
    pub(super) is_home: bool,
    /// DISCONNECT was read, and the close waits for the store.
    pub(super) is_leaving: bool,
    /// CONNACK was written: other packets may follow it.
    pub(super) is_answered: bool,
}

/// How far a link has come.
// Nearly all links are open, and the hot path must not chase a pointer to find out.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub(super) enum Stage {
    /// Before CONNECT.
    Connecting,
    /// CONNECT was read, and the answer depends on someone else.
    Authenticating(Box<Pending>),
    /// CONNACK was written, or is held until the session is durable.
    Open(OpenLink),
    /// The last packet was written. Input is thrown away until the peer closes too, so that the
    /// system does not discard what the peer has not read yet.
    Lingering,
}

/// A link with a session.
#[derive(Debug)]
pub(super) struct OpenLink {
    pub(super) connection: Connection,
    /// Its session on this shard.
    pub(super) session: Key,
    /// Who its client is. Absent where nobody is asked, and for those who may come in as nobody.
    pub(super) identity: Option<Arc<Identity>>,
    /// Enhanced authentication, when the connection uses it.
    pub(super) exchange: Option<Box<Pending>>,
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The client sent DISCONNECT: its will is not published.
    Normal,
    /// The client sent DISCONNECT 0x04: its will is published.
    WithWill,
    /// The client has connected again. The will is published unless it is delayed, and in any case
    /// when the session ends with that.
    TakenOver { ends: bool },
    /// Anything else, and what a 5.0 client is told. The will is published.
    Abnormal(ReasonCode),
}

impl Link {
    pub(super) fn new(address: Peer, now: Time, stage_ends_at: Time) -> Self {
        Self {
            stage: Stage::Connecting,
            address,
            stage_ends_at,
            timer_at: Time::ZERO,
            last_packet_at: now,
            unread: Vec::new(),
            output: Vec::new(),
            written: 0,
            arrival: 0,
            listener: 0,
            held: None,
            bounds: None,
            has_input: false,
            is_closed: false,
            has_packets: false,
            is_listed: false,
            is_dirty: false,
            is_blocked: false,
            is_paused: false,
            is_throttled: false,
            is_home: false,
            is_leaving: false,
            is_answered: false,
        }
    }

    /// Returns the link's session state, once it has any.
    #[inline]
    pub(super) fn open(&mut self) -> Option<&mut OpenLink> {
        match &mut self.stage {
            Stage::Open(open) => Some(open),
            Stage::Connecting | Stage::Authenticating(_) | Stage::Lingering => None,
        }
    }

    /// Returns the connection together with where it writes.
    #[inline]
    pub(super) fn sender(&mut self, bytes_max: usize) -> Option<(&mut Connection, Outbox<'_>)> {
        let Stage::Open(open) = &mut self.stage else { return None };
        let outbox =
            Outbox { buffer: &mut self.output, unsent_before: self.written as usize, bytes_max };
        Some((&mut open.connection, outbox))
    }

    /// Returns the version spoken, or 5.0 before that is known.
    pub(super) fn version(&self) -> Version {
        match &self.stage {
            Stage::Open(open) => open.connection.version(),
            Stage::Authenticating(pending) => pending.version(),
            Stage::Connecting | Stage::Lingering => Version::V5,
        }
    }

    /// Returns why the connection ends: a DISCONNECT that was read is not taken back by what happens
    /// while its close waits for the store.
    pub(super) fn ending(&mut self, otherwise: Ending) -> Ending {
        if !self.is_leaving {
            return otherwise;
        }
        let last = self.held.as_mut().and_then(|held| held.pop_back());
        match last.map(|entry| entry.held) {
            Some(Held::Close(ending)) => ending,
            _ => otherwise,
        }
    }

    /// Returns how many bytes wait to be written.
    #[inline]
    pub(super) fn unsent_bytes(&self) -> usize {
        self.output.len() - self.written as usize
    }

    /// Returns whether packets must wait: between CONNECT and CONNACK, while paused, and after
    /// DISCONNECT.
    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        self.is_paused
            || self.is_throttled
            || self.is_leaving
            || (!self.is_answered && self.awaits_answer())
    }

    /// Returns whether what follows the CONNECT has to wait for the CONNACK.
    fn awaits_answer(&self) -> bool {
        match &self.stage {
            Stage::Open(_) => true,
            Stage::Authenticating(pending) => pending.is_plain(),
            Stage::Connecting | Stage::Lingering => false,
        }
    }

    /// Returns whether something waits that must leave before anything later.
    #[inline]
    pub(super) fn holds(&self) -> bool {
        self.held.is_some()
    }
}
