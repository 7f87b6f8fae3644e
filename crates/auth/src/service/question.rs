//! What a service is asked.

use quelea_codec::Version;
use serde_json::{Map, Value};

use crate::encoding::to_base64;
use crate::holder::Holder;
use crate::{Certificate, CertificateField, Credentials};

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
    if let Some(certificate) = &credentials.certificate {
        say("certificate", describe(certificate));
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

/// Says what a certificate does. Of what it has several of, nothing: the service can look itself.
fn describe(certificate: &Certificate) -> Value {
    let mut said = Map::new();
    if let Some(holder) = Holder::of(certificate) {
        for (name, field) in FIELDS {
            said.extend(holder.value(*field).map(|it| ((*name).to_owned(), (*it).into())));
        }
    }
    if let Certificate::Der(der) = certificate {
        said.insert("der".to_owned(), to_base64(der).into());
    }
    said.into()
}

const FIELDS: &[(&str, CertificateField)] = &[
    ("common_name", CertificateField::CommonName),
    ("fingerprint", CertificateField::Fingerprint),
    ("subject", CertificateField::Subject),
];

/// Goes up when a service has to know, which new keys are no reason for.
const FORMAT: u32 = 1;
