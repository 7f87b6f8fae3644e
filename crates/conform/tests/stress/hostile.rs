//! Any bytes on the port: the connection is closed with the right reason, everyone else is served, and nothing
//! of it is left.

use std::time::{Duration, Instant};

use quelea_codec::{PacketKind, Version};

use crate::client::{Client, Got, Options, publish_bytes, subscribe_bytes};
use crate::house::House;
use crate::random::Random;

#[test]
fn garbage_is_closed_and_nothing_is_left() {
    let house = House::new(3);
    let mut witness = Witness::new(&house);
    let mut random = Random::new(7);
    for round in 0..300 {
        let mut client = Client::open(house.address, Version::V5);
        let count = 1 + random.below(200);
        let garbage = random.bytes(count);
        if round % 2 == 0 {
            client.send(&Options::new(format!("g{round}")).bytes());
        }
        client.send(&garbage);
        if round % 3 != 0 {
            client.end_sending();
            read_to_end(&mut client);
        }
        witness.check();
    }
    witness.leave();
    house.wait_until_empty();
    house.wait_until("sessions", |it| it.sessions_started - it.sessions_ended == 1);
}

/// Well-formed packets with one thing changed reach further than garbage.
#[test]
fn broken_packets_are_closed_and_nothing_is_left() {
    let house = House::new(2);
    let mut witness = Witness::new(&house);
    let mut random = Random::new(11);
    for round in 0..400 {
        let version = [Version::V31, Version::V311, Version::V5][round % 3];
        let mut bytes = Options::new(format!("b{round}")).version(version).will("w", 0).bytes();
        let connect_len = bytes.len();
        bytes.extend(subscribe_bytes(version, &[("a/+", 1), ("$share/g/b", 2)], 1));
        bytes.extend(publish_bytes(version, "a/b", 1, b"payload", true, 2));
        bytes.extend(publish_bytes(version, "b", 2, b"payload", false, 3));
        bytes.extend([0x62, 2, 0, 3, 0xC0, 0]);
        let from = if round % 4 == 0 { 0 } else { connect_len };
        match random.below(3) {
            0 => {
                let at = from + random.below(bytes.len() - from);
                bytes[at] ^= 1 << random.below(8);
            }
            1 => bytes.truncate(1 + random.below(bytes.len() - 1)),
            _ => {
                let at = from + random.below(bytes.len() - from);
                bytes.remove(at);
            }
        }
        let mut client = Client::open(house.address, version);
        client.send(&bytes);
        client.end_sending();
        read_to_end(&mut client);
        witness.check();
    }
    witness.leave();
    house.wait_until_empty();
}

#[test]
fn a_huge_remaining_length_is_refused_before_it_is_read() {
    let house = House::new(2);
    let mut client = house.client("huge");
    client.send(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]);
    assert_eq!(client.closing_reason(), Some(0x95));
    let mut client = house.client("too long");
    client.send(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]);
    assert_eq!(client.closing_reason(), Some(0x81));
    let mut client = Client::open(house.address, Version::V5);
    client.send(&[0x10, 0xFF, 0xFF, 0xFF, 0x7F]);
    assert_eq!(client.closing_reason(), None);
    // What is allowed costs no memory until it comes.
    let mut waiting: Vec<Client> = (0..200)
        .map(|index| {
            let mut client = house.client(&format!("w{index}"));
            client.send(&[0x30, 0x80, 0x80, 0x80, 0x04, 0, 1, b't']);
            client
        })
        .collect();
    let before = resident_bytes();
    for client in &mut waiting {
        client.send(&[0; 100]);
    }
    house.client("another").before_pong();
    assert!(resident_bytes() < before + 64 * 1024 * 1024);
}

