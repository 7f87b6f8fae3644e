//! Where the retained message of each topic lies.

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::sessions::Weighed;

/// Where the retained message of each topic lies.
///
/// Orders are given where messages are routed, and arrive here almost, but not quite in order: so a removal is
/// remembered for a while, and what is older than it comes too late.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    topics: HashMap<Box<str>, Latest, FixedState>,
    /// The removals that are remembered, the oldest first.
    removals: VecDeque<(Box<str>, u64)>,
}

/// The latest that is known of a topic.
#[derive(Clone, Copy, Debug)]
struct Latest {
    order: u64,
    /// Nothing if the message was removed.
    message: Option<Weighed>,
}

impl Retained {
    /// Returns whether a message of this order would replace what there is.
    pub(crate) fn is_newest(&self, topic: &str, order: u64) -> bool {
        self.topics.get(topic).is_none_or(|it| it.order <= order)
    }

    /// Sets a topic's message. Returns the one that it takes the place of.
    pub(crate) fn set(&mut self, topic: &str, order: u64, message: Weighed) -> Option<Weighed> {
        let latest = Latest { order, message: Some(message) };
        match self.topics.get_mut(topic) {
            Some(known) => std::mem::replace(known, latest).message,
            None => {
                self.topics.insert(topic.into(), latest);
                None
            }
        }
    }

    /// Removes a topic's message, and remembers that for a while. Returns it.
    pub(crate) fn remove(&mut self, topic: &str, order: u64) -> Option<Weighed> {
        self.forget_removals(REMOVALS_MAX - 1);
        let latest = Latest { order, message: None };
        self.removals.push_back((topic.into(), order));
        self.topics.insert(topic.into(), latest).and_then(|it| it.message)
    }

    /// Returns where a topic's message lies, and its order.
    pub(crate) fn message(&self, topic: &str) -> Option<(u64, Weighed)> {
        let latest = self.topics.get(topic)?;
        Some((latest.order, latest.message?))
    }

    /// Returns all messages, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, Weighed)> {
        self.topics.values().filter_map(|it| Some((it.order, it.message?)))
    }

    /// Forgets all but the last removals.
    pub(crate) fn forget_removals(&mut self, kept: usize) {
        while self.removals.len() > kept
            && let Some((topic, order)) = self.removals.pop_front()
        {
            let is_it = |it: &Latest| it.message.is_none() && it.order == order;
            if self.topics.get(&*topic).is_some_and(is_it) {
                self.topics.remove(&*topic);
            }
        }
    }
}

/// So many removals are remembered: more than shards can have on their way in a turn.
const REMOVALS_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::index::Location;

    #[test]
    fn what_is_older_than_a_removal_comes_too_late() {
        let mut retained = Retained::default();
        assert!(retained.set("a", 3, weighed(64)).is_none());
        assert!(!retained.is_newest("a", 2) && retained.is_newest("a", 3));
        assert_eq!(retained.remove("a", 5), Some(weighed(64)));
        assert!(!retained.is_newest("a", 4) && retained.is_newest("a", 6));
        assert_eq!((retained.message("a"), retained.iter().count()), (None, 0));
        retained.forget_removals(0);
        assert!(retained.is_newest("a", 1));
    }

    #[test]
    fn a_removal_that_was_overtaken_is_forgotten_without_harm() {
        let mut retained = Retained::default();
        retained.remove("a", 5);
        retained.set("a", 6, weighed(64));
        retained.forget_removals(0);
        assert_eq!(retained.message("a"), Some((6, weighed(64))));
    }

    fn weighed(offset: u64) -> Weighed {
        Weighed { location: Location::new(0, offset), weight: 100 }
    }
}
