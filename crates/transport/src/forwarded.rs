//! Whom a proxy says that it speaks for: `X-Forwarded-For`.

use std::net::{IpAddr, SocketAddr};

/// Returns the client of a chain of proxies, in the order of the field: the last address that is not one of a
/// trusted proxy. What stands before that, anyone may have written. Nothing if there is none, or it is no address.
pub fn client<'a>(
    chain: impl DoubleEndedIterator<Item = &'a str>,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let mut addresses = chain.rev().map(address);
    // A chain of trusted proxies alone: the first of them is as far as it goes.
    let mut first = None;
    loop {
        match addresses.next() {
            Some(Some(address)) if is_trusted(address) => first = Some(address),
            Some(address) => return address,
            None => return first,
        }
    }
}

/// Reads an address, which some proxies write with the port.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse().map(|it: SocketAddr| it.ip()).ok();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse().ok().or_else(with_port).or_else(bracketed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_is_the_last_that_is_not_trusted() {
        check("203.0.113.9", Some("203.0.113.9"));
        check("1.2.3.4,203.0.113.9", Some("203.0.113.9"));
        check("1.2.3.4,203.0.113.9,10.0.0.7,10.0.0.8", Some("203.0.113.9"));
        check("10.0.0.7,10.0.0.8", Some("10.0.0.7"));
        check("203.0.113.9:4711", Some("203.0.113.9"));
        check("[2001:db8::1]:4711,[2001:db8::2]", Some("2001:db8::2"));
        check("2001:db8::1", Some("2001:db8::1"));
        check("203.0.113.9,unknown", None);
        check("unknown,10.0.0.1", None);
        check("", None);
    }

    #[track_caller]
    fn check(chain: &str, expected: Option<&str>) {
        let is_trusted = |address: IpAddr| address.to_string().starts_with("10.");
        let elements: Vec<&str> = chain.split(',').filter(|it| !it.is_empty()).collect();
        let found = client(elements.into_iter(), is_trusted);
        assert_eq!(found, expected.map(|it| it.parse().unwrap()), "{chain}");
    }
}
