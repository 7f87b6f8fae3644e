//! The exchanges of a client: publishing, receiving, subscribing, leaving, being thrown out.

use std::collections::VecDeque;
use std::time::Duration;

use crate::case::{claim, claim_eq};
use crate::client::as_publish;
use crate::wire::{Ack, Body, Packet, Properties, Publish, SubAck, publish};
use crate::{Client, Failure, Outcome};

/// The reason codes of 5.0 that cases name.
pub(crate) mod reason {
    pub(crate) const MALFORMED_PACKET: u8 = 0x81;
    pub(crate) const PROTOCOL_ERROR: u8 = 0x82;
    pub(crate) const UNSUPPORTED_VERSION: u8 = 0x84;
    pub(crate) const SESSION_TAKEN_OVER: u8 = 0x8E;
    pub(crate) const BAD_AUTHENTICATION_METHOD: u8 = 0x8C;
    pub(crate) const KEEP_ALIVE_TIMEOUT: u8 = 0x8D;
    pub(crate) const PACKET_ID_NOT_FOUND: u8 = 0x92;
    pub(crate) const RECEIVE_MAXIMUM_EXCEEDED: u8 = 0x93;
    pub(crate) const TOPIC_ALIAS_INVALID: u8 = 0x94;
    pub(crate) const PACKET_TOO_LARGE: u8 = 0x95;
    pub(crate) const NO_SUBSCRIPTION_EXISTED: u8 = 0x11;
    pub(crate) const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;
}

/// The subscription options of 5.0 beside the QoS.
pub(crate) mod option {
    pub(crate) const NO_LOCAL: u8 = 0x04;
    pub(crate) const RETAIN_AS_PUBLISHED: u8 = 0x08;
    pub(crate) const RETAIN_IF_NEW: u8 = 0x10;
    pub(crate) const RETAIN_NEVER: u8 = 0x20;
}

/// More than any case has messages on their way.
const EARLY_PACKETS_MAX: usize = 1_000;

/// Publishing.
impl Client {
    /// Returns a packet identifier that this client has not used.
    pub(crate) fn next_packet_id(&mut self) -> u16 {
        self.last_packet_id += 1;
        self.last_packet_id
    }

    /// Sends a PUBLISH, and gives it a packet identifier if it needs one and has none.
    pub(crate) fn send_publish(&mut self, mut message: Publish) -> u16 {
        if message.qos > 0 && message.packet_id == 0 {
            message.packet_id = self.next_packet_id();
        }
        self.send(&message.bytes(self.version));
        message.packet_id
    }

    /// Publishes, and returns when the broker has acknowledged it to the end.
    #[track_caller]
    pub(crate) fn publish(&mut self, message: Publish) -> Outcome {
        let qos = message.qos;
        if qos > self.qos_max && !self.is_quelea() {
            return Err(Failure::skipped(format!("no QoS {qos}")));
        }
        let packet_id = self.send_publish(message);
        let reason = match qos {
            0 => 0,
            1 => self.wait_for_puback(packet_id)?.reason,
            _ => {
                let reason = self.wait_for_pubrec(packet_id)?.reason;
                if reason < 0x80 {
                    self.send_pubrel(packet_id);
                    self.wait_for_pubcomp(packet_id)?;
                }
                reason
            }
        };
        let what = format!("the PUBLISH was refused with {reason:#04x}");
        // A server may refuse any message, and says so.
        match reason >= 0x80 && !self.is_quelea() {
            true => Err(Failure::skipped(what)),
            false => claim(reason < 0x80, what),
        }
    }

    /// Publishes payloads one after the other on one topic.
    #[track_caller]
    pub(crate) fn publish_all(&mut self, topic: &str, qos: u8, payloads: &[&str]) -> Outcome {
        for payload in payloads {
            self.publish(publish(topic, payload).qos(qos))?;
        }
        Ok(())
    }

    #[track_caller]
    pub(crate) fn wait_for_puback(&mut self, packet_id: u16) -> Outcome<Ack> {
        self.wait_for(&format!("PUBACK {packet_id}"), |packet| match packet {
            Packet::PubAck(ack) if ack.packet_id == packet_id => Some(ack.clone()),
            _ => None,
        })
    }

    #[track_caller]
    pub(crate) fn wait_for_pubrec(&mut self, packet_id: u16) -> Outcome<Ack> {
        self.wait_for(&format!("PUBREC {packet_id}"), |packet| match packet {
            Packet::PubRec(ack) if ack.packet_id == packet_id => Some(ack.clone()),
            _ => None,
        })
    }

