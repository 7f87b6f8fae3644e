//! Base64 (RFC 4648 section 4) of short values.

/// Encodes `bytes`, with padding.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let [first, second, third] =
            [0, 1, 2].map(|index| u32::from(chunk.get(index).copied().unwrap_or(0)));
        let bits = first << 16 | second << 8 | third;
        for index in 0..4 {
            // A byte begins in each of the first two characters, and one more in each that follows.
            if index <= chunk.len() {
                let digit = bits >> (18 - 6 * index) & 0x3F;
                text.push(char::from(ALPHABET[digit as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

/// Returns whether `text` is the encoding of 16 bytes.
pub(crate) fn is_16_bytes(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some((last, digits)) = bytes.strip_suffix(b"==").and_then(|digits| digits.split_last())
    else {
        return false;
    };
    // 22 digits are 132 bits, of which the last four are not used.
    digits.len() == 21 && digits.iter().all(|it| ALPHABET.contains(it)) && b"AQgw".contains(last)
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 4648 section 10.
    #[test]
    fn examples_of_the_standard() {
        check("", "");
        check("f", "Zg==");
        check("fo", "Zm8=");
        check("foo", "Zm9v");
        check("foob", "Zm9vYg==");
        check("fooba", "Zm9vYmE=");
        check("foobar", "Zm9vYmFy");
    }

    #[test]
    fn sixteen_bytes_are_known_by_their_form() {
        assert!(is_16_bytes(&encode(&[0; 16])));
        assert!(is_16_bytes(&encode(&[0xFF; 16])));
        assert!(is_16_bytes("dGhlIHNhbXBsZSBub25jZQ=="));
        for wrong in [
            "",
            "==",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZR==",
            "!GhlIHNhbXBsZSBub25jZQ==",
        ] {
            assert!(!is_16_bytes(wrong), "{wrong}");
        }
        assert!(!is_16_bytes(&encode(&[0; 15])) && !is_16_bytes(&encode(&[0; 17])));
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(encode(text.as_bytes()), expected);
    }
}
