//! CONNECT packets that no client may send.

use crate::case::{cases, claim};
use crate::exchange::reason::{MALFORMED_PACKET, PROTOCOL_ERROR, UNSUPPORTED_VERSION};
use crate::wire::{Body, Packet, Properties, property as id, publish};
use crate::{Broker, Outcome, Version};

const USERNAME: u8 = 0x80;
const PASSWORD: u8 = 0x40;
const WILL_RETAIN: u8 = 0x20;
const WILL: u8 = 0x04;
const CLEAN: u8 = 0x02;

cases! {
    /// [MQTT-3.1.0-1, MQTT-3.14.0-1, Q5-3.1.4-2] v3.1.1 [MQTT-3.1.0-1] A connection that does not start with CONNECT is closed,
    /// and 5.0 sends no DISCONNECT on it.
    #[versions(V31, V311, V5)]
    fn first_packet_must_be_connect(broker) {
        let topic = broker.topic("t");
        let subscribe = Body::new()
            .two(1)
            .raw(if broker.version.is_v5() { &[0] } else { &[] })
            .text(&topic)
            .byte(0);
        let packets = [
            publish(&topic, "x").bytes(broker.version),
            publish(&topic, "x").qos(1).packet_id(1).bytes(broker.version),
            subscribe.packet(0x82),
            vec![0xC0, 0],
            vec![0xE0, 0],
            vec![0xF0, 0],
            vec![0x20, 2, 0, 0],
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        ];
        for bytes in packets {
            broker.judge("[MQTT-3.1.0-1, Q5-3.1.4-2] v3.1.1 [MQTT-3.1.0-1]", || {
                let mut client = broker.open()?;
                client.send(&bytes);
                let answers = client.expect_close()?;
                let what = format!("{bytes:02x?} was answered with {answers:?}");
                let is_goodbye = |it: &Packet| matches!(it, Packet::Disconnect(_));
                broker.judge("[MQTT-3.14.0-1]", || {
                    claim(!answers.iter().any(is_goodbye), what.clone())
                })?;
                let is_refusal =
                    |it: &Packet| matches!(it, Packet::ConnAck(connack) if connack.reason != 0);
                claim(answers.iter().all(|it| is_refusal(it) || is_goodbye(it)), what)
            })?;
        }
    }

    /// [MQTT-3.1.0-2] v3.1.1 [MQTT-3.1.0-2] A second CONNECT ends the connection.
    #[versions(V31, V311, V5)]
    fn second_connect_is_rejected(broker) {
        let connect = broker.connect_options(broker.version);
        let mut client = broker.send_connect(&connect)?;
        client.expect_accepted()?;
        client.expect_rejected(&connect.bytes(), &[PROTOCOL_ERROR])?;
    }

    /// [MQTT-3.1.2-1] v3.1.1 [MQTT-3.1.2-1] [Q3-3.1-3] A protocol name that is not MQTT's is not taken for it.
    #[versions(V31, V311, V5)]
    fn wrong_protocol_name_is_rejected(broker) {
        for name in ["", "MQT", "mqtt", "MQTTS", "MQIsdP", "HTTP/", "MQTT\u{FEFF}"] {
            let body = Body::new().text(name).byte(broker.version.level()).byte(CLEAN).two(0);
            let body = body.raw(if broker.version.is_v5() { &[0] } else { &[] }).text(&broker.id());
            let mut client = broker.open()?;
            client.send(&body.packet(0x10));
            expect_close_or_version_refused(&mut client)?;
        }
    }

    /// [Q3-3.1-4, Q4-3.1.2.2-1] The name of one version with the level of another is neither of them.
    #[versions(V31, V311)]
    fn name_and_level_belong_together(broker) {
        let (name, level) = match broker.version {
            Version::V31 => ("MQTT", 3),
            Version::V311 | Version::V5 => ("MQIsdp", 4),
        };
        broker.need_quelea(
            "a server may be lenient about names and levels that do not belong together",
        )?;
        let body = Body::new().text(name).byte(level).byte(CLEAN).two(0).text(&broker.id());
        let mut client = broker.open()?;
        client.send(&body.packet(0x10));
        expect_close_or_version_refused(&mut client)?;
    }

    /// [MQTT-3.1.2-2] v3.1.1 [MQTT-3.1.2-2] A level that the server does not know is refused as such.
    #[versions(V311, V5)]
    fn unknown_level_is_refused(broker) {
        for level in [0, 2, 6, 100, 255] {
            let body = Body::new()
                .text("MQTT")
                .byte(level)
                .byte(CLEAN)
                .two(0)
                .raw(&[0])
                .text(&broker.id());
            let mut client = broker.open()?;
            client.send(&body.packet(0x10));
            let answer = client.expect_bytes_until_close()?;
            // The level says nothing about the form of the answer, so either form will do.
            let is_v3 = answer == [0x20, 2, 0, 1];
            let is_v5 =
                answer.first() == Some(&0x20) && answer.get(3) == Some(&UNSUPPORTED_VERSION);
            let may_be_silent = broker.version.is_v5() && !broker.is_quelea();
            claim(
                is_v3 || is_v5 || may_be_silent && answer.is_empty(),
                format!("level {level}: {answer:02x?}"),
            )?;
        }
    }

    /// [Q4-3.1.2.2-2] A level with the highest bit set, as bridges of some brokers send, is refused with 0x01, so that
    /// they try without it.
    #[versions(V311)]
    fn bridge_level_is_refused(broker) {
        broker.need_quelea("some servers accept such levels")?;
        let body = Body::new().text("MQTT").byte(0x84).byte(CLEAN).two(0).text(&broker.id());
        broker.open()?.expect_rejected_bytes(&body.packet(0x10), &[0x20, 2, 0, 1])?;
    }

    /// [MQTT-3.1.2-3, MQTT-2.1.3-1] v3.1.1 [MQTT-3.1.2-3] The reserved bit of the connect flags must be zero.
    #[versions(V311, V5)]
    fn reserved_connect_flag_is_rejected(broker) {
        reject(broker, header(broker, CLEAN | 1).text(&broker.id()), MALFORMED_PACKET)?;
    }

    /// [MQTT-3.1.2-11, MQTT-3.1.2-13] v3.1.1 [MQTT-3.1.2-11, MQTT-3.1.2-13, MQTT-3.1.2-15] Without a will its QoS and
    /// RETAIN are zero.
    #[versions(V311, V5)]
    fn will_flags_need_a_will(broker) {
        let qos = "[MQTT-3.1.2-11] v3.1.1 [MQTT-3.1.2-11, MQTT-3.1.2-13]";
        let retain = "[MQTT-3.1.2-13] v3.1.1 [MQTT-3.1.2-11, MQTT-3.1.2-15]";
        for (flags, statements) in [(0x08, qos), (0x10, qos), (0x18, qos), (WILL_RETAIN, retain)] {
            broker.judge(statements, || {
                reject(broker, header(broker, CLEAN | flags).text(&broker.id()), MALFORMED_PACKET)
            })?;
        }
    }

    /// [Q3-3.1-7] MQTT 3.1 disregards the reserved bit, and what is said of a will that there is not.
    #[versions(V31)]
    fn unused_connect_flags_are_disregarded_in_v31(broker) {
        for flags in [1, 0x08, 0x10, WILL_RETAIN, WILL_RETAIN | 0x11] {
            let mut client = broker.open()?;
            client.send(&header(broker, CLEAN | flags).text(&broker.id()).packet(0x10));
            client.expect_accepted()?;
        }
    }

    /// [MQTT-3.1.2-12, Q5-3.1.2.6-1] v3.1.1 [MQTT-3.1.2-14] There is no Will QoS 3.
    #[versions(V31, V311, V5)]
    fn will_qos_3_is_rejected(broker) {
        let body = will(
            broker,
            header(broker, CLEAN | WILL | 0x18).text(&broker.id()),
            &broker.topic("will"),
        );
        reject(broker, body, MALFORMED_PACKET)?;
    }

    /// [MQTT-3.1.2-9, MQTT-3.1.2-17, MQTT-3.1.2-19, MQTT-3.1.3-3, MQTT-3.1.4-1] v3.1.1 [MQTT-3.1.2-9, MQTT-3.1.2-19,
    /// MQTT-3.1.2-21, MQTT-3.1.3-3, MQTT-3.1.4-1, MQTT-3.2.2-6] Each field that the flags announce must be there.
    #[versions(V31, V311, V5)]
    fn announced_fields_must_be_present(broker) {
        let topic = broker.topic("will");
        let will_topic_only =
            header(broker, CLEAN | WILL).text(&broker.id()).raw(v5(broker, &[0])).text(&topic);
        let name = |flags| header(broker, flags).text(&broker.id());
        let mut rows = vec![
            ("[MQTT-3.1.3-3] v3.1.1 [MQTT-3.1.3-3]", header(broker, CLEAN)),
            ("[MQTT-3.1.2-9] v3.1.1 [MQTT-3.1.2-9]", name(CLEAN | WILL)),
            ("[MQTT-3.1.2-9] v3.1.1 [MQTT-3.1.2-9]", will_topic_only),
        ];
        // MQTT 3.1 lets user name and password be left out for the sake of still older clients.
        if broker.version != Version::V31 {
            let no_password = name(CLEAN | USERNAME | PASSWORD).text("name");
            rows.push(("[MQTT-3.1.2-17] v3.1.1 [MQTT-3.1.2-19]", name(CLEAN | USERNAME)));
            rows.push(("[MQTT-3.1.2-19] v3.1.1 [MQTT-3.1.2-21]", no_password));
        }
        for (statements, connect) in rows {
            let in_silence = connect.clone();
            broker.judge_all(&[statements, "[MQTT-3.1.4-1]"], || {
                reject(broker, connect, MALFORMED_PACKET)
            })?;
            broker.judge("v3.1.1 [MQTT-3.1.4-1, MQTT-3.2.2-6]", || {
                broker.need(broker.version == Version::V311, "3.1.1 alone asks for a silent close")?;
                let mut client = broker.open()?;
                client.send(&in_silence.packet(0x10));
                client.expect_silent_close()
            })?;
        }
    }

    /// [MQTT-3.1.2-16, MQTT-3.1.2-18] v3.1.1 [MQTT-3.1.2-11, MQTT-3.1.2-18, MQTT-3.1.2-20] Fields that the flags do not
    /// announce must not be there.
    #[versions(V311, V5)]
    fn unannounced_fields_are_rejected(broker) {
        let name = |flags| header(broker, flags).text(&broker.id());
        let password = name(CLEAN | USERNAME).text("name").text("secret");
        let will = will(broker, name(CLEAN), &broker.topic("will"));
        let rows = [
            ("[MQTT-3.1.2-16] v3.1.1 [MQTT-3.1.2-18]", name(CLEAN).text("name")),
            ("[MQTT-3.1.2-18] v3.1.1 [MQTT-3.1.2-20]", password),
            ("[MQTT-3.1.2-16] v3.1.1 [MQTT-3.1.2-11]", will),
            ("[MQTT-3.1.2-16] v3.1.1 [MQTT-3.1.2-18]", name(CLEAN).raw(&[0])),
        ];
        for (statements, connect) in rows {
            broker.judge(statements, || {
                broker.may_tolerate(reject(broker, connect, MALFORMED_PACKET))
            })?;
        }
    }

    /// v3.1.1 [MQTT-3.1.2-22] Without a user name there is no password.
    #[versions(V311)]
    fn password_needs_a_user_name(broker) {
        reject(
            broker,
            header(broker, CLEAN | PASSWORD).text(&broker.id()).text("secret"),
            MALFORMED_PACKET,
        )?;
    }

    /// [MQTT-1.5.4-1, MQTT-1.5.4-2, MQTT-3.1.3-4, MQTT-3.1.3-11, MQTT-3.1.3-12] v3.1.1 [MQTT-1.5.3-1, MQTT-1.5.3-2,
    /// MQTT-3.1.3-4, MQTT-3.1.3-10, MQTT-3.1.3-11] The strings of CONNECT are UTF-8 without U+0000.
    #[versions(V31, V311, V5)]
    fn ill_formed_strings_in_connect_are_rejected(broker) {
        if broker.version == Version::V31 {
            broker.need_quelea("3.1 does not say what happens to strings that are not UTF-8")?;
        }
        for text in ILL_FORMED {
            let topic = broker.topic("will");
            let bad_will = header(broker, CLEAN | WILL).text(&broker.id()).raw(v5(broker, &[0]));
            let good_will =
                will(broker, header(broker, CLEAN | WILL | USERNAME).text(&broker.id()), &topic);
            let of_text = match text.contains(&0) {
                true => "[MQTT-1.5.4-2] v3.1.1 [MQTT-1.5.3-2]",
                false => "[MQTT-1.5.4-1] v3.1.1 [MQTT-1.5.3-1]",
            };
            let rows = [
                ("[MQTT-3.1.3-4] v3.1.1 [MQTT-3.1.3-4]", header(broker, CLEAN).binary(text)),
                (
                    "[MQTT-3.1.3-11] v3.1.1 [MQTT-3.1.3-10]",
                    bad_will.binary(text).text("payload"),
                ),
                ("[MQTT-3.1.3-12] v3.1.1 [MQTT-3.1.3-11]", good_will.binary(text)),
            ];
            for (of_field, connect) in rows {
                broker.judge_all(&[of_field, of_text], || {
                    reject(broker, connect, MALFORMED_PACKET)
                })?;
            }
        }
    }

    /// [Q5-4.7.0-1, Q4-4.7.1-1] A Will Topic is a topic name: one character at least, no wildcard.
    #[versions(V31, V311, V5)]
    fn will_topic_is_a_topic_name(broker) {
        broker.need_quelea("the texts do not say when a Will Topic is checked")?;
        for topic in ["", "a/#", "+", "a/+/b", "#"] {
            let body = will(broker, header(broker, CLEAN | WILL).text(&broker.id()), topic);
            let reason = if topic.is_empty() { MALFORMED_PACKET } else { PROTOCOL_ERROR };
            reject(broker, body, reason)?;
        }
    }

    /// [MQTT-2.1.3-1, Q5-2.1.3-1] v3.1.1 [MQTT-2.2.2-1, MQTT-2.2.2-2] The flags of CONNECT's first byte must be zero.
    #[versions(V311, V5)]
    fn connect_with_header_flags_is_rejected(broker) {
        for flags in [1, 2, 4, 8] {
            let mut client = broker.open()?;
            client.send(&header(broker, CLEAN).text(&broker.id()).packet(0x10 | flags));
            let answers = client.expect_close()?;
            let is_refused = answers
                .iter()
                .all(|it| matches!(it, Packet::ConnAck(connack) if connack.reason != 0));
            claim(is_refused, format!("flags {flags} were answered with {answers:?}"))?;
        }
    }

    /// [Q5-3.1.2.11.2-1, Q5-3.1.2.11.3-1, Q5-3.1.2.11.4-1, Q5-3.1.2.11.5-1, Q5-3.1.2.11.6-1, Q5-3.1.2.11.7-1,
    /// Q5-3.1.2.11.9-1, Q5-3.1.2.11.10-1] A property of CONNECT other than User Property comes once.
    #[versions(V5)]
    fn repeated_connect_property_is_rejected(broker) {
        let method = Properties::new().text(id::AUTHENTICATION_METHOD, "quelea-conform");
        let properties = [
            Properties::new().four(id::SESSION_EXPIRY_INTERVAL, 1),
            Properties::new().two(id::RECEIVE_MAXIMUM, 10),
            Properties::new().four(id::MAXIMUM_PACKET_SIZE, 1_000),
            Properties::new().two(id::TOPIC_ALIAS_MAXIMUM, 10),
            Properties::new().byte(id::REQUEST_RESPONSE_INFORMATION, 1),
            Properties::new().byte(id::REQUEST_PROBLEM_INFORMATION, 1),
            method.clone(),
            method
                .binary(id::AUTHENTICATION_DATA, b"data")
                .binary(id::AUTHENTICATION_DATA, b"data"),
        ];
        for property in properties {
            // Twice the last one is one error; twice two of them is the same.
            reject_properties(broker, property.clone().all(&property), PROTOCOL_ERROR)?;
        }
    }

    /// [Q5-3.1.2.11.3-2, Q5-3.1.2.11.4-2, Q5-3.1.2.11.6-2, Q5-3.1.2.11.7-2, Q5-3.1.2.11.10-2] Properties of CONNECT
    /// keep to their ranges.
    #[versions(V5)]
    fn connect_property_out_of_range_is_rejected(broker) {
        let properties = [
            Properties::new().two(id::RECEIVE_MAXIMUM, 0),
            Properties::new().four(id::MAXIMUM_PACKET_SIZE, 0),
            Properties::new().byte(id::REQUEST_RESPONSE_INFORMATION, 2),
            Properties::new().byte(id::REQUEST_PROBLEM_INFORMATION, 255),
            Properties::new().binary(id::AUTHENTICATION_DATA, b"data without a method"),
        ];
        for property in properties {
            reject_properties(broker, property, PROTOCOL_ERROR)?;
        }
    }

    /// [Q5-3.1.3.2.2-1, Q5-3.1.3.2.3-1, Q5-3.1.3.2.4-1, Q5-3.1.3.2.5-1, Q5-3.1.3.2.6-1, Q5-3.1.3.2.7-1] A property of
    /// the will other than User Property comes once.
    #[versions(V5)]
    fn repeated_will_property_is_rejected(broker) {
        let properties = [
            Properties::new().four(id::WILL_DELAY_INTERVAL, 1),
            Properties::new().byte(id::PAYLOAD_FORMAT_INDICATOR, 1),
            Properties::new().four(id::MESSAGE_EXPIRY_INTERVAL, 1),
            Properties::new().text(id::CONTENT_TYPE, "text"),
            Properties::new().text(id::RESPONSE_TOPIC, "answers"),
            Properties::new().binary(id::CORRELATION_DATA, b"data"),
        ];
        for property in properties {
            let body = header(broker, CLEAN | WILL)
                .text(&broker.id())
                .properties(&property.clone().all(&property));
            reject(broker, body.text(&broker.topic("will")).text("x"), PROTOCOL_ERROR)?;
        }
    }

    /// [MQTT-3.1.4-6, MQTT-3.1.4-2, MQTT-4.13.1-1] v3.1.1 [MQTT-3.1.4-5] What follows a CONNECT that is refused is not processed.
    #[versions(V31, V311, V5)]
    fn packets_after_a_refused_connect_are_ignored(broker) {
        let topic = broker.topic("t");
        let mut watcher = broker.client()?;
        watcher.subscribe(&topic, 0)?;
        let mut publisher = broker.client()?;
        let mut bytes = match broker.version {
            Version::V31 => broker.connect_options(Version::V31).client_id("").bytes(),
            Version::V311 => broker.connect_options(Version::V311).client_id("").resume().bytes(),
            Version::V5 => broker.connect_options(Version::V5).receive_maximum(0).bytes(),
        };
        bytes.extend(publish(&topic, "must not arrive").bytes(broker.version));
        let mut refused = broker.open()?;
        refused.send(&bytes);
        let answer = refused.expect_close_or_packet()?;
        if let Some(Packet::ConnAck(connack)) = &answer {
            broker.need(connack.reason != 0 || broker.is_quelea(), "the broker accepts this CONNECT")?;
        }
        let mut answers: Vec<Packet> = answer.into_iter().collect();
        if !answers.is_empty() {
            answers.extend(refused.expect_close()?);
        }
        let is_refused =
            answers.iter().all(|it| matches!(it, Packet::ConnAck(connack) if connack.reason != 0));
        claim(is_refused, format!("the CONNECT was answered with {answers:?}"))?;
        watcher.expect_silence_after(&mut publisher)?;
    }
}

