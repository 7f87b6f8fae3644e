//! Rules about users, their groups and what else is known of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// Of who is away since a restart the log knows the user, and neither groups nor claims: its will is held to that.
#[test]
fn wills_after_a_restart_are_those_that_the_user_may_have() {
    const BY_USER: &str =
        "[[acl]]\nuser = \"device-by-user\"\nallow = [\"publish\"]\ntopics = [\"last/user\"]\n";
    let rules = format!(
        "{BY_USER}[[acl]]\ngroup = \"device\"\nallow = [\"publish\"]\ntopics = [\"last/group\", \"last/${{site}}\"]\n\
         [[acl]]\nuser = \"admin\"\nallow = [\"subscribe\"]\ntopics = [\"last/#\"]\n"
    );
    let directory = std::env::temp_dir().join(format!("quelea-acl-wills-{}", std::process::id()));
    let house = House::on_disk_with(&rules, &directory, vec![Arc::new(Register)]);
    let wills = ["last/group", "last/north", "last/user"];
    let devices: Vec<Client> = wills
        .iter()
        .map(|topic| {
            // Long enough for the broker to be gone before.
            let will = Message { delay_secs: 3, ..Message::new(topic, "gone").retained() };
            Client::with_will(house.address, topic, "device-by-user", will)
        })
        .collect();
    devices.into_iter().for_each(Client::vanish);
    // A client that is still connected when the broker stops has another will than one that was lost.
    while house.totals().clients_connected > 0 {
        std::thread::yield_now();
    }
    drop(house);

    let house = House::on_disk_with(&rules, &directory, vec![Arc::new(Register)]);
    while house.totals().dropped_not_authorized < 2 {
        std::thread::yield_now();
    }
    let mut admin = Client::connect_as(house.address, "a", "admin");
    assert_eq!(admin.subscribe("last/#"), 1);
    assert_eq!(admin.wait(), ("last/user".to_owned(), "gone".to_owned()));
    assert!(admin.take().is_empty());
    drop(house);
    std::fs::remove_dir_all(directory).unwrap();
}

/// The user of a session that ends with its connection is in the log too: for its will, after a crash.
#[test]
fn the_will_of_a_crash_is_its_users() {
    let rules = format!(
        "[store]\nrestart_grace_secs = 0\n{}",
        "[[acl]]\nuser = \"ann\"\nallow = [\"publish\"]\ntopics = [\"last/ann\"]\n\
         [[acl]]\nuser = \"admin\"\nallow = [\"subscribe\"]\ntopics = [\"last/#\"]\n"
    );
    let directory = std::env::temp_dir().join(format!("quelea-acl-crash-{}", std::process::id()));
    let (before, after) = (directory.join("before"), directory.join("after"));
    let house = House::on_disk_with(&rules, &before, vec![Arc::new(Register)]);
    let will = Message::new("last/ann", "gone").retained();
    let (_ann, code) =
        Client::connect_with(house.address, Version::V5, "a", Some("ann"), Some(will), true);
    assert_eq!(code, 0);
    // What a crash leaves: it waits for no one.
    std::fs::create_dir_all(&after).unwrap();
    for entry in std::fs::read_dir(&before).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), after.join(entry.file_name())).unwrap();
        }
    }

    let next = House::on_disk_with(&rules, &after, vec![Arc::new(Register)]);
    let mut admin = Client::connect_as(next.address, "admin", "admin");
    assert_eq!(admin.subscribe("last/#"), 1);
    assert_eq!(admin.wait(), ("last/ann".to_owned(), "gone".to_owned()));
    assert_eq!(next.totals().dropped_not_authorized, 0);
    drop((house, next));
    std::fs::remove_dir_all(directory).unwrap();
}

/// Groups and claims of who is away since a restart are not known: a reload takes nothing from it that they may give.
#[test]
fn a_reload_after_a_restart_waits_for_who_is_away() {
    let directory = std::env::temp_dir().join(format!("quelea-acl-away-{}", std::process::id()));
    let start = || House::on_disk_with(RULES, &directory, vec![Arc::new(Register)]);
    let house = start();
    let mut device = Client::resume_as(house.address, "d1", "device-1");
    assert_eq!(device.subscribe("site/north/device/d1/#"), 1);
    device.vanish();
    drop(house);

    let house = start();
    let mut next = config(&format!("filter_on_delivery = true\n{RULES}"));
    next.store.durability = quelea_broker::config::Durability::Interval;
    next.store.data_dir.clone_from(&directory);
    house.reload(&next).unwrap();
    let mut admin = Client::connect_as(house.address, "a", "admin");
    assert_eq!(admin.publish(Message::new("site/north/device/d1/down", "x")), 0);
    let mut device = Client::resume_as(house.address, "d1", "device-1");
    assert_eq!(device.wait(), ("site/north/device/d1/down".to_owned(), "x".to_owned()));
    drop(house);
    std::fs::remove_dir_all(directory).unwrap();
}

