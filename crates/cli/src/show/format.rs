//! `-F FORMAT`: lines made to order, in the notation of Mosquitto's clients.
//!
//! What they print for a sequence is printed here, to the byte; the manual of `mosquitto_sub` is the description. The
//! exceptions are in docs/tools.md.

use std::io::Write;

use super::json;
use super::shown::Shown;
use super::{Terminal, append};

/// A format, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Format(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Bytes(Vec<u8>),
    /// `%`: of the message.
    Field {
        letter: u8,
        fit: Fit,
    },
    /// `@`: of the time.
    Time(u8),
    /// `@N`.
    Nanos,
}

/// How a field is fitted in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fit {
    is_left: bool,
    has_zeros: bool,
    /// 0 is no width.
    width: usize,
    bytes_max: Option<usize>,
}

/// What goes wrong with one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoJson;

impl Format {
    /// Reads a format.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((&byte, tail)) = rest.split_first() {
            rest = match byte {
                b'%' => {
                    let (piece, tail) = read_field(tail)?;
                    pieces.push(piece);
                    tail
                }
                b'@' => {
                    let (&letter, tail) = tail.split_first().ok_or("a time is missing behind @")?;
                    pieces.push(match letter {
                        b'@' => Piece::Bytes(vec![b'@']),
                        b'N' => Piece::Nanos,
                        letter => Piece::Time(letter),
                    });
                    tail
                }
                b'\\' => {
                    let (&letter, tail) =
                        tail.split_first().ok_or("a letter is missing behind \\")?;
                    pieces.push(Piece::Bytes(vec![escaped(letter)?]));
                    tail
                }
                byte => {
                    match pieces.last_mut() {
                        Some(Piece::Bytes(bytes)) => bytes.push(byte),
                        _ => pieces.push(Piece::Bytes(vec![byte])),
                    }
                    tail
                }
            };
        }
        Ok(Self(pieces))
    }

    /// Appends a message.
    pub(crate) fn append(
        &self,
        it: &Shown<'_>,
        layout: json::Layout,
        terminal: Terminal,
        out: &mut Vec<u8>,
    ) -> Result<(), NoJson> {
        let mut result = Ok(());
        for piece in &self.0 {
            match piece {
                Piece::Bytes(bytes) => out.extend_from_slice(bytes),
                Piece::Time(letter) => it.moment.append(*letter, out),
                Piece::Nanos => append_number(it.moment.nanos(), NINE_DIGITS, out),
                Piece::Field { letter: b'j', .. } => json::append_escaped(it, layout, out),
                // The rest of the line is printed all the same.
                Piece::Field { letter: b'J', .. } => {
                    result = result.and(json::append_embedded(it, layout, out));
                }
                Piece::Field { letter, fit } => append_field(it, *letter, *fit, terminal, out),
            }
        }
        result
    }
}

fn read_field(text: &[u8]) -> Result<(Piece, &[u8]), String> {
    let mut fit = Fit::default();
    let mut rest = text;
    if let Some(tail) = rest.strip_prefix(b"-") {
        (fit.is_left, rest) = (true, tail);
    }
    if let Some(tail) = rest.strip_prefix(b"0") {
        (fit.has_zeros, rest) = (true, tail);
    }
    (fit.width, rest) = read_number(rest)?;
    if let Some(tail) = rest.strip_prefix(b".") {
        let (bytes_max, tail) = read_number(tail)?;
        (fit.bytes_max, rest) = (Some(bytes_max), tail);
    }
    let (&letter, rest) = rest.split_first().ok_or("a letter is missing behind %")?;
    match letter {
        b'%' => Ok((Piece::Bytes(vec![b'%']), rest)),
        _ if FIELDS.contains(&letter) => Ok((Piece::Field { letter, fit }, rest)),
        _ => Err(format!("there is no %{}", char::from(letter))),
    }
}

