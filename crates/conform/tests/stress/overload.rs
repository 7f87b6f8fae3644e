//! A broker that has too much to do lets nobody else in, says so, and serves those who are there.

use std::time::{Duration, Instant};

use quelea_codec::Version;

use crate::client::{Client, Got, Options};
use crate::house::House;

#[test]
fn the_newest_go_when_memory_is_short() {
    let house = House::new(1);
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
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut client = Client::start(house.address, &Options::new("late"));
        match client.next() {
            Got::Accepted(_, 0) => break,
            got => assert!(Instant::now() < deadline, "{got:?}"),
        }
    }
    assert_eq!(house.totals().clients_shed, 10, "no more than half of them");
}

/// The least memory that can be configured as the limit.
const LEAST: u64 = 16 * 1024 * 1024;
