//! A great many retained messages go to a slow subscriber beside the live ones, all of them, and stop with
//! UNSUBSCRIBE.

use std::collections::BTreeSet;

use crate::client::{Client, Got, Options};
use crate::house::House;

#[test]
fn ten_thousand_go_to_a_slow_subscriber_beside_live_messages() {
    for is_durable in [false, true] {
        let house = House::new(3);
        let mut publisher = retain_all(&house);
        let options = Options::new("slow").receive_maximum(5);
        let mut slow = house.connect(&if is_durable { options.durable() } else { options.clone() });
        slow.subscribe("live", 1);
        slow.subscribe("kept/#", 1);
        let mut seen = BTreeSet::new();
        let (mut sent, mut live) = (0_u64, 0_u64);
        let mut waits = 0;
        while seen.len() < TOPICS {
            if seen.len() >= sent as usize * 500 {
                publisher.publish("live", 1, sent.to_string().as_bytes());
                sent += 1;
            }
            let message = slow.take();
            if message.topic == "live" {
                assert_eq!(message.number(), live);
                live += 1;
                waits = 0;
            } else {
                assert!(message.is_retained);
                assert!(seen.insert(message.number()), "{message:?} twice");
                waits = if live < sent { waits + 1 } else { 0 };
                // The publisher is answered before its message is in the mail, which may take a while
                // on a busy machine.
                assert!(waits < TOPICS / 2, "a live message waits behind retained ones");
            }
        }
        while live < sent {
            assert_eq!(slow.take().number(), live);
            live += 1;
        }
        assert!(slow.before_pong().is_empty());
    }
}

#[test]
fn a_slow_subscriber_of_qos_0_misses_none() {
    let house = House::with(2, |config| config.limits.write_buffer_bytes_max = 16 * 1024);
    drop(retain_all(&house));
    let mut slow = house.client("slow");
    slow.subscribe("kept/#", 0);
    let mut seen = BTreeSet::new();
    while seen.len() < TOPICS {
        assert!(seen.insert(slow.message().number()));
    }
    assert_eq!(house.totals().dropped_slow_reader, 0);
}

#[test]
fn unsubscribe_ends_it() {
    for (round, qos) in [0, 1, 2].into_iter().enumerate() {
        let house = House::with(2, |config| config.limits.write_buffer_bytes_max = 16 * 1024);
        drop(retain_all(&house));
        let options = Options::new("fickle").receive_maximum(5);
        let options = if round == 1 { options.durable() } else { options };
        let mut fickle = house.connect(&options);
        fickle.subscribe("kept/#", qos);
        for _ in 0..10 {
            take_retained(&mut fickle);
        }
        let id = fickle.send_unsubscribe("kept/#");
        let mut after_count = 0;
        let mut is_over = false;
        // What is on its way may still come; the rest of ten thousand may not.
        while !is_over {
            match fickle.next() {
                Got::Message(message) => fickle.acknowledge(&message),
                Got::Unsubscribed(it) => is_over = it == id,
                got => panic!("{got:?}"),
            }
        }
        loop {
            let rest = fickle.before_pong();
            if rest.is_empty() {
                break;
            }
            for got in rest {
                let Got::Message(message) = got else { panic!("{got:?}") };
                fickle.acknowledge(&message);
                after_count += 1;
            }
        }
        assert!(after_count < 1_000, "{after_count} after UNSUBACK");
    }
}

fn take_retained(client: &mut Client) {
    let message = client.wait_for("a retained message", |got| match got {
        Got::Message(message) => Some(message.clone()),
        _ => None,
    });
    client.acknowledge(&message);
}

/// Retains a message on each topic.
fn retain_all(house: &House) -> Client {
    let mut publisher = house.client("publisher");
    for number in 0..TOPICS {
        let topic = format!("kept/{}/{number}", number % 100);
        publisher.send_publish_with(&topic, 0, number.to_string().as_bytes(), true);
    }
    publisher.before_pong();
    publisher
}

const TOPICS: usize = 10_000;
