use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::*;

#[test]
fn a_question_is_asked_and_its_answer_read() {
    let server = Server::start(|mut stream, _, seen| serve(&mut stream, seen));
    let headers = vec![(HeaderName::from_static("x-key"), HeaderValue::from_static("hush"))];
    let endpoint = endpoint_with(&server.url("/a?b=c"), headers, BOUNDS);
    assert!(!format!("{endpoint:?} {:?}", endpoint.headers).contains("hush"));
    run(async {
        let answer = endpoint.post(r#"{"a":1}"#).await.unwrap();
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, &b"right"[..]));
        assert_eq!(answer.headers["cache-control"], "max-age=5");
        endpoint.get().await.unwrap();
    });
    let seen = server.seen.lock().unwrap().clone();
    let host = server.address.to_string();
    assert_eq!(seen[0].lines().next().unwrap(), "POST /a?b=c HTTP/1.1");
    for part in [&*format!("host: {host}"), "x-key: hush", "content-type: application/json"] {
        assert!(seen[0].contains(part), "{part}: {}", seen[0]);
    }
    assert!(seen[0].ends_with("\r\n\r\n{\"a\":1}"), "{}", seen[0]);
    assert!(seen[1].starts_with("GET /a?b=c HTTP/1.1\r\n"), "{}", seen[1]);
    assert!(!seen[1].contains("content-type"), "{}", seen[1]);
    assert_eq!(server.connections(), 1, "the second question uses the first's connection");
}

