//! An HTTP server with a set of keys, that may be in a mood.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A server. Its threads end with the test's process.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    desk: Arc<Desk>,
}

/// What a server does with those who ask.
#[derive(Clone)]
pub(crate) enum Mood {
    /// It answers with this set of keys.
    Right(String),
    /// It closes the connection.
    Dead,
    /// It says nothing, and keeps the connection.
    Silent,
    /// It answers with these bytes, whatever they are.
    Raw(Vec<u8>),
}

#[derive(Default)]
struct Desk {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    mood: Option<Mood>,
    requests: usize,
    /// Connections that wait for an answer that does not come.
    silent: Vec<TcpStream>,
}

impl Server {
    pub(crate) fn start(mood: Mood) -> Self {
        Self::start_with(mood, None)
    }

    pub(crate) fn start_with(mood: Mood, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let desk = Arc::<Desk>::default();
        desk.state.lock().unwrap().mood = Some(mood);
        let own = Arc::clone(&desk);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (desk, tls) = (Arc::clone(&own), tls.clone());
                std::thread::spawn(move || desk.serve(stream.unwrap(), tls));
            }
        });
        Self { address, desk }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.desk.state.lock().unwrap().mood = Some(mood);
    }

    pub(crate) fn requests(&self) -> usize {
        self.desk.state.lock().unwrap().requests
    }

    /// Waits until it has been asked so many times.
    pub(crate) fn wait_for(&self, requests: usize) {
        let state = self.desk.state.lock().unwrap();
        drop(self.desk.changed.wait_while(state, |it| it.requests < requests).unwrap());
    }
}

impl Desk {
    fn serve(&self, stream: TcpStream, tls: Option<Arc<ServerConfig>>) {
        let raw = stream.try_clone().unwrap();
        match tls {
            None => self.answer(stream, raw),
            Some(config) => {
                let connection = ServerConnection::new(config).unwrap();
                self.answer(StreamOwned::new(connection, stream), raw);
            }
        }
    }

    fn answer(&self, mut stream: impl Read + Write, raw: TcpStream) {
        if !read_request(&mut stream) {
            return;
        }
        let mut state = self.state.lock().unwrap();
        state.requests += 1;
        self.changed.notify_all();
        match state.mood.clone().unwrap() {
            Mood::Dead => {}
            Mood::Silent => state.silent.push(raw),
            Mood::Raw(bytes) => {
                drop(state);
                // The broker may have had enough before the end.
                let _ = stream.write_all(&bytes);
            }
            Mood::Right(set) => {
                drop(state);
                let _ = stream.write_all(&response("200 OK", &set));
            }
        }
    }
}

/// Returns a whole response.
pub(crate) fn response(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
        .into()
}

/// Reads a request for the keys; false if there is none.
fn read_request(stream: &mut impl Read) -> bool {
    let mut lines = BufReader::with_capacity(1, stream).lines();
    let Some(Ok(first)) = lines.next() else { return false };
    assert_eq!(first, "GET /keys HTTP/1.1");
    lines.map_while(Result::ok).any(|it| it.is_empty())
}

/// Returns a configuration of a server for `localhost`, and the file of its authority.
pub(crate) fn pki(name: &str) -> (Arc<ServerConfig>, PathBuf) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &ca).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let chain = vec![certificate.der().clone()];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = builder.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let file = super::house::path(name);
    fs::write(&file, ca.pem()).unwrap();
    (Arc::new(config), file)
}
