//! WebSocket, as far as a client of the suite needs it: RFC 6455 in a form of its own, as the packets are.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use crate::Stream;

/// A WebSocket that speaks MQTT, as a stream of bytes: each write is a binary frame.
#[derive(Debug)]
pub struct WebSocket {
    stream: Box<dyn Stream>,
    /// What came and is no whole frame yet.
    inbox: Vec<u8>,
    /// What came in frames and is not read yet.
    data: Vec<u8>,
    is_over: bool,
    protocol: Option<String>,
}

impl WebSocket {
    /// Asks for MQTT at `path` of `host`.
    ///
    /// # Errors
    ///
    /// The broker does not go on with WebSocket.
    pub fn open(mut stream: Box<dyn Stream>, host: &str, path: &str) -> io::Result<Self> {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{REQUEST}").as_bytes())?;
        stream.flush()?;
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\n") {
            if response.len() == RESPONSE_BYTES_MAX {
                return Err(io::Error::other("an answer to the upgrade that does not end"));
            }
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            response.push(byte[0]);
        }
        let response = String::from_utf8_lossy(&response).into_owned();
        let field = |name: &str| {
            let lines = response.lines().filter_map(|line| line.split_once(':'));
            let mut values = lines.filter(|line| line.0.eq_ignore_ascii_case(name));
            values.next().map(|line| line.1.trim().to_owned())
        };
        let is_open = response.starts_with("HTTP/1.1 101 ")
            && field("Sec-WebSocket-Accept").as_deref() == Some(ACCEPT);
        if !is_open {
            return Err(io::Error::other(format!("no WebSocket: {response}")));
        }
        let protocol = field("Sec-WebSocket-Protocol");
        Ok(Self { stream, inbox: Vec::new(), data: Vec::new(), is_over: false, protocol })
    }

    /// Returns the subprotocol that the broker has chosen.
    pub(crate) fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// Sends a frame. `first` is its first byte.
    pub(crate) fn send_frame(&mut self, first: u8, payload: &[u8]) -> io::Result<()> {
        let mut frame = vec![first];
        match payload.len() {
            length @ 0..=125 => frame.push(0x80 | length as u8),
            length @ 126..=65_535 => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.stream.write_all(&frame)
    }

    /// Takes the frames that are whole apart.
    fn take_frames(&mut self) -> io::Result<()> {
        while let Some((first, start, end)) = whole_frame(&self.inbox) {
            match first & 0x0F {
                0 | 2 => self.data.extend_from_slice(&self.inbox[start..end]),
                8 => self.is_over = true,
                9 | 10 => {}
                _ => return Err(io::Error::other("a frame that is not binary")),
            }
            self.inbox.drain(..end);
        }
        Ok(())
    }
}

/// Returns the first byte of the frame in front, and where its payload lies, if it is whole.
fn whole_frame(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (length, start) = match second {
        126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
        length => (u64::from(length), 2),
    };
    let end = start + usize::try_from(length).ok()?;
    (bytes.len() >= end).then_some((first, start, end))
}

impl Read for WebSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.data.is_empty() {
            if self.is_over {
                return Ok(0);
            }
            let mut chunk = [0; 4_096];
            let count = match self.stream.read(&mut chunk) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => 0,
                other => other?,
            };
            if count == 0 {
                return Ok(0);
            }
            self.inbox.extend_from_slice(&chunk[..count]);
            self.take_frames()?;
        }
        let count = buffer.len().min(self.data.len());
        buffer[..count].copy_from_slice(&self.data[..count]);
        self.data.drain(..count);
        Ok(count)
    }
}

impl Write for WebSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send_frame(0x82, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Stream for WebSocket {
    fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(timeout)
    }

    fn end_sending(&mut self) -> io::Result<()> {
        self.stream.end_sending()
    }
}

/// The example of RFC 6455 section 1.3.
const REQUEST: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Protocol: mqtt\r\n\r\n";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Any will do: the broker is no proxy that could be misled.
const MASK: [u8; 4] = [0x51, 0xA5, 0x00, 0xFF];

const RESPONSE_BYTES_MAX: usize = 16 * 1024;
