//! What the way to the broker is like at the moment.

use std::net::SocketAddr;
use std::time::Duration;

use crate::acknowledgements::Verdict;

/// What connections go through, those that there are and those to come.
#[derive(Debug)]
pub(crate) struct Conditions {
    /// Where the broker is, if one runs.
    pub(crate) broker: Option<SocketAddr>,
    /// How many brokers have run, and run no more.
    pub(crate) buried: u64,
    pub(crate) way: Way,
    /// How long each byte is under way, in each direction.
    pub(crate) delay: Duration,
    pub(crate) drops_acknowledgements: bool,
    /// How many acknowledgements are still to be replaced by the end of their connection.
    pub(crate) acknowledgements_to_cut: u64,
    pub(crate) acknowledgements_lost: u64,
    /// Counts the cuts: each ends the connections that there are.
    pub(crate) cuts: u64,
    pub(crate) connections: usize,
    /// Nobody needs it any more.
    pub(crate) is_over: bool,
}

/// Whether bytes and connections pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    /// No new connections do.
    Refusing,
    /// Nothing does, and nobody is told.
    Dark,
}

impl Conditions {
    pub(crate) fn new() -> Self {
        Self {
            broker: None,
            buried: 0,
            way: Way::Open,
            delay: Duration::ZERO,
            drops_acknowledgements: false,
            acknowledgements_to_cut: 0,
            acknowledgements_lost: 0,
            cuts: 0,
            connections: 0,
            is_over: false,
        }
    }

    pub(crate) fn restore(&mut self) {
        self.way = Way::Open;
        self.delay = Duration::ZERO;
        self.drops_acknowledgements = false;
        self.acknowledgements_to_cut = 0;
    }

    /// Returns what becomes of the next acknowledgement, and counts it.
    pub(crate) fn judge_acknowledgement(&mut self) -> Verdict {
        let verdict = if self.acknowledgements_to_cut > 0 {
            self.acknowledgements_to_cut -= 1;
            Verdict::Cut
        } else if self.drops_acknowledgements {
            Verdict::Drop
        } else {
            return Verdict::Pass;
        };
        self.acknowledgements_lost += 1;
        verdict
    }
}
