//! Somebody who issues tokens.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// A key by ES256, and its name.
pub(crate) struct Issuer {
    name: &'static str,
    key: EcdsaKeyPair,
}

impl Issuer {
    pub(crate) fn new(name: &'static str) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { name, key }
    }

    /// Returns a token for a user that holds for an hour.
    pub(crate) fn token(&self, user: &str) -> String {
        self.token_for(user, Duration::from_secs(3_600))
    }

    pub(crate) fn token_for(&self, user: &str, time: Duration) -> String {
        self.sign(&format!(r#"{{"sub":"{user}","exp":{}}}"#, from_now(time)))
    }

    /// Returns a token with these claims.
    pub(crate) fn sign(&self, claims: &str) -> String {
        self.sign_as(&format!(r#"{{"alg":"ES256","kid":"{}"}}"#, self.name), claims)
    }

    pub(crate) fn sign_as(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", to_base64_url(header), to_base64_url(claims));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", to_base64_url(signature))
    }

    /// Returns the set of keys of some issuers.
    pub(crate) fn set(issuers: &[&Self]) -> String {
        let keys: Vec<String> = issuers.iter().map(|it| it.jwk()).collect();
        format!(r#"{{"keys":[{}]}}"#, keys.join(","))
    }

    fn jwk(&self) -> String {
        let (x, y) = self.key.public_key().as_ref()[1..].split_at(32);
        let (x, y, name) = (to_base64_url(x), to_base64_url(y), self.name);
        format!(r#"{{"kty":"EC","crv":"P-256","use":"sig","kid":"{name}","x":"{x}","y":"{y}"}}"#)
    }

    pub(crate) fn pem(&self) -> String {
        let der = self.key.public_key().as_der().unwrap();
        let der = STANDARD.encode(der.as_ref());
        format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n")
    }
}

/// Returns a token by HS256.
pub(crate) fn sign_with_secret(secret: &[u8], claims: &str) -> String {
    let header = to_base64_url(r#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{header}.{}", to_base64_url(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", to_base64_url(signature))
}

/// Returns the second in so much time, as tokens have it.
pub(crate) fn from_now(time: Duration) -> u64 {
    (SystemTime::now() + time).duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn to_base64_url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
