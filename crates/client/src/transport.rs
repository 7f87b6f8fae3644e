//! Connections to a broker, whatever carries them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, lookup_host};

use crate::error::{ConnectionError, StartError};
use crate::options::Options;
use crate::proxy::Proxy;
use crate::url::{Host, Target};
use crate::websocket::WebSocket;

/// A stream of bytes to a broker and back.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Makes connections.
pub(crate) struct Dialer {
    proxy: Option<Proxy>,
    local_address: Option<IpAddr>,
    #[cfg(feature = "tls")]
    tls: Option<tokio_rustls::TlsConnector>,
}

impl Dialer {
    /// Prepares for connections to `target`, and to whom it may refer.
    pub(crate) fn new(target: &Target, options: &Options) -> Result<Self, StartError> {
        #[cfg(not(feature = "tls"))]
        debug_assert!(!target.is_tls(), "such an address is not read");
        Ok(Self {
            proxy: options.proxy.clone(),
            local_address: options.local_address,
            #[cfg(feature = "tls")]
            tls: target.is_tls().then(|| options.tls.build().map(Into::into)).transpose()?,
        })
    }

    /// Connects to `target`.
    pub(crate) async fn dial(&self, target: &Target) -> Result<Box<dyn Io>, ConnectionError> {
        match target {
            Target::Tcp(host) => Ok(Box::new(self.dial_tcp(host).await?)),
            Target::Tls(host) => self.dial_tls(host).await,
            Target::Ws(host, path) => {
                let io = Box::new(self.dial_tcp(host).await?);
                Ok(Box::new(WebSocket::open(io, host, path).await?))
            }
            Target::Wss(host, path) => {
                let io = self.dial_tls(host).await?;
                Ok(Box::new(WebSocket::open(io, host, path).await?))
            }
            #[cfg(unix)]
            Target::Unix(path) => Ok(Box::new(tokio::net::UnixStream::connect(path).await?)),
            #[cfg(not(unix))]
            Target::Unix(_) => Err(unsupported()),
        }
    }

    #[cfg(feature = "tls")]
    async fn dial_tls(&self, host: &Host) -> Result<Box<dyn Io>, ConnectionError> {
        use tokio_rustls::rustls::pki_types::ServerName;
        let fault = |error| ConnectionError::Tls(Arc::new(error));
        let connector = self.tls.as_ref().ok_or_else(unsupported)?;
        let name = ServerName::try_from(host.name.clone())
            .map_err(|error| fault(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let stream = self.dial_tcp(host).await?;
        Ok(Box::new(connector.connect(name, stream).await.map_err(fault)?))
    }

    #[cfg(not(feature = "tls"))]
    async fn dial_tls(&self, _: &Host) -> Result<Box<dyn Io>, ConnectionError> {
        Err(unsupported())
    }

    async fn dial_tcp(&self, host: &Host) -> Result<TcpStream, ConnectionError> {
        let stream = match &self.proxy {
            Some(proxy) => proxy.dial(host, self.local_address).await?,
            None => connect(host, self.local_address).await?,
        };
        // What the client writes is whole: to wait for more would only delay it.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Connects to the first of the host's addresses that accepts, from `local_address` if that is given.
pub(crate) async fn connect(host: &Host, local_address: Option<IpAddr>) -> io::Result<TcpStream> {
    let Some(local_address) = local_address else {
        return TcpStream::connect((host.name.as_str(), host.port)).await;
    };
    let mut last = io::Error::new(
        io::ErrorKind::AddrNotAvailable,
        format!("{host} has no address that could be reached from {local_address}"),
    );
    for address in lookup_host((host.name.as_str(), host.port)).await? {
        if address.is_ipv4() != local_address.is_ipv4() {
            continue;
        }
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind(SocketAddr::new(local_address, 0))?;
        match socket.connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The address was read by a build that knew its scheme.
#[cold]
fn unsupported() -> ConnectionError {
    ConnectionError::Io(Arc::new(io::ErrorKind::Unsupported.into()))
}
