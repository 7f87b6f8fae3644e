//! UNSUBSCRIBE and UNSUBACK.

use crate::case::{cases, claim, claim_eq};
use crate::client::as_publish;
use crate::exchange::reason::NO_SUBSCRIPTION_EXISTED;
use crate::wire::{Body, Packet, publish};

cases! {
    /// [MQTT-3.10.4-4, MQTT-3.10.4-5, MQTT-2.2.1-6, MQTT-3.10.4-1, MQTT-3.10.4-2] v3.1.1 [MQTT-3.10.4-1, MQTT-3.10.4-2, MQTT-3.10.4-4,
    /// MQTT-2.3.1-7] UNSUBSCRIBE ends the subscription and is answered with its identifier.
    #[versions(V31, V311, V5)]
    fn unsubscribe_ends_a_subscription(broker) {
        let topic = broker.topic("t");
        let mut subscriber = broker.client()?;
        let mut publisher = broker.client()?;
        subscriber.subscribe(&topic, 1)?;
        publisher.publish(publish(&topic, "before").qos(1))?;
        subscriber.take("before")?;
        broker.turn_to(
            "[MQTT-3.10.4-4, MQTT-3.10.4-5, MQTT-2.2.1-6] v3.1.1 [MQTT-3.10.4-4, MQTT-2.3.1-7]",
        );
        subscriber.last_packet_id = 300;
        let unsuback = subscriber.unsubscribe(&[&topic])?;
        claim_eq("packet identifier", unsuback.packet_id, 301)?;
        broker.turn_to("[MQTT-3.10.4-1, MQTT-3.10.4-2] v3.1.1 [MQTT-3.10.4-1, MQTT-3.10.4-2]");
        publisher.publish(publish(&topic, "after").qos(1))?;
        subscriber.expect_silence_after(&mut publisher)?;
    }

    /// [MQTT-3.10.4-5, MQTT-3.11.3-1, MQTT-3.11.3-2] v3.1.1 [MQTT-3.10.4-5] An UNSUBSCRIBE that ends nothing is answered too; 5.0 says that
    /// there was no such subscription.
    #[versions(V31, V311, V5)]
    fn unsubscribe_without_subscription_is_answered(broker) {
        let (first, second) = (broker.topic("1"), broker.topic("2"));
        let mut client = broker.client()?;
        client.subscribe(&second, 0)?;
        let unsuback = client.unsubscribe(&[&first, &second, &second])?;
        let expected: &[u8] = match broker.version {
            crate::Version::V5 => &[NO_SUBSCRIPTION_EXISTED, 0, NO_SUBSCRIPTION_EXISTED],
            _ => &[],
        };
        let reasons = unsuback.reasons.as_slice();
        // Another broker may have no word for what was not there; the reader knows the table.
        let is_vague = !broker.is_quelea() && reasons.get(1) == expected.get(1);
        claim(
            reasons == expected || is_vague && reasons.len() == expected.len(),
            format!("results {reasons:#04x?} instead of {expected:#04x?}"),
        )?;
        claim_eq("results", client.unsubscribe(&[&first])?.reasons.len(), expected.len().min(1))?;
    }

    /// [MQTT-3.10.4-6, MQTT-3.11.3-1] v3.1.1 [MQTT-3.10.4-6] An UNSUBSCRIBE with several filters is answered once.
    #[versions(V31, V311, V5)]
    fn unsubscribe_with_several_filters(broker) {
        let filters = ["a", "b", "c"].map(|it| broker.topic(it));
        let mut client = broker.client()?;
        let mut publisher = broker.client()?;
        client
            .request_subscribe(&[(&filters[0], 0), (&filters[1], 0), (&filters[2], 0)], |it| it)?;
        client.unsubscribe(&[&filters[0], &filters[2]])?;
        client.expect_silence()?;
        for filter in &filters {
            publisher.publish(publish(filter, filter))?;
        }
        client.expect_publish(&filters[1])?;
        client.expect_silence_after(&mut publisher)?;
    }

    /// [MQTT-3.10.4-1] v3.1.1 [MQTT-3.10.4-1] Filters are compared letter by letter: a wildcard does not stand for others.
    #[versions(V31, V311, V5)]
    fn unsubscribe_compares_letter_by_letter(broker) {
        broker.need_wildcards()?;
        let topic = broker.topic("a/b");
        let mut client = broker.client()?;
        client.subscribe(&topic, 0)?;
        client.subscribe(&broker.topic("c/+"), 0)?;
        client.unsubscribe(&[
            &broker.topic("a/+"),
            &broker.topic("#"),
            &broker.topic("A/b"),
            &broker.topic("c/d"),
        ])?;
        let mut publisher = broker.client()?;
        publisher.publish(publish(&topic, "still"))?;
        publisher.publish(publish(&broker.topic("c/d"), "here"))?;
        client.expect_publish("still")?;
        client.expect_publish("here")?;
    }

    /// [MQTT-3.10.4-3] v3.1.1 [MQTT-3.10.4-3] A delivery that has started is completed after UNSUBSCRIBE, on the next connection too.
    #[versions(V31, V311, V5)]
    fn started_deliveries_are_completed_after_unsubscribe(broker) {
        broker.need_qos(2)?;
        let topic = broker.topic("t");
        let client_id = broker.id();
        let mut subscriber = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        subscriber.subscribe(&topic, 2)?;
        let mut publisher = broker.client()?;
        publisher.publish(publish(&topic, "one").qos(1))?;
        publisher.publish(publish(&topic, "two").qos(2))?;
        let one = subscriber.expect_publish("one")?;
        let two = subscriber.expect_publish("two")?;
        subscriber.unsubscribe(&[&topic])?;
        subscriber.send_pubrec(two.packet_id);
        claim_eq("PUBREL", subscriber.expect_pubrel()?.packet_id, two.packet_id)?;
        subscriber.break_off()?;
        let mut subscriber = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        // Which of the two is sent again first is not said.
        subscriber.wait_for_pubrel(two.packet_id)?;
        let again = subscriber
            .wait_for("one", |packet| as_publish(packet).filter(|it| it.payload == b"one"))?;
        claim_eq("packet identifier", again.packet_id, one.packet_id)?;
        subscriber.send_puback(again.packet_id);
        subscriber.send_pubcomp(two.packet_id);
        subscriber.ping()?;
    }

    /// [Q5-3.10.2.1.2-1] An UNSUBSCRIBE may carry User Properties.
    #[versions(V5)]
    fn unsubscribe_with_user_properties(broker) {
        let mut client = broker.client()?;
        let properties = crate::wire::Properties::new().pair("a", "1").pair("a", "1");
        client.send(&Body::new().two(9).properties(&properties).text("some/filter").packet(0xA2));
        client.wait_for_unsuback(9)?;
    }

    /// [MQTT-3.10.4-2] v3.1.1 [MQTT-3.10.4-2] Ending one of several filters that match leaves the others.
    #[versions(V31, V311, V5)]
    fn unsubscribe_leaves_overlapping_filters(broker) {
        broker.need_wildcards()?;
        broker.need_qos(1)?;
        let topic = broker.topic("a");
        let mut client = broker.client()?;
        client.subscribe(&topic, 1)?;
        client.subscribe(&broker.topic("+"), 0)?;
        client.unsubscribe(&[&topic])?;
        broker.client()?.publish(publish(&topic, "x").qos(1))?;
        match client.expect_packet()? {
            Packet::Publish(delivered) => claim_eq("QoS", delivered.qos, 0)?,
            packet => claim(false, format!("got {packet:?}"))?,
        }
    }
}
