//! Many tasks that publish at once.

use quelea_client::{Client, QoS, Subscribe};

use crate::site::{Example, Site, hasty};
use crate::support::soon;

/// A hundred tasks fill a queue for ten before there is a broker, which dies several times while they go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_messages_of_a_hundred_tasks_with_a_broker_that_dies() {
    let mut site = Site::new("tasks").await;
    let watcher =
        Client::start(&site.url(), hasty().client_id("watcher").resume_session()).unwrap();
    let load = Subscribe::new("load").qos(QoS::ExactlyOnce).capacity(20_000);
    let mut load = watcher.subscribe_later(load).unwrap();
    let tasks = Example::start("many_tasks", &[&site.url(), "load"]);
    let waiting = tokio::task::spawn_blocking(|| tasks.finish());
    for _ in 0..5 {
        site.start();
        // What had come before it died, and then one of this life.
        while load.try_next().is_some() {}
        soon("a message", load.next()).await.unwrap();
        site.kill();
    }
    site.start();
    let said = soon("the end", waiting).await.unwrap();
    assert_eq!(said, ["10000 messages are acknowledged"]);
}
