//! What a broker that does not offer everything does when it is asked for it.

use crate::case::{cases, claim, claim_eq};
use crate::connect::Will;
use crate::wire::{Packet, property as id, publish};
use crate::{Broker, Client, Outcome, Version};

cases! {
    /// [MQTT-3.2.2-9, MQTT-3.2.2-10] A broker without QoS 2, or 1, says so, and accepts subscriptions of any QoS.
    #[versions(V5)]
    fn subscriptions_above_maximum_qos_are_accepted(broker) {
        let maximum = below_qos_2(broker)?;
        let topic = broker.topic("t");
        let mut client = broker.client()?;
        for qos in 0..=2 {
            let suback = client.request_subscribe(&[(&topic, qos)], |it| it)?;
            claim_eq("granted QoS", suback.reasons, vec![qos.min(maximum)])?;
        }
        broker.client()?.publish(publish(&topic, "x").qos(maximum))?;
        claim_eq("QoS", client.take("x")?.qos, maximum)?;
    }

    /// [Q5-3.3.1.2-2, MQTT-4.13.1-1] A PUBLISH above Maximum QoS is rejected.
    #[versions(V5)]
    fn publish_above_maximum_qos_is_rejected(broker) {
        let maximum = below_qos_2(broker)?;
        let message = publish(&broker.topic("t"), "x").qos(maximum + 1).packet_id(1);
        broker.client()?.expect_rejected(&message.bytes(Version::V5), &[0x9B])?;
    }

    /// [MQTT-3.2.2-12] A will above Maximum QoS is refused with the connection.
    #[versions(V5)]
    fn will_above_maximum_qos_is_refused(broker) {
        let maximum = below_qos_2(broker)?;
        let will = Will::new(&broker.topic("will"), "gone").qos(maximum + 1);
        let mut client = broker.send_connect(&broker.connect_options(Version::V5).will(will))?;
        expect_refusal(broker, &mut client, 0x9B)?;
    }

    /// [MQTT-3.2.2-13] A retained will is refused with the connection where nothing is retained.
    #[versions(V5)]
    fn retained_will_is_refused(broker) {
        let offered = broker.limits().offers(id::RETAIN_AVAILABLE);
        broker.need(!offered, "the broker offers retained messages")?;
        let will = Will::new(&broker.topic("will"), "gone").retain();
        let mut client = broker.send_connect(&broker.connect_options(Version::V5).will(will))?;
        expect_refusal(broker, &mut client, 0x9A)?;
    }

    /// [Q5-3.3.1.3-4, MQTT-4.13.1-1] RETAIN is rejected where nothing is retained.
    #[versions(V5)]
    fn retain_is_rejected(broker) {
        let offered = broker.limits().offers(id::RETAIN_AVAILABLE);
        broker.need(!offered, "the broker offers retained messages")?;
        let message = publish(&broker.topic("t"), "x").retain();
        broker.client()?.expect_rejected(&message.bytes(Version::V5), &[0x9A])?;
    }

    /// [Q5-3.2.2.3.11-1] A filter with wildcards is refused where there are none, in SUBACK or by a close.
    #[versions(V5)]
    fn wildcards_are_refused(broker) {
        let offered = broker.limits().offers(id::WILDCARD_SUBSCRIPTION_AVAILABLE);
        broker.need(!offered, "the broker offers wildcards")?;
        expect_subscription_refused(broker, &broker.topic("+"), 0xA2)?;
        expect_subscription_refused(broker, &broker.topic("#"), 0xA2)?;
    }

    /// v3.1.1 [MQTT-3.8.3-2] A filter with wildcards is refused where there are none.
    #[versions(V311)]
    fn wildcards_are_refused_in_v311(broker) {
        let offered = broker.limits().offers(id::WILDCARD_SUBSCRIPTION_AVAILABLE);
        broker.need(!offered, "the broker offers wildcards")?;
        expect_subscription_refused(broker, &broker.topic("+"), 0x80)?;
    }

    /// [Q5-3.2.2.3.13-1] A shared filter is refused where there are none, in SUBACK or by a close.
    #[versions(V5)]
    fn shared_filters_are_refused(broker) {
        let offered = broker.limits().offers(id::SHARED_SUBSCRIPTION_AVAILABLE);
        broker.need(!offered, "the broker offers shared subscriptions")?;
        expect_subscription_refused(broker, &format!("$share/g/{}", broker.topic("t")), 0x9E)?;
    }

    /// [Q5-3.2.2.3.12-1, MQTT-4.13.1-1] A subscription identifier is rejected where there are none.
    #[versions(V5)]
    fn subscription_ids_are_rejected(broker) {
        let offered = broker.limits().offers(id::SUBSCRIPTION_IDENTIFIERS_AVAILABLE);
        broker.need(!offered, "the broker offers subscription identifiers")?;
        let mut client = broker.client()?;
        let topic = broker.topic("t");
        client.send_subscribe(&[(&topic, 0)], |it| it.variable(id::SUBSCRIPTION_IDENTIFIER, 1));
        client.expect_error(&[0xA1])?;
    }

    /// [MQTT-3.2.2-21, Q5-3.2.2.3.14-1] A broker that sets the Keep Alive holds the client to that.
    #[versions(V5)]
    fn server_keep_alive_is_enforced(broker) {
        let mut client = broker.connect(|it| it.keep_alive(600))?;
        let granted = client.connack().properties.number(id::SERVER_KEEP_ALIVE);
        let is_short = granted.is_some_and(|secs| secs <= 2);
        broker.need(is_short, "the broker sets no Keep Alive that is short enough to wait for")?;
        client.expect_close_within(broker.keep_alive_patience())?;
    }

    /// [Q5-3.2.2.3.2-2] A broker that shortens the session expiry says so, and ends the session by then.
    #[versions(V5)]
    fn shortened_session_expiry_is_enforced(broker) {
        let client_id = broker.id();
        let client =
            broker.connect(|it| it.client_id(&client_id).resume().session_expiry(1_000))?;
        let granted = client.connack().properties.number(id::SESSION_EXPIRY_INTERVAL);
        let is_short = granted.is_some_and(|secs| secs <= 2);
        broker
            .need(is_short, "the broker sets no session expiry that is short enough to wait for")?;
        client.break_off()?;
        std::thread::sleep(std::time::Duration::from_millis(3_500));
        let client = broker.connect(|it| it.client_id(&client_id).resume())?;
        claim(!client.is_session_present(), "the session is still there")?;
    }
}

