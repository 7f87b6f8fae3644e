use alloc::string::String;
use alloc::vec::Vec;
use core::num::{NonZeroU16, NonZeroU32};

use quelea_codec::{
    ConnAck, Connect, Framing, Packet, PacketKind, QoS, ReasonCode, Version, Will, next_frame,
};

use super::{Refusal, ServerLimits, negotiate, write_connack, write_refusal};
use crate::testing::{agreed, id, packet_bytes_max, packets, server};
use crate::{Class, Connection, PacketTooLarge};

#[test]
fn session_expiry_is_what_was_asked_within_the_limit() {
    let limits = ServerLimits { session_expiry_max_secs: 100, ..server() };
    for (version, clean_start, asked, secs, announced) in [
        (Version::V5, true, None, 0, None),
        (Version::V5, false, Some(0), 0, None),
        (Version::V5, true, Some(100), 100, None),
        (Version::V5, false, Some(101), 100, Some(100)),
        (Version::V5, false, Some(u32::MAX), 100, Some(100)),
        (Version::V311, true, None, 0, None),
        (Version::V311, false, None, 3600, None),
        (Version::V31, false, None, 3600, None),
    ] {
        let mut connect = Connect::new(version, "client");
        connect.clean_start = clean_start;
        connect.properties.session_expiry_secs = asked;
        let negotiated = negotiate(&connect, &limits).unwrap();
        assert_eq!(negotiated.session_expiry_secs, secs, "{asked:?}");
        assert_eq!(negotiated.announced_session_expiry_secs, announced);
        assert_eq!(negotiated.class() == Class::Live, secs == 0);
    }
}

/// [MQTT-3.2.2-21], [MQTT-3.2.2-22], [MQTT-3.1.2-22]
#[test]
fn keep_alive_is_what_was_asked_unless_the_server_has_a_limit() {
    for (version, asked, limit, secs, announced) in [
        (Version::V5, 60, 0, 60, None),
        (Version::V5, 0, 0, 0, None),
        (Version::V5, 60, 60, 60, None),
        (Version::V5, 61, 60, 60, Some(60)),
        (Version::V5, 0, 60, 60, Some(60)),
        (Version::V311, 0, 60, 0, None),
        (Version::V311, 61, 60, 61, None),
    ] {
        let limits = ServerLimits { keep_alive_max_secs: limit, ..server() };
        let connect = Connect { keep_alive_secs: asked, ..Connect::new(version, "client") };
        let negotiated = negotiate(&connect, &limits).unwrap();
        assert_eq!((negotiated.keep_alive_secs, negotiated.server_keep_alive), (secs, announced));
        let limit = Connection::new(&negotiated).keep_alive_limit_millis();
        assert_eq!(limit, (secs > 0).then_some(u64::from(secs) * 1500));
    }
}

/// [MQTT-4.9.0-1]
#[test]
fn the_window_is_the_smaller_of_both() {
    for (receive_maximum, send_window_max, window) in
        [(None, 50, 50), (Some(20), 50, 20), (Some(60), 50, 50), (None, 0, 1)]
    {
        let limits = ServerLimits { send_window_max, ..server() };
        let mut connect = Connect::new(Version::V5, "client");
        connect.properties.receive_maximum = receive_maximum.and_then(NonZeroU16::new);
        assert_eq!(negotiate(&connect, &limits).unwrap().send_window, window);
    }
}

/// [MQTT-3.2.2-12], [MQTT-3.2.2-13]
#[test]
fn a_will_that_cannot_be_published_is_refused() {
    let limits = ServerLimits { qos_max: QoS::AtLeastOnce, retain_available: false, ..server() };
    for (qos, retain, refusal) in [
        (QoS::AtLeastOnce, false, None),
        (QoS::ExactlyOnce, false, Some((Refusal::WillQoSNotSupported, 0x9B))),
        (QoS::AtMostOnce, true, Some((Refusal::WillRetainNotSupported, 0x9A))),
    ] {
        let will = Some(Will { qos, retain, topic: "t", ..Will::default() });
        let connect = Connect { will, ..Connect::new(Version::V5, "client") };
        let outcome = negotiate(&connect, &limits).err();
        assert_eq!(outcome.map(|it| (it, it.reason_code().0)), refusal);
    }
}

/// [MQTT-3.2.2-9]: what differs from its default is announced, and nothing else.
#[test]
fn connack_says_what_is_not_the_default() {
    let limits = server();
    let connack = connack(&limits, |_| {}, Some("chosen"), Some("info"));
    check_connack(&connack, |it| {
        assert_eq!(it.properties.receive_maximum, NonZeroU16::new(3));
        assert_eq!(it.properties.topic_alias_maximum, Some(5));
        assert_eq!(it.properties.packet_bytes_max, NonZeroU32::new(100_000));
        assert_eq!(it.properties.assigned_client_id, Some("chosen"));
        assert_eq!(it.properties.maximum_qos, None);
        assert_eq!(it.properties.retain_available, None);
        // Not asked for.
        assert_eq!(it.properties.response_information, None);
    });

    let limits = ServerLimits {
        receive_maximum: u16::MAX,
        packet_bytes_max: u32::MAX,
        topic_alias_maximum: 0,
        qos_max: QoS::AtMostOnce,
        retain_available: false,
        wildcard_available: false,
        subscription_ids_available: false,
        shared_available: false,
        keep_alive_max_secs: 7,
        session_expiry_max_secs: 9,
        ..server()
    };
    let connack = self::connack(
        &limits,
        |connect| {
            connect.properties.session_expiry_secs = Some(10);
            connect.properties.request_response_information = Some(true);
        },
        None,
        Some("info"),
    );
    check_connack(&connack, |it| {
        assert_eq!(it.properties.receive_maximum, None);
        assert_eq!(it.properties.topic_alias_maximum, None);
        assert_eq!(it.properties.packet_bytes_max, None);
        assert_eq!(it.properties.maximum_qos, Some(QoS::AtMostOnce));
        assert_eq!(it.properties.retain_available, Some(false));
        assert_eq!(it.properties.wildcard_subscription_available, Some(false));
        assert_eq!(it.properties.subscription_id_available, Some(false));
        assert_eq!(it.properties.shared_subscription_available, Some(false));
        assert_eq!(it.properties.server_keep_alive_secs, Some(7));
        assert_eq!(it.properties.session_expiry_secs, Some(9));
        assert_eq!(it.properties.response_information, Some("info"));
    });
}

