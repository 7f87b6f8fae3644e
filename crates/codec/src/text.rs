//! Strings: UTF-8 without U+0000, and among them topic names.

use crate::error::Malformed;

/// Checks a UTF-8 Encoded String: well-formed ([MQTT-1.5.4-1]), without U+0000 ([MQTT-1.5.4-2]).
///
/// Policy: control characters and non-characters are refused, as section 1.5.4 permits: who sends them to a
/// device, a log or a shell seldom means well. U+FEFF is a character like any other ([MQTT-1.5.4-3]).
#[inline]
pub(crate) fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    let text = core::str::from_utf8(bytes).map_err(|_| Malformed::Utf8)?;
    if any_word(bytes, unusual_bytes) { unusual_text(text) } else { Ok(text) }
}

/// Checks a topic name as far as a PUBLISH may carry it: a string without wildcard ([MQTT-3.3.2-2]),
/// possibly empty.
#[inline]
pub(crate) fn topic_name_or_empty(bytes: &[u8]) -> Result<&str, Malformed> {
    if any_word(bytes, |word| unusual_bytes(word) | wildcard_bytes(word)) {
        return unusual_topic_name(bytes);
    }
    core::str::from_utf8(bytes).map_err(|_| Malformed::Utf8)
}

/// Checks a topic name: a string without wildcard, not empty ([MQTT-4.7.3-1]).
pub(crate) fn topic_name(bytes: &[u8]) -> Result<&str, Malformed> {
    if bytes.is_empty() { Err(Malformed::TopicNameEmpty) } else { topic_name_or_empty(bytes) }
}

/// Looks closely at a topic name with a wildcard, or with more than printable ASCII in it.
#[cold]
fn unusual_topic_name(bytes: &[u8]) -> Result<&str, Malformed> {
    let text = text(bytes)?;
    if text.contains(['+', '#']) { Err(Malformed::TopicNameWildcard) } else { Ok(text) }
}

/// Looks closely at a string with more than printable ASCII in it.
#[cold]
fn unusual_text(text: &str) -> Result<&str, Malformed> {
    if text.contains('\0') {
        return Err(Malformed::NullCharacter);
    }
    let is_non_character =
        |char| matches!(char, '\u{FDD0}'..='\u{FDEF}') || u32::from(char) & 0xFFFE == 0xFFFE;
    if text.contains(|char: char| char.is_control() || is_non_character(char)) {
        return Err(Malformed::ControlCharacter);
    }
    Ok(text)
}

/// Returns whether `test` is nonzero for some eight bytes, where it looks for a byte wherever it stands.
///
/// The last eight bytes may overlap the ones before, so that a topic of 20 to 30 bytes is three or four steps
/// without a tail. Short strings are filled up by repeating their bytes.
#[inline]
fn any_word(bytes: &[u8], test: impl Fn(u64) -> u64) -> bool {
    if let Some(&last) = bytes.last_chunk() {
        let (words, _) = bytes.as_chunks();
        let test_bytes = |word| test(u64::from_le_bytes(word));
        return words.iter().fold(test_bytes(last), |found, &word| found | test_bytes(word)) != 0;
    }
    if let (Some(&first), Some(&last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return test(
            u64::from(u32::from_le_bytes(first)) | u64::from(u32::from_le_bytes(last)) << 32,
        ) != 0;
    }
    bytes.iter().any(|&byte| test(u64::from(byte) * ONES) != 0)
}

/// Returns nonzero if one of eight bytes is not printable ASCII: below 0x20, 0x7F, or above.
#[inline]
fn unusual_bytes(word: u64) -> u64 {
    let below = word.wrapping_sub(ONES * 0x20) & !word;
    // 0x7F is the only one of seven bits that one more makes an eighth of; 0x80 and above have it.
    let above = (word & (ONES * 0x7F)).wrapping_add(ONES) | word;
    (below | above) & (ONES << 7)
}

/// Returns nonzero if one of eight bytes is `+` or `#`.
#[inline]
fn wildcard_bytes(word: u64) -> u64 {
    // '#' is 0x23 and '+' is 0x2B: they differ in one bit.
    zero_bytes((word | (ONES * 0x08)) ^ (ONES * 0x2B))
}

/// Returns nonzero if one of eight bytes is 0.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & (ONES << 7)
}

