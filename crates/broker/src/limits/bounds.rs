//! What one connection may, and what it has used.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashSet;
use quelea_auth::Limits;
use quelea_codec::{Framing, PacketKind, Version, next_frame};
use quelea_session::{ServerLimits, Time};

use super::{AddressPlace, Meter};
use crate::config::Rates;
use crate::net::Entrance;

/// The bounds of a connection that has any. Boxed in its link, since most have none.
#[derive(Default)]
pub(crate) struct Bounds {
    /// Its place among the connections of its address, if those are counted.
    address: Option<AddressPlace>,
    /// Its listener, if that has terms of its own.
    entrance: Option<Arc<Entrance>>,
    /// What its identity allows it where others are held to `rates`.
    pub(crate) own: Limits,
    messages_in: Meter,
    bytes_in: Meter,
    messages_out: Meter,
    bytes_out: Meter,
    /// When reading goes on; zero when it does.
    pub(crate) read_at: Time,
    /// When writing goes on; zero when it does.
    pub(crate) write_at: Time,
    /// How much of the link's output may be written. Always the end of a packet.
    admitted: usize,
    /// The PUBLISH that is being handled is beyond a rate, and to be refused.
    pub(crate) is_over: bool,
    /// Hashes of the topics that the client has published to. At most `limits.topics_per_connection_max`.
    topics: HashSet<u64, FixedState>,
}

/// What a packet uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Use {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

impl fmt::Debug for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bounds").finish_non_exhaustive()
    }
}

impl Bounds {
    /// Returns the bounds of a connection that is counted with its address or its listener; nothing if it is not.
    pub(crate) fn of(
        address: Option<AddressPlace>,
        entrance: Option<Arc<Entrance>>,
    ) -> Option<Box<Self>> {
        let is_bounded = address.is_some() || entrance.is_some();
        is_bounded.then(|| Box::new(Self { address, entrance, ..Self::default() }))
    }

    /// Returns the bounds of a connection that has `output_bytes` to write, which are not counted.
    pub(crate) fn after(output_bytes: usize) -> Box<Self> {
        Box::new(Self { admitted: output_bytes, ..Self::default() })
    }

    /// Its address has become known: it counts with that.
    pub(crate) fn enter(&mut self, place: AddressPlace) {
        self.address = Some(place);
    }

    /// Returns whether its listener lets it speak `version`.
    pub(crate) fn admits_version(&self, version: Version) -> bool {
        self.entrance.as_ref().is_none_or(|entrance| entrance.admits_version(version))
    }

    /// Returns what its listener grants it where others are granted `limits`; nothing if that is the same.
    pub(crate) fn limits(&self, limits: &ServerLimits) -> Option<ServerLimits> {
        self.entrance.as_ref()?.limits(limits)
    }

    /// Returns the largest packet that its listener lets it send, if that has a limit of its own.
    pub(crate) fn packet_bytes_max(&self) -> Option<u32> {
        self.entrance.as_ref()?.packet_bytes_max
    }

    /// Returns how long a connection must wait that sends on.
    pub(crate) fn input_wait_millis(&self, now: Time, rates: &Rates) -> u64 {
        let meters = self.input_meters(rates).into_iter().filter_map(|row| row.metered);
        meters.map(|(meter, _)| meter.wait_millis(now)).max().unwrap_or(0)
    }

    /// Counts a packet that has arrived. Returns how long a connection must wait that sends on.
    pub(crate) fn charge_input(&self, now: Time, used: Use, rates: &Rates) -> u64 {
        let mut wait = 0;
        for row in self.input_meters(rates) {
            let Some((meter, per_sec)) = row.metered else { continue };
            let count = if row.is_for_bytes { used.bytes } else { used.messages };
            if count > 0 {
                meter.charge(now, count, per_sec);
            }
            wait = meter.wait_millis(now).max(wait);
        }
        wait
    }

    /// Returns how much of `output` may be written, counting what had not been looked at.
    pub(crate) fn admit_output(&mut self, now: Time, output: &[u8], rates: &Rates) -> usize {
        let messages = or(self.own.messages_out_per_sec, rates.client_messages_out_per_sec);
        let bytes = or(self.own.bytes_out_per_sec, rates.client_bytes_out_per_sec);
        if messages.is_none() && bytes.is_none() {
            self.admitted = output.len();
            return output.len();
        }
        while self.admitted < output.len() {
            let messages_wait = messages.map_or(0, |_| self.messages_out.wait_millis(now));
            let wait = bytes.map_or(0, |_| self.bytes_out.wait_millis(now)).max(messages_wait);
            if wait > 0 {
                self.write_at = now.plus_millis(wait);
                break;
            }
            let rest = &output[self.admitted..];
            let (first_byte, length) = match next_frame(rest, u32::MAX) {
                Ok(Framing::Complete { frame, consumed }) => (frame.first_byte, consumed),
                // The broker writes whole packets; whatever else this is, it is not held back.
                Ok(Framing::Incomplete { .. }) | Err(_) => (0, rest.len()),
            };
            if let Some(per_sec) = messages.filter(|_| first_byte >> 4 == PacketKind::Publish as u8)
            {
                self.messages_out.charge(now, 1, per_sec);
            }
            if let Some(per_sec) = bytes {
                self.bytes_out.charge(now, length as u64, per_sec);
            }
            self.admitted += length;
        }
        self.admitted
    }

