//! The segments of the log, and how much of each is alive.

use std::collections::VecDeque;
use std::sync::Arc;

use super::location::Location;

/// The segments of the log, and how much of each is alive.
#[derive(Debug)]
pub(crate) struct Segments<F> {
    /// The number of the first one.
    oldest: u64,
    segments: VecDeque<Segment<F>>,
    /// The sum of the weights.
    live_bytes: u64,
    /// The sum of the bytes.
    total_bytes: u64,
    /// Bytes of the disk that those take that were retired and are still there.
    leaving_bytes: u64,
}

/// One file of the log.
#[derive(Debug)]
pub(crate) struct Segment<F> {
    pub(crate) file: Arc<F>,
    /// Where its last frame ends.
    pub(crate) bytes: u64,
    /// Bytes of the disk that it takes.
    pub(crate) capacity: u64,
    /// Things whose latest record is in the segment.
    pub(crate) live_count: u64,
    /// Their bytes, about.
    weight: u64,
}

impl<F> Segments<F> {
    pub(crate) fn new(oldest: u64) -> Self {
        Self { oldest, segments: VecDeque::new(), live_bytes: 0, total_bytes: 0, leaving_bytes: 0 }
    }

    /// Adds the next segment.
    pub(crate) fn push(&mut self, file: Arc<F>, bytes: u64, capacity: u64) {
        self.total_bytes += bytes;
        self.segments.push_back(Segment { file, bytes, capacity, live_count: 0, weight: 0 });
    }

    /// Adds the segment `number`, which is filled up to `bytes`; or it is there, as empty as it was known to be.
    pub(crate) fn begin(&mut self, number: u64, file: Arc<F>, bytes: u64, capacity: u64) {
        let is_there = number < self.oldest + self.segments.len() as u64;
        if !is_there {
            self.push(file, bytes, capacity);
        } else if let Some(last) = self.segments.back_mut() {
            last.capacity = capacity;
        }
    }

    /// The last segment has become longer.
    pub(crate) fn grow(&mut self, bytes: u64) {
        if let Some(last) = self.segments.back_mut() {
            last.bytes += bytes;
            self.total_bytes += bytes;
        }
    }

    /// Counts a thing whose latest record is at `location`.
    #[inline]
    pub(crate) fn add(&mut self, location: Location, weight: u64) {
        let segment = self.at_mut(location);
        segment.live_count += 1;
        segment.weight += weight;
        self.live_bytes += weight;
    }

    /// Counts so many things whose latest record is at `location`, and what all of them weigh.
    #[inline]
    pub(crate) fn add_all(&mut self, location: Location, count: u64, weight: u64) {
        if count > 0 {
            let segment = self.at_mut(location);
            segment.live_count += count;
            segment.weight += weight;
            self.live_bytes += weight;
        }
    }

    /// Takes back what [`Self::add`] did for the same values.
    #[inline]
    pub(crate) fn remove(&mut self, location: Location, weight: u64) {
        let segment = self.at_mut(location);
        segment.live_count -= 1;
        segment.weight -= weight;
        self.live_bytes -= weight;
    }

    /// Forgets the oldest segment, and returns its number and the segment.
    ///
    /// # Panics
    ///
    /// When something in it is alive: removing it would lose that.
    pub(crate) fn retire_oldest(&mut self) -> Option<(u64, Segment<F>)> {
        let segment = self.segments.pop_front()?;
        assert!(segment.live_count == 0, "segment {} holds what is alive", self.oldest);
        self.total_bytes -= segment.bytes;
        self.oldest += 1;
        Some((self.oldest - 1, segment))
    }

    /// A segment that was retired takes `bytes` of the disk until it [is gone](Self::end_leave).
    pub(crate) fn begin_leave(&mut self, bytes: u64) {
        self.leaving_bytes += bytes;
    }

    pub(crate) fn end_leave(&mut self, bytes: u64) {
        self.leaving_bytes -= bytes;
    }

    pub(crate) fn oldest_number(&self) -> u64 {
        self.oldest
    }

    pub(crate) fn oldest(&self) -> Option<&Segment<F>> {
        self.segments.front()
    }

    pub(crate) fn count(&self) -> usize {
        self.segments.len()
    }

    /// Returns the segment in which a record lies.
    pub(crate) fn at(&self, location: Location) -> &Segment<F> {
        &self.segments[location.segments_after(self.oldest) as usize]
    }

    /// Returns the number of the segment in which a record lies.
    pub(crate) fn number_of(&self, location: Location) -> u64 {
        self.oldest + location.segments_after(self.oldest)
    }

    /// Returns whether there is a segment for a location.
    pub(crate) fn contains(&self, location: Location) -> bool {
        (location.segments_after(self.oldest) as usize) < self.segments.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Segment<F>> {
        self.segments.iter()
    }

    /// Returns about how many bytes of the log are alive.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Returns how many bytes of frames there are.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Returns how many bytes of the disk are taken.
    pub(crate) fn capacity(&self) -> u64 {
        self.segments.iter().map(|it| it.capacity).sum::<u64>() + self.leaving_bytes
    }

    #[inline]
    fn at_mut(&mut self, location: Location) -> &mut Segment<F> {
        &mut self.segments[location.segments_after(self.oldest) as usize]
    }
}
