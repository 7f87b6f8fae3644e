//! Wills.

use std::time::{Duration, Instant};

use crate::case::{cases, claim, claim_eq};
use crate::connect::Will;
use crate::wire::{Body, Properties, property as id, publish};
use crate::{Broker, Client, Outcome};

cases! {
    /// [MQTT-3.1.2-7, MQTT-3.1.2-8, MQTT-3.1.2-14] v3.1.1 [MQTT-3.1.2-8, MQTT-3.1.2-16] [Q3-3.1-6] A connection that breaks has its will published.
    #[versions(V31, V311, V5)]
    fn broken_connection_publishes_the_will(broker) {
        let (mut watcher, topic) = watcher(broker)?;
        broker.connect(|it| it.will(Will::new(&topic, "gone")))?.break_off()?;
        let will = watcher.take("gone")?;
        claim(will.qos == 0 && !will.is_retained, format!("got {will:?}"))?;
        let mut late = broker.client()?;
        late.subscribe(&topic, 0)?;
        late.expect_silence_after(&mut watcher)?;
    }

    /// [MQTT-3.14.4-3, MQTT-3.1.2-10, MQTT-3.1.2-8] v3.1.1 [MQTT-3.14.4-3, MQTT-3.1.2-10] A DISCONNECT removes the will.
    #[versions(V31, V311, V5)]
    fn disconnect_removes_the_will(broker) {
        let (mut watcher, topic) = watcher(broker)?;
        let mut client = broker.connect(|it| it.will(Will::new(&topic, "gone")))?;
        client.ping()?;
        client.disconnect()?;
        let mut publisher = broker.client()?;
        watcher.expect_silence_after(&mut publisher)?;
    }

    /// [Q5-3.14.2.1-1, MQTT-3.1.2-8] A DISCONNECT with another reason code, 0x04 above all, publishes the will.
    #[versions(V5)]
    fn disconnect_with_another_reason_publishes_the_will(broker) {
        let (mut watcher, topic) = watcher(broker)?;
        for reason in [0x04, 0x80, 0x81, 0x99] {
            let client = broker.connect(|it| it.will(Will::new(&topic, "gone")))?;
            client.disconnect_with(reason, &Properties::new())?;
            watcher.take("gone")?;
        }
    }

    /// [MQTT-3.1.2-8] v3.1.1 [MQTT-3.1.2-8] A client that is thrown out for an error has its will published.
    #[versions(V31, V311, V5)]
    fn error_publishes_the_will(broker) {
        let (mut watcher, topic) = watcher(broker)?;
        let mut client = broker.connect(|it| it.will(Will::new(&topic, "gone")))?;
        client.send(&[0x00, 0]);
        client.expect_close()?;
        watcher.take("gone")?;
    }

    /// [MQTT-3.1.2-8, MQTT-3.1.2-22] v3.1.1 [MQTT-3.1.2-8, MQTT-3.1.2-24] A client that is silent for too long has its will published.
    #[versions(V31, V311, V5)]
    fn keep_alive_publishes_the_will(broker) {
        let (mut watcher, topic) = watcher(broker)?;
        let mut client = broker.connect(|it| it.will(Will::new(&topic, "gone")).keep_alive(1))?;
        let granted = client.connack().properties.number(id::SERVER_KEEP_ALIVE);
        broker.need(granted.is_none(), "the broker sets the Keep Alive itself")?;
        watcher.expect_publish_within(broker.keep_alive_patience(), "gone")?;
        client.expect_close()?;
    }

    /// v3.1.1 [MQTT-3.1.2-12] [Q5-3.1.2.5-1] A client without a will leaves none.
    #[versions(V31, V311, V5)]
    fn no_will_is_published_without_one(broker) {
        let (mut watcher, topic) = watcher(broker)?;
        let client_id = broker.id();
        let client =
            broker.connect(|it| it.client_id(&client_id).will(Will::new(&topic, "gone")))?;
        client.disconnect()?;
        broker.connect(|it| it.client_id(&client_id))?.break_off()?;
        let mut publisher = broker.client()?;
        watcher.expect_silence_after(&mut publisher)?;
    }

    /// [MQTT-3.1.2-10] v3.1.1 [MQTT-3.1.2-10] A will is published once, whatever the session does afterwards.
    #[versions(V31, V311, V5)]
    fn will_is_published_once(broker) {
        let (mut watcher, topic) = watcher(broker)?;
        let client_id = broker.id();
        let client = broker.connect(|it| {
            it.client_id(&client_id).keep_session().will(Will::new(&topic, "gone"))
        })?;
        client.break_off()?;
        watcher.take("gone")?;
        broker.connect(|it| it.client_id(&client_id).keep_session())?.break_off()?;
        broker.connect(|it| it.client_id(&client_id))?.disconnect()?;
        let mut publisher = broker.client()?;
        watcher.expect_silence_after(&mut publisher)?;
    }

    /// [MQTT-3.1.2-12] v3.1.1 [MQTT-3.1.2-14] [Q5-3.1.2.6-2] A will is published with its QoS.
    #[versions(V31, V311, V5)]
    fn will_has_its_qos(broker) {
        let (mut watcher, topic) = watcher(broker)?;
        for qos in 0..=broker.limits().qos_max() {
            let payload = format!("gone {qos}");
            broker.connect(|it| it.will(Will::new(&topic, &payload).qos(qos)))?.break_off()?;
            claim_eq("QoS", watcher.take(&payload)?.qos, qos)?;
        }
    }

    /// [MQTT-3.1.2-15] v3.1.1 [MQTT-3.1.2-17] A will with RETAIN is retained.
    #[versions(V31, V311, V5)]
    fn retained_will_is_retained(broker) {
        broker.need_retain()?;
        let (mut watcher, topic) = watcher(broker)?;
        broker.will_retain(&topic);
        broker.connect(|it| it.will(Will::new(&topic, "gone").qos(1).retain()))?.break_off()?;
        claim(!watcher.take("gone")?.is_retained, "RETAIN on a live message")?;
        let mut late = broker.client()?;
        late.subscribe(&topic, 1)?;
        let retained = late.take("gone")?;
        claim(retained.is_retained && retained.qos == 1, format!("got {retained:?}"))?;
    }

    /// [MQTT-3.1.3-10, Q5-3.1.3.2.3-2, Q5-3.1.3.2.4-2, Q5-3.1.3.2.5-2, Q5-3.1.3.2.6-2, Q5-3.1.3.2.7-2] A will is published with its properties.
    #[versions(V5)]
    fn will_has_its_properties(broker) {
        let (mut watcher, topic) = watcher(broker)?;
        let will = Will::new(&topic, "gone").properties(|it| {
            it.pair("z", "1")
                .byte(id::PAYLOAD_FORMAT_INDICATOR, 1)
                .four(id::MESSAGE_EXPIRY_INTERVAL, 500)
                .text(id::CONTENT_TYPE, "text/plain")
                .text(id::RESPONSE_TOPIC, "answers")
                .binary(id::CORRELATION_DATA, &[0, 255])
                .pair("a", "2")
                .pair("z", "1")
        });
        broker.connect(|it| it.will(will))?.break_off()?;
        let received = watcher.take("gone")?.received;
        claim_eq("payload format", received.number(id::PAYLOAD_FORMAT_INDICATOR), Some(1))?;
        let expiry = received.number(id::MESSAGE_EXPIRY_INTERVAL);
        claim(expiry.is_some_and(|it| (495..=500).contains(&it)), format!("expiry {expiry:?}"))?;
        claim_eq("content type", received.text(id::CONTENT_TYPE), Some("text/plain"))?;
        claim_eq("response topic", received.text(id::RESPONSE_TOPIC), Some("answers"))?;
        claim_eq("correlation data", received.binary(id::CORRELATION_DATA), Some(&[0, 255][..]))?;
        claim_eq("user properties", received.pairs(), vec![("z", "1"), ("a", "2"), ("z", "1")])?;
        claim_eq("will delay", received.number(id::WILL_DELAY_INTERVAL), None)?;
    }

    /// [Q5-3.1.3.4-1, Q4-3.1.3.3-1] A will may be empty, or of any bytes.
    #[versions(V31, V311, V5)]
    fn will_may_be_empty(broker) {
        let (mut watcher, topic) = watcher(broker)?;
        broker.connect(|it| it.will(Will::new(&topic, "")))?.break_off()?;
        watcher.take("")?;
    }

    /// [MQTT-3.1.2-8] The will waits for its delay.
    #[versions(V5)]
    fn will_waits_for_its_delay(broker) {
        let (mut watcher, topic) = watcher(broker)?;
        broker
            .connect(|it| it.session_expiry(60).will(Will::new(&topic, "gone").delay(2)))?
            .break_off()?;
        let start = Instant::now();
        watcher.expect_publish_within(Duration::from_secs(2) + broker.patience(), "gone")?;
        let waited = start.elapsed();
        // A second may be counted from its beginning or its end.
        claim(waited > Duration::from_millis(900), format!("published after {waited:?}"))?;
    }

    /// [MQTT-3.1.3-9, MQTT-3.1.2-8] A client that comes back to its session before the delay has passed cancels the will.
    #[versions(V5)]
    fn return_to_the_session_cancels_the_will(broker) {
        let (mut watcher, topic) = watcher(broker)?;
        let client_id = broker.id();
        let will = Will::new(&topic, "gone").delay(2);
        let client = broker.connect(|it| it.client_id(&client_id).keep_session().will(will))?;
        client.break_off()?;
        let back = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        claim(back.is_session_present(), "the session is lost")?;
        let early = watcher.expect_packet_within(Duration::from_secs(4));
        claim(early.is_err(), format!("got {early:?}"))?;
    }

    /// [MQTT-3.1.2-8, Q5-3.1.3.2.2-2] The end of the session ends the delay, and the will is published.
    #[versions(V5)]
    fn end_of_session_publishes_the_will(broker) {
        let (mut watcher, topic) = watcher(broker)?;
        // No session beyond the connection: no delay.
        broker.connect(|it| it.will(Will::new(&topic, "at once").delay(60)))?.break_off()?;
        watcher.expect_publish("at once")?;
        broker
            .connect(|it| it.session_expiry(1).will(Will::new(&topic, "soon").delay(60)))?
            .break_off()?;
        watcher.expect_publish_within(broker.patience() * 2, "soon")?;
    }

    /// [MQTT-3.1.2-8, Q5-3.1.3.2.2-3] A clean start ends the session and publishes its will although the delay has not passed.
    #[versions(V5)]
    fn clean_start_publishes_the_waiting_will(broker) {
        broker.need_quelea(
            "whether a clean start ends the session of a will, or cancels it, the text says both",
        )?;
        let (mut watcher, topic) = watcher(broker)?;
        let client_id = broker.id();
        let will = Will::new(&topic, "gone").delay(60);
        let client = broker.connect(|it| it.client_id(&client_id).session_expiry(60).will(will))?;
        client.break_off()?;
        broker.connect(|it| it.client_id(&client_id))?;
        watcher.expect_publish("gone")?;
    }

    /// [MQTT-3.1.4-3, Q5-3.1.3.2.2-4] v3.1.1 [MQTT-3.1.2-8] A takeover publishes the will that has no delay.
    #[versions(V31, V311, V5)]
    fn takeover_publishes_the_will(broker) {
        let (mut watcher, topic) = watcher(broker)?;
        let client_id = broker.id();
        let will = Will::new(&topic, "gone");
        let mut first = broker.connect(|it| it.client_id(&client_id).keep_session().will(will))?;
        let _second = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        first.expect_close()?;
        watcher.expect_publish("gone")?;
    }

    /// [MQTT-3.1.3-9, Q5-3.1.3.2.2-5] A takeover that resumes the session cancels a will with a delay; one with a clean start publishes it.
    #[versions(V5)]
    fn takeover_and_delayed_will(broker) {
        let (mut watcher, topic) = watcher(broker)?;
        let mut publisher = broker.client()?;
        let client_id = broker.id();
        let connect = |payload: &str| {
            let will = Will::new(&topic, payload).delay(1);
            broker.connect(|it| it.client_id(&client_id).keep_session().will(will))
        };
        let mut first = connect("cancelled")?;
        let mut second = connect("published")?;
        first.expect_close()?;
        let early = watcher.expect_packet_within(Duration::from_secs(3));
        claim(early.is_err(), format!("got {early:?}"))?;
        // Of a clean start the text says both that it ends the session and that it cancels the will.
        if !broker.is_quelea() {
            return Ok(());
        }
        let _third = broker.connect(|it| it.client_id(&client_id))?;
        second.expect_close()?;
        watcher.expect_publish("published")?;
        watcher.expect_silence_after(&mut publisher)?;
    }

    /// [Q5-3.1.3.2.2-6] A takeover ends a session without expiry, and publishes its will whatever the delay.
    #[versions(V5)]
    fn takeover_of_a_session_without_expiry_publishes_the_will(broker) {
        broker.need_quelea(
            "that a takeover ends a session without expiry is said in a comment only",
        )?;
        let (mut watcher, topic) = watcher(broker)?;
        let client_id = broker.id();
        let will = Will::new(&topic, "gone").delay(60);
        let mut first = broker.connect(|it| it.client_id(&client_id).resume().will(will))?;
        let second = broker.connect(|it| it.client_id(&client_id).resume())?;
        first.expect_close()?;
        claim(!second.is_session_present(), "Session Present after a session without expiry")?;
        watcher.expect_publish("gone")?;
    }

    /// [Q5-3.1.2.5-2] A client may say at its end that its will is to be published when the session expires.
    #[versions(V5)]
    fn will_can_announce_the_end_of_the_session(broker) {
        let (mut watcher, topic) = watcher(broker)?;
        let will = Will::new(&topic, "expired").delay(60);
        let client = broker.connect(|it| it.session_expiry(60).will(will))?;
        client.disconnect_with(0x04, &Properties::new().four(id::SESSION_EXPIRY_INTERVAL, 1))?;
        watcher.expect_publish_within(broker.patience() * 2, "expired")?;
    }

    /// [Q5-3.8.3.1-4] v3.1.1 [MQTT-3.1.2-5] A will is a message like others: it reaches a client's own other subscriptions, and waits in sessions.
    #[versions(V31, V311, V5)]
    fn will_waits_for_absent_subscribers(broker) {
        broker.need_qos(1)?;
        let topic = broker.topic("will");
        let client_id = broker.id();
        let mut subscriber = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        subscriber.subscribe(&topic, 1)?;
        subscriber.disconnect()?;
        broker.connect(|it| it.will(Will::new(&topic, "gone").qos(1)))?.break_off()?;
        broker.connect(|it| it.client_id(&client_id).keep_session())?.take("gone")?;
    }

    /// [Q5-3.14.2.2.2-3] A DISCONNECT that is an error does not remove the will.
    #[versions(V5)]
    fn wrong_disconnect_keeps_the_will(broker) {
        let (mut watcher, topic) = watcher(broker)?;
        let mut client = broker.connect(|it| it.will(Will::new(&topic, "gone")))?;
        let properties = Properties::new().four(id::SESSION_EXPIRY_INTERVAL, 60);
        client.send(&Body::new().byte(0).properties(&properties).packet(0xE0));
        client.expect_close()?;
        watcher.take("gone")?;
    }

    /// [MQTT-4.6.0-5] v3.1.1 [MQTT-4.6.0-6] What a client published before it broke off comes before its will.
    #[versions(V31, V311, V5)]
    fn will_comes_last(broker) {
        broker.need_quelea("where a will stands among what its client published")?;
        let (mut watcher, topic) = watcher(broker)?;
        let mut client = broker.connect(|it| it.will(Will::new(&topic, "gone")))?;
        for payload in ["1", "2", "3"] {
            client.send_publish(publish(&topic, payload));
        }
        client.break_off()?;
        for payload in ["1", "2", "3", "gone"] {
            watcher.take(payload)?;
        }
    }
}

/// Connects a client that sees the wills of a case.
#[track_caller]
fn watcher(broker: &Broker<'_>) -> Outcome<(Client, String)> {
    let topic = broker.topic("will");
    let mut watcher = broker.client()?;
    watcher.subscribe(&topic, 2)?;
    Ok((watcher, topic))
}
