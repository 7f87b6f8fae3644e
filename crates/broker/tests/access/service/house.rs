//! A broker of this process that asks a service, and clients with user names and passwords.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use quelea_broker::config::{Change, Durability, Loaded, Sources};
use quelea_broker::{Broker, Config};
use quelea_codec::{Connect, Packet, Version};

use super::server::Server;

pub(super) struct House {
    broker: Option<Broker>,
    pub(super) address: SocketAddr,
}

impl House {
    /// Starts a broker that asks `server`, with more settings of `[authentication.http]`.
    pub(super) fn new(server: &Server, settings: &str) -> Self {
        Self::with(&config(server.address, settings, ""))
    }

    pub(super) fn with(config: &Config) -> Self {
        let broker = Broker::start(config.clone()).unwrap();
        let address = broker.local_addrs()[0];
        Self { broker: Some(broker), address }
    }

    pub(super) fn broker(&self) -> &Broker {
        self.broker.as_ref().unwrap()
    }

    pub(super) fn reload(&self, config: &Config) -> Vec<Change> {
        self.broker().reload(config).unwrap()
    }

    /// Connects as a user. Returns the connection before CONNACK.
    pub(super) fn begin(&self, version: Version, id: &str, login: Option<(&str, &[u8])>) -> Client {
        Client::begin(self.address, version, id, login)
    }

    /// Connects as a user with a password. Returns the code of CONNACK.
    pub(super) fn code(&self, id: &str, user: &str) -> u8 {
        self.begin(Version::V5, id, Some((user, b"pencil"))).code()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.broker.take().unwrap().stop();
    }
}

/// Returns a configuration with the service at `address`, more of its settings, and more tables.
pub(super) fn config(address: SocketAddr, settings: &str, tables: &str) -> Config {
    load(&format!("[authentication.http]\nurl = \"http://{address}/mqtt\"\n{settings}\n{tables}"))
}

pub(super) fn load(text: &str) -> Config {
    let text = match text.contains("[[listener]]") {
        true => text.to_owned(),
        false => format!("{text}\n[[listener]]\naddress = \"127.0.0.1:0\"\n"),
    };
    let file = Some(("test.toml".to_owned(), format!("shards = 2\n{text}")));
    let loaded = Loaded::from_sources(&Sources { file, ..Sources::default() });
    let mut config = loaded.unwrap().config;
    config.store.durability = Durability::Memory;
    config.stop.flush_timeout_secs = 1;
    config
}

pub(super) struct Client(TcpStream);

impl Client {
    pub(super) fn begin(
        address: SocketAddr,
        version: Version,
        id: &str,
        login: Option<(&str, &[u8])>,
    ) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut connect = Connect::new(version, id);
        connect.username = login.map(|it| it.0);
        connect.password = login.map(|it| it.1);
        let mut bytes = Vec::new();
        Packet::Connect(connect).encode(version, &mut bytes);
        stream.write_all(&bytes).unwrap();
        Self(stream)
    }

    /// Returns the code of CONNACK.
    pub(super) fn code(&mut self) -> u8 {
        self.connack()[3]
    }

    pub(super) fn connack(&mut self) -> Vec<u8> {
        let packet = self.read().expect("a CONNACK");
        assert_eq!(packet[0], 0x20);
        packet
    }

    pub(super) fn ping(&mut self) {
        self.0.write_all(&[0xC0, 0]).unwrap();
        assert_eq!(self.read().unwrap(), [0xD0, 0]);
    }

    /// Subscribes in MQTT 5.0 with QoS 1. Returns what SUBACK says.
    pub(super) fn subscribe(&mut self, filter: &str) -> u8 {
        let bytes = filter.len() as u8;
        let mut packet = vec![0x82, 6 + bytes, 0, 1, 0, 0, bytes];
        packet.extend(filter.as_bytes());
        packet.push(1);
        self.0.write_all(&packet).unwrap();
        *self.read().unwrap().last().unwrap()
    }

    /// Reads a packet, all of which are short here; nothing at the end.
    pub(super) fn read(&mut self) -> Option<Vec<u8>> {
        let mut packet = vec![0; 2];
        self.0.read_exact(&mut packet).ok()?;
        packet.resize(2 + usize::from(packet[1]), 0);
        self.0.read_exact(&mut packet[2..]).ok()?;
        Some(packet)
    }
}

/// Nothing that is to come takes longer.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
