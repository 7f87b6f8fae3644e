//! The WebSocket of one connection, on the server's side: the upgrade, then frames.

use std::io;
use std::net::IpAddr;

use quelea_transport::upgrade::{self, HEAD_BYTES_MAX, Rules};
use quelea_transport::websocket::{
    CLOSE_NORMAL, CLOSE_WITHOUT_CODE, Decoder, Opcode, Side, append_frame,
};

/// One connection's WebSocket.
pub(super) struct WebSocket {
    stage: Stage,
    /// Our Close is said: no frame may follow it.
    is_closed: bool,
}

enum Stage {
    /// The request has not come to its end. What of it has come is at most as long as a head may be.
    Upgrading(Vec<u8>),
    Open(Decoder),
}

/// What has become of some bytes that arrived.
pub(super) struct Taken {
    /// Bytes of data, at the front of what arrived.
    pub(super) data_bytes: usize,
    /// The peer has said that nothing more comes.
    pub(super) is_end: bool,
    /// The request was granted, and these are whom proxies say that they speak for.
    pub(super) forwarded_for: Vec<String>,
}

impl WebSocket {
    pub(super) fn new() -> Self {
        Self { stage: Stage::Upgrading(Vec::new()), is_closed: false }
    }

    /// Takes in what arrived, and appends what is to be said to `answer`, also when this fails: then that is the
    /// last that is said.
    pub(super) fn take(
        &mut self,
        arrived: &mut [u8],
        rules: &Rules,
        answer: &mut Vec<u8>,
    ) -> io::Result<Taken> {
        let mut rest_bytes = arrived.len();
        let mut forwarded_for = Vec::new();
        if let Stage::Upgrading(head) = &mut self.stage {
            let had = head.len();
            let room = HEAD_BYTES_MAX - had;
            head.extend_from_slice(&arrived[..arrived.len().min(room)]);
            let upgraded = upgrade::find_head(head).and_then(|length| {
                length
                    .map(|length| Ok((length, upgrade::answer(&head[..length], rules)?)))
                    .transpose()
            });
            match upgraded {
                Ok(Some((length, granted))) => {
                    answer.extend_from_slice(&granted.response);
                    forwarded_for = granted.forwarded_for;
                    rest_bytes = arrived.len() - (length - had);
                }
                Ok(None) => return Ok(Taken { data_bytes: 0, is_end: false, forwarded_for }),
                Err(refusal) => {
                    self.is_closed = true;
                    answer.extend_from_slice(&refusal.response());
                    return Err(invalid(refusal));
                }
            }
            arrived.copy_within(arrived.len() - rest_bytes.., 0);
            self.stage = Stage::Open(Decoder::new(Side::Client));
        }
        let Stage::Open(decoder) = &mut self.stage else { return Err(invalid("no WebSocket")) };
        let decoded = decoder.decode(&mut arrived[..rest_bytes]);
        let close_code = match decoded {
            Ok(_) => decoder.close_code(),
            Err(violation) => Some(violation.close_code()),
        };
        if let Some(code) = close_code {
            self.close_with(code, answer);
        }
        let data_bytes = decoded.map_err(invalid)?;
        Ok(Taken { data_bytes, is_end: close_code.is_some(), forwarded_for })
    }

    /// Appends the answer to the latest ping, if one waits.
    pub(super) fn pong(&mut self, answer: &mut Vec<u8>) {
        let Stage::Open(decoder) = &mut self.stage else { return };
        if self.is_closed {
            return;
        }
        if let Some(payload) = decoder.take_ping() {
            append_frame(answer, Opcode::Pong, &payload, None);
        }
    }

    /// Appends a frame with all of `data`.
    pub(super) fn frame(&self, data: &[u8], out: &mut Vec<u8>) {
        if !self.is_closed {
            append_frame(out, Opcode::Binary, data, None);
        }
    }

    /// Appends the end of this side, once.
    pub(super) fn close(&mut self, out: &mut Vec<u8>) {
        if matches!(self.stage, Stage::Open(_)) {
            self.close_with(CLOSE_NORMAL, out);
        }
    }

    fn close_with(&mut self, code: u16, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.is_closed, true) {
            return;
        }
        let payload = code.to_be_bytes();
        let payload = if code == CLOSE_WITHOUT_CODE { &[][..] } else { &payload };
        append_frame(out, Opcode::Close, payload, None);
    }
}

/// Returns the client that proxies speak for, if the nearest of them is believed.
pub(super) fn client(
    peer: IpAddr,
    forwarded_for: &[String],
    is_trusted: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    if is_trusted(peer) { named(forwarded_for, is_trusted) } else { None }
}

/// Returns the client that a proxy which is believed speaks for.
pub(super) fn named(
    forwarded_for: &[String],
    is_trusted: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    quelea_transport::forwarded::client(forwarded_for.iter().map(String::as_str), is_trusted)
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
