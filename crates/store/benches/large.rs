//! A log with very many queued messages: memory, restart, the first message of a sleeper, draining.
//!
//! ```console
//! $ cargo bench -p quelea-store --bench large -- 10000000 10000 200
//! ```
//!
//! Arguments: messages, sessions, payload bytes. Without them it is a small log, so that `cargo test --benches` is
//! quick. Before the restart as many messages again have come and gone as the cleaner tolerates, so the log is as
//! large as it gets.
//!
//! Sketch: an entry takes 16 bytes and a quarter to spare, 200 MB for ten million. A restart reads at most twice
//! what is alive and the slack, 5.4 GB, at 1 to 2 GB/s from the disk, and applies 15 million entries at about 100 ns.

#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Instant;
use std::{env, fs, process};

use quelea_codec::QoS;
use quelea_session::{Content, Message, Position, SubscriptionIds};
use quelea_store::{
    Attributes, Batch, Engine, Fetch, Operation, Options, Presence, RealDisk, SessionIdentity,
    SessionNumber, ShardIndex, Submission, Target, WallMillis, Which,
};

fn main() {
    let numbers: Vec<usize> = env::args().filter_map(|it| it.parse().ok()).collect();
    let [messages, sessions, payload_bytes] = numbers[..] else {
        return run(20_000, 100, 200);
    };
    run(messages, sessions, payload_bytes);
}

fn run(messages: usize, session_count: usize, payload_bytes: usize) {
    let directory = directory();
    let start = Instant::now();
    let (mut engine, _) = open(&directory);
    let sessions = start_sessions(&mut engine, session_count);
    let resident_before = resident_bytes();
    fill(&mut engine, &sessions, messages, payload_bytes);
    let took = start.elapsed();
    let rate = messages as f64 * 2.0 / took.as_secs_f64();
    println!("filled       {messages} messages, and as many gone again, {rate:.0} a second");
    let index = resident_bytes().saturating_sub(resident_before);
    println!(
        "resident     {:.1} MB, {} B a message",
        mb(resident_bytes()),
        index / messages as u64
    );
    drop(engine);
    println!("on the disk  {:.1} MB", mb(disk_bytes(&directory)));

    // As after a restart of the machine, where the system lets us.
    let is_cold = fs::write("/proc/sys/vm/drop_caches", "3").is_ok();
    let start = Instant::now();
    let (mut engine, recovered) = open(&directory);
    let opened = start.elapsed();
    assert_eq!(recovered.report.entries, messages as u64);
    let first = fetch(&mut engine, sessions[session_count / 2], Position::new(0), 1);
    assert_eq!(first.entries.len(), 1);
    let cache = if is_cold { "cold" } else { "warm" };
    println!(
        "restart      {:.2} s with a {cache} cache, {:.1} MB of log; first message after {:.2} s",
        opened.as_secs_f64(),
        mb(recovered.report.bytes),
        start.elapsed().as_secs_f64()
    );
    drop(recovered);
    println!("resident     {:.1} MB", mb(resident_bytes()));

    let start = Instant::now();
    drain(&mut engine, &sessions, messages);
    let rate = messages as f64 / start.elapsed().as_secs_f64();
    println!("drained      {rate:.0} messages a second");
    println!("on the disk  {:.1} MB", mb(disk_bytes(&directory)));
    fs::remove_dir_all(&directory).expect("it is ours");
}

fn open(directory: &Path) -> (Engine<RealDisk>, quelea_store::Recovered) {
    let disk = RealDisk::new(directory).expect("the directory can be made");
    Engine::open(disk, Options::default()).expect("the log is whole")
}

fn start_sessions(engine: &mut Engine<RealDisk>, count: usize) -> Vec<SessionNumber> {
    let sessions: Vec<_> = (0..count).map(|_| engine.new_session()).collect();
    let operations = sessions.iter().enumerate().flat_map(|(index, session)| {
        let identity =
            SessionIdentity { client_id: format!("sleeper-{index}").into(), owner: "".into() };
        let presence = Presence::Lost(WallMillis(1));
        [
            Operation::SessionStart { session: *session, identity, expiry_secs: u32::MAX },
            Operation::SessionChange {
                session: *session,
                expiry_secs: u32::MAX,
                presence,
                sent_before: Position::new(0),
            },
        ]
    });
    append(engine, operations.collect());
    sessions
}

