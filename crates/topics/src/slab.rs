//! Values at small indexes that are used again.

use std::ops::{Index, IndexMut};

/// Values with an index each, for as long as they are there.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Place<T>>,
    first_free: u32,
}

#[derive(Debug)]
enum Place<T> {
    Taken(T),
    Free { next: u32 },
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self { places: Vec::new(), first_free: NONE }
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(place) = self.places.get_mut(self.first_free as usize) {
            let index = self.first_free;
            if let Place::Free { next } = *place {
                self.first_free = next;
            }
            *place = Place::Taken(value);
            return index;
        }
        let count = self.places.len();
        if count == self.places.capacity() {
            // An eighth more: doubling would leave up to half of the memory unused.
            self.places.reserve_exact((count / 8).max(8));
        }
        self.places.push(Place::Taken(value));
        let index = u32::try_from(count).ok().filter(|index| *index < INDEX_END);
        index.expect("two billion values do not fit into memory")
    }

    pub(crate) fn remove(&mut self, index: u32) -> T {
        let free = Place::Free { next: self.first_free };
        match std::mem::replace(&mut self.places[index as usize], free) {
            Place::Taken(value) => {
                self.first_free = index;
                value
            }
            Place::Free { .. } => unreachable!("{HELD}"),
        }
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, index: u32) -> &T {
        match &self.places[index as usize] {
            Place::Taken(value) => value,
            Place::Free { .. } => unreachable!("{HELD}"),
        }
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        match &mut self.places[index as usize] {
            Place::Taken(value) => value,
            Place::Free { .. } => unreachable!("{HELD}"),
        }
    }
}

/// Above all indexes, which leave the highest bit to their users.
pub(crate) const INDEX_END: u32 = 1 << 31;
const NONE: u32 = u32::MAX;
const HELD: &str = "an index is held by one owner, which gives it up with the value";