/// Strings that are no UTF-8, or have U+0000, or have a surrogate.
pub(super) const ILL_FORMED: &[&[u8]] = &[
    b"a\x00b",
    b"a\xC3",
    b"\xFF",
    b"\xC0\x80",
    b"\xED\xA0\x80",
    b"\xED\xBF\xBF",
    b"\xF4\x90\x80\x80",
    b"\xE0\x80\xAF",
];

/// Returns the start of a CONNECT packet, up to the client identifier.
fn header(broker: &Broker<'_>, flags: u8) -> Body {
    let version = broker.version;
    Body::new()
        .text(version.protocol_name())
        .byte(version.level())
        .byte(flags)
        .two(0)
        .raw(v5(broker, &[0]))
}

/// Adds a will without properties.
fn will(broker: &Broker<'_>, body: Body, topic: &str) -> Body {
    body.raw(v5(broker, &[0])).text(topic).text("payload")
}

/// Returns the bytes if this is 5.0.
fn v5(broker: &Broker<'_>, bytes: &'static [u8]) -> &'static [u8] {
    if broker.version.is_v5() { bytes } else { &[] }
}

#[track_caller]
fn reject_properties(broker: &Broker<'_>, properties: Properties, reason: u8) -> Outcome {
    let version = broker.version;
    let body = Body::new().text(version.protocol_name()).byte(version.level()).byte(CLEAN).two(0);
    reject(broker, body.properties(&properties).text(&broker.id()), reason)
}

