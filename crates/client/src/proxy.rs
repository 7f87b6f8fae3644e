//! Ways to a broker that lead over a proxy: HTTP CONNECT and SOCKS5.

use std::fmt;
use std::io;
use std::net::IpAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http::{Head, base64, invalid};
use crate::transport::connect;
use crate::url::{Credentials, Host, UrlError};

/// A proxy, for connections over TCP.
///
/// ```
/// use quelea_client::{Options, Proxy};
///
/// # fn example() -> Result<(), quelea_client::UrlError> {
/// let options = Options::new().proxy(Proxy::new("socks5://user:password@proxy:1080")?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Proxy {
    kind: Kind,
    host: Host,
    credentials: Credentials,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Http,
    Socks5,
}

impl Proxy {
    /// Returns the proxy at `url`: `http://host:port` for HTTP CONNECT, `socks5://host:port` for SOCKS5. The proxy looks
    /// up the broker's name.
    ///
    /// # Errors
    ///
    /// [`UrlError`] says what is wrong with the address.
    pub fn new(url: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::SchemeMissing)?;
        let (kind, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (Kind::Http, 3128),
            "socks5" | "socks5h" => (Kind::Socks5, 1080),
            _ => return Err(UrlError::ProxyUnknown(scheme.to_owned())),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (credentials, host) = Credentials::split(rest, default_port)?;
        let longest = [&credentials.username, &credentials.password]
            .map(|it| it.as_ref().map_or(0, String::len));
        if longest.into_iter().any(|bytes| bytes > usize::from(u8::MAX)) {
            return Err(UrlError::CredentialsTooLong);
        }
        Ok(Self { kind, host, credentials })
    }

    /// Connects to `target` over the proxy.
    pub(crate) async fn dial(
        &self,
        target: &Host,
        local_address: Option<IpAddr>,
    ) -> io::Result<TcpStream> {
        let of_proxy = |error: io::Error| {
            io::Error::new(error.kind(), format!("the proxy {}: {error}", self.host))
        };
        let mut stream = connect(&self.host, local_address).await.map_err(of_proxy)?;
        let greeted = match self.kind {
            Kind::Http => self.ask_http(&mut stream, target).await,
            Kind::Socks5 => self.ask_socks(&mut stream, target).await,
        };
        greeted.map_err(of_proxy)?;
        Ok(stream)
    }

    async fn ask_http(&self, stream: &mut TcpStream, target: &Host) -> io::Result<()> {
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(username) = &self.credentials.username {
            let password = self.credentials.password.as_deref().unwrap_or_default();
            let credentials = base64(format!("{username}:{password}").as_bytes());
            request += &format!("Proxy-Authorization: Basic {credentials}\r\n");
        }
        request += "\r\n";
        stream.write_all(request.as_bytes()).await?;
        let head = Head::read(stream).await?;
        match head.status() {
            Some(200..=299) => Ok(()),
            _ => Err(refused(head.status_line())),
        }
    }

    /// RFC 1928, and RFC 1929 for the credentials.
    async fn ask_socks(&self, stream: &mut TcpStream, target: &Host) -> io::Result<()> {
        let method =
            if self.credentials.username.is_some() { USER_AND_PASSWORD } else { NO_AUTHENTICATION };
        stream.write_all(&[SOCKS5, 1, method]).await?;
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).await?;
        if answer != [SOCKS5, method] {
            return Err(refused("it does not accept this way of authentication"));
        }
        if let Some(username) = &self.credentials.username {
            let password = self.credentials.password.as_deref().unwrap_or_default();
            let mut request = vec![1];
            for text in [username, password] {
                request.push(short(text)?);
                request.extend_from_slice(text.as_bytes());
            }
            stream.write_all(&request).await?;
            stream.read_exact(&mut answer).await?;
            if answer[1] != 0 {
                return Err(refused("it does not accept the credentials"));
            }
        }
        let mut request = vec![SOCKS5, CONNECT, 0, DOMAIN_NAME, short(&target.name)?];
        request.extend_from_slice(target.name.as_bytes());
        request.extend_from_slice(&target.port.to_be_bytes());
        stream.write_all(&request).await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        if answer[1] != 0 {
            return Err(refused(&format!("it does not connect to {target}: reply {}", answer[1])));
        }
        // The address that it connects from, which nobody wants to know, and its port.
        let address_bytes = match answer[3] {
            IPV4 => 4,
            IPV6 => 16,
            DOMAIN_NAME => stream.read_u8().await?.into(),
            _ => return Err(invalid("it answers with an address of no known kind")),
        };
        let mut rest = vec![0; address_bytes + 2];
        stream.read_exact(&mut rest).await?;
        Ok(())
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the credentials.
        f.debug_struct("Proxy")
            .field("kind", &self.kind)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why.to_owned())
}

/// Returns the length of a text that has one byte for it.
fn short(text: &str) -> io::Result<u8> {
    u8::try_from(text.len())
        .map_err(|_| invalid("a name of more than 255 bytes cannot be asked for"))
}

const SOCKS5: u8 = 5;
const CONNECT: u8 = 1;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const IPV4: u8 = 1;
const DOMAIN_NAME: u8 = 3;
const IPV6: u8 = 4;
