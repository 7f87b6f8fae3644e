//! Who clients are, from outside: sources that know a few of them, and what that means for their sessions.

#![allow(clippy::unwrap_used, reason = "the panic is the test's failure")]
#![allow(clippy::disallowed_methods, reason = "a test may look at the clock")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Barrier};
use std::time::{Duration, SystemTime};

use quelea_acl::read_json;
use quelea_auth::{Credentials, Identity, Later, Limits, Source, Verdict};
use quelea_broker::config::{AclRule, Durability, IdentityRules, Listener, RateExceeded};
use quelea_broker::{Broker, Config, EnhancedAuthenticator, Exchange, Extensions, Step};
use quelea_codec::{Auth, AuthProperties, Connect, Packet, ReasonCode, Version};

/// Two users, who may have each any client identifier.
#[test]
fn a_password_opens_and_the_lack_of_one_does_not() {
    let house = House::new(None);
    for version in [Version::V31, Version::V311, Version::V5] {
        let (denied, bad) = if version == Version::V5 { (0x87, 0x86) } else { (5, 4) };
        assert_eq!(house.connect(version, "c", Some(("bob", "pass bob"))).code(), 0);
        assert_eq!(house.connect(version, "c", Some(("bob", "wrong"))).code(), bad);
        assert_eq!(house.connect(version, "c", Some(("nobody", "x"))).code(), bad);
        assert_eq!(house.connect(version, "c", None).code(), denied);
    }
}

#[test]
fn strangers_are_let_in_where_that_is_said() {
    let house = House::new(Some(true));
    assert_eq!(house.connect(Version::V5, "c", None).code(), 0);
    assert_eq!(house.connect(Version::V5, "d", Some(("nobody", "x"))).code(), 0x86);
}

/// Rule 9: a session is its user's, whether it outlives its connection or not.
#[test]
fn nobody_takes_the_session_of_another() {
    let house = House::new(Some(true));
    for is_durable in [false, true] {
        let id = if is_durable { "durable" } else { "live" };
        let mut bob = house.connect_as(id, Some(("bob", "pass bob")), is_durable);
        assert_eq!(bob.code(), 0);
        for other in [Some(("amy", "pass amy")), None, Some(("bob", "wrong"))] {
            let code = house.connect(Version::V5, id, other).code();
            assert_eq!(code, if other == Some(("bob", "wrong")) { 0x86 } else { 0x85 });
        }
        assert_eq!(house.connect(Version::V311, id, None).code(), 2);
        bob.ping();
        // Not when it is away either.
        drop(bob);
        if is_durable {
            assert_eq!(house.connect(Version::V5, id, Some(("amy", "pass amy"))).code(), 0x85);
            let mut back = house.connect_as(id, Some(("bob", "pass bob")), true);
            assert_eq!(back.connack(), (true, 0));
        }
    }
}

/// What a stranger has left under a name neither keeps a user out nor becomes the user's.
#[test]
fn what_nobody_owns_gives_way() {
    let house = House::new(Some(true));
    let mut stranger = house.connect_as("id", None, true);
    assert_eq!(stranger.code(), 0);
    let mut bob = house.connect_as("id", Some(("bob", "pass bob")), true);
    assert_eq!(bob.connack(), (false, 0));
    assert_eq!(stranger.closing(), Some(0x8E));
}

/// The client identifier of a `fleet` user is the source's choice: all of them are one client, wherever it lives.
#[test]
fn an_assigned_client_id_decides_where_the_session_lives() {
    let house = House::new(None);
    let mut before: Option<Client> = None;
    for index in 0..20 {
        let mut client = house.connect(Version::V5, &format!("x{index}"), Some(("fleet", "7")));
        assert_eq!(client.code(), 0);
        client.ping();
        if let Some(mut before) = before.replace(client) {
            assert_eq!(before.closing(), Some(0x8E));
        }
    }
    // [MQTT-3.2.2-16]
    let mut unnamed = house.connect(Version::V5, "", Some(("fleet", "8")));
    assert!(unnamed.read().unwrap().windows(7).any(|it| it == b"fleet-8"));
}

