//! Sessions: what outlives a connection, and when it ends.

use std::time::{Duration, Instant};

use crate::case::{cases, claim, claim_eq};
use crate::client::as_publish;
use crate::exchange::reason::{PROTOCOL_ERROR, SESSION_TAKEN_OVER};
use crate::wire::{Body, Packet, Properties, property as id, publish};
use crate::{Broker, Outcome, Version};

cases! {
    /// [MQTT-3.1.2-5, MQTT-3.1.2-6, MQTT-3.1.2-23, MQTT-4.1.0-1, MQTT-4.5.0-1] v3.1.1 [MQTT-3.1.2-4, MQTT-3.1.2-5, MQTT-4.1.0-1, MQTT-4.5.0-1] A session keeps its
    /// subscriptions, and the QoS 1 and 2 messages that come while the client is away.
    #[versions(V31, V311, V5)]
    fn session_is_resumed(broker) {
        broker.need_qos(2)?;
        let topic = broker.topic("t");
        let client_id = broker.id();
        let mut client = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        client.subscribe(&topic, 2)?;
        client.disconnect()?;
        let mut publisher = broker.client()?;
        publisher.publish(publish(&topic, "one").qos(1))?;
        publisher.publish(publish(&topic, "two").qos(2))?;
        publisher.publish(publish(&topic, "three").qos(1))?;
        let mut client = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        for (payload, qos) in [("one", 1), ("two", 2), ("three", 1)] {
            let delivered = client.take(payload)?;
            claim_eq("QoS", delivered.qos, qos)?;
            claim(!delivered.is_dup, "DUP on a first delivery")?;
        }
        publisher.publish(publish(&topic, "live").qos(1))?;
        client.take("live")?;
    }

    /// [MQTT-3.1.2-4, MQTT-3.1.4-4, MQTT-3.2.2-2] v3.1.1 [MQTT-3.1.2-6, MQTT-3.1.4-3] A clean start ends the session that was.
    #[versions(V31, V311, V5)]
    fn clean_start_ends_the_session(broker) {
        broker.need_qos(2)?;
        let topic = broker.topic("t");
        let client_id = broker.id();
        let mut client = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        client.subscribe(&topic, 2)?;
        let mut publisher = broker.client()?;
        publisher.publish(publish(&topic, "unacknowledged").qos(1))?;
        client.expect_publish("unacknowledged")?;
        client.disconnect()?;
        publisher.publish(publish(&topic, "waiting").qos(2))?;
        let mut client = broker.connect(|it| it.client_id(&client_id))?;
        publisher.publish(publish(&topic, "live").qos(1))?;
        client.expect_silence_after(&mut publisher)?;
        client.disconnect()?;
        let mut client = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        claim(!client.is_session_present(), "Session Present after a clean session")?;
        client.expect_silence_after(&mut publisher)?;
    }

    /// [MQTT-3.1.3-2] v3.1.1 [MQTT-3.1.3-2] A session is found by the client identifier, letter by letter.
    #[versions(V311, V5)]
    fn sessions_are_found_by_client_id(broker) {
        let client_id = broker.id();
        let mut client = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        client.subscribe(&broker.topic("t"), 0)?;
        client.disconnect()?;
        for other in [client_id.to_uppercase(), client_id[1..].to_owned()] {
            let client = broker.connect(|it| it.client_id(&other).keep_session())?;
            claim(!client.is_session_present(), format!("{other} has the session of {client_id}"))?;
        }
        claim(
            broker.connect(|it| it.client_id(&client_id).keep_session())?.is_session_present(),
            "it is lost",
        )?;
    }

    /// [MQTT-4.1.0-2, Q5-3.1.2.11.2-2] Without a Session Expiry Interval, or with 0, the session ends with its connection.
    #[versions(V5)]
    fn session_without_expiry_ends_with_its_connection(broker) {
        for expiry in [None, Some(0)] {
            let client_id = broker.id();
            let client = broker.connect(|it| match expiry {
                Some(secs) => it.client_id(&client_id).resume().session_expiry(secs),
                None => it.client_id(&client_id).resume(),
            })?;
            client.break_off()?;
            let client = broker.connect(|it| it.client_id(&client_id).resume())?;
            claim(
                !client.is_session_present(),
                format!("Session Present after expiry {expiry:?}"),
            )?;
        }
    }

    /// [MQTT-4.1.0-2] A session ends when its expiry has passed, and not before.
    #[versions(V5)]
    fn session_expires(broker) {
        let client_id = broker.id();
        broker.connect(|it| it.client_id(&client_id).resume().session_expiry(1))?.break_off()?;
        let early = broker.connect(|it| it.client_id(&client_id).resume().session_expiry(1))?;
        claim(early.is_session_present(), "the session ended before its expiry")?;
        early.break_off()?;
        std::thread::sleep(Duration::from_millis(2_500));
        let late = broker.connect(|it| it.client_id(&client_id).resume())?;
        // Ending it late is allowed: a server need not look every second.
        claim(!late.is_session_present() || !broker.is_quelea(), "the session is still there")?;
    }

    /// [Q5-3.1.2.11.2-3] A session with the largest expiry is kept.
    #[versions(V5)]
    fn session_may_last_forever(broker) {
        let client_id = broker.id();
        broker
            .connect(|it| it.client_id(&client_id).resume().session_expiry(u32::MAX))?
            .disconnect()?;
        let client = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        claim(client.is_session_present(), "the session is lost")?;
    }

    /// [Q5-3.14.2.2.2-2] DISCONNECT may set another Session Expiry Interval, 0 too.
    #[versions(V5)]
    fn disconnect_changes_session_expiry(broker) {
        let client_id = broker.id();
        for (expiry, is_kept) in [(60, true), (0, false)] {
            let client =
                broker.connect(|it| it.client_id(&client_id).resume().session_expiry(120))?;
            client
                .disconnect_with(0, &Properties::new().four(id::SESSION_EXPIRY_INTERVAL, expiry))?;
            let client = broker.connect(|it| it.client_id(&client_id).resume())?;
            claim_eq("Session Present", client.is_session_present(), is_kept)?;
            client.disconnect()?;
        }
    }

    /// [Q5-3.14.2.2.2-3] A DISCONNECT that asks for an expiry where CONNECT asked for none is an error.
    #[versions(V5)]
    fn disconnect_cannot_start_session_expiry(broker) {
        let properties = Properties::new().four(id::SESSION_EXPIRY_INTERVAL, 60);
        let packet = Body::new().byte(0).properties(&properties).packet(0xE0);
        broker.client()?.expect_rejected(&packet, &[PROTOCOL_ERROR])?;
    }

    /// [Q5-4.1-3, Q5-3.8.4-4] A session keeps the options and identifiers of its subscriptions.
    #[versions(V5)]
    fn session_keeps_subscription_options(broker) {
        broker.need_subscription_ids()?;
        broker.need_qos(1)?;
        let topic = broker.topic("t");
        let client_id = broker.id();
        let mut client = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        let options = crate::exchange::option::NO_LOCAL | 1;
        client
            .subscribe_with(&topic, options, |it| it.variable(id::SUBSCRIPTION_IDENTIFIER, 77))?;
        client.disconnect()?;
        let mut publisher = broker.client()?;
        publisher.publish(publish(&topic, "waiting").qos(1))?;
        let mut client = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        claim_eq("identifiers", client.take("waiting")?.received.subscription_ids(), vec![77])?;
        client.publish(publish(&topic, "own").qos(1))?;
        client.expect_silence()?;
        publisher.publish(publish(&topic, "live").qos(1))?;
        claim_eq("identifiers", client.take("live")?.received.subscription_ids(), vec![77])?;
    }

    /// [Q5-4.1-4, Q4-4.1-1] A session without subscriptions is a session too.
    #[versions(V311, V5)]
    fn empty_session_is_kept(broker) {
        let client_id = broker.id();
        broker.connect(|it| it.client_id(&client_id).keep_session())?.break_off()?;
        claim(
            broker.connect(|it| it.client_id(&client_id).keep_session())?.is_session_present(),
            "it is lost",
        )?;
    }

    /// [MQTT-4.1.0-1] v3.1.1 [MQTT-4.1.0-2] A session lasts while its connection is open, whatever its expiry.
    #[versions(V31, V311, V5)]
    fn session_lasts_as_long_as_its_connection(broker) {
        let topic = broker.topic("t");
        let mut client = broker.connect(|it| it.session_expiry(1))?;
        client.subscribe(&topic, 0)?;
        std::thread::sleep(Duration::from_millis(2_500));
        broker.client()?.publish(publish(&topic, "x"))?;
        client.expect_publish("x")?;
    }

    /// [MQTT-3.1.4-3, Q5-4.13-1] v3.1.1 [MQTT-3.1.4-2] [Q3-3.1-5] A second connection with the same client identifier ends the first; 5.0 says why.
    #[versions(V31, V311, V5)]
    fn second_connection_takes_over(broker) {
        let client_id = broker.id();
        let mut first = broker.connect(|it| it.client_id(&client_id))?;
        let mut second = broker.connect(|it| it.client_id(&client_id))?;
        let packets = first.expect_close()?;
        match packets.as_slice() {
            [Packet::Disconnect(it)] if broker.version.is_v5() => {
                claim_eq("reason", it.reason, SESSION_TAKEN_OVER)?
            }
            [] if !broker.version.is_v5() => {}
            _ => claim(false, format!("got {packets:?}"))?,
        }
        second.expect_silence()?;
    }

    /// [MQTT-3.1.4-3, MQTT-3.1.2-5, MQTT-3.3.1-1] v3.1.1 [MQTT-3.1.4-2, MQTT-3.1.2-4, MQTT-3.3.1-1] A takeover takes up the session with all that is in flight.
    #[versions(V31, V311, V5)]
    fn takeover_resumes_the_session(broker) {
        broker.need_qos(1)?;
        let topic = broker.topic("t");
        let client_id = broker.id();
        let mut first = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        first.subscribe(&topic, 1)?;
        let mut publisher = broker.client()?;
        publisher.publish(publish(&topic, "in flight").qos(1))?;
        let delivered = first.expect_publish("in flight")?;
        broker.turn_to("[MQTT-3.1.4-3] v3.1.1 [MQTT-3.1.4-2]");
        let mut second = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        first.expect_close()?;
        broker.turn_to("[MQTT-3.1.2-5] v3.1.1 [MQTT-3.1.2-4]");
        let again = second.expect_publish("in flight")?;
        claim_eq("packet identifier", again.packet_id, delivered.packet_id)?;
        broker.judge("[MQTT-3.3.1-1] v3.1.1 [MQTT-3.3.1-1]", || {
            claim(again.is_dup, "no DUP on a repetition")
        })?;
        second.send_puback(again.packet_id);
        publisher.publish(publish(&topic, "live").qos(1))?;
        second.take("live")?;
    }

    /// [MQTT-3.1.4-3] v3.1.1 [MQTT-3.1.4-2] A takeover works between versions.
    #[versions(V31, V311, V5)]
    fn takeover_between_versions(broker) {
        for version in Version::ALL {
            let client_id = broker.id();
            let mut first = broker.connect(|it| it.client_id(&client_id))?;
            let Ok(mut second) = broker.connect_as(version, |it| it.client_id(&client_id)) else {
                continue;
            };
            first.expect_close()?;
            second.expect_silence()?;
        }
    }

    /// [Q5-4.6-2, Q4-4.6-1] Messages that waited come before those published afterwards.
    #[versions(V31, V311, V5)]
    fn waiting_messages_come_first(broker) {
        broker.need_qos(1)?;
        let topic = broker.topic("t");
        let client_id = broker.id();
        let mut client = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        client.subscribe(&topic, 1)?;
        client.disconnect()?;
        let waiting: Vec<String> = (0..30).map(|index| format!("waiting {index}")).collect();
        let waiting: Vec<&str> = waiting.iter().map(String::as_str).collect();
        let mut publisher = broker.client()?;
        publisher.publish_all(&topic, 1, &waiting)?;
        let mut client = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        publisher.publish_all(&topic, 1, &["live"])?;
        for payload in waiting {
            client.take(payload)?;
        }
        client.take("live")?;
    }

    /// [Q5-4.1-5, Q4-4.1-2] QoS 0 messages may be kept or not, but a session that resumes gets no QoS 1 message twice.
    #[versions(V31, V311, V5)]
    fn acknowledged_messages_are_not_kept(broker) {
        broker.need_qos(2)?;
        let topic = broker.topic("t");
        let client_id = broker.id();
        let mut client = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        client.subscribe(&topic, 2)?;
        let mut publisher = broker.client()?;
        publisher.publish(publish(&topic, "one").qos(1))?;
        publisher.publish(publish(&topic, "two").qos(2))?;
        client.take("one")?;
        client.take("two")?;
        client.disconnect()?;
        let mut client = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        client.expect_silence_after(&mut publisher)?;
    }

    /// [Q5-3.1.4-3, Q4-3.1.4-2] A connection that sends no CONNECT is closed in the end.
    #[versions(V311, V5)]
    fn idle_connection_is_closed(broker) {
        broker.need_quelea("how long a connection may wait before its CONNECT")?;
        let start = Instant::now();
        let mut idle = broker.open()?;
        let mut half = broker.open()?;
        half.send(&[0x10, 20, 0, 4, b'M']);
        idle.expect_close_within(Duration::from_secs(40))?;
        half.expect_close_within(Duration::from_secs(40))?;
        claim(start.elapsed() > Duration::from_secs(1), "closed at once")?;
    }

    /// [Q5-3.2.2.3.2-1] A session lives as long as CONNACK says, or as long as the client asked for where it says nothing.
    #[versions(V5)]
    fn granted_session_expiry_is_kept(broker) {
        let client_id = broker.id();
        let client =
            broker.connect(|it| it.client_id(&client_id).resume().session_expiry(4_000_000_000))?;
        let granted = client.connack().properties.number(id::SESSION_EXPIRY_INTERVAL);
        client.disconnect()?;
        let present =
            broker.connect(|it| it.client_id(&client_id).keep_session())?.is_session_present();
        claim(
            present || granted == Some(0),
            format!("granted {granted:?}, and the session is lost"),
        )?;
    }

    /// [MQTT-2.2.1-4, Q5-4.1-6] v3.1.1 [MQTT-2.3.1-4] An identifier that is in flight from the earlier connection is not given to a new message.
    #[versions(V31, V311, V5)]
    fn ids_in_flight_are_not_reused_after_reconnect(broker) {
        check_ids(broker)?;
    }
}

