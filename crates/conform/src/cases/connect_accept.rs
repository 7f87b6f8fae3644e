//! What a correct CONNECT leads to.

use crate::case::{cases, claim, claim_eq};
use crate::wire::{Packet, Publish, property as id, publish};
use crate::{Client, Failure, Outcome, Version};

cases! {
    /// [MQTT-3.1.4-5, MQTT-3.2.0-2, MQTT-3.2.2-1, MQTT-4.2-1] v3.1.1 [MQTT-3.1.4-4, MQTT-3.2.0-1, MQTT-7.1.1-1] A CONNECT is answered by one
    /// CONNACK of success.
    #[versions(V31, V311, V5)]
    fn connect_is_accepted(broker) {
        let mut client = broker.client()?;
        claim(!client.is_session_present(), "Session Present for a client that nobody knows")?;
        client.expect_silence()?;
    }

    /// [MQTT-3.2.0-1, Q5-3.1.4-1] v3.1.1 [MQTT-3.2.0-1] [Q4-3.1.4-1] A client need not wait for CONNACK, which comes
    /// before all else.
    #[versions(V31, V311, V5)]
    fn packets_may_follow_connect_at_once(broker) {
        broker.need_qos(1)?;
        let topic = broker.topic("t");
        let mut client = broker.open()?;
        let mut bytes = broker.connect_options(broker.version).bytes();
        bytes.extend([0xC0, 0]);
        bytes.extend(publish(&topic, "early").qos(1).packet_id(9).bytes(broker.version));
        client.send(&bytes);
        client.expect_accepted()?;
        client.wait_for("PINGRESP", |it| matches!(it, Packet::PingResp).then_some(()))?;
        client.wait_for_puback(9)?;
    }

    /// [MQTT-3.1.3-5] v3.1.1 [MQTT-3.1.3-5] Client identifiers of up to 23 letters and digits are accepted.
    #[versions(V31, V311, V5)]
    fn client_ids_of_23_letters_and_digits_are_accepted(broker) {
        let alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        for start in (0..alphabet.len()).step_by(10) {
            let part = alphabet.get(start..start + 10).unwrap_or(&alphabet[start..]);
            let mut client_id = format!("{part}{}", broker.id());
            while client_id.len() < 23 {
                client_id.push('Z');
            }
            client_id.truncate(23);
            broker.connect(|it| it.client_id(&client_id))?.disconnect()?;
        }
    }

    /// [MQTT-3.1.3-6, MQTT-3.1.3-7, MQTT-3.2.2-16] A client without an identifier is given one that is its own.
    #[versions(V5)]
    fn empty_client_id_is_replaced(broker) {
        let mut first = broker
            .send_connect(&broker.connect_options(Version::V5).client_id("").session_expiry(60))?;
        skip_if_refused(&mut first)?;
        let first_id = assigned_id(&first)?;
        let second_id = assigned_id(&broker.connect(|it| it.client_id(""))?)?;
        claim(first_id != second_id, format!("both clients were named {first_id}"))?;
        first.disconnect()?;
        let resumed = broker.connect(|it| it.client_id(&first_id).keep_session())?;
        claim(
            resumed.is_session_present(),
            "the assigned identifier does not lead to the session",
        )?;
    }

    /// [Q5-3.2.2.3.7-1] A client that has an identifier is not given another.
    #[versions(V5)]
    fn client_id_is_not_replaced(broker) {
        let client = broker.client()?;
        let assigned = client.connack().properties.text(id::ASSIGNED_CLIENT_IDENTIFIER);
        claim_eq("Assigned Client Identifier", assigned, None)?;
    }

    /// v3.1.1 [MQTT-3.1.3-6] Clients without an identifier, if accepted, do not share one.
    #[versions(V311)]
    fn empty_client_ids_do_not_meet(broker) {
        let connect = broker.connect_options(Version::V311).client_id("");
        let mut first = broker.send_connect(&connect)?;
        skip_if_refused(&mut first)?;
        broker.connect(|it| it.client_id(""))?.ping()?;
        first.expect_silence()?;
    }

    /// v3.1.1 [MQTT-3.1.3-8, MQTT-3.1.3-9, MQTT-3.2.2-4, MQTT-3.2.2-5] An empty client identifier with Clean Session 0
    /// is refused with 0x02.
    #[versions(V311)]
    fn empty_client_id_needs_a_clean_session(broker) {
        let connect = broker.connect_options(Version::V311).client_id("").resume();
        let mut client = broker.send_connect(&connect)?;
        broker.turn_to("v3.1.1 [MQTT-3.1.3-8]");
        match client.expect_close_or_packet()? {
            Some(Packet::ConnAck(connack)) => claim_eq("return code", connack.reason, 2)?,
            other => claim(false, format!("expected a CONNACK, got {other:?}"))?,
        }
        broker.turn_to("v3.1.1 [MQTT-3.1.3-8, MQTT-3.1.3-9, MQTT-3.2.2-4, MQTT-3.2.2-5]");
        client.expect_silent_close()?;
    }

    /// [MQTT-3.2.2-2, MQTT-3.2.2-3] v3.1.1 [MQTT-3.2.2-1, MQTT-3.2.2-2, MQTT-3.2.2-3] Session Present tells whether a
    /// session was taken up.
    #[versions(V311, V5)]
    fn session_present_is_true(broker) {
        let client_id = broker.id();
        let mut first = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        broker.judge("[MQTT-3.2.2-3] v3.1.1 [MQTT-3.2.2-3]", || {
            claim(!first.is_session_present(), "Session Present, and there was none")
        })?;
        // Something to keep: whether an empty session is one is another question.
        first.subscribe(&broker.topic("t"), 0)?;
        first.disconnect()?;
        let second = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        broker.judge("[MQTT-3.2.2-2] v3.1.1 [MQTT-3.2.2-2]", || {
            claim(second.is_session_present(), "no Session Present, and there was one")
        })?;
        second.disconnect()?;
        let clean = broker.connect(|it| it.client_id(&client_id))?;
        broker.judge("[MQTT-3.2.2-2] v3.1.1 [MQTT-3.2.2-1]", || {
            claim(!clean.is_session_present(), "Session Present after a clean start")
        })?;
    }

    /// [MQTT-3.1.3-1] v3.1.1 [MQTT-3.1.3-1] The fields of the payload are taken in their order.
    #[versions(V31, V311, V5)]
    fn all_connect_fields_are_understood(broker) {
        let topic = broker.topic("will");
        let mut watcher = broker.client()?;
        watcher.subscribe(&topic, 0)?;
        // Another user may have other rights.
        let named = broker.connect_options(broker.version).username("name").password(b"secret");
        let mut client = broker.send_connect(&named)?;
        skip_if_refused(&mut client)?;
        client.publish(publish(&topic, "allowed"))?;
        let is_allowed = watcher.expect_publish("allowed").is_ok();
        broker.need(is_allowed, "such a user may not publish here")?;
        let will = crate::connect::Will::new(&topic, "last words");
        let mut client = broker.send_connect(&named.client_id(&broker.id()).will(will))?;
        skip_if_refused(&mut client)?;
        client.break_off()?;
        watcher.expect_publish("last words")?;
    }

    /// [Q5-3.1.2.9-1] A password needs no user name.
    #[versions(V5)]
    fn password_alone_is_accepted(broker) {
        let connect = broker.connect_options(Version::V5).password(b"secret");
        let mut client = broker.send_connect(&connect)?;
        skip_if_refused(&mut client)?;
        client.expect_silence()?;
    }

    /// [MQTT-3.1.2-28] Response Information is sent only to a client that asked for it.
    #[versions(V5)]
    fn response_information_is_not_sent_unasked(broker) {
        let plain = broker.client()?;
        let refusing = broker
            .connect(|it| it.properties(|it| it.byte(id::REQUEST_RESPONSE_INFORMATION, 0)))?;
        for client in [plain, refusing] {
            let information = client.connack().properties.text(id::RESPONSE_INFORMATION);
            claim_eq("Response Information", information, None)?;
        }
    }

    /// [Q5-3.1.2.11.8-1] All properties of CONNECT are understood, and User Properties may be repeated.
    #[versions(V5)]
    fn all_connect_properties_are_accepted(broker) {
        let mut client = broker.connect(|it| {
            it.session_expiry(0)
                .receive_maximum(10)
                .packet_bytes_max(100_000)
                .topic_alias_maximum(5)
                .properties(|it| {
                    it.byte(id::REQUEST_RESPONSE_INFORMATION, 1)
                        .byte(id::REQUEST_PROBLEM_INFORMATION, 1)
                        .pair("name", "first")
                        .pair("name", "first")
                        .pair("", "")
                })
        })?;
        client.expect_silence()?;
    }

    /// [Q5-3.2.2.3-1] What CONNACK announces keeps to the ranges of its properties.
    #[versions(V5)]
    fn connack_properties_are_in_range(broker) {
        // The reader refuses what is not; the limits that remain are those that need the CONNECT.
        let client = broker.connect(|it| it.session_expiry(30))?;
        let granted = client.connack().properties.number(id::SESSION_EXPIRY_INTERVAL).unwrap_or(30);
        claim(granted <= 30, format!("a session expiry of {granted} s where 30 s were asked for"))?;
    }

    /// [MQTT-3.2.2-19, MQTT-3.2.2-20] CONNACK is not made larger than the client accepts by words about the result.
    #[versions(V5)]
    fn connack_keeps_to_maximum_packet_size(broker) {
        let mut client =
            broker.send_connect(&broker.connect_options(Version::V5).packet_bytes_max(64))?;
        match client.expect_close_or_packet()? {
            Some(Packet::ConnAck(connack)) => {
                let size = connack.packet_bytes;
                claim(
                    size <= 64 || !connack.properties.has_problem_information(),
                    format!("CONNACK of {size} bytes"),
                )?;
            }
            Some(packet) => {
                return Err(Failure::broken(format!("expected a CONNACK, got {packet:?}")));
            }
            None => {}
        }
    }

    /// [Q3-3.1-1] A client identifier of 3.1 has at least one character; an empty one is refused with 0x02.
    #[versions(V31)]
    fn empty_client_id_is_refused_in_v31(broker) {
        let connect = broker.connect_options(Version::V31).client_id("");
        broker.send_connect(&connect)?.expect_refused(&[2])?;
    }

    /// [Q3-3.2-1] The first byte of a CONNACK of 3.1 is reserved: it is zero although a session is taken up.
    #[versions(V31)]
    fn connack_has_no_session_present_in_v31(broker) {
        let client_id = broker.id();
        // The reader refuses a byte that is not zero.
        broker.connect(|it| it.client_id(&client_id).keep_session())?.disconnect()?;
        broker.connect(|it| it.client_id(&client_id).keep_session())?.disconnect()?;
    }

    /// [Q3-3.1-2] A client identifier of more than 23 characters is accepted, as in the later versions.
    #[versions(V31)]
    fn long_client_id_is_accepted_in_v31(broker) {
        broker.need_quelea("3.1 lets a server refuse identifiers of more than 23 characters")?;
        let client_id = format!("{}{}", broker.id(), "x".repeat(40));
        broker.connect(|it| it.client_id(&client_id))?.expect_silence()?;
    }

    /// [Q5-1.5.4-1] v3.1.1 [MQTT-1.5.3-3] [MQTT-1.5.4-3] Characters beyond ASCII, U+FEFF among them, are kept as they are.
    #[versions(V31, V311, V5)]
    fn unicode_topics_pass_unchanged(broker) {
        let mut client = broker.client()?;
        for text in ["\u{FEFF}", "a\u{FEFF}b", "\u{2A6D4}", "ö€𝄞", "o\u{308}", "\u{10FFFD}"] {
            let topic = broker.topic(text);
            client.subscribe(&topic, 0)?;
            client.send_publish(publish(&topic, "x"));
            let got: Publish = client.expect_publish("x")?;
            claim_eq("topic", got.topic, topic)?;
        }
        // The byte order mark is part of the name.
        client.send_publish(publish(&broker.topic("ab"), "other"));
        client.expect_silence()?;
    }
}

/// Skips the case if the broker refuses the client with a code that policy may have.
#[track_caller]
fn skip_if_refused(client: &mut Client) -> Outcome {
    match client.expect_packet()? {
        Packet::ConnAck(connack) if connack.reason == 0 => {
            client.accept(connack);
            Ok(())
        }
        Packet::ConnAck(connack) => {
            Err(Failure::skipped(format!("the broker refuses it with {:#04x}", connack.reason)))
        }
        packet => Err(Failure::broken(format!("expected a CONNACK, got {packet:?}"))),
    }
}

#[track_caller]
fn assigned_id(client: &Client) -> Outcome<String> {
    let assigned = client.connack().properties.text(id::ASSIGNED_CLIENT_IDENTIFIER);
    let assigned = assigned.filter(|it| !it.is_empty());
    assigned.map(str::to_owned).ok_or_else(|| Failure::broken("no Assigned Client Identifier"))
}