/// What follows a CONNECT is handled after it, however long it takes ([MQTT-3.1.4-5]).
#[test]
fn packets_that_do_not_wait_for_connack_are_kept() {
    let house = House::new(None);
    let mut client = Client::dial(house.address);
    let mut bytes = connect(Version::V311, "early", Some(("slow", "x")), false);
    bytes.extend([0xC0, 0]);
    client.0.write_all(&bytes).unwrap();
    // Others do not wait with it.
    let mut other = house.connect(Version::V5, "other", Some(("bob", "pass bob")));
    assert_eq!(other.code(), 0);
    house.barrier.wait();
    assert_eq!(client.code(), 0);
    assert_eq!(client.read().unwrap(), [0xD0, 0]);
}

#[test]
fn an_identity_that_ends_ends_the_connection() {
    let house = House::new(None);
    let mut client = house.connect(Version::V5, "brief", Some(("brief", "x")));
    assert_eq!(client.code(), 0);
    client.ping();
    assert_eq!(client.closing(), Some(0x87));
}

/// Who authenticates again in time stays; the others go when their identity ends.
#[test]
fn an_identity_that_is_renewed_does_not_end() {
    let house = House::new(None);
    let mut renewed = house.enhanced("renewed", "bob brief");
    let mut brief = house.enhanced("brief", "bob brief");
    renewed.authenticates("bob");
    assert_eq!(renewed.read().unwrap()[..3], [0xF0, 15, 0]);
    assert_eq!(brief.closing(), Some(0x87));
    renewed.ping();
    // The new one ends too, if it does.
    renewed.authenticates("bob brief");
    assert_eq!(renewed.read().unwrap()[2], 0);
    assert_eq!(renewed.closing(), Some(0x87));
}

/// A session stays its user's and its client's.
#[test]
fn nobody_becomes_another_by_authenticating_again() {
    let house = House::new(None);
    for (data, expected) in [("bob as c", None), ("bob as d", Some(0x87)), ("amy", Some(0x87))] {
        let mut client = house.enhanced("c", "bob");
        client.authenticates(data);
        match expected {
            Some(reason) => assert_eq!(client.closing(), Some(reason), "{data}"),
            None => assert_eq!(client.read().unwrap()[..3], [0xF0, 15, 0]),
        }
    }
}

/// Whoever is in and waits in vain is told, as those are who want to come in.
#[test]
fn who_authenticates_again_too_late_is_told() {
    let house = House::with(|config| {
        config.authentication.at_once_max = Some(1.try_into().unwrap());
        config.limits.connect_timeout_secs = 1;
    });
    let mut client = house.enhanced("c", "bob");
    let slow = house.connect(Version::V5, "slow", Some(("slower", "x")));
    house.barrier.wait();
    client.authenticates("bob");
    // Its time begins later, so that the time of all before is up when it is answered.
    client.ping();
    assert_eq!(house.connect(Version::V5, "late", Some(("bob", "pass bob"))).code(), 0x89);
    house.barrier.wait();
    assert_eq!(client.closing(), Some(0x89));
    drop(slow);
}

