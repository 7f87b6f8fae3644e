//! The file: what is alive in it, and where.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quelea_session::Position;

use super::disk::{Disk, Medium, OpenFault};
use super::record::{self, Kept, Read, Record};
use crate::error::JournalError;

/// A file that only this process writes.
pub(crate) struct JournalFile {
    disk: Arc<dyn Disk>,
    file: Box<dyn Medium>,
    path: PathBuf,
    client_id: String,
    /// Where the file ends.
    end: u64,
    /// What is before has reached the disk.
    synced_before: u64,
    /// As far as the file itself says so.
    told_synced_before: u64,
    alive: BTreeMap<Position, Alive>,
    /// Bytes of the records of what is alive.
    alive_bytes: u64,
    mark: Position,
    found: Option<Found>,
}

/// A message that is not done with.
struct Alive {
    offset: u64,
    bytes: u64,
    is_received: bool,
}

/// What an opened file had.
pub(super) struct Found {
    pub(super) mark: Position,
    pub(super) messages: BTreeMap<Position, Kept>,
}

impl JournalFile {
    /// Opens the file at `path`, or makes it.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        client_id: &str,
    ) -> Result<Self, JournalError> {
        let fault =
            |error: io::Error| JournalError::Io { path: path.clone(), error: error.to_string() };
        // What a process left that ended while it copied.
        disk.remove(&new_path(&path));
        let mut file = disk.open(&path).map_err(|it| match it {
            OpenFault::InUse => JournalError::InUse(path.clone()),
            OpenFault::Io(error) => fault(error),
        })?;
        let bytes = file.read_all().map_err(fault)?;
        let mut journal = Self {
            disk,
            file,
            client_id: client_id.to_owned(),
            end: 0,
            synced_before: 0,
            told_synced_before: 0,
            alive: BTreeMap::new(),
            alive_bytes: 0,
            mark: Position::new(0),
            found: None,
            path: path.clone(),
        };
        let mut messages = BTreeMap::new();
        let mut at = 0;
        while let Some((read, length)) = record::read(&bytes[at..]) {
            journal.replay(read, at as u64, length as u64, &mut messages)?;
            at += length;
        }
        journal.end = at as u64;
        let mut first = Vec::new();
        record::beginning(client_id, &mut first);
        if at == 0 && !is_torn(&bytes, &first) {
            return Err(JournalError::NotOurs(path));
        }
        if is_synced_behind(&bytes, at) {
            return Err(JournalError::Corrupt { path, offset: at as u64 });
        }
        // What is cut off must not come back under what is written in its place.
        journal.file.truncate(at as u64).map_err(fault)?;
        // What is in it is believed from here on, and its maker may have died before either was certain to last.
        match at {
            0 => journal.append(&first, true).map_err(fault)?,
            _ => journal.sync().map_err(fault)?,
        }
        journal.disk.sync_directory(&path).map_err(fault)?;
        journal.found = Some(Found { mark: journal.mark, messages });
        Ok(journal)
    }

    fn replay(
        &mut self,
        read: Read,
        offset: u64,
        bytes: u64,
        messages: &mut BTreeMap<Position, Kept>,
    ) -> Result<(), JournalError> {
        match read {
            Read::Beginning(client_id) if client_id != self.client_id => {
                return Err(JournalError::OtherClient { path: self.path.clone(), client_id });
            }
            Read::Beginning(_) | Read::Synced(_) => {}
            Read::Accepted(position, kept) => {
                messages.insert(position, kept);
                self.add(position, offset, bytes);
            }
            Read::Mark(mark) => self.mark = mark,
            Read::Received(position) => {
                if let Some(kept) = messages.get_mut(&position) {
                    kept.is_received = true;
                }
                self.receive(position);
            }
            Read::Done(position) => {
                messages.remove(&position);
                self.forget(position);
            }
        }
        Ok(())
    }

    /// Takes what the file had when it was opened.
    pub(super) fn take_found(&mut self) -> Found {
        let none = || Found { mark: Position::new(0), messages: BTreeMap::new() };
        self.found.take().unwrap_or_else(none)
    }

    /// Notes a record that is going to be written `at` in the next batch.
    pub(super) fn note(&mut self, record: &Record, at: usize, bytes: usize) {
        match *record {
            Record::Accepted { position } => self.add(position, self.end + at as u64, bytes as u64),
            Record::Mark(mark) => self.mark = mark,
            Record::Received(position) => self.receive(position),
            Record::Done(position) => self.forget(position),
        }
    }

    /// Adds a record to a batch.
    pub(super) fn write(&mut self, record: &Record, batch: &mut Vec<u8>) {
        let at = batch.len();
        record.encode(batch);
        self.note(record, at, batch.len() - at);
    }

    /// Begins a batch.
    pub(super) fn begin(&mut self, batch: &mut Vec<u8>) {
        // Once for each sync, and not at all where nothing was synced since.
        if self.told_synced_before < self.synced_before {
            self.told_synced_before = self.synced_before;
            record::synced(self.synced_before, batch);
        }
    }

    /// Writes a batch.
    pub(super) fn append(&mut self, batch: &[u8], needs_sync: bool) -> io::Result<()> {
        self.file.write_at(self.end, batch)?;
        self.end += batch.len() as u64;
        if needs_sync { self.sync() } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()?;
        self.synced_before = self.end;
        Ok(())
    }

    /// Forgets a message.
    pub(super) fn forget(&mut self, position: Position) {
        if let Some(alive) = self.alive.remove(&position) {
            self.alive_bytes -= alive.bytes;
        }
    }

    fn add(&mut self, position: Position, offset: u64, bytes: u64) {
        self.alive.insert(position, Alive { offset, bytes, is_received: false });
        self.alive_bytes += bytes;
    }

    fn receive(&mut self, position: Position) {
        if let Some(alive) = self.alive.get_mut(&position) {
            alive.is_received = true;
        }
    }

    /// Copies what is alive to a new file, if the old one is mostly dead.
    pub(super) fn compact_if_due(&mut self) -> io::Result<()> {
        if self.end < COMPACT_FROM_BYTES || self.end < 2 * self.alive_bytes {
            return Ok(());
        }
        let path = new_path(&self.path);
        let mut file = self.disk.create(&path)?;
        let mut first = Vec::new();
        record::beginning(&self.client_id, &mut first);
        Record::Mark(self.mark).encode(&mut first);
        file.write_at(0, &first)?;
        let mut end = first.len() as u64;
        let mut copy = Vec::new();
        let mut places = Vec::with_capacity(self.alive.len());
        for (&position, alive) in &self.alive {
            copy.resize(alive.bytes as usize, 0);
            self.file.read_at(alive.offset, &mut copy)?;
            if alive.is_received {
                Record::Received(position).encode(&mut copy);
            }
            file.write_at(end, &copy)?;
            places.push(end);
            end += copy.len() as u64;
        }
        file.sync()?;
        self.disk.replace(&path, &self.path)?;
        self.disk.sync_directory(&self.path)?;
        for (alive, place) in self.alive.values_mut().zip(places) {
            alive.offset = place;
        }
        self.file = file;
        self.end = end;
        self.synced_before = end;
        self.told_synced_before = 0;
        Ok(())
    }
}

/// Returns whether a file without a whole record is one whose `first` was not written to the end: a crash leaves of it
/// what it will, and zeros.
fn is_torn(bytes: &[u8], first: &[u8]) -> bool {
    bytes.len() <= first.len() && bytes.iter().zip(first).all(|(it, whole)| it == whole || *it == 0)
}

/// Returns whether what is damaged at `at` was whole once. A crash of the machine leaves what was not synced torn, and
/// perhaps whole again behind: nothing of it was promised. But what is said to be synced was.
fn is_synced_behind(bytes: &[u8], at: usize) -> bool {
    (at + 1..bytes.len()).any(|it| match record::read(&bytes[it..]) {
        Some((Read::Synced(before), _)) => before > at as u64 && before <= it as u64,
        Some(_) | None => false,
    })
}

fn new_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

/// A smaller file is not worth the copying.
const COMPACT_FROM_BYTES: u64 = 1024 * 1024;

#[cfg(test)]
mod tests;
