use std::num::NonZeroU32;
use std::time::{Duration, UNIX_EPOCH};

use quelea_acl::read_json;
use quelea_codec::{ReasonCode, Version};
use rcgen::DnType;
use serde_json::{Value, json};

use super::{Fault, question, read_answer};
use crate::encoding::to_base64;
use crate::holder::tests::certificate;
use crate::{Certificate, Credentials, Identity, Limits, Secret, Verdict};

#[test]
fn a_question_has_what_the_client_says() {
    let minimal = json!({ "version": 1, "client_id": "", "listener": "" });
    check_question(Credentials::default(), minimal);
    let full = Credentials {
        version: Some(Version::V311),
        address: Some([192, 0, 2, 7].into()),
        ..client()
    };
    let expected = json!({
        "version": 1, "client_id": "c", "listener": "0.0.0.0:1883", "protocol": "3.1.1",
        "address": "192.0.2.7", "username": "bob", "password": "pencil \"\\",
    });
    check_question(full, expected);
}

#[test]
fn a_password_may_be_no_text() {
    let password = Some(Secret::from(&[0xFF, 0][..]));
    let expected =
        json!({ "version": 1, "client_id": "", "listener": "", "password_base64": "/wA=" });
    check_question(Credentials { password, ..Credentials::default() }, expected);
}

#[test]
fn a_question_has_what_a_certificate_says() {
    let certificate = certificate(|params| {
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.distinguished_name.push(DnType::CommonName, "sensor 7");
    });
    let Certificate::Der(der) = &certificate else { panic!("it is one") };
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
    let digits: String = digest.as_ref().iter().map(|it| format!("{it:02x}")).collect();
    check_certificate(
        certificate.clone(),
        json!({
            "common_name": "sensor 7", "fingerprint": digits, "subject": "CN=sensor 7,O=Example",
            "der": to_base64(der),
        }),
    );
    check_certificate(Certificate::CommonName("x".into()), json!({ "common_name": "x" }));
}

#[track_caller]
fn check_certificate(certificate: Certificate, expected: Value) {
    let expected =
        json!({ "version": 1, "client_id": "", "listener": "", "certificate": expected });
    check_question(
        Credentials { certificate: Some(certificate), ..Credentials::default() },
        expected,
    );
}

