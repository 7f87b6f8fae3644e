//! How much of the broker a client, a source address or a listener may have, per second and at once.
//!
//! What is not configured costs a look at an absent pointer. What is configured is counted by [`Meter`]s: those of
//! a connection belong to its shard, those of an address and of a listener are shared by all shards.
//!
//! | module | what it does |
//! |---|---|
//! | `meter` | a rate as one number: when what was used is paid for |
//! | `addresses` | who is connected from where, and what they use together |
//! | `bans` | who may not connect |
//! | `overload` | whether the broker has more to do than it can |
//! | `newest` | which connections are the newest, when some have to go |
//! | `bounds` | what one connection may, and what it has used |
//!
//! What happens at a limit is not decided here: the accept threads and the shards do what the configuration says.

mod addresses;
mod bans;
mod bounds;
mod meter;
mod newest;
mod overload;

pub(crate) use addresses::{AddressPlace, Addresses, TooMany};
pub(crate) use bans::{Banned, Caller};
pub(crate) use bounds::{Bounds, Use};
pub(crate) use meter::Meter;
pub(crate) use newest::Newest;
pub(crate) use overload::{Measures, Watch};
