//! Messages that survive the process that accepted them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use quelea_client::{
    Client, ConnectError, JournalError, Options, Publish, PublishError, QoS, StartError, Subscribe,
};

use crate::publishing::{PATIENT, connect, hasty};
use crate::support::house::House;
use crate::support::relay::Relay;
use crate::support::soon;

/// The publisher is a process of its own, and killed ten times without warning, its link cut in between. What it was told
/// to be accepted arrives: at QoS 2 once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepted_messages_survive_the_process() {
    let house = House::new();
    let relay = Relay::to(Some(house.address)).await;
    let subscriber = connect(&house.url(), Options::new()).await;
    let all = Subscribe::new("t/#").qos(QoS::ExactlyOnce).capacity(1_000_000);
    let mut messages = subscriber.subscribe(all).await.unwrap();
    let scratch = Scratch::new("survive");
    let mut accepted: Vec<u32> = Vec::new();
    for life in 0..10 {
        let mut process = Process::start(&relay.url(), &scratch, life * 1_000_000);
        // As long as it takes to accept a few hundred.
        accepted.extend(process.accepted().take(300));
        if life % 3 == 0 {
            relay.cut();
            accepted.extend(process.accepted().take(50));
        }
        process.child.kill().unwrap();
        // What it said before it was dead.
        accepted.extend(process.accepted());
        process.child.wait().unwrap();
    }
    // The last one only publishes what is left.
    let client = connect(&relay.url(), scratch.options()).await;
    assert_eq!(soon("the rest", client.close(PATIENT)).await, 0);
    let mut counts: BTreeMap<u32, (QoS, u32)> = BTreeMap::new();
    while accepted.iter().any(|number| !counts.contains_key(number)) {
        let message = soon("a message", messages.next()).await.unwrap();
        let number = message.text().unwrap().parse().unwrap();
        counts.entry(number).or_insert((message.qos(), 0)).1 += 1;
    }
    // All the rest that came, too.
    drop(subscriber.publish(&Publish::new("t/end", "0")).await.unwrap());
    while let Some(message) = soon("a message", messages.next()).await
        && message.topic() != "t/end"
    {
        let number = message.text().unwrap().parse().unwrap();
        counts.entry(number).or_insert((message.qos(), 0)).1 += 1;
    }
    assert!(accepted.len() >= 3000);
    let twice = counts.iter().find(|(_, (qos, count))| *qos == QoS::ExactlyOnce && *count != 1);
    assert_eq!(twice, None);
}

/// A process of this program that publishes until it is killed.
struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(url: &str, scratch: &Scratch, first: u32) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "surviving::the_process_that_is_killed", "--nocapture"])
            .env("QUELEA_TEST_URL", url)
            .env("QUELEA_TEST_FILE", &scratch.0)
            .env("QUELEA_TEST_FIRST", first.to_string())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits for the numbers of the messages that were accepted.
    fn accepted(&mut self) -> impl Iterator<Item = u32> {
        // The last line may be cut.
        let lines = self.lines.by_ref().map_while(Result::ok);
        lines.filter_map(|line| line.strip_prefix("accepted ")?.strip_suffix('.')?.parse().ok())
    }
}

/// Does nothing but when [`Process`] starts it.
#[test]
fn the_process_that_is_killed() {
    let Ok(url) = std::env::var("QUELEA_TEST_URL") else {
        return;
    };
    let variable = |name| std::env::var(name).unwrap();
    let options = options(variable("QUELEA_TEST_FILE"));
    let first: u32 = variable("QUELEA_TEST_FIRST").parse().unwrap();
    let client = quelea_client::blocking::Client::start(&url, options).unwrap();
    for number in first.. {
        let payload = number.to_string();
        let (topic, qos) = match number % 2 {
            0 => ("t/1", QoS::AtLeastOnce),
            _ => ("t/2", QoS::ExactlyOnce),
        };
        drop(client.publish(&Publish::new(topic, &payload).qos(qos)).unwrap());
        println!("accepted {number}.");
    }
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

fn options(path: impl Into<PathBuf>) -> Options {
    hasty().client_id("publisher").resume_session().queue_file(path)
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
        options(&self.0)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
