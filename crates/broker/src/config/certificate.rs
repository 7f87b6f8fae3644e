//! The table `[authentication.certificate]`: who clients are by their certificates.

use quelea_auth::{CertificateField as Field, Certificates};

use super::setting::settings;
use super::value::choice;

settings! {
    /// Who clients are by their certificates.
    pub struct CertificateIdentity in [authentication.certificate] {
        /// What of a client's certificate is its user: the common name (`cn`), the one name of a kind among the alternative
        /// names (`san_dns`, `san_email`, `san_uri`), the SHA-256 of the certificate in hexadecimal digits (`fingerprint`), the
        /// whole subject as RFC 2253 has it (`subject`), or the organizational unit (`ou`). What the client gives as user name
        /// and password is not looked at then. The certificate must be one of `listener.tls.client_ca`, or its common name
        /// come from a trusted proxy by the PROXY protocol, version 2. A client whose certificate does not have exactly one
        /// such name is left to the next in the chain. When the certificate ends, the connection does (5.0: 0x87).
        pub user: Option<CertificateField> = None, Choice(CertificateField::WORDS);

        /// What of a client's certificate is its client identifier, whatever identifier it gives. Unset, it gives one as others
        /// do.
        pub client_id: Option<CertificateField> = None, Choice(CertificateField::WORDS);

        /// What of a client's certificate are the groups of its user: all there is of that, such as `ou`.
        pub groups: Option<CertificateField> = None, Choice(CertificateField::WORDS);
    }
}

choice! {
    /// What a certificate says of its holder.
    pub enum CertificateField {
        /// The common name in the subject.
        CommonName = "cn",
        /// A DNS name among the alternative names.
        SanDns = "san_dns",
        /// An email address among the alternative names.
        SanEmail = "san_email",
        /// A URI among the alternative names.
        SanUri = "san_uri",
        /// The SHA-256 of the certificate.
        Fingerprint = "fingerprint",
        /// The whole subject.
        Subject = "subject",
        /// The organizational unit in the subject.
        OrganizationalUnit = "ou",
    }
}

impl CertificateIdentity {
    /// Returns who is asked by these settings; nobody if they do not say what the user is.
    pub(crate) fn source(&self) -> Option<Certificates> {
        Some(Certificates {
            user: self.user?.into(),
            client_id: self.client_id.map(Field::from),
            groups: self.groups.map(Field::from),
        })
    }
}

impl From<CertificateField> for Field {
    fn from(field: CertificateField) -> Self {
        match field {
            CertificateField::CommonName => Self::CommonName,
            CertificateField::Fingerprint => Self::Fingerprint,
            CertificateField::OrganizationalUnit => Self::OrganizationalUnit,
            CertificateField::SanDns => Self::SanDns,
            CertificateField::SanEmail => Self::SanEmail,
            CertificateField::SanUri => Self::SanUri,
            CertificateField::Subject => Self::Subject,
        }
    }
}
