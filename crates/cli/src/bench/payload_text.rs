//! Payloads that look like those of an application: a text with variables in it.
//!
//! A receiver has nothing but the payload to tell a message by, so that a text has to have the number and the
//! time of its message. They are found by walking along the text that is around them.

use super::stamp::Stamp;

/// A text with variables, taken apart once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PayloadText {
    pieces: Box<[Piece]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(Box<[u8]>),
    Number(Number),
    /// So many letters and digits, which differ between messages.
    Random(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Flow,
    Sequence,
    TimeMicros,
}

impl PayloadText {
    /// Takes a text apart.
    ///
    /// # Errors
    ///
    /// Says which variable is none, or is missing.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (variable, after) =
                after.split_once('}').ok_or("a variable that begins with ${ ends with }")?;
            pieces.extend(literal(before));
            pieces.push(Piece::of_variable(variable)?);
            rest = after;
        }
        pieces.extend(literal(rest));
        let text = Self { pieces: pieces.into() };
        text.check()?;
        Ok(text)
    }

    /// Returns whether a message says of which flow it is.
    pub(crate) fn has_flow(&self) -> bool {
        self.pieces.contains(&Piece::Number(Number::Flow))
    }

    /// Returns the most bytes that a message can have.
    pub(crate) fn bytes_max(&self) -> usize {
        self.sum(|_| DIGITS_MAX)
    }

    /// Returns the bytes of the message with `stamp`. The stamp's time counts from `epoch_us`, in microseconds
    /// since 1970.
    pub(crate) fn bytes(&self, stamp: Stamp, epoch_us: u64) -> usize {
        self.sum(|it| it.of(stamp, epoch_us).checked_ilog10().unwrap_or(0) as usize + 1)
    }

    /// Appends that message to `out`.
    pub(crate) fn append(&self, stamp: Stamp, epoch_us: u64, out: &mut Vec<u8>) {
        let mut random = Random::of(stamp);
        for piece in &self.pieces {
            match piece {
                Piece::Literal(bytes) => out.extend_from_slice(bytes),
                Piece::Number(number) => append_number(number.of(stamp, epoch_us), out),
                Piece::Random(count) => random.append(*count, out),
            }
        }
    }

    /// Reads what [`Self::append`] has written. A text without flow is of `flow`.
    ///
    /// `None` if it is another text, or longer or shorter.
    pub(crate) fn read(&self, payload: &[u8], epoch_us: u64, flow: u32) -> Option<Stamp> {
        let mut stamp = Stamp { sent_ns: 0, flow, sequence: 0 };
        let mut rest = payload;
        for piece in &self.pieces {
            rest = match piece {
                Piece::Literal(bytes) => rest.strip_prefix(&bytes[..])?,
                Piece::Random(count) => rest.get(*count..)?,
                Piece::Number(number) => {
                    let (value, after) = read_number(rest)?;
                    match number {
                        Number::Flow => stamp.flow = u32::try_from(value).ok()?,
                        Number::Sequence => stamp.sequence = u32::try_from(value).ok()?,
                        Number::TimeMicros => {
                            stamp.sent_ns = value.checked_sub(epoch_us)?.checked_mul(1_000)?;
                        }
                    }
                    after
                }
            };
        }
        rest.is_empty().then_some(stamp)
    }

    fn check(&self) -> Result<(), String> {
        for (number, name) in [(Number::Sequence, "seq"), (Number::TimeMicros, "time_us")] {
            if !self.pieces.contains(&Piece::Number(number)) {
                return Err(format!("it needs ${{{name}}}, to tell the messages apart"));
            }
        }
        for pair in self.pieces.windows(2) {
            let is_open = match pair {
                [Piece::Number(_), Piece::Literal(next)] => next[0].is_ascii_digit(),
                [Piece::Number(_), Piece::Number(_) | Piece::Random(_)] => true,
                _ => false,
            };
            if is_open {
                return Err("where a number ends, something else than a digit has to follow".into());
            }
        }
        if self.bytes_max() > BYTES_MAX {
            return Err(format!("it makes more than {BYTES_MAX} bytes"));
        }
        Ok(())
    }

    fn sum(&self, digits: impl Fn(Number) -> usize) -> usize {
        let bytes = self.pieces.iter().map(|piece| match piece {
            Piece::Literal(bytes) => bytes.len(),
            Piece::Number(number) => digits(*number),
            Piece::Random(count) => *count,
        });
        bytes.fold(0, usize::saturating_add)
    }
}

impl Piece {
    fn of_variable(variable: &str) -> Result<Self, String> {
        if let Some(count) = variable.strip_prefix("random:") {
            let count = count.parse().map_err(|_| "${random:N} takes a number of characters")?;
            return Ok(Self::Random(count));
        }
        match variable {
            "flow" => Ok(Self::Number(Number::Flow)),
            "seq" => Ok(Self::Number(Number::Sequence)),
            "time_us" => Ok(Self::Number(Number::TimeMicros)),
            _ => Err(format!(
                "there is no variable ${{{variable}}}, but ${{seq}}, ${{time_us}}, ${{flow}} and ${{random:N}}"
            )),
        }
    }
}