fn read_number(text: &[u8]) -> Result<(usize, &[u8]), String> {
    let end = text.iter().position(|it| !it.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let number = digits.iter().fold(0_usize, |number, digit| {
        number.saturating_mul(10).saturating_add(usize::from(digit - b'0'))
    });
    if number > WIDTH_MAX {
        return Err(format!("no field is wider than {WIDTH_MAX}"));
    }
    Ok((number, rest))
}

fn escaped(letter: u8) -> Result<u8, String> {
    Ok(match letter {
        b'\\' => b'\\',
        b'0' => 0,
        b'a' => 7,
        b'e' => 0x1B,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 11,
        _ => return Err(format!("there is no \\{}", char::from(letter))),
    })
}

fn append_field(it: &Shown<'_>, letter: u8, fit: Fit, terminal: Terminal, out: &mut Vec<u8>) {
    match letter {
        b'A' => append_number_if_any(it.topic_alias, fit, out),
        b'C' => append_text_if_any(it.content_type, fit, terminal, out),
        b'D' => append(out, it.correlation_data.unwrap_or_default(), terminal),
        b'E' => append_number_if_any(it.expiry_secs, fit, out),
        b'F' => append_number_if_any(it.is_text.map(u8::from), fit, out),
        b'I' => {
            let mut text = Vec::new();
            it.moment.append_iso(&mut text);
            append_text(&text, fit, terminal, out);
        }
        b'l' => append_number(it.payload.len(), fit, out),
        b'm' => append_number(it.packet_id.unwrap_or(0), fit, out),
        b'P' => append_user_properties(it, terminal, out),
        b'p' => append_payload(it.payload, fit, 1, out, |out, bytes| append(out, bytes, terminal)),
        b'q' => append_number(it.qos, Fit::default(), out),
        b'R' => {
            if let Some(topic) = it.response_topic {
                append_text(topic.as_bytes(), fit, terminal, out);
            }
        }
        b'r' => out.push(b'0' + u8::from(it.is_retained)),
        // The client library tells its subscriptions apart by identifiers of its own, and nobody else's are there.
        b'S' => append_number_if_any(None::<u32>, fit, out),
        b't' => append_text(it.topic.as_bytes(), fit, terminal, out),
        b'U' => {
            append_number(it.moment.unix_secs(), Fit::default(), out);
            out.push(b'.');
            append_number(it.moment.nanos(), NINE_DIGITS, out);
        }
        b'x' => append_payload(it.payload, fit, 2, out, |out, bytes| append_hex(bytes, LOWER, out)),
        b'X' => append_payload(it.payload, fit, 2, out, |out, bytes| append_hex(bytes, UPPER, out)),
        _ => {}
    }
}

fn append_user_properties(it: &Shown<'_>, terminal: Terminal, out: &mut Vec<u8>) {
    for (index, (name, value)) in it.user_properties.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        append(out, name.as_bytes(), terminal);
        out.push(b':');
        append(out, value.as_bytes(), terminal);
    }
}

/// The width counts what is printed, of which a byte takes `letters`; it cuts off, too.
fn append_payload(
    payload: &[u8],
    fit: Fit,
    letters: usize,
    out: &mut Vec<u8>,
    append: impl Fn(&mut Vec<u8>, &[u8]),
) {
    let (bytes, padding) = match fit.width {
        // Mosquitto's clients have it so.
        0 => (payload, if fit.is_left { payload.len() } else { 0 }),
        width => {
            let count = payload.len().min(width) / letters;
            (&payload[..count], width - count * letters)
        }
    };
    if fit.is_left {
        append(out, bytes);
        pad(b' ', padding, out);
    } else {
        pad(if fit.has_zeros { b'0' } else { b' ' }, padding, out);
        append(out, bytes);
    }
}

fn append_number_if_any(number: Option<impl std::fmt::Display>, fit: Fit, out: &mut Vec<u8>) {
    match number {
        Some(number) => append_number(number, fit, out),
        None => pad(if fit.has_zeros { b'0' } else { b' ' }, fit.width, out),
    }
}

