//! What a shard holds at this moment: a simulation asks whether that is bounded, and whether nothing is left.

use super::link::Stage;
use super::{READ_BYTES, Shard};

/// Everything that a broker holds for clients, by name. With nobody there all of it is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census(pub Vec<(&'static str, u64)>);

/// The largest of each thing that is bounded for one connection or one session.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extent {
    /// Bytes that wait to be written to one connection.
    pub unsent_bytes: usize,
    /// Bytes read from one connection that are not handled.
    pub unread_bytes: usize,
    /// Things that one connection holds.
    pub held: usize,
    /// Messages of one durable session in memory.
    pub head_messages: usize,
    /// Their bytes.
    pub head_bytes: u64,
    /// Bytes that a shard reads at once.
    pub read_bytes: usize,
}

impl Census {
    /// Adds what another part holds.
    pub(crate) fn add(&mut self, name: &'static str, count: usize) {
        match self.0.iter_mut().find(|it| it.0 == name) {
            Some(known) => known.1 += count as u64,
            None => self.0.push((name, count as u64)),
        }
    }
}

impl Shard {
    /// Adds what this shard holds.
    pub(crate) fn count_into(&self, census: &mut Census) {
        let links = self.links.keys();
        let held = links.iter().filter_map(|key| self.links.get(*key)?.held.as_ref());
        let lingering = links.iter().filter_map(|key| self.links.get(*key));
        let lingering = lingering.filter(|link| matches!(link.stage, Stage::Lingering)).count();
        for (name, count) in [
            ("links", links.len()),
            ("links that linger", lingering),
            ("held", held.map(|it| it.len()).sum()),
            ("readable", self.readable.len()),
            ("dirty", self.dirty.len()),
            ("backlog of flushes", self.backlog.len()),
            ("sessions", self.sessions.keys().len()),
            ("clients", self.clients.len()),
            ("numbers", self.numbers.len()),
            ("dying", self.dying.len()),
            ("cursors", self.cursors.len()),
            ("receivers", self.receivers.count()),
            ("mail to be posted", self.outgoing.iter().map(|it| it.letters.len()).sum()),
            ("operations", self.operations.len()),
            ("waiting", self.waiting.len()),
            ("orphans", self.orphans.len()),
            ("unstored", self.unstored.len()),
            ("marks", self.marks.len()),
            ("sweeps", self.sweeps.len()),
            ("graces", self.graces.len()),
            ("pings", self.pings.len()),
            ("letters", self.letters.len()),
        ] {
            census.add(name, count);
        }
    }

    /// Raises `extent` to what this shard has.
    pub(crate) fn measure(&self, extent: &mut Extent) {
        extent.read_bytes = READ_BYTES;
        for link in self.links.keys().into_iter().filter_map(|key| self.links.get(key)) {
            extent.unsent_bytes = extent.unsent_bytes.max(link.unsent_bytes());
            extent.unread_bytes = extent.unread_bytes.max(link.unread.len());
            extent.held = extent.held.max(link.held.as_ref().map_or(0, |held| held.len()));
        }
        let sessions = self.sessions.keys().into_iter().filter_map(|key| self.sessions.get(key));
        for session in sessions.filter(|it| it.number().is_some()) {
            extent.head_messages = extent.head_messages.max(session.protocol.queued_messages());
            extent.head_bytes = extent.head_bytes.max(session.protocol.queued_bytes());
        }
    }
}
