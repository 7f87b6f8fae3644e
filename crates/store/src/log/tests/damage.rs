//! Damage is named, or loses what nobody was promised; it never makes less of a log without a word.

use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::copy::{copied, items};
use super::image::{History, Image, Place};
use crate::log::frame::{self, FrameKey};
use crate::log::open_error::{OpenError, VERSION};
use crate::log::recovery::Strictness;
use crate::log::segment::{HEADER_BYTES, SegmentHeader, file_name, number_of};

#[test]
fn the_log_is_one_worth_damaging() {
    let history = &*HISTORY;
    assert!(history.image.segments().len() >= 4);
    assert!(history.frames.len() > 90);
    let shares = |it: &&Place| {
        history.frames.iter().any(|other| {
            other.header.number == it.header.number + 1 && other.header.synced < it.header.number
        })
    };
    assert!(history.frames.iter().filter(shares).count() > 20, "frames share a sync");
    let (model, report) = history.image.open().unwrap();
    assert_eq!(report.cut, None);
    assert!(model == *history.state(u64::MAX));
}

/// A frame that something behind it knows to have been on the disk is damaged; another is torn.
#[test]
fn every_flipped_bit_is_named_or_loses_what_nobody_was_promised() {
    let history = &*HISTORY;
    let mut torn_count = 0;
    for place in &history.frames {
        let within = (place.offset..place.payload_end()).enumerate();
        for (index, at) in within.filter(|(index, _)| *index < 32 || index % 19 == 0) {
            let image = history.image.with(&place.file, |it| it[at] ^= 1 << (index % 8));
            let number = place.header.number;
            if history.known_behind(place) >= number {
                check_corrupt(&image, &place.file, place.offset as u64);
                continue;
            }
            torn_count += 1;
            let (model, report) = image.open().unwrap();
            assert!(model == *history.state(number - 1), "frame {number}, byte {index}");
            assert_eq!(report.cut.unwrap().0, place.file, "frame {number}, byte {index}");
        }
    }
    assert!(torn_count > 0);
}

#[test]
fn every_flipped_bit_of_a_segments_header_is_named() {
    let history = &*HISTORY;
    for name in history.image.segments().keys() {
        for bit in 0..HEADER_BYTES * 8 {
            let image = history.image.with(name, |it| it[bit / 8] ^= 1 << (bit % 8));
            check_corrupt(&image, name, 0);
        }
    }
}

#[test]
fn what_is_cut_off_is_lost_and_nothing_else() {
    let history = &*HISTORY;
    let name = history.last_file();
    let last: Vec<_> = history.frames.iter().filter(|it| it.file == name).collect();
    assert!(last.len() > 1);
    for length in (HEADER_BYTES..=last.last().unwrap().end()).step_by(5) {
        let image = history.image.with(name, |it| it.truncate(length));
        let whole = last.iter().rfind(|it| it.end() <= length);
        let end = whole.map_or(HEADER_BYTES, |it| it.end());
        let frame = whole.map_or(last[0].header.number - 1, |it| it.header.number);
        let (model, report) = image.open().unwrap();
        assert!(model == *history.state(frame), "{length} bytes");
        let cut = (length > end).then(|| (name.to_owned(), (length - end) as u64));
        // Zeros that fill up the payload are not missed.
        let expected = cut.filter(|_| image.files[name][end..].iter().any(|it| *it != 0));
        assert_eq!(report.cut.is_some(), expected.is_some(), "{length} bytes");
    }
}

