//! Each will is published once or not at all, and at the right time, whatever ends the connection.

use std::time::{Duration, Instant};

use crate::client::{Client, Got, Options};
use crate::house::House;

#[test]
fn a_will_follows_a_lost_connection_and_not_a_goodbye() {
    let (house, mut watcher) = start();
    for round in 0..20 {
        let client = house.connect(&Options::new(format!("lost-{round}")).will("will", 0));
        client.crash();
        expect(&mut watcher, &format!("lost-{round}"));
        let options = Options::new(format!("left-{round}")).will("will", 0);
        let options = if round % 2 == 0 { options } else { options.durable() };
        house.connect(&options).disconnect();
        let client = house.connect(&Options::new(format!("odd-{round}")).will("will", 0));
        client.disconnect_with(0x04, None);
        expect(&mut watcher, &format!("odd-{round}"));
        let mut client = house.connect(&Options::new(format!("wrong-{round}")).will("will", 0));
        client.send(&[0xF3, 0]);
        assert!(client.closing_reason().is_some_and(|reason| reason >= 0x80));
        expect(&mut watcher, &format!("wrong-{round}"));
    }
    assert_eq!(house.totals().wills_published, 60);
}

#[test]
fn a_delayed_will_waits_and_is_cancelled_by_a_return() {
    let (house, mut watcher) = start();
    let options = Options::new("back").durable().will("will", 1);
    for _ in 0..10 {
        let client = house.connect(&options);
        client.crash();
        let (client, is_present) = Client::resume(house.address, &options);
        assert!(is_present);
        client.disconnect();
    }
    let started = Instant::now();
    house.connect(&Options::new("away").durable().will("will", 1)).crash();
    expect(&mut watcher, "away");
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    // The end of the session is the end of the delay.
    let started = Instant::now();
    house.connect(&Options::new("short").durable().expiry(1).will("will", 600)).crash();
    expect(&mut watcher, "short");
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    // And so is a clean start.
    house.connect(&Options::new("clean").durable().will("will", 600)).crash();
    house.client("clean").disconnect();
    expect(&mut watcher, "clean");
    assert_eq!(house.totals().wills_published, 3);
}

#[test]
fn a_takeover_sends_a_will_without_delay_or_of_a_session_that_ends() {
    let (house, mut watcher) = start();
    let take_over = |first: Options, second: Options| {
        let mut old = house.connect(&first);
        let new = house.connect(&second);
        assert_eq!(old.closing_reason(), Some(0x8E));
        new.disconnect();
    };
    let durable = |id: &str| Options::new(id).durable();
    take_over(durable("at-once").will("will", 0), durable("at-once"));
    expect(&mut watcher, "at-once");
    take_over(durable("delayed").will("will", 60), durable("delayed"));
    take_over(durable("ended").will("will", 60), Options::new("ended"));
    expect(&mut watcher, "ended");
    take_over(Options::new("brief").will("will", 60), durable("brief"));
    expect(&mut watcher, "brief");
    assert_eq!(house.totals().wills_published, 3);
}

/// DISCONNECT and the next CONNECT of the same client may be read in one turn.
#[test]
fn a_goodbye_counts_though_the_client_is_back_at_once() {
    let (house, mut watcher) = start();
    let options = Options::new("quick").durable().will("will", 0);
    let mut client = house.connect(&options);
    let mut old = Vec::new();
    for _ in 0..300 {
        let mut newer = Client::open(house.address, options.version);
        client.send(&[0xE0, 0]);
        newer.send(&options.bytes());
        old.push(client);
        match newer.next() {
            Got::Accepted(true, 0) => client = newer,
            got => panic!("{got:?}"),
        }
    }
    // Which of the two is read first is not certain: a takeover is right to publish the will.
    let reasons: Vec<_> = old.iter_mut().map(Client::closing_reason).collect();
    let takeover_count = reasons.iter().filter(|it| **it == Some(0x8E)).count();
    assert!(reasons.iter().all(|it| it.is_none_or(|it| it == 0x8E)), "{reasons:?}");
    client.disconnect();
    for _ in 0..takeover_count {
        expect(&mut watcher, "quick");
    }
    assert!(watcher.before_pong().is_empty());
    house.wait_until("clients", |it| it.clients_connected == 2 && it.clients_disconnected == 1);
}

#[test]
fn a_graceful_stop_says_goodbye_and_publishes_no_will() {
    let house = House::new(3);
    let mut watcher = house.client("watcher");
    watcher.subscribe("will", 1);
    let mut clients: Vec<Client> = (0..20)
        .map(|index| house.connect(&Options::new(format!("c{index}")).will("will", 0)))
        .collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for client in &mut clients {
                assert_eq!(client.closing_reason(), Some(0x8B));
            }
            assert_eq!(watcher.next(), Got::Bye(0x8B));
            assert_eq!(watcher.next(), Got::Closed);
        });
        house.stop();
    });
}

fn start() -> (House, Client) {
    let house = House::new(3);
    let mut watcher = house.client("watcher");
    watcher.subscribe("will", 1);
    (house, watcher)
}

#[track_caller]
fn expect(watcher: &mut Client, client_id: &str) {
    let message = watcher.take();
    assert_eq!(String::from_utf8_lossy(&message.payload), client_id);
}
