//! A WebSocket of the client's side, as a byte stream. Written apart from the broker's, so that a mistake that both
//! would make is found.

use std::io::{self, Read, Write};

/// A byte stream in binary frames, one for each write.
pub(crate) struct WebSocketStream<S> {
    pub(crate) inner: S,
    data: Vec<u8>,
    /// Control frames that came, with their opcodes.
    pub(crate) controls: Vec<(u8, Vec<u8>)>,
}

impl<S: Read + Write> WebSocketStream<S> {
    /// Asks for MQTT at `/mqtt` and expects it.
    pub(crate) fn open(inner: S) -> Self {
        let (mut inner, response) = upgrade(inner, &request());
        assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
        // What the key of the request has to be answered with (RFC 6455 section 1.3).
        assert!(
            response.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
            "{response}"
        );
        assert!(response.contains("\r\nSec-WebSocket-Protocol: mqtt\r\n"), "{response}");
        inner.flush().unwrap();
        Self::upgraded(inner)
    }

    /// What follows an upgrade that was granted.
    pub(crate) fn upgraded(inner: S) -> Self {
        Self { inner, data: Vec::new(), controls: Vec::new() }
    }

    /// Sends a frame with any first byte.
    pub(crate) fn send_frame(&mut self, first: u8, payload: &[u8]) -> io::Result<()> {
        self.inner.write_all(&frame(first, payload))?;
        self.inner.flush()
    }

    /// Reads frames until one is a control frame, or the stream ends.
    pub(crate) fn control(&mut self) -> Option<(u8, Vec<u8>)> {
        while self.controls.is_empty() && self.read_frame().ok()? {}
        (!self.controls.is_empty()).then(|| self.controls.remove(0))
    }

    /// Reads a frame. Returns false at the end of the stream.
    fn read_frame(&mut self) -> io::Result<bool> {
        let mut head = [0; 2];
        match self.inner.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            other => other?,
        }
        assert_eq!(head[1] & 0x80, 0, "a server does not mask");
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                self.inner.read_exact(&mut length)?;
                u64::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                self.inner.read_exact(&mut length)?;
                u64::from_be_bytes(length)
            }
            length => u64::from(length),
        };
        let mut payload = vec![0; length as usize];
        self.inner.read_exact(&mut payload)?;
        match head[0] {
            0x82 | 0x02 | 0x00 | 0x80 => self.data.extend(payload),
            other => self.controls.push((other & 0xF, payload)),
        }
        Ok(true)
    }
}

impl<S: Read + Write> Read for WebSocketStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.data.is_empty() {
            if !self.read_frame()? {
                return Ok(0);
            }
        }
        let count = buffer.len().min(self.data.len());
        buffer[..count].copy_from_slice(&self.data[..count]);
        self.data.drain(..count);
        Ok(count)
    }
}

impl<S: Read + Write> Write for WebSocketStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write_all(&frame(0x82, bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Returns a masked frame.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0xA1, 0x02, 0xC3, 0x74];
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]));
    frame
}

/// Returns the request that every broker has to grant.
pub(crate) fn request() -> String {
    "GET /mqtt HTTP/1.1\r\nHost: broker\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Protocol: mqtt\r\n\r\n"
        .to_owned()
}

/// Sends a request and returns the head of the response.
pub(crate) fn upgrade<S: Read + Write>(mut stream: S, request: &str) -> (S, String) {
    stream.write_all(request.as_bytes()).unwrap();
    stream.flush().unwrap();
    let mut response = Vec::new();
    while !response.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).unwrap() == 0 {
            break;
        }
        response.push(byte[0]);
    }
    (stream, String::from_utf8(response).unwrap())
}
