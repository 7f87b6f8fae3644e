//! WebSocket: the upgrade, frames in every form, and how it ends.

use std::io::{Read, Write};
use std::net::TcpStream;

use quelea_broker::config::{Listener, Protocol};

use crate::client::{Client, connect_packet, publish_packet, tcp, tls, unique_id};
use crate::house::{self, House};
use crate::journal;
use crate::pki::{Authority, client_config};
use crate::websocket_client::{WebSocketStream, frame, request, upgrade};

#[test]
fn messages_pass() {
    let house = house(|_| {});
    check_messages(|| WebSocketStream::open(tcp(house.address)));
}

#[test]
fn messages_pass_through_tls() {
    let ca = Authority::root("ca");
    let house = House::new(|listener, directory| {
        listener.protocol = Protocol::WebSocket;
        listener.tls = Some(house::tls(&ca.issue("localhost"), directory));
    });
    check_messages(|| {
        let mut config = client_config(&ca, None);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        WebSocketStream::open(tls(house.address, config).unwrap())
    });
}

fn check_messages<S: Read + Write>(open: impl Fn() -> WebSocketStream<S>) {
    // Enough clients that some of them move to another shard.
    let mut subscribers: Vec<_> = (0..8).map(|_| Client::connect(open()).unwrap()).collect();
    for subscriber in &mut subscribers {
        subscriber.subscribe("a/#").unwrap();
    }
    let mut publisher = Client::connect(open()).unwrap();
    for length in [0, 1, 120, 126, 65_530, 65_536, 300_000] {
        let payload: Vec<u8> = (0..length).map(|index| index as u8).collect();
        publisher.publish("a/b", &payload).unwrap();
        for subscriber in &mut subscribers {
            assert!(subscriber.packet().unwrap() == publish_packet("a/b", &payload), "{length}");
        }
    }
}

/// [MQTT-6.0.0-2]
#[test]
fn frames_and_packets_need_not_match() {
    let house = house(|_| {});
    // The whole of what a client sends, in frames and fragments of some size, and those in segments of another.
    for (frame_bytes, segment_bytes) in [(1, 1), (1, 1_000), (3, 7), (1_000, 1), (50, 20), (7, 64)]
    {
        let mut packets = connect_packet(&unique_id());
        packets.extend([0x82, 6, 0, 1, 0, 1, b't', 0]);
        packets.extend((0..20).flat_map(|_| publish_packet("t", b"hello")));
        let pieces: Vec<&[u8]> = packets.chunks(frame_bytes).collect();
        let mut bytes = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            // Fragments: all pieces but every third belong together, with a ping between two of them.
            let opcode = if index % 3 == 0 { 0x02 } else { 0x00 };
            let last = if index % 3 == 2 || index + 1 == pieces.len() { 0x80 } else { 0 };
            bytes.extend(frame(last | opcode, piece));
            bytes.extend(frame(0x8A, b"not asked for"));
        }
        let mut stream = WebSocketStream::open(tcp(house.address));
        for segment in bytes.chunks(segment_bytes) {
            stream.inner.write_all(segment).unwrap();
        }
        let mut client = Client { stream };
        assert_eq!(client.packet().unwrap(), [0x20, 2, 0, 0]);
        assert_eq!(client.packet().unwrap(), [0x90, 3, 0, 1, 0]);
        for _ in 0..20 {
            assert_eq!(client.packet().unwrap(), publish_packet("t", b"hello"));
        }
    }
}

/// A client need not wait for the answer to its request.
#[test]
fn frames_may_follow_the_request_at_once() {
    let house = house(|_| {});
    let mut bytes = request().into_bytes();
    bytes.extend(frame(0x82, &connect_packet(&unique_id())));
    for piece_bytes in [bytes.len(), 1, 10] {
        let mut stream = tcp(house.address);
        for piece in bytes.chunks(piece_bytes) {
            stream.write_all(piece).unwrap();
        }
        let (mut stream, response) = upgrade(stream, "");
        assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
        let mut frame = [0; 6];
        stream.read_exact(&mut frame).unwrap();
        assert_eq!(frame, [0x82, 4, 0x20, 2, 0, 0]);
    }
}

#[test]
fn pings_are_answered() {
    let house = house(|_| {});
    let mut client = Client::connect(WebSocketStream::open(tcp(house.address))).unwrap();
    for payload in [&b""[..], b"are you there?", &[7; 125]] {
        client.stream.send_frame(0x89, payload).unwrap();
        assert_eq!(client.stream.control(), Some((0xA, payload.to_vec())));
    }
    client.ping().unwrap();
}

#[test]
fn close_is_answered() {
    let house = house(|_| {});
    for payload in [&b""[..], &[0x03, 0xE8], &[0x0F, 0xA0], b"\x03\xE9going away"] {
        let mut client = Client::connect(WebSocketStream::open(tcp(house.address))).unwrap();
        client.stream.send_frame(0x88, payload).unwrap();
        let code = payload[..payload.len().min(2)].to_vec();
        assert_eq!(client.stream.control(), Some((0x8, code)));
        assert_eq!(client.stream.read(&mut [0]).unwrap(), 0);
    }
}

