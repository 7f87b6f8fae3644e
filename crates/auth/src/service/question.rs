//! What a service is asked.

use aws_lc_rs::digest::{SHA256, digest};
use quelea_codec::Version;
use serde_json::{Map, Value, json};

use crate::encoding::to_base64;
use crate::{Certificate, Credentials};

/// Returns the question about a client, as JSON. It holds the client's password.
///
/// What the client did not say is not there: a service need not tell nothing from an empty text.
pub fn question(credentials: &Credentials) -> Vec<u8> {
    let mut question = Map::new();
    let mut say = |name: &str, value: Value| question.insert(name.to_owned(), value);
    say("version", FORMAT.into());
    say("client_id", (&*credentials.client_id).into());
    say("listener", (&*credentials.listener).into());
    if let Some(version) = credentials.version {
        say("protocol", protocol(version).into());
    }
    if let Some(address) = credentials.address {
        say("address", address.to_string().into());
    }
    if let Some(user_name) = &credentials.user_name {
        say("username", (&**user_name).into());
    }
    if let Some(password) = &credentials.password {
        // MQTT has bytes there, and JSON only text ([MQTT-3.1.3-12] for the other).
        match std::str::from_utf8(password.bytes()) {
            Ok(text) => say("password", text.into()),
            Err(_) => say("password_base64", to_base64(password.bytes()).into()),
        };
    }
    match &credentials.certificate {
        Some(Certificate::Der(der)) => {
            let fingerprint = hexadecimal(digest(&SHA256, der).as_ref());
            say("certificate", json!({ "fingerprint": fingerprint, "der": to_base64(der) }));
        }
        Some(Certificate::CommonName(name)) => {
            say("certificate", json!({ "common_name": &**name }));
        }
        None => {}
    }
    Value::Object(question).to_string().into_bytes()
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::V31 => "3.1",
        Version::V311 => "3.1.1",
        Version::V5 => "5.0",
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Goes up when a service has to know, which new keys are no reason for.
const FORMAT: u32 = 1;
