//! What may lie between a socket and MQTT, as bytes and values: no socket, no clock, no randomness.
//!
//! - [`websocket`]: the frames of RFC 6455, for both sides.
//! - [`upgrade`]: the HTTP request and response that a WebSocket begins with, for both sides.
//! - [`proxy`]: the header with which a TCP proxy says whom it speaks for.
//! - [`forwarded`]: whom an HTTP proxy says that it speaks for.
//!
//! All of it reads what strangers send: every length is checked, memory is bounded by constants of each module, and
//! no input makes it panic.

#![forbid(unsafe_code)]

mod base64;
pub mod forwarded;
mod http;
pub mod proxy;
pub mod upgrade;
pub mod websocket;
