//! TLS: whom the client trusts, and how it shows who it is.

use std::sync::Arc;

use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::error::StartError;

/// Whom the client trusts with `mqtts`, and with which certificate it shows who it is.
///
/// Without more it trusts whom the system trusts.
#[derive(Clone, Default)]
pub struct Tls {
    trust: Trust,
    identity: Option<Identity>,
    config: Option<Arc<ClientConfig>>,
}

#[derive(Clone, Default)]
enum Trust {
    #[default]
    System,
    /// These certificate authorities alone.
    Own(Vec<u8>),
}

/// Certificate chain and private key, in PEM.
#[derive(Clone)]
struct Identity {
    certificates: Vec<u8>,
    key: Vec<u8>,
}

impl Tls {
    /// Trusts whom the system trusts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts these certificate authorities, in PEM, and no others.
    #[must_use]
    pub fn ca_pem(self, certificates: impl Into<Vec<u8>>) -> Self {
        Self { trust: Trust::Own(certificates.into()), ..self }
    }

    /// Shows this certificate, with those that lead to its authority, and its private key; both in PEM.
    #[must_use]
    pub fn identity_pem(self, certificates: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        let identity = Identity { certificates: certificates.into(), key: key.into() };
        Self { identity: Some(identity), ..self }
    }

    /// Uses a configuration of rustls as it is, for all that the other settings cannot say.
    #[must_use]
    pub fn rustls(self, config: Arc<ClientConfig>) -> Self {
        Self { config: Some(config), ..self }
    }

    /// Returns the configuration to connect with.
    pub(crate) fn build(&self) -> Result<Arc<ClientConfig>, StartError> {
        if let Some(config) = &self.config {
            return Ok(Arc::clone(config));
        }
        // Named, because an application may have another one as its default, or none.
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(fault)?
            .with_root_certificates(self.roots()?);
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(Identity { certificates, key }) => {
                let key = PrivateKeyDer::from_pem_slice(key).map_err(fault)?;
                builder.with_client_auth_cert(certificates_of(certificates)?, key).map_err(fault)?
            }
        };
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, StartError> {
        let mut roots = RootCertStore::empty();
        match &self.trust {
            Trust::Own(pem) => {
                for certificate in certificates_of(pem)? {
                    roots.add(certificate).map_err(fault)?;
                }
            }
            Trust::System => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() {
                    return Err(StartError::Tls(
                        "the system trusts no certificate authority: install its ca-certificates, or set \
                         Tls::ca_pem"
                            .to_owned(),
                    ));
                }
            }
        }
        Ok(roots)
    }
}

fn certificates_of(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(fault)?;
    if certificates.is_empty() {
        return Err(StartError::Tls("there is no certificate in the PEM text".to_owned()));
    }
    Ok(certificates)
}

fn fault(error: impl std::fmt::Display) -> StartError {
    StartError::Tls(error.to_string())
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the private key.
        f.debug_struct("Tls")
            .field("has_identity", &self.identity.is_some())
            .finish_non_exhaustive()
    }
}
