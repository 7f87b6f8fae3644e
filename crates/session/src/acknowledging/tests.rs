use quelea_codec::{QoS, ReasonCode, Version};

use super::{AfterPuback, AfterPubcomp, AfterPubrec};
use crate::testing::{Desk, content, delivery, id};
use crate::{Class, Delivery, GroupId, Position, Violation};

/// An acknowledgement of the client, and what it leads to.
#[derive(Clone, Copy, Debug)]
enum Step {
    Puback(u16, u8, Result<AfterPuback, Violation>),
    Pubrec(u16, u8, Result<AfterPubrec, Violation>),
    Pubcomp(u16, Result<AfterPubcomp, Violation>),
    /// The host writes PUBREL.
    Release(u16),
}

use Step::{Puback, Pubcomp, Pubrec, Release};

const FREED: Result<AfterPuback, Violation> = Ok(AfterPuback::Freed { group: None });
const COMPLETE: Result<AfterPubcomp, Violation> = Ok(AfterPubcomp::Freed { group: None });
const FIRST: Result<AfterPubrec, Violation> =
    Ok(AfterPubrec::Release { position: Position::new(0) });
const AGAIN: Result<AfterPubrec, Violation> = Ok(AfterPubrec::ReleaseAgain);
const REFUSED: Result<AfterPubrec, Violation> = Ok(AfterPubrec::Refused { group: None });

/// [MQTT-4.3.2-3], [MQTT-4.4.0-2]
#[test]
fn qos_1_ends_with_puback() {
    check(QoS::AtLeastOnce, &[Puback(1, 0, FREED), Puback(1, 0, Ok(AfterPuback::Unknown))]);
    check(QoS::AtLeastOnce, &[Puback(1, 0x87, Ok(AfterPuback::Refused { group: None }))]);
}

/// [MQTT-4.3.3-4], [MQTT-4.3.3-5]
#[test]
fn qos_2_ends_with_pubcomp() {
    let unknown = Ok(AfterPubcomp::Unknown);
    check(
        QoS::ExactlyOnce,
        &[Pubrec(1, 0, FIRST), Release(1), Pubcomp(1, COMPLETE), Pubcomp(1, unknown)],
    );
}

/// [MQTT-4.3.3-4]
#[test]
fn a_repeated_pubrec_asks_for_its_pubrel_again() {
    let waits = Ok(AfterPubrec::WaitsForFirst);
    check(
        QoS::ExactlyOnce,
        &[
            Pubrec(1, 0, FIRST),
            Pubrec(1, 0, waits),
            Pubrec(1, 0x97, waits),
            Release(1),
            Pubrec(1, 0, AGAIN),
            Release(1),
            Pubrec(1, 0x97, AGAIN),
            Release(1),
            Pubcomp(1, COMPLETE),
        ],
    );
}

/// [MQTT-4.4.0-2]
#[test]
fn a_refused_message_is_done() {
    check(QoS::ExactlyOnce, &[Pubrec(1, 0x97, REFUSED), Pubrec(1, 0, Ok(AfterPubrec::Unknown))]);
    // [MQTT-4.3.3-4]: no PUBREL answers a refusal, not even one of a message we do not know.
    check(QoS::ExactlyOnce, &[Pubrec(1, 0x97, REFUSED), Pubrec(1, 0x97, REFUSED)]);
}

/// Section 4.3.3: Packet Identifier not found. 3.x has no reason codes.
#[test]
fn an_unknown_pubrec_is_answered() {
    for (version, pubrel) in
        [(Version::V5, "PUBREL #9 0x92"), (Version::V311, "PUBREL #9"), (Version::V31, "PUBREL #9")]
    {
        let mut desk = Desk::of_version(version, Class::Live, |_| {});
        apply(&mut desk, Pubrec(9, 0, Ok(AfterPubrec::Unknown)));
        desk.session.finish_pubrec(
            &mut desk.connection,
            id(9),
            ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
            &mut desk.buffer,
        );
        assert_eq!(desk.written(), [pubrel]);
    }
}

