//! This shard's own live receivers of each filter. No lock: the shard owns it.

use quelea_codec::{QoS, SubscriptionOptions};
use quelea_topics::FilterId;

/// Receivers by filter.
#[derive(Debug, Default)]
pub(super) struct Receivers {
    /// By the filter's index. The generation tells whether mail with an older filter of the same
    /// index has come too late.
    filters: Vec<Option<(u32, List)>>,
}

/// One session's subscription to a filter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receiver {
    /// The session's slot on this shard. The subscription goes before the session does.
    pub(super) session: u32,
    /// The Subscription Identifier; 0 for none.
    pub(super) subscription_id: u32,
    pub(super) options: SubscriptionOptions,
    /// Its QoS 1 and 2 messages come through the store.
    pub(super) is_durable: bool,
}

/// Most filters have one receiver: it costs no allocation.
#[derive(Debug)]
enum List {
    One(Receiver),
    Many(Vec<Receiver>),
}

impl Receivers {
    /// Returns the receivers of a filter.
    #[inline]
    pub(super) fn of(&self, filter: FilterId) -> &[Receiver] {
        match self.filters.get(filter.index as usize) {
            Some(Some((generation, list))) if *generation == filter.generation => match list {
                List::One(receiver) => std::slice::from_ref(receiver),
                List::Many(receivers) => receivers,
            },
            Some(Some(_) | None) | None => &[],
        }
    }

    /// Adds a receiver and returns its place in the list.
    pub(super) fn add(&mut self, filter: FilterId, receiver: Receiver) -> u32 {
        let index = filter.index as usize;
        if self.filters.len() <= index {
            self.filters.resize_with(index + 1, || None);
        }
        let slot = &mut self.filters[index];
        match slot {
            Some((generation, list)) if *generation == filter.generation => match list {
                List::One(first) => {
                    *list = List::Many(vec![*first, receiver]);
                    1
                }
                List::Many(receivers) => {
                    receivers.push(receiver);
                    receivers.len() as u32 - 1
                }
            },
            Some(_) | None => {
                *slot = Some((filter.generation, List::One(receiver)));
                0
            }
        }
    }

    /// Replaces the receiver at `place`.
    pub(super) fn replace(&mut self, filter: FilterId, place: u32, receiver: Receiver) {
        if let Some(known) = self.of_mut(filter).get_mut(place as usize) {
            *known = receiver;
        }
    }

    /// Returns whether a filter has a receiver of this class.
    pub(super) fn has(&self, filter: FilterId, is_durable: bool) -> bool {
        self.of(filter).iter().any(|it| it.is_durable == is_durable)
    }

    /// Removes the receiver at `place`, whose place the last one of the list takes. Returns the
    /// session of that one.
    pub(super) fn remove(&mut self, filter: FilterId, place: u32) -> Option<u32> {
        let slot = self.filters.get_mut(filter.index as usize)?;
        let (generation, list) = slot.as_mut()?;
        if *generation != filter.generation {
            return None;
        }
        let List::Many(receivers) = list else {
            *slot = None;
            return None;
        };
        if place as usize >= receivers.len() {
            return None;
        }
        receivers.swap_remove(place as usize);
        let moved = receivers.get(place as usize).map(|it| it.session);
        if receivers.is_empty() {
            *slot = None;
        } else if receivers.capacity() > 4 * receivers.len() {
            receivers.shrink_to(2 * receivers.len());
        }
        moved
    }

    /// Returns how many receivers there are.
    #[cfg(feature = "simulation")]
    pub(super) fn count(&self) -> usize {
        let lists = self.filters.iter().flatten().map(|(_, list)| match list {
            List::One(_) => 1,
            List::Many(receivers) => receivers.len(),
        });
        lists.sum()
    }

    fn of_mut(&mut self, filter: FilterId) -> &mut [Receiver] {
        match self.filters.get_mut(filter.index as usize) {
            Some(Some((generation, list))) if *generation == filter.generation => match list {
                List::One(receiver) => std::slice::from_mut(receiver),
                List::Many(receivers) => receivers,
            },
            Some(Some(_) | None) | None => &mut [],
        }
    }
}

impl Receiver {
    /// Returns the quality of service with which a message arrives.
    #[inline]
    pub(super) fn qos(&self, published: QoS) -> QoS {
        published.min(self.options.qos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_receiver_takes_the_place_of_the_removed_one() {
        let mut receivers = Receivers::default();
        let filter = FilterId { index: 3, generation: 1 };
        for session in 0..3 {
            assert_eq!(receivers.add(filter, receiver(session)), session);
        }
        assert_eq!(receivers.remove(filter, 0), Some(2));
        assert_eq!(receivers.remove(filter, 1), None);
        assert_eq!(sessions(&receivers, filter), [2]);
        assert_eq!(receivers.remove(filter, 0), None);
        assert!(!receivers.has(filter, false));
        assert_eq!(receivers.remove(filter, 0), None);
    }

    #[test]
    fn a_recycled_filter_does_not_find_the_old_ones_receivers() {
        let mut receivers = Receivers::default();
        let old = FilterId { index: 0, generation: 1 };
        let new = FilterId { index: 0, generation: 2 };
        receivers.add(new, receiver(7));
        assert!(sessions(&receivers, old).is_empty());
        assert_eq!(receivers.remove(old, 0), None);
        assert_eq!(sessions(&receivers, new), [7]);
    }

    fn receiver(session: u32) -> Receiver {
        let options = SubscriptionOptions::default();
        Receiver { session, subscription_id: 0, options, is_durable: false }
    }

    fn sessions(receivers: &Receivers, filter: FilterId) -> Vec<u32> {
        receivers.of(filter).iter().map(|it| it.session).collect()
    }
}
