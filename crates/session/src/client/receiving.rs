//! Packets of the broker.

use alloc::vec::Vec;

use quelea_codec::{
    Ack, ConnAck, Packet, PacketKind, Publish, QoS, ReasonCode, SubAck, UnsubAck, Version,
};

use super::accepted::Slot;
use super::event::{Done, Event, Incoming, Outcome, Resumption};
use super::fault::Fault;
use super::keep_alive::KeepAlive;
use super::requests::Answer;
use super::{AckOrder, ClientSession, Link, Phase, Receipt, unexpected};
use crate::Time;
use crate::acknowledging::{AfterPuback, AfterPubcomp, AfterPubrec};
use crate::connection::Connection;
use crate::publishing::{AfterPubrel, Duplicate};
use crate::session::{Class, Session};

impl<T> ClientSession<T> {
    /// Handles a packet of the broker, and writes what is due at once.
    ///
    /// Messages that are done with, and that this packet does not acknowledge, are added to `done`.
    ///
    /// # Errors
    ///
    /// A [`Fault`] ends the connection: the host calls [`disconnect`](Self::disconnect) with its reason code, and
    /// closes.
    pub fn on_packet<'p>(
        &mut self,
        now: Time,
        packet: &Packet<'p>,
        out: &mut Vec<u8>,
        done: &mut Vec<Done<T>>,
    ) -> Result<Event<'p, T>, Fault> {
        match packet {
            Packet::ConnAck(connack) => self.on_connack(now, connack, done),
            Packet::Auth(auth) => self.on_auth(auth),
            Packet::Disconnect(disconnect) => self.on_disconnect(disconnect),
            _ => {
                // Nothing but these comes before CONNACK ([MQTT-3.2.0-1]).
                let (kind, link) =
                    (packet.kind(), self.phase.link().ok_or(unexpected(packet.kind()))?);
                match packet {
                    Packet::Publish(publish) => {
                        on_publish(&mut self.session, &mut self.acks, link, publish, out)
                    }
                    Packet::PubRel(ack) => on_pubrel(&mut self.session, link, ack, out),
                    Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubComp(ack) => {
                        self.on_ack(kind, ack, out)
                    }
                    Packet::SubAck(suback) => self.on_suback(suback),
                    Packet::UnsubAck(unsuback) => self.on_unsuback(unsuback),
                    Packet::PingResp => Ok(Event::Nothing),
                    Packet::ConnAck(_)
                    | Packet::Auth(_)
                    | Packet::Disconnect(_)
                    | Packet::Connect(_)
                    | Packet::Subscribe(_)
                    | Packet::Unsubscribe(_)
                    | Packet::PingReq => Err(unexpected(kind)),
                }
            }
        }
    }

    /// Acknowledges a message, once the application has it.
    ///
    /// A reason that is a failure refuses it: MQTT 3.x has no way to say so, and it is acknowledged. Does nothing
    /// for a receipt that was used before, and for QoS 1 on an earlier connection, whose message comes again.
    pub fn acknowledge(&mut self, receipt: Receipt, reason: ReasonCode, out: &mut Vec<u8>) {
        if let Some(packet_id) = self.acks.answer(receipt, reason) {
            self.session.settle_publish(packet_id, reason);
        }
        if let Some(link) = self.phase.link() {
            flush_acks(&mut self.session, &mut self.acks, &mut link.connection, out);
        }
    }

    /// Notes that the application will never acknowledge a message: the broker is to send it again on the next
    /// connection. Until then nothing that came after it is acknowledged, because that has to be in order.
    pub fn abandon(&mut self, receipt: Receipt) {
        if let Some(packet_id) = self.acks.abandon(receipt) {
            self.session.settle_publish(packet_id, ReasonCode::UNSPECIFIED_ERROR);
        }
    }

    fn on_connack<'p>(
        &mut self,
        now: Time,
        connack: &ConnAck<'p>,
        done: &mut Vec<Done<T>>,
    ) -> Result<Event<'p, T>, Fault> {
        let asked = match core::mem::replace(&mut self.phase, Phase::Closing) {
            Phase::Connecting(asked) => asked,
            other => {
                self.phase = other;
                return Err(unexpected(PacketKind::ConnAck));
            }
        };
        let ConnAck { session_present, reason, properties } = *connack;
        if reason.is_failure() {
            return Ok(Event::Refused { reason, properties });
        }
        let result = if session_present && asked.clean_start {
            // [MQTT-3.2.2-4]. Policy: a client that asked for its old session has a state, if only an empty one.
            Err(Fault::SessionPresent)
        } else if properties
            .authentication_method
            .is_some_and(|it| Some(it) != asked.method.as_deref())
        {
            Err(Fault::AuthenticationMethod)
        } else {
            Ok(())
        };
        if let Err(fault) = result {
            // So that a DISCONNECT can be written.
            self.phase = Phase::Connecting(asked);
            return Err(fault);
        }
        // MQTT 3.1 has no Session Present.
        let resumption = match (session_present, asked.clean_start, asked.version) {
            (true, _, _) => Resumption::Resumed,
            (false, false, Version::V31) => Resumption::Presumed,
            (false, _, _) => Resumption::New,
        };
        let offer = asked.offer(&properties);
        let mut negotiated = asked.negotiated(&offer, &properties, self.settings.send_window_max);
        negotiated.topic_alias_maximum_out =
            negotiated.topic_alias_maximum_out.min(self.settings.topic_alias_maximum_out);
        let connection = Connection::to_server(&negotiated);
        self.keep_alive =
            KeepAlive::new(offer.keep_alive_secs, self.settings.ping_patience_millis, now);
        self.phase =
            Phase::Connected(Link { asked, offer, connection, is_reauthenticating: false });
        if resumption == Resumption::New {
            self.start_anew(done);
        }
        self.restore(done);
        Ok(Event::Connected { resumption, properties })
    }

    /// Discards what we knew of a session that the broker does not have ([MQTT-3.2.2-5]).
    ///
    /// The messages in it are the application's. Those at QoS 1 that are not acknowledged are published in the new
    /// session; those at QoS 2 that were sent may have been received, and are not.
    fn start_anew(&mut self, done: &mut Vec<Done<T>>) {
        let sent_before = self.session.sent_before();
        self.session = Session::new(Class::Durable);
        self.acks.forget_orphans();
        let mut from = crate::Position::new(0);
        while let Some(slot) = self.accepted.first_from(from) {
            let position = slot.position;
            if position >= sent_before {
                break;
            }
            if slot.qos == QoS::ExactlyOnce
                && let Some(slot) = self.accepted.remove(position)
            {
                done.push(Done { ticket: slot.ticket, position, outcome: Outcome::Unknown });
            }
            from = position.plus(1);
        }
    }

    fn on_disconnect<'p>(
        &mut self,
        disconnect: &quelea_codec::Disconnect<'p>,
    ) -> Result<Event<'p, T>, Fault> {
        match &self.phase {
            // MQTT 3.x has no DISCONNECT of a server.
            Phase::Connected(link) if link.asked.version.is_v5() => {
                self.phase = Phase::Closing;
                Ok(Event::Disconnected(*disconnect))
            }
            Phase::Closing => Ok(Event::Disconnected(*disconnect)),
            Phase::Connected(_) | Phase::Connecting(_) | Phase::Offline => {
                Err(unexpected(PacketKind::Disconnect))
            }
        }
    }

    fn on_ack<'p>(
        &mut self,
        kind: PacketKind,
        ack: &Ack<'p>,
        out: &mut Vec<u8>,
    ) -> Result<Event<'p, T>, Fault> {
        let Self { session, phase, fx, .. } = self;
        let Some(Link { connection, .. }) = phase.link() else {
            return Ok(Event::Nothing);
        };
        fx.clear();
        match kind {
            PacketKind::PubAck => {
                match session.on_puback(connection, ack.packet_id, ack.reason, fx)? {
                    AfterPuback::Freed { .. }
                    | AfterPuback::Refused { .. }
                    | AfterPuback::Unknown => {}
                }
            }
            PacketKind::PubRec => return self.on_pubrec(ack, out),
            _ => match session.on_pubcomp(connection, ack.packet_id, fx)? {
                AfterPubcomp::Freed { .. } | AfterPubcomp::Unknown => {}
            },
        }
        Ok(self.acknowledged(ack))
    }

    fn on_pubrec<'p>(&mut self, ack: &Ack<'p>, out: &mut Vec<u8>) -> Result<Event<'p, T>, Fault> {
        let Self { session, phase, fx, accepted, settings, .. } = self;
        let Some(Link { connection, .. }) = phase.link() else {
            return Ok(Event::Nothing);
        };
        let after = session.on_pubrec(connection, ack.packet_id, ack.reason, fx)?;
        let reason = match after {
            AfterPubrec::Release { position } => {
                if let Some(slot) = accepted.find_mut(position) {
                    // [MQTT-4.3.3-6]: its body is of no more use.
                    slot.message = None;
                    slot.reason = ack.reason;
                }
                if settings.keeps_beyond_process {
                    return Ok(Event::Received { position });
                }
                ReasonCode::SUCCESS
            }
            AfterPubrec::ReleaseAgain => ReasonCode::SUCCESS,
            AfterPubrec::Unknown => ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
            AfterPubrec::Refused { .. } => return Ok(self.acknowledged(ack)),
            AfterPubrec::WaitsForFirst => return Ok(Event::Nothing),
        };
        session.finish_pubrec(connection, ack.packet_id, reason, out);
        Ok(Event::Nothing)
    }

    /// Takes out the message whose exchange has just ended, if one did.
    fn acknowledged<'p>(&mut self, ack: &Ack<'p>) -> Event<'p, T> {
        let finished = self.fx.finished.pop();
        let Some(slot) = finished.and_then(|position| self.accepted.remove(position)) else {
            return Event::Nothing;
        };
        // What PUBREC said is the broker's word on the message; PUBCOMP only ends the exchange.
        let reason = if slot.is_released() { slot.reason } else { ack.reason };
        let Slot { ticket, position, .. } = slot;
        Event::Acknowledged { ticket, position, reason, properties: ack.properties }
    }

    fn on_suback<'p>(&mut self, suback: &SubAck<'p>) -> Result<Event<'p, T>, Fault> {
        let SubAck { packet_id, reasons, properties } = *suback;
        match self.requests.close(packet_id, PacketKind::SubAck, Some(reasons.len())) {
            Answer::Expected => Ok(Event::Subscribed { request: packet_id, reasons, properties }),
            Answer::Miscounted => Err(Fault::ReasonsMiscounted),
            Answer::Unknown => Err(unexpected(PacketKind::SubAck)),
        }
    }

    fn on_unsuback<'p>(&mut self, unsuback: &UnsubAck<'p>) -> Result<Event<'p, T>, Fault> {
        let UnsubAck { packet_id, reasons, properties } = *unsuback;
        // UNSUBACK has reason codes in 5.0 only.
        let is_v5 = self.version().is_some_and(|it| it.is_v5());
        let reason_count = is_v5.then_some(reasons.len());
        match self.requests.close(packet_id, PacketKind::UnsubAck, reason_count) {
            Answer::Expected => Ok(Event::Unsubscribed { request: packet_id, reasons, properties }),
            Answer::Miscounted => Err(Fault::ReasonsMiscounted),
            Answer::Unknown => Err(unexpected(PacketKind::UnsubAck)),
        }
    }
}

