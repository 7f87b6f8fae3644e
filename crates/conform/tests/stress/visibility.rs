//! What is published after a SUBACK arrives. What is published retained while a SUBSCRIBE is under way arrives
//! live, retained or both, and no older value after a newer one.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use quelea_codec::PacketKind;

use crate::client::{Client, Got, Options};
use crate::house::House;
use crate::random::Random;

#[test]
fn a_message_published_after_suback_arrives() {
    for shards in [2, 4] {
        let house = House::new(shards);
        // Traffic that keeps all shards in their turns.
        let mut noise = Noise::start(&house);
        let mut publishers: Vec<Client> = (0..4).map(|i| house.client(&format!("p{i}"))).collect();
        for round in 0..250 {
            let options = Options::new(format!("s{round}"));
            let options = if round % 3 == 0 { options.durable() } else { options };
            let mut subscriber = house.connect(&options);
            let topic = format!("after/{}", round % 7);
            let filter = if round % 5 == 0 { "after/#" } else { &topic };
            subscriber.subscribe(filter, 2);
            let qos = (round % 2) as u8;
            let payload = round.to_string();
            publishers[round % 4].publish(&topic, qos, payload.as_bytes());
            // One of QoS 0 from an earlier round may still be on its way.
            while subscriber.take().number() < round as u64 {}
            noise.turn(round);
        }
    }
}

#[test]
fn a_message_retained_while_subscribing_arrives() {
    let shards = 3;
    let house = House::new(shards);
    let address = house.address;
    let (start, starts) = channel::<usize>();
    let (end, ends) = channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            let connect = |index| Client::connect(address, &Options::new(format!("p{index}")));
            let mut publishers: Vec<Client> = (0..4).map(connect).collect();
            for round in starts {
                let publisher = &mut publishers[round % 4];
                // Some rounds a little later.
                spin(round * 37 % 400);
                let qos = (round % 3) as u8;
                publisher.send_publish_with(&format!("once/{round}"), qos, b"1", true);
                finish_exchanges(publisher);
                if end.send(()).is_err() {
                    return;
                }
            }
        });
        // Moved in, so that the publisher ends when this side fails.
        let start = start;
        for round in 0..ROUNDS {
            let options = Options::new(format!("s{round}"));
            let options = if round % 2 == 0 { options.durable() } else { options };
            let mut subscriber = house.connect(&options);
            start.send(round).expect("the publisher waits for it");
            spin(round * 53 % 400);
            subscriber.subscribe(&format!("once/{round}"), 2);
            let message = subscriber.wait_for("the message", |got| match got {
                Got::Message(message) => Some(message.clone()),
                _ => None,
            });
            assert_eq!(message.payload, b"1");
            ends.recv().expect("the publisher ends each round");
        }
    });
}

#[test]
fn values_never_go_back() {
    let house = House::new(4);
    let address = house.address;
    let newest = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut publisher = Client::connect(address, &Options::new("publisher"));
            let mut number = 0;
            let mut open = 0;
            while !is_over.load(Ordering::Relaxed) {
                // In bursts, so that one turn has many values of a topic.
                for _ in 0..20 {
                    number += 1;
                    let payload = number.to_string();
                    publisher.send_publish_with("value", 1, payload.as_bytes(), true);
                    open += 1;
                }
                while open > 40 {
                    assert!(matches!(publisher.next(), Got::Ack(PacketKind::PubAck, ..)));
                    open -= 1;
                    newest.store(number - open, Ordering::Release);
                }
            }
        });
        let end = AtEnd(&is_over);
        let mut failures = Vec::new();
        let mut random = Random::new(1);
        for round in 0..60 {
            let options = Options::new(format!("s{round}"));
            let options = match round % 3 {
                0 => options.durable().receive_maximum(1 + random.below(4) as u16),
                _ => options,
            };
            let mut subscriber = house.connect(&options);
            let acknowledged = newest.load(Ordering::Acquire);
            let id = subscriber.send_subscribe(&[("value", 1)]);
            let mut early = None;
            let mut seen: Vec<(u64, bool)> = Vec::new();
            while early.is_none_or(|early| seen.len() < early + 30) {
                match subscriber.next() {
                    Got::Message(message) => {
                        subscriber.acknowledge(&message);
                        seen.push((message.number(), message.is_retained));
                    }
                    Got::Subscribed(it, _) if it == id => early = Some(seen.len()),
                    got => panic!("{got:?}"),
                }
            }
            subscriber.disconnect_with(0, Some(0).filter(|_| options.expiry_secs > 0));
            let early = early.unwrap_or(0);
            // Before SUBACK some may be left out, and a retained message stands for those before it.
            let is_right = seen.windows(2).enumerate().all(|(index, it)| match it[1].0 {
                next if next == it[0].0 + 1 => true,
                // A publish at the moment of the SUBSCRIBE may come both ways, never an older one.
                next if it[1].1 => next >= it[0].0,
                next if index < early => next > it[0].0,
                next => it[0].1 && next >= it[0].0,
            });
            let first_after = seen.get(early).map_or(u64::MAX, |it| it.0);
            if !is_right || first_after < acknowledged {
                failures.push(format!("round {round}, {acknowledged}, {early} early: {seen:?}"));
            }
        }
        drop(end);
        assert!(failures.is_empty(), "{} of 60, the first: {}", failures.len(), failures[0]);
    });
}

/// Tells the other threads of a test that it is over, also when it has failed.
struct AtEnd<'a>(&'a AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Finishes what a publisher has begun, so that its identifiers are free.
fn finish_exchanges(publisher: &mut Client) {
    for got in publisher.before_pong() {
        if let Got::Ack(PacketKind::PubRec, id, _) = got {
            publisher.send_ack(PacketKind::PubRel, id);
        }
    }
}

/// Passes a little time that is too short to be slept.
fn spin(count: usize) {
    for _ in 0..count * 20 {
        std::hint::spin_loop();
    }
}

/// Messages between clients of all shards.
struct Noise {
    publisher: Client,
    subscribers: Vec<Client>,
}

impl Noise {
    fn start(house: &House) -> Self {
        let subscribers = (0..6).map(|index| {
            let mut client = house.client(&format!("noise-{index}"));
            client.subscribe("noise", 0);
            client
        });
        Self { subscribers: subscribers.collect(), publisher: house.client("noise-maker") }
    }

    /// Makes some noise, and has one of the subscribers read what it got of the earlier noise.
    fn turn(&mut self, round: usize) {
        for _ in 0..5 {
            self.publisher.send_publish("noise", 0, b"1");
        }
        let count = self.subscribers.len();
        self.subscribers[round % count].before_pong();
    }
}

const ROUNDS: usize = 400;
