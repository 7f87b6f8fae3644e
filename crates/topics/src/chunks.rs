//! A long array that grows without moving what it holds.

/// Values by index, in chunks: growth never copies more than one chunk, so no insertion takes long.
#[derive(Debug)]
pub(crate) struct Chunks<T> {
    /// All full but the last.
    chunks: Vec<Vec<T>>,
}

impl<T> Chunks<T> {
    pub(crate) fn new() -> Self {
        Self { chunks: Vec::new() }
    }

    /// Appends a value and returns its index.
    pub(crate) fn push(&mut self, value: T) -> u32 {
        if self.chunks.last().is_none_or(|last| last.len() == CHUNK_LENGTH) {
            // The first chunk grows as it must: most arrays are small.
            let is_first = self.chunks.is_empty();
            let capacity = if is_first { 0 } else { CHUNK_LENGTH };
            self.chunks.push(Vec::with_capacity(capacity));
        }
        let full_count = self.chunks.len() - 1;
        let last = &mut self.chunks[full_count];
        let index = full_count * CHUNK_LENGTH + last.len();
        last.push(value);
        u32::try_from(index).expect("four billion values do not fit into memory")
    }

    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        let (chunk, place) = split(index);
        self.chunks.get(chunk)?.get(place)
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        let (chunk, place) = split(index);
        self.chunks.get_mut(chunk)?.get_mut(place)
    }
}

fn split(index: u32) -> (usize, usize) {
    let index = index as usize;
    (index / CHUNK_LENGTH, index % CHUNK_LENGTH)
}

const CHUNK_LENGTH: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_at_their_indexes() {
        let mut chunks = Chunks::new();
        for value in 0..50_000 {
            assert_eq!(chunks.get(value), None);
            assert_eq!(chunks.push(value), value);
        }
        for value in 0..50_000 {
            assert_eq!(chunks.get(value), Some(&value));
            assert_eq!(chunks.get_mut(value).copied(), Some(value));
        }
        assert_eq!(chunks.get(u32::MAX), None);
    }
}
