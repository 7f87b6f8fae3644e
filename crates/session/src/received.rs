//! QoS 2 messages of the peer that it has not released: what keeps them from being routed twice.
//!
//! ```text
//!            accepted                 PUBREL
//! Pending -------------> Received -----------> (forgotten)
//!    |                      ^
//!    +--- refused ---> (forgotten)
//! ```
//!
//! A message that waits for the store may outlive its connection. Then its duplicate on the next connection must
//! wait for it too, whence `Orphaned`; and `Repeated`, once that duplicate has come.

use core::hash::{BuildHasherDefault, Hasher};

use hashbrown::HashMap;
use quelea_codec::PacketId;

/// Packet identifiers of QoS 2 messages from PUBLISH to PUBREL. At most 65,535.
#[derive(Debug, Default)]
pub(crate) struct ReceivedIds {
    states: HashMap<PacketId, State, BuildHasherDefault<IdHasher>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not answered yet.
    Pending,
    /// Not answered, and the connection it came on is gone.
    Orphaned,
    /// As `Orphaned`, and the peer has sent it again.
    Repeated,
    /// Answered with a PUBREC, and counted in the connection's receive quota.
    Received,
    /// Answered with a PUBREC on an earlier connection.
    Inherited,
}

/// What a PUBLISH at QoS 2 is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Nothing we have seen, and pending from now.
    New,
    /// Another copy of a message that is pending on this connection.
    Pending,
    /// The first copy on this connection of one that has been pending since an earlier one.
    PendingInherited,
    /// Another copy of a message that was answered on this connection.
    Received,
    /// The first copy on this connection of one that was answered on an earlier one.
    ReceivedInherited,
}

/// What a PUBREL releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    Received,
    NotAnswered,
    Unknown,
}

impl ReceivedIds {
    /// Notes a PUBLISH.
    pub(crate) fn on_publish(&mut self, id: PacketId) -> Arrival {
        let Some(state) = self.states.get_mut(&id) else {
            self.states.insert(id, State::Pending);
            return Arrival::New;
        };
        match state {
            State::Pending | State::Repeated => Arrival::Pending,
            State::Orphaned => {
                *state = State::Repeated;
                Arrival::PendingInherited
            }
            State::Received => Arrival::Received,
            State::Inherited => {
                *state = State::Received;
                Arrival::ReceivedInherited
            }
        }
    }

    /// Notes that a PUBREC of success is sent.
    pub(crate) fn accept(&mut self, id: PacketId) {
        self.states.insert(id, State::Received);
    }

    /// Notes a PUBREC of success from before a restart.
    pub(crate) fn restore(&mut self, id: PacketId) {
        self.states.insert(id, State::Inherited);
    }

    /// Forgets a message that was released, and returns whether it is counted in the connection's quota.
    pub(crate) fn complete(&mut self, id: PacketId) -> bool {
        self.states.remove(&id) == Some(State::Received)
    }

    /// Forgets a message that was refused, and returns whether it was there.
    pub(crate) fn forget(&mut self, id: PacketId) -> bool {
        self.states.remove(&id).is_some()
    }

    /// Notes how a message turned out whose connection may be gone; returns whether a copy that came later
    /// waits for the answer.
    pub(crate) fn settle(&mut self, id: PacketId, is_accepted: bool) -> bool {
        match self.states.get_mut(&id) {
            Some(State::Repeated) => true,
            Some(state @ State::Orphaned) if is_accepted => {
                *state = State::Inherited;
                false
            }
            Some(State::Orphaned) => {
                self.states.remove(&id);
                false
            }
            Some(State::Pending | State::Received | State::Inherited) | None => false,
        }
    }

    /// Leaves the connection behind. Of the messages that came on it and are not answered, those are kept that are
    /// still to be settled, as `is_awaited` says; those of earlier connections are in any case.
    pub(crate) fn disconnect(&mut self, is_awaited: impl Fn(PacketId) -> bool) {
        self.states.retain(|id, state| match state {
            State::Received | State::Inherited => {
                *state = State::Inherited;
                true
            }
            State::Pending => {
                *state = State::Orphaned;
                is_awaited(*id)
            }
            State::Orphaned | State::Repeated => {
                *state = State::Orphaned;
                true
            }
        });
    }

    /// Gives back room beyond what the identifiers need.
    pub(crate) fn shrink(&mut self) {
        self.states.shrink_to_fit();
    }

    /// Returns what a PUBREL for `id` means.
    pub(crate) fn release(&self, id: PacketId) -> Release {
        match self.states.get(&id) {
            Some(State::Received | State::Inherited) => Release::Received,
            Some(State::Pending | State::Orphaned | State::Repeated) => Release::NotAnswered,
            None => Release::Unknown,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.states.is_empty()
    }
}

/// Spreads packet identifiers over a table.
///
/// It needs no seed: there are 65,535 identifiers at most, and successive ones, as clients use them, never
/// collide.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 << 8 | u64::from(byte)).wrapping_mul(MULTIPLIER);
        }
    }

    #[inline]
    fn write_u16(&mut self, id: u16) {
        self.0 = u64::from(id).wrapping_mul(MULTIPLIER);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

/// The golden ratio as a fraction of 2^64: odd, so that it keeps different low bits different.
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;
