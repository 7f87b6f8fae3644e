//! The PROXY protocol: clients behind a proxy of TCP.

use std::io::{ErrorKind, Read, Write};
use std::time::Instant;

use quelea_broker::config::Rates;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::client::{Client, PATIENCE, connect_packet, tcp, unique_id};
use crate::house::{self, House};
use crate::journal;
use crate::pki::{Authority, client_config};
use crate::websocket_client::{WebSocketStream, request, upgrade};

#[test]
fn clients_are_known_by_their_own_address() {
    journal::keep();
    let house = house_for("127.0.0.1");
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0C\xCB\0\x71\x09\x0A\0\0\x01\x12\x67\x22\xB3";
    let v1 = b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 8883\r\n";
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
    let cases: [(&[u8], &str); 3] = [
        (v1, "address=203.0.113.9:4711"),
        (v2, "address=203.0.113.9:4711"),
        (local, "address=127.0.0.1:"),
    ];
    for (header, expected) in cases {
        for piece_bytes in [1, 7, 1_000] {
            let client_id = unique_id();
            let bytes = [header, &connect_packet(&client_id)].concat();
            let mut stream = tcp(house.address);
            for piece in bytes.chunks(piece_bytes) {
                stream.write_all(piece).unwrap();
            }
            let mut client = Client { stream };
            assert_eq!(client.packet().unwrap(), [0x20, 2, 0, 0]);
            client.ping().unwrap();
            drop(client);
            journal::expect(&["disconnected", &format!("client_id={client_id} "), expected]);
        }
    }
}

/// The header comes before TLS.
#[test]
fn tls_follows_the_header() {
    let ca = Authority::root("ca");
    let house = House::new(|listener, directory| {
        *listener = listener_for("127.0.0.0/8");
        listener.tls = Some(house::tls(&ca.issue("localhost"), directory));
    });
    let mut stream = tcp(house.address);
    stream.write_all(b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n").unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(client_config(&ca, None).into(), name).unwrap();
    let mut client = Client::connect(StreamOwned::new(connection, stream)).unwrap();
    client.ping().unwrap();
}

/// Who looks for whom a failure is about does not find the proxy.
#[test]
fn failures_are_logged_with_the_address_of_the_client() {
    journal::keep();
    let ca = Authority::root("ca");
    let house = House::new(|listener, directory| {
        *listener = listener_for("127.0.0.1");
        listener.tls = Some(house::tls(&ca.issue("localhost"), directory));
    });
    let mut stream = tcp(house.address);
    stream.write_all(b"PROXY TCP4 198.51.100.77 10.0.0.1 4711 8883\r\nno TLS").unwrap();
    journal::expect(&["connection refused", "address=198.51.100.77:4711"]);
}

/// Limits of source addresses are about the clients' own, whatever the proxies'.
#[test]
fn each_counts_with_its_own_address() {
    let rates = Rates { address_connections_max: Some(2), ..Rates::default() };
    let house = House::with_rates(listener_for("127.0.0.1"), rates.clone());
    check_places(|client| {
        let mut stream = tcp(house.address);
        let header = format!("PROXY TCP4 {client} 10.0.0.1 4711 8883\r\n");
        stream.write_all(header.as_bytes()).unwrap();
        Client::connect(stream).ok()
    });
    let text = "[[listener]]\naddress = \"127.0.0.1:0\"\nprotocol = \"websocket\"\n\
                forwarded_for = { trusted = [\"127.0.0.1\"] }";
    let house = House::with_rates(house::listener_of(text), rates);
    check_places(|client| {
        let request = request().replace("Host:", &format!("X-Forwarded-For: {client}\r\nHost:"));
        let (stream, response) = upgrade(tcp(house.address), &request);
        response.starts_with("HTTP/1.1 101 ").then_some(())?;
        Client::connect(WebSocketStream::upgraded(stream)).ok()
    });
}

/// Connects clients by their addresses, each of which has two places.
fn check_places<S: Read + Write>(connect: impl Fn(&str) -> Option<Client<S>>) {
    let [first, _second] = [0, 1].map(|_| connect("203.0.113.9").expect("there is a place"));
    assert!(connect("203.0.113.9").is_none(), "the third is one too many");
    let _others = [10, 11, 12].map(|it| connect(&format!("203.0.113.{it}")).expect("another's"));
    drop(first);
    let deadline = Instant::now() + PATIENCE;
    while connect("203.0.113.9").is_none() {
        assert!(Instant::now() < deadline, "the place is never free again");
    }
}

#[test]
fn others_may_not_connect() {
    let house = house_for("10.0.0.0/8");
    let mut stream = tcp(house.address);
    // It may be closed before or after this.
    let _ = stream.write_all(b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 8883\r\n");
    match stream.read(&mut [0]) {
        Ok(bytes) => assert_eq!(bytes, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

#[test]
fn what_is_no_header_is_refused() {
    let house = house_for("127.0.0.1");
    for wrong in [&connect_packet("plain")[..], b"PROXY TCP4 nonsense\r\n", &[b'x'; 10_000]] {
        let mut stream = tcp(house.address);
        // It may be closed before all is written.
        let _ = stream.write_all(wrong);
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    }
    while house.totals().transport_errors < 3 {
        std::thread::yield_now();
    }
}

fn house_for(trusted: &str) -> House {
    House::new(|listener, _| *listener = listener_for(trusted))
}

fn listener_for(trusted: &str) -> quelea_broker::config::Listener {
    house::listener_of(&format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\nproxy_protocol = {{ trusted = [\"{trusted}\"] }}"
    ))
}
