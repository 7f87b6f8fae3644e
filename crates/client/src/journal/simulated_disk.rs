//! A disk that loses power: what was not synced is there in parts, if at all.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::disk::{Disk, Medium, OpenFault};

/// Files that survive the journals that write them. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(super) struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Which file has which name, and what of that would be there after a crash.
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    files: Vec<File>,
    /// How many more operations succeed.
    operations_left: usize,
    random: u64,
}

#[derive(Clone, Debug, Default)]
struct File {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// What has changed since the last sync: where, and how long the file was then.
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

struct Handle {
    disk: SimulatedDisk,
    file: usize,
}

impl SimulatedDisk {
    /// Has the power fail after so many operations.
    pub(super) fn fail_after(&self, operations: usize, random: u64) {
        let mut state = self.state();
        state.operations_left = operations;
        state.random = random | 1;
    }

    /// Has the power back, with what is left.
    pub(super) fn crash(&self) {
        let mut state = self.state();
        let State { names, durable_names, files, random, .. } = &mut *state;
        // Either the directory was written before the power failed or it was not.
        match draw(random, 2) {
            0 => durable_names.clone_from(names),
            _ => names.clone_from(durable_names),
        }
        for file in files {
            file.crash(random);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Returns the state for an operation that changes it, unless the power fails before.
    fn spend(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        match state.operations_left.checked_sub(1) {
            Some(left) => {
                state.operations_left = left;
                Ok(state)
            }
            None => Err(io::Error::other("the power failed")),
        }
    }

    fn handle(&self, file: usize) -> Box<dyn Medium> {
        Box::new(Handle { disk: self.clone(), file })
    }
}

impl File {
    fn crash(&mut self, random: &mut u64) {
        // Changes of a length are in order; of what was written each sector is by itself.
        let kept = draw(random, self.changes.len() + 1);
        for (index, change) in self.changes.drain(..).enumerate() {
            match change {
                Change::Truncate(length) if index < kept => self.durable.truncate(length),
                Change::Truncate(_) => {}
                Change::Write(at, bytes) => {
                    for (sector, part) in bytes.chunks(SECTOR_BYTES).enumerate() {
                        if index < kept || draw(random, 2) == 0 {
                            let at = at + sector * SECTOR_BYTES;
                            let end = self.durable.len().max(at + part.len());
                            self.durable.resize(end, 0);
                            self.durable[at..at + part.len()].copy_from_slice(part);
                        }
                    }
                }
            }
        }
        self.bytes.clone_from(&self.durable);
    }
}

impl Disk for SimulatedDisk {
    fn open(&self, path: &Path) -> Result<Box<dyn Medium>, OpenFault> {
        let named = self.state().names.get(path).copied();
        match named {
            Some(file) => Ok(self.handle(file)),
            None => self.create(path).map_err(OpenFault::Io),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Medium>> {
        let mut state = self.spend()?;
        let file = state.files.len();
        state.files.push(File::default());
        state.names.insert(path.to_owned(), file);
        Ok(self.handle(file))
    }

    fn replace(&self, new: &Path, path: &Path) -> io::Result<()> {
        let mut state = self.spend()?;
        let file = state.names.remove(new).expect("it was made");
        state.names.insert(path.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) {
        self.state().names.remove(path);
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        let mut state = self.spend()?;
        state.durable_names = state.names.clone();
        Ok(())
    }
}

impl Medium for Handle {
    fn read_all(&mut self) -> io::Result<Vec<u8>> {
        Ok(self.disk.state().files[self.file].bytes.clone())
    }

    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let state = self.disk.state();
        bytes.copy_from_slice(&state.files[self.file].bytes[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = offset as usize;
        let write = |file: &mut File| {
            let end = file.bytes.len().max(offset + bytes.len());
            file.bytes.resize(end, 0);
            file.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
            file.changes.push(Change::Write(offset, bytes.to_vec()));
        };
        match self.disk.spend() {
            Ok(mut state) => {
                write(&mut state.files[self.file]);
                Ok(())
            }
            // The power fails while it is written.
            Err(error) => {
                write(&mut self.disk.state().files[self.file]);
                Err(error)
            }
        }
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.disk.spend()?;
        let file = &mut state.files[self.file];
        file.bytes.truncate(length as usize);
        file.changes.push(Change::Truncate(length as usize));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.spend()?;
        let file = &mut state.files[self.file];
        file.durable.clone_from(&file.bytes);
        file.changes.clear();
        Ok(())
    }
}

/// Draws a number below `end`.
fn draw(random: &mut u64, end: usize) -> usize {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    (*random >> 16) as usize % end
}

/// Smaller than that of any disk, so that many a record has several.
const SECTOR_BYTES: usize = 16;
