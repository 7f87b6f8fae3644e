//! The way to a broker: the host, the port, and what lies between the connection and MQTT.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{self, CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use crate::failure::Failure;

/// The flags of TLS.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TlsArgs {
    /// Speaks TLS, and trusts the authorities in this file (PEM). With a URL of mqtts:// or wss:// the system's are
    /// trusted by default.
    #[arg(long, value_name = "FILE")]
    pub(crate) cafile: Option<PathBuf>,

    /// Speaks TLS, and trusts the authorities in the files of this directory that end in .crt or .pem.
    #[arg(long, value_name = "DIR")]
    pub(crate) capath: Option<PathBuf>,

    /// Speaks TLS, and trusts the authorities that the system trusts, beside others that are named.
    #[arg(long)]
    pub(crate) tls_use_os_certs: bool,

    /// Speaks TLS, and shows this certificate with its chain (PEM).
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,

    /// The private key of the certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,

    /// Speaks TLS, though the broker's certificate names another host. Without an authority it may be anybody's: only for
    /// tests.
    #[arg(long)]
    pub(crate) insecure: bool,

    /// The only version of TLS to speak: tlsv1.2 or tlsv1.3. [default: the highest that the broker speaks]
    #[arg(long, value_name = "VERSION", value_parser = tls_version)]
    pub(crate) tls_version: Option<TlsVersion>,

    /// The protocol to ask for (ALPN), where one port has several.
    #[arg(long, value_name = "PROTOCOL")]
    pub(crate) tls_alpn: Option<String>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsVersion {
    V12,
    V13,
}

/// The way to a broker.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    /// Host name or address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What TLS is spoken with, if it is spoken.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// Where MQTT is, if it is spoken over WebSocket.
    pub(crate) path: Option<String>,
}

/// Whether TLS sessions of earlier connections are gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resume {
    /// Where the broker offers it.
    Offered,
    /// Each connection is as if it were the first.
    Never,
}

impl Way {
    /// Reads a host or a URL, with what the flags say.
    pub(crate) fn new(
        host: &str,
        port: Option<u16>,
        flags: &TlsArgs,
        resume: Resume,
    ) -> Result<Self, Failure> {
        let place = Place::read(host).map_err(Failure::usage)?;
        let port = place.port.or(port);
        let wants_tls = flags.ask_for_tls();
        let scheme = match place.scheme {
            Some(scheme) => scheme,
            // Nobody serves anything else there.
            None if wants_tls || port == Some(Scheme::Mqtts.port()) => Scheme::Mqtts,
            None => Scheme::Mqtt,
        };
        if wants_tls && !scheme.has_tls() {
            let message = format!(
                "{host} is without TLS: leave out the flags of TLS, or write mqtts:// or wss://"
            );
            return Err(Failure::usage(message));
        }
        let tls = scheme.has_tls().then(|| client_config(flags, resume)).transpose()?;
        let port = port.unwrap_or(scheme.port());
        let path = scheme.is_websocket().then_some(place.path);
        Ok(Self { host: place.host, port, tls, path })
    }
}

impl TlsArgs {
    /// Returns whether TLS is spoken though no URL says so.
    fn ask_for_tls(&self) -> bool {
        self.names_authorities() || self.cert.is_some() || self.insecure
    }

    fn names_authorities(&self) -> bool {
        self.cafile.is_some() || self.capath.is_some() || self.tls_use_os_certs
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An address of IPv6 has colons of its own.
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// How a URL begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Mqtt,
    Mqtts,
    Ws,
    Wss,
}

impl Scheme {
    fn has_tls(self) -> bool {
        matches!(self, Self::Mqtts | Self::Wss)
    }

    fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    fn port(self) -> u16 {
        match self {
            Self::Mqtt => 1883,
            Self::Mqtts => 8883,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }
}

/// A host or a URL, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    scheme: Option<Scheme>,
    host: String,
    port: Option<u16>,
    path: String,
}

impl Place {
    fn read(text: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            let (host, port) = host_and_port(text);
            let path = DEFAULT_PATH.to_owned();
            return Ok(Self { scheme: None, host: host.to_owned(), port, path });
        };
        let scheme = match scheme {
            "mqtt" => Scheme::Mqtt,
            "mqtts" => Scheme::Mqtts,
            "ws" => Scheme::Ws,
            "wss" => Scheme::Wss,
            _ => {
                return Err(format!(
                    "{text} begins with none of mqtt://, mqtts://, ws:// and wss://"
                ));
            }
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if authority.contains('@') {
            // It may have a password, which is not for a log.
            let message = "there is a user name in the URL: -u and -P give user name and password";
            return Err(message.to_owned());
        }
        let (host, port) = match authority.strip_prefix('[').and_then(|it| it.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port =
            port.map(str::parse).transpose().map_err(|_| format!("{text} has a wrong port"))?;
        if host.is_empty() {
            return Err(format!("{text} has no host"));
        }
        if !scheme.is_websocket() && !matches!(path, "" | "/") {
            return Err(format!("{text} has a path, which only ws:// and wss:// can have"));
        }
        let path = if matches!(path, "" | "/") { DEFAULT_PATH } else { path };
        Ok(Self { scheme: Some(scheme), host: host.to_owned(), port, path: path.to_owned() })
    }
}

/// Takes a port off that stands behind a host, and the brackets off an address of IPv6.
fn host_and_port(text: &str) -> (&str, Option<u16>) {
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|it| it.split_once(']')) {
        return match rest.strip_prefix(':').map(str::parse) {
            None if rest.is_empty() => (host, None),
            Some(Ok(port)) => (host, Some(port)),
            _ => (text, None),
        };
    }
    match text.split_once(':').map(|(host, port)| (host, port.parse())) {
        Some((host, Ok(port))) if !host.is_empty() => (host, Some(port)),
        _ => (text, None),
    }
}

fn client_config(flags: &TlsArgs, resume: Resume) -> Result<Arc<ClientConfig>, Failure> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions = match flags.tls_version {
        None => rustls::DEFAULT_VERSIONS,
        Some(TlsVersion::V12) => &[&rustls::version::TLS12],
        Some(TlsVersion::V13) => &[&rustls::version::TLS13],
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(Failure::new)?;
    let builder = if flags.insecure {
        let trusted = flags.names_authorities().then(|| roots(flags)).transpose()?;
        let verifier = Lenient::new(provider, trusted)?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
    } else {
        builder.with_root_certificates(roots(flags)?)
    };
    let mut config = match (&flags.cert, &flags.key) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate)?;
            let private = PrivateKeyDer::from_pem_file(key).map_err(|error| match error {
                pem::Error::NoItemsFound => {
                    unusable(key, "there is no private key in it, or one that asks for a password")
                }
                other => unusable(key, other),
            })?;
            builder.with_client_auth_cert(chain, private).map_err(|error| match error {
                Error::InconsistentKeys(_) => {
                    unusable(key, format_args!("it is not the key of {}", certificate.display()))
                }
                other => unusable(key, other),
            })?
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = flags.tls_alpn.iter().map(|it| it.clone().into_bytes()).collect();
    if resume == Resume::Never {
        config.resumption = Resumption::disabled();
    }
    Ok(Arc::new(config))
}

fn roots(flags: &TlsArgs) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    let in_directory = flags.capath.as_deref().map(authority_files).transpose()?;
    for file in flags.cafile.iter().chain(in_directory.iter().flatten()) {
        for certificate in certificates(file)? {
            roots.add(certificate).map_err(|error| unusable(file, error))?;
        }
    }
    if flags.tls_use_os_certs || !flags.names_authorities() {
        // Some of what a system trusts may be too odd to be read; the rest is as good.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            let message = "this system names no authorities that are trusted: --cafile gives some";
            return Err(Failure::new(message));
        }
    }
    Ok(roots)
}

/// Returns the files of authorities in a directory, in the order of their names.
fn authority_files(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = std::fs::read_dir(directory).map_err(|error| unusable(directory, error))?;
    let paths = entries.filter_map(|it| it.ok().map(|it| it.path()));
    let ends_right = |path: &PathBuf| path.extension().is_some_and(|it| it == "crt" || it == "pem");
    let mut files: Vec<PathBuf> = paths.filter(ends_right).collect();
    files.sort();
    match files.is_empty() {
        true => Err(unusable(directory, "there is no file in it that ends in .crt or .pem")),
        false => Ok(files),
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let text = std::fs::read(file).map_err(|error| unusable(file, error))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(unusable(file, "there is no certificate in it")),
        Ok(found) => Ok(found),
        Err(error) => Err(unusable(file, error)),
    }
}

