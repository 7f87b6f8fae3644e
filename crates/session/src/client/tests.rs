use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::mem::take;
use core::num::{NonZeroU16, NonZeroU32};

use quelea_codec::{
    Auth, AuthProperties, ConnAck, Connect, Disconnect, Packet, PacketKind, Publish,
    PublishProperties, QoS, ReasonCode, SubAck, SubscriptionIds, SubscriptionOptions,
    UserProperties, Version,
};

use super::desk::Desk;
use super::{Fault, Resumption, Unacceptable, Unsent};
use crate::testing::{content, id};
use crate::{Time, Violation};

/// [MQTT-3.1.0-1], [MQTT-3.1.2-30]
/// v3.1.1 [MQTT-3.1.0-1]
#[test]
fn nothing_leaves_before_connack() {
    let mut desk = Desk::offline(Version::V5);
    desk.publish(QoS::AtLeastOnce, "a");
    desk.session.connect(&Connect::new(Version::V5, "client"), &mut desk.buffer);
    assert_eq!(desk.written().len(), 1, "CONNECT");
    desk.publish(QoS::AtMostOnce, "b");
    assert_eq!(desk.written(), [""; 0]);
    assert_eq!(desk.subscribe("t"), Err(Unsent::NotConnected));
    assert_eq!(desk.handle(&accepted(false)), ["connected New"]);
    assert_eq!(desk.written(), ["q1 #1 t=a", "q0 t=b"]);
    assert_eq!(desk.done(), ["b Sent"]);
}

/// [MQTT-4.3.2-1], [MQTT-4.3.3-1], [MQTT-4.3.3-4]
/// [MQTT-2.2.1-2, MQTT-2.2.1-5, MQTT-4.3.3-3] v3.1.1 [MQTT-2.3.1-5, MQTT-2.3.1-6, MQTT-4.3.1-1, MQTT-4.3.2-1,
/// MQTT-4.3.3-1]
#[test]
fn each_qos_ends_with_its_acknowledgement() {
    for version in Version::ALL {
        let mut desk = Desk::connected(version);
        desk.publish(QoS::AtLeastOnce, "a");
        desk.publish(QoS::ExactlyOnce, "b");
        assert_eq!(desk.written(), ["q1 #1 t=a", "q2 #2 t=b"]);
        assert_eq!(desk.ack(PacketKind::PubRec, 2, ReasonCode::SUCCESS), [""; 0]);
        assert_eq!(desk.written(), ["PUBREL #2"]);
        assert_eq!(desk.ack(PacketKind::PubComp, 2, ReasonCode::SUCCESS), ["acknowledged b 0x00"]);
        assert_eq!(desk.ack(PacketKind::PubAck, 1, ReasonCode::SUCCESS), ["acknowledged a 0x00"]);
        assert!(desk.session.is_at_rest());
    }
}

#[test]
fn what_the_broker_says_of_a_message_reaches_the_application() {
    let mut desk = Desk::connected(Version::V5);
    for payload in ["a", "b", "c"] {
        desk.publish(QoS::ExactlyOnce, payload);
    }
    desk.publish(QoS::AtLeastOnce, "d");
    desk.written();
    let quota = ReasonCode::QUOTA_EXCEEDED;
    assert_eq!(desk.ack(PacketKind::PubRec, 1, quota), ["acknowledged a 0x97"]);
    let nobody = ReasonCode::NO_MATCHING_SUBSCRIBERS;
    assert_eq!(desk.ack(PacketKind::PubRec, 2, nobody), [""; 0]);
    assert_eq!(desk.ack(PacketKind::PubComp, 2, ReasonCode::SUCCESS), ["acknowledged b 0x10"]);
    assert_eq!(desk.ack(PacketKind::PubAck, 4, quota), ["acknowledged d 0x97"]);
    assert_eq!(desk.ack(PacketKind::PubAck, 4, quota), [""; 0], "nobody waits for it");
}

