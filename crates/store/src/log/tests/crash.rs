//! After a crash the log is what it was: at its last sync, or a whole number of batches later.

use proptest::prelude::*;

use crate::Options;
use crate::log::recovery::Recovery;

use super::hand::{Act, Hand, acts, options};

/// What happens to a log.
#[derive(Clone, Debug)]
enum Event {
    Append(Vec<Act>),
    Sync,
    Chore,
    Chores,
    Close,
    Kill,
    CutPower(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => acts().prop_map(Event::Append),
        4 => Just(Event::Sync),
        8 => Just(Event::Chore),
        2 => Just(Event::Chores),
        1 => Just(Event::Close),
        1 => Just(Event::Kill),
        1 => any::<u64>().prop_map(Event::CutPower),
    ]
}

fn run(events: &[Event], drops_oldest: bool, snapshot_bytes: u64) -> Hand {
    let mut hand = Hand::new(Options { snapshot_bytes, ..options(drops_oldest) });
    for event in events {
        match event {
            Event::Append(acts) => hand.append(acts),
            Event::Sync => hand.sync(),
            Event::Chore => hand.do_chore(),
            Event::Chores => hand.do_chores(),
            Event::Close => {
                hand.engine.close().unwrap();
                hand.disk.kill();
                hand.history.drain(..hand.history.len() - 1);
                hand.reopen();
            }
            Event::Kill => {
                hand.disk.kill();
                // Everything that was written is there.
                hand.history.drain(..hand.history.len() - 1);
                hand.reopen();
            }
            Event::CutPower(seed) => {
                hand.disk.cut_power(&mut draws(*seed));
                hand.reopen();
            }
        }
    }
    hand
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_what_it_was(
        events in prop::collection::vec(event(), 1..120),
        drops: bool,
        snapshot_bytes in prop::sample::select(vec![1_000, 20_000, u64::MAX]),
    ) {
        let mut hand = run(&events, drops, snapshot_bytes);
        hand.do_chores();
        hand.sync();
        hand.disk.kill();
        hand.reopen();
    }
}

/// The control: a disk that lies about syncs loses what was promised, and the test sees it.
#[test]
fn without_syncs_a_power_cut_is_noticed() {
    let lost = (0..50).filter(|seed| {
        let mut hand = Hand::new(options(false));
        hand.append(&[Act::Start { who: 0 }]);
        hand.sync();
        hand.disk.ignore_syncs();
        for _ in 0..3 {
            let publish =
                Act::Publish { targets: 1, qos: 1, kind: 3, size: 600, topic: 0, inbound: None };
            hand.append(&[publish]);
            hand.sync();
        }
        hand.disk.cut_power(&mut draws(*seed));
        std::panic::catch_unwind(move || hand.reopen()).is_err()
    });
    assert!(lost.count() > 40);
}

/// Returns numbers that look random.
fn draws(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }
}

/// A log is read without one just as well, so that nothing else would notice.
#[test]
fn a_snapshot_is_used_though_the_log_went_on_to_other_segments() {
    let mut hand = Hand::new(Options { snapshot_bytes: 1_000, ..options(false) });
    hand.append(&[Act::Start { who: 0 }]);
    for _ in 0..200 {
        let publish =
            Act::Publish { targets: 1, qos: 1, kind: 3, size: 300, topic: 0, inbound: None };
        hand.append(&[publish]);
        hand.sync();
        hand.do_chore();
    }
    let recovery = Recovery::read_fast(&hand.disk, 1_000).unwrap();
    assert!(!recovery.unverified.is_empty());
}
