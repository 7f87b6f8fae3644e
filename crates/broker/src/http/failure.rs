//! Why there is no answer.

use std::error::Error as _;
use std::fmt;
use std::io;

/// Why a service has not answered. None of it repeats what was asked, or what came instead of an answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No connection: nobody listens there, or the way there is broken.
    Connect(io::Error),
    /// No connection in time.
    ConnectTimedOut,
    /// The connection ended before the answer did.
    CutOff,
    /// Its name has no address.
    Name(io::Error),
    /// What came is not HTTP, or its head is too long.
    NotHttp,
    /// No complete answer in time.
    TimedOut,
    /// It is not whom it should be by its certificate, or does not speak TLS.
    Tls(io::Error),
    /// The answer's body is longer than it may be.
    TooLarge {
        /// How long it may be.
        bytes_max: usize,
    },
}

impl Failure {
    /// Returns what an exchange on an open connection failed of.
    pub(super) fn of_exchange(error: &hyper::Error) -> Self {
        // The pieces of a body that are none come as an error of I/O.
        let io = error.source().and_then(|it| it.downcast_ref::<io::Error>());
        let is_wrong = io.is_some_and(|it| {
            matches!(it.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)
        });
        if error.is_parse() || is_wrong { Self::NotHttp } else { Self::CutOff }
    }

    /// Returns whether the same question may find an answer in a moment.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Connect(_) | Self::ConnectTimedOut | Self::CutOff | Self::Name(_) => true,
            Self::NotHttp | Self::TimedOut | Self::Tls(_) | Self::TooLarge { .. } => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "no connection to it: {error}"),
            Self::ConnectTimedOut => f.write_str("no connection to it in time"),
            Self::CutOff => f.write_str("it closed the connection before its answer was complete"),
            Self::Name(error) => write!(f, "its name has no address: {error}"),
            Self::NotHttp => {
                f.write_str("what it answers is not HTTP/1.1, or has too many headers")
            }
            Self::TimedOut => f.write_str("no complete answer in time"),
            Self::Tls(error) => write!(f, "no TLS with it: {error}"),
            Self::TooLarge { bytes_max } => {
                write!(f, "its answer is longer than {bytes_max} bytes")
            }
        }
    }
}
