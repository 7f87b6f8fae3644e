//! Those who mean no good: each costs little, is gone when its time is up, and nobody else notices.
//!
//! What others notice is measured beside each: a pair that exchanges messages all the while. The bounds are wide,
//! since the machine has other things to do; what they exclude is a broker that stands still.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use quelea_broker::config::{Durability, Listener, Protocol};
use quelea_broker::{Broker, Config};
use rustls::{ClientConfig, ClientConnection};

use crate::client::{Client, publish_packet, tcp, tls};
use crate::house;
use crate::pki::{Authority, Directory, client_config};
use crate::websocket_client::{WebSocketStream, frame, request};

/// Half of a ClientHello, and then nothing.
#[test]
fn handshakes_that_stop() {
    let estate = Estate::new();
    let hello = estate.client_hello();
    let streams =
        estate.besiege(estate.tls, 300, |stream| stream.write_all(&hello[..hello.len() / 2]));
    for mut stream in streams {
        assert!(ends(&mut stream), "it has had its time");
    }
}

/// Connections on which nothing is ever said.
#[test]
fn silence() {
    let estate = Estate::new();
    for address in [estate.tls, estate.websocket] {
        let streams = estate.besiege(address, 300, |_| Ok(()));
        for mut stream in streams {
            assert!(ends(&mut stream), "it has had its time");
        }
    }
}

/// A handshake of a byte at a time does not make its own time longer.
#[test]
fn handshakes_that_trickle() {
    let estate = Estate::new();
    let hello = estate.client_hello();
    let started = Instant::now();
    let mut stream = tcp(estate.tls);
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut bytes = hello.iter();
    // A read that waits is the pause between two bytes.
    let ended = loop {
        let sent = bytes.next().is_none_or(|byte| stream.write_all(&[*byte]).is_ok());
        match stream.read(&mut [0]) {
            Ok(0) => break true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && sent => {}
            Err(error) => break error.kind() == ErrorKind::ConnectionReset || !sent,
        }
        assert!(started.elapsed() < 10 * CONNECT_TIMEOUT, "it goes on for ever");
    };
    assert!(ended);
}

/// TLS that is complete, and no CONNECT.
#[test]
fn half_open_tls() {
    let estate = Estate::new();
    let config = Arc::new(estate.client());
    estate.beside(|| {
        let mut streams: Vec<_> = (0..100)
            .map(|_| crate::client::tls_to(estate.tls, &config, "localhost").unwrap())
            .collect();
        for stream in &mut streams {
            // The end of TLS, or of the connection.
            assert!(!matches!(stream.read(&mut [0]), Ok(1..)));
        }
    });
}

/// An upgrade that does not come to its end.
#[test]
fn upgrades_that_stop() {
    let estate = Estate::new();
    let request = request();
    let half = &request.as_bytes()[..request.len() - 3];
    let streams = estate.besiege(estate.websocket, 300, |stream| stream.write_all(half));
    for mut stream in streams {
        assert!(ends(&mut stream), "it has had its time");
    }
}

/// A request that is never done: it is refused as soon as it is too long.
#[test]
fn huge_headers() {
    let estate = Estate::new();
    estate.beside(|| {
        for _ in 0..50 {
            let mut stream = tcp(estate.websocket);
            let _ = stream.write_all(b"GET /mqtt HTTP/1.1\r\nCookie: ");
            // The broker ends it long before all of this.
            let _ = (0..1_000).try_for_each(|_| stream.write_all(&[b'x'; 10_000]));
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431 "), "{answer:?}");
        }
    });
}

/// A message of fragments that never ends, most of them empty.
#[test]
fn endless_fragments() {
    let estate = Estate::new();
    let mut client = Client::connect(WebSocketStream::open(tcp(estate.websocket))).unwrap();
    client.stream.send_frame(0x02, &[]).unwrap();
    let many: Vec<u8> = (0..2_000).flat_map(|_| frame(0x00, &[])).collect();
    let before = resident_bytes();
    estate.beside(|| {
        for _ in 0..500 {
            client.stream.inner.write_all(&many).unwrap();
        }
        // A million fragments later it is still a connection.
        client.stream.inner.write_all(&frame(0x00, &[0xC0])).unwrap();
        client.stream.inner.write_all(&frame(0x80, &[0])).unwrap();
        assert_eq!(client.packet().unwrap(), [0xD0, 0]);
    });
    assert!(resident_bytes() < before + MEMORY_MAX, "memory grows with fragments");
}

