//! What is restored, withdrawn and counted of durable sessions.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use quelea_codec::{QoS, ReasonCode};

use super::Session;
use crate::delivery::Entry;
use crate::testing::{Desk, content, delivery, id, packet_bytes_max};
use crate::{
    Class, Connection, Content, Delivery, GroupId, Message, Position, Pumped, Time, Violation,
    Withdrawn,
};

use QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};

/// A server holds one of each for every client, most of them idle.
#[test]
fn idle_sessions_and_connections_are_small() {
    assert!(size_of::<Session>() <= 40, "{}", size_of::<Session>());
    assert!(size_of::<Connection>() <= 48, "{}", size_of::<Connection>());
}

#[test]
fn queued_entries_are_small() {
    assert!(size_of::<Entry>() <= 48, "{}", size_of::<Entry>());
}

/// The store has it all.
#[test]
fn a_durable_session_without_a_client_holds_nothing() {
    let mut desk = Desk::with_window(Class::Durable, 3);
    desk.restore_sent(0, AtLeastOnce, "0");
    desk.restore_released(1);
    for (position, qos) in [(2, ExactlyOnce), (3, AtLeastOnce), (4, AtMostOnce)] {
        desk.enqueue(position, qos, "a");
    }
    desk.pump();
    pubrec(&mut desk, 3);
    desk.left();
    desk.reconnect(|_| {});
    assert_eq!((desk.session.in_flight(), desk.session.queued_messages()), (0, 0));
    assert!(desk.session.sent.is_none() && desk.session.queue.is_none());
    assert!(!desk.session.wants_pump());
    assert_eq!(desk.session.sent_before(), Position::new(5));
    assert_eq!(desk.left(), (0, 0), "leaving memory is not leaving the queue");
    assert_eq!(desk.finished(), [4], "QoS 0 is done when it is sent");
}

/// Not while an acknowledgement may still come: there is no resending on the same connection.
#[test]
fn a_durable_session_keeps_no_message_that_it_has_sent() {
    let mut desk = Desk::new(Class::Durable, |_| {});
    let message = Message::new(&content("t", "a"));
    let sent = Delivery { group: GroupId::new(1), ..delivery(AtLeastOnce) };
    desk.session.restore_sent(Position::new(0), Arc::clone(&message), sent);
    desk.session.enqueue(Position::new(1), Arc::clone(&message), sent, 0);
    assert_eq!(Arc::strong_count(&message), 3);
    assert_eq!(desk.pump(), Pumped::Empty);
    assert_eq!(desk.session.in_flight(), 2);
    assert_eq!(Arc::strong_count(&message), 1);
}

/// [MQTT-4.4.0-1], [MQTT-3.3.1-1]: in the order sent, before anything new, paced by the new window.
#[test]
fn what_may_have_been_sent_is_sent_again() {
    let mut desk = Desk::with_window(Class::Durable, 1);
    desk.restore_sent(0, AtLeastOnce, "0");
    desk.restore_released(1);
    desk.restore_released(2);
    desk.restore_sent(5, ExactlyOnce, "5");
    desk.enqueue(6, AtLeastOnce, "6");
    assert_eq!(desk.session.waiting_resends(), 4);
    assert_eq!(desk.session.first_open(), Some(Position::new(0)));
    assert_eq!(desk.pump(), Pumped::Blocked);
    // PUBREL takes nothing of the window.
    assert_eq!(desk.written(), ["PUBREL #2", "PUBREL #3", "q1 #1 dup t=0"]);
    // Nor does its PUBCOMP give anything.
    pubcomp(&mut desk, 2);
    assert_eq!(desk.pump(), Pumped::Blocked);
    assert!(desk.written().is_empty());
    puback(&mut desk, 1);
    assert_eq!(desk.pump(), Pumped::Blocked);
    assert_eq!(desk.written(), ["q2 #6 dup t=5"]);
    assert_eq!((desk.session.waiting_resends(), desk.left()), (0, (0, 0)));
    pubrec(&mut desk, 6);
    desk.written();
    pubcomp(&mut desk, 6);
    assert_eq!(desk.pump(), Pumped::Empty);
    assert_eq!(desk.written(), ["q1 #7 t=6"]);
    pubcomp(&mut desk, 3);
    puback(&mut desk, 7);
    assert_eq!(desk.finished(), [1, 0, 5, 2, 6]);
    assert_eq!((desk.session.in_flight(), desk.session.first_open()), (0, None));
    assert_eq!(desk.left().0, 1);
}

