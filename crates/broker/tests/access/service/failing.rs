//! A service that is slow, dead, lying or huge: nobody is let in by it, and nobody waits for it in vain.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Instant;

use quelea_auth::{Scram, Users};
use quelea_codec::Version;
use serde_json::{Value, json};

use super::house::{Client, House, PATIENCE, config, load};
use super::right::{allow, by_user_name};
use super::server::{Reply, Server};

#[test]
fn a_lie_lets_nobody_in() {
    let ok = |body: &str| Reply::Answer(200, body.to_owned());
    let allowed = json!({ "result": "allow" }).to_string();
    let huge = json!({ "result": "allow", "claims": { "a": "x".repeat(100_000) } }).to_string();
    let half = format!("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{allowed}");
    for reply in [
        ok(""),
        ok("allow"),
        ok("<html>Sign in</html>"),
        ok("{\"result\":\"allow\""),
        ok("{\"result\":true}"),
        ok("{\"result\":\"Allow\"}"),
        ok("{\"allow\":true}"),
        ok("{\"result\":\"allow\",\"user\":7}"),
        ok("{\"result\":\"allow\",\"groups\":\"admin\"}"),
        ok("{\"result\":\"allow\",\"is_superuser\":true}"),
        ok("{\"result\":\"allow\",\"client_id\":\"another\"}"),
        ok(&huge),
        Reply::Answer(201, allowed.clone()),
        Reply::Answer(204, String::new()),
        Reply::Answer(302, allowed.clone()),
        Reply::Answer(401, allowed.clone()),
        Reply::Answer(404, allowed.clone()),
        Reply::Answer(500, allowed.clone()),
        Reply::Bytes(Vec::new()),
        Reply::Bytes(half.into_bytes()),
        Reply::Bytes(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n".to_vec(),
        ),
        Reply::Bytes(allowed.clone().into_bytes()),
    ] {
        let said = reply.clone();
        let server = Server::start(move |_| said.clone());
        let house = House::new(&server, "retries_max = 0");
        assert_eq!(house.code("c", "bob"), 0x88, "{reply:?}");
        assert_eq!(house.begin(Version::V311, "c", Some(("bob", b"x"))).code(), 3, "{reply:?}");
        assert_eq!(server.questions().len(), 2, "{reply:?}");
    }
}

/// A body that drips for ever, or a head that does not come.
#[test]
fn who_is_too_slow_is_not_waited_for() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let drips: Vec<u8> = head.bytes().chain(*b"1\r\n{\r\n").collect();
    for bytes in [drips, Vec::new()] {
        // Nobody ever writes to the gate: the service holds the connection.
        let gate = Arc::new(RwLock::new(()));
        let held = gate.write().unwrap();
        let waiting = Arc::clone(&gate);
        let server = Server::start(move |_| {
            let _never = waiting.read();
            Reply::Bytes(bytes.clone())
        });
        let house = House::new(&server, "timeout_millis = 100\nconnect_timeout_millis = 100");
        assert_eq!(house.code("c", "bob"), 0x88);
        assert_eq!(server.questions().len(), 1, "time is up for a second try too");
        drop(held);
    }
}

#[test]
fn what_may_pass_is_asked_again() {
    for (status, tries) in [(502, 3), (503, 3), (504, 3), (500, 1), (429, 1)] {
        let count = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&count);
        let server = Server::start(move |_| match seen.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Reply::Answer(status, String::new()),
            _ => allow(json!({})),
        });
        let house = House::new(&server, "retries_max = 2");
        assert_eq!(house.code("c", "bob"), if tries == 3 { 0 } else { 0x88 }, "{status}");
        assert_eq!(count.load(Ordering::SeqCst), tries, "{status}");
    }
}

#[test]
fn the_next_is_asked_where_that_is_said() {
    let file = Passwords::new("next");
    let server = Server::start(|_| Reply::Answer(503, String::new()));
    let settings =
        "on_failure = \"next\"\nfailures_max = 2\nretries_max = 0\npause_millis = 600000";
    let chain = format!(
        "[authentication]\nchain = [\"http\", \"password_file\"]\npassword_file = {:?}",
        file.0
    );
    let house = House::with(&config(server.address, settings, &chain));
    for _ in 0..3 {
        // That nobody knows eve may be the service's fault.
        assert_eq!((house.code("c", "bob"), house.code("d", "eve")), (0, 0x88));
    }
    assert_eq!(server.questions().len(), 2, "it is left alone");
}

