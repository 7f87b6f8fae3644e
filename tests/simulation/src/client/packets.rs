//! What a client does with what the broker sends.

use std::io::ErrorKind;

use quelea_codec::{
    Ack, Framing, Packet, PacketId, PacketKind, Publish, PublishProperties, QoS, ReasonCode,
    Version, next_frame,
};

use super::{Asked, Client, Exchange, Hands, Mode};
use crate::fact::{Deed, Delivery, MessageId, Spec};
use crate::setting::SECOND;

impl Client {
    /// Its connection has something to read, or room to write.
    pub(crate) fn on_ready(&mut self, hands: &mut Hands<'_>) {
        self.flush(hands);
        self.read(hands);
        self.close_old_links(hands);
    }

    fn close_old_links(&mut self, hands: &mut Hands<'_>) {
        let mut buffer = [0; 1_024];
        self.old_links.retain(|number| {
            loop {
                match hands.wires.client_read(*number, &mut buffer) {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                    Err(_) => break,
                }
            }
            hands.wires.client_close(*number);
            false
        });
    }

    pub(super) fn read(&mut self, hands: &mut Hands<'_>) {
        let mut buffer = [0; 4_096];
        loop {
            let Some(link) = self.link.as_mut() else { return };
            if link.dozes_until > hands.now {
                return;
            }
            match hands.wires.client_read(link.number, &mut buffer) {
                Ok(0) => return self.on_end(hands),
                Ok(count) => {
                    link.input.extend_from_slice(&buffer[..count]);
                    link.last_read_at = hands.now;
                    self.take_packets(hands);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return self.drop_link(hands, false),
            }
        }
        if self.mode != Mode::Active || self.random.percent(80) {
            let now = hands.now;
            self.link.iter_mut().for_each(|link| link.write_answers(now));
        }
        self.flush(hands);
    }

    /// The broker has closed.
    fn on_end(&mut self, hands: &mut Hands<'_>) {
        let Some(link) = &self.link else { return };
        // It closes for this reason alone if it has read DISCONNECT, and has not said anything else.
        let is_acknowledged =
            link.is_leaving && !link.is_dismissed && hands.wires.is_all_read(link.number);
        if !link.is_leaving && link.is_open && !link.is_dismissed && hands.is_up {
            hands.judge.say(|| "closed without a word".to_owned());
        }
        self.drop_link(hands, is_acknowledged);
    }

    fn take_packets(&mut self, hands: &mut Hands<'_>) {
        let Some(link) = self.link.as_mut() else { return };
        let input = std::mem::take(&mut link.input);
        let mut used = 0;
        loop {
            let Some(version) = self.link.as_ref().map(|link| link.version) else { return };
            match next_frame(&input[used..], u32::MAX) {
                Ok(Framing::Complete { frame, consumed }) => {
                    used += consumed;
                    match Packet::decode(frame, version) {
                        Ok(packet) => self.on_packet(&packet, hands),
                        Err(error) => self.complain(hands, &format!("cannot be read: {error}")),
                    }
                }
                Ok(Framing::Incomplete { .. }) => break,
                Err(error) => return self.complain(hands, &format!("cannot be framed: {error}")),
            }
        }
        if let Some(link) = self.link.as_mut() {
            link.input = input[used..].to_vec();
        }
    }

    /// The broker breaks the protocol.
    fn complain(&self, hands: &mut Hands<'_>, what: &str) {
        hands.judge.fail(format!("client {}: {what}", self.index));
    }

    fn on_packet(&mut self, packet: &Packet<'_>, hands: &mut Hands<'_>) {
        match packet {
            Packet::ConnAck(connack) => {
                let Some(link) = self.link.as_mut() else { return };
                if connack.reason.is_failure() {
                    link.is_dismissed = true;
                    hands.judge.note_deed(self.index, Deed::Refused);
                    return;
                }
                link.is_open = true;
                let properties = &connack.properties;
                link.quota = properties.receive_maximum.map_or(65_535, |it| it.get().into());
                let expiry_secs = properties.session_expiry_secs.unwrap_or(link.expiry_secs);
                // MQTT 3.1 does not say: who asks for the session has it, or one like it.
                let is_resumed = match link.version {
                    Version::V31 => !link.is_clean && self.may_have_session,
                    Version::V311 | Version::V5 => connack.session_present,
                };
                self.may_have_session = !link.is_clean;
                self.begins_anew = false;
                let deed = Deed::Welcomed { is_resumed, expiry_secs };
                hands.judge.note_deed(self.index, deed);
                self.on_welcome(is_resumed, hands);
            }
            Packet::Publish(publish) => self.on_publish(publish, hands),
            Packet::PubAck(ack) => self.on_ack(PacketKind::PubAck, ack, hands),
            Packet::PubRec(ack) => self.on_ack(PacketKind::PubRec, ack, hands),
            Packet::PubRel(ack) => {
                let reason = match self.unreleased.remove(&ack.packet_id) {
                    Some(_) => ReasonCode::SUCCESS,
                    None => ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
                };
                let id = ack.packet_id;
                self.answer(Packet::PubComp(Ack::new(id, reason)), Some(id));
            }
            Packet::PubComp(ack) => self.on_ack(PacketKind::PubComp, ack, hands),
            Packet::SubAck(suback) => {
                let asked = self.link.as_mut().and_then(|it| it.asked.remove(&suback.packet_id));
                let Some(Asked::Subscribe(filters)) = asked else {
                    return self.complain(hands, "SUBACK for nothing");
                };
                for ((filter, options), reason) in filters.into_iter().zip(suback.reasons) {
                    let reason = ReasonCode(*reason);
                    let deed = Deed::Subscribed { filter, options, reason };
                    hands.judge.note_deed(self.index, deed);
                }
            }
            Packet::UnsubAck(unsuback) => {
                let asked = self.link.as_mut().and_then(|it| it.asked.remove(&unsuback.packet_id));
                let Some(Asked::Unsubscribe(filter)) = asked else {
                    return self.complain(hands, "UNSUBACK for nothing");
                };
                let reason = ReasonCode(unsuback.reasons.first().copied().unwrap_or_default());
                hands.judge.note_deed(self.index, Deed::Unsubscribed { filter, reason });
            }
            Packet::PingResp => {
                if let Some(link) = self.link.as_mut() {
                    link.is_pinging = false;
                }
            }
            Packet::Disconnect(disconnect) => {
                hands.judge.say(|| format!("{}: told {:?}", self.index, disconnect.reason));
                let link = self.link.as_ref();
                let is_fine = match disconnect.reason {
                    ReasonCode::SERVER_SHUTTING_DOWN | ReasonCode::SESSION_TAKEN_OVER => true,
                    // What is under way is no packet yet: it is a whole one that the broker waits for
                    // ([MQTT-3.1.2-22]).
                    ReasonCode::KEEP_ALIVE_TIMEOUT => {
                        link.is_some_and(|it| hands.now < it.stuck_at + ARRIVAL_MICROS)
                    }
                    _ => false,
                };
                if !is_fine {
                    self.complain(hands, &format!("sent away with {:?}", disconnect.reason));
                }
                if let Some(link) = self.link.as_mut() {
                    link.is_dismissed = true;
                }
            }
            Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq
            | Packet::Auth(_) => self.complain(hands, "a packet that no server sends"),
        }
    }

    /// CONNACK has come: what is not complete is sent again, or is lost.
    fn on_welcome(&mut self, is_resumed: bool, hands: &mut Hands<'_>) {
        if std::mem::take(&mut self.has_ended) || !is_resumed {
            for exchange in std::mem::take(&mut self.sent) {
                if !exchange.is_received {
                    hands.judge.note_deed(self.index, Deed::GivenUp(exchange.spec.id));
                }
            }
            self.unreleased.clear();
            self.filters.clear();
        }
        for exchange in self.sent.clone() {
            let Some(link) = self.link.as_mut() else { return };
            if exchange.is_received {
                let ack = Ack::new(exchange.packet_id, ReasonCode::SUCCESS);
                link.write(&Packet::PubRel(ack), hands.now);
            } else {
                self.write_publish(&exchange.spec, Some(&exchange), hands);
            }
        }
        self.wakes_at = self.wakes_at.min(hands.now + 1 + self.random.within(0..10_000));
    }

    /// Writes a PUBLISH: `again`, if it was written before.
    pub(super) fn write_publish(
        &mut self,
        spec: &Spec,
        exchange: Option<&Exchange>,
        hands: &mut Hands<'_>,
    ) {
        let is_again = exchange
            .is_some_and(|it| self.sent.iter().any(|known| known.packet_id == it.packet_id));
        let Some(link) = self.link.as_mut() else { return };
        let mut payload = Vec::new();
        if !spec.is_empty {
            payload.extend(spec.id.to_bytes());
            payload.resize(payload.len() + exchange.map_or(0, |it| it.padding), 0);
        }
        let publish = Publish {
            dup: is_again,
            qos: spec.qos,
            retain: spec.retain,
            topic: spec.topic,
            packet_id: exchange.map(|it| it.packet_id),
            properties: PublishProperties {
                message_expiry_secs: spec.expiry_secs,
                ..PublishProperties::default()
            },
            payload: &payload,
        };
        link.write(&Packet::Publish(publish), hands.now);
        let spec = spec.clone();
        hands.judge.note_deed(self.index, Deed::Publish { spec, is_again });
    }

    fn on_publish(&mut self, publish: &Publish<'_>, hands: &mut Hands<'_>) {
        let Some(link) = self.link.as_mut() else { return };
        let mut topic = publish.topic.to_owned();
        if let Some(alias) = publish.properties.topic_alias {
            if alias > self.profile.topic_alias_maximum {
                return self.complain(hands, "a topic alias that it does not understand");
            }
            if topic.is_empty() {
                topic = link.aliases.get(&alias).cloned().unwrap_or_default();
            } else {
                link.aliases.insert(alias, topic.clone());
            }
        }
        let id = MessageId::from_payload(publish.payload);
        if let Some(packet_id) = publish.packet_id {
            if !link.unacknowledged.insert(packet_id) {
                return self.complain(hands, &format!("packet identifier {packet_id} is in use"));
            }
            let is_v5 = link.version.is_v5();
            if is_v5 && link.unacknowledged.len() > usize::from(self.profile.receive_maximum) {
                return self.complain(hands, "more messages than it takes at once");
            }
            let ack = Ack::new(packet_id, ReasonCode::SUCCESS);
            if publish.qos == QoS::ExactlyOnce {
                self.answer(Packet::PubRec(ack), None);
                if let Some(known) = self.unreleased.insert(packet_id, id) {
                    if !publish.dup || known != id {
                        let what =
                            format!("{id:?} under packet identifier {packet_id} of {known:?}");
                        self.complain(hands, &what);
                    }
                    return;
                }
            } else {
                if self.unreleased.contains_key(&packet_id) {
                    let what = format!("{id:?} under packet identifier {packet_id}, in use");
                    return self.complain(hands, &what);
                }
                self.answer(Packet::PubAck(ack), Some(packet_id));
            }
        }
        let Publish { qos, retain, dup, .. } = *publish;
        if let Some(id) = id {
            let delivery = Delivery { id, topic, qos, retain, dup };
            hands.judge.note_deed(self.index, Deed::Delivered(delivery));
        }
    }

    /// Answers, in order and in its own time.
    fn answer(&mut self, packet: Packet<'_>, frees: Option<PacketId>) {
        if let Some(link) = self.link.as_mut() {
            let mut bytes = Vec::new();
            packet.encode(link.version, &mut bytes);
            link.answers.push((bytes, frees));
        }
    }

    fn on_ack(&mut self, kind: PacketKind, ack: &Ack<'_>, hands: &mut Hands<'_>) {
        let (packet_id, reason) = (ack.packet_id, ack.reason);
        let Some(at) = self.sent.iter().position(|it| it.packet_id == packet_id) else {
            return self.complain(hands, &format!("{kind} {packet_id} for nothing"));
        };
        let Exchange { spec, is_received, .. } = &self.sent[at];
        let (id, qos, is_received) = (spec.id, spec.qos, *is_received);
        match (kind, qos, is_received) {
            (PacketKind::PubAck, QoS::AtLeastOnce, _) => {
                self.sent.remove(at);
                hands.judge.note_deed(self.index, Deed::Settled { id, reason });
            }
            (PacketKind::PubRec, QoS::ExactlyOnce, false) => {
                hands.judge.note_deed(self.index, Deed::Settled { id, reason });
                if reason.is_failure() {
                    self.sent.remove(at);
                    return;
                }
                self.sent[at].is_received = true;
                if let Some(link) = self.link.as_mut() {
                    let ack = Ack::new(packet_id, ReasonCode::SUCCESS);
                    link.write(&Packet::PubRel(ack), hands.now);
                }
            }
            (PacketKind::PubComp, QoS::ExactlyOnce, true) => {
                self.sent.remove(at);
            }
            (_, _, _) => self.complain(hands, &format!("{kind} {packet_id} for {id:?} at {qos:?}")),
        }
    }
}

/// What has left a client has arrived after so long, and the answer too.
const ARRIVAL_MICROS: u64 = SECOND;
