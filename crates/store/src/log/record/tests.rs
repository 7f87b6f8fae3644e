//! Records are read as they were written, and whatever else is read is refused or is a record.

use std::sync::Arc;

use proptest::prelude::*;
use quelea_codec::{PacketId, QoS};
use quelea_session::{Content, Message, Position, SubscriptionIds};

use super::*;
use crate::Attributes;

proptest! {
    #[test]
    fn records_come_back(written in prop::collection::vec(record(), 1..8)) {
        let bytes: Vec<u8> = written.concat();
        let mut reader = Reader::new(&bytes);
        let mut again = Vec::new();
        for one in &written {
            let record = Record::read(&mut reader).unwrap();
            let at = again.len();
            put(&mut again, &record);
            prop_assert_eq!(&again[at..], &one[..], "{:?}", record);
        }
        prop_assert!(reader.is_empty());
    }

    #[test]
    fn a_record_that_is_cut_or_too_long_is_nonsense(written in record(), more in 1..4_usize) {
        for length in 0..written.len() {
            prop_assert!(Record::read(&mut Reader::new(&written[..length])).is_err());
        }
        // A body with more in it than there should be.
        let mut reader = Reader::new(&written[1..]);
        let body = reader.bytes().unwrap();
        let mut longer = vec![written[0]];
        put_long(&mut longer, (body.len() + more) as u64);
        longer.extend_from_slice(body);
        longer.resize(longer.len() + more, 0);
        // A will that is removed is a longer one's beginning.
        let is_open = written[0] == WILL;
        prop_assert!(is_open || Record::read(&mut Reader::new(&longer)).is_err());
    }

    #[test]
    fn any_bytes_are_nonsense_or_a_record(kind in 0..20_u8, body in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut bytes = vec![kind];
        put_bytes(&mut bytes, &body);
        if let Ok(record) = Record::read(&mut Reader::new(&bytes)) {
            put(&mut Vec::new(), &record);
        }
    }

    #[test]
    fn a_message_is_read_alone(parts in publish_bytes(), flip in any::<prop::sample::Index>()) {
        let whole = MessagePart::read_checked(&parts).unwrap().unwrap();
        prop_assert!(whole.size_bytes() >= whole.payload.len() + whole.topic.len());
        let message_bytes = u32::from_le_bytes([parts[6], parts[7], parts[8], parts[9]]) as usize;
        let end = 14 + message_bytes;
        // It says how much is missing.
        prop_assert_eq!(MessagePart::read_checked(&parts[..end - 1]).unwrap().err(), Some(end));
        prop_assert!(MessagePart::read_checked(&parts[..end]).unwrap().is_ok());
        let mut damaged = parts.clone();
        damaged[14 + flip.index(message_bytes)] ^= 4;
        prop_assert!(MessagePart::read_checked(&damaged).is_err());
    }
}

#[test]
fn kinds_that_are_not_known_are_nonsense() {
    for kind in (0..=255_u8).filter(|it| !(PUBLISH..=CLOSED).contains(it)) {
        assert!(Record::read(&mut Reader::new(&[kind, 0])).is_err(), "{kind}");
    }
}

