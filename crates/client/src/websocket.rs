//! MQTT over WebSocket (section 6, RFC 6455): a stream of bytes in binary frames.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::backoff::Random;
use crate::http::{Head, base64, invalid};
use crate::transport::Io;
use crate::url::Host;

/// A connection whose bytes travel in frames.
pub(crate) struct WebSocket {
    io: Box<dyn Io>,
    /// Frames that were read, behind some that were handled.
    input: Vec<u8>,
    handled: usize,
    /// Bytes that the present frame has still to give.
    payload_left: u64,
    /// The server has said that it closes.
    is_closed: bool,
    /// We have.
    has_closed: bool,
    /// Frames to be written, behind some that were.
    output: Vec<u8>,
    written: usize,
    random: Random,
}

impl WebSocket {
    /// Asks the server at the other end of `io` to speak WebSocket.
    pub(crate) async fn open(mut io: Box<dyn Io>, host: &Host, path: &str) -> io::Result<Self> {
        let mut random = Random::from_system();
        let mut key = [0; 16];
        key[..8].copy_from_slice(&random.next().to_le_bytes());
        key[8..].copy_from_slice(&random.next().to_le_bytes());
        let key = base64(&key);
        // [MQTT-6.0.0-3]
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
        );
        io.write_all(request.as_bytes()).await?;
        io.flush().await?;
        let head = Head::read(&mut io).await?;
        if head.status() != Some(101) {
            return Err(invalid(format!(
                "the server does not speak WebSocket at {path}: {}",
                head.status_line()
            )));
        }
        if head.header("Sec-WebSocket-Accept") != Some(&accept_of(&key)) {
            return Err(invalid("the server answers another WebSocket request"));
        }
        if head.header("Sec-WebSocket-Protocol") != Some("mqtt") {
            return Err(invalid("the server does not speak MQTT over WebSocket"));
        }
        Ok(Self {
            io,
            input: Vec::new(),
            handled: 0,
            payload_left: 0,
            is_closed: false,
            has_closed: false,
            output: Vec::new(),
            written: 0,
            random,
        })
    }

    /// Adds a frame to the output.
    fn write_frame(&mut self, opcode: u8, payload: &[u8]) {
        self.output.push(FIN | opcode);
        match payload.len() {
            length @ 0..=125 => self.output.push(MASKED | length as u8),
            length @ 126..=65_535 => {
                self.output.push(MASKED | TWO_BYTES);
                self.output.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                self.output.push(MASKED | EIGHT_BYTES);
                self.output.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        let mask = (self.random.next() as u32).to_le_bytes();
        self.output.extend_from_slice(&mask);
        self.output.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    }

    /// Writes what is in the output.
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.output.len() {
            let unwritten = &self.output[self.written..];
            let count = ready!(Pin::new(&mut self.io).poll_write(context, unwritten))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        self.output.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Handles the header of the next frame, with all of a control frame. Returns whether it was there.
    fn read_header(&mut self) -> io::Result<bool> {
        let input = &self.input[self.handled..];
        let &[first, second, ..] = input else {
            return Ok(false);
        };
        if first & RESERVED != 0 || second & MASKED != 0 {
            return Err(invalid("a WebSocket frame that a server does not send"));
        }
        let (header_bytes, length) = match second {
            TWO_BYTES => match input.get(2..4) {
                Some(&[high, low]) => (4, u64::from(u16::from_be_bytes([high, low]))),
                _ => return Ok(false),
            },
            EIGHT_BYTES => match input.get(2..).and_then(|it| it.first_chunk()) {
                Some(bytes) => (10, u64::from_be_bytes(*bytes)),
                None => return Ok(false),
            },
            length => (2, u64::from(length)),
        };
        let opcode = first & OPCODE;
        if matches!(opcode, BINARY | CONTINUATION) {
            self.handled += header_bytes;
            self.payload_left = length;
            return Ok(true);
        }
        if length > CONTROL_BYTES_MAX {
            return Err(invalid("a WebSocket frame that MQTT does not use"));
        }
        let end = header_bytes + length as usize;
        let Some(payload) = input.get(header_bytes..end) else {
            return Ok(false);
        };
        let payload = payload.to_vec();
        self.handled += end;
        match opcode {
            // A server that pings and does not read gets no more answers than this.
            PING if self.output.len() < OUTPUT_BYTES_MAX => self.write_frame(PONG, &payload),
            PING | PONG => {}
            CLOSE => {
                self.is_closed = true;
                if !std::mem::replace(&mut self.has_closed, true) {
                    self.write_frame(CLOSE, &payload);
                }
            }
            // [MQTT-6.0.0-1]
            _ => return Err(invalid("a WebSocket frame that is not binary")),
        }
        Ok(true)
    }
}

impl AsyncRead for WebSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.is_closed {
                // What is still to be said is said if it can be at once.
                let _ = this.poll_drain(context)?;
                return Poll::Ready(Ok(()));
            }
            let input = &this.input[this.handled..];
            if this.payload_left > 0 && !input.is_empty() {
                let left = usize::try_from(this.payload_left).unwrap_or(usize::MAX);
                let count = left.min(input.len()).min(buffer.remaining());
                buffer.put_slice(&input[..count]);
                this.handled += count;
                this.payload_left -= count as u64;
                return Poll::Ready(Ok(()));
            }
            if this.payload_left == 0 && this.read_header()? {
                // An answer to a ping.
                let _ = this.poll_drain(context)?;
                continue;
            }
            this.input.drain(..this.handled);
            this.handled = 0;
            let start = this.input.len();
            this.input.resize(start + READ_BYTES, 0);
            let mut room = ReadBuf::new(&mut this.input[start..]);
            let polled = Pin::new(&mut this.io).poll_read(context, &mut room);
            let count = room.filled().len();
            this.input.truncate(start + count);
            ready!(polled)?;
            if count == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for WebSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.output.len() >= OUTPUT_BYTES_MAX {
            ready!(self.poll_drain(context))?;
        }
        let count = bytes.len().min(OUTPUT_BYTES_MAX);
        self.write_frame(BINARY, &bytes[..count]);
        // What the network does not take waits in the output.
        let _ = self.poll_drain(context)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(context))?;
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.has_closed, true) {
            self.write_frame(CLOSE, &NORMAL_CLOSURE.to_be_bytes());
        }
        ready!(self.poll_drain(context))?;
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// Returns what a server that understands the request answers (RFC 6455 section 4.2.2).
fn accept_of(key: &str) -> String {
    let hashed = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    base64(&sha1_smol::Sha1::from(hashed).digest().bytes())
}

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0F;
const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const MASKED: u8 = 0x80;
const TWO_BYTES: u8 = 126;
const EIGHT_BYTES: u8 = 127;

