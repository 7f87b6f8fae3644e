//! Tokens that are good, and those of someone clever.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaEncoding, RsaKeyPair,
};

use super::*;
use crate::encoding::{to_base64, to_base64_url};

/// The examples of RFC 7515 appendices A.1 to A.3, and RFC 8037 appendix A.4.
#[test]
fn signatures_of_the_standards() {
    let payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    for (jwk, header, payload, signature) in [
        (
            r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#,
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            payload,
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        ),
        (
            r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#,
            "eyJhbGciOiJSUzI1NiJ9",
            payload,
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
        (
            r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
            "eyJhbGciOiJFUzI1NiJ9",
            payload,
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
            "eyJhbGciOiJFZERTQSJ9",
            "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ] {
        let keys = Keys::of_file(format!(r#"{{"keys":[{jwk}]}}"#).as_bytes()).unwrap();
        let text = format!("{header}.{payload}.{signature}");
        let token = Token::read(text.as_bytes(), TOKEN_BYTES_MAX).unwrap().unwrap();
        assert_eq!(keys.verify(&token), Ok(()), "{jwk}");
        let text = format!("{header}.{payload}A.{signature}");
        let token = Token::read(text.as_bytes(), TOKEN_BYTES_MAX).unwrap().unwrap();
        assert_eq!(keys.verify(&token), Err(Fault::Signature), "{jwk}");
    }
}

/// Each kind of key, with each algorithm that it is for, in PEM and as a JWK.
#[test]
fn every_algorithm_has_its_key() {
    let signers = signers();
    let mut count = 0;
    for (index, signer) in signers.iter().enumerate() {
        for algorithm in signer.algorithms() {
            let token = signer.token(algorithm, "{}", CLAIMS);
            for keys in [signer.keys(), Keys::of_file(signer.set().as_bytes()).unwrap()] {
                check(keys, &token, Ok("bob"));
            }
            for (_, other) in signers.iter().enumerate().filter(|it| it.0 != index) {
                check_is_refused(other.keys(), &token);
            }
            count += 1;
        }
    }
    assert_eq!(count, 3 + 6 + 3 + 1);
}

#[test]
fn tokens_that_nobody_signed_are_refused() {
    let [.., signer] = &signers()[..] else { unreachable!() };
    let claims = to_base64_url(CLAIMS);
    for algorithm in ["none", "None", "NONE", "nOnE", "", "HS255", "RS1", "ES256K", "dir"] {
        let header = to_base64_url(format!(r#"{{"alg":"{algorithm}"}}"#));
        for signature in ["", "AAAA"] {
            check(signer.keys(), &format!("{header}.{claims}.{signature}"), Err(Fault::Algorithm));
        }
    }
    let token = signer.token("EdDSA", "{}", CLAIMS);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    check(signer.keys(), &format!("{signed}."), Err(Fault::Signature));
    check(signer.keys(), &format!("{signed}.{}", &signature[..40]), Err(Fault::Signature));
    check(signer.keys(), &format!("{signed}.{signature}="), Err(Fault::Signature));
    // What was signed may not change, not even in how it is written.
    let header = to_base64_url(r#"{ "alg":"EdDSA"}"#);
    check(signer.keys(), &format!("{header}.{claims}.{signature}"), Err(Fault::Signature));
}

/// The oldest trick: what everybody knows of a key, used as a secret.
#[test]
fn a_public_key_is_no_secret() {
    for signer in signers().iter().filter(|it| !matches!(it, Signer::Secret(_))) {
        let pem = signer.pem();
        for secret in [pem.as_bytes(), pem.trim_end().as_bytes(), &signer.public()] {
            let forger = Signer::Secret(secret.to_vec());
            for algorithm in forger.algorithms() {
                let token = forger.token(algorithm, "{}", CLAIMS);
                check(signer.keys(), &token, Err(Fault::Algorithm));
            }
        }
    }
}

/// A set says what its keys are for, and a token cannot choose otherwise.
#[test]
fn a_key_is_for_what_its_owner_says() {
    let signer = Signer::rsa();
    let jwk = signer.jwk();
    let set = |more: &str| format!(r#"{{"keys":[{}{more}}}]}}"#, jwk.strip_suffix('}').unwrap());
    let only = |more: &str| Keys::of_server(set(more).as_bytes());
    let token = signer.token("RS256", "{}", CLAIMS);
    check(only(r#","alg":"RS256","use":"sig","key_ops":["verify"]"#).unwrap(), &token, Ok("bob"));
    check(only(r#","alg":"PS256""#).unwrap(), &token, Err(Fault::Algorithm));
    for unfit in [
        r#","use":"enc""#,
        r#","key_ops":["encrypt"]"#,
        r#","key_ops":"verify""#,
        r#","alg":"ES256""#,
        r#","alg":"RSA-OAEP""#,
        r#","alg":"HS256""#,
    ] {
        assert!(only(unfit).is_err(), "{unfit}");
    }
}

#[test]
fn a_token_names_its_key() {
    let signers = [Signer::ed25519(), Signer::ed25519(), Signer::ed25519()];
    let jwk = |index: usize, id: &str| {
        let jwk = signers[index].jwk();
        format!(r#"{}{id}}}"#, jwk.strip_suffix('}').unwrap())
    };
    let set = |keys: &[String]| {
        Keys::of_server(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes()).unwrap()
    };
    let named = set(&[jwk(0, r#","kid":"a""#), jwk(1, r#","kid":"b""#)]);
    let token = |index: usize, header: &str| signers[index].token("EdDSA", header, CLAIMS);
    check(named.clone(), &token(0, r#"{"kid":"a"}"#), Ok("bob"));
    check(named.clone(), &token(1, r#"{"kid":"b"}"#), Ok("bob"));
    check(named.clone(), &token(1, "{}"), Ok("bob"));
    check(named.clone(), &token(0, r#"{"kid":"b"}"#), Err(Fault::Signature));
    check(named.clone(), &token(0, r#"{"kid":"c"}"#), Err(Fault::KeyId));
    check(named.clone(), &token(0, r#"{"kid":7}"#), Err(Fault::KeyId));
    check(named, &token(2, "{}"), Err(Fault::Signature));
    // A key without a name may be anyone's.
    let unnamed = set(&[jwk(0, r#","kid":"a""#), jwk(1, "")]);
    check(unnamed.clone(), &token(1, r#"{"kid":"c"}"#), Ok("bob"));
    check(unnamed, &token(0, r#"{"kid":"c"}"#), Err(Fault::Signature));
}

#[test]
fn what_a_token_says_of_itself_counts() {
    let signer = Signer::ed25519();
    let token = |claims: &str| signer.token("EdDSA", "{}", claims);
    check(signer.keys(), &token(r#"{"sub":"bob","exp":999}"#), Err(Fault::Expired));
    check(signer.keys(), &token(r#"{"sub":"bob","exp":2000,"nbf":1500}"#), Err(Fault::NotYet));
    check(signer.keys(), &token(r#"{"sub":"bob","exp":2000,"aud":"web"}"#), Err(Fault::Audience));
    check(signer.keys(), &token(r#"{"exp":2000}"#), Err(Fault::Claim("sub".into())));
    for payload in ["", "7", "null", "[]", "{\"sub\":\"bob\"", "\u{1}"] {
        check(signer.keys(), &token(payload), Err(Fault::Payload));
    }
    let critical = signer.token("EdDSA", r#"{"crit":["b64"],"b64":false}"#, CLAIMS);
    check(signer.keys(), &critical, Err(Fault::Critical));
    let long = signer.token("EdDSA", "{}", &format!(r#"{{"x":"{}"}}"#, "x".repeat(16_384)));
    check(signer.keys(), &long, Err(Fault::TooLong));
}

/// They are left to the next source, a password file for one.
#[test]
fn passwords_are_no_tokens() {
    let long = format!("{}.e30.AAAA", to_base64_url("x".repeat(20_000)));
    for password in
        ["", "pencil", "a.b.c", "..", "e30.e30.AAAA", "eyJhbGciOjd9.e30.", &long, "eyJh.a.b.c.d"]
    {
        let keyring = Ring::new(Some(Signer::ed25519().keys()));
        let tokens = Tokens::new(rules(), Arc::new(keyring));
        assert_eq!(tokens.judge(&login(password, "c", None)), Verdict::Next, "{password}");
    }
    let tokens = Tokens::new(rules(), Arc::new(Ring::new(None)));
    assert_eq!(tokens.judge(&Credentials::default()), Verdict::Next);
}

/// Whoever has a token for one client identifier cannot come as another, or bring it for another later.
#[test]
fn a_token_for_one_client_is_not_for_another() {
    let signer = Signer::ed25519();
    let client_id = Some(Template::parse("dev-${sub}").unwrap());
    let mapping = Mapping { client_id, ..rules().mapping };
    let rules = TokenRules { mapping, ..rules() };
    let tokens = Tokens::new(rules, Arc::new(Ring::new(Some(signer.keys()))));
    let token = signer.token("EdDSA", "{}", r#"{"sub":"a","exp":99999999999}"#);
    let invalid = ReasonCode::CLIENT_IDENTIFIER_NOT_VALID;
    for (client_id, refusal) in
        [("dev-a", None), ("", None), ("dev-b", Some(invalid)), ("dev-", Some(invalid))]
    {
        let verdict = tokens.judge(&login(&token, client_id, None));
        let step = tokens.begin("JWT", client_id).unwrap().step(token.as_bytes());
        match (verdict, step, refusal) {
            (Verdict::Accept(identity), Step::Identify(same, _), None) => {
                assert_eq!(identity.client_id.as_deref(), Some("dev-a"));
                assert_eq!(identity, *same);
            }
            (Verdict::Refuse(reason), Step::Refuse(same), Some(expected)) => {
                assert_eq!((reason, same), (expected, expected));
            }
            (verdict, step, _) => panic!("{client_id}: {verdict:?}, {step:?}"),
        }
    }
}

#[test]
fn a_user_name_counts_where_that_is_said() {
    let signer = Signer::ed25519();
    let token = signer.token("EdDSA", "{}", r#"{"sub":"bob","exp":99999999999}"#);
    for (rule, name, is_accepted) in [
        (UserName::Ignored, Some("amy"), true),
        (UserName::Matches, Some("amy"), false),
        (UserName::Matches, Some("bob"), true),
        (UserName::Matches, None, true),
    ] {
        let rules = TokenRules { user_name: rule, ..rules() };
        let tokens = Tokens::new(rules, Arc::new(Ring::new(Some(signer.keys()))));
        let verdict = tokens.judge(&login(&token, "c", name));
        assert_eq!(matches!(verdict, Verdict::Accept(_)), is_accepted, "{rule:?} {name:?}");
    }
}

#[test]
fn without_keys_a_client_is_told_to_come_back() {
    let tokens = Tokens::new(rules(), Arc::new(Ring::new(None)));
    let token = Signer::ed25519().token("EdDSA", "{}", CLAIMS);
    let verdict = tokens.judge(&login(&token, "c", None));
    assert_eq!(verdict, Verdict::Refuse(ReasonCode::SERVER_UNAVAILABLE));
}

/// Only a key that is missing is asked for; a wrong signature is wrong at once.
#[test]
fn a_missing_key_is_waited_for() {
    let (old, new) = (Signer::ed25519(), Signer::ed25519());
    let set = |signer: &Signer, id: &str| {
        let jwk = signer.jwk();
        format!(r#"{{"keys":[{},"kid":"{id}"}}]}}"#, jwk.strip_suffix('}').unwrap())
    };
    let token = |signer: &Signer, id: &str| {
        let header = format!(r#"{{"kid":"{id}"}}"#);
        signer.token("EdDSA", &header, r#"{"sub":"bob","exp":99999999999}"#)
    };
    let (sender, wakes) = std::sync::mpsc::channel();
    let wake = Box::new(move || sender.send(()).unwrap());
    let ring = Arc::new(ServerKeys::new("test", Duration::from_secs(60), wake));
    let fetch = |answer: Result<&str, &str>| {
        assert!(ring.begin());
        match &answer {
            Ok(body) => ring.finish(Ok(Fetched { body: body.as_bytes(), fresh: None })),
            Err(why) => ring.finish(Err(why)),
        }
    };
    let tokens = Tokens::new(rules(), Arc::<ServerKeys>::clone(&ring));
    let judged = |token: &str| tokens.begin("JWT", "c").unwrap().step(token.as_bytes());
    let bad = Step::Refuse(ReasonCode::BAD_USER_NAME_OR_PASSWORD);
    let bob = |step| matches!(step, Step::Identify(it, _) if it.user.as_deref() == Some("bob"));
    fetch(Ok(&set(&old, "old")));
    assert!(bob(judged(&token(&old, "old"))));
    assert_eq!(judged(&token(&new, "old")), bad);
    assert!(wakes.try_recv().is_err());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| judged(&token(&new, "new")));
        wakes.recv().unwrap();
        // One thread waits; a second is for those who need none of this.
        while !tokens.judge.has_waiting_thread.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        let unavailable = Step::Refuse(ReasonCode::SERVER_UNAVAILABLE);
        assert_eq!(judged(&token(&new, "new")), unavailable);
        wakes.recv().unwrap();
        fetch(Ok(&set(&new, "new")));
        assert!(bob(waiting.join().unwrap()));
        // A CONNECT is judged later, and holds up no thread.
        let verdict = tokens.judge(&login(&token(&new, "bogus"), "c", None));
        let Verdict::Later(later) = verdict else { panic!("{verdict:?}") };
        let mut later = pin!(later);
        let mut context = Context::from_waker(Waker::noop());
        assert!(later.as_mut().poll(&mut context).is_pending());
        wakes.recv().unwrap();
        fetch(Ok(&set(&new, "new")));
        let refused = Verdict::Refuse(ReasonCode::BAD_USER_NAME_OR_PASSWORD);
        assert_eq!(later.as_mut().poll(&mut context), Poll::Ready(refused));
        // Who cannot tell does not say that it is the token's fault.
        let waiting = scope.spawn(|| judged(&token(&new, "newest")));
        wakes.recv().unwrap();
        fetch(Err("dead"));
        assert_eq!(waiting.join().unwrap(), unavailable);
        // Nor does anyone wait any more.
        assert_eq!(judged(&token(&new, "newest")), unavailable);
        assert!(bob(judged(&token(&new, "new"))));
    });
}

#[test]
fn files_that_are_no_keys_are_refused() {
    let weak = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let private = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let certificate = private.replace("PRIVATE KEY", "CERTIFICATE");
    let good = Signer::Rsa(weak).pem();
    let half = &good[..good.len() / 2];
    let two = format!("{good}{half}");
    let many = good.repeat(33);
    for (text, why) in [
        ("", "it is empty"),
        ("pencil", "it has no PUBLIC KEY in PEM"),
        (half, "it is no PEM, or not whole"),
        (&*two, "it is no PEM, or not whole"),
        (&*many, "it has more than 32 keys"),
        ("{", "it is no JSON, or not whole"),
        ("{\"keys\":{}}", "it is no set of keys: it has no list \"keys\""),
        ("{\"keys\":[]}", "it has no key for signatures of a kind that is known"),
        (
            "{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2hvcnQ\"}]}",
            "it has no key for signatures of a kind that is known",
        ),
    ] {
        assert_eq!(Keys::of_file(text.as_bytes()).unwrap_err(), why, "{text}");
    }
    assert!(Keys::of_file(private.as_bytes()).unwrap_err().contains("private key"));
    assert!(Keys::of_file(certificate.as_bytes()).unwrap_err().contains("certificate"));
    assert!(Keys::of_secret(&[b'x'; 31]).is_err() && Keys::of_secret(&[b'x'; 32]).is_ok());
    assert!(Keys::of_secret(b"0123456789012345678901234567890\n").is_err());
    let secret = to_base64(&[7; 32]);
    assert!(Keys::of_secret_in_base64(format!(" {secret}\n").as_bytes()).is_ok());
    assert!(Keys::of_secret_in_base64(&secret.as_bytes()[..40]).is_err());
}

/// What everybody can fetch is no secret, whatever the server says.
#[test]
fn a_server_gives_no_secrets() {
    let secret = Signer::Secret(vec![7; 64]);
    assert!(Keys::of_file(secret.set().as_bytes()).is_ok());
    assert!(Keys::of_server(secret.set().as_bytes()).is_err());
    let both = format!(r#"{{"keys":[{},{}]}}"#, secret.jwk(), Signer::ed25519().jwk());
    let keys = Keys::of_server(both.as_bytes()).unwrap();
    assert_eq!(keys.count(), 1);
    check_is_refused(keys, &secret.token("HS256", "{}", CLAIMS));
}

/// A secret is not longer than it is: what is too short for a hash is not for it.
#[test]
fn a_secret_is_as_long_as_its_hash() {
    let signer = Signer::Secret(vec![7; 32]);
    check(signer.keys(), &signer.token("HS256", "{}", CLAIMS), Ok("bob"));
    check(signer.keys(), &signer.token("HS384", "{}", CLAIMS), Err(Fault::Algorithm));
    check(signer.keys(), &signer.token("HS512", "{}", CLAIMS), Err(Fault::Algorithm));
}

#[test]
fn nothing_secret_is_printed() {
    let keys = Signer::Secret(b"0123456789abcdef0123456789abcdef".to_vec()).keys();
    let printed = format!("{keys:?}");
    assert!(!printed.contains("0123") && !printed.contains("48, 49"), "{printed}");
}

#[track_caller]
fn check(keys: Keys, token: &str, expected: Result<&str, Fault>) {
    let judge = Judge::new(rules(), Arc::new(Ring::new(Some(keys))));
    let judged = judge.judge(token.as_bytes(), "c", None, at(1000));
    let judged = judged.map(|it| it.and_then(|it| it.user).unwrap_or_default());
    assert_eq!(judged, expected.map(Into::into));
}

#[track_caller]
fn check_is_refused(keys: Keys, token: &str) {
    let judge = Judge::new(rules(), Arc::new(Ring::new(Some(keys))));
    let judged = judge.judge(token.as_bytes(), "c", None, at(1000));
    assert!(matches!(judged, Err(Fault::Algorithm | Fault::Signature)), "{judged:?}");
}

fn rules() -> TokenRules {
    TokenRules {
        checks: Checks {
            issuer: None,
            audience: None,
            leeway: Duration::ZERO,
            expiry: Expiry::Required,
        },
        mapping: Mapping {
            user: Template::parse("${sub}").unwrap(),
            client_id: None,
            groups: None,
            acl: None,
        },
        user_name: UserName::Ignored,
    }
}

fn login(password: &str, client_id: &str, user_name: Option<&str>) -> Credentials {
    Credentials {
        client_id: client_id.into(),
        user_name: user_name.map(Into::into),
        password: Some(password.as_bytes().into()),
        ..Credentials::default()
    }
}

fn at(secs: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(secs)
}

/// Some keys, or none.
struct Ring(Option<Arc<Keys>>);

impl Ring {
    fn new(keys: Option<Keys>) -> Self {
        Self(keys.map(Arc::new))
    }
}

impl Keyring for Ring {
    fn keys(&self) -> Option<Arc<Keys>> {
        self.0.clone()
    }
}

/// Somebody who issues tokens.
enum Signer {
    Ec(&'static str, EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
    Secret(Vec<u8>),
}

/// One of each kind, the last by Ed25519.
fn signers() -> Vec<Signer> {
    let ec = |curve, algorithm| Signer::Ec(curve, EcdsaKeyPair::generate(algorithm).unwrap());
    vec![
        Signer::Secret((0..64).collect()),
        Signer::rsa(),
        ec("P-256", &signature::ECDSA_P256_SHA256_FIXED_SIGNING),
        ec("P-384", &signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        ec("P-521", &signature::ECDSA_P521_SHA512_FIXED_SIGNING),
        Signer::ed25519(),
    ]
}

impl Signer {
    fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    fn algorithms(&self) -> Vec<&'static str> {
        match self {
            Self::Ec("P-256", _) => vec!["ES256"],
            Self::Ec("P-384", _) => vec!["ES384"],
            Self::Ec(..) => vec!["ES512"],
            Self::Ed25519(_) => vec!["EdDSA"],
            Self::Rsa(_) => vec!["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
            Self::Secret(_) => vec!["HS256", "HS384", "HS512"],
        }
    }

    /// Makes a token; `header` is an object with what it has beside the algorithm.
    fn token(&self, algorithm: &str, header: &str, claims: &str) -> String {
        let rest = header.trim_start_matches('{');
        let comma = if rest == "}" { "" } else { "," };
        let header = to_base64_url(format!(r#"{{"alg":"{algorithm}"{comma}{rest}"#));
        let signed = format!("{header}.{}", to_base64_url(claims));
        let signature = to_base64_url(self.sign(algorithm, signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn sign(&self, algorithm: &str, signed: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let rsa: &dyn RsaEncoding = match algorithm {
            "PS256" => &signature::RSA_PSS_SHA256,
            "PS384" => &signature::RSA_PSS_SHA384,
            "PS512" => &signature::RSA_PSS_SHA512,
            "RS384" => &signature::RSA_PKCS1_SHA384,
            "RS512" => &signature::RSA_PKCS1_SHA512,
            _ => &signature::RSA_PKCS1_SHA256,
        };
        let mac = match algorithm {
            "HS384" => hmac::HMAC_SHA384,
            "HS512" => hmac::HMAC_SHA512,
            _ => hmac::HMAC_SHA256,
        };
        match self {
            Self::Ec(_, key) => key.sign(&random, signed).unwrap().as_ref().to_vec(),
            Self::Ed25519(key) => key.sign(signed).as_ref().to_vec(),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(rsa, &random, signed, &mut signature).unwrap();
                signature
            }
            Self::Secret(secret) => {
                hmac::sign(&hmac::Key::new(mac, secret), signed).as_ref().to_vec()
            }
        }
    }

    fn keys(&self) -> Keys {
        match self {
            Self::Secret(secret) => Keys::of_secret(secret).unwrap(),
            _ => Keys::of_file(self.pem().as_bytes()).unwrap(),
        }
    }

    /// Returns the public key in DER.
    fn public(&self) -> Vec<u8> {
        match self {
            Self::Ec(_, key) => key.public_key().as_der().unwrap().as_ref().to_vec(),
            Self::Ed25519(key) => key.public_key().as_der().unwrap().as_ref().to_vec(),
            Self::Rsa(key) => key.public_key().as_der().unwrap().as_ref().to_vec(),
            Self::Secret(_) => unreachable!("a secret is not public"),
        }
    }

    fn pem(&self) -> String {
        let der = to_base64(&self.public());
        format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n")
    }

    fn jwk(&self) -> String {
        match self {
            Self::Ec(curve, key) => {
                let point = &key.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let (x, y) = (to_base64_url(x), to_base64_url(y));
                format!(r#"{{"kty":"EC","crv":"{curve}","x":"{x}","y":"{y}"}}"#)
            }
            Self::Ed25519(key) => {
                let x = to_base64_url(key.public_key().as_ref());
                format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#)
            }
            Self::Rsa(key) => {
                // A sequence of two integers. The first has a zero before it, as some write it in JSON too.
                let der = key.public_key().as_ref();
                let (n, e) = (&der[8..8 + 257], &der[der.len() - 3..]);
                let (n, e) = (to_base64_url(n), to_base64_url(e));
                format!(r#"{{"kty":"RSA","n":"{n}","e":"{e}"}}"#)
            }
            Self::Secret(secret) => format!(r#"{{"kty":"oct","k":"{}"}}"#, to_base64_url(secret)),
        }
    }

    fn set(&self) -> String {
        format!(r#"{{"keys":[{}]}}"#, self.jwk())
    }
}

const CLAIMS: &str = r#"{"sub":"bob","exp":2000}"#;
