//! TLS: who is let in, what is negotiated, and that all bytes arrive.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

use quelea_broker::StartError;
use quelea_broker::config::{ClientCertificate, Listener, Tls, TlsVersion};
use rcgen::date_time_ymd;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, HandshakeKind};
use socket2::SockRef;

use crate::client::{Client, connect_packet, publish_packet, tcp, tls, tls_to};
use crate::house::{self, House};
use crate::pki::{Authority, Directory, Identity, client_config, client_config_of};

#[test]
fn messages_pass_in_both_versions() {
    let ca = Authority::root("ca");
    let house = House::with_tls(&ca.issue("localhost"), |_, _| {});
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(client_config_of(&ca, None, &[version]));
        let open = || tls_to(house.address, &config, "localhost").unwrap();
        // Enough clients that some of them move to another shard.
        let mut subscribers: Vec<_> = (0..8).map(|_| Client::connect(open()).unwrap()).collect();
        for subscriber in &mut subscribers {
            subscriber.subscribe("a/#").unwrap();
        }
        let mut publisher = Client::connect(open()).unwrap();
        let large = vec![7; 300_000];
        for payload in [&b""[..], b"x", &large[..16_384], &large] {
            publisher.publish("a/b", payload).unwrap();
            for subscriber in &mut subscribers {
                let expected = publish_packet("a/b", payload);
                assert!(subscriber.packet().unwrap() == expected, "{} bytes", payload.len());
            }
        }
        assert_eq!(publisher.stream.conn.protocol_version(), Some(version.version));
    }
}

/// Records may hold any part of a packet, and arrive in any pieces.
#[test]
fn records_and_packets_need_not_match() {
    let ca = Authority::root("ca");
    let house = House::with_tls(&ca.issue("localhost"), |_, _| {});
    let mut stream = tls(house.address, client_config(&ca, None)).unwrap();
    for byte in connect_packet("bytes") {
        // Each byte in a record, and each record in two segments.
        stream.conn.writer().write_all(&[byte]).unwrap();
        let mut record = Vec::new();
        stream.conn.write_tls(&mut record).unwrap();
        let (head, tail) = record.split_at(7);
        stream.sock.write_all(head).unwrap();
        stream.sock.write_all(tail).unwrap();
    }
    let mut client = Client { stream };
    assert_eq!(client.packet().unwrap(), [0x20, 2, 0, 0]);
    client.subscribe("t").unwrap();
    let many: Vec<u8> = (0..1_000).flat_map(|_| publish_packet("t", b"hello")).collect();
    client.send(&many).unwrap();
    for _ in 0..1_000 {
        assert_eq!(client.packet().unwrap(), publish_packet("t", b"hello"));
    }
}

/// What a slow reader leaves unread waits, encrypted and not, and none of it is lost.
#[test]
fn output_waits_for_a_slow_reader() {
    let ca = Authority::root("ca");
    let house = House::with_tls(&ca.issue("localhost"), |_, _| {});
    let mut client =
        Client::connect(tls(house.address, client_config(&ca, None)).unwrap()).unwrap();
    // More than the sockets' buffers hold; and the broker reads on, since the answers are few.
    client.subscribe("big").unwrap();
    let payload = vec![1; 900_000];
    let mut publisher =
        Client::connect(tls(house.address, client_config(&ca, None)).unwrap()).unwrap();
    for _ in 0..8 {
        publisher.publish("big", &payload).unwrap();
        publisher.ping().unwrap();
        assert!(client.packet().unwrap() == publish_packet("big", &payload));
    }
    client.ping().unwrap();
}