const NORMAL_CLOSURE: u16 = 1000;

/// A control frame is not longer (RFC 6455 section 5.5).
const CONTROL_BYTES_MAX: u64 = 125;

/// How much waits to be written before more has to.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// How much is read at once.
const READ_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    /// RFC 6455 section 1.3
    #[test]
    fn the_key_of_the_standard_is_accepted() {
        assert_eq!(accept_of("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[tokio::test]
    async fn frames_are_read_however_they_are_cut() {
        let long = [7; 300];
        let mut wire = vec![0x02, 2, b'a', b'b', 0x89, 1, b'p', 0x80, 1, b'c', 0x82, 126, 1, 44];
        wire.extend_from_slice(&long);
        wire.extend_from_slice(&[0x82, 0, 0x88, 2, 3, 232]);
        for piece in [1, 3, 400] {
            let (near, mut far) = duplex(1024);
            let pieces = wire.clone();
            let writing = tokio::spawn(async move {
                for piece in pieces.chunks(piece) {
                    far.write_all(piece).await.unwrap();
                }
                let mut answers = Vec::new();
                far.read_to_end(&mut answers).await.unwrap();
                answers
            });
            let mut socket = socket(Box::new(near));
            let mut read = Vec::new();
            socket.read_to_end(&mut read).await.unwrap();
            assert_eq!(read, [b"abc", &long[..]].concat());
            drop(socket);
            let answers = writing.await.unwrap();
            // A pong, and a close, both masked.
            assert_eq!((answers.len(), answers[0], answers[7]), (7 + 8, 0x8A, 0x88));
        }
    }

    #[tokio::test]
    async fn frames_that_a_server_does_not_send_are_errors() {
        for wire in
            [&[0x81, 1, b't'][..], &[0x82, 0x81, 0, 0, 0, 0, 0], &[0xC2, 0], &[0x89, 126, 1, 0]]
        {
            let (near, mut far) = duplex(1024);
            far.write_all(wire).await.unwrap();
            let mut byte = [0];
            assert!(socket(Box::new(near)).read(&mut byte).await.is_err(), "{wire:?}");
        }
    }

    fn socket(io: Box<dyn Io>) -> WebSocket {
        WebSocket {
            io,
            input: Vec::new(),
            handled: 0,
            payload_left: 0,
            is_closed: false,
            has_closed: false,
            output: Vec::new(),
            written: 0,
            random: Random::from_system(),
        }
    }
}
