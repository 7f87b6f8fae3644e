//! What a listener speaks TLS with: certificates, keys, authorities and lists of revocations, read from files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};

use super::identity::Identities;
use super::validity::{crl_issuer, expires_at, next_update};
use crate::config::{ClientCertificate, CrlExpiry, Tls, TlsVersion};

/// What the files of a listener make together.
#[derive(Debug)]
pub(super) struct Material {
    pub(super) config: Arc<ServerConfig>,
    pub(super) expiries: Vec<Expiry>,
}

/// When what is in a file expires: the first of it to go.
#[derive(Debug)]
pub(super) struct Expiry {
    pub(super) file: PathBuf,
    pub(super) of: Expiring,
    /// Since 1970.
    pub(super) at: Duration,
}

/// What expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiring {
    Certificate,
    /// A list of revocations, whose authority should have issued the next one by then.
    Crl,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MaterialError {
    pub(crate) file: PathBuf,
    /// A fragment of a sentence.
    pub(crate) why: String,
    /// It could not be read: what is in it may be right.
    pub(crate) is_unread: bool,
}

impl Material {
    /// Reads the files. Blocks: not for a shard.
    ///
    /// # Errors
    ///
    /// A file cannot be read, holds something else, or does not fit to the others.
    pub(super) fn load(settings: &Tls, protocol: &[u8]) -> Result<Self, MaterialError> {
        let provider = Arc::new(provider(settings)?);
        let mut expiries = Vec::new();
        let mut identities = Vec::new();
        for (certificate, key) in settings.certificates.iter().zip(&settings.keys) {
            let chain = certificates(certificate, &mut expiries)?;
            identities.push(Arc::new(identity(chain, key, &provider)?));
        }
        let versions: &[&SupportedProtocolVersion] = match settings.version_min {
            TlsVersion::V12 => &[&TLS13, &TLS12],
            TlsVersion::V13 => &[&TLS13],
        };
        let file = settings.certificates.first().cloned().unwrap_or_default();
        let verifier = client_verifier(settings, &provider, &mut expiries)?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|error| wrong(&file, error))?;
        let mut config = builder
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(Identities(identities)));
        config.alpn_protocols = vec![protocol.to_vec()];
        // What it takes to resume lies with the client, encrypted; the keys are random, change every six hours,
        // and go with this configuration: what is revoked by a reload cannot be resumed.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        // A client that is asked for its certificate shows it each time: nobody would look at that of a ticket
        // again, which may have expired since.
        if settings.client_cas.is_empty() {
            config.ticketer = Ticketer::new().map_err(|error| wrong(&file, error))?;
            config.send_tls13_tickets = 1;
        }
        Ok(Self { config: Arc::new(config), expiries })
    }
}

/// Logs what expires soon, or did, when the wall clock shows `now`, counted since 1970.
pub(super) fn warn_of_expiries(expiries: &[Expiry], now: Duration) {
    for Expiry { file, of, at } in expiries {
        let file = file.display();
        match (of, at.checked_sub(now)) {
            (Expiring::Certificate, None) => tracing::warn!(%file, "the certificate has expired"),
            (Expiring::Certificate, Some(left)) if left < WARNED_BEFORE => {
                let days = left.as_secs() / SECS_PER_DAY;
                tracing::warn!(%file, days, "the certificate expires soon");
            }
            (Expiring::Crl, None) => {
                tracing::warn!(%file, "the list of revoked certificates is out of date");
            }
            // Lists are renewed every few days: that one will be out of date soon is no news.
            (Expiring::Certificate | Expiring::Crl, Some(_)) => {}
        }
    }
}

fn provider(settings: &Tls) -> Result<CryptoProvider, MaterialError> {
    let mut provider = aws_lc_rs::default_provider();
    if settings.cipher_suites.is_empty() {
        return Ok(provider);
    }
    // rustls marks those of TLS 1.3 in the name, the registry does not.
    let name_of =
        |suite: &SupportedCipherSuite| format!("{:?}", suite.suite()).replace("TLS13_", "TLS_");
    let known = std::mem::take(&mut provider.cipher_suites);
    for name in &settings.cipher_suites {
        let Some(suite) = known.iter().find(|suite| name_of(suite) == *name) else {
            let names: Vec<_> = known.iter().map(name_of).collect();
            let why = format!("{name} is no cipher suite: there are {}", names.join(", "));
            return Err(wrong(Path::new("tls.cipher_suites"), why));
        };
        provider.cipher_suites.push(*suite);
    }
    Ok(provider)
}

