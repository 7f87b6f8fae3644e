//! Who may do what, from outside: a broker of this process, its rules, and clients that try to get around them.

#![allow(clippy::unwrap_used, reason = "the panic is the test's failure")]

mod client;
mod evasion;
mod house;
mod mosquitto;
mod reload;
mod users;
