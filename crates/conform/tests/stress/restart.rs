//! What was promised before a restart is there after it, and what had ended is not.

use std::collections::BTreeSet;

use quelea_codec::PacketKind;

use crate::client::{Client, Got, Options, duplicate_bytes};
use crate::house::House;

#[test]
fn a_session_comes_back_with_its_subscriptions_and_messages() {
    let house = House::new(2);
    let sleepers: Vec<_> = (0..20).map(|it| Options::new(format!("s-{it}")).durable()).collect();
    for options in &sleepers {
        let mut client = house.connect(options);
        client.subscribe("plant/+/temperature", 1);
        client.subscribe("gone", 1);
        client.unsubscribe("gone");
        client.disconnect();
    }
    let mut publisher = house.client("publisher");
    for number in 0..50 {
        publisher.publish("plant/7/temperature", 2, number.to_string().as_bytes());
    }
    let house = house.restart();
    let mut publisher = house.client("publisher");
    for number in 50..60 {
        publisher.publish("plant/7/temperature", 2, number.to_string().as_bytes());
    }
    assert_eq!(publisher.publish("gone", 1, b"nobody"), 0x10);
    for options in &sleepers {
        let (mut client, is_present) = Client::resume(house.address, options);
        assert!(is_present, "{}", options.client_id);
        for number in 0..60 {
            let message = client.take();
            assert_eq!((message.number(), message.qos, message.is_dup), (number, 1, false));
        }
        assert!(client.before_pong().is_empty());
    }
}

#[test]
fn what_has_ended_stays_ended() {
    let house = House::new(2);
    let options = Options::new("ended").durable();
    let mut client = house.connect(&options);
    client.subscribe("a", 1);
    client.retain("kept", b"1");
    client.retain("cleared", b"1");
    client.retain("cleared", b"");
    client.disconnect();
    house.client("publisher").publish("a", 1, b"for nobody soon");
    // A clean start ends it.
    house.client("ended").disconnect();
    let house = house.restart();
    let (mut client, is_present) = Client::resume(house.address, &options);
    assert!(!is_present);
    client.subscribe("#", 1);
    let message = client.take();
    assert_eq!((message.topic.as_str(), message.is_retained), ("kept", true));
    assert!(client.before_pong().is_empty());
}

#[test]
fn an_expiry_runs_while_the_broker_is_down() {
    let house = House::new(2);
    house.connect(&Options::new("short").durable().expiry(1)).crash();
    house.connect(&Options::new("long").durable().expiry(600)).crash();
    house.wait_until_empty();
    let house = house.restart();
    house.wait_until("the session has expired", |it| it.sessions_expired == 1);
    let (_, is_present) = Client::resume(house.address, &Options::new("short").durable());
    assert!(!is_present);
    let (_, is_present) = Client::resume(house.address, &Options::new("long").durable());
    assert!(is_present);
}

#[test]
fn exchanges_go_on_where_they_were() {
    let house = House::new(2);
    let options = Options::new("halfway").durable();
    let mut client = house.connect(&options);
    client.subscribe("in", 2);
    let mut publisher = house.client("publisher");
    for number in 0..4 {
        publisher.publish("in", 2, number.to_string().as_bytes());
    }
    // One is complete, one received, one sent, and the last sent as well.
    let messages: Vec<_> = (0..4).map(|_| client.message()).collect();
    client.acknowledge(&messages[0]);
    client.send_ack(PacketKind::PubRec, messages[1].packet_id);
    client.wait_ack(PacketKind::PubRel, messages[1].packet_id);
    // And one of its own is not released.
    let id = client.send_publish("out", 2, b"once");
    assert!(client.wait_ack(PacketKind::PubRec, id) < 0x80);
    client.crash();
    house.wait_until("the client is gone", |it| it.connections_opened - it.connections_closed == 2);

    let house = house.restart();
    let mut watcher = house.client("watcher");
    watcher.subscribe("out", 2);
    let (mut client, is_present) = Client::resume(house.address, &options);
    assert!(is_present);
    client.send(&duplicate_bytes(options.version, "out", 2, b"once", id));
    assert!(client.wait_ack(PacketKind::PubRec, id) < 0x80);
    client.send_ack(PacketKind::PubRel, id);
    client.wait_ack(PacketKind::PubComp, id);
    assert!(watcher.before_pong().is_empty(), "it was handed out before the restart");

    client.wait_ack(PacketKind::PubRel, messages[1].packet_id);
    client.send_ack(PacketKind::PubComp, messages[1].packet_id);
    for sent in &messages[2..] {
        let again = client.take();
        assert!(again.is_dup);
        assert_eq!((again.packet_id, &again.payload), (sent.packet_id, &sent.payload));
    }
    assert!(client.before_pong().is_empty());
}

#[test]
fn a_will_outlives_the_broker_unless_its_client_returns() {
    let house = House::new(2);
    let back = Options::new("back").durable().will("will", 2);
    let away = Options::new("away").durable().will("will", 2);
    house.connect(&back).crash();
    house.connect(&away).crash();
    house.wait_until_empty();
    let watcher = Options::new("watcher").durable();
    house.connect(&watcher).subscribe("will", 1);
    let house = house.restart();
    let (mut client, is_present) = Client::resume(house.address, &back);
    assert!(is_present);
    let (mut watcher, _) = Client::resume(house.address, &watcher);
    assert_eq!(watcher.take().payload, b"away");
    client.before_pong();
    // A second restart does not publish it again.
    let house = house.restart();
    assert_eq!(house.totals().wills_published, 0);
    let (mut watcher, _) = Client::resume(house.address, &Options::new("watcher").durable());
    assert!(watcher.before_pong().is_empty());
}

#[test]
fn a_retained_delivery_goes_on_where_it_was() {
    let house = House::new(2);
    let mut publisher = house.client("publisher");
    for number in 0..TOPICS {
        publisher.retain(&format!("kept/{number}"), number.to_string().as_bytes());
    }
    let options = Options::new("slow").durable().receive_maximum(5);
    let mut slow = house.connect(&options);
    slow.subscribe("kept/#", 1);
    let mut seen = BTreeSet::new();
    for _ in 0..TOPICS / 3 {
        seen.insert(slow.take().number());
    }
    let house = house.restart();
    let (mut slow, is_present) = Client::resume(house.address, &options);
    assert!(is_present);
    let mut again = 0;
    while seen.len() < TOPICS {
        let message = slow.take();
        // What was taken shortly before the end may be told of again, with DUP.
        if !seen.insert(message.number()) {
            assert!(message.is_dup, "{message:?} twice");
            again += 1;
        }
    }
    assert!(again <= 5, "{again} were sent again");
    let rest = slow.before_pong();
    assert!(rest.iter().all(|it| matches!(it, Got::Message(it) if it.is_dup)), "{rest:?}");
}

#[test]
fn a_group_keeps_what_its_member_has_not_got() {
    let house = House::new(3);
    let options = Options::new("member").durable();
    let mut member = house.connect(&options);
    member.subscribe("$share/group/work", 1);
    member.disconnect();
    let mut publisher = house.client("publisher");
    for number in 0..10 {
        publisher.publish("work", 1, number.to_string().as_bytes());
    }
    let house = house.restart();
    // The other one is there when the first one's session ends, and gets all of it.
    let mut other = house.connect(&Options::new("other").durable());
    other.subscribe("$share/group/work", 1);
    house.client("member").disconnect();
    let numbers: BTreeSet<_> = (0..10).map(|_| other.take().number()).collect();
    assert_eq!(numbers, (0..10).collect());
    assert!(other.before_pong().is_empty());
}

const TOPICS: usize = 300;