/// [MQTT-4.4.0-1], [MQTT-4.3.3-6], [MQTT-4.6.0-1]
/// [MQTT-3.3.1-3, MQTT-3.1.2-23, MQTT-4.1.0-1] v3.1.1 [MQTT-2.3.1-3, MQTT-3.1.2-4, MQTT-3.3.1-1, MQTT-3.3.1-3,
/// MQTT-4.1.0-1, MQTT-4.1.0-2, MQTT-4.4.0-1, MQTT-4.6.0-1]
#[test]
fn a_session_that_the_broker_has_goes_on() {
    let mut desk = Desk::connected(Version::V5);
    for (qos, payload) in
        [(QoS::AtLeastOnce, "a"), (QoS::ExactlyOnce, "b"), (QoS::ExactlyOnce, "c")]
    {
        desk.publish(qos, payload);
    }
    desk.ack(PacketKind::PubRec, 2, ReasonCode::SUCCESS);
    desk.written();
    desk.session.disconnected();
    desk.publish(QoS::AtLeastOnce, "d");
    desk.connect(true);
    assert_eq!(desk.written(), ["PUBREL #2", "q1 #1 dup t=a", "q2 #3 dup t=c", "q1 #4 t=d"]);
    assert_eq!(desk.done(), [""; 0]);
}

/// [MQTT-3.2.2-5]
/// v3.1.1 [MQTT-3.1.2-6]
#[test]
fn when_the_broker_lost_the_session_qos_1_is_sent_again_and_qos_2_is_unknown() {
    for version in [Version::V311, Version::V5] {
        let mut desk = Desk::connected(version);
        for (qos, payload) in [
            (QoS::AtLeastOnce, "a"),
            (QoS::ExactlyOnce, "released"),
            (QoS::ExactlyOnce, "sent"),
            (QoS::AtLeastOnce, "b"),
        ] {
            desk.publish(qos, payload);
        }
        desk.ack(PacketKind::PubRec, 2, ReasonCode::SUCCESS);
        desk.written();
        desk.session.disconnected();
        desk.publish(QoS::ExactlyOnce, "waiting");
        desk.connect(false);
        assert_eq!(desk.done(), ["released Unknown", "sent Unknown"]);
        assert_eq!(desk.written(), ["q1 #1 t=a", "q1 #4 t=b", "q2 #5 t=waiting"]);
    }
}

/// v3.1 §3.2: CONNACK does not say whether there was a session.
#[test]
fn version_3_1_presumes_that_the_session_is_there() {
    let mut desk = Desk::offline(Version::V31);
    assert_eq!(desk.connect(false), ["connected Presumed"]);
    desk.publish(QoS::ExactlyOnce, "a");
    desk.written();
    desk.session.disconnected();
    desk.connect(false);
    assert_eq!(desk.written(), ["q2 #1 dup t=a"]);
}

/// [MQTT-3.3.4-7], [MQTT-3.3.4-8]
/// [MQTT-4.9.0-3, Q5-3.3.4-8]
#[test]
fn the_receive_maximum_holds_back_messages_only() {
    let mut desk = Desk::offline(Version::V5);
    desk.connect_to(|it| it.receive_maximum = NonZeroU16::new(2));
    for payload in ["a", "b", "c"] {
        desk.publish(QoS::AtLeastOnce, payload);
    }
    desk.publish(QoS::AtMostOnce, "d");
    assert_eq!(desk.written(), ["q1 #1 t=a", "q1 #2 t=b"]);
    assert!(desk.subscribe("t").is_ok());
    assert_eq!(desk.written().len(), 1);
    desk.ack(PacketKind::PubAck, 2, ReasonCode::SUCCESS);
    assert_eq!(desk.written(), ["q1 #3 t=c", "q0 t=d"]);
}

/// [MQTT-3.2.2-11], [MQTT-3.2.2-14], [MQTT-3.2.2-15]
/// [Q5-3.2.2.3.6-1, Q5-3.3.1.2-2, Q5-3.3.1.3-4]
#[test]
fn what_the_broker_does_not_take_is_not_sent() {
    let mut desk = Desk::offline(Version::V5);
    desk.publish(QoS::ExactlyOnce, "qos");
    desk.publish_retained("retain");
    desk.publish(QoS::AtLeastOnce, "much too large");
    desk.publish(QoS::AtMostOnce, "much too large as well");
    desk.publish(QoS::AtLeastOnce, "ok");
    desk.connect_to(|it| {
        it.maximum_qos = Some(QoS::AtLeastOnce);
        it.retain_available = Some(false);
        it.packet_bytes_max = NonZeroU32::new(20);
    });
    assert_eq!(desk.written(), ["q1 #5 t=ok"]);
    assert_eq!(
        desk.done(),
        [
            "qos QoSNotSupported",
            "retain RetainNotSupported",
            "much too large TooLarge",
            "much too large as well TooLarge"
        ]
    );
}

