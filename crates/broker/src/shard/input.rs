//! Reading: bytes from links, cut into packets, each handed to its place.
//!
//! The network reports readiness once, when it changes. So a link that was not drained stays on a
//! list until it is; and a link that had its share of a turn waits there for the next.

use std::fmt::Display;
use std::io;

use quelea_codec::{Frame, Framing, Packet, PacketId, PacketKind, ReasonCode, next_frame};
use quelea_store::Condition;

use super::link::{Ending, Stage};
use super::{READ_BYTES, Shard, WORK_UNITS};
use crate::arena::Key;
use crate::net::{Io, Received};

/// What remains to be done for a link after its share of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remains {
    /// Nothing until something arrives, or until it is no longer paused.
    Nothing,
    /// More work: it goes to the end of the list.
    More,
}

impl Shard {
    /// Puts a link on the list of those with something to read.
    pub(super) fn list_readable(&mut self, key: Key) {
        if let Some(link) = self.links.get_mut(key)
            && !link.is_listed
        {
            link.is_listed = true;
            self.readable.push_back(key);
        }
    }

    /// Gives each link on the list its share.
    pub(super) fn serve_readable(&mut self, io: &mut dyn Io) {
        if self.is_held_back() {
            return;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        for _ in 0..self.readable.len() {
            let Some(key) = self.readable.pop_front() else { break };
            let Some(link) = self.links.get_mut(key) else { continue };
            link.is_listed = false;
            if self.serve(key, &mut scratch, io) == Remains::More {
                self.list_readable(key);
            }
        }
        self.scratch = scratch;
    }

    /// Returns whether another shard has so much unread mail, or the store so much to do, that nothing may be
    /// added to it.
    pub(super) fn is_held_back(&self) -> bool {
        if self.shared.store.condition() == Condition::Busy {
            return true;
        }
        let own = usize::from(self.index.0);
        let mailboxes = self.shared.mailboxes.iter().enumerate();
        mailboxes.filter(|(index, _)| *index != own).any(|(_, it)| it.is_overdue())
    }

    fn serve(&mut self, key: Key, scratch: &mut [u8], io: &mut dyn Io) -> Remains {
        let mut units = WORK_UNITS;
        if self.take_unread(key, &mut units, io) == Remains::More {
            return Remains::More;
        }
        let Some(link) = self.links.get_mut(key) else { return Remains::Nothing };
        if link.is_waiting() || !link.has_input {
            return Remains::Nothing;
        }
        if matches!(link.stage, Stage::Lingering) {
            return self.discard(key, scratch, io);
        }
        if link.unread.len() > READ_BYTES / 2 {
            return self.read_large(key, io);
        }
        // The start of a packet goes in front of what is read, so that packets lie in one piece.
        let kept = link.unread.len();
        scratch[..kept].copy_from_slice(&link.unread);
        link.unread = Vec::new();
        let result = io.read(key, &mut scratch[kept..]);
        if matches!(link.stage, Stage::Connecting)
            && let Some(client) = io.client(key)
        {
            // What comes of a client behind a proxy is logged with its own address, from the first mistake on.
            let before = std::mem::replace(&mut link.address, client);
            if client.ip() != before.ip() && !self.enter_address(key) {
                self.lose(key, None, io);
                return Remains::Nothing;
            }
        }
        let received = match result {
            Ok(Received { bytes: 0, .. }) => {
                self.on_end_of_input(key, io);
                return Remains::Nothing;
            }
            Ok(received) => received,
            Err(error) => {
                if let Some(link) = self.links.get_mut(key) {
                    link.unread = scratch[..kept].to_vec();
                }
                return self.on_read_error(key, &error, io);
            }
        };
        self.counters().bytes_received.add(received.bytes as u64);
        let filled = &scratch[..kept + received.bytes];
        let used = self.consume(key, filled, &mut units, io);
        let Some(link) = self.links.get_mut(key) else { return Remains::Nothing };
        if used < filled.len() {
            link.unread = filled[used..].to_vec();
            link.has_packets = units == 0 || link.is_waiting();
        }
        // Once it is drained, the next arrival is reported.
        link.has_input = !received.is_drained || link.is_closed;
        let has_more = (link.has_input || link.has_packets) && !link.is_waiting();
        if has_more { Remains::More } else { Remains::Nothing }
    }

    /// The peer has ended its side. What it was still to be told is written all the same: it may
    /// have closed one direction only.
    fn on_end_of_input(&mut self, key: Key, io: &mut dyn Io) {
        let link = self.links.get(key);
        let is_owed = link.is_some_and(|link| {
            (link.unsent_bytes() > 0 || io.has_unsent(key) || link.holds())
                && !link.is_leaving
                && matches!(link.stage, Stage::Open(_))
        });
        if is_owed {
            self.end_link(key, Ending::Abnormal(ReasonCode::SUCCESS));
        } else {
            self.lose(key, None, io);
        }
    }

    /// Handles whole packets that were read earlier.
    fn take_unread(&mut self, key: Key, units: &mut usize, io: &mut dyn Io) -> Remains {
        let Some(link) = self.links.get_mut(key) else { return Remains::Nothing };
        if !link.has_packets || link.is_waiting() {
            return Remains::Nothing;
        }
        let mut unread = std::mem::take(&mut link.unread);
        link.has_packets = false;
        let used = self.consume(key, &unread, units, io);
        let Some(link) = self.links.get_mut(key) else { return Remains::Nothing };
        unread.drain(..used);
        if unread.capacity() > 2 * unread.len() + 64 {
            unread.shrink_to_fit();
        }
        link.unread = unread;
        link.has_packets = !link.unread.is_empty() && (*units == 0 || link.is_waiting());
        if *units == 0 && !link.is_waiting() { Remains::More } else { Remains::Nothing }
    }

    /// Reads on into a packet that is too large for the shared buffer. Memory grows with what has
    /// arrived, never with what was announced.
    fn read_large(&mut self, key: Key, io: &mut dyn Io) -> Remains {
        let Some(link) = self.links.get_mut(key) else { return Remains::Nothing };
        let kept = link.unread.len();
        let mut unread = std::mem::take(&mut link.unread);
        unread.resize(kept + READ_BYTES, 0);
        let result = io.read(key, &mut unread[kept..]);
        unread.truncate(kept + result.as_ref().map_or(0, |received| received.bytes));
        let Some(link) = self.links.get_mut(key) else { return Remains::Nothing };
        link.unread = unread;
        match result {
            Ok(Received { bytes: 0, .. }) => {
                self.lose(key, None, io);
                Remains::Nothing
            }
            Ok(received) => {
                link.has_input = !received.is_drained || link.is_closed;
                link.has_packets = true;
                self.counters().bytes_received.add(received.bytes as u64);
                Remains::More
            }
            Err(error) => self.on_read_error(key, &error, io),
        }
    }

    /// Throws away what a peer still sends after its last packet was written.
    fn discard(&mut self, key: Key, scratch: &mut [u8], io: &mut dyn Io) -> Remains {
        match io.read(key, scratch) {
            Ok(Received { bytes: 0, .. }) => {
                // What is unsent may still be wanted: the flush, or the timer, ends it.
                match self.links.get_mut(key) {
                    Some(link) if link.unsent_bytes() > 0 || io.has_unsent(key) => {
                        link.has_input = false;
                    }
                    Some(_) | None => self.lose(key, None, io),
                }
                Remains::Nothing
            }
            Ok(received) => {
                let Some(link) = self.links.get_mut(key) else { return Remains::Nothing };
                link.has_input = !received.is_drained || link.is_closed;
                if link.has_input { Remains::More } else { Remains::Nothing }
            }
            Err(error) => self.on_read_error(key, &error, io),
        }
    }

    fn on_read_error(&mut self, key: Key, error: &io::Error, io: &mut dyn Io) -> Remains {
        match error.kind() {
            io::ErrorKind::WouldBlock => {
                if let Some(link) = self.links.get_mut(key) {
                    link.has_input = false;
                }
                Remains::Nothing
            }
            io::ErrorKind::Interrupted => Remains::More,
            io::ErrorKind::InvalidData => {
                self.counters().transport_errors.add(1);
                if let Some(link) = self.links.get(key) {
                    tracing::info!(address = %link.address, %error, "connection refused");
                }
                self.end_link(key, Ending::Abnormal(ReasonCode::PROTOCOL_ERROR));
                Remains::Nothing
            }
            _ => {
                self.lose(key, Some(error), io);
                Remains::Nothing
            }
        }
    }

    /// Handles the packets in `bytes`, as long as there is work to spend. Returns how many bytes
    /// are done with.
    fn consume(&mut self, key: Key, bytes: &[u8], units: &mut usize, io: &mut dyn Io) -> usize {
        let mut used = 0;
        while *units > 0 {
            let Some(link) = self.links.get_mut(key) else { return bytes.len() };
            let rest = &bytes[used..];
            let bytes_max = match link.stage {
                // [MQTT-3.1.0-1]: whoever begins otherwise speaks something else, and gets no answer.
                Stage::Connecting if rest.first().is_some_and(|byte| byte >> 4 != CONNECT) => {
                    self.fail(key, ReasonCode::PROTOCOL_ERROR, &"the first packet is no CONNECT");
                    return bytes.len();
                }
                Stage::Connecting | Stage::Authenticating(_) => {
                    self.rules.config.limits.before_connack_bytes_max
                }
                Stage::Open(_) => {
                    let own = link.bounds.as_ref().and_then(|bounds| bounds.packet_bytes_max());
                    own.unwrap_or(self.rules.config.limits.packet_bytes_max)
                }
                Stage::Lingering => return bytes.len(),
            };
            if link.is_waiting() {
                return used;
            }
            match next_frame(rest, bytes_max) {
                Ok(Framing::Complete { frame, consumed }) => {
                    let is_fresh = matches!(link.stage, Stage::Connecting);
                    let is_bounded = link.bounds.is_some();
                    link.last_packet_at = self.now;
                    if is_fresh {
                        if self.on_first_packet(key, frame, rest, io) {
                            return bytes.len();
                        }
                        self.counters().packets_received.add(1);
                        used += consumed;
                        *units -= 1;
                        continue;
                    }
                    used += consumed;
                    self.counters().packets_received.add(1);
                    let is_publish = frame.first_byte >> 4 == PUBLISH;
                    if is_bounded && !self.charge_input(key, consumed, is_publish) {
                        return bytes.len();
                    }
                    let work = self.on_packet(key, frame);
                    *units = units.saturating_sub(work.max(1));
                }
                Ok(Framing::Incomplete { .. }) => return used,
                Err(error) => {
                    self.fail(key, error.reason_code(), &error);
                    return bytes.len();
                }
            }
        }
        used
    }

    /// Handles a packet of a link whose CONNECT was read. Returns the work it was.
    #[inline]
    fn on_packet(&mut self, key: Key, frame: Frame<'_>) -> usize {
        if frame.first_byte >> 4 == PUBLISH {
            return self.on_publish(key, frame);
        }
        // Nearly all acknowledgements are an identifier and nothing else, which means success.
        if let ([high, low], Some(kind)) = (frame.body, ack_kind(frame.first_byte))
            && let Some(packet_id) = PacketId::new(u16::from_be_bytes([*high, *low]))
        {
            self.on_ack(key, kind, packet_id, ReasonCode::SUCCESS);
        } else {
            self.on_other_packet(key, frame);
        }
        1
    }

    fn on_other_packet(&mut self, key: Key, frame: Frame<'_>) {
        let Some(link) = self.links.get_mut(key) else { return };
        let version = link.version();
        let is_open = matches!(link.stage, Stage::Open(_));
        let packet = match Packet::decode(frame, version) {
            Ok(packet) => packet,
            Err(error) => {
                self.fail(key, error.reason_code(), &error);
                return;
            }
        };
        match packet {
            Packet::Auth(auth) => self.on_auth(key, &auth),
            Packet::Disconnect(disconnect) => self.on_disconnect(key, &disconnect),
            // While an authentication goes on, a client sends nothing else ([MQTT-3.1.2-30]).
            _ if !is_open => self.reject_early_packet(key),
            Packet::PubAck(ack) => {
                self.on_ack(key, PacketKind::PubAck, ack.packet_id, ack.reason);
            }
            Packet::PubRec(ack) => {
                self.on_ack(key, PacketKind::PubRec, ack.packet_id, ack.reason);
            }
            Packet::PubRel(ack) => {
                self.on_ack(key, PacketKind::PubRel, ack.packet_id, ack.reason);
            }
            Packet::PubComp(ack) => {
                self.on_ack(key, PacketKind::PubComp, ack.packet_id, ack.reason);
            }
            Packet::Subscribe(subscribe) => self.on_subscribe(key, &subscribe),
            Packet::Unsubscribe(unsubscribe) => self.on_unsubscribe(key, &unsubscribe),
            Packet::PingReq => self.on_ping(key),
            Packet::Publish(_) => {
                self.on_publish(key, frame);
            }
            // [MQTT-3.1.0-2]
            Packet::Connect(_) => {
                self.fail(key, ReasonCode::PROTOCOL_ERROR, &"second CONNECT");
            }
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                self.fail(key, ReasonCode::PROTOCOL_ERROR, &"packet that only a server sends");
            }
        }
    }

