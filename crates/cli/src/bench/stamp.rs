//! The first 16 bytes of each payload: when it was to be sent, in which flow, and its place there.

/// What a publisher writes into a message, and its receivers read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Nanoseconds since the run's epoch: the time of sending in a closed loop, the intended time in an
    /// open one.
    pub sent_ns: u64,
    /// The flow, numbered over the whole run.
    pub flow: u32,
    /// The message's place in its flow, from 0. A flow may send 2^32 messages.
    pub sequence: u32,
}

impl Stamp {
    /// Writes the stamp over the first bytes of `payload`.
    ///
    /// # Panics
    ///
    /// If `payload` is shorter than [`BYTES`].
    pub(crate) fn write(self, payload: &mut [u8]) {
        payload[..8].copy_from_slice(&self.sent_ns.to_le_bytes());
        payload[8..12].copy_from_slice(&self.flow.to_le_bytes());
        payload[12..BYTES].copy_from_slice(&self.sequence.to_le_bytes());
    }

    /// Reads the stamp of `payload`, or `None` if it is too short to have one.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let (sent_ns, rest) = payload.split_first_chunk()?;
        let (flow, rest) = rest.split_first_chunk()?;
        let (sequence, _) = rest.split_first_chunk()?;
        Some(Self {
            sent_ns: u64::from_le_bytes(*sent_ns),
            flow: u32::from_le_bytes(*flow),
            sequence: u32::from_le_bytes(*sequence),
        })
    }
}

/// The size of a stamp, and so of the smallest payload.
pub(crate) const BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let stamp = Stamp { sent_ns: u64::MAX - 1, flow: 7, sequence: u32::MAX };
        let mut payload = [0xEE; 20];
        stamp.write(&mut payload);
        assert_eq!(Stamp::read(&payload), Some(stamp));
        assert_eq!(payload[BYTES..], [0xEE; 4]);
    }

    #[test]
    fn a_short_payload_has_no_stamp() {
        assert_eq!(Stamp::read(&[0; BYTES - 1]), None);
    }
}