#[test]
fn garbage_behind_the_end_does_no_harm() {
    let history = &*HISTORY;
    let end = history.frames.last().unwrap().end();
    let garbage: Vec<u8> = (0..1_000_u32).map(|it| ((it * it) >> 3) as u8 | 1).collect();
    // Frames that have been here before are such garbage, too.
    let older = &history.image.files[&history.frames[0].file][HEADER_BYTES..];
    for garbage in [&garbage[..1], &garbage[..40], &garbage, older] {
        for end in [end, end + 8, end + 15] {
            let image = history.image.with(history.last_file(), |it| {
                it.truncate(end);
                it.resize(end, 0);
                it.extend(garbage);
            });
            let (model, report) = image.open().unwrap();
            assert!(model == *history.state(u64::MAX));
            assert_eq!(report.cut.unwrap().0, history.last_file());
        }
    }
}

/// A message may be what a frame would be, for all its sender knows: torn, it is not taken for a later one.
#[test]
fn a_frame_in_a_message_is_none() {
    let history = &*HISTORY;
    let last = history.frames.last().unwrap();
    let framed = |key, payload: &[u8], number, synced| {
        let mut frame = Vec::new();
        frame::begin(&mut frame);
        frame.extend_from_slice(payload);
        frame::finish(&mut frame, key, number, synced);
        frame
    };
    let number = last.header.number + 1;
    for (key, is_forged) in [(FrameKey::new([0; 16]), true), (history.key(), false)] {
        let within = framed(key, b"payload", number + 1, number);
        let mut torn = framed(history.key(), &within, number, last.header.synced);
        torn[26] ^= 1;
        let image = history.image.with(&last.file, |it| {
            it.resize(last.end(), 0);
            it.extend(&torn);
        });
        if is_forged {
            let (model, report) = image.open().unwrap();
            assert!(model == *history.state(u64::MAX));
            assert!(report.cut.is_some());
        } else {
            check_corrupt(&image, &last.file, last.end() as u64);
        }
    }
}

/// The only segment of a small log has lost its header: what is in it can still be had.
#[test]
fn a_log_without_any_header_is_salvaged() {
    let history = &*HISTORY;
    let first = history.frames[0].file.clone();
    let mut image = history.image.with(&first, |it| it[..HEADER_BYTES].fill(0xFF));
    image.files.retain(|name, _| *name == first);
    check_corrupt(&image, &first, 0);
    let (items, losses) = items(&image.disk(), Strictness::Salvage);
    assert!(items.len() > 3 && !losses.is_empty());
}

/// What is wrong with the first frame, too, is no reason to take the segment for one that was never used.
#[test]
fn a_log_without_any_header_or_first_frame_is_named() {
    let history = &*HISTORY;
    let first = &history.frames[0];
    let mut image = history.image.clone();
    image.files.retain(|name, _| *name == first.file);
    for at in first.offset..first.payload_end() {
        let image = image.with(&first.file, |it| {
            it[..HEADER_BYTES].fill(0);
            it[at] ^= 1;
        });
        check_corrupt(&image, &first.file, 0);
        let (_, losses) = items(&image.disk(), Strictness::Salvage);
        assert!(!losses.is_empty(), "byte {at}");
    }
}

/// Segments are made ready behind one that is used, and that one stays.
#[test]
fn a_log_of_which_only_the_reserve_is_left_is_named() {
    let history = &*HISTORY;
    let used = history.image.segments();
    let mut image = history.image.clone();
    image.files.retain(|name, _| !used.contains_key(name));
    for number in [7, 8] {
        let header = SegmentHeader::prepared([7; 16], number).encode().to_vec();
        image.files.insert(file_name(number), header);
    }
    check_corrupt(&image, &file_name(6), 0);
}

/// The last segment that is used is not taken for one that was being made while there are others behind it.
#[test]
fn the_last_segment_is_missed_while_the_reserve_is_there() {
    let history = &*HISTORY;
    let last = history.last_file();
    let number = number_of(last).unwrap();
    let mut image = history.image.clone();
    for ready in [number + 1, number + 2] {
        let log_id = history.image.segments()[last].log_id;
        let header = SegmentHeader::prepared(log_id, ready).encode().to_vec();
        image.files.insert(file_name(ready), header);
    }
    assert!(image.open().is_ok());
    for length in [0, 10, HEADER_BYTES - 1] {
        check_corrupt(&image.with(last, |it| it.truncate(length)), last, 0);
    }
    check_corrupt(&image.with(last, |it| it.fill(0)), last, 0);
    image.files.remove(last);
    check_corrupt(&image, last, 0);
}

