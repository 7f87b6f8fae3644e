//! The file: what is alive in it, and where.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use quelea_session::Position;

use super::record::{self, FRAME_BYTES, Kept, Read, Record};
use crate::error::JournalError;

/// A file that only this process writes.
pub(crate) struct JournalFile {
    file: File,
    path: PathBuf,
    client_id: String,
    /// Where the file ends.
    end: u64,
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
    pub(super) fn open(path: PathBuf, client_id: &str) -> Result<Self, JournalError> {
        let fault =
            |error: io::Error| JournalError::Io { path: path.clone(), error: error.to_string() };
        // What a process left that ended while it copied.
        let _ = std::fs::remove_file(new_path(&path));
        let mut file = lock(&path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(fault)?;
        let mut journal = Self {
            file,
            client_id: client_id.to_owned(),
            end: 0,
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
        if at == 0 && bytes.len() > FRAME_BYTES + 1 {
            return Err(JournalError::NotOurs(path));
        }
        // A crash leaves a torn end: nothing in it was promised. But what is correct behind it was, and so the fault is
        // another.
        let behind = (at + 1..bytes.len()).find(|&it| record::read(&bytes[it..]).is_some());
        if behind.is_some() {
            return Err(JournalError::Corrupt { path, offset: at as u64 });
        }
        journal.file.set_len(at as u64).map_err(fault)?;
        if at == 0 {
            let mut first = Vec::new();
            record::beginning(client_id, &mut first);
            journal.append(&first, true).map_err(fault)?;
            sync_directory(&path).map_err(fault)?;
        }
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
            Read::Beginning(_) => {}
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

    /// Writes a batch.
    pub(super) fn append(&mut self, batch: &[u8], needs_sync: bool) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(batch)?;
        self.end += batch.len() as u64;
        if needs_sync { self.file.sync_data() } else { Ok(()) }
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
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(true).open(&path)?;
        file.try_lock().map_err(io::Error::from)?;
        let mut first = Vec::new();
        record::beginning(&self.client_id, &mut first);
        Record::Mark(self.mark).encode(&mut first);
        file.write_all(&first)?;
        let mut end = first.len() as u64;
        let mut copy = Vec::new();
        let mut places = Vec::with_capacity(self.alive.len());
        for (&position, alive) in &self.alive {
            copy.resize(alive.bytes as usize, 0);
            self.file.seek(SeekFrom::Start(alive.offset))?;
            self.file.read_exact(&mut copy)?;
            if alive.is_received {
                Record::Received(position).encode(&mut copy);
            }
            file.write_all(&copy)?;
            places.push(end);
            end += copy.len() as u64;
        }
        file.sync_all()?;
        std::fs::rename(&path, &self.path)?;
        sync_directory(&self.path)?;
        for (alive, place) in self.alive.values_mut().zip(places) {
            alive.offset = place;
        }
        self.file = file;
        self.end = end;
        Ok(())
    }
}

/// Opens a file that no other process may have open.
fn lock(path: &Path) -> Result<File, JournalError> {
    let fault =
        |error: io::Error| JournalError::Io { path: path.to_owned(), error: error.to_string() };
    loop {
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(fault)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(fault(error)),
        }
        // Its owner may have put another in its place before it let go of this one.
        if is_same(&file, path).map_err(fault)? {
            return Ok(file);
        }
    }
}

#[cfg(unix)]
fn is_same(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (ours, theirs) = (file.metadata()?, std::fs::metadata(path)?);
    Ok((ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()))
}

/// Elsewhere a file that is open is not replaced.
#[cfg(not(unix))]
fn is_same(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}

/// Sees to it that the file is found under its name after a crash of the machine.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
    if cfg!(unix) {
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
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
