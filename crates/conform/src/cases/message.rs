//! The properties of an application message, message expiry, and topic aliases.

use std::time::Duration;

use crate::case::{cases, claim, claim_eq};
use crate::exchange::reason::{PROTOCOL_ERROR, TOPIC_ALIAS_INVALID};
use crate::wire::{Packet, property as id, publish};
use crate::{Broker, Client, Outcome, Version};

cases! {
    /// [MQTT-3.3.2-4] The Payload Format Indicator reaches the subscribers unaltered.
    #[versions(V5)]
    fn payload_format_is_forwarded(broker) {
        let (mut publisher, mut subscriber, topic) = pair(broker)?;
        for format in [Some(0), Some(1), None] {
            publisher.publish(publish(&topic, "text").with(|it| match format {
                Some(format) => it.byte(id::PAYLOAD_FORMAT_INDICATOR, format),
                None => it,
            }))?;
            let got = subscriber.take("text")?.received.number(id::PAYLOAD_FORMAT_INDICATOR);
            // Not sending the indicator is the same as sending 0.
            let is_right = got == format.map(u32::from)
                || format == Some(0) && got.is_none() && !broker.is_quelea();
            claim(is_right, format!("{format:?} became {got:?}"))?;
        }
    }

    /// [MQTT-3.3.2-20, MQTT-3.3.2-15, MQTT-3.3.2-16] Content Type, Response Topic and Correlation Data reach the subscribers unaltered.
    #[versions(V5)]
    fn message_properties_are_forwarded(broker) {
        let (mut publisher, mut subscriber, topic) = pair(broker)?;
        let long = "x".repeat(300);
        for (content_type, response_topic, data) in [
            ("text/plain", "answers/1", &b"\x00\x01\xFF"[..]),
            ("", "a", b""),
            (long.as_str(), long.as_str(), long.as_bytes()),
            ("ö\u{FEFF}", "$answers", b"1"),
        ] {
            publisher.publish(publish(&topic, "x").with(|it| {
                it.binary(id::CORRELATION_DATA, data)
                    .text(id::RESPONSE_TOPIC, response_topic)
                    .text(id::CONTENT_TYPE, content_type)
            }))?;
            let got = subscriber.take("x")?.received;
            broker.judge("[MQTT-3.3.2-20]", || {
                claim_eq("content type", got.text(id::CONTENT_TYPE), Some(content_type))
            })?;
            broker.judge("[MQTT-3.3.2-15]", || {
                claim_eq("response topic", got.text(id::RESPONSE_TOPIC), Some(response_topic))
            })?;
            broker.judge("[MQTT-3.3.2-16]", || {
                claim_eq("correlation data", got.binary(id::CORRELATION_DATA), Some(data))
            })?;
        }
        publisher.publish(publish(&topic, "bare"))?;
        claim_eq("properties", subscriber.take("bare")?.received.0.len(), 0)?;
    }

    /// [MQTT-3.3.2-17, MQTT-3.3.2-18, Q5-3.3.2.3.7-1] User Properties reach the subscribers unaltered, in their order, repeated ones too.
    #[versions(V5)]
    fn user_properties_are_forwarded_in_order(broker) {
        let (mut publisher, mut subscriber, topic) = pair(broker)?;
        let pairs = [
            ("z", "1"),
            ("a", "2"),
            ("z", "1"),
            ("z", "0"),
            ("", ""),
            ("ö", "\u{10FFFD}"),
            ("a", ""),
        ];
        for qos in 0..=broker.limits().qos_max() {
            publisher.publish(publish(&topic, "x").qos(qos).with(|it| {
                let it = it.pair(pairs[0].0, pairs[0].1).text(id::CONTENT_TYPE, "between");
                pairs[1..].iter().fold(it, |it, (name, value)| it.pair(name, value))
            }))?;
            claim_eq("user properties", subscriber.take("x")?.received.pairs(), pairs.to_vec())?;
        }
    }

    /// [Q5-3.3.2.3-1, Q4-3.3.2-1] Between versions messages pass without the properties.
    #[versions(V31, V311)]
    fn messages_pass_between_versions(broker) {
        let topic = broker.topic("t");
        let mut old = broker.client()?;
        old.subscribe(&topic, 1)?;
        let Ok(mut new) = broker.connect_as(Version::V5, |it| it) else {
            return Ok(());
        };
        new.subscribe(&topic, 1)?;
        new.publish(
            publish(&topic, "new")
                .qos(1)
                .with(|it| it.pair("a", "b").four(id::MESSAGE_EXPIRY_INTERVAL, 60)),
        )?;
        old.take("new")?;
        new.take("new")?;
        old.publish(publish(&topic, "old").qos(1))?;
        claim_eq("properties", new.take("old")?.received.0.len(), 0)?;
        old.take("old")?;
    }

    /// [MQTT-3.3.2-6] A message that has not waited is sent with its whole expiry, one that has with what is left.
    #[versions(V5)]
    fn message_expiry_counts_down(broker) {
        broker.need_qos(1)?;
        let topic = broker.topic("t");
        let client_id = broker.id();
        let mut subscriber = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        subscriber.subscribe(&topic, 1)?;
        let mut publisher = broker.client()?;
        let message =
            publish(&topic, "x").qos(1).with(|it| it.four(id::MESSAGE_EXPIRY_INTERVAL, 100));
        publisher.publish(message.clone())?;
        let expiry = subscriber.take("x")?.received.number(id::MESSAGE_EXPIRY_INTERVAL);
        claim(expiry.is_some_and(|it| (90..=100).contains(&it)), format!("expiry {expiry:?}"))?;
        subscriber.disconnect()?;
        publisher.publish(message)?;
        // Only time can show it.
        std::thread::sleep(Duration::from_millis(2_100));
        let mut subscriber = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        let expiry = subscriber.take("x")?.received.number(id::MESSAGE_EXPIRY_INTERVAL);
        claim(expiry.is_some_and(|it| (70..=98).contains(&it)), format!("expiry {expiry:?}"))?;
    }

    /// [MQTT-3.3.2-5] A message that has expired before it could be sent is not sent.
    #[versions(V5)]
    fn expired_messages_are_not_sent(broker) {
        broker.need_qos(2)?;
        let topic = broker.topic("t");
        let client_id = broker.id();
        let mut subscriber = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        subscriber.subscribe(&topic, 2)?;
        subscriber.disconnect()?;
        let mut publisher = broker.client()?;
        for qos in 1..=2 {
            let message = publish(&topic, "short-lived").qos(qos);
            publisher.publish(message.with(|it| it.four(id::MESSAGE_EXPIRY_INTERVAL, 1)))?;
            publisher.publish(publish(&topic, &format!("lasting {qos}")).qos(qos))?;
        }
        std::thread::sleep(Duration::from_millis(2_200));
        let mut subscriber = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        subscriber.take("lasting 1")?;
        subscriber.take("lasting 2")?;
        subscriber.expect_silence()?;
    }

    /// [MQTT-4.3.3-7, Q5-3.3.2.3.3-2] A QoS 2 message that has been sent is completed although it has expired.
    #[versions(V5)]
    fn sent_messages_do_not_expire(broker) {
        broker.need_qos(2)?;
        let topic = broker.topic("t");
        let client_id = broker.id();
        let mut subscriber = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        subscriber.subscribe(&topic, 2)?;
        let message =
            publish(&topic, "x").qos(2).with(|it| it.four(id::MESSAGE_EXPIRY_INTERVAL, 1));
        broker.client()?.publish(message)?;
        let first = subscriber.expect_publish("x")?;
        subscriber.break_off()?;
        std::thread::sleep(Duration::from_millis(2_200));
        let mut subscriber = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        let again = subscriber.expect_publish("x")?;
        claim_eq("packet identifier", again.packet_id, first.packet_id)?;
        subscriber.acknowledge(&again)?;
        subscriber.expect_silence()?;
    }

    /// [MQTT-4.3.3-13] A publisher's QoS 2 exchange goes on although its message has expired.
    #[versions(V5)]
    fn exchange_goes_on_after_expiry(broker) {
        broker.need_qos(2)?;
        let mut publisher = broker.client()?;
        let message = publish(&broker.topic("t"), "x").qos(2).packet_id(3);
        publisher.send_publish(message.with(|it| it.four(id::MESSAGE_EXPIRY_INTERVAL, 1)));
        publisher.wait_for_pubrec(3)?;
        std::thread::sleep(Duration::from_millis(1_500));
        publisher.send_pubrel(3);
        claim_eq("PUBCOMP", publisher.wait_for_pubcomp(3)?.reason, 0)?;
    }

    /// [MQTT-3.3.2-12, Q5-3.3.4-5, Q5-3.3.4-6] A topic alias stands for the topic it was set to last.
    #[versions(V5)]
    fn topic_alias_is_resolved(broker) {
        broker.need_topic_aliases(2)?;
        broker.need_wildcards()?;
        let (first, second) = (broker.topic("1"), broker.topic("2"));
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&broker.topic("+"), 2)?;
        let mut publisher = broker.client()?;
        let rows = [
            (&*first, 1, &*first),
            ("", 1, &first),
            (&second, 2, &second),
            ("", 1, &first),
            ("", 2, &second),
            (&second, 1, &second),
            ("", 1, &second),
        ];
        for (index, (topic, alias, expected)) in rows.into_iter().enumerate() {
            let payload = format!("{index}");
            let qos = index as u8 % (broker.limits().qos_max() + 1);
            publisher.publish(
                publish(topic, &payload).qos(qos).with(|it| it.two(id::TOPIC_ALIAS, alias)),
            )?;
            let delivered = subscriber.take(&payload)?;
            claim_eq("topic", delivered.topic.as_str(), expected)?;
            // The reader notes aliases; this client allowed none.
            claim_eq("alias", delivered.received.number(id::TOPIC_ALIAS), None)?;
        }
    }

    /// [MQTT-3.3.2-12] Every alias up to the maximum that the server announced is accepted.
    #[versions(V5)]
    fn all_announced_aliases_are_accepted(broker) {
        broker.need_topic_aliases(1)?;
        let maximum = broker.limits().topic_alias_maximum() as u16;
        let mut publisher = broker.client()?;
        let topic = broker.topic("t");
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&topic, 0)?;
        for alias in [1, maximum.div_ceil(2), maximum] {
            publisher.publish(publish(&topic, "set").with(|it| it.two(id::TOPIC_ALIAS, alias)))?;
            publisher.publish(publish("", "used").with(|it| it.two(id::TOPIC_ALIAS, alias)))?;
            subscriber.expect_publish("set")?;
            subscriber.expect_publish("used")?;
        }
    }

    /// [Q5-3.3.4-1, Q5-3.2.2.3.8-1, MQTT-4.13.1-1] An alias above the maximum is rejected.
    #[versions(V5)]
    fn alias_above_the_maximum_is_rejected(broker) {
        let maximum = broker.limits().topic_alias_maximum();
        broker.need(maximum < 65_535, "every alias is below the maximum")?;
        let message =
            publish(&broker.topic("t"), "x").with(|it| it.two(id::TOPIC_ALIAS, maximum as u16 + 1));
        broker.client()?.expect_rejected(&message.bytes(Version::V5), &[TOPIC_ALIAS_INVALID])?;
    }

    /// [Q5-3.3.4-7] An alias that stands for nothing is rejected.
    #[versions(V5)]
    fn unknown_alias_is_rejected(broker) {
        broker.need_topic_aliases(2)?;
        let mut publisher = broker.client()?;
        publisher
            .publish(publish(&broker.topic("t"), "x").with(|it| it.two(id::TOPIC_ALIAS, 1)))?;
        let message = publish("", "x").with(|it| it.two(id::TOPIC_ALIAS, 2));
        let reasons: &[u8] = if broker.is_quelea() {
            &[PROTOCOL_ERROR]
        } else {
            &[PROTOCOL_ERROR, TOPIC_ALIAS_INVALID]
        };
        publisher.expect_rejected(&message.bytes(Version::V5), reasons)?;
    }

    /// [MQTT-3.3.2-7] Aliases end with their connection.
    #[versions(V5)]
    fn aliases_end_with_the_connection(broker) {
        broker.need_topic_aliases(1)?;
        let client_id = broker.id();
        let mut publisher = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        publisher
            .publish(publish(&broker.topic("t"), "x").with(|it| it.two(id::TOPIC_ALIAS, 1)))?;
        publisher.break_off()?;
        let mut publisher = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        let message = publish("", "x").with(|it| it.two(id::TOPIC_ALIAS, 1));
        publisher
            .expect_rejected(&message.bytes(Version::V5), &[PROTOCOL_ERROR, TOPIC_ALIAS_INVALID])?;
    }

    /// [Q5-3.3.2.3.4-2] Aliases of one client mean nothing for another.
    #[versions(V5)]
    fn aliases_belong_to_one_connection(broker) {
        broker.need_topic_aliases(1)?;
        broker.need_wildcards()?;
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&broker.topic("+"), 0)?;
        let mut publishers = [broker.client()?, broker.client()?];
        for (index, publisher) in publishers.iter_mut().enumerate() {
            let topic = broker.topic(&index.to_string());
            publisher.publish(publish(&topic, "set").with(|it| it.two(id::TOPIC_ALIAS, 1)))?;
            subscriber.expect_publish("set")?;
        }
        for (index, publisher) in publishers.iter_mut().enumerate() {
            publisher.publish(publish("", "x").with(|it| it.two(id::TOPIC_ALIAS, 1)))?;
            claim_eq(
                "topic",
                subscriber.expect_publish("x")?.topic,
                broker.topic(&index.to_string()),
            )?;
        }
    }

    /// [MQTT-3.1.2-26, MQTT-3.1.2-27, MQTT-3.3.2-11, MQTT-3.3.2-8] The server keeps to the client's Topic Alias Maximum, and an alias that it
    /// uses it has set before.
    #[versions(V5)]
    fn server_aliases_keep_to_the_maximum(broker) {
        broker.need_wildcards()?;
        for maximum in [0, 1, 3] {
            let mut subscriber = broker.connect(|it| it.topic_alias_maximum(maximum))?;
            subscriber.subscribe(&broker.topic("+"), 1)?;
            let mut publisher = broker.client()?;
            for round in 0..4 {
                for topic in ["1", "2", "3", "4", "5"] {
                    let payload = format!("{round}");
                    publisher.publish(publish(&broker.topic(topic), &payload).qos(round % 2))?;
                    // The reader resolves aliases, and refuses one that was not set.
                    let delivered = subscriber.take(&payload)?;
                    claim_eq("topic", delivered.topic, broker.topic(topic))?;
                    let alias = delivered.received.number(id::TOPIC_ALIAS).unwrap_or(0);
                    claim(
                        alias <= u32::from(maximum),
                        format!("alias {alias} where {maximum} are allowed"),
                    )?;
                }
            }
        }
    }

    /// [MQTT-3.3.2-7, MQTT-4.4.0-1] What is sent again on a new connection has its topic, not an alias of the old one.
    #[versions(V5)]
    fn repetitions_have_a_topic(broker) {
        broker.need_qos(1)?;
        let topic = broker.topic("t");
        let client_id = broker.id();
        let mut subscriber =
            broker.connect(|it| it.client_id(&client_id).keep_session().topic_alias_maximum(10))?;
        subscriber.subscribe(&topic, 1)?;
        let mut publisher = broker.client()?;
        publisher.publish_all(&topic, 1, &["a", "b", "c"])?;
        for payload in ["a", "b", "c"] {
            subscriber.expect_publish(payload)?;
        }
        subscriber.break_off()?;
        let mut subscriber =
            broker.connect(|it| it.client_id(&client_id).keep_session().topic_alias_maximum(10))?;
        for payload in ["a", "b", "c"] {
            claim_eq("topic", subscriber.take(payload)?.topic.as_str(), &topic)?;
        }
    }

    /// [Q5-3.3.2.3.2-3] Payloads that contradict the Payload Format Indicator are refused or passed on, but the session lives.
    #[versions(V5)]
    fn payload_format_may_be_checked(broker) {
        let topic = broker.topic("t");
        let mut publisher = broker.client()?;
        let mut message =
            publish(&topic, "").qos(1).with(|it| it.byte(id::PAYLOAD_FORMAT_INDICATOR, 1));
        message.payload = vec![0xFF, 0xFE];
        publisher.send_publish(message);
        match publisher.expect_close_or_packet()? {
            Some(Packet::PubAck(ack)) => {
                claim(
                    matches!(ack.reason, 0 | 0x10 | 0x99),
                    format!("PUBACK {:#04x}", ack.reason),
                )?;
                publisher.expect_silence()?;
            }
            Some(Packet::Disconnect(it)) => claim_eq("reason", it.reason, 0x99)?,
            other => claim(false, format!("got {other:?}"))?,
        }
    }

    /// [Q5-4.10-1] Request and response: the response topic and the correlation data make a round trip.
    #[versions(V5)]
    fn request_is_answered(broker) {
        let (requests, answers) = (broker.topic("requests"), broker.topic("answers"));
        let mut responder = broker.client()?;
        responder.subscribe(&requests, 1)?;
        let mut requester = broker.client()?;
        requester.subscribe(&answers, 1)?;
        requester.publish(publish(&requests, "question").qos(1).with(|it| {
            it.text(id::RESPONSE_TOPIC, &answers).binary(id::CORRELATION_DATA, b"\x07")
        }))?;
        let request = responder.take("question")?.received;
        let response_topic = request.text(id::RESPONSE_TOPIC).unwrap_or_default().to_owned();
        let data = request.binary(id::CORRELATION_DATA).unwrap_or_default().to_owned();
        responder.publish(
            publish(&response_topic, "answer")
                .qos(1)
                .with(|it| it.binary(id::CORRELATION_DATA, &data)),
        )?;
        let answer = requester.take("answer")?.received;
        claim_eq("correlation data", answer.binary(id::CORRELATION_DATA), Some(&b"\x07"[..]))?;
    }
}

/// Connects a publisher and a subscriber to one topic.
#[track_caller]
fn pair(broker: &Broker<'_>) -> Outcome<(Client, Client, String)> {
    let topic = broker.topic("t");
    let mut subscriber = broker.client()?;
    subscriber.subscribe(&topic, 2)?;
    Ok((broker.client()?, subscriber, topic))
}
