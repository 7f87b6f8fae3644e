//! Logs of every format that was ever released, whole and damaged.
//!
//! They are never written anew: `cargo test -p quelea-store write_fixtures -- --ignored` is for a new format. What is
//! in the whole one is in `whole.jsonl` beside it, which the tests of `quelea store export` compare.

use std::fs;
use std::path::{Path, PathBuf};

use super::copy::items;
use super::hand::{Act, Hand};
use super::image::{Image, small};
use crate::log::recovery::Strictness;
use crate::{Item, OpenError};

#[test]
fn a_whole_log_of_format_1_is_opened() {
    let image = fixture("v1/whole");
    let (_, report) = image.open().unwrap();
    assert_eq!((report.segments, report.frames, report.cut), (3, 71, None));
    let (items, losses) = items(&image.disk(), Strictness::Whole);
    assert!(losses.is_empty());
    let count = |is_it: fn(&Item) -> bool| items.iter().filter(|it| is_it(it)).count();
    assert_eq!(count(|it| matches!(it, Item::Session(_))), 4);
    assert_eq!(count(|it| matches!(it, Item::Ghost { .. })), 1);
    assert_eq!(count(|it| matches!(it, Item::Received { .. })), 1);
    assert!(count(|it| matches!(it, Item::Message(it) if it.retain.is_some())) > 0);
}

#[test]
fn a_torn_log_of_format_1_is_opened() {
    let (_, report) = fixture("v1/torn").open().unwrap();
    assert_eq!((report.frames, report.cut), (70, Some(("00000003.log".to_owned(), 5))));
}

#[test]
fn damaged_logs_of_format_1_are_refused() {
    for (name, file, offset) in
        [("v1/flipped", "00000002.log", 64), ("v1/headless", "00000003.log", 0)]
    {
        let Err(OpenError::Corrupt { file: found, offset: at, .. }) = fixture(name).open() else {
            panic!("{name} is not refused");
        };
        assert_eq!((found.file_name().unwrap().to_str(), at), (Some(file), offset), "{name}");
    }
}

#[test]
#[ignore = "fixtures are written once"]
fn write_fixtures() {
    let whole = written();
    let segments: Vec<_> = whole.segments().into_keys().collect();
    let second = &segments[1];
    let place = whole.frames().into_iter().find(|it| it.file == *second).unwrap();
    write("v1/whole", &whole);
    write("v1/flipped", &whole.with(second, |it| it[place.offset + 40] ^= 1));
    write("v1/headless", &whole.with(&segments[2], |it| it[..64].fill(0)));
    let last = whole.frames().pop().unwrap();
    write("v1/torn", &whole.with(&last.file, |it| it.truncate(last.offset + 5)));
}

/// Returns a log with each kind of record in it.
fn written() -> Image {
    let mut hand = Hand::new(small());
    let start = |who| vec![Act::Start { who }, Act::Will { who, is_set: true }];
    let publish = |targets, qos, kind, size| {
        vec![Act::Publish { targets, qos, kind, size, topic: kind % 4, inbound: None }]
    };
    (0..5).for_each(|who| hand.append(&start(who)));
    for round in 0..8_u8 {
        hand.append(&[Act::Subscribe { who: round % 5, filter: round % 3, has_cursor: true }]);
        for kind in 0..6 {
            hand.append(&publish(0b11111, (round % 3).min(2), kind, 60 + u16::from(round)));
        }
        hand.sync();
    }
    let inbound = |packet_id| Act::Publish {
        targets: 0b10,
        qos: 2,
        kind: 3,
        size: 20,
        topic: 1,
        inbound: Some((0, packet_id)),
    };
    for acts in [
        vec![inbound(1), inbound(2), Act::Release { who: 0, packet_id: 1 }],
        vec![
            Act::Cursor { who: 0, filter: 0, topic: Some(1) },
            Act::Will { who: 0, is_set: false },
        ],
        vec![Act::Unsubscribe { who: 2, filter: 2 }, Act::Unretain { topic: 0 }],
        vec![Act::Finish { who: 0, nth: 0, count: 40 }, Act::Finish { who: 1, nth: 3, count: 5 }],
        vec![Act::Received { who: 1, nth: 0 }, Act::Change { who: 1, sent: 3, is_lost: true }],
        vec![Act::End { who: 4 }, Act::Finish { who: 2, nth: 0, count: 40 }],
        vec![Act::Finish { who: 3, nth: 0, count: 30 }],
        publish(0b1000, 1, 4, 90),
    ] {
        hand.append(&acts);
    }
    hand.sync();
    hand.do_chores();
    hand.engine.close().unwrap();
    let mut image = Image::of(&hand.disk);
    let used = image.segments();
    image.files.retain(|name, _| used.contains_key(name));
    for bytes in image.files.values_mut() {
        let end = bytes.iter().rposition(|it| *it != 0).map_or(0, |it| it + 1);
        bytes.truncate(end.next_multiple_of(8));
    }
    image
}

fn fixture(name: &str) -> Image {
    let read = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read(entry.path()).unwrap())
    };
    let entries = fs::read_dir(path(name)).unwrap();
    Image { files: entries.map(|it| read(it.unwrap())).collect() }
}

fn write(name: &str, image: &Image) {
    fs::create_dir_all(path(name)).unwrap();
    for (file, bytes) in &image.files {
        fs::write(path(name).join(file), bytes).unwrap();
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}
