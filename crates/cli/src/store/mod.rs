//! `quelea store`: looks at a data directory while no broker has it, and copies it.

mod check;
mod export;
mod import;
mod line;
mod salvage;
mod sessions;
mod tally;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use quelea_store::{
    Contents, Item, Loss, OpenError, Options, RealDisk, StoreError, Strictness, WriteError, Writer,
};

use crate::failure::Failure;
use tally::Tally;

/// `quelea store`.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
The broker must be stopped, or DIR a copy of its directory; a copy may be on a medium that is read-only.

Exit codes: 0 if all is well; 1 if the log is damaged, or something failed; 2 for a wrong command line; 3 if \
salvage has made a log and something is missing in it.")]
enum StoreCommand {
    /// Reads everything in the log, and says whether it is what was written.
    Check {
        /// The data directory.
        dir: PathBuf,
    },
    /// Copies what can be read of a damaged log to a new directory, and says what was lost.
    Salvage {
        /// The data directory, which is not changed.
        dir: PathBuf,
        /// The directory to be made.
        #[arg(long, value_name = "NEWDIR")]
        to: PathBuf,
    },
    /// Lists the sessions, one a line.
    Sessions {
        /// The data directory.
        dir: PathBuf,
    },
    /// Prints everything in the log as lines of JSON.
    Export {
        /// The data directory.
        dir: PathBuf,
    },
    /// Makes a log of what an export has printed, read from standard input.
    Import {
        /// The directory to be made. There must be no log in it.
        dir: PathBuf,
    },
}

/// Runs `quelea store`.
pub(crate) fn run(args: &StoreArgs) -> Result<(), Failure> {
    match &args.command {
        StoreCommand::Check { dir } => check::run(dir),
        StoreCommand::Salvage { dir, to } => salvage::run(dir, to),
        StoreCommand::Sessions { dir } => sessions::run(dir),
        StoreCommand::Export { dir } => export::run(dir),
        StoreCommand::Import { dir } => import::run(dir),
    }
}

/// Reads the log in a directory, without changing it.
fn read(dir: &Path, strictness: Strictness) -> Result<Contents<RealDisk>, Failure> {
    let contents = open(dir, strictness)?.map_err(Failure::new)?;
    if contents.report().segments == 0 {
        return Err(Failure::new(format!(
            "there is no log in {}: name the directory that store.data_dir, or --data-dir, names",
            dir.display()
        )));
    }
    Ok(contents)
}

/// Reads the log in a directory. What is wrong with the log, rather than with the directory, is returned.
fn open(
    dir: &Path,
    strictness: Strictness,
) -> Result<Result<Contents<RealDisk>, OpenError>, Failure> {
    match Contents::read(RealDisk::read_only(dir), strictness) {
        Err(OpenError::Locked { directory }) => Err(Failure::new(format!(
            "a running broker has {}: stop it, or look at a copy of the directory",
            directory.display()
        ))),
        Err(OpenError::Disk(error)) => {
            Err(Failure::new(format!("cannot read the log in {}: {error}", dir.display())))
        }
        opened => Ok(opened),
    }
}

/// Begins a log where there is none.
fn create(dir: &Path) -> Result<Writer<RealDisk>, Failure> {
    let disk = RealDisk::new(dir)
        .map_err(|error| Failure::new(format!("cannot make {}: {error}", dir.display())))?;
    Writer::new(disk, Options::default().segment_bytes).map_err(|error| match error {
        WriteError::NotEmpty => Failure::new(format!(
            "there is a log in {}, which is left alone: name a new directory",
            dir.display()
        )),
        WriteError::Locked => {
            Failure::new(format!("a running broker has {}: name a new directory", dir.display()))
        }
        error => Failure::new(format!("cannot make a log in {}: {error}", dir.display())),
    })
}

/// Counts everything in a log. What is damaged goes to `lost`.
fn count(contents: &Contents<RealDisk>, lost: &mut Vec<Loss>) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    contents.for_each(|it| {
        match it {
            Ok(item) => tally.add(&item),
            Err(loss) => lost.push(loss),
        }
        Ok::<_, Failure>(())
    })?;
    Ok(tally)
}

/// Reads a log that was made, and sees whether all that was put in it is there.
fn verify(dir: &Path, put: &Tally) -> Result<(), Failure> {
    let mut losses = Vec::new();
    let found = count(&read(dir, Strictness::Whole)?, &mut losses)?;
    if let Some(loss) = losses.first() {
        return Err(Failure::new(format!("the log that was made cannot be read: {loss}")));
    }
    if found != *put {
        return Err(Failure::new(format!(
            "the log in {} does not hold all that was put in it: something is there twice, or a message is for a \
             session that is not described\n\nput in: {put}\nfound: {found}",
            dir.display()
        )));
    }
    Ok(())
}

/// Returns an item, or fails with what is there instead.
fn intact(item: Result<Item, Loss>) -> Result<Item, Failure> {
    item.map_err(|loss| {
        Failure::new(format!("the log is damaged: {loss}. `quelea store salvage` copies the rest"))
    })
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(error)
    }
}
