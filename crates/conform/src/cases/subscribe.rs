//! SUBSCRIBE and SUBACK.

use crate::case::{cases, claim, claim_eq};
use crate::client::as_publish;
use crate::exchange::option::{NO_LOCAL, RETAIN_AS_PUBLISHED};
use crate::wire::{Packet, property as id, publish};

cases! {
    /// [MQTT-3.8.4-1, MQTT-3.8.4-2, MQTT-3.8.4-6, MQTT-3.8.4-7, MQTT-2.2.1-6] v3.1.1 [MQTT-3.8.4-1, MQTT-3.8.4-2, MQTT-3.8.4-5,
    /// MQTT-2.3.1-7] A SUBSCRIBE is answered by a SUBACK with its identifier and what was granted.
    #[versions(V31, V311, V5)]
    fn subscribe_is_answered(broker) {
        let mut client = broker.client()?;
        client.last_packet_id = 41;
        for qos in 0..=2 {
            let filter = broker.topic(&format!("{qos}"));
            let id = client.send_subscribe(&[(&filter, qos)], |it| it);
            match client.expect_packet()? {
                Packet::SubAck(suback) => {
                    claim_eq("packet identifier", suback.packet_id, id)?;
                    let is_right = suback.reasons.len() == 1 && suback.reasons[0] <= qos;
                    claim(is_right, format!("QoS {qos} was answered with {suback:?}"))?;
                }
                packet => claim(false, format!("expected a SUBACK, got {packet:?}"))?,
            }
        }
    }

    /// [MQTT-3.8.4-5, MQTT-3.9.3-1, MQTT-3.8.4-6] v3.1.1 [MQTT-3.8.4-4, MQTT-3.9.3-1, MQTT-3.8.4-5] A SUBSCRIBE with several filters is
    /// answered by one SUBACK, with a result for each, in their order.
    #[versions(V31, V311, V5)]
    fn subscribe_with_several_filters(broker) {
        let mut client = broker.client()?;
        let filters = ["a", "b", "c", "d", "a"].map(|it| broker.topic(it));
        let maximum = broker.limits().qos_max();
        let wanted = [2, 0, 1, 2, 0].map(|qos: u8| qos.min(maximum));
        let rows: Vec<(&str, u8)> = filters.iter().map(String::as_str).zip(wanted).collect();
        let suback = client.request_subscribe(&rows, |it| it)?;
        claim_eq("results", suback.reasons, wanted.to_vec())?;
        client.expect_silence()?;
        // The last of two equal filters is the one that counts.
        broker.client()?.publish(publish(&filters[0], "x").qos(maximum))?;
        claim_eq("QoS", client.expect_publish("x")?.qos, 0)?;
        client.expect_silence()?;
    }

    /// [MQTT-3.9.3-2, MQTT-3.8.4-7] v3.1.1 [MQTT-3.9.3-2] The results come from the table of SUBACK, also where a subscription fails.
    #[versions(V31, V311, V5)]
    fn suback_results_are_known(broker) {
        let mut client = broker.client()?;
        let good = broker.topic("t");
        // The reader refuses results that are not in the table. A server may refuse `$SYS`.
        let suback = client.request_subscribe(&[("$SYS/broker/uptime", 0), (&good, 1)], |it| it)?;
        claim_eq("results", suback.reasons.len(), 2)?;
        claim_eq("second result", suback.reasons[1], broker.limits().qos_max().min(1))?;
    }

    /// [MQTT-3.8.4-3] v3.1.1 [MQTT-3.8.4-3] [Q5-3.8.4-2] Subscribing again to the same filter replaces the subscription.
    #[versions(V31, V311, V5)]
    fn subscribing_again_replaces(broker) {
        broker.need_qos(2)?;
        let topic = broker.topic("t");
        let mut subscriber = broker.client()?;
        let mut publisher = broker.client()?;
        for qos in [2, 0, 1] {
            subscriber.subscribe(&topic, qos)?;
            publisher.publish(publish(&topic, "x").qos(2))?;
            claim_eq("QoS", subscriber.take("x")?.qos, qos)?;
        }
        subscriber.expect_silence_after(&mut publisher)?;
    }

    /// [MQTT-3.8.4-4] v3.1.1 [MQTT-3.8.4-3] Replacing a subscription loses no message.
    #[versions(V31, V311, V5)]
    fn replacing_a_subscription_loses_nothing(broker) {
        broker.need_qos(1)?;
        let topic = broker.topic("t");
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&topic, 1)?;
        let mut publisher = broker.client()?;
        let payloads: Vec<String> = (0..40).map(|index| format!("{index}")).collect();
        let mut subscribes = Vec::new();
        for payload in &payloads {
            publisher.publish(publish(&topic, payload).qos(1))?;
            subscribes.push(subscriber.send_subscribe(&[(&topic, 1)], |it| it));
        }
        for id in subscribes {
            subscriber.wait_for_suback(id)?;
        }
        for payload in &payloads {
            subscriber.take(payload)?;
        }
    }

    /// [MQTT-3.3.4-2, Q5-3.3.4-2] v3.1.1 [MQTT-3.3.5-1] Where several filters of a client match, the message comes with the highest QoS
    /// of theirs.
    #[versions(V31, V311, V5)]
    fn overlapping_filters_deliver_the_highest_qos(broker) {
        broker.need_wildcards()?;
        broker.need_qos(2)?;
        let topic = broker.topic("a/b");
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&broker.topic("a/#"), 0)?;
        subscriber.subscribe(&topic, 2)?;
        subscriber.subscribe(&broker.topic("+/b"), 1)?;
        let mut publisher = broker.client()?;
        publisher.publish(publish(&topic, "x").qos(2))?;
        let packets = subscriber.drain_after(&mut publisher)?;
        let qos: Vec<u8> = packets.iter().filter_map(as_publish).map(|it| it.qos).collect();
        let is_right =
            if broker.is_quelea() { qos == [2] } else { qos.contains(&2) && qos.len() <= 3 };
        claim(is_right, format!("delivered with QoS {qos:?}"))?;
    }

    /// [MQTT-3.3.4-3, MQTT-3.3.4-4, MQTT-3.3.4-5, Q5-3.3.4-3] A message carries the subscription identifiers of the filters it matched.
    #[versions(V5)]
    fn delivery_has_subscription_ids(broker) {
        broker.need_subscription_ids()?;
        broker.need_wildcards()?;
        let topic = broker.topic("a/b");
        let mut subscriber = broker.client()?;
        subscriber.subscribe_with(&topic, 0, |it| it.variable(id::SUBSCRIPTION_IDENTIFIER, 1))?;
        subscriber.subscribe_with(&broker.topic("a/+"), 1, |it| {
            it.variable(id::SUBSCRIPTION_IDENTIFIER, 268_435_455)
        })?;
        subscriber.subscribe_with(&broker.topic("#"), 0, |it| {
            it.variable(id::SUBSCRIPTION_IDENTIFIER, 1)
        })?;
        subscriber.subscribe(&broker.topic("+/b"), 0)?;
        subscriber.subscribe_with(&broker.topic("other"), 0, |it| {
            it.variable(id::SUBSCRIPTION_IDENTIFIER, 9)
        })?;
        let mut publisher = broker.client()?;
        publisher.publish(publish(&topic, "x").qos(1))?;
        let packets = subscriber.drain_after(&mut publisher)?;
        let deliveries: Vec<Vec<u32>> = packets
            .iter()
            .filter_map(as_publish)
            .map(|it| it.received.subscription_ids())
            .collect();
        let mut all: Vec<u32> = deliveries.concat();
        all.sort_unstable();
        claim_eq("subscription identifiers", all, vec![1, 1, 268_435_455])?;
        if deliveries.len() > 1 {
            let is_one_each = deliveries.len() == 4 && deliveries.iter().all(|it| it.len() <= 1);
            claim(is_one_each && !broker.is_quelea(), format!("deliveries with {deliveries:?}"))?;
        }
    }

    /// [Q5-3.8.2.1.2-3, MQTT-3.8.4-3] Subscribing again changes the subscription identifier, or removes it.
    #[versions(V5)]
    fn subscription_id_is_replaced(broker) {
        broker.need_subscription_ids()?;
        let topic = broker.topic("t");
        let mut subscriber = broker.client()?;
        let mut publisher = broker.client()?;
        for (number, expected) in [(Some(5), vec![5]), (Some(6), vec![6]), (None, vec![])] {
            subscriber.subscribe_with(&topic, 0, |it| match number {
                Some(number) => it.variable(id::SUBSCRIPTION_IDENTIFIER, number),
                None => it,
            })?;
            publisher.publish(publish(&topic, "x"))?;
            let got = subscriber.expect_publish("x")?.received.subscription_ids();
            claim_eq("subscription identifiers", got, expected)?;
        }
    }

    /// [Q5-3.8.2.1.2-4] One SUBSCRIBE gives its identifier to all of its filters, and a retained message carries it too.
    #[versions(V5)]
    fn subscription_id_is_for_all_filters_of_a_subscribe(broker) {
        broker.need_subscription_ids()?;
        broker.need_retain()?;
        let (first, second) = (broker.topic("1"), broker.topic("2"));
        broker.retain(&second, "retained")?;
        let mut subscriber = broker.client()?;
        subscriber.request_subscribe(&[(&first, 0), (&second, 0)], |it| {
            it.variable(id::SUBSCRIPTION_IDENTIFIER, 300)
        })?;
        let retained = subscriber.expect_publish("retained")?;
        claim_eq("identifiers", retained.received.subscription_ids(), vec![300])?;
        broker.client()?.publish(publish(&first, "x"))?;
        claim_eq(
            "identifiers",
            subscriber.expect_publish("x")?.received.subscription_ids(),
            vec![300],
        )?;
    }

    /// [MQTT-3.8.3-3, MQTT-3.8.4-3] With No Local a client does not get its own messages, until it subscribes again without it.
    #[versions(V5)]
    fn no_local_is_obeyed(broker) {
        let topic = broker.topic("t");
        let mut client = broker.client()?;
        client.subscribe(&topic, NO_LOCAL | 1)?;
        let mut other = broker.client()?;
        broker.turn_to("[MQTT-3.8.3-3]");
        client.publish(publish(&topic, "own").qos(1))?;
        client.expect_silence()?;
        other.publish(publish(&topic, "foreign").qos(1))?;
        client.take("foreign")?;
        broker.turn_to("[MQTT-3.8.4-3]");
        client.subscribe(&topic, 0)?;
        client.publish(publish(&topic, "own").qos(1))?;
        client.expect_publish("own")?;
    }

    /// [MQTT-3.8.3-3] No Local concerns its own filter: another one that matches delivers.
    #[versions(V5)]
    fn no_local_concerns_its_own_filter(broker) {
        broker.need_wildcards()?;
        let topic = broker.topic("a");
        let mut client = broker.client()?;
        client.subscribe(&topic, NO_LOCAL | 1)?;
        client.subscribe(&broker.topic("+"), 0)?;
        client.publish(publish(&topic, "own").qos(1))?;
        claim_eq("QoS", client.expect_publish("own")?.qos, 0)?;
        client.expect_silence()?;
    }

    /// [Q5-3.8.3.1-3, Q4-3.8.4-1] Without No Local, and in 3.x always, a client gets its own messages.
    #[versions(V31, V311, V5)]
    fn own_messages_are_delivered(broker) {
        let topic = broker.topic("t");
        let mut client = broker.client()?;
        client.subscribe(&topic, 0)?;
        client.publish(publish(&topic, "own"))?;
        client.expect_publish("own")?;
    }

    /// [MQTT-3.3.1-13, MQTT-3.3.1-12] Where filters with and without Retain As Published match, RETAIN is kept.
    #[versions(V5)]
    fn retain_as_published_of_one_filter_is_enough(broker) {
        broker.need_quelea("how overlapping subscriptions share one delivery")?;
        let topic = broker.topic("a");
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&topic, 0)?;
        subscriber.subscribe(&broker.topic("+"), RETAIN_AS_PUBLISHED)?;
        broker.retain(&topic, "x")?;
        claim(subscriber.expect_publish("x")?.is_retained, "RETAIN is lost")?;
        subscriber.expect_silence()?;
    }

    /// [MQTT-3.1.2-29] [Q5-3.8.2.1.3-1] A SUBSCRIBE may carry User Properties; without Request Problem
    /// Information no SUBACK, UNSUBACK or PUBACK explains itself.
    #[versions(V5)]
    fn problem_information_is_not_sent_unasked(broker) {
        let mut client =
            broker.connect(|it| it.properties(|it| it.byte(id::REQUEST_PROBLEM_INFORMATION, 0)))?;
        let filter = broker.topic("t");
        let suback = client.request_subscribe(&[(&filter, 1), ("$SYS/x", 0)], |it| {
            it.pair("a", "b").pair("a", "b")
        })?;
        let unsuback = client.unsubscribe(&[&filter, "never/subscribed"])?;
        broker.need_qos(1)?;
        let id = client.send_publish(publish(&broker.topic("nobody"), "x").qos(1));
        let puback = client.wait_for_puback(id)?;
        broker.turn_to("[MQTT-3.1.2-29]");
        for properties in [suback.properties, unsuback.properties, puback.properties] {
            claim(!properties.has_problem_information(), format!("got {properties:?}"))?;
        }
    }

    /// [Q3-4.1-1] A client of 3.1 may send SUBSCRIBE, UNSUBSCRIBE and PUBREL again, with DUP.
    #[versions(V31)]
    fn dup_on_requests_is_accepted_in_v31(broker) {
        let topic = broker.topic("t");
        let mut client = broker.client()?;
        let subscribe = crate::wire::Body::new().two(5).text(&topic).byte(1);
        for first_byte in [0x82, 0x8A] {
            client.send(&subscribe.clone().packet(first_byte));
            client.wait_for_suback(5)?;
        }
        client.send_publish(publish(&topic, "x").qos(2).packet_id(6));
        client.wait_for_pubrec(6)?;
        client.send(&crate::wire::Body::new().two(6).packet(0x6A));
        client.wait_for_pubcomp(6)?;
        client.send(&crate::wire::Body::new().two(7).text(&topic).packet(0xAA));
        client.wait_for_unsuback(7)?;
    }

    /// [Q3-3.9-1] A SUBACK of 3.1 has no failures: each filter is granted a QoS.
    #[versions(V31)]
    fn suback_has_no_failures_in_v31(broker) {
        let mut client = broker.client()?;
        // The reader refuses 0x80 in 3.1.
        let filter = broker.topic("t");
        let suback = client.request_subscribe(&[(&filter, 2), (&filter, 1)], |it| it)?;
        claim_eq("results", suback.reasons, vec![2, 1])?;
    }
}
