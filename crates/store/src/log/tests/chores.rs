//! Chores take their time: the log goes on meanwhile.

use std::collections::VecDeque;

use quelea_codec::QoS;
use quelea_session::{Content, Message};

use super::hand::{Act, Hand, options};
use crate::log::chore::{ChoreDone, Done};
use crate::log::disk::SimulatedFile;
use crate::log::engine::Appended;
use crate::{Batch, Condition, Operation, ShardIndex, Submission};

#[test]
fn a_read_that_ends_late_is_not_taken_for_the_next_segment() {
    let mut hand = Hand::new(options(false));
    hand.append(&[Act::Start { who: 0 }, Act::Start { who: 1 }]);
    fill(&mut hand, 1, 24);
    // Much that is dead, so that the log is too large.
    fill(&mut hand, 2, 60);
    finish(&mut hand, 1, 60);
    // In the first segment the sessions begin. Of the second all dies while it is read.
    let first = read(&mut hand);
    hand.engine.end_chore(first).unwrap();
    while hand.engine.is_cleaning() {
        hand.append(&[]);
    }
    let second = read(&mut hand);
    finish(&mut hand, 0, 15);
    hand.engine.end_chore(second).unwrap();
    hand.do_chores();
    hand.sync();
    hand.disk.kill();
    hand.reopen();
}

#[test]
fn a_segment_that_is_being_made_is_no_full_disk() {
    let mut hand = Hand::new(options(false));
    hand.append(&[Act::Start { who: 0 }]);
    let chore = hand.engine.next_chore().expect("nothing is in reserve");
    let mut batches = VecDeque::new();
    let is_stuck = (1..100).any(|order| {
        batches.push_back((ShardIndex(0), retained_batch(order)));
        hand.engine.append(&mut batches).unwrap() == Appended::NoRoom
    });
    assert!(is_stuck, "the segment that is being made is needed");
    assert_eq!(hand.engine.condition(), Condition::Ready);
    hand.engine.end_chore(chore.run()).unwrap();
    assert_eq!(hand.engine.append(&mut batches).unwrap(), Appended::Done);
    assert!(batches.is_empty());
}

/// A message that takes most of a segment.
fn retained_batch(order: u64) -> Batch {
    let content = Content { topic: "t", payload: &[7; 3_000], forwarded: &[], expires_at: None };
    let publish = Operation::Publish {
        message: Message::new(&content),
        qos: QoS::AtLeastOnce,
        targets: Vec::new(),
        attributes: Vec::new(),
        received: None,
        retain: Some(order),
    };
    Batch { through: Submission(order), is_awaited: true, operations: vec![publish] }
}

/// Publishes messages of some hundred bytes, a batch each, to the clients of a set.
fn fill(hand: &mut Hand, targets: u8, count: usize) {
    for _ in 0..count {
        let act = Act::Publish { targets, qos: 1, kind: 3, size: 500, topic: 0, inbound: None };
        hand.append(&[act]);
        hand.sync();
    }
}

fn finish(hand: &mut Hand, who: u8, count: u8) {
    for _ in 0..count {
        hand.append(&[Act::Finish { who, nth: 0, count: 1 }]);
        hand.sync();
    }
}

/// Does chores up to the first read, and returns that with its result.
fn read(hand: &mut Hand) -> ChoreDone<SimulatedFile> {
    for _ in 0..100 {
        let chore = hand.engine.next_chore().expect("the log is too large");
        let done = chore.run();
        if matches!(done, ChoreDone(Done::Read { .. })) {
            return done;
        }
        hand.engine.end_chore(done).unwrap();
    }
    panic!("the cleaner never reads");
}
