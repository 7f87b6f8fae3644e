//! What a client keeps beyond its process: records in the order submitted, of which a process that dies leaves those that
//! were synced, and perhaps some of the others.

use std::collections::{BTreeMap, BTreeSet};

use quelea_codec::QoS;
use quelea_session::Position;

#[derive(Default)]
pub(crate) struct File {
    records: Vec<Record>,
    synced_count: usize,
    /// The last mark that was submitted.
    mark_told: u64,
}

#[derive(Clone, Copy)]
pub(crate) enum Record {
    Accepted(Position, QoS, u32),
    /// What is before may be sent.
    Mark(Position),
    /// The broker has the QoS 2 message.
    Received(Position),
    Done(Position),
}

/// What the next process finds.
pub(crate) struct Found {
    pub(crate) mark: Position,
    /// The numbers of all messages that were ever accepted.
    pub(crate) accepted: BTreeSet<u32>,
    /// Those that are not done with.
    pub(crate) alive: BTreeMap<Position, Kept>,
}

pub(crate) struct Kept {
    pub(crate) qos: QoS,
    pub(crate) number: u32,
    pub(crate) is_received: bool,
}

impl File {
    pub(crate) fn submit(&mut self, record: Record) {
        self.records.push(record);
    }

    /// Submits a mark that is a little ahead of what was sent.
    pub(crate) fn extend_mark(&mut self, sent_before: Position) {
        if sent_before.value() + MARK_AHEAD / 2 > self.mark_told {
            self.mark_told = sent_before.value() + MARK_AHEAD;
            self.submit(Record::Mark(Position::new(self.mark_told)));
        }
    }

    /// Keeps all that was submitted. Returns what the broker has, of what was not kept before.
    pub(crate) fn sync(&mut self) -> Vec<Position> {
        let fresh = &self.records[self.synced_count..];
        let received = fresh.iter().filter_map(|record| match record {
            Record::Received(position) => Some(*position),
            Record::Accepted(..) | Record::Mark(_) | Record::Done(_) => None,
        });
        let received = received.collect();
        self.synced_count = self.records.len();
        received
    }

    /// Returns the position before which all is kept, and a mark behind it.
    pub(crate) fn send_before(&self) -> Position {
        let (mut kept, mut mark) = (Position::new(0), Position::new(0));
        for record in &self.records[..self.synced_count] {
            match *record {
                Record::Accepted(position, ..) => kept = position.plus(1),
                Record::Mark(position) => mark = position,
                Record::Received(_) | Record::Done(_) => {}
            }
        }
        kept.min(mark)
    }

    /// Has the process die, with `more` records than those that were synced, and another read them.
    pub(crate) fn reopen(&mut self, more: usize) -> Found {
        self.records.truncate(self.synced_count + more);
        self.synced_count = self.records.len();
        let (mut mark, mut accepted) = (Position::new(0), BTreeSet::new());
        let mut alive: BTreeMap<Position, Kept> = BTreeMap::new();
        for record in &self.records {
            match *record {
                Record::Accepted(position, qos, number) => {
                    accepted.insert(number);
                    alive.insert(position, Kept { qos, number, is_received: false });
                }
                Record::Mark(position) => mark = position,
                Record::Received(position) => {
                    if let Some(kept) = alive.get_mut(&position) {
                        kept.is_received = true;
                    }
                }
                Record::Done(position) => drop(alive.remove(&position)),
            }
        }
        self.mark_told = mark.value();
        Found { mark, accepted, alive }
    }
}

/// Little, so that a run reaches it often.
const MARK_AHEAD: u64 = 2;