/// [MQTT-4.3.3-13]
#[test]
fn messages_expire_before_they_are_sent_and_not_after() {
    let mut desk = Desk::connected(Version::V5);
    desk.publish_until(QoS::AtLeastOnce, "sent", 10_000);
    assert_eq!(desk.written(), ["q1 #1 t=sent expiry=10"]);
    desk.session.disconnected();
    desk.publish_until(QoS::AtLeastOnce, "late", 5_000);
    desk.now = Time::from_millis(20_000);
    desk.connect(true);
    assert_eq!(desk.written(), ["q1 #1 dup t=sent expiry=0"]);
    assert_eq!(desk.done(), ["late Expired"]);
}

/// [MQTT-3.2.2-17], [MQTT-3.2.2-18]
/// [MQTT-3.3.2-9, Q5-3.2.2.3.8-1, Q5-3.3.4-7]
#[test]
fn aliases_are_used_as_far_as_the_broker_has_them() {
    for (maximum, last) in
        [(None, "q0 plant/7=x"), (Some(0), "q0 plant/7=x"), (Some(1), "q0 =x alias=1")]
    {
        let mut desk = Desk::offline(Version::V5);
        desk.connect_to(|it| it.topic_alias_maximum = maximum);
        for _ in 0..3 {
            let content = content("plant/7", "x");
            desk.session.accept(&content, QoS::AtMostOnce, false, "x".to_string()).unwrap();
        }
        assert_eq!(desk.written().last().map(String::as_str), Some(last));
    }
}

/// [MQTT-3.3.2-10], section 3.3.4
/// [Q5-3.3.4-1]
#[test]
fn aliases_of_the_broker_are_understood() {
    let mut desk = Desk::connected(Version::V5);
    let aliased = |topic, alias| {
        let properties =
            PublishProperties { topic_alias: Some(alias), ..PublishProperties::default() };
        Packet::Publish(Publish { topic, properties, ..Publish::default() })
    };
    assert_eq!(desk.handle(&aliased("plant/7", 3)), ["message plant/7"]);
    assert_eq!(desk.handle(&aliased("", 3)), ["message plant/7"]);
    check_fault(&mut desk, &aliased("", 2), Violation::TopicAliasUnknown.into());
    let mut desk = Desk::connected(Version::V5);
    check_fault(&mut desk, &aliased("t", 4), Violation::TopicAliasAboveMaximum.into());
}

#[test]
fn messages_say_which_subscriptions_they_came_through() {
    let mut desk = Desk::connected(Version::V5);
    let subscription_ids = SubscriptionIds::from_slice(&[7]);
    let properties = PublishProperties { subscription_ids, ..PublishProperties::default() };
    let publish = Publish { topic: "t", properties, ..Publish::default() };
    assert_eq!(desk.handle(&Packet::Publish(publish)), ["message t"]);
}

/// [MQTT-4.5.0-2], [MQTT-4.6.0-2], [MQTT-4.6.0-3]
/// [MQTT-3.3.4-1] v3.1.1 [MQTT-3.3.4-1, MQTT-4.3.2-2, MQTT-4.5.0-2, MQTT-4.6.0-2, MQTT-4.6.0-3]
#[test]
fn acknowledgements_leave_in_the_order_of_the_messages() {
    let mut desk = Desk::connected(Version::V5);
    desk.arrive(QoS::AtLeastOnce, 1);
    desk.arrive(QoS::ExactlyOnce, 2);
    desk.arrive(QoS::AtLeastOnce, 3);
    let receipts = take(&mut desk.receipts);
    desk.acknowledge(receipts[2]);
    desk.acknowledge(receipts[1]);
    assert_eq!(desk.written(), [""; 0]);
    desk.acknowledge(receipts[0]);
    assert_eq!(desk.written(), ["PUBACK #1", "PUBREC #2", "PUBACK #3"]);
    desk.ack(PacketKind::PubRel, 2, ReasonCode::SUCCESS);
    assert_eq!(desk.written(), ["PUBCOMP #2"]);
}

