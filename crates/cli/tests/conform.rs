//! `quelea conform` and `quelea doctor`, as programs read them, against a broker of this process.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use quelea_broker::config::{Durability, Listener};
use quelea_broker::{Broker, Config};
use serde_json::Value;

#[test]
fn quelea_fails_no_statement() {
    let broker = Served::start();
    let output = quelea(&["conform", &broker.address, "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let rows = rows(&output);
    let mut judged = BTreeSet::new();
    for row in &rows {
        let [id, version, verdict] = ["id", "version", "verdict"].map(|name| string(row, name));
        assert!(id.starts_with("MQTT-"), "{id} is no number of the standards");
        let evidence = row["evidence"].as_array().expect("it is a list");
        match verdict {
            "pass" => {
                assert!(!evidence.is_empty(), "{id} of {version} passes without a packet");
                assert!(judged.insert((id, version)), "{id} of {version} twice");
            }
            "skip" | "unobservable" => assert!(!string(row, "reason").is_empty(), "{row}"),
            _ => panic!("{row:#}"),
        }
    }
    assert!(judged.len() >= 250, "only {} statements were judged", judged.len());
}

#[test]
fn statements_are_chosen_by_id_and_version() {
    let broker = Served::start();
    let output = quelea(&[
        "conform",
        &broker.address,
        "--json",
        "-V",
        "5",
        "--id",
        "MQTT-3.12,MQTT-3.8.4-1",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let rows = rows(&output);
    let chosen: Vec<_> = rows.iter().map(|it| (string(it, "id"), string(it, "version"))).collect();
    assert_eq!(chosen, [("MQTT-3.8.4-1", "5.0"), ("MQTT-3.12.4-1", "5.0")]);
    let none = quelea(&["conform", &broker.address, "--id", "MQTT-9"]);
    assert_eq!(none.status.code(), Some(2), "{}", text(&none.stderr));
}

/// What is known to be wrong with this version is found, and nothing else among what is asked for here.
#[test]
fn faults_of_mosquitto_are_found() {
    let mosquitto = Mosquitto::start();
    let asked = [
        "MQTT-2",
        "MQTT-3.1.2-24",
        "MQTT-3.1.2-25",
        "MQTT-3.1.4",
        "MQTT-3.3.1",
        "MQTT-3.3.4",
        "MQTT-3.8",
        "MQTT-3.10",
        "MQTT-3.11",
        "MQTT-4.7",
        "MQTT-4.8.2",
        "MQTT-4.9",
    ];
    let output = quelea(&[
        "conform",
        &mosquitto.address,
        "--json",
        "--timeout",
        "1",
        "--id",
        &asked.join(","),
        "-c",
        "16",
    ]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let rows = rows(&output);
    let failed: Vec<_> = rows
        .iter()
        .filter(|it| string(it, "verdict") == "fail")
        .map(|it| (string(it, "version"), string(it, "id")))
        .collect();
    if mosquitto.version == "2.0.11" {
        assert_eq!(failed, KNOWN_FAULTS);
    }
    assert!(rows.len() > 100, "only {} statements were asked for", rows.len());
}

#[test]
fn doctor_measures_what_was_configured() {
    let broker = Served::start_with(|config| {
        config.limits.qos_max = 1;
        config.limits.topic_alias_max = 5;
        config.limits.shared_available = false;
        config.limits.packet_bytes_max = 20_000;
    });
    let output = quelea(&["doctor", &broker.address, "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let object: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let abilities = object["abilities"].as_array().expect("it is a list");
    let measured = |name: &str| {
        let found = abilities.iter().find(|it| it["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {object:#}"))["measured"].clone()
    };
    assert_eq!(measured("MQTT 3.1.1"), true);
    assert_eq!(measured("highest QoS"), 1);
    assert_eq!(measured("retained messages"), true);
    assert_eq!(measured("shared subscriptions"), false);
    assert_eq!(measured("topic aliases of a client"), 5);
    assert_eq!(measured("bytes of a packet"), 20_000);
    assert_eq!(measured("sessions that outlive a connection"), true);
    for it in abilities {
        assert_eq!(it["contradicts"], false, "{it:#}");
        let is_known = !it["measured"].is_null();
        assert!(is_known || it["name"] == "messages in flight from a client", "{it:#}");
    }
}

#[test]
fn who_is_no_broker_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = listener.local_addr().expect("it is bound").to_string();
    drop(listener);
    let output = quelea(&["conform", &address]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("cannot connect to"), "{}", text(&output.stderr));
}

/// A broker of this process.
struct Served {
    broker: Option<Broker>,
    address: String,
}

impl Served {
    fn start() -> Self {
        Self::start_with(|_| {})
    }

    fn start_with(configure: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.store.durability = Durability::Memory;
        configure(&mut config);
        config.listeners = vec![Listener::new(([127, 0, 0, 1], 0).into())];
        let broker = Broker::start(config).expect("a broker starts");
        let address = broker.local_addrs()[0].to_string();
        Self { broker: Some(broker), address }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(broker) = self.broker.take() {
            broker.stop();
        }
    }
}

/// Debian's Mosquitto, on a port of its own.
struct Mosquitto {
    child: Child,
    address: String,
    version: String,
}

impl Mosquitto {
    fn start() -> Self {
        // It takes no port 0, so a free one is looked up. Whoever takes it in between makes the test fail.
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let address = listener.local_addr().expect("it is bound");
        drop(listener);
        let name = format!("conform-{}.conf", std::process::id());
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let config = format!(
            "listener {} {}\nallow_anonymous true\npersistence false\nuser root\nlog_dest stderr\n",
            address.port(),
            address.ip()
        );
        fs::write(&file, config).expect("the directory is ours");
        let mut child = Command::new("mosquitto")
            // Debian installs it where an ordinary user's PATH does not look.
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")
            .arg("-c")
            .arg(&file)
            .stderr(Stdio::piped())
            .spawn()
            .expect("`cargo xtask test` installs Mosquitto");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let mut version = String::new();
        for line in lines.by_ref().map_while(Result::ok) {
            if let Some((_, rest)) = line.split_once("mosquitto version ") {
                version = rest.split(' ').next().unwrap_or_default().to_owned();
            }
            if line.contains(" running") {
                break;
            }
        }
        // What it says of what the suite does is read, so that it can go on saying it.
        thread::spawn(move || lines.for_each(drop));
        let _ = fs::remove_file(&file);
        Self { child, address: address.to_string(), version }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const KNOWN_FAULTS: &[(&str, &str)] = &[
    ("3.1.1", "MQTT-2.2.2-2"),
    ("5.0", "MQTT-2.1.3-1"),
    ("5.0", "MQTT-3.1.2-24"),
    ("5.0", "MQTT-3.1.2-25"),
    ("5.0", "MQTT-3.1.4-3"),
    ("5.0", "MQTT-3.3.4-9"),
    ("5.0", "MQTT-3.8.3-4"),
    ("5.0", "MQTT-3.8.4-3"),
    ("5.0", "MQTT-4.8.2-1"),
    ("5.0", "MQTT-4.8.2-2"),
    ("5.0", "MQTT-4.9.0-2"),
];

fn quelea(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quelea"));
    command.args(arguments).output().expect("the binary is there")
}

fn rows(output: &Output) -> Vec<Value> {
    serde_json::from_slice(&output.stdout).expect("it is one array of JSON")
}

fn string<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap_or_else(|| panic!("no {name} in {row}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
