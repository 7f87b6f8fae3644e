//! Quelea in virtual time: real shards, sessions and router, with a network, disks and clients that a seed
//! decides on, judged by a reference broker that knows only what clients know.
//!
//! A run is a function of its seed. It begins with trouble of all kinds: connections that are slow, narrow and break;
//! clients that come, go and take over; a broker that dies at any moment and loses what was not durable; disks that are
//! full or slow. Then trouble ends, and everything must come to rest: each message where it was owed (`properties`),
//! and, when the last client has left, nothing kept for anyone.
//!
//! | module | what it is |
//! |---|---|
//! | `setting` | what a seed decides before the run begins |
//! | `world`, `run` | the events, and the course of a run |
//! | `network` | connections |
//! | `client` | clients that keep to the protocol |
//! | `store` | stores that can be crashed: a model, and the real log on a disk that loses power |
//! | `fact`, `reference` | what happens, and what follows from it for each session |
//! | `properties`, `bounds` | what has to be true |

mod bounds;
mod client;
mod fact;
mod judge;
mod network;
mod properties;
mod random;
mod reference;
mod run;
mod setting;
mod store;
mod world;

pub use properties::Tally;
pub use run::{Outcome, run};
pub use store::Storage;
