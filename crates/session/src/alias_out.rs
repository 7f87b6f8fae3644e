//! Topic Aliases that we give to topics that a peer receives.
//!
//! Aliases go to the topics in use, not to the first that came: a topic gets one when it is sent a second
//! time, from a topic that is used less. All steps take constant time; what is remembered of topics without an
//! alias is a mark, not their names.

use alloc::boxed::Box;
use alloc::vec::Vec;

use hashbrown::HashTable;

/// The Topic Aliases that one peer knows from us.
#[derive(Debug)]
pub(crate) struct OutboundAliases {
    /// By alias, from 1. Never more than `alias_max`.
    assigned: Vec<Assigned>,
    /// Aliases by the hash of their topic.
    by_topic: HashTable<u16>,
    /// Marks of topics that were sent once, each in the place that its hash gives. A mark that is overwritten
    /// costs its topic one more sending.
    seen_once: [u32; SEEN_COUNT],
    /// Where the search for a topic to be replaced goes on.
    hand: usize,
    alias_max: u16,
}

#[derive(Debug)]
struct Assigned {
    topic: Box<str>,
    hash: u64,
    /// Uses, halved whenever the hand passes by.
    use_count: u32,
}

/// How a topic is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AliasUse {
    /// The Topic Name.
    Name,
    /// The Topic Name, and an alias that means it from then on.
    Both(u16),
    /// The alias.
    Alias(u16),
}

impl OutboundAliases {
    /// Returns an empty table for a peer that accepts aliases up to `topic_alias_maximum`
    /// ([MQTT-3.1.2-26]), which is not 0.
    pub(crate) fn new(topic_alias_maximum: u16) -> Self {
        Self {
            assigned: Vec::new(),
            by_topic: HashTable::new(),
            seen_once: [0; SEEN_COUNT],
            hand: 0,
            alias_max: topic_alias_maximum.min(ALIASES_MAX),
        }
    }

    /// Chooses how `topic` is written in a packet that is certain to be sent.
    pub(crate) fn choose(&mut self, topic: &str) -> AliasUse {
        if topic.len() <= ALIAS_PROPERTY_BYTES || topic.len() > TOPIC_BYTES_MAX {
            return AliasUse::Name;
        }
        let hash = topic_hash(topic);
        if let Some(alias) = self.find(hash, topic) {
            let assigned = &mut self.assigned[usize::from(alias) - 1];
            assigned.use_count = assigned.use_count.saturating_add(1);
            return AliasUse::Alias(alias);
        }
        let mark = (hash >> 32) as u32 | 1;
        let seen = &mut self.seen_once[hash as usize % SEEN_COUNT];
        if *seen != mark {
            *seen = mark;
            return AliasUse::Name;
        }
        self.assign(hash, topic)
    }

    /// Gives `topic` an alias: a new one, or that of a topic that is hardly used.
    fn assign(&mut self, hash: u64, topic: &str) -> AliasUse {
        let index = if self.assigned.len() < usize::from(self.alias_max) {
            self.assigned.len()
        } else {
            match self.least_used() {
                Some(index) => index,
                None => return AliasUse::Name,
            }
        };
        let alias = index as u16 + 1;
        let assigned = Assigned { topic: topic.into(), hash, use_count: 1 };
        match self.assigned.get_mut(index) {
            Some(place) => {
                let old_hash = place.hash;
                *place = assigned;
                if let Ok(entry) = self.by_topic.find_entry(old_hash, |&it| it == alias) {
                    entry.remove();
                }
            }
            None => self.assigned.push(assigned),
        }
        let assigned = &self.assigned;
        self.by_topic.insert_unique(hash, alias, |&it| assigned[usize::from(it) - 1].hash);
        AliasUse::Both(alias)
    }

    /// Moves the hand over a few topics, halving their counts, to one whose count is used up.
    fn least_used(&mut self) -> Option<usize> {
        for _ in 0..HAND_STEPS {
            let index = self.hand;
            self.hand = (self.hand + 1) % self.assigned.len();
            let use_count = &mut self.assigned[index].use_count;
            *use_count /= 2;
            if *use_count == 0 {
                return Some(index);
            }
        }
        None
    }

    /// Returns the alias that means `topic`.
    pub(crate) fn alias_of(&self, topic: &str) -> Option<u16> {
        self.find(topic_hash(topic), topic)
    }

    fn find(&self, hash: u64, topic: &str) -> Option<u16> {
        self.by_topic
            .find(hash, |&alias| {
                let assigned = &self.assigned[usize::from(alias) - 1];
                assigned.hash == hash && *assigned.topic == *topic
            })
            .copied()
    }
}

/// Returns a hash that depends on nothing but the topic. Topics made to collide slow down one connection, by at
/// most [`ALIASES_MAX`] comparisons of a number.
fn topic_hash(topic: &str) -> u64 {
    let mut hash = topic.len() as u64;
    let mut mix = |word: [u8; 8]| {
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(MULTIPLIER);
        hash ^= hash >> 32;
    };
    let (words, rest) = topic.as_bytes().as_chunks::<8>();
    for word in words {
        mix(*word);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(last);
    hash
}

/// The golden ratio as a fraction of 2^64: odd, and without a pattern in its bits.
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// More aliases than this find no more topics that repeat often enough to matter, and take memory.
const ALIASES_MAX: u16 = 128;

/// What an alias costs in a packet. A topic that is not longer gains nothing.
const ALIAS_PROPERTY_BYTES: usize = 3;

/// Longer topics get no alias. This bounds the table's memory.
const TOPIC_BYTES_MAX: usize = 512;

/// How many topics are remembered as sent once: a power of two.
const SEEN_COUNT: usize = 64;

/// How many topics are considered for replacement. With all of them in use a newcomer has to ask again.
const HAND_STEPS: usize = 4;

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::{AliasUse, OutboundAliases};

    #[test]
    fn a_topic_gets_an_alias_the_second_time() {
        let mut aliases = OutboundAliases::new(10);
        check(&mut aliases, "plant/1", &[AliasUse::Name, AliasUse::Both(1), AliasUse::Alias(1)]);
        check(&mut aliases, "plant/2", &[AliasUse::Name, AliasUse::Both(2), AliasUse::Alias(2)]);
        check(&mut aliases, "a/b", &[AliasUse::Name, AliasUse::Name, AliasUse::Name]);
    }

    /// [MQTT-3.1.2-26]
    #[test]
    fn no_alias_is_above_the_maximum() {
        let mut aliases = OutboundAliases::new(3);
        for round in 0..4 {
            for topic in 0..50 {
                let used = aliases.choose(&format!("plant/{topic}/{}", round / 2));
                let (AliasUse::Name | AliasUse::Both(1..=3) | AliasUse::Alias(1..=3)) = used else {
                    panic!("{used:?}");
                };
            }
        }
    }

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let mut aliases = OutboundAliases::new(2);
        for topic in ["often", "rarely"] {
            check(&mut aliases, topic, &[AliasUse::Name]);
        }
        for _ in 0..100 {
            aliases.choose("often");
        }
        check(&mut aliases, "rarely", &[AliasUse::Both(2)]);
        check(&mut aliases, "newcomer", &[AliasUse::Name, AliasUse::Both(2), AliasUse::Alias(2)]);
        check(&mut aliases, "often", &[AliasUse::Alias(1)]);
        assert_eq!(aliases.alias_of("rarely"), None);
    }

    #[track_caller]
    fn check(aliases: &mut OutboundAliases, topic: &str, expected: &[AliasUse]) {
        for &expected in expected {
            assert_eq!(aliases.choose(topic), expected, "{topic}");
        }
    }
}
