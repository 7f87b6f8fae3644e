use alloc::format;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use quelea_codec::{QoS, ReasonCode, Version};

use super::Pumped;
use crate::testing::{Desk, content, delivery, id, packet_bytes_max};
use crate::{
    Class, Content, Delivered, Delivery, DropReason, GroupId, Message, Overflow, Position, Time,
};

use QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};

/// [MQTT-4.3.1-1], [MQTT-4.3.2-2], [MQTT-4.3.3-2]
#[test]
fn what_is_sent_first_has_a_fresh_identifier_and_no_dup() {
    for version in Version::ALL {
        let mut desk = Desk::of_version(version, Class::Live, |_| {});
        for (qos, payload) in [(AtMostOnce, "a"), (AtLeastOnce, "b"), (ExactlyOnce, "c")] {
            assert_eq!(desk.deliver(qos, payload), Delivered::Sent);
        }
        assert_eq!(desk.written(), ["q0 t=a", "q1 #1 t=b", "q2 #2 t=c"]);
        assert_eq!(desk.fx.sent, 3);
        assert_eq!(desk.session.in_flight(), 2);
    }
}

/// [MQTT-3.3.4-9], [MQTT-4.9.0-2]: QoS 1 and 2 count together, QoS 0 does not.
#[test]
fn the_window_holds_back_qos_1_and_2() {
    let mut desk = Desk::with_window(Class::Live, 2);
    check(&mut desk, &[(AtLeastOnce, "a", SENT), (ExactlyOnce, "b", SENT)]);
    check(
        &mut desk,
        &[(AtLeastOnce, "c", QUEUED), (AtMostOnce, "d", SENT), (AtLeastOnce, "e", QUEUED)],
    );
    assert_eq!(desk.written(), ["q1 #1 t=a", "q2 #2 t=b", "q0 t=d"]);
    assert_eq!(desk.pump(), Pumped::Blocked);

    puback(&mut desk, 1);
    // What is queued goes before what comes.
    check(&mut desk, &[(AtLeastOnce, "f", QUEUED)]);
    assert_eq!(desk.pump(), Pumped::Blocked);
    assert_eq!(desk.written(), ["q1 #3 t=c"]);
    puback(&mut desk, 3);
    desk.pump();
    puback(&mut desk, 4);
    assert_eq!(desk.pump(), Pumped::Empty);
    assert_eq!(desk.written(), ["q1 #4 t=e", "q1 #5 t=f"]);
    assert!(!desk.session.wants_pump());
}

/// [MQTT-4.3.2-1]
#[test]
fn a_live_session_does_not_use_an_identifier_twice() {
    let mut desk = Desk::new(Class::Live, |_| {});
    for position in 0..65_535 {
        assert_eq!(desk.deliver(AtLeastOnce, "a"), SENT);
        desk.buffer.clear();
        if position > 0 {
            puback(&mut desk, Position::new(position).packet_id().value());
        }
    }
    assert_eq!(desk.deliver(AtLeastOnce, "b"), QUEUED);
    assert_eq!(desk.session.in_flight(), 1);
    puback(&mut desk, 1);
    desk.pump();
    assert_eq!(desk.written(), ["q1 #1 t=b"]);
}

/// Position s is not sent while one at or below s - 65,535 is open, though the window is.
#[test]
fn an_open_exchange_blocks_the_next_use_of_its_identifier() {
    let mut desk = Desk::new(Class::Durable, |_| {});
    desk.enqueue(10, AtLeastOnce, "first");
    desk.enqueue(11, AtLeastOnce, "second");
    desk.enqueue(10 + 65_534, AtLeastOnce, "near");
    desk.enqueue(10 + 65_535, AtLeastOnce, "far");
    assert_eq!(desk.pump(), Pumped::Blocked);
    assert_eq!(desk.written(), ["q1 #11 t=first", "q1 #12 t=second", "q1 #10 t=near"]);
    puback(&mut desk, 12);
    assert_eq!(desk.pump(), Pumped::Blocked);
    puback(&mut desk, 11);
    assert_eq!(desk.pump(), Pumped::Empty);
    assert_eq!(desk.written(), ["q1 #11 t=far"]);
    assert_eq!(desk.finished(), [11, 10]);
}

#[test]
fn a_full_outbox_drops_qos_0_and_queues_the_rest() {
    let mut desk = Desk::new(Class::Live, |_| {});
    desk.outbox_bytes_max = 20;
    let slow = Delivered::Dropped(DropReason::SlowReader);
    check(&mut desk, &[(AtMostOnce, "0123456789", SENT), (AtLeastOnce, "0123456789", SENT)]);
    check(&mut desk, &[(AtMostOnce, "a", slow), (AtLeastOnce, "b", QUEUED)]);
    assert_eq!(desk.pump(), Pumped::Blocked);
    desk.written();
    assert_eq!(desk.pump(), Pumped::Empty);
    assert_eq!(desk.written(), ["q1 #2 t=b"]);
}

