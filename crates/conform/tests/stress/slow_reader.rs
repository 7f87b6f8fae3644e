//! A client that does not read costs bounded memory and is noticed by nobody else.

use quelea_codec::PacketKind;

use crate::client::{Client, Got, Options};
use crate::house::House;

#[test]
fn qos_0_beyond_the_buffer_is_dropped_and_counted() {
    let house = House::with(2, |config| config.limits.write_buffer_bytes_max = 64 * 1024);
    let mut slow: Vec<Client> = (0..4)
        .map(|index| {
            let mut client = house.client(&format!("slow-{index}"));
            client.subscribe("flood", 0);
            client
        })
        .collect();
    let mut quick = house.client("quick");
    quick.subscribe("flood", 0);
    let mut publisher = house.client("publisher");
    let payload = [b'x'; 10_000];
    let mut sent = 0;
    while house.totals().dropped_slow_reader < 1_000 {
        // As many as a buffer takes: even one who is quick may be kept from reading by a busy machine.
        for _ in 0..5 {
            publisher.send_publish("flood", 0, &payload);
        }
        sent += 5;
        for _ in 0..5 {
            assert!(matches!(quick.next(), Got::Message(_)));
        }
        assert!(sent < 20_000, "nothing is ever dropped");
    }
    publisher.before_pong();
    // The slow ones read what was kept for them, and are in business again.
    let mut kept = 0;
    for client in &mut slow {
        kept += client.before_pong().len();
    }
    let dropped = house.totals().dropped_slow_reader as usize;
    assert_eq!(kept + dropped, 4 * sent);
    publisher.send_publish("flood", 0, b"again");
    for client in &mut slow {
        assert_eq!(client.message().payload, b"again");
    }
}

#[test]
fn qos_1_waits_in_the_queue_within_its_limits() {
    for is_durable in [false, true] {
        let house = House::with(2, |config| {
            config.limits.write_buffer_bytes_max = 64 * 1024;
            config.limits.queued_messages_max = 200;
        });
        let options = Options::new("slow");
        let options = if is_durable { options.durable() } else { options };
        let mut slow = house.connect(&options);
        slow.subscribe("flood", 1);
        let mut publisher = house.client("publisher");
        let payload = [b'x'; 20_000];
        let mut count = 0;
        while house.totals().dropped_queue_full < 50 {
            let mut numbered = format!("{count} ").into_bytes();
            numbered.extend(payload);
            publisher.publish("flood", 1, &numbered);
            count += 1;
            assert!(count < 20_000, "nothing is ever refused");
        }
        publisher.before_pong();
        let dropped = house.totals().dropped_queue_full;
        let mut last = None;
        for _ in 0..count - dropped {
            let message = slow.take();
            assert!(last < Some(message.number()), "{last:?} before {}", message.number());
            last = Some(message.number());
        }
        assert!(slow.before_pong().is_empty());
    }
}

/// Who does not read its answers is not read either.
#[test]
fn answers_that_nobody_reads_stop_the_reading() {
    let house = House::with(2, |config| config.limits.write_buffer_bytes_max = 64 * 1024);
    let mut deaf = house.client("deaf");
    let pings = [0xC0, 0].repeat(32 * 1024);
    let mut sent = 0;
    let mut idle_rounds = 0;
    let mut witness = house.client("witness");
    while idle_rounds < 50 {
        let count = deaf.send_some(&pings[sent % 2..]);
        sent += count;
        idle_rounds = if count == 0 { idle_rounds + 1 } else { 0 };
        witness.before_pong();
        assert!(sent < 256 * 1024 * 1024, "the broker takes everything");
    }
    // It goes on as soon as someone reads.
    for _ in 0..sent / 2 {
        assert_eq!(deaf.next(), Got::Pong);
    }
    if sent % 2 == 1 {
        deaf.send(&[0]);
        assert_eq!(deaf.next(), Got::Pong);
    }
    deaf.publish("t", 1, b"1");
}

/// One client with a great number of tiny packets does not make the others wait for all of them.
#[test]
fn a_flood_of_small_packets_does_not_starve_others() {
    let house = House::new(2);
    let mut flooder = house.client("flooder");
    let mut bystanders: Vec<Client> =
        (0..20).map(|index| house.client(&format!("bystander-{index}"))).collect();
    let mut flood = Vec::new();
    for _ in 0..20_000 {
        flood.extend(crate::client::publish_bytes(
            quelea_codec::Version::V5,
            "nobody",
            0,
            b"",
            false,
            0,
        ));
    }
    flooder.send(&flood);
    for bystander in &mut bystanders {
        bystander.publish("else", 1, b"1");
    }
    flooder.before_pong();
    assert_eq!(house.totals().publishes_received, 20_020);
    let last = flooder.send_publish("nobody", 1, b"");
    flooder.wait_ack(PacketKind::PubAck, last);
}
