//! Payloads as people read them: text, JSON with its structure, or bytes.

use std::fmt::Write as _;

use serde::de::IgnoredAny;

/// What a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Empty,
    Json,
    Text,
    Bytes,
}

impl Kind {
    /// Returns what `payload` is, of which only the beginning may be there.
    pub(crate) fn of(payload: &[u8], is_whole: bool) -> Self {
        match payload.iter().find(|it| !it.is_ascii_whitespace()) {
            None if payload.is_empty() => return Self::Empty,
            Some(b'{' | b'[') if is_whole && is_json(payload) => return Self::Json,
            _ => {}
        }
        let text = text_of(payload, is_whole);
        let is_text = text.is_some_and(|it| !it.chars().any(is_binary));
        if is_text { Self::Text } else { Self::Bytes }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Json => "JSON",
            Self::Text => "text",
            Self::Bytes => "binary",
        }
    }
}

/// Returns a payload on one line, of at most `chars_max` characters.
pub(crate) fn on_one_line(payload: &[u8], is_whole: bool, chars_max: usize) -> String {
    // What is beyond cannot be seen.
    let seen = &payload[..payload.len().min(chars_max * 4)];
    let is_seen_whole = is_whole && seen.len() == payload.len();
    match Kind::of(seen, is_seen_whole) {
        Kind::Empty => String::new(),
        Kind::Json | Kind::Text => {
            let text = text_of(seen, is_seen_whole).unwrap_or_default();
            let mut line = String::new();
            for word in text.split_whitespace() {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
            printable(&line).chars().take(chars_max).collect()
        }
        Kind::Bytes => {
            let mut line = String::new();
            for byte in seen.iter().take(chars_max / 3 + 1) {
                let _ = write!(line, "{byte:02x} ");
            }
            line
        }
    }
}

/// Returns the lines of a payload.
pub(crate) fn lines(payload: &[u8], is_whole: bool) -> Vec<String> {
    match Kind::of(payload, is_whole) {
        Kind::Empty => Vec::new(),
        Kind::Json => indented(payload).lines().map(printable).collect(),
        Kind::Text => {
            text_of(payload, is_whole).unwrap_or_default().lines().map(printable).collect()
        }
        Kind::Bytes => payload.chunks(BYTES_PER_LINE).enumerate().map(dump).collect(),
    }
}

/// Replaces what a terminal would obey, or what would reorder a line, by a dot.
pub(crate) fn printable(text: &str) -> String {
    let harmless = |letter: char| match letter {
        '\t' => ' ',
        letter if letter.is_control() || is_reordering(letter) => '·',
        letter => letter,
    };
    text.chars().map(harmless).collect()
}

fn is_json(payload: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(payload).is_ok()
}

/// Returns the text of a payload, whose end may have been cut off in the middle of a character.
fn text_of(payload: &[u8], is_whole: bool) -> Option<&str> {
    match str::from_utf8(payload) {
        Ok(text) => Some(text),
        Err(error) if !is_whole && error.error_len().is_none() => {
            str::from_utf8(&payload[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    }
}

/// Whether no text has this character.
fn is_binary(letter: char) -> bool {
    letter.is_control() && !matches!(letter, '\n' | '\r' | '\t' | '\x1b')
}

/// Marks of direction, which make a line look like another.
fn is_reordering(letter: char) -> bool {
    matches!(letter, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Sets the structure of JSON in lines; what is in it stays as it was written.
fn indented(json: &[u8]) -> String {
    let text = String::from_utf8_lossy(json);
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0_usize;
    let mut letters = text.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        // So deep that nobody reads it, it is not worth the memory.
        out.extend(std::iter::repeat_n("  ", depth.min(INDENTED_MAX)));
    };
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                out.push('"');
                let mut is_escaped = false;
                for letter in letters.by_ref() {
                    out.push(letter);
                    match letter {
                        '"' if !is_escaped => break,
                        _ => is_escaped = letter == '\\' && !is_escaped,
                    }
                }
            }
            '{' | '[' => {
                out.push(letter);
                while letters.next_if(char::is_ascii_whitespace).is_some() {}
                match letters.next_if(|&it| it == '}' || it == ']') {
                    Some(end) => out.push(end),
                    None => {
                        depth += 1;
                        line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(letter);
            }
            ',' => {
                out.push(',');
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ if letter.is_ascii_whitespace() => {}
            _ => out.push(letter),
        }
    }
    out
}

/// Returns a line of a dump: where it is, the bytes, and those that are letters.
fn dump((index, bytes): (usize, &[u8])) -> String {
    let mut line = format!("{:05x} ", index * BYTES_PER_LINE);
    for at in 0..BYTES_PER_LINE {
        let _ = match bytes.get(at) {
            Some(byte) => write!(line, " {byte:02x}"),
            None => write!(line, "   "),
        };
    }
    line.push_str("  ");
    let letter = |&byte: &u8| if byte.is_ascii_graphic() { byte as char } else { '.' };
    line.extend(bytes.iter().map(letter));
    line
}

const BYTES_PER_LINE: usize = 8;

const INDENTED_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_set_in_lines_and_keeps_its_order() {
        check(
            br#"{"b" : [1,2.50, {}],"a":"x, \"y\": {"} "#,
            Kind::Json,
            &[
                "{",
                "  \"b\": [",
                "    1,",
                "    2.50,",
                "    {}",
                "  ],",
                r#"  "a": "x, \"y\": {""#,
                "}",
            ],
        );
        check(b"{\"a\":1", Kind::Text, &["{\"a\":1"]);
        check(b"21.5", Kind::Text, &["21.5"]);
    }

    #[test]
    fn text_obeys_nobody() {
        check("a\u{1b}[2Jb\nc\u{202E}d".as_bytes(), Kind::Text, &["a·[2Jb", "c·d"]);
        check(b"", Kind::Empty, &[]);
    }

    #[test]
    fn bytes_are_dumped() {
        check(
            b"\0\x01AB\xff zz!",
            Kind::Bytes,
            &["00000  00 01 41 42 ff 20 7a 7a  ..AB..zz", "00008  21                       !"],
        );
    }

    #[test]
    fn the_end_of_a_text_may_be_missing() {
        let cut = &"grün".as_bytes()[..3];
        assert_eq!(Kind::of(cut, false), Kind::Text);
        assert_eq!(lines(cut, false), ["gr"]);
        assert_eq!(Kind::of(cut, true), Kind::Bytes);
    }

    #[test]
    fn one_line_is_short() {
        assert_eq!(on_one_line(b"{ \"a\":\n  1 }", true, 100), "{ \"a\": 1 }");
        assert_eq!(on_one_line("ä".repeat(1_000).as_bytes(), true, 5), "äääää");
        assert_eq!(on_one_line(b"\0\x01\x02", true, 6), "00 01 02 ");
        assert_eq!(on_one_line(b"", true, 5), "");
    }

    #[track_caller]
    fn check(payload: &[u8], kind: Kind, expected: &[&str]) {
        assert_eq!(Kind::of(payload, true), kind);
        assert_eq!(lines(payload, true), expected);
    }
}
