//! CBOR (RFC 8949), written in its own diagnostic notation.
//!
//! A reader of our own: what is wanted is every byte's meaning, in the order of the bytes, of which the crates that there
//! are make values for programs.

use super::notation::Notation;

/// Appends what a payload says, if it is one whole item.
pub(super) fn append(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let mut reader = Reader { bytes, at: 0 };
    reader.item(&mut Notation::new(out), 0)?;
    match bytes.len() - reader.at {
        0 => Ok(()),
        rest => Err(format!("{rest} bytes follow its end")),
    }
}

/// Returns whether a payload begins like an array, a map, or what says that it is CBOR.
pub(super) fn is_container(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xD9, 0xD9, 0xF7])
        || bytes.first().is_some_and(|it| matches!(it >> 5, 4 | 5))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The number that an item begins with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Argument {
    Number(u64),
    /// Until a break.
    Indefinite,
}

impl<'a> Reader<'a> {
    fn item(&mut self, out: &mut Notation<'_>, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("it is deeper than {DEPTH_MAX} levels"));
        }
        let (start, first) = (self.at, self.byte()?);
        let (major, info) = (first >> 5, first & 0x1F);
        if major == 7 {
            return self.simple(info, out);
        }
        let argument = self.argument(info)?;
        match (major, argument) {
            (0, Argument::Number(number)) => out.raw(number),
            (1, Argument::Number(number)) => out.raw(-1 - i128::from(number)),
            (2, Argument::Number(length)) => out.bytes(self.take(length)?),
            (3, Argument::Number(length)) => out.text(self.text(length)?),
            (2 | 3, Argument::Indefinite) => self.chunks(major, out)?,
            (4, argument) => self.array(argument, out, depth)?,
            (5, argument) => self.map(argument, out, depth)?,
            (6, Argument::Number(tag)) => {
                out.raw(format_args!("{tag}("));
                self.item(out, depth + 1)?;
                out.raw(")");
            }
            _ => return Err(format!("byte {start} begins nothing")),
        }
        Ok(())
    }

    fn array(
        &mut self,
        count: Argument,
        out: &mut Notation<'_>,
        depth: usize,
    ) -> Result<(), String> {
        out.open(if count == Argument::Indefinite { "[_" } else { "[" });
        let mut read = 0;
        while self.goes_on(count, read)? {
            out.next();
            self.item(out, depth + 1)?;
            read += 1;
        }
        out.close("]");
        Ok(())
    }

    fn map(&mut self, count: Argument, out: &mut Notation<'_>, depth: usize) -> Result<(), String> {
        out.open(if count == Argument::Indefinite { "{_" } else { "{" });
        let mut read = 0;
        while self.goes_on(count, read)? {
            out.next();
            self.item(out, depth + 1)?;
            out.raw(": ");
            self.item(out, depth + 1)?;
            read += 1;
        }
        out.close("}");
        Ok(())
    }

    /// A string in pieces, each of which has its length.
    fn chunks(&mut self, major: u8, out: &mut Notation<'_>) -> Result<(), String> {
        out.open("(_");
        while self.goes_on(Argument::Indefinite, 0)? {
            let (at, first) = (self.at, self.byte()?);
            let Argument::Number(length) = self.argument(first & 0x1F)? else {
                return Err(format!("byte {at} begins no piece of a string"));
            };
            out.next();
            match first >> 5 {
                2 if major == 2 => out.bytes(self.take(length)?),
                3 if major == 3 => out.text(self.text(length)?),
                _ => return Err(format!("byte {at} begins no piece of a string")),
            }
        }
        out.close(")");
        Ok(())
    }

    fn simple(&mut self, info: u8, out: &mut Notation<'_>) -> Result<(), String> {
        match info {
            20 => out.raw("false"),
            21 => out.raw("true"),
            22 => out.raw("null"),
            23 => out.raw("undefined"),
            0..20 => out.raw(format_args!("simple({info})")),
            24 => match self.byte()? {
                value @ 32.. => out.raw(format_args!("simple({value})")),
                value => return Err(format!("simple value {value} is too long")),
            },
            25 => out.float(half(u16::from_be_bytes(self.array_of()?))),
            26 => out.float(f32::from_be_bytes(self.array_of()?).into()),
            27 => out.float(f64::from_be_bytes(self.array_of()?)),
            _ => return Err(format!("byte {} begins nothing", self.at - 1)),
        }
        Ok(())
    }

    /// Returns whether another part follows, and passes the break if none does.
    fn goes_on(&mut self, count: Argument, read: u64) -> Result<bool, String> {
        match count {
            Argument::Number(count) => Ok(read < count),
            Argument::Indefinite if self.bytes.get(self.at) == Some(&BREAK) => {
                self.at += 1;
                Ok(false)
            }
            Argument::Indefinite => Ok(true),
        }
    }

    fn argument(&mut self, info: u8) -> Result<Argument, String> {
        Ok(Argument::Number(match info {
            0..24 => info.into(),
            24 => self.byte()?.into(),
            25 => u16::from_be_bytes(self.array_of()?).into(),
            26 => u32::from_be_bytes(self.array_of()?).into(),
            27 => u64::from_be_bytes(self.array_of()?),
            31 => return Ok(Argument::Indefinite),
            _ => return Err(format!("byte {} begins nothing", self.at - 1)),
        }))
    }

    fn text(&mut self, length: u64) -> Result<&'a str, String> {
        let at = self.at;
        str::from_utf8(self.take(length)?)
            .map_err(|_| format!("the text at byte {at} is not UTF-8"))
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn array_of<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N as u64)?.try_into().map_err(|_| TOO_SHORT.to_owned())
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], String> {
        let rest = &self.bytes[self.at..];
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (taken, _) = rest.split_at_checked(length).ok_or(TOO_SHORT)?;
        self.at += length;
        Ok(taken)
    }
}