    #[track_caller]
    pub(crate) fn wait_for_pubcomp(&mut self, packet_id: u16) -> Outcome<Ack> {
        self.wait_for(&format!("PUBCOMP {packet_id}"), |packet| match packet {
            Packet::PubComp(ack) if ack.packet_id == packet_id => Some(ack.clone()),
            _ => None,
        })
    }

    pub(crate) fn send_puback(&mut self, packet_id: u16) {
        self.send(&Body::new().two(packet_id).packet(0x40));
    }

    pub(crate) fn send_pubrec(&mut self, packet_id: u16) {
        self.send(&Body::new().two(packet_id).packet(0x50));
    }

    pub(crate) fn send_pubrel(&mut self, packet_id: u16) {
        self.send(&Body::new().two(packet_id).packet(0x62));
    }

    pub(crate) fn send_pubcomp(&mut self, packet_id: u16) {
        self.send(&Body::new().two(packet_id).packet(0x70));
    }
}

/// Receiving.
impl Client {
    /// Waits for a PUBLISH with this payload as the next packet. It stays unacknowledged.
    #[track_caller]
    pub(crate) fn expect_publish(&mut self, payload: &str) -> Outcome<Publish> {
        let packet = self.expect_packet()?;
        match as_publish(&packet) {
            Some(publish) if publish.payload == payload.as_bytes() => Ok(publish),
            Some(_) if !self.is_quelea() => {
                self.inbox.push_front(packet);
                self.expect_publish_of_its_qos(payload)
            }
            _ => Err(Failure::broken(format!("expected a PUBLISH of {payload:?}, got {packet:?}"))),
        }
    }

    /// Waits for a PUBLISH with this payload as the next of its QoS: messages of another may come before it, because the
    /// texts ask for an order among those of one QoS only.
    #[track_caller]
    fn expect_publish_of_its_qos(&mut self, payload: &str) -> Outcome<Publish> {
        let mut early = VecDeque::new();
        let found = loop {
            let is_late = early.len() > EARLY_PACKETS_MAX;
            let Some(packet) = self.expect_packet().ok().filter(|_| !is_late) else {
                let what = format!("expected a PUBLISH of {payload:?}, got {early:?}");
                return Err(Failure::broken(what));
            };
            match as_publish(&packet) {
                Some(publish) if publish.payload == payload.as_bytes() => break publish,
                _ => early.push_back(packet),
            }
        };
        if early.iter().filter_map(as_publish).any(|it| it.qos == found.qos) {
            let what = format!("expected a PUBLISH of {payload:?}, got {early:?} before it");
            return Err(Failure::broken(what));
        }
        early.append(&mut self.inbox);
        self.inbox = early;
        Ok(found)
    }

    /// Waits for a PUBLISH with this payload as the next packet, up to `limit`.
    #[track_caller]
    pub(crate) fn expect_publish_within(
        &mut self,
        limit: Duration,
        payload: &str,
    ) -> Outcome<Publish> {
        let packet = self.expect_packet_within(limit)?;
        self.inbox.push_front(packet);
        self.expect_publish(payload)
    }

    /// Waits for a PUBLISH with this payload as the next packet, and acknowledges it to the end.
    #[track_caller]
    pub(crate) fn take(&mut self, payload: &str) -> Outcome<Publish> {
        let publish = self.expect_publish(payload)?;
        self.acknowledge(&publish)?;
        Ok(publish)
    }

    /// Acknowledges a PUBLISH to the end.
    #[track_caller]
    pub(crate) fn acknowledge(&mut self, publish: &Publish) -> Outcome {
        let id = publish.packet_id;
        match publish.qos {
            0 => {}
            1 => self.send_puback(id),
            _ => {
                self.send_pubrec(id);
                self.wait_for_pubrel(id)?;
                self.send_pubcomp(id);
            }
        }
        Ok(())
    }

    #[track_caller]
    pub(crate) fn wait_for_pubrel(&mut self, packet_id: u16) -> Outcome<Ack> {
        self.wait_for(&format!("PUBREL {packet_id}"), |packet| match packet {
            Packet::PubRel(ack) if ack.packet_id == packet_id => Some(ack.clone()),
            _ => None,
        })
    }

