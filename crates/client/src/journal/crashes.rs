//! The power fails at any operation on the file, and what was promised is there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;
use quelea_codec::QoS;
use quelea_session::{Content, Position};

use super::file::JournalFile;
use super::record::{Record, accepted};
use super::simulated_disk::SimulatedDisk;

/// What the file says, as a model so simple that it is obviously right: messages with whether the broker has them, and
/// the mark.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Model {
    messages: BTreeMap<Position, bool>,
    mark: Position,
}

/// Records that are written together.
#[derive(Clone, Debug)]
struct Batch {
    records: Vec<Step>,
    needs_sync: bool,
}

/// A record of a message that is drawn among those that there are.
#[derive(Clone, Copy, Debug)]
enum Step {
    Accept(usize),
    Mark,
    Receive(usize),
    Done(usize),
}

/// What dies.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The system has all that was written, and may still lose it.
    OfProcess,
    OfMachine,
}

impl Model {
    fn new() -> Self {
        Self { messages: BTreeMap::new(), mark: Position::new(0) }
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::Accepted { position } => drop(self.messages.insert(position, false)),
            Record::Mark(mark) => self.mark = mark,
            Record::Received(position) => {
                self.messages.entry(position).and_modify(|it| *it = true);
            }
            Record::Done(position) => drop(self.messages.remove(&position)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// After each crash the file has what some beginning of what was submitted makes, and no less than was promised.
    #[test]
    fn what_was_promised_survives_a_crash_at_any_operation(
        lives in prop::collection::vec((batches(), 0_usize..120, any::<u64>(), ends()), 1..6),
    ) {
        let disk = SimulatedDisk::default();
        let mut promised = Model::new();
        // What may be there: `promised`, and what each further record makes of it.
        let mut possible = vec![promised.clone()];
        let mut next = 0;
        for (batches, operations, random, end) in lives {
            disk.fail_after(operations, random);
            if let Ok(mut file) = open(&disk) {
                let found = found(&mut file);
                prop_assert!(possible.contains(&found), "{found:?} of {possible:?}");
                promised = found;
                possible = vec![promised.clone()];
                for batch in batches {
                    if !write(&mut file, &batch, &mut next, &mut promised, &mut possible) {
                        break;
                    }
                }
            }
            match end {
                End::OfProcess => {}
                End::OfMachine => disk.crash(),
            }
        }
        disk.fail_after(usize::MAX, 1);
        let mut file = open(&disk).expect("a crash is no damage");
        let found = found(&mut file);
        prop_assert!(possible.contains(&found), "{found:?} of {possible:?}");
    }
}

/// Who opens a file promises what is in it, though an earlier process may have died before it was synced, or before the
/// name was.
#[test]
fn what_a_process_left_is_made_lasting_before_it_is_believed() {
    // An empty file takes five operations: it is made, cut off, written, synced, and its name is.
    for operations in 0..8 {
        for random in 0..32 {
            let disk = SimulatedDisk::default();
            disk.fail_after(operations, random);
            let (mut next, mut model) = (0, Model::new());
            let mut keep = |file: &mut JournalFile, needs_sync| {
                let batch = Batch { records: vec![Step::Accept(20)], needs_sync };
                write(file, &batch, &mut next, &mut model, &mut vec![Model::new()])
            };
            if let Ok(mut file) = open(&disk) {
                keep(&mut file, false);
            }
            // The process dies, and the machine goes on.
            disk.fail_after(usize::MAX, random);
            let mut file = open(&disk).unwrap();
            let mut promised = found(&mut file);
            assert!(keep(&mut file, true));
            drop(file);
            let last = Position::new(next - 1);
            promised.messages.insert(last, false);
            disk.crash();
            let found = found(&mut open(&disk).unwrap());
            assert_eq!(found, promised, "after {operations} operations, random {random}");
        }
    }
}

/// Writes a batch as the journal's thread does. Returns whether the power lasted.
fn write(
    file: &mut JournalFile,
    batch: &Batch,
    next: &mut u64,
    promised: &mut Model,
    possible: &mut Vec<Model>,
) -> bool {
    let mut bytes = Vec::new();
    file.begin(&mut bytes);
    let mut model = possible.last().expect("there is one").clone();
    for &step in &batch.records {
        let drawn = |index: usize| {
            let count = model.messages.len().max(1);
            model.messages.keys().nth(index % count).copied().unwrap_or(Position::new(0))
        };
        let record = match step {
            Step::Accept(_) => Record::Accepted { position: Position::new(*next) },
            Step::Mark => Record::Mark(Position::new(*next)),
            Step::Receive(index) => Record::Received(drawn(index)),
            Step::Done(index) => Record::Done(drawn(index)),
        };
        if let (Step::Accept(size), Record::Accepted { position }) = (step, record) {
            *next += 1;
            let payload = vec![b'x'; size];
            let content =
                Content { topic: "t", payload: &payload, forwarded: &[], expires_at: None };
            let encoded = accepted(position, &content, QoS::ExactlyOnce, false, 0);
            file.note(&record, bytes.len(), encoded.len());
            bytes.extend_from_slice(&encoded);
        } else {
            file.write(&record, &mut bytes);
        }
        model.apply(record);
        possible.push(model.clone());
    }
    if file.append(&bytes, batch.needs_sync).is_err() {
        return false;
    }
    if batch.needs_sync {
        *promised = model;
        *possible = vec![promised.clone()];
    }
    file.compact_if_due().is_ok()
}

fn open(disk: &SimulatedDisk) -> Result<JournalFile, crate::error::JournalError> {
    let opened = JournalFile::open(Arc::new(disk.clone()), PathBuf::from("journal"), "client");
    if let Err(error) = &opened {
        // The power failed, and nothing else.
        assert!(matches!(error, crate::error::JournalError::Io { .. }), "{error}");
    }
    opened
}

fn found(file: &mut JournalFile) -> Model {
    let found = file.take_found();
    let messages = found.messages.into_iter().map(|(position, it)| (position, it.is_received));
    Model { messages: messages.collect(), mark: found.mark }
}

fn ends() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::OfProcess), Just(End::OfMachine)]
}

fn batches() -> impl Strategy<Value = Vec<Batch>> {
    // Some so large that the file is soon worth a copy.
    let size = prop_oneof![4 => 0_usize..100, 1 => 20_000_usize..200_000];
    let step = prop_oneof![
        4 => size.prop_map(Step::Accept),
        1 => Just(Step::Mark),
        2 => any::<usize>().prop_map(Step::Receive),
        4 => any::<usize>().prop_map(Step::Done),
    ];
    let batch = (prop::collection::vec(step, 1..5), any::<bool>())
        .prop_map(|(records, needs_sync)| Batch { records, needs_sync });
    prop::collection::vec(batch, 0..40)
}
