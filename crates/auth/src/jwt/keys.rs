//! Sets of keys, from what files and servers say.

use rustls_pki_types::pem::{PemObject as _, SectionKind};
use serde_json::Value;

use super::Fault;
use super::key::{Key, SECRET_BYTES_MIN};
use super::token::Token;
use crate::encoding::from_base64;

/// The keys of those whose tokens are good: at least one, and at most 32.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys(Box<[Key]>);

/// Why there are no keys to be had, in words for whoever wrote the file or runs the server. They repeat nothing of it.
pub type KeysError = &'static str;

impl Keys {
    /// Reads public keys in PEM, or a set in JSON, in which there may be secrets too.
    ///
    /// # Errors
    ///
    /// It is neither, or not whole.
    pub fn of_file(text: &[u8]) -> Result<Self, KeysError> {
        match text.iter().find(|it| !it.is_ascii_whitespace()) {
            Some(b'{') => Self::of_jwks(text),
            Some(_) => Self::of_pem(text),
            None => Err("it is empty"),
        }
    }

    /// Reads a set in JSON that came from a server (RFC 7517). There are no secrets in it: what everybody can fetch
    /// is none.
    ///
    /// # Errors
    ///
    /// It is none, or nothing in it is a key that can be used.
    pub fn of_server(text: &[u8]) -> Result<Self, KeysError> {
        let Self(keys) = Self::of_jwks(text)?;
        let keys: Box<[Key]> = keys.into_iter().filter(|it| !it.is_secret()).collect();
        if keys.is_empty() { Err(NO_KEY) } else { Ok(Self(keys)) }
    }

    /// Makes a secret of the text of a file. Its last line break is not part of it.
    ///
    /// # Errors
    ///
    /// It has fewer than 32 bytes.
    pub fn of_secret(text: &[u8]) -> Result<Self, KeysError> {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let key = Key::of_secret(text).ok_or(SHORT)?;
        Ok(Self(Box::new([key])))
    }

    /// Makes a secret of bytes in base64, as a file has them.
    ///
    /// # Errors
    ///
    /// It is no base64, or of fewer than 32 bytes.
    pub fn of_secret_in_base64(text: &[u8]) -> Result<Self, KeysError> {
        let text = str::from_utf8(text).ok().map(str::trim_ascii);
        let bytes = text.and_then(from_base64).ok_or("it is no base64")?;
        let key = Key::of_secret(&bytes).ok_or(SHORT)?;
        Ok(Self(Box::new([key])))
    }

    /// Keys that are not understood are passed over, as RFC 7517 section 5 asks.
    fn of_jwks(text: &[u8]) -> Result<Self, KeysError> {
        let set: Value = serde_json::from_slice(text).map_err(|_| "it is no JSON, or not whole")?;
        let keys = set.get("keys").and_then(Value::as_array);
        let keys = keys.ok_or("it is no set of keys: it has no list \"keys\"")?;
        if keys.len() > KEYS_MAX {
            return Err(TOO_MANY);
        }
        let keys: Box<[Key]> =
            keys.iter().filter_map(Value::as_object).filter_map(Key::of_jwk).collect();
        if keys.is_empty() { Err(NO_KEY) } else { Ok(Self(keys)) }
    }

    fn of_pem(text: &[u8]) -> Result<Self, KeysError> {
        let mut keys = Vec::new();
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
            let (kind, der) = section.map_err(|_| "it is no PEM, or not whole")?;
            match kind {
                SectionKind::PublicKey if keys.len() == KEYS_MAX => return Err(TOO_MANY),
                SectionKind::PublicKey => keys.push(Key::of_public(&der).ok_or(
                    "a key in it is not of a kind that is known (RSA of 2,048 bits or more, P-256, P-384, P-521, Ed25519)",
                )?),
                SectionKind::Certificate => {
                    return Err("it has a certificate: the public key of one is what \
                                `openssl x509 -pubkey -noout -in CERTIFICATE` prints");
                }
                SectionKind::RsaPrivateKey | SectionKind::PrivateKey | SectionKind::EcPrivateKey => {
                    return Err("it has a private key, which only those who issue tokens should have: the public \
                                one is what `openssl pkey -pubout -in KEY` prints");
                }
                _ => {}
            }
        }
        if keys.is_empty() { Err("it has no PUBLIC KEY in PEM") } else { Ok(Self(keys.into())) }
    }

    /// Checks the signature of a token with each key that it may be of: the one that it names, and those without a
    /// name.
    pub(super) fn verify(&self, token: &Token<'_>) -> Result<(), Fault> {
        let mut fault = Fault::KeyId;
        let is_named = |key: &&Key| match (&token.key_id, key.id()) {
            (Some(named), Some(id)) => **named == *id,
            (None, _) | (_, None) => true,
        };
        for key in self.0.iter().filter(is_named) {
            if !key.fits(token.algorithm) {
                // A signature that is wrong says more.
                fault = if fault == Fault::Signature { fault } else { Fault::Algorithm };
            } else if key.verifies(token.algorithm, token.signed, &token.signature) {
                return Ok(());
            } else {
                fault = Fault::Signature;
            }
        }
        Err(fault)
    }

    /// Returns how many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// So many signatures are checked for one token at most: by the slowest algorithms, ES384 and ES512, that takes some tens
/// of milliseconds, about as long as to hash a password.
const KEYS_MAX: usize = 32;

const NO_KEY: KeysError = "it has no key for signatures of a kind that is known";
const SHORT: KeysError = "the secret has fewer than 32 bytes, and could be guessed";
const TOO_MANY: KeysError = "it has more than 32 keys";

const _: () = assert!(SECRET_BYTES_MIN == 32, "SHORT says so");
