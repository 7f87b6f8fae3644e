//! MessagePack.

use jiff::Timestamp;
use rmpv::Value;
use rmpv::decode::read_value_with_max_depth;

use super::notation::Notation;

/// Appends what a payload says, if it is one whole value.
pub(super) fn append(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let mut rest = bytes;
    let value = read_value_with_max_depth(&mut rest, DEPTH_MAX).map_err(|it| it.to_string())?;
    if !rest.is_empty() {
        return Err(format!("{} bytes follow its end", rest.len()));
    }
    append_value(&value, &mut Notation::new(out));
    Ok(())
}

/// Returns whether a payload begins like an array or a map.
pub(super) fn is_container(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(0x80..=0x9F | 0xDC..=0xDF))
}

fn append_value(value: &Value, out: &mut Notation<'_>) {
    match value {
        Value::Nil => out.raw("null"),
        Value::Boolean(value) => out.raw(value),
        Value::Integer(number) => out.raw(number),
        Value::F32(number) => out.float((*number).into()),
        Value::F64(number) => out.float(*number),
        Value::String(text) => match text.as_str() {
            Some(text) => out.text(text),
            // A string that is none: its bytes say more than signs of doubt.
            None => {
                out.raw("str ");
                out.bytes(text.as_bytes());
            }
        },
        Value::Binary(bytes) => out.bytes(bytes),
        Value::Array(values) => {
            out.open("[");
            for value in values {
                out.next();
                append_value(value, out);
            }
            out.close("]");
        }
        Value::Map(pairs) => {
            out.open("{");
            for (key, value) in pairs {
                out.next();
                append_value(key, out);
                out.raw(": ");
                append_value(value, out);
            }
            out.close("}");
        }
        Value::Ext(TIMESTAMP, bytes) if timestamp(bytes).is_some() => {
            let time = timestamp(bytes).map(|it| it.to_string()).unwrap_or_default();
            out.raw(format_args!("timestamp({time})"));
        }
        Value::Ext(kind, bytes) => {
            out.raw(format_args!("ext({kind}, "));
            out.bytes(bytes);
            out.raw(")");
        }
    }
}

/// Reads a timestamp: seconds alone, nanoseconds in the upper 30 of 64 bits, or both in full.
fn timestamp(bytes: &[u8]) -> Option<Timestamp> {
    let (secs, nanos) = match bytes.len() {
        4 => (i64::from(u32::from_be_bytes(bytes.try_into().ok()?)), 0),
        8 => {
            let both = u64::from_be_bytes(bytes.try_into().ok()?);
            (i64::try_from(both & 0x3_FFFF_FFFF).ok()?, u32::try_from(both >> 34).ok()?)
        }
        12 => {
            let (nanos, secs) = bytes.split_at(4);
            let nanos = u32::from_be_bytes(nanos.try_into().ok()?);
            (i64::from_be_bytes(secs.try_into().ok()?), nanos)
        }
        _ => return None,
    };
    Timestamp::new(secs, i32::try_from(nanos).ok().filter(|it| *it < 1_000_000_000)?).ok()
}

const TIMESTAMP: i8 = -1;

/// How deep values may lie.
const DEPTH_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_is_written() {
        for (bytes, expected) in [
            (&b"\xC0"[..], "null"),
            (b"\xC3", "true"),
            (b"\xFF", "-1"),
            (b"\xCF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", "18446744073709551615"),
            (b"\xCA\x3F\xC0\x00\x00", "1.5"),
            (b"\xA2hi", "\"hi\""),
            (b"\xA1\xFF", "str h'ff'"),
            (b"\xC4\x02\x01\x02", "h'0102'"),
            (b"\x90", "[]"),
            (b"\x82\xA1a\x01\x02\x91\xC2", "{\n  \"a\": 1,\n  2: [\n    false\n  ]\n}"),
            (b"\xD4\x05\x07", "ext(5, h'07')"),
            (b"\xD6\xFF\x51\x4B\x67\xB0", "timestamp(2013-03-21T20:04:00Z)"),
        ] {
            let mut out = Vec::new();
            append(bytes, &mut out).expect(expected);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }

    #[test]
    fn faults_are_named() {
        let deep = [0x91; 1_000];
        for bytes in
            [&b""[..], b"\x92\x01", b"\x01\x01", b"\xC1\x00", b"\xDD\xFF\xFF\xFF\xFF", &deep]
        {
            append(bytes, &mut Vec::new()).expect_err("it is none");
        }
    }
}