/// Returns a number of IEEE 754 binary16.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = ((bits >> 10) & 0x1F, f64::from(bits & 0x3FF));
    let size = match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (1.0 + fraction / 1024.0) * 2_f64.powi(i32::from(exponent) - 15),
    };
    if bits >> 15 == 0 { size } else { -size }
}

const TOO_SHORT: &str = "it ends too early";

const BREAK: u8 = 0xFF;

/// How deep values may lie.
const DEPTH_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// From RFC 8949, appendix A.
    #[test]
    fn examples_of_the_rfc() {
        for (bytes, expected) in [
            ("00", "0"),
            ("1bffffffffffffffff", "18446744073709551615"),
            ("3bffffffffffffffff", "-18446744073709551616"),
            ("f93c00", "1.0"),
            ("f97bff", "65504.0"),
            ("f90001", "5.960464477539063e-8"),
            ("f9c400", "-4.0"),
            ("f97c00", "Infinity"),
            ("f97e00", "NaN"),
            ("fa47c35000", "100000.0"),
            ("fb7e37e43c8800759c", "1e300"),
            ("f4", "false"),
            ("f7", "undefined"),
            ("f0", "simple(16)"),
            ("f8ff", "simple(255)"),
            ("c11a514b67b0", "1(1363896240)"),
            ("4401020304", "h'01020304'"),
            ("62225c", "\"\\\"\\\\\""),
            ("64f0908591", "\"\u{10151}\""),
            ("80", "[]"),
            ("8301820203820405", "[\n  1,\n  [\n    2,\n    3\n  ],\n  [\n    4,\n    5\n  ]\n]"),
            ("a26161016162820203", "{\n  \"a\": 1,\n  \"b\": [\n    2,\n    3\n  ]\n}"),
            ("5f42010243030405ff", "(_\n  h'0102',\n  h'030405'\n)"),
            ("9fff", "[_]"),
            ("bf61610161629f0203ffff", "{_\n  \"a\": 1,\n  \"b\": [_\n    2,\n    3\n  ]\n}"),
        ] {
            let mut out = Vec::new();
            append(&unhex(bytes), &mut out).expect(bytes);
            assert_eq!(String::from_utf8_lossy(&out), expected, "{bytes}");
        }
    }

    #[test]
    fn faults_are_named() {
        let deep = "81".repeat(1_000);
        for (bytes, why) in [
            ("", "ends too early"),
            ("8201", "ends too early"),
            ("5bffffffffffffffff00", "ends too early"),
            ("0000", "1 bytes follow"),
            ("1c", "begins nothing"),
            ("1f", "begins nothing"),
            ("ff", "begins nothing"),
            ("a1ff00", "begins nothing"),
            ("5f6161ff", "begins no piece"),
            ("61ff", "not UTF-8"),
            ("f818", "too long"),
            (&deep, "deeper than 64"),
        ] {
            let error = append(&unhex(bytes), &mut Vec::new()).expect_err(bytes);
            assert!(error.contains(why), "{bytes}: {error}");
        }
    }

    fn unhex(text: &str) -> Vec<u8> {
        let digits = text.as_bytes().chunks(2).map(|it| str::from_utf8(it).expect("ASCII"));
        digits.map(|it| u8::from_str_radix(it, 16).expect("digits")).collect()
    }
}
