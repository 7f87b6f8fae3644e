//! Packets written down for tests, and the checks that all tests of packets go through.
//!
//! Bytes are hexadecimal; `<text>` is a string with its length before it; `{ … }` is a property section, or
//! anything else whose length precedes it as a Variable Byte Integer.

use alloc::vec;
use alloc::vec::Vec;
use std::string::String;

use crate::error::DecodeError;
use crate::write::Sink;
use crate::{ConnectError, Framing, Packet, Version, next_frame};

/// Checks that the packet with `first_byte` and `body` decodes to `packet`, and is what `packet` encodes to.
#[track_caller]
pub(crate) fn check_packet(versions: &[Version], first_byte: u8, body: &str, packet: &Packet<'_>) {
    check_decodes(versions, first_byte, body, packet);
    for &version in versions {
        let expected = whole_packet(first_byte, body);
        let mut encoded = vec![0xEE];
        packet.encode(version, &mut encoded);
        assert_eq!(encoded[1..], expected, "{version:?}: encoded {packet:?}, expected {body}");
        assert_eq!(
            packet.encoded_len(version),
            expected.len(),
            "{version:?}: length of {packet:?}"
        );
    }
}

/// Checks that the packet with `first_byte` and `body` decodes to `packet`.
#[track_caller]
pub(crate) fn check_decodes(versions: &[Version], first_byte: u8, body: &str, packet: &Packet<'_>) {
    for &version in versions {
        let bytes = whole_packet(first_byte, body);
        assert_eq!(
            decode(&bytes, version).as_ref(),
            Ok(packet),
            "{version:?}: {first_byte:02X} {body}"
        );
    }
}

/// Checks that the packet with `first_byte` and `body` has `fault`.
#[track_caller]
pub(crate) fn check_fault(
    versions: &[Version],
    first_byte: u8,
    body: &str,
    fault: impl Into<DecodeError>,
) {
    let fault = fault.into();
    for &version in versions {
        let bytes = whole_packet(first_byte, body);
        assert_eq!(decode(&bytes, version), Err(fault), "{version:?}: {first_byte:02X} {body}");
    }
}

/// Checks that the CONNECT with `body` is refused with `error`.
#[track_caller]
pub(crate) fn check_refused(body: &str, error: ConnectError) {
    let body_bytes = bytes(body);
    let frame = crate::Frame { first_byte: 0x10, body: &body_bytes };
    assert_eq!(crate::Connect::decode(frame), Err(error), "{body}");
}

/// Returns the packet with `first_byte` and `body`.
pub(crate) fn whole_packet(first_byte: u8, body: &str) -> Vec<u8> {
    let body = bytes(body);
    let mut packet = vec![first_byte];
    packet.variable(body.len());
    packet.extend(body);
    packet
}

/// Returns the bytes that `notation` stands for.
pub(crate) fn bytes(notation: &str) -> Vec<u8> {
    let mut sections = vec![Vec::new()];
    for token in notation.split_whitespace() {
        let section = sections.last_mut().expect("no more '}' than '{'");
        match token {
            "{" => sections.push(Vec::new()),
            "}" => {
                let inner = sections.pop().expect("a section was found");
                let outer = sections.last_mut().expect("a '{' for each '}'");
                outer.variable(inner.len());
                outer.extend(inner);
            }
            _ => match token.strip_prefix('<').and_then(|text| text.strip_suffix('>')) {
                Some(text) => section.text(text),
                None => section.extend(hexadecimal(token)),
            },
        }
    }
    assert_eq!(sections.len(), 1, "a '}}' for each '{{' in {notation}");
    sections.remove(0)
}

fn hexadecimal(digits: &str) -> Vec<u8> {
    assert!(digits.len().is_multiple_of(2), "whole bytes in {digits}");
    let byte =
        |index| u8::from_str_radix(&digits[index..index + 2], 16).expect("hexadecimal digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn decode(bytes: &[u8], version: Version) -> Result<Packet<'_>, DecodeError> {
    match next_frame(bytes, u32::MAX)? {
        Framing::Complete { frame, consumed } => {
            assert_eq!(consumed, bytes.len(), "one packet");
            Packet::decode(frame, version)
        }
        Framing::Incomplete { .. } => {
            panic!("incomplete packet in {:?}", String::from_utf8_lossy(bytes))
        }
    }
}
