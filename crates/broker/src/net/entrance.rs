//! A listener as its connections see it: what it asks of them, and how many there are.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quelea_transport::upgrade::Rules;
use rustls::ServerConfig;

use super::tls::{Material, MaterialError};
use crate::config::{Listener, Network};

/// What a listener asks of those who come in by it.
pub(crate) struct Entrance {
    connections_max: usize,
    connection_count: AtomicUsize,
    /// Taken for an instant by each new connection, and by whoever reads the files again.
    tls: Option<Mutex<Arc<ServerConfig>>>,
    upgrade_rules: Option<Rules>,
    /// Proxies whose word on the client's address counts.
    forwarded_for: Vec<Network>,
}

/// A connection's place among those of its listener, which is free again when this is dropped.
pub(crate) struct Place(Arc<Entrance>);

impl Entrance {
    /// Reads the files that the settings name. `now` is what the wall clock shows, counted since 1970.
    ///
    /// # Errors
    ///
    /// They are not what they should be.
    pub(crate) fn open(settings: &Listener, now: Duration) -> Result<Self, MaterialError> {
        let upgrade_rules = settings.upgrade_rules();
        let protocol = if upgrade_rules.is_some() { ALPN_HTTP } else { ALPN_MQTT };
        let tls = match &settings.tls {
            Some(tls) => {
                let material = Material::load(tls, protocol)?;
                material.warn_of_expiries(now);
                Some(Mutex::new(material.config))
            }
            None => None,
        };
        let connections_max = settings.connections_max.map_or(usize::MAX, |max| max as usize);
        Ok(Self {
            connections_max,
            connection_count: AtomicUsize::new(0),
            tls,
            upgrade_rules,
            forwarded_for: settings.forwarded_for.clone(),
        })
    }

    /// Lets one more connection in, unless there are too many.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Place> {
        let count = self.connection_count.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(self));
        (count < self.connections_max).then_some(place)
    }
}

impl Place {
    /// Returns whether the connection is the bare socket, and nobody counts it.
    pub(super) fn is_plain(&self) -> bool {
        let is_counted = self.0.connections_max != usize::MAX;
        !self.has_tls() && self.upgrade_rules().is_none() && !is_counted
    }

    /// Returns what TLS is spoken with, if it is spoken.
    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        let config = self.0.tls.as_ref()?;
        Some(Arc::clone(&config.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Returns what a WebSocket is asked for, if one is spoken.
    pub(super) fn upgrade_rules(&self) -> Option<&Rules> {
        self.0.upgrade_rules.as_ref()
    }

    /// Returns whether it counts what the proxy at `address` says of its client.
    pub(super) fn forwards(&self, address: IpAddr) -> bool {
        self.0.forwarded_for.iter().any(|network| network.contains(address))
    }

    /// Returns whether TLS is spoken.
    pub(super) fn has_tls(&self) -> bool {
        self.0.tls.is_some()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connection_count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("has_tls", &self.has_tls()).finish_non_exhaustive()
    }
}

/// The name of what a WebSocket begins with, among the protocols that TLS can negotiate.
const ALPN_HTTP: &[u8] = b"http/1.1";

/// The name of MQTT among the protocols that TLS can negotiate.
const ALPN_MQTT: &[u8] = b"mqtt";
