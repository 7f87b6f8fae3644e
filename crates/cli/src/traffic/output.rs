//! Where a recording goes: a new file, one that is gone on with, or standard output.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, ErrorKind, Seek, SeekFrom, Stdout, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use quelea_traffic::{ReadError, Reader, Writer};

use crate::failure::Failure;

/// Where a recording is to go.
#[derive(Debug)]
pub(super) enum Place {
    StandardOutput,
    New(PathBuf),
    /// A file that may be there, and is replaced.
    Replace(PathBuf),
    /// A file that is there, and is gone on with.
    GoOn(PathBuf),
}

/// What is written to.
#[derive(Debug)]
pub(super) enum Output {
    File(File),
    StandardOutput(Stdout),
}

impl Place {
    /// Checks what can be checked before there is anything to write.
    pub(super) fn new(path: &Path, appends: bool, replaces: bool) -> Result<Self, Failure> {
        if path.as_os_str() == "-" {
            return match appends || replaces {
                true => Err(Failure::usage("--append and --force are for files")),
                false => Ok(Self::StandardOutput),
            };
        }
        let path = path.to_owned();
        match (path.try_exists().unwrap_or(true), appends, replaces) {
            (_, _, true) => Ok(Self::Replace(path)),
            (true, true, _) => Ok(Self::GoOn(path)),
            (false, _, _) => Ok(Self::New(path)),
            (true, false, false) => Err(Failure::usage(format!(
                "{} is there: --append goes on with it, --force replaces it",
                path.display()
            ))),
        }
    }

    /// Opens it. Returns the writer, and what time it is in the file.
    pub(super) fn open(self) -> Result<(Writer<Output>, u64), Failure> {
        let begun = micros_since_1970(SystemTime::now());
        let (path, opened) = match self {
            Self::StandardOutput => {
                let output = Output::StandardOutput(io::stdout());
                let writer = Writer::begin(output, begun).map_err(|error| {
                    Failure::new(format!("cannot write to standard output: {error}"))
                })?;
                return Ok((writer, 0));
            }
            Self::GoOn(path) => return go_on(&path, begun),
            Self::New(path) => {
                let opened = OpenOptions::new().write(true).create_new(true).open(&path);
                (path, opened)
            }
            Self::Replace(path) => {
                // Emptied when it is known that nobody else writes to it.
                let opened =
                    OpenOptions::new().write(true).create(true).truncate(false).open(&path);
                (path, opened)
            }
        };
        let begun = opened.and_then(locked).and_then(|file| {
            // What is no file, such as a pipe with a name, has no length.
            let _ = file.set_len(0);
            Writer::begin(Output::File(file), begun)
        });
        let writer = begun
            .map_err(|error| Failure::usage(format!("cannot write {}: {error}", path.display())))?;
        Ok((writer, 0))
    }
}

/// Cuts off what is not whole, and goes on behind it.
fn go_on(path: &Path, now: u64) -> Result<(Writer<Output>, u64), Failure> {
    let failed = |what: &dyn std::fmt::Display| {
        Failure::new(format!("cannot go on with {}: {what}", path.display()))
    };
    let opened = OpenOptions::new().read(true).write(true).open(path).and_then(locked);
    let mut file = opened.map_err(|error| failed(&error))?;
    let found = survey(&file).map_err(|error| failed(&error))?;
    let cut = file.set_len(found.whole_bytes).and_then(|()| file.seek(SeekFrom::End(0)));
    cut.map_err(|error| failed(&error))?;
    let output = Output::File(file);
    let Some(begun) = found.begun_unix_micros else {
        let begun = Writer::begin(output, now).map_err(|error| failed(&error))?;
        return Ok((begun, 0));
    };
    // A clock that was set back does not make times go back.
    let base_micros = now.saturating_sub(begun).max(found.last_micros);
    Ok((Writer::go_on(output, found.last_micros, found.whole_bytes), base_micros))
}

/// What is good of a file.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    /// Nothing, if not even the header was written.
    begun_unix_micros: Option<u64>,
    last_micros: u64,
    whole_bytes: u64,
}

fn survey(file: &File) -> Result<Found, ReadError> {
    let mut reader = match Reader::new(BufReader::new(file)) {
        Ok(reader) => reader,
        Err(ReadError::Cut { at: 0 }) => return Ok(Found::default()),
        Err(error) => return Err(error),
    };
    let begun_unix_micros = Some(reader.begun_unix_micros());
    let mut last_micros = 0;
    loop {
        match reader.next() {
            Ok(Some(entry)) => last_micros = entry.micros,
            Ok(None) | Err(ReadError::Cut { .. }) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(Found { begun_unix_micros, last_micros, whole_bytes: reader.whole_bytes() })
}

/// Keeps others from writing to the same file, as far as the file's system knows locks.
fn locked(file: File) -> io::Result<File> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(io::Error::other("another process writes to it")),
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

impl Output {
    /// Has the disk keep what was written, if there is one.
    pub(super) fn sync(self) -> io::Result<()> {
        match self {
            Self::File(file) => match file.sync_data() {
                // A pipe or a terminal.
                Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
                result => result,
            },
            Self::StandardOutput(_) => Ok(()),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(bytes),
            Self::StandardOutput(stdout) => stdout.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.flush(),
            Self::StandardOutput(stdout) => stdout.flush(),
        }
    }
}

fn micros_since_1970(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