/// [MQTT-3.1.2-24]
#[test]
fn connack_fits_the_clients_maximum_packet_size() {
    let limits = server();
    let write = |bytes: u32, information: &str| {
        let negotiated = agreed(Version::V5, |connect| {
            packet_bytes_max(bytes)(connect);
            connect.properties.request_response_information = Some(true);
        });
        let mut out = Vec::new();
        let outcome =
            write_connack(&negotiated, &limits, false, None, None, Some(information), &mut out);
        outcome.map(|()| out.len())
    };
    assert_eq!(write(1000, "information"), Ok(30));
    assert_eq!(write(29, "information"), Ok(16), "without the information");
    assert_eq!(write(15, ""), Err(PacketTooLarge));
}

/// [MQTT-3.2.2-2], [MQTT-3.2.2-3]
#[test]
fn session_present_needs_a_session_and_no_clean_start() {
    for (clean_start, has_session, is_present) in
        [(true, true, false), (false, true, true), (false, false, false)]
    {
        let negotiated = agreed(Version::V311, |connect| connect.clean_start = clean_start);
        let mut out = Vec::new();
        write_connack(&negotiated, &server(), has_session, None, None, None, &mut out).unwrap();
        assert_eq!(out, [0x20, 2, u8::from(is_present), 0]);
    }
}

/// [MQTT-3.2.2-7], v3.1.1 [MQTT-3.2.2-6], [MQTT-3.2.2-19]
#[test]
fn a_refusal_speaks_the_clients_version() {
    let denied = ReasonCode::NOT_AUTHORIZED;
    for (version, reason, text, bytes_max, bytes) in [
        (Version::V5, denied, None, None, [0x20, 3, 0, 0x87, 0].as_slice()),
        (Version::V5, denied, Some("no"), None, &[0x20, 8, 0, 0x87, 5, 31, 0, 2, b'n', b'o']),
        (Version::V5, denied, Some("no"), Some(9), &[0x20, 3, 0, 0x87, 0]),
        (Version::V5, denied, None, Some(4), &[]),
        (Version::V311, denied, Some("no"), None, &[0x20, 2, 0, 5]),
        (Version::V31, denied, None, None, &[0x20, 2, 0, 5]),
        (Version::V311, ReasonCode::QOS_NOT_SUPPORTED, None, None, &[]),
    ] {
        let mut out = Vec::new();
        write_refusal(version, reason, text, bytes_max.and_then(NonZeroU32::new), &mut out);
        assert_eq!(out, bytes, "{version:?}");
    }
}

/// [MQTT-3.1.2-29], [MQTT-3.4.2-2], [MQTT-3.5.2-2], [MQTT-3.6.2-2], [MQTT-3.7.2-2]
#[test]
fn a_reason_string_is_sent_where_it_is_wanted_and_fits() {
    for (wants, bytes_max, bytes) in [
        (None, None, 12),
        (Some(true), Some(12), 12),
        (Some(true), Some(11), 5),
        (Some(false), None, 5),
    ] {
        let negotiated = agreed(Version::V5, |connect| {
            connect.properties.request_problem_information = wants;
            connect.properties.packet_bytes_max = bytes_max.and_then(NonZeroU32::new);
        });
        let connection = Connection::new(&negotiated);
        for kind in [PacketKind::PubAck, PacketKind::PubRec] {
            let mut out = Vec::new();
            connection.write_ack(kind, id(1), ReasonCode::QUOTA_EXCEEDED, Some("why"), &mut out);
            assert_eq!(out.len(), bytes, "{:?}", packets(&out, Version::V5));
        }
    }
}

fn connack(
    limits: &ServerLimits,
    change: impl FnOnce(&mut Connect<'static>),
    assigned_client_id: Option<&str>,
    response_information: Option<&str>,
) -> Vec<u8> {
    let mut connect = Connect::new(Version::V5, "client");
    change(&mut connect);
    let negotiated = negotiate(&connect, limits).unwrap();
    let mut out = Vec::new();
    write_connack(
        &negotiated,
        limits,
        false,
        assigned_client_id,
        None,
        response_information,
        &mut out,
    )
    .unwrap();
    out
}

#[track_caller]
fn check_connack(bytes: &[u8], check: impl FnOnce(&ConnAck<'_>)) {
    let Ok(Framing::Complete { frame, .. }) = next_frame(bytes, u32::MAX) else {
        panic!("no packet: {bytes:?}");
    };
    match Packet::decode(frame, Version::V5) {
        Ok(Packet::ConnAck(connack)) => check(&connack),
        other => panic!("{}", String::from_utf8_lossy(alloc::format!("{other:?}").as_bytes())),
    }
}
