//! Signed tokens, from outside: who comes in by one, until when, and what becomes of it when their keys change, or the
//! server that publishes them fails.

#![allow(clippy::unwrap_used, reason = "the panic is the test's failure")]
#![allow(clippy::disallowed_methods, reason = "a test may look at the clock")]

mod house;
mod issuer;
mod server;

use std::fs;
use std::time::{Duration, Instant};

use quelea_broker::config::{Jwt, SecretEncoding};
use quelea_broker::{Broker, StartError};
use quelea_codec::Version;

use house::{House, config, path};
use issuer::{Issuer, from_now, sign_with_secret, to_base64_url};
use server::{Mood, Server, pki, response};

#[test]
fn a_token_opens_and_a_wrong_one_does_not() {
    let issuer = Issuer::new("a");
    let server = Server::start(Mood::Right(Issuer::set(&[&issuer])));
    let jwt = Jwt {
        issuer: Some("https://id".into()),
        audience: Some("mqtt".into()),
        leeway_secs: 0,
        ..jwks(server.url())
    };
    let house = House::new("opens", jwt);
    let exp = from_now(Duration::from_secs(3_600));
    let claims = |more: &str| format!(r#"{{"sub":"amy","exp":{exp},"iss":"https://id"{more}}}"#);
    let good = claims(r#","aud":["web","mqtt"]"#);
    assert_eq!(house.code("c", &issuer.sign(&good)), 0);
    // Who is no token is left to the password file.
    assert_eq!(house.login(Version::V5, "bob", "pencil"), 0);
    let past = from_now(Duration::ZERO) - 60;
    let none = format!("{}.{}.", to_base64_url(r#"{"alg":"none"}"#), to_base64_url(&good));
    for (token, why) in [
        (none, "alg: none"),
        (sign_with_secret(issuer.pem().as_bytes(), &good), "the public key as a secret"),
        (Issuer::new("a").sign(&good), "another key of the same name"),
        (Issuer::new("z").sign(&good), "a key that nobody has"),
        (issuer.sign(&claims("")), "no audience"),
        (issuer.sign(&claims(r#","aud":"web""#)), "another audience"),
        (issuer.sign(&good.replace("https://id", "https://evil")), "another issuer"),
        (issuer.sign(&good.replace(&exp.to_string(), &past.to_string())), "expired"),
        (issuer.sign(&claims(&format!(r#","aud":"mqtt","nbf":{exp}"#))), "not yet valid"),
        (issuer.sign(r#"{"sub":"amy","iss":"https://id","aud":"mqtt"}"#), "without end"),
        (issuer.sign_as(r#"{"alg":"ES256","kid":"a","crit":["x"],"x":1}"#, &good), "critical"),
        ("pencil".to_owned(), "no token, and no user name"),
    ] {
        assert_eq!(house.code("c", &token), 0x86, "{why}");
        // MQTT 3.1.1 has no password without a user name.
        assert_eq!(house.login(Version::V311, "eve", &token), 4, "{why}");
    }
}

#[test]
fn a_token_is_for_one_user_and_one_client() {
    let issuer = Issuer::new("a");
    let server = Server::start(Mood::Right(Issuer::set(&[&issuer])));
    let client_id = Some("dev-${device}".to_owned());
    let house =
        House::new("takeover", Jwt { client_id, match_user_name: true, ..jwks(server.url()) });
    let exp = from_now(Duration::from_secs(3_600));
    let token = |device: &str| {
        issuer.sign(&format!(r#"{{"sub":"fleet","device":"{device}","exp":{exp}}}"#))
    };
    let mut holder = house.client("dev-7", &token("7"));
    assert_eq!(holder.connack(), 0);
    assert_eq!(house.code("dev-7", &token("8")), 0x85);
    assert_eq!(house.code("anything", &token("7")), 0x85);
    assert_eq!(house.enhanced("dev-7", "JWT", &token("8")).connack(), 0x85);
    // A client that does not say who it is is told ([MQTT-3.2.2-16]).
    let mut unnamed = house.client("", &token("8"));
    assert!(unnamed.read().windows(5).any(|it| it == b"dev-8"));
    // Nor does it help to say another user name.
    assert_eq!(house.login(Version::V5, "admin", &token("admin")), 0x86);
    holder.ping();
    // Nor can a token for another be brought later.
    let mut other = house.enhanced("dev-9", "JWT", &token("9"));
    assert_eq!(other.connack(), 0);
    assert_eq!(other.authenticate_again("JWT", &token("7")), (0xE0, 0x87));
    holder.ping();
}

/// A token may bring rules, with its claims in them. Without any, or with wrong ones, it gains nothing.
#[test]
fn a_token_brings_rules() {
    let issuer = Issuer::new("a");
    let server = Server::start(Mood::Right(Issuer::set(&[&issuer])));
    let acl = Some("${mqtt_acl}".to_owned());
    let house = House::new("rules", Jwt { acl, ..jwks(server.url()) });
    let exp = from_now(Duration::from_secs(3_600));
    let token =
        |more: &str| issuer.sign(&format!(r#"{{"sub":"amy","site":"north","exp":{exp}{more}}}"#));
    let rules = r#","mqtt_acl":[{"allow":"subscribe","topics":"site/${site}/+"}]"#;
    let mut client = house.client("c", &token(rules));
    assert_eq!(client.connack(), 0);
    assert_eq!(client.subscribe("site/north/temperature"), 1);
    assert_eq!(client.subscribe("site/south/temperature"), 0x87);
    assert_eq!(client.subscribe("site/+/temperature"), 0x87);
    let mut without = house.client("c", &token(""));
    assert_eq!(without.connack(), 0);
    assert_eq!(without.subscribe("site/north/temperature"), 0x87);
    for wrong in
        [r#"[{"allow":"everything","topics":"a"}]"#, r#""all""#, r#"[{"alow":"subscribe"}]"#]
    {
        assert_eq!(house.code("c", &token(&format!(r#","mqtt_acl":{wrong}"#))), 0x87, "{wrong}");
    }
}

/// Nobody is let in by a token that has expired, or stays.
#[test]
fn a_token_that_expires_ends_the_connection() {
    let issuer = Issuer::new("a");
    let server = Server::start(Mood::Right(Issuer::set(&[&issuer])));
    let house = House::new("expires", Jwt { leeway_secs: 0, ..jwks(server.url()) });
    // From here on the keys are there: of those who come before, one thread waits for them.
    assert_eq!(house.code("c", &issuer.token("amy")), 0);
    let soon = || issuer.token_for("amy", Duration::from_secs(6));
    let mut plain = house.client("plain", &soon());
    let mut stays = house.enhanced("stays", "OAUTH2-JWT", &soon());
    let mut leaves = house.enhanced("leaves", "JWT", &soon());
    for client in [&mut plain, &mut stays, &mut leaves] {
        assert_eq!(client.connack(), 0);
        client.ping();
    }
    // Who brings the next in time goes on.
    assert_eq!(stays.authenticate_again("OAUTH2-JWT", &issuer.token("amy")), (0xF0, 0));
    assert_eq!(plain.closing(), 0x87);
    assert_eq!(leaves.closing(), 0x87);
    stays.ping();
    assert_eq!(stays.authenticate_again("OAUTH2-JWT", &issuer.token("bob")), (0xE0, 0x87));
}

/// The session is its user's, whichever token it comes with, and nobody else's.
#[test]
fn a_session_outlives_its_token() {
    let issuer = Issuer::new("a");
    let server = Server::start(Mood::Right(Issuer::set(&[&issuer])));
    let house = House::new("outlives", Jwt { leeway_secs: 0, ..jwks(server.url()) });
    let soon = issuer.token_for("amy", Duration::from_secs(4));
    let mut client = house.lasting("c", &soon);
    assert_eq!(client.connack(), 0);
    assert_eq!(client.closing(), 0x87);
    assert_eq!(house.code("c", &soon), 0x86);
    assert_eq!(house.code("c", &issuer.token("eve")), 0x85);
    let mut client = house.lasting("c", &issuer.token("amy"));
    let connack = client.read();
    // The session is present.
    assert_eq!(connack[2..4], [1, 0]);
}

#[test]
fn an_enhanced_authentication_ends_with_a_wrong_token() {
    let issuer = Issuer::new("a");
    let server = Server::start(Mood::Right(Issuer::set(&[&issuer])));
    let house = House::new("enhanced", jwks(server.url()));
    let forged = Issuer::new("a").token("amy");
    assert_eq!(house.enhanced("c", "JWT", &forged).connack(), 0x86);
    assert_eq!(house.enhanced("c", "JWT", "").connack(), 0x87);
    assert_eq!(house.enhanced("c", "jwt", &issuer.token("amy")).connack(), 0x8C);
    let mut client = house.enhanced("c", "JWT", &issuer.token("amy"));
    assert_eq!(client.connack(), 0);
    assert_eq!(client.authenticate_again("JWT", &forged), (0xE0, 0x87));
}

/// A key that is new is there for the first token that it signs; one that is gone is gone.
#[test]
fn keys_are_rotated() {
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let server = Server::start(Mood::Right(Issuer::set(&[&old])));
    let house = House::new("rotated", jwks(server.url()));
    assert_eq!(house.code("c", &old.token("amy")), 0);
    server.set(Mood::Right(Issuer::set(&[&new])));
    assert_eq!(house.code("c", &new.token("amy")), 0);
    assert_eq!(house.code("c", &old.token("amy")), 0x86);
}

/// A server is asked four times in the half minute, however many tokens name keys that are not there.
#[test]
fn a_flood_of_bogus_keys_is_no_lever() {
    let (issuer, bogus) = (Issuer::new("a"), Issuer::new("z"));
    let server = Server::start(Mood::Right(Issuer::set(&[&issuer])));
    let house = House::new("flood", jwks(server.url()));
    assert_eq!(house.code("c", &issuer.token("amy")), 0);
    let token = bogus.token("amy");
    let begun = Instant::now();
    let mut flood: Vec<_> = (0..300).map(|it| house.client(&it.to_string(), &token)).collect();
    assert_eq!(house.code("c", &issuer.token("amy")), 0);
    for client in &mut flood {
        assert_eq!(client.connack(), 0x86);
    }
    let most = 4 + begun.elapsed().as_secs() as usize / 30;
    assert!(server.requests() <= most, "{} requests, not {most}", server.requests());
}

/// It starts without its server, tells those with tokens to come back, and lets them in as soon as there is one.
#[test]
fn a_dead_server_holds_up_nobody() {
    let issuer = Issuer::new("a");
    let server = Server::start(Mood::Dead);
    let house = House::new("dead", jwks(server.url()));
    assert_eq!(house.code("c", &issuer.token("amy")), 0x88);
    assert_eq!(house.login(Version::V5, "bob", "pencil"), 0);
    server.set(Mood::Right(Issuer::set(&[&issuer])));
    house.wait_for(0, &issuer.token("amy"));
    // From here on it may be gone: the keys stay.
    server.set(Mood::Dead);
    assert_eq!(house.code("c", &Issuer::new("z").token("amy")), 0x88);
    assert_eq!(house.code("c", &issuer.token("amy")), 0);
    assert_eq!(house.code("c", &Issuer::new("a").token("amy")), 0x86);
}

/// A storm of clients with tokens waits for a server that does not answer; nobody waits with them, and each is told.
#[test]
fn a_slow_server_holds_up_nobody() {
    let issuer = Issuer::new("a");
    let server = Server::start(Mood::Silent);
    let house = House::new("slow", jwks(server.url()));
    server.wait_for(1);
    let begun = Instant::now();
    let token = issuer.token("amy");
    let mut storm: Vec<_> = (0..1_200).map(|it| house.client(&it.to_string(), &token)).collect();
    // They wait for as long as the server may take; bob does not.
    assert_eq!(house.login(Version::V5, "bob", "pencil"), 0);
    server.set(Mood::Right(Issuer::set(&[&issuer])));
    for client in &mut storm {
        let code = client.connack();
        // Who was slow itself may find the server well again.
        assert!(matches!(code, 0 | 0x88 | 0x89), "{code:#x}");
    }
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    house.wait_for(0, &token);
}

/// Whatever a server says that is no set of keys, nobody comes in by it, and nobody is kept out.
#[test]
fn a_server_that_lies_changes_nothing() {
    let (issuer, liar) = (Issuer::new("a"), Issuer::new("z"));
    let lie = Issuer::set(&[&liar]);
    let huge = format!(r#"{{"x":"{}",{}"#, "x".repeat(300_000), &lie[1..]);
    let half = response("200 OK", &lie);
    let moved = String::from_utf8(response("302 Found", &lie)).unwrap();
    let moved = moved.replacen("\r\n", "\r\nLocation: /keys\r\n", 1);
    for (index, answer) in [
        b"no HTTP at all\r\n\r\n".to_vec(),
        response("200 OK", "<html>log in first</html>"),
        response("200 OK", r#"{"keys":[]}"#),
        response("200 OK", &huge),
        response("500 Internal Server Error", &lie),
        response("204 No Content", ""),
        moved.into_bytes(),
        half[..half.len() - 20].to_vec(),
    ]
    .into_iter()
    .enumerate()
    {
        let server = Server::start(Mood::Raw(answer.clone()));
        let house = House::new(&format!("lie-{index}"), jwks(server.url()));
        assert_eq!(house.code("c", &liar.token("amy")), 0x88, "{index}");
        server.set(Mood::Right(Issuer::set(&[&issuer])));
        house.wait_for(0, &issuer.token("amy"));
        server.set(Mood::Raw(answer));
        assert_eq!(house.code("c", &liar.token("amy")), 0x88, "{index}");
        assert_eq!(house.code("c", &issuer.token("amy")), 0, "{index}");
    }
}

#[test]
fn a_server_has_to_be_who_it_says() {
    let issuer = Issuer::new("a");
    let (tls, ca) = pki("ca");
    let (_, other) = pki("other-ca");
    let server = Server::start_with(Mood::Right(Issuer::set(&[&issuer])), Some(tls));
    for (host, file, code) in
        [("localhost", &ca, 0), ("localhost", &other, 0x88), ("127.0.0.1", &ca, 0x88)]
    {
        let url = format!("https://{host}:{}/keys", server.address.port());
        let house = House::new("tls", Jwt { ca_file: Some(file.clone()), ..jwks(url) });
        assert_eq!(house.code("c", &issuer.token("amy")), code, "{host} {}", file.display());
    }
    for file in [ca, other] {
        fs::remove_file(file).unwrap();
    }
}

/// Keys in a file: what is half written changes nothing.
#[test]
fn a_file_of_keys_may_change() {
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let file = path("keys.pem");
    fs::write(&file, old.pem()).unwrap();
    let house = House::new("file", Jwt { key_file: Some(file.clone()), ..Jwt::default() });
    assert_eq!(house.code("c", &old.token("amy")), 0);
    fs::write(&file, Issuer::set(&[&new])).unwrap();
    house.look_at_files();
    assert_eq!(house.code("c", &old.token("amy")), 0x86);
    assert_eq!(house.code("c", &new.token("amy")), 0);
    let both = old.pem() + &new.pem();
    for end in [0, 40, old.pem().len() + 40] {
        fs::write(&file, &both[..end]).unwrap();
        house.look_at_files();
        assert_eq!(house.code("c", &old.token("amy")), 0x86, "{end}");
        assert_eq!(house.code("c", &new.token("amy")), 0, "{end}");
    }
    fs::write(&file, &both).unwrap();
    house.look_at_files();
    assert_eq!(house.code("c", &old.token("amy")), 0);
    fs::remove_file(&file).unwrap();
}

#[test]
fn a_secret_may_change_with_a_reload() {
    let (text, encoded) = (path("secret"), path("secret-base64"));
    let (first, second) = (b"0123456789abcdef0123456789abcdef", [7; 48]);
    fs::write(&text, [&first[..], b"\n"].concat()).unwrap();
    fs::write(&encoded, to_base64_url(second).replace('-', "+").replace('_', "/")).unwrap();
    let house = House::new("secret", Jwt { secret_file: Some(text.clone()), ..Jwt::default() });
    let claims = format!(r#"{{"sub":"amy","exp":{}}}"#, from_now(Duration::from_secs(600)));
    let (by_first, by_second) =
        (sign_with_secret(first, &claims), sign_with_secret(&second, &claims));
    assert_eq!(house.code("c", &by_first), 0);
    assert_eq!(house.code("c", &by_second), 0x86);
    let mut next = house.config.clone();
    next.authentication.jwt.secret_file = Some(encoded.clone());
    next.authentication.jwt.secret_encoding = SecretEncoding::Base64;
    house.broker().reload(&next).unwrap();
    assert_eq!(house.code("c", &by_first), 0x86);
    assert_eq!(house.code("c", &by_second), 0);
    // One that is wrong changes nothing.
    let wrong = path("secret-short");
    fs::write(&wrong, "c2hvcnQ=").unwrap();
    next.authentication.jwt.secret_file = Some(wrong.clone());
    let refused = house.broker().reload(&next).unwrap_err().to_string();
    assert!(refused.contains("fewer than 32 bytes") && !refused.contains("c2hv"), "{refused}");
    assert_eq!(house.code("c", &by_second), 0);
    for file in [text, encoded, wrong] {
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn a_broker_does_not_start_with_a_wrong_file() {
    let file = path("wrong.pem");
    fs::write(&file, "-----BEGIN PUBLIC KEY-----\nMAAA\n").unwrap();
    let jwt = Jwt { key_file: Some(file.clone()), ..Jwt::default() };
    let error = Broker::start(config(jwt, path("none"))).err().unwrap();
    fs::remove_file(&file).unwrap();
    assert!(matches!(error, StartError::Authentication(_)));
    let said = error.to_string();
    assert!(said.contains("authentication.jwt.key_file") && said.contains("wrong.pem"), "{said}");
}

fn jwks(url: String) -> Jwt {
    Jwt { jwks: Some(url), ..Jwt::default() }
}
