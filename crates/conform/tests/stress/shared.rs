//! A shared group gets every message exactly once, spread over its members; what a member has not acknowledged
//! when it leaves goes to another.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use quelea_codec::PacketKind;

use crate::client::{Client, Got, Options};
use crate::house::House;

#[test]
fn every_message_comes_once() {
    for shards in [2, 4] {
        let house = House::new(shards);
        let address = house.address;
        let mut members: Vec<Client> = (0..6)
            .map(|index| {
                let options = Options::new(format!("member-{index}"));
                let options = if index % 2 == 0 { options } else { options.durable() };
                let mut member = house.connect(&options);
                member.subscribe("$share/group/jobs/+", 2);
                member
            })
            .collect();
        thread::scope(|scope| {
            for publisher in 0..3 {
                scope.spawn(move || {
                    let options = Options::new(format!("publisher-{publisher}"));
                    let mut client = Client::connect(address, &options);
                    for number in 0..COUNT {
                        let payload = format!("{number} of {publisher}");
                        let qos = (number % 3) as u8;
                        client.publish(&format!("jobs/{publisher}"), qos, payload.as_bytes());
                    }
                    client.disconnect();
                });
            }
            let mut counts: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
            let mut shares = vec![0; members.len()];
            while counts.len() < 3 * COUNT {
                for (index, member) in members.iter_mut().enumerate() {
                    for got in member.before_pong() {
                        let Got::Message(message) = got else { panic!("{got:?}") };
                        member.acknowledge(&message);
                        *counts.entry(message.payload).or_default() += 1;
                        shares[index] += 1;
                    }
                }
            }
            assert!(counts.values().all(|count| *count == 1), "{counts:?}");
            assert!(shares.iter().all(|share| *share > COUNT / 6), "unfair: {shares:?}");
        });
    }
}

#[test]
fn what_a_member_leaves_goes_to_another() {
    for (round, leaves_by) in ["crash", "disconnect", "unsubscribe"].into_iter().enumerate() {
        let house = House::new(3);
        let mut leaver = house.client(&format!("leaver-{round}"));
        leaver.subscribe("$share/group/job", 1);
        let mut publisher = house.client("publisher");
        for number in 0..20_u64 {
            assert_eq!(publisher.publish("job", 1, number.to_string().as_bytes()), 0);
        }
        for _ in 0..5 {
            leaver.take();
        }
        // Read, and never acknowledged.
        for _ in 0..5 {
            leaver.message();
        }
        leaver.before_pong();
        let mut heir = house.client(&format!("heir-{round}"));
        heir.subscribe("$share/group/job", 1);
        match leaves_by {
            "crash" => leaver.crash(),
            "disconnect" => leaver.disconnect(),
            _ => leaver.unsubscribe("$share/group/job"),
        }
        let mut inherited = BTreeSet::new();
        while inherited.len() < 15 {
            let message = heir.wait_for("what was left", |got| match got {
                Got::Message(message) => Some(message.clone()),
                _ => None,
            });
            heir.acknowledge(&message);
            assert!(inherited.insert(message.number()), "{leaves_by}: {message:?} twice");
        }
        assert_eq!(inherited, (5..20).collect(), "{leaves_by}");
    }
}

/// Members come and go all the time; nothing of QoS 1 that was acknowledged is lost.
#[test]
fn nothing_is_lost_while_members_come_and_go() {
    for shards in [2, 4] {
        let house = House::new(shards);
        let address = house.address;
        let mut steady = house.client("steady");
        steady.subscribe("$share/group/job", 1);
        let mut seen = BTreeSet::new();
        thread::scope(|scope| {
            for index in 0..2 {
                scope.spawn(move || {
                    for visit in 0..40 {
                        let options = Options::new(format!("visitor-{index}-{visit}"));
                        let mut visitor = Client::connect(address, &options);
                        visitor.subscribe("$share/group/job", 1);
                        visitor.crash();
                    }
                });
            }
            let publisher = scope.spawn(move || {
                let mut client = Client::connect(address, &Options::new("publisher"));
                let mut open = 0;
                for number in 0..600_u64 {
                    client.send_publish("job", 1, number.to_string().as_bytes());
                    open += 1;
                    while open >= 20 {
                        let got = client.next();
                        assert!(matches!(got, Got::Ack(PacketKind::PubAck, _, 0)), "{got:?}");
                        open -= 1;
                    }
                }
                while open > 0 {
                    let got = client.next();
                    assert!(matches!(got, Got::Ack(PacketKind::PubAck, _, 0)), "{got:?}");
                    open -= 1;
                }
            });
            while seen.len() < 600 {
                let Some(got) = steady.next_within(crate::client::PATIENCE / 2) else { break };
                let Got::Message(message) = got else { panic!("{got:?}") };
                steady.acknowledge(&message);
                seen.insert(message.number());
            }
            publisher.join().expect("the publisher is served");
        });
        let missing: Vec<u64> = (0..600).filter(|it| !seen.contains(it)).collect();
        assert!(missing.is_empty(), "lost {missing:?}");
    }
}

#[test]
fn a_durable_member_that_sleeps_gets_what_nobody_takes() {
    let house = House::new(4);
    let options = Options::new("sleeper").durable();
    let mut sleeper = house.connect(&options);
    sleeper.subscribe("$share/group/job", 1);
    sleeper.disconnect();
    let mut awake = house.client("awake");
    awake.subscribe("$share/group/job", 1);
    let mut publisher = house.client("publisher");
    for number in 0..10_u64 {
        publisher.publish("job", 1, number.to_string().as_bytes());
        assert_eq!(awake.take().number(), number, "those online come first");
    }
    awake.disconnect();
    for number in 10..20_u64 {
        assert_eq!(publisher.publish("job", 1, number.to_string().as_bytes()), 0);
    }
    let mut sleeper = house.connect(&options);
    for number in 10..20 {
        assert_eq!(sleeper.take().number(), number);
    }
}

const COUNT: usize = 120;
