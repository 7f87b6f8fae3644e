//! Mosquitto's own clients, and a file that was written for Mosquitto.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::client::{Message, Version};
use crate::house::House;

const FILE: &str = "\
# This affects access control for clients with no username.
topic read $SYS/#
topic public/#
topic deny public/locked/#

user roger
topic foo/bar

pattern write devices/%c/up
pattern read devices/%c/down
";

#[test]
fn a_file_of_mosquitto_is_enforced_on_its_clients() {
    let is_there = Command::new("mosquitto_pub").arg("--help").output().is_ok();
    assert!(is_there, "it takes Debian's mosquitto-clients, which `cargo xtask test` installs");
    let house = House::with_file("", Some(FILE));
    // Everything may be asked for; what is allowed comes.
    let mut subscriber = subscribe(&house, "d1", "#", 3);
    let mut lines = BufReader::new(subscriber.stdout.take().unwrap()).lines();
    let mut watcher = house.connect(Version::V311, "d1-watcher");
    assert_eq!(watcher.subscribe("public/ready"), 1);
    // The subscriber is there as soon as something retained has come to it.
    publish(&house, "any", "public/a", "retained", &["-r"]);
    assert_eq!(lines.next().unwrap().unwrap(), "public/a retained");
    for (client_id, topic) in [
        ("any", "public/locked/x"),
        ("any", "foo/bar"),
        ("any", "devices/d1/down"),
        ("d2", "devices/d1/up"),
        ("d1-pub", "devices/d1-pub/up"),
        ("any", "public/b"),
    ] {
        publish(&house, client_id, topic, "x", &[]);
    }
    assert_eq!(lines.next().unwrap().unwrap(), "public/b x");
    publish(&house, "any", "public/end", "x", &[]);
    assert_eq!(lines.next().unwrap().unwrap(), "public/end x");
    assert!(subscriber.wait().unwrap().success());
    // Four that nobody may send; the fifth is not for the subscriber, nor anybody else.
    assert_eq!(house.totals().dropped_not_authorized, 4);
}

#[test]
fn patterns_reach_the_client_that_they_name() {
    let house = House::with_file(
        "[[acl]]\nclient_id = \"server\"\nallow = [\"publish\"]\ntopics = [\"#\"]\n",
        Some(FILE),
    );
    let mut device = house.connect(Version::V5, "d1");
    // A part of it may be allowed, so that it is granted.
    assert_eq!(device.subscribe("devices/#"), 1);
    assert_eq!(device.subscribe("private/#"), 0x87);
    let mut server = house.connect(Version::V5, "server");
    for topic in ["devices/d2/down", "devices/d1/up", "devices/d1/down"] {
        server.publish(Message::new(topic, "x"));
    }
    assert_eq!(device.wait().0, "devices/d1/down");
    assert!(device.take().is_empty());
    assert_eq!(house.totals().dropped_denied, 2);
}

/// Subscribes until `count` messages have come.
fn subscribe(house: &House, client_id: &str, filter: &str, count: u32) -> Child {
    let port = house.address.port().to_string();
    Command::new("mosquitto_sub")
        .args(["-h", "127.0.0.1", "-p", &port, "-i", client_id, "-t", filter, "-q", "1", "-v"])
        .args(["-C", &count.to_string(), "-W", "20"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn publish(house: &House, client_id: &str, topic: &str, payload: &str, more: &[&str]) {
    let port = house.address.port().to_string();
    let status = Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &port, "-i", client_id, "-t", topic, "-m", payload])
        .args(["-q", "1"])
        .args(more)
        .status();
    assert!(status.unwrap().success());
}