/// The broker ends a WebSocket in good order, after a DISCONNECT for one.
#[test]
fn broker_says_close() {
    let house = house(|_| {});
    let mut client = Client::connect(WebSocketStream::open(tcp(house.address))).unwrap();
    client.send(&[0xE0, 0]).unwrap();
    assert_eq!(client.stream.control(), Some((0x8, vec![0x03, 0xE8])));
    assert_eq!(client.stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn broken_rules_end_the_connection_with_a_code() {
    let house = house(|_| {});
    let mut good = Client::connect(WebSocketStream::open(tcp(house.address))).unwrap();
    let cases: [(&[u8], u16); 7] = [
        (&[0x82, 2, 0xC0, 0], 1002),
        (&frame(0x81, b"text"), 1003),
        (&frame(0xC2, b""), 1002),
        (&frame(0x83, b""), 1002),
        (&frame(0x80, b""), 1002),
        (&frame(0x09, b""), 1002),
        (&[0x89, 0xFE], 1002),
    ];
    for (bytes, code) in cases {
        let mut client = Client::connect(WebSocketStream::open(tcp(house.address))).unwrap();
        client.stream.inner.write_all(bytes).unwrap();
        let close = client.stream.control();
        assert_eq!(close, Some((0x8, code.to_be_bytes().to_vec())), "{bytes:02X?}");
        assert_eq!(client.stream.read(&mut [0]).unwrap(), 0);
    }
    good.ping().unwrap();
    assert_eq!(house.totals().transport_errors, 7);
}

#[test]
fn requests_that_are_not_right_are_refused() {
    let house = house(|listener| {
        listener.path = Some("/ws".to_owned());
        listener.allowed_origins = vec!["https://app.example.com".to_owned()];
    });
    let ask = |change: (&str, &str), expected: &str| {
        let request = request().replace("/mqtt", "/ws").replace(change.0, change.1);
        let (mut stream, response) = upgrade(tcp(house.address), &request);
        assert!(response.starts_with(&format!("HTTP/1.1 {expected}")), "{response}");
        if !expected.starts_with("101") {
            let mut body = String::new();
            stream.read_to_string(&mut body).unwrap();
            assert!(body.ends_with('\n'), "{body}");
        }
    };
    ask(("", ""), "101 ");
    ask(("Host:", "Origin: https://app.example.com\r\nHost:"), "101 ");
    ask(("Host:", "Origin: https://evil.example.com\r\nHost:"), "403 Forbidden");
    ask(("/ws", "/mqtt"), "404 Not Found");
    ask(("GET", "PUT"), "405 Method Not Allowed");
    ask(("Upgrade: websocket\r\n", ""), "426 Upgrade Required");
    ask(("mqtt", "chat"), "400 Bad Request");
    ask(("HTTP/1.1", "HTTP/1.0"), "505 ");
    ask(("GET /ws HTTP/1.1", "hello"), "400 Bad Request");
    ask(("Host:", &format!("Cookie: {}\r\nHost:", "x".repeat(9_000))), "431 ");
}

/// The address of a client behind a trusted proxy is what that says; others can say what they like.
#[test]
fn forwarded_clients_are_known_by_their_own_address() {
    journal::keep();
    for (trusted, expected) in
        [("127.0.0.0/8", "address=203.0.113.9:0"), ("10.0.0.0/8", "address=127.0.0.1:")]
    {
        let house = house(|listener| {
            let file = format!(
                "[[listener]]\naddress = \"127.0.0.1:0\"\nprotocol = \"websocket\"\nforwarded_for = {{ trusted = [\"{trusted}\"] }}"
            );
            *listener = house::listener_of(&file);
        });
        let request = request().replace(
            "Host:",
            "X-Forwarded-For: 1.2.3.4, 203.0.113.9\r\nX-Forwarded-For: 127.0.0.5\r\nHost:",
        );
        // Enough clients that some of them move to another shard.
        for _ in 0..4 {
            let request = if trusted.starts_with("127") {
                request.clone()
            } else {
                request.replace("203", "1")
            };
            let (stream, response) = upgrade(tcp(house.address), &request);
            assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
            let client_id = unique_id();
            let mut stream: TcpStream = stream;
            stream.write_all(&frame(0x82, &connect_packet(&client_id))).unwrap();
            stream.read_exact(&mut [0; 6]).unwrap();
            drop(stream);
            journal::expect(&["disconnected", &format!("client_id={client_id} "), expected]);
        }
    }
}

fn house(change: impl FnOnce(&mut Listener)) -> House {
    House::new(|listener, _| {
        listener.protocol = Protocol::WebSocket;
        change(listener);
    })
}