    /// Answers a PINGREQ ([MQTT-3.12.4-1]), which comes when there is no traffic: a good moment to
    /// give back what traffic needs.
    fn on_ping(&mut self, key: Key) {
        let session = self.links.get_mut(key).and_then(|link| link.open()).map(|open| open.session);
        if let Some(session) = session.and_then(|session| self.sessions.get_mut(session)) {
            session.protocol.release_idle();
        }
        self.append_output(key, &PINGRESP);
    }

    /// Ends a link whose peer broke the protocol. Returns the work it was, for those who count.
    pub(super) fn fail(&mut self, key: Key, reason: ReasonCode, why: &dyn Display) -> usize {
        self.counters().protocol_errors.add(1);
        if let Some(link) = self.links.get(key) {
            tracing::debug!(address = %link.address, %why, "the peer broke the protocol");
        }
        match self.links.get(key).map(|link| (&link.stage, link.version())) {
            Some((Stage::Authenticating(_), version)) => self.refuse(key, version, reason),
            _ => self.end_link(key, Ending::Abnormal(reason)),
        }
        1
    }
}

const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;

/// Returns which acknowledgement begins with this byte.
#[inline]
fn ack_kind(first_byte: u8) -> Option<PacketKind> {
    match first_byte {
        0x40 => Some(PacketKind::PubAck),
        0x50 => Some(PacketKind::PubRec),
        0x62 => Some(PacketKind::PubRel),
        0x70 => Some(PacketKind::PubComp),
        _ => None,
    }
}

/// The only PINGRESP there is.
const PINGRESP: [u8; 2] = [0xD0, 0x00];
