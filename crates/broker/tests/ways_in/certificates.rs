//! Who clients are by their certificates, and what that allows them.

use std::io::{Read, Write};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quelea_auth::{Scram, Users};
use quelea_broker::Config;
use quelea_broker::config::{Durability, Loaded, Sources};
use quelea_codec::{Connect, Packet, Version};
use rcgen::{CertificateParams, DnType, SanType, date_time_ymd};

use crate::client::{Client, TlsStream, tcp, tls};
use crate::house::House;
use crate::pki::{Authority, Directory, Identity, client_config};

/// The certificate replaces whatever the client says of itself, and rules see it from all sides.
#[test]
fn a_certificate_is_its_clients_identity() {
    let site = Site::new(
        "certificate = { user = \"cn\", groups = \"ou\" }",
        "authentication.chain = [\"certificate\"]",
        "[[acl]]\nuser = \"sensor-7\"\nallow = [\"publish\"]\ntopics = [\"user/%u\"]\n\
         [[acl]]\ngroup = \"plant\"\nallow = [\"publish\"]\ntopics = [\"group/${ou}\"]\n\
         [[acl]]\ncertificate = \"gate*\"\nallow = [\"publish\"]\ntopics = [\"certificate/#\"]\n\
         [[acl]]\nlistener = \"127.0.0.1:0\"\nallow = [\"publish\"]\ntopics = [\"listener\"]\n\
         [[acl]]\nlistener = \"unix:*\"\nallow = [\"publish\"]\ntopics = [\"unix\"]\n",
    );
    let topics =
        ["user/sensor-7", "user/admin", "group/plant", "certificate/x", "listener", "unix"];
    let sensor = site.devices.issue_with("sensor-7", plant);
    for login in [None, Some(("admin", "secret"))] {
        let mut client = site.welcome(&sensor, "c", login);
        assert_eq!(topics.map(|it| publish(&mut client, it)), [0, 0x87, 0, 0x87, 0, 0x87]);
    }
    let mut gateway = site.welcome(&site.devices.issue("gateway-1"), "g", None);
    assert_eq!(topics.map(|it| publish(&mut gateway, it)), [0x87, 0x87, 0x87, 0, 0, 0x87]);
}

/// A certificate is a matter of the connection: rules see it where nobody is asked, and rules that come later too.
#[test]
fn rules_see_certificates_where_nobody_is_asked() {
    let rules = "[[acl]]\ncertificate = \"sensor-*\"\nallow = [\"publish\"]\ntopics = [\"t\"]\n";
    let site = Site::new("", "", "");
    let [sensor, other] = ["sensor-7", "other"].map(|it| site.devices.issue(it));
    let mut early = [&sensor, &other].map(|it| site.welcome(it, "", None));
    assert_eq!(early.each_mut().map(|it| publish(it, "t")), [0, 0]);
    site.house.apply(&site.config("", "", rules));
    assert_eq!(early.each_mut().map(|it| publish(it, "t")), [0, 0x87]);
    let mut late = [&sensor, &other].map(|it| site.welcome(it, "", None));
    assert_eq!(late.each_mut().map(|it| publish(it, "t")), [0, 0x87]);
}

/// Each field can be the user, and none is one if it is there twice.
#[test]
fn the_user_stands_where_it_is_said() {
    let sensor = |params: &mut CertificateParams| {
        plant(params);
        let dns = SanType::DnsName("sensor.example".try_into().unwrap());
        let email = SanType::Rfc822Name("ops@example".try_into().unwrap());
        let uri = SanType::URI("urn:sensor".try_into().unwrap());
        params.subject_alt_names = vec![dns, email, uri];
    };
    for (field, user) in [
        ("cn", "sensor-7"),
        ("ou", "plant"),
        ("san_dns", "sensor.example"),
        ("san_email", "ops@example"),
        ("san_uri", "urn:sensor"),
        ("subject", "OU=plant,CN=sensor-7"),
    ] {
        let rule = format!("[[acl]]\nuser = \"{user}\"\nallow = [\"publish\"]\ntopics = [\"t\"]\n");
        let site = Site::new(&format!("certificate.user = \"{field}\""), "", &rule);
        let known = site.devices.issue_with("sensor-7", |params| {
            // Without what the authority of these tests puts in front.
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, "sensor-7");
            sensor(params);
        });
        assert_eq!(publish(&mut site.welcome(&known, "c", None), "t"), 0, "{field}");
        let twice = site.devices.issue_with("a", |params| {
            let name = |it: &str| SanType::DnsName(it.try_into().unwrap());
            params.subject_alt_names = vec![name("sensor.example"), name("other.example")];
        });
        let code = site.connect(&twice, "c", None).1;
        assert_eq!(code, if ["cn", "subject"].contains(&field) { 0 } else { 0x87 }, "{field}");
    }
}