/// [MQTT-4.3.3-10]
/// v3.1.1 [MQTT-4.3.3-2]
#[test]
fn a_qos_2_message_is_given_once_however_late_it_is_acknowledged() {
    let mut desk = Desk::connected(Version::V5);
    assert_eq!(desk.arrive(QoS::ExactlyOnce, 1), ["message t"]);
    let receipt = desk.receipts.remove(0);
    desk.session.disconnected();
    desk.connect(true);
    assert_eq!(desk.arrive(QoS::ExactlyOnce, 1), [""; 0]);
    assert_eq!(desk.arrive(QoS::AtLeastOnce, 2), ["message t"]);
    let later = desk.receipts.remove(0);
    desk.acknowledge(later);
    assert_eq!(desk.written(), [""; 0]);
    desk.acknowledge(receipt);
    assert_eq!(desk.written(), ["PUBREC #1", "PUBACK #2"]);
}

#[test]
fn an_acknowledgement_between_two_connections_is_remembered_at_qos_2() {
    let mut desk = Desk::connected(Version::V5);
    desk.arrive(QoS::ExactlyOnce, 1);
    desk.arrive(QoS::AtLeastOnce, 2);
    desk.session.disconnected();
    for receipt in take(&mut desk.receipts) {
        desk.acknowledge(receipt);
    }
    desk.connect(true);
    assert_eq!(desk.arrive(QoS::ExactlyOnce, 1), [""; 0]);
    assert_eq!(desk.arrive(QoS::AtLeastOnce, 2), ["message t"]);
    assert_eq!(desk.written(), ["PUBREC #1"]);
}

#[test]
fn a_message_that_was_abandoned_is_given_again() {
    for is_abandoned_late in [false, true] {
        let mut desk = Desk::connected(Version::V5);
        desk.arrive(QoS::ExactlyOnce, 1);
        let receipt = desk.receipts.remove(0);
        if !is_abandoned_late {
            desk.session.abandon(receipt);
        }
        desk.session.disconnected();
        if is_abandoned_late {
            desk.session.abandon(receipt);
        }
        desk.connect(true);
        assert_eq!(desk.arrive(QoS::ExactlyOnce, 1), ["message t"]);
    }
}

/// [MQTT-3.3.4-9] is the broker's duty, and this what becomes of one that breaks it.
#[test]
fn a_broker_beyond_our_receive_maximum_is_left() {
    let mut desk = Desk::connected(Version::V5);
    for packet_id in 1..=3 {
        desk.arrive(QoS::AtLeastOnce, packet_id);
    }
    let fourth = publish(QoS::AtLeastOnce, 4);
    check_fault(&mut desk, &fourth, Violation::ReceiveMaximumExceeded.into());
}

/// [MQTT-2.2.1-3]
/// [Q5-2.2.1-1] v3.1.1 [MQTT-2.3.1-2, Q4-2.3.1-1]
#[test]
fn requests_have_identifiers_of_their_own() {
    let mut desk = Desk::connected(Version::V5);
    let mut requests: Vec<u16> = Vec::new();
    loop {
        match desk.subscribe("t") {
            Ok(id) => requests.push(id),
            Err(unsent) => break assert_eq!(unsent, Unsent::Busy),
        }
    }
    assert_eq!(requests.len(), 16);
    assert!(requests.iter().all(|&it| it > u16::MAX - 16));
    let suback = suback(requests[3], &[1]);
    assert_eq!(desk.handle(&suback), [format!("subscribed {} [1]", requests[3])]);
    assert_eq!(desk.subscribe("t"), Ok(requests[3]));
    check_fault(&mut desk, &self::suback(1, &[1]), Fault::Unexpected(PacketKind::SubAck));
}

/// [MQTT-3.8.4-6]
#[test]
fn each_filter_has_a_reason_code() {
    let mut desk = Desk::connected(Version::V5);
    let request = desk.subscribe("t").unwrap();
    check_fault(&mut desk, &suback(request, &[0, 0]), Fault::ReasonsMiscounted);
}

