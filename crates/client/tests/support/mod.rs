//! What the tests of the client share: brokers, links that break, servers that misbehave.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(unreachable_pub, reason = "it is a module of several programs")]

pub mod house;
pub mod relay;
pub mod server;

use std::future::Future;
use std::time::Duration;

/// Waits for what must happen soon: as long as the slowest machine may take.
#[track_caller]
pub fn soon<T>(what: &'static str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(value) => value,
            Err(_) => panic!("{what} did not happen in {PATIENCE:?}, at {place}"),
        }
    }
}

/// How long a test waits before it gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);
