//! Client certificates as a source of identities.

use crate::holder::{CertificateField, Holder};
use crate::{Credentials, Identity, Source, Verdict};

/// Takes clients for whom their certificates say they are. Whether a certificate is good is for TLS to say.
///
/// What CONNECT says of a user and a password is not looked at. The identity ends when the certificate does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificates {
    /// Where the user stands.
    pub user: CertificateField,
    /// Where the client identifier stands that its client is given, if it is not to choose.
    pub client_id: Option<CertificateField>,
    /// Where the user's groups stand: all that is there.
    pub groups: Option<CertificateField>,
}

impl Certificates {
    fn identity(&self, holder: &Holder<'_>) -> Option<Identity> {
        let user = holder.value(self.user)?;
        let client_id = match self.client_id {
            Some(field) => Some(holder.value(field)?),
            None => None,
        };
        let groups = self.groups.map(|field| holder.names(field).collect()).unwrap_or_default();
        let claim = |(name, field): &(&str, _)| Some(((*name).into(), holder.value(*field)?));
        Some(Identity {
            client_id,
            groups,
            claims: CLAIMS.iter().filter_map(claim).collect(),
            expires_at: holder.expires_at(),
            ..Identity::of_user(user)
        })
    }
}

impl Source for Certificates {
    fn judge(&self, credentials: &Credentials) -> Verdict {
        let Some(certificate) = &credentials.certificate else { return Verdict::Next };
        let holder = Holder::of(certificate);
        match holder.and_then(|holder| self.identity(&holder)) {
            Some(identity) => Verdict::Accept(identity),
            None => {
                tracing::info!(
                    listener = &*credentials.listener,
                    user = ?self.user,
                    client_id = ?self.client_id,
                    "a certificate has no such name, or several: its client is nobody by it"
                );
                Verdict::Next
            }
        }
    }
}

/// What rules can say of a client by its certificate: `${cn}`.
const CLAIMS: &[(&str, CertificateField)] = &[
    ("cn", CertificateField::CommonName),
    ("ou", CertificateField::OrganizationalUnit),
    ("san_dns", CertificateField::SanDns),
    ("san_email", CertificateField::SanEmail),
    ("san_uri", CertificateField::SanUri),
];

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use rcgen::DnType;

    use super::*;
    use crate::Certificate;
    use crate::holder::tests::certificate;

    #[test]
    fn a_certificate_says_who_its_client_is() {
        let source = Certificates {
            user: CertificateField::CommonName,
            client_id: Some(CertificateField::Subject),
            groups: Some(CertificateField::OrganizationalUnit),
        };
        let given = certificate(|params| {
            params.distinguished_name.push(DnType::OrganizationalUnitName, "plant");
            params.distinguished_name.push(DnType::CommonName, "sensor");
            params.not_after = rcgen::date_time_ymd(2100, 1, 1);
        });
        let Verdict::Accept(identity) = source.judge(&credentials(given)) else {
            panic!("it is not known");
        };
        assert_eq!(identity.user.as_deref(), Some("sensor"));
        assert_eq!(identity.client_id.as_deref(), Some("CN=sensor,OU=plant"));
        assert_eq!(*identity.groups, ["plant".into()]);
        assert_eq!((identity.claim("cn"), identity.claim("ou")), (Some("sensor"), Some("plant")));
        let ends_at = UNIX_EPOCH + Duration::from_secs(4_102_444_800);
        assert_eq!(identity.expires_at, Some(ends_at));
    }

    /// A client identifier that cannot be given is not left to the client instead.
    #[test]
    fn a_certificate_that_does_not_say_it_is_left_to_others() {
        let source = Certificates {
            user: CertificateField::CommonName,
            client_id: Some(CertificateField::SanUri),
            groups: None,
        };
        let named = certificate(|params| params.distinguished_name.push(DnType::CommonName, "a"));
        assert_eq!(source.judge(&credentials(named)), Verdict::Next);
        assert_eq!(source.judge(&Credentials::default()), Verdict::Next);
        let garbage = Certificate::Der(Box::default());
        assert_eq!(source.judge(&credentials(garbage)), Verdict::Next);
    }

    fn credentials(certificate: Certificate) -> Credentials {
        Credentials {
            // Whatever it says of itself.
            user_name: Some("admin".into()),
            certificate: Some(certificate),
            ..Credentials::default()
        }
    }
}
