//! A full disk refuses what needs space, and nothing else; and it loses nothing.

use std::collections::VecDeque;

use super::hand::{Act, Hand, options};
use super::model::Model;
use crate::log::disk::SimulatedDisk;
use crate::log::engine::{Appended, Engine};
use crate::{
    Batch, Cleaning, Condition, Operation, Options, SessionIdentity, SessionNumber, ShardIndex,
    Submission, publish_bytes,
};

#[test]
fn a_disk_that_gets_full_is_said_to_be_before_anything_fails() {
    let mut hand = Hand::new(large());
    hand.append(&[Act::Start { who: 0 }]);
    hand.do_chores();
    hand.disk.set_capacity(hand.disk.used_bytes() + (2 << 20));
    let published = fill(&mut hand);
    assert!(published > 5, "the space there was is used");
    assert_eq!(hand.engine.condition(), Condition::Full);
    // Acknowledgements and ends find room in the reserve, however many there are: the cleaner wins space back.
    for _ in 0..published {
        hand.append(&[Act::Finish { who: 0, nth: 0, count: 1 }]);
        hand.sync();
        hand.do_chores();
    }
    assert_eq!(hand.engine.condition(), Condition::Ready, "what was acknowledged has made room");
    assert!(fill(&mut hand) > 5);
    hand.append(&[Act::End { who: 0 }]);
    hand.sync();
    hand.disk.kill();
    hand.reopen();
}

#[test]
fn a_disk_that_gets_larger_is_used() {
    let mut hand = Hand::new(large());
    hand.append(&[Act::Start { who: 0 }]);
    hand.do_chores();
    hand.disk.set_capacity(hand.disk.used_bytes() + (2 << 20));
    fill(&mut hand);
    hand.disk.set_capacity(64 << 20);
    hand.do_chores();
    assert_eq!(hand.engine.condition(), Condition::Ready);
    hand.append(&[publish()]);
    hand.sync();
    hand.disk.kill();
    hand.reopen();
}

#[test]
fn a_log_that_may_not_grow_is_full() {
    let bytes_max = 5 << 20;
    let mut hand = Hand::new(Options { disk_bytes_max: Some(bytes_max), ..large() });
    hand.append(&[Act::Start { who: 0 }]);
    hand.do_chores();
    assert!(fill(&mut hand) > 5);
    assert!(hand.disk.used_bytes() <= bytes_max, "{}", hand.disk.used_bytes());
    for _ in 0..60 {
        hand.append(&[Act::Finish { who: 0, nth: 0, count: 2 }]);
        hand.sync();
        hand.do_chores();
    }
    assert_eq!(hand.engine.condition(), Condition::Ready);
    assert!(fill(&mut hand) > 5);
    hand.disk.kill();
    hand.reopen();
}

/// What is under way when the limit is reached, and what makes space, goes on in the reserve and not beyond it.
#[test]
fn a_log_that_nobody_does_chores_for_keeps_its_limit() {
    let bytes_max = 6 << 20;
    let mut hand = Hand::new(Options { disk_bytes_max: Some(bytes_max), ..large() });
    hand.append(&[Act::Start { who: 0 }]);
    hand.do_chores();
    let mut batches = VecDeque::new();
    let mut taken = 0;
    while hand.engine.append(&mut batches).unwrap() == Appended::Done {
        taken += 1;
        assert!(taken < 10_000, "the limit is never reached");
        assert!(hand.disk.used_bytes() <= bytes_max, "{}", hand.disk.used_bytes());
        batches.push_back((ShardIndex(0), hand.batch(&publish())));
    }
    assert!(taken > 60);
    assert_eq!(hand.engine.condition(), Condition::Full);
}

/// A message that is larger than a segment takes of the reserve what it needs, and leaves the limit as it is.
#[test]
fn a_message_larger_than_a_segment_goes_in_the_reserve() {
    for bytes_max in [400_000, 500_000] {
        let options = Options { segment_bytes: 32 << 10, ..options(false) };
        let mut hand = Hand::new(Options { disk_bytes_max: Some(bytes_max), ..options });
        hand.append(&[Act::Start { who: 0 }, Act::Start { who: 1 }]);
        hand.do_chores();
        let mut published = 0;
        while hand.engine.condition() != Condition::Full {
            assert!(hand.engine.room_bytes() > 61_000, "{}", hand.engine.room_bytes());
            hand.append(&[publish()]);
            hand.sync();
            assert!(hand.disk.used_bytes() <= bytes_max, "{}", hand.disk.used_bytes());
            hand.do_chores();
            published += 1;
        }
        assert!(published >= 3, "{published}");
        for _ in 0..published {
            hand.append(&[Act::Finish { who: 0, nth: 0, count: 1 }]);
            hand.sync();
            hand.do_chores();
            assert!(hand.disk.used_bytes() <= bytes_max, "{}", hand.disk.used_bytes());
        }
        assert_eq!(hand.engine.condition(), Condition::Ready, "{bytes_max}");
        hand.disk.kill();
        hand.reopen();
    }
}