/// Who has ended its own side still reads all that it was owed.
#[test]
fn output_waits_for_a_reader_that_says_no_more() {
    let ca = Authority::root("ca");
    let house = House::with_tls(&ca.issue("localhost"), |_, _| {});
    for _ in 0..5 {
        let stream = tls(house.address, client_config(&ca, None)).unwrap();
        SockRef::from(&stream.sock).set_recv_buffer_size(16_384).unwrap();
        let mut client = Client::connect(stream).unwrap();
        client.subscribe("big").unwrap();
        let payload = vec![1; 900_000];
        client.publish("big", &payload).unwrap();
        client.stream.conn.send_close_notify();
        client.stream.flush().unwrap();
        client.stream.sock.shutdown(Shutdown::Write).unwrap();
        assert!(client.packet().unwrap() == publish_packet("big", &payload));
        assert_eq!(client.stream.read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn clients_need_a_good_certificate() {
    let (ca, other) = (Authority::root("devices"), Authority::root("other devices"));
    let (intermediate, stranger) = (ca.intermediate("plant"), Authority::root("stranger"));
    let servers = Authority::root("servers");
    let revoked = ca.issue("revoked");
    let house = House::with_tls(&servers.issue("localhost"), |tls, directory| {
        tls.client_cas = vec![
            directory.write("ca.pem", &ca.certificate.pem()),
            directory.write("other.pem", &other.certificate.pem()),
        ];
        tls.crls = vec![directory.write("crl.pem", &ca.revoke(&[&revoked]))];
    });
    let expired = ca.issue_with("expired", |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let early = ca.issue_with("early", |params| {
        params.not_before = date_time_ymd(2090, 1, 1);
        params.not_after = date_time_ymd(2091, 1, 1);
    });
    let check = |identity: Option<&Identity>, expected: Result<(), &str>| {
        for version in [&TLS12, &TLS13] {
            let config = client_config_of(&servers, identity, &[version]);
            let outcome =
                tls(house.address, config).and_then(|stream| Client::connect(stream)?.ping());
            match (outcome, expected) {
                (Ok(()), Ok(())) => {}
                (Err(error), Err(alert)) => {
                    assert!(error.to_string().contains(alert), "{error} is not {alert}");
                }
                (outcome, expected) => panic!("{outcome:?} instead of {expected:?}"),
            }
        }
    };
    check(Some(&ca.issue("good")), Ok(()));
    check(Some(&other.issue("good too")), Ok(()));
    check(Some(&intermediate.issue("through an intermediate")), Ok(()));
    check(None, Err("CertificateRequired"));
    check(Some(&expired), Err("CertificateExpired"));
    check(Some(&early), Err("CertificateExpired"));
    check(Some(&revoked), Err("CertificateRevoked"));
    check(Some(&stranger.issue("stranger")), Err("UnknownCA"));
    check(Some(&Identity::self_signed("nobody's")), Err("UnknownCA"));
}

#[test]
fn certificate_may_be_optional() {
    let (ca, servers) = (Authority::root("devices"), Authority::root("servers"));
    let house = House::with_tls(&servers.issue("localhost"), |tls, directory| {
        tls.client_cas = vec![directory.write("ca.pem", &ca.certificate.pem())];
        tls.client_certificate = Some(ClientCertificate::Optional);
    });
    let connect = |identity: Option<&Identity>| {
        let stream = tls(house.address, client_config(&servers, identity))?;
        Client::connect(stream)?.ping()
    };
    connect(None).unwrap();
    connect(Some(&ca.issue("good"))).unwrap();
    connect(Some(&Identity::self_signed("bad"))).expect_err("one that is shown must be good");
}

#[test]
fn version_and_ciphers_can_be_restricted() {
    let ca = Authority::root("ca");
    let house = House::with_tls(&ca.issue("localhost"), |tls, _| {
        tls.version_min = TlsVersion::V13;
        tls.cipher_suites = vec!["TLS_CHACHA20_POLY1305_SHA256".to_owned()];
    });
    let old = tls(house.address, client_config_of(&ca, None, &[&TLS12]));
    assert!(old.unwrap_err().to_string().contains("ProtocolVersion"));
    let stream = tls(house.address, client_config(&ca, None)).unwrap();
    let suite = stream.conn.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    Client::connect(stream).unwrap().ping().unwrap();
}

#[test]
fn alpn_is_mqtt() {
    let ca = Authority::root("ca");
    let house = House::with_tls(&ca.issue("localhost"), |_, _| {});
    let connect = |protocol: &str| {
        let mut config = client_config(&ca, None);
        config.alpn_protocols = vec![protocol.into()];
        tls(house.address, config)
    };
    assert_eq!(connect("mqtt").unwrap().conn.alpn_protocol(), Some(&b"mqtt"[..]));
    assert!(connect("h2").unwrap_err().to_string().contains("NoApplicationProtocol"));
}

/// The certificate is that of the host that the client names; the first one when there is none.
#[test]
fn sni_chooses_the_certificate() {
    let ca = Authority::root("ca");
    let house = House::with_tls(&ca.issue("localhost"), |tls, directory| {
        let (certificate, key) = ca.issue("*.example.org").write(directory, "second");
        tls.certificates.push(certificate);
        tls.keys.push(key);
    });
    let config = Arc::new(client_config(&ca, None));
    let connect = |name: &str| tls_to(house.address, &config, name);
    connect("localhost").unwrap();
    connect("mqtt.example.org").unwrap();
    let error = connect("example.com").unwrap_err();
    assert!(error.to_string().contains("only valid for DnsName(\"localhost\")"), "{error}");
}

#[test]
fn sessions_are_resumed() {
    let ca = Authority::root("ca");
    let house = House::with_tls(&ca.issue("localhost"), |_, _| {});
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(client_config_of(&ca, None, &[version]));
        let mut kinds = Vec::new();
        for _ in 0..3 {
            let mut client =
                Client::connect(tls_to(house.address, &config, "localhost").unwrap()).unwrap();
            client.ping().unwrap();
            kinds.push(client.stream.conn.handshake_kind().unwrap());
        }
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed]);
    }
}

#[test]
fn listener_has_a_limit_of_its_own() {
    let ca = Authority::root("ca");
    let house = House::new(|listener, directory| {
        listener.tls = Some(house::tls(&ca.issue("localhost"), directory));
        listener.connections_max = Some(2);
    });
    let config = Arc::new(client_config(&ca, None));
    let connect = || Client::connect(tls_to(house.address, &config, "localhost")?);
    let first = connect().unwrap();
    let mut second = connect().unwrap();
    connect().err().expect("there are two already");
    drop(first);
    // The broker learns of the end in its own time.
    while connect().is_err() {}
    second.ping().unwrap();
}

/// A client that says goodbye is told by TLS that there was nothing more to read.
#[test]
fn end_is_said_in_tls() {
    let ca = Authority::root("ca");
    let house = House::with_tls(&ca.issue("localhost"), |_, _| {});
    let mut client =
        Client::connect(tls(house.address, client_config(&ca, None)).unwrap()).unwrap();
    client.send(&[0xE0, 0]).unwrap();
    assert_eq!(client.stream.read(&mut [0]).unwrap(), 0, "without close_notify this is an error");
}

/// What is no TLS is answered with an alert, counted, and does not disturb anyone.
#[test]
fn nonsense_is_refused() {
    let ca = Authority::root("ca");
    let house = House::with_tls(&ca.issue("localhost"), |_, _| {});
    let mut good = Client::connect(tls(house.address, client_config(&ca, None)).unwrap()).unwrap();
    for nonsense in
        [&connect_packet("plain")[..], b"GET / HTTP/1.1\r\n\r\n", &[0x16, 3, 1, 0xFF, 0xFF]]
    {
        let mut stream = tcp(house.address);
        stream.write_all(nonsense).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer[0], 0x15, "{answer:?} is no alert");
    }
    good.ping().unwrap();
    // The alert leaves before it is counted.
    while house.totals().transport_errors < 3 {
        std::thread::yield_now();
    }
    assert_eq!(house.totals().transport_errors, 3);
}