fn unusable(file: &Path, why: impl fmt::Display) -> Failure {
    Failure::usage(format!("cannot use {}: {why}", file.display()))
}

/// Trusts who has the key of the certificate that they show, whatever the host's name; and whoever issued it, unless
/// authorities are named.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    authorities: Option<Arc<WebPkiServerVerifier>>,
}

impl Lenient {
    fn new(provider: Arc<CryptoProvider>, roots: Option<RootCertStore>) -> Result<Self, Failure> {
        let verifier = |roots: RootCertStore| {
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
        };
        let authorities = roots.map(verifier).transpose().map_err(Failure::usage)?;
        Ok(Self { provider, authorities })
    }
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authorities) = &self.authorities else {
            return Ok(ServerCertVerified::assertion());
        };
        // The name is the last that is looked at.
        match authorities.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Returns what helps a user whose TLS has failed with `error`, if anything does.
pub(crate) fn hint(error: &Error) -> &'static str {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            ". --cafile names the authority that issued the broker's certificate"
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => ". The certificate is for another host than the one that was named",
        Error::InvalidMessage(_) => ". What answers there does not speak TLS",
        _ => "",
    }
}

fn tls_version(text: &str) -> Result<TlsVersion, String> {
    match text {
        "tlsv1.2" => Ok(TlsVersion::V12),
        "tlsv1.3" => Ok(TlsVersion::V13),
        "tlsv1.1" | "tlsv1" => {
            Err("it is not safe any more: there are tlsv1.2 and tlsv1.3".to_owned())
        }
        _ => Err("there are tlsv1.2 and tlsv1.3".to_owned()),
    }
}

/// Where MQTT is by convention.
const DEFAULT_PATH: &str = "/mqtt";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_urls_are_read() {
        check("localhost", None, "localhost", None, "/mqtt");
        check("localhost:1", None, "localhost", Some(1), "/mqtt");
        check("::1", None, "::1", None, "/mqtt");
        check("1::2", None, "1::2", None, "/mqtt");
        check("[::1]", None, "::1", None, "/mqtt");
        check("[::1]:7", None, "::1", Some(7), "/mqtt");
        check("mqtt://a", Some(Scheme::Mqtt), "a", None, "/mqtt");
        check("mqtts://a:1/", Some(Scheme::Mqtts), "a", Some(1), "/mqtt");
        check("ws://[::1]:8083/x/y?z", Some(Scheme::Ws), "::1", Some(8083), "/x/y?z");
        check("wss://[::1]", Some(Scheme::Wss), "::1", None, "/mqtt");
        for wrong in
            ["http://a", "mqtt://", "mqtt://a:b", "mqtt://a/path", "mqtt://u:p@a", "ws://a:70000"]
        {
            Place::read(wrong).expect_err(wrong);
        }
        let why = Place::read("mqtt://u:pass@a:1").expect_err("there is a user in it");
        assert!(!why.contains("pass@"), "{why}");
    }

    #[test]
    fn ways_are_written_as_they_are_read() {
        let way =
            |host| Way::new(host, None, &TlsArgs::default(), Resume::Offered).expect("it is right");
        assert_eq!(way("a").to_string(), "a:1883");
        assert_eq!(way("[::1]:7").to_string(), "[::1]:7");
    }

    #[test]
    fn flags_of_tls_ask_for_tls() {
        let insecure = TlsArgs { insecure: true, ..TlsArgs::default() };
        let plain = TlsArgs::default();
        let way = |host, flags| Way::new(host, None, flags, Resume::Offered);
        assert_eq!(way("a", &insecure).expect("it is right").port, 8883);
        assert_eq!(way("a", &plain).expect("it is right").port, 1883);
        assert!(way("a", &plain).expect("it is right").tls.is_none());
        way("ws://a", &insecure).expect_err("this is without TLS");
        let wss = way("wss://a", &insecure).expect("it is right");
        assert_eq!((wss.port, wss.path.as_deref()), (443, Some("/mqtt")));
    }

    #[track_caller]
    fn check(text: &str, scheme: Option<Scheme>, host: &str, port: Option<u16>, path: &str) {
        let expected = Place { scheme, host: host.to_owned(), port, path: path.to_owned() };
        assert_eq!(Place::read(text), Ok(expected), "{text}");
    }
}
