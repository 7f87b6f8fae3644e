//! Who does too much is slowed down, refused or disconnected, as configured, and nobody else notices.

use std::time::{Duration, Instant};

use quelea_broker::config::RateExceeded;
use quelea_codec::{PacketKind, Version};

use crate::client::{Client, Got, Options, publish_bytes};
use crate::house::House;

#[test]
fn a_client_that_is_too_fast_is_not_read_for_a_while() {
    let house = House::with(2, |config| config.rates.client_messages_per_sec = Some(200));
    let mut client = house.client("fast");
    let start = Instant::now();
    let ids: Vec<u16> = (0..400).map(|_| client.send_publish("t", 1, b"1")).collect();
    for id in ids {
        client.wait_ack(PacketKind::PubAck, id);
    }
    // A second's worth at once, the rest at the rate.
    assert!(start.elapsed() >= Duration::from_millis(950), "{:?}", start.elapsed());
    let totals = house.totals();
    assert!(totals.rate_pauses > 0 && totals.dropped_over_limit == 0, "{totals:?}");
}

/// The broker's own silence is not the client's, and one packet may be more than a second's worth.
#[test]
fn keep_alive_does_not_run_while_a_client_is_paused() {
    let house = House::with(2, |config| config.rates.client_bytes_per_sec = Some(10_000));
    let mut client = house.connect(&Options::new("large").keep_alive(1));
    let start = Instant::now();
    client.publish("t", 1, &[0; 35_000]);
    client.publish("t", 1, b"small");
    assert!(start.elapsed() >= Duration::from_millis(2_400), "{:?}", start.elapsed());
}

#[test]
fn a_flood_stays_in_the_sockets_and_others_are_served() {
    let house = House::with(2, |config| config.rates.client_messages_per_sec = Some(1));
    let mut flooder = house.client("flooder");
    let flood = publish_bytes(Version::V5, "nobody", 0, &[b'x'; 1_000], false, 0).repeat(64);
    let mut bystander = house.connect(&Options::new("bystander"));
    let (mut sent, mut idle_rounds, mut slowest) = (0, 0, Duration::ZERO);
    while idle_rounds < 50 {
        // Packets must not be torn apart: what follows begins where the last write ended.
        let count = flooder.send_some(&flood[sent % (flood.len() / 64)..]);
        sent += count;
        idle_rounds = if count == 0 { idle_rounds + 1 } else { 0 };
        let start = Instant::now();
        bystander.before_pong();
        slowest = slowest.max(start.elapsed());
        assert!(sent < 256 * 1024 * 1024, "the broker takes everything");
    }
    let taken = house.totals().bytes_received;
    assert!(
        taken < 512 * 1024,
        "{taken} bytes were read from a client that may send one message a second"
    );
    assert!(slowest < Duration::from_secs(1), "a bystander waited {slowest:?}");
}

#[test]
fn messages_beyond_a_rate_can_be_refused() {
    let house = House::with(2, |config| {
        config.rates.client_messages_per_sec = Some(10);
        config.rates.exceeded = RateExceeded::Refuse;
    });
    for (version, said) in [(Version::V5, 0x97), (Version::V311, 0)] {
        let mut client = house.connect(&Options::new(format!("{version:?}")).version(version));
        client.subscribe("t", 0);
        let before = house.totals().dropped_over_limit;
        let ids: Vec<u16> = (0..30).map(|_| client.send_publish("t", 1, b"1")).collect();
        let told: Vec<u8> = ids.iter().map(|id| client.wait_ack(PacketKind::PubAck, *id)).collect();
        // All are sent within an instant, but on a slow machine the rate lets one more through.
        let refused = (house.totals().dropped_over_limit - before) as usize;
        assert!((15..=20).contains(&refused), "{refused} were refused");
        assert_eq!(told[29], said);
        assert_eq!(
            told.iter().filter(|it| **it == 0x97).count(),
            if said == 0 { 0 } else { refused }
        );
        // QoS 2 is refused too, in its PUBREC; it ends the exchange.
        client.send_publish("t", 0, b"1");
        assert_eq!(client.publish("t", 2, b"1"), said);
    }
}

#[test]
fn a_client_that_is_too_fast_can_be_disconnected() {
    let house = House::with(2, |config| {
        config.rates.client_messages_per_sec = Some(10);
        config.rates.exceeded = RateExceeded::Disconnect;
    });
    let mut client = house.client("fast");
    for _ in 0..30 {
        client.send_publish("t", 0, b"1");
    }
    assert_eq!(client.closing_reason(), Some(0x96));
    assert_eq!(house.totals().clients_ended_by_rate, 1);
    // The next connection begins with nothing used.
    house.client("fast").publish("t", 1, b"1");
}

#[test]
fn what_goes_to_a_client_is_slowed_down() {
    let house = House::with(2, |config| config.rates.client_messages_out_per_sec = Some(200));
    let mut receiver = house.client("receiver");
    receiver.subscribe("t", 1);
    let mut publisher = house.client("publisher");
    let start = Instant::now();
    for number in 0..400 {
        publisher.send_publish("t", u8::from(number % 2 == 0), number.to_string().as_bytes());
    }
    for number in 0..400_u64 {
        assert_eq!(receiver.take().number(), number);
    }
    assert!(start.elapsed() >= Duration::from_millis(950), "{:?}", start.elapsed());
}