/// QoS 0 among what is restored is only queued.
#[test]
fn qos_0_is_in_the_way_of_no_restoring() {
    let mut desk = Desk::new(Class::Durable, |_| {});
    desk.session.set_sent_before(Position::new(5));
    desk.enqueue(0, AtMostOnce, "0");
    desk.restore_sent(1, AtLeastOnce, "1");
    desk.restore_sent(2, AtMostOnce, "2");
    desk.restore_released(3);
    desk.enqueue(5, AtLeastOnce, "5");
    assert_eq!(desk.pump(), Pumped::Empty);
    assert_eq!(desk.written(), ["PUBREL #4", "q1 #2 dup t=1", "q0 t=0", "q0 t=2", "q1 #6 t=5"]);
    assert_eq!(desk.left().0, 1);
}

/// Whatever was sent and acknowledged in between.
#[test]
fn what_is_to_be_sent_again_may_come_in_pages() {
    for window in 1..6 {
        for acknowledged in 0..3 {
            let mut desk = Desk::with_window(Class::Durable, window);
            let mut written = Vec::new();
            for page in 0..4 {
                let at = page * 3;
                desk.restore_sent(at, AtLeastOnce, &at.to_string());
                desk.restore_released(at + 1);
                desk.restore_sent(at + 2, AtLeastOnce, &(at + 2).to_string());
                desk.pump();
                written.extend(desk.written());
                for done in 0..acknowledged {
                    acknowledge_one(&mut desk, &written, done);
                }
            }
            desk.enqueue(12, AtLeastOnce, "12");
            while desk.session.in_flight() > 0 || desk.session.wants_pump() {
                acknowledge_one(&mut desk, &written, 0);
                desk.pump();
                written.extend(desk.written());
            }
            let (pubrels, publishes): (Vec<_>, Vec<_>) =
                written.into_iter().partition(|it| it.starts_with("PUBREL"));
            assert_eq!(pubrels, ["PUBREL #2", "PUBREL #5", "PUBREL #8", "PUBREL #11"]);
            let again = [0, 2, 3, 5, 6, 8, 9, 11].map(|it| format!("q1 #{} dup t={it}", it + 1));
            assert_eq!(publishes[..8], again);
            assert_eq!(publishes[8..], ["q1 #13 t=12"]);
            assert_eq!(desk.finished().len(), 13);
        }
    }
}

/// An acknowledgement that was on its way when the connection broke.
#[test]
fn a_late_acknowledgement_spares_the_resend() {
    let mut desk = Desk::new(Class::Durable, |_| {});
    desk.restore_sent(0, ExactlyOnce, "a");
    desk.restore_sent(1, AtLeastOnce, "b");
    desk.restore_sent(2, AtLeastOnce, "c");
    pubrec(&mut desk, 1);
    puback(&mut desk, 2);
    desk.pump();
    assert_eq!(desk.written(), ["PUBREL #1", "q1 #3 dup t=c"]);
}

/// [MQTT-4.3.3-7]
#[test]
fn what_may_have_been_sent_does_not_expire() {
    let mut desk = Desk::new(Class::Durable, |_| {});
    for (position, qos) in [(0, AtLeastOnce), (1, ExactlyOnce)] {
        let expires_at = Some(Time::ZERO.plus_secs(5));
        let message = Message::new(&Content { expires_at, ..content("t", "a") });
        desk.session.restore_sent(Position::new(position), message, delivery(qos));
    }
    desk.now = Time::ZERO.plus_secs(60);
    desk.pump();
    assert_eq!(desk.written(), ["q1 #1 dup t=a expiry=0", "q2 #2 dup t=a expiry=0"]);
}