/// Every second message is finished again, some time later.
fn fill(engine: &mut Engine<RealDisk>, sessions: &[SessionNumber], messages: usize, bytes: usize) {
    let mut payload = vec![7; bytes];
    let mut positions = vec![0_u64; sessions.len()];
    let mut number = 0_u64;
    while number < 2 * messages as u64 {
        let mut operations = Vec::with_capacity(2 * BATCH);
        for _ in 0..BATCH {
            if number >= 2 * messages as u64 {
                break;
            }
            payload[..8].copy_from_slice(&number.to_le_bytes());
            let content = Content {
                topic: "plant/7/line/3/temperature",
                payload: &payload,
                forwarded: &[],
                expires_at: None,
            };
            let index = number as usize / 2 % sessions.len();
            operations.push(Operation::Publish {
                message: Message::new(&content),
                qos: QoS::AtLeastOnce,
                targets: vec![Target { session: sessions[index], attributes: 0 }],
                attributes: vec![plain()],
                received: None,
                retain: None,
            });
            if number % 2 == 1 {
                let positions_of = vec![Position::new(positions[index])];
                let session = sessions[index];
                operations.push(Operation::Finish { session, positions: positions_of });
            }
            positions[index] += 1;
            number += 1;
        }
        append(engine, operations);
    }
}

fn drain(engine: &mut Engine<RealDisk>, sessions: &[SessionNumber], messages: usize) {
    let mut drained = 0;
    for session in sessions {
        let mut from = Position::new(0);
        loop {
            let fetched = fetch(engine, *session, from, 128);
            drained += fetched.entries.len();
            let positions = fetched.entries.iter().map(|it| it.position).collect();
            append(engine, vec![Operation::Finish { session: *session, positions }]);
            from = fetched.next;
            if fetched.is_last {
                break;
            }
        }
    }
    assert_eq!(drained, messages);
    settle(engine);
}

fn fetch(
    engine: &mut Engine<RealDisk>,
    session: SessionNumber,
    from: Position,
    entries_max: u32,
) -> quelea_store::Fetched {
    let fetch =
        Fetch { session, token: 1, from, entries_max, bytes_max: 1 << 20, which: Which::All };
    append(engine, vec![Operation::Fetch(fetch)]);
    let (_, lookup) = engine.take_lookups().pop().expect("it was asked for");
    lookup.read().expect("the log is whole")
}

fn append(engine: &mut Engine<RealDisk>, operations: Vec<Operation>) {
    let batch = Batch { through: Submission(0), is_awaited: false, operations };
    let mut batches = VecDeque::from([(ShardIndex(0), batch)]);
    while !batches.is_empty() {
        engine.append(&mut batches).expect("the disk works");
    }
    engine.sync().expect("the disk works");
    do_chores(engine);
    drop(engine.take_outcomes());
}

fn do_chores(engine: &mut Engine<RealDisk>) {
    while let Some(chore) = engine.next_chore() {
        engine.end_chore(chore.run()).expect("the disk works");
    }
}

fn settle(engine: &mut Engine<RealDisk>) {
    loop {
        engine.sync().expect("the disk works");
        do_chores(engine);
        if !engine.wants_append() {
            return;
        }
        engine.append(&mut VecDeque::new()).expect("the disk works");
    }
}

fn plain() -> Attributes {
    Attributes {
        qos: QoS::AtLeastOnce,
        retain: false,
        subscription_ids: SubscriptionIds::new(&[]),
        share: None,
        retained_order: 0,
    }
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("large-{}", process::id()))
}

fn disk_bytes(directory: &Path) -> u64 {
    let files = fs::read_dir(directory).expect("it is there");
    files.filter_map(|it| Some(it.ok()?.metadata().ok()?.len())).sum()
}

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|it| it.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Messages appended at once.
const BATCH: usize = 1_000;
