//! A publisher that loses nothing.

use quelea_client::{Client, QoS, Subscribe};

use crate::site::{Example, Site, hasty};
use crate::support::soon;

/// The broker is killed and started again twenty times, the publisher twice, while messages flow. What the publisher had
/// accepted arrives once and in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_dies_twenty_times_and_the_publisher_twice() {
    let mut site = Site::new("publisher").await;
    site.start();
    let options = hasty().client_id("watcher").resume_session();
    let watcher = soon("the broker", Client::connect(&site.url(), options)).await.unwrap();
    let lines = Subscribe::new("lines").qos(QoS::ExactlyOnce).capacity(1_000_000);
    let mut lines = soon("the subscription", watcher.subscribe(lines)).await.unwrap();
    let mut arrived: Vec<usize> = Vec::new();
    let mut accepted = 0;
    let mut publisher = start(&site);
    for life in 1..=20 {
        (accepted..accepted + 200).for_each(|it| publisher.feed(&it.to_string()));
        expect(&mut publisher, accepted..accepted + 100);
        // The broker has passed on what it had missed, and is amid what it has not.
        while arrived.last().is_none_or(|it| *it < accepted) {
            let line = soon("a message", lines.next()).await.unwrap();
            arrived.push(line.text().unwrap().parse().unwrap());
        }
        site.kill();
        expect(&mut publisher, accepted + 100..accepted + 150);
        if life % 8 == 0 {
            publisher.kill();
            accepted += 150;
            // What it had said before it was dead.
            while let Some(line) = publisher.line() {
                assert_eq!(line, accepted.to_string());
                accepted += 1;
            }
            publisher = start(&site);
        } else {
            expect(&mut publisher, accepted + 150..accepted + 200);
            accepted += 200;
        }
        site.start();
    }
    publisher.feed("end");
    assert_eq!(publisher.finish(), ["end"]);
    while let Some(line) = soon("a message", lines.next()).await
        && line.text() != Some("end")
    {
        arrived.push(line.text().unwrap().parse().unwrap());
    }
    // A publisher that was killed may have accepted one line without having said so, and its successor was given it again.
    let count = arrived.len();
    arrived.dedup();
    assert!(count - arrived.len() <= 2, "{} came twice", count - arrived.len());
    assert_eq!(arrived, (0..accepted).collect::<Vec<_>>());
}

fn start(site: &Site) -> Example {
    Example::start("reliable_publisher", &[&site.url(), "lines", &site.path("outbox")])
}

#[track_caller]
fn expect(publisher: &mut Example, numbers: std::ops::Range<usize>) {
    for number in numbers {
        assert_eq!(publisher.line(), Some(number.to_string()));
    }
}