/// Returns a record as it is written.
fn record() -> impl Strategy<Value = Vec<u8>> {
    let session = || any::<u64>().prop_map(SessionNumber);
    let position = || any::<u64>().prop_map(Position::new);
    let id = || (1..=u16::MAX).prop_map(|it| PacketId::new(it).unwrap());
    let text = || "[a-z/#é]{0,200}";
    let cursor = || {
        let place = (any::<u64>(), any::<u16>(), prop::option::of("[a-z]{0,9}"));
        prop::option::of(place.prop_map(|(until, partition, after)| CursorPlace {
            until,
            partition,
            after: after.map(Box::from),
        }))
    };
    let change = || {
        (session(), any::<u32>(), prop::option::of(1..u64::MAX), position()).prop_map(
            |(session, expiry_secs, lost, sent_before)| {
                let lost = lost.map(|it| Presence::Lost(WallMillis(it)));
                let presence = lost.unwrap_or(Presence::Connected);
                ChangeRecord { session, expiry_secs, presence, sent_before }
            },
        )
    };
    prop_oneof![
        4 => publish_bytes(),
        1 => (session(), prop::collection::vec(position(), 0..40))
            .prop_map(|(session, it)| written(|out| put_finish(out, session, &it))),
        1 => (session(), position()).prop_map(|it| written(|out| put_received(out, it.0, it.1))),
        1 => (session(), id()).prop_map(|it| written(|out| put_inbound(out, it.0, it.1))),
        1 => (session(), id()).prop_map(|it| written(|out| put_release(out, it.0, it.1))),
        1 => (change(), any::<u64>(), text(), text()).prop_map(|(change, next, client_id, owner)| {
            let it = SessionRecord { client_id: &client_id, owner: &owner, change, next };
            written(|out| put_session(out, &it))
        }),
        1 => change().prop_map(|it| written(|out| put_change(out, &it))),
        1 => (session(), position()).prop_map(|it| written(|out| put_end(out, it.0, it.1))),
        1 => (session(), text(), any::<u8>(), any::<u32>(), cursor()).prop_map(
            |(session, filter, options, id, cursor)| {
                written(|out| put_subscribe(out, session, &filter, options, id, cursor.as_ref()))
            }
        ),
        1 => (session(), text(), cursor())
            .prop_map(|it| written(|out| put_cursor(out, it.0, &it.1, it.2.as_ref()))),
        1 => (session(), text()).prop_map(|it| written(|out| put_unsubscribe(out, it.0, &it.1))),
        1 => (session(), prop::option::of(will()))
            .prop_map(|it| written(|out| put_will(out, it.0, it.1.as_ref()))),
        1 => (text(), any::<u64>()).prop_map(|it| written(|out| put_unretain(out, &it.0, it.1))),
        1 => any::<u64>().prop_map(|it| written(|out| put_retired(out, it))),
        1 => (any::<u32>(), any::<u64>()).prop_map(|(generation, order)| {
            written(|out| put_mark(out, MarkRecord { generation, order }))
        }),
        1 => Just(written(put_closed)),
    ]
}

fn will() -> impl Strategy<Value = StoredWill> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..200);
    (0..3_u8, any::<bool>(), any::<u32>(), prop::option::of(any::<u32>()), bytes(), bytes())
        .prop_map(|(qos, retain, delay_secs, expiry_secs, forwarded, payload)| {
            let (forwarded, payload) = (&forwarded[..], &payload[..]);
            let content = Content { topic: "will", payload, forwarded, expires_at: None };
            let qos = QoS::from_byte(qos).unwrap();
            StoredWill { message: Message::new(&content), qos, retain, delay_secs, expiry_secs }
        })
}

fn publish_bytes() -> impl Strategy<Value = Vec<u8>> {
    let attributes =
        (0..3_u8, any::<bool>(), prop::collection::vec(1..9_u32, 0..4), any::<bool>(), 0..3_u64);
    let attributes =
        attributes.prop_map(|(qos, retain, ids, is_shared, retained_order)| Attributes {
            qos: QoS::from_byte(qos).unwrap(),
            retain,
            subscription_ids: SubscriptionIds::new(&ids),
            share: is_shared.then(|| Arc::from("$share/g/t")),
            retained_order,
        });
    let attributes = prop::collection::vec(attributes, 1..20);
    let targets = prop::collection::vec((any::<u64>(), any::<u64>(), any::<u32>()), 0..40);
    let payload = prop::collection::vec(any::<u8>(), 0..300);
    let head =
        (0..3_u8, any::<u64>(), prop::option::of(any::<u64>()), prop::option::of(1..u16::MAX));
    (head, payload, attributes, targets).prop_map(|(head, payload, attributes, targets)| {
        let (qos, expires_at, retain, received) = head;
        let received = received.map(|it| (SessionNumber(77), PacketId::new(it).unwrap()));
        let parts = PublishParts {
            qos: QoS::from_byte(qos).unwrap(),
            expires_at,
            retain,
            received,
            topic: "a/b",
            forwarded: &[1, 1],
            payload: &payload,
        };
        let target = |(session, position, attribute): (u64, u64, u32)| TargetRecord {
            session: SessionNumber(session),
            position: Position::new(position),
            attributes: attribute % attributes.len() as u32,
        };
        let targets: Vec<_> = targets.into_iter().map(target).collect();
        written(|out| put_publish(out, &parts, &attributes, &targets))
    })
}

