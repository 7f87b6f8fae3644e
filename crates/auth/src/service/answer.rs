//! What a service says.
//!
//! An answer that lets a client in is read strictly: a key that is misspelt is a group, a rule or a limit that would
//! be missing. One that does not may say what it likes beside.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use quelea_acl::{Rule, RulesError, read_json};
use quelea_codec::ReasonCode;
use serde_json::{Map, Value};

use crate::{Credentials, Identity, Limits, Verdict};

/// What is wrong with an answer. It names keys, and repeats no values but those of rules: one could be a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is about another client.
    AnotherClient,
    /// It is no JSON object.
    NotJson,
    /// Its rules are not right.
    Rules(RulesError),
    /// A key has a value that it cannot have.
    Value {
        /// The key.
        key: &'static str,
        /// What it can have.
        expected: &'static str,
    },
    /// There is no such key.
    UnknownKey(Box<str>),
}

/// Reads the body of an answer about a client.
///
/// # Errors
///
/// It means nothing that the client could be let in or refused by.
pub fn read_answer(body: &[u8], credentials: &Credentials) -> Result<Verdict, Fault> {
    let value: Value = serde_json::from_slice(body).map_err(|_| Fault::NotJson)?;
    let Value::Object(answer) = value else { return Err(Fault::NotJson) };
    match answer.get("result").and_then(Value::as_str) {
        Some("allow") => identity(answer, credentials).map(Verdict::Accept),
        Some("deny") => Ok(Verdict::Refuse(denial(credentials))),
        // The second is the word of EMQX for it.
        Some("next" | "ignore") => Ok(Verdict::Next),
        Some(_) | None => Err(wrong("result", "\"allow\", \"deny\" or \"next\"")),
    }
}

/// Returns what a client is told that a service denies: as a chain in which nobody knows it.
fn denial(credentials: &Credentials) -> ReasonCode {
    match credentials.user_name {
        Some(_) => ReasonCode::BAD_USER_NAME_OR_PASSWORD,
        None => ReasonCode::NOT_AUTHORIZED,
    }
}

fn identity(answer: Map<String, Value>, credentials: &Credentials) -> Result<Identity, Fault> {
    let user = credentials.user_name.clone().filter(|it| !it.is_empty());
    let mut identity = Identity { user, ..Identity::default() };
    for (key, value) in answer {
        // Many a program writes what it does not have as null.
        if value.is_null() {
            continue;
        }
        match key.as_str() {
            "result" => {}
            "user" => identity.user = Some(name(&value).ok_or(wrong("user", A_NAME))?),
            "client_id" => identity.client_id = Some(client_id(&value, credentials)?),
            "groups" => identity.groups = groups(&value).ok_or(wrong("groups", NAMES))?,
            "claims" => identity.claims = claims(value).ok_or(wrong("claims", CLAIMS))?.into(),
            "acl" => identity.rules = Some(rules(&value)?),
            "limits" => identity.limits = limits(value).ok_or(wrong("limits", LIMITS))?,
            "expires_at" => {
                let at = value.as_u64().filter(|it| *it <= EXPIRY_MAX);
                let at = at.ok_or(wrong("expires_at", "a number of seconds since 1970"))?;
                identity.expires_at = Some(UNIX_EPOCH + Duration::from_secs(at));
            }
            _ => return Err(Fault::UnknownKey(key.chars().take(KEY_CHARS_SHOWN).collect())),
        }
    }
    Ok(identity)
}

/// Reads the client identifier. Only who has said none can be given one: another than what the client says means that
/// the answer is not to this question.
fn client_id(value: &Value, credentials: &Credentials) -> Result<Box<str>, Fault> {
    let id = name(value).ok_or(wrong("client_id", A_NAME))?;
    let is_its = credentials.client_id.is_empty() || credentials.client_id == id;
    is_its.then_some(id).ok_or(Fault::AnotherClient)
}

fn groups(value: &Value) -> Option<Box<[Box<str>]>> {
    let names = value.as_array().filter(|it| it.len() <= GROUPS_MAX)?;
    names.iter().map(name).collect()
}

fn claims(value: Value) -> Option<Vec<(Box<str>, Box<str>)>> {
    let Value::Object(claims) = value else { return None };
    if claims.len() > CLAIMS_MAX {
        return None;
    }
    let text = |value: Value| match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is_so) => Some(is_so.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    claims.into_iter().map(|(name, value)| Some((name.into(), text(value)?.into()))).collect()
}

fn rules(value: &Value) -> Result<Arc<[Rule]>, Fault> {
    read_json(&value.to_string()).map_err(Fault::Rules)
}

fn limits(value: Value) -> Option<Limits> {
    let Value::Object(given) = value else { return None };
    let mut limits = Limits::default();
    for (key, value) in given {
        let limit = match key.as_str() {
            "messages_per_sec" => &mut limits.messages_per_sec,
            "bytes_per_sec" => &mut limits.bytes_per_sec,
            "messages_out_per_sec" => &mut limits.messages_out_per_sec,
            "bytes_out_per_sec" => &mut limits.bytes_out_per_sec,
            _ => return None,
        };
        if !value.is_null() {
            let number = value.as_u64().and_then(|it| u32::try_from(it).ok());
            *limit = Some(number.and_then(NonZeroU32::new)?);
        }
    }
    Some(limits)
}

/// Reads a name: not empty, and nothing that MQTT would not take as a text ([MQTT-1.5.4-2] and what follows it).
fn name(value: &Value) -> Option<Box<str>> {
    let name = value.as_str()?;
    let is_name = !name.is_empty() && name.len() <= NAME_BYTES_MAX;
    (is_name && !name.contains(char::is_control)).then(|| name.into())
}

fn wrong(key: &'static str, expected: &'static str) -> Fault {
    Fault::Value { key, expected }
}

const A_NAME: &str = "a text that is not empty, without control characters";
const NAMES: &str = "a list of at most 64 texts";
const CLAIMS: &str = "an object of at most 64 texts, numbers, true and false";
const LIMITS: &str = "an object of numbers from 1 on: messages_per_sec, bytes_per_sec, messages_out_per_sec, \
                      bytes_out_per_sec";

const GROUPS_MAX: usize = 64;
const CLAIMS_MAX: usize = 64;

/// The longest text that MQTT has (section 1.5.4).
const NAME_BYTES_MAX: usize = 65_535;

/// The year 9999: what a system's clock can still say.
const EXPIRY_MAX: u64 = 253_402_300_799;

/// How much of an unknown key an error repeats.
const KEY_CHARS_SHOWN: usize = 40;

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnotherClient => {
                f.write_str("\"client_id\" is not that of the client that was asked about")
            }
            Self::NotJson => f.write_str("it is not a JSON object"),
            Self::Rules(error) => write!(f, "\"acl\": {error}"),
            Self::Value { key, expected } => write!(f, "\"{key}\" must be {expected}"),
            Self::UnknownKey(key) => write!(f, "there is no key {key:?}"),
        }
    }
}

impl std::error::Error for Fault {}
