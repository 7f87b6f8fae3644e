//! The broker under judgement: where it is, and what it said of itself when asked.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{io, process};

use crate::wire::{ConnAck, property as id, publish};
use crate::{Broker, Dial, Failure, Outcome, Stream, Version, WebSocket, stream};

/// A broker to judge.
#[derive(Debug)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// How connections are opened, if not by TCP.
    pub dial: Option<Dial>,
    /// How the connection below a WebSocket is opened, and at which path there is MQTT, if that is known.
    pub websocket: Option<(Dial, String)>,
    /// How long an answer may take before it counts as missing.
    pub patience: Duration,
    /// Whether to judge also what the specification leaves to the broker, by Quelea's choices, and what it
    /// only recommends, such as the DISCONNECT before a close.
    pub is_quelea: bool,
    /// The user name that clients give, where a case is not about user names.
    pub username: Option<String>,
    /// The password that goes with it.
    pub password: Option<Vec<u8>>,
    /// What topics begin with, for a broker that allows only some; empty otherwise.
    pub topic_prefix: String,
    /// An authentication method of the broker that sends a challenge and takes it back as the answer.
    pub challenge_method: Option<String>,
    /// In hexadecimal; part of every topic and client identifier, so that two runs do not meet.
    run: String,
    names: AtomicU64,
    limits: [OnceLock<Result<ConnAck, String>>; 3],
    granted: [OnceLock<Granted>; 3],
}

/// What a broker grants to a client that asks for everything.
#[derive(Clone, Copy, Debug)]
struct Granted {
    qos_max: u8,
    has_wildcards: bool,
}

impl Target {
    /// Makes a target of the first address that `host_and_port` means.
    ///
    /// # Errors
    ///
    /// When it means none.
    pub fn resolve(host_and_port: &str) -> io::Result<Self> {
        let address = host_and_port.to_socket_addrs()?.next();
        Ok(Self::new(address.ok_or_else(|| io::Error::other("the name has no address"))?))
    }

