//! The table `[authentication.jwt]`: signed tokens.

use std::path::PathBuf;

use quelea_auth::jwt::{KeyFormat, Template};

use super::setting::settings;
use super::value::choice;
use crate::http::{PlainHttp, Url};

settings! {
    /// Signed tokens (JWT) that clients bring as their password, or by the enhanced authentication `JWT` of MQTT 5.0.
    /// Set one of `jwks`, `key_file` and `secret_file`. A password that is no token is left to the next of the chain.
    pub struct Jwt in [authentication.jwt] {
        /// The URL of a set of public keys, as identity providers publish them. It is fetched at start, when it is old by
        /// its `Cache-Control: max-age` (within a minute and an hour; unsaid, after five minutes), and when a token names
        /// a key that is not in it.
        pub jwks: Option<String> = None, Text;

        /// Authorities in PEM, of which one has issued the certificate of the `jwks` server. Unset, those that the
        /// system trusts.
        pub ca_file: Option<PathBuf> = None, Path;

        /// Whether the `jwks` server may be asked without TLS on another machine. Whoever can change what it answers
        /// can come in as anyone.
        pub insecure_http: bool = false, Switch;

        /// How long the keys stay good when the `jwks` server does not answer any more; at least an hour.
        pub keep_keys_secs: u32 = 86_400, Secs(3_600..=2_592_000);

        /// A file of public keys in PEM, or of a set of keys in JSON. It is read again within seconds when it has changed;
        /// a file that is wrong is logged and changes nothing.
        pub key_file: Option<PathBuf> = None, Path;

        /// A file with the secret that tokens are signed and verified with (HS256, HS384, HS512), of at least 32, 48 or
        /// 64 bytes. It is read again as `key_file` is.
        pub secret_file: Option<PathBuf> = None, Path;

        /// How the secret stands in its file: as it is but for the last line break (`text`), or in `base64`.
        pub secret_encoding: SecretEncoding = SecretEncoding::Text, Choice(SecretEncoding::WORDS);

        /// The user, made of claims: `${sub}` is the value of the claim `sub`, `${org.id}` that of `id` in `org`.
        pub user: String = "${sub}".to_owned(), Text;

        /// The client id, made of claims. A client that says to have another one is refused (5.0: 0x85; 3.x: 0x02).
        /// Unset, clients choose theirs, and sessions are safe from other users, but not from other tokens of the user.
        pub client_id: Option<String> = None, Text;

        /// A claim with the client's groups: a list of names, or a text with spaces between them.
        pub groups: Option<String> = None, Text;

        /// A claim with a list of rules, each an object with the keys of `[[acl]]` that say what it allows or denies. A
        /// token without it brings none, and with rules that are wrong nobody comes in. See `identity_rules`.
        pub acl: Option<String> = None, Text;

        /// Who has to have issued a token (its claim `iss`). Unset, anyone who has the key.
        pub issuer: Option<String> = None, Text;

        /// For whom a token has to be: what its claim `aud` is, or has among others. Unset, a token that is for
        /// somebody is refused.
        pub audience: Option<String> = None, Text;

        /// How far the clock of the issuer may be off: a token holds so much longer, and so much earlier.
        pub leeway_secs: u32 = 10, Secs(0..=600);

        /// Whether a token without an end (its claim `exp`) is refused.
        pub require_expiry: bool = true, Switch;

        /// Whether a user name that comes with a token must be the user of the token. Otherwise it is passed over.
        pub match_user_name: bool = false, Switch;
    }
}

choice! {
    /// How a secret stands in a file.
    pub enum SecretEncoding {
        /// In base64.
        Base64 = "base64",
        /// As it is.
        Text = "text",
    }
}

impl Jwt {
    /// The table of the file.
    pub(super) const SECTION: &'static str = "authentication.jwt";

