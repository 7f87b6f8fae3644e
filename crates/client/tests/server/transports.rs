//! What carries MQTT: TLS, and sockets of this machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quelea_broker::Extensions;
use quelea_broker::config::{Listener, Protocol};
use quelea_client::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use quelea_client::rustls::server::WebPkiClientVerifier;
use quelea_client::rustls::{RootCertStore, ServerConfig, crypto};
use quelea_client::{Client, Options, Proxy, Publish, Tls};
use rcgen::{CertificateParams, Issuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_rustls::TlsAcceptor;

use crate::support::house::House;
use crate::support::soon;

#[tokio::test]
async fn tls_with_an_authority_and_an_identity_of_our_own() {
    let authority = Authority::new();
    let house = House::new();
    let port = serve_tls(&authority, house.address).await;
    let url = format!("mqtts://localhost:{port}");
    let (certificate, key) = authority.issue("client");
    let tls = Tls::new().ca_pem(authority.pem.clone()).identity_pem(certificate, key);
    let client = Client::connect(&url, Options::new().tls(tls)).await.unwrap();
    let handle = client.publish(&Publish::new("t", "")).await.unwrap();
    soon("the acknowledgement", handle).await.unwrap();

    // Another authority is not trusted.
    let tls = Tls::new().ca_pem(Authority::new().pem);
    let error = Client::connect(&url, Options::new().tls(tls)).await.expect_err("not trusted");
    assert!(error.to_string().contains("TLS") && error.to_string().contains("ca_pem"), "{error}");

    // Who shows no certificate is not let in.
    let tls = Tls::new().ca_pem(authority.pem.clone());
    Client::connect(&url, Options::new().tls(tls)).await.expect_err("no certificate");
}

#[tokio::test]
async fn certificates_that_are_none() {
    let tls = Tls::new().ca_pem("this is no certificate");
    let error = Client::start("mqtts://localhost", Options::new().tls(tls)).expect_err("no PEM");
    assert!(error.to_string().contains("no certificate in the PEM"), "{error}");
}

#[tokio::test]
async fn sockets_of_this_machine() {
    let house = House::new();
    let path = std::env::temp_dir().join(format!("quelea-client-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let address = house.address;
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut broker = TcpStream::connect(address).await.unwrap();
        let _ = copy_bidirectional(&mut client, &mut broker).await;
    });
    let url = format!("unix://{}", path.display());
    let client = Client::connect(&url, Options::new()).await.unwrap();
    let handle = client.publish(&Publish::new("t", "")).await.unwrap();
    soon("the acknowledgement", handle).await.unwrap();
    std::fs::remove_file(&path).unwrap();
}

/// [MQTT-6.0.0-3]
/// [MQTT-6.0.0-1, MQTT-6.0.0-2] v3.1.1 [MQTT-6.0.0-1, MQTT-6.0.0-2, MQTT-6.0.0-3]
#[tokio::test]
async fn websocket_with_messages_of_every_size() {
    let house = House::with(
        |config| {
            let mut listener = Listener::new(([127, 0, 0, 1], 0).into());
            listener.protocol = Protocol::WebSocket;
            config.listeners = vec![listener];
        },
        Extensions::default(),
    );
    let url = format!("ws://{}", house.address);
    let client = Client::connect(&url, Options::new()).await.unwrap();
    let mut messages = client.subscribe("t").await.unwrap();
    for length in [0, 100, 126, 10_000, 65_536, 1_000_000] {
        let payload: Vec<u8> = (0..length).map(|it| it as u8).collect();
        drop(client.publish(&Publish::new("t", &payload)).await.unwrap());
        let message = soon("a message", messages.next()).await.unwrap();
        assert!(message.payload() == payload, "{length} bytes");
    }
    assert_eq!(soon("the close", client.close(Duration::from_secs(60))).await, 0);
    let error = Client::connect(&format!("{url}/elsewhere"), Options::new()).await;
    let error = error.expect_err("nothing is there");
    assert!(error.to_string().contains("/elsewhere"), "{error}");
}

#[tokio::test]
async fn proxies_lead_to_the_broker() {
    let house = House::new();
    let port = house.address.port();
    let http = serve_proxy(
        house.address,
        vec![(
            format!(
                "CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\
                 Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n\r\n"
            )
            .into_bytes(),
            b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n".to_vec(),
        )],
    );
    let mut connect = vec![5, 1, 0, 3, 9];
    connect.extend_from_slice(b"127.0.0.1");
    connect.extend_from_slice(&port.to_be_bytes());
    let socks = serve_proxy(
        house.address,
        vec![
            (vec![5, 1, 2], vec![5, 2]),
            (b"\x01\x04user\x06secret".to_vec(), vec![1, 0]),
            (connect, vec![5, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
        ],
    );
    for proxy in [
        format!("http://user:secret@{}", http.await),
        format!("socks5://user:secret@{}", socks.await),
    ] {
        let options = Options::new().proxy(Proxy::new(&proxy).unwrap());
        let client = Client::connect(&house.url(), options).await.unwrap();
        let handle = client.publish(&Publish::new("t", "")).await.unwrap();
        soon("the acknowledgement", handle).await.unwrap();
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_says_so() {
    let request = b"CONNECT nowhere:1883 HTTP/1.1\r\nHost: nowhere:1883\r\n\r\n".to_vec();
    let answer = b"HTTP/1.1 403 Forbidden\r\n\r\n".to_vec();
    let address = serve_proxy(([127, 0, 0, 1], 1).into(), vec![(request, answer)]).await;
    let options = Options::new().proxy(Proxy::new(&format!("http://{address}")).unwrap());
    let error = Client::connect("mqtt://nowhere", options).await.expect_err("it is forbidden");
    assert!(error.to_string().contains("403 Forbidden"), "{error}");
    assert!(error.to_string().contains("the proxy"), "{error}");
}

/// Serves one connection after the other: what is said and answered first, and then the broker at `target`.
async fn serve_proxy(target: SocketAddr, script: Vec<(Vec<u8>, Vec<u8>)>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        for (expected, answer) in script {
            let mut received = vec![0; expected.len()];
            client.read_exact(&mut received).await.unwrap();
            assert_eq!(received, expected);
            client.write_all(&answer).await.unwrap();
        }
        if let Ok(mut broker) = TcpStream::connect(target).await {
            let _ = copy_bidirectional(&mut client, &mut broker).await;
        }
    });
    address
}

/// A certificate authority, for one test.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Returns certificate and key of `name`, in PEM.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// Serves the broker at `target` over TLS, to clients with a certificate of `authority`. Returns the port.
async fn serve_tls(authority: &Authority, target: SocketAddr) -> u16 {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut roots = RootCertStore::empty();
    let trusted = rcgen_der(&authority.pem);
    roots.add(trusted).unwrap();
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(mut client) = acceptor.accept(client).await
                    && let Ok(mut broker) = TcpStream::connect(target).await
                {
                    let _ = copy_bidirectional(&mut client, &mut broker).await;
                }
            });
        }
    });
    port
}

fn rcgen_der(pem: &str) -> quelea_client::rustls::pki_types::CertificateDer<'static> {
    use quelea_client::rustls::pki_types::pem::PemObject;
    PemObject::from_pem_slice(pem.as_bytes()).unwrap()
}
