//! Strings: UTF-8 without U+0000, and among them topic names.

use crate::error::Malformed;

/// Checks a UTF-8 Encoded String: well-formed ([MQTT-1.5.4-1]), without U+0000 ([MQTT-1.5.4-2]).
///
/// Policy: control characters and non-characters are let through, as section 1.5.4 permits. U+FEFF is a
/// character like any other ([MQTT-1.5.4-3]).
#[inline]
pub(crate) fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    let text = core::str::from_utf8(bytes).map_err(|_| Malformed::Utf8)?;
    if has_null(bytes) { Err(Malformed::NullCharacter) } else { Ok(text) }
}

/// Checks a topic name as far as a PUBLISH may carry it: a string without wildcard ([MQTT-3.3.2-2]),
/// possibly empty.
#[inline]
pub(crate) fn topic_name_or_empty(bytes: &[u8]) -> Result<&str, Malformed> {
    if has_forbidden_byte(bytes) {
        return Err(topic_name_fault(bytes));
    }
    core::str::from_utf8(bytes).map_err(|_| Malformed::Utf8)
}

/// Checks a topic name: a string without wildcard, not empty ([MQTT-4.7.3-1]).
pub(crate) fn topic_name(bytes: &[u8]) -> Result<&str, Malformed> {
    if bytes.is_empty() { Err(Malformed::TopicNameEmpty) } else { topic_name_or_empty(bytes) }
}

#[cold]
fn topic_name_fault(bytes: &[u8]) -> Malformed {
    match text(bytes) {
        Err(fault) => fault,
        Ok(_) => Malformed::TopicNameWildcard,
    }
}

/// Returns whether one of the bytes is 0, `+` or `#`, which a topic name must not contain.
#[inline]
fn has_forbidden_byte(bytes: &[u8]) -> bool {
    // '#' is 0x23 and '+' is 0x2B: they differ in one bit.
    any_word(bytes, |word| zero_bytes(word) | zero_bytes((word | (ONES * 0x08)) ^ (ONES * 0x2B)))
}

/// Returns whether one of the bytes is 0.
#[inline]
fn has_null(bytes: &[u8]) -> bool {
    any_word(bytes, zero_bytes)
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

    /// [MQTT-1.5.4-3] and the code points that section 1.5.4 only advises against.
    #[test]
    fn every_other_character_is_kept() {
        for text in ["", "\u{FEFF}", "a\u{FEFF}b", "\u{1}\u{7F}\u{9F}", "\u{FFFF}", "A\u{2A6D4}"] {
            check(text.as_bytes(), Ok(text));
        }
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