    /// The first `count` bytes of the output are gone.
    pub(crate) fn forget_output(&mut self, count: usize) {
        self.admitted = self.admitted.saturating_sub(count);
    }

    /// Notes a topic that is published to, by its hash. Returns false if it is one too many.
    pub(crate) fn knows_topic(&mut self, hash: u64, topics_max: u32) -> bool {
        self.topics.contains(&hash) || {
            let has_room = self.topics.len() < topics_max as usize;
            if has_room {
                self.topics.insert(hash);
            }
            has_room
        }
    }

    /// Returns when reading or writing goes on that does not now.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        [self.read_at, self.write_at].into_iter().filter(|it| *it > Time::ZERO).min()
    }

    /// Returns the meters of what arrives, with their rates.
    fn input_meters(&self, rates: &Rates) -> [Row<'_>; 6] {
        let entrance = self.entrance.as_deref();
        let address = self.address.as_ref().map(AddressPlace::address);
        let messages = or(self.own.messages_per_sec, rates.client_messages_per_sec);
        let bytes = or(self.own.bytes_per_sec, rates.client_bytes_per_sec);
        [
            Row::new(Some(&self.messages_in), messages, false),
            Row::new(Some(&self.bytes_in), bytes, true),
            Row::new(address.map(|it| &it.messages), rates.address_messages_per_sec, false),
            Row::new(address.map(|it| &it.bytes), rates.address_bytes_per_sec, true),
            Row::new(
                entrance.map(|it| &it.messages),
                entrance.and_then(|it| it.messages_per_sec),
                false,
            ),
            Row::new(entrance.map(|it| &it.bytes), entrance.and_then(|it| it.bytes_per_sec), true),
        ]
    }
}

/// Returns the rate that counts for a client.
fn or(own: Option<NonZeroU32>, configured: Option<u32>) -> Option<u32> {
    own.map(NonZeroU32::get).or(configured)
}

/// A meter, if there is one, and its rate, if it has one.
struct Row<'a> {
    metered: Option<(&'a Meter, u32)>,
    is_for_bytes: bool,
}

impl<'a> Row<'a> {
    fn new(meter: Option<&'a Meter>, rate: Option<u32>, is_for_bytes: bool) -> Self {
        Self { metered: meter.zip(rate), is_for_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_admitted_packet_by_packet() {
        let rates = Rates { client_messages_out_per_sec: Some(2), ..Rates::default() };
        let mut bounds = Bounds::default();
        let now = Time::from_millis(1_000);
        // PUBLISH, PUBACK, PUBLISH, PUBLISH: the acknowledgement costs nothing.
        let output = [PUBLISH, &[0x40, 2, 0, 1], PUBLISH, PUBLISH].concat();
        assert_eq!(bounds.admit_output(now, &output, &rates), output.len() - PUBLISH.len());
        assert!(bounds.write_at > now);
        // The first has left, and the buffer was shortened.
        bounds.forget_output(PUBLISH.len());
        let output = &output[PUBLISH.len()..];
        assert_eq!(bounds.admit_output(now, output, &rates), output.len() - PUBLISH.len());
        assert_eq!(bounds.admit_output(bounds.write_at, output, &rates), output.len());
    }

    #[test]
    fn bytes_wait_for_each_other() {
        let rates = Rates { client_bytes_per_sec: Some(100), ..Rates::default() };
        let bounds = Bounds::default();
        let now = Time::from_millis(1_000);
        let used = Use { messages: 1, bytes: 99 };
        assert_eq!(bounds.charge_input(now, used, &rates), 0);
        assert_eq!(bounds.charge_input(now, used, &rates), 981);
        assert_eq!(bounds.input_wait_millis(now, &rates), 981);
        assert_eq!(bounds.input_wait_millis(now, &Rates::default()), 0, "no rate, no wait");
    }

    /// In both directions, and in both ways: it may be more or less than others may.
    #[test]
    fn what_an_identity_may_counts_for_its_client() {
        let rates = Rates {
            client_bytes_per_sec: Some(1),
            client_bytes_out_per_sec: Some(1_000),
            ..Rates::default()
        };
        let own = Limits {
            bytes_per_sec: NonZeroU32::new(1_000),
            bytes_out_per_sec: NonZeroU32::new(1),
            ..Limits::default()
        };
        let mut bounds = Bounds { own, ..Bounds::default() };
        let now = Time::from_millis(1_000);
        bounds.charge_input(now, Use { messages: 1, bytes: 500 }, &rates);
        assert_eq!(bounds.input_wait_millis(now, &rates), 0);
        let output = [PUBLISH, PUBLISH].concat();
        assert_eq!(bounds.admit_output(now, &output, &rates), PUBLISH.len());
    }

    #[test]
    fn topics_are_bounded() {
        let mut bounds = Bounds::default();
        assert_eq!((0..1_000_000).filter(|hash| bounds.knows_topic(*hash, 10)).count(), 10);
        assert!(bounds.knows_topic(3, 10) && bounds.topics.capacity() < 50);
    }

    const PUBLISH: &[u8] = &[0x30, 3, 0, 1, b't'];
}
