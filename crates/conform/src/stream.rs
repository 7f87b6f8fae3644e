//! The connection that packets travel on: TCP, or what a caller puts in its place.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// A connection to a broker, as a stream of bytes.
pub trait Stream: Read + Write + fmt::Debug {
    /// Bounds how long a read waits.
    ///
    /// # Errors
    ///
    /// The connection is gone.
    fn set_read_timeout(&self, timeout: Duration) -> io::Result<()>;

    /// Ends what this side sends, and keeps reading.
    ///
    /// # Errors
    ///
    /// The connection is gone.
    fn end_sending(&mut self) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        Self::set_read_timeout(self, Some(timeout))
    }

    fn end_sending(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// How to open a connection other than by TCP.
#[derive(Clone)]
pub struct Dial(Arc<dyn Fn() -> io::Result<Box<dyn Stream>> + Send + Sync>);

impl Dial {
    /// Makes a dial of what opens a connection.
    pub fn new(open: impl Fn() -> io::Result<Box<dyn Stream>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(open))
    }

    /// Makes a dial of TCP.
    pub fn tcp(address: SocketAddr, patience: Duration) -> Self {
        Self::new(move || open_tcp(address, patience))
    }

    /// Opens a connection.
    ///
    /// # Errors
    ///
    /// There is none to be had.
    pub fn open(&self) -> io::Result<Box<dyn Stream>> {
        (self.0)()
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dial")
    }
}

/// Opens a connection of TCP within `patience`.
pub(crate) fn open_tcp(address: SocketAddr, patience: Duration) -> io::Result<Box<dyn Stream>> {
    let stream = TcpStream::connect_timeout(&address, patience)?;
    // Without it small packets of a case wait for acknowledgements of TCP; nothing depends on it.
    let _ = stream.set_nodelay(true);
    // A broker that does not read does not stop the suite.
    stream.set_write_timeout(Some(patience))?;
    Ok(Box::new(stream))
}
