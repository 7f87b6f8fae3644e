//! Keys of those who issue tokens, and the signatures that they check (RFC 7518, RFC 8037).
//!
//! A key says which algorithms it is for. So a token cannot choose one that makes a secret of a key that everybody
//! knows: what it says of its algorithm only picks among those of the key.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::rsa::{PublicEncryptingKey, PublicKeyComponents};
use aws_lc_rs::signature::{self, ParsedPublicKey, UnparsedPublicKey, VerificationAlgorithm};
use serde_json::{Map, Value};

use crate::Secret;
use crate::encoding::from_base64_url;

/// A key that tokens are checked with.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key {
    id: Option<Box<str>>,
    /// The only algorithm that it is for, if its owner said so.
    only: Option<Algorithm>,
    kind: Kind,
}

/// What a key is, and so what it can check. Public keys are as aws-lc-rs reads them.
#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Ed25519(Box<[u8]>),
    P256(Box<[u8]>),
    P384(Box<[u8]>),
    P521(Box<[u8]>),
    Rsa(Box<[u8]>),
    Secret(Secret),
}

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    EdDsa,
    Es256,
    Es384,
    Es512,
    Hs256,
    Hs384,
    Hs512,
    Ps256,
    Ps384,
    Ps512,
    Rs256,
    Rs384,
    Rs512,
}

/// How a key checks a signature of an algorithm.
enum Check {
    Mac(hmac::Algorithm),
    Public(&'static dyn VerificationAlgorithm),
}

impl Key {
    /// Makes a key of a secret. Nothing comes of one that is shorter than the shortest hash: it could be guessed
    /// (RFC 7518 section 3.2).
    pub(super) fn of_secret(secret: &[u8]) -> Option<Self> {
        let kind = Kind::Secret(Secret::from(secret));
        (secret.len() >= SECRET_BYTES_MIN).then_some(Self { id: None, only: None, kind })
    }

    /// Makes a key of a public one in DER, a SubjectPublicKeyInfo.
    pub(super) fn of_public(der: &[u8]) -> Option<Self> {
        let is = |algorithm| ParsedPublicKey::new(algorithm, der).is_ok();
        let kind = if is(&signature::ED25519) {
            Kind::Ed25519(der.into())
        } else if is(&signature::ECDSA_P256_SHA256_FIXED) {
            Kind::P256(der.into())
        } else if is(&signature::ECDSA_P384_SHA384_FIXED) {
            Kind::P384(der.into())
        } else if is(&signature::ECDSA_P521_SHA512_FIXED) {
            Kind::P521(der.into())
        } else {
            Kind::rsa(der)?
        };
        Some(Self { id: None, only: None, kind })
    }