#[test]
fn a_full_queue_rejects_the_newest_or_drops_the_oldest() {
    let full = Delivered::Dropped(DropReason::QueueFull);
    for (overflow, outcome, drops, left) in [
        (Overflow::RejectNewest, full, [].as_slice(), ["b", "c"]),
        (Overflow::DropOldest, QUEUED, &["queue-full b"], ["c", "d"]),
    ] {
        let mut desk = Desk::with_window(Class::Live, 1);
        desk.limits.overflow = overflow;
        desk.limits.queued_messages_max = 2;
        check(
            &mut desk,
            &[(AtLeastOnce, "a", SENT), (AtLeastOnce, "b", QUEUED), (AtLeastOnce, "c", QUEUED)],
        );
        check(&mut desk, &[(AtLeastOnce, "d", outcome)]);
        assert_eq!(desk.drops(), drops);
        let sent: Vec<_> = (2..4)
            .map(|next| {
                puback(&mut desk, next - 1);
                desk.pump();
                desk.written().last().map(|it| it.split('=').next_back().map(ToString::to_string))
            })
            .collect();
        assert_eq!(format!("{sent:?}"), format!("{:?}", left.map(|it| Some(Some(it)))));
    }
}

#[test]
fn queued_bytes_are_bounded() {
    for overflow in [Overflow::RejectNewest, Overflow::DropOldest] {
        let mut desk = Desk::with_window(Class::Live, 1);
        desk.limits.overflow = overflow;
        desk.limits.queued_bytes_max = 1000;
        desk.limits.queued_messages_max = 1000;
        let payload = "x".repeat(100);
        for _ in 0..50 {
            desk.deliver(AtLeastOnce, &payload);
            assert!(desk.session.queued_bytes() <= 1000);
        }
        assert!(desk.session.queued_messages() > 2);
        let queued = desk.session.queued_messages();
        let huge = desk.deliver(AtLeastOnce, &"x".repeat(1000));
        assert_eq!(huge, Delivered::Dropped(DropReason::QueueFull));
        assert_eq!(desk.session.queued_messages(), queued, "it could not have fitted");
    }
}

/// [MQTT-3.3.2-5], [MQTT-3.3.2-6]
#[test]
fn what_expires_in_the_queue_is_dropped() {
    let mut desk = Desk::with_window(Class::Durable, 1);
    for (position, payload, secs) in [(0, "a", 100), (1, "b", 5), (2, "c", 9)] {
        let expires_at = Some(Time::ZERO.plus_secs(secs));
        let message = Message::new(&Content { expires_at, ..content("t", payload) });
        desk.session.enqueue(Position::new(position), message, delivery(AtLeastOnce), 0);
    }
    desk.now = Time::from_millis(1);
    desk.pump();
    assert_eq!(desk.written(), ["q1 #1 t=a expiry=100"]);
    desk.now = Time::from_millis(5_500);
    puback(&mut desk, 1);
    desk.pump();
    assert_eq!(desk.written(), ["q1 #3 t=c expiry=4"]);
    assert_eq!(desk.drops(), ["expired b"]);
    assert_eq!(desk.finished(), [0, 1]);
}

#[test]
fn an_expired_message_is_not_delivered() {
    let mut desk = Desk::new(Class::Live, |_| {});
    desk.now = Time::ZERO.plus_secs(1);
    let expired = Content { expires_at: Some(desk.now), ..content("t", "a") };
    for qos in QoS::ALL {
        let outcome = desk.deliver_as(delivery(qos), &expired);
        assert_eq!(outcome, Delivered::Dropped(DropReason::Expired));
    }
}

/// [MQTT-3.1.2-24], [MQTT-3.1.2-25]
#[test]
fn what_is_too_large_counts_as_sent() {
    let too_large = Delivered::Dropped(DropReason::PacketTooLarge);
    let mut desk = Desk::new(Class::Live, packet_bytes_max(20));
    // 2 + 3 topic + 2 identifier + 1 property length + payload
    check(
        &mut desk,
        &[(AtLeastOnce, "123456789012", SENT), (AtLeastOnce, "1234567890123", too_large)],
    );
    check(
        &mut desk,
        &[(AtMostOnce, "12345678901234", SENT), (AtMostOnce, "123456789012345", too_large)],
    );
    assert!(desk.buffer.len() <= 40);

    let mut desk = Desk::new(Class::Durable, packet_bytes_max(20));
    desk.enqueue(0, AtLeastOnce, "1234567890123");
    desk.enqueue(1, AtLeastOnce, "a");
    assert_eq!(desk.pump(), Pumped::Empty);
    assert_eq!(desk.written(), ["q1 #2 t=a"]);
    assert_eq!(desk.finished(), [0]);
    assert_eq!(desk.drops(), ["packet-too-large 1234567890123"]);
}

