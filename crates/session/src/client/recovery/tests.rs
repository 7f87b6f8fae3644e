use alloc::string::ToString;

use quelea_codec::{PacketKind, QoS, ReasonCode};

use crate::Position;
use crate::client::desk::Desk;
use crate::testing::content;

#[test]
fn what_is_not_kept_is_not_sent() {
    let mut desk = Desk::lasting();
    desk.publish(QoS::AtLeastOnce, "a");
    desk.publish(QoS::AtMostOnce, "b");
    desk.connect(false);
    assert_eq!(desk.written(), [""; 0]);
    desk.session.allow_sending_before(Position::new(1));
    assert_eq!(desk.written(), ["q1 #1 t=a"]);
    desk.session.allow_sending_before(Position::new(100));
    assert_eq!(desk.written(), ["q0 t=b"]);
}

/// [MQTT-4.3.3-6], [MQTT-4.6.0-4]
/// v3.1.1 [MQTT-4.6.0-4]
#[test]
fn pubrel_waits_until_it_is_kept_that_the_broker_has_the_message() {
    let mut desk = Desk::lasting();
    desk.session.allow_sending_before(Position::new(100));
    desk.connect(false);
    desk.publish(QoS::ExactlyOnce, "a");
    desk.written();
    assert_eq!(desk.ack(PacketKind::PubRec, 1, ReasonCode::SUCCESS), ["received 0"]);
    assert_eq!(desk.ack(PacketKind::PubRec, 1, ReasonCode::SUCCESS), [""; 0]);
    assert_eq!(desk.written(), [""; 0]);
    desk.session.release(Position::new(0), &mut desk.buffer);
    desk.session.release(Position::new(0), &mut desk.buffer);
    assert_eq!(desk.written(), ["PUBREL #1"]);
    assert_eq!(desk.ack(PacketKind::PubComp, 1, ReasonCode::SUCCESS), ["acknowledged a 0x00"]);
}

/// [MQTT-4.4.0-1]: packet identifiers are those of the process before.
/// [MQTT-3.1.3-2] v3.1.1 [MQTT-3.1.3-2]
#[test]
fn what_was_kept_goes_on_in_the_next_process() {
    let recover = || {
        let mut desk = Desk::lasting();
        desk.session.recover_mark(Position::new(9));
        desk.session.recover_received(Position::new(3), "received".to_string());
        for (position, qos, payload) in [
            (4, QoS::ExactlyOnce, "sent"),
            (7, QoS::AtLeastOnce, "sent, too"),
            (12, QoS::ExactlyOnce, "waiting"),
        ] {
            let (position, ticket) = (Position::new(position), payload.to_string());
            desk.session.recover(position, &content("t", payload), qos, false, ticket);
        }
        desk.session.recovered();
        desk.session.allow_sending_before(Position::new(100));
        desk
    };
    let mut desk = recover();
    desk.publish(QoS::AtLeastOnce, "new");
    desk.connect(true);
    assert_eq!(
        desk.written(),
        [
            "PUBREL #4",
            "q2 #5 dup t=sent",
            "q1 #8 dup t=sent, too",
            "q2 #13 t=waiting",
            "q1 #14 t=new"
        ]
    );
    let mut desk = recover();
    desk.connect(false);
    assert_eq!(desk.done(), ["received Unknown", "sent Unknown"]);
    assert_eq!(desk.written(), ["q1 #8 t=sent, too", "q2 #13 t=waiting"]);
}