/// Sends a CONNECT that breaks a rule: 3.x closes without a word, 5.0 may say the reason in a CONNACK.
#[track_caller]
fn reject(broker: &Broker<'_>, connect: Body, reason: u8) -> Outcome {
    let mut client = broker.open()?;
    client.send(&connect.packet(0x10));
    let Some(answer) = client.expect_close_or_packet()? else {
        let must_speak = broker.is_quelea() && broker.version.is_v5();
        return claim(!must_speak, format!("no CONNACK with {reason:#04x}"));
    };
    match &answer {
        Packet::ConnAck(connack) if connack.reason == 0 => claim(false, "the CONNECT is accepted")?,
        Packet::ConnAck(connack) if broker.is_quelea() => {
            let got = connack.reason;
            let is_right = broker.version.is_v5() && got == reason;
            claim(is_right, format!("CONNACK {got:#04x} instead of {reason:#04x}"))?;
        }
        // What the CONNECT is refused for may come before what is wrong with it.
        Packet::ConnAck(connack) if matches!(connack.reason, 4 | 5 | 0x86 | 0x87) => {
            let why = "the broker wants user names and passwords that this CONNECT has not";
            broker.need(!broker.wants_credentials(), why)?;
        }
        // That nothing is sent is a statement of its own, which 5.0 and 3.1 do not have.
        Packet::ConnAck(_) => {}
        other => claim(false, format!("got {other:?}"))?,
    }
    client.expect_silent_close()
}

/// Expects a close, with or without a CONNACK that says that the version is not supported.
#[track_caller]
fn expect_close_or_version_refused(client: &mut crate::Client) -> Outcome {
    let answer = client.expect_bytes_until_close()?;
    let is_refused =
        matches!(answer.as_slice(), [] | [0x20, 2, 0, 1] | [0x20, _, 0, UNSUPPORTED_VERSION, ..]);
    claim(is_refused, format!("answered with {answer:02x?}"))
}