/// [MQTT-3.1.2-25]
#[test]
fn what_the_new_connection_does_not_take_is_done_with() {
    let mut desk = Desk::new(Class::Durable, packet_bytes_max(20));
    desk.restore_sent(0, AtLeastOnce, "1234567890123");
    desk.restore_sent(1, AtLeastOnce, "a");
    assert_eq!(desk.pump(), Pumped::Empty);
    assert_eq!(desk.written(), ["q1 #2 dup t=a"]);
    assert_eq!(desk.finished(), [0]);
    assert_eq!(desk.drops(), ["packet-too-large 1234567890123"]);
    assert_eq!(desk.left(), (0, 0));
}

/// It was never sent: two exchanges with one identifier would have been open.
#[test]
fn what_is_too_far_to_have_been_sent_is_queued() {
    let mut desk = Desk::new(Class::Durable, |_| {});
    desk.session.set_sent_before(Position::new(70_000));
    desk.restore_sent(10, AtLeastOnce, "first");
    desk.restore_sent(10 + 65_535, AtLeastOnce, "far");
    desk.restore_sent(10 + 65_536, AtLeastOnce, "farther");
    assert_eq!(desk.session.drop_oldest_queued(&mut desk.fx), None);
    assert_eq!(desk.pump(), Pumped::Blocked);
    assert_eq!(desk.written(), ["q1 #11 dup t=first"]);
    puback(&mut desk, 11);
    assert_eq!(desk.pump(), Pumped::Empty);
    assert_eq!(desk.written(), ["q1 #11 t=far", "q1 #12 t=farther"]);
    assert_eq!(desk.left(), (0, 0), "the restart has counted them as sent");
}

/// [MQTT-3.3.4-4]
#[test]
fn subscription_identifiers_survive_queue_and_resend() {
    for ids in [[].as_slice(), &[7], &[7, 300, 268_435_455]] {
        let delivery = Delivery { subscription_ids: ids, ..delivery(AtLeastOnce) };
        let message = Message::new(&content("t", "a"));
        let suffix: Vec<_> = ids.iter().map(|id| format!(" sub={id}")).collect();

        let mut desk = Desk::new(Class::Durable, |_| {});
        desk.session.restore_sent(Position::new(0), Arc::clone(&message), delivery);
        desk.session.enqueue(Position::new(1), message, delivery, 0);
        desk.pump();
        let suffix = suffix.concat();
        assert_eq!(
            desk.written(),
            [format!("q1 #1 dup t=a{suffix}"), format!("q1 #2 t=a{suffix}")]
        );
    }
}

/// The store must know first that it may have been sent.
#[test]
fn nothing_is_sent_for_the_first_time_beyond_the_mark() {
    let mut desk = Desk::new(Class::Durable, |_| {});
    desk.send_before = Position::new(3);
    desk.restore_sent(5, AtLeastOnce, "a");
    assert_eq!(desk.pump(), Pumped::Empty, "it was sent before");
    assert_eq!(desk.written(), ["q1 #6 dup t=a"]);

    let mut desk = Desk::new(Class::Durable, |_| {});
    desk.send_before = Position::new(3);
    for (position, qos) in [(2, AtLeastOnce), (3, AtMostOnce), (4, AtLeastOnce)] {
        desk.enqueue(position, qos, "a");
    }
    assert_eq!(desk.pump(), Pumped::Blocked);
    assert_eq!(desk.written(), ["q1 #3 t=a"]);
    assert_eq!(desk.session.sent_before(), Position::new(3));
    desk.send_before = Position::new(5);
    assert_eq!(desk.pump(), Pumped::Empty);
    assert_eq!(desk.written(), ["q0 t=a", "q1 #5 t=a"]);
    assert_eq!(desk.session.sent_before(), Position::new(5));
}

/// Otherwise a mark a little ahead of what was sent would never reach it.
#[test]
fn positions_without_a_message_are_passed_over() {
    let mut desk = Desk::new(Class::Durable, |_| {});
    desk.send_before = Position::new(100);
    desk.enqueue(5_000, AtLeastOnce, "a");
    assert_eq!(desk.pump(), Pumped::Blocked);
    assert_eq!(desk.session.sent_before(), Position::new(5_000));
    desk.send_before = Position::new(5_100);
    assert_eq!(desk.pump(), Pumped::Empty);
    assert_eq!(desk.left().0, 1);
}