#[test]
fn an_answer_says_who_it_is() {
    let bob = Identity::of_user("bob");
    check(json!({ "result": "allow" }), Ok(Verdict::Accept(bob.clone())));
    check(json!({ "result": "allow", "client_id": "c", "user": null, "acl": null }), {
        Ok(Verdict::Accept(Identity { client_id: Some("c".into()), ..bob }))
    });
    let answer = json!({
        "result": "allow", "user": "robert", "groups": ["a", "b"],
        "claims": { "level": 3, "site": "x", "vip": true },
        "acl": [{ "allow": ["publish"], "topics": ["a/#"] }],
        "limits": { "messages_per_sec": 7, "bytes_per_sec": null, "bytes_out_per_sec": 4_000_000_000_u32 },
        "expires_at": 7,
    });
    let rules = read_json(r#"[{ "allow": "publish", "topics": "a/#" }]"#).unwrap();
    let identity = Identity {
        groups: ["a".into(), "b".into()].into(),
        claims: [("level", "3"), ("site", "x"), ("vip", "true")]
            .map(|(a, b)| (a.into(), b.into()))
            .into(),
        rules: Some(rules),
        limits: Limits {
            messages_per_sec: NonZeroU32::new(7),
            bytes_out_per_sec: NonZeroU32::new(4_000_000_000),
            ..Limits::default()
        },
        expires_at: Some(UNIX_EPOCH + Duration::from_secs(7)),
        ..Identity::of_user("robert")
    };
    check(answer, Ok(Verdict::Accept(identity)));
}

#[test]
fn others_may_know_it_or_nobody() {
    let bad = ReasonCode::BAD_USER_NAME_OR_PASSWORD;
    check(json!({ "result": "deny", "is_superuser": false }), Ok(Verdict::Refuse(bad)));
    check(json!({ "result": "next" }), Ok(Verdict::Next));
    check(json!({ "result": "ignore" }), Ok(Verdict::Next));
    let nameless = read_answer(br#"{"result":"deny"}"#, &Credentials::default());
    assert_eq!(nameless, Ok(Verdict::Refuse(ReasonCode::NOT_AUTHORIZED)));
}

#[test]
fn a_client_without_an_identifier_is_given_one() {
    let answer = br#"{"result":"allow","client_id":"c7"}"#;
    let identity = Identity { client_id: Some("c7".into()), ..Identity::default() };
    let read = read_answer(answer, &Credentials::default());
    assert_eq!(read, Ok(Verdict::Accept(identity)));
}

#[test]
fn what_is_wrong_lets_nobody_in() {
    for body in [
        "",
        "allow",
        "\"allow\"",
        "[]",
        "null",
        "true",
        "{",
        "{}{}",
        "{\"result\":\"allow\"",
        "\u{FEFF}{}",
    ] {
        assert_eq!(read_answer(body.as_bytes(), &client()), Err(Fault::NotJson), "{body}");
    }
    let nested = "[".repeat(100_000);
    assert_eq!(read_answer(nested.as_bytes(), &client()), Err(Fault::NotJson));
    for result in
        [json!("Allow"), json!("ok"), json!(true), json!(null), json!(["allow"]), json!(1)]
    {
        check_wrong("result", json!({ "result": result }));
    }
    check_wrong("result", json!({ "allow": true }));
    let long = "x".repeat(70_000);
    for (key, value) in [
        ("user", json!("")),
        ("user", json!("a\nb")),
        ("user", json!(7)),
        ("user", json!(long)),
        ("client_id", json!({})),
        ("groups", json!("a b")),
        ("groups", json!(["a", 1])),
        ("groups", json!(vec!["a"; 65])),
        ("claims", json!([])),
        ("claims", json!({ "a": null })),
        ("claims", json!({ "a": { "b": 1 } })),
        ("limits", json!([])),
        ("limits", json!({ "messages": 1 })),
        ("limits", json!({ "messages_per_sec": 0 })),
        ("limits", json!({ "messages_per_sec": 4_294_967_296_u64 })),
        ("limits", json!({ "messages_per_sec": "7" })),
        ("expires_at", json!("never")),
        ("expires_at", json!(-1)),
        ("expires_at", json!(1.5)),
        ("expires_at", json!(u64::MAX)),
    ] {
        check_wrong(key, json!({ "result": "allow", key: value }));
    }
}

#[test]
fn wrong_rules_let_nobody_in() {
    let rule = json!({ "allow": "publish", "topics": "a" });
    for rules in [
        json!({}),
        json!("topic a"),
        json!(["topic a"]),
        json!([{ "alow": "publish", "topics": "a" }]),
        json!([rule, { "topics": "a" }]),
        json!(vec![rule.clone(); 257]),
    ] {
        let answer = json!({ "result": "allow", "acl": rules }).to_string();
        let read = read_answer(answer.as_bytes(), &client());
        assert!(matches!(read, Err(Fault::Rules(_))), "{read:?}");
    }
    check(json!({ "result": "allow", "acl": [] }), {
        let rules = Some(read_json("[]").unwrap());
        Ok(Verdict::Accept(Identity { rules, ..Identity::of_user("bob") }))
    });
}

#[test]
fn a_misspelt_key_is_no_key() {
    let answer = json!({ "result": "allow", "acls": [] });
    check(answer, Err(Fault::UnknownKey("acls".into())));
    let answer = json!({ "result": "allow", "x".repeat(1_000): 1 });
    check(answer, Err(Fault::UnknownKey("x".repeat(40).into())));
}

#[test]
fn an_answer_about_another_client_is_none() {
    let answer = json!({ "result": "allow", "client_id": "d" });
    check(answer, Err(Fault::AnotherClient));
}

fn client() -> Credentials {
    Credentials {
        client_id: "c".into(),
        user_name: Some("bob".into()),
        password: Some(Secret::from(&b"pencil \"\\"[..])),
        listener: "0.0.0.0:1883".into(),
        ..Credentials::default()
    }
}

#[track_caller]
fn check_question(credentials: Credentials, expected: Value) {
    let asked: Value = serde_json::from_slice(&question(&credentials)).unwrap();
    assert_eq!(asked, expected);
}

#[track_caller]
fn check(answer: Value, expected: Result<Verdict, Fault>) {
    assert_eq!(read_answer(answer.to_string().as_bytes(), &client()), expected);
}

#[track_caller]
fn check_wrong(key: &str, answer: Value) {
    let read = read_answer(answer.to_string().as_bytes(), &client());
    assert!(matches!(read, Err(Fault::Value { key: it, .. }) if it == key), "{read:?}");
}
