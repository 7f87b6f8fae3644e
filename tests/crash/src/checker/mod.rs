//! What a broker owes its clients, whatever happens to it, checked against the whole history.
//!
//! One rule a file. A rule only speaks of what is certain: where a crash, or a packet that is on its way, leaves
//! the broker a choice, either is right.

mod duplicates;
mod loss;
mod order;
mod resurrection;
mod retained;
mod sessions;
mod shared;
#[cfg(test)]
mod testing;
mod wills;

use std::fmt;

use crate::facts::Facts;
use crate::history::{ClientIndex, History, MessageId};

/// What the checker has found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Everything that is wrong.
    pub findings: Vec<Finding>,
    /// How much was looked at: a rule that had nothing to judge has shown nothing.
    pub figures: Figures,
}

/// Something that is wrong.
#[derive(Debug)]
pub struct Finding {
    /// Which rule it breaks.
    pub rule: &'static str,
    /// In which way.
    pub what: String,
    /// The message that it is about.
    pub message: Option<MessageId>,
    /// The client that it is about.
    pub client: Option<ClientIndex>,
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Kills of the broker.
    pub kills: usize,
    /// Messages that the broker took.
    pub accepted: usize,
    /// Deliveries to sessions that certainly had to be made.
    pub owed: usize,
    /// Deliveries.
    pub received: usize,
    /// Among them, messages that had come before.
    pub repeated: usize,
    /// Retained messages that came because of a subscription.
    pub retained: usize,
    /// Connections that certainly had to find their session.
    pub resumed: usize,
    /// Connections that certainly had to find none.
    pub begun: usize,
    /// Wills that had to be published.
    pub wills_owed: usize,
    /// Wills that had not to be published.
    pub wills_withdrawn: usize,
    /// Messages that a shared group had to get.
    pub shared: usize,
}

/// Looks for everything that is wrong in `history`, whose end is quiet: all that was owed has had its time.
pub fn check(history: &History) -> Verdict {
    let facts = Facts::new(history);
    let mut verdict = Verdict::default();
    for rule in [
        complaints,
        duplicates::check,
        loss::check,
        order::check,
        resurrection::check,
        retained::check,
        sessions::check,
        shared::check,
        wills::check,
    ] {
        rule(&facts, &mut verdict);
    }
    count(&facts, &mut verdict.figures);
    verdict
}

/// Says whether something may still come that is owed: a message or a will.
pub fn is_owing(history: &History) -> bool {
    let facts = Facts::new(history);
    let mut verdict = Verdict::default();
    for rule in [loss::check, shared::check, wills::check] {
        rule(&facts, &mut verdict);
    }
    !verdict.findings.is_empty()
}

/// A client has seen what no broker may do, whatever came before.
fn complaints(facts: &Facts<'_>, verdict: &mut Verdict) {
    for (client, what) in &facts.complaints {
        verdict.add("conduct", what.clone(), None, Some(*client));
    }
}

fn count(facts: &Facts<'_>, figures: &mut Figures) {
    figures.kills = facts.kills.len();
    figures.accepted = facts.messages.values().filter(|it| it.accepted.is_some()).count();
    for session in facts.sessions.values() {
        figures.received += session.receipts.len();
        figures.repeated += session.by_message.values().map(|all| all.len() - 1).sum::<usize>();
        figures.retained += session.receipts.iter().filter(|it| it.receipt.retain).count();
    }
}

impl Verdict {
    fn add(
        &mut self,
        rule: &'static str,
        what: String,
        message: Option<MessageId>,
        client: Option<ClientIndex>,
    ) {
        self.findings.push(Finding { rule, what, message, client });
    }
}

impl std::ops::AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.kills += other.kills;
        self.accepted += other.accepted;
        self.owed += other.owed;
        self.received += other.received;
        self.repeated += other.repeated;
        self.retained += other.retained;
        self.resumed += other.resumed;
        self.begun += other.begun;
        self.wills_owed += other.wills_owed;
        self.wills_withdrawn += other.wills_withdrawn;
        self.shared += other.shared;
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kills, {} messages acknowledged, {} deliveries owed among {} ({} repeated, {} retained), \
             {} sessions resumed, {} begun, {} wills owed, {} withdrawn, {} messages to a group",
            self.kills,
            self.accepted,
            self.owed,
            self.received,
            self.repeated,
            self.retained,
            self.resumed,
            self.begun,
            self.wills_owed,
            self.wills_withdrawn,
            self.shared,
        )
    }
}
