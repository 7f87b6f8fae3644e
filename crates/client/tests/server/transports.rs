//! What carries MQTT: TLS, and sockets of this machine.

use std::sync::Arc;

use quelea_client::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use quelea_client::rustls::server::WebPkiClientVerifier;
use quelea_client::rustls::{RootCertStore, ServerConfig, crypto};
use quelea_client::{Client, Options, Publish, Tls};
use rcgen::{CertificateParams, Issuer, KeyPair};
use tokio::io::copy_bidirectional;
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
async fn serve_tls(authority: &Authority, target: std::net::SocketAddr) -> u16 {
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