#[test]
fn bytes_to_a_client_are_slowed_down() {
    let house = House::with(2, |config| config.rates.client_bytes_out_per_sec = Some(20_000));
    let mut receiver = house.client("receiver");
    receiver.subscribe("t", 0);
    let mut publisher = house.client("publisher");
    let start = Instant::now();
    for _ in 0..10 {
        publisher.send_publish("t", 0, &[0; 4_000]);
    }
    for _ in 0..10 {
        assert!(matches!(receiver.next(), Got::Message(_)));
    }
    assert!(start.elapsed() >= Duration::from_millis(750), "{:?}", start.elapsed());
}

#[test]
fn an_address_has_so_many_connections() {
    let house = House::with(2, |config| config.rates.address_connections_max = Some(3));
    let clients: Vec<Client> = (0..3).map(|index| house.client(&index.to_string())).collect();
    assert!(is_turned_away(&house));
    let mut clients = clients.into_iter();
    clients.next().expect("there are three").disconnect();
    // The place is free as soon as the broker has seen the end.
    let deadline = Instant::now() + Duration::from_secs(10);
    while is_turned_away(&house) {
        assert!(Instant::now() < deadline, "the place is never free again");
    }
    drop(clients);
}

#[test]
fn an_address_connects_so_fast() {
    let house = House::with(2, |config| config.rates.address_connects_per_sec = Some(5));
    let away = (0..50).filter(|_| is_turned_away(&house)).count();
    assert!((35..=45).contains(&away), "{away} of 50 were turned away");
}

/// Too fast for a listener is not refused: the system's queue is where connections wait.
#[test]
fn connections_wait_for_their_rate() {
    let per_listener = House::with(2, |config| config.listeners[0].connects_per_sec = Some(20));
    let in_all = House::with(2, |config| config.rates.connects_total_per_sec = Some(20));
    for house in [per_listener, in_all] {
        let start = Instant::now();
        let clients: Vec<Client> = (0..40).map(|index| house.client(&index.to_string())).collect();
        assert!(start.elapsed() >= Duration::from_millis(950), "{:?}", start.elapsed());
        drop(clients);
    }
}

#[test]
fn all_clients_of_an_address_or_a_listener_share_a_rate() {
    let by_address = House::with(3, |config| config.rates.address_messages_per_sec = Some(200));
    let by_listener = House::with(3, |config| config.listeners[0].messages_per_sec = Some(200));
    for house in [by_address, by_listener] {
        let start = Instant::now();
        let mut clients: Vec<Client> =
            (0..4).map(|index| house.client(&index.to_string())).collect();
        let sent: Vec<Vec<u16>> = clients
            .iter_mut()
            .map(|client| (0..100).map(|_| client.send_publish("t", 1, b"1")).collect())
            .collect();
        for (client, ids) in clients.iter_mut().zip(sent) {
            for id in ids {
                client.wait_ack(PacketKind::PubAck, id);
            }
        }
        assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    }
}

#[test]
fn payloads_and_topics_are_bounded() {
    let house = House::with(2, |config| {
        config.rates.payload_bytes_max = Some(100);
        config.rates.topics_per_connection_max = Some(10);
    });
    let mut client = house.client("client");
    client.subscribe("#", 0);
    assert_eq!(client.publish("t", 1, &[0; 101]), 0x97);
    assert_eq!(client.publish("t", 2, &[0; 101]), 0x97);
    assert_eq!(client.publish("t", 1, &[0; 100]), 0);
    assert_eq!(client.message().payload.len(), 100);
    let told: Vec<u8> = (0..20).map(|topic| client.publish(&topic.to_string(), 1, b"1")).collect();
    assert_eq!(told.iter().filter(|it| **it == 0x97).count(), 11, "the first was t");
    assert_eq!(client.publish("3", 1, b"1"), 0, "a topic that is known stays good");
}

/// A million topics leave no more behind than ten.
#[test]
fn a_flood_of_topics_is_bounded() {
    let house = House::with(2, |config| {
        config.rates.topics_per_connection_max = Some(10);
        config.limits.retained_messages_max = 1_000;
    });
    let mut client = house.client("client");
    for topic in 0..100_000 {
        client.send(&publish_bytes(Version::V5, &format!("t/{topic}"), 0, b"1", true, 0));
    }
    client.before_pong();
    assert_eq!(house.totals().dropped_over_limit, 100_000 - 10);
}

/// Open connections are held to a rate from the reload on, and let go by the next.
#[test]
fn a_reload_bounds_those_who_are_there() {
    let house = House::new(2);
    let mut client = house.client("client");
    let mut publish = |count: usize| {
        let ids: Vec<u16> = (0..count).map(|_| client.send_publish("t", 1, b"1")).collect();
        let told = ids.iter().map(|id| client.wait_ack(PacketKind::PubAck, *id));
        told.filter(|it| *it == 0x97).count()
    };
    assert_eq!(publish(50), 0);
    house.reload(|config| {
        config.rates.client_messages_per_sec = Some(10);
        config.rates.exceeded = RateExceeded::Refuse;
    });
    assert!(publish(50) >= 35);
    house.reload(|_| {});
    assert_eq!(publish(50), 0);
}

/// Connects, and returns whether the broker closed the connection without a word.
fn is_turned_away(house: &House) -> bool {
    let mut client = Client::open(house.address, Version::V5);
    client.send_some(&Options::new("other").bytes());
    !matches!(client.next(), Got::Accepted(..))
}
