//! A token as a text: the compact form of a signed JWT (RFC 7515, RFC 7519).

use serde_json::{Map, Value};

use super::Fault;
use super::key::Algorithm;
use crate::encoding::from_base64_url;

/// A token that was taken apart, and not believed yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) algorithm: Algorithm,
    /// Which key it says it was signed with.
    pub(super) key_id: Option<Box<str>>,
    /// What the signature is of.
    pub(super) signed: &'a [u8],
    pub(super) signature: Vec<u8>,
    payload: &'a [u8],
}

impl<'a> Token<'a> {
    /// Takes a text apart. Nothing comes of one that is no token at all: three parts, of which the first is a
    /// header that names an algorithm. Such a text may be a password.
    ///
    /// # Errors
    ///
    /// It is a token, and cannot be good.
    pub(super) fn read(text: &'a [u8], bytes_max: usize) -> Result<Option<Self>, Fault> {
        let mut parts = text.split(|it| *it == b'.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Ok(None);
        };
        // Nothing is decoded that is longer than all of a token may be.
        if header.len() > bytes_max {
            return Ok(None);
        }
        let Some(header) = object(header) else { return Ok(None) };
        let Some(algorithm) = header.get("alg").and_then(Value::as_str) else { return Ok(None) };
        if text.len() > bytes_max {
            return Err(Fault::TooLong);
        }
        let algorithm = Algorithm::named(algorithm).ok_or(Fault::Algorithm)?;
        // It says that whoever does not understand must refuse, and we understand none (RFC 7515 section 4.1.11).
        if header.contains_key("crit") {
            return Err(Fault::Critical);
        }
        let key_id = match header.get("kid") {
            Some(id) => Some(id.as_str().ok_or(Fault::KeyId)?.into()),
            None => None,
        };
        let signed = &text[..text.len() - signature.len() - 1];
        let signature = from_base64_url(signature).ok_or(Fault::Signature)?;
        Ok(Some(Self { algorithm, key_id, signed, signature, payload }))
    }

    /// Returns what it says, for whoever has checked the signature.
    ///
    /// # Errors
    ///
    /// It is no object of JSON.
    pub(super) fn claims(&self) -> Result<Map<String, Value>, Fault> {
        object(self.payload).ok_or(Fault::Payload)
    }
}

/// Reads an object of JSON in base64. How deep it may be is bounded by `serde_json`: 128.
fn object(part: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(&from_base64_url(part)?).ok()
}