impl Number {
    fn of(self, stamp: Stamp, epoch_us: u64) -> u64 {
        match self {
            Self::Flow => u64::from(stamp.flow),
            Self::Sequence => u64::from(stamp.sequence),
            Self::TimeMicros => epoch_us + stamp.sent_ns / 1_000,
        }
    }
}

/// Letters and digits that are the same for the same message (SplitMix64).
struct Random(u64);

impl Random {
    fn of(stamp: Stamp) -> Self {
        Self(u64::from(stamp.flow) << 32 | u64::from(stamp.sequence))
    }

    fn append(&mut self, count: usize, out: &mut Vec<u8>) {
        let mut left = count;
        while left > 0 {
            let mut bits = self.next();
            for _ in 0..left.min(CHARS_OF_A_NUMBER) {
                out.push(CHARS[(bits & 63) as usize]);
                bits >>= 6;
            }
            left -= left.min(CHARS_OF_A_NUMBER);
        }
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

fn literal(text: &str) -> Option<Piece> {
    (!text.is_empty()).then(|| Piece::Literal(text.as_bytes().into()))
}

fn append_number(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; DIGITS_MAX];
    let mut at = DIGITS_MAX;
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

fn read_number(text: &[u8]) -> Option<(u64, &[u8])> {
    let count = text.iter().take_while(|it| it.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(count);
    let first = digits.first().map(|it| u64::from(it - b'0'))?;
    let value = digits[1..].iter().try_fold(first, |value, digit| {
        value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })?;
    Some((value, rest))
}

/// Of 64 bits.
const DIGITS_MAX: usize = 20;

/// As many as `--size` allows.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Safe in a string of JSON, and 64.
const CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Six bits each.
const CHARS_OF_A_NUMBER: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { sent_ns: 5_000_000, flow: 3, sequence: 41 };

    #[test]
    fn what_is_written_is_read() {
        let text = PayloadText::parse(
            r#"{"n": ${seq}, "f": ${flow}, "t": ${time_us}, "pad": "${random:23}"}"#,
        )
        .unwrap();
        for stamp in [STAMP, Stamp { sent_ns: 0, flow: 0, sequence: 0 }, LAST] {
            let mut payload = Vec::new();
            text.append(stamp, EPOCH_US, &mut payload);
            assert_eq!(payload.len(), text.bytes(stamp, EPOCH_US));
            assert!(payload.len() <= text.bytes_max());
            assert_eq!(text.read(&payload, EPOCH_US, 9), Some(stamp));
            let json: serde_json::Value = serde_json::from_slice(&payload).unwrap();
            assert_eq!(json["n"], stamp.sequence);
            assert_eq!(json["pad"].as_str().unwrap().len(), 23);
        }
    }

    #[test]
    fn another_text_is_none() {
        let text = PayloadText::parse("n=${seq} t=${time_us};").unwrap();
        assert_eq!(text.read(b"n=41 t=1700000000005000;", EPOCH_US, 3), Some(STAMP));
        for payload in [
            "n=41 t=1700000000005000",
            "n=41 t=1700000000005000;;",
            "n= t=1700000000005000;",
            "n=41 t=5;",
            "n=99999999999 t=1700000000005000;",
            "n=41 t=99999999999999999999999;",
            "",
        ] {
            assert_eq!(text.read(payload.as_bytes(), EPOCH_US, 3), None, "{payload}");
        }
    }

    #[test]
    fn a_text_that_cannot_be_read_back_is_refused() {
        for text in [
            "hello",
            "${seq}",
            "${time_us}",
            "${seq}${time_us}",
            "${seq}0 ${time_us}",
            "${seq} ${time_us}${random:5}",
            "${seq} ${time_us} ${host}",
            "${seq} ${time_us} ${random:x}",
            "${seq} ${time_us} ${random:99999999}",
            "${seq} ${time_us} ${random:5",
        ] {
            assert!(PayloadText::parse(text).is_err(), "{text} should be refused");
        }
    }

    #[test]
    fn padding_differs_between_messages() {
        let text = PayloadText::parse("${random:30}${seq} ${time_us}").unwrap();
        let pad = |sequence| {
            let mut payload = Vec::new();
            text.append(Stamp { sequence, ..STAMP }, EPOCH_US, &mut payload);
            payload[..30].to_vec()
        };
        assert_eq!(pad(1), pad(1));
        assert_ne!(pad(1), pad(2));
    }

    const EPOCH_US: u64 = 1_700_000_000_000_000;
    const LAST: Stamp = Stamp { sent_ns: 9_000_000_000_000, flow: u32::MAX, sequence: u32::MAX };
}
