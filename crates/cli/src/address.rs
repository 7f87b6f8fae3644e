//! Where a broker is, as the client library has it, from the flags that say it.

use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;

use crate::failure::Failure;
use crate::way::{Resume, TlsArgs, Way};

/// The address of a broker, with what it says of the client.
#[derive(Debug)]
pub(crate) struct Address {
    /// For the client library.
    pub(crate) url: String,
    /// For people.
    pub(crate) place: String,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) topic: Option<String>,
}

impl Address {
    /// Returns the address of a host, or of a URL in its place.
    pub(crate) fn of_host(host: &str, port: Option<u16>, tls: &TlsArgs) -> Result<Self, Failure> {
        let way = Way::new(host, port, tls, Resume::Offered)?;
        let host =
            if way.host.contains(':') { format!("[{}]", way.host) } else { way.host.clone() };
        let scheme = match (&way.path, &way.tls) {
            (None, None) => "mqtt",
            (None, Some(_)) => "mqtts",
            (Some(_), None) => "ws",
            (Some(_), Some(_)) => "wss",
        };
        let path = way.path.as_deref().unwrap_or_default();
        Ok(Self {
            url: format!("{scheme}://{host}:{}{path}", way.port),
            place: way.to_string(),
            tls: way.tls,
            username: None,
            password: None,
            topic: None,
        })
    }

    /// Returns the address of a socket of this machine.
    pub(crate) fn of_unix(path: &Path) -> Result<Self, Failure> {
        let text = path.to_str().filter(|it| !it.is_empty());
        let text =
            text.ok_or_else(|| Failure::usage("the path of a socket is UTF-8, and not empty"))?;
        Ok(Self {
            url: format!("unix://{}", text.replace('%', "%25")),
            place: text.to_owned(),
            tls: None,
            username: None,
            password: None,
            topic: None,
        })
    }

    /// Reads `mqtt(s)://[USER[:PASSWORD]@]HOST[:PORT]/TOPIC`.
    pub(crate) fn of_url(url: &str, tls: &TlsArgs) -> Result<Self, Failure> {
        let wrong = || {
            Failure::usage(format!(
                "-L {url}: write mqtt://[USER[:PASSWORD]@]HOST[:PORT]/TOPIC, or mqtts://…; for WebSocket, -h and -t"
            ))
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        if !matches!(scheme, "mqtt" | "mqtts") {
            return Err(wrong());
        }
        let (authority, topic) = match rest.split_once('/') {
            Some((authority, topic)) => (authority, Some(topic).filter(|it| !it.is_empty())),
            None => (rest, None),
        };
        let (credentials, host) = match authority.rsplit_once('@') {
            Some((credentials, host)) => (Some(credentials), host),
            None => (None, authority),
        };
        let (username, password) = match credentials.map(|it| it.split_once(':').ok_or(it)) {
            None => (None, None),
            Some(Ok((username, password))) => (Some(username), Some(password)),
            Some(Err(username)) => (Some(username), None),
        };
        let unescape =
            |text: Option<&str>| text.map(|it| unescape(it).ok_or_else(wrong)).transpose();
        Ok(Self {
            username: unescape(username)?,
            password: unescape(password)?,
            topic: topic.map(str::to_owned),
            ..Self::of_host(&format!("{scheme}://{host}"), None, tls)?
        })
    }
}

/// Replaces `%40` and the like.
fn unescape(text: &str) -> Option<String> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_become_addresses() {
        check("localhost", None, "mqtt://localhost:1883");
        check("::1", Some(7), "mqtt://[::1]:7");
        check("ws://[::1]:8083/x?y", None, "ws://[::1]:8083/x?y");
        check("ws://a", None, "ws://a:80/mqtt");
    }

    #[test]
    fn urls_say_all_at_once() {
        let read = |url| Address::of_url(url, &TlsArgs::default());
        let full = read("mqtt://a%40b:p%3Aq:r@host:7/x/y/+").expect("it is right");
        assert_eq!(full.url, "mqtt://host:7");
        assert_eq!(
            (full.username.as_deref(), full.password.as_deref()),
            (Some("a@b"), Some("p:q:r"))
        );
        assert_eq!(full.topic.as_deref(), Some("x/y/+"));
        let short = read("mqtt://user@[::1]").expect("it is right");
        assert_eq!((short.url.as_str(), short.topic), ("mqtt://[::1]:1883", None));
        assert_eq!((short.username.as_deref(), short.password), (Some("user"), None));
        for wrong in
            ["host/t", "ws://host/t", "mqtt://a%4@host/t", "mqtt://a%zz@host", "mqtt://:x/t"]
        {
            read(wrong).expect_err(wrong);
        }
    }

    #[test]
    fn sockets_may_have_any_name() {
        let address = Address::of_unix(Path::new("/run/100%.sock")).expect("it is right");
        assert_eq!(address.url, "unix:///run/100%25.sock");
        Address::of_unix(Path::new("")).expect_err("it names nothing");
    }

    #[track_caller]
    fn check(host: &str, port: Option<u16>, url: &str) {
        let address = Address::of_host(host, port, &TlsArgs::default()).expect("it is right");
        assert_eq!(address.url, url);
    }
}
