//! Stands in for the durable log until it is there: nothing outlives the process.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use crate::{
    Batch, Completions, Condition, Memory, Options, Recovered, SessionNumber, ShardIndex, Store,
};

/// A stand-in.
pub struct Log {
    options: Options,
    memory: OnceLock<Memory>,
}

/// A stand-in.
#[derive(Debug)]
pub enum OpenError {}

impl fmt::Display for OpenError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

impl std::error::Error for OpenError {}

impl Log {
    /// A stand-in.
    pub fn open(_: &Path, options: Options) -> Result<(Self, Recovered), OpenError> {
        Ok((Self { options, memory: OnceLock::new() }, Recovered::default()))
    }

    /// A stand-in.
    pub fn start(
        &self,
        completions: Arc<dyn Completions>,
        _: &[(SessionNumber, ShardIndex)],
    ) -> io::Result<()> {
        let _ = self.memory.set(Memory::new(completions, self.options.limits));
        Ok(())
    }

    /// A stand-in.
    pub fn close(&self) {}

    fn memory(&self) -> &Memory {
        self.memory.get().expect("it was started")
    }
}

impl Store for Log {
    fn new_session(&self) -> SessionNumber {
        self.memory().new_session()
    }

    fn submit(&self, shard: ShardIndex, batch: Batch) {
        self.memory().submit(shard, batch);
    }

    fn condition(&self) -> Condition {
        Condition::Ready
    }
}