/// Devices that choose no client identifier, or another's, are given their own.
#[test]
fn a_certificate_decides_on_the_client_id() {
    let site = Site::new("certificate = { user = \"cn\", client_id = \"cn\" }", "", "");
    let sensor = site.devices.issue("sensor-7");
    let mut before = site.welcome(&sensor, "", None);
    for id in ["a", "b", "sensor-8"] {
        let after = site.welcome(&sensor, id, None);
        assert_eq!(before.packet().unwrap(), [0xE0, 1, 0x8E], "the same client is here again");
        before = after;
    }
    let mut other = site.welcome(&site.devices.issue("sensor-8"), "sensor-7", None);
    assert_eq!(publish(&mut other, "t"), 0);
    before.ping().unwrap();
}

#[test]
fn the_connection_ends_with_the_certificate() {
    let site = Site::new("certificate.user = \"cn\"", "", "");
    let brief = site.devices.issue_with("brief", |params| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(now.as_secs() + 3);
    });
    let mut client = site.welcome(&brief, "c", None);
    assert_eq!(publish(&mut client, "t"), 0);
    assert_eq!(client.packet().unwrap(), [0xE0, 1, 0x87]);
}

/// Whoever has no certificate is asked for a password.
#[test]
fn the_next_in_the_chain_is_asked_without_one() {
    let passwords = |directory: &Directory| {
        let mut users = Users::default();
        users.set("bob", b"pencil", Scram::LeftOut, None).unwrap();
        let path = directory.path("passwd");
        users.write(&path).unwrap();
        format!("certificate.user = \"cn\"\npassword_file = {path:?}")
    };
    let site = Site::with(passwords, "tls.client_certificate = \"optional\"", "");
    let bob = Some(("bob", "pencil"));
    assert_eq!(site.connect(&site.devices.issue("sensor"), "a", None).1, 0);
    let without = |login| {
        let stream = tls(site.house.address, client_config(&site.servers, None)).unwrap();
        connect(Client { stream }, "b", login).1
    };
    assert_eq!((without(bob), without(Some(("bob", "ink"))), without(None)), (0, 0x86, 0x87));
}

