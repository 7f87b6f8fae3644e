//! The durable log.
//!
//! An append-only log in segments. What the shards submit is gathered into a **frame**: one write,
//! one sync, then its completions. A message is in the log once, with the list of the sessions that
//! it is for; everything else is derived from the log and kept in memory (`index`): where each
//! queued message lies, the sessions, subscriptions, wills, retained topics. Acknowledgements are
//! small records. The **cleaner** copies what is still alive from the oldest segment to the end of
//! the log, and removes that segment.
//!
//! ```text
//! shards --batches--> driver --> engine --frames--> tail --> segments
//!                                  |  ^               (disk)
//!                               index  cleaner
//! ```
//!
//! Records say what was decided, not what was asked: which sessions took a message and at which
//! positions, that a value became the retained one. So a log is read from the front to the end, and
//! the later record of a thing is the one that counts. A copy that the cleaner makes is such a later
//! record, of a thing that has not changed.
//!
//! `engine` is a value that does one thing after the other and can be driven by a test; `driver` has
//! the threads. The files are described in docs/storage-format.md.

mod apply;
mod chore;
mod cleaner;
mod contents;
mod disk;
mod driver;
mod engine;
mod fetch;
mod frame;
mod index;
mod item;
mod loss;
mod numbers;
mod open_error;
mod record;
mod recovery;
mod replay;
mod scan;
mod segment;
mod snapshot;
mod tail;
#[cfg(test)]
mod tests;
mod wire;
mod writer;

pub use chore::{Chore, ChoreDone};
pub use contents::Contents;
pub use disk::{Disk, LogFile, RealDisk, SimulatedDisk, SimulatedFile};
pub use driver::Log;
pub use engine::{Appended, Engine};
pub use fetch::Lookup;
pub use item::{Item, StoredMessage, StoredSession, StoredTarget};
pub use loss::Loss;
pub use open_error::OpenError;
pub use recovery::Strictness;
pub use writer::{WriteError, Writer};