/// [MQTT-3.1.2-26], [MQTT-3.1.2-27], [MQTT-3.3.2-7]
#[test]
fn aliases_are_used_where_the_client_takes_them() {
    for (maximum, second, third) in
        [(None, "q0 topic/1=a", "q0 topic/1=a"), (Some(1), "q0 topic/1=a alias=1", "q0 =a alias=1")]
    {
        let mut desk = Desk::new(Class::Live, |connect| {
            connect.properties.topic_alias_maximum = maximum;
        });
        for _ in 0..3 {
            desk.deliver_as(delivery(AtMostOnce), &content("topic/1", "a"));
        }
        assert_eq!(desk.written(), ["q0 topic/1=a", second, third]);
        desk.reconnect(|_| {});
        desk.deliver_as(delivery(AtMostOnce), &content("topic/1", "a"));
        assert_eq!(desk.written(), ["q0 topic/1=a"]);
    }
}

/// [MQTT-4.8.2-5], and section 4.8.2 on QoS 1.
#[test]
fn a_group_takes_its_messages_back() {
    let group = GroupId::new(5);
    let mut desk = Desk::with_window(Class::Live, 2);
    for (qos, payload, group) in [
        (AtLeastOnce, "sent", group),
        (ExactlyOnce, "sent once", group),
        (AtLeastOnce, "queued", group),
        (ExactlyOnce, "queued", group),
        (AtLeastOnce, "own", None),
        (AtLeastOnce, "other", GroupId::new(6)),
    ] {
        desk.deliver_as(Delivery { group, ..delivery(qos) }, &content("t", payload));
    }
    let moved: Vec<_> = desk
        .session
        .take_group(group)
        .iter()
        .map(|moved| {
            assert_eq!(Some(moved.group), group);
            format!(
                "q{} {}",
                moved.qos.to_byte(),
                alloc::string::String::from_utf8_lossy(moved.message.content().payload)
            )
        })
        .collect();
    assert_eq!(moved, ["q1 sent", "q1 queued", "q2 queued"]);
    assert_eq!(desk.session.queued_messages(), 2);
    assert!(desk.session.take_group(group).is_empty());
    // The identifier is free when the client has acknowledged.
    assert_eq!(desk.session.in_flight(), 2);
    puback(&mut desk, 1);
    assert_eq!(desk.session.take_group(None).len(), 1);
}

#[test]
fn a_large_session_is_freed_in_slices() {
    let mut desk = Desk::with_window(Class::Durable, 4);
    for position in 0..10 {
        desk.enqueue(position, AtLeastOnce, "a");
    }
    desk.pump();
    let slices = (0..10).take_while(|_| !desk.session.free_slice(4)).count();
    assert_eq!(slices, 2);
    assert!(desk.session.queue.is_none() && desk.session.sent.is_none());
}

/// Many expired messages take more than one turn.
#[test]
fn a_long_queue_is_worked_off_in_steps() {
    let mut desk = Desk::new(Class::Durable, |_| {});
    let expires_at = Some(Time::ZERO);
    let message = Message::new(&Content { expires_at, ..content("t", "a") });
    for position in 0..1500 {
        let (position, message) = (Position::new(position), Arc::clone(&message));
        desk.session.enqueue(position, message, delivery(AtLeastOnce), 0);
    }
    assert_eq!(desk.pump(), Pumped::Unfinished);
    assert_eq!(desk.pump(), Pumped::Empty);
    assert_eq!(desk.drops().len(), 1500);
    assert_eq!(desk.session.queued_bytes(), 0);
}

const SENT: Delivered = Delivered::Sent;
const QUEUED: Delivered = Delivered::Queued;

#[track_caller]
fn check(desk: &mut Desk, deliveries: &[(QoS, &str, Delivered)]) {
    for &(qos, payload, outcome) in deliveries {
        assert_eq!(desk.deliver(qos, payload), outcome, "{payload}");
    }
}

#[track_caller]
fn puback(desk: &mut Desk, packet_id: u16) {
    let after = desk.session.on_puback(
        &mut desk.connection,
        id(packet_id),
        ReasonCode::SUCCESS,
        &mut desk.fx,
    );
    assert!(matches!(after, Ok(crate::AfterPuback::Freed { .. })), "{after:?}");
}