impl Phase {
    pub(super) fn link(&mut self) -> Option<&mut Link> {
        match self {
            Self::Connected(link) => Some(link),
            Self::Offline | Self::Connecting(_) | Self::Closing => None,
        }
    }
}

fn on_publish<'p, T>(
    session: &mut Session,
    acks: &mut AckOrder,
    link: &mut Link,
    publish: &Publish<'p>,
    out: &mut Vec<u8>,
) -> Result<Event<'p, T>, Fault> {
    let connection = &mut link.connection;
    let inbound = session.on_publish(connection, publish)?;
    let Some(packet_id) = publish.packet_id else {
        return Ok(Event::Message(Incoming {
            topic: inbound.topic,
            publish: *publish,
            receipt: None,
        }));
    };
    match inbound.duplicate {
        Duplicate::No => {
            let receipt = Some(acks.push(packet_id, publish.qos, None));
            Ok(Event::Message(Incoming { topic: inbound.topic, publish: *publish, receipt }))
        }
        Duplicate::WaitsForFirst => {
            acks.repeat(packet_id);
            Ok(Event::Nothing)
        }
        // [MQTT-4.3.3-10]
        Duplicate::Repeat => {
            acks.push(packet_id, publish.qos, Some(ReasonCode::SUCCESS));
            flush_acks(session, acks, connection, out);
            Ok(Event::Nothing)
        }
    }
}

fn on_pubrel<'p, T>(
    session: &mut Session,
    link: &mut Link,
    ack: &Ack<'_>,
    out: &mut Vec<u8>,
) -> Result<Event<'p, T>, Fault> {
    let reason = match session.on_pubrel(ack.packet_id)? {
        AfterPubrel::Complete => ReasonCode::SUCCESS,
        AfterPubrel::Unknown => ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
    };
    session.finish_pubrel(&mut link.connection, ack.packet_id, reason, out);
    Ok(Event::Nothing)
}

/// Writes the acknowledgements whose turn it is.
fn flush_acks(
    session: &mut Session,
    acks: &mut AckOrder,
    connection: &mut Connection,
    out: &mut Vec<u8>,
) {
    while let Some((owed, reason)) = acks.pop() {
        session.finish_publish(connection, owed.qos, owed.packet_id, reason, out);
    }
}
