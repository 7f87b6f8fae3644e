//! One MQTT peer's protocol state as a value: no sockets, no clock, no randomness.
//!
//! A [`Session`] is what survives a network connection, a [`Connection`] what does not. Both are driven by a host
//! that owns the socket, the store and the time; see [`Session`]'s module for the calling contract. Bytes are the
//! codec's business, subscriptions and routing the host's.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod acknowledging;
mod alias_in;
mod alias_out;
pub mod client;
mod connect;
mod connection;
mod delivering;
mod delivery;
mod exchanges;
mod message;
mod outbox;
mod position;
mod publishing;
mod queue;
mod quota;
mod received;
mod session;
#[cfg(test)]
mod testing;
mod time;
mod violation;

pub use acknowledging::{AfterPuback, AfterPubcomp, AfterPubrec, Moved, Withdrawn};
pub use connect::{Negotiated, Refusal, ServerLimits, negotiate, write_connack, write_refusal};
pub use connection::{Connection, PacketTooLarge};
pub use delivering::Pumped;
pub use delivery::{Delivered, Delivery, DropReason, SubscriptionIds};
pub use message::{Content, Message, Sharing};
pub use outbox::{Effects, Outbox};
pub use position::{GroupId, Position};
pub use publishing::{AfterPubrel, AfterSettle, Duplicate, Inbound, Topic};
pub use queue::{Overflow, SessionLimits};
pub use session::{Class, Session};
pub use time::Time;
pub use violation::Violation;
