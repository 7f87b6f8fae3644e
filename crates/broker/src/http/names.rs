//! The addresses of a service's name.
//!
//! The system looks a name up in a call that blocks, and may take half a minute where name servers are gone. So one
//! look-up is under way at most: who needs it later waits for the same one, and giving up does not begin another.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

/// A name, and what is known of it.
pub(super) struct Name {
    host: String,
    port: u16,
    /// Held while a look-up is awaited.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    addresses: Vec<SocketAddr>,
    /// They are looked up again from here on.
    until: Option<Instant>,
    under_way: Option<JoinHandle<io::Result<Vec<SocketAddr>>>>,
}

impl Name {
    pub(super) fn new(host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port, known: Mutex::default() }
    }

    /// Returns the addresses, of which there is at least one.
    ///
    /// # Errors
    ///
    /// There is none, or nobody says.
    pub(super) async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = self.host.parse::<IpAddr>() {
            return Ok(vec![(ip, self.port).into()]);
        }
        let mut known = self.known.lock().await;
        if known.until.is_some_and(|it| Instant::now() < it) {
            return Ok(known.addresses.clone());
        }
        let look_up = known.under_way.get_or_insert_with(|| {
            let (host, port) = (self.host.clone(), self.port);
            spawn_blocking(move || Ok((host.as_str(), port).to_socket_addrs()?.collect()))
        });
        // Who gives up here leaves the look-up to the next.
        let found = look_up.await;
        known.under_way = None;
        let addresses: Vec<_> = found.map_err(io::Error::other)??;
        if addresses.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        known.addresses.clone_from(&addresses);
        known.until = Some(Instant::now() + KNOWN_FOR);
        Ok(addresses)
    }

    /// Has the name looked up again: nobody answers at its addresses.
    pub(super) async fn forget(&self) {
        self.known.lock().await.until = None;
    }
}

/// How long addresses are used without asking again: a storm of questions is one look-up.
const KNOWN_FOR: Duration = Duration::from_secs(10);
