//! Files of traffic: messages of MQTT with the time of each, as `quelea record` writes and `quelea replay` reads them.
//!
//! The format is described in `docs/traffic-format.md`. A file is written from its beginning to its end and never
//! changed, so that it can go through a pipe; after a crash everything up to the last whole block can be read.
//!
//! ```
//! use quelea_codec::Publish;
//! use quelea_traffic::{Reader, Writer};
//!
//! let mut writer = Writer::begin(Vec::new(), 1_700_000_000_000_000)?;
//! writer.push(1_500, &Publish { topic: "plant/7", payload: b"21.5", ..Publish::default() })?;
//! let file = writer.finish()?;
//!
//! let mut reader = Reader::new(file.as_slice())?;
//! let entry = reader.next()?.expect("there is one");
//! assert_eq!((entry.micros, entry.publish.topic), (1_500, "plant/7"));
//! assert!(reader.next()?.is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod error;
mod format;
mod reader;
mod writer;

pub use error::{Damage, ReadError};
pub use format::MAGIC;
pub use reader::Reader;
pub use writer::Writer;

use quelea_codec::Publish;

/// A message and when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Microseconds since the recording began; never less than those of the entry before.
    pub micros: u64,
    /// The message. It has a topic and, at QoS 1 and 2, a packet identifier that means nothing.
    pub publish: Publish<'a>,
}
