//! What happens at the limits of a session's queue, and what the publisher is told.

use quelea_broker::config::QueueOverflow;
use quelea_codec::Version;

use crate::client::{Client, Got, Options};
use crate::house::House;

#[test]
fn a_full_queue_refuses_the_newest() {
    let (house, mut subscriber, mut publisher) = start(QueueOverflow::RejectNewest);
    let told: Vec<u8> = (0..15_u64).map(|it| publish(&mut publisher, it)).collect();
    assert_eq!(told[..10], [0; 10]);
    assert_eq!(told[10..], [0x97; 5]);
    assert_eq!(house.totals().dropped_queue_full, 5);
    // Someone else has room, so it is no failure.
    let mut other = house.client("other");
    other.subscribe("t", 1);
    assert_eq!(publish(&mut publisher, 15), 0);
    other.take();
    subscriber = resume(&house, subscriber);
    assert_eq!(numbers(&mut subscriber), (0..10).collect::<Vec<_>>());
    // There is room again.
    assert_eq!(publish(&mut publisher, 16), 0);
    assert_eq!(subscriber.take().number(), 16);
    // A 3.x publisher cannot be told.
    subscriber.disconnect();
    let options = Options::new("old").version(Version::V311);
    let mut old = house.connect(&options);
    other.disconnect();
    for number in 0..12_u64 {
        assert_eq!(publish(&mut old, number), 0);
    }
}

#[test]
fn a_full_queue_drops_the_oldest() {
    let (house, subscriber, mut publisher) = start(QueueOverflow::DropOldest);
    for number in 0..25_u64 {
        assert_eq!(publish(&mut publisher, number), 0);
    }
    let mut subscriber = resume(&house, subscriber);
    assert_eq!(numbers(&mut subscriber), (15..25).collect::<Vec<_>>());
    assert_eq!(house.totals().dropped_queue_full, 15);
}

/// What was sent is in no queue and is never dropped.
#[test]
fn what_was_sent_is_not_dropped() {
    let house = House::with(2, |config| {
        config.limits.queued_messages_max = 10;
        config.limits.queue_overflow = QueueOverflow::DropOldest;
    });
    let options = Options::new("subscriber").durable().receive_maximum(3);
    let mut subscriber = house.connect(&options);
    subscriber.subscribe("t", 1);
    let mut publisher = house.client("publisher");
    for number in 0..30_u64 {
        assert_eq!(publish(&mut publisher, number), 0);
    }
    let mut got = Vec::new();
    while got.len() < 13 {
        got.push(subscriber.take().number());
    }
    let expected: Vec<u64> = (0..3).chain(20..30).collect();
    assert_eq!(got, expected);
    assert!(subscriber.before_pong().is_empty());
}

#[test]
fn a_live_queue_has_the_same_limit() {
    let house = House::with(3, |config| config.limits.queued_messages_max = 10);
    let mut subscriber = house.connect(&Options::new("subscriber").receive_maximum(2));
    subscriber.subscribe("t", 1);
    let mut publisher = house.client("publisher");
    for number in 0..30_u64 {
        publish(&mut publisher, number);
    }
    // Through another shard the publisher is not told, so what counts is what comes.
    house.wait_until("drops", |it| it.dropped_queue_full == 18);
    let got: Vec<u64> = (0..12).map(|_| subscriber.take().number()).collect();
    assert_eq!(got, (0..12).collect::<Vec<_>>());
    assert!(subscriber.before_pong().is_empty());
}

#[test]
fn the_publisher_is_told_when_nobody_listens() {
    let house = House::new(2);
    let mut publisher = house.client("publisher");
    for qos in 1..3 {
        assert_eq!(publisher.publish("nobody", qos, b"1"), 0x10);
        publisher.retain("nobody", b"1");
    }
    let mut durable = house.connect(&Options::new("durable").durable());
    durable.subscribe("nobody", 1);
    durable.disconnect();
    for qos in 1..3 {
        assert_eq!(publisher.publish("nobody", qos, b"1"), 0);
    }
}

/// The lower of two QoS counts for sessions that outlive their connection too, on every shard.
#[test]
fn durable_subscriptions_of_qos_0_get_messages_of_qos_1() {
    let house = House::new(4);
    let mut publisher = house.client("publisher");
    for index in 0..12 {
        let mut subscriber = house.connect(&Options::new(format!("s{index}")).durable());
        subscriber.subscribe("a/b", 0);
        if index % 2 == 0 {
            subscriber.subscribe("a/+", 1);
            // A live one on the same filter must not add a copy.
            let mut live = house.client(&format!("live-{index}"));
            live.subscribe("a/b", 0);
        }
        assert_eq!(publisher.publish("a/b", 1, b"1"), 0);
        let message = subscriber.take();
        assert_eq!(message.qos, u8::from(index % 2 == 0));
        // Everything before this has come, on either way.
        publisher.publish("a/b", 1, b"2");
        assert_eq!(subscriber.take().payload, b"2");
        assert!(subscriber.before_pong().is_empty());
    }
}

fn start(overflow: QueueOverflow) -> (House, Client, Client) {
    let house = House::with(3, |config| {
        config.limits.queued_messages_max = 10;
        config.limits.queue_overflow = overflow;
    });
    let mut subscriber = house.connect(&Options::new("subscriber").durable());
    subscriber.subscribe("t", 1);
    let publisher = house.client("publisher");
    subscriber.send(&[0xE0, 0]);
    while subscriber.next() != Got::Closed {}
    (house, subscriber, publisher)
}

fn resume(house: &House, _gone: Client) -> Client {
    let (client, is_present) = Client::resume(house.address, &Options::new("subscriber").durable());
    assert!(is_present);
    client
}

fn publish(publisher: &mut Client, number: u64) -> u8 {
    publisher.publish("t", 1, number.to_string().as_bytes())
}

/// Takes ten messages and makes sure that there are no more.
fn numbers(subscriber: &mut Client) -> Vec<u64> {
    let numbers = (0..10).map(|_| subscriber.take().number()).collect();
    assert!(subscriber.before_pong().is_empty());
    numbers
}
