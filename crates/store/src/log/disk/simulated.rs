//! A disk in memory that forgets what was not synced, for tests and simulation.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, LogFile};

/// A disk in memory: it can lose power, be full, fail, and lie about syncs.
///
/// A clone is the same disk, for another process.
#[derive(Clone, Debug)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

/// A file of a [`SimulatedDisk`].
#[derive(Clone, Debug)]
pub struct SimulatedFile {
    content: Arc<Mutex<Content>>,
    disk: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// The names as the process sees them.
    names: BTreeMap<String, Arc<Mutex<Content>>>,
    /// The names that a power cut leaves.
    durable_names: BTreeMap<String, Arc<Mutex<Content>>>,
    capacity: u64,
    used: u64,
    is_locked: bool,
    ignores_syncs: bool,
    fails_syncs: bool,
    sync_count: u64,
    id_count: u8,
}

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    /// What a power cut leaves for certain.
    durable: Vec<u8>,
    /// Changes since the last sync, of which a power cut may leave any.
    unsynced: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl SimulatedDisk {
    /// Makes an empty disk with room for `capacity` bytes.
    pub fn new(capacity: u64) -> Self {
        let state = State { capacity, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The process that had the disk is gone. Another may take it; all that was written is there.
    pub fn kill(&self) {
        self.lock_state().is_locked = false;
    }

    /// The power is gone, and with it an arbitrary part of what was not synced: `draw` returns random numbers.
    pub fn cut_power(&self, draw: &mut dyn FnMut() -> u64) {
        let mut state = self.lock_state();
        state.is_locked = false;
        let names: Vec<String> =
            state.names.keys().chain(state.durable_names.keys()).cloned().collect();
        for name in names {
            // Each change of a name is made or not.
            let (is, was) = (state.names.get(&name).cloned(), state.durable_names.get(&name));
            if draw().is_multiple_of(2) || is.is_some() && was.is_some() {
                match is {
                    Some(it) => state.durable_names.insert(name, it),
                    None => state.durable_names.remove(&name),
                };
            }
        }
        state.names = state.durable_names.clone();
        let mut used = 0;
        for content in state.names.values() {
            let mut content = lock(content);
            content.cut_power(draw);
            used += content.bytes.len() as u64;
        }
        state.used = used;
    }

    /// Sets the size of the disk.
    pub fn set_capacity(&self, capacity: u64) {
        self.lock_state().capacity = capacity;
    }

    /// Has syncs do nothing from here on, as a disk that lies.
    pub fn ignore_syncs(&self) {
        self.lock_state().ignores_syncs = true;
    }

    /// Has syncs fail from here on.
    pub fn fail_syncs(&self) {
        self.lock_state().fails_syncs = true;
    }

    /// Returns how many syncs of files there were.
    pub fn sync_count(&self) -> u64 {
        self.lock_state().sync_count
    }

    /// Returns the bytes that files take.
    pub fn used_bytes(&self) -> u64 {
        self.lock_state().used
    }

    /// Changes the content of a file, without the process's doing.
    pub fn damage(&self, name: &str, damage: impl FnOnce(&mut Vec<u8>)) {
        let state = self.lock_state();
        if let Some(content) = state.names.get(name) {
            let mut content = lock(content);
            damage(&mut content.bytes);
            content.durable = content.bytes.clone();
            content.unsynced.clear();
        }
    }

    fn lock_state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn file(&self, content: &Arc<Mutex<Content>>) -> SimulatedFile {
        SimulatedFile { content: Arc::clone(content), disk: Arc::clone(&self.state) }
    }
}

impl Content {
    fn cut_power(&mut self, draw: &mut dyn FnMut() -> u64) {
        let mut bytes = std::mem::take(&mut self.durable);
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Change::Length(length) if draw().is_multiple_of(2) => bytes.resize(length, 0),
                Change::Length(_) => {}
                Change::Write { offset, bytes: written } => {
                    // A disk writes sectors, in any order.
                    let mut at = 0;
                    while at < written.len() {
                        let to = (((offset + at) / SECTOR_BYTES + 1) * SECTOR_BYTES - offset)
                            .min(written.len());
                        if draw().is_multiple_of(2) {
                            put(&mut bytes, offset + at, &written[at..to]);
                        }
                        at = to;
                    }
                }
            }
        }
        self.bytes.clone_from(&bytes);
        self.durable = bytes;
    }

    fn apply(&mut self, change: Change) {
        match &change {
            Change::Write { offset, bytes } => put(&mut self.bytes, *offset, bytes),
            Change::Length(length) => self.bytes.resize(*length, 0),
        }
        self.unsynced.push(change);
    }
}

impl Disk for SimulatedDisk {
    type File = SimulatedFile;

    fn directory(&self) -> PathBuf {
        PathBuf::from("simulated")
    }

    fn lock(&self) -> io::Result<bool> {
        Ok(!std::mem::replace(&mut self.lock_state().is_locked, true))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock_state().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<SimulatedFile> {
        let content = Arc::new(Mutex::new(Content::default()));
        self.lock_state().names.insert(name.to_owned(), Arc::clone(&content));
        Ok(self.file(&content))
    }

    fn open(&self, name: &str) -> io::Result<SimulatedFile> {
        let content = self.lock_state().names.get(name).cloned();
        content.map(|it| self.file(&it)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock_state();
        let content = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock_state();
        let content = state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.used -= lock(&content).bytes.len() as u64;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.lock_state();
        if !state.ignores_syncs {
            state.durable_names = state.names.clone();
        }
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.lock_state();
        Ok(state.capacity.saturating_sub(state.used))
    }

    fn new_id(&self) -> io::Result<[u8; 16]> {
        let mut state = self.lock_state();
        state.id_count += 1;
        Ok([state.id_count; 16])
    }
}

impl SimulatedFile {
    fn grow(&self, len: u64) -> io::Result<()> {
        let mut state = lock(&self.disk);
        let more = len.saturating_sub(lock(&self.content).bytes.len() as u64);
        if state.used + more > state.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.used += more;
        Ok(())
    }
}

impl LogFile for SimulatedFile {
    fn length(&self) -> io::Result<u64> {
        Ok(lock(&self.content).bytes.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = lock(&self.content);
        let from = content.bytes.get(offset as usize..).unwrap_or_default();
        let count = from.len().min(bytes.len());
        bytes[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.grow(offset + bytes.len() as u64)?;
        let change = Change::Write { offset: offset as usize, bytes: bytes.to_vec() };
        lock(&self.content).apply(change);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = lock(&self.disk);
        if state.fails_syncs {
            return Err(io::Error::other("the disk has failed"));
        }
        state.sync_count += 1;
        if !state.ignores_syncs {
            let mut content = lock(&self.content);
            for change in std::mem::take(&mut content.unsynced) {
                match change {
                    Change::Write { offset, bytes } => put(&mut content.durable, offset, &bytes),
                    Change::Length(length) => content.durable.resize(length, 0),
                }
            }
        }
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.grow(len)?;
        let mut content = lock(&self.content);
        if content.bytes.len() < len as usize {
            content.apply(Change::Length(len as usize));
        }
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = lock(&self.disk);
        let mut content = lock(&self.content);
        state.used = state.used + len - content.bytes.len() as u64;
        content.apply(Change::Length(len as usize));
        Ok(())
    }
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if content.len() < offset + bytes.len() {
        content.resize(offset + bytes.len(), 0);
    }
    content[offset..offset + bytes.len()].copy_from_slice(bytes);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a disk writes as a whole.
const SECTOR_BYTES: usize = 512;