fn append_number(number: impl std::fmt::Display, fit: Fit, out: &mut Vec<u8>) {
    let width = fit.width;
    let written = match (fit.is_left, fit.has_zeros) {
        (true, _) => write!(out, "{number:<width$}"),
        (false, true) => write!(out, "{:0>width$}", number.to_string()),
        (false, false) => write!(out, "{number:>width$}"),
    };
    written.expect("memory takes everything");
}

fn append_text_if_any(text: Option<&str>, fit: Fit, terminal: Terminal, out: &mut Vec<u8>) {
    match text {
        Some(text) => append_text(text.as_bytes(), fit, terminal, out),
        None => pad(b' ', fit.width, out),
    }
}

/// Widths count bytes, as those of printf(3) do.
fn append_text(text: &[u8], fit: Fit, terminal: Terminal, out: &mut Vec<u8>) {
    let text = &text[..text.len().min(fit.bytes_max.unwrap_or(usize::MAX))];
    let padding = fit.width.saturating_sub(text.len());
    if !fit.is_left {
        pad(b' ', padding, out);
    }
    append(out, text, terminal);
    if fit.is_left {
        pad(b' ', padding, out);
    }
}

/// Appends two digits for each byte.
pub(super) fn append_hex(bytes: &[u8], digits: &[u8; 16], out: &mut Vec<u8>) {
    out.reserve(2 * bytes.len());
    for byte in bytes {
        out.push(digits[usize::from(byte >> 4)]);
        out.push(digits[usize::from(byte & 15)]);
    }
}

fn pad(byte: u8, count: usize, out: &mut Vec<u8>) {
    out.resize(out.len() + count, byte);
}

pub(super) const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";

const FIELDS: &[u8] = b"ACDEFIjJlmpPqRrStUxX";

const NINE_DIGITS: Fit = Fit { is_left: false, has_zeros: true, width: 9, bytes_max: None };

/// Nobody has a wider terminal.
const WIDTH_MAX: usize = 65_535;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_fitted_in() {
        check("%t|%10t|%-10t|%.3t|%5.3t|", "plant/7|   plant/7|plant/7   |pla|  pla|");
        check("%l|%5l|%-5l|%05l|%-05l|", "4|    4|4    |00004|4    |");
        check("%p|%6p|%-6p|%06p|%2p|%-p|", "abcd|  abcd|abcd  |00abcd|ab|abcd    |");
        check("%x|%6x|%-6x|%012X|", "61626364|  6162|6162  |000000006162|");
        check("%E|%3E|%03E|%C|%3C|%R|%3R|%S|", "|   |000||   ||||");
        check("%q%r%m", "113");
    }

    #[test]
    fn the_rest_stands_as_it_is() {
        check("a%%b@@c\\\\d\\0\\te", "a%b@c\\d\0\te");
        check("\u{fc}@Y@N", "\u{fc}2026123456789");
        check("%I %U", "2026-03-05T07:08:09+0100 1772690889.123456789");
    }

    #[test]
    fn faults_are_named() {
        for (format, why) in [
            ("%", "missing behind %"),
            ("%-05", "missing behind %"),
            ("%Z", "there is no %Z"),
            ("@", "missing behind @"),
            ("\\", "missing behind \\"),
            ("\\q", "there is no \\q"),
            ("%99999999999999999999t", "no field is wider"),
        ] {
            let error = Format::read(format).expect_err(format);
            assert!(error.contains(why), "{error}");
        }
    }

    #[track_caller]
    fn check(format: &str, expected: &str) {
        let format = Format::read(format).expect("it is right");
        let mut out = Vec::new();
        let shown = Shown::example(b"abcd");
        let result = format.append(&shown, json::Layout::Compact, Terminal::No, &mut out);
        assert_eq!((String::from_utf8_lossy(&out).as_ref(), result), (expected, Ok(())));
    }
}