#[track_caller]
fn check_ids(broker: &Broker<'_>) -> Outcome {
    broker.need_qos(2)?;
    let topic = broker.topic("t");
    let client_id = broker.id();
    let mut client = broker.connect(|it| it.client_id(&client_id).keep_session())?;
    client.subscribe(&topic, 2)?;
    let mut publisher = broker.client()?;
    publisher.publish(publish(&topic, "old 1").qos(1))?;
    publisher.publish(publish(&topic, "old 2").qos(2))?;
    let mut ids =
        vec![client.expect_publish("old 1")?.packet_id, client.expect_publish("old 2")?.packet_id];
    client.break_off()?;
    let mut client = broker.connect(|it| it.client_id(&client_id).keep_session())?;
    // In which order they come again is another statement's business.
    for payload in ["old 1", "old 2"] {
        client.wait_for(payload, |packet| {
            as_publish(packet).filter(|it| it.payload == payload.as_bytes())
        })?;
    }
    for index in 0..5 {
        let payload = format!("new {index}");
        publisher.publish(publish(&topic, &payload).qos(1 + index % 2))?;
        let id = client.expect_publish(&payload)?.packet_id;
        claim(!ids.contains(&id), format!("identifier {id} is in use"))?;
        ids.push(id);
    }
    Ok(())
}
