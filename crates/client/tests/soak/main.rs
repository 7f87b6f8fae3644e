//! The client opposite any broker, over links that break, for as long as one likes. `cargo xtask soak` runs it.

#![allow(clippy::unwrap_used, reason = "it is a test")]

#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quelea_client::{
    Backoff, Client, Message, Options, Publish, PublishError, QoS, Subscribe, Version,
};
use support::relay::Relay;
use support::soon;
use tokio::sync::Semaphore;

/// What arrived of one topic, which has one QoS.
#[derive(Default)]
struct Arrived {
    /// One past the highest number so far.
    next: u64,
    /// Numbers below it that have not come, and may: of a loose broker.
    missing: BTreeSet<u64>,
    count: u64,
    repeated: u64,
}

/// What a broker makes of connections that break.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Broker {
    /// What was under way is sent again first, and at QoS 2 not for a second time.
    Exact,
    /// NATS Server 2.14: what was under way it sends again after a time, and others meanwhile (its pull request 8360).
    /// Some messages at QoS 2 it also sends at QoS 0, when their PUBREL comes behind a PUBLISH at QoS 0 (8414): those are
    /// passed over. A few it sends a second time when a publisher has come back (8416).
    Loose,
}

/// Needs a broker, which `cargo xtask soak` names in the environment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it runs for minutes, opposite a broker that is named in the environment"]
async fn nothing_is_lost_and_nothing_grows() {
    let variable = |name| std::env::var(name).expect(name);
    let broker: SocketAddr = variable("QUELEA_SOAK_BROKER").parse().unwrap();
    let duration = Duration::from_secs(variable("QUELEA_SOAK_SECS").parse().unwrap());
    let version = match &*variable("QUELEA_SOAK_VERSION") {
        "3.1.1" => Version::V311,
        _ => Version::V5,
    };
    let kind = match &*variable("QUELEA_SOAK_BROKER_IS") {
        "loose" => Broker::Loose,
        _ => Broker::Exact,
    };
    let options = |id: &str| {
        let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(50));
        Options::new().version(version).client_id(id).resume_session().backoff(backoff)
    };
    let [one, other] = [Relay::to(Some(broker)).await, Relay::to(Some(broker)).await];
    let subscriber = soon("the broker", Client::connect(&one.url(), options("to"))).await.unwrap();
    let all = Subscribe::new("soak/+").qos(QoS::ExactlyOnce).capacity(100_000);
    let mut messages = soon("the subscription", subscriber.subscribe(all)).await.unwrap();
    let publisher = soon("the broker", Client::connect(&other.url(), options("from"))).await;
    let window = Arc::new(Semaphore::new(WINDOW));
    let until = Instant::now() + duration;
    let publishing = tokio::spawn(publish(publisher.unwrap(), Arc::clone(&window), until));
    let cutting = tokio::spawn(async move {
        for wait in (0_u64..).map(|it| 100 + it * 7_919 % 900) {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            if wait % 2 == 0 { one.cut() } else { other.cut() }
        }
    });
    let mut arrived: BTreeMap<QoS, Arrived> = BTreeMap::new();
    let mut memory = Vec::new();
    let mut next_look = Instant::now() + duration / 4;
    let mut next = async || soon("a message", messages.next()).await.unwrap();
    loop {
        let message = next().await;
        if message.topic() == "soak/end" {
            break;
        }
        if take(&message, kind, &mut arrived) && message.topic() != "soak/0" {
            window.add_permits(1);
        }
        if Instant::now() >= next_look {
            memory.push(resident());
            next_look += duration / 20;
        }
    }
    // The publisher still waits for the end of its last exchange, which takes a relay.
    let published = soon("the publisher", publishing).await.unwrap();
    let is_late = |(qos, sent): (&QoS, &u64), arrived: &BTreeMap<QoS, Arrived>| {
        *qos > QoS::AtMostOnce && arrived.get(qos).is_none_or(|it| it.count < *sent)
    };
    while kind == Broker::Loose && published.iter().any(|it| is_late(it, &arrived)) {
        take(&next().await, kind, &mut arrived);
    }
    cutting.abort();
    for (qos, sent) in published {
        let Arrived { count, repeated, .. } = arrived.remove(&qos).unwrap_or_default();
        println!("{qos:?}: {sent} sent, {count} arrived, {repeated} of them again");
        match qos {
            QoS::AtMostOnce => assert!(count <= sent && repeated == 0),
            QoS::AtLeastOnce => assert_eq!(count, sent),
            QoS::ExactlyOnce => {
                assert_eq!(count, sent);
                assert!(repeated == 0 || kind == Broker::Loose);
            }
        }
    }
    assert_eq!(messages.dropped(), 0);
    let growth = memory.last().unwrap().saturating_sub(memory[0]);
    println!("memory: {} KiB at a quarter of the time, {growth} KiB more at the end", memory[0]);
    assert!(growth < GROWTH_KIB_MAX, "{memory:?}");
}

/// Publishes until the end, and then says so. Returns how many of each QoS were published.
async fn publish(client: Client, window: Arc<Semaphore>, until: Instant) -> BTreeMap<QoS, u64> {
    let mut published = BTreeMap::new();
    while Instant::now() < until {
        for (qos, topic) in QoS::ALL.into_iter().zip(["soak/0", "soak/1", "soak/2"]) {
            if qos > QoS::AtMostOnce {
                window.acquire().await.unwrap().forget();
            }
            let number = published.entry(qos).or_default();
            let payload = format!("{number:0100}");
            *number += 1;
            let accepted = client.publish(&Publish::new(topic, &payload).qos(qos)).await;
            drop(accepted.unwrap());
        }
    }
    while client.unfinished() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let end = Publish::new("soak/end", "").qos(QoS::ExactlyOnce);
    let told: Result<_, PublishError> = client.publish(&end).await.unwrap().await;
    told.unwrap();
    published
}

/// Notes a message. Returns whether it is the first of its number.
fn take(message: &Message, kind: Broker, arrived: &mut BTreeMap<QoS, Arrived>) -> bool {
    let number = message.text().unwrap().parse().unwrap();
    let digit = message.topic().bytes().last().unwrap();
    let qos = QoS::from_byte(digit - b'0').unwrap();
    if message.qos() != qos {
        assert!(message.qos() == QoS::AtMostOnce && kind == Broker::Loose, "{message:?}");
        return false;
    }
    let seen = arrived.entry(qos).or_default();
    if number < seen.next && !seen.missing.remove(&number) {
        assert!(qos < QoS::ExactlyOnce || kind == Broker::Loose, "{number} came twice");
        seen.repeated += 1;
        return false;
    }
    if number > seen.next {
        match (kind, qos) {
            (Broker::Loose, _) => seen.missing.extend(seen.next..number),
            (Broker::Exact, QoS::AtMostOnce) => {}
            (Broker::Exact, _) => panic!("{number} instead of {}", seen.next),
        }
    }
    seen.next = seen.next.max(number + 1);
    seen.count += 1;
    true
}

/// Returns the memory of this process, in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

/// How many messages at QoS 1 and 2 are between publisher and subscriber at most: fewer than any broker queues.
const WINDOW: usize = 500;

/// What an allocator and a relay may keep more of.
const GROWTH_KIB_MAX: usize = 8 * 1024;