#[test]
fn a_segment_that_is_missing_is_named() {
    let history = &*HISTORY;
    let names: Vec<_> = history.image.segments().into_keys().collect();
    for name in &names[..names.len() - 1] {
        let mut image = history.image.clone();
        image.files.remove(name);
        check_corrupt(&image, name, 0);
    }
}

#[test]
fn a_beginning_of_zeros_is_named() {
    let history = &*HISTORY;
    let first = |name: &String| history.frames.iter().find(|it| it.file == *name).unwrap().end();
    for name in history.image.segments().keys() {
        for length in [8, HEADER_BYTES, HEADER_BYTES + 40, first(name)] {
            let image = history.image.with(name, |it| it[..length].fill(0));
            check_corrupt(&image, name, 0);
        }
    }
}

#[test]
fn a_later_format_is_not_touched() {
    let history = &*HISTORY;
    for name in history.image.segments().keys() {
        let image = history.image.with(name, |it| {
            it[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes());
            let crc = crc32fast::hash(&it[..60]);
            it[60..64].copy_from_slice(&crc.to_le_bytes());
        });
        let Err(OpenError::Format { file, version }) = image.open() else { panic!("it opened") };
        assert_eq!((file.file_name().unwrap().to_str(), version), (Some(&**name), VERSION + 1));
    }
}

#[test]
fn a_record_of_a_later_kind_is_not_passed_over() {
    let history = &*HISTORY;
    let last = history.frames.last().unwrap();
    for payload in [&[99, 0][..], &[0, 0], &[16, 1, 7], &[2, 3, 1], &[16]] {
        let mut frame = Vec::new();
        frame::begin(&mut frame);
        frame.extend_from_slice(payload);
        frame::finish(&mut frame, history.key(), last.header.number + 1, last.header.synced);
        let end = last.end();
        let image = history.image.with(&last.file, |it| {
            it.truncate(end);
            it.extend(&frame);
        });
        check_corrupt(&image, &last.file, end as u64);
    }
}

#[test]
fn segments_of_two_logs_are_told_apart() {
    let history = &*HISTORY;
    let names: Vec<_> = history.image.segments().into_keys().collect();
    let image = history.image.with(&names[2], |it| {
        it[16..32].fill(0x77);
        let crc = crc32fast::hash(&it[..60]);
        it[60..64].copy_from_slice(&crc.to_le_bytes());
    });
    check_corrupt(&image, &names[2], 0);
}

/// What can be read of a log of which something is damaged can be gone on with.
#[test]
fn what_is_salvaged_is_a_log() {
    let history = &*HISTORY;
    for place in history.frames.iter().step_by(5) {
        let image = history.image.with(&place.file, |it| it[place.offset + 33] ^= 1);
        let (items, losses) = items(&image.disk(), Strictness::Salvage);
        if history.known_behind(place) >= place.header.number {
            let loss = &losses[0];
            assert_eq!(loss.file.file_name().unwrap().to_str(), Some(&*place.file));
            assert_eq!((loss.offset, loss.frames), (place.offset as u64, 1), "{loss}");
            assert_eq!(loss.bytes, place.header.frame_bytes());
        }
        let copy = Image::of(&copied(&items));
        copy.open().unwrap();
    }
}

