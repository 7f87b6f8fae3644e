//! A client that keeps its side of the protocol, whatever becomes of the broker.
//!
//! Its session outlives its connections: what is unacknowledged is sent again, and what it has received at QoS 2 it
//! knows by its packet identifier until the exchange is complete. Everything that it does and sees is written into
//! the history. What to do, and when, is for others to say.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::rc::Rc;

use mio::{Registry, Token};
use quelea_codec::{
    Ack, ConnAck, Connect, ConnectProperties, Disconnect, DisconnectProperties, Framing, Packet,
    PacketId, QoS, ReasonCode, Subscribe, SubscriptionOptions, Unsubscribe, Version, Will,
    next_frame,
};

use crate::history::{self, Act, ClientIndex, History, MessageId, Receipt};
use crate::link::Link;
use crate::outgoing::{Outgoing, Stage};
use crate::payload;

/// A client.
#[derive(Debug)]
pub struct Client {
    index: ClientIndex,
    version: Version,
    client_id: String,
    /// What the broker has not acknowledged to the end, in the order in which it was sent.
    outgoing: Vec<Outgoing>,
    /// Of what has come at QoS 2 and is not complete.
    incoming: BTreeSet<PacketId>,
    /// Subscriptions that the broker has confirmed.
    filters: BTreeSet<Rc<str>>,
    connection: Option<Connection>,
    /// The number of the message that was made last.
    number: u32,
    /// A clean start was asked for and not answered: the client has given its session up.
    owes_clean_start: bool,
}

/// What to connect with.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Whether an earlier session ends.
    pub clean_start: bool,
    /// Seconds that the session outlives its connection. In 3.1.1 it is for ever, or zero with a clean start.
    pub expiry_secs: u32,
    /// How much the broker may send before it is acknowledged; 5.0 only.
    pub receive_maximum: u16,
    /// The topic, quality of service and delay of the will.
    pub will: Option<(Rc<str>, u8, u32)>,
}

/// What to publish.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Where.
    pub topic: Rc<str>,
    /// With which quality of service.
    pub qos: u8,
    /// Whether it becomes the retained message of its topic.
    pub retain: bool,
    /// Whether it removes the retained message of its topic. 5.0 only.
    pub is_clear: bool,
    /// Bytes that the payload is longer than it needs to be.
    pub filler_bytes: usize,
}

/// What a client's connection is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There is none.
    Away,
    /// CONNECT was sent.
    Connecting,
    /// CONNACK has come.
    Connected,
    /// DISCONNECT was sent.
    Leaving,
}

#[derive(Debug)]
struct Connection {
    link: Link,
    state: State,
    expiry_secs: u32,
    /// SUBSCRIBE (`true`) and UNSUBSCRIBE that are not answered.
    requests: VecDeque<(PacketId, Rc<str>, bool)>,
    /// Messages that have come and are not acknowledged.
    unacknowledged: VecDeque<(PacketId, QoS, MessageId)>,
    is_pinging: bool,
}

impl Client {
    /// Makes a client that has never connected.
    pub fn new(index: ClientIndex, version: Version, client_id: String) -> Self {
        Self {
            index,
            version,
            client_id,
            outgoing: Vec::new(),
            incoming: BTreeSet::new(),
            filters: BTreeSet::new(),
            connection: None,
            number: 0,
            owes_clean_start: false,
        }
    }

