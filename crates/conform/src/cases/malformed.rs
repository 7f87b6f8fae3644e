//! Packets that no client may send once it is connected: bytes in, reason out.

use crate::case::{cases, claim};
use crate::exchange::reason::{MALFORMED_PACKET, PACKET_TOO_LARGE, PROTOCOL_ERROR};
use crate::wire::{Body, Packet, packet, property as id, publish};
use crate::{Broker, Failure, Outcome, Version};

use super::connect_format::ILL_FORMED;

cases! {
    /// [MQTT-2.1.3-1, Q5-2.1.3-1, MQTT-3.8.1-1, MQTT-3.10.1-1, MQTT-3.6.1-1, MQTT-3.14.1-1, MQTT-3.15.1-1]
    /// v3.1.1 [MQTT-2.2.2-1, MQTT-2.2.2-2, MQTT-3.6.1-1, MQTT-3.8.1-1, MQTT-3.10.1-1, MQTT-3.14.1-1] The flags of a
    /// first byte that are reserved have their fixed values.
    #[versions(V311, V5)]
    fn reserved_header_flags_are_rejected(broker) {
        let filter = broker.topic("t");
        let version = broker.version;
        let no_properties: &[u8] = if version.is_v5() { &[0] } else { &[] };
        let subscribe = Body::new().two(1).raw(no_properties).text(&filter).byte(0);
        let unsubscribe = Body::new().two(1).raw(no_properties).text(&filter);
        let ack = Body::new().two(1);
        let general = "[MQTT-2.1.3-1, Q5-2.1.3-1] v3.1.1 [MQTT-2.2.2-2]";
        let rows = [
            (0x40, 0x00, &ack, general),
            (0x50, 0x00, &ack, general),
            (0x60, 0x02, &ack, "[MQTT-3.6.1-1] v3.1.1 [MQTT-3.6.1-1]"),
            (0x70, 0x00, &ack, general),
            (0x80, 0x02, &subscribe, "[MQTT-3.8.1-1] v3.1.1 [MQTT-3.8.1-1]"),
            (0xA0, 0x02, &unsubscribe, "[MQTT-3.10.1-1] v3.1.1 [MQTT-3.10.1-1]"),
            (0xC0, 0x00, &Body::new(), general),
            (0xE0, 0x00, &Body::new(), "[MQTT-3.14.1-1] v3.1.1 [MQTT-3.14.1-1]"),
        ];
        for (packet_type, right, body, statements) in rows {
            for wrong in [right ^ 1, right ^ 2, right ^ 8] {
                let bytes = body.clone().packet(packet_type | wrong);
                broker.judge(statements, || reject(broker, &bytes, MALFORMED_PACKET))?;
            }
        }
        if version.is_v5() {
            broker.judge("[MQTT-3.15.1-1]", || reject(broker, &[0xF1, 0], MALFORMED_PACKET))?;
        }
    }

    /// [Q3-2.1-2] MQTT 3.1 does not use these flags, and does not ask for values of theirs.
    #[versions(V31)]
    fn unused_header_flags_are_disregarded_in_v31(broker) {
        let filter = broker.topic("t");
        let ack = Body::new().two(1);
        let mut client = broker.client()?;
        for flags in [1, 8, 0xF] {
            client.send(&ack.clone().packet(0x40 | flags));
            client.send(&ack.clone().packet(0x70 | flags));
            client.send(&Body::new().two(1).text(&filter).byte(0).packet(0x82 | flags));
            client.wait_for_suback(1)?;
            client.send(&Body::new().two(2).text(&filter).packet(0xA2 | flags));
            client.wait_for_unsuback(2)?;
            client.send(&[0xC0 | flags, 0]);
            let pong = client.expect_packet()?;
            claim(matches!(pong, Packet::PingResp), format!("got {pong:?}"))?;
        }
        client.send(&[0xE1, 0]);
        client.expect_close()?;
    }

    /// [Q5-2.1.2-1, Q4-2.2.1-1, Q3-2.1-1] Packet types that are reserved, or that only a server sends, are rejected.
    #[versions(V31, V311, V5)]
    fn packet_types_of_servers_are_rejected(broker) {
        let suback =
            Body::new().two(1).raw(if broker.version.is_v5() { &[0] } else { &[] }).byte(0);
        let connack = Body::new().raw(if broker.version.is_v5() { &[0, 0, 0] } else { &[0, 0] });
        reject_any(broker, &[0x00, 0], &[PROTOCOL_ERROR, MALFORMED_PACKET])?;
        if !broker.version.is_v5() {
            reject(broker, &[0xF0, 0], MALFORMED_PACKET)?;
        }
        broker.need_quelea("whether a server looks for packets that only servers send")?;
        let packets =
            [connack.packet(0x20), suback.clone().packet(0x90), suback.packet(0xB0), vec![0xD0, 0]];
        for bytes in packets {
            reject_any(broker, &bytes, &[PROTOCOL_ERROR, MALFORMED_PACKET])?;
        }
    }

    /// [Q5-1.5.5-1, Q4-2.2.3-1] A Remaining Length has at most four bytes.
    #[versions(V31, V311, V5)]
    fn remaining_length_of_five_bytes_is_rejected(broker) {
        reject(broker, &[0x30, 0x80, 0x80, 0x80, 0x80, 0x01], MALFORMED_PACKET)?;
        // The fourth byte says already that it is too long, but a receiver may wait for the fifth.
        if broker.is_quelea() {
            reject(broker, &[0x30, 0xFF, 0xFF, 0xFF, 0xFF], MALFORMED_PACKET)?;
        }
    }

    /// [MQTT-1.5.5-1] Variable Byte Integers are as short as they can be.
    #[versions(V5)]
    fn integers_longer_than_needed_are_rejected(broker) {
        broker.need_quelea("a receiver need not check that an integer is as short as it can be")?;
        reject(broker, &[0xC0, 0x80, 0x00], MALFORMED_PACKET)?;
        let filter = broker.topic("t");
        let long_length = Body::new().two(1).raw(&[0x80, 0x00]).text(&filter).byte(0);
        let long_id = Body::new()
            .two(1)
            .raw(&[3, id::SUBSCRIPTION_IDENTIFIER, 0x81, 0x00])
            .text(&filter)
            .byte(0);
        reject(broker, &long_length.packet(0x82), MALFORMED_PACKET)?;
        reject(broker, &long_id.packet(0x82), MALFORMED_PACKET)?;
    }

    /// [Q5-2.1-1, Q4-2.1-1] Packets that end before their fields do, or go on after them, are rejected.
    #[versions(V31, V311, V5)]
    fn packets_of_wrong_length_are_rejected(broker) {
        let rows: [&[u8]; 15] = [
            &[0x30, 0],
            &[0x30, 1, 0],
            &[0x30, 3, 0, 2, b'a'],
            &[0x32, 3, 0, 1, b'a'],
            &[0x32, 4, 0, 1, b'a', 0],
            &[0x40, 0],
            &[0x40, 1, 0],
            &[0x50, 1, 0],
            &[0x62, 1, 0],
            &[0x70, 0],
            &[0x82, 0],
            &[0x82, 1, 0],
            &[0xA2, 1, 0],
            &[0xC0, 1, 0],
            &[0xA2, 4, 0, 1, 0, 5],
        ];
        for bytes in rows {
            // A packet with bytes too many can be understood, and a server may be lenient.
            if bytes[0] != 0xC0 || broker.is_quelea() {
                reject_any(broker, bytes, &[MALFORMED_PACKET, PROTOCOL_ERROR])?;
            }
        }
    }

    /// [MQTT-3.3.1-4, Q5-3.3.1.2-1] v3.1.1 [MQTT-3.3.1-4] There is no QoS 3.
    #[versions(V31, V311, V5)]
    fn publish_of_qos_3_is_rejected(broker) {
        let message = publish(&broker.topic("t"), "x").qos(3).packet_id(1);
        reject(broker, &message.bytes(broker.version), MALFORMED_PACKET)?;
    }

    /// [MQTT-3.3.1-2] v3.1.1 [MQTT-3.3.1-2] A PUBLISH of QoS 0 has no DUP.
    #[versions(V311, V5)]
    fn publish_of_qos_0_with_dup_is_rejected(broker) {
        broker.need_quelea("the texts bind the sender only")?;
        let message = publish(&broker.topic("t"), "x").dup();
        reject_any(broker, &message.bytes(broker.version), &[PROTOCOL_ERROR, MALFORMED_PACKET])?;
    }

    /// [MQTT-2.2.1-3] v3.1.1 [MQTT-2.3.1-1] Packet identifiers are not zero.
    #[versions(V31, V311, V5)]
    fn packet_id_0_is_rejected(broker) {
        let filter = broker.topic("t");
        let start =
            Body::new().two(0).raw(if broker.version.is_v5() { &[0] } else { &[] }).text(&filter);
        let message = publish(&filter, "x");
        let rows = [
            message.clone().qos(1).bytes(broker.version),
            message.qos(2).bytes(broker.version),
            start.clone().byte(0).packet(0x82),
            start.packet(0xA2),
        ];
        for bytes in rows {
            reject_any(broker, &bytes, &[PROTOCOL_ERROR, MALFORMED_PACKET])?;
        }
    }

    /// [MQTT-3.3.2-2, MQTT-4.7.0-1] v3.1.1 [MQTT-3.3.2-2, MQTT-4.7.1-1] A topic name has no wildcard.
    #[versions(V31, V311, V5)]
    fn wildcard_in_topic_name_is_rejected(broker) {
        for topic in ["#", "+", "a/+/b", "a/#", "a+", "#a"] {
            let bytes = publish(topic, "x").bytes(broker.version);
            reject_any(broker, &bytes, &[MALFORMED_PACKET, 0x90, PROTOCOL_ERROR])?;
        }
    }

    /// [MQTT-3.3.2-2, MQTT-4.7.1-1] Quelea's choice: a wildcard in a topic name can be parsed and is not allowed, a
    /// wrongly formed filter is malformed; Topic Name invalid and Topic Filter invalid are for correct ones that
    /// are not accepted.
    #[versions(V5)]
    fn topics_of_wrong_form_have_their_reason_codes(broker) {
        broker.need_quelea("which reason code a topic of wrong form gets")?;
        for topic in ["#", "a/+/b"] {
            let publish = publish(topic, "x");
            reject(broker, &publish.clone().bytes(Version::V5), PROTOCOL_ERROR)?;
            reject(broker, &publish.qos(1).packet_id(1).bytes(Version::V5), PROTOCOL_ERROR)?;
        }
        for filter in ["a#", "a/#/b", "a+", "$share/g"] {
            let body = Body::new().two(1).raw(&[0]).text(filter);
            reject(broker, &body.clone().byte(0).packet(0x82), MALFORMED_PACKET)?;
            reject(broker, &body.packet(0xA2), MALFORMED_PACKET)?;
        }
    }

    /// [MQTT-4.7.3-1, Q5-3.3.2.1-1] v3.1.1 [MQTT-4.7.3-1, MQTT-3.3.2-1] A topic name has at least one character, unless a topic
    /// alias stands for it.
    #[versions(V31, V311, V5)]
    fn empty_topic_name_is_rejected(broker) {
        reject(broker, &publish("", "x").bytes(broker.version), PROTOCOL_ERROR)?;
    }

    /// [MQTT-4.7.3-1] v3.1.1 [MQTT-4.7.3-1] A topic filter has at least one character.
    #[versions(V31, V311, V5)]
    fn empty_topic_filter_is_rejected(broker) {
        reject_filter(broker, b"", |broker, bytes| {
            reject_any(broker, bytes, &[MALFORMED_PACKET, PROTOCOL_ERROR])
        })?;
    }

    /// [MQTT-1.5.4-1, MQTT-1.5.4-2, MQTT-3.3.2-1, MQTT-3.8.3-1, MQTT-3.10.3-1, MQTT-4.7.3-2] v3.1.1 [MQTT-1.5.3-1,
    /// MQTT-1.5.3-2, MQTT-3.3.2-1, MQTT-3.8.3-1, MQTT-3.10.3-1, MQTT-4.7.3-2] Topics are UTF-8 without U+0000.
    #[versions(V31, V311, V5)]
    fn ill_formed_topics_are_rejected(broker) {
        if broker.version == Version::V31 {
            broker.need_quelea("3.1 does not say what happens to strings that are not UTF-8")?;
        }
        let no_properties: &[u8] = if broker.version.is_v5() { &[0] } else { &[] };
        for text in ILL_FORMED {
            let of_text = match text.contains(&0) {
                true => "[MQTT-1.5.4-2, MQTT-4.7.3-2] v3.1.1 [MQTT-1.5.3-2, MQTT-4.7.3-2]",
                false => "[MQTT-1.5.4-1] v3.1.1 [MQTT-1.5.3-1]",
            };
            let body = Body::new().two(1).raw(no_properties).binary(text);
            let message = Body::new().binary(text).raw(no_properties).raw(b"x");
            let rows = [
                ("[MQTT-3.3.2-1] v3.1.1 [MQTT-3.3.2-1]", message.packet(0x30)),
                ("[MQTT-3.8.3-1] v3.1.1 [MQTT-3.8.3-1]", body.clone().byte(0).packet(0x82)),
                ("[MQTT-3.10.3-1] v3.1.1 [MQTT-3.10.3-1]", body.packet(0xA2)),
            ];
            for (of_packet, bytes) in rows {
                broker.judge_all(&[of_packet, of_text], || {
                    reject(broker, &bytes, MALFORMED_PACKET)
                })?;
            }
        }
    }

    /// [MQTT-3.8.3-2, Q5-3.8.3-1, MQTT-3.10.3-2, Q5-3.10.3-1, MQTT-4.13.1-1] v3.1.1 [MQTT-3.8.3-3, MQTT-3.10.3-2,
    /// MQTT-4.8.0-1] SUBSCRIBE and UNSUBSCRIBE name one filter at least, SUBSCRIBE with its options.
    #[versions(V31, V311, V5)]
    fn subscribe_without_filters_is_rejected(broker) {
        if broker.version == Version::V31 {
            broker.need_quelea("3.1 does not say that there must be a filter")?;
        }
        let body = Body::new().two(1).raw(if broker.version.is_v5() { &[0] } else { &[] });
        let no_options = body.clone().text(&broker.topic("t")).packet(0x82);
        broker.judge("[MQTT-3.8.3-2, Q5-3.8.3-1] v3.1.1 [MQTT-3.8.3-3, MQTT-4.8.0-1]", || {
            reject(broker, &body.clone().packet(0x82), PROTOCOL_ERROR)?;
            reject(broker, &no_options, MALFORMED_PACKET)
        })?;
        broker.judge("[MQTT-3.10.3-2, Q5-3.10.3-1] v3.1.1 [MQTT-3.10.3-2, MQTT-4.8.0-1]", || {
            reject(broker, &body.packet(0xA2), PROTOCOL_ERROR)
        })?;
    }

    /// [MQTT-3.8.3-5, Q5-3.8.3.1-1, Q5-3.8.3.1-2] v3.1.1 [MQTT-3-8.3-4] The options of a subscription have no QoS 3, no
    /// Retain Handling 3, and zeros in what is reserved.
    #[versions(V311, V5)]
    fn wrong_subscription_options_are_rejected(broker) {
        let rows: &[(u8, &[u8])] = if broker.version.is_v5() {
            &[
                (0x03, &[PROTOCOL_ERROR, MALFORMED_PACKET]),
                (0x30, &[PROTOCOL_ERROR, MALFORMED_PACKET]),
                (0x40, &[MALFORMED_PACKET]),
                (0x80, &[MALFORMED_PACKET]),
                (0xC1, &[MALFORMED_PACKET]),
            ]
        } else {
            &[
                (3, &[]),
                (4, &[]),
                (8, &[]),
                (0x10, &[]),
                (0x20, &[]),
                (0x40, &[]),
                (0x81, &[]),
                (0xFC, &[]),
            ]
        };
        for (options, reasons) in rows {
            let properties: &[u8] = if broker.version.is_v5() { &[0] } else { &[] };
            let body = Body::new().two(1).raw(properties).text(&broker.topic("t")).byte(*options);
            reject_any(broker, &body.packet(0x82), reasons)?;
        }
    }

    /// [MQTT-4.7.1-1, MQTT-4.7.1-2] v3.1.1 [MQTT-4.7.1-2, MQTT-4.7.1-3] Wildcards stand alone on their level, `#` at the end.
    #[versions(V31, V311, V5)]
    fn wrong_wildcards_in_filters_are_rejected(broker) {
        for filter in ["a#", "#a", "a/#/b", "#/", "##", "a/##", "a/+#", "+#"] {
            broker.judge("[MQTT-4.7.1-1] v3.1.1 [MQTT-4.7.1-2]", || {
                refuse_filter(broker, filter)
            })?;
        }
        for filter in ["a+", "+a", "a/b+/c", "++"] {
            broker.judge("[MQTT-4.7.1-2] v3.1.1 [MQTT-4.7.1-3]", || {
                refuse_filter(broker, filter)
            })?;
        }
    }

    /// [MQTT-4.8.2-1, MQTT-4.8.2-2] A shared subscription has a share name without wildcards, and a filter after it.
    #[versions(V5)]
    fn wrong_shared_filters_are_rejected(broker) {
        broker.need_shared()?;
        broker.judge("[MQTT-4.8.2-1]", || refuse_filter(broker, "$share//t"))?;
        for filter in
            ["$share/a+/t", "$share/#/t", "$share/a#b/t", "$share/group", "$share/group/"]
        {
            broker.judge("[MQTT-4.8.2-2]", || refuse_filter(broker, filter))?;
        }
    }

    /// [MQTT-3.8.3-4] A shared subscription cannot have No Local.
    #[versions(V5)]
    fn no_local_on_a_shared_subscription_is_rejected(broker) {
        broker.need_shared()?;
        let filter = format!("$share/group/{}", broker.topic("t"));
        let body = Body::new().two(1).raw(&[0]).text(&filter).byte(0x04);
        reject(broker, &body.packet(0x82), PROTOCOL_ERROR)?;
    }

    /// [MQTT-4.13.1-1, Q5-3.2.2.3.6-1] A packet larger than the server accepts is rejected, before it has come whole.
    #[versions(V5)]
    fn packet_larger_than_the_limit_is_rejected(broker) {
        let Some(limit) = broker.limits().packet_bytes_max().filter(|it| *it < 268_435_455) else {
            return Err(Failure::skipped("the broker sets no limit"));
        };
        let mut client = broker.client()?;
        // A packet of one byte more than the limit, as far as its topic.
        let mut bytes = packet(0x30, &vec![0; limit as usize]);
        bytes.truncate(40);
        client.send(&bytes);
        client.end_sending();
        client.expect_error(&[PACKET_TOO_LARGE])?;
    }

    /// [MQTT-3.4.2-1, MQTT-3.5.2-1, MQTT-3.6.2-1, MQTT-3.7.2-1, MQTT-3.14.2-1] Reason codes come from the table of their packet.
    #[versions(V5)]
    fn reason_codes_of_other_packets_are_rejected(broker) {
        broker.need_quelea("the text does not say that a receiver checks reason codes")?;
        let rows = [(0x40, 0x92), (0x50, 0x01), (0x62, 0x80), (0x70, 0x10), (0xE0, 0x01)];
        for (first_byte, reason) in rows {
            let body = if first_byte == 0xE0 { Body::new() } else { Body::new().two(1) };
            let bytes = body.byte(reason).packet(first_byte);
            reject_any(broker, &bytes, &[MALFORMED_PACKET, PROTOCOL_ERROR])?;
        }
    }

    /// [Q5-4.13.1-1, Q4-4.8-1] An error on one connection has no consequences for the others.
    #[versions(V31, V311, V5)]
    fn errors_do_not_touch_other_connections(broker) {
        let topic = broker.topic("t");
        let mut witness = broker.client()?;
        witness.subscribe(&topic, 0)?;
        reject(broker, &publish("", "x").bytes(broker.version), PROTOCOL_ERROR)?;
        broker.client()?.publish(publish(&topic, "still here"))?;
        witness.expect_publish("still here")?;
        claim(witness.expect_silence().is_ok(), "the witness was disturbed")?;
    }
}

