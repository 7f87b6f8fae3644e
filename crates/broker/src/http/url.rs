//! Where a service is.

use std::fmt;
use std::net::IpAddr;

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::http::uri::{PathAndQuery, Scheme};

/// A URL that the broker may ask: `https`, or `http` where that has been looked at.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Url {
    uri: Uri,
    /// Without the brackets of IPv6.
    host: String,
    host_header: HeaderValue,
}

/// Whether passwords and keys may travel without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlainHttp {
    /// Anywhere: the network is trusted.
    Anywhere,
    /// Within this machine.
    OnLoopback,
}

impl Url {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as a fragment of a sentence that goes on after the name of the setting. It does not repeat
    /// the URL, which may hold a password.
    pub(crate) fn read(text: &str, plain_http: PlainHttp) -> Result<Self, String> {
        let expected = "must be a URL such as \"https://id.example.com/mqtt\"";
        let uri: Uri = text.parse().map_err(|error| format!("{expected}: {error}"))?;
        let is_http = uri.scheme() == Some(&Scheme::HTTP);
        if !is_http && uri.scheme() != Some(&Scheme::HTTPS) {
            return Err(expected.to_owned());
        }
        let authority = uri.authority().ok_or(expected)?;
        if authority.as_str().contains('@') {
            return Err(
                "must not hold a user or a password, which would be logged: use headers".to_owned()
            );
        }
        if text.contains('#') {
            return Err("must not hold a fragment (#…)".to_owned());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() || authority.port_u16() == Some(0) || has_bad_port(authority.as_str()) {
            return Err(expected.to_owned());
        }
        if is_http && plain_http == PlainHttp::OnLoopback && !is_loopback(&host) {
            return Err(
                "must begin with https: what it is asked would cross the network in the clear"
                    .to_owned(),
            );
        }
        let host_header =
            HeaderValue::from_str(authority.as_str()).map_err(|_| expected.to_owned())?;
        Ok(Self { host, host_header, uri })
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.uri.scheme() == Some(&Scheme::HTTPS)
    }

    /// Returns the name or the address of the machine.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.uri.port_u16().unwrap_or(if self.is_tls() { 443 } else { 80 })
    }

    pub(super) fn host_header(&self) -> HeaderValue {
        self.host_header.clone()
    }

    /// Returns what is asked for there: path and query.
    pub(super) fn target(&self) -> Uri {
        let root = PathAndQuery::from_static("/");
        let target = self.uri.path_and_query().filter(|it| it.as_str().starts_with('/'));
        let Some(target) = target else {
            let query = self.uri.query().map(|it| format!("/?{it}"));
            return query.and_then(|it| it.parse().ok()).unwrap_or_else(|| root.into());
        };
        target.clone().into()
    }
}

/// Without the query, which may be nobody's business.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls() { "https" } else { "http" };
        let authority = self.uri.authority().map_or("", |it| it.as_str());
        write!(f, "{scheme}://{authority}{}", self.uri.path())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// `http` leaves what cannot be a port for later.
fn has_bad_port(authority: &str) -> bool {
    let after_host = authority.rsplit_once(']').map_or(authority, |(_, it)| it);
    let port = after_host.rsplit_once(':').map(|(_, port)| port);
    port.is_some_and(|port| port.parse::<u16>().is_err())
}

fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        check("https://id.example.com/mqtt?a=b", ("id.example.com", 443), "/mqtt?a=b");
        check("https://id.example.com:8443", ("id.example.com", 8443), "/");
        check("https://id.example.com?a", ("id.example.com", 443), "/?a");
        check("http://[::1]:81/", ("::1", 81), "/");
        check("HTTP://LocalHost/x", ("LocalHost", 80), "/x");
        check("http://127.1.2.3/", ("127.1.2.3", 80), "/");
    }

    #[test]
    fn what_is_no_url_to_ask_is_refused() {
        for text in [
            "",
            "/path",
            "id.example.com",
            "id.example.com/path",
            "ftp://id.example.com/",
            "https://",
            "https:///path",
            "https://user:pw@id.example.com/",
            "https://id.example.com:0/",
            "https://id.example.com:x/",
            "https://id.example.com:70000/",
            "https://id.example.com/a#b",
            "https://id.example.com/ b",
            "http://id.example.com/",
            "http://192.0.2.1/",
            "http://127.0.0.1.example.com/",
            "http://[2001:db8::1]/",
        ] {
            let refused = Url::read(text, PlainHttp::OnLoopback);
            let message = refused.expect_err(text);
            assert!(message.starts_with("must "), "{message}");
            assert!(!message.contains("pw"), "{message}");
        }
    }

    #[test]
    fn the_clear_is_for_who_asks_for_it() {
        let url = Url::read("http://id.example.com/", PlainHttp::Anywhere).unwrap();
        assert!(!url.is_tls());
    }

    #[test]
    fn a_query_is_not_printed() {
        let url = Url::read("https://id.example.com/a?token=t", PlainHttp::OnLoopback).unwrap();
        assert_eq!(format!("{url} {url:?}"), "https://id.example.com/a https://id.example.com/a");
    }

    #[track_caller]
    fn check(text: &str, place: (&str, u16), target: &str) {
        let url = Url::read(text, PlainHttp::OnLoopback).unwrap();
        assert_eq!((url.host(), url.port()), place);
        assert_eq!(url.target().to_string(), target);
    }
}
