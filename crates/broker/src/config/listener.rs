//! Where the broker listens, and what it asks of those who come.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use quelea_codec::Version;
use quelea_transport::upgrade::Rules;

use super::value::choice;
use super::{ListenerAuthentication, Network};

/// An address that clients connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where it is.
    pub address: Address,
    /// Whether the broker starts without it, with a warning, when the system does not have the address at
    /// all. Only the default `[::1]:1883` is such: hosts without IPv6 are common.
    pub may_be_absent: bool,
    /// What lies between the connection and MQTT.
    pub protocol: Protocol,
    /// With WebSocket: the path that MQTT is at. Unset, `/mqtt`.
    pub path: Option<String>,
    /// The versions of MQTT that clients may speak; empty, all of them.
    pub versions: Vec<MqttVersion>,
    /// What takes the place of `limits.keep_alive_max_secs`.
    pub keep_alive_max_secs: Option<u16>,
    /// What takes the place of `limits.packet_bytes_max`.
    pub packet_bytes_max: Option<u32>,
    /// What takes the place of `limits.receive_maximum`.
    pub receive_maximum: Option<u16>,
    /// With WebSocket: the origins of pages that may connect; `*` stands for all. Empty, only pages of the
    /// host that the client names may.
    pub allowed_origins: Vec<String>,
    /// With WebSocket: the proxies whose `X-Forwarded-For` is believed.
    pub forwarded_for: Vec<Network>,
    /// The proxies that say by the PROXY protocol whom they speak for. If there are any, nobody else may connect.
    pub proxy_protocol: Vec<Network>,
    /// With a Unix socket: its file.
    pub unix: UnixFile,
    /// Connections through this listener at once, below `limits.connections_max`.
    pub connections_max: Option<u32>,
    /// Connections through this listener in a second. More wait in the system's queue.
    pub connects_per_sec: Option<u32>,
    /// Messages in a second from all clients of this listener.
    pub messages_per_sec: Option<u32>,
    /// Bytes in a second from all clients of this listener.
    pub bytes_per_sec: Option<u32>,
    /// Who is asked who its clients are, where that is its own matter.
    pub authentication: ListenerAuthentication,
    /// TLS, if clients have to speak it.
    pub tls: Option<Tls>,
}

/// Where a listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Address and port. Port 0 takes any free one, which the broker prints at start.
    Tcp(SocketAddr),
    /// The file of a Unix socket.
    Unix(PathBuf),
    /// The socket with this name that systemd has opened.
    Inherited(String),
}

/// The file of a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixFile {
    /// Its permissions.
    pub mode: u32,
    /// The user whom it belongs to, by name or number; the broker's by default.
    pub owner: Option<String>,
    /// The group that it belongs to, by name or number; the broker's by default.
    pub group: Option<String>,
}

impl Default for UnixFile {
    fn default() -> Self {
        Self { mode: 0o660, owner: None, group: None }
    }
}

impl Address {
    /// Returns whether only this machine can reach it. What systemd has opened may be anything.
    fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
            Self::Inherited(_) => false,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
            Self::Inherited(name) => write!(f, "{INHERITED}{name}"),
        }
    }
}

/// How a listener speaks TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Files of certificates in PEM, each with its chain. The first is for clients that name no host, or
    /// one that no certificate has.
    pub certificates: Vec<PathBuf>,
    /// Files of their private keys in PEM, in the same order.
    pub keys: Vec<PathBuf>,
    /// Files of the authorities that may have issued the clients' certificates. None asks for none.
    pub client_cas: Vec<PathBuf>,
    /// Files of certificates that were revoked.
    pub crls: Vec<PathBuf>,
    /// What becomes of clients when a list of these is out of date.
    pub crl_expiry: CrlExpiry,
    /// Whether a client must have a certificate. Unset, it must if there are authorities.
    pub client_certificate: Option<ClientCertificate>,
    /// The lowest version that is spoken.
    pub version_min: TlsVersion,
    /// The only cipher suites that are spoken, by their names; empty, all that are safe.
    pub cipher_suites: Vec<String>,
}

choice! {
    /// What lies between the connection and MQTT.
    #[derive(Default)]
    pub enum Protocol {
        /// Nothing.
        #[default]
        Mqtt = "mqtt",
        /// WebSocket.
        WebSocket = "websocket",
    }
}

choice! {
    /// A version of MQTT.
    pub enum MqttVersion {
        /// MQTT 3.1.
        V31 = "3.1",
        /// MQTT 3.1.1.
        V311 = "3.1.1",
        /// MQTT 5.0.
        V5 = "5.0",
    }
}

impl From<Version> for MqttVersion {
    fn from(version: Version) -> Self {
        match version {
            Version::V31 => Self::V31,
            Version::V311 => Self::V311,
            Version::V5 => Self::V5,
        }
    }
}