/// Connects, sends bytes, and expects to be thrown out with `reason`.
#[track_caller]
pub(super) fn reject(broker: &Broker<'_>, bytes: &[u8], reason: u8) -> Outcome {
    reject_any(broker, bytes, &[reason])
}

/// Connects, sends bytes, and expects to be thrown out with one of `reasons`.
#[track_caller]
pub(super) fn reject_any(broker: &Broker<'_>, bytes: &[u8], reasons: &[u8]) -> Outcome {
    let mut client = broker.client()?;
    match client.expect_rejected(bytes, reasons) {
        Err(Failure::Broken { what, at }) => {
            Err(Failure::Broken { what: format!("after {bytes:02x?}: {what}"), at })
        }
        outcome => outcome,
    }
}

/// Uses a filter in a SUBSCRIBE and in an UNSUBSCRIBE.
#[track_caller]
fn reject_filter(
    broker: &Broker<'_>,
    filter: &[u8],
    reject: impl Fn(&Broker<'_>, &[u8]) -> Outcome,
) -> Outcome {
    let body =
        Body::new().two(1).raw(if broker.version.is_v5() { &[0] } else { &[] }).binary(filter);
    reject(broker, &body.clone().byte(0).packet(0x82))?;
    reject(broker, &body.packet(0xA2))
}

/// Expects that a wrongly formed filter is not subscribed to: by a close, or by a SUBACK that says so.
#[track_caller]
fn refuse_filter(broker: &Broker<'_>, filter: &str) -> Outcome {
    let mut client = broker.client()?;
    client.send_subscribe(&[(filter, 0)], |it| it);
    match client.expect_close_or_packet()? {
        Some(Packet::SubAck(suback)) => {
            let is_refused = suback.reasons.iter().all(|it| *it >= 0x80);
            claim(
                is_refused && !broker.is_quelea(),
                format!("{filter:?} was answered with {suback:?}"),
            )
        }
        Some(Packet::Disconnect(_)) if broker.version.is_v5() => client.expect_close().map(drop),
        Some(packet) => claim(false, format!("{filter:?} was answered with {packet:?}")),
        None => claim(
            !broker.is_quelea() || !broker.version.is_v5(),
            format!("{filter:?} was answered by a close without DISCONNECT"),
        ),
    }
}
