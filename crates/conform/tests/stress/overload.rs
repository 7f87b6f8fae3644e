//! A broker that has too much to do lets nobody else in, says so, and serves those who are there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use quelea_codec::Version;

use crate::client::{Client, Got, Options, publish_bytes};
use crate::house::House;

#[test]
fn the_newest_go_when_memory_is_short() {
    // The newest of all, on whatever shard they are.
    let house = House::new(3);
    let ballast = vec![1_u8; 2 * LEAST as usize];
    let mut clients: Vec<Client> = (0..20).map(|index| house.client(&index.to_string())).collect();
    house.reload(|config| config.overload.memory_bytes_max = Some(LEAST));
    let newer = clients.split_off(10);
    // Each look ends one, the newest first, until half of them are gone.
    for mut client in newer.into_iter().rev() {
        assert_eq!(client.closing_reason(), Some(0x89));
    }
    assert_eq!(ballast.iter().filter(|it| **it == 1).count(), ballast.len(), "it is in memory");
    let totals = house.totals();
    assert_eq!(totals.clients_shed, 10);
    assert_eq!(totals.clients_connected, 10);
    for (version, said) in [(Version::V5, 0x89), (Version::V311, 0x88)] {
        let mut client = Client::start(house.address, &Options::new("late").version(version));
        assert_eq!(client.next(), Got::Accepted(false, said));
    }
    for client in &mut clients {
        client.publish("t", 1, b"1");
    }
    // When there is enough, others are let in again.
    house.reload(|_| {});
    wait_until_told(&house, 0, || {});
    assert_eq!(house.totals().clients_shed, 10, "no more than half of them");
}

/// Turns that are too long keep others out, and nobody has to go.
#[test]
fn nobody_else_is_let_in_while_turns_are_long() {
    let house = House::with(1, |config| config.limits.write_buffer_bytes_max = 16 * 1024);
    let mut receivers: Vec<Client> = (0..400).map(|it| house.client(&it.to_string())).collect();
    for receiver in &mut receivers {
        receiver.subscribe("t", 0);
    }
    let mut publishers: Vec<Client> = (0..4).map(|it| house.client(&format!("p{it}"))).collect();
    house.reload(|config| {
        config.limits.write_buffer_bytes_max = 16 * 1024;
        config.overload.turn_millis_max = Some(1);
    });
    let burst = publish_bytes(Version::V5, "t", 0, b"1", false, 0).repeat(100);
    wait_until_told(&house, 0x89, || {
        for publisher in &mut publishers {
            publisher.send(&burst);
        }
        for publisher in &mut publishers {
            publisher.before_pong();
        }
    });
    assert_eq!(house.totals().clients_shed, 0);
    house.reload(|_| {});
    wait_until_told(&house, 0, || {});
    publishers[0].publish("t", 1, b"2");
}

/// A disk that does not keep up keeps others out; who is there is served as fast as it can.
#[test]
fn nobody_else_is_let_in_while_the_store_lags() {
    let house = House::with(2, |config| config.overload.store_millis_max = Some(1));
    let is_over = AtomicBool::new(false);
    let mut publisher = house.client("publisher");
    std::thread::scope(|scope| {
        let publishing = scope.spawn(|| {
            let payload = vec![b'x'; 4 * 1024 * 1024];
            while !is_over.load(Ordering::Relaxed) {
                publisher.retain("t", &payload);
            }
        });
        wait_until_told(&house, 0x89, || {});
        is_over.store(true, Ordering::Relaxed);
        publishing.join().expect("all that it published was acknowledged");
    });
    assert!(house.totals().connects_refused_busy > 0);
    wait_until_told(&house, 0, || {});
}

/// Does something until whoever connects is told `reason`.
#[track_caller]
fn wait_until_told(house: &House, reason: u8, mut act: impl FnMut()) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        act();
        let mut client = Client::start(house.address, &Options::new("late"));
        match client.next() {
            Got::Accepted(_, told) if told == reason => return,
            got => assert!(Instant::now() < deadline, "{got:?}"),
        }
    }
}

/// The least memory that can be configured as the limit.
const LEAST: u64 = 16 * 1024 * 1024;
