//! What a client certificate says of its holder.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate, X509Name};

use crate::Certificate;

/// A field of a certificate that can say who its holder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateField {
    /// The common name (CN) in the subject.
    CommonName,
    /// The SHA-256 of the certificate, as 64 hexadecimal digits in lower case.
    Fingerprint,
    /// The organizational unit (OU) in the subject.
    OrganizationalUnit,
    /// A DNS name among the alternative names.
    SanDns,
    /// An email address among the alternative names.
    SanEmail,
    /// A URI among the alternative names.
    SanUri,
    /// The whole subject, as RFC 2253 has it: `CN=sensor-7,OU=plant,O=Example`. As OpenSSL does, and so Mosquitto, with
    /// all but printable ASCII escaped.
    Subject,
}

/// The holder of a certificate.
pub(crate) enum Holder<'a> {
    Parsed {
        der: &'a [u8],
        certificate: Box<X509Certificate<'a>>,
    },
    /// By the word of a proxy, which says the common name only.
    Named(&'a str),
}

impl Certificate {
    /// Returns the common name, if there is exactly one.
    pub fn common_name(&self) -> Option<Box<str>> {
        Holder::of(self)?.value(CertificateField::CommonName)
    }
}

impl<'a> Holder<'a> {
    /// Reads a certificate. One that TLS has verified can be read.
    pub(crate) fn of(certificate: &'a Certificate) -> Option<Self> {
        match certificate {
            Certificate::Der(der) => {
                let (_, certificate) = X509Certificate::from_der(der).ok()?;
                Some(Self::Parsed { der, certificate: Box::new(certificate) })
            }
            Certificate::CommonName(name) => Some(Self::Named(name)),
        }
    }

    /// Returns what stands in a field, if it is exactly one thing that can be a name. Of several nobody could say which
    /// one is meant.
    pub(crate) fn value(&self, field: CertificateField) -> Option<Box<str>> {
        match &self.values(field)[..] {
            [only] if is_name(only) => Some(only.as_str().into()),
            _ => None,
        }
    }

    /// Returns all that stands in a field and can be a name.
    pub(crate) fn names(&self, field: CertificateField) -> impl Iterator<Item = Box<str>> {
        self.values(field).into_iter().filter(|it| is_name(it)).map(Into::into)
    }

    /// Returns when the certificate ends, if that is known.
    pub(crate) fn expires_at(&self) -> Option<SystemTime> {
        let Self::Parsed { certificate, .. } = self else { return None };
        let seconds = certificate.validity().not_after.timestamp();
        UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
    }

    fn values(&self, field: CertificateField) -> Vec<String> {
        let (der, certificate) = match self {
            Self::Parsed { der, certificate } => (der, certificate),
            Self::Named(name) if field == CertificateField::CommonName => {
                return vec![(*name).to_owned()];
            }
            Self::Named(_) => return Vec::new(),
        };
        let subject = certificate.subject();
        let in_subject = |oid: &str| {
            let attributes =
                subject.iter_attributes().filter(|it| it.attr_type().to_id_string() == oid);
            // One that cannot be read counts: it must not make another the only one.
            attributes.map(|it| it.as_str().unwrap_or_default().to_owned()).collect()
        };
        match field {
            CertificateField::CommonName => in_subject(COMMON_NAME),
            CertificateField::OrganizationalUnit => in_subject(ORGANIZATIONAL_UNIT),
            CertificateField::Fingerprint => {
                vec![hex(digest::digest(&digest::SHA256, der).as_ref())]
            }
            CertificateField::Subject => rfc2253(subject).into_iter().collect(),
            CertificateField::SanDns => alternatives(certificate, |it| match it {
                GeneralName::DNSName(name) => Some(name),
                _ => None,
            }),
            CertificateField::SanEmail => alternatives(certificate, |it| match it {
                GeneralName::RFC822Name(name) => Some(name),
                _ => None,
            }),
            CertificateField::SanUri => alternatives(certificate, |it| match it {
                GeneralName::URI(uri) => Some(uri),
                _ => None,
            }),
        }
    }
}

fn alternatives(
    certificate: &X509Certificate<'_>,
    pick: impl for<'b> Fn(&'b GeneralName<'_>) -> Option<&'b str>,
) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    extension.value.general_names.iter().filter_map(pick).map(str::to_owned).collect()
}

/// Writes a name in the order and with the escapes of RFC 2253; nothing if it has an attribute that cannot be shown so.
fn rfc2253(name: &X509Name<'_>) -> Option<String> {
    let mut parts = Vec::new();
    for attributes in name.iter_rdn() {
        let mut set = Vec::new();
        for attribute in attributes.iter() {
            let oid = attribute.attr_type().to_id_string();
            let (_, short) = SHORT_NAMES.iter().find(|(it, _)| *it == oid)?;
            set.push(format!("{short}={}", escaped(attribute.as_str().ok()?)));
        }
        set.reverse();
        parts.push(set.join("+"));
    }
    parts.reverse();
    Some(parts.join(","))
}

fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.len().saturating_sub(1);
    for (index, byte) in value.bytes().enumerate() {
        let is_at_edge =
            (byte == b' ' && (index == 0 || index == last)) || (byte == b'#' && index == 0);
        if is_at_edge || b",+\"\\<>;".contains(&byte) {
            out.push('\\');
            out.push(char::from(byte));
        } else if (0x20..0x7F).contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "\\{byte:02X}");
        }
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Returns whether a text can be the name of a user or a client, as far as MQTT and logs are concerned.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= usize::from(u16::MAX) && !text.contains(char::is_control)
}

const COMMON_NAME: &str = "2.5.4.3";

const ORGANIZATIONAL_UNIT: &str = "2.5.4.11";

/// What OpenSSL calls the attributes that it knows.
const SHORT_NAMES: &[(&str, &str)] = &[
    (COMMON_NAME, "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    (ORGANIZATIONAL_UNIT, "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.65", "pseudonym"),
    ("2.5.4.97", "organizationIdentifier"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

#[cfg(test)]
pub(crate) mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    #[test]
    fn each_field_is_found() {
        let certificate = certificate(|params| {
            name(
                params,
                &[(DnType::OrganizationName, "Example"), (DnType::CommonName, "sensor 7")],
            );
            params.distinguished_name.push(DnType::OrganizationalUnitName, "plant");
            params.subject_alt_names = vec![
                SanType::DnsName("sensor-7.example.com".try_into().unwrap()),
                SanType::Rfc822Name("ops@example.com".try_into().unwrap()),
                SanType::URI("spiffe://example/sensor-7".try_into().unwrap()),
            ];
        });
        check(&certificate, CertificateField::CommonName, Some("sensor 7"));
        check(&certificate, CertificateField::OrganizationalUnit, Some("plant"));
        check(&certificate, CertificateField::SanDns, Some("sensor-7.example.com"));
        check(&certificate, CertificateField::SanEmail, Some("ops@example.com"));
        check(&certificate, CertificateField::SanUri, Some("spiffe://example/sensor-7"));
        check(&certificate, CertificateField::Subject, Some("OU=plant,CN=sensor 7,O=Example"));
        let fingerprint = Holder::of(&certificate).unwrap().value(CertificateField::Fingerprint);
        assert_eq!(fingerprint.map(|it| it.len()), Some(64));
        assert_eq!(certificate.common_name().as_deref(), Some("sensor 7"));
    }

    /// Of two names nobody could say which one is meant, and a name that logs or MQTT cannot have is none.
    #[test]
    fn what_is_not_one_name_is_none() {
        let twice = certificate(|params| {
            name(params, &[(DnType::CommonName, "a")]);
            let dns = |it: &str| SanType::DnsName(it.try_into().unwrap());
            params.subject_alt_names = vec![dns("a"), dns("b")];
        });
        check(&twice, CertificateField::SanDns, None);
        let names = Holder::of(&twice).unwrap().names(CertificateField::SanDns).collect::<Vec<_>>();
        assert_eq!(names, ["a".into(), "b".into()]);
        for bad in ["", "a\nb", "a\0b"] {
            let bad = certificate(|params| name(params, &[(DnType::CommonName, bad)]));
            check(&bad, CertificateField::CommonName, None);
        }
        check(&certificate(|params| name(params, &[])), CertificateField::CommonName, None);
        let garbage = Certificate::Der(b"\x30\x03abc"[..].into());
        assert!(Holder::of(&garbage).is_none());
    }

    #[test]
    fn a_proxy_says_the_common_name_only() {
        let named = Certificate::CommonName("sensor".into());
        check(&named, CertificateField::CommonName, Some("sensor"));
        check(&named, CertificateField::Subject, None);
        check(&named, CertificateField::Fingerprint, None);
        check(&Certificate::CommonName("a\tb".into()), CertificateField::CommonName, None);
    }

    /// As `openssl x509 -subject -nameopt RFC2253` prints it.
    #[test]
    fn a_subject_is_written_as_openssl_does() {
        assert_eq!(escaped(" a, b+c=\"d\" "), "\\ a\\, b\\+c=\\\"d\\\"\\ ");
        assert_eq!(escaped("#1#"), "\\#1#");
        assert_eq!(escaped("Zoë"), "Zo\\C3\\AB");
        assert_eq!(escaped(""), "");
        let unknown = certificate(|params| {
            name(params, &[(DnType::CustomDnType(vec![1, 2, 3, 4]), "x")]);
        });
        check(&unknown, CertificateField::Subject, None);
    }

    #[track_caller]
    fn check(certificate: &Certificate, field: CertificateField, expected: Option<&str>) {
        let value = Holder::of(certificate).unwrap().value(field);
        assert_eq!(value.as_deref(), expected, "{field:?}");
    }

    fn name(params: &mut CertificateParams, attributes: &[(DnType, &str)]) {
        for (kind, value) in attributes {
            params.distinguished_name.push(kind.clone(), *value);
        }
    }

    /// Makes a certificate that begins with no name at all.
    pub(crate) fn certificate(configure: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        configure(&mut params);
        let key = KeyPair::generate().unwrap();
        Certificate::Der(params.self_signed(&key).unwrap().der().as_ref().into())
    }
}
