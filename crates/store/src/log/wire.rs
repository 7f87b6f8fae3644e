//! Numbers and texts as bytes.

/// What a record is made of, read from the front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

/// The bytes are no record of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nonsense;

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, Nonsense> {
        let (first, rest) = self.bytes.split_first().ok_or(Nonsense)?;
        self.bytes = rest;
        Ok(*first)
    }

    #[inline]
    pub(crate) fn long(&mut self) -> Result<u64, Nonsense> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        let mut value = u64::from(first & 0x7F);
        for shift in (7..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7F);
            if shift == 63 && part > 1 {
                return Err(Nonsense);
            }
            value |= part << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Nonsense)
    }

    #[inline]
    pub(crate) fn signed(&mut self) -> Result<i64, Nonsense> {
        let value = self.long()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub(crate) fn word(&mut self) -> Result<u32, Nonsense> {
        u32::try_from(self.long()?).map_err(|_| Nonsense)
    }

    /// Reads a count of things of which each takes at least `bytes_each`.
    pub(crate) fn count(&mut self, bytes_each: usize) -> Result<usize, Nonsense> {
        let count = usize::try_from(self.long()?).map_err(|_| Nonsense)?;
        let fits = count.checked_mul(bytes_each).is_some_and(|bytes| bytes <= self.bytes.len());
        if fits { Ok(count) } else { Err(Nonsense) }
    }

    pub(crate) fn fixed_word(&mut self) -> Result<u32, Nonsense> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes(bytes.try_into().map_err(|_| Nonsense)?))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Nonsense> {
        let count = self.count(1)?;
        self.take(count)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Nonsense> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Nonsense)
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Nonsense> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(Nonsense)?;
        self.bytes = rest;
        Ok(taken)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// Appends a number, seven bits a byte, the lowest first.
#[inline]
pub(crate) fn put_long(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a number that may be negative: small ones of either sign are short.
#[inline]
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_long(out, (value << 1 ^ value >> 63) as u64);
}

/// Appends a length and as many bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_long(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let longs = [0, 1, 127, 128, 300, u64::from(u32::MAX), 1 << 63, u64::MAX];
        let signed = [0, 1, -1, 63, -64, 64, i64::MAX, i64::MIN];
        let mut bytes = Vec::new();
        for value in longs {
            put_long(&mut bytes, value);
        }
        for value in signed {
            put_signed(&mut bytes, value);
        }
        let mut reader = Reader::new(&bytes);
        for value in longs {
            assert_eq!(reader.long(), Ok(value));
        }
        for value in signed {
            assert_eq!(reader.signed(), Ok(value));
        }
        assert!(reader.is_empty());
    }

    #[test]
    fn what_is_cut_off_or_too_long_is_nonsense() {
        assert_eq!(Reader::new(&[0x80]).long(), Err(Nonsense));
        assert_eq!(Reader::new(&[0xFF; 10]).long(), Err(Nonsense));
        assert_eq!(Reader::new(&[5, b'a']).bytes(), Err(Nonsense));
        assert_eq!(Reader::new(&[3, 0, 0]).count(1), Err(Nonsense));
        assert_eq!(Reader::new(&[1, 0xFF]).text(), Err(Nonsense));
    }
}
