//! Where the broker listens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An address that clients connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Address and port. Port 0 takes any free one, which the broker prints at start.
    pub address: SocketAddr,
    /// Whether the broker starts without it, with a warning, when the system does not have the address at
    /// all. Only the default `[::1]:1883` is such: hosts without IPv6 are common.
    pub may_be_absent: bool,
}

impl Listener {
    /// Makes a listener that must be there.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, may_be_absent: false }
    }

    /// Returns the listeners of a broker that is told nothing: port 1883 of both loopback addresses.
    pub fn loopback() -> Vec<Self> {
        vec![
            Self::new(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), MQTT_PORT)),
            Self {
                address: SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), MQTT_PORT),
                may_be_absent: true,
            },
        ]
    }
}

/// The port that is registered for MQTT over TCP.
const MQTT_PORT: u16 = 1883;

/// Reads an address; the error says how one is written.
pub(super) fn read_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("{text} is no address: write an IP address and a port, such as \"127.0.0.1:1883\" or \"[::1]:1883\"")
    })
}

/// The table of the file that a listener is, and its key there.
pub(super) const TABLE: &str = "listener";
pub(super) const ADDRESS_KEY: &str = "listener.address";