    /// Connects, in the place of the connection that it may have. A broker that does not listen is not there yet,
    /// or no more: the client stays as it is.
    pub fn connect(
        &mut self,
        wish: &Wish,
        address: SocketAddr,
        registry: &Registry,
        history: &mut History,
    ) {
        let Ok(link) = Link::connect(address, registry, Token(self.index.0.into())) else { return };
        // It is the broker that has to end an older connection, which stays open until CONNECT has left.
        let _older = self.connection.is_some().then(|| self.leave(history));
        let clean_start = wish.clean_start || self.owes_clean_start;
        let expiry_secs = match self.version {
            Version::V5 => wish.expiry_secs,
            // Those versions say both with one bit.
            Version::V31 | Version::V311 if clean_start => 0,
            Version::V31 | Version::V311 => u32::MAX,
        };
        let will = wish.will.as_ref().map(|(topic, qos, delay_secs)| history::Will {
            message: self.next_message(),
            topic: topic.clone(),
            qos: *qos,
            delay_secs: if self.version.is_v5() { *delay_secs } else { 0 },
        });
        let payload =
            will.as_ref().map(|will| payload::write(will.message, 10)).unwrap_or_default();
        let mut connect = Connect::new(self.version, &self.client_id);
        connect.clean_start = clean_start;
        connect.properties = ConnectProperties {
            session_expiry_secs: Some(expiry_secs),
            receive_maximum: NonZeroU16::new(wish.receive_maximum),
            ..ConnectProperties::default()
        };
        connect.will = will.as_ref().map(|will| Will {
            qos: qos(will.qos),
            topic: &will.topic,
            payload: &payload,
            delay_secs: will.delay_secs,
            ..Will::default()
        });
        let mut connection = Connection::new(link, expiry_secs);
        Packet::Connect(connect).encode(self.version, &mut connection.link.output);
        self.connection = Some(connection);
        let connect = history::Connect { clean_start, expiry_secs, will };
        history.add_act(self.index, Act::ConnectSent(connect));
        self.owes_clean_start = clean_start;
        self.flush();
    }

    /// Says good-bye, and waits for the broker to close.
    pub fn disconnect(
        &mut self,
        keeps_will: bool,
        new_expiry_secs: Option<u32>,
        history: &mut History,
    ) {
        let keeps_will = keeps_will && self.version.is_v5();
        let expiry_secs = new_expiry_secs.filter(|_| self.version.is_v5());
        let Some(connection) = &mut self.connection else { return };
        let reason = if keeps_will {
            ReasonCode::DISCONNECT_WITH_WILL_MESSAGE
        } else {
            ReasonCode::NORMAL_DISCONNECTION
        };
        let properties =
            DisconnectProperties { session_expiry_secs: expiry_secs, ..Default::default() };
        connection.state = State::Leaving;
        connection.expiry_secs = expiry_secs.unwrap_or(connection.expiry_secs);
        self.send(&Packet::Disconnect(Disconnect { reason, properties }));
        history.add_act(self.index, Act::DisconnectSent { keeps_will, expiry_secs });
        self.flush();
    }

    /// Leaves without a word: the connection is closed when what this returns is dropped.
    pub fn leave(&mut self, history: &mut History) -> Option<Link> {
        history.add_act(self.index, Act::Left);
        self.forget_connection()
    }

    /// Publishes.
    pub fn publish(&mut self, draft: Draft, history: &mut History) {
        let message = self.next_message();
        let payload =
            if draft.is_clear { Vec::new() } else { payload::write(message, draft.filler_bytes) };
        let packet_id = (draft.qos > 0).then(|| self.free_packet_id());
        let outgoing = Outgoing::new(message, draft, payload, packet_id);
        self.send_outgoing(&outgoing, false, history);
        if packet_id.is_some() {
            self.outgoing.push(outgoing);
        }
    }

    /// Subscribes.
    pub fn subscribe(&mut self, filter: &Rc<str>, qos_byte: u8, history: &mut History) {
        let packet_id = self.free_packet_id();
        let options = SubscriptionOptions { qos: qos(qos_byte), ..SubscriptionOptions::default() };
        let filters = [(&**filter, options)];
        self.send(&Packet::Subscribe(Subscribe::new(packet_id, None, &filters)));
        self.request(packet_id, filter, true);
        let act = Act::SubscribeSent { filter: filter.clone(), qos: qos_byte };
        history.add_act(self.index, act);
    }

    /// Ends a subscription.
    pub fn unsubscribe(&mut self, filter: &Rc<str>, history: &mut History) {
        let packet_id = self.free_packet_id();
        let filters = [&**filter];
        self.send(&Packet::Unsubscribe(Unsubscribe::new(packet_id, &filters)));
        self.request(packet_id, filter, false);
        history.add_act(self.index, Act::UnsubscribeSent { filter: filter.clone() });
    }