    /// Makes a target that is judged by the specification alone, with five seconds for each answer.
    pub fn new(address: SocketAddr) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let run = (since_epoch.as_nanos() as u64).rotate_left(20) ^ u64::from(process::id());
        Self {
            address,
            dial: None,
            websocket: None,
            patience: Duration::from_secs(5),
            is_quelea: false,
            username: None,
            password: None,
            topic_prefix: String::new(),
            challenge_method: None,
            run: format!("{:08x}", run as u32),
            names: AtomicU64::new(0),
            limits: Default::default(),
            granted: Default::default(),
        }
    }

    /// Says whether the broker accepts a plain CONNECT of `version`.
    pub fn speaks(&self, version: Version) -> bool {
        self.connack(version).is_ok()
    }

    /// Returns why the broker accepts no plain CONNECT of `version`, if it does not.
    pub fn refusal(&self, version: Version) -> Option<&str> {
        self.connack(version).err()
    }

    /// Says whether a message reaches a client that has subscribed to its topic. A broker that forbids the topics of the
    /// suite would fail almost everything, and would be right.
    pub fn delivers(&self, version: Version) -> bool {
        let broker = Broker::new(self, version);
        let deliver = || {
            let topic = broker.topic("t");
            let mut client = broker.client()?;
            client.subscribe(&topic, 0)?;
            client.publish(publish(&topic, "x"))?;
            client.expect_publish("x")
        };
        deliver().is_ok()
    }

    /// Returns what the broker offers to clients of `version`: what CONNACK of MQTT 5.0 said of it, if it speaks that,
    /// and what it grants when it is asked for everything.
    pub(crate) fn limits(&self, version: Version) -> Limits<'_> {
        let granted = *self.granted[version as usize].get_or_init(|| {
            let all = Granted { qos_max: 2, has_wildcards: true };
            // A broker that does not answer has not refused anything: that is for the cases to see.
            self.ask_for_all(version).unwrap_or(all)
        });
        Limits { connack: self.connack(Version::V5).ok(), granted, version }
    }

    /// Returns the highest QoS that the broker offers, as far as it has been asked.
    pub(crate) fn known_qos_max(&self, version: Version) -> u8 {
        match self.granted[version as usize].get() {
            Some(_) => self.limits(version).qos_max(),
            None => 2,
        }
    }

    fn ask_for_all(&self, version: Version) -> Outcome<Granted> {
        let broker = Broker::new(self, version);
        let (plain, wild) = (broker.topic("t"), broker.topic("#"));
        let mut client = broker.client()?;
        let suback = client.request_subscribe(&[(&plain, 2), (&wild, 0)], |it| it)?;
        let [plain, wild] = suback.reasons[..] else {
            return Err(Failure::broken("two filters, and another number of results"));
        };
        Ok(Granted { qos_max: plain.min(2), has_wildcards: wild < 0x80 })
    }

    /// Opens a connection.
    pub(crate) fn open(&self) -> io::Result<Box<dyn Stream>> {
        match &self.dial {
            Some(dial) => dial.open(),
            None => stream::open_tcp(self.address, self.patience),
        }
    }

    /// Opens a WebSocket, where there is one.
    pub(crate) fn open_websocket(&self) -> Option<io::Result<WebSocket>> {
        let (dial, path) = self.websocket.as_ref()?;
        Some(dial.open().and_then(|stream| WebSocket::open(stream, "broker", path)))
    }

    /// Returns a client identifier that any server has to accept and that nobody used before.
    pub(crate) fn client_id(&self) -> String {
        format!("q{}x{}", self.run, self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns the first level of topics that nobody used before.
    pub(crate) fn topic_root(&self) -> String {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        format!("{}{}-{number}", self.topic_stem(), self.run)
    }

    /// Returns what the topics of all runs begin with.
    pub(crate) fn topic_stem(&self) -> String {
        format!("{}quelea-conform-", self.topic_prefix)
    }

    fn connack(&self, version: Version) -> Result<&ConnAck, &str> {
        let asked = self.limits[version as usize].get_or_init(|| {
            let probe = Broker::new(self, version).connect(|it| it);
            match probe {
                Ok(client) => Ok(client.connack().clone()),
                Err(Failure::Broken { what, .. } | Failure::Skipped(what)) => Err(what),
            }
        });
        asked.as_ref().map_err(String::as_str)
    }
}

/// What a broker announced in its CONNACK, with the defaults of what it left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits<'a> {
    connack: Option<&'a ConnAck>,
    granted: Granted,
    version: Version,
}

impl Limits<'_> {
    pub(crate) fn qos_max(self) -> u8 {
        let announced = self.number(id::MAXIMUM_QOS).unwrap_or(2) as u8;
        announced.min(self.granted.qos_max)
    }

    pub(crate) fn receive_maximum(self) -> u32 {
        self.number(id::RECEIVE_MAXIMUM).unwrap_or(65_535)
    }

    pub(crate) fn topic_alias_maximum(self) -> u32 {
        self.number(id::TOPIC_ALIAS_MAXIMUM).unwrap_or(0)
    }

    pub(crate) fn packet_bytes_max(self) -> Option<u32> {
        self.number(id::MAXIMUM_PACKET_SIZE)
    }

    /// Says whether the broker offers what one of the `..._AVAILABLE` properties is about.
    pub(crate) fn offers(self, property: u8) -> bool {
        // MQTT 5.0 has a word for what there is not; 3.x has only the refusal.
        let is_refused = property == id::WILDCARD_SUBSCRIPTION_AVAILABLE
            && !self.version.is_v5()
            && !self.granted.has_wildcards;
        self.number(property) != Some(0) && !is_refused
    }

    fn number(self, property: u8) -> Option<u32> {
        self.connack.and_then(|connack| connack.properties.number(property))
    }
}
