//! What has to be true, a property a file.

mod acknowledged_reaches_all;
mod exactly_once;
mod in_order;
mod nothing_resurrected;
mod one_will;
mod retained_is_current;
mod sessions_survive;
mod shared_reaches_one;

use std::fmt;

pub(crate) use self::retained_is_current::EVERYTHING;
use crate::fact::Fact;
use crate::reference::Reference;

/// Something that has to be true of every run.
pub(crate) trait Property {
    /// Looks at what happens while the reference does not know it yet.
    ///
    /// # Errors
    ///
    /// What is wrong.
    fn before(&mut self, _now: u64, _fact: &Fact, _known: &Reference) -> Result<(), String> {
        Ok(())
    }

    /// Looks at what happens when the reference has taken it in.
    ///
    /// # Errors
    ///
    /// What is wrong.
    fn after(&mut self, _now: u64, _fact: &Fact, _known: &Reference) -> Result<(), String> {
        Ok(())
    }

    /// Everything has come to rest: nothing is under way, and every client is connected that has a session.
    ///
    /// # Errors
    ///
    /// What is wrong.
    fn at_rest(&mut self, _rest: &Rest, _known: &Reference) -> Result<(), String> {
        Ok(())
    }

    /// Adds how much it has judged, so that nobody takes silence for approval.
    fn tally(&self, _tally: &mut Tally) {}
}

/// How much was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages that were owed to a session at the end of a run, and are counted as come or lost.
    pub owed: u64,
    /// Deliveries that were compared with the one before them.
    pub ordered: u64,
    /// Deliveries that were not, because nobody can know what comes first.
    pub unordered: u64,
}

impl Tally {
    /// Adds another.
    pub fn add(&mut self, other: Self) {
        self.owed += other.owed;
        self.ordered += other.ordered;
        self.unordered += other.unordered;
    }
}

/// What the broker says of itself in the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rest {
    /// The time.
    pub(crate) now: u64,
    /// Messages that were dropped because a limit was reached, as far as they were counted.
    pub(crate) dropped: u64,
    /// The broker was killed, and with it what it had counted: any number of messages may have been dropped.
    pub(crate) is_uncounted: bool,
}

/// What can be expected in a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// What sessions and wills are given after a restart.
    pub(crate) grace: u64,
    /// At most so long after its time a timer runs.
    pub(crate) late_max: u64,
    /// Sessions with a full queue end.
    pub(crate) may_end_sessions: bool,
    /// Messages may be refused that are taken when they are sent again.
    pub(crate) may_refuse: bool,
    /// Messages at QoS 0 are kept for clients that are away.
    pub keeps_qos0: bool,
    /// The oldest messages that were never sent are dropped when a queue is full.
    pub(crate) drops_oldest: bool,
}

/// Returns all properties.
pub(crate) fn all(terms: Terms) -> Vec<Box<dyn Property>> {
    vec![
        Box::new(acknowledged_reaches_all::AcknowledgedReachesAll::new(terms)),
        Box::<exactly_once::ExactlyOnce>::default(),
        Box::new(in_order::InOrder::new(terms)),
        Box::<nothing_resurrected::NothingResurrected>::default(),
        Box::new(one_will::OneWill::new(terms)),
        Box::<retained_is_current::RetainedIsCurrent>::default(),
        Box::new(sessions_survive::SessionsSurvive::new(terms)),
        Box::<shared_reaches_one::SharedReachesOne>::default(),
    ]
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { owed, ordered, unordered } = self;
        write!(
            f,
            "{owed} messages owed, the place of {ordered} deliveries, not that of {unordered}"
        )
    }
}

impl Rest {
    /// Returns whether so many messages may be missing.
    fn allows(&self, missing: u64) -> bool {
        missing <= self.dropped || (missing > 0 && self.dropped > 0 && self.is_uncounted)
    }
}
