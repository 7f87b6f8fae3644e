//! The head of an HTTP/1.1 message: the first line and the fields, up to the empty line.
//!
//! Stricter than HTTP has to be: lines end with CR LF, no field goes on on a second line, and nothing but visible
//! text is in them. What is refused here, no client of a WebSocket sends.

/// The head of a request or a response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    /// The first line, in its three parts.
    pub(crate) start: [&'a str; 3],
    fields: Vec<(&'a str, &'a str)>,
}

impl<'a> Head<'a> {
    /// Reads a head, which ends with its empty line.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?.strip_suffix("\r\n\r\n")?;
        let mut lines = text.split("\r\n");
        let mut start = lines.next()?.splitn(3, ' ');
        let start = [start.next()?, start.next()?, start.next()?];
        if start[..2].iter().any(|part| part.is_empty() || !part.bytes().all(is_visible)) {
            return None;
        }
        let mut fields = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':')?;
            let is_text = |byte: u8| byte == b'\t' || byte >= b' ' && byte != 0x7F;
            if name.is_empty() || !name.bytes().all(is_token) || !value.bytes().all(is_text) {
                return None;
            }
            if fields.len() == FIELDS_MAX {
                return None;
            }
            fields.push((name, value.trim_matches([' ', '\t'])));
        }
        Some(Self { start, fields })
    }

    /// Returns the values of all fields with this name, in their order.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let fields = self.fields.iter().filter(move |field| field.0.eq_ignore_ascii_case(name));
        fields.map(|field| field.1)
    }

    /// Returns the value of a field that may be there once.
    pub(crate) fn one(&self, name: &str) -> Option<&'a str> {
        let mut values = self.all(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// Returns the elements of the lists in all fields with this name.
    pub(crate) fn list(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let elements = self.all(name).flat_map(|value| value.split(','));
        elements.map(|element| element.trim_matches([' ', '\t'])).filter(|it| !it.is_empty())
    }

    /// Returns whether a list has this word, in any case.
    pub(crate) fn lists(&self, name: &str, word: &str) -> bool {
        self.list(name).any(|element| element.eq_ignore_ascii_case(word))
    }
}

/// Returns how long the head at the start of `bytes` is, if it is there as a whole.
pub(crate) fn head_len(bytes: &[u8]) -> Option<usize> {
    bytes.windows(END.len()).position(|window| window == END).map(|at| at + END.len())
}

fn is_visible(byte: u8) -> bool {
    byte.is_ascii_graphic()
}

/// A character of a field's name (RFC 9110 section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

const END: &[u8] = b"\r\n\r\n";

/// Fields in a head. Browsers send some twenty.
const FIELDS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name() {
        let head =
            Head::parse(b"GET /mqtt HTTP/1.1\r\nHost: a\r\nX: 1, 2\r\nx:3 \r\nEmpty:\r\n\r\n")
                .unwrap();
        assert_eq!(head.start, ["GET", "/mqtt", "HTTP/1.1"]);
        assert_eq!(head.one("host"), Some("a"));
        assert_eq!(head.one("x"), None, "there are two");
        assert_eq!(head.list("X").collect::<Vec<_>>(), ["1", "2", "3"]);
        assert_eq!(head.one("empty"), Some(""));
        assert!(head.lists("x", "2") && !head.lists("x", "1, 2"));
        let response = Head::parse(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").unwrap();
        assert_eq!(response.start[2], "Switching Protocols");
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for wrong in [
            &b""[..],
            b"\r\n\r\n",
            b"GET /\r\n\r\n",
            b"GET / HTTP/1.1\n\n",
            b"GET / HTTP/1.1\r\nHost\r\n\r\n",
            b"GET / HTTP/1.1\r\n: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: a\r\n folded\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: \0\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: \xFF\r\n\r\n",
            b"GET  HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(Head::parse(wrong), None, "{}", wrong.escape_ascii());
        }
        let fields = "A: a\r\n".repeat(FIELDS_MAX);
        assert!(Head::parse(format!("GET / HTTP/1.1\r\n{fields}\r\n").as_bytes()).is_some());
        assert!(
            Head::parse(format!("GET / HTTP/1.1\r\n{fields}A: a\r\n\r\n").as_bytes()).is_none()
        );
    }

    #[test]
    fn head_ends_with_an_empty_line() {
        assert_eq!(head_len(b"GET / HTTP/1.1\r\n\r\nmore"), Some(18));
        assert_eq!(head_len(b"GET / HTTP/1.1\r\n\r"), None);
        assert_eq!(head_len(b""), None);
    }
}
