//! Decisions about the topics that a client published to last.

use crate::permissions::{Permissions, Publish, Verdict};

/// What was decided lately. It belongs to one [`Permissions`], and goes with it.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    /// At most [`TOPICS_MAX`], each of at most [`TOPIC_BYTES_MAX`].
    decisions: Vec<(Box<str>, u8, bool, Verdict)>,
    next: usize,
}

impl Recent {
    /// Decides as [`Permissions::publish`] does.
    pub fn publish(&mut self, permissions: &Permissions, publish: Publish<'_>) -> Verdict {
        let Publish { topic, qos, retain } = publish;
        let is_same =
            |it: &&(Box<str>, u8, bool, Verdict)| *it.0 == *topic && (it.1, it.2) == (qos, retain);
        if let Some(known) = self.decisions.iter().find(is_same) {
            return known.3;
        }
        let verdict = permissions.publish(publish);
        if topic.len() <= TOPIC_BYTES_MAX {
            let decision = (topic.into(), qos, retain, verdict);
            if self.decisions.len() < TOPICS_MAX {
                self.decisions.push(decision);
            } else {
                self.decisions[self.next] = decision;
                self.next = (self.next + 1) % TOPICS_MAX;
            }
        }
        verdict
    }
}

/// Most clients publish to a handful of topics; one with more is decided about anew.
const TOPICS_MAX: usize = 8;

/// A longer topic is decided about anew: a client could fill memory with them.
const TOPIC_BYTES_MAX: usize = 256;
