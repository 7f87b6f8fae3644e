//! The client opposite a server that misbehaves in every way, one after the other.

#![allow(clippy::unwrap_used, reason = "it is a test")]

#[path = "../support/mod.rs"]
mod support;

mod connecting;
mod faults;
mod passwords;
mod transports;
mod under_way;
