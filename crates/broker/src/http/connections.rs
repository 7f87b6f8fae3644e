//! Connections to a service, of which some are kept for the next question.

use std::io;
use std::sync::{Mutex, PoisonError};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::rt::{Read, Write};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, timeout};
use tokio_rustls::TlsConnector;

use super::names::Name;
use super::{Bounds, Failure, Trust, Url};

/// The connections of one endpoint.
pub(super) struct Connections {
    name: Name,
    /// The service's name for TLS, and what to speak TLS with; nothing without TLS.
    tls: Option<(Result<ServerName<'static>, String>, TlsConnector)>,
    bounds: Bounds,
    /// The latest used last; at most [`Bounds::idle_connections_max`].
    idle: Mutex<Vec<Connection>>,
}

/// A connection that can be asked.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    idle_since: Instant,
}

impl Connections {
    pub(super) fn new(url: &Url, trust: Trust, bounds: Bounds) -> Self {
        let server_name =
            || ServerName::try_from(url.host().to_owned()).map_err(|error| error.to_string());
        let tls = trust.connector().filter(|_| url.is_tls()).map(|it| (server_name(), it));
        Self { name: Name::new(url.host(), url.port()), tls, bounds, idle: Mutex::default() }
    }

    /// Takes a connection that was kept, the latest first.
    pub(super) fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if connection.idle_since.elapsed() > IDLE_MAX {
                // Those below it have waited for longer.
                idle.clear();
            } else if connection.sender.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for the next question, if there is room.
    pub(super) fn keep(&self, mut connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.bounds.idle_connections_max && !connection.sender.is_closed() {
            connection.idle_since = Instant::now();
            idle.push(connection);
        }
    }

    /// Opens a connection.
    pub(super) async fn open(&self) -> Result<Connection, Failure> {
        let open = async {
            let stream = self.dial().await?;
            let Some((server_name, connector)) = &self.tls else {
                return shake_hands(stream).await;
            };
            let no_name = |error: &String| Failure::Tls(io::Error::other(error.clone()));
            let server_name = server_name.as_ref().map_err(no_name)?.clone();
            let stream = connector.connect(server_name, stream).await.map_err(Failure::Tls)?;
            shake_hands(stream).await
        };
        timeout(self.bounds.connect_timeout, open).await.unwrap_or(Err(Failure::ConnectTimedOut))
    }

    /// Connects to the first of the name's addresses that answers. Each has its share of the time.
    async fn dial(&self) -> Result<TcpStream, Failure> {
        let addresses = self.name.addresses().await.map_err(Failure::Name)?;
        let share = self.bounds.connect_timeout / (addresses.len() as u32).max(1);
        let mut failure = Failure::ConnectTimedOut;
        for address in addresses {
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // A question is one small write: whether Nagle holds its last packet back matters.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => failure = Failure::Connect(error),
                Err(_) => failure = Failure::ConnectTimedOut,
            }
        }
        self.name.forget().await;
        Err(failure)
    }
}

impl Connection {
    /// Asks, and waits for the head of the answer.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Failure> {
        self.sender.send_request(request).await.map_err(|error| Failure::of_exchange(&error))
    }
}

async fn shake_hands(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
) -> Result<Connection, Failure> {
    speak_http(TokioIo::new(stream)).await
}

/// Begins to speak HTTP. The connection has a task of its own, which ends when nobody asks there any more.
async fn speak_http(io: impl Read + Write + Send + Unpin + 'static) -> Result<Connection, Failure> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
    let begun = builder.handshake(io).await;
    let (sender, connection) = begun.map_err(|error| Failure::of_exchange(&error))?;
    // Whoever has asked is told of its end.
    tokio::spawn(async move { drop(connection.await) });
    Ok(Connection { sender, idle_since: Instant::now() })
}

/// A connection that has waited for longer is not used again: the service, or something on the way to it, has likely
/// forgotten it, without a word.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Bytes of an answer's head; more is no answer.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Headers of an answer; more is no answer.
const HEADERS_MAX: usize = 64;