    /// Waits for a PUBREL as the next packet.
    #[track_caller]
    pub(crate) fn expect_pubrel(&mut self) -> Outcome<Ack> {
        match self.expect_packet()? {
            Packet::PubRel(ack) => Ok(ack),
            packet => Err(Failure::broken(format!("expected a PUBREL, got {packet:?}"))),
        }
    }

    /// Fails if anything comes before a message that `publisher` sends now, to a topic of its own.
    ///
    /// That message passes through everything that earlier messages of `publisher` passed through, so what
    /// has not come before it is not on its way.
    #[track_caller]
    pub(crate) fn expect_silence_after(&mut self, publisher: &mut Self) -> Outcome {
        let strays = self.drain_after(publisher)?;
        claim(strays.is_empty(), format!("expected nothing, got {strays:?}"))
    }

    /// Returns all that came before a message that `publisher` sends now, to a topic of its own.
    #[track_caller]
    pub(crate) fn drain_after(&mut self, publisher: &mut Self) -> Outcome<Vec<Packet>> {
        let topic = match &self.marker_topic {
            Some(topic) => topic.clone(),
            None => {
                let topic = self.new_marker_topic();
                self.subscribe(&topic, 0)?;
                topic
            }
        };
        publisher.send_publish(publish(&topic, "marker"));
        self.wait_for("the marker", |packet| {
            as_publish(packet).filter(|publish| publish.topic == topic).map(drop)
        })?;
        Ok(std::mem::take(&mut self.inbox).into())
    }

    fn new_marker_topic(&mut self) -> String {
        let topic = format!("{}/marker", self.marker_root());
        self.marker_topic = Some(topic.clone());
        topic
    }
}

/// Subscribing.
impl Client {
    /// Subscribes to one filter, and expects to be granted what was asked.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, filter: &str, options: u8) -> Outcome {
        self.subscribe_with(filter, options, |it| it)
    }

    /// Subscribes to one filter with properties, and expects to be granted what was asked.
    #[track_caller]
    pub(crate) fn subscribe_with(
        &mut self,
        filter: &str,
        options: u8,
        add: impl FnOnce(Properties) -> Properties,
    ) -> Outcome {
        let suback = self.request_subscribe(&[(filter, options)], add)?;
        let is_granted = suback.reasons.as_slice() == [options & 3];
        let what = format!("subscribing to {filter} with options {options:#04x}: {suback:?}");
        // A server may refuse any subscription, and grant less than was asked for.
        let may_refuse = suback.reasons.iter().all(|it| *it < options & 3 || *it >= 0x80);
        match !is_granted && may_refuse && suback.reasons.len() == 1 && !self.is_quelea() {
            true => Err(Failure::skipped(what)),
            false => claim(is_granted, what),
        }
    }

    /// Subscribes, and returns the answer.
    #[track_caller]
    pub(crate) fn request_subscribe(
        &mut self,
        filters: &[(&str, u8)],
        add: impl FnOnce(Properties) -> Properties,
    ) -> Outcome<SubAck> {
        let packet_id = self.send_subscribe(filters, add);
        self.wait_for_suback(packet_id)
    }

    /// Sends a SUBSCRIBE and returns its packet identifier.
    pub(crate) fn send_subscribe(
        &mut self,
        filters: &[(&str, u8)],
        add: impl FnOnce(Properties) -> Properties,
    ) -> u16 {
        let packet_id = self.next_packet_id();
        let mut body = Body::new().two(packet_id);
        if self.version.is_v5() {
            body = body.properties(&add(Properties::new()));
        }
        for (filter, options) in filters {
            body = body.text(filter).byte(*options);
        }
        self.send(&body.packet(0x82));
        packet_id
    }

    #[track_caller]
    pub(crate) fn wait_for_suback(&mut self, packet_id: u16) -> Outcome<SubAck> {
        self.wait_for(&format!("SUBACK {packet_id}"), |packet| match packet {
            Packet::SubAck(suback) if suback.packet_id == packet_id => Some(suback.clone()),
            _ => None,
        })
    }

    /// Unsubscribes, and returns the answer.
    #[track_caller]
    pub(crate) fn unsubscribe(&mut self, filters: &[&str]) -> Outcome<SubAck> {
        let packet_id = self.send_unsubscribe(filters);
        self.wait_for_unsuback(packet_id)
    }

    pub(crate) fn send_unsubscribe(&mut self, filters: &[&str]) -> u16 {
        let packet_id = self.next_packet_id();
        let mut body = Body::new().two(packet_id);
        if self.version.is_v5() {
            body = body.properties(&Properties::new());
        }
        for filter in filters {
            body = body.text(filter);
        }
        self.send(&body.packet(0xA2));
        packet_id
    }

    #[track_caller]
    pub(crate) fn wait_for_unsuback(&mut self, packet_id: u16) -> Outcome<SubAck> {
        self.wait_for(&format!("UNSUBACK {packet_id}"), |packet| match packet {
            Packet::UnsubAck(unsuback) if unsuback.packet_id == packet_id => Some(unsuback.clone()),
            _ => None,
        })
    }
}

