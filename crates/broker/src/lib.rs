//! The Quelea MQTT broker as a library.
//!
//! ```no_run
//! use quelea_broker::{Broker, Config};
//!
//! # fn main() -> Result<(), quelea_broker::StartError> {
//! let broker = Broker::start(Config::default())?;
//! println!("listening on {:?}", broker.local_addrs());
//! broker.wait_for_signal();
//! broker.stop();
//! # Ok(())
//! # }
//! ```

mod access;
mod arena;
mod auth;
mod backend;
mod chains;
mod clock;
pub mod config;
mod control;
mod counters;
mod http;
mod limits;
mod live;
mod mail;
mod net;
mod os;
mod post;
mod retained;
mod service;
mod shard;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod simulation;
mod start;
mod sys;
mod table;
mod tokens;

pub use access::{AccessError, read_rules};
pub use auth::EnhancedAuthenticator;
pub use chains::SourceError;
pub use config::Config;
pub use control::Signal;
pub use counters::{Counter, Counters, Totals};
pub use quelea_auth::{Exchange, Step};
pub use start::{Broker, Extensions, StartError};