#[test]
fn files_that_are_not_right_are_refused() {
    let (directory, ca) = (Directory::new(), Authority::root("ca"));
    let identity = ca.issue("localhost");
    let good = house::tls(&identity, &directory);
    let refuse = |change: &dyn Fn(&mut Tls), expected: &str| {
        let mut listener = Listener::new(([127, 0, 0, 1], 0).into());
        let tls = listener.tls.insert(good.clone());
        change(tls);
        match house::start(listener) {
            Err(error @ StartError::Tls { .. }) => {
                assert!(error.to_string().contains(expected), "{error} instead of {expected}");
            }
            Err(error) => panic!("{error} instead of {expected}"),
            Ok(_) => panic!("it starts instead of {expected}"),
        }
    };
    let file = |name: &str, text: &str| vec![directory.write(name, text)];
    let pem = identity.pem();
    let half = file("half.pem", &pem[..pem.len() / 2]);
    let empty = file("empty.pem", "");
    let (_, other_key) = ca.issue("other").write(&directory, "other");

    refuse(&|tls| tls.certificates = vec![directory.path("none.pem")], "none.pem: No such file");
    refuse(&|tls| tls.certificates = half.clone(), "half.pem: it is cut off, or not PEM");
    refuse(&|tls| tls.certificates = empty.clone(), "empty.pem: there is no certificate in it");
    refuse(&|tls| tls.keys = empty.clone(), "empty.pem: there is no unencrypted private key in it");
    refuse(&|tls| tls.keys = vec![other_key.clone()], "other.key: it is not the key of");
    refuse(&|tls| tls.client_cas = empty.clone(), "empty.pem: there is no certificate in it");
    refuse(&|tls| tls.cipher_suites = vec!["RC4".to_owned()], "RC4 is no cipher suite");
    refuse(
        &|tls| {
            tls.client_cas = tls.certificates.clone();
            tls.crls = tls.certificates.clone();
        },
        "server.pem: there is no list of revoked certificates",
    );
}
