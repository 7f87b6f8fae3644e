//! Values at small indexes that are used again.

use std::ops::{Index, IndexMut};

use crate::chunks::Chunks;

/// Values with an index each, for as long as they are there.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Chunks<Place<T>>,
    first_free: u32,
}

#[derive(Debug)]
enum Place<T> {
    Taken(T),
    Free { next: u32 },
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self { places: Chunks::new(), first_free: NONE }
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(place) = self.places.get_mut(self.first_free) {
            let index = self.first_free;
            if let Place::Free { next } = *place {
                self.first_free = next;
            }
            *place = Place::Taken(value);
            return index;
        }
        let index = self.places.push(Place::Taken(value));
        assert!(index < INDEX_END, "two billion values do not fit into memory");
        index
    }

    pub(crate) fn remove(&mut self, index: u32) -> T {
        let free = Place::Free { next: self.first_free };
        let place = self.places.get_mut(index).expect(HELD);
        match std::mem::replace(place, free) {
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
        match self.places.get(index).expect(HELD) {
            Place::Taken(value) => value,
            Place::Free { .. } => unreachable!("{HELD}"),
        }
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        match self.places.get_mut(index).expect(HELD) {
            Place::Taken(value) => value,
            Place::Free { .. } => unreachable!("{HELD}"),
        }
    }
}

/// Above all indexes, which leave the highest bit to their users.
pub(crate) const INDEX_END: u32 = 1 << 31;
const NONE: u32 = u32::MAX;
const HELD: &str = "an index is held by one owner, which gives it up with the value";
