//! A password file, from outside: who comes in by it, what a storm of them costs, and SCRAM.

#![allow(clippy::unwrap_used, reason = "the panic is the test's failure")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use quelea_auth::{Scram, Users};
use quelea_broker::config::{
    Durability, Listener, ListenerAuthentication, SourceName, TakesEffect,
};
use quelea_broker::{Broker, Config, StartError};
use quelea_codec::{Connect, Packet, Version};

#[test]
fn users_of_the_file_come_in_and_others_do_not() {
    let house = House::new("users");
    assert_eq!(connack(&mut house.connect("a", Some(("bob", "pencil")))), 0);
    assert_eq!(connack(&mut house.connect("b", Some(("bob", "paper")))), 0x86);
    assert_eq!(connack(&mut house.connect("c", Some(("eve", "pencil")))), 0x86);
    assert_eq!(connack(&mut house.connect("d", None)), 0x87);
}

/// A wrong file changes nothing; neither does one that is only half there.
#[test]
fn a_changed_file_counts_and_a_wrong_one_does_not() {
    let house = House::new("reload");
    let mut users = Users::default();
    users.set("amy", b"ink", Scram::LeftOut, None).unwrap();
    users.write(&house.file).unwrap();
    house.reload();
    assert_eq!(connack(&mut house.connect("a", Some(("amy", "ink")))), 0);
    assert_eq!(connack(&mut house.connect("a", Some(("bob", "pencil")))), 0x86);
    fs::write(&house.file, "amy:$argon2id$v=19$m=194").unwrap();
    house.reload();
    assert_eq!(connack(&mut house.connect("a", Some(("amy", "ink")))), 0);
}

#[test]
fn a_broker_does_not_start_with_a_wrong_file() {
    let file = path("wrong");
    fs::write(&file, "bob:pencil\n").unwrap();
    let error = Broker::start(config(&file)).err().unwrap();
    fs::remove_file(&file).unwrap();
    assert!(matches!(error, StartError::Authentication(_)));
    let said = error.to_string();
    assert!(said.contains(":1: ") && !said.contains("pencil"), "{said}");
}

/// More at once than may wait: each is let in or told that the broker is busy, and who is in is served meanwhile.
#[test]
fn a_storm_is_answered_to_the_last() {
    const CLIENTS: usize = 1_200;
    let house = House::new("storm");
    let mut inside = house.connect("inside", Some(("bob", "pencil")));
    assert_eq!(connack(&mut inside), 0);
    let login = Some(("bob", "pencil"));
    let mut storm: Vec<_> = (0..CLIENTS).map(|it| house.connect(&it.to_string(), login)).collect();
    inside.write_all(&[0xC0, 0]).unwrap();
    assert_eq!(read(&mut inside), [0xD0, 0]);
    let codes: Vec<u8> = storm.iter_mut().map(connack).collect();
    let accepted = codes.iter().filter(|it| **it == 0).count();
    let busy = codes.iter().filter(|it| **it == 0x89).count();
    assert!(accepted > 0 && accepted + busy == CLIENTS, "{accepted} accepted, {busy} busy");
}