    /// Reads a key of a set (RFC 7517). Nothing comes of one that is for something else, or that is not understood.
    pub(super) fn of_jwk(jwk: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let is_for_signatures = jwk.get("use").is_none_or(|it| it == "sig")
            && jwk.get("key_ops").is_none_or(|it| {
                it.as_array().is_some_and(|them| them.iter().any(|it| it == "verify"))
            });
        if !is_for_signatures {
            return None;
        }
        let bytes = |name: &str| from_base64_url(text(name)?);
        let kind = match (text("kty")?, text("crv")) {
            ("EC", Some("P-256")) => Kind::P256(point(&bytes("x")?, &bytes("y")?, 32)?),
            ("EC", Some("P-384")) => Kind::P384(point(&bytes("x")?, &bytes("y")?, 48)?),
            ("EC", Some("P-521")) => Kind::P521(point(&bytes("x")?, &bytes("y")?, 66)?),
            ("OKP", Some("Ed25519")) => {
                Kind::Ed25519(bytes("x").filter(|it| it.len() == 32)?.into())
            }
            ("RSA", _) => {
                let (n, e) = (bytes("n")?, bytes("e")?);
                let components = PublicKeyComponents { n: trimmed(&n), e: trimmed(&e) };
                let parsed =
                    components.to_parsed_public_key(&signature::RSA_PKCS1_2048_8192_SHA256).ok()?;
                Kind::rsa(parsed.as_ref())?
            }
            ("oct", _) => Self::of_secret(&bytes("k")?)?.kind,
            _ => return None,
        };
        let only = match jwk.get("alg") {
            Some(name) => Some(Algorithm::named(name.as_str()?)?),
            None => None,
        };
        let key = Self { id: text("kid").map(Into::into), only, kind };
        let is_sound = key.kind.is_sound() && only.is_none_or(|it| key.fits(it));
        is_sound.then_some(key)
    }

    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Returns whether whoever knows the key can make tokens too.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret(_))
    }

    /// Returns whether it can check signatures of this algorithm.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        self.only.is_none_or(|it| it == algorithm) && self.kind.check(algorithm).is_some()
    }

    /// Returns whether the signature is this key's. False also for an algorithm that does not fit.
    pub(super) fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        if !self.fits(algorithm) {
            return false;
        }
        match (self.kind.check(algorithm), self.kind.bytes()) {
            (Some(Check::Mac(algorithm)), bytes) => {
                hmac::verify(&hmac::Key::new(algorithm, bytes), signed, signature).is_ok()
            }
            (Some(Check::Public(algorithm)), bytes) => {
                UnparsedPublicKey::new(algorithm, bytes).verify(signed, signature).is_ok()
            }
            (None, _) => false,
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Kind {
    /// Those of fewer than 2,048 bits are refused: they can be broken.
    fn rsa(der: &[u8]) -> Option<Self> {
        PublicEncryptingKey::from_der(der).ok().map(|_| Self::Rsa(der.into()))
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Ed25519(bytes)
            | Self::P256(bytes)
            | Self::P384(bytes)
            | Self::P521(bytes)
            | Self::Rsa(bytes) => bytes,
            Self::Secret(secret) => secret.bytes(),
        }
    }

    /// Returns whether it is a key at all: a point on its curve.
    fn is_sound(&self) -> bool {
        let algorithm: &'static dyn VerificationAlgorithm = match self {
            Self::Ed25519(_) => &signature::ED25519,
            Self::P256(_) => &signature::ECDSA_P256_SHA256_FIXED,
            Self::P384(_) => &signature::ECDSA_P384_SHA384_FIXED,
            Self::P521(_) => &signature::ECDSA_P521_SHA512_FIXED,
            Self::Rsa(_) | Self::Secret(_) => return true,
        };
        ParsedPublicKey::new(algorithm, self.bytes()).is_ok()
    }

    /// The table of what a kind of key is for. A secret has to be as long as the hash.
    fn check(&self, algorithm: Algorithm) -> Option<Check> {
        use Algorithm::*;
        Some(match (self, algorithm) {
            (Self::Ed25519(_), EdDsa) => Check::Public(&signature::ED25519),
            (Self::P256(_), Es256) => Check::Public(&signature::ECDSA_P256_SHA256_FIXED),
            (Self::P384(_), Es384) => Check::Public(&signature::ECDSA_P384_SHA384_FIXED),
            (Self::P521(_), Es512) => Check::Public(&signature::ECDSA_P521_SHA512_FIXED),
            (Self::Rsa(_), Ps256) => Check::Public(&signature::RSA_PSS_2048_8192_SHA256),
            (Self::Rsa(_), Ps384) => Check::Public(&signature::RSA_PSS_2048_8192_SHA384),
            (Self::Rsa(_), Ps512) => Check::Public(&signature::RSA_PSS_2048_8192_SHA512),
            (Self::Rsa(_), Rs256) => Check::Public(&signature::RSA_PKCS1_2048_8192_SHA256),
            (Self::Rsa(_), Rs384) => Check::Public(&signature::RSA_PKCS1_2048_8192_SHA384),
            (Self::Rsa(_), Rs512) => Check::Public(&signature::RSA_PKCS1_2048_8192_SHA512),
            (Self::Secret(it), Hs256) if it.bytes().len() >= 32 => Check::Mac(hmac::HMAC_SHA256),
            (Self::Secret(it), Hs384) if it.bytes().len() >= 48 => Check::Mac(hmac::HMAC_SHA384),
            (Self::Secret(it), Hs512) if it.bytes().len() >= 64 => Check::Mac(hmac::HMAC_SHA512),
            _ => return None,
        })
    }
}

impl Algorithm {
    /// Returns the algorithm of this name. `none` is none of them.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            // The second is its name since RFC 9864.
            "EdDSA" | "Ed25519" => Self::EdDsa,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "ES512" => Self::Es512,
            "HS256" => Self::Hs256,
            "HS384" => Self::Hs384,
            "HS512" => Self::Hs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            _ => return None,
        })
    }
}

/// Returns a point of a curve, uncompressed.
fn point(x: &[u8], y: &[u8], bytes: usize) -> Option<Box<[u8]>> {
    let is_whole = x.len() == bytes && y.len() == bytes;
    is_whole.then(|| [&[4][..], x, y].concat().into())
}

/// Some write a number with zeros before it.
fn trimmed(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|it| **it == 0).count();
    &number[zeros..]
}

/// The least for the shortest hash, SHA-256.
pub(super) const SECRET_BYTES_MIN: usize = 32;
