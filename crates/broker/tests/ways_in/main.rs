//! Every way in, from outside: a broker of this process, and clients over real sockets.

#![allow(clippy::unwrap_used, reason = "the panic is the test's failure")]
#![allow(clippy::disallowed_methods, reason = "a test may look at the clock")]

mod certificates;
mod client;
mod hostile;
mod house;
mod journal;
mod pki;
mod proxy;
mod reload;
mod tls;
mod unix;
mod versions;
mod websocket;
mod websocket_client;