/// Each listener asks whom it says, and what a reload says of that holds at once.
#[test]
fn a_listener_has_a_chain_of_its_own() {
    let own = |chain: Option<&[SourceName]>, allow_anonymous| {
        let mut listener = Listener::new(([127, 0, 0, 1], 0).into());
        let chain = chain.map(<[_]>::to_vec);
        listener.authentication = ListenerAuthentication { chain, allow_anonymous };
        listener
    };
    let listeners = [
        own(None, None),
        own(None, Some(true)),
        own(Some(&[]), None),
        own(Some(&[SourceName::PasswordFile]), None),
    ];
    let house = House::with("chains", |config| config.listeners = listeners.to_vec());
    let login = |name| Some((name, "pencil"));
    let check = |listener, expected: [u8; 3]| {
        let logins = [login("bob"), login("eve"), None];
        let codes = logins.map(|it| connack(&mut house.connect_to(listener, "c", it)));
        assert_eq!(codes, expected, "listener {listener}");
    };
    check(0, [0, 0x86, 0x87]);
    check(1, [0, 0x86, 0]);
    check(2, [0, 0, 0]);
    check(3, [0, 0x86, 0x87]);

    let broker = house.broker.as_ref().unwrap();
    let mut next = config(&house.file);
    next.listeners = listeners.to_vec();
    next.listeners[3].authentication.chain = Some(Vec::new());
    let changes = broker.reload(&next).unwrap();
    assert!(matches!(&changes[..], [it] if it.takes_effect == TakesEffect::AtOnce), "{changes:?}");
    check(0, [0, 0x86, 0x87]);
    check(3, [0, 0, 0]);

    let other = path("chains-other");
    let mut users = Users::default();
    users.set("eve", b"pencil", Scram::LeftOut, None).unwrap();
    users.write(&other).unwrap();
    let mut next = config(&other);
    next.listeners = vec![own(None, None); 4];
    broker.reload(&next).unwrap();
    check(0, [0x86, 0, 0x87]);
    fs::remove_file(&other).unwrap();
    // A file that is not there changes nothing, and a file that has not changed is not read again.
    next.allow_anonymous = Some(true);
    broker.reload(&next).unwrap();
    check(2, [0x86, 0, 0]);
    next.authentication.password_file = Some(path("chains-none"));
    assert!(broker.reload(&next).is_err());
    check(2, [0x86, 0, 0]);
}

struct House {
    broker: Option<Broker>,
    addresses: Vec<SocketAddr>,
    file: PathBuf,
}

impl House {
    fn new(name: &str) -> Self {
        Self::with(name, |_| ())
    }

    fn with(name: &str, configure: impl FnOnce(&mut Config)) -> Self {
        let file = path(name);
        let mut users = Users::default();
        users.set("bob", b"pencil", Scram::LeftOut, None).unwrap();
        users.write(&file).unwrap();
        let mut config = config(&file);
        configure(&mut config);
        let broker = Broker::start(config).unwrap();
        let addresses = broker.local_addrs().to_vec();
        Self { broker: Some(broker), addresses, file }
    }

    /// Has the broker look at the file until it has looked long enough to trust it.
    fn reload(&self) {
        for _ in 0..2 {
            self.broker.as_ref().unwrap().reload_files();
        }
    }

    fn connect(&self, id: &str, login: Option<(&str, &str)>) -> TcpStream {
        self.connect_to(0, id, login)
    }

    fn connect_to(&self, listener: usize, id: &str, login: Option<(&str, &str)>) -> TcpStream {
        let mut stream = TcpStream::connect(self.addresses[listener]).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut connect = Connect::new(Version::V5, id);
        connect.username = login.map(|it| it.0);
        connect.password = login.map(|it| it.1.as_bytes());
        let mut bytes = Vec::new();
        Packet::Connect(connect).encode(Version::V5, &mut bytes);
        stream.write_all(&bytes).unwrap();
        stream
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.broker.take().unwrap().stop();
        let _ = fs::remove_file(&self.file);
    }
}

fn config(file: &std::path::Path) -> Config {
    let mut config = Config {
        listeners: vec![Listener::new(([127, 0, 0, 1], 0).into())],
        shards: Some(2.try_into().unwrap()),
        ..Config::default()
    };
    config.authentication.password_file = Some(file.to_owned());
    config.store.durability = Durability::Memory;
    config.stop.flush_timeout_secs = 1;
    config
}

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("quelea-passwords-{}-{name}", std::process::id()))
}

/// Returns the code of the CONNACK.
fn connack(stream: &mut TcpStream) -> u8 {
    let packet = read(stream);
    assert_eq!(packet[0], 0x20);
    packet[3]
}

fn read(stream: &mut TcpStream) -> Vec<u8> {
    let mut packet = vec![0; 2];
    stream.read_exact(&mut packet).unwrap();
    packet.resize(2 + usize::from(packet[1]), 0);
    stream.read_exact(&mut packet[2..]).unwrap();
    packet
}
