//! What is received: nothing is lost, and nothing grows.

use std::collections::BTreeSet;
use std::num::NonZeroU16;

use quelea_client::{Client, Event, Message, Options, Overflow, Publish, QoS, Subscribe, Version};

use crate::publishing::{PATIENT, connect, hasty};
use crate::support::house::House;
use crate::support::relay::Relay;
use crate::support::soon;

/// A consumer that is slow holds the broker back: no more than the Receive Maximum waits here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_consumer_loses_nothing_and_keeps_little() {
    let house = House::new();
    let receive_maximum = NonZeroU16::new(7).unwrap();
    let consumer = connect(&house.url(), Options::new().receive_maximum(receive_maximum)).await;
    let held_back = Subscribe::new("t").overflow(Overflow::HoldBack).capacity(1);
    let mut messages = consumer.subscribe(held_back).await.unwrap();
    let producer = connect(&house.url(), Options::new()).await;
    let mut handles = Vec::new();
    for number in 0..500 {
        let payload = number.to_string();
        handles.push(producer.publish(&Publish::new("t", &payload)).await.unwrap());
    }
    for handle in handles {
        soon("the acknowledgement", handle).await.unwrap();
    }
    for number in 0..500 {
        assert!(messages.waiting() <= 7, "{} wait", messages.waiting());
        let message = soon("a message", messages.next()).await.unwrap();
        assert_eq!(message.text(), Some(&*number.to_string()));
    }
    assert_eq!(messages.dropped(), 0);
}

/// To publish from within the handler of a message is no deadlock, though nothing takes from the full queue meanwhile.
#[tokio::test]
async fn a_handler_may_publish_and_wait() {
    let house = House::new();
    let client = connect(&house.url(), Options::new()).await;
    let full = Subscribe::new("in").overflow(Overflow::HoldBack).capacity(1);
    let mut messages = client.subscribe(full).await.unwrap();
    for _ in 0..100 {
        drop(client.publish(&Publish::new("in", "")).await.unwrap());
    }
    for _ in 0..100 {
        soon("a message", messages.next()).await.unwrap();
        let handle = client.publish(&Publish::new("out", "").qos(QoS::ExactlyOnce)).await.unwrap();
        soon("the acknowledgement", handle).await.unwrap();
    }
}

#[tokio::test]
async fn a_queue_that_drops_counts() {
    let house = House::new();
    let client = connect(&house.url(), Options::new()).await;
    let mut messages = client.subscribe(Subscribe::new("t").capacity(3)).await.unwrap();
    let mut all = client.subscribe("t").await.unwrap();
    for number in 0..10 {
        let payload = number.to_string();
        client.publish(&Publish::new("t", &payload)).await.unwrap().await.unwrap();
    }
    for _ in 0..10 {
        soon("a message", all.next()).await.unwrap();
    }
    assert_eq!((messages.waiting(), messages.dropped()), (3, 7));
    assert_eq!(soon("a message", messages.next()).await.unwrap().text(), Some("0"));
}

/// What a process has not acknowledged comes again to its successor, and what it has does not.
#[tokio::test]
async fn messages_that_are_not_acknowledged_come_again_to_the_next_process() {
    let house = House::new();
    for version in Version::ALL {
        let options = || Options::new().version(version).client_id("worker").resume_session();
        let jobs = Subscribe::new("jobs").qos(QoS::ExactlyOnce).acknowledge_manually();
        let first = connect(&house.url(), options()).await;
        let mut messages = first.subscribe(jobs).await.unwrap();
        let producer = connect(&house.url(), Options::new()).await;
        for number in 0..6 {
            let payload = number.to_string();
            let qos = [QoS::AtLeastOnce, QoS::ExactlyOnce][number % 2];
            let publish = Publish::new("jobs", &payload).qos(qos);
            producer.publish(&publish).await.unwrap().await.unwrap();
        }
        let mut taken = Vec::new();
        for _ in 0..4 {
            taken.push(soon("a message", messages.next()).await.unwrap());
        }
        // The third is never acknowledged, and so the fourth is not either: it has to wait for its turn.
        for index in [3, 1, 0] {
            taken[index].acknowledge();
        }
        soon("the close", first.close(PATIENT)).await;
        drop((taken, messages));

        let second = connect(&house.url(), options()).await;
        let mut messages = second.subscribe(jobs).await.unwrap();
        for number in 2..6 {
            let message = soon("a message", messages.next()).await.unwrap();
            assert_eq!(message.text(), Some(&*number.to_string()), "{version:?}");
            message.acknowledge();
        }
        soon("the end", messages.unsubscribe()).await;
        soon("the close", second.close(PATIENT)).await;
    }
}

