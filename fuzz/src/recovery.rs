//! Bytes as a log: it is refused, or it can be gone on with.
//!
//! The format is written here a second time, as docs/storage-format.md has it, so that checksums are right where the
//! input does not want them to be wrong: behind them is what has to be looked at.

use std::collections::VecDeque;

use quelea_codec::QoS;
use quelea_session::{Content, Message, Position, SubscriptionIds};
use quelea_store::{
    Attributes, Batch, Cleaning, Contents, Disk, Engine, Fetch, LogFile, OpenError, Operation,
    Options, SessionIdentity, SessionNumber, ShardIndex, SimulatedDisk, StoreError, Strictness,
    Submission, Target, Which,
};

/// Reads `input` as the files of a log.
///
/// The first byte says how: bytes of one file as they are, or payloads of frames, each with its length (two bytes) and
/// flags.
pub fn check_recovery(input: &[u8]) {
    let Some((mode, rest)) = input.split_first() else { return };
    let files = match mode % 4 {
        0 => vec![("00000001.log".to_owned(), rest.to_vec())],
        _ => framed(rest),
    };
    salvage(&disk_with(&files));
    let disk = disk_with(&files);
    match Engine::open(disk.clone(), options()) {
        Ok((engine, recovered)) => {
            let sessions = recovered.sessions.iter().map(|it| it.session).collect();
            go_on(disk, engine, sessions);
        }
        Err(OpenError::Locked { .. }) => panic!("nobody else has it"),
        Err(_) => assert_eq!(content(&disk), files, "a log that is refused is not changed"),
    }
}

/// What cannot be read is passed over.
fn salvage(disk: &SimulatedDisk) {
    let Ok(contents) = Contents::read(disk.clone(), Strictness::Salvage) else { return };
    let mut losses = contents.losses().len();
    let counted = contents.for_each(|it| {
        losses += usize::from(it.is_err());
        Ok::<_, StoreError>(())
    });
    counted.expect("the disk is well");
}

/// Uses a log that was opened, and opens it again.
fn go_on(disk: SimulatedDisk, mut engine: Engine<SimulatedDisk>, mut sessions: Vec<SessionNumber>) {
    let new = engine.new_session();
    let identity = SessionIdentity { client_id: "new".into(), owner: "".into() };
    let mut operations = vec![Operation::SessionStart { session: new, identity, expiry_secs: 60 }];
    assert!(!sessions.contains(&new), "a number is given once");
    sessions.push(new);
    sessions.sort_unstable();
    operations.push(publish(&sessions));
    operations.extend(sessions.iter().map(|session| {
        let from = Position::new(0);
        let which = Which::All;
        Operation::Fetch(Fetch {
            session: *session,
            token: 1,
            from,
            entries_max: 9,
            bytes_max: 999,
            which,
        })
    }));
    let batch = Batch { through: Submission(1), is_awaited: true, operations };
    let mut batches = VecDeque::from([(ShardIndex(0), batch)]);
    for _ in 0..CHORES {
        engine.append(&mut batches).expect("the disk is well");
        engine.sync().expect("the disk is well");
        engine.take_outcomes();
        for (_, lookup) in engine.take_lookups() {
            // A message may be wrong within: that is noticed, too.
            let _ = lookup.read();
        }
        let Some(chore) = engine.next_chore() else { break };
        if engine.end_chore(chore.run()).is_err() {
            return;
        }
    }
    assert!(batches.is_empty());
    engine.close().expect("the disk is well");
    disk.kill();
    let (_, again) = Engine::open(disk, options()).expect("it was left in good order");
    let found: Vec<_> = again.sessions.iter().map(|it| it.session).collect();
    assert_eq!(found, sessions);
    assert!(again.report.cut.is_none());
}

fn publish(sessions: &[SessionNumber]) -> Operation {
    let content = Content { topic: "t", payload: b"payload", forwarded: &[], expires_at: None };
    let attributes = vec![Attributes {
        qos: QoS::AtLeastOnce,
        retain: false,
        subscription_ids: SubscriptionIds::new(&[]),
        share: None,
        retained_order: 0,
    }];
    Operation::Publish {
        message: Message::new(&content),
        qos: QoS::AtLeastOnce,
        targets: sessions
            .iter()
            .map(|session| Target { session: *session, attributes: 0 })
            .collect(),
        attributes,
        received: None,
        retain: None,
    }
}

/// Makes segments of payloads.
fn framed(mut rest: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut files = vec![("00000001.log".to_owned(), header(1, 1))];
    let mut number = 1;
    while let [low, high, flags, more @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(more.len());
        let (payload, more) = more.split_at(length);
        rest = more;
        if flags & 1 != 0 && files.len() == 1 {
            files.push(("00000002.log".to_owned(), header(2, number)));
        }
        let bytes = &mut files.last_mut().expect("there is a first").1;
        let at = bytes.len();
        bytes.extend(frame(payload, number, number.saturating_sub(1 + u64::from(flags >> 4))));
        if flags & 2 != 0 {
            // In the payload, or in the header before it.
            let middle = at + (32 + payload.len()) / if flags & 4 != 0 { 8 } else { 2 };
            bytes[middle] ^= 0x10;
        }
        number += 1 + u64::from(flags >> 3 & 1);
    }
    files
}

fn header(segment: u64, first_frame: u64) -> Vec<u8> {
    let mut block = [b"QUELEALG\x01\0\0\0\0\0\0\0".as_slice(), LOG_ID].concat();
    for number in [segment, first_frame, first_frame - 1] {
        block.extend(number.to_le_bytes());
    }
    block.extend((segment as u32 - 1).to_le_bytes());
    block.extend(crc32fast::hash(&block).to_le_bytes());
    block
}

fn frame(payload: &[u8], number: u64, synced: u64) -> Vec<u8> {
    let mut frame = b"QLFR".to_vec();
    frame.extend((payload.len() as u32).to_le_bytes());
    frame.extend(number.to_le_bytes());
    frame.extend(synced.to_le_bytes());
    frame.extend(crc32fast::hash(payload).to_le_bytes());
    frame.extend(crc32fast::hash(&[LOG_ID, &frame].concat()).to_le_bytes());
    frame.extend(payload);
    frame.resize(frame.len().next_multiple_of(8), 0);
    frame
}

fn disk_with(files: &[(String, Vec<u8>)]) -> SimulatedDisk {
    let disk = SimulatedDisk::new(64 << 20);
    for (name, bytes) in files {
        let file = disk.create(name).expect("there is room");
        file.write_at(bytes, 0).expect("there is room");
    }
    disk
}

fn content(disk: &SimulatedDisk) -> Vec<(String, Vec<u8>)> {
    let read = |name: String| {
        let file = disk.open(&name).expect("it is listed");
        let mut bytes = vec![0; file.length().expect("it is there") as usize];
        file.read_at(&mut bytes, 0).expect("it is there");
        (name, bytes)
    };
    disk.list().expect("it can be listed").into_iter().map(read).collect()
}

fn options() -> Options {
    let cleaning = Cleaning { ratio: 1_000, slack_bytes: 1 << 30 };
    Options { segment_bytes: 4_096, cleaning, ..Options::default() }
}

const LOG_ID: &[u8] = b"sixteen bytes id";

/// More than there can be.
const CHORES: usize = 100;