    /// Asks whether the broker is there, unless it has been asked.
    pub fn ping(&mut self, history: &mut History) {
        let connection = self.connection.as_mut().filter(|it| !it.is_pinging);
        if let Some(connection) = connection {
            connection.is_pinging = true;
            self.send(&Packet::PingReq);
            history.add_act(self.index, Act::PingSent);
        }
    }

    /// Acknowledges at most `count` messages, the oldest first ([MQTT-4.6.0-2], [MQTT-4.6.0-3]).
    pub fn acknowledge(&mut self, count: usize, history: &mut History) {
        for _ in 0..count {
            let Some(connection) = &mut self.connection else { return };
            let Some((id, qos, message)) = connection.unacknowledged.pop_front() else { return };
            let ack = Ack::new(id, ReasonCode::SUCCESS);
            let is_exactly_once = qos == QoS::ExactlyOnce;
            self.send(&if is_exactly_once { Packet::PubRec(ack) } else { Packet::PubAck(ack) });
            history.add_act(self.index, Act::AckSent(message));
        }
    }

    /// Writes what waits to be written.
    pub fn flush(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.link.flush();
        }
    }

    /// Reads what has come. Returns whether anything had.
    pub fn read(&mut self, history: &mut History) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        let is_open = connection.link.read();
        let input = std::mem::take(&mut connection.link.input);
        let mut rest = input.as_slice();
        loop {
            match next_frame(rest, u32::MAX) {
                Ok(Framing::Complete { frame, consumed }) => {
                    rest = &rest[consumed..];
                    match Packet::decode(frame, self.version) {
                        Ok(packet) => self.on_packet(&packet, history),
                        Err(error) => self.complain(format!("it sent {error:?}"), history),
                    }
                }
                Ok(Framing::Incomplete { .. }) => break,
                Err(error) => {
                    self.complain(format!("it sent {error:?}"), history);
                    rest = &[];
                }
            }
        }
        if let Some(connection) = &mut self.connection {
            connection.link.input = rest.to_vec();
        }
        if !is_open {
            history.add_act(self.index, Act::Closed);
            self.forget_connection();
        }
        !is_open || rest.len() < input.len()
    }

    /// Writes down that the broker did what it never may.
    pub fn complain(&self, what: String, history: &mut History) {
        history.add_act(self.index, Act::Complaint(what));
    }

    /// Returns what the connection is like.
    pub fn state(&self) -> State {
        self.connection.as_ref().map_or(State::Away, |connection| connection.state)
    }

    /// Returns how many messages are on their way to the broker.
    pub fn in_flight(&self) -> usize {
        self.outgoing.len()
    }

    /// Says whether a subscription is confirmed; nothing if it is on its way there or back.
    pub fn is_subscribed(&self, filter: &Rc<str>) -> Option<bool> {
        let requests = self.connection.iter().flat_map(|connection| &connection.requests);
        let is_pending = requests.into_iter().any(|(_, pending, _)| pending == filter);
        (!is_pending).then(|| self.filters.contains(filter))
    }

    /// Says whether a good-bye may change the session's expiry: not from zero, section 3.14.2.2.2.
    pub fn may_change_expiry(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.expiry_secs > 0)
    }

    /// Says whether something is under way that the broker has to answer.
    pub fn is_waiting(&self) -> bool {
        let has_requests = |it: &Connection| !it.requests.is_empty();
        !self.outgoing.is_empty() || self.connection.as_ref().is_some_and(has_requests)
    }

    /// Returns who it is.
    pub fn index(&self) -> ClientIndex {
        self.index
    }

    fn on_packet(&mut self, packet: &Packet<'_>, history: &mut History) {
        match packet {
            Packet::ConnAck(connack) => self.on_connack(connack, history),
            Packet::Publish(publish) => self.on_publish(publish, history),
            Packet::PubAck(ack) => self.on_puback(ack, history),
            Packet::PubRec(ack) => self.on_pubrec(ack, history),
            Packet::PubComp(ack) => self.on_pubcomp(ack.packet_id, history),
            Packet::PubRel(ack) => {
                self.incoming.remove(&ack.packet_id);
                if self.state() == State::Connected {
                    self.send(&Packet::PubComp(Ack::new(ack.packet_id, ReasonCode::SUCCESS)));
                }
            }
            Packet::SubAck(suback) => {
                self.on_answer(suback.packet_id, true, suback.reasons, history);
            }
            Packet::UnsubAck(unsuback) => {
                self.on_answer(unsuback.packet_id, false, unsuback.reasons, history);
            }
            Packet::PingResp => {
                if let Some(connection) = &mut self.connection {
                    connection.is_pinging = false;
                }
                history.add_act(self.index, Act::Pinged);
            }
            Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq
            | Packet::Disconnect(_)
            | Packet::Auth(_) => self.complain(format!("it sent {packet:?}"), history),
        }
    }

    fn on_connack(&mut self, connack: &ConnAck<'_>, history: &mut History) {
        if connack.reason != ReasonCode::SUCCESS {
            self.complain(format!("the connection was refused: {}", connack.reason.0), history);
            return;
        }
        let Some(connection) = &mut self.connection else { return };
        connection.state = State::Connected;
        self.owes_clean_start = false;
        let session_present = connack.session_present;
        history.add_act(self.index, Act::Connected { session_present });
        if !session_present {
            // [MQTT-3.2.2-5]: what belonged to a session that is gone is gone.
            self.forget_session();
        }
        // [MQTT-4.4.0-1]
        let outgoing = std::mem::take(&mut self.outgoing);
        for it in &outgoing {
            match (it.stage, it.packet_id) {
                (Stage::Released, Some(id)) => {
                    self.send(&Packet::PubRel(Ack::new(id, ReasonCode::SUCCESS)));
                }
                (Stage::Released | Stage::Published, _) => self.send_outgoing(it, true, history),
            }
        }
        self.outgoing = outgoing;
    }

    fn on_publish(&mut self, publish: &quelea_codec::Publish<'_>, history: &mut History) {
        // The removal of a retained message has no payload to tell it by.
        let name = publish.properties.correlation_data.filter(|_| publish.payload.is_empty());
        let message = match payload::read(name.unwrap_or(publish.payload)) {
            Ok(message) => message,
            Err(damaged) => {
                self.complain(format!("{damaged} came on {}", publish.topic), history);
                return;
            }
        };
        let is_new = match publish.packet_id {
            Some(id) if publish.qos == QoS::ExactlyOnce => self.incoming.insert(id),
            Some(_) | None => true,
        };
        if let (Some(id), Some(connection)) = (publish.packet_id, &mut self.connection) {
            connection.unacknowledged.push_back((id, publish.qos, message));
        }
        if is_new {
            let receipt = Receipt {
                message,
                topic: publish.topic.into(),
                qos: publish.qos.to_byte(),
                retain: publish.retain,
                dup: publish.dup,
            };
            history.add_act(self.index, Act::Received(receipt));
        }
    }

    fn on_puback(&mut self, ack: &Ack<'_>, history: &mut History) {
        match self.find(ack.packet_id, 1, Stage::Published) {
            Some(index) => {
                let done = self.outgoing.remove(index);
                self.take_answer(done.message, ack.reason, history);
            }
            None => self.complain(format!("PUBACK {} for nothing", ack.packet_id), history),
        }
    }

    fn on_pubrec(&mut self, ack: &Ack<'_>, history: &mut History) {
        if let Some(index) = self.find(ack.packet_id, 2, Stage::Published) {
            let message = self.outgoing[index].message;
            self.take_answer(message, ack.reason, history);
            if ack.reason.is_failure() {
                self.outgoing.remove(index);
                return;
            }
            self.outgoing[index].stage = Stage::Released;
        } else if self.find(ack.packet_id, 2, Stage::Released).is_none() {
            self.complain(format!("PUBREC {} for nothing", ack.packet_id), history);
            return;
        }
        if self.state() == State::Connected {
            self.send(&Packet::PubRel(Ack::new(ack.packet_id, ReasonCode::SUCCESS)));
        }
    }

    fn on_pubcomp(&mut self, id: PacketId, history: &mut History) {
        match self.find(id, 2, Stage::Released) {
            Some(index) => {
                let done = self.outgoing.remove(index);
                history.add_act(self.index, Act::Completed(done.message));
            }
            None => self.complain(format!("PUBCOMP {id} for nothing"), history),
        }
    }

    fn take_answer(&mut self, message: MessageId, reason: ReasonCode, history: &mut History) {
        if reason.is_failure() {
            self.complain(format!("{message} was refused: {}", reason.0), history);
        } else {
            history.add_act(self.index, Act::Accepted(message));
        }
    }

    /// A SUBACK or UNSUBACK has come.
    fn on_answer(
        &mut self,
        id: PacketId,
        is_subscription: bool,
        reasons: &[u8],
        history: &mut History,
    ) {
        let Some(connection) = &mut self.connection else { return };
        let index = connection
            .requests
            .iter()
            .position(|(pending, _, kind)| *pending == id && *kind == is_subscription);
        let Some((_, filter, _)) = index.and_then(|index| connection.requests.remove(index)) else {
            self.complain(format!("SUBACK or UNSUBACK {id} for nothing"), history);
            return;
        };
        if reasons.iter().any(|reason| ReasonCode(*reason).is_failure()) {
            self.complain(format!("{filter} was refused: {reasons:?}"), history);
        } else if is_subscription {
            self.filters.insert(filter.clone());
            history.add_act(self.index, Act::Subscribed { filter });
        } else {
            self.filters.remove(&filter);
            history.add_act(self.index, Act::Unsubscribed { filter });
        }
    }

    fn send_outgoing(&mut self, outgoing: &Outgoing, is_again: bool, history: &mut History) {
        history.add_act(self.index, Act::PublishSent(outgoing.record(is_again)));
        if let Some(connection) = &mut self.connection {
            outgoing.encode(is_again, self.version, &mut connection.link.output);
        }
    }

    fn send(&mut self, packet: &Packet<'_>) {
        if let Some(connection) = &mut self.connection {
            packet.encode(self.version, &mut connection.link.output);
        }
    }

    fn request(&mut self, packet_id: PacketId, filter: &Rc<str>, is_subscription: bool) {
        // Until the answer comes nobody knows.
        self.filters.remove(filter);
        if let Some(connection) = &mut self.connection {
            connection.requests.push_back((packet_id, filter.clone(), is_subscription));
        }
    }

    fn forget_connection(&mut self) -> Option<Link> {
        let connection = self.connection.take()?;
        if connection.expiry_secs == 0 {
            self.forget_session();
        }
        Some(connection.link)
    }

    fn forget_session(&mut self) {
        self.outgoing.clear();
        self.incoming.clear();
        self.filters.clear();
    }

    fn find(&self, id: PacketId, qos: u8, stage: Stage) -> Option<usize> {
        self.outgoing.iter().position(|it| it.is_at(id, qos, stage))
    }

    /// Returns the lowest packet identifier that is free: one that has just become free is used at once.
    fn free_packet_id(&self) -> PacketId {
        let requests = self.connection.iter().flat_map(|connection| &connection.requests);
        let requested = requests.map(|(id, ..)| *id);
        let used: BTreeSet<PacketId> =
            self.outgoing.iter().filter_map(|it| it.packet_id).chain(requested).collect();
        let mut ids = (1..=u16::MAX).filter_map(PacketId::new);
        ids.find(|id| !used.contains(id)).expect("windows are far smaller than 65,535")
    }

    fn next_message(&mut self) -> MessageId {
        self.number += 1;
        MessageId { publisher: self.index, number: self.number }
    }
}

impl Connection {
    fn new(link: Link, expiry_secs: u32) -> Self {
        Self {
            link,
            state: State::Connecting,
            expiry_secs,
            requests: VecDeque::new(),
            unacknowledged: VecDeque::new(),
            is_pinging: false,
        }
    }
}

fn qos(byte: u8) -> QoS {
    QoS::from_byte(byte).expect("the plan says 0, 1 or 2")
}
