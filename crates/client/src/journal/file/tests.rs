use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use quelea_codec::QoS;
use quelea_session::{Content, Position};

use super::super::disk::RealDisk;
use super::super::record::{Record, accepted};
use super::JournalFile;
use crate::error::JournalError;

#[test]
fn what_is_not_done_comes_back() {
    let path = Scratch::new("comes_back");
    let mut file = open(&path).unwrap();
    for number in 0..4 {
        accept(&mut file, number, "payload");
    }
    note(&mut file, Record::Done(Position::new(1)));
    note(&mut file, Record::Received(Position::new(2)));
    note(&mut file, Record::Mark(Position::new(3)));
    drop(file);
    check(&path, 3, &[(0, false), (2, true), (3, false)]);
}

/// A crash may cut the file anywhere: what was synced before is there, and the rest is as if it had not been.
#[test]
fn a_torn_end_is_cut_off() {
    let path = Scratch::new("torn");
    let mut file = open(&path).unwrap();
    accept(&mut file, 0, "kept");
    let whole = file.end;
    accept(&mut file, 1, "torn");
    drop(file);
    let bytes = fs::read(&path.0).unwrap();
    for length in whole as usize..bytes.len() {
        fs::write(&path.0, &bytes[..length]).unwrap();
        check(&path, 0, &[(0, false)]);
        assert_eq!(fs::metadata(&path.0).unwrap().len(), whole);
    }
    // And written to as before.
    let mut file = open(&path).unwrap();
    accept(&mut file, 1, "again");
    drop(file);
    check(&path, 0, &[(0, false), (1, false)]);
}

/// What was synced was promised: to cut at a fault in it would lose that in silence.
#[test]
fn a_fault_in_what_was_synced_is_reported() {
    let path = Scratch::new("fault");
    let mut file = open(&path).unwrap();
    let at = file.end;
    accept(&mut file, 0, "damaged");
    file.sync().unwrap();
    note(&mut file, Record::Mark(Position::new(1)));
    accept(&mut file, 1, "correct");
    drop(file);
    let mut bytes = fs::read(&path.0).unwrap();
    bytes[at as usize + 12] ^= 1;
    fs::write(&path.0, &bytes).unwrap();
    let corrupt = JournalError::Corrupt { path: path.0.clone(), offset: at };
    assert_eq!(open(&path).err(), Some(corrupt));
}

/// A crash of the machine may leave any part of what was not synced.
#[test]
fn a_fault_in_what_was_not_synced_is_cut_off() {
    let path = Scratch::new("not_synced");
    let mut file = open(&path).unwrap();
    note(&mut file, Record::Mark(Position::new(1)));
    accept(&mut file, 0, "kept");
    let at = file.end;
    accept(&mut file, 1, "damaged");
    accept(&mut file, 2, "correct");
    drop(file);
    let mut bytes = fs::read(&path.0).unwrap();
    bytes[at as usize + 12] ^= 1;
    fs::write(&path.0, &bytes).unwrap();
    check(&path, 1, &[(0, false)]);
}

#[test]
fn a_file_whose_beginning_is_torn_begins_anew() {
    let path = Scratch::new("beginning");
    drop(open(&path).unwrap());
    let whole = fs::read(&path.0).unwrap();
    for length in 0..whole.len() {
        for zeros in 0..length {
            let mut torn = whole[..length].to_vec();
            torn[zeros..].fill(0);
            fs::write(&path.0, &torn).unwrap();
            check(&path, 0, &[]);
            assert_eq!(fs::read(&path.0).unwrap(), whole);
        }
    }
}

#[test]
fn a_file_belongs_to_one_client_and_one_process() {
    let path = Scratch::new("belongs");
    let file = open(&path).unwrap();
    assert_eq!(open(&path).err(), Some(JournalError::InUse(path.0.clone())));
    drop(file);
    let other = JournalFile::open(Arc::new(RealDisk), path.0.clone(), "other").err();
    let client_id = "client".to_owned();
    assert_eq!(other, Some(JournalError::OtherClient { path: path.0.clone(), client_id }));
    fs::write(&path.0, "dear diary, this is not a journal").unwrap();
    assert_eq!(open(&path).err(), Some(JournalError::NotOurs(path.0.clone())));
}

#[test]
fn a_file_does_not_grow_with_what_is_done() {
    let path = Scratch::new("grow");
    let mut file = open(&path).unwrap();
    let payload = "x".repeat(10_000);
    for number in 0..2_000 {
        accept(&mut file, number, &payload);
        if number >= 10 {
            note(&mut file, Record::Done(Position::new(number - 10)));
        }
        if number == 1_995 {
            note(&mut file, Record::Received(Position::new(1_995)));
            note(&mut file, Record::Mark(Position::new(1_999)));
        }
        file.compact_if_due().unwrap();
        assert!(file.end <= super::COMPACT_FROM_BYTES + 20_000, "{}", file.end);
    }
    drop(file);
    let expected: Vec<(u64, bool)> = (1_990..2_000).map(|it| (it, it == 1_995)).collect();
    check(&path, 1_999, &expected);
}

fn open(path: &Scratch) -> Result<JournalFile, JournalError> {
    JournalFile::open(Arc::new(RealDisk), path.0.clone(), "client")
}

fn accept(file: &mut JournalFile, position: u64, payload: &str) {
    let payload = payload.as_bytes();
    let content = Content { topic: "t", payload, forwarded: &[1, 1], expires_at: None };
    let position = Position::new(position);
    let record = accepted(position, &content, QoS::ExactlyOnce, true, 0);
    file.note(&Record::Accepted { position }, 0, record.len());
    file.append(&record, false).unwrap();
}

fn note(file: &mut JournalFile, record: Record) {
    let mut batch = Vec::new();
    file.begin(&mut batch);
    file.write(&record, &mut batch);
    file.append(&batch, false).unwrap();
}

/// The file has this mark, and these messages: position, and whether the broker has received it.
#[track_caller]
fn check(path: &Scratch, mark: u64, expected: &[(u64, bool)]) {
    let found = open(path).unwrap().take_found();
    assert_eq!(found.mark, Position::new(mark));
    let messages: Vec<(u64, bool)> =
        found.messages.iter().map(|(position, it)| (position.value(), it.is_received)).collect();
    assert_eq!(messages, expected);
    assert!(found.messages.values().all(|it| it.topic() == "t" && it.retain));
}

/// A file that is removed with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("quelea-{}-{name}.journal", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_file(&path);
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