#[test]
fn a_client_that_sends_byte_by_byte_is_served() {
    let house = House::new(2);
    let mut bytes = Options::new("slow").bytes();
    bytes.extend(subscribe_bytes(Version::V5, &[("t", 2)], 1));
    bytes.extend(publish_bytes(Version::V5, "t", 1, &[b'x'; 300], false, 2));
    let mut client = Client::open(house.address, Version::V5);
    for byte in bytes {
        client.send(&[byte]);
    }
    assert_eq!(client.next(), Got::Accepted(false, 0));
    assert_eq!(client.next(), Got::Subscribed(1, vec![2]));
    let mut got = [client.next(), client.next()];
    got.sort_by_key(|got| matches!(got, Got::Ack(..)));
    assert!(matches!(&got[0], Got::Message(message) if message.payload == [b'x'; 300]));
    assert_eq!(got[1], Got::Ack(PacketKind::PubAck, 2, 0));
}

#[test]
fn a_connect_that_does_not_come_in_time_is_given_up() {
    let house = House::with(2, |config| config.limits.connect_timeout_secs = 1);
    let mut witness = Witness::new(&house);
    let started = Instant::now();
    let mut silent: Vec<Client> =
        (0..50).map(|_| Client::open(house.address, Version::V5)).collect();
    for (index, client) in silent.iter_mut().enumerate() {
        // Some begin, and never end.
        let bytes = Options::new("never").bytes();
        client.send(&bytes[..index % bytes.len()]);
    }
    for client in &mut silent {
        assert_eq!(client.next(), Got::Closed);
    }
    let passed = started.elapsed();
    assert!(passed >= Duration::from_millis(900) && passed < Duration::from_secs(5), "{passed:?}");
    witness.check();
    witness.leave();
    house.wait_until_empty();
}

#[test]
fn a_silent_client_is_closed_after_one_and_a_half_keep_alives() {
    let house = House::new(2);
    let started = Instant::now();
    let mut silent = house.connect(&Options::new("silent").keep_alive(1));
    // Half a packet is no sign of life, and the broker's own messages are none either.
    silent.subscribe("t", 0);
    silent.send(&[0x30, 10, 0]);
    assert_eq!(silent.closing_reason(), Some(0x8D));
    let passed = started.elapsed();
    assert!(
        passed >= Duration::from_millis(1_500) && passed < Duration::from_secs(5),
        "{passed:?}"
    );
}

/// Acknowledgements of anything, in any order, at any time.
#[test]
fn stray_acknowledgements_do_no_harm() {
    let house = House::new(2);
    let mut witness = Witness::new(&house);
    let mut random = Random::new(3);
    let kinds = [PacketKind::PubAck, PacketKind::PubRec, PacketKind::PubRel, PacketKind::PubComp];
    for round in 0..60 {
        let options = Options::new(format!("stray-{round}"));
        let options = if round % 2 == 0 { options.durable().expiry(1) } else { options };
        let mut client = house.connect(&options);
        client.subscribe("stray", 2);
        for number in 0..40_u64 {
            client.send_publish("stray", (number % 3) as u8, b"1");
            client.send_ack(kinds[random.below(4)], 1 + random.below(40) as u16);
        }
        client.end_sending();
        read_to_end(&mut client);
        witness.check();
    }
    witness.leave();
    house.wait_until_empty();
    house.wait_until("sessions", |it| it.sessions_started - it.sessions_ended == 1);
}

/// A client among the others, which must notice nothing.
struct Witness {
    client: Client,
    number: u64,
}

impl Witness {
    fn new(house: &House) -> Self {
        let mut client = house.client("witness");
        client.subscribe("witness", 1);
        Self { client, number: 0 }
    }

    #[track_caller]
    fn check(&mut self) {
        self.number += 1;
        self.client.publish("witness", 1, self.number.to_string().as_bytes());
        assert_eq!(self.client.take().number(), self.number);
    }

    fn leave(self) {
        self.client.disconnect();
    }
}

/// Reads until the broker has closed.
#[track_caller]
fn read_to_end(client: &mut Client) {
    while client.next() != Got::Closed {}
}

/// Returns the memory that this process, the broker in it, has.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0) * 4096
}