/// [Q5-3.2.2.3.11-1, Q5-3.2.2.3.12-1, Q5-3.2.2.3.13-1, Q5-3.8.3-1, Q5-3.10.3-1] v3.1.1 [MQTT-3.8.3-1, MQTT-3.8.3-3,
/// MQTT-3.10.3-1, MQTT-3.10.3-2, MQTT-4.7.1-2, MQTT-4.7.1-3]
#[test]
fn subscriptions_that_would_end_the_connection_are_not_asked_for() {
    let mut desk = Desk::offline(Version::V5);
    desk.connect_to(|it| {
        it.wildcard_subscription_available = Some(false);
        it.shared_subscription_available = Some(false);
        it.packet_bytes_max = NonZeroU32::new(30);
    });
    let wildcard = Unsent::NotSupported(ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED);
    let shared = Unsent::NotSupported(ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED);
    for (filter, unsent) in [
        ("a/+", wildcard),
        ("$share/g/a", shared),
        ("a/#/b", Unsent::FilterInvalid),
        ("", Unsent::FilterInvalid),
        ("a/filter/that/is/too/long/for/it", Unsent::TooLarge),
    ] {
        assert_eq!(desk.subscribe(filter), Err(unsent), "{filter}");
    }
    // An identifier is only left out.
    let mut desk = Desk::offline(Version::V5);
    desk.connect_to(|it| it.subscription_id_available = Some(false));
    let (filters, none) = ([("t", SubscriptionOptions::default())], UserProperties::EMPTY);
    desk.session.subscribe(&filters, Some(7), none, &mut desk.buffer).unwrap();
    assert!(desk.written()[0].contains("subscription_id: None"));
    let mut desk = Desk::connected(Version::V5);
    assert_eq!(
        desk.session.subscribe(&[], None, UserProperties::EMPTY, &mut desk.buffer),
        Err(Unsent::FilterInvalid)
    );
    assert_eq!(
        desk.session.unsubscribe(&[], UserProperties::EMPTY, &mut desk.buffer),
        Err(Unsent::FilterInvalid)
    );
    let options = SubscriptionOptions { no_local: true, ..SubscriptionOptions::default() };
    let filters = [("$share/g/a", options)];
    let unsent = desk.session.subscribe(&filters, None, UserProperties::EMPTY, &mut desk.buffer);
    assert_eq!(unsent, Err(Unsent::FilterInvalid));
}

/// [MQTT-3.2.2-4]
#[test]
fn a_session_that_was_not_asked_for_is_a_fault() {
    let mut desk = Desk::offline(Version::V5);
    desk.session.connect(&Connect::new(Version::V5, "client"), &mut desk.buffer);
    check_fault(&mut desk, &accepted(true), Fault::SessionPresent);
}

/// [Q5-2.1.2-1, Q3-2.1-1] v3.1.1 [MQTT-4.8.0-1, Q4-2.2.1-1]
#[test]
fn packets_at_the_wrong_time_are_faults() {
    for packet in [Packet::PingReq, Packet::PingResp, publish(QoS::AtMostOnce, 0)] {
        let mut desk = Desk::offline(Version::V5);
        desk.session.connect(&Connect::new(Version::V5, "client"), &mut desk.buffer);
        check_fault(&mut desk, &packet, Fault::Unexpected(packet.kind()));
    }
    for packet in [accepted(true), Packet::PingReq, Packet::Auth(Auth::default())] {
        let mut desk = Desk::connected(Version::V5);
        check_fault(&mut desk, &packet, Fault::Unexpected(packet.kind()));
    }
    let mut desk = Desk::connected(Version::V311);
    let packet = Packet::Disconnect(Disconnect::default());
    check_fault(&mut desk, &packet, Fault::Unexpected(PacketKind::Disconnect));
}

/// [MQTT-4.13.2-1]
#[test]
fn a_refusal_is_not_a_fault() {
    let mut desk = Desk::offline(Version::V5);
    desk.session.connect(&Connect::new(Version::V5, "client"), &mut desk.buffer);
    let reason = ReasonCode::NOT_AUTHORIZED;
    let connack = ConnAck { reason, ..ConnAck::default() };
    assert_eq!(desk.handle(&Packet::ConnAck(connack)), ["refused 0x87"]);
    assert!(!desk.session.is_connected());
}