/// Pings without end from one who does not read the answers.
#[test]
fn ping_floods() {
    let estate = Estate::new();
    let mut client = Client::connect(WebSocketStream::open(tcp(estate.websocket))).unwrap();
    let many: Vec<u8> = (0..500).flat_map(|_| frame(0x89, &[7; 125])).collect();
    let before = resident_bytes();
    estate.beside(|| {
        for _ in 0..400 {
            client.stream.inner.write_all(&many).unwrap();
        }
    });
    assert!(resident_bytes() < before + MEMORY_MAX, "memory grows with pings");
    // Read at last: the latest is answered, if not each.
    client.stream.send_frame(0x89, b"last").unwrap();
    while client.stream.control().unwrap().1 != b"last" {}
}

/// A broker whose connections have little time, with a pair of well-meaning clients.
struct Estate {
    broker: Option<Broker>,
    plain: SocketAddr,
    tls: SocketAddr,
    websocket: SocketAddr,
    ca: Authority,
    _directory: Directory,
}

impl Estate {
    fn new() -> Self {
        let (ca, directory) = (Authority::root("ca"), Directory::new());
        let plain = Listener::new(([127, 0, 0, 1], 0).into());
        let mut secure = plain.clone();
        secure.tls = Some(house::tls(&ca.issue("localhost"), &directory));
        let mut websocket = plain.clone();
        websocket.protocol = Protocol::WebSocket;
        let mut config = Config { listeners: vec![plain, secure, websocket], ..Config::default() };
        config.shards = Some(2.try_into().unwrap());
        config.store.durability = Durability::Memory;
        config.stop.flush_timeout_secs = 1;
        config.limits.connect_timeout_secs = CONNECT_TIMEOUT.as_secs() as u32;
        let broker = Broker::start(config).unwrap();
        let &[plain, tls, websocket] = broker.local_addrs() else { panic!("there are three") };
        Self { broker: Some(broker), plain, tls, websocket, ca, _directory: directory }
    }

    fn client(&self) -> ClientConfig {
        client_config(&self.ca, None)
    }

    fn client_hello(&self) -> Vec<u8> {
        let name = "localhost".try_into().unwrap();
        let mut connection = ClientConnection::new(self.client().into(), name).unwrap();
        let mut hello = Vec::new();
        connection.write_tls(&mut hello).unwrap();
        hello
    }

    /// Opens connections that all do the same, beside the pair. Each costs a bounded amount of memory.
    fn besiege(
        &self,
        address: SocketAddr,
        count: usize,
        act: impl Fn(&mut TcpStream) -> std::io::Result<()>,
    ) -> Vec<TcpStream> {
        let before = resident_bytes();
        let streams = self.beside(|| {
            let mut streams: Vec<_> = (0..count).map(|_| tcp(address)).collect();
            for stream in &mut streams {
                act(stream).unwrap();
            }
            streams
        });
        assert!(resident_bytes() < before + MEMORY_MAX, "too much memory for {count} connections");
        streams
    }

    /// Does something while the pair, one of them through TLS, exchanges messages, and bounds how long one takes.
    fn beside<T>(&self, act: impl FnOnce() -> T) -> T {
        let is_over = AtomicBool::new(false);
        let mut receiver = Client::connect(tls(self.tls, self.client()).unwrap()).unwrap();
        receiver.subscribe("pair").unwrap();
        let mut sender = Client::connect(tcp(self.plain)).unwrap();
        std::thread::scope(|scope| {
            let pair = scope.spawn(|| {
                let mut longest = Duration::ZERO;
                while !is_over.load(Ordering::Relaxed) {
                    let sent_at = Instant::now();
                    sender.publish("pair", b"hello").unwrap();
                    assert_eq!(receiver.packet().unwrap(), publish_packet("pair", b"hello"));
                    longest = longest.max(sent_at.elapsed());
                }
                longest
            });
            let result = act();
            is_over.store(true, Ordering::Relaxed);
            let longest = pair.join().unwrap();
            assert!(longest < LATENCY_MAX, "a message took {longest:?}");
            result
        })
    }
}

impl Drop for Estate {
    fn drop(&mut self) {
        if let Some(broker) = self.broker.take() {
            broker.stop();
        }
    }
}

/// Returns whether the broker ends a connection before the test loses patience.
fn ends(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 64]) {
        Ok(0) => true,
        // An alert, or a refusal, and then the end.
        Ok(_) => ends(stream),
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// Returns the memory of this process, of which the broker is a part.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4_096
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

const LATENCY_MAX: Duration = Duration::from_secs(2);

/// All tests of this program run in one process: much of it is theirs.
const MEMORY_MAX: u64 = 64 << 20;
