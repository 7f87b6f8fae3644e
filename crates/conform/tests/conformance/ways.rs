//! The ways into a broker of the tests: TCP, TLS and WebSocket.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs, process};

use quelea_broker::config::{Listener, Protocol, Tls};
use quelea_conform::{Dial, Stream, WebSocket};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// A certificate, in files that are gone when this is, and who trusts it.
pub(crate) struct Ways {
    directory: PathBuf,
    client: Arc<ClientConfig>,
}

impl Ways {
    pub(crate) fn new() -> Self {
        let directory = env::temp_dir().join(format!("quelea-conform-{}", process::id()));
        fs::create_dir_all(&directory).expect("there is a place for temporary files");
        let key = rcgen::KeyPair::generate().expect("a key can be made");
        let params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("it is a name");
        let certificate = params.self_signed(&key).expect("a certificate can be made");
        for (name, text) in [(CERTIFICATE, certificate.pem()), (KEY, key.serialize_pem())] {
            fs::write(directory.join(name), text).expect("the directory is ours");
        }
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).expect("it is a certificate");
        let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Self { directory, client: Arc::new(client) }
    }

    /// Returns a listener for each way.
    pub(crate) fn listeners(&self) -> Vec<Listener> {
        let tcp = Listener::new(([127, 0, 0, 1], 0).into());
        let tls = Tls {
            certificates: vec![self.directory.join(CERTIFICATE)],
            keys: vec![self.directory.join(KEY)],
            ..Tls::default()
        };
        let websocket = Listener { protocol: Protocol::WebSocket, ..tcp.clone() };
        vec![tcp.clone(), Listener { tls: Some(tls), ..tcp }, websocket]
    }

    /// Returns how each listener is connected to.
    pub(crate) fn dials(&self, tls: SocketAddr, websocket: SocketAddr) -> [Option<Dial>; 3] {
        let client = Arc::clone(&self.client);
        let dial_tls = move || {
            let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
            let connection =
                ClientConnection::new(Arc::clone(&client), name).map_err(io::Error::other)?;
            let stream = StreamOwned::new(connection, tcp(tls)?);
            Ok(Box::new(TlsStream(stream)) as Box<dyn Stream>)
        };
        let dial_websocket = move || {
            let websocket = WebSocket::open(Box::new(tcp(websocket)?), "localhost", "/mqtt")?;
            Ok(Box::new(websocket) as Box<dyn Stream>)
        };
        [None, Some(Dial::new(dial_tls)), Some(Dial::new(dial_websocket))]
    }
}

impl Drop for Ways {
    fn drop(&mut self) {
        // What is left over is in the system's place for that.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// TLS of a client.
#[derive(Debug)]
struct TlsStream(StreamOwned<ClientConnection, TcpStream>);

impl Read for TlsStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for TlsStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Stream for TlsStream {
    fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.0.sock.set_read_timeout(Some(timeout))
    }

    fn end_sending(&mut self) -> io::Result<()> {
        self.0.conn.send_close_notify();
        self.0.flush()?;
        self.0.sock.shutdown(Shutdown::Write)
    }
}

fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

const CERTIFICATE: &str = "server.pem";
const KEY: &str = "server.key";
