//! SCRAM-SHA-256 (RFC 5802 and RFC 7677): a password that the broker never sees, and a broker that has to know it.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};
use aws_lc_rs::{constant_time, digest, pbkdf2, rand};
use stringprep::saslprep;

use crate::authentication::{Authenticator, Exchange};
use crate::http::{base64, from_base64};

/// Authenticates by SCRAM-SHA-256, for [`Options::authenticator`](crate::Options::authenticator).
///
/// ```
/// use std::sync::Arc;
/// use quelea_client::{Options, Scram};
///
/// # fn main() -> Result<(), quelea_client::ScramError> {
/// let options = Options::new().authenticator(Arc::new(Scram::new("user", "pencil")?));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Scram {
    username: String,
    password: String,
}

/// Why a user cannot be authenticated, whatever the broker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScramError {
    /// The password has characters that SASLprep forbids.
    PasswordInvalid,
    /// The user name is empty, or has characters that SASLprep forbids.
    UsernameInvalid,
}

/// One authentication.
struct Conversation {
    scram: Scram,
    nonce: String,
    /// What the broker has to say at the end, once it has said enough for that to be known.
    expected: Option<Vec<u8>>,
}

impl Scram {
    /// Returns the authentication of a user. Characters that only look different are made the same (SASLprep, RFC 4013),
    /// as the broker does.
    ///
    /// # Errors
    ///
    /// [`ScramError`] for a name or password that cannot be anyone's.
    pub fn new(username: &str, password: &str) -> Result<Self, ScramError> {
        let username = saslprep(username).map_err(|_| ScramError::UsernameInvalid)?.into_owned();
        if username.is_empty() {
            return Err(ScramError::UsernameInvalid);
        }
        let password = saslprep(password).map_err(|_| ScramError::PasswordInvalid)?.into_owned();
        Ok(Self { username, password })
    }

    fn with_nonce(&self, nonce: String) -> Conversation {
        Conversation { scram: self.clone(), nonce, expected: None }
    }
}

impl Authenticator for Scram {
    fn method(&self) -> &str {
        "SCRAM-SHA-256"
    }

    fn begin(&self) -> Box<dyn Exchange> {
        let mut nonce = [0; NONCE_BYTES];
        // Without randomness there is an empty nonce, and `first` says nothing that a broker would accept.
        let nonce = rand::fill(&mut nonce).map(|()| base64(&nonce)).unwrap_or_default();
        Box::new(self.with_nonce(nonce))
    }
}

impl Conversation {
    fn first_bare(&self) -> String {
        let name = self.scram.username.replace('=', "=3D").replace(',', "=2C");
        format!("n={name},r={}", self.nonce)
    }

    /// Returns the last message, and what the broker has to say to it.
    fn last(&self, server_first: &str) -> Result<(String, Vec<u8>), String> {
        let field =
            |letter| field(server_first, letter).ok_or("the broker's challenge is incomplete");
        let nonce = field('r')?;
        if self.nonce.is_empty() || !nonce.starts_with(&self.nonce) || nonce == self.nonce {
            return Err("the broker answers another exchange".to_owned());
        }
        let salt = from_base64(field('s')?).ok_or("the broker's salt is no base64")?;
        let iterations = field('i')?.parse().ok().filter(|it| ITERATIONS.contains(it));
        let iterations = iterations.and_then(NonZeroU32::new);
        let iterations = iterations.ok_or("the broker's number of iterations is unsafe")?;

        let mut salted = [0; digest::SHA256_OUTPUT_LEN];
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(algorithm, iterations, &salt, self.scram.password.as_bytes(), &mut salted);
        // "biws" is the header "n,,": no channel binding.
        let without_proof = format!("c=biws,r={nonce}");
        let signed = format!("{},{server_first},{without_proof}", self.first_bare());
        let client_key = sign(&salted, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, &client_key);
        let signature = sign(stored_key.as_ref(), signed.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, it)| key ^ it).collect();
        let expected = sign(&sign(&salted, b"Server Key"), signed.as_bytes());
        Ok((format!("{without_proof},p={}", base64(&proof)), expected))
    }
}

impl Exchange for Conversation {
    fn first(&mut self) -> Vec<u8> {
        format!("n,,{}", self.first_bare()).into_bytes()
    }

