//! The PROXY protocol, versions 1 and 2: a header in front of a connection with which a proxy says whom it speaks for.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxied {
    /// How long the header is: what follows is the client's.
    pub header_bytes: usize,
    /// The client. Nothing when the proxy speaks for itself, as in a health check, or cannot tell.
    pub client: Option<SocketAddr>,
    /// What is known of the TLS that the client spoke with the proxy.
    pub tls: Option<ProxiedTls>,
}

/// The TLS between client and proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxiedTls {
    /// The version, as `TLSv1.3`.
    pub version: Option<String>,
    /// The common name in the client's certificate.
    pub common_name: Option<String>,
    /// Whether the client had a certificate that the proxy found good.
    pub is_verified: bool,
}

/// What comes is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoHeader;

/// Reads the header at the start of `bytes`; nothing while it is not complete.
///
/// # Errors
///
/// What comes is no header, or one that is longer than any.
pub fn read(bytes: &[u8]) -> Result<Option<Proxied>, NoHeader> {
    if starts_alike(bytes, SIGNATURE_V2) {
        return read_v2(bytes);
    }
    if starts_alike(bytes, SIGNATURE_V1) {
        return read_v1(bytes);
    }
    Err(NoHeader)
}

/// Returns whether one is the start of the other.
fn starts_alike(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.iter().zip(signature).all(|(byte, expected)| byte == expected)
}

fn read_v1(bytes: &[u8]) -> Result<Option<Proxied>, NoHeader> {
    let line = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = line.windows(2).position(|window| window == b"\r\n") else {
        return if line.len() == V1_BYTES_MAX { Err(NoHeader) } else { Ok(None) };
    };
    let text = std::str::from_utf8(&line[..end]).map_err(|_| NoHeader)?;
    let client = match text.split(' ').collect::<Vec<_>>().as_slice() {
        ["PROXY", "UNKNOWN", ..] => None,
        ["PROXY", family @ ("TCP4" | "TCP6"), source, target, port, target_port] => {
            let (source, target) = (address(family, source)?, address(family, target)?);
            let _ = (target, number(target_port)?);
            Some(SocketAddr::new(source, number(port)?))
        }
        _ => return Err(NoHeader),
    };
    Ok(Some(Proxied { header_bytes: end + 2, client, tls: None }))
}

fn address(family: &str, text: &str) -> Result<IpAddr, NoHeader> {
    let address: IpAddr = text.parse().map_err(|_| NoHeader)?;
    if address.is_ipv4() == (family == "TCP4") { Ok(address) } else { Err(NoHeader) }
}

fn number(text: &str) -> Result<u16, NoHeader> {
    text.parse().map_err(|_| NoHeader)
}

fn read_v2(bytes: &[u8]) -> Result<Option<Proxied>, NoHeader> {
    let Some((start, rest)) = bytes.split_first_chunk::<16>() else { return Ok(None) };
    let (command, family) = (start[12], start[13]);
    let length = usize::from(u16::from_be_bytes([start[14], start[15]]));
    if length > V2_CONTENT_BYTES_MAX || !matches!(command, LOCAL | PROXY) {
        return Err(NoHeader);
    }
    let Some(content) = rest.get(..length) else { return Ok(None) };
    let mut proxied = Proxied { header_bytes: 16 + length, client: None, tls: None };
    if command == LOCAL {
        return Ok(Some(proxied));
    }
    let fields = match family {
        TCP_OVER_IPV4 => {
            let (addresses, fields) = content.split_first_chunk::<12>().ok_or(NoHeader)?;
            let [a, b, c, d, ..] = *addresses;
            let port = u16::from_be_bytes([addresses[8], addresses[9]]);
            proxied.client = Some(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), port));
            fields
        }
        TCP_OVER_IPV6 => {
            let (addresses, fields) = content.split_first_chunk::<36>().ok_or(NoHeader)?;
            let (source, _) = addresses.split_first_chunk::<16>().ok_or(NoHeader)?;
            let port = u16::from_be_bytes([addresses[32], addresses[33]]);
            proxied.client = Some(SocketAddr::new(Ipv6Addr::from(*source).into(), port));
            fields
        }
        STREAM_OVER_UNIX => content.get(216..).ok_or(NoHeader)?,
        UNSPECIFIED => return Ok(Some(proxied)),
        _ => return Err(NoHeader),
    };
    proxied.tls = Fields(fields).find_map(|(kind, value)| (kind == TLS).then(|| tls(value)));
    Ok(Some(proxied))
}

fn tls(value: &[u8]) -> ProxiedTls {
    let mut tls = ProxiedTls::default();
    let Some((&[client, verify @ ..], fields)) = value.split_first_chunk::<5>() else { return tls };
    tls.is_verified = client & CLIENT_CERTIFICATE != 0 && verify == [0; 4];
    for (kind, value) in Fields(fields) {
        let text = || String::from_utf8(value.to_vec()).ok();
        match kind {
            TLS_VERSION => tls.version = text(),
            TLS_COMMON_NAME => tls.common_name = text(),
            _ => {}
        }
    }
    tls
}

