//! A broker that asks for tokens, and its clients.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use quelea_auth::{Scram, Users};
use quelea_broker::config::{Durability, Jwt, Listener};
use quelea_broker::{Broker, Config};
use quelea_codec::{
    Auth, AuthProperties, Connect, Framing, Packet, ReasonCode, Version, next_frame,
};

/// A broker that asks for tokens, and then for the password of bob, which is pencil.
pub(crate) struct House {
    broker: Option<Broker>,
    pub(crate) address: SocketAddr,
    pub(crate) config: Config,
    passwords: PathBuf,
}

impl House {
    pub(crate) fn new(name: &str, jwt: Jwt) -> Self {
        let passwords = path(&format!("{name}-passwords"));
        let mut users = Users::default();
        users.set("bob", b"pencil", Scram::LeftOut, None).unwrap();
        users.write(&passwords).unwrap();
        let config = config(jwt, passwords.clone());
        let broker = Broker::start(config.clone()).unwrap();
        let address = broker.local_addrs()[0];
        Self { broker: Some(broker), address, config, passwords }
    }

    pub(crate) fn broker(&self) -> &Broker {
        self.broker.as_ref().unwrap()
    }

    /// Has the broker look at its files until it has looked long enough to trust them.
    pub(crate) fn look_at_files(&self) {
        for _ in 0..2 {
            self.broker().reload_files();
        }
    }

    /// Connects with a token as the password and no user name. Returns what CONNACK says.
    pub(crate) fn code(&self, client_id: &str, token: &str) -> u8 {
        self.client(client_id, token).connack()
    }

    pub(crate) fn client(&self, client_id: &str, token: &str) -> Client {
        self.dial(&Connect {
            password: Some(token.as_bytes()),
            ..Connect::new(Version::V5, client_id)
        })
    }

    /// Connects to a session that outlives the connection.
    pub(crate) fn lasting(&self, client_id: &str, token: &str) -> Client {
        let mut connect = Connect::new(Version::V5, client_id);
        connect.password = Some(token.as_bytes());
        connect.clean_start = false;
        connect.properties.session_expiry_secs = Some(600);
        self.dial(&connect)
    }

    /// Connects with a user name, which is the client id of a device too. Returns what CONNACK says.
    pub(crate) fn login(&self, version: Version, user: &str, password: &str) -> u8 {
        let client_id = format!("dev-{user}");
        let mut connect = Connect::new(version, &client_id);
        connect.username = Some(user);
        connect.password = Some(password.as_bytes());
        self.dial(&connect).connack()
    }

    /// Connects by enhanced authentication.
    pub(crate) fn enhanced(&self, client_id: &str, method: &str, token: &str) -> Client {
        let mut connect = Connect::new(Version::V5, client_id);
        connect.properties.authentication_method = Some(method);
        connect.properties.authentication_data = Some(token.as_bytes());
        self.dial(&connect)
    }

    fn dial(&self, connect: &Connect<'_>) -> Client {
        let mut client = Client::new(self.address);
        client.send(&Packet::Connect(*connect), connect.version);
        client
    }

    /// Connects again and again until it is told `code`, or the test has taken too long.
    #[track_caller]
    pub(crate) fn wait_for(&self, code: u8, token: &str) {
        let end = std::time::Instant::now() + Duration::from_secs(60);
        loop {
            let told = self.code("waiting", token);
            if told == code {
                return;
            }
            assert!(std::time::Instant::now() < end, "still told {told:#x}");
            std::thread::yield_now();
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.broker.take().unwrap().stop();
        let _ = fs::remove_file(&self.passwords);
    }
}

pub(crate) fn config(jwt: Jwt, passwords: PathBuf) -> Config {
    let mut config = Config {
        listeners: vec![Listener::new(([127, 0, 0, 1], 0).into())],
        shards: Some(2.try_into().unwrap()),
        ..Config::default()
    };
    config.authentication.jwt = jwt;
    config.authentication.password_file = Some(passwords);
    config.authentication.at_once_max = Some(2.try_into().unwrap());
    config.store.durability = Durability::Memory;
    config.stop.flush_timeout_secs = 1;
    config
}

pub(crate) fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("quelea-tokens-{}-{name}", std::process::id()))
}

/// A connection of MQTT.
pub(crate) struct Client(TcpStream);

impl Client {
    fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self(stream)
    }

    pub(crate) fn send(&mut self, packet: &Packet<'_>, version: Version) {
        let mut bytes = Vec::new();
        packet.encode(version, &mut bytes);
        self.0.write_all(&bytes).unwrap();
    }

    /// Authenticates again. Returns the reason of the AUTH, or of the DISCONNECT, that answers.
    pub(crate) fn authenticate_again(&mut self, method: &str, token: &str) -> (u8, u8) {
        let properties = AuthProperties {
            method: Some(method),
            data: Some(token.as_bytes()),
            ..AuthProperties::default()
        };
        let reason = ReasonCode::RE_AUTHENTICATE;
        self.send(&Packet::Auth(Auth { reason, properties }), Version::V5);
        let packet = self.read();
        // Without a reason it is success.
        (packet[0], packet.get(2).copied().unwrap_or(0))
    }

    /// Subscribes with QoS 1. Returns what SUBACK says.
    pub(crate) fn subscribe(&mut self, filter: &str) -> u8 {
        let mut packet = vec![0x82, filter.len() as u8 + 6, 0, 1, 0, 0, filter.len() as u8];
        packet.extend(filter.as_bytes());
        packet.push(1);
        self.0.write_all(&packet).unwrap();
        *self.read().last().unwrap()
    }

    pub(crate) fn connack(&mut self) -> u8 {
        let packet = self.read();
        assert_eq!(packet[0], 0x20);
        packet[3]
    }

    pub(crate) fn ping(&mut self) {
        self.0.write_all(&[0xC0, 0]).unwrap();
        assert_eq!(self.read(), [0xD0, 0]);
    }

    /// Returns why the broker says it ends.
    pub(crate) fn closing(&mut self) -> u8 {
        let packet = self.read();
        assert_eq!(packet[0], 0xE0, "{packet:?}");
        packet[2]
    }

    /// Reads a packet.
    pub(crate) fn read(&mut self) -> Vec<u8> {
        let mut packet = Vec::new();
        loop {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            packet.extend(byte);
            if let Ok(Framing::Complete { .. }) = next_frame(&packet, u32::MAX) {
                return packet;
            }
        }
    }
}
