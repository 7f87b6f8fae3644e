//! Why a file cannot be read, or not to its end.

use std::{fmt, io};

use quelea_codec::DecodeError;

/// Why reading a file ends before its end. What was read before is good.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The file ends inside a block, as one does whose writer was interrupted.
    Cut {
        /// The end of the last whole block: where the file would end in good order.
        at: u64,
    },
    /// A block is not what was written.
    Damaged {
        /// Where it begins.
        at: u64,
        /// What is wrong with it.
        damage: Damage,
    },
    /// The system cannot read it.
    Io(io::Error),
    /// It is another kind of file.
    NoTraffic,
    /// It is of a version that this one does not know.
    Version(u32),
}

/// What is wrong with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// It does not begin like a block.
    BlockMissing,
    /// It would be larger than any block.
    BlockTooLarge,
    /// The checksum is of other bytes.
    Checksum,
    /// It has more or fewer entries than it says.
    EntryCount,
    /// An entry is no PUBLISH.
    Packet(DecodeError),
    /// The time of an entry is none, or before that of the entry before.
    Time,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { at } => write!(
                f,
                "it was cut off, as by a crash of its writer; what is good ends at byte {at}"
            ),
            Self::Damaged { at, damage } => {
                write!(f, "the block at byte {at} is damaged: {damage}")
            }
            Self::Io(error) => error.fmt(f),
            Self::NoTraffic => f.write_str("it is no file of traffic"),
            Self::Version(version) => {
                write!(f, "it is of format {version}, which this version does not know")
            }
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Cut { .. } | Self::Damaged { .. } | Self::NoTraffic | Self::Version(_) => None,
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BlockMissing => f.write_str("no block begins there"),
            Self::BlockTooLarge => f.write_str("no block is that large"),
            Self::Checksum => f.write_str("its checksum does not match"),
            Self::EntryCount => f.write_str("the number of its entries is wrong"),
            Self::Packet(error) => write!(f, "an entry is no PUBLISH: {error}"),
            Self::Time => f.write_str("the times of its entries are wrong"),
        }
    }
}
