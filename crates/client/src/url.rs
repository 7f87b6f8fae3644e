//! Where a broker is: `mqtt://user:password@host:1883`.

use std::fmt;
use std::path::PathBuf;

/// The address of a broker, with what it says of the client.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) target: Target,
    pub(crate) credentials: Credentials,
}

/// User name and password, as far as an address has them.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
}

/// Whom to connect to, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// MQTT over TCP.
    Tcp(Host),
    /// MQTT over TLS.
    Tls(Host),
    /// MQTT over a socket of this machine.
    Unix(PathBuf),
    /// MQTT over WebSocket.
    Ws(Host, String),
    /// MQTT over WebSocket over TLS.
    Wss(Host, String),
}

/// A name or an address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// Without the brackets of an IPv6 address.
    pub(crate) name: String,
    pub(crate) port: u16,
}

/// What is wrong with the address of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlError {
    /// User name or password of a proxy are longer than 255 bytes.
    CredentialsTooLong,
    /// There is a path, a query or a fragment, which means nothing to the scheme.
    Excess(String),
    /// A `%` without two hexadecimal digits, or bytes that are not UTF-8.
    Escape(String),
    /// There is no host.
    HostMissing,
    /// There is no path behind `unix://`.
    PathMissing,
    /// The port is not a number from 1 to 65,535.
    Port(String),
    /// The scheme is none of a proxy.
    ProxyUnknown(String),
    /// There is no scheme.
    SchemeMissing,
    /// The scheme is none that this client, or this build of it, speaks.
    SchemeUnknown(String),
}

impl Url {
    /// Reads the address of a broker.
    pub(crate) fn parse(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::SchemeMissing)?;
        let scheme = scheme.to_ascii_lowercase();
        let default_port = match scheme.as_str() {
            "mqtt" | "tcp" => 1883,
            "ws" => 80,
            "mqtts" | "ssl" | "tls" if cfg!(feature = "tls") => 8883,
            "wss" if cfg!(feature = "tls") => 443,
            "unix" if cfg!(unix) => return Self::parse_unix(rest),
            _ => return Err(UrlError::SchemeUnknown(scheme)),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (credentials, host) = Credentials::split(authority, default_port)?;
        let target = match (scheme.as_str(), path) {
            ("ws", _) => Target::Ws(host, websocket_path(path)?),
            ("wss", _) => Target::Wss(host, websocket_path(path)?),
            (_, "" | "/") if default_port == 1883 => Target::Tcp(host),
            (_, "" | "/") => Target::Tls(host),
            (_, excess) => return Err(UrlError::Excess(excess.to_owned())),
        };
        Ok(Self { target, credentials })
    }

    fn parse_unix(path: &str) -> Result<Self, UrlError> {
        if path.is_empty() {
            return Err(UrlError::PathMissing);
        }
        let target = Target::Unix(PathBuf::from(unescape(path)?));
        Ok(Self { target, credentials: Credentials::default() })
    }
}

impl Credentials {
    /// Reads `user:password@host:port`, or a part of it.
    pub(crate) fn split(authority: &str, default_port: u16) -> Result<(Self, Host), UrlError> {
        let (credentials, host) = match authority.rsplit_once('@') {
            Some((credentials, host)) => (Self::read(credentials)?, host),
            None => (Self::default(), authority),
        };
        Ok((credentials, read_host(host, default_port)?))
    }

    fn read(text: &str) -> Result<Self, UrlError> {
        Ok(match text.split_once(':') {
            Some((username, password)) => {
                Self { username: Some(unescape(username)?), password: Some(unescape(password)?) }
            }
            None => Self { username: Some(unescape(text)?), password: None },
        })
    }
}

impl Target {
    /// Returns the same way to another host: what a broker refers to (section 4.11), `name` or `name:port`.
    pub(crate) fn referred_to(&self, reference: &str) -> Option<Self> {
        // Several may be named, in the order of preference.
        let first = reference.split_ascii_whitespace().next()?;
        let new = |default_port| read_host(first, default_port).ok();
        match self {
            Self::Tcp(_) => new(1883).map(Self::Tcp),
            Self::Tls(_) => new(8883).map(Self::Tls),
            Self::Ws(_, path) => new(80).map(|host| Self::Ws(host, path.clone())),
            Self::Wss(_, path) => new(443).map(|host| Self::Wss(host, path.clone())),
            Self::Unix(_) => None,
        }
    }

    /// Returns whether connections are encrypted.
    pub(crate) fn is_tls(&self) -> bool {
        match self {
            Self::Tls(_) | Self::Wss(..) => true,
            Self::Tcp(_) | Self::Ws(..) | Self::Unix(_) => false,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host) => write!(f, "mqtt://{host}"),
            Self::Tls(host) => write!(f, "mqtts://{host}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Ws(host, path) => write!(f, "ws://{host}{path}"),
            Self::Wss(host, path) => write!(f, "wss://{host}{path}"),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the password.
        f.debug_struct("Url").field("target", &self.target).finish_non_exhaustive()
    }
}

/// Returns the path of a WebSocket: `/mqtt` unless there is one.
fn websocket_path(path: &str) -> Result<String, UrlError> {
    if path.contains('#') || path.bytes().any(|byte| byte <= b' ' || byte == 0x7F) {
        return Err(UrlError::Excess(path.to_owned()));
    }
    Ok(match path {
        "" => "/mqtt".to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        query => format!("/{query}"),
    })
}

fn read_host(text: &str, default_port: u16) -> Result<Host, UrlError> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (name, rest) = rest.split_once(']').ok_or(UrlError::HostMissing)?;
            (name, rest.strip_prefix(':'))
        }
        None => match text.rsplit_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    if name.is_empty() {
        return Err(UrlError::HostMissing);
    }
    let port = match port {
        None => default_port,
        Some(port) => match port.parse() {
            Ok(0) | Err(_) => return Err(UrlError::Port(port.to_owned())),
            Ok(port) => port,
        },
    };
    Ok(Host { name: name.to_owned(), port })
}

