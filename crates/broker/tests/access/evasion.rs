//! Someone clever tries to get around the rules.

use crate::client::{Client, Message, Version};
use crate::house::{House, config};

const DENIED: u8 = 0x87;

/// An administrator, devices with a place of their own, and what nobody else may read.
const RULES: &str = "
[[acl]]
client_id = \"admin\"
allow = [\"publish\", \"subscribe\"]
topics = [\"#\", \"$SYS/#\"]

[[acl]]
deny = [\"subscribe\"]
topics = [\"+/private/#\"]

[[acl]]
allow = [\"publish\"]
topics = [\"device/%c/#\"]
qos_max = 1
retain = false

[[acl]]
allow = [\"publish\", \"subscribe\"]
topics = [\"free/#\", \"device/%c/down/#\"]
";

#[test]
fn publishing_is_for_those_who_may() {
    let house = House::new(RULES);
    let mut admin = house.connect(Version::V5, "admin");
    assert_eq!(admin.subscribe("#"), 1);
    let mut device = house.connect(Version::V5, "d1");
    for (message, expected) in [
        (Message::new("device/d1/up", "a"), 0),
        (Message::new("device/d2/up", "b"), DENIED),
        (Message::new("device", "c"), DENIED),
        (Message::new("device/d1", "d"), 0),
        (Message::new("device/d1/up", "e").retained(), DENIED),
        (Message { qos: 1, ..Message::new("free/x", "f").retained() }, 0),
        (Message::new("$SYS/broker/uptime", "g"), DENIED),
    ] {
        assert_eq!(device.publish(message), expected, "{}", message.payload);
    }
    device.send(Message { qos: 0, ..Message::new("device/d2/up", "h") }, &[]);
    // Behind it, so that it has been looked at.
    assert_eq!(device.publish(Message::new("free/end", "i")), 0);
    let payloads: Vec<String> = (0..4).map(|_| admin.wait().1).collect();
    assert_eq!(payloads, ["a", "d", "f", "i"]);
    assert_eq!(house.totals().dropped_not_authorized, 5);
}

/// MQTT 3.1.1 has no way to say no: the message is acknowledged, goes nowhere, and is counted.
#[test]
fn older_clients_are_acknowledged_and_counted() {
    let house = House::new(RULES);
    let mut device = house.connect(Version::V311, "d1");
    assert_eq!(device.publish(Message::new("device/d2/up", "a")), 0);
    assert_eq!(house.totals().dropped_not_authorized, 1);
    assert_eq!(device.subscribe("device/d2/down"), 0x80);
    assert_eq!(device.subscribe("free/x"), 1);
}

#[test]
fn older_clients_are_closed_if_so_configured() {
    let house = House::new(&format!("{RULES}\n[policy]\nv3_denied_publish = \"close\"\n"));
    let mut device = house.connect(Version::V311, "d1");
    device.send(Message::new("device/d2/up", "a"), &[]);
    assert!(device.is_closed());
}

/// A filter is granted if a rule allows all of it, and no earlier one denies any of it.
#[test]
fn subscriptions_are_no_wider_than_the_rules() {
    let house = House::new(RULES);
    let mut device = house.connect(Version::V5, "d1");
    for (filter, expected) in [
        ("free/x", 1),
        ("free/#", DENIED),
        ("free/open/#", 1),
        ("free/+", DENIED),
        ("free/private", DENIED),
        ("+/private/#", DENIED),
        ("#", DENIED),
        ("+/#", DENIED),
        ("$SYS/#", DENIED),
        ("device/d1/down/#", 1),
        ("device/+/down/#", DENIED),
        ("device/d1/#", DENIED),
        ("$share/g/free/x", 1),
        ("$share/g/free/private/x", DENIED),
        ("$share/free/#", DENIED),
        ("$share/g/#", DENIED),
        ("$share/device/device/d2/down", DENIED),
    ] {
        assert_eq!(device.subscribe(filter), expected, "{filter}");
    }
    let mut admin = house.connect(Version::V5, "admin");
    assert_eq!(admin.subscribe("$SYS/#"), 1);
}

/// A topic alias stands for the topic that was checked with it, and a denied one is still none that helps.
#[test]
fn topic_aliases_are_no_way_around() {
    let house = House::new(RULES);
    let mut device = house.connect(Version::V5, "d1");
    let alias = [0x23, 0, 1];
    assert_eq!(device.publish_with(Message::new("device/d2/up", "a"), &alias), DENIED);
    assert_eq!(device.publish_with(Message::new("", "b"), &alias), DENIED);
    assert_eq!(device.publish_with(Message::new("free/x", "c"), &alias), 0x10);
    assert_eq!(device.publish_with(Message::new("", "d"), &alias), 0x10);
    assert_eq!(house.totals().dropped_not_authorized, 2);
}

/// What a message says about where to answer gives nobody a right to answer there.
#[test]
fn response_topics_are_no_way_around() {
    let house = House::new(RULES);
    let mut admin = house.connect(Version::V5, "admin");
    let mut device = house.connect(Version::V5, "d1");
    assert_eq!(device.subscribe("device/d1/down/#"), 1);
    let mut response_topic = vec![8, 0, 12];
    response_topic.extend(b"device/d2/up");
    let question = Message::new("device/d1/down", "?");
    assert_eq!(admin.publish_with(question, &response_topic), 0);
    assert_eq!(device.wait().1, "?");
    assert_eq!(device.publish(Message::new("device/d2/up", "!")), DENIED);
    assert_eq!(device.subscribe("device/d2/up"), DENIED);
}

/// A will is a message like any other: it is asked for at CONNECT, before any session is touched.
#[test]
fn wills_are_authorized() {
    let house = House::new(RULES);
    let connect =
        |version, id: &str, will| Client::try_connect(house.address, version, id, Some(will), true);
    let mut first = house.connect(Version::V5, "d1");
    let denied = Message::new("device/d2/up", "will");
    assert_eq!(connect(Version::V5, "d1", denied).1, DENIED);
    assert_eq!(connect(Version::V311, "d1", denied).1, 5);
    assert_eq!(connect(Version::V5, "d1", Message::new("device/d1/up", "x").retained()).1, DENIED);
    // Whoever was refused has taken nothing over.
    assert_eq!(first.publish(Message::new("free/x", "still here")), 0x10);
    let (second, code) = connect(Version::V5, "d2", denied);
    assert_eq!(code, 0);
    let mut admin = house.connect(Version::V5, "admin");
    assert_eq!(admin.subscribe("device/#"), 1);
    second.vanish();
    assert_eq!(admin.wait(), ("device/d2/up".to_owned(), "will".to_owned()));
}

/// Who asks for a will that it may not have is who it says: others of its address are not banned for it.
#[test]
fn a_denied_will_bans_nobody() {
    let house = House::new(&format!("[bans]\nfailures_max = 1\n{RULES}"));
    let denied = Message::new("device/d2/up", "will");
    for _ in 0..3 {
        let (_, code) = Client::try_connect(house.address, Version::V5, "d1", Some(denied), true);
        assert_eq!(code, DENIED);
    }
    house.connect(Version::V5, "d2");
}

/// A name with a wildcard, a level or nothing in it gets nobody anywhere.
#[test]
fn client_identifiers_inject_nothing() {
    let house = House::new(RULES);
    for id in ["+", "#", "d1/x", "d2/../d1", "/", "$SYS", "+/down/#"] {
        let mut clever = house.connect(Version::V5, id);
        for topic in ["device/d1/up", "device/d1/x/up", "$SYS/a", "device//up"] {
            assert_eq!(clever.publish(Message::new(topic, "a")), DENIED, "{id} {topic}");
        }
        for filter in ["device/d1/down/#", "device/+/down/#", "device/#", "$SYS/#"] {
            assert_eq!(clever.subscribe(filter), DENIED, "{id} {filter}");
        }
    }
}

/// Retained messages are delivered as others are: only what a subscription may have.
#[test]
fn retained_messages_and_overlapping_filters_show_nothing() {
    let house = House::new(&format!("filter_on_delivery = true\n{RULES}"));
    let mut admin = house.connect(Version::V5, "admin");
    for topic in ["free/x", "free/private/x", "device/d2/down", "other"] {
        assert_eq!(admin.publish(Message::new(topic, "old").retained()), 0x10, "{topic}");
    }
    let mut device = house.connect(Version::V5, "d1");
    for filter in ["#", "free/#", "+/private/#", "$share/g/#"] {
        let expected = if filter == "+/private/#" { DENIED } else { 1 };
        assert_eq!(device.subscribe(filter), expected, "{filter}");
    }
    assert_eq!(device.wait(), ("free/x".to_owned(), "old".to_owned()));
    assert_eq!(device.wait(), ("free/x".to_owned(), "old".to_owned()));
    for topic in ["free/private/x", "device/d2/down", "other"] {
        admin.publish(Message::new(topic, "new"));
    }
    admin.publish(Message::new("device/d1/down/a", "new"));
    // By its own subscription, and by the shared one.
    assert_eq!(device.wait().0, "device/d1/down/a");
    assert_eq!(device.wait().0, "device/d1/down/a");
    assert!(device.take().is_empty());
}

/// PUBREC says no, and the exchange is over with it: what comes again under its identifier is a message like any other.
#[test]
fn exactly_once_is_denied_too() {
    let house = House::new(RULES);
    let mut admin = house.connect(Version::V5, "admin");
    assert_eq!(admin.subscribe("#"), 1);
    let denied = Message::new("device/d2/up", "denied");
    for (version, told) in [(Version::V5, DENIED), (Version::V311, 0), (Version::V31, 0)] {
        let mut device = house.connect(version, "d1");
        let before = house.totals().dropped_not_authorized;
        for _ in 0..3 {
            assert_eq!(device.publish_exactly_once(denied), told);
        }
        // Above the QoS that the rule allows.
        assert_eq!(device.publish_exactly_once(Message::new("device/d1/up", "denied")), told);
        assert_eq!(house.totals().dropped_not_authorized, before + 4);
        assert_eq!(device.publish_exactly_once(Message::new("free/x", "allowed")), 0);
        assert_eq!(admin.wait().1, "allowed");
    }
    assert!(admin.take().is_empty());
}

/// MQTT 3.1 has no word for a denied subscription.
#[test]
fn the_oldest_clients_are_closed_or_granted_nothing() {
    let house = House::new(RULES);
    let mut device = house.connect(Version::V31, "d1");
    assert_eq!(device.subscribe("free/x"), 1);
    device.send_subscribe("device/d2/down");
    assert!(device.is_closed());
    let will = Message::new("device/d2/up", "will");
    let (_, code) = Client::try_connect(house.address, Version::V31, "d1", Some(will), true);
    assert_eq!(code, 5);

    let house =
        House::new(&format!("{RULES}\n[policy]\nv31_denied_subscribe = \"grant-nothing\"\n"));
    let mut admin = house.connect(Version::V5, "admin");
    let mut device = house.connect(Version::V31, "d1");
    let granted = device.subscribe_all(&["free/x", "device/d2/down", "free/#"]);
    assert_eq!(granted, [1, 0, 0], "QoS 0 of nothing");
    for topic in ["device/d2/down", "free/private/x", "free/y", "free/x"] {
        admin.publish(Message::new(topic, topic));
    }
    assert_eq!(device.wait().0, "free/x");
    assert!(device.take().is_empty());
}

/// Each filter of a SUBSCRIBE is judged by itself.
#[test]
fn one_filter_does_not_carry_another() {
    let house = House::new(RULES);
    let mut device = house.connect(Version::V5, "d1");
    let granted = device.subscribe_all(&["free/a", "device/d2/down", "#", "+/private/x", "free/b"]);
    assert_eq!(granted, [1, DENIED, DENIED, DENIED, 1]);
}

/// What looks like a shared subscription is looked through once, and is what it says.
#[test]
fn shared_names_hide_nothing() {
    let house = House::new(RULES);
    let mut admin = house.connect(Version::V5, "admin");
    let mut device = house.connect(Version::V5, "d1");
    for filter in [
        "$share/free/x/#",
        "$share/g/device/d2/#",
        "$share/g//x",
        "$SHARE/g/free/x",
        "$share/g/$SYS/#",
    ] {
        assert_eq!(device.subscribe(filter), DENIED, "{filter}");
    }
    // As many names as it likes are as many groups, and none has more in it.
    for group in ["g", "h", "device", "$"] {
        assert_eq!(device.subscribe(&format!("$share/{group}/free/x")), 1);
    }
    admin.publish(Message::new("free/x", "four"));
    admin.publish(Message::new("device/d2/up", "none"));
    let topics: Vec<String> = (0..4).map(|_| device.wait().0).collect();
    assert_eq!(topics, ["free/x"; 4]);
    assert!(device.take().is_empty());
}

/// Who may not publish to a topic cannot empty it either.
#[test]
fn what_others_retain_stays() {
    let house = House::new(RULES);
    let mut admin = house.connect(Version::V5, "admin");
    assert_eq!(admin.publish(Message::new("device/d2/state", "on").retained()), 0x10);
    let mut device = house.connect(Version::V5, "d1");
    assert_eq!(device.publish(Message::new("device/d2/state", "").retained()), DENIED);
    assert_eq!(
        device.publish(Message::new("device/d1/state", "").retained()),
        DENIED,
        "retain = false"
    );
    assert_eq!(admin.subscribe("+/d2/#"), 1);
    assert_eq!(admin.wait(), ("device/d2/state".to_owned(), "on".to_owned()));
}

/// An alias that was good stands for its topic, not for the right to it.
#[test]
fn aliases_outlive_no_right() {
    let open = "[[acl]]\nallow = [\"publish\", \"subscribe\"]\ntopics = [\"#\"]\n";
    let house = House::new(open);
    let mut device = house.connect(Version::V5, "d1");
    let alias = [0x23, 0, 1];
    assert_eq!(device.publish_with(Message::new("device/d2/up", "a"), &alias), 0x10);
    assert_eq!(device.publish_with(Message::new("", "b"), &alias), 0x10);
    house.reload(&config(RULES)).unwrap();
    assert_eq!(device.publish_with(Message::new("", "c"), &alias), DENIED);
}

/// Nobody speaks for the broker, whatever the rules say.
#[test]
fn statistics_are_the_brokers_own() {
    let house = House::new(RULES);
    let mut admin = house.connect(Version::V5, "admin");
    assert_eq!(admin.subscribe("$SYS/broker/forged"), 1);
    assert_eq!(admin.publish(Message::new("$SYS/broker/forged", "x")), DENIED);
    assert!(admin.take().is_empty());
}