/// Nobody listens there, then somebody does.
#[test]
fn a_dead_service_is_left_alone_and_comes_back() {
    let mut server = Server::asleep(by_user_name, None);
    let settings = "failures_max = 3\npause_millis = 10\nretries_max = 0";
    let house = House::new(&server, settings);
    for _ in 0..50 {
        assert_eq!(house.code("c", "allow"), 0x88);
    }
    server.wake();
    let begun = Instant::now();
    while house.code("c", "allow") != 0 {
        assert!(begun.elapsed() < PATIENCE, "it is asked again");
    }
    assert_eq!((house.code("c", "allow"), house.code("d", "deny")), (0, 0x86));
}

/// While it is down, one client at a time finds out whether it still is.
#[test]
fn a_service_that_is_down_is_hardly_asked() {
    let is_down = Arc::new(AtomicBool::new(true));
    let state = Arc::clone(&is_down);
    let server = Server::start(move |question| match state.load(Ordering::SeqCst) {
        true => Reply::Bytes(Vec::new()),
        false => by_user_name(question),
    });
    let settings = "failures_max = 3\npause_millis = 600000\nretries_max = 0";
    let house = House::new(&server, settings);
    for _ in 0..20 {
        assert_eq!(house.code("c", "allow"), 0x88);
    }
    assert_eq!(server.questions().len(), 3);
    // Whoever has mended it need not wait: changed settings begin anew.
    is_down.store(false, Ordering::SeqCst);
    house.reload(&config(server.address, "failures_max = 4", ""));
    assert_eq!(house.code("c", "allow"), 0);
}

/// A client that makes the service stumble does not keep the others out.
#[test]
fn a_service_that_stumbles_is_not_down() {
    let server = Server::start(|question| match question["username"].as_str() {
        Some("stumble") => Reply::Answer(500, String::new()),
        Some("nonsense") => Reply::Answer(200, "Traceback".to_owned()),
        Some("long") => Reply::Answer(200, "x".repeat(100_000)),
        _ => by_user_name(question),
    });
    let house = House::new(&server, "failures_max = 1\npause_millis = 600000");
    for _ in 0..5 {
        for user in ["stumble", "nonsense", "long"] {
            assert_eq!(house.code("c", user), 0x88, "{user}");
        }
    }
    assert_eq!(house.code("e", "allow"), 0);
}

/// More clients than may wait, about whom the service says nothing at all: those who are connected do not notice, nor do
/// those who are asked for a password elsewhere, and in the end each has its answer.
#[test]
fn a_storm_is_answered_to_the_last() {
    const CLIENTS: usize = 1_200;
    const AT_ONCE: usize = 8;
    let gate = Arc::new(RwLock::new(()));
    let waiting = Arc::clone(&gate);
    let server = Server::start(move |question: &Value| {
        drop(waiting.read());
        by_user_name(question)
    });
    let file = Passwords::new("storm");
    let text = format!(
        "[authentication]\nchain = [\"http\"]\npassword_file = {:?}\n[authentication.http]\nurl = \"http://{}/\"\n\
         at_once_max = {AT_ONCE}\ntimeout_millis = 50000\n[limits]\nconnect_timeout_secs = 60\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
         authentication.chain = [\"password_file\"]\n",
        file.0, server.address
    );
    let house = House::with(&load(&text));
    let mut inside = house.begin(Version::V5, "inside", Some(("allow", b"x")));
    assert_eq!(inside.code(), 0);
    let held = gate.write().unwrap();
    let login = Some(("allow", &b"x"[..]));
    let mut storm: Vec<Client> =
        (0..CLIENTS).map(|it| house.begin(Version::V5, &it.to_string(), login)).collect();
    for _ in 0..100 {
        inside.ping();
    }
    let elsewhere = house.broker().local_addrs()[1];
    let login = Some(("bob", &b"pencil"[..]));
    assert_eq!(Client::begin(elsewhere, Version::V5, "e", login).code(), 0);
    drop(held);
    let codes: Vec<u8> = storm.iter_mut().map(Client::code).collect();
    let accepted = codes.iter().filter(|it| **it == 0).count();
    let busy = codes.iter().filter(|it| **it == 0x89).count();
    assert_eq!(accepted + busy, CLIENTS);
    // Those that are asked about and 1,024 more; the others found no room, there or before.
    assert!((1..=1_024 + AT_ONCE).contains(&accepted), "{accepted} accepted, {busy} busy");
    assert_eq!(server.most_at_once(), AT_ONCE);
    inside.ping();
}

/// A file with one user, bob.
struct Passwords(std::path::PathBuf);

impl Passwords {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("quelea-service-{}-{name}", std::process::id()));
        let mut users = Users::default();
        users.set("bob", b"pencil", Scram::LeftOut, None).unwrap();
        users.write(&path).unwrap();
        Self(path)
    }
}

impl Drop for Passwords {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