/// Replaces `%40` and the like.
fn unescape(text: &str) -> Result<String, UrlError> {
    let error = || UrlError::Escape(text.to_owned());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, tail) = tail.split_at_checked(2).ok_or_else(error)?;
        let digits = std::str::from_utf8(digits).map_err(|_| error())?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| error())?);
        rest = tail;
    }
    String::from_utf8(bytes).map_err(|_| error())
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CredentialsTooLong => {
                f.write_str("a proxy's user name and password have at most 255 bytes")
            }
            Self::Excess(excess) => {
                write!(f, "nothing may follow the port of a broker, not even \"{excess}\"")
            }
            Self::Escape(text) => write!(
                f,
                "\"{text}\" is badly escaped: write % and two hexadecimal digits, and % itself as %25"
            ),
            Self::HostMissing => {
                f.write_str("the host is missing: write mqtt://host or mqtt://host:port")
            }
            Self::PathMissing => f.write_str("the path is missing: write unix:///path/to/socket"),
            Self::Port(port) => write!(f, "\"{port}\" is no port: write a number from 1 to 65535"),
            Self::ProxyUnknown(scheme) => {
                write!(f, "\"{scheme}\" is no scheme of a proxy: there are http and socks5")
            }
            Self::SchemeMissing => {
                f.write_str("the scheme is missing: write mqtt://host, or mqtts://host for TLS")
            }
            Self::SchemeUnknown(scheme) if scheme == "mqtts" => f.write_str(
                "mqtts needs the feature `tls` of quelea-client, which is on by default",
            ),
            Self::SchemeUnknown(scheme) => {
                write!(
                    f,
                    "\"{scheme}\" is no scheme of MQTT: there are mqtt, mqtts, ws, wss and unix"
                )
            }
        }
    }
}

impl std::error::Error for UrlError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_transport_host_and_port() {
        check("mqtt://localhost", "mqtt://localhost:1883");
        check("mqtt://localhost:1884/", "mqtt://localhost:1884");
        check("MQTT://10.0.0.1", "mqtt://10.0.0.1:1883");
        check("mqtt://[::1]", "mqtt://[::1]:1883");
        check("mqtt://[::1]:7", "mqtt://[::1]:7");
        check("tcp://user@host", "mqtt://host:1883");
        if cfg!(feature = "tls") {
            check("mqtts://host", "mqtts://host:8883");
            check("wss://host/path?token=1", "wss://host:443/path?token=1");
        }
        check("ws://host", "ws://host:80/mqtt");
        check("ws://host:8083/", "ws://host:8083/");
        check("unix:///run/mqtt%20socket", "unix:///run/mqtt socket");
    }

    #[test]
    fn credentials_may_be_escaped() {
        let url = Url::parse("mqtt://a%40b:p%3aq@host").unwrap();
        assert_eq!(url.credentials.username.as_deref(), Some("a@b"));
        assert_eq!(url.credentials.password.as_deref(), Some("p:q"));
        assert!(!format!("{url:?}").contains("p:q"));
    }

    #[test]
    fn faults_are_named() {
        for (text, expected) in [
            ("localhost:1883", UrlError::SchemeMissing),
            ("http://localhost", UrlError::SchemeUnknown("http".to_owned())),
            ("mqtt://", UrlError::HostMissing),
            ("mqtt://:1883", UrlError::HostMissing),
            ("mqtt://host:", UrlError::Port(String::new())),
            ("mqtt://host:0", UrlError::Port("0".to_owned())),
            ("mqtt://host:70000", UrlError::Port("70000".to_owned())),
            ("mqtt://host/topic", UrlError::Excess("/topic".to_owned())),
            ("ws://host/a b", UrlError::Excess("/a b".to_owned())),
            ("ws://host/a\r\nb", UrlError::Excess("/a\r\nb".to_owned())),
            ("mqtt://a%4@host", UrlError::Escape("a%4".to_owned())),
            ("mqtt://a%zz@host", UrlError::Escape("a%zz".to_owned())),
            ("unix://", UrlError::PathMissing),
        ] {
            assert_eq!(Url::parse(text), Err(expected), "{text}");
        }
    }

    /// Section 4.11: a Server Reference is a list of names, each with a port or without.
    #[test]
    fn brokers_refer_to_others() {
        let target = Url::parse("mqtt://here:5").unwrap().target;
        let referred = |text| target.referred_to(text).map(|it| it.to_string());
        assert_eq!(referred("there").as_deref(), Some("mqtt://there:1883"));
        assert_eq!(referred("there:7 elsewhere").as_deref(), Some("mqtt://there:7"));
        assert_eq!(referred("[fe80::1]:7").as_deref(), Some("mqtt://[fe80::1]:7"));
        assert_eq!(referred(""), None);
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(Url::parse(text).unwrap().target.to_string(), expected);
    }
}
