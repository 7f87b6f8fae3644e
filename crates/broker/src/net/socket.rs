//! Sockets and listeners of either family: TCP, and Unix.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use rustix::net::RecvFlags;
use socket2::{SockRef, TcpKeepalive};

use super::Peer;

/// A connected socket.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A listening socket.
#[derive(Debug)]
pub(crate) enum ListeningSocket {
    /// TCP.
    Tcp(TcpListener),
    /// Unix, with the file to remove at the end, if it is ours.
    Unix(UnixListener, Option<PathBuf>),
}

impl Socket {
    /// Looks at what has arrived, and leaves it there.
    pub(super) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (_, bytes) = match self {
            Self::Tcp(tcp) => rustix::net::recv(tcp, buffer, RecvFlags::PEEK)?,
            Self::Unix(unix) => rustix::net::recv(unix, buffer, RecvFlags::PEEK)?,
        };
        Ok(bytes)
    }

    pub(super) fn end_sending(&self) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.shutdown(Shutdown::Write),
            Self::Unix(unix) => unix.shutdown(Shutdown::Write),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.read(buffer),
            Self::Unix(unix) => unix.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.write(bytes),
            Self::Unix(unix) => unix.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ListeningSocket {
    /// Accepts a connection that waits.
    pub(super) fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept()?;
                // Neither is worth refusing a connection for.
                let _ = stream.set_nodelay(true);
                let keepalive =
                    TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY);
                let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
                Ok((Socket::Tcp(stream), address.into()))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept()?;
                Ok((Socket::Unix(stream), Peer::UNIX))
            }
        }
    }

    /// Returns the address that clients connect to, if it is one of TCP.
    pub(crate) fn local_addr(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Some),
            Self::Unix(..) => Ok(None),
        }
    }

    pub(super) fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(listener) => listener,
            Self::Unix(listener, _) => listener,
        }
    }
}

impl Drop for ListeningSocket {
    fn drop(&mut self) {
        if let Self::Unix(_, Some(path)) = self {
            // A broker that starts next removes it all the same.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Source for Socket {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.register(registry, token, interests),
            Self::Unix(unix) => unix.register(registry, token, interests),
        }
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.reregister(registry, token, interests),
            Self::Unix(unix) => unix.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.deregister(registry),
            Self::Unix(unix) => unix.deregister(registry),
        }
    }
}

/// A silent peer is probed by TCP after this time, for clients that keep alive at 0.
const PROBE_AFTER: Duration = Duration::from_secs(300);

/// And then every so often.
const PROBE_EVERY: Duration = Duration::from_secs(30);
