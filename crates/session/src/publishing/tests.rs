use alloc::string::String;

use quelea_codec::{
    PacketId, Publish, PublishProperties, QoS, ReasonCode, SubscriptionIds, Version,
};

use super::{AfterPubrel, AfterSettle, Duplicate};
use crate::testing::{Desk, agreed, id, server};
use crate::{Class, Connection, Violation, negotiate};

/// [MQTT-4.3.2-4], [MQTT-4.3.3-8], [MQTT-4.3.3-11]
#[test]
fn each_qos_has_its_answer() {
    for version in Version::ALL {
        let mut desk = Desk::of_version(version, Class::Live, |_| {});
        for (qos, answer) in [(QoS::AtLeastOnce, "PUBACK #7"), (QoS::ExactlyOnce, "PUBREC #7")] {
            assert_eq!(arrive(&mut desk, qos, 7), Ok(Duplicate::No));
            answer_with(&mut desk, qos, 7, ReasonCode::SUCCESS);
            assert_eq!(desk.written(), [answer]);
        }
        release(&mut desk, 7, AfterPubrel::Complete, ReasonCode::SUCCESS);
        assert_eq!(desk.written(), ["PUBCOMP #7"]);
    }
}

/// [MQTT-4.3.2-5]
#[test]
fn a_qos_1_message_is_always_new() {
    let mut desk = Desk::new(Class::Live, |_| {});
    for _ in 0..10 {
        assert_eq!(arrive(&mut desk, QoS::AtLeastOnce, 1), Ok(Duplicate::No));
        answer_with(&mut desk, QoS::AtLeastOnce, 1, ReasonCode::SUCCESS);
    }
}

/// [MQTT-4.3.3-10], [MQTT-4.3.3-12]
#[test]
fn a_qos_2_message_is_new_once_until_it_is_released() {
    let mut desk = Desk::new(Class::Live, |_| {});
    for _ in 0..10 {
        assert_eq!(arrive(&mut desk, QoS::ExactlyOnce, 1), Ok(Duplicate::No));
        assert_eq!(arrive(&mut desk, QoS::ExactlyOnce, 1), Ok(Duplicate::WaitsForFirst));
        answer_with(&mut desk, QoS::ExactlyOnce, 1, ReasonCode::SUCCESS);
        assert_eq!(arrive(&mut desk, QoS::ExactlyOnce, 1), Ok(Duplicate::Repeat));
        answer_with(&mut desk, QoS::ExactlyOnce, 1, ReasonCode::SUCCESS);
        assert_eq!(desk.written(), ["PUBREC #1", "PUBREC #1"]);
        // The identifier is held until the store has forgotten it.
        assert_eq!(desk.session.on_pubrel(id(1)), Ok(AfterPubrel::Complete));
        assert_eq!(arrive(&mut desk, QoS::ExactlyOnce, 1), Ok(Duplicate::Repeat));
        release(&mut desk, 1, AfterPubrel::Complete, ReasonCode::SUCCESS);
        desk.written();
    }
}

/// [MQTT-4.3.3-9]
#[test]
fn a_refused_message_may_come_again() {
    let mut desk = Desk::new(Class::Live, |_| {});
    for _ in 0..10 {
        assert_eq!(arrive(&mut desk, QoS::ExactlyOnce, 1), Ok(Duplicate::No));
        answer_with(&mut desk, QoS::ExactlyOnce, 1, ReasonCode::QUOTA_EXCEEDED);
        assert_eq!(desk.written(), ["PUBREC #1 0x97"]);
    }
}

/// Section 3.7.2.1. 3.x has no reason codes.
#[test]
fn an_unknown_pubrel_is_answered() {
    for (version, pubcomp) in [(Version::V5, "PUBCOMP #1 0x92"), (Version::V311, "PUBCOMP #1")] {
        let mut desk = Desk::of_version(version, Class::Live, |_| {});
        release(&mut desk, 1, AfterPubrel::Unknown, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND);
        assert_eq!(desk.written(), [pubcomp]);
    }
}

#[test]
fn a_pubrel_before_its_pubrec_is_a_violation() {
    let mut desk = Desk::new(Class::Live, |_| {});
    assert_eq!(arrive(&mut desk, QoS::ExactlyOnce, 1), Ok(Duplicate::No));
    assert_eq!(desk.session.on_pubrel(id(1)), Err(Violation::PubrelTooEarly));
}

