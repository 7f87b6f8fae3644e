//! Addresses that belong together: `10.0.0.0/8`.

use std::fmt;
use std::net::IpAddr;

/// The addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// Reads an address, or one with the number of bits that count.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().ok()?;
        let width = width_of(address);
        let prefix_bits =
            prefix.map_or(Ok(width), str::parse).ok().filter(|bits| *bits <= width)?;
        Some(Self { address, prefix_bits })
    }

    /// Returns whether `address` is one of them. An IPv4 address is the same in the clothes of IPv6.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (own, other) = (self.address.to_canonical(), address.to_canonical());
        let ignored = u32::from(width_of(self.address) - self.prefix_bits);
        let bits = |address: IpAddr| match address {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        let differing = bits(own) ^ bits(other);
        own.is_ipv4() == other.is_ipv4() && differing.checked_shr(ignored).unwrap_or(0) == 0
    }
}

fn width_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix_bits == width_of(self.address) {
            return write!(f, "{}", self.address);
        }
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_has_what_begins_like_it() {
        check(
            "10.0.0.0/8",
            &["10.0.0.0", "10.255.1.2", "::ffff:10.1.1.1"],
            &["11.0.0.0", "::a00:0"],
        );
        check("10.1.2.3", &["10.1.2.3"], &["10.1.2.4"]);
        check("0.0.0.0/0", &["1.2.3.4", "255.255.255.255"], &["::1"]);
        check("::/0", &["::1", "ffff::"], &["1.2.3.4"]);
        check("2001:db8::/33", &["2001:db8:7fff::1"], &["2001:db8:8000::"]);
        check("::1", &["::1"], &["::2"]);
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for wrong in ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "::1/129", "host", "10.0.0/8"]
        {
            assert_eq!(Network::read(wrong), None, "{wrong}");
        }
    }

    #[track_caller]
    fn check(network: &str, inside: &[&str], outside: &[&str]) {
        let read = Network::read(network).unwrap();
        assert_eq!(read.to_string(), network);
        let has = |address: &&str| read.contains(address.parse().unwrap());
        assert!(inside.iter().all(has), "{network}");
        assert!(!outside.iter().any(has), "{network}");
    }
}
