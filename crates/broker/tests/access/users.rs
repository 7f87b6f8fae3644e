//! Rules about users, their groups and what else is known of them.

use std::sync::Arc;

use quelea_auth::{Credentials, Identity, Source, Verdict};

use crate::client::{Client, Message, Version};
use crate::house::{House, config};

/// Believes everybody the name, and knows their groups and sites.
struct Register;

impl Source for Register {
    fn judge(&self, credentials: &Credentials) -> Verdict {
        let Some(name) = credentials.user_name.as_deref() else { return Verdict::Next };
        let group = if name.starts_with("device") { "device" } else { "people" };
        let site = if name == "device-evil" { "+" } else { "north" };
        Verdict::Accept(Identity {
            user: Some(name.into()),
            groups: [group.into()].into(),
            claims: [("site".into(), site.into())].into(),
            ..Identity::default()
        })
    }
}

const RULES: &str = "
[[acl]]
user = \"admin\"
allow = [\"publish\", \"subscribe\"]
topics = [\"#\"]

[[acl]]
group = \"device\"
allow = [\"publish\", \"subscribe\"]
topics = [\"site/${site}/device/%c/#\"]

[[acl]]
user = \"*\"
deny = [\"subscribe\"]
topics = [\"home/%u/hidden/#\"]

[[acl]]
user = \"*\"
allow = [\"subscribe\"]
topics = [\"home/%u/+/#\", \"home/%u/hidden/#\", \"home/%u\"]

[[acl]]
anonymous = true
allow = [\"subscribe\"]
topics = [\"public/#\"]
";

#[test]
fn users_groups_and_claims_decide() {
    let house = House::with_source(RULES, Arc::new(Register));
    let mut admin = Client::connect_as(house.address, "a", "admin");
    assert_eq!(admin.subscribe("#"), 1);
    let mut device = Client::connect_as(house.address, "d1", "device-1");
    for (topic, expected) in [
        ("site/north/device/d1/up", 0),
        ("site/south/device/d1", 0x87),
        ("site/north/device/d2", 0x87),
    ] {
        assert_eq!(device.publish(Message::new(topic, "x")), expected, "{topic}");
    }
    let mut evil = Client::connect_as(house.address, "d2", "device-evil");
    assert_eq!(evil.publish(Message::new("site/north/device/d2", "x")), 0x87);
    assert_eq!(evil.subscribe("site/+/device/d2/#"), 0x87);
    let mut ann = Client::connect_as(house.address, "c", "ann");
    for (filter, expected) in [
        ("home/ann", 1),
        ("home/ann/desk", 1),
        ("home/ann/hidden", 0x87),
        ("home/ann/+", 0x87),
        ("home/bob/desk", 0x87),
        ("public/a", 0x87),
        ("site/north/device/c", 0x87),
    ] {
        assert_eq!(ann.subscribe(filter), expected, "{filter}");
    }
    // No name that nobody has asked for is a user.
    let mut guest = house.connect(Version::V5, "guest");
    assert_eq!(guest.subscribe("public/#"), 1);
    assert_eq!(guest.subscribe("home/guest/desk"), 0x87);
}

/// Rules that come with a reload find who is connected already.
#[test]
fn users_are_known_when_rules_come_later() {
    let house = House::with_source("", Arc::new(Register));
    let mut admin = Client::connect_as(house.address, "a", "admin");
    let mut ann = Client::connect_as(house.address, "c", "ann");
    assert_eq!(ann.subscribe("#"), 1);
    house.reload(&config(RULES)).unwrap();
    while house.totals().subscriptions_denied < 1 {
        ann.take();
        admin.take();
    }
    assert_eq!(ann.subscribe("home/ann/desk"), 1);
    assert_eq!(admin.publish(Message::new("home/ann/desk", "x")), 0);
    assert_eq!(ann.wait().0, "home/ann/desk");
}