#[test]
fn the_mark_of_what_was_sent_never_falls() {
    let mut desk = Desk::new(Class::Durable, |_| {});
    desk.session.set_sent_before(Position::new(40));
    desk.session.set_sent_before(Position::new(30));
    desk.restore_sent(7, AtLeastOnce, "a");
    desk.restore_released(8);
    desk.pump();
    desk.reconnect(|_| {});
    assert_eq!(desk.session.sent_before(), Position::new(40));
}

/// Kept while the client was away: in order, without exchange or quota, but not at the cost of the outbox.
#[test]
fn qos_0_of_the_queue_is_sent_and_done() {
    let mut desk = Desk::with_window(Class::Durable, 1);
    for (position, qos) in [(0, AtMostOnce), (1, AtLeastOnce), (2, AtMostOnce), (3, AtLeastOnce)] {
        desk.enqueue(position, qos, &position.to_string());
    }
    desk.enqueue(4, AtMostOnce, "4");
    assert_eq!(desk.pump(), Pumped::Blocked);
    assert_eq!(desk.written(), ["q0 t=0", "q1 #2 t=1", "q0 t=2"]);
    assert_eq!(desk.finished(), [0, 2]);
    assert_eq!(desk.left().0, 3);
    puback(&mut desk, 2);
    desk.outbox_bytes_max = 1;
    assert_eq!(desk.pump(), Pumped::Blocked);
    assert_eq!(desk.written(), ["q1 #4 t=3"]);
    assert_eq!(desk.pump(), Pumped::Empty);
    assert_eq!(desk.written(), ["q0 t=4"]);
    assert!(desk.drops().is_empty());
}

/// A newer retained message comes by itself.
#[test]
fn a_retained_message_is_sent_if_it_is_the_latest() {
    let mut desk = Desk::with_window(Class::Durable, 1);
    let retained = Delivery { retain: true, ..delivery(AtLeastOnce) };
    let message = Message::new(&content("r", "old"));
    for position in 0..2 {
        desk.session.enqueue(Position::new(position), Arc::clone(&message), retained, 8);
    }
    desk.latest = 8;
    desk.pump();
    assert_eq!(desk.written(), ["q1 #1 retain r=old"]);
    desk.latest = 9;
    puback(&mut desk, 1);
    assert_eq!(desk.pump(), Pumped::Empty);
    assert!(desk.written().is_empty());
    assert_eq!(desk.finished(), [0, 1]);
    assert!(desk.drops().is_empty());
    assert_eq!(desk.left(), (2, 0), "the topic has the bytes");

    // What was sent once is the same when it is sent again.
    desk.reconnect(|_| {});
    desk.session.restore_sent(Position::new(2), message, retained);
    desk.pump();
    assert_eq!(desk.written(), ["q1 #3 dup retain r=old"]);
}

/// Whatever becomes of it, a message leaves once.
#[test]
fn what_leaves_the_queue_is_counted() {
    let mut desk = Desk::new(Class::Durable, |_| {});
    let message = |expires_at| Message::new(&Content { expires_at, ..content("t", "12345") });
    let (fresh, expired) = (message(None), message(Some(Time::ZERO)));
    let bytes = fresh.size_bytes() as u64;
    for position in 0..5 {
        let message = Arc::clone(if position == 1 { &expired } else { &fresh });
        desk.session.enqueue(Position::new(position), message, delivery(AtLeastOnce), 0);
    }
    desk.send_before = Position::new(2);
    assert_eq!(desk.pump(), Pumped::Blocked);
    assert_eq!(desk.left(), (2, 2 * bytes), "sent, and expired");
    assert_eq!(desk.session.drop_oldest_queued(&mut desk.fx), Some(Position::new(2)));
    assert_eq!(desk.left(), (1, bytes), "dropped");
    assert_eq!(withdraw(&mut desk, 4), Withdrawn::Queued);
    assert_eq!(desk.left(), (1, bytes), "withdrawn");
    assert_eq!(withdraw(&mut desk, 0), Withdrawn::Sent);
    puback(&mut desk, 1);
    assert_eq!(desk.left(), (0, 0), "it had left when it was sent");
    assert_eq!(desk.session.queued_messages(), 1);
}

