//! The conformance suite of Quelea: what MQTT 3.1, 3.1.1 and 5.0 ask of a server, asked over a socket.
//!
//! A [`Case`] shows one behaviour, names the statements it judges and runs against any broker that listens on
//! a [`Target`]: it needs nothing but the address, uses topics and client identifiers of its own, and asks
//! first for what a broker may refuse. Where the specification leaves a choice, a case that asserts Quelea's
//! choice is skipped for other brokers.
//!
//! The suite reads and writes packets with its own [`wire`] module and not with `quelea-codec`: a misreading
//! that both ends shared would pass unseen.
//!
//! [`statement`] holds the statements of all three versions, and [`ledger`] the document that says for each of
//! them which case judges it, or why none can.

mod broker;
mod case;
mod cases;
mod client;
mod connect;
pub mod doctor;
mod exchange;
mod judgement;
pub mod ledger;
pub mod statement;
mod stream;
mod target;
mod untested;
mod version;
mod websocket;
pub mod wire;

pub use broker::Broker;
pub use case::{Case, Failure, Finding, Outcome, Report, Verdict};
pub use cases::all as cases;
pub use client::Client;
pub use judgement::{EVIDENCE_LINES_MAX, Judgement, Plan, judge};
pub use stream::{Dial, Stream};
pub use target::Target;
pub use version::Version;
pub use websocket::WebSocket;
