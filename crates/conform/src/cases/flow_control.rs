//! Receive Maximum and Maximum Packet Size.

use crate::case::{cases, claim, claim_eq};
use crate::exchange::reason::RECEIVE_MAXIMUM_EXCEEDED;
use crate::wire::{Body, Packet, property as id, publish};
use crate::{Broker, Outcome, Version};

cases! {
    /// [MQTT-3.3.4-9, MQTT-4.9.0-1, MQTT-4.9.0-2] At most Receive Maximum messages are in flight to a client.
    #[versions(V5)]
    fn delivery_stops_at_receive_maximum(broker) {
        broker.need_qos(2)?;
        let topic = broker.topic("t");
        let mut subscriber = broker.connect(|it| it.receive_maximum(2))?;
        subscriber.subscribe(&topic, 2)?;
        let mut publisher = broker.client()?;
        publisher.publish_all(&topic, 1, &["a"])?;
        publisher.publish_all(&topic, 2, &["b"])?;
        publisher.publish_all(&topic, 1, &["c", "d"])?;

        broker.turn_to("[MQTT-3.3.4-9, MQTT-4.9.0-1]");
        let first = subscriber.expect_publish("a")?;
        let second = subscriber.expect_publish("b")?;
        subscriber.expect_silence()?;

        broker.turn_to("[MQTT-3.3.4-9, MQTT-4.9.0-2]");
        subscriber.send_puback(first.packet_id);
        let third = subscriber.expect_publish("c")?;
        subscriber.expect_silence()?;

        // PUBREC frees nothing, PUBCOMP does.
        subscriber.send_pubrec(second.packet_id);
        subscriber.expect_pubrel()?;
        subscriber.expect_silence()?;
        subscriber.send_pubcomp(second.packet_id);
        subscriber.take("d")?;
        subscriber.send_puback(third.packet_id);
        subscriber.expect_silence()?;
    }

    /// [MQTT-3.3.4-9, Q5-3.1.2.11.3-3] Receive Maximum belongs to the connection: what is sent again on the next one keeps to the new value.
    #[versions(V5)]
    fn receive_maximum_is_of_the_connection(broker) {
        broker.need_qos(1)?;
        let topic = broker.topic("t");
        let client_id = broker.id();
        let mut subscriber =
            broker.connect(|it| it.client_id(&client_id).keep_session().receive_maximum(5))?;
        subscriber.subscribe(&topic, 1)?;
        let mut publisher = broker.client()?;
        let payloads = ["a", "b", "c", "d"];
        publisher.publish_all(&topic, 1, &payloads)?;
        for payload in payloads {
            subscriber.expect_publish(payload)?;
        }
        subscriber.break_off()?;
        let mut subscriber =
            broker.connect(|it| it.client_id(&client_id).keep_session().receive_maximum(1))?;
        for payload in payloads {
            let again = subscriber.expect_publish(payload)?;
            claim(again.is_dup, "no DUP on a repetition")?;
            subscriber.expect_silence()?;
            subscriber.send_puback(again.packet_id);
        }
        subscriber.expect_silence()?;
    }

    /// [MQTT-3.3.4-10, MQTT-4.9.0-3] With the quota used up the server goes on with all other packets.
    #[versions(V5)]
    fn used_up_quota_delays_nothing_else(broker) {
        broker.need_qos(2)?;
        let topic = broker.topic("t");
        let mut client = broker.connect(|it| it.receive_maximum(1))?;
        client.subscribe(&topic, 2)?;
        broker.client()?.publish_all(&topic, 1, &["a", "b"])?;
        let first = client.expect_publish("a")?;
        client.expect_silence()?;
        client.subscribe(&broker.topic("other"), 1)?;
        client.unsubscribe(&[&broker.topic("other")])?;
        client.publish(publish(&broker.topic("elsewhere"), "x").qos(1))?;
        client.publish(publish(&broker.topic("elsewhere"), "x").qos(2))?;
        client.expect_silence()?;
        client.send_puback(first.packet_id);
        client.take("b")?;
    }

    /// [Q5-4.9-3] An acknowledgement of what is not in flight does not raise the quota.
    #[versions(V5)]
    fn stray_acknowledgements_do_not_raise_the_quota(broker) {
        broker.need_quelea("a server may take an acknowledgement of nothing for an error")?;
        let topic = broker.topic("t");
        let mut subscriber = broker.connect(|it| it.receive_maximum(1))?;
        subscriber.subscribe(&topic, 1)?;
        subscriber.send_puback(500);
        subscriber.send_pubcomp(501);
        broker.client()?.publish_all(&topic, 1, &["a", "b"])?;
        subscriber.expect_publish("a")?;
        subscriber.expect_silence()?;
    }

    /// [Q5-3.3.4-8, MQTT-4.13.1-1] A client that has more QoS 2 messages open than the server's Receive Maximum is rejected.
    #[versions(V5)]
    fn client_beyond_receive_maximum_is_rejected(broker) {
        broker.need_qos(2)?;
        let maximum = broker.limits().receive_maximum();
        broker.need(
            maximum < 65_535,
            "the server has no limit that packet identifiers could exceed",
        )?;
        let topic = broker.topic("t");
        let mut client = broker.client()?;
        for packet_id in 1..=maximum as u16 {
            client.send_publish(publish(&topic, "x").qos(2).packet_id(packet_id));
        }
        for packet_id in 1..=maximum as u16 {
            client.wait_for_pubrec(packet_id)?;
        }
        client.send_publish(publish(&topic, "too many").qos(2).packet_id(maximum as u16 + 1));
        client.expect_error(&[RECEIVE_MAXIMUM_EXCEEDED])?;
    }

    /// [Q5-4.9-4] The server's Receive Maximum can be used up again and again: PUBACK and PUBCOMP give back what they answer.
    #[versions(V5)]
    fn acknowledged_publishes_free_the_quota(broker) {
        broker.need_qos(2)?;
        let maximum = broker.limits().receive_maximum().min(50) as u16;
        let mut client = broker.client()?;
        let topic = broker.topic("t");
        for _ in 0..3 {
            for packet_id in 1..=maximum {
                client.send_publish(publish(&topic, "x").qos(2).packet_id(packet_id));
                client.wait_for_pubrec(packet_id)?;
            }
            for packet_id in 1..=maximum {
                client.send_pubrel(packet_id);
                client.wait_for_pubcomp(packet_id)?;
            }
        }
        client.expect_silence()?;
    }

    /// [MQTT-3.1.2-24, MQTT-3.1.2-25] What is larger than the client accepts is not sent to it, as if it had been.
    #[versions(V5)]
    fn too_large_messages_are_discarded(broker) {
        broker.need_qos(2)?;
        let topic = broker.topic("t");
        let mut small = broker.connect(|it| it.packet_bytes_max(200).receive_maximum(1))?;
        let mut large = broker.client()?;
        small.subscribe(&topic, 2)?;
        large.subscribe(&topic, 2)?;
        let mut publisher = broker.client()?;
        let long = "x".repeat(300);
        broker.turn_to("[MQTT-3.1.2-25]");
        for qos in 0..=2 {
            publisher.publish(publish(&topic, &long).qos(qos))?;
            let with_property = publish(&topic, "short").qos(qos).with(|it| it.pair("long", &long));
            publisher.publish(with_property)?;
            publisher.publish(publish(&topic, "small").qos(qos))?;
            let next = small.take("small");
            let largest = small.largest_packet_bytes();
            broker.judge("[MQTT-3.1.2-24]", || {
                claim(largest <= 200, format!("a packet of {largest} bytes where 200 are allowed"))
            })?;
            next?;
            large.take(&long)?;
            large.take("short")?;
            large.take("small")?;
        }
        small.expect_silence()?;
    }

    /// [MQTT-3.1.2-24] A message of exactly the Maximum Packet Size is sent, one byte more is not.
    #[versions(V5)]
    fn maximum_packet_size_is_exact(broker) {
        let topic = broker.topic("t");
        let mut message = publish(&topic, "");
        let limit = 120;
        let bare = message.bytes(broker.version).len();
        message.payload = vec![b'x'; limit - bare];
        let exact = message.bytes(broker.version);
        claim_eq("size of the packet", exact.len(), limit)?;
        let mut subscriber = broker.connect(|it| it.packet_bytes_max(limit as u32))?;
        subscriber.subscribe(&topic, 0)?;
        let mut publisher = broker.client()?;
        let fitting = message.text();
        publisher.publish(publish(&topic, &format!("{fitting}y")))?;
        publisher.publish(message)?;
        publisher.publish(publish(&topic, "end"))?;
        subscriber.expect_publish(&fitting)?;
        subscriber.expect_publish("end")?;
    }

    /// [MQTT-3.1.2-24] Retained messages and what waited for a client keep to its Maximum Packet Size too.
    #[versions(V5)]
    fn waiting_messages_keep_to_maximum_packet_size(broker) {
        broker.need_retain()?;
        broker.need_qos(1)?;
        let topic = broker.topic("t");
        let retained = broker.topic("retained");
        let long = "x".repeat(300);
        broker.retain(&retained, &long)?;
        let client_id = broker.id();
        let mut subscriber = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        subscriber.subscribe(&topic, 1)?;
        subscriber.disconnect()?;
        broker.client()?.publish_all(&topic, 1, &[&long, "small"])?;
        let mut subscriber =
            broker.connect(|it| it.client_id(&client_id).keep_session().packet_bytes_max(200))?;
        subscriber.take("small")?;
        subscriber.subscribe(&retained, 1)?;
        subscriber.expect_silence()?;
    }

    /// [MQTT-3.4.2-2, MQTT-3.4.2-3, MQTT-3.5.2-2, MQTT-3.5.2-3, MQTT-3.7.2-2, MQTT-3.7.2-3, MQTT-3.9.2-1, MQTT-3.9.2-2, MQTT-3.11.2-1,
    /// MQTT-3.11.2-2, MQTT-3.14.2-3, MQTT-3.14.2-4, MQTT-3.6.2-2, MQTT-3.6.2-3] Words about a result do not make an answer larger than the client accepts.
    #[versions(V5)]
    fn answers_keep_to_maximum_packet_size(broker) {
        let topic = broker.topic("nobody");
        let message = publish(&topic, "x");
        let subscribe = Body::new().two(1).raw(&[0]).text("$share/g/x").byte(0).text("$SYS/x").byte(0);
        let unsubscribe = Body::new().two(1).raw(&[0]).text("never/subscribed");
        let rows = [
            ("[MQTT-3.4.2-2, MQTT-3.4.2-3]", message.clone().qos(1).packet_id(1).bytes(Version::V5)),
            ("[MQTT-3.5.2-2, MQTT-3.5.2-3]", message.qos(2).packet_id(1).bytes(Version::V5)),
            ("[MQTT-3.6.2-2, MQTT-3.6.2-3]", Body::new().two(78).packet(0x50)),
            ("[MQTT-3.7.2-2, MQTT-3.7.2-3]", Body::new().two(77).packet(0x62)),
            ("[MQTT-3.9.2-1, MQTT-3.9.2-2]", subscribe.packet(0x82)),
            ("[MQTT-3.11.2-1, MQTT-3.11.2-2]", unsubscribe.packet(0xA2)),
            ("[MQTT-3.14.2-3, MQTT-3.14.2-4]", publish("#", "x").bytes(Version::V5)),
        ];
        for (statements, request) in rows {
            broker.judge(statements, || answer_is_small(broker, &request))?;
        }
    }

    /// [MQTT-3.1.2-24] A SUBACK that is larger than the client accepts is not sent.
    #[versions(V5)]
    fn suback_keeps_to_maximum_packet_size(broker) {
        broker.need_quelea("the text does not say what a server does that cannot answer")?;
        let connect = broker.connect_options(broker.version).packet_bytes_max(24);
        let mut client = broker.send_connect(&connect)?;
        client.expect_close_or_packet()?;
        let mut body = Body::new().two(1).raw(&[0]);
        for _ in 0..30 {
            body = body.text(&broker.topic("t")).byte(0);
        }
        client.send(&body.packet(0x82));
        client.expect_close()?;
        let largest = client.largest_packet_bytes();
        claim(largest <= 24, format!("a packet of {largest} bytes where 24 are allowed"))?;
    }

    /// [MQTT-3.1.2-29] Without Request Problem Information no acknowledgement of a publish has words.
    #[versions(V5)]
    fn acknowledgements_without_problem_information(broker) {
        broker.need_qos(2)?;
        let mut client =
            broker.connect(|it| it.properties(|it| it.byte(id::REQUEST_PROBLEM_INFORMATION, 0)))?;
        let id = client.send_publish(publish(&broker.topic("nobody"), "x").qos(2));
        let pubrec = client.wait_for_pubrec(id)?;
        client.send_pubrel(id);
        let pubcomp = client.wait_for_pubcomp(id)?;
        client.send_pubrel(4_000);
        let unknown = client.wait_for_pubcomp(4_000)?;
        for ack in [pubrec, pubcomp, unknown] {
            claim(!ack.properties.has_problem_information(), format!("got {ack:?}"))?;
        }
    }
}

/// Sends a request as a client that accepts 24 bytes, which the smallest answers need less than, and words more.
#[track_caller]
fn answer_is_small(broker: &Broker<'_>, request: &[u8]) -> Outcome {
    let limit = 24;
    let connect = broker.connect_options(Version::V5).packet_bytes_max(limit);
    let mut client = broker.send_connect(&connect)?;
    let is_connected = match client.expect_close_or_packet()? {
        Some(Packet::ConnAck(connack)) => {
            connack.reason == 0 && connack.packet_bytes <= limit as usize
        }
        _ => false,
    };
    broker.need(is_connected, "the CONNACK of the broker needs more than 24 bytes")?;
    client.send(request);
    client.send_ping();
    while !matches!(client.expect_close_or_packet()?, None | Some(Packet::PingResp)) {}
    let largest = client.largest_packet_bytes();
    claim(
        largest <= limit as usize,
        format!("a packet of {largest} bytes where {limit} are allowed"),
    )
}