/// [MQTT-4.8.2-5]
#[test]
fn what_was_sent_at_qos_2_is_not_withdrawn() {
    let mut desk = Desk::with_window(Class::Durable, 4);
    desk.restore_released(0);
    desk.restore_sent(1, ExactlyOnce, "b");
    desk.restore_sent(2, AtLeastOnce, "c");
    desk.pump();
    for position in 3..7 {
        desk.enqueue(position, [ExactlyOnce, AtLeastOnce][position as usize % 2], "d");
    }
    desk.pump();
    pubrec(&mut desk, 2);
    let found = [0, 1, 2, 3, 4, 5, 6, 7].map(|position| withdraw(&mut desk, position));
    let (kept, sent, queued) = (Withdrawn::Kept, Withdrawn::Sent, Withdrawn::Queued);
    assert_eq!(found, [kept, kept, sent, sent, kept, queued, queued, Withdrawn::Absent]);
    // Nothing twice.
    let found = [2, 3, 5, 6].map(|position| withdraw(&mut desk, position));
    assert_eq!(found, [Withdrawn::Absent; 4]);
}

#[test]
fn a_withdrawn_message_is_neither_sent_again_nor_finished() {
    let group = GroupId::new(5);
    let mut desk = Desk::with_window(Class::Durable, 2);
    let message = Message::new(&content("t", "a"));
    let shared = Delivery { group, ..delivery(AtLeastOnce) };
    for position in 0..3 {
        desk.session.restore_sent(Position::new(position), Arc::clone(&message), shared);
    }
    desk.pump();
    desk.written();
    // The client acknowledges what it was sent, and only then the identifier is free.
    for position in [0, 2] {
        assert_eq!(withdraw(&mut desk, position), Withdrawn::Sent);
    }
    assert_eq!((desk.session.in_flight(), desk.session.waiting_resends()), (2, 0));
    assert_eq!(desk.pump(), Pumped::Empty);
    assert!(!desk.connection.send_quota.is_open());
    let after =
        desk.session.on_pubrec(&mut desk.connection, id(1), ReasonCode::SUCCESS, &mut desk.fx);
    assert_eq!(after, Err(Violation::AcknowledgementMismatched));
    puback(&mut desk, 1);
    assert!(desk.finished().is_empty());
    assert!(desk.connection.send_quota.is_open());
    puback(&mut desk, 2);
    assert_eq!(desk.finished(), [1]);
    assert!(desk.written().is_empty());
    assert_eq!(desk.session.in_flight(), 0);
}

fn withdraw(desk: &mut Desk, position: u64) -> Withdrawn {
    desk.session.withdraw(Position::new(position), &mut desk.fx)
}

/// Completes the exchange of what was written, if it is open, behind `skipped` others.
fn acknowledge_one(desk: &mut Desk, written: &[String], skipped: usize) {
    let mut open = written.iter().filter_map(|text| {
        let value = text.split([' ', '#']).find_map(|word| word.parse().ok())?;
        desk.session.find_sent(id(value)).map(|_| (text.starts_with("PUBREL"), value))
    });
    match open.nth(skipped) {
        Some((true, value)) => pubcomp(desk, value),
        Some((false, value)) => puback(desk, value),
        None => {}
    }
}

#[track_caller]
fn puback(desk: &mut Desk, packet_id: u16) {
    let Desk { session, connection, fx, .. } = desk;
    let after = session.on_puback(connection, id(packet_id), ReasonCode::SUCCESS, fx);
    assert!(matches!(after, Ok(crate::AfterPuback::Freed { .. })), "{after:?}");
}

#[track_caller]
fn pubrec(desk: &mut Desk, packet_id: u16) {
    let Desk { session, connection, fx, buffer, .. } = desk;
    let after = session.on_pubrec(connection, id(packet_id), ReasonCode::SUCCESS, fx);
    assert!(matches!(after, Ok(crate::AfterPubrec::Release { .. })), "{after:?}");
    session.finish_pubrec(connection, id(packet_id), ReasonCode::SUCCESS, buffer);
}

#[track_caller]
fn pubcomp(desk: &mut Desk, packet_id: u16) {
    let Desk { session, connection, fx, .. } = desk;
    let after = session.on_pubcomp(connection, id(packet_id), fx);
    assert!(matches!(after, Ok(crate::AfterPubcomp::Freed { .. })), "{after:?}");
}
