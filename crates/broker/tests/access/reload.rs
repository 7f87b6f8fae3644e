//! Rules that change while the broker serves.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::client::{Client, Message, Version};
use crate::house::{House, config};

const OPEN: &str = "[[acl]]\nallow = [\"publish\", \"subscribe\"]\ntopics = [\"#\"]\n";

const CLOSED: &str = "
[[acl]]
client_id = \"admin\"
allow = [\"publish\", \"subscribe\"]
topics = [\"#\"]

[[acl]]
allow = [\"publish\", \"subscribe\"]
topics = [\"free/#\"]
";

#[test]
fn live_subscriptions_are_judged_again() {
    let house = House::new(OPEN);
    let mut admin = house.connect(Version::V5, "admin");
    let mut reader = house.connect(Version::V5, "reader");
    assert_eq!(reader.subscribe("secret/#"), 1);
    assert_eq!(reader.subscribe("free/#"), 1);
    assert_eq!(admin.publish(Message::new("secret/a", "1")), 0);
    assert_eq!(reader.wait().1, "1");

    house.reload(&config(CLOSED)).unwrap();
    // A shard takes the rules up with its next turn, and judges with it.
    while house.totals().subscriptions_denied < 1 {
        reader.take();
    }
    admin.publish(Message::new("secret/a", "2"));
    assert_eq!(admin.publish(Message::new("free/a", "3")), 0);
    assert_eq!(reader.wait().1, "3");
    assert_eq!(reader.publish(Message::new("secret/a", "4")), 0x87);
    assert_eq!(reader.subscribe("secret/#"), 0x87);

    house.reload(&config("")).unwrap();
    while reader.subscribe("secret/#") != 1 {}
    assert_eq!(admin.publish(Message::new("secret/a", "5")), 0);
    assert_eq!(reader.wait().1, "5");
}

#[test]
fn what_waits_for_a_client_is_judged_again() {
    let house = House::new(OPEN);
    let connect = || Client::try_connect(house.address, Version::V5, "sleeper", None, false).0;
    let mut sleeper = connect();
    assert_eq!(sleeper.subscribe("#"), 1);
    sleeper.vanish();
    let mut admin = house.connect(Version::V5, "admin");
    for topic in ["secret/a", "free/a", "secret/b", "free/b"] {
        assert_eq!(admin.publish(Message::new(topic, "x")), 0);
    }
    house.reload(&config(&format!("filter_on_delivery = true\n{CLOSED}"))).unwrap();
    let mut sleeper = connect();
    assert_eq!(sleeper.wait().0, "free/a");
    assert_eq!(sleeper.wait().0, "free/b");
    assert!(sleeper.take().is_empty());
    assert_eq!(house.totals().dropped_denied, 2);
}

/// The rules of the moment count, not those of the CONNECT.
#[test]
fn a_will_is_judged_when_it_is_published() {
    let house = House::new(OPEN);
    let will = Message::new("secret/gone", "will");
    let (mut client, code) =
        Client::try_connect(house.address, Version::V5, "client", Some(will), true);
    assert_eq!(code, 0);
    let mut admin = house.connect(Version::V5, "admin");
    assert_eq!(admin.subscribe("#"), 1);
    house.reload(&config(CLOSED)).unwrap();
    while client.publish(Message::new("secret/a", "x")) != 0x87 {}
    let before = house.totals().dropped_not_authorized;
    client.vanish();
    while house.totals().dropped_not_authorized == before {
        admin.take();
    }
    assert_eq!(house.totals().wills_published, 0);
}

/// In the middle of a storm of publishes: once a reload has returned, nothing passes that it denies; and nothing is lost
/// that was allowed all the time.
#[test]
fn a_reload_in_a_storm_is_sharp_and_loses_nothing() {
    const ROUNDS: u64 = 12;
    let house = House::new(OPEN);
    let mut reader = house.connect(Version::V5, "reader");
    assert_eq!(reader.subscribe("free/#"), 1);
    let mut admin = house.connect(Version::V5, "admin");
    // Of both shards.
    let mut watchers: Vec<Client> =
        (0..4).map(|it| house.connect(Version::V5, &format!("watcher-{it}"))).collect();
    // Even numbers: a reload has returned, and the next has not begun. Every other one of these is closed.
    let (epoch, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let address = house.address;
    let publish = &|name: &str| {
        let mut client = Client::connect(address, Version::V5, name);
        let (secret, free) = (format!("secret/{name}"), format!("free/{name}"));
        let mut judged = [0_u64; 2];
        let mut number = 0_u64;
        while !is_over.load(Ordering::SeqCst) {
            let before = epoch.load(Ordering::SeqCst);
            let told = client.publish(Message::new(&secret, "x"));
            if before.is_multiple_of(2) && before == epoch.load(Ordering::SeqCst) {
                let is_closed = before % 4 == 2;
                assert_eq!(told == 0x87, is_closed, "{told:#x} in epoch {before}");
                judged[usize::from(is_closed)] += 1;
            }
            assert_eq!(client.publish(Message::new(&free, &number.to_string())), 0);
            number += 1;
        }
        client.publish(Message::new(&free, "end"));
        (number, judged)
    };
    let (sent, received) = std::thread::scope(|scope| {
        let publishers = ["p-0", "p-1", "p-2"].map(|name| scope.spawn(move || publish(name)));
        let reading = scope.spawn(|| {
            let (mut next, mut ended) = ([0_u64; 3], 0);
            while ended < 3 {
                let (topic, payload) = reader.wait();
                let index: usize = topic.trim_start_matches("free/p-").parse().unwrap();
                if payload == "end" {
                    ended += 1;
                } else {
                    assert_eq!(payload, next[index].to_string(), "{topic}");
                    next[index] += 1;
                }
            }
            next
        });
        for round in 0..ROUNDS {
            for watcher in &mut watchers {
                assert_eq!(watcher.subscribe("secret/#"), 1);
            }
            epoch.fetch_add(1, Ordering::SeqCst);
            house.reload(&config(CLOSED)).unwrap();
            epoch.fetch_add(1, Ordering::SeqCst);
            let late = format!("late-{round}");
            admin.publish(Message::new("secret/late", &late));
            for watcher in &mut watchers {
                let seen = watcher.take();
                assert!(seen.iter().all(|(_, payload)| *payload != late), "{late} has passed");
                assert_eq!(watcher.subscribe("secret/#"), 0x87);
            }
            epoch.fetch_add(1, Ordering::SeqCst);
            house.reload(&config(OPEN)).unwrap();
            epoch.fetch_add(1, Ordering::SeqCst);
        }
        is_over.store(true, Ordering::SeqCst);
        (publishers.map(|it| it.join().unwrap()), reading.join().unwrap())
    });
    assert_eq!(sent.map(|(count, _)| count), received, "nothing that was allowed is lost");
    let judged: [u64; 2] = [0, 1].map(|it| sent.iter().map(|(_, judged)| judged[it]).sum());
    assert!(judged.iter().all(|it| *it > 0), "the storm has met both: {judged:?}");
}

/// A file with mistakes changes nothing, and all of them are told.
#[test]
fn a_bad_file_is_refused_and_the_old_rules_stay() {
    let house = House::with_file("", Some("topic free/#\n"));
    let mut next = config("");
    next.acl_file = Some(house.acl_file.clone());
    let mut client = house.connect(Version::V5, "client");
    assert_eq!(client.subscribe("free/#"), 1);
    fs::write(&house.acl_file, "topic #\ntopic raed a\nuser\n").unwrap();
    let mistakes = house.reload(&next).unwrap_err();
    assert!(mistakes.contains(":2: ") && mistakes.contains(":3: "), "{mistakes}");
    assert_eq!(client.subscribe("other/#"), 0x87);
    fs::write(&house.acl_file, "topic other/#\n").unwrap();
    house.reload(&next).unwrap();
    while client.subscribe("other/#") != 1 {}
}

/// The rules may be others after a restart: what was subscribed and what waits is held to them.
#[test]
fn sessions_are_judged_again_after_a_restart() {
    let directory = std::env::temp_dir().join(format!("quelea-acl-disk-{}", std::process::id()));
    let connect =
        |house: &House| Client::try_connect(house.address, Version::V5, "sleeper", None, false).0;
    let house = House::on_disk(OPEN, &directory);
    let mut sleeper = connect(&house);
    assert_eq!(sleeper.subscribe("secret/#"), 1);
    assert_eq!(sleeper.subscribe("free/#"), 1);
    sleeper.vanish();
    let mut admin = house.connect(Version::V5, "admin");
    for topic in ["secret/a", "free/a"] {
        assert_eq!(admin.publish(Message::new(topic, "before")), 0);
    }
    drop(house);

    let house = House::on_disk(CLOSED, &directory);
    let mut sleeper = connect(&house);
    assert_eq!(sleeper.wait().0, "free/a");
    let mut admin = house.connect(Version::V5, "admin");
    for topic in ["secret/b", "free/b"] {
        admin.publish(Message::new(topic, "after"));
    }
    assert_eq!(sleeper.wait().0, "free/b");
    assert!(sleeper.take().is_empty());
    assert_eq!(house.totals().dropped_denied, 1);
    assert_eq!(house.totals().subscriptions_denied, 1);
    drop(house);
    fs::remove_dir_all(directory).unwrap();
}
