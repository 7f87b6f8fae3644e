//! As much of HTTP as it takes to leave it: for a proxy, and for WebSocket.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The head of a response.
pub(crate) struct Head {
    text: String,
}

impl Head {
    /// Reads a head, and nothing behind it.
    pub(crate) async fn read(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let mut bytes = Vec::new();
        // One by one: what follows is not ours to read. It happens once in the life of a connection.
        while !bytes.ends_with(b"\r\n\r\n") {
            if bytes.len() == HEAD_BYTES_MAX {
                return Err(invalid("the answer is too long"));
            }
            bytes.push(io.read_u8().await?);
        }
        let text = String::from_utf8(bytes).map_err(|_| invalid("the answer is no HTTP"))?;
        if !text.starts_with("HTTP/1.") {
            return Err(invalid("the answer is no HTTP"));
        }
        Ok(Self { text })
    }

    /// Returns the status code.
    pub(crate) fn status(&self) -> Option<u16> {
        self.status_line().split(' ').nth(1)?.parse().ok()
    }

    /// Returns the first line, for people.
    pub(crate) fn status_line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    /// Returns the value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.text.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

pub(crate) fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// Writes bytes in base64 (RFC 4648).
pub(crate) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |index| u32::from(chunk.get(index).copied().unwrap_or_default());
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for index in 0..4 {
            let letter = BASE64[(bits >> (18 - 6 * index) & 0x3F) as usize];
            text.push(if index <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

/// Reads base64, with its padding.
#[cfg(feature = "scram")]
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for chunk in digits.as_bytes().chunks(4) {
        let mut bits = 0;
        for index in 0..4 {
            let value = match chunk.get(index) {
                Some(digit) => BASE64.iter().position(|it| it == digit)?,
                None => 0,
            };
            bits = bits << 6 | value as u32;
        }
        let [_, whole @ ..] = bits.to_be_bytes();
        bytes.extend_from_slice(&whole[..chunk.len() - 1]);
    }
    Some(bytes)
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A longer answer is none to a request of ours.
const HEAD_BYTES_MAX: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648 section 10
    #[test]
    fn base64_of_the_standard() {
        for (bytes, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), expected);
            #[cfg(feature = "scram")]
            assert_eq!(from_base64(expected).as_deref(), Some(bytes.as_bytes()));
        }
    }

    #[tokio::test]
    async fn a_head_is_read_and_nothing_behind_it() {
        let mut bytes = &b"HTTP/1.1 101 Switching\r\nupgrade:  websocket \r\n\r\nrest"[..];
        let head = Head::read(&mut bytes).await.unwrap();
        assert_eq!((head.status(), head.header("Upgrade")), (Some(101), Some("websocket")));
        assert_eq!(bytes, b"rest");
        for bad in ["SSH-2.0\r\n\r\n", "HTTP/1.1 200 OK\r\n"] {
            assert!(Head::read(&mut bad.as_bytes()).await.is_err(), "{bad}");
        }
    }
}
