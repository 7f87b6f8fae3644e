//! Retained messages.

use crate::case::{cases, claim, claim_eq};
use crate::client::as_publish;
use crate::exchange::option::{RETAIN_AS_PUBLISHED, RETAIN_IF_NEW, RETAIN_NEVER};
use crate::wire::{Packet, property as id, publish};

cases! {
    /// [MQTT-3.3.1-5, MQTT-3.3.1-9] v3.1.1 [MQTT-3.3.1-5, MQTT-3.3.1-6, MQTT-3.3.1-8] [Q5-3.3.1.3-1] The last retained message of a
    /// topic is sent to whoever subscribes later, with RETAIN.
    #[versions(V31, V311, V5)]
    fn retained_message_is_sent_to_new_subscribers(broker) {
        broker.need_retain()?;
        let topic = broker.topic("t");
        broker.retain(&topic, "first")?;
        broker.retain(&topic, "last")?;
        for _ in 0..2 {
            let mut subscriber = broker.client()?;
            subscriber.subscribe(&topic, 0)?;
            let retained = subscriber.expect_publish("last")?;
            broker.judge("v3.1.1 [MQTT-3.3.1-8]", || {
                claim(retained.is_retained, format!("got {retained:?}"))
            })?;
            claim(retained.is_retained && !retained.is_dup, format!("got {retained:?}"))?;
            let mut publisher = broker.client()?;
            let more = subscriber.drain_after(&mut publisher)?;
            let is_old = |it: &Packet| as_publish(it).is_none_or(|it| it.payload != b"last");
            let is_right = if broker.is_quelea() { more.is_empty() } else { !more.iter().any(is_old) };
            claim(is_right, format!("got {more:?}"))?;
        }
    }

    /// [MQTT-3.3.1-5] v3.1.1 [MQTT-3.3.1-5] [Q5-3.8.4-1] A retained message keeps its QoS, up to what is granted.
    #[versions(V31, V311, V5)]
    fn retained_message_keeps_its_qos(broker) {
        broker.need_retain()?;
        broker.need_qos(2)?;
        let mut publisher = broker.client()?;
        for published in 0..=2 {
            let topic = broker.topic(&format!("qos{published}"));
            broker.will_retain(&topic);
            publisher.publish(publish(&topic, "x").qos(published).retain())?;
            publisher.ping()?;
            for granted in 0..=2 {
                let mut subscriber = broker.client()?;
                subscriber.subscribe(&topic, granted)?;
                let retained = subscriber.take("x")?;
                claim_eq("QoS", retained.qos, granted.min(published))?;
                claim(retained.is_retained, "no RETAIN")?;
            }
        }
    }

    /// [MQTT-3.3.1-6, MQTT-3.3.1-7, MQTT-3.3.1-12] v3.1.1 [MQTT-3.3.1-9, MQTT-3.3.1-10, MQTT-3.3.1-11] A retained message without payload removes the one that
    /// was, is sent on like any other, and is not kept.
    #[versions(V31, V311, V5)]
    fn empty_payload_removes_retained_message(broker) {
        broker.need_retain()?;
        let topic = broker.topic("t");
        broker.retain(&topic, "x")?;
        let mut watcher = broker.client()?;
        watcher.subscribe(&topic, 0)?;
        watcher.expect_publish("x")?;
        let mut publisher = broker.client()?;
        publisher.publish(publish(&topic, "").qos(1).retain())?;
        broker.turn_to("[MQTT-3.3.1-6] v3.1.1 [MQTT-3.3.1-10]");
        let forwarded = watcher.expect_publish("")?;
        broker.judge("[MQTT-3.3.1-12] v3.1.1 [MQTT-3.3.1-9]", || {
            claim(!forwarded.is_retained, "RETAIN on a live message")
        })?;
        broker.turn_to("[MQTT-3.3.1-6, MQTT-3.3.1-7] v3.1.1 [MQTT-3.3.1-10, MQTT-3.3.1-11]");
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&topic, 0)?;
        subscriber.expect_silence_after(&mut publisher)?;
    }

    /// [MQTT-3.3.1-8] v3.1.1 [MQTT-3.3.1-12] A message without RETAIN leaves the retained message of its topic alone.
    #[versions(V31, V311, V5)]
    fn plain_message_leaves_the_retained_one(broker) {
        broker.need_retain()?;
        let topic = broker.topic("t");
        broker.retain(&topic, "kept")?;
        let mut publisher = broker.client()?;
        publisher.publish(publish(&topic, "passing").qos(1))?;
        publisher.publish(publish(&topic, "").qos(1))?;
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&topic, 0)?;
        subscriber.expect_publish("kept")?;
        let other = broker.topic("other");
        publisher.publish(publish(&other, "passing").qos(1))?;
        subscriber.subscribe(&other, 0)?;
        subscriber.expect_silence_after(&mut publisher)?;
    }

    /// v3.1.1 [MQTT-3.3.1-7] [Q5-3.3.1.3-2] A retained message of QoS 0 replaces the one that was.
    #[versions(V31, V311, V5)]
    fn retained_qos0_replaces(broker) {
        broker.need_retain()?;
        let topic = broker.topic("t");
        broker.retain(&topic, "old")?;
        let mut publisher = broker.client()?;
        publisher.send_publish(publish(&topic, "new").retain());
        publisher.ping()?;
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&topic, 1)?;
        // Whoever has little room may keep none, but not the old one.
        match subscriber.expect_packet() {
            Ok(packet) => {
                let payload = as_publish(&packet).map(|it| it.text());
                claim_eq("payload", payload.as_deref(), Some("new"))?;
            }
            Err(failure) => claim(!broker.is_quelea(), failure.to_string())?,
        }
    }

    /// [MQTT-3.3.1-12] v3.1.1 [MQTT-3.3.1-9] To subscribers who were there a message comes without RETAIN.
    #[versions(V31, V311, V5)]
    fn live_message_has_no_retain(broker) {
        broker.need_retain()?;
        let topic = broker.topic("t");
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&topic, 1)?;
        broker.retain(&topic, "x")?;
        let live = subscriber.take("x")?;
        claim(!live.is_retained, "RETAIN on a live message")?;
    }

    /// [MQTT-3.3.1-13] With Retain As Published RETAIN stays as it was.
    #[versions(V5)]
    fn retain_as_published_keeps_retain(broker) {
        broker.need_retain()?;
        let topic = broker.topic("t");
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&topic, RETAIN_AS_PUBLISHED)?;
        broker.retain(&topic, "with")?;
        claim(subscriber.expect_publish("with")?.is_retained, "RETAIN is lost")?;
        broker.client()?.publish(publish(&topic, "without").qos(1))?;
        claim(!subscriber.expect_publish("without")?.is_retained, "RETAIN comes from nowhere")?;
    }

    /// [MQTT-3.3.1-9] v3.1.1 [MQTT-3.8.4-3] [MQTT-3.8.4-4] Subscribing again to the same filter brings the retained messages again.
    #[versions(V31, V311, V5)]
    fn subscribing_again_brings_retained_again(broker) {
        broker.need_retain()?;
        let topic = broker.topic("t");
        broker.retain(&topic, "x")?;
        let mut subscriber = broker.client()?;
        for options in [0, 0, 1] {
            subscriber.subscribe(&topic, options)?;
            let retained = subscriber.take("x")?;
            claim(retained.is_retained, "no RETAIN")?;
        }
    }

    /// [MQTT-3.3.1-10, MQTT-3.3.1-11] Retain Handling 1 sends retained messages for a new subscription only, 2 never.
    #[versions(V5)]
    fn retain_handling_is_obeyed(broker) {
        broker.need_retain()?;
        let topic = broker.topic("t");
        broker.retain(&topic, "x")?;
        let mut publisher = broker.client()?;
        broker.turn_to("[MQTT-3.3.1-10]");
        let mut if_new = broker.client()?;
        if_new.subscribe(&topic, RETAIN_IF_NEW)?;
        claim(if_new.expect_publish("x")?.is_retained, "no RETAIN")?;
        if_new.subscribe(&topic, RETAIN_IF_NEW | 1)?;
        if_new.expect_silence_after(&mut publisher)?;
        if_new.unsubscribe(&[&topic])?;
        if_new.subscribe(&topic, RETAIN_IF_NEW)?;
        if_new.expect_publish("x")?;
        broker.turn_to("[MQTT-3.3.1-11]");
        let mut never = broker.client()?;
        never.subscribe(&topic, RETAIN_NEVER)?;
        never.subscribe(&topic, RETAIN_NEVER)?;
        never.expect_silence_after(&mut publisher)?;
        // What is published afterwards is not affected.
        publisher.publish(publish(&topic, "live").qos(1))?;
        never.expect_publish("live")?;
    }

    /// [MQTT-3.3.1-9] v3.1.1 [MQTT-3.3.1-6] A filter with wildcards brings the retained message of each topic it matches.
    #[versions(V31, V311, V5)]
    fn wildcards_bring_all_retained_messages(broker) {
        broker.need_retain()?;
        broker.need_wildcards()?;
        let rows: [(&str, &[&str]); 5] = [
            ("#", &["a", "a/b", "a/b/c", "d"]),
            ("a/#", &["a", "a/b", "a/b/c"]),
            ("+", &["a", "d"]),
            ("a/+", &["a/b"]),
            ("+/b/#", &["a/b", "a/b/c"]),
        ];
        for topic in ["a", "a/b", "a/b/c", "d"] {
            broker.retain(&broker.topic(topic), topic)?;
        }
        for (filter, expected) in rows {
            let mut publisher = broker.client()?;
            let mut subscriber = broker.client()?;
            subscriber.subscribe(&broker.topic(filter), 0)?;
            let mut got = Vec::new();
            for _ in expected {
                got.extend(as_publish(&subscriber.expect_packet()?).map(|it| it.text()));
            }
            got.sort();
            claim_eq(filter, got, expected.iter().map(ToString::to_string).collect())?;
            subscriber.expect_silence_after(&mut publisher)?;
        }
    }

    /// [Q5-4.1-1] v3.1.1 [MQTT-3.1.2-7] A retained message outlives the session of its publisher.
    #[versions(V31, V311, V5)]
    fn retained_message_outlives_its_session(broker) {
        broker.need_retain()?;
        let topic = broker.topic("t");
        broker.will_retain(&topic);
        let mut publisher = broker.client()?;
        publisher.publish(publish(&topic, "x").qos(1).retain())?;
        publisher.disconnect()?;
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&topic, 0)?;
        subscriber.expect_publish("x")?;
    }

    /// [Q5-3.3.1.3-3] A retained message is gone when it has expired.
    #[versions(V5)]
    fn retained_message_expires(broker) {
        broker.need_retain()?;
        let topic = broker.topic("t");
        broker.will_retain(&topic);
        let mut publisher = broker.client()?;
        let message = publish(&topic, "short-lived").qos(1).retain();
        publisher.publish(message.with(|it| it.four(id::MESSAGE_EXPIRY_INTERVAL, 1)))?;
        let deadline = std::time::Instant::now() + broker.patience();
        loop {
            let mut subscriber = broker.client()?;
            subscriber.subscribe(&topic, 0)?;
            // Nothing says when a retained message comes; if there is one, it is at hand.
            if subscriber.expect_packet_within(std::time::Duration::from_millis(500)).is_err() {
                break;
            }
            claim(std::time::Instant::now() < deadline, "it is still there")?;
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    }

    /// [MQTT-3.3.2-6] A retained message is sent with what is left of its expiry.
    #[versions(V5)]
    fn expiry_of_a_retained_message_counts_down(broker) {
        broker.need_retain()?;
        let topic = broker.topic("t");
        broker.will_retain(&topic);
        let message = publish(&topic, "x").qos(1).retain();
        broker.client()?.publish(message.with(|it| it.four(id::MESSAGE_EXPIRY_INTERVAL, 30)))?;
        let deadline = std::time::Instant::now() + broker.patience();
        loop {
            let mut subscriber = broker.client()?;
            subscriber.subscribe(&topic, 0)?;
            let left = subscriber.expect_publish("x")?.received.number(id::MESSAGE_EXPIRY_INTERVAL);
            if left.is_some_and(|left| (20..30).contains(&left)) {
                break;
            }
            claim(
                left == Some(30) && std::time::Instant::now() < deadline,
                format!("expiry {left:?}"),
            )?;
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
    }

    /// [MQTT-3.3.2-4, MQTT-3.3.2-15, MQTT-3.3.2-16, MQTT-3.3.2-17, MQTT-3.3.2-20] The properties of a retained message are kept.
    #[versions(V5)]
    fn retained_message_keeps_its_properties(broker) {
        broker.need_retain()?;
        let topic = broker.topic("t");
        broker.will_retain(&topic);
        let message = publish(&topic, "x").qos(1).retain().with(|it| {
            it.byte(id::PAYLOAD_FORMAT_INDICATOR, 1)
                .text(id::CONTENT_TYPE, "text/plain")
                .text(id::RESPONSE_TOPIC, "answers")
                .binary(id::CORRELATION_DATA, &[0, 255, 1])
                .pair("b", "2")
                .pair("a", "1")
        });
        broker.client()?.publish(message)?;
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&topic, 0)?;
        let received = subscriber.expect_publish("x")?.received;
        claim_eq("payload format", received.number(id::PAYLOAD_FORMAT_INDICATOR), Some(1))?;
        claim_eq("content type", received.text(id::CONTENT_TYPE), Some("text/plain"))?;
        claim_eq("response topic", received.text(id::RESPONSE_TOPIC), Some("answers"))?;
        claim_eq(
            "correlation data",
            received.binary(id::CORRELATION_DATA),
            Some(&[0, 255, 1][..]),
        )?;
        claim_eq("user properties", received.pairs(), vec![("b", "2"), ("a", "1")])?;
    }
}
