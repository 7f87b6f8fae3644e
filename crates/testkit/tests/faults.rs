//! What an application sees of each fault.

use std::future::Future;
use std::time::{Duration, Instant};

use quelea_client::{
    Backoff, Client, Event, Events, Options, Publish, PublishHandle, QoS, Subscribe, Subscription,
};
use quelea_testkit::TestBroker;

#[tokio::test]
async fn a_cut_breaks_all_connections_once() {
    let broker = TestBroker::start();
    let client = connect(&broker).await;
    let mut events = client.events();
    assert_eq!(broker.connections(), 1);
    for _ in 0..3 {
        broker.cut();
        assert!(connected(&mut events).await, "the session is there");
    }
    publish(&client, QoS::ExactlyOnce).await.await.unwrap();
}

#[tokio::test]
async fn refused_connections_end_and_the_others_go_on() {
    let broker = TestBroker::start();
    let first = connect(&broker).await;
    broker.refuse();
    let second = Client::connect(&broker.url(), options()).await;
    second.expect_err("it was refused");
    soon(publish(&first, QoS::AtLeastOnce).await).await.unwrap();
    broker.restore();
    connect(&broker).await;
}

/// Nothing passes, and nothing is lost: it arrives when the way is restored.
#[tokio::test]
async fn a_black_hole_passes_nothing_and_ends_nothing() {
    let broker = TestBroker::start();
    let (mut messages, _watcher) = watch(&broker).await;
    let client = connect(&broker).await;
    let mut events = client.events();
    broker.black_hole();
    let mut handle = publish(&client, QoS::AtLeastOnce).await;
    let timeout = Duration::from_millis(300);
    let waited = tokio::time::timeout(timeout, &mut handle).await;
    assert!(waited.is_err() && messages.try_next().is_none() && broker.connections() == 1);
    broker.restore();
    soon(handle).await.unwrap();
    assert!(soon(messages.next()).await.is_some());
    assert!(client.is_connected());
    drop(client);
    assert!(matches!(soon(events.next()).await, Some(Event::Closed)), "it was never disconnected");
}

#[tokio::test]
async fn a_delay_is_there_both_ways() {
    let broker = TestBroker::start();
    let client = connect(&broker).await;
    let delay = Duration::from_millis(100);
    broker.delay(delay);
    let start = Instant::now();
    let mut handles = Vec::new();
    for _ in 0..20 {
        handles.push(publish(&client, QoS::AtLeastOnce).await);
    }
    for handle in handles {
        soon(handle).await.unwrap();
    }
    let took = start.elapsed();
    // What is sent together is delayed together.
    assert!((2 * delay..20 * delay).contains(&took), "{took:?}");
}

#[tokio::test]
async fn dropped_acknowledgements_do_not_come_and_a_cut_has_the_message_sent_again() {
    let broker = TestBroker::start();
    let (mut messages, _watcher) = watch(&broker).await;
    let client = connect(&broker).await;
    broker.drop_acknowledgements();
    let mut handle = publish(&client, QoS::AtLeastOnce).await;
    assert!(!soon(messages.next()).await.unwrap().is_duplicate());
    let waited = tokio::time::timeout(Duration::from_millis(100), &mut handle).await;
    waited.expect_err("there is no acknowledgement");
    assert_eq!(broker.acknowledgements_lost(), 1);
    broker.restore();
    broker.cut();
    soon(handle).await.unwrap();
    assert!(soon(messages.next()).await.is_some(), "at QoS 1 it comes twice");
}

#[tokio::test]
async fn a_cut_in_place_of_an_acknowledgement_repeats_qos_1_and_not_qos_2() {
    let broker = TestBroker::start();
    let (mut messages, _watcher) = watch(&broker).await;
    let client = connect(&broker).await;
    for (qos, cuts, copies) in [(QoS::AtLeastOnce, 1, 2), (QoS::ExactlyOnce, 2, 1)] {
        broker.cut_at_acknowledgements(cuts);
        soon(publish(&client, qos).await).await.unwrap();
        for _ in 0..copies {
            assert_eq!(soon(messages.next()).await.unwrap().qos(), qos);
        }
    }
    assert_eq!(broker.acknowledgements_lost(), 3);
    drop(soon(publish(&client, QoS::AtMostOnce).await).await);
    assert_eq!(soon(messages.next()).await.unwrap().qos(), QoS::AtMostOnce, "nothing more came");
}

#[tokio::test]
async fn a_restart_keeps_what_a_durable_broker_has_and_nothing_else() {
    type Restart = fn(&mut TestBroker);
    for (mut broker, restart, is_kept) in [
        (TestBroker::start(), TestBroker::restart as Restart, false),
        (TestBroker::durable(), TestBroker::restart, true),
        (TestBroker::durable(), TestBroker::restart_empty, false),
    ] {
        let url = broker.url();
        let client = connect(&broker).await;
        let mut events = client.events();
        let retained = Publish::new("t", "retained").retain();
        soon(client.publish(&retained)).await.unwrap().await.unwrap();
        for _ in 0..2 {
            restart(&mut broker);
            assert_eq!(connected(&mut events).await, is_kept);
        }
        assert_eq!(broker.url(), url);
        let mut messages = soon(client.subscribe("t")).await.unwrap();
        soon(publish(&client, QoS::AtLeastOnce).await).await.unwrap();
        let first = soon(messages.next()).await.unwrap();
        assert_eq!(first.is_retained(), is_kept, "{first:?}");
    }
}

/// A broker that crashes says nothing before.
#[tokio::test]
async fn a_kill_is_no_farewell() {
    let mut broker = TestBroker::durable();
    let client = connect(&broker).await;
    let mut events = client.events();
    broker.kill();
    let Some(Event::Disconnected { error, .. }) = soon(events.next()).await else {
        panic!("the connection is gone");
    };
    assert!(!error.to_string().contains("0x8B"), "{error}");
    let handle = publish(&client, QoS::ExactlyOnce).await;
    broker.restart();
    soon(handle).await.unwrap();
}

#[test]
fn it_needs_no_runtime() {
    let mut broker = TestBroker::setup().configure(|it| it.limits.connections_max = 1).start();
    let client = quelea_client::blocking::Client::connect(&broker.url(), options()).unwrap();
    broker.restart();
    client.publish(&Publish::new("t", "")).unwrap().wait().unwrap();
    assert!(quelea_client::blocking::Client::connect(&broker.url(), options()).is_err());
}

async fn connect(broker: &TestBroker) -> Client {
    soon(Client::connect(&broker.url(), options())).await.expect("a broker is there")
}

/// Returns all messages, whatever happens on the way of others.
async fn watch(broker: &TestBroker) -> (Subscription, Client) {
    let client =
        soon(Client::connect(&broker.direct_url(), options())).await.expect("a broker is there");
    let all = Subscribe::new("#").qos(QoS::ExactlyOnce);
    (soon(client.subscribe(all)).await.expect("it is granted"), client)
}

async fn publish(client: &Client, qos: QoS) -> PublishHandle {
    soon(client.publish(&Publish::new("t", "payload").qos(qos))).await.expect("it is accepted")
}

/// Waits for the next connection; returns whether the broker had the session.
async fn connected(events: &mut Events) -> bool {
    loop {
        if let Event::Connected { session_present } =
            soon(events.next()).await.expect("it is not closed")
        {
            return session_present;
        }
    }
}

fn options() -> Options {
    Options::new().backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(20)))
}

/// Waits for what must happen soon: as long as the slowest machine may take.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it happens")
}
