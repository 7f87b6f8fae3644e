//! What is published arrives.

use std::collections::BTreeMap;
use std::time::Duration;

use quelea_client::{
    Backoff, Client, Options, Publish, PublishError, QoS, Queue, QueueOverflow, Subscribe, Version,
};
use tokio::task::JoinSet;

use crate::support::house::House;
use crate::support::relay::Relay;
use crate::support::soon;

#[tokio::test]
async fn every_version_and_qos() {
    let house = House::new();
    for version in Version::ALL {
        let client = connect(&house.url(), Options::new().version(version)).await;
        let mut messages =
            client.subscribe(Subscribe::new("t").qos(QoS::ExactlyOnce)).await.unwrap();
        for qos in QoS::ALL {
            let payload = format!("{version:?} {qos:?}");
            let publish = Publish::new("t", &payload).qos(qos);
            let acknowledgement = soon("the acknowledgement", async {
                client.publish(&publish).await.unwrap().await.unwrap()
            });
            assert_eq!(acknowledgement.await.reason.is_some(), qos > QoS::AtMostOnce);
            let message = soon("the message", messages.next()).await.unwrap();
            assert_eq!((message.text(), message.qos()), (Some(&*payload), qos));
        }
        assert_eq!(soon("the close", client.close(PATIENT)).await, 0);
    }
}

#[tokio::test]
async fn properties_arrive() {
    let house = House::new();
    let client = connect(&house.url(), Options::new()).await;
    let mut messages = client.subscribe("t").await.unwrap();
    let publish = Publish::new("t", "{}")
        .content_type("application/json")
        .response_topic("r")
        .correlation_data("c")
        .user_property("a", "1")
        .user_property("a", "2")
        .expiry(Duration::from_secs(100))
        .text();
    drop(client.publish(&publish).await.unwrap());
    let message = soon("the message", messages.next()).await.unwrap();
    assert_eq!(message.content_type(), Some("application/json"));
    assert_eq!(message.response_topic(), Some("r"));
    assert_eq!(message.correlation_data(), Some(&b"c"[..]));
    assert_eq!(message.user_properties().collect::<Vec<_>>(), [("a", "1"), ("a", "2")]);
    assert_eq!(message.expiry(), Some(Duration::from_secs(100)));
}

/// Nothing can deadlock: neither a full queue nor handles that nobody looks at before all is published.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_messages_of_a_hundred_tasks_through_a_queue_for_ten() {
    let house = House::new();
    let queue = Queue { messages_max: 10, ..Queue::default() };
    let client = connect(&house.url(), Options::new().queue(queue)).await;
    let mut tasks = JoinSet::new();
    for task in 0..100 {
        let client = client.clone();
        tasks.spawn(async move {
            let mut handles = Vec::new();
            for number in 0..100 {
                let payload = format!("{task} {number}");
                let qos = QoS::ALL[number % 3];
                handles.push(client.publish(&Publish::new("t", &payload).qos(qos)).await.unwrap());
            }
            for handle in handles {
                handle.await.unwrap();
            }
        });
    }
    soon("all messages", tasks.join_all()).await;
    assert_eq!(client.unfinished(), 0);
}

#[tokio::test]
async fn what_is_published_offline_is_sent_in_order_when_the_broker_is_there() {
    let relay = Relay::to(None).await;
    let client = Client::start(&relay.url(), hasty()).unwrap();
    let payloads: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    let mut handles = Vec::new();
    for payload in &payloads {
        handles.push(client.try_publish(&Publish::new("t", payload)).unwrap());
    }
    let house = House::new();
    let subscriber = connect(&house.url(), Options::new()).await;
    let mut messages = subscriber.subscribe("t").await.unwrap();
    relay.lead_to(Some(house.address));
    for payload in &payloads {
        let message = soon("a message", messages.next()).await.unwrap();
        assert_eq!(message.text(), Some(&**payload));
    }
    for handle in handles {
        soon("the acknowledgement", handle).await.unwrap();
    }
}

#[tokio::test]
async fn a_full_queue_refuses_or_drops_as_it_was_told() {
    let relay = Relay::to(None).await;
    let queue = |overflow| Queue { messages_max: 2, overflow, ..Queue::default() };
    let publish = Publish::new("t", "");
    for overflow in [QueueOverflow::Wait, QueueOverflow::RejectNewest] {
        let client = Client::start(&relay.url(), hasty().queue(queue(overflow))).unwrap();
        let _first = client.try_publish(&publish).unwrap();
        let _second = client.try_publish(&publish).unwrap();
        assert_eq!(client.try_publish(&publish).err(), Some(PublishError::QueueFull));
        assert_eq!(client.unfinished(), 2);
    }
    let client =
        Client::start(&relay.url(), hasty().queue(queue(QueueOverflow::DropOldest))).unwrap();
    let first = client.try_publish(&publish).unwrap();
    let _second = client.try_publish(&publish).unwrap();
    let _third = client.try_publish(&publish).unwrap();
    assert_eq!(soon("the refusal", first).await, Err(PublishError::Displaced));
    assert_eq!(client.unfinished(), 2);
}

#[tokio::test]
async fn the_bytes_of_the_queue_are_limited_too() {
    let relay = Relay::to(None).await;
    let queue = Queue { bytes_max: 10, overflow: QueueOverflow::RejectNewest, ..Queue::default() };
    let client = Client::start(&relay.url(), hasty().queue(queue)).unwrap();
    let refused = |payload: &str| client.try_publish(&Publish::new("t", payload)).err();
    assert_eq!(refused("1234567890"), Some(PublishError::TooLarge));
    assert_eq!(refused("12345678"), None);
    assert_eq!(refused("1"), Some(PublishError::QueueFull));
    assert_eq!(refused(""), None);
}

