//! A client that knows just enough of MQTT 3.1.1, over any byte stream.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// A client on some byte stream.
pub(crate) struct Client<S> {
    pub(crate) stream: S,
}

impl<S: Read + Write> Client<S> {
    /// Connects with a client identifier that nobody else has.
    pub(crate) fn connect(mut stream: S) -> io::Result<Self> {
        stream.write_all(&connect_packet(&unique_id()))?;
        stream.flush()?;
        let mut client = Self { stream };
        match client.packet()?.as_slice() {
            [0x20, 2, 0, 0] => Ok(client),
            other => Err(io::Error::other(format!("{other:?} is no CONNACK that accepts"))),
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    pub(crate) fn ping(&mut self) -> io::Result<()> {
        self.send(&[0xC0, 0])?;
        assert_eq!(self.packet()?, [0xD0, 0]);
        Ok(())
    }

    /// Subscribes with QoS 0, and waits for the SUBACK.
    pub(crate) fn subscribe(&mut self, filter: &str) -> io::Result<()> {
        let mut body = vec![0, 1];
        body.extend(text(filter));
        body.push(0);
        self.send(&packet(0x82, &body))?;
        assert_eq!(self.packet()?, [0x90, 3, 0, 1, 0]);
        Ok(())
    }

    pub(crate) fn publish(&mut self, topic: &str, payload: &[u8]) -> io::Result<()> {
        self.send(&publish_packet(topic, payload))
    }

    /// Reads the next packet.
    pub(crate) fn packet(&mut self) -> io::Result<Vec<u8>> {
        let mut packet = vec![0; 2];
        self.stream.read_exact(&mut packet)?;
        let mut length = usize::from(packet[1] & 0x7F);
        let mut shift = 7;
        while packet[packet.len() - 1] & 0x80 != 0 {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            packet.push(byte[0]);
            length |= usize::from(byte[0] & 0x7F) << shift;
            shift += 7;
        }
        let start = packet.len();
        packet.resize(start + length, 0);
        self.stream.read_exact(&mut packet[start..])?;
        Ok(packet)
    }
}

/// Opens a TCP connection on which nothing takes longer than a test may.
pub(crate) fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Opens TLS on a connection and completes the handshake of this side.
pub(crate) fn tls(address: SocketAddr, config: ClientConfig) -> io::Result<TlsStream> {
    tls_to(address, &Arc::new(config), "localhost")
}

pub(crate) fn tls_to(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    name: &str,
) -> io::Result<TlsStream> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, tcp(address));
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

pub(crate) fn unique_id() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("client-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Returns a CONNECT of MQTT 3.1.1 with a clean session.
pub(crate) fn connect_packet(client_id: &str) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend([4, 2, 0, 60]);
    body.extend(text(client_id));
    packet(0x10, &body)
}

pub(crate) fn publish_packet(topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = text(topic);
    body.extend(payload);
    packet(0x30, &body)
}

pub(crate) fn packet(first_byte: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first_byte];
    let mut length = body.len();
    loop {
        let more = length > 0x7F;
        packet.push((length & 0x7F) as u8 | if more { 0x80 } else { 0 });
        length >>= 7;
        if !more {
            break;
        }
    }
    packet.extend(body);
    packet
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u16).to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

/// An answer that has not come by then does not come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
