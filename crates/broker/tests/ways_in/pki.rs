//! Certificates made for a test, as files of a directory that goes with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, DnType,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams,
    SerialNumber, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

/// A directory of its own, gone when it is dropped.
pub(crate) struct Directory(PathBuf);

/// A certificate with its key, and the chain up to an authority.
pub(crate) struct Identity {
    pub(crate) certificate: Certificate,
    pub(crate) key: KeyPair,
    pub(crate) serial: SerialNumber,
    chain: Vec<Certificate>,
}

/// Who issues certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) certificate: Certificate,
    /// Empty for a root.
    chain: Vec<Certificate>,
}

impl Directory {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("quelea-ways-{}-{count}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl AsRef<Path> for Directory {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Authority {
    pub(crate) fn root(name: &str) -> Self {
        let (params, key) = (authority_params(name), KeyPair::generate().unwrap());
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), certificate, chain: Vec::new() }
    }

    /// Makes an authority that this one vouches for.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        let (params, key) = (authority_params(name), KeyPair::generate().unwrap());
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let mut chain = vec![certificate.clone()];
        chain.extend(self.chain.iter().cloned());
        Self { issuer: Issuer::new(params, key), certificate, chain }
    }

    /// Issues a good certificate.
    pub(crate) fn issue(&self, name: &str) -> Identity {
        self.issue_with(name, |_| {})
    }

    /// Issues a certificate, as `change` would have it.
    pub(crate) fn issue_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let (params, serial, key) = identity_params(name, change);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { certificate, key, serial, chain: self.chain.clone() }
    }

    /// Issues the list of those that are good no more.
    pub(crate) fn revoke(&self, revoked: &[&Identity]) -> String {
        self.revoke_until(2090, revoked)
    }

    /// Issues such a list, which another should follow at the beginning of `year`.
    pub(crate) fn revoke_until(&self, year: i32, revoked: &[&Identity]) -> String {
        let revoked_certs = revoked.iter().map(|it| RevokedCertParams {
            serial_number: it.serial.clone(),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 2),
            next_update: date_time_ymd(year, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

impl Identity {
    /// Makes a certificate that nobody vouches for.
    pub(crate) fn self_signed(name: &str) -> Self {
        let (params, serial, key) = identity_params(name, |_| {});
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, key, serial, chain: Vec::new() }
    }

    /// Returns the certificate and its chain, in PEM.
    pub(crate) fn pem(&self) -> String {
        let chain: String = self.chain.iter().map(Certificate::pem).collect();
        self.certificate.pem() + &chain
    }

    /// Writes certificate and key to files.
    pub(crate) fn write(&self, directory: &Directory, name: &str) -> (PathBuf, PathBuf) {
        let certificate = directory.write(&format!("{name}.pem"), &self.pem());
        (certificate, directory.write(&format!("{name}.key"), &self.key.serialize_pem()))
    }

    fn for_client(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let certificates = std::iter::once(&self.certificate).chain(&self.chain);
        let key = PrivatePkcs8KeyDer::from(self.key.serialize_der());
        (certificates.map(|it| it.der().clone()).collect(), key.into())
    }
}

/// Makes what a client trusts and shows.
pub(crate) fn client_config(trusted: &Authority, identity: Option<&Identity>) -> ClientConfig {
    client_config_of(trusted, identity, &[&TLS12, &TLS13])
}

/// Makes the same for a client that speaks only `versions`.
pub(crate) fn client_config_of(
    trusted: &Authority,
    identity: Option<&Identity>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    match identity.map(Identity::for_client) {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        None => builder.with_no_client_auth(),
    }
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params
}

fn identity_params(
    name: &str,
    change: impl FnOnce(&mut CertificateParams),
) -> (CertificateParams, SerialNumber, KeyPair) {
    static SERIAL: AtomicUsize = AtomicUsize::new(1);
    let serial = SerialNumber::from(SERIAL.fetch_add(1, Ordering::Relaxed) as u64);
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(serial.clone());
    change(&mut params);
    (params, serial, KeyPair::generate().unwrap())
}
