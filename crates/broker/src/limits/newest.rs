//! Which connections are the newest of the whole broker.
//!
//! No shard sees the connections of another. Each says how old its own are, and the last to do so knows up to what
//! age they are the newest of all.

use std::sync::{Mutex, PoisonError};

/// A question to all shards, about the newest connections.
#[derive(Debug)]
pub(crate) struct Newest {
    /// How many are meant.
    count: usize,
    /// The number of the next arrival when it was asked: who came later is not meant.
    next_arrival: u32,
    told: Mutex<Told>,
}

#[derive(Debug)]
struct Told {
    /// At most `count` of each shard.
    ages: Vec<u32>,
    shards_left: usize,
}

impl Newest {
    pub(crate) fn new(count: usize, next_arrival: u32, shards: usize) -> Self {
        Self {
            count,
            next_arrival,
            told: Mutex::new(Told { ages: Vec::new(), shards_left: shards }),
        }
    }

    /// Returns how many have arrived since a connection did, itself included; nothing if it is not meant.
    pub(crate) fn age_of(&self, arrival: u32) -> Option<u32> {
        // Numbers begin again from zero: what seems to be very old is newer than the question.
        let age = self.next_arrival.wrapping_sub(arrival);
        (1..1 << 31).contains(&age).then_some(age)
    }

    /// Takes the ages of a shard's connections. Returns to the last shard up to what age connections are meant.
    pub(crate) fn tell(&self, mut ages: Vec<u32>) -> Option<u32> {
        keep_least(&mut ages, self.count);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.ages.append(&mut ages);
        told.shards_left = told.shards_left.saturating_sub(1);
        if told.shards_left > 0 {
            return None;
        }
        keep_least(&mut told.ages, self.count);
        told.ages.iter().max().copied()
    }
}

fn keep_least(ages: &mut Vec<u32>, count: usize) {
    if ages.len() > count {
        ages.select_nth_unstable(count);
        ages.truncate(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_shard_knows_the_newest_of_all() {
        let newest = Newest::new(3, 100, 3);
        assert_eq!(newest.tell(vec![7, 90, 5]), None);
        assert_eq!(newest.tell(Vec::new()), None);
        assert_eq!(newest.tell(vec![50, 6, 40, 30]), Some(7), "5, 6 and 7 are the youngest");
    }

    #[test]
    fn fewer_than_asked_for_are_all() {
        assert_eq!(Newest::new(9, 100, 1).tell(vec![3, 99]), Some(99));
        assert_eq!(Newest::new(9, 100, 1).tell(Vec::new()), None);
    }

    #[test]
    fn ages_are_right_when_numbers_begin_again() {
        let newest = Newest::new(1, 5, 1);
        assert_eq!(newest.age_of(4), Some(1));
        assert_eq!(newest.age_of(u32::MAX), Some(6));
        assert_eq!(newest.age_of(5), None, "it came later");
        assert_eq!(newest.age_of(1_000), None);
    }
}
