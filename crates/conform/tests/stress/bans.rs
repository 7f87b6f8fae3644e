//! Who is banned does not connect, is told so where it can be, and is let in again when the ban is over.

use quelea_broker::config::{Ban, Loaded, Sources};
use quelea_codec::Version;

use crate::client::{Client, Options};
use crate::house::House;

#[test]
fn the_configuration_bans() {
    let house = House::with(2, |config| {
        config.banned =
            bans("[[ban]]\nclient_id = \"bad\"\n[[ban]]\naddress = \"203.0.113.0/24\"\n");
    });
    assert_eq!(answer(&house, &Options::new("bad")), Some(0x8A));
    assert_eq!(
        answer(&house, &Options::new("bad").version(Version::V311)),
        Some(0x87),
        "return code 5"
    );
    house.client("good").publish("t", 1, b"1");
    assert_eq!(house.totals().sessions_started, 1, "nothing was made for who is banned");
}

/// A reload ends those who are there; another lets them in again.
#[test]
fn a_reload_bans_those_who_are_there() {
    let house = House::new(3);
    let mut bad = house.client("bad");
    let mut good = house.client("good");
    house.reload(|config| config.banned = bans("[[ban]]\nclient_id = \"bad\"\n"));
    // A shard sees the reload at its next turn.
    bad.send(&[0xC0, 0]);
    assert_eq!(bad.closing_reason(), Some(0x98));
    good.publish("t", 1, b"1");
    assert_eq!(answer(&house, &Options::new("bad")), Some(0x8A));
    house.reload(|config| {
        config.banned = bans("[[ban]]\naddress = \"127.0.0.0/8\"\nuntil = 2020-01-01T00:00:00Z\n")
    });
    house.client("bad").publish("t", 1, b"1");
    good.publish("t", 1, b"1");
    house.reload(|config| config.banned = bans("[[ban]]\naddress = \"127.0.0.0/8\"\n"));
    good.send(&[0xC0, 0]);
    assert_eq!(good.closing_reason(), Some(0x98));
    // An address is turned away without a word.
    assert_eq!(answer(&house, &Options::new("anybody")), None);
}

#[test]
fn who_connects_again_and_again_is_banned() {
    let house = House::with(2, |config| {
        config.bans.connects_max = Some(5);
        config.bans.ban_secs = 1;
    });
    for _ in 0..5 {
        house.client("flapping").crash();
    }
    assert_eq!(answer(&house, &Options::new("flapping")), Some(0x8A));
    house.client("other").publish("t", 1, b"1");
    // The ban is over after a second, and each attempt costs the broker a look.
    let start = std::time::Instant::now();
    while answer(&house, &Options::new("flapping")) == Some(0x8A) {
        assert!(start.elapsed().as_secs() < 10, "the ban does not end");
    }
}

#[test]
fn an_address_whose_clients_fail_is_banned() {
    let house = House::with(2, |config| config.bans.failures_max = Some(3));
    let mut good = house.client("good");
    let unknown = Options::new("bad").auth("no such method", b"");
    for _ in 0..4 {
        assert_eq!(answer(&house, &unknown), Some(0x8C));
    }
    assert_eq!(answer(&house, &Options::new("anybody")), None);
    // Who is there already has shown who it is.
    good.publish("t", 1, b"1");
}

/// Returns what the broker says to a CONNECT; nothing when it closes without a word.
fn answer(house: &House, options: &Options) -> Option<u8> {
    let mut client = Client::open(house.address, options.version);
    client.send(&options.bytes());
    match client.next() {
        crate::client::Got::Accepted(_, reason) => Some(reason),
        _ => None,
    }
}

fn bans(text: &str) -> Vec<Ban> {
    let file = Some(("q.toml".to_owned(), text.to_owned()));
    let loaded = Loaded::from_sources(&Sources { file, ..Sources::default() });
    loaded.expect("the file is right").config.banned
}
