//! The text of a trie node: one or more levels, joined by separators.

use std::fmt;

/// Immutable text that needs no allocation when it is short, which the labels of a trie mostly are.
///
/// Read as bytes: the trie compares and cuts at separators only, and never needs to know of characters.
pub(crate) enum Label {
    Short { length: u8, bytes: [u8; SHORT_BYTES_MAX] },
    Long(Box<[u8]>),
}

impl Label {
    pub(crate) fn new(text: &[u8]) -> Self {
        let mut bytes = [0; SHORT_BYTES_MAX];
        match (u8::try_from(text.len()), bytes.get_mut(..text.len())) {
            (Ok(length), Some(place)) => {
                place.copy_from_slice(text);
                Self::Short { length, bytes }
            }
            (_, _) => Self::Long(text.into()),
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => &bytes[..usize::from(*length)],
            Self::Long(bytes) => bytes,
        }
    }
}

impl Default for Label {
    fn default() -> Self {
        Self::new(b"")
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(self.as_bytes()), formatter)
    }
}

/// What makes a label three words long, with its length and the mark that tells the variants apart.
const SHORT_BYTES_MAX: usize = 22;

const _: () = assert!(size_of::<Label>() == 24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_back_whatever_its_length() {
        for length in [0, 1, 21, 22, 23, 255, 256, 300, 65_535] {
            let text = vec![b'x'; length];
            let label = Label::new(&text);
            assert_eq!(label.as_bytes(), text);
            assert_eq!(matches!(label, Label::Short { .. }), length <= 22);
        }
    }
}
