//! The client opposite Quelea, over links that break.

#![allow(clippy::unwrap_used, reason = "it is a test")]

#[path = "../support/mod.rs"]
mod support;

mod blocking;
mod publishing;
mod receiving;
mod subscribing;
mod surviving;
