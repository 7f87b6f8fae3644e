//! Where a broker is: `mqtt://user:password@host:1883`.

use std::fmt;
use std::path::PathBuf;

/// The address of a broker, with what it says of the client.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) target: Target,
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
    /// There is no scheme.
    SchemeMissing,
    /// The scheme is none that this client, or this build of it, speaks.
    SchemeUnknown(String),
}

impl Url {
    /// Reads the address of a broker.
    pub(crate) fn parse(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::SchemeMissing)?;
        let new_target: fn(Host) -> Target = match scheme.to_ascii_lowercase().as_str() {
            "mqtt" | "tcp" => Target::Tcp,
            "mqtts" | "ssl" | "tls" if cfg!(feature = "tls") => Target::Tls,
            "unix" if cfg!(unix) => return Self::parse_unix(rest),
            _ => return Err(UrlError::SchemeUnknown(scheme.to_owned())),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, excess) = rest.split_at(end);
        if !matches!(excess, "" | "/") {
            return Err(UrlError::Excess(excess.to_owned()));
        }
        let (credentials, host) = match authority.rsplit_once('@') {
            Some((credentials, host)) => (Some(credentials), host),
            None => (None, authority),
        };
        let (username, password) = read_credentials(credentials)?;
        let default_port = new_target(Host { name: String::new(), port: 0 }).default_port();
        let target = new_target(read_host(host, default_port)?);
        Ok(Self { target, username, password })
    }

    fn parse_unix(path: &str) -> Result<Self, UrlError> {
        if path.is_empty() {
            return Err(UrlError::PathMissing);
        }
        let target = Target::Unix(PathBuf::from(unescape(path)?));
        Ok(Self { target, username: None, password: None })
    }
}

impl Target {
    /// Returns the same way to another host: what a broker refers to (section 4.11), `name` or `name:port`.
    pub(crate) fn referred_to(&self, reference: &str) -> Option<Self> {
        // Several may be named, in the order of preference.
        let first = reference.split_ascii_whitespace().next()?;
        let host = read_host(first, self.default_port()).ok()?;
        match self {
            Self::Tcp(_) => Some(Self::Tcp(host)),
            Self::Tls(_) => Some(Self::Tls(host)),
            Self::Unix(_) => None,
        }
    }

    fn default_port(&self) -> u16 {
        match self {
            Self::Tcp(_) | Self::Unix(_) => 1883,
            Self::Tls(_) => 8883,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host) => write!(f, "mqtt://{host}"),
            Self::Tls(host) => write!(f, "mqtts://{host}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
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

fn read_credentials(text: Option<&str>) -> Result<(Option<String>, Option<String>), UrlError> {
    let Some(text) = text else {
        return Ok((None, None));
    };
    match text.split_once(':') {
        Some((username, password)) => Ok((Some(unescape(username)?), Some(unescape(password)?))),
        None => Ok((Some(unescape(text)?), None)),
    }
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
            Self::SchemeMissing => {
                f.write_str("the scheme is missing: write mqtt://host, or mqtts://host for TLS")
            }
            Self::SchemeUnknown(scheme) if scheme == "mqtts" => f.write_str(
                "mqtts needs the feature `tls` of quelea-client, which is on by default",
            ),
            Self::SchemeUnknown(scheme) => {
                write!(f, "\"{scheme}\" is no scheme of MQTT: there are mqtt, mqtts and unix")
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
        }
        check("unix:///run/mqtt%20socket", "unix:///run/mqtt socket");
    }

    #[test]
    fn credentials_may_be_escaped() {
        let url = Url::parse("mqtt://a%40b:p%3aq@host").unwrap();
        assert_eq!(url.username.as_deref(), Some("a@b"));
        assert_eq!(url.password.as_deref(), Some("p:q"));
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