/// The fields of a header, each with its kind. It ends where they are cut off.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[kind, high, low], rest) = self.0.split_first_chunk::<3>()?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
        self.0 = rest;
        Some((kind, value))
    }
}

impl fmt::Display for NoHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no header of the PROXY protocol")
    }
}

impl std::error::Error for NoHeader {}

/// The longest header.
pub const HEADER_BYTES_MAX: usize = 16 + V2_CONTENT_BYTES_MAX;

const SIGNATURE_V1: &[u8] = b"PROXY ";
const SIGNATURE_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// With its line end, as the specification says.
const V1_BYTES_MAX: usize = 107;

/// Addresses and fields. The specification allows 65,535; what is more than this are fields that nobody reads here.
const V2_CONTENT_BYTES_MAX: usize = 4_096;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const UNSPECIFIED: u8 = 0x00;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
const STREAM_OVER_UNIX: u8 = 0x31;
const TLS: u8 = 0x20;
const TLS_VERSION: u8 = 0x21;
const TLS_COMMON_NAME: u8 = 0x22;
/// The client showed a certificate in this connection, or in the session that it resumed.
const CLIENT_CERTIFICATE: u8 = 0x02 | 0x04;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_is_a_line() {
        check(b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 8883\r\n", Some("203.0.113.9:4711"));
        check(b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", Some("[2001:db8::1]:1"));
        check(b"PROXY UNKNOWN\r\n", None);
        check(b"PROXY UNKNOWN ffff:f...f:ffff whatever\r\n", None);
        for wrong in [
            &b"PROXY TCP4 ::1 ::1 1 2\r\n"[..],
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
            b"PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
            b"GET / HTTP/1.1\r\n",
            &[0x10, 14],
            &[b"PROXY ".as_slice(), &[b'x'; 200]].concat(),
        ] {
            assert_eq!(read(wrong), Err(NoHeader), "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn version_2_is_binary() {
        let v4 = [203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x67, 0x22, 0xB3];
        check(&v2(PROXY, TCP_OVER_IPV4, &v4), Some("203.0.113.9:4711"));
        let mut v6 = [0; 36];
        v6[15] = 1;
        v6[33] = 7;
        check(&v2(PROXY, TCP_OVER_IPV6, &v6), Some("[::1]:7"));
        check(&v2(PROXY, STREAM_OVER_UNIX, &[0; 216]), None);
        check(&v2(PROXY, UNSPECIFIED, b"anything"), None);
        check(&v2(LOCAL, 0x55, &v4), None);
        for wrong in [
            v2(0x22, TCP_OVER_IPV4, &v4),
            v2(0x11, TCP_OVER_IPV4, &v4),
            v2(PROXY, 0x12, &v4),
            v2(PROXY, TCP_OVER_IPV4, &v4[..11]),
            v2(PROXY, TCP_OVER_IPV6, &v4),
            v2(PROXY, UNSPECIFIED, &[0; V2_CONTENT_BYTES_MAX + 1]),
        ] {
            assert_eq!(read(&wrong), Err(NoHeader), "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn tls_of_the_client_is_read() {
        let mut content = vec![1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 0, 2];
        content.extend(field(0x04, b"ignored"));
        let mut tls = vec![0x07, 0, 0, 0, 0];
        tls.extend(field(TLS_VERSION, b"TLSv1.3"));
        tls.extend(field(TLS_COMMON_NAME, b"device-7"));
        content.extend(field(TLS, &tls));
        let expected = ProxiedTls {
            version: Some("TLSv1.3".to_owned()),
            common_name: Some("device-7".to_owned()),
            is_verified: true,
        };
        let header = v2(PROXY, TCP_OVER_IPV4, &content);
        assert_eq!(read(&header).unwrap().unwrap().tls, Some(expected));
        // A failed verification, and fields that are cut off.
        content.truncate(content.len() - 3);
        content[12 + 10 + 3 + 4] = 1;
        let tls = read(&v2(PROXY, TCP_OVER_IPV4, &content)).unwrap().unwrap().tls;
        assert!(tls.is_none_or(|tls| !tls.is_verified));
    }

    fn field(kind: u8, value: &[u8]) -> Vec<u8> {
        let mut field = vec![kind];
        field.extend((value.len() as u16).to_be_bytes());
        field.extend(value);
        field
    }

    fn v2(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE_V2.to_vec();
        header.extend([command, family]);
        header.extend((content.len() as u16).to_be_bytes());
        header.extend(content);
        header
    }

    /// Reads a header with something behind it, and every part of it.
    #[track_caller]
    fn check(header: &[u8], client: Option<&str>) {
        let bytes = [header, b"more"].concat();
        let client = client.map(|it| it.parse().unwrap());
        let expected = Proxied { header_bytes: header.len(), client, tls: None };
        assert_eq!(read(&bytes), Ok(Some(expected)), "{}", header.escape_ascii());
        for length in 0..header.len() {
            assert_eq!(read(&header[..length]), Ok(None), "{length}");
        }
    }
}
