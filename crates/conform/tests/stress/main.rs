//! The broker under stress, and among clients that mean no good: one property a file.
//!
//! Each test starts a broker of its own in this process, with as many shards as make its paths cross, and talks
//! to it over sockets.

mod client;
mod house;
mod random;

mod authentication;
mod bans;
mod exactly_once;
mod hostile;
mod limits;
mod order;
mod overload;
mod rates;
mod restart;
mod retained;
mod shared;
mod slow_reader;
mod storm;
mod visibility;
mod wills;