choice! {
    /// Whether a client must have a certificate.
    #[derive(Default)]
    pub enum ClientCertificate {
        /// It must, and a good one.
        #[default]
        Required = "required",
        /// It need not, but one that it has must be good.
        Optional = "optional",
    }
}

choice! {
    /// What becomes of clients when a list of revocations is out of date.
    #[derive(Default)]
    pub enum CrlExpiry {
        /// The list stays in force, and is warned of.
        #[default]
        Warned = "warned",
        /// Clients of its authority are refused.
        Enforced = "enforced",
    }
}

choice! {
    /// A version of TLS.
    #[derive(Default)]
    pub enum TlsVersion {
        /// TLS 1.2.
        #[default]
        V12 = "1.2",
        /// TLS 1.3.
        V13 = "1.3",
    }
}

impl Tls {
    /// Returns every file that the settings name.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        let lists = [&self.certificates, &self.keys, &self.client_cas, &self.crls];
        lists.into_iter().flatten().map(PathBuf::as_path)
    }
}

impl Listener {
    /// Makes a listener for MQTT over TCP that must be there.
    pub fn new(address: SocketAddr) -> Self {
        Self::at(Address::Tcp(address))
    }

    /// Makes a listener for MQTT that must be there.
    pub fn at(address: Address) -> Self {
        Self {
            address,
            may_be_absent: false,
            protocol: Protocol::Mqtt,
            path: None,
            versions: Vec::new(),
            keep_alive_max_secs: None,
            packet_bytes_max: None,
            receive_maximum: None,
            allowed_origins: Vec::new(),
            forwarded_for: Vec::new(),
            proxy_protocol: Vec::new(),
            unix: UnixFile::default(),
            connections_max: None,
            connects_per_sec: None,
            messages_per_sec: None,
            bytes_per_sec: None,
            authentication: ListenerAuthentication::default(),
            tls: None,
        }
    }

    /// Returns what a WebSocket of this listener is asked for; nothing when it has none.
    pub(crate) fn upgrade_rules(&self) -> Option<Rules> {
        let path = self.path.clone().unwrap_or_else(|| DEFAULT_PATH.to_owned());
        let rules = Rules { path, allowed_origins: self.allowed_origins.clone() };
        (self.protocol == Protocol::WebSocket).then_some(rules)
    }

    /// Returns the listeners of a broker that is told nothing: port 1883 of both loopback addresses.
    pub fn loopback() -> Vec<Self> {
        let v4 = Self::new(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), MQTT_PORT));
        let v6 = Self::new(SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), MQTT_PORT));
        vec![v4, Self { may_be_absent: true, ..v6 }]
    }

    /// Returns whether a client of another machine can connect without proving who it is.
    pub fn is_open(&self) -> bool {
        // A proxy on this machine speaks for clients that are on others.
        (!self.address.is_local() || self.is_for_proxies()) && !self.demands_certificate()
    }

    /// Returns whether proxies speak for its clients.
    pub(super) fn is_for_proxies(&self) -> bool {
        !self.proxy_protocol.is_empty() || !self.forwarded_for.is_empty()
    }

    /// Returns whether its clients can have certificates, as far as it knows.
    pub(super) fn knows_certificates(&self) -> bool {
        !self.proxy_protocol.is_empty()
            || self.tls.as_ref().is_some_and(|tls| !tls.client_cas.is_empty())
    }

    fn demands_certificate(&self) -> bool {
        let demands = |tls: &Tls| {
            !tls.client_cas.is_empty()
                && tls.client_certificate != Some(ClientCertificate::Optional)
        };
        self.tls.as_ref().is_some_and(demands)
    }
}

/// Where MQTT is by convention.
const DEFAULT_PATH: &str = "/mqtt";

/// What the address of a Unix socket begins with.
const UNIX: &str = "unix:";

/// What that of a socket from systemd begins with.
const INHERITED: &str = "systemd:";

/// The port that is registered for MQTT over TCP.
const MQTT_PORT: u16 = 1883;

/// Reads an address; the error says how one is written.
pub(super) fn read_address(text: &str) -> Result<Address, String> {
    if let Some(path) = text.strip_prefix(UNIX).filter(|path| !path.is_empty()) {
        return Ok(Address::Unix(path.into()));
    }
    if let Some(name) = text.strip_prefix(INHERITED) {
        return Ok(Address::Inherited(name.to_owned()));
    }
    text.parse().map(Address::Tcp).map_err(|_| {
        format!("{text} is no address: write an IP address and a port, such as \"127.0.0.1:1883\" or \"[::1]:1883\"")
    })
}

/// The table of the file that a listener is, and its key there.
pub(super) const TABLE: &str = "listener";
pub(super) const ADDRESS_KEY: &str = "listener.address";
