//! The subscriptions of one session.

use std::sync::Arc;

use hashbrown::HashMap;
use quelea_session::GroupId;
use quelea_topics::FilterId;

use crate::table::Group;

/// A session's subscriptions: most have one or a few, some have a million.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    list: Vec<Subscription>,
    /// Places in `list`, once it is too long to be searched.
    index: Option<Box<HashMap<Name, u32, foldhash::fast::FixedState>>>,
}

/// One subscription.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub(super) filter: FilterId,
    /// Its place among the receivers of its filter; unused for a shared one.
    pub(super) place: u32,
    /// Its group, when it is shared.
    pub(super) group: Option<Arc<Group>>,
}

/// What tells the subscriptions of one session apart.
type Name = (FilterId, Option<GroupId>);

impl Subscriptions {
    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Returns the subscription to a filter.
    pub(super) fn find(
        &mut self,
        filter: FilterId,
        group: Option<GroupId>,
    ) -> Option<&mut Subscription> {
        let at = self.at(&(filter, group))?;
        self.list.get_mut(at)
    }

    /// Adds a subscription that is not there yet.
    pub(super) fn add(&mut self, subscription: Subscription) {
        let at = self.list.len() as u32;
        if self.list.is_empty() {
            self.list.reserve_exact(1);
        }
        let name = subscription.name();
        self.list.push(subscription);
        if let Some(index) = &mut self.index {
            index.insert(name, at);
        } else if self.list.len() > SEARCHED_MAX {
            let names = self.list.iter().enumerate().map(|(at, it)| (it.name(), at as u32));
            self.index = Some(Box::new(names.collect()));
        }
    }

    /// Removes a subscription.
    pub(super) fn remove(
        &mut self,
        filter: FilterId,
        group: Option<GroupId>,
    ) -> Option<Subscription> {
        let at = self.at(&(filter, group))?;
        let removed = self.list.swap_remove(at);
        if let Some(index) = &mut self.index {
            index.remove(&removed.name());
            if let Some(moved) = self.list.get(at) {
                index.insert(moved.name(), at as u32);
            }
        }
        Some(removed)
    }

    /// Returns all of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.list.iter()
    }

    /// Takes all of them.
    pub(super) fn take(&mut self) -> Vec<Subscription> {
        self.index = None;
        std::mem::take(&mut self.list)
    }

    /// Returns the shared groups that the session is in.
    pub(super) fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.list.iter().filter_map(|it| it.group.as_ref())
    }

    fn at(&self, name: &Name) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(name).map(|at| *at as usize),
            None => self.list.iter().position(|it| it.name() == *name),
        }
    }
}

impl Subscription {
    fn name(&self) -> Name {
        (self.filter, self.group.as_ref().map(|group| group.id))
    }
}

/// Longer lists have an index.
const SEARCHED_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_find_what_short_ones_do() {
        let filter = |index| FilterId { index, generation: 0 };
        let mut subscriptions = Subscriptions::default();
        for index in 0..100 {
            subscriptions.add(Subscription { filter: filter(index), place: index, group: None });
        }
        for index in (0..100).step_by(3) {
            let removed = subscriptions.remove(filter(index), None);
            assert_eq!(removed.map(|it| it.place), Some(index));
            assert!(subscriptions.remove(filter(index), None).is_none());
        }
        for index in 0..100 {
            let found = subscriptions.find(filter(index), None).map(|it| it.place);
            assert_eq!(found, (index % 3 != 0).then_some(index), "{index}");
        }
        assert_eq!(subscriptions.take().len(), 66);
        assert_eq!(subscriptions.len(), 0);
    }
}
