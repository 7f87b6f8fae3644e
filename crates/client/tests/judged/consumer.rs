//! A consumer that is slow, and loses nothing for that.

use std::collections::BTreeSet;

use quelea_client::{Client, Publish};

use crate::site::{Example, Site, hasty};
use crate::support::soon;

/// Forty megabytes wait for it, of which few are ever in its memory. It is killed at its work once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_consumer_loses_nothing_and_does_not_grow() {
    let mut site = Site::new("consumer").await;
    site.start();
    let mut consumer = start(&site);
    let publisher = soon("the broker", Client::connect(&site.url(), hasty())).await.unwrap();
    // It works, and so its subscription is there.
    let begin = Publish::new("jobs/0", "begin");
    while soon("room", publisher.publish(&begin)).await.unwrap().await.unwrap().had_no_subscribers()
    {
    }
    assert_eq!(consumer.line().as_deref(), Some("begin"));
    let before = consumer.memory();
    for number in 0..MESSAGES {
        let payload = format!("{number:0width$}", width = PAYLOAD_BYTES);
        drop(soon("room", publisher.publish(&Publish::new("jobs/0", &payload))).await.unwrap());
    }
    let mut done = BTreeSet::new();
    let mut memory_max = 0;
    while done.len() < MESSAGES {
        let line = consumer.line().expect("it goes on");
        if line != "begin" {
            done.insert(line.trim_start_matches('0').parse().unwrap_or(0));
        }
        memory_max = memory_max.max(consumer.memory());
        if done.len() == MESSAGES / 2 {
            consumer.kill();
            consumer = start(&site);
        }
    }
    assert_eq!(done, (0..MESSAGES).collect::<BTreeSet<usize>>());
    let growth = memory_max.saturating_sub(before);
    assert!(growth < GROWTH_BYTES_MAX, "it grew by {growth} bytes");
}

fn start(site: &Site) -> Example {
    Example::start("slow_consumer", &[&site.url(), "jobs/#", "1"])
}

const MESSAGES: usize = 2_000;
const PAYLOAD_BYTES: usize = 20_000;

/// Twenty messages in several copies, and what an allocator keeps of them: a small part of all.
const GROWTH_BYTES_MAX: usize = 4 * 1024 * 1024;