/// [MQTT-3.1.2-20], [MQTT-3.1.2-21], [MQTT-3.2.2-21]
#[test]
fn the_server_keep_alive_rules() {
    let mut desk = Desk::offline(Version::V5);
    desk.connect_to(|it| it.server_keep_alive_secs = Some(4));
    desk.written();
    assert_eq!(desk.session.deadline(), Some(Time::from_millis(3_000)));
    desk.now = Time::from_millis(3_000);
    desk.session.on_deadline(desk.now, &mut desk.buffer).unwrap();
    assert_eq!(desk.written(), ["PingReq"]);
    desk.now = Time::from_millis(13_000);
    assert_eq!(desk.session.on_deadline(desk.now, &mut desk.buffer), Err(Fault::Silent));
    desk.session.heard(desk.now);
    assert_eq!(desk.session.on_deadline(desk.now, &mut desk.buffer), Ok(()));
}

/// [MQTT-4.12.0-3], [MQTT-4.12.0-5], [MQTT-4.12.0-7], [MQTT-4.12.1-1]
/// [Q5-3.15-1]
#[test]
fn authentication_goes_back_and_forth() {
    let mut desk = Desk::offline(Version::V5);
    let mut connect = Connect::new(Version::V5, "client");
    connect.properties.authentication_method = Some("m");
    desk.session.connect(&connect, &mut desk.buffer);
    desk.written();
    assert_eq!(desk.handle(&auth(ReasonCode::CONTINUE_AUTHENTICATION, "m")), ["authenticate"]);
    desk.session.authenticate(b"data", &mut desk.buffer).unwrap();
    assert!(desk.written()[0].contains("ReasonCode(24)"));
    desk.handle(&accepted(false));
    desk.session.reauthenticate(b"again", &mut desk.buffer).unwrap();
    assert_eq!(desk.session.reauthenticate(b"", &mut desk.buffer), Err(Unsent::Busy));
    assert!(desk.written()[0].contains("ReasonCode(25)"));
    assert_eq!(desk.handle(&auth(ReasonCode::SUCCESS, "m")), ["authenticated"]);
    desk.session.reauthenticate(b"again", &mut desk.buffer).unwrap();
    let other = auth(ReasonCode::CONTINUE_AUTHENTICATION, "other");
    check_fault(&mut desk, &other, Fault::AuthenticationMethod);

    let mut desk = Desk::connected(Version::V5);
    let unsent = desk.session.reauthenticate(b"", &mut desk.buffer);
    assert_eq!(unsent, Err(Unsent::NotSupported(ReasonCode::BAD_AUTHENTICATION_METHOD)));
}

/// v3.1.1 [MQTT-3.14.4-2]
/// [MQTT-3.14.4-1, Q5-4.12-1]
#[test]
fn nothing_follows_disconnect() {
    for version in Version::ALL {
        let mut desk = Desk::connected(version);
        desk.arrive(QoS::AtLeastOnce, 1);
        desk.session.disconnect(ReasonCode::NORMAL_DISCONNECTION, None, &mut desk.buffer);
        assert_eq!(desk.written().len(), 1);
        desk.publish(QoS::AtMostOnce, "a");
        let receipt = desk.receipts.remove(0);
        desk.acknowledge(receipt);
        assert_eq!(desk.subscribe("t"), Err(Unsent::NotConnected));
        assert_eq!(desk.written(), [""; 0]);
        assert_eq!(desk.session.deadline(), None);
    }
}

#[test]
fn the_oldest_that_was_never_sent_makes_room() {
    let mut desk = Desk::offline(Version::V5);
    desk.connect_to(|it| it.receive_maximum = NonZeroU16::new(1));
    for payload in ["a", "b", "c"] {
        desk.publish(QoS::AtLeastOnce, payload);
    }
    assert_eq!(desk.written(), ["q1 #1 t=a"]);
    assert_eq!(desk.drop_oldest().as_deref(), Some("b"));
    desk.session.disconnected();
    assert_eq!(desk.drop_oldest().as_deref(), Some("c"));
    assert_eq!(desk.session.drop_oldest(), None, "it may have arrived");
    assert_eq!(desk.session.unfinished(), 1);
}

/// v3.1.1 [MQTT-3.3.2-2, MQTT-4.7.1-1, MQTT-4.7.3-2]
#[test]
fn messages_that_no_packet_can_carry_are_not_accepted() {
    let mut desk = Desk::connected(Version::V5);
    for topic in ["", "a/+", "a/#", "a\0"] {
        let refused =
            desk.session.accept(&content(topic, ""), QoS::AtMostOnce, false, String::new());
        assert_eq!(refused, Err((Unacceptable::TopicInvalid, String::new())), "{topic}");
    }
}