/// A batch of as many bytes as there is said to be room for is taken at once.
#[test]
fn there_is_the_room_that_is_said() {
    for left in (0..20).map(|it| it * 9_000) {
        let options = Options { segment_bytes: 32 << 10, ..options(false) };
        let mut hand = Hand::new(options);
        hand.append(&[Act::Start { who: 0 }]);
        hand.do_chores();
        hand.disk.set_capacity(hand.disk.used_bytes() + left);
        let room = hand.engine.room_bytes();
        assert!(room >= (3 << 15) - 1_024, "{room}");
        let size = u16::try_from(room - publish_bytes(0, 1)).unwrap_or(u16::MAX);
        let act = Act::Publish { targets: 1, qos: 1, kind: 3, size, topic: 0, inbound: None };
        hand.append(&[act]);
        hand.sync();
        hand.disk.kill();
        hand.reopen();
    }
}

/// What is dead and takes the room of a large message is won back, though nothing else is short of space.
#[test]
fn room_for_a_large_message_is_made() {
    let options = Options { segment_bytes: 32 << 10, ..options(false) };
    let cleaning = Cleaning { ratio: 2, slack_bytes: 1 << 30 };
    let mut hand = Hand::new(Options { disk_bytes_max: Some(1 << 20), cleaning, ..options });
    hand.append(&[Act::Start { who: 0 }]);
    hand.do_chores();
    while hand.engine.room_bytes() > 300_000 {
        hand.append(&[publish(), Act::Finish { who: 0, nth: 0, count: 9 }]);
        hand.sync();
        hand.do_chores();
    }
    assert_eq!(hand.engine.condition(), Condition::Ready);
    hand.engine.want_room();
    hand.do_chores();
    hand.sync();
    hand.do_chores();
    assert!(hand.engine.room_bytes() > 700_000, "{}", hand.engine.room_bytes());
    hand.disk.kill();
    hand.reopen();
}

/// A log whose limit was lowered below what it takes can be opened, and gets smaller.
#[test]
fn a_limit_that_was_exceeded_before_it_was_set_is_reached() {
    let mut hand = Hand::new(large());
    hand.append(&[Act::Start { who: 0 }]);
    (0..100).for_each(|_| hand.append(&[publish()]));
    hand.sync();
    hand.do_chores();
    let bytes_max = 5 << 20;
    hand.options.disk_bytes_max = Some(bytes_max);
    hand.disk.kill();
    hand.reopen();
    hand.do_chores();
    assert_eq!(hand.engine.condition(), Condition::Full);
    for _ in 0..100 {
        hand.append(&[Act::Finish { who: 0, nth: 0, count: 1 }]);
        hand.sync();
        hand.do_chores();
    }
    assert_eq!(hand.engine.condition(), Condition::Ready);
    assert!(hand.disk.used_bytes() <= bytes_max, "{}", hand.disk.used_bytes());
}

/// Nothing is told that the disk does not have.
#[test]
fn what_does_not_fit_is_told_to_nobody_and_is_not_lost() {
    let disk = SimulatedDisk::new(64 << 20);
    let (mut engine, _) = Engine::open(disk.clone(), options(false)).unwrap();
    disk.set_capacity(disk.used_bytes());
    let mut batches = VecDeque::new();
    let mut taken = 0;
    loop {
        batches.push_back((ShardIndex(0), start(&engine)));
        match engine.append(&mut batches).unwrap() {
            Appended::Done => taken += 1,
            Appended::NoRoom => break,
        }
        assert!(taken < 10_000, "the disk is never full");
    }
    engine.sync().unwrap();
    engine.take_outcomes();
    assert!(engine.append(&mut batches).unwrap() == Appended::NoRoom);
    engine.sync().unwrap();
    assert!(engine.take_outcomes().is_empty(), "nobody waits for what was not written");
    disk.set_capacity(64 << 20);
    while engine.append(&mut batches).unwrap() == Appended::NoRoom || !batches.is_empty() {}
    engine.sync().unwrap();
    assert!(!engine.take_outcomes().is_empty());
    disk.kill();
    let (mut engine, recovered) = Engine::open(disk, options(false)).unwrap();
    assert_eq!(Model::of(&recovered, &mut engine).sessions.len(), taken + 1);
}

#[test]
fn a_sync_that_fails_ends_it() {
    let mut hand = Hand::new(large());
    hand.append(&[Act::Start { who: 0 }]);
    hand.disk.fail_syncs();
    assert!(hand.engine.sync().is_err());
    assert!(hand.engine.take_outcomes().is_empty(), "nothing is told as durable");
}

/// Publishes until the log says that it is full; it says so before one fails. Returns how many were published.
fn fill(hand: &mut Hand) -> usize {
    for count in 0..10_000 {
        hand.sync();
        hand.do_chores();
        if hand.engine.condition() == Condition::Full {
            return count;
        }
        hand.append(&[publish()]);
    }
    panic!("it is never full");
}

/// Returns options with segments that a slice of the cleaner's work fits in.
fn large() -> Options {
    Options { segment_bytes: 1 << 20, ..options(false) }
}

fn publish() -> Act {
    Act::Publish { targets: 1, qos: 1, kind: 3, size: 60_000, topic: 0, inbound: None }
}

fn start(engine: &Engine<SimulatedDisk>) -> Batch {
    let session: SessionNumber = engine.new_session();
    let client_id = format!("client {}", session.0).into();
    let identity = SessionIdentity { client_id, owner: "".into() };
    let operations = vec![Operation::SessionStart { session, identity, expiry_secs: 9 }];
    Batch { through: Submission(session.0), is_awaited: true, operations }
}
