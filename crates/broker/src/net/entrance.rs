//! A listener as its connections see it: what it asks of them, and how many there are.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quelea_codec::Version;
use quelea_session::ServerLimits;
use quelea_transport::upgrade::Rules;
use rustls::ServerConfig;

use super::Peer;
use super::tls::{Credentials, MaterialError, Read};
use crate::config::{Listener, MqttVersion, Network};
use crate::limits::Meter;

/// What a listener asks of those who come in by it.
pub(crate) struct Entrance {
    /// Its listener's place in the configuration.
    pub(crate) listener: u16,
    connections_max: usize,
    connection_count: AtomicUsize,
    pub(crate) connects_per_sec: Option<u32>,
    pub(crate) messages_per_sec: Option<u32>,
    pub(crate) bytes_per_sec: Option<u32>,
    pub(crate) connects: Meter,
    pub(crate) messages: Meter,
    pub(crate) bytes: Meter,
    keep_alive_max_secs: Option<u16>,
    pub(crate) packet_bytes_max: Option<u32>,
    receive_maximum: Option<u16>,
    /// What clients may speak; empty, all versions.
    versions: Vec<MqttVersion>,
    tls: Option<Credentials>,
    upgrade_rules: Option<Rules>,
    /// Proxies whose word on the client's address counts.
    forwarded_for: Vec<Network>,
    /// Proxies that speak the PROXY protocol. If there are any, nobody else may connect.
    proxies: Vec<Network>,
}

/// A connection's place among those of its listener, which is free again when this is dropped.
pub(crate) struct Place(Arc<Entrance>);

impl Entrance {
    /// Reads the files that the settings name. `now` is what the wall clock shows, counted since 1970.
    ///
    /// # Errors
    ///
    /// They are not what they should be.
    pub(crate) fn open(
        settings: &Listener,
        listener: u16,
        now: Duration,
    ) -> Result<Self, MaterialError> {
        let upgrade_rules = settings.upgrade_rules();
        let protocol = if upgrade_rules.is_some() { ALPN_HTTP } else { ALPN_MQTT };
        let tls = settings.tls.as_ref();
        let tls = tls.map(|tls| Credentials::load(tls, protocol, now)).transpose()?;
        let connections_max = settings.connections_max.map_or(usize::MAX, |max| max as usize);
        Ok(Self {
            listener,
            connections_max,
            connection_count: AtomicUsize::new(0),
            connects_per_sec: settings.connects_per_sec,
            messages_per_sec: settings.messages_per_sec,
            bytes_per_sec: settings.bytes_per_sec,
            connects: Meter::default(),
            messages: Meter::default(),
            bytes: Meter::default(),
            keep_alive_max_secs: settings.keep_alive_max_secs,
            packet_bytes_max: settings.packet_bytes_max,
            receive_maximum: settings.receive_maximum,
            versions: settings.versions.clone(),
            tls,
            upgrade_rules,
            forwarded_for: settings.forwarded_for.clone(),
            proxies: settings.proxy_protocol.clone(),
        })
    }

    /// Looks whether the files have changed, and reads them again. Blocks: not for a shard.
    pub(crate) fn look_at_files(&self, now: Duration, read: Read) {
        if let Some(tls) = &self.tls {
            tls.look(now, read);
        }
    }

    /// Logs which certificates expire soon.
    pub(crate) fn warn_of_expiries(&self, now: Duration) {
        if let Some(tls) = &self.tls {
            tls.warn_of_expiries(now);
        }
    }

    /// Returns when the first of its certificates expires, since 1970.
    pub(crate) fn expires_at(&self) -> Option<Duration> {
        self.tls.as_ref().and_then(Credentials::expires_at)
    }

    /// Returns how often its files were not right when they were read again.
    pub(crate) fn refused_files(&self) -> u64 {
        self.tls.as_ref().map_or(0, Credentials::refused)
    }

    /// Returns whether its connections have to be known as its own once they are accepted: what they send is counted,
    /// or what they are granted is its own.
    pub(crate) fn has_terms(&self) -> bool {
        self.messages_per_sec.is_some()
            || self.bytes_per_sec.is_some()
            || !self.versions.is_empty()
            || self.has_limits()
    }

    /// Returns what its clients are granted where others are granted `limits`; nothing if that is the same.
    pub(crate) fn limits(&self, limits: &ServerLimits) -> Option<ServerLimits> {
        self.has_limits().then(|| ServerLimits {
            keep_alive_max_secs: self.keep_alive_max_secs.unwrap_or(limits.keep_alive_max_secs),
            packet_bytes_max: self.packet_bytes_max.unwrap_or(limits.packet_bytes_max),
            receive_maximum: self.receive_maximum.unwrap_or(limits.receive_maximum),
            ..limits.clone()
        })
    }

    fn has_limits(&self) -> bool {
        self.keep_alive_max_secs.is_some()
            || self.packet_bytes_max.is_some()
            || self.receive_maximum.is_some()
    }

    /// Returns whether its clients may speak `version`.
    pub(crate) fn admits_version(&self, version: Version) -> bool {
        self.versions.is_empty() || self.versions.contains(&version.into())
    }

    /// Returns whether a connection from `address` is that of a proxy, which will say whom it is for.
    pub(crate) fn is_proxy(&self, address: IpAddr) -> bool {
        let forwards = self.forwarded_for.iter().any(|network| network.contains(address));
        forwards || !self.proxies.is_empty()
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
        !self.has_tls() && self.upgrade_rules().is_none() && !is_counted && !self.awaits_proxy()
    }

    /// Returns whether `peer` may connect at all. Who may open a Unix socket is a matter of its file.
    pub(super) fn admits(&self, peer: Peer) -> bool {
        let is_proxy = |ip| self.0.proxies.iter().any(|network| network.contains(ip));
        !self.awaits_proxy() || peer.ip().is_none_or(is_proxy)
    }

    /// Returns whether a connection begins with a header of the PROXY protocol.
    pub(super) fn awaits_proxy(&self) -> bool {
        !self.0.proxies.is_empty()
    }

    /// Returns what TLS is spoken with, if it is spoken.
    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.0.tls.as_ref().map(Credentials::current)
    }

    /// Returns what a WebSocket is asked for, if one is spoken.
    pub(super) fn upgrade_rules(&self) -> Option<&Rules> {
        self.0.upgrade_rules.as_ref()
    }

    /// Returns whether it counts what the proxy at `address` says of its client.
    pub(super) fn forwards(&self, address: IpAddr) -> bool {
        self.0.forwarded_for.iter().any(|network| network.contains(address))
    }

    /// Returns whether there is a proxy whose word counts.
    pub(super) fn is_forwarded(&self) -> bool {
        !self.0.forwarded_for.is_empty()
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
