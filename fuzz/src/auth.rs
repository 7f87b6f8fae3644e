//! What must hold for who clients are.

use quelea_auth::service::{question, read_answer};
use quelea_auth::{
    Certificate, CertificateField, Certificates, Credentials, Identity, Secret, Source as _, Users,
    Verdict,
};
use serde_json::Value;

/// A password file is read or refused by a line that is there, and what is written means what was read.
///
/// # Panics
///
/// When it is not, or does not.
pub fn check_password_file(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Users::parse(text) {
        Ok(users) => {
            let written = users.to_string();
            assert!(Users::parse(&written) == Ok(users), "{written}");
        }
        Err((line, _)) => assert!((1..=text.lines().count().max(1)).contains(&line)),
    }
}

/// Any bytes are a certificate that names its client, or nobody.
///
/// # Panics
///
/// When a name is none, or a field says two things.
pub fn check_certificate(input: &[u8]) {
    let certificate = Some(Certificate::Der(input.into()));
    let credentials = Credentials { certificate, ..Credentials::default() };
    for user in [
        CertificateField::CommonName,
        CertificateField::Fingerprint,
        CertificateField::OrganizationalUnit,
        CertificateField::SanDns,
        CertificateField::SanEmail,
        CertificateField::SanUri,
        CertificateField::Subject,
    ] {
        let groups = Some(CertificateField::OrganizationalUnit);
        let source = Certificates { user, client_id: Some(user), groups };
        match source.judge(&credentials) {
            Verdict::Accept(identity) => {
                let name = identity.user.as_deref().expect("it has a user");
                assert!(!name.is_empty() && !name.contains(char::is_control), "{name:?}");
                assert_eq!(identity.client_id, identity.user);
                assert!(identity.expires_at.is_some() && identity.rules.is_none());
            }
            verdict => assert_eq!(verdict, Verdict::Next),
        }
    }
}

/// The answer of a service lets in only whom it says, within bounds, and a question holds the password that it is about.
///
/// # Panics
///
/// When it does otherwise.
pub fn check_service_answer(input: &[u8]) {
    for client_id in ["", "c"] {
        let password = Some(Secret::from(input));
        let client =
            Credentials { client_id: client_id.into(), password, ..Credentials::default() };
        if let Ok(Verdict::Accept(identity)) = read_answer(input, &client) {
            check_identity(&identity, input, client_id);
        }
        let asked: Value = serde_json::from_slice(&question(&client)).expect("JSON");
        let text = std::str::from_utf8(input).ok();
        assert_eq!(asked.get("password").and_then(Value::as_str), text);
        assert_eq!(asked.get("password_base64").is_some(), text.is_none());
    }
}

fn check_identity(identity: &Identity, answer: &[u8], client_id: &str) {
    let answer: Value = serde_json::from_slice(answer).expect("it was read before");
    assert_eq!(answer["result"], "allow");
    let said = |key: &str| answer.get(key).and_then(Value::as_str);
    assert_eq!(identity.user.as_deref(), said("user"));
    assert_eq!(identity.client_id.as_deref(), said("client_id"));
    assert!(client_id.is_empty() || identity.client_id.as_deref().is_none_or(|it| it == client_id));
    assert!(identity.groups.len() <= 64 && identity.claims.len() <= 64);
    let rules = answer.get("acl").and_then(Value::as_array).map(Vec::len);
    assert_eq!(identity.rules.as_ref().map(|it| it.len()), rules);
}