/// The rules of another start count for those who come back to it.
#[test]
fn subscriptions_of_before_a_restart_are_judged() {
    const FREE: &str = "[[acl]]\nallow = [\"publish\", \"subscribe\"]\ntopics = [\"free\"]\n";
    const SECRET: &str = "[[acl]]\nallow = [\"subscribe\"]\ntopics = [\"secret\"]\n";
    let directory = std::env::temp_dir().join(format!("quelea-acl-start-{}", std::process::id()));
    let start = |rules: &str| House::on_disk_with(rules, &directory, vec![Arc::new(Register)]);
    let house = start(&format!("{FREE}{SECRET}"));
    let mut client = Client::resume_as(house.address, "c", "ann");
    assert_eq!(client.subscribe("secret"), 1);
    assert_eq!(client.subscribe("free"), 1);
    client.vanish();
    drop(house);

    let house = start(FREE);
    let mut client = Client::resume_as(house.address, "c", "ann");
    assert_eq!(client.publish(Message::new("free", "x")), 0);
    assert_eq!(house.totals().subscriptions_denied, 1);
    drop((client, house));
    std::fs::remove_dir_all(directory).unwrap();
}

/// A name with a wildcard or a level in it stands for nothing that others have.
#[test]
fn user_names_inject_nothing() {
    let house = House::with_source(RULES, Arc::new(Register));
    for user in ["+", "#", "bob/desk", "bob/..", "/", "$SYS", "+/desk"] {
        let mut clever = Client::connect_as(house.address, "c", user);
        for filter in ["home/bob/desk", "home/+/desk", "home/#", "home/bob", "$SYS/#", "#"] {
            assert_eq!(clever.subscribe(filter), 0x87, "{user} {filter}");
        }
    }
}

/// Lets the same user be a device for as long as it is one.
struct Demoted(Arc<AtomicBool>);

impl Source for Demoted {
    fn judge(&self, credentials: &Credentials) -> Verdict {
        let group = if self.0.load(Ordering::SeqCst) { "former" } else { "device" };
        let user = credentials.user_name.clone();
        let groups = [group.into()].into();
        let claims = [("site".into(), "north".into())].into();
        Verdict::Accept(Identity { user, groups, claims, ..Identity::default() })
    }
}

/// What a session has subscribed to, and what waits in it, is held to what its client may do when it comes back.
#[test]
fn sessions_keep_no_right_that_their_client_has_lost() {
    let is_demoted = Arc::new(AtomicBool::new(false));
    let house = House::with_source(RULES, Arc::new(Demoted(Arc::clone(&is_demoted))));
    let mut device = Client::resume_as(house.address, "d1", "dan");
    assert_eq!(device.subscribe("site/north/device/d1/#"), 1);
    assert_eq!(device.subscribe("home/dan/desk"), 1);
    device.vanish();
    let mut admin = Client::connect_as(house.address, "a", "admin");
    for topic in ["site/north/device/d1/a", "home/dan/desk"] {
        assert_eq!(admin.publish(Message::new(topic, "while it was away")), 0);
    }
    is_demoted.store(true, Ordering::SeqCst);
    let mut device = Client::resume_as(house.address, "d1", "dan");
    assert_eq!(device.wait().0, "home/dan/desk");
    admin.publish(Message::new("site/north/device/d1/a", "later"));
    assert_eq!(admin.publish(Message::new("home/dan/desk", "later")), 0);
    assert_eq!(device.wait(), ("home/dan/desk".to_owned(), "later".to_owned()));
    assert!(device.take().is_empty());
    assert_eq!(device.publish(Message::new("site/north/device/d1/up", "x")), 0x87);
}

/// Knows everybody, but whoever comes second was somebody until 1970.
struct Former(AtomicBool);

impl Source for Former {
    fn judge(&self, credentials: &Credentials) -> Verdict {
        let user = credentials.user_name.clone();
        let is_over = self.0.swap(true, Ordering::SeqCst);
        let expires_at = is_over.then_some(std::time::UNIX_EPOCH);
        Verdict::Accept(Identity { user, expires_at, ..Identity::default() })
    }
}

/// Who is nobody any more is refused before it can disturb whoever has its session.
#[test]
fn an_identity_that_has_ended_opens_nothing() {
    let house = House::with_source("", Arc::new(Former(AtomicBool::new(false))));
    let mut holder = Client::resume_as(house.address, "c", "ann");
    let (_, code) = Client::connect_with(house.address, Version::V5, "c", Some("ann"), None, false);
    assert_eq!(code, 0x87);
    assert_eq!(holder.publish(Message::new("t", "still here")), 0x10);
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