/// The consumer is killed twice, its link is cut again and again, and its session takes every message to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_comes_and_goes_misses_nothing() {
    let house = House::new();
    let relay = Relay::to(Some(house.address)).await;
    let options = || hasty().client_id("consumer").resume_session();
    let orders = Subscribe::new("t").overflow(Overflow::HoldBack);
    let consumer = connect(&relay.url(), options()).await;
    let mut messages = consumer.subscribe(orders).await.unwrap();
    let mut client: Client = consumer;
    let producer = connect(&house.url(), Options::new()).await;
    let publishing = tokio::spawn(async move {
        for number in 0..1500 {
            let payload = number.to_string();
            producer.publish(&Publish::new("t", &payload)).await.unwrap().await.unwrap();
        }
    });
    let mut received = BTreeSet::new();
    while received.len() < 1500 {
        let message: Message = soon("a message", messages.next()).await.unwrap();
        if !received.insert(message.text().unwrap().parse::<u32>().unwrap()) {
            continue;
        }
        match received.len() {
            500 | 1000 => {
                drop((messages, client));
                client = connect(&relay.url(), options()).await;
                messages = client.subscribe(orders).await.unwrap();
            }
            count if count % 100 == 0 => relay.cut(),
            _ => {}
        }
    }
    soon("the publishing", publishing).await.unwrap();
}

/// Messages that come before the application has subscribed again wait for it.
#[tokio::test]
async fn messages_of_a_resumed_session_wait_to_be_claimed() {
    let house = House::new();
    let options = || Options::new().client_id("sleeper").resume_session();
    let client = connect(&house.url(), options()).await;
    let messages = client.subscribe("a/#").await.unwrap();
    soon("the close", client.close(PATIENT)).await;
    drop((messages, client));
    let producer = connect(&house.url(), Options::new()).await;
    for topic in ["a/1", "a/2", "a/3"] {
        producer.publish(&Publish::new(topic, "")).await.unwrap().await.unwrap();
    }
    let client = connect(&house.url(), options()).await;
    // Behind what waited, on the same connection.
    client.publish(&Publish::new("other", "")).await.unwrap().await.unwrap();
    let mut later = client.subscribe("a/2").await.unwrap();
    assert_eq!(soon("a message", later.next()).await.unwrap().topic(), "a/2");
    let mut rest = client.unclaimed(Default::default());
    for topic in ["a/1", "a/3"] {
        assert_eq!(soon("a message", rest.next()).await.unwrap().topic(), topic);
    }
    let handle = client.publish(&Publish::new("a/4", "")).await.unwrap();
    soon("the acknowledgement", handle).await.unwrap();
    assert_eq!(soon("a message", rest.next()).await.unwrap().topic(), "a/4");
}

#[tokio::test]
async fn watchers_see_the_connection_come_and_go() {
    let house = House::new();
    let relay = Relay::to(Some(house.address)).await;
    let client = connect(&relay.url(), hasty()).await;
    let mut events = client.events();
    relay.cut();
    assert!(matches!(soon("an event", events.next()).await, Some(Event::Disconnected { .. })));
    let event = soon("an event", events.next()).await;
    assert!(matches!(event, Some(Event::Connected { session_present: true })), "{event:?}");
    soon("the close", client.close(PATIENT)).await;
    assert!(matches!(soon("an event", events.next()).await, Some(Event::Closed)));
}