/// [MQTT-3.3.4-7]: the server of these tests has a Receive Maximum of 3.
#[test]
fn more_than_receive_maximum_is_a_violation() {
    let too_many = Err(Violation::ReceiveMaximumExceeded);
    let mut desk = Desk::new(Class::Durable, |_| {});
    for value in 1..=3 {
        arrive(&mut desk, QoS::ExactlyOnce, value).unwrap();
        answer_with(&mut desk, QoS::ExactlyOnce, value, ReasonCode::SUCCESS);
    }
    // A duplicate is not one more.
    assert_eq!(arrive(&mut desk, QoS::ExactlyOnce, 3), Ok(Duplicate::Repeat));
    assert_eq!(arrive(&mut desk, QoS::AtLeastOnce, 4), too_many);

    // The quota is new with each connection.
    desk.reconnect(|_| {});
    assert_eq!(arrive(&mut desk, QoS::ExactlyOnce, 3), Ok(Duplicate::Repeat));
    assert_eq!(arrive(&mut desk, QoS::AtLeastOnce, 4), Ok(Duplicate::No));
    assert_eq!(arrive(&mut desk, QoS::ExactlyOnce, 5), Ok(Duplicate::No));
    assert_eq!(arrive(&mut desk, QoS::AtLeastOnce, 6), too_many);
    answer_with(&mut desk, QoS::AtLeastOnce, 4, ReasonCode::NOT_AUTHORIZED);
    answer_with(&mut desk, QoS::ExactlyOnce, 5, ReasonCode::NOT_AUTHORIZED);
    release(&mut desk, 3, AfterPubrel::Complete, ReasonCode::SUCCESS);
    for value in 7..=9 {
        assert_eq!(arrive(&mut desk, QoS::AtLeastOnce, value), Ok(Duplicate::No));
    }
    assert_eq!(arrive(&mut desk, QoS::AtLeastOnce, 10), too_many);
}

/// They have no Receive Maximum.
#[test]
fn clients_of_3_x_may_have_all_identifiers_under_way() {
    let mut desk = Desk::of_version(Version::V311, Class::Live, |_| {});
    for value in 1..=u16::MAX {
        assert_eq!(arrive(&mut desk, QoS::ExactlyOnce, value), Ok(Duplicate::No));
    }
}

/// A QoS 2 message on its way to the store is not routed again when it comes again on the next connection.
#[test]
fn a_duplicate_waits_for_a_first_copy_of_an_earlier_connection() {
    for (reason, repeated) in
        [(ReasonCode::SUCCESS, Duplicate::Repeat), (ReasonCode::QUOTA_EXCEEDED, Duplicate::No)]
    {
        // It comes again before the store has answered ...
        let mut desk = Desk::new(Class::Durable, |_| {});
        arrive(&mut desk, QoS::ExactlyOnce, 1).unwrap();
        desk.reconnect(|_| {});
        for _ in 0..2 {
            assert_eq!(arrive(&mut desk, QoS::ExactlyOnce, 1), Ok(Duplicate::WaitsForFirst));
        }
        assert_eq!(desk.session.settle_publish(id(1), reason), AfterSettle::Answer);
        answer_with(&mut desk, QoS::ExactlyOnce, 1, reason);
        assert_eq!(arrive(&mut desk, QoS::ExactlyOnce, 1), Ok(repeated));

        // ... or after.
        let mut desk = Desk::new(Class::Durable, |_| {});
        arrive(&mut desk, QoS::ExactlyOnce, 1).unwrap();
        desk.session.disconnected(|_| true);
        assert_eq!(desk.session.settle_publish(id(1), reason), AfterSettle::Nothing);
        assert_eq!(arrive(&mut desk, QoS::ExactlyOnce, 1), Ok(repeated));
    }
}

#[test]
fn what_never_went_to_the_store_is_forgotten_with_the_connection() {
    let mut desk = Desk::new(Class::Durable, |_| {});
    arrive(&mut desk, QoS::ExactlyOnce, 1).unwrap();
    arrive(&mut desk, QoS::ExactlyOnce, 2).unwrap();
    answer_with(&mut desk, QoS::ExactlyOnce, 2, ReasonCode::SUCCESS);
    desk.session.disconnected(|_| false);
    assert_eq!(arrive(&mut desk, QoS::ExactlyOnce, 1), Ok(Duplicate::No));
    assert_eq!(arrive(&mut desk, QoS::ExactlyOnce, 2), Ok(Duplicate::Repeat));
}

/// The second connection has nothing on its way to the store; what the first one has is none of its business.
#[test]
fn a_duplicate_waits_however_many_connections_come_and_go() {
    let mut desk = Desk::new(Class::Durable, |_| {});
    arrive(&mut desk, QoS::ExactlyOnce, 1).unwrap();
    arrive(&mut desk, QoS::ExactlyOnce, 2).unwrap();
    desk.session.disconnected(|packet_id| packet_id == id(1));
    desk.session.disconnected(|_| false);
    assert_eq!(arrive(&mut desk, QoS::ExactlyOnce, 1), Ok(Duplicate::WaitsForFirst));
    let reason = ReasonCode::SUCCESS;
    assert_eq!(desk.session.settle_publish(id(1), reason), AfterSettle::Answer);
}