/// The link is cut twenty times while messages are under way. The session of the broker lives on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_connections_lose_nothing_and_repeat_nothing_at_qos_2() {
    let house = House::new();
    let subscriber = connect(&house.url(), Options::new()).await;
    let all = Subscribe::new("t/#").qos(QoS::ExactlyOnce).capacity(1_000_000);
    let mut messages = subscriber.subscribe(all).await.unwrap();
    let relay = Relay::to(Some(house.address)).await;
    let client = connect(&relay.url(), hasty()).await;
    let mut events = client.events();
    let publishing = tokio::spawn(async move {
        let mut handles = Vec::new();
        for round in 0..20 {
            for number in 0..200 {
                let payload = format!("{round} {number}");
                let (topic, qos) = match number % 2 {
                    0 => ("t/1", QoS::AtLeastOnce),
                    _ => ("t/2", QoS::ExactlyOnce),
                };
                handles
                    .push(client.publish(&Publish::new(topic, &payload).qos(qos)).await.unwrap());
            }
            // Somewhere in the middle.
            handles.swap_remove(handles.len() / 2).await.unwrap();
            relay.cut();
            while !matches!(events.next().await, Some(quelea_client::Event::Connected { .. })) {}
        }
        for handle in handles {
            handle.await.unwrap();
        }
        client.close(PATIENT).await
    });
    assert_eq!(soon("the publishing", publishing).await.unwrap(), 0);
    let mut counts: BTreeMap<(QoS, String), u32> = BTreeMap::new();
    while counts.len() < 4000 {
        let message = soon("a message", messages.next()).await.unwrap();
        let key = (message.qos(), message.text().unwrap().to_owned());
        *counts.entry(key).or_default() += 1;
    }
    assert!(counts.iter().all(|((qos, _), count)| *qos == QoS::AtLeastOnce || *count == 1));
    assert_eq!(messages.dropped(), 0);
}

/// The broker forgets everything twenty times. What is at QoS 1 arrives all the same, at one of its successors.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_lose_their_memory_do_not_lose_qos_1() {
    let relay = Relay::to(None).await;
    let client = Client::start(&relay.url(), hasty()).unwrap();
    let mut arrived = std::collections::BTreeSet::new();
    let mut next = 0;
    for round in 0..20 {
        let house = House::new();
        let observer = connect(&house.url(), Options::new()).await;
        let mut messages = observer.subscribe("t").await.unwrap();
        relay.lead_to(Some(house.address));
        for _ in 0..50 {
            let payload = next.to_string();
            next += 1;
            drop(client.publish(&Publish::new("t", &payload)).await.unwrap());
        }
        // Half of them at least, of the last broker all.
        let wanted = if round == 19 { next } else { next - 25 };
        while (0..wanted).any(|it| !arrived.contains(&it)) {
            let message = soon("a message", messages.next()).await.unwrap();
            arrived.insert(message.text().unwrap().parse::<u32>().unwrap());
        }
        relay.lead_to(None);
        // What this broker has acknowledged beyond that has been sent to the observer before this.
        drop(observer.publish(&Publish::new("t", "last")).await.unwrap());
        while let Some(message) = soon("a message", messages.next()).await
            && message.text() != Some("last")
        {
            arrived.insert(message.text().unwrap().parse::<u32>().unwrap());
        }
    }
    assert_eq!(arrived.len(), 1000);
}

#[tokio::test]
async fn a_client_that_is_dropped_publishes_what_it_accepted() {
    let house = House::new();
    let subscriber = connect(&house.url(), Options::new()).await;
    let mut messages = subscriber.subscribe("t").await.unwrap();
    let client = connect(&house.url(), Options::new()).await;
    for _ in 0..100 {
        drop(client.publish(&Publish::new("t", "")).await.unwrap());
    }
    drop(client);
    for _ in 0..100 {
        soon("a message", messages.next()).await.unwrap();
    }
}

#[tokio::test]
async fn a_closed_client_refuses_and_says_how_much_it_left() {
    let relay = Relay::to(None).await;
    let client = Client::start(&relay.url(), hasty()).unwrap();
    let handle = client.try_publish(&Publish::new("t", "")).unwrap();
    assert_eq!(soon("the close", client.close(Duration::ZERO)).await, 1);
    assert_eq!(soon("the handle", handle).await, Err(PublishError::Closed));
    assert_eq!(client.try_publish(&Publish::new("t", "")).err(), Some(PublishError::Closed));
    assert_eq!(client.publish(&Publish::new("t", "")).await.err(), Some(PublishError::Closed));
    assert!(client.subscribe("t").await.is_err());
}

#[tokio::test]
async fn connect_fails_when_nobody_is_there() {
    let relay = Relay::to(None).await;
    let error = Client::connect(&relay.url(), Options::new()).await.expect_err("nobody is there");
    let text = error.to_string();
    assert!(text.contains(&relay.url()) && text.contains("without a word"), "{text}");
}

pub(crate) async fn connect(url: &str, options: Options) -> Client {
    soon("the connection", Client::connect(url, options)).await.expect("the broker is there")
}

/// Does not wait long before it connects again.
pub(crate) fn hasty() -> Options {
    Options::new().backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(20)))
}

pub(crate) const PATIENT: Duration = Duration::from_secs(60);
