//! Who may do what, from outside: a broker of this process, its rules, and clients that try to get around them.

#![allow(clippy::unwrap_used, reason = "the panic is the test's failure")]
#![allow(clippy::disallowed_methods, reason = "a test may look at the clock")]

mod client;
mod evasion;
mod house;
mod mosquitto;
mod reload;
mod service;
mod users;
