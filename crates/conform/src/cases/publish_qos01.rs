//! QoS 0 and 1, both ways, and what of a message reaches the subscribers.

use crate::case::{cases, claim, claim_eq};
use crate::client::as_publish;
use crate::exchange::reason::NO_MATCHING_SUBSCRIBERS;
use crate::wire::{Body, Packet, publish};

cases! {
    /// [MQTT-4.3.1-1, MQTT-3.3.4-1, MQTT-2.2.1-2, MQTT-3.3.1-2] v3.1.1 [MQTT-4.3.1-1, MQTT-3.3.4-1, MQTT-2.3.1-5, MQTT-3.3.1-2] A message
    /// of QoS 0 is delivered without DUP and without acknowledgements.
    #[versions(V31, V311, V5)]
    fn qos0_is_delivered(broker) {
        let topic = broker.topic("t");
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&topic, 0)?;
        let mut publisher = broker.client()?;
        publisher.publish(publish(&topic, "hello"))?;
        publisher.expect_silence()?;
        let delivered = subscriber.expect_publish("hello")?;
        claim_eq("topic", delivered.topic.as_str(), &topic)?;
        claim_eq("QoS", delivered.qos, 0)?;
        claim(!delivered.is_retained, "RETAIN on a message that was not")?;
        subscriber.expect_silence_after(&mut publisher)?;
    }

    /// [MQTT-4.3.2-4, MQTT-3.3.4-1, MQTT-2.2.1-5] v3.1.1 [MQTT-4.3.2-2, MQTT-3.3.4-1, MQTT-2.3.1-6] A PUBLISH of QoS 1 is
    /// answered by one PUBACK with its packet identifier.
    #[versions(V31, V311, V5)]
    fn qos1_publish_is_acknowledged(broker) {
        broker.need_qos(1)?;
        let mut client = broker.client()?;
        for packet_id in [1, 2, 256, 65_535] {
            client.send_publish(publish(&broker.topic("t"), "x").qos(1).packet_id(packet_id));
            match client.expect_packet()? {
                Packet::PubAck(ack) => claim_eq("packet identifier", ack.packet_id, packet_id)?,
                packet => claim(false, format!("expected a PUBACK, got {packet:?}"))?,
            }
        }
        client.expect_silence()?;
    }

    /// [MQTT-4.3.2-5, MQTT-3.3.1-3] v3.1.1 [MQTT-4.3.2-2, MQTT-3.3.1-3] After PUBACK the same identifier is another message, DUP or not,
    /// and DUP is not passed on.
    #[versions(V31, V311, V5)]
    fn qos1_packet_id_is_free_after_puback(broker) {
        broker.need_qos(1)?;
        let topic = broker.topic("t");
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&topic, 1)?;
        let mut publisher = broker.client()?;
        let message = publish(&topic, "again").qos(1).packet_id(5);
        publisher.publish(message.clone())?;
        publisher.publish(message.clone())?;
        publisher.publish(message.dup())?;
        for _ in 0..3 {
            let delivered = subscriber.take("again")?;
            broker.judge("[MQTT-3.3.1-3] v3.1.1 [MQTT-3.3.1-3]", || {
                claim(!delivered.is_dup, "DUP on a first delivery")
            })?;
        }
    }

    /// [MQTT-4.3.2-1, MQTT-4.3.2-2, MQTT-2.2.1-4] v3.1.1 [MQTT-4.3.2-1, MQTT-2.3.1-4] Deliveries in flight have identifiers of their
    /// own, and no DUP.
    #[versions(V31, V311, V5)]
    fn deliveries_in_flight_have_their_own_ids(broker) {
        broker.need_qos(2)?;
        let topic = broker.topic("t");
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&topic, 2)?;
        let mut publisher = broker.client()?;
        let mut ids = Vec::new();
        for index in 0..10 {
            let payload = format!("{index}");
            publisher.publish(publish(&topic, &payload).qos(1 + index % 2))?;
            let delivered = subscriber.expect_publish(&payload)?;
            claim(!delivered.is_dup, "DUP on a first delivery")?;
            claim(
                !ids.contains(&delivered.packet_id),
                format!("{} is in use", delivered.packet_id),
            )?;
            ids.push(delivered.packet_id);
        }
    }

    /// [Q5-2.2.1-1, Q4-2.3.1-1] Client and server assign packet identifiers independently.
    #[versions(V31, V311, V5)]
    fn both_sides_may_use_the_same_id(broker) {
        broker.need_qos(1)?;
        let topic = broker.topic("t");
        let mut client = broker.client()?;
        client.subscribe(&topic, 1)?;
        broker.client()?.publish(publish(&topic, "from another").qos(1))?;
        let delivered = client.expect_publish("from another")?;
        let elsewhere = publish(&broker.topic("elsewhere"), "x").qos(1);
        client.publish(elsewhere.packet_id(delivered.packet_id))?;
        client.send_puback(delivered.packet_id);
        client.expect_silence()?;
    }

    /// [MQTT-4.3.2-3, MQTT-4.4.0-1, MQTT-3.3.1-1] v3.1.1 [MQTT-4.3.2-1, MQTT-4.4.0-1, MQTT-3.3.1-1, MQTT-2.3.1-4] A delivery without PUBACK is
    /// sent again on the next connection, with its identifier and DUP, until it is acknowledged.
    #[versions(V31, V311, V5)]
    fn qos1_delivery_is_repeated_until_puback(broker) {
        broker.need_qos(1)?;
        let topic = broker.topic("t");
        let client_id = broker.id();
        let mut subscriber = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        subscriber.subscribe(&topic, 1)?;
        broker.client()?.publish(publish(&topic, "x").qos(1))?;
        let first = subscriber.expect_publish("x")?;
        claim(!first.is_dup, "DUP on a first delivery")?;
        subscriber.break_off()?;
        for _ in 0..2 {
            let mut subscriber = broker.connect(|it| it.client_id(&client_id).keep_session())?;
            let again = subscriber.expect_publish("x")?;
            claim_eq("packet identifier", again.packet_id, first.packet_id)?;
            broker.judge("[MQTT-3.3.1-1] v3.1.1 [MQTT-3.3.1-1]", || {
                claim(again.is_dup, "no DUP on a repetition")
            })?;
            subscriber.expect_silence()?;
            subscriber.break_off()?;
        }
        let mut subscriber = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        subscriber.take("x")?;
        subscriber.disconnect()?;
        broker.connect(|it| it.client_id(&client_id).keep_session())?.expect_silence()?;
    }

    /// [MQTT-4.4.0-1] Nothing is sent again while the connection lasts.
    #[versions(V5)]
    fn nothing_is_repeated_on_the_same_connection(broker) {
        broker.need_qos(2)?;
        let topic = broker.topic("t");
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&topic, 2)?;
        let mut publisher = broker.client()?;
        publisher.publish(publish(&topic, "one").qos(1))?;
        publisher.publish(publish(&topic, "two").qos(2))?;
        subscriber.expect_publish("one")?;
        subscriber.expect_publish("two")?;
        let more = subscriber.expect_packet_within(std::time::Duration::from_secs(4));
        claim(more.is_err(), format!("got {more:?}"))?;
        subscriber.expect_silence()?;
    }

    /// [MQTT-4.4.0-2, Q5-4.9-2] A PUBACK of failure is an acknowledgement.
    #[versions(V5)]
    fn puback_of_failure_ends_the_exchange(broker) {
        broker.need_qos(1)?;
        let topic = broker.topic("t");
        let client_id = broker.id();
        let mut subscriber =
            broker.connect(|it| it.client_id(&client_id).keep_session().receive_maximum(1))?;
        subscriber.subscribe(&topic, 1)?;
        let mut publisher = broker.client()?;
        publisher.publish_all(&topic, 1, &["refused", "taken"])?;
        let refused = subscriber.expect_publish("refused")?;
        subscriber.send(&Body::new().two(refused.packet_id).byte(0x83).raw(&[0]).packet(0x40));
        subscriber.take("taken")?;
        subscriber.break_off()?;
        broker.connect(|it| it.client_id(&client_id).keep_session())?.expect_silence()?;
    }

    /// [MQTT-3.8.4-8] v3.1.1 [MQTT-3.8.4-6] [Q5-4.3-1] A message is delivered with the lower QoS of what it was published with and what
    /// was granted.
    #[versions(V31, V311, V5)]
    fn delivery_has_the_lower_qos(broker) {
        broker.need_qos(2)?;
        let topic = broker.topic("t");
        let mut publisher = broker.client()?;
        for granted in 0..=2 {
            let mut subscriber = broker.client()?;
            subscriber.subscribe(&topic, granted)?;
            for published in 0..=2 {
                let payload = format!("{published} to {granted}");
                publisher.publish(publish(&topic, &payload).qos(published))?;
                let delivered = subscriber.take(&payload)?;
                claim_eq(&payload, delivered.qos, granted.min(published))?;
            }
        }
    }

    /// [Q5-3.4.2.1-1] v3.1.1 [MQTT-3.3.4-1] A QoS 1 or 2 message that nobody subscribed to is acknowledged, in 5.0 with a reason if the broker likes.
    #[versions(V31, V311, V5)]
    fn message_without_subscribers_is_acknowledged(broker) {
        broker.need_qos(2)?;
        let topic = broker.topic("nobody");
        let mut client = broker.client()?;
        let id = client.send_publish(publish(&topic, "x").qos(1));
        let puback = client.wait_for_puback(id)?;
        let id = client.send_publish(publish(&topic, "x").qos(2));
        let pubrec = client.wait_for_pubrec(id)?;
        client.send_pubrel(id);
        client.wait_for_pubcomp(id)?;
        for reason in [puback.reason, pubrec.reason] {
            let is_expected = if broker.is_quelea() && broker.version.is_v5() {
                reason == NO_MATCHING_SUBSCRIBERS
            } else {
                reason == 0 || reason == NO_MATCHING_SUBSCRIBERS
            };
            claim(is_expected, format!("reason {reason:#04x}"))?;
        }
    }

    /// [Q5-3.4.2.1-2] No matching subscribers is said only where it is true.
    #[versions(V5)]
    fn message_with_subscribers_is_acknowledged_with_success(broker) {
        broker.need_qos(2)?;
        let topic = broker.topic("t");
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&topic, 0)?;
        let mut client = broker.client()?;
        let id = client.send_publish(publish(&topic, "x").qos(1));
        claim_eq("PUBACK", client.wait_for_puback(id)?.reason, 0)?;
        let id = client.send_publish(publish(&topic, "x").qos(2));
        claim_eq("PUBREC", client.wait_for_pubrec(id)?.reason, 0)?;
    }

    /// [Q5-3.3.3-1, Q4-3.3.3-1] Payloads of any content and many lengths arrive as they were, the empty one too.
    #[versions(V31, V311, V5)]
    fn payloads_arrive_unchanged(broker) {
        let topic = broker.topic("t");
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&topic, 0)?;
        let mut publisher = broker.client()?;
        let limit = broker.limits().packet_bytes_max().unwrap_or(u32::MAX) as usize;
        for length in [0, 1, 90, 127, 128, 1_000, 16_383, 16_384, 60_000, 100_000] {
            if length + 200 > limit {
                continue;
            }
            let mut message = publish(&topic, "");
            message.payload = (0..length).map(|index| (index * 7 % 256) as u8).collect();
            let payload = message.payload.clone();
            publisher.publish(message)?;
            match subscriber.expect_packet()? {
                Packet::Publish(got) => {
                    claim(got.payload == payload, format!("{length} bytes arrived changed"))?
                }
                packet => claim(false, format!("got {packet:?}"))?,
            }
        }
    }

    /// [MQTT-4.6.0-5, MQTT-4.6.0-6] v3.1.1 [MQTT-4.6.0-5, MQTT-4.6.0-6] Messages of one client on one topic and one QoS arrive in the order
    /// they were published.
    #[versions(V31, V311, V5)]
    fn messages_arrive_in_order(broker) {
        broker.need_qos(2)?;
        let topic = broker.topic("t");
        for qos in 0..=2 {
            let mut subscriber = broker.client()?;
            subscriber.subscribe(&topic, qos)?;
            let mut publisher = broker.client()?;
            let window = broker.limits().receive_maximum().min(15) as usize;
            let payloads: Vec<String> = (0..60).map(|index| format!("{qos}-{index}")).collect();
            for chunk in payloads.chunks(window) {
                let ids: Vec<u16> = chunk
                    .iter()
                    .map(|it| publisher.send_publish(publish(&topic, it).qos(qos)))
                    .collect();
                for id in ids {
                    match qos {
                        0 => {}
                        1 => drop(publisher.wait_for_puback(id)?),
                        _ => {
                            publisher.wait_for_pubrec(id)?;
                            publisher.send_pubrel(id);
                            publisher.wait_for_pubcomp(id)?;
                        }
                    }
                }
            }
            for payload in &payloads {
                subscriber.take(payload)?;
            }
        }
    }

    /// [Q5-4.6-1, MQTT-4.6.0-1] v3.1.1 [MQTT-4.6.0-1] What is sent again on the next connection comes in the order it was sent first,
    /// before what is new.
    #[versions(V31, V311, V5)]
    fn repetitions_keep_their_order(broker) {
        broker.need_qos(2)?;
        let topic = broker.topic("t");
        let client_id = broker.id();
        let mut subscriber = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        subscriber.subscribe(&topic, 2)?;
        let mut publisher = broker.client()?;
        let payloads = ["a", "b", "c", "d"];
        for (index, payload) in payloads.iter().enumerate() {
            publisher.publish(publish(&topic, payload).qos(1 + index as u8 % 2))?;
        }
        let mut first = Vec::new();
        for payload in payloads {
            // Which of two messages of different QoS is sent first, is open.
            let delivered = match broker.is_quelea() {
                true => Some(subscriber.expect_publish(payload)?),
                false => as_publish(&subscriber.expect_packet()?),
            };
            first.extend(delivered);
        }
        claim_eq("deliveries", first.len(), payloads.len())?;
        // One in the middle is acknowledged, so that its place is empty.
        subscriber.acknowledge(&first[2])?;
        subscriber.expect_silence()?;
        subscriber.break_off()?;
        publisher.publish(publish(&topic, "e").qos(1))?;
        let mut subscriber = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        if !broker.is_quelea() {
            // The statement is about what is sent again; what is new may come before.
            let new = subscriber.wait_for("e", |packet| {
                as_publish(packet).filter(|it| it.payload == b"e")
            })?;
            subscriber.acknowledge(&new)?;
        }
        for sent in [&first[0], &first[1], &first[3]] {
            let packet = subscriber.expect_packet()?;
            let again = as_publish(&packet).filter(|it| it.payload == sent.payload);
            let what = format!("expected {sent:?} again, got {packet:?}");
            claim(again.is_some_and(|it| it.packet_id == sent.packet_id), what)?;
        }
        if broker.is_quelea() {
            subscriber.expect_publish("e")?;
        }
    }
}