/// Sessions may be gone when their turn comes: then there are fewer targets than the record was begun for.
#[test]
fn fewer_targets_than_there_was_room_for_come_back() {
    for (room, count) in [(1, 1), (127, 0), (128, 1), (20_000, 127), (20_000, 128), (1 << 21, 3)] {
        let parts = PublishParts {
            qos: QoS::AtLeastOnce,
            expires_at: 0,
            retain: None,
            received: None,
            topic: "a/b",
            forwarded: &[],
            payload: b"payload",
        };
        let targets = (0..count).map(|it| TargetRecord {
            session: SessionNumber(3 * it),
            position: Position::new(it * it),
            attributes: 0,
        });
        let attributes = [Attributes {
            qos: QoS::AtLeastOnce,
            retain: false,
            subscription_ids: SubscriptionIds::new(&[]),
            share: None,
            retained_order: 0,
        }];
        let written = written(|out| {
            let mut open = OpenPublish::begin(out, &parts, &attributes, room);
            targets.clone().for_each(|it| open.put_target(out, it));
            open.end(out);
        });
        let mut reader = Reader::new(&written);
        let Ok(Record::Publish(record)) = Record::read(&mut reader) else {
            panic!("{count} targets in the room of {room} are no record");
        };
        assert!(record.targets().eq(targets) && reader.is_empty(), "{count} of {room}");
    }
}

fn written(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out);
    out
}

/// Writes what was read.
fn put(out: &mut Vec<u8>, record: &Record<'_>) {
    let place = |it: &Option<CursorRecord<'_>>| it.map(CursorRecord::to_place);
    match record {
        Record::Publish(it) => {
            let attributes: Vec<_> = it.message.attributes().collect();
            let targets: Vec<_> = it.targets().collect();
            assert_eq!(it.targets().len(), targets.len());
            put_publish(out, &it.message.parts(), &attributes, &targets);
        }
        Record::Finish { session, positions } => {
            put_finish(out, *session, &positions.collect::<Vec<_>>());
        }
        Record::Received { session, position } => put_received(out, *session, *position),
        Record::Inbound { session, packet_id } => put_inbound(out, *session, *packet_id),
        Record::Release { session, packet_id } => put_release(out, *session, *packet_id),
        Record::Session(it) => put_session(out, it),
        Record::Change(it) => put_change(out, it),
        Record::End { session, sent_before } => put_end(out, *session, *sent_before),
        Record::Subscribe(it) => {
            let (options, id, cursor) = (it.options, it.subscription_id, place(&it.cursor));
            put_subscribe(out, it.session, it.filter, options, id, cursor.as_ref());
        }
        Record::Cursor { session, filter, cursor } => {
            put_cursor(out, *session, filter, place(cursor).as_ref());
        }
        Record::Unsubscribe { session, filter } => put_unsubscribe(out, *session, filter),
        Record::Will { session, will } => {
            put_will(out, *session, will.map(WillRecord::to_will).as_ref());
        }
        Record::Unretain { topic, order } => put_unretain(out, topic, *order),
        Record::Retired { oldest } => put_retired(out, *oldest),
        Record::Mark(it) => put_mark(out, *it),
        Record::Closed => put_closed(out),
    }
}
