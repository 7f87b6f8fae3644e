//! Thousands of connections at once, and one client identifier from all sides.

use quelea_codec::{PacketKind, Version};

use crate::client::{Client, Got, Options, publish_bytes, subscribe_bytes};
use crate::house::House;

#[test]
fn thousands_connect_at_once_and_leave_nothing() {
    let house = House::new(4);
    let mut watcher = house.client("watcher");
    watcher.subscribe("storm/all", 1);
    // All of it in one piece, before there is any answer.
    let mut clients: Vec<Client> = (0..CONNECTIONS)
        .map(|index| {
            let version = [Version::V311, Version::V5][index % 2];
            let options = Options::new(format!("storm-{index}")).version(version);
            let options = if index % 3 == 0 { options.durable().expiry(600) } else { options };
            let topic = format!("storm/{index}");
            let mut bytes = options.bytes();
            bytes.extend(subscribe_bytes(version, &[(&topic, 1)], 1));
            bytes.extend(publish_bytes(version, &topic, 1, b"own", false, 2));
            bytes.extend(publish_bytes(version, "storm/all", 1, b"1", false, 3));
            let mut client = Client::open(house.address, version);
            client.send(&bytes);
            client
        })
        .collect();
    for client in &mut clients {
        assert_eq!(client.next(), Got::Accepted(false, 0));
        let mut seen = (false, false, false, false);
        while seen != (true, true, true, true) {
            match client.next() {
                Got::Subscribed(1, reasons) if reasons == [1] => seen.0 = true,
                Got::Message(message) => {
                    assert_eq!(message.payload, b"own");
                    client.acknowledge(&message);
                    seen.1 = true;
                }
                Got::Ack(PacketKind::PubAck, 2, 0) => seen.2 = true,
                Got::Ack(PacketKind::PubAck, 3, 0) => seen.3 = true,
                got => panic!("{got:?}"),
            }
        }
    }
    for _ in 0..CONNECTIONS {
        assert_eq!(watcher.take().payload, b"1");
    }
    assert_eq!(house.totals().clients_connected as usize, CONNECTIONS + 1);
    for client in &mut clients {
        client.send(&[0xE0, 0]);
    }
    for client in &mut clients {
        assert_eq!(client.next(), Got::Closed);
    }
    drop(clients);
    watcher.disconnect();
    house.wait_until_empty();
    let durable = CONNECTIONS.div_ceil(3) as u64;
    house.wait_until("sessions", |it| {
        it.sessions_started - it.sessions_ended == durable + 1
            && it.clients_disconnected == durable
            && it.subscriptions_added - it.subscriptions_removed == durable
    });
}

#[test]
fn one_message_reaches_thousands() {
    let house = House::new(3);
    let mut publisher = house.client("publisher");
    let mut clients: Vec<Client> = (0..CONNECTIONS)
        .map(|index| Client::start(house.address, &Options::new(format!("fan-{index}"))))
        .collect();
    for (index, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.next(), Got::Accepted(false, 0));
        client.send_subscribe(&[("fan/out", (index % 2) as u8), ("fan/#", 0)]);
    }
    for client in &mut clients {
        assert!(matches!(client.next(), Got::Subscribed(..)));
    }
    for number in 0..3_u64 {
        assert_eq!(publisher.publish("fan/out", 1, number.to_string().as_bytes()), 0);
    }
    for client in &mut clients {
        for number in 0..3 {
            assert_eq!(client.take().number(), number);
        }
    }
    assert_eq!(house.totals().publishes_sent as usize, 3 * CONNECTIONS);
}

/// A fan-out wider than a turn's flushes, again and again: each of the receivers gets on.
#[test]
fn a_steady_fan_out_starves_no_receiver() {
    let house = House::with(1, |config| config.limits.write_buffer_bytes_max = 16 * 1024);
    let mut clients: Vec<Client> = (0..700)
        .map(|index| {
            let mut client = house.client(&format!("fan-{index}"));
            client.subscribe("fan", 0);
            client
        })
        .collect();
    let mut publisher = house.client("publisher");
    let payload = [b'x'; 100];
    // More than a buffer holds, and in pieces, so that it takes many turns.
    for _ in 0..400 {
        publisher.send_publish("fan", 0, &payload);
        publisher.before_pong();
    }
    for client in &mut clients {
        for _ in 0..400 {
            assert!(matches!(client.next(), Got::Message(_)));
        }
    }
    assert_eq!(house.totals().dropped_slow_reader, 0);
}

#[test]
fn one_identifier_from_fifty_connections() {
    for is_durable in [false, true] {
        let house = House::new(4);
        let options = Options::new("same").will("will", 0);
        let options = if is_durable { options.durable() } else { options };
        for _ in 0..6 {
            let mut clients: Vec<Client> = (0..50)
                .map(|index| {
                    let mut client = Client::start(house.address, &options);
                    client.send_subscribe(&[("t", (index % 3) as u8)]);
                    client
                })
                .collect();
            // Each has had its turn, and some are closed before they are answered.
            let is_open: Vec<bool> = clients
                .iter_mut()
                .map(|client| match client.next() {
                    Got::Accepted(_, 0) => true,
                    Got::Closed => false,
                    got => panic!("{got:?}"),
                })
                .collect();
            // All but one are closed with the reason, whichever was the last.
            let mut winners = 0;
            let clients = clients.iter_mut().zip(is_open).filter(|(_, is_open)| *is_open);
            for (client, _) in clients {
                client.send(&[0xC0, 0]);
                let mut is_pong = false;
                loop {
                    match client.next() {
                        Got::Subscribed(..) => {}
                        Got::Bye(reason) => assert_eq!(reason, 0x8E),
                        Got::Closed => break,
                        Got::Pong => {
                            is_pong = true;
                            break;
                        }
                        got => panic!("{got:?}"),
                    }
                }
                winners += usize::from(is_pong);
            }
            assert_eq!(winners, 1);
        }
        house.wait_until("the last one leaves", |it| it.clients_connected == 1);
        let left = u64::from(is_durable);
        house.wait_until("sessions", |it| {
            it.sessions_started - it.sessions_ended == left + 1 && it.clients_disconnected == left
        });
        house.wait_until_empty();
    }
}

const CONNECTIONS: usize = 2_000;
