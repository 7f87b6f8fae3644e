//! DISCONNECT, and enhanced authentication as far as any server is bound by it.

use crate::case::{cases, claim, claim_eq};
use crate::exchange::reason::{BAD_AUTHENTICATION_METHOD, MALFORMED_PACKET, PROTOCOL_ERROR};
use crate::wire::{Body, Packet, Properties, property as id, publish};
use crate::{Failure, Version};

cases! {
    /// [Q5-3.14.4-1, MQTT-4.13.2-1, Q4-3.14.4-1, Q3-3.14-1] A DISCONNECT is answered by a close, and nothing else.
    #[versions(V31, V311, V5)]
    fn disconnect_is_answered_by_a_close(broker) {
        let mut client = broker.client()?;
        client.send(&[0xE0, 0]);
        // A server should close, but the client has to.
        if !broker.is_quelea() {
            client.end_sending();
        }
        client.expect_silent_close()?;
    }

    /// [Q5-3.14.4-2, Q4-3.14.4-2] What follows a DISCONNECT is not processed.
    #[versions(V31, V311, V5)]
    fn packets_after_disconnect_are_ignored(broker) {
        let topic = broker.topic("t");
        let mut watcher = broker.client()?;
        watcher.subscribe(&topic, 0)?;
        let mut client = broker.client()?;
        let mut bytes = vec![0xE0, 0];
        bytes.extend(publish(&topic, "too late").bytes(broker.version));
        client.send(&bytes);
        client.end_sending();
        client.expect_close()?;
        let mut publisher = broker.client()?;
        watcher.expect_silence_after(&mut publisher)?;
    }

    /// [Q5-3.14.2-1] DISCONNECT may leave out its reason code and its properties, or have them.
    #[versions(V5)]
    fn disconnects_of_all_lengths_are_understood(broker) {
        let words = Properties::new().text(id::REASON_STRING, "bye").pair("a", "1").pair("a", "1");
        let packets = [
            vec![0xE0, 0],
            vec![0xE0, 1, 0],
            vec![0xE0, 2, 0, 0],
            Body::new().byte(0).properties(&words).packet(0xE0),
        ];
        for packet in packets {
            let mut client = broker.client()?;
            client.send(&packet);
            client.end_sending();
            client.expect_silent_close()?;
        }
    }

    /// [MQTT-3.14.4-1, MQTT-3.14.4-2, MQTT-3.2.2-7, MQTT-4.13.2-1, MQTT-3.14.2-1, MQTT-3.14.2-2] A DISCONNECT of the server is the last it sends.
    #[versions(V5)]
    fn disconnect_of_the_server_is_the_last_packet(broker) {
        let topic = broker.topic("t");
        let mut client = broker.client()?;
        client.subscribe(&topic, 0)?;
        let mut bytes = publish("#", "wrong").bytes(Version::V5);
        bytes.extend(publish(&topic, "after the error").bytes(Version::V5));
        bytes.extend([0xC0, 0]);
        client.send(&bytes);
        let packets = client.expect_close()?;
        let after = packets
            .iter()
            .position(|it| matches!(it, Packet::Disconnect(_)))
            .map_or(0, |it| it + 1);
        let is_last = after == packets.len() || packets.is_empty();
        claim(is_last, format!("got {packets:?}"))?;
    }

    /// [MQTT-4.12.0-1, MQTT-4.12.0-4, MQTT-3.2.2-6, MQTT-3.2.2-7, MQTT-3.2.2-8] An authentication method that the server does not know
    /// is refused, and the connection closed.
    #[versions(V5)]
    fn unknown_authentication_method_is_refused(broker) {
        let connect = broker.connect_options(Version::V5);
        let connect = connect.properties(|it| {
            it.text(id::AUTHENTICATION_METHOD, "quelea-conform-unknown")
                .binary(id::AUTHENTICATION_DATA, b"data")
        });
        let mut client = broker.send_connect(&connect)?;
        let packets = client.expect_close()?;
        match packets.as_slice() {
            [] => claim(!broker.is_quelea(), "closed without a CONNACK")?,
            [Packet::ConnAck(connack)] => {
                let reasons: &[u8] =
                    if broker.is_quelea() { &[BAD_AUTHENTICATION_METHOD] } else { &[0x8C, 0x87] };
                claim(reasons.contains(&connack.reason), format!("got {connack:?}"))?;
            }
            _ => claim(false, format!("got {packets:?}"))?,
        }
    }

    /// [MQTT-4.12.0-6] A client without an authentication method is sent no AUTH, and no method in CONNACK.
    #[versions(V5)]
    fn plain_client_is_not_asked_to_authenticate(broker) {
        let mut client = broker.client()?;
        let method = client.connack().properties.text(id::AUTHENTICATION_METHOD);
        claim_eq("Authentication Method", method, None)?;
        client.expect_silence()?;
    }

    /// [Q5-3.15-1, MQTT-4.12.0-7] An AUTH of a client that gave no authentication method is an error.
    #[versions(V5)]
    fn auth_without_a_method_is_rejected(broker) {
        let properties = Properties::new().text(id::AUTHENTICATION_METHOD, "method");
        for reason in [0x18, 0x19] {
            let packet = Body::new().byte(reason).properties(&properties).packet(0xF0);
            broker.client()?.expect_rejected(&packet, &[PROTOCOL_ERROR])?;
        }
        broker.client()?.expect_rejected(&[0xF0, 0], &[PROTOCOL_ERROR])?;
    }

    /// [Q5-3.15.2.2-1, Q5-2.2.2.2-1] AUTH takes its properties from the table.
    #[versions(V5)]
    fn auth_with_wrong_properties_is_rejected(broker) {
        let twice = Properties::new()
            .text(id::AUTHENTICATION_METHOD, "m")
            .text(id::AUTHENTICATION_METHOD, "m");
        let foreign =
            Properties::new().text(id::AUTHENTICATION_METHOD, "m").two(id::TOPIC_ALIAS, 1);
        for properties in [twice, foreign] {
            let packet = Body::new().byte(0x18).properties(&properties).packet(0xF0);
            broker.client()?.expect_rejected(&packet, &[PROTOCOL_ERROR, MALFORMED_PACKET])?;
        }
    }

    /// v3.1.1 [MQTT-3.3.5-2] A message that a 3.x client may not publish is acknowledged, or the connection closed.
    #[versions(V31, V311)]
    fn denied_publish_is_acknowledged_or_closed(broker) {
        let mut client = broker.client()?;
        client.send_publish(publish("$SYS/quelea-conform", "forged").qos(1).packet_id(4));
        match client.expect_close_or_packet()? {
            None => {}
            Some(Packet::PubAck(ack)) => claim_eq("packet identifier", ack.packet_id, 4)?,
            Some(packet) => return Err(Failure::broken(format!("got {packet:?}"))),
        }
    }

    /// [MQTT-4.3.3-9, MQTT-3.4.2-1, MQTT-3.5.2-1, Q5-4.13.2-1] A message that a 5.0 client may not publish is refused in its acknowledgement, and the connection stays.
    #[versions(V5)]
    fn denied_publish_is_refused(broker) {
        broker.need_quelea("whether clients may publish to `$SYS`")?;
        let mut client = broker.client()?;
        let id = client.send_publish(publish("$SYS/quelea-conform", "forged").qos(1));
        claim_eq("PUBACK", client.wait_for_puback(id)?.reason, 0x87)?;
        let id = client.send_publish(publish("$SYS/quelea-conform", "forged").qos(2));
        claim_eq("PUBREC", client.wait_for_pubrec(id)?.reason, 0x87)?;
        client.expect_silence()?;
        // The identifier is free: the exchange is over with the refusal.
        let id = client.send_publish(publish(&broker.topic("t"), "x").qos(2).packet_id(id));
        let pubrec = client.wait_for_pubrec(id)?;
        claim(pubrec.reason < 0x80, format!("got {pubrec:?}"))?;
    }
}