    fn answer(&mut self, data: &[u8]) -> Result<Vec<u8>, String> {
        if self.expected.is_some() {
            return Err("the broker asks twice".to_owned());
        }
        let challenge =
            std::str::from_utf8(data).map_err(|_| "the broker's challenge is no text")?;
        let (answer, expected) = self.last(challenge)?;
        self.expected = Some(expected);
        Ok(answer.into_bytes())
    }

    fn finish(&mut self, data: Option<&[u8]>) -> Result<(), String> {
        let said = data.and_then(|it| std::str::from_utf8(it).ok()).unwrap_or_default();
        let signature = field(said, 'v').and_then(from_base64).unwrap_or_default();
        match &self.expected {
            Some(expected)
                if constant_time::verify_slices_are_equal(expected, &signature).is_ok() =>
            {
                Ok(())
            }
            Some(_) | None => Err("the broker does not know the password either".to_owned()),
        }
    }
}

impl fmt::Debug for Scram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the password.
        f.debug_struct("Scram").field("username", &self.username).finish_non_exhaustive()
    }
}

impl fmt::Display for ScramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PasswordInvalid => {
                "the password has characters that nobody can type the same twice: leave out control characters, and do \
                 not mix directions of writing"
            }
            Self::UsernameInvalid => {
                "the user name is empty, or has control characters or mixed directions of writing"
            }
        })
    }
}

impl std::error::Error for ScramError {}

fn sign(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&Key::new(HMAC_SHA256, key), text).as_ref().to_vec()
}

/// Returns the value of `letter=value` in a list.
fn field(text: &str, letter: char) -> Option<&str> {
    text.split(',').find_map(|it| it.strip_prefix(letter)?.strip_prefix('='))
}

/// Random bytes that tell one exchange from another.
const NONCE_BYTES: usize = 18;

/// Fewer iterations than RFC 7677 demands would make the password cheap to guess; many more would let a broker keep us busy.
const ITERATIONS: std::ops::RangeInclusive<u32> = 4_096..=1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677 section 3
    #[test]
    fn the_exchange_of_the_standard() {
        let mut exchange = conversation();
        assert_eq!(exchange.first(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let answer = exchange.answer(CHALLENGE.as_bytes()).unwrap();
        let expected = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(String::from_utf8(answer).unwrap(), expected);
        let last = &b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="[..];
        assert_eq!(exchange.finish(Some(last)), Ok(()));
        exchange.finish(Some(b"v=AAAA")).expect_err("it is another broker");
        exchange.finish(None).expect_err("it says nothing");
        exchange.answer(CHALLENGE.as_bytes()).expect_err("it asks twice");
    }

    #[test]
    fn challenges_that_are_none_are_refused() {
        for challenge in [
            "",
            "r=another,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            &CHALLENGE.replace("i=4096", "i=1"),
            &CHALLENGE.replace("i=4096", "i=4000000000"),
            &CHALLENGE.replace("s=W22", "s=!!!"),
        ] {
            conversation().answer(challenge.as_bytes()).expect_err(challenge);
        }
        conversation().finish(Some(b"v=")).expect_err("it has not asked");
    }

    #[test]
    fn separators_in_a_name_are_escaped() {
        let scram = Scram::new("a=b,c", "").unwrap();
        assert_eq!(scram.with_nonce("x".to_owned()).first(), b"n,,n=a=3Db=2Cc,r=x");
    }

    /// RFC 4013 section 3
    #[test]
    fn what_looks_the_same_is_the_same() {
        for (given, prepared) in [
            ("I\u{AD}X", "IX"),
            ("user", "user"),
            ("USER", "USER"),
            ("\u{AA}", "a"),
            ("\u{2168}", "IX"),
            ("a\u{A0}b", "a b"),
        ] {
            let scram = Scram::new(given, given).unwrap();
            assert_eq!((&*scram.username, &*scram.password), (prepared, prepared));
        }
        for forbidden in ["\u{7}", "\u{627}\u{31}"] {
            assert_eq!(Scram::new(forbidden, "").err(), Some(ScramError::UsernameInvalid));
            assert_eq!(Scram::new("user", forbidden).err(), Some(ScramError::PasswordInvalid));
        }
        assert_eq!(Scram::new("\u{AD}", "").err(), Some(ScramError::UsernameInvalid));
    }

    fn conversation() -> Conversation {
        let scram = Scram::new("user", "pencil").expect("it is ASCII");
        scram.with_nonce("rOprNGfwEbeRWgbNEkqO".to_owned())
    }

    const CHALLENGE: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                             s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
}
