//! Unix sockets.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};

use quelea_broker::StartError;
use quelea_broker::config::{Address, Listener, Protocol};

use crate::client::{Client, PATIENCE, connect_packet, unique_id};
use crate::house;
use crate::journal;
use crate::pki::Directory;
use crate::websocket_client::{WebSocketStream, frame, request, upgrade};

#[test]
fn messages_pass_and_the_file_goes() {
    let directory = Directory::new();
    let path = directory.path("mqtt.sock");
    let mut listener = Listener::at(Address::Unix(path.clone()));
    listener.unix.mode = 0o600;
    let broker = house::start(listener).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(broker.local_addrs().is_empty());

    // Enough clients that some of them move to another shard.
    let mut clients: Vec<_> = (0..8).map(|_| Client::connect(connect(&path)).unwrap()).collect();
    for client in &mut clients {
        client.subscribe("t").unwrap();
    }
    let payload = vec![7; 300_000];
    clients[0].publish("t", &payload).unwrap();
    for client in &mut clients {
        assert!(client.packet().unwrap().ends_with(&payload));
    }
    broker.stop();
    assert!(!path.exists());
}

#[test]
fn layers_lie_on_them_too() {
    let directory = Directory::new();
    let path = directory.path("ws.sock");
    let mut listener = Listener::at(Address::Unix(path.clone()));
    listener.protocol = Protocol::WebSocket;
    let broker = house::start(listener).unwrap();
    let mut client = Client::connect(WebSocketStream::open(connect(&path))).unwrap();
    client.ping().unwrap();
    drop(client);
    broker.stop();
}

/// Whoever may open the socket is believed, as a proxy that is trusted is.
#[test]
fn a_proxy_on_them_says_whom_it_speaks_for() {
    journal::keep();
    let directory = Directory::new();
    for (forwarded_for, expected) in [
        ("forwarded_for = { trusted = [\"10.0.0.1\"] }", "address=203.0.113.9:0"),
        ("", "address=unix"),
    ] {
        let path = directory.path("ws.sock");
        let broker = house::start(house::listener_of(&format!(
            "[[listener]]\naddress = \"unix:{}\"\nprotocol = \"websocket\"\n{forwarded_for}",
            path.display()
        )))
        .unwrap();
        let request = request().replace("Host:", "X-Forwarded-For: 203.0.113.9, 10.0.0.1\r\nHost:");
        let (mut stream, response) = upgrade(connect(&path), &request);
        assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
        let client_id = unique_id();
        stream.write_all(&frame(0x82, &connect_packet(&client_id))).unwrap();
        stream.read_exact(&mut [0; 6]).unwrap();
        drop(stream);
        journal::expect(&["disconnected", &format!("client_id={client_id} "), expected]);
        broker.stop();
    }
}

/// The file of a broker that was killed is in nobody's way; that of one that runs, and any other file, stays.
#[test]
fn only_what_nobody_listens_on_is_replaced() {
    let directory = Directory::new();
    let path = directory.path("mqtt.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let broker = house::start(Listener::at(Address::Unix(path.clone()))).unwrap();
    refuse(Listener::at(Address::Unix(path.clone())), "in use");
    assert!(fs::metadata(&path).unwrap().file_type().is_socket());
    broker.stop();

    let file = directory.write("file", &unique_id());
    refuse(Listener::at(Address::Unix(file.clone())), "no socket");
    assert!(file.exists());
    let mut listener = Listener::at(Address::Unix(path));
    listener.unix.owner = Some("nobody-of-this-name".to_owned());
    refuse(listener, "there is no user nobody-of-this-name");
    refuse(
        Listener::at(Address::Inherited("mqtt".to_owned())),
        "systemd has passed no such socket",
    );
}

fn connect(path: &std::path::Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[track_caller]
fn refuse(listener: Listener, why: &str) {
    match house::start(listener) {
        Err(error @ (StartError::Listen { .. } | StartError::Open { .. })) => {
            assert!(error.to_string().contains(why), "{error} instead of {why}");
        }
        Err(error) => panic!("{error} instead of {why}"),
        Ok(_) => panic!("it starts instead of {why}"),
    }
}
