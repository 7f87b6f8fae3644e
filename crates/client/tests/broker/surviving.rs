//! Messages that survive the process that accepted them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use quelea_client::{
    Client, ConnectError, JournalError, Options, Publish, PublishError, QoS, StartError, Subscribe,
};
use tokio::runtime::Builder;

use crate::publishing::{PATIENT, connect, hasty};
use crate::support::house::House;
use crate::support::relay::Relay;
use crate::support::soon;

/// The publisher is killed ten times, its link is cut in between. What it was told to be accepted arrives: at QoS 2 once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepted_messages_survive_the_process() {
    let house = House::new();
    let relay = Relay::to(Some(house.address)).await;
    let subscriber = connect(&house.url(), Options::new()).await;
    let all = Subscribe::new("t/#").qos(QoS::ExactlyOnce).capacity(1_000_000);
    let mut messages = subscriber.subscribe(all).await.unwrap();
    let scratch = Scratch::new("survive");
    // In each of its lives the publisher publishes until it is killed.
    let next = Arc::new(AtomicU32::new(0));
    let accepted = Arc::new(std::sync::Mutex::new(Vec::new()));
    for life in 0..10 {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (options, url) = (scratch.options(), relay.url());
        let (next, known) = (Arc::clone(&next), Arc::clone(&accepted));
        runtime.spawn(async move {
            let client = Client::start(&url, options).unwrap();
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                let payload = number.to_string();
                let (topic, qos) = match number % 2 {
                    0 => ("t/1", QoS::AtLeastOnce),
                    _ => ("t/2", QoS::ExactlyOnce),
                };
                drop(client.publish(&Publish::new(topic, &payload).qos(qos)).await.unwrap());
                known.lock().unwrap().push(number);
            }
        });
        // It has got on.
        let count = accepted.lock().unwrap().len();
        while accepted.lock().unwrap().len() < count + 300 {
            tokio::task::yield_now().await;
        }
        if life % 3 == 0 {
            relay.cut();
        }
        // Wherever its tasks are, they go no further.
        tokio::task::spawn_blocking(|| runtime.shutdown_timeout(PATIENT)).await.unwrap();
    }
    // The last one only publishes what is left.
    let client = connect(&relay.url(), scratch.options()).await;
    assert_eq!(soon("the rest", client.close(PATIENT)).await, 0);
    let accepted = std::mem::take(&mut *accepted.lock().unwrap());
    let mut counts: BTreeMap<u32, (QoS, u32)> = BTreeMap::new();
    while accepted.iter().any(|number| !counts.contains_key(number)) {
        let message = soon("a message", messages.next()).await.unwrap();
        let number = message.text().unwrap().parse().unwrap();
        counts.entry(number).or_insert((message.qos(), 0)).1 += 1;
    }
    assert!(accepted.len() >= 3000);
    let twice = counts.iter().find(|(_, (qos, count))| *qos == QoS::ExactlyOnce && *count != 1);
    assert_eq!(twice, None);
}

/// Messages that were never sent, and their order.
#[tokio::test]
async fn a_queue_that_was_never_connected_is_published_by_the_next_process() {
    let nowhere = Relay::to(None).await;
    let scratch = Scratch::new("offline");
    for round in 0..3 {
        let client = Client::start(&nowhere.url(), scratch.options()).unwrap();
        assert_eq!(client.unfinished(), round * 100);
        for number in 0..100 {
            let payload = format!("{}", round * 100 + number);
            drop(soon("the disk", client.publish(&Publish::new("t", &payload))).await.unwrap());
        }
        assert_eq!(soon("the close", client.close(Duration::ZERO)).await, (round + 1) * 100);
    }
    let house = House::new();
    let subscriber = connect(&house.url(), Options::new()).await;
    let mut messages = subscriber.subscribe("t").await.unwrap();
    let client = connect(&house.url(), scratch.options()).await;
    for number in 0..300 {
        let message = soon("a message", messages.next()).await.unwrap();
        assert_eq!(message.text(), Some(&*number.to_string()));
    }
    assert_eq!(soon("the close", client.close(PATIENT)).await, 0);
    let client = Client::start(&house.url(), scratch.options()).unwrap();
    assert_eq!(client.unfinished(), 0, "what is done is done");
}

#[tokio::test]
async fn a_queue_file_has_one_owner() {
    let nowhere = Relay::to(None).await;
    let scratch = Scratch::new("owner");
    let first = Client::start(&nowhere.url(), scratch.options()).unwrap();
    let in_use = StartError::Journal(JournalError::InUse(scratch.0.clone()));
    let error = Client::start(&nowhere.url(), scratch.options()).expect_err("it is in use");
    assert_eq!(error.to_string(), in_use.to_string());
    let publish = Publish::new("t", "");
    assert_eq!(first.try_publish(&publish).err(), Some(PublishError::NeedsWaiting));
    let without = hasty().client_id("publisher").queue_file(&scratch.0);
    let error = Client::connect(&nowhere.url(), without).await.expect_err("no session");
    assert!(matches!(error, ConnectError::Start(StartError::Options(_))), "{error}");
    soon("the close", first.close(Duration::ZERO)).await;
    Client::start(&nowhere.url(), scratch.options()).unwrap();
}

/// A file that is removed with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("quelea-client-{}-{name}.journal", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_file(&path);
        Self(path)
    }

    fn options(&self) -> Options {
        hasty().client_id("publisher").resume_session().queue_file(&self.0)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