/// Returns the Maximum QoS, and skips the case if it is 2.
fn below_qos_2(broker: &Broker<'_>) -> Outcome<u8> {
    let maximum = broker.limits().qos_max();
    broker.need(maximum < 2, "the broker offers QoS 2")?;
    Ok(maximum)
}

/// Expects a CONNACK with this reason, or for other brokers a close without one.
#[track_caller]
fn expect_refusal(broker: &Broker<'_>, client: &mut Client, reason: u8) -> Outcome {
    match client.expect_close()?.as_slice() {
        [] => claim(!broker.is_quelea(), "closed without a CONNACK"),
        [Packet::ConnAck(connack)] if connack.reason == reason => Ok(()),
        [Packet::ConnAck(connack)] => claim(
            connack.reason >= 0x80 && !broker.is_quelea(),
            format!("CONNACK {:#04x} instead of {reason:#04x}", connack.reason),
        ),
        packets => claim(false, format!("got {packets:?}")),
    }
}

/// Expects a subscription to be refused by SUBACK, or by DISCONNECT, with this reason.
#[track_caller]
fn expect_subscription_refused(broker: &Broker<'_>, filter: &str, reason: u8) -> Outcome {
    let mut client = broker.client()?;
    client.send_subscribe(&[(filter, 0)], |it| it);
    match client.expect_close_or_packet()? {
        Some(Packet::SubAck(suback)) => claim_eq("results", suback.reasons, vec![reason]),
        Some(Packet::Disconnect(it)) => claim_eq("reason", it.reason, reason),
        None => claim(!broker.is_quelea(), "closed without a word"),
        Some(packet) => claim(false, format!("got {packet:?}")),
    }
}
