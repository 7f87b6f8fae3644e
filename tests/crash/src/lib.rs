//! Kills a running broker again and again, and accounts for every message that it acknowledged.
//!
//! A [`campaign`] has one data directory. Clients of all kinds follow their [`plan`]s, keep their sessions over
//! the broker's crashes as the specification asks, and write all that they do and see into one [`history`], of
//! which the [`checker`] says whether a broker that keeps its promises can have brought it about.

pub mod actor;
pub mod broker;
pub mod campaign;
pub mod checker;
pub mod client;
pub mod facts;
pub mod history;
pub mod inspection;
pub mod link;
pub mod outgoing;
pub mod payload;
pub mod plan;
pub mod random;
pub mod trial;
