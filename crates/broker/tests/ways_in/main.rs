//! Every way in, from outside: a broker of this process, and clients over real sockets.

#![allow(clippy::unwrap_used, reason = "the panic is the test's failure")]

mod client;
mod house;
mod pki;
mod tls;
