//! QoS 2, both ways.

use crate::case::{cases, claim, claim_eq};
use crate::exchange::reason::PACKET_ID_NOT_FOUND;
use crate::wire::{Body, publish};

cases! {
    /// [MQTT-4.3.3-8, MQTT-4.3.3-11, MQTT-2.2.1-5, MQTT-3.3.4-1] v3.1.1 [MQTT-4.3.3-2, MQTT-2.3.1-6, MQTT-3.3.4-1] A PUBLISH of
    /// QoS 2 is answered by PUBREC, and PUBREL by PUBCOMP, all with its packet identifier.
    #[versions(V31, V311, V5)]
    fn qos2_publish_is_acknowledged(broker) {
        broker.need_qos(2)?;
        let mut client = broker.client()?;
        for packet_id in [1, 300, 65_535] {
            client.send_publish(publish(&broker.topic("t"), "x").qos(2).packet_id(packet_id));
            client.wait_for_pubrec(packet_id)?;
            client.send_pubrel(packet_id);
            client.wait_for_pubcomp(packet_id)?;
        }
        client.expect_silence()?;
    }

    /// [MQTT-4.3.3-11] v3.1.1 [MQTT-4.3.3-2] A PUBREL that does not wait for the PUBREC is answered after it, though the
    /// message goes to a session that outlives its connection.
    #[versions(V31, V311, V5)]
    fn pubrel_may_come_with_its_publish(broker) {
        broker.need_qos(2)?;
        broker.need_quelea("clients have to wait for the PUBREC")?;
        let topic = broker.topic("t");
        let mut subscriber = broker.connect(|it| it.client_id(&broker.id()).keep_session())?;
        subscriber.subscribe(&topic, 2)?;
        let mut publisher = broker.client()?;
        let last = broker.limits().receive_maximum().min(20) as u16;
        let mut bytes = Vec::new();
        for packet_id in 1..=last {
            let message = publish(&topic, "early").qos(2).packet_id(packet_id);
            bytes.extend(message.bytes(broker.version));
            bytes.extend(Body::new().two(packet_id).packet(0x62));
        }
        publisher.send(&bytes);
        for packet_id in 1..=last {
            publisher.wait_for_pubrec(packet_id)?;
        }
        for packet_id in 1..=last {
            publisher.wait_for_pubcomp(packet_id)?;
        }
    }

    /// [MQTT-4.3.3-10] v3.1.1 [MQTT-4.3.3-2] A PUBLISH of QoS 2 sent again before PUBREL is acknowledged again
    /// and delivered once.
    #[versions(V31, V311, V5)]
    fn qos2_duplicate_is_delivered_once(broker) {
        broker.need_qos(2)?;
        let topic = broker.topic("t");
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&topic, 2)?;
        let mut publisher = broker.client()?;
        let message = publish(&topic, "once").qos(2).packet_id(7);
        publisher.send_publish(message.clone());
        publisher.wait_for_pubrec(7)?;
        publisher.send_publish(message.dup());
        publisher.wait_for_pubrec(7)?;
        publisher.send_pubrel(7);
        publisher.wait_for_pubcomp(7)?;
        let delivered = subscriber.take("once")?;
        claim_eq("QoS", delivered.qos, 2)?;
        claim(!delivered.is_dup, "a first delivery with DUP")?;
        subscriber.expect_silence_after(&mut publisher)?;
    }

    /// [MQTT-4.3.3-10, Q5-4.1-2] v3.1.1 [MQTT-4.3.3-2] [Q4-3.1.2.4-1] A PUBLISH of QoS 2 sent again on the next connection of the
    /// session is delivered once.
    #[versions(V31, V311, V5)]
    fn qos2_duplicate_after_reconnect_is_delivered_once(broker) {
        broker.need_qos(2)?;
        let topic = broker.topic("t");
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&topic, 2)?;
        let client_id = broker.id();
        let message = publish(&topic, "once").qos(2).packet_id(7);
        let mut publisher = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        publisher.send_publish(message.clone());
        publisher.wait_for_pubrec(7)?;
        publisher.break_off()?;
        let mut publisher = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        publisher.send_publish(message.dup());
        publisher.wait_for_pubrec(7)?;
        publisher.send_pubrel(7);
        publisher.wait_for_pubcomp(7)?;
        subscriber.take("once")?;
        subscriber.expect_silence_after(&mut publisher)?;
    }

    /// [MQTT-4.3.3-12] v3.1.1 [MQTT-4.3.3-2] After PUBCOMP the packet identifier is free for another message.
    #[versions(V31, V311, V5)]
    fn qos2_packet_id_is_free_after_pubcomp(broker) {
        broker.need_qos(2)?;
        let topic = broker.topic("t");
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&topic, 0)?;
        let mut publisher = broker.client()?;
        for payload in ["first", "second"] {
            publisher.publish(publish(&topic, payload).qos(2).packet_id(7))?;
            subscriber.expect_publish(payload)?;
        }
        // DUP does not make it a copy of what is finished.
        publisher.publish(publish(&topic, "third").qos(2).packet_id(7).dup())?;
        subscriber.expect_publish("third")?;
    }

    /// [Q5-3.7.2.1-1, MQTT-4.3.3-11] v3.1.1 [MQTT-4.3.3-2] A PUBREL for a message that the server does not have is answered too.
    #[versions(V31, V311, V5)]
    fn pubrel_without_publish_is_answered(broker) {
        broker.need_qos(2)?;
        let mut client = broker.client()?;
        client.send_pubrel(77);
        let pubcomp = client.wait_for_pubcomp(77)?;
        if broker.version.is_v5() {
            let reasons: &[u8] =
                if broker.is_quelea() { &[PACKET_ID_NOT_FOUND] } else { &[0, PACKET_ID_NOT_FOUND] };
            claim(reasons.contains(&pubcomp.reason), format!("got {pubcomp:?}"))?;
        }
        client.expect_silence()?;
    }

    /// [MQTT-4.3.3-4, MQTT-4.3.3-2, MQTT-4.3.3-1, MQTT-2.2.1-4] v3.1.1 [MQTT-4.3.3-1, MQTT-2.3.1-4] A delivery of QoS 2 has a
    /// packet identifier, which its PUBREL repeats.
    #[versions(V31, V311, V5)]
    fn qos2_delivery_is_released(broker) {
        broker.need_qos(2)?;
        let topic = broker.topic("t");
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&topic, 2)?;
        broker.client()?.publish(publish(&topic, "x").qos(2))?;
        let delivered = subscriber.expect_publish("x")?;
        claim(delivered.qos == 2 && !delivered.is_dup, format!("got {delivered:?}"))?;
        subscriber.send_pubrec(delivered.packet_id);
        let pubrel = subscriber.expect_pubrel()?;
        claim_eq("packet identifier of PUBREL", pubrel.packet_id, delivered.packet_id)?;
        claim_eq("reason of PUBREL", pubrel.reason, 0)?;
        subscriber.send_pubcomp(delivered.packet_id);
        subscriber.expect_silence()?;
    }

    /// [MQTT-4.3.3-4] v3.1.1 [MQTT-4.3.3-1] A PUBREC sent again is answered by PUBREL again.
    #[versions(V31, V311, V5)]
    fn repeated_pubrec_is_answered(broker) {
        broker.need_quelea("a PUBREC sent twice on one connection is the client's error")?;
        let topic = broker.topic("t");
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&topic, 2)?;
        broker.client()?.publish(publish(&topic, "x").qos(2))?;
        let delivered = subscriber.expect_publish("x")?;
        for _ in 0..2 {
            subscriber.send_pubrec(delivered.packet_id);
            claim_eq("PUBREL", subscriber.expect_pubrel()?.packet_id, delivered.packet_id)?;
        }
    }

    /// [Q5-3.6.2.1-1] A PUBREC for a message that the server did not send is answered by PUBREL with Packet Identifier
    /// not found.
    #[versions(V5)]
    fn pubrec_without_publish_is_answered(broker) {
        let mut subscriber = broker.client()?;
        subscriber.send_pubrec(99);
        let packet = subscriber.expect_close_or_packet()?;
        // Another broker may take it for a protocol error.
        if broker.is_quelea() || matches!(packet, Some(crate::wire::Packet::PubRel(_))) {
            let is_right = matches!(&packet, Some(crate::wire::Packet::PubRel(it))
                if it.packet_id == 99 && (it.reason == PACKET_ID_NOT_FOUND || !broker.is_quelea()));
            claim(is_right, format!("got {packet:?}"))?;
        }
    }

    /// [MQTT-4.3.3-3, MQTT-4.4.0-1, MQTT-3.3.1-1] v3.1.1 [MQTT-4.3.3-1, MQTT-4.4.0-1, MQTT-3.3.1-1] A delivery without PUBREC is
    /// sent again on the next connection, with its identifier and DUP.
    #[versions(V31, V311, V5)]
    fn qos2_delivery_is_repeated_until_pubrec(broker) {
        broker.need_qos(2)?;
        let topic = broker.topic("t");
        let client_id = broker.id();
        let mut subscriber = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        subscriber.subscribe(&topic, 2)?;
        broker.client()?.publish(publish(&topic, "x").qos(2))?;
        let first = subscriber.expect_publish("x")?;
        subscriber.break_off()?;
        let mut subscriber = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        let second = subscriber.expect_publish("x")?;
        claim_eq("packet identifier", second.packet_id, first.packet_id)?;
        broker.judge("[MQTT-3.3.1-1] v3.1.1 [MQTT-3.3.1-1]", || {
            claim(second.is_dup, "no DUP on a repetition")
        })?;
        claim_eq("QoS", second.qos, 2)?;
        subscriber.acknowledge(&second)?;
        subscriber.expect_silence()?;
    }

    /// [MQTT-4.3.3-5, MQTT-4.3.3-6, MQTT-4.4.0-1] v3.1.1 [MQTT-4.3.3-1, MQTT-4.4.0-1] After PUBREC it is the PUBREL that is sent
    /// again on the next connection, and never the PUBLISH.
    #[versions(V31, V311, V5)]
    fn pubrel_is_repeated_until_pubcomp(broker) {
        broker.need_qos(2)?;
        let topic = broker.topic("t");
        let client_id = broker.id();
        let mut subscriber = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        subscriber.subscribe(&topic, 2)?;
        broker.client()?.publish(publish(&topic, "x").qos(2))?;
        let delivered = subscriber.expect_publish("x")?;
        subscriber.send_pubrec(delivered.packet_id);
        subscriber.expect_pubrel()?;
        subscriber.break_off()?;
        for _ in 0..2 {
            let mut subscriber = broker.connect(|it| it.client_id(&client_id).keep_session())?;
            claim_eq("PUBREL", subscriber.expect_pubrel()?.packet_id, delivered.packet_id)?;
            subscriber.expect_silence()?;
            subscriber.break_off()?;
        }
        let mut subscriber = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        subscriber.expect_pubrel()?;
        subscriber.send_pubcomp(delivered.packet_id);
        subscriber.disconnect()?;
        broker.connect(|it| it.client_id(&client_id).keep_session())?.expect_silence()?;
    }

    /// [MQTT-4.4.0-2, Q5-4.9-1] A PUBREC of failure ends the exchange: no PUBREL, no repetition, and room for another.
    #[versions(V5)]
    fn pubrec_of_failure_ends_the_exchange(broker) {
        broker.need_qos(2)?;
        let topic = broker.topic("t");
        let client_id = broker.id();
        let mut subscriber =
            broker.connect(|it| it.client_id(&client_id).keep_session().receive_maximum(1))?;
        subscriber.subscribe(&topic, 2)?;
        let mut publisher = broker.client()?;
        publisher.publish_all(&topic, 2, &["refused", "taken"])?;
        let refused = subscriber.expect_publish("refused")?;
        subscriber.send(&Body::new().two(refused.packet_id).byte(0x97).raw(&[0]).packet(0x50));
        subscriber.take("taken")?;
        subscriber.expect_silence()?;
        subscriber.break_off()?;
        broker.connect(|it| it.client_id(&client_id).keep_session())?.expect_silence()?;
    }

    /// [Q5-3.5.2.1-1, Q5-3.6.2.1-2, Q5-3.7.2.1-2] Acknowledgements may carry reason code, properties, both, or neither.
    #[versions(V5)]
    fn acknowledgements_of_all_lengths_are_understood(broker) {
        broker.need_qos(2)?;
        let topic = broker.topic("t");
        let mut client = broker.client()?;
        client.subscribe(&topic, 2)?;
        let tails: [&[u8]; 4] =
            [&[], &[0], &[0, 0], &[0, 9, 0x26, 0, 1, b'n', 0, 3, b'v', b'a', b'l']];
        for tail in tails {
            let id = client.send_publish(publish(&topic, "x").qos(2));
            client.wait_for_pubrec(id)?;
            client.send(&Body::new().two(id).raw(tail).packet(0x62));
            client.wait_for_pubcomp(id)?;
            let delivered = client.expect_publish("x")?.packet_id;
            client.send(&Body::new().two(delivered).raw(tail).packet(0x50));
            client.wait_for_pubrel(delivered)?;
            client.send(&Body::new().two(delivered).raw(tail).packet(0x70));
        }
        client.expect_silence()?;
    }
}
