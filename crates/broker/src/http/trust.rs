//! Whom a service has to be by its certificate, and who the broker is to it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::Url;

/// What to speak TLS with to a service.
#[derive(Clone)]
pub(crate) struct Trust {
    /// Absent for a service without TLS.
    config: Option<Arc<ClientConfig>>,
}

/// The files that say whom to trust.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TrustFiles<'a> {
    /// Authorities, of which one has issued the service's certificate. Without it those that the system trusts.
    pub(crate) authorities: Option<&'a Path>,
    /// The broker's certificate and its key, for a service that asks for one.
    pub(crate) identity: Option<(&'a Path, &'a Path)>,
}

/// What is in the way of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrustError {
    /// The file, if it is one's fault.
    pub(crate) file: Option<PathBuf>,
    /// A fragment of a sentence.
    pub(crate) why: String,
}

impl Trust {
    /// Reads what it takes to ask `url`. Blocks: not for a shard.
    ///
    /// # Errors
    ///
    /// A file is not what it should be, or the system trusts nobody.
    pub(crate) fn load(url: &Url, files: TrustFiles<'_>) -> Result<Self, TrustError> {
        if !url.is_tls() {
            return Ok(Self { config: None });
        }
        let roots = match files.authorities {
            Some(file) => authorities_of(file)?,
            None => authorities_of_system()?,
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| TrustError { file: None, why: error.to_string() })?
            .with_root_certificates(roots);
        let mut config = match files.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates(certificate)?;
                let private = PrivateKeyDer::from_pem_file(key)
                    .map_err(|_| wrong(key, "there is no unencrypted private key in it"))?;
                builder.with_client_auth_cert(chain, private).map_err(|error| wrong(key, error))?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Some(Arc::new(config)) })
    }

    pub(super) fn connector(self) -> Option<TlsConnector> {
        self.config.map(TlsConnector::from)
    }
}

fn authorities_of(file: &Path) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| wrong(file, error))?;
    }
    Ok(roots)
}

fn authorities_of_system() -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        let errors = found.errors.first().map(|it| format!(": {it}")).unwrap_or_default();
        let why = format!("this system has no certificate authorities to trust{errors}");
        return Err(TrustError { file: None, why });
    }
    Ok(roots)
}

/// Reads the certificates of a file, which has at least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let text = std::fs::read(file).map_err(|error| wrong(file, error))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(wrong(file, "there is no certificate in it")),
        Ok(found) => Ok(found),
        Err(error) => Err(wrong(file, error)),
    }
}

fn wrong(file: &Path, why: impl fmt::Display) -> TrustError {
    TrustError { file: Some(file.to_owned()), why: why.to_string() }
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}: {}", file.display(), self.why),
            None => f.write_str(&self.why),
        }
    }
}

impl std::error::Error for TrustError {}