    /// Returns a value for the example of a file.
    pub(super) fn sample(name: &str) -> &'static str {
        match name {
            "jwks" => "\"https://id.example.com/keys\"",
            "ca_file" => "\"/etc/quelea/id-ca.pem\"",
            "key_file" => "\"/etc/quelea/token-keys.pem\"",
            "secret_file" => "\"/etc/quelea/token-secret\"",
            "client_id" => "\"${device}\"",
            "groups" => "\"${roles}\"",
            "acl" => "\"${mqtt_acl}\"",
            "issuer" => "\"https://id.example.com\"",
            _ => "\"mqtt\"",
        }
    }

    /// Returns whether it says where keys are.
    pub(crate) fn is_configured(&self) -> bool {
        self.jwks.is_some() || self.key_file.is_some() || self.secret_file.is_some()
    }

    /// Returns the URL of the keys, with what is wrong with it.
    pub(crate) fn jwks_url(&self) -> Option<Result<Url, String>> {
        let plain_http =
            if self.insecure_http { PlainHttp::Anywhere } else { PlainHttp::OnLoopback };
        self.jwks.as_deref().map(|it| Url::read(it, plain_http))
    }

    /// Returns how the secret stands in its file.
    pub(crate) fn secret_format(&self) -> KeyFormat {
        match self.secret_encoding {
            SecretEncoding::Base64 => KeyFormat::SecretInBase64,
            SecretEncoding::Text => KeyFormat::Secret,
        }
    }

    /// Checks the table as a whole.
    pub(super) fn check(&self, note: &mut impl FnMut(&str, String)) {
        let places = [self.jwks.is_some(), self.key_file.is_some(), self.secret_file.is_some()];
        if places.iter().filter(|it| **it).count() > 1 {
            let message = "authentication.jwt has more than one of jwks, key_file and secret_file: the keys of tokens \
                           are in one place";
            note("authentication.jwt.jwks", message.to_owned());
        }
        if !self.is_configured() && *self != Self::default() {
            let message = "authentication.jwt needs jwks, key_file or secret_file: without keys no token is good";
            note("authentication.jwt.user", message.to_owned());
        }
        if let Some(Err(why)) = self.jwks_url() {
            note("authentication.jwt.jwks", format!("authentication.jwt.jwks {why}"));
        }
        if self.jwks.is_none() && (self.ca_file.is_some() || self.insecure_http) {
            let message =
                "authentication.jwt.ca_file and insecure_http are about a server: they need jwks";
            note("authentication.jwt.ca_file", message.to_owned());
        }
        if self.secret_file.is_none() && self.secret_encoding != SecretEncoding::Text {
            let message = "authentication.jwt.secret_encoding needs secret_file";
            note("authentication.jwt.secret_encoding", message.to_owned());
        }
        let mut check = |key: &str, text: Option<&str>, must_be_one: bool| {
            let wrong = match text.map(Template::parse) {
                Some(Err(error)) => Some(error.to_string()),
                Some(Ok(template)) if must_be_one && !template.is_one_claim() => {
                    Some("must be one claim, as \"${roles}\"".to_owned())
                }
                Some(Ok(template)) if template.is_empty() => Some("must not be empty".to_owned()),
                Some(Ok(_)) | None => None,
            };
            if let Some(wrong) = wrong {
                let key = format!("authentication.jwt.{key}");
                note(&key, format!("{key} {wrong}"));
            }
        };
        check("user", Some(&self.user), false);
        check("client_id", self.client_id.as_deref(), false);
        check("groups", self.groups.as_deref(), true);
        check("acl", self.acl.as_deref(), true);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Loaded, Sources};

    #[test]
    fn a_table_is_held_to_make_sense() {
        check("jwks = \"https://id.example.com/keys\"", &[]);
        check("jwks = \"http://127.0.0.1:8080/keys\"", &[]);
        check("jwks = \"http://id.example.com/keys\"\ninsecure_http = true", &[]);
        check("secret_file = \"/s\"\nsecret_encoding = \"base64\"\nuser = \"fleet\"", &[]);
        let two = "authentication.jwt has more than one of jwks, key_file and secret_file: the keys of tokens are in one \
                   place";
        check("jwks = \"https://id.example.com/\"\nkey_file = \"/k\"", &[two]);
        let none =
            "authentication.jwt needs jwks, key_file or secret_file: without keys no token is good";
        check("user = \"${name}\"", &[none]);
        let clear = "authentication.jwt.jwks must begin with https: what it is asked would cross the network in the clear";
        check("jwks = \"http://id.example.com/keys\"", &[clear]);
        check(
            "key_file = \"/k\"\nca_file = \"/c\"\nsecret_encoding = \"base64\"",
            &[
                "authentication.jwt.ca_file and insecure_http are about a server: they need jwks",
                "authentication.jwt.secret_encoding needs secret_file",
            ],
        );
        check(
            "key_file = \"/k\"\nuser = \"\"\nclient_id = \"${a\"\ngroups = \"x ${a}\"\nacl = \"${}\"",
            &[
                "authentication.jwt.user must not be empty",
                "authentication.jwt.client_id has a ${ without its }",
                "authentication.jwt.groups must be one claim, as \"${roles}\"",
                "authentication.jwt.acl has a ${} that names no claim",
            ],
        );
    }

    /// The issue's own spelling: a table in a line.
    #[test]
    fn a_table_may_stand_in_a_line() {
        let text = "[authentication]\nchain = [\"jwt\", \"password_file\"]\npassword_file = \"/p\"\n\
                    jwt = { jwks = \"https://id.example.com/keys\", user = \"${sub}\", acl = \"${mqtt_acl}\" }\n";
        let jwt = load(text).unwrap().config.authentication.jwt;
        assert_eq!(jwt.acl.as_deref(), Some("${mqtt_acl}"));
    }

    #[track_caller]
    fn check(table: &str, mistakes: &[&str]) {
        let told = load(&format!("[authentication.jwt]\n{table}\n")).err();
        let told = told.map(|it| it.to_string()).unwrap_or_default();
        let told: Vec<&str> =
            told.lines().map(|it| it.split_once(": ").expect("it has its line").1).collect();
        assert_eq!(told, mistakes, "{table}");
    }

    fn load(text: &str) -> Result<Loaded, super::super::Mistakes> {
        let file = Some(("q".to_owned(), text.to_owned()));
        Loaded::from_sources(&Sources { file, ..Sources::default() })
    }
}
