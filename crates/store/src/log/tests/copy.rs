//! A log that is made anew of what another one holds, holds the same.

use proptest::prelude::*;

use super::hand::{Act, Hand, acts, options};
use super::image::Image;
use super::model::Model;
use crate::log::contents::Contents;
use crate::log::disk::SimulatedDisk;
use crate::log::engine::Engine;
use crate::log::loss::Loss;
use crate::log::recovery::Strictness;
use crate::log::writer::{WriteError, Writer};
use crate::{Item, OpenError, StoreError};

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_copy_is_the_same(batches in prop::collection::vec((acts(), any::<bool>()), 1..60)) {
        let mut hand = Hand::new(options(false));
        for (acts, has_chores) in &batches {
            hand.append(acts);
            hand.sync();
            if *has_chores {
                hand.do_chores();
            }
        }
        hand.disk.kill();
        let (items, losses) = items(&hand.disk, Strictness::Whole);
        prop_assert_eq!(losses, vec![]);
        let copy = copied(&items);
        let (again, losses) = self::items(&copy, Strictness::Salvage);
        prop_assert_eq!(losses, vec![]);
        prop_assert_eq!(format!("{items:?}"), format!("{again:?}"));
        let seen = opened(&copy);
        let model = hand.model.clone().reopened();
        prop_assert!(seen == model, "{}", model.difference(&seen));
    }
}

#[test]
fn a_copy_goes_where_there_is_no_log() {
    let mut hand = Hand::new(options(false));
    hand.append(&[Act::Start { who: 0 }]);
    hand.disk.kill();
    assert!(matches!(Writer::new(hand.disk.clone(), 4_096), Err(WriteError::NotEmpty)));
    assert!(matches!(Writer::new(hand.disk.clone(), 4_096), Err(WriteError::Locked)));
}

#[test]
fn a_copy_that_is_not_complete_is_not_opened() {
    let disk = SimulatedDisk::new(64 << 20);
    let mut writer = Writer::new(disk.clone(), 4_096).unwrap();
    writer.put(&Item::Mark { generation: 7, order: 8 }).unwrap();
    drop(writer);
    disk.kill();
    let opened = Engine::open(disk.clone(), options(false));
    assert!(matches!(opened, Err(OpenError::Unfinished { .. })));
    disk.kill();
    assert!(
        matches!(Writer::new(disk, 4_096), Err(WriteError::NotEmpty)),
        "nobody takes it for empty"
    );
}

#[test]
fn nothing_is_changed_by_looking() {
    let mut hand = Hand::new(options(false));
    hand.append(&[Act::Start { who: 0 }]);
    hand.disk.damage("00000001.log", |it| it.extend(b"garbage"));
    hand.disk.kill();
    let before = Image::of(&hand.disk);
    items(&hand.disk, Strictness::Whole);
    items(&hand.disk, Strictness::Salvage);
    assert_eq!(Image::of(&hand.disk), before);
}

/// Returns everything that is in a log, and what cannot be read.
pub(super) fn items(disk: &SimulatedDisk, strictness: Strictness) -> (Vec<Item>, Vec<Loss>) {
    let contents = Contents::read(disk.clone(), strictness).unwrap();
    let mut items = Vec::new();
    let mut losses = contents.losses().to_vec();
    let all = contents.for_each(|it| {
        match it {
            Ok(item) => items.push(item),
            Err(loss) => losses.push(loss),
        }
        Ok::<_, StoreError>(())
    });
    all.unwrap();
    disk.kill();
    (items, losses)
}

/// Returns a log made of these.
pub(super) fn copied(items: &[Item]) -> SimulatedDisk {
    let disk = SimulatedDisk::new(64 << 20);
    let mut writer = Writer::new(disk.clone(), 4_096).unwrap();
    items.iter().for_each(|it| writer.put(it).unwrap());
    writer.finish().unwrap();
    disk.kill();
    disk
}

/// Returns what a log says that is opened.
pub(super) fn opened(disk: &SimulatedDisk) -> Model {
    let (mut engine, recovered) = Engine::open(disk.clone(), options(false)).unwrap();
    Model::of(&recovered, &mut engine)
}
