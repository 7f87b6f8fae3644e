//! Who is at the other end of a connection, in as few bytes as it takes: every link has one.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// IPv4 in the clothes of IPv6.
    address: [u8; 16],
    port: u16,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Some process of this machine, by a Unix socket.
    Unix,
    V4,
    V6,
}

impl Peer {
    /// A process of this machine.
    pub(crate) const UNIX: Self = Self { address: [0; 16], port: 0, kind: Kind::Unix };

    /// Returns its address, if it has one.
    pub(crate) fn ip(self) -> Option<IpAddr> {
        let address = Ipv6Addr::from(self.address);
        match self.kind {
            Kind::Unix => None,
            Kind::V4 => Some(IpAddr::V6(address).to_canonical()),
            Kind::V6 => Some(address.into()),
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        let (bytes, kind) = match address.ip() {
            IpAddr::V4(v4) => (v4.to_ipv6_mapped().octets(), Kind::V4),
            IpAddr::V6(v6) => (v6.octets(), Kind::V6),
        };
        Self { address: bytes, port: address.port(), kind }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip() {
            Some(ip) => write!(f, "{}", SocketAddr::new(ip, self.port)),
            None => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_kept() {
        for text in ["203.0.113.9:4711", "[2001:db8::1]:1", "[::ffff:1.2.3.4]:5", "0.0.0.0:0"] {
            let address: SocketAddr = text.parse().unwrap();
            let peer = Peer::from(address);
            assert_eq!(peer.ip(), Some(address.ip()));
            assert_eq!(peer.to_string(), text);
        }
        assert_eq!(Peer::UNIX.to_string(), "unix");
        assert!(size_of::<Peer>() <= 20);
    }
}
