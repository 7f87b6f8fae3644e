//! SCRAM-SHA-256 (RFC 5802 and RFC 7677), the broker's side: it proves that the client knows the password, and to the
//! client that the broker knows it, while neither says it.
//!
//! ```text
//! client                                   broker
//!   n,,n=USER,r=NONCE  ------------------>
//!                      <------------------  r=NONCE+MORE,s=SALT,i=ITERATIONS
//!   c=biws,r=NONCE+MORE,p=PROOF  -------->
//!                      <------------------  v=SIGNATURE
//! ```
//!
//! A user that is not known is asked all the same, with a salt that stays the same, and refused at the end: who
//! guesses names learns nothing.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};
use aws_lc_rs::{constant_time, digest, pbkdf2, rand};
use quelea_codec::ReasonCode;
use stringprep::saslprep;

use crate::encoding::{from_base64, to_base64};
use crate::{Exchange, Identity, Step};

/// The name of the method in CONNECT and AUTH.
pub(crate) const METHOD: &str = "SCRAM-SHA-256";

/// What the broker keeps of a password to take part in SCRAM.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Verifier {
    iterations: NonZeroU32,
    salt: Vec<u8>,
    stored_key: Vec<u8>,
    server_key: Vec<u8>,
}

/// Who knows users. Clients give names as SASLprep (RFC 4013) prepares them.
pub(crate) trait Users: Send + Sync {
    /// Returns what is known of a user's password, and who the user is.
    fn user(&self, name: &str) -> Option<(Verifier, Identity)>;

    /// Returns what an unknown user is asked with.
    fn decoy(&self, name: &str) -> Verifier;
}

/// One authentication.
pub(crate) struct Conversation<U> {
    users: U,
    nonce: String,
    asked: Option<Asked>,
}

/// What was said so far.
struct Asked {
    /// The first message of each side, as they are signed.
    messages: String,
    /// Both parts.
    nonce: String,
    /// The client's header, which it has to repeat.
    header: String,
    verifier: Verifier,
    /// Absent for a user that is not known.
    identity: Option<Identity>,
}

impl Verifier {
    /// Makes what is kept of a password. Nothing comes of it when the system has no randomness.
    pub(crate) fn of(password: &[u8]) -> Option<Self> {
        let mut salt = vec![0; SALT_BYTES];
        rand::fill(&mut salt).ok()?;
        let text = std::str::from_utf8(password).ok();
        let prepared = text.and_then(|text| saslprep(text).ok());
        let password = prepared.as_ref().map_or(password, |it| it.as_bytes());
        Some(Self::with_salt(password, salt, ITERATIONS))
    }

    fn with_salt(password: &[u8], salt: Vec<u8>, iterations: NonZeroU32) -> Self {
        let mut salted = [0; digest::SHA256_OUTPUT_LEN];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, password, &mut salted);
        let stored_key = digest::digest(&digest::SHA256, &sign(&salted, b"Client Key"));
        let stored_key = stored_key.as_ref().to_vec();
        Self { iterations, salt, stored_key, server_key: sign(&salted, b"Server Key") }
    }

    /// Returns one that no password fits, always the same for a name and a key.
    pub(crate) fn decoy(key: &[u8], name: &str) -> Self {
        let mut salt = sign(key, name.as_bytes());
        salt.truncate(SALT_BYTES);
        let (stored_key, server_key) = (sign(key, b"stored"), sign(key, b"server"));
        Self { iterations: ITERATIONS, salt, stored_key, server_key }
    }

    /// Reads `$scram-sha-256$i=100000$SALT$STORED_KEY$SERVER_KEY`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split('$').collect();
        let ["", "scram-sha-256", iterations, salt, stored_key, server_key] = *fields else {
            return None;
        };
        let iterations: u32 = iterations.strip_prefix("i=")?.parse().ok()?;
        let iterations = Some(iterations).filter(|it| (4_096..=1_000_000).contains(it))?;
        let salt = from_base64(salt).filter(|it| (8..=64).contains(&it.len()))?;
        let key = |text| from_base64(text).filter(|it| it.len() == digest::SHA256_OUTPUT_LEN);
        let (stored_key, server_key) = (key(stored_key)?, key(server_key)?);
        Some(Self { iterations: NonZeroU32::new(iterations)?, salt, stored_key, server_key })
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stored_key, server_key) = (to_base64(&self.stored_key), to_base64(&self.server_key));
        let (iterations, salt) = (self.iterations, to_base64(&self.salt));
        write!(f, "$scram-sha-256$i={iterations}${salt}${stored_key}${server_key}")
    }
}

