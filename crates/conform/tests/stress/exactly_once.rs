//! A QoS 2 message arrives exactly once and a QoS 1 message at least once, in order, though publisher and
//! subscriber lose their connections at any point of the exchange.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::thread;

use quelea_codec::{PacketKind, Version};

use crate::client::{Client, Got, Options, duplicate_bytes, publish_bytes};
use crate::house::House;
use crate::random::Random;

#[test]
fn exchanges_survive_broken_connections() {
    for seed in 0..6 {
        let house = House::new(2 + seed % 3);
        let address = house.address;
        let subscriber = Options::new("subscriber").durable().receive_maximum(20);
        let mut client = Client::connect(address, &subscriber);
        client.subscribe("exchange", 2);
        // A live one too, so that messages are handed out on both ways.
        let mut witness = house.client("witness");
        witness.subscribe("exchange", 2);
        thread::scope(|scope| {
            scope.spawn(move || publish(address, seed as u64));
            scope.spawn(move || listen(address, &subscriber, client, seed as u64 + 100));
            scope.spawn(move || listen_without_break(witness));
        });
        assert_eq!(house.totals().protocol_errors, 0);
    }
}

/// A message on its way from the publisher.
struct Open {
    id: u16,
    number: u64,
    is_released: bool,
}

fn publish(address: SocketAddr, seed: u64) {
    let version = if seed.is_multiple_of(2) { Version::V5 } else { Version::V311 };
    let options = Options::new("publisher").version(version).durable();
    let mut random = Random::new(seed);
    let mut client = Client::connect(address, &options);
    let mut open: VecDeque<Open> = VecDeque::new();
    let mut next = 0;
    while next < NUMBERS || !open.is_empty() {
        if random.one_in(25) {
            client = reconnect(address, &options, client, &mut random);
            resend(&mut client, version, &open);
        } else if next < NUMBERS && open.len() < 10 {
            // Never one that is in use: at most ten are.
            let id = 1 + (next % 1_000) as u16;
            let payload = next.to_string();
            client.send(&publish_bytes(version, "exchange", 2, payload.as_bytes(), false, id));
            open.push_back(Open { id, number: next, is_released: false });
            next += 1;
        } else {
            match client.next() {
                Got::Ack(PacketKind::PubRec, id, _) => {
                    if let Some(it) = open.iter_mut().find(|it| it.id == id) {
                        it.is_released = true;
                    }
                    client.send_ack(PacketKind::PubRel, id);
                }
                Got::Ack(PacketKind::PubComp, id, _) => open.retain(|it| it.id != id),
                got => panic!("{got:?} at the publisher"),
            }
        }
    }
    client.disconnect();
}

/// Breaks the connection before or after the next one is there, and sometimes twice.
fn reconnect(address: SocketAddr, options: &Options, old: Client, random: &mut Random) -> Client {
    if random.one_in(2) {
        old.crash();
        return connect_again(address, options);
    }
    let mut newer = connect_again(address, options);
    if random.one_in(3) {
        newer = connect_again(address, options);
    }
    drop(old);
    newer
}

fn connect_again(address: SocketAddr, options: &Options) -> Client {
    let (client, is_present) = Client::resume(address, options);
    assert!(is_present, "the session of {} is gone", options.client_id);
    client
}

fn resend(client: &mut Client, version: Version, open: &VecDeque<Open>) {
    for it in open {
        if it.is_released {
            client.send_ack(PacketKind::PubRel, it.id);
        } else {
            let payload = it.number.to_string();
            client.send(&duplicate_bytes(version, "exchange", 2, payload.as_bytes(), it.id));
        }
    }
}

fn listen(address: SocketAddr, options: &Options, mut client: Client, seed: u64) {
    let mut random = Random::new(seed);
    let mut next = 0;
    let mut exchanges = HashSet::new();
    while next < NUMBERS || !exchanges.is_empty() {
        if random.one_in(30) {
            client = reconnect(address, options, client, &mut random);
            continue;
        }
        match client.next() {
            Got::Message(message) => {
                if exchanges.insert(message.packet_id) {
                    assert_eq!(message.number(), next, "{message:?}");
                    next += 1;
                } else {
                    assert!(message.is_dup, "{message:?}");
                }
                client.send_ack(PacketKind::PubRec, message.packet_id);
            }
            Got::Ack(PacketKind::PubRel, id, _) => {
                exchanges.remove(&id);
                client.send_ack(PacketKind::PubComp, id);
            }
            got => panic!("{got:?} at the subscriber"),
        }
    }
    client.disconnect();
}

fn listen_without_break(mut client: Client) {
    for number in 0..NUMBERS {
        let message = client.wait_for("a message", |got| match got {
            Got::Message(message) => Some(message.clone()),
            _ => None,
        });
        assert_eq!(message.number(), number, "{message:?}");
        client.acknowledge(&message);
    }
    client.disconnect();
}

const NUMBERS: u64 = 300;