/// Leaving, and being thrown out.
impl Client {
    /// Sends DISCONNECT, and returns when the broker has closed.
    #[track_caller]
    pub(crate) fn disconnect(mut self) -> Outcome {
        self.send(&[0xE0, 0]);
        self.leave()
    }

    /// Sends DISCONNECT with a reason code and properties, and returns when the broker has closed.
    #[track_caller]
    pub(crate) fn disconnect_with(mut self, reason: u8, properties: &Properties) -> Outcome {
        self.send(&Body::new().byte(reason).properties(properties).packet(0xE0));
        self.leave()
    }

    /// Breaks the connection without a DISCONNECT, and returns when the broker has closed.
    #[track_caller]
    pub(crate) fn break_off(self) -> Outcome {
        self.leave()
    }

    #[track_caller]
    fn leave(mut self) -> Outcome {
        self.end_sending();
        self.expect_close().map(drop)
    }

    /// Expects the broker to close because of what was sent.
    ///
    /// In 5.0 it should say why, with one of `reasons` (the first is the best): Quelea has to, another broker
    /// may be silent or vague. In 3.x there is no way to say it.
    #[track_caller]
    pub(crate) fn expect_error(&mut self, reasons: &[u8]) -> Outcome {
        let packets = self.expect_close()?;
        self.check_reasons(&packets, reasons)
    }

    #[track_caller]
    fn check_reasons(&self, packets: &[Packet], reasons: &[u8]) -> Outcome {
        let said = packets.iter().find_map(|packet| match packet {
            Packet::Disconnect(disconnect) => Some(disconnect.reason),
            Packet::ConnAck(connack) => Some(connack.reason),
            _ => None,
        });
        match said {
            Some(code) if !self.version.is_v5() => {
                Err(Failure::broken(format!("3.x has no way to report an error, got {code:#04x}")))
            }
            Some(code) if self.is_quelea() => claim(
                reasons.contains(&code),
                format!("reason {code:#04x} instead of {reasons:#04x?}"),
            ),
            Some(code) => claim(code >= 0x80, format!("closed with the success code {code:#04x}")),
            None => claim(
                !self.is_quelea() || !self.version.is_v5(),
                format!("closed without a DISCONNECT that says {reasons:#04x?}"),
            ),
        }
    }

    /// Sends bytes that no client may send and expects the broker to close because of them.
    ///
    /// `bytes` is a whole packet, at least by its length. Whoever answers what follows it has accepted it.
    #[track_caller]
    pub(crate) fn expect_rejected(&mut self, bytes: &[u8], reasons: &[u8]) -> Outcome {
        self.send(bytes);
        self.send_ping();
        let packets = self.expect_close_or_pong()?;
        self.check_reasons(&packets, reasons)
    }

    /// Expects a CONNACK that refuses, with one of `reasons`, and then a close.
    #[track_caller]
    pub(crate) fn expect_refused(&mut self, reasons: &[u8]) -> Outcome {
        match self.expect_packet()? {
            Packet::ConnAck(connack) => {
                let refused = reasons.contains(&connack.reason);
                claim(
                    refused,
                    format!("CONNACK {:#04x} instead of {reasons:#04x?}", connack.reason),
                )?;
            }
            packet => {
                return Err(Failure::broken(format!("expected a CONNACK, got {packet:?}")));
            }
        }
        let rest = self.expect_close()?;
        claim(rest.is_empty(), format!("packets after a CONNACK that refuses: {rest:?}"))
    }

    /// Expects the broker to close, and to send nothing before.
    #[track_caller]
    pub(crate) fn expect_silent_close(&mut self) -> Outcome {
        let packets = self.expect_close()?;
        claim_eq("packets before the close", format!("{packets:?}"), "[]".to_owned())
    }
}
