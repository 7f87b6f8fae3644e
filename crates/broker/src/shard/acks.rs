//! PUBACK, PUBREC, PUBREL and PUBCOMP from clients.

use quelea_codec::{PacketId, PacketKind, ReasonCode};
use quelea_session::{
    AfterPuback, AfterPubcomp, AfterPubrec, AfterPubrel, Position, Pumped, Violation,
};
use quelea_store::{Operation, Submission};

use super::Shard;
use super::held::{Held, HeldEntry};
use super::link::Stage;
use crate::arena::Key;

impl Shard {
    /// Handles any of the four acknowledgements.
    #[inline]
    pub(super) fn on_ack(
        &mut self,
        key: Key,
        kind: PacketKind,
        packet_id: PacketId,
        reason: ReasonCode,
    ) {
        match self.links.get(key).map(|link| &link.stage) {
            Some(Stage::Open(_)) => {}
            Some(Stage::Connecting | Stage::Authenticating(_) | Stage::Lingering) | None => {
                self.reject_early_packet(key);
                return;
            }
        }
        match kind {
            PacketKind::PubAck => self.on_puback(key, packet_id, reason),
            PacketKind::PubRec => self.on_pubrec(key, packet_id, reason),
            PacketKind::PubRel => self.on_pubrel(key, packet_id),
            _ => self.on_pubcomp(key, packet_id),
        }
    }

    /// Handles a PUBACK: its message is done.
    #[inline]
    fn on_puback(&mut self, key: Key, packet_id: PacketId, reason: ReasonCode) {
        let Some(link) = self.links.get_mut(key) else { return };
        let Stage::Open(open) = &mut link.stage else { return };
        let session_key = open.session;
        let Some(session) = self.sessions.get_mut(session_key) else { return };
        let connection = &mut open.connection;
        match session.protocol.on_puback(connection, packet_id, reason, &mut self.effects) {
            Ok(AfterPuback::Freed { .. } | AfterPuback::Refused { .. }) => {
                self.after_acknowledgement(key, session_key);
            }
            // It was acknowledged before, on a connection that ended before we read it.
            Ok(AfterPuback::Unknown) => {}
            Err(violation) => {
                self.fail(key, violation.reason_code(), &violation);
            }
        }
    }

    fn on_pubrec(&mut self, key: Key, packet_id: PacketId, reason: ReasonCode) {
        let Some(link) = self.links.get_mut(key) else { return };
        let Stage::Open(open) = &mut link.stage else { return };
        let session_key = open.session;
        let Some(session) = self.sessions.get_mut(session_key) else { return };
        let connection = &mut open.connection;
        match session.protocol.on_pubrec(connection, packet_id, reason, &mut self.effects) {
            Ok(AfterPubrec::Release { position }) => match session.number() {
                Some(number) => {
                    let after = self.submit(Operation::Received { session: number, position });
                    let held = Held::Pubrel { packet_id };
                    self.hold(Some(key), HeldEntry { after, grace: 0, held });
                }
                None => self.send_pubrel(key, packet_id, ReasonCode::SUCCESS),
            },
            Ok(AfterPubrec::ReleaseAgain) => self.send_pubrel(key, packet_id, ReasonCode::SUCCESS),
            Ok(AfterPubrec::WaitsForFirst) => {}
            Ok(AfterPubrec::Refused { .. }) => self.after_acknowledgement(key, session_key),
            Ok(AfterPubrec::Unknown) => {
                self.send_pubrel(key, packet_id, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND);
            }
            Err(violation) => {
                self.fail(key, violation.reason_code(), &violation);
            }
        }
    }

    /// Sends PUBREL for an exchange of the link's session.
    pub(super) fn send_pubrel(&mut self, key: Key, packet_id: PacketId, reason: ReasonCode) {
        let Some(link) = self.links.get_mut(key) else { return };
        let Stage::Open(open) = &mut link.stage else { return };
        let Some(session) = self.sessions.get_mut(open.session) else { return };
        let connection = &mut open.connection;
        session.protocol.finish_pubrec(connection, packet_id, reason, &mut link.output);
        self.mark_dirty(key);
    }

    fn on_pubcomp(&mut self, key: Key, packet_id: PacketId) {
        let Some(link) = self.links.get_mut(key) else { return };
        let Stage::Open(open) = &mut link.stage else { return };
        let session_key = open.session;
        let Some(session) = self.sessions.get_mut(session_key) else { return };
        let connection = &mut open.connection;
        match session.protocol.on_pubcomp(connection, packet_id, &mut self.effects) {
            Ok(AfterPubcomp::Freed { .. }) => self.after_acknowledgement(key, session_key),
            Ok(AfterPubcomp::Unknown) => {}
            Err(violation) => {
                self.fail(key, violation.reason_code(), &violation);
            }
        }
    }