/// Reads the certificates of a file, which has at least one.
fn certificates(
    file: &Path,
    expiries: &mut Vec<Expiry>,
) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let certificates: Vec<CertificateDer<'static>> = sections(file)?;
    if certificates.is_empty() {
        return Err(wrong(file, "there is no certificate in it"));
    }
    let first_to_go = certificates.iter().filter_map(|it| expires_at(it)).min();
    let of = Expiring::Certificate;
    expiries.extend(first_to_go.map(|at| Expiry { file: file.to_owned(), of, at }));
    Ok(certificates)
}

fn identity(
    chain: Vec<CertificateDer<'static>>,
    file: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, MaterialError> {
    let key = private_key(file)?;
    // Whether the key is that of the certificate is found out here too.
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => wrong(file, "it is not the key of the certificate"),
        error => wrong(file, error),
    })
}

fn client_verifier(
    settings: &Tls,
    provider: &Arc<CryptoProvider>,
    expiries: &mut Vec<Expiry>,
) -> Result<Arc<dyn ClientCertVerifier>, MaterialError> {
    let Some(first) = settings.client_cas.first() else {
        return Ok(WebPkiClientVerifier::no_client_auth());
    };
    let mut roots = RootCertStore::empty();
    for file in &settings.client_cas {
        for certificate in certificates(file, expiries)? {
            roots.add(certificate).map_err(|error| wrong(file, error))?;
        }
    }
    let mut crls: Vec<CertificateRevocationListDer<'static>> = Vec::new();
    for file in &settings.crls {
        crls.extend(revocations(file, &roots, expiries)?);
    }
    let file = settings.crls.first().unwrap_or(first);
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .with_crls(crls)
            // Policy: with several authorities, those without a list have revoked nothing.
            .allow_unknown_revocation_status();
    // Policy: a list that is out of date still says whom not to trust, and is warned of. Only who asks for it has
    // every client turned away because an authority is late.
    if settings.crl_expiry == CrlExpiry::Enforced {
        builder = builder.enforce_revocation_expiration();
    }
    if settings.client_certificate == Some(ClientCertificate::Optional) {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| wrong(file, error))
}

/// Reads the lists of revocations in a file, which has at least one.
fn revocations(
    file: &Path,
    roots: &RootCertStore,
    expiries: &mut Vec<Expiry>,
) -> Result<Vec<CertificateRevocationListDer<'static>>, MaterialError> {
    let crls: Vec<CertificateRevocationListDer<'static>> = sections(file)?;
    if crls.is_empty() {
        return Err(wrong(file, "there is no list of revoked certificates (X509 CRL) in it"));
    }
    let first_to_go = crls.iter().filter_map(|crl| next_update(crl)).min();
    expiries.extend(first_to_go.map(|at| Expiry { file: file.to_owned(), of: Expiring::Crl, at }));
    // It may be that of an intermediate authority, which clients send with their certificates: no mistake then.
    let is_of_root = |issuer| roots.roots.iter().any(|root| root.subject.as_ref() == issuer);
    if !crls.iter().filter_map(|crl| crl_issuer(crl)).all(is_of_root) {
        tracing::warn!(
            file = %file.display(),
            "a list of revoked certificates is of no authority of tls.client_ca: it says nothing of whom these issued"
        );
    }
    Ok(crls)
}

/// Reads what a file has of one kind; other kinds are passed over.
fn sections<T: PemObject>(file: &Path) -> Result<Vec<T>, MaterialError> {
    let text = contents(file)?;
    T::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(file, describe(&error)))
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, MaterialError> {
    let text = contents(file)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| wrong(file, describe(&error)))
}

fn contents(file: &Path) -> Result<Vec<u8>, MaterialError> {
    std::fs::read(file).map_err(|error| MaterialError { is_unread: true, ..wrong(file, error) })
}

fn describe(error: &rustls::pki_types::pem::Error) -> String {
    use rustls::pki_types::pem::Error;
    match error {
        Error::NoItemsFound => "there is no unencrypted private key in it".to_owned(),
        Error::MissingSectionEnd { .. } => "it is cut off, or not PEM".to_owned(),
        error => error.to_string(),
    }
}

fn wrong(file: &Path, why: impl fmt::Display) -> MaterialError {
    MaterialError { file: file.to_owned(), why: why.to_string(), is_unread: false }
}

/// The time before the expiry of a certificate from which on it is warned of.
const WARNED_BEFORE: Duration = Duration::from_secs(30 * SECS_PER_DAY);

const SECS_PER_DAY: u64 = 86_400;

impl fmt::Display for MaterialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.why)
    }
}
