//! The WebSocket of one connection, on the server's side: the upgrade, then frames.

use std::io;
use std::net::IpAddr;

use quelea_transport::upgrade::{self, HEAD_BYTES_MAX, Rules};
use quelea_transport::websocket::{
    CLOSE_NORMAL, CLOSE_WITHOUT_CODE, Decoder, Opcode, Side, append_fragment, append_frame,
};

/// One connection's WebSocket.
pub(super) struct WebSocket {
    stage: Stage,
    /// How far the packet is that is being sent.
    packet: Packet,
    /// Our Close is said: no frame may follow it.
    is_closed: bool,
}

/// Where a packet ends, which comes in pieces of any length.
///
/// A WebSocket message may hold any number of packets, or a part of one ([MQTT-6.0.0-2]). But there are clients in the
/// field that take a message for a packet: Paho's for C (1.3) leaves a second one where it is until more arrives. So
/// a message holds one packet, of two bytes more.
enum Packet {
    /// The next byte is the first of a packet.
    Ended,
    /// So much of its Remaining Length has gone by (section 1.5.5).
    Length { value: u32, shift: u32 },
    /// So many bytes are still to come.
    Body { bytes: u32 },
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
        Self { stage: Stage::Upgrading(Vec::new()), packet: Packet::Ended, is_closed: false }
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

    /// Appends all of `data`, which is packets, each in a message of its own.
    pub(super) fn frame(&mut self, mut data: &[u8], out: &mut Vec<u8>) {
        while !data.is_empty() && !self.is_closed {
            let opcode = match self.packet {
                Packet::Ended => Opcode::Binary,
                Packet::Length { .. } | Packet::Body { .. } => Opcode::Continuation,
            };
            let (piece, rest) = data.split_at(self.packet.take(data));
            match self.packet {
                Packet::Ended => append_frame(out, opcode, piece, None),
                Packet::Length { .. } | Packet::Body { .. } => append_fragment(out, opcode, piece),
            }
            data = rest;
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

impl Packet {
    /// Goes on by what of `data` belongs to the packet, and returns how much that is.
    fn take(&mut self, data: &[u8]) -> usize {
        let mut taken = 0;
        while let Some(byte) = data.get(taken) {
            match self {
                Self::Ended => *self = Self::Length { value: 0, shift: 0 },
                Self::Length { value, shift } => {
                    let value = *value | u32::from(byte & 0x7F) << *shift;
                    *self = match byte & 0x80 {
                        0 => Self::Body { bytes: value },
                        _ => Self::Length { value, shift: (*shift + 7).min(21) },
                    };
                }
                Self::Body { .. } => break,
            }
            taken += 1;
            if let Self::Body { bytes: 0 } = self {
                break;
            }
        }
        if let Self::Body { bytes } = self {
            let piece = (*bytes).min((data.len() - taken) as u32);
            *bytes -= piece;
            taken += piece as usize;
            if *bytes == 0 {
                *self = Self::Ended;
            }
        }
        taken
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_packet_however_it_is_cut() {
        let ping = vec![0xD0, 0];
        let publish = [&[0x30, 0x82, 0x01][..], &[7; 130]].concat();
        let acknowledgement = vec![0x40, 2, 0, 9];
        let packets = [ping.clone(), publish, ping, acknowledgement];
        let data = packets.concat();
        for length in 1..=data.len() {
            let mut websocket =
                WebSocket { stage: open(), packet: Packet::Ended, is_closed: false };
            let mut out = Vec::new();
            data.chunks(length).for_each(|chunk| websocket.frame(chunk, &mut out));
            assert_eq!(messages(&out), packets, "cut into pieces of {length}");
        }
    }

    fn open() -> Stage {
        Stage::Open(Decoder::new(Side::Client))
    }

    /// Takes apart what a server has said: frames without a mask.
    fn messages(mut frames: &[u8]) -> Vec<Vec<u8>> {
        let mut messages = vec![Vec::new()];
        while let [first, length, rest @ ..] = frames {
            let (length, rest) = match length {
                126 => (usize::from(rest[0]) << 8 | usize::from(rest[1]), &rest[2..]),
                length => (usize::from(*length), rest),
            };
            let message = messages.last_mut().unwrap();
            assert_eq!(first & 0x0F == 0, !message.is_empty(), "what goes on is what has begun");
            message.extend_from_slice(&rest[..length]);
            if first & 0x80 != 0 {
                messages.push(Vec::new());
            }
            frames = &rest[length..];
        }
        assert!(messages.pop().unwrap().is_empty(), "the last message has not ended");
        messages
    }
}