/// A proxy that ends TLS says the common name, and only if it has verified it.
#[test]
fn a_proxy_says_whose_certificate_it_was() {
    let rule = "[[acl]]\nuser = \"device-7\"\ncertificate = \"device-7\"\nallow = [\"publish\"]\ntopics = [\"%u\"]\n";
    let text = format!(
        "[authentication]\ncertificate.user = \"cn\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
         proxy_protocol.trusted = [\"127.0.0.1\"]\n{rule}"
    );
    let house = House::with_config(config(&text), Directory::new());
    let connect_as = |verified: u8| {
        let mut stream = tcp(house.address);
        stream.write_all(&proxy_header("device-7", verified)).unwrap();
        connect(Client { stream }, "c", Some(("admin", "x")))
    };
    let (mut client, code) = connect_as(0);
    assert_eq!(
        (code, publish(&mut client, "device-7"), publish(&mut client, "admin")),
        (0, 0, 0x87)
    );
    assert_eq!(connect_as(1).1, 0x86);
}

/// Mosquitto's own client, with a certificate and no password.
#[test]
fn mosquittos_client_comes_in_with_a_certificate() {
    let is_there = Command::new("mosquitto_pub").arg("--help").output().is_ok();
    assert!(is_there, "it takes Debian's mosquitto-clients, which `cargo xtask test` installs");
    let site = Site::new(
        "certificate.user = \"cn\"",
        "authentication.chain = [\"certificate\"]",
        "[[acl]]\nallow = [\"publish\"]\ntopics = [\"from/%u\"]\n\
         [[acl]]\nuser = \"watcher\"\nallow = [\"subscribe\"]\ntopics = [\"from/#\"]\n",
    );
    let mut watcher = site.welcome(&site.devices.issue("watcher"), "w", None);
    watcher.subscribe_v5("from/#");
    let directory = &site.house.directory;
    let ca = directory.write("servers.pem", &site.servers.certificate.pem());
    let (certificate, key) = site.devices.issue("mosquitto").write(directory, "mosquitto");
    let stranger = Authority::root("strangers").issue("mosquitto");
    let (wrong_certificate, wrong_key) = stranger.write(directory, "stranger");
    let port = site.house.address.port().to_string();
    let run = |topic: &str, certificate, key| {
        let mut command = Command::new("mosquitto_pub");
        command.args([
            "-h",
            "localhost",
            "-p",
            &port,
            "-V",
            "mqttv5",
            "-q",
            "1",
            "-t",
            topic,
            "-m",
            "x",
        ]);
        command.args(["-u", "admin", "-P", "x", "--cafile"]).arg(&ca);
        command.arg("--cert").arg(certificate).arg("--key").arg(key).output().unwrap()
    };
    let denied = run("from/admin", &certificate, &key);
    assert!(String::from_utf8_lossy(&denied.stderr).contains("Not authorized"), "{denied:?}");
    assert!(!run("from/mosquitto", &wrong_certificate, &wrong_key).status.success());
    assert!(run("from/mosquitto", &certificate, &key).status.success());
    let message = watcher.packet().unwrap();
    assert!(message.windows(14).any(|it| it == b"from/mosquitto"), "{message:?}");
}

/// A broker with one listener for TLS, which wants certificates of `devices`.
struct Site {
    house: House,
    servers: Authority,
    devices: Authority,
}

impl Site {
    fn new(authentication: &str, listener: &str, rules: &str) -> Self {
        Self::with(|_| authentication.to_owned(), listener, rules)
    }

    fn with(
        authentication: impl FnOnce(&Directory) -> String,
        listener: &str,
        rules: &str,
    ) -> Self {
        let directory = Directory::new();
        let (servers, devices) = (Authority::root("servers"), Authority::root("devices"));
        servers.issue("localhost").write(&directory, "server");
        directory.write("devices.pem", &devices.certificate.pem());
        let config = config_in(&directory, &authentication(&directory), listener, rules);
        Self { house: House::with_config(config, directory), servers, devices }
    }

    /// Returns another configuration of this broker.
    fn config(&self, authentication: &str, listener: &str, rules: &str) -> Config {
        config_in(&self.house.directory, authentication, listener, rules)
    }

    fn connect(
        &self,
        identity: &Identity,
        id: &str,
        login: Option<(&str, &str)>,
    ) -> (Client<TlsStream>, u8) {
        let config = client_config(&self.servers, Some(identity));
        let stream = tls(self.house.address, config).unwrap();
        connect(Client { stream }, id, login)
    }

    fn welcome(
        &self,
        identity: &Identity,
        id: &str,
        login: Option<(&str, &str)>,
    ) -> Client<TlsStream> {
        let (client, code) = self.connect(identity, id, login);
        assert_eq!(code, 0);
        client
    }
}

impl Client<TlsStream> {
    fn subscribe_v5(&mut self, filter: &str) {
        let length = filter.len() as u8;
        let mut bytes = vec![0x82, 6 + length, 0, 1, 0, 0, length];
        bytes.extend(filter.as_bytes());
        bytes.push(0);
        self.send(&bytes).unwrap();
        assert_eq!(self.packet().unwrap().last(), Some(&0));
    }
}

fn plant(params: &mut CertificateParams) {
    params.distinguished_name.push(DnType::OrganizationalUnitName, "plant");
}

/// Connects with MQTT 5.0, and returns the code of the CONNACK.
fn connect<S: Read + Write>(
    mut client: Client<S>,
    id: &str,
    login: Option<(&str, &str)>,
) -> (Client<S>, u8) {
    let mut connect = Connect::new(Version::V5, id);
    connect.username = login.map(|it| it.0);
    connect.password = login.map(|it| it.1.as_bytes());
    let mut bytes = Vec::new();
    Packet::Connect(connect).encode(Version::V5, &mut bytes);
    client.send(&bytes).unwrap();
    let connack = client.packet().unwrap();
    assert_eq!(connack[0], 0x20);
    (client, connack[3])
}

/// Publishes with QoS 1, and returns the code of the PUBACK; 0 also where nobody has subscribed.
fn publish<S: Read + Write>(client: &mut Client<S>, topic: &str) -> u8 {
    let length = topic.len() as u8;
    let bytes = [&[0x32, 5 + length, 0, length], topic.as_bytes(), &[0, 1, 0]].concat();
    client.send(&bytes).unwrap();
    let puback = client.packet().unwrap();
    assert_eq!(puback[0], 0x40);
    puback.get(4).copied().filter(|it| *it != 0x10).unwrap_or(0)
}

/// Returns a header of version 2 with what a proxy knows of TLS.
fn proxy_header(common_name: &str, verify: u8) -> Vec<u8> {
    let cn = [&[0x22, 0, common_name.len() as u8], common_name.as_bytes()].concat();
    let ssl = [&[0x07, 0, 0, 0, verify], &cn[..]].concat();
    let tlv = [&[0x20, 0, ssl.len() as u8], &ssl[..]].concat();
    let addresses = [203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x67, 0x22, 0xB3];
    let length = (addresses.len() + tlv.len()) as u8;
    let start = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0";
    [&start[..], &[length], &addresses, &tlv].concat()
}

fn config_in(directory: &Directory, authentication: &str, listener: &str, rules: &str) -> Config {
    let [certificate, key, ca] =
        ["server.pem", "server.key", "devices.pem"].map(|name| directory.path(name));
    config(&format!(
        "[authentication]\n{authentication}\n[[listener]]\naddress = \"127.0.0.1:0\"\n{listener}\n\
         tls.certificate = {certificate:?}\ntls.key = {key:?}\ntls.client_ca = {ca:?}\n{rules}"
    ))
}

fn config(text: &str) -> Config {
    let file = Some(("q.toml".to_owned(), text.to_owned()));
    let loaded = Loaded::from_sources(&Sources { file, ..Sources::default() });
    let mut config = loaded.unwrap_or_else(|mistakes| panic!("{mistakes}")).config;
    config.shards = Some(2.try_into().unwrap());
    config.store.durability = Durability::Memory;
    config.stop.flush_timeout_secs = 1;
    config
}