impl<U: Users> Conversation<U> {
    /// Begins one. Nothing comes of it when the system has no randomness.
    pub(crate) fn new(users: U) -> Option<Self> {
        let mut nonce = [0; NONCE_BYTES];
        rand::fill(&mut nonce).ok()?;
        Some(Self { users, nonce: to_base64(&nonce), asked: None })
    }

    fn first(&mut self, message: &str) -> Option<Vec<u8>> {
        // "y": the client could bind the channel, and thinks that we cannot. It is right.
        let bare = message.strip_prefix("n,,").or_else(|| message.strip_prefix("y,,"))?;
        let mut fields = bare.split(',');
        let name = unescaped(fields.next()?.strip_prefix("n=")?)?;
        let nonce = fields.next()?.strip_prefix("r=")?;
        if name.is_empty() || nonce.is_empty() || fields.next().is_some() {
            return None;
        }
        let nonce = format!("{nonce}{}", self.nonce);
        let (verifier, identity) = match self.users.user(&name) {
            Some((verifier, identity)) => (verifier, Some(identity)),
            None => (self.users.decoy(&name), None),
        };
        let challenge =
            format!("r={nonce},s={},i={}", to_base64(&verifier.salt), verifier.iterations);
        let messages = format!("{bare},{challenge}");
        let header = message[..3].to_owned();
        self.asked = Some(Asked { messages, nonce, header, verifier, identity });
        Some(challenge.into_bytes())
    }
}

impl Asked {
    fn last(self, message: &str) -> Option<(Identity, Vec<u8>)> {
        let (without_proof, proof) = message.rsplit_once(",p=")?;
        let expected = format!("c={},r={}", to_base64(self.header.as_bytes()), self.nonce);
        let proof = from_base64(proof).filter(|it| it.len() == digest::SHA256_OUTPUT_LEN)?;
        let signed = format!("{},{without_proof}", self.messages);
        let signature = sign(&self.verifier.stored_key, signed.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(signature).map(|(it, key)| it ^ key).collect();
        let stored_key = digest::digest(&digest::SHA256, &client_key);
        let is_right =
            constant_time::verify_slices_are_equal(stored_key.as_ref(), &self.verifier.stored_key);
        if is_right.is_err() || without_proof != expected {
            return None;
        }
        let signature = sign(&self.verifier.server_key, signed.as_bytes());
        Some((self.identity?, format!("v={}", to_base64(&signature)).into_bytes()))
    }
}

impl<U: Users> Exchange for Conversation<U> {
    fn step(&mut self, data: &[u8]) -> Step {
        let Ok(message) = std::str::from_utf8(data) else {
            return Step::Refuse(ReasonCode::NOT_AUTHORIZED);
        };
        match self.asked.take() {
            None => match self.first(message) {
                Some(challenge) => Step::Continue(challenge),
                None => Step::Refuse(ReasonCode::NOT_AUTHORIZED),
            },
            Some(asked) => match asked.last(message) {
                Some((identity, data)) => Step::Identify(Box::new(identity), data),
                None => Step::Refuse(ReasonCode::NOT_AUTHORIZED),
            },
        }
    }
}

fn sign(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&Key::new(HMAC_SHA256, key), text).as_ref().to_vec()
}

/// Reads a name in which `=2C` is a comma and `=3D` an equals sign.
fn unescaped(name: &str) -> Option<String> {
    let mut parts = name.split('=');
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let (sign, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            (None, None) => return None,
        };
        out.push(sign);
        out.push_str(rest);
    }
    Some(out)
}