/// Eight bytes of 1.
const ONES: u64 = u64::MAX / 0xFF;

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// [MQTT-1.5.4-1]
    #[test]
    fn ill_formed_utf8() {
        // A lone continuation byte, an overlong form, a surrogate (U+D800), above U+10FFFF, a truncated sequence.
        for bytes in [&b"\x80"[..], b"\xC0\xAF", b"\xED\xA0\x80", b"\xF4\x90\x80\x80", b"a\xE2\x82"]
        {
            check(bytes, Err(Malformed::Utf8));
        }
    }

    /// [MQTT-1.5.4-2]
    #[test]
    fn no_null_character() {
        for length in 1..40 {
            for at in 0..length {
                let mut bytes = alloc::vec![b'a'; length];
                bytes[at] = 0;
                check(&bytes, Err(Malformed::NullCharacter));
            }
        }
    }

    /// Section 1.5.4 permits to refuse them.
    #[test]
    fn no_control_characters_and_non_characters() {
        let controls = (1..0x20).chain(0x7F..0xA0);
        let non_characters = (0xFDD0..0xFDF0).chain([0xFFFE, 0xFFFF, 0x1_FFFE, 0x10_FFFF]);
        for char in controls.chain(non_characters).filter_map(char::from_u32) {
            for length in [0, 3, 9, 20] {
                let text = alloc::format!("{:a<length$}{char}{:b<length$}", "", "");
                check(text.as_bytes(), Err(Malformed::ControlCharacter));
                check_topic(text.as_bytes(), Err(Malformed::ControlCharacter));
            }
        }
    }

    /// [MQTT-1.5.4-3]
    #[test]
    fn every_other_character_is_kept() {
        for text in
            ["", "\u{FEFF}", "a\u{FEFF}b", " ~", "\u{A0}\u{FDCF}\u{FDF0}\u{FFFD}", "A\u{2A6D4}"]
        {
            check(text.as_bytes(), Ok(text));
        }
        let printable: Vec<u8> = (0x20..0x7F).collect();
        check(&printable, Ok(core::str::from_utf8(&printable).expect("ASCII")));
    }

    /// [MQTT-3.3.2-2], [MQTT-4.7.3-1], [MQTT-4.7.3-2]; whole words and rests are searched alike.
    #[test]
    fn topic_names_are_searched_to_the_last_byte() {
        for length in 1..40 {
            let plain: Vec<u8> =
                (0..length).map(|index| b'"' + (index % 90) as u8).map(unlike_wildcard).collect();
            check_topic(&plain, Ok(core::str::from_utf8(&plain).expect("ASCII")));
            for at in 0..length {
                for (byte, fault) in [
                    (b'+', Malformed::TopicNameWildcard),
                    (b'#', Malformed::TopicNameWildcard),
                    (0, Malformed::NullCharacter),
                    (0xFF, Malformed::Utf8),
                ] {
                    let mut bytes = plain.clone();
                    bytes[at] = byte;
                    check_topic(&bytes, Err(fault));
                }
            }
        }
        check_topic(
            "Z\u{fc}rich/\u{6e29}\u{5ea6}/\u{1F321}".as_bytes(),
            Ok("Z\u{fc}rich/\u{6e29}\u{5ea6}/\u{1F321}"),
        );
        check_topic(b"", Err(Malformed::TopicNameEmpty));
        assert_eq!(topic_name_or_empty(b""), Ok(""));
    }

    fn unlike_wildcard(byte: u8) -> u8 {
        if matches!(byte, b'+' | b'#') { b'/' } else { byte }
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: Result<&str, Malformed>) {
        assert_eq!(text(bytes), expected, "{bytes:02X?}");
    }

    #[track_caller]
    fn check_topic(bytes: &[u8], expected: Result<&str, Malformed>) {
        assert_eq!(topic_name(bytes), expected, "{bytes:02X?}");
    }
}