#[test]
fn answers_come_in_all_forms() {
    check(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Ok((200, "")));
    check(b"HTTP/1.1 204 No Content\r\n\r\n", Ok((204, "")));
    check(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end", Ok((200, "to the end")));
    check(b"HTTP/1.0 200 OK\r\n\r\nold", Ok((200, "old")));
    check(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        Ok((200, "abcde")),
    );
    check(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1",
        Ok((200, "1")),
    );
    check(b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n", Ok((302, "")));
    check(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy", Ok((503, "busy")));
}

#[test]
fn what_is_no_answer_is_a_failure() {
    check(b"", Err("CutOff"));
    check(b"HTTP/1.1 200 O", Err("CutOff"));
    check(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", Err("CutOff"));
    check(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", Err("CutOff"));
    check(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nwrong\r\n", Err("NotHttp"));
    check(b"SSH-2.0-OpenSSH_9.9\r\n", Err("NotHttp"));
    check(b"HTTP/2 200 OK\r\n\r\n", Err("NotHttp"));
    check(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Err("NotHttp"));
    check(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999\r\n\r\n", Err("TooLarge"));
    check(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", Err("TooLarge"));
    let mut long = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    long.resize(2_000, b'x');
    check(&long, Err("TooLarge"));
    let mut head = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
    head.resize(100_000, b'x');
    check(&head, Err("NotHttp"));
    check(
        &[&b"HTTP/1.1 200 OK\r\n"[..], &b"X: y\r\n".repeat(65), b"\r\n"].concat(),
        Err("NotHttp"),
    );
}

/// A body that comes a byte at a time, for ever, or not at all: neither holds a question longer than its time.
#[test]
fn a_slow_answer_is_given_up() {
    for head in ["", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"] {
        let server = Server::start(move |mut stream, _, seen| {
            read_request(&mut stream);
            let _ = stream.write_all(head.as_bytes());
            // Until the broker closes.
            while !head.is_empty() && stream.write_all(b"1\r\nx\r\n").is_ok() {
                std::thread::yield_now();
            }
            let _ = stream.read(&mut [0]);
            seen.lock().unwrap().push("gave up".to_owned());
        });
        let bounds =
            Bounds { timeout: Duration::from_millis(50), body_bytes_max: usize::MAX, ..BOUNDS };
        let endpoint = endpoint_with(&server.url("/"), Vec::new(), bounds);
        run(async {
            let failure = endpoint.get().await.unwrap_err();
            assert!(matches!(failure, Failure::TimedOut), "{failure}");
            // The connection closes with the question.
            server.wait_for("gave up").await;
        });
    }
}

#[test]
fn a_connection_that_closed_meanwhile_is_replaced() {
    // Before the next question, or as soon as it is there.
    for reads_next in [false, true] {
        let server = Server::start(move |mut stream, index, seen| {
            for _ in 0..=usize::from(index == 0 && reads_next) {
                seen.lock().unwrap().push(read_request(&mut stream));
                if seen.lock().unwrap().len() != 2 || !reads_next {
                    let _ = stream.write_all(OK);
                }
            }
        });
        let endpoint = endpoint(&server.url("/"));
        run(async {
            for _ in 0..2 {
                assert_eq!(endpoint.get().await.unwrap().body, b"right");
            }
        });
        assert_eq!(server.connections(), 2);
    }
}

#[test]
fn nobody_there_is_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    run(async {
        let failure = endpoint(&url).get().await.unwrap_err();
        assert!(matches!(failure, Failure::Connect(_)) && failure.may_pass(), "{failure}");
        let failure = endpoint("http://no-such-name.localhost.invalid/").get().await.unwrap_err();
        assert!(matches!(failure, Failure::Name(_)), "{failure}");
    });
}

/// More questions than connections that may be kept: each has one, and those beyond are closed.
#[test]
fn few_connections_are_kept() {
    let server = Server::start(|mut stream, _, seen| serve(&mut stream, seen));
    let bounds = Bounds { idle_connections_max: 2, ..BOUNDS };
    let endpoint = Arc::new(endpoint_with(&server.url("/"), Vec::new(), bounds));
    run(async {
        let questions: Vec<_> = (0..10)
            .map(|_| {
                tokio::spawn({
                    let endpoint = Arc::clone(&endpoint);
                    async move { endpoint.get().await.unwrap() }
                })
            })
            .collect();
        for question in questions {
            question.await.unwrap();
        }
        let kept = std::iter::from_fn(|| endpoint.connections.take_idle()).count();
        assert_eq!(kept, 2);
    });
}

#[test]
fn tls_is_for_who_can_show_who_it_is() {
    let pki = Pki::new("tls");
    let server = Server::start(pki.serving(false));
    let trusting = TrustFiles { authorities: Some(&pki.ca), identity: None };
    assert_eq!(pki.ask(&server, "localhost", trusting).unwrap().body, b"right");
    for (name, files) in [("127.0.0.1", trusting), ("localhost", TrustFiles::default())] {
        let failure = pki.ask(&server, name, files).unwrap_err();
        assert!(matches!(failure, Failure::Tls(_)) && !failure.may_pass(), "{failure}");
    }
}

#[test]
fn a_service_may_ask_for_a_certificate() {
    let pki = Pki::new("mutual");
    let server = Server::start(pki.serving(true));
    let identity = Some((&*pki.certificate, &*pki.key));
    let known = TrustFiles { authorities: Some(&pki.ca), identity };
    assert_eq!(pki.ask(&server, "localhost", known).unwrap().body, b"right");
    let unknown = TrustFiles { identity: None, ..known };
    // With TLS 1.3 the refusal comes after the handshake.
    pki.ask(&server, "localhost", unknown).unwrap_err();
}

#[test]
fn wrong_files_are_named() {
    let pki = Pki::new("wrong");
    let url = Url::read("https://localhost/", PlainHttp::OnLoopback).unwrap();
    let check = |authorities, identity, file: &Path| {
        let error = Trust::load(&url, TrustFiles { authorities, identity }).err().unwrap();
        assert_eq!(error.file.as_deref(), Some(file), "{error}");
    };
    let absent = Path::new("/nowhere");
    check(Some(absent), None, absent);
    check(Some(&pki.key), None, &pki.key);
    check(Some(&pki.ca), Some((absent, &*pki.key)), absent);
    check(Some(&pki.ca), Some((&*pki.certificate, &*pki.ca)), &pki.ca);
}

/// Has a server send `sent` and close, and looks what comes of it.
#[track_caller]
fn check(sent: &[u8], expected: Result<(u16, &str), &str>) {
    let sent = sent.to_vec();
    let server = Server::start(move |mut stream, _, seen| {
        seen.lock().unwrap().push(read_request(&mut stream));
        let _ = stream.write_all(&sent);
    });
    let answer = run(async { endpoint(&server.url("/")).get().await });
    let got = match &answer {
        Ok(it) => Ok((it.status.as_u16(), std::str::from_utf8(&it.body).unwrap())),
        Err(failure) => Err(format!("{failure:?}")),
    };
    match (got, expected) {
        (Ok(got), Ok(expected)) => assert_eq!(got, expected),
        (Err(got), Err(expected)) => assert!(got.starts_with(expected), "{got}, not {expected}"),
        (got, expected) => panic!("{got:?}, not {expected:?}"),
    }
}

fn endpoint(url: &str) -> Endpoint {
    endpoint_with(url, Vec::new(), BOUNDS)
}

fn endpoint_with(url: &str, headers: Vec<(HeaderName, HeaderValue)>, bounds: Bounds) -> Endpoint {
    let url = Url::read(url, PlainHttp::Anywhere).unwrap();
    let trust = Trust::load(&url, TrustFiles::default()).unwrap();
    Endpoint::new(url, trust, headers, bounds)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A server that does what a closure does with each connection.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    seen: Arc<Seen>,
}

/// What a server was asked, and what else its closure has to say.
type Seen = Mutex<Vec<String>>;

impl Server {
    /// Each connection is for `serve`, with the number of those before it. Its threads end with the test's process.
    fn start(serve: impl Fn(TcpStream, usize, &Seen) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, seen) = (Arc::<AtomicUsize>::default(), Arc::<Seen>::default());
        let (count, said, serve) = (Arc::clone(&connections), Arc::clone(&seen), Arc::new(serve));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let index = count.fetch_add(1, Ordering::SeqCst);
                let (serve, said) = (Arc::clone(&serve), Arc::clone(&said));
                std::thread::spawn(move || serve(stream.unwrap(), index, &said));
            }
        });
        Self { address, connections, seen }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    async fn wait_for(&self, said: &str) {
        while !self.seen.lock().unwrap().iter().any(|it| it == said) {
            tokio::task::yield_now().await;
        }
    }
}

/// Answers until the broker closes.
fn serve(stream: &mut (impl Read + Write), seen: &Seen) {
    loop {
        let asked = read_request(stream);
        if asked.is_empty() {
            return;
        }
        seen.lock().unwrap().push(asked);
        if stream.write_all(OK).is_err() {
            return;
        }
    }
}

/// Reads a request with its body; nothing when there is none.
fn read_request(stream: &mut impl Read) -> String {
    let mut stream = BufReader::with_capacity(1, stream);
    let mut request = String::new();
    let mut length = 0;
    while !request.ends_with("\r\n\r\n") {
        let start = request.len();
        match stream.read_line(&mut request) {
            Ok(0) | Err(_) => return String::new(),
            Ok(_) => {}
        }
        if let Some(value) = request[start..].strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    match stream.read_exact(&mut body) {
        Ok(()) => request + std::str::from_utf8(&body).unwrap(),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => String::new(),
        Err(error) => panic!("{error}"),
    }
}

/// An authority, and one certificate of it for `localhost`, which server and client share.
struct Pki {
    directory: PathBuf,
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Pki {
    fn new(name: &str) -> Self {
        let directory =
            std::env::temp_dir().join(format!("quelea-http-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &ca).unwrap();
        let write = |name: &str, text: String| {
            std::fs::write(directory.join(name), text).unwrap();
            directory.join(name)
        };
        Self {
            ca: write("ca.pem", ca.pem()),
            certificate: write("certificate.pem", certificate.pem()),
            key: write("key.pem", key.serialize_pem()),
            directory,
        }
    }

    /// Returns what serves connections with TLS.
    fn serving(&self, asks_for_certificate: bool) -> impl Fn(TcpStream, usize, &Seen) + use<> {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.ca).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let builder =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.unwrap().with_client_cert_verifier(match asks_for_certificate {
            true => verifier.build().unwrap(),
            false => WebPkiClientVerifier::no_client_auth(),
        });
        let chain = vec![CertificateDer::from_pem_file(&self.certificate).unwrap()];
        let key = PrivateKeyDer::from_pem_file(&self.key).unwrap();
        let config = Arc::new(builder.with_single_cert(chain, key).unwrap());
        move |stream, _, seen| {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            serve(&mut StreamOwned::new(connection, stream), seen);
        }
    }

    fn ask(&self, server: &Server, name: &str, files: TrustFiles<'_>) -> Result<Answer, Failure> {
        let url = format!("https://{name}:{}/", server.address.port());
        let url = Url::read(&url, PlainHttp::OnLoopback).unwrap();
        let trust = Trust::load(&url, files).unwrap();
        run(async { Endpoint::new(url, trust, Vec::new(), BOUNDS).get().await })
    }
}

impl Drop for Pki {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=5\r\nContent-Length: 5\r\n\r\nright";

const BOUNDS: Bounds = Bounds {
    timeout: Duration::from_secs(20),
    connect_timeout: Duration::from_secs(10),
    body_bytes_max: 1_000,
    idle_connections_max: 8,
};