#[test]
fn an_acknowledgement_of_the_wrong_kind_is_a_violation() {
    const WRONG: Violation = Violation::AcknowledgementMismatched;
    check_open(QoS::AtLeastOnce, &[Pubrec(1, 0, Err(WRONG)), Pubcomp(1, Err(WRONG))]);
    check_open(QoS::ExactlyOnce, &[Puback(1, 0, Err(WRONG)), Pubcomp(1, Err(WRONG))]);
    check_open(
        QoS::ExactlyOnce,
        &[Pubrec(1, 0, FIRST), Puback(1, 0, Err(WRONG)), Pubcomp(1, Err(WRONG))],
    );
    check_open(QoS::ExactlyOnce, &[Pubrec(1, 0, FIRST), Release(1), Puback(1, 0, Err(WRONG))]);
}

/// The host learns of the group whenever a member has one message less in flight.
#[test]
fn the_group_is_told() {
    let group = GroupId::new(3);
    let mut desk = Desk::new(Class::Live, |_| {});
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::ExactlyOnce, QoS::AtLeastOnce] {
        desk.deliver_as(Delivery { group, ..delivery(qos) }, &content("t", "a"));
    }
    apply(&mut desk, Puback(1, 0, Ok(AfterPuback::Freed { group })));
    apply(&mut desk, Pubrec(2, 0x80, Ok(AfterPubrec::Refused { group })));
    apply(&mut desk, Pubrec(3, 0, Ok(AfterPubrec::Release { position: Position::new(2) })));
    apply(&mut desk, Release(3));
    apply(&mut desk, Pubcomp(3, Ok(AfterPubcomp::Freed { group })));
    apply(&mut desk, Puback(4, 0x80, Ok(AfterPuback::Refused { group })));
}

/// Runs the steps on a message of `qos` that is in flight; then nothing must be left, and the quota be whole.
#[track_caller]
fn check(qos: QoS, steps: &[Step]) {
    for class in [Class::Live, Class::Durable] {
        let mut desk = sent(class, qos);
        for &step in steps {
            apply(&mut desk, step);
        }
        assert_eq!(desk.session.in_flight(), 0);
        assert!(desk.connection.send_quota.is_open());
        let left: &[u64] = if class == Class::Durable { &[0] } else { &[] };
        assert_eq!(desk.finished(), left);
        desk.session.release_idle();
        assert!(desk.session.sent.is_none());
    }
}

/// The same, with the message still in flight at the end.
#[track_caller]
fn check_open(qos: QoS, steps: &[Step]) {
    let mut desk = sent(Class::Live, qos);
    for &step in steps {
        apply(&mut desk, step);
    }
    assert_eq!(desk.session.in_flight(), 1);
    assert!(!desk.connection.send_quota.is_open());
}

fn sent(class: Class, qos: QoS) -> Desk {
    let mut desk = Desk::with_window(class, 1);
    match class {
        Class::Live => {
            desk.deliver(qos, "a");
        }
        Class::Durable => {
            desk.enqueue(0, qos, "a");
            desk.pump();
        }
    }
    desk
}

#[track_caller]
fn apply(desk: &mut Desk, step: Step) {
    let Desk { session, connection, fx, buffer, .. } = desk;
    match step {
        Puback(value, reason, after) => {
            assert_eq!(session.on_puback(connection, id(value), ReasonCode(reason), fx), after);
        }
        Pubrec(value, reason, after) => {
            assert_eq!(session.on_pubrec(connection, id(value), ReasonCode(reason), fx), after);
        }
        Pubcomp(value, after) => {
            assert_eq!(session.on_pubcomp(connection, id(value), fx), after);
        }
        Release(value) => session.finish_pubrec(connection, id(value), ReasonCode::SUCCESS, buffer),
    }
}
