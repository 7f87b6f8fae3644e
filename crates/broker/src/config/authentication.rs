//! The table `[authentication]`: who is asked who clients are.
//!
//! Each source has a name in chains, [`SourceName`], and settings of its own: a key of this table, or a table in it.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::setting::settings;
use super::value::choice;
use super::{CertificateIdentity, Http, Jwt, Listener};

settings! {
    /// Who clients are. Once somebody is asked, those whom nobody knows are refused, and so are clients without a
    /// user name, unless `allow_anonymous = true`.
    pub struct Authentication in [authentication] {
        /// Who is asked about a client, in this order: the first that knows it decides. Unset, all that are configured, in
        /// the order in which they are named here. A listener can have a chain of its own, `listener.authentication.chain`.
        pub chain: Option<Vec<SourceName>> = None, List(&Choice(SourceName::WORDS));

        /// A file of users and their passwords, made by `quelea passwd`, or by `mosquitto_passwd`. It is read again
        /// within seconds when it has changed; a file that is wrong is logged and changes nothing. Clients of MQTT 5.0
        /// can use it by SCRAM-SHA-256 too, which tells nobody the password.
        pub password_file: Option<PathBuf> = None, Path;

        /// Authentications that are worked out at once, on threads that yield to those that serve clients. A password
        /// takes 19 MiB of memory and some 20 milliseconds meanwhile. Others wait, 1,024 at most; who finds no
        /// room, or waits for longer than `limits.connect_timeout_secs`, is refused (5.0: 0x89, Server busy; 3.x:
        /// 0x03). Unset, one for each processor core.
        pub at_once_max: Option<NonZeroUsize> = None, Count(1..=64);
    }
    with {
        /// Who clients are by their certificates.
        pub certificate: CertificateIdentity = CertificateIdentity::default();
        /// Signed tokens.
        pub jwt: Jwt = Jwt::default();
        /// A service that is asked.
        pub http: Http = Http::default();
    }
}

choice! {
    /// Somebody who can be asked about clients, in the order in which they are unless it is said.
    #[derive(PartialOrd, Ord)]
    pub enum SourceName {
        /// The clients' certificates.
        Certificate = "certificate",
        /// Signed tokens.
        Jwt = "jwt",
        /// A service that is asked.
        Http = "http",
        /// Users and their passwords.
        PasswordFile = "password_file",
    }
}

/// What a listener has of its own in the place of `[authentication]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerAuthentication {
    /// In the place of `authentication.chain`; empty, nobody is asked.
    pub chain: Option<Vec<SourceName>>,
    /// In the place of `allow_anonymous`.
    pub allow_anonymous: Option<bool>,
}

impl Authentication {
    /// Returns whether a source has its settings.
    pub(crate) fn has(&self, source: SourceName) -> bool {
        match source {
            SourceName::Certificate => self.certificate.user.is_some(),
            SourceName::Jwt => self.jwt.is_configured(),
            SourceName::Http => self.http.url.is_some(),
            SourceName::PasswordFile => self.password_file.is_some(),
        }
    }

    /// Returns who is asked about the clients of `listener`.
    pub(crate) fn chain_of(&self, listener: &Listener) -> Vec<SourceName> {
        listener.authentication.chain.clone().unwrap_or_else(|| self.default_chain())
    }

    /// Returns who is asked where a listener does not say it.
    pub(crate) fn default_chain(&self) -> Vec<SourceName> {
        let configured = || SourceName::ALL.iter().copied().filter(|it| self.has(*it)).collect();
        self.chain.clone().unwrap_or_else(configured)
    }
}

impl SourceName {
    /// Returns what has to be set for it to know anybody.
    pub(super) fn needs(self) -> &'static str {
        match self {
            Self::Certificate => "authentication.certificate.user",
            Self::Jwt => "authentication.jwt with jwks, key_file or secret_file",
            Self::Http => "authentication.http with url",
            Self::PasswordFile => "authentication.password_file",
        }
    }
}