const NONCE_BYTES: usize = 18;
const SALT_BYTES: usize = 16;

/// Only clients and `quelea passwd` pay for them; whoever steals the file pays for each guess.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(100_000).expect("it is not zero");

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677 section 3
    #[test]
    fn the_exchange_of_the_standard() {
        let mut conversation = conversation();
        assert_eq!(conversation.step(FIRST), Step::Continue(CHALLENGE.into()));
        let expected = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_vec();
        let identity = Box::new(Identity::of_user("user"));
        assert_eq!(conversation.step(LAST.as_bytes()), Step::Identify(identity, expected));
    }

    #[test]
    fn others_are_refused() {
        let refused = Step::Refuse(ReasonCode::NOT_AUTHORIZED);
        for last in [
            "",
            "p=",
            &LAST.replace("p=dHzb", "p=dHzc"),
            &LAST.replace("c=biws", "c=eSws"),
            &LAST.replace("%hvYD", "%hvYE"),
            &format!("{LAST}="),
        ] {
            let mut conversation = conversation();
            conversation.step(FIRST);
            assert_eq!(conversation.step(last.as_bytes()), refused, "{last}");
        }
        for first in ["", "n,,", "n,a=admin,n=user,r=x", "p=tls-unique,,n=user,r=x", "n,,n=user,r="]
        {
            assert_eq!(conversation().step(first.as_bytes()), refused, "{first}");
        }
        // A user that is not there is asked the same each time.
        let mut other = conversation();
        let Step::Continue(challenge) = other.step(b"n,,n=eve,r=x") else { panic!("no challenge") };
        assert_eq!(conversation().step(b"n,,n=eve,r=x"), Step::Continue(challenge));
        assert_eq!(other.step(LAST.as_bytes()), refused);
    }

    #[test]
    fn names_are_unescaped() {
        assert_eq!(unescaped("a=3Db=2Cc").as_deref(), Some("a=b,c"));
        assert_eq!(unescaped("plain").as_deref(), Some("plain"));
        assert_eq!(unescaped("a=2"), None);
        assert_eq!(unescaped("a="), None);
    }

    #[test]
    fn a_verifier_is_written_as_it_is_read() {
        let verifier = Verifier::of(b"pencil").unwrap();
        assert!(Verifier::parse(&verifier.to_string()) == Some(verifier));
        for text in ["", "$scram-sha-256$i=1$AAAAAAAAAAA=$AA==$AA==", "$scram-sha-256$i=4096$$$"] {
            assert!(Verifier::parse(text).is_none(), "{text}");
        }
    }

    /// RFC 5802 section 5.1: the client proves that it knows the prepared password.
    #[test]
    fn a_verifier_is_of_the_prepared_password() {
        for (password, prepared) in
            [("\u{FB01}sh\u{A0}1", "fish 1"), ("pencil", "pencil"), ("bell\u{7}", "bell\u{7}")]
        {
            let verifier = Verifier::of(password.as_bytes()).unwrap();
            let again = Verifier::with_salt(prepared.as_bytes(), verifier.salt.clone(), ITERATIONS);
            assert!(verifier == again, "{password:?}");
        }
        assert!(Verifier::of(b"\xFF\xFE").is_some());
    }

    struct One;

    impl Users for One {
        fn user(&self, name: &str) -> Option<(Verifier, Identity)> {
            let salt = from_base64("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
            let verifier = Verifier::with_salt(b"pencil", salt, NonZeroU32::new(4_096).unwrap());
            (name == "user").then(|| (verifier, Identity::of_user(name)))
        }

        fn decoy(&self, name: &str) -> Verifier {
            Verifier::decoy(b"key", name)
        }
    }

    fn conversation() -> Conversation<One> {
        let nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned();
        Conversation { users: One, nonce, asked: None }
    }

    const FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const CHALLENGE: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                             s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const LAST: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
}