#[test]
fn accepted_identifiers_survive_a_restart() {
    let mut desk = Desk::new(Class::Durable, |_| {});
    desk.session.restore_received(id(4));
    assert_eq!(arrive(&mut desk, QoS::ExactlyOnce, 4), Ok(Duplicate::Repeat));
    release(&mut desk, 4, AfterPubrel::Complete, ReasonCode::SUCCESS);
    assert_eq!(arrive(&mut desk, QoS::ExactlyOnce, 4), Ok(Duplicate::No));
}

/// The cases of section 3.3.4; the server of these tests has a Topic Alias Maximum of 5.
#[test]
fn aliases_stand_for_topics() {
    let mut desk = Desk::new(Class::Live, |_| {});
    for (topic, alias, outcome) in [
        ("", None, Err(Violation::TopicNameMissing)),
        ("", Some(1), Err(Violation::TopicAliasUnknown)),
        ("a", Some(1), Ok("a")),
        ("b", None, Ok("b")),
        ("", Some(1), Ok("a")),
        ("c", Some(1), Ok("c")),
        ("", Some(1), Ok("c")),
        ("d", Some(5), Ok("d")),
        ("", Some(5), Ok("d")),
        ("", Some(3), Err(Violation::TopicAliasUnknown)),
        ("e", Some(6), Err(Violation::TopicAliasAboveMaximum)),
        ("", Some(6), Err(Violation::TopicAliasAboveMaximum)),
        ("f", Some(0), Err(Violation::TopicAliasAboveMaximum)),
    ] {
        let properties = PublishProperties { topic_alias: alias, ..PublishProperties::default() };
        let publish = Publish { topic, properties, ..Publish::default() };
        let inbound = desk.session.on_publish(&mut desk.connection, &publish);
        let found = inbound.map(|it| String::from(&*it.topic));
        assert_eq!(found, outcome.map(String::from), "{topic} {alias:?}");
    }
    // [MQTT-3.3.2-7]
    desk.connection = Connection::new(&agreed(Version::V5, |_| {}));
    let properties = PublishProperties { topic_alias: Some(1), ..PublishProperties::default() };
    let publish = Publish { properties, ..Publish::default() };
    let inbound = desk.session.on_publish(&mut desk.connection, &publish);
    assert_eq!(inbound.err(), Some(Violation::TopicAliasUnknown));
}

/// [MQTT-3.2.2-11], [MQTT-3.2.2-14], [MQTT-3.3.4-6]
#[test]
fn what_the_server_does_not_offer_is_a_violation() {
    let limits =
        crate::ServerLimits { qos_max: QoS::AtLeastOnce, retain_available: false, ..server() };
    let connect = quelea_codec::Connect::new(Version::V5, "client");
    let mut connection = Connection::new(&negotiate(&connect, &limits).unwrap());
    let ids = PublishProperties {
        subscription_ids: SubscriptionIds::from_slice(&[1]),
        ..PublishProperties::default()
    };
    let publish = Publish { topic: "t", ..Publish::default() };
    let packet_id = PacketId::new(1);
    for (publish, violation) in [
        (Publish { qos: QoS::ExactlyOnce, packet_id, ..publish }, Some(Violation::QoSNotSupported)),
        (Publish { qos: QoS::AtLeastOnce, packet_id, ..publish }, None),
        (Publish { retain: true, ..publish }, Some(Violation::RetainNotSupported)),
        (Publish { properties: ids, ..publish }, Some(Violation::SubscriptionIdFromClient)),
    ] {
        let mut session = crate::Session::new(Class::Live);
        let outcome = session.on_publish(&mut connection, &publish);
        assert_eq!(outcome.err(), violation, "{publish:?}");
    }
}

#[track_caller]
fn arrive(desk: &mut Desk, qos: QoS, packet_id: u16) -> Result<Duplicate, Violation> {
    let publish =
        Publish { qos, topic: "t", packet_id: PacketId::new(packet_id), ..Publish::default() };
    let inbound = desk.session.on_publish(&mut desk.connection, &publish)?;
    assert_eq!(&*inbound.topic, "t");
    Ok(inbound.duplicate)
}

fn answer_with(desk: &mut Desk, qos: QoS, packet_id: u16, reason: ReasonCode) {
    desk.session.finish_publish(&mut desk.connection, qos, id(packet_id), reason, &mut desk.buffer);
}

#[track_caller]
fn release(desk: &mut Desk, packet_id: u16, after: AfterPubrel, reason: ReasonCode) {
    assert_eq!(desk.session.on_pubrel(id(packet_id)), Ok(after));
    desk.session.finish_pubrel(&mut desk.connection, id(packet_id), reason, &mut desk.buffer);
}