#[test]
fn without_a_header_the_frames_are_salvaged() {
    let history = &*HISTORY;
    let (all, _) = items(&history.image.disk(), Strictness::Salvage);
    for name in history.image.segments().keys() {
        let image = history.image.with(name, |it| it[..HEADER_BYTES].fill(0));
        let (items, losses) = items(&image.disk(), Strictness::Salvage);
        assert_eq!(format!("{items:?}"), format!("{all:?}"), "{name}");
        assert_eq!(losses.len(), 1, "{losses:?}");
        assert_eq!((losses[0].frames, losses[0].bytes), (0, HEADER_BYTES as u64));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_damage_is_refused_or_leaves_what_the_log_once_was(wounds in wounds()) {
        let history = &*HISTORY;
        let mut image = history.image.clone();
        wounds.iter().for_each(|it| it.strike(&mut image));
        match image.open() {
            Ok((model, _)) => prop_assert!(history.has_been(&model)),
            Err(OpenError::Corrupt { .. } | OpenError::Format { .. }) => {}
            Err(error) => prop_assert!(false, "{error}"),
        }
        let (items, _) = items(&image.disk(), Strictness::Salvage);
        prop_assert!(Image::of(&copied(&items)).open().is_ok());
    }
}

/// Something that happens to a file.
#[derive(Clone, Debug)]
enum Wound {
    Fill { file: u8, at: u16, length: u8, byte: u8 },
    Move { file: u8, from: u16, to: u16, length: u16 },
    Cut { file: u8, length: u16 },
    Remove { file: u8 },
    Swap { file: u8, other: u8 },
}

fn wounds() -> impl Strategy<Value = Vec<Wound>> {
    let at = || 0..4_096_u16;
    let wound = prop_oneof![
        6 => (any::<u8>(), at(), any::<u8>(), any::<u8>())
            .prop_map(|(file, at, length, byte)| Wound::Fill { file, at, length, byte }),
        3 => (any::<u8>(), at(), at(), at())
            .prop_map(|(file, from, to, length)| Wound::Move { file, from, to, length }),
        2 => (any::<u8>(), at()).prop_map(|(file, length)| Wound::Cut { file, length }),
        1 => any::<u8>().prop_map(|file| Wound::Remove { file }),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(file, other)| Wound::Swap { file, other }),
    ];
    prop::collection::vec(wound, 1..4)
}

impl Wound {
    fn strike(&self, image: &mut Image) {
        let names: Vec<String> = image.files.keys().cloned().collect();
        if names.is_empty() {
            return;
        }
        let name = |file: u8| names[usize::from(file) % names.len()].clone();
        match *self {
            Self::Fill { file, at, length, byte } => {
                let bytes = image.files.get_mut(&name(file)).unwrap();
                let range = range(bytes, at, length.into());
                bytes[range].fill(byte);
            }
            Self::Move { file, from, to, length } => {
                let bytes = image.files.get_mut(&name(file)).unwrap();
                let range = range(bytes, from, length);
                let to = usize::from(to).min(bytes.len() - range.len());
                bytes.copy_within(range, to);
            }
            Self::Cut { file, length } => {
                image.files.get_mut(&name(file)).unwrap().truncate(length.into());
            }
            Self::Remove { file } => {
                image.files.remove(&name(file));
            }
            Self::Swap { file, other } => {
                let (one, two) =
                    (image.files[&name(file)].clone(), image.files[&name(other)].clone());
                image.files.insert(name(file), two);
                image.files.insert(name(other), one);
            }
        }
    }
}

fn range(bytes: &[u8], at: u16, length: u16) -> std::ops::Range<usize> {
    let start = usize::from(at).min(bytes.len());
    start..(start + usize::from(length)).min(bytes.len())
}

static HISTORY: LazyLock<History> = LazyLock::new(History::new);

#[track_caller]
fn check_corrupt(image: &Image, name: &str, at: u64) {
    match image.open() {
        Err(OpenError::Corrupt { file, offset, what }) => {
            assert_eq!(file.file_name(), Path::new(name).file_name(), "{what}");
            assert_eq!(offset, at, "{what}");
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("damage in {name} at {at} was not noticed"),
    }
}
