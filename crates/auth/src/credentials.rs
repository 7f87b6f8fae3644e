//! What a client brings to say who it is.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use quelea_codec::Version;

/// All that may tell who a client is, as its CONNECT and its connection say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The client identifier; empty when the broker is to draw one.
    pub client_id: Box<str>,
    /// The user name, if there is one.
    pub user_name: Option<Box<str>>,
    /// The password, if there is one.
    pub password: Option<Secret>,
    /// What TLS, or a proxy that ends it, knows of the client.
    pub certificate: Option<Certificate>,
    /// Where it connects from; absent for a process of this machine on a Unix socket.
    pub address: Option<IpAddr>,
    /// The listener that it came in by, by its address as configured.
    pub listener: Arc<str>,
    /// The version of MQTT that it speaks.
    pub version: Option<Version>,
}

/// A client certificate that TLS has verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// The client's own, in DER.
    Der(Box<[u8]>),
    /// Its common name, by the word of a proxy that is trusted.
    CommonName(Box<str>),
}

/// Bytes that must not be printed, neither in a log nor in an error.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Returns the bytes, for whoever compares or hashes them.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Secret {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        let password = Some(Secret::from(&b"pencil"[..]));
        let credentials = Credentials { password, ..Credentials::default() };
        let printed = format!("{credentials:?} {credentials:#?}");
        assert!(!printed.contains("pencil") && !printed.contains("112"), "{printed}");
    }
}
