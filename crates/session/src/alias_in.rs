//! Topic Aliases that the peer gives to topics it sends.

use alloc::sync::Arc;
use alloc::vec::Vec;

/// The meanings of the peer's Topic Aliases on one connection ([MQTT-3.3.2-7]).
///
/// Which aliases are allowed is checked by the connection; so there are at most Topic Alias Maximum.
#[derive(Debug, Default)]
pub(crate) struct InboundAliases {
    /// By alias, from 1.
    topics: Vec<Option<Arc<str>>>,
}

impl InboundAliases {
    /// Gives `alias`, which is not 0, the meaning `topic`, in place of what it meant.
    pub(crate) fn set(&mut self, alias: u16, topic: &str) {
        let index = usize::from(alias) - 1;
        if index >= self.topics.len() {
            self.topics.resize(index + 1, None);
        }
        let meaning = &mut self.topics[index];
        if meaning.as_deref() != Some(topic) {
            *meaning = Some(topic.into());
        }
    }

    /// Returns the topic that `alias` stands for.
    #[inline]
    pub(crate) fn topic(&self, alias: u16) -> Option<&Arc<str>> {
        self.topics.get(usize::from(alias).checked_sub(1)?)?.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::InboundAliases;

    /// Section 3.3.4: a Topic Name beside an alias sets its meaning, again and again.
    #[test]
    fn the_last_meaning_holds() {
        let mut aliases = InboundAliases::default();
        assert_eq!(aliases.topic(3), None);
        aliases.set(3, "a");
        aliases.set(1, "b");
        aliases.set(3, "c");
        assert_eq!(aliases.topic(3).map(|topic| &**topic), Some("c"));
        assert_eq!(aliases.topic(1).map(|topic| &**topic), Some("b"));
        for unknown in [0, 2, 4, u16::MAX] {
            assert_eq!(aliases.topic(unknown), None, "{unknown}");
        }
    }
}
