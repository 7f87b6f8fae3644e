//! Finds the acknowledgements in what a broker sends.
//!
//! Of each packet only its header is kept until it is complete, so that packets of any size pass as they come.

use std::ops::ControlFlow;

use quelea_codec::{Framing, next_frame};

/// Takes acknowledgements out of one connection's bytes.
#[derive(Debug, Default)]
pub(crate) struct Sieve {
    /// A part of a fixed header: at most four bytes.
    header: Vec<u8>,
    /// Bytes of the present packet that are still to come.
    rest: usize,
    drops_rest: bool,
    /// A broker's first packet was seen.
    has_begun: bool,
    /// This is no MQTT, and passes as it is.
    is_opaque: bool,
}

/// What becomes of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    Drop,
    /// The connection ends in its place.
    Cut,
}

impl Sieve {
    /// Appends to `out` what passes of `bytes`, asking `judge` at each acknowledgement. Breaks off where the connection
    /// is to end.
    pub(crate) fn sift(
        &mut self,
        mut bytes: &[u8],
        out: &mut Vec<u8>,
        mut judge: impl FnMut() -> Verdict,
    ) -> ControlFlow<()> {
        while !bytes.is_empty() {
            if self.is_opaque {
                out.extend_from_slice(bytes);
                break;
            }
            if self.rest > 0 {
                let (part, behind) = bytes.split_at(self.rest.min(bytes.len()));
                if !self.drops_rest {
                    out.extend_from_slice(part);
                }
                self.rest -= part.len();
                bytes = behind;
                continue;
            }
            if !self.has_begun && !is_first(bytes[0]) {
                self.is_opaque = true;
                continue;
            }
            self.has_begun = true;
            self.header.push(bytes[0]);
            bytes = &bytes[1..];
            let total_bytes = match next_frame(&self.header, u32::MAX) {
                Ok(Framing::Incomplete { total_bytes: None }) => continue,
                Ok(Framing::Incomplete { total_bytes: Some(total_bytes) }) => total_bytes,
                Ok(Framing::Complete { consumed, .. }) => consumed,
                Err(_) => {
                    self.is_opaque = true;
                    out.append(&mut self.header);
                    continue;
                }
            };
            let verdict = match is_acknowledgement(self.header[0]) {
                true => judge(),
                false => Verdict::Pass,
            };
            match verdict {
                Verdict::Pass => out.extend_from_slice(&self.header),
                Verdict::Drop => {}
                Verdict::Cut => return ControlFlow::Break(()),
            }
            self.drops_rest = verdict == Verdict::Drop;
            self.rest = total_bytes - self.header.len();
            self.header.clear();
        }
        ControlFlow::Continue(())
    }
}

/// Returns whether a broker's first packet may begin with this byte: that of CONNACK or AUTH. TLS and HTTP do not.
fn is_first(first_byte: u8) -> bool {
    matches!(first_byte, 0x20 | 0xF0)
}

/// Returns whether a packet with this first byte is PUBACK, PUBREC or PUBCOMP.
fn is_acknowledgement(first_byte: u8) -> bool {
    matches!(first_byte >> 4, 4 | 5 | 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNACK: &[u8] = &[0x20, 2, 0, 0];
    const PUBACK: &[u8] = &[0x40, 2, 0, 1];
    const PUBCOMP: &[u8] = &[0x70, 2, 0, 2];
    const PINGRESP: &[u8] = &[0xD0, 0];

    #[test]
    fn only_acknowledgements_are_judged() {
        let publish = [&[0x30, 0x84, 0x01, 0, 1, b't'][..], &[0x40; 129]].concat();
        let bytes = [CONNACK, PUBACK, &publish, PINGRESP, PUBCOMP, PINGRESP].concat();
        let without = [CONNACK, &publish, PINGRESP, PINGRESP].concat();
        check(&bytes, Verdict::Pass, &bytes, ControlFlow::Continue(()));
        check(&bytes, Verdict::Drop, &without, ControlFlow::Continue(()));
        check(&bytes, Verdict::Cut, CONNACK, ControlFlow::Break(()));
    }

    #[test]
    fn what_is_no_mqtt_passes() {
        let http = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
        check(http, Verdict::Drop, http, ControlFlow::Continue(()));
        let broken = [CONNACK, &[0x00], PUBACK].concat();
        check(&broken, Verdict::Drop, &broken, ControlFlow::Continue(()));
    }

    /// However the bytes are cut, what passes of them is the same.
    #[track_caller]
    fn check(bytes: &[u8], verdict: Verdict, expected: &[u8], end: ControlFlow<()>) {
        for size in 1..=bytes.len() {
            let (mut sieve, mut out) = (Sieve::default(), Vec::new());
            let sifted =
                bytes.chunks(size).try_for_each(|part| sieve.sift(part, &mut out, || verdict));
            assert_eq!((&out[..], sifted), (expected, end), "in parts of {size}");
        }
    }
}