    /// Handles a PUBREL.
    ///
    /// Policy: one that did not wait for its PUBREC is handled when that has been sent. Otherwise it would
    /// depend on the speed of the store whether such a client is served or disconnected.
    fn on_pubrel(&mut self, key: Key, packet_id: PacketId) {
        let Some(link) = self.links.get_mut(key) else { return };
        let holds = link.holds();
        let Stage::Open(open) = &mut link.stage else { return };
        let Some(session) = self.sessions.get_mut(open.session) else { return };
        if holds && session.protocol.on_pubrel(packet_id) == Err(Violation::PubrelTooEarly) {
            let held = Held::EarlyPubrel { packet_id };
            self.hold(Some(key), HeldEntry { after: Submission(0), grace: 0, held });
        } else {
            self.complete_received(key, packet_id);
        }
    }

    /// Ends the exchange of a message whose PUBREL has come.
    pub(super) fn complete_received(&mut self, key: Key, packet_id: PacketId) {
        let Some(link) = self.links.get_mut(key) else { return };
        let Stage::Open(open) = &mut link.stage else { return };
        let Some(session) = self.sessions.get_mut(open.session) else { return };
        match session.protocol.on_pubrel(packet_id) {
            Ok(AfterPubrel::Complete) => {
                let reason = ReasonCode::SUCCESS;
                let Some(number) = session.number() else {
                    self.send_pubcomp(key, packet_id, reason);
                    return;
                };
                let after = self.submit(Operation::Release { session: number, packet_id });
                let held = Held::Pubcomp { packet_id };
                self.hold(Some(key), HeldEntry { after, grace: 0, held });
            }
            // Answered all the same: the client may have lost our PUBCOMP.
            Ok(AfterPubrel::Unknown) => {
                self.send_pubcomp(key, packet_id, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND);
            }
            Err(violation) => {
                self.fail(key, violation.reason_code(), &violation);
            }
        }
    }

    /// Sends PUBCOMP for an exchange of the link's session.
    pub(super) fn send_pubcomp(&mut self, key: Key, packet_id: PacketId, reason: ReasonCode) {
        let Some(link) = self.links.get_mut(key) else { return };
        let Stage::Open(open) = &mut link.stage else { return };
        let Some(session) = self.sessions.get_mut(open.session) else { return };
        let connection = &mut open.connection;
        session.protocol.finish_pubrel(connection, packet_id, reason, &mut link.output);
        self.mark_dirty(key);
    }

    /// Tells the store what is done, and sends what the freed window lets through.
    #[inline]
    fn after_acknowledgement(&mut self, key: Key, session_key: Key) {
        let Some(session) = self.sessions.get(session_key) else { return };
        if session.extra.is_none() && !session.protocol.wants_pump() {
            return;
        }
        self.pump(key, session_key);
    }

    /// Sends what a session's window and its link's buffer let through.
    pub(super) fn pump(&mut self, key: Key, session_key: Key) {
        let bytes_max = self.rules.config.limits.write_buffer_bytes_max as usize;
        let Some(session) = self.sessions.get_mut(session_key) else { return };
        let Some(link) = self.links.get_mut(key) else { return };
        if session.protocol.wants_pump() && link.is_answered {
            if link.output.capacity() == 0 {
                link.output = self.buffers.pop().unwrap_or_default();
            }
            let Some((connection, mut outbox)) = link.sender(bytes_max) else { return };
            let retained = &self.shared.retained;
            let is_latest = |topic: &str, order: u64| {
                retained.read(topic).is_some_and(|value| value.order == order)
            };
            let mark = session.extra.as_ref().and_then(|extra| extra.kept.as_ref());
            let mark = mark.map_or(Position::new(u64::MAX), |kept| kept.mark());
            let (now, effects) = (self.now, &mut self.effects);
            let protocol = &mut session.protocol;
            let pumped = protocol.pump(connection, now, mark, &is_latest, &mut outbox, effects);
            let is_unfinished = pumped == Pumped::Unfinished;
            if is_unfinished || link.unsent_bytes() > 0 {
                self.mark_dirty(key);
            }
        }
        self.settle(session_key);
        self.extend_mark(session_key);
        self.refill(session_key);
        self.continue_cursors(session_key);
    }

    /// After something happened to a session's queue: tells the store which entries are done, and
    /// the other shards how much room there is.
    pub(super) fn settle(&mut self, session_key: Key) {
        let left = std::mem::take(&mut self.effects.left_messages);
        let left_bytes = std::mem::take(&mut self.effects.left_bytes);
        self.give_back(session_key, left, left_bytes);
        if let Some(session) = self.sessions.get_mut(session_key) {
            session.settle_gauge();
            if let (Some(number), false) = (session.number(), self.effects.finished.is_empty()) {
                self.finish_all(number);
            }
        }
        self.effects.finished.clear();
        self.count_effects();
    }
}