/// Rules that an identity brings count for it alone, whether others are configured or not.
#[test]
fn an_identity_brings_rules() {
    let rules = r#"[{"deny": "publish", "topics": "own/ruled/x"},
        {"allow": ["publish", "subscribe"], "topics": ["own/%u/#", "both/#"]}]"#;
    let house = House::new(None);
    let mut ruled = house.welcome("r", ("ruled", rules));
    assert_eq!(
        ruled.publishes(["own/ruled/a", "own/ruled/x", "own/bob/a", "c"]),
        [0, 0x87, 0x87, 0x87]
    );
    assert_eq!(ruled.subscribes("own/ruled/#"), 1);
    assert_eq!(ruled.subscribes("#"), 0x87);
    let mut bob = house.welcome("b", ("bob", "pass bob"));
    assert_eq!(bob.publishes(["own/ruled/a", "own/ruled/x", "own/bob/a", "c"]), [0; 4]);
    // No rule at all allows nothing; one that is not right lets nobody in.
    let mut none = house.welcome("n", ("ruled", "[]"));
    assert_eq!(none.publishes(["own/ruled/a", "own/ruled/x", "own/bob/a", "c"]), [0x87; 4]);
    let code = house.connect(Version::V5, "w", Some(("ruled", r#"[{"alow": "publish"}]"#))).code();
    assert_eq!(code, 0x87);
}

/// The first rule that matches decides, and which those are is the configuration's word.
#[test]
fn rules_of_an_identity_stand_before_the_others_or_after() {
    let own = r#"[{"allow": "publish", "topics": ["a", "b"]}, {"deny": "publish", "topics": "c"}]"#;
    for (identity_rules, expected) in
        [(IdentityRules::After, [0x87, 0, 0, 0x87]), (IdentityRules::Before, [0, 0, 0x87, 0x87])]
    {
        let house = House::with(|config| {
            let rule = |allow: &[&str], deny: &[&str], topic: &str| {
                let words = |it: &[&str]| it.iter().map(|it| (*it).to_owned()).collect();
                let some = |it: &[&str]| (!it.is_empty()).then(|| words(it));
                let (allow, deny) = (some(allow), some(deny));
                AclRule { allow, deny, topics: vec![topic.to_owned()], ..AclRule::default() }
            };
            config.acl = vec![rule(&[], &["publish"], "a"), rule(&["publish"], &[], "c")];
            config.identity_rules = identity_rules;
        });
        let mut ruled = house.welcome("r", ("ruled", own));
        assert_eq!(ruled.publishes(["a", "b", "c", "d"]), expected);
        // A reload that changes nothing of that leaves it so, and one that takes the others away leaves its own.
        let mut next = house.config.clone();
        next.acl.clear();
        house.broker.as_ref().unwrap().reload(&next).unwrap();
        assert_eq!(ruled.publishes(["a", "b", "c", "d"]), [0, 0, 0x87, 0x87]);
    }
}

#[test]
fn an_identity_brings_limits() {
    let house = House::with(|config| config.rates.exceeded = RateExceeded::Disconnect);
    let mut limited = house.welcome("l", ("limited", "1"));
    let mut bob = house.welcome("b", ("bob", "pass bob"));
    assert_eq!(bob.publishes(["a"; 8]), [0; 8]);
    limited.0.write_all(&publish("a").repeat(8)).unwrap();
    let mut last = limited.read().unwrap();
    while last[0] == 0x40 {
        last = limited.read().unwrap();
    }
    assert_eq!((last[0], last[2]), (0xE0, 0x96));
}

/// Who asks elsewhere holds up nobody: there are many more of them than threads.
#[test]
fn what_is_said_later_holds_up_nobody() {
    let house = House::new(None);
    let login = Some(("never", "x"));
    let waiting: Vec<_> =
        (0..200).map(|it| house.connect(Version::V5, &format!("w{it}"), login)).collect();
    assert_eq!(house.connect(Version::V5, "a", Some(("bob", "pass bob"))).code(), 0);
    // The one who says it later does not know it, and the next is asked.
    for (id, later, code) in [("b", "later", 0), ("c", "later no", 0x87), ("d", "later next", 0x86)]
    {
        assert_eq!(house.connect(Version::V5, id, Some((later, "x"))).code(), code, "{later}");
    }
    assert_eq!(house.connect(Version::V311, "e", Some(("amy", "pass amy"))).code(), 0);
    drop(waiting);
}

/// Says at another time what is to become of those who are called so.
struct Elsewhere;

impl Source for Elsewhere {
    fn judge(&self, credentials: &Credentials) -> Verdict {
        let user = credentials.user_name.clone().unwrap_or_default();
        if !matches!(&*user, "never" | "later" | "later no" | "later next") {
            return Verdict::Next;
        }
        Verdict::Later(Later::new(async move {
            if &*user == "never" {
                std::future::pending::<()>().await;
            }
            tokio::task::yield_now().await;
            match &*user {
                "later" => Verdict::Accept(Identity::of_user(user)),
                "later no" => Verdict::Refuse(ReasonCode::NOT_AUTHORIZED),
                _ => Verdict::Next,
            }
        }))
    }
}

/// Knows bob and amy, a fleet of which each has the client identifier of its password, and some with a temper.
struct Known(Arc<Barrier>);

impl Source for Known {
    fn judge(&self, credentials: &Credentials) -> Verdict {
        let Some(user) = credentials.user_name.as_deref() else { return Verdict::Next };
        let password = credentials.password.as_ref().map(|it| it.bytes()).unwrap_or_default();
        let mut identity = Identity::of_user(user);
        match user {
            "bob" | "amy" if password != format!("pass {user}").as_bytes() => {
                return Verdict::Refuse(ReasonCode::BAD_USER_NAME_OR_PASSWORD);
            }
            "bob" | "amy" => {}
            "fleet" => {
                let number = String::from_utf8_lossy(password);
                identity.client_id = Some(format!("fleet-{number}").into());
            }
            "ruled" => match read_json(str::from_utf8(password).unwrap()) {
                Ok(rules) => identity.rules = Some(rules),
                Err(_) => return Verdict::Refuse(ReasonCode::NOT_AUTHORIZED),
            },
            "limited" => {
                let messages_per_sec = str::from_utf8(password).unwrap().parse().ok();
                identity.limits = Limits { messages_per_sec, ..Limits::default() };
            }
            "slow" => drop(self.0.wait()),
            // Whoever waits with it knows that it has begun, and when it ends.
            "slower" => {
                self.0.wait();
                self.0.wait();
            }
            "brief" => identity.expires_at = Some(SystemTime::now() + Duration::from_secs(1)),
            _ => return Verdict::Next,
        }
        Verdict::Accept(identity)
    }
}

/// Takes a client for whom it says it is: `USER`, for a second only with `brief`, with another client id with `as ID`.
struct Believer;

impl EnhancedAuthenticator for Believer {
    fn begin(&self, _: &str, _: &str) -> Option<Box<dyn Exchange>> {
        Some(Box::new(Self))
    }
}

impl Exchange for Believer {
    fn step(&mut self, data: &[u8]) -> Step {
        let mut words = str::from_utf8(data).unwrap().split(' ');
        let mut identity = Identity::of_user(words.next().unwrap());
        match words.next() {
            Some("brief") => {
                identity.expires_at = Some(SystemTime::now() + Duration::from_secs(1));
            }
            Some(_) => identity.client_id = words.next().map(Into::into),
            None => {}
        }
        Step::Identify(Box::new(identity), Vec::new())
    }
}

struct House {
    broker: Option<Broker>,
    address: SocketAddr,
    barrier: Arc<Barrier>,
    config: Config,
}

impl House {
    fn new(allow_anonymous: Option<bool>) -> Self {
        Self::with(|config| config.allow_anonymous = allow_anonymous)
    }

    fn with(configure: impl FnOnce(&mut Config)) -> Self {
        let barrier = Arc::new(Barrier::new(2));
        let mut config = Config {
            // Nobody who asks for names has to say that strangers may not come.
            listeners: vec![Listener::new(([127, 0, 0, 1], 0).into())],
            shards: Some(3.try_into().unwrap()),
            ..Config::default()
        };
        config.store.durability = Durability::Memory;
        config.stop.flush_timeout_secs = 1;
        let sources: Vec<Arc<dyn Source>> =
            vec![Arc::new(Elsewhere), Arc::new(Known(Arc::clone(&barrier)))];
        let extensions = Extensions { sources, authenticator: Some(Arc::new(Believer)) };
        configure(&mut config);
        let broker = Broker::start_with(config.clone(), extensions).unwrap();
        let address = broker.local_addrs()[0];
        Self { broker: Some(broker), address, barrier, config }
    }

    /// Comes in by an enhanced authentication.
    fn enhanced(&self, id: &str, data: &str) -> Client {
        let mut connect = Connect::new(Version::V5, id);
        connect.properties.authentication_method = Some(METHOD);
        connect.properties.authentication_data = Some(data.as_bytes());
        let mut bytes = Vec::new();
        Packet::Connect(connect).encode(Version::V5, &mut bytes);
        let mut client = Client::dial(self.address);
        client.0.write_all(&bytes).unwrap();
        assert_eq!(client.code(), 0);
        client
    }

    fn welcome(&self, id: &str, login: (&str, &str)) -> Client {
        let mut client = self.connect(Version::V5, id, Some(login));
        assert_eq!(client.code(), 0);
        client
    }

    fn connect(&self, version: Version, id: &str, login: Option<(&str, &str)>) -> Client {
        let mut client = Client::dial(self.address);
        client.0.write_all(&connect(version, id, login, false)).unwrap();
        client
    }

    fn connect_as(&self, id: &str, login: Option<(&str, &str)>, is_durable: bool) -> Client {
        let mut client = Client::dial(self.address);
        client.0.write_all(&connect(Version::V5, id, login, is_durable)).unwrap();
        client
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.broker.take().unwrap().stop();
    }
}

fn connect(version: Version, id: &str, login: Option<(&str, &str)>, is_durable: bool) -> Vec<u8> {
    let mut connect = Connect::new(version, id);
    connect.username = login.map(|it| it.0);
    connect.password = login.map(|it| it.1.as_bytes());
    connect.clean_start = !is_durable;
    connect.properties.session_expiry_secs = is_durable.then_some(60);
    let mut bytes = Vec::new();
    Packet::Connect(connect).encode(version, &mut bytes);
    bytes
}

/// A PUBLISH with QoS 1.
fn publish(topic: &str) -> Vec<u8> {
    let mut bytes = vec![0x32, 5 + topic.len() as u8, 0, topic.len() as u8];
    bytes.extend(topic.as_bytes());
    bytes.extend([0, 7, 0]);
    bytes
}

const METHOD: &str = "BELIEVE-ME";

struct Client(TcpStream);

impl Client {
    fn dial(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(stream)
    }

    /// Reads a packet, all of which are short here; nothing at the end.
    fn read(&mut self) -> Option<Vec<u8>> {
        let mut packet = vec![0; 2];
        self.0.read_exact(&mut packet).ok()?;
        packet.resize(2 + usize::from(packet[1]), 0);
        self.0.read_exact(&mut packet[2..]).ok()?;
        Some(packet)
    }

    /// Returns whether the session goes on, and the code of the CONNACK.
    fn connack(&mut self) -> (bool, u8) {
        let packet = self.read().expect("a CONNACK");
        assert_eq!(packet[0], 0x20);
        (packet[2] == 1, packet[3])
    }

    fn code(&mut self) -> u8 {
        self.connack().1
    }

    /// Returns what a publish to each topic is answered with.
    fn publishes<const N: usize>(&mut self, topics: [&str; N]) -> [u8; N] {
        topics.map(|topic| {
            self.0.write_all(&publish(topic)).unwrap();
            let packet = self.read().unwrap();
            assert_eq!(packet[0], 0x40);
            // Without subscribers it is a success all the same, and says so.
            packet.get(4).copied().filter(|it| *it != 0x10).unwrap_or(0)
        })
    }

    fn subscribes(&mut self, filter: &str) -> u8 {
        let mut bytes = vec![0x82, 6 + filter.len() as u8, 0, 1, 0, 0, filter.len() as u8];
        bytes.extend(filter.as_bytes());
        bytes.push(1);
        self.0.write_all(&bytes).unwrap();
        let packet = self.read().unwrap();
        assert_eq!(packet[0], 0x90);
        *packet.last().unwrap()
    }

    /// Begins to authenticate again.
    fn authenticates(&mut self, data: &str) {
        let properties = AuthProperties {
            method: Some(METHOD),
            data: Some(data.as_bytes()),
            ..AuthProperties::default()
        };
        let mut bytes = Vec::new();
        let auth = Auth { reason: ReasonCode::RE_AUTHENTICATE, properties };
        Packet::Auth(auth).encode(Version::V5, &mut bytes);
        self.0.write_all(&bytes).unwrap();
    }

    fn ping(&mut self) {
        self.0.write_all(&[0xC0, 0]).unwrap();
        assert_eq!(self.read().unwrap(), [0xD0, 0]);
    }

    /// Returns why the broker says it ends.
    fn closing(&mut self) -> Option<u8> {
        let packet = self.read()?;
        assert_eq!(packet[0], 0xE0);
        packet.get(2).copied()
    }
}
