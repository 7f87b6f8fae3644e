//! How packets lie in the stream of bytes.

use crate::case::{cases, claim};
use crate::wire::{Packet, publish};

cases! {
    /// [Q5-2.1-2, Q4-2.1-2] Packets may come byte by byte.
    #[versions(V31, V311, V5)]
    fn packets_may_come_byte_by_byte(broker) {
        let topic = broker.topic("t");
        let mut client = broker.open()?;
        for byte in broker.connect_options(broker.version).bytes() {
            client.send(&[byte]);
        }
        client.expect_accepted()?;
        client.subscribe(&topic, 1)?;
        for byte in publish(&topic, "in pieces").qos(1).packet_id(900).bytes(broker.version) {
            client.send(&[byte]);
        }
        client.wait_for_puback(900)?;
        client.take("in pieces")?;
    }

    /// [Q5-2.1-2, Q4-2.1-2] Many packets may come at once, and each is answered.
    #[versions(V31, V311, V5)]
    fn many_packets_may_come_at_once(broker) {
        let topic = broker.topic("t");
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&topic, 0)?;
        let mut client = broker.client()?;
        let mut bytes = Vec::new();
        for index in 0..500 {
            bytes.extend(publish(&topic, &format!("{index}")).bytes(broker.version));
            bytes.extend([0xC0, 0]);
        }
        client.send(&bytes);
        for index in 0..500 {
            let packet = client.expect_packet()?;
            claim(matches!(packet, Packet::PingResp), format!("got {packet:?}"))?;
            subscriber.expect_publish(&format!("{index}"))?;
        }
    }

    /// [Q5-1.5.5-1, Q4-2.2.3-1] A Remaining Length of four bytes is understood, and written.
    #[versions(V31, V311, V5)]
    fn packets_of_megabytes_are_delivered(broker) {
        let length = 2_200_000;
        let limit = broker.limits().packet_bytes_max().unwrap_or(u32::MAX);
        broker.need(limit > length, "packets of 2 MB are too large")?;
        let topic = broker.topic("t");
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&topic, 1)?;
        let mut publisher = broker.client()?;
        let payload = "0123456789".repeat(length as usize / 10);
        publisher.publish(publish(&topic, &payload).qos(1))?;
        match subscriber.expect_packet()? {
            Packet::Publish(got) => {
                claim(got.payload == payload.as_bytes(), "the payload arrived changed")?
            }
            packet => claim(false, format!("got {packet:?}"))?,
        }
    }

    /// [Q5-2.1-3, Q4-2.1-3] A packet that is never finished keeps nobody else waiting.
    #[versions(V31, V311, V5)]
    fn unfinished_packet_disturbs_nobody(broker) {
        let topic = broker.topic("t");
        let mut slow = broker.client()?;
        slow.send(&publish(&topic, "never finished").bytes(broker.version)[..8]);
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&topic, 0)?;
        let mut publisher = broker.client()?;
        publisher.publish(publish(&topic, "whole"))?;
        subscriber.expect_publish("whole")?;
        slow.break_off()?;
        subscriber.expect_silence_after(&mut publisher)?;
    }
}
