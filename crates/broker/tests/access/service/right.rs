//! A service that answers: what it is asked, and what becomes of what it says.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quelea_codec::Version;
use serde_json::{Value, json};

use super::house::{House, PATIENCE, config, load};
use super::pki::Pki;
use super::server::{Reply, Server};
use crate::client::{self, Message};

#[test]
fn clients_are_let_in_and_refused_as_it_says() {
    let server = Server::start(by_user_name);
    let house = House::new(&server, "");
    for version in [Version::V31, Version::V311, Version::V5] {
        let (bad, denied) = if version.is_v5() { (0x86, 0x87) } else { (4, 5) };
        let code = |login| house.begin(version, "c", login).code();
        assert_eq!(code(Some(("allow", &b"pencil"[..]))), 0);
        assert_eq!(code(Some(("deny", &b"pencil"[..]))), bad);
        // Nobody else knows it, nor who says nothing.
        assert_eq!(code(Some(("next", &b"pencil"[..]))), bad);
        assert_eq!(code(None), denied);
    }
}

#[test]
fn it_is_asked_what_the_client_says() {
    let server = Server::start(by_user_name);
    let headers = std::env::temp_dir().join(format!("quelea-headers-{}", std::process::id()));
    fs::write(&headers, "Authorization: Bearer one\n").unwrap();
    let settings = format!("headers_file = {headers:?}");
    let house = House::new(&server, &settings);
    house.begin(Version::V311, "c1", Some(("allow", b"pencil"))).code();
    house.begin(Version::V5, "", Some(("allow", b"\xFF"))).code();
    // A changed file counts as soon as it does not change any more.
    fs::write(&headers, "Authorization: Bearer another\n").unwrap();
    house.broker().reload_files();
    house.broker().reload_files();
    house.code("c2", "allow");
    // A wrong one changes nothing.
    fs::write(&headers, "Bearer").unwrap();
    house.broker().reload_files();
    house.broker().reload_files();
    house.code("c3", "allow");
    fs::remove_file(&headers).unwrap();
    let questions = server.questions();
    let asked = |id: &str, protocol: &str| {
        let mut question = json!({
            "version": 1, "client_id": id, "username": "allow", "address": "127.0.0.1",
            "listener": "127.0.0.1:0", "protocol": protocol,
        });
        let (name, password) =
            if id.is_empty() { ("password_base64", "/w==") } else { ("password", "pencil") };
        question[name] = password.into();
        question
    };
    let bodies: Vec<&Value> = questions.iter().map(|it| &it.1).collect();
    let expected = [asked("c1", "3.1.1"), asked("", "5.0"), asked("c2", "5.0"), asked("c3", "5.0")];
    assert_eq!(bodies, expected.iter().collect::<Vec<_>>());
    for ((head, _), token) in questions.iter().zip(["one", "one", "another", "another"]) {
        assert!(head.starts_with("POST /mqtt HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("\r\nauthorization: Bearer {token}\r\n")), "{head}");
    }
}

#[test]
fn a_client_without_an_identifier_gets_the_one_that_it_says() {
    let server = Server::start(|_| allow(json!({ "client_id": "c7" })));
    let house = House::new(&server, "");
    let connack = house.begin(Version::V5, "", Some(("bob", b"pencil"))).connack();
    assert_eq!(connack[3], 0);
    assert!(connack.windows(2).any(|it| it == b"c7"), "[MQTT-3.2.2-16]");
}

#[test]
fn what_ends_ends_the_connection() {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(2);
    let server = Server::start(move |_| allow(json!({ "expires_at": at.as_secs() })));
    let house = House::new(&server, "");
    let mut client = house.begin(Version::V5, "c", Some(("bob", b"pencil")));
    assert_eq!(client.code(), 0);
    assert_eq!(client.read().unwrap(), [0xE0, 1, 0x87]);
}

/// Rules of the broker speak of what the service says.
#[test]
fn groups_and_claims_are_for_rules() {
    let server =
        Server::start(|_| allow(json!({ "groups": ["device"], "claims": { "site": "x" } })));
    let rule =
        "[[acl]]\ngroup = \"device\"\nallow = [\"subscribe\"]\ntopics = [\"site/${site}/#\"]\n";
    let house = House::with(&config(server.address, "", rule));
    let mut client = client::Client::connect_as(house.address, "c", "bob");
    assert_eq!(client.subscribe("site/x/#"), 1);
    assert_eq!(client.subscribe("site/y/#"), 0x87);
}

/// What the service says of rules and limits counts for the client that it says it of.
#[test]
fn rules_and_limits_come_with_the_answer() {
    let server = Server::start(|question| match question["username"].as_str() {
        Some("ruled") => allow(json!({ "acl": [
            { "deny": ["subscribe"], "topics": ["own/%u/secret/#"] },
            { "allow": ["publish", "subscribe"], "topics": ["own/%u/#"], "qos_max": 1 },
        ] })),
        Some("limited") => allow(json!({ "limits": { "messages_per_sec": 1 } })),
        Some("wrong") => allow(json!({ "acl": [{ "alow": "publish", "topics": "#" }] })),
        _ => allow(json!({})),
    });
    let house = House::with(&config(server.address, "", "[rates]\nexceeded = \"disconnect\"\n"));
    let connect = |user| client::Client::connect_as(house.address, user, user);
    let mut ruled = connect("ruled");
    // 0x10 is a success that nobody has subscribed to.
    for (topic, code) in [("own/ruled/a", 0x10), ("own/free/a", 0x87), ("a", 0x87)] {
        assert_eq!(ruled.publish(Message::new(topic, "x")), code, "{topic}");
    }
    for (filter, code) in
        [("own/ruled/a/#", 1), ("own/ruled/secret/a", 0x87), ("own/#", 0x87), ("#", 0x87)]
    {
        assert_eq!(ruled.subscribe(filter), code, "{filter}");
    }
    let mut free = connect("free");
    for topic in ["own/ruled/a", "a", "b", "c", "d", "e"] {
        assert!(free.publish(Message::new(topic, "x")) < 0x80, "{topic}");
    }
    let mut limited = connect("limited");
    for _ in 0..8 {
        limited.send(Message { qos: 0, ..Message::new("a", "x") }, &[]);
    }
    assert!(limited.is_closed());
    assert_eq!(house.code("wrong", "wrong"), 0x88, "half of the rules are none");
}

/// The question that is under way goes where it was asked; the next one elsewhere.
#[test]
fn a_reload_in_the_middle_loses_nobody() {
    let (gate, waits) = std::sync::mpsc::channel::<()>();
    let waits = std::sync::Mutex::new(waits);
    let (begun, begins) = std::sync::mpsc::channel::<()>();
    let slow = Server::start(move |_| {
        begun.send(()).unwrap();
        waits.lock().unwrap().recv().unwrap();
        allow(json!({}))
    });
    let other = Server::start(|_| allow(json!({})));
    let house = House::new(&slow, "timeout_millis = 9000");
    let mut client = house.begin(Version::V5, "c", Some(("bob", b"pencil")));
    begins.recv_timeout(PATIENCE).unwrap();
    let changes = house.reload(&config(other.address, "timeout_millis = 9000", ""));
    let said = changes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(
        said.starts_with("authentication.http.url changes from") && said.ends_with("from here on"),
        "{said}"
    );
    assert_eq!(house.code("d", "amy"), 0);
    assert_eq!(other.questions().len(), 1);
    gate.send(()).unwrap();
    assert_eq!(client.code(), 0);
    assert_eq!(slow.questions().len(), 1);
}

#[test]
fn it_may_be_asked_with_tls_by_a_private_authority() {
    let pki = Pki::new();
    let server = Server::with_tls(by_user_name, pki.serving());
    let port = server.address.port();
    let table =
        |ca: &str| format!("[authentication.http]\nurl = \"https://localhost:{port}/\"\n{ca}");
    let house = House::with(&load(&table(&format!("ca_file = {:?}", pki.ca))));
    assert_eq!((house.code("c", "allow"), house.code("d", "deny")), (0, 0x86));
    // Whom the system does not trust is told nothing.
    let asked = server.questions().len();
    let house = House::with(&load(&table("retries_max = 0")));
    assert_eq!(house.code("c", "allow"), 0x88);
    assert_eq!(server.questions().len(), asked);
}

#[test]
fn what_it_says_is_counted() {
    let server = Server::start(by_user_name);
    let rules =
        "[sys]\ninterval_secs = 1\n[[acl]]\nallow = [\"subscribe\"]\ntopics = [\"$SYS/#\"]\n";
    let house = House::with(&config(server.address, "", rules));
    let mut watcher = client::Client::connect_as(house.address, "watcher", "allow");
    for (id, user) in [("a", "deny"), ("b", "deny"), ("c", "next"), ("d", "nonsense")] {
        assert_ne!(house.code(id, user), 0);
    }
    assert_eq!(watcher.subscribe("$SYS/broker/authentication/http/#"), 1);
    for (name, value) in
        [("allowed", "1"), ("denied", "2"), ("next", "1"), ("failed", "1"), ("busy", "0")]
    {
        let topic = format!("$SYS/broker/authentication/http/{name}");
        while watcher.wait() != (topic.clone(), value.to_owned()) {}
    }
}

/// Answers as the user name says.
pub(super) fn by_user_name(question: &Value) -> Reply {
    match question["username"].as_str() {
        Some(result) => Reply::Answer(200, json!({ "result": result }).to_string()),
        None => Reply::Answer(200, json!({ "result": "deny" }).to_string()),
    }
}

/// Lets in, and says more.
pub(super) fn allow(more: Value) -> Reply {
    let mut answer = more;
    answer["result"] = "allow".into();
    Reply::Answer(200, answer.to_string())
}