/// [MQTT-3.2.2-14], [MQTT-3.2.2-15], [MQTT-3.3.2-2]
#[test]
fn what_need_not_be_kept_is_sent_at_once_or_not_taken() {
    let mut desk = Desk::offline(Version::V5);
    assert!(!desk.send_now("t", "a", false), "no connection");
    desk.send_connect();
    assert!(!desk.send_now("t", "b", false), "no CONNACK");
    desk.handle(&accepted(false));
    assert!(desk.send_now("t", "c", false));
    assert_eq!(desk.written(), ["q0 t=c"]);
    assert!(!desk.send_now("a/+", "d", false), "no topic name");
    desk.publish_quietly(QoS::AtLeastOnce, "e");
    assert!(!desk.send_now("t", "f", false), "it would overtake");
    assert_eq!(desk.written(), ["q1 #1 t=e"]);
    assert!(desk.send_now("t", "g", true));
    assert_eq!(desk.written(), ["q0 retain t=g"]);
    desk.connect_to(|it| {
        it.retain_available = Some(false);
        it.packet_bytes_max = NonZeroU32::new(20);
    });
    assert!(!desk.send_now("t", "h", false), "what comes again is first");
    assert_eq!(desk.written(), ["q1 #1 t=e"]);
    assert!(!desk.send_now("t", "i", true), "nothing is retained");
    assert!(!desk.send_now("t", "larger than the broker takes", false));
    desk.buffer = [0; Desk::OUTBOX_BYTES_MAX].to_vec();
    assert!(!desk.send_now("t", "j", false), "no room");
    assert_eq!(desk.session.unfinished(), 1);
}

/// More messages than a session's queue holds, and than there are packet identifiers.
#[test]
fn a_long_queue_is_sent_in_order() {
    let mut desk = Desk::offline(Version::V5);
    for number in 0..70_000 {
        desk.publish_quietly(QoS::AtLeastOnce, &number.to_string());
    }
    desk.connect_to(|it| it.receive_maximum = NonZeroU16::new(1000));
    let mut number = 0;
    while !desk.session.is_at_rest() {
        for text in desk.written() {
            let (packet_id, payload) = text.split_once(" t=").unwrap();
            assert_eq!(payload, number.to_string());
            number += 1;
            let packet_id = packet_id.trim_start_matches("q1 #").parse().unwrap();
            let acknowledged = desk.ack(PacketKind::PubAck, packet_id, ReasonCode::SUCCESS);
            assert_eq!(acknowledged, [format!("acknowledged {payload} 0x00")]);
        }
    }
    assert_eq!(number, 70_000);
}

#[test]
fn resumption_is_what_connack_says() {
    for (session_present, expected) in [(true, Resumption::Resumed), (false, Resumption::New)] {
        let mut desk = Desk::offline(Version::V5);
        assert_eq!(desk.connect(session_present), [format!("connected {expected:?}")]);
    }
}

#[track_caller]
fn check_fault(desk: &mut Desk, packet: &Packet<'_>, expected: Fault) {
    let event = desk.session.on_packet(desk.now, packet, &mut desk.buffer, &mut desk.done);
    assert_eq!(event.expect_err("the packet is a fault"), expected);
    // The broker is told, if it has heard of 5.0.
    let reason = expected.reason_code();
    desk.buffer.clear();
    desk.session.disconnect(reason, None, &mut desk.buffer);
    assert_eq!(desk.buffer.is_empty(), desk.version != Version::V5);
}

pub(super) fn accepted(session_present: bool) -> Packet<'static> {
    Packet::ConnAck(ConnAck { session_present, ..ConnAck::default() })
}

pub(super) fn publish(qos: QoS, packet_id: u16) -> Packet<'static> {
    let packet_id = (qos > QoS::AtMostOnce).then(|| id(packet_id));
    Packet::Publish(Publish { qos, packet_id, topic: "t", ..Publish::default() })
}

fn suback(packet_id: u16, reasons: &[u8]) -> Packet<'_> {
    Packet::SubAck(SubAck { packet_id: id(packet_id), reasons, properties: Default::default() })
}

fn auth(reason: ReasonCode, method: &'static str) -> Packet<'static> {
    let properties = AuthProperties { method: Some(method), ..AuthProperties::default() };
    Packet::Auth(Auth { reason, properties })
}
