//! What must hold for signed tokens and sets of keys.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quelea_auth::jwt::{
    Checks, Expiry, Keyring, Keys, Mapping, Template, TokenRules, Tokens, UserName,
};
use quelea_auth::{Credentials, Identity, Source, Verdict};

/// Bytes are a token, claims that the right issuer has signed, and a set of keys.
///
/// Nobody is let in without a signature of the issuer's, or beyond the end that a token names; a set of keys has as
/// many as may be, and none that strangers could sign with.
///
/// # Panics
///
/// When somebody is, or it has not.
pub fn check_jwt(input: &[u8]) {
    if let Some(identity) = judge(input) {
        check_identity(&identity);
        assert!(is_signed(input), "let in without a signature");
    }
    if let Some(identity) = judge(&sign(input)) {
        check_identity(&identity);
    }
    for keys in [Keys::of_server(input), Keys::of_file(input)].into_iter().flatten() {
        assert!((1..=32).contains(&keys.count()));
    }
    if let Ok(keys) = Keys::of_server(input) {
        let tokens = Tokens::new(rules(), Arc::new(Ring(Arc::new(keys))));
        for text in [input, &sign(br#"{"sub":"a","exp":99999999999}"#)] {
            let verdict = tokens.judge(&credentials(text));
            assert!(!matches!(verdict, Verdict::Accept(_)), "let in by a key of strangers");
        }
    }
}

fn check_identity(identity: &Identity) {
    let is_name = |it: &str| !it.is_empty() && !it.contains(char::is_control);
    assert!(identity.user.as_deref().is_some_and(is_name));
    assert!(identity.client_id.as_deref() == Some(CLIENT_ID));
    assert!(identity.expires_at.is_some_and(|it| it > SystemTime::now() - Duration::from_secs(60)));
    assert!(identity.claims.len() <= 256);
}

fn judge(token: &[u8]) -> Option<Identity> {
    static TOKENS: LazyLock<Tokens> = LazyLock::new(|| {
        let keys = Keys::of_secret(SECRET).expect("it is long enough");
        Tokens::new(rules(), Arc::new(Ring(Arc::new(keys))))
    });
    match TOKENS.judge(&credentials(token)) {
        Verdict::Accept(identity) => Some(identity),
        _ => None,
    }
}

fn is_signed(token: &[u8]) -> bool {
    let Some(dot) = token.iter().rposition(|it| *it == b'.') else { return false };
    let signature = URL_SAFE_NO_PAD.decode(&token[dot + 1..]).unwrap_or_default();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    hmac::verify(&key, &token[..dot], &signature).is_ok()
}

fn sign(claims: &[u8]) -> Vec<u8> {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)).into_bytes()
}

fn credentials(token: &[u8]) -> Credentials {
    Credentials {
        client_id: CLIENT_ID.into(),
        password: Some(token.into()),
        ..Credentials::default()
    }
}

fn rules() -> TokenRules {
    let template = |text| Template::parse(text).expect("it is one");
    TokenRules {
        checks: Checks {
            issuer: None,
            audience: None,
            leeway: Duration::from_secs(10),
            expiry: Expiry::Required,
        },
        mapping: Mapping {
            user: template("${sub}"),
            client_id: Some(template("${device.id}")),
            groups: Some(template("${roles}")),
            acl: Some(template("${acl}")),
        },
        user_name: UserName::Ignored,
    }
}

struct Ring(Arc<Keys>);

impl Keyring for Ring {
    fn keys(&self) -> Option<Arc<Keys>> {
        Some(Arc::clone(&self.0))
    }
}

const CLIENT_ID: &str = "d";
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
