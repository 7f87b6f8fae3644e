//! A client that keeps to the protocol, and sees to it that the broker does.
//!
//! Its session state outlives its connections, as the protocol wants. What it decides to do is in `habits`, what it does with packets in
//! `packets`.

mod habits;
mod link;
mod packets;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use quelea_codec::{
    Connect, ConnectProperties, Disconnect, DisconnectProperties, Packet, PacketId,
    PublishProperties, QoS, ReasonCode, Version, Will,
};

use self::link::{Asked, Link};
use crate::fact::{Deed, MessageId, Spec, WillSpec};
use crate::judge::Judge;
use crate::network::Wires;
use crate::random::Random;
use crate::setting::{Profile, SECOND, Setting};

/// See the module.
#[derive(Debug)]
pub(crate) struct Client {
    index: usize,
    name: String,
    profile: Profile,
    topics: Vec<&'static str>,
    /// Filters that it may ask for.
    offered: Vec<&'static str>,
    /// What sessions of 3.x live beyond their connection.
    v3_expiry_secs: u32,
    random: Random,
    next_number: u32,

    // Session state.
    /// In the order in which they were first written.
    sent: Vec<Exchange>,
    /// QoS 2 messages that are not released. One with an empty payload has no name.
    unreleased: BTreeMap<PacketId, Option<MessageId>>,
    last_packet_id: u16,
    filters: BTreeSet<String>,
    /// The broker may have a session of it, which MQTT 3.1 does not say.
    may_have_session: bool,
    /// The session that its exchanges belong to has ended with its connection (v3.1.1 [MQTT-3.1.2-6]).
    has_ended: bool,
    /// It has asked for a session that begins anew, and has no answer yet. What it had is of no use from there on
    /// ([MQTT-3.1.2-4]): the broker may have a new session in which its packet identifiers mean nothing. So it asks again.
    begins_anew: bool,

    link: Option<Link>,
    /// Connections that it has left, and that the broker has not closed yet.
    old_links: Vec<u64>,
    mode: Mode,
    /// When it does something next.
    wakes_at: u64,
    /// The CONNECT before was not answered: the broker may still work on it.
    connects_not_before: u64,
}

/// What it is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It does as it likes.
    Active,
    /// It finishes what it has begun, and takes what it is sent.
    Settling,
    /// It subscribes to everything.
    Inspecting,
    /// It removes all retained messages.
    Clearing,
    /// It ends its session.
    Leaving,
    /// It has ended it.
    Gone,
}

/// What a client works with, while it does something.
pub(crate) struct Hands<'a> {
    /// The time.
    pub(crate) now: u64,
    /// The network.
    pub(crate) wires: &'a mut Wires,
    /// The judge.
    pub(crate) judge: &'a mut Judge,
    /// A broker listens.
    pub(crate) is_up: bool,
}

/// A message that it has published and that is not complete.
#[derive(Clone, Debug)]
struct Exchange {
    packet_id: PacketId,
    spec: Spec,
    padding: usize,
    /// PUBREC has come: PUBREL is what is sent again.
    is_received: bool,
}

impl Client {
    /// Makes a client that is not connected.
    pub(crate) fn new(index: usize, setting: &Setting, mut random: Random) -> Self {
        let wakes_at = random.within(0..SECOND);
        Self {
            index,
            name: format!("client-{index}"),
            profile: setting.profiles[index].clone(),
            topics: setting.topics.clone(),
            offered: setting.filters.clone(),
            v3_expiry_secs: setting.config.limits.v3_session_expiry_secs,
            random,
            next_number: 0,
            sent: Vec::new(),
            unreleased: BTreeMap::new(),
            last_packet_id: 0,
            filters: BTreeSet::new(),
            may_have_session: false,
            has_ended: false,
            begins_anew: false,
            link: None,
            old_links: Vec::new(),
            mode: Mode::Active,
            wakes_at,
            connects_not_before: 0,
        }
    }

    /// Sets what it is at.
    pub(crate) fn set_mode(&mut self, mode: Mode, now: u64) {
        self.mode = mode;
        self.wakes_at = self.wakes_at.min(now + 1);
        if let Some(link) = &mut self.link {
            link.dozes_until = now;
        }
    }

    /// Returns when it wants to do something.
    pub(crate) fn wakes_at(&self) -> Option<u64> {
        (self.mode != Mode::Gone).then_some(self.wakes_at)
    }

    /// Returns whether it has nothing to do any more in its mode.
    pub(crate) fn is_at_rest(&self) -> bool {
        let is_idle = |link: &Link| link.is_open && link.asked.is_empty() && link.is_quiet();
        match self.mode {
            Mode::Active => false,
            Mode::Settling if self.has_session() => {
                self.sent.is_empty() && self.link.as_ref().is_some_and(is_idle)
            }
            Mode::Settling => self.link.as_ref().is_none_or(is_idle),
            Mode::Inspecting => !self.filters.is_empty() && self.link.as_ref().is_some_and(is_idle),
            Mode::Clearing => {
                let is_done = self.link.as_ref().is_some_and(is_idle) && self.sent.is_empty();
                is_done && self.topics.is_empty()
            }
            Mode::Leaving => false,
            Mode::Gone => true,
        }
    }

    /// Returns whether it may have a session while it has no connection.
    fn has_session(&self) -> bool {
        self.profile.expiry_secs > 0
    }

    /// Connects.
    fn connect(&mut self, hands: &mut Hands<'_>) {
        let number = hands.wires.connect(self.index);
        let version = self.profile.version;
        let is_leaving = self.mode == Mode::Leaving;
        let clean_start = is_leaving
            || self.begins_anew
            || !self.has_session()
            || (self.mode == Mode::Active && self.random.percent(self.profile.clean_percent));
        let expiry_secs = match version {
            _ if is_leaving => 0,
            Version::V5 => self.profile.expiry_secs,
            Version::V31 | Version::V311 if clean_start => 0,
            Version::V31 | Version::V311 => self.v3_expiry_secs,
        };
        let has_will = self.mode == Mode::Active && self.random.percent(self.profile.will_percent);
        let will = has_will.then(|| self.draw_will());
        let payload = will.as_ref().map(|it| it.message.id.to_bytes());
        let packet = Packet::Connect(Connect {
            clean_start,
            keep_alive_secs: self.profile.keep_alive_secs,
            will: will.as_ref().zip(payload.as_ref()).map(|(will, payload)| Will {
                qos: will.message.qos,
                retain: will.message.retain,
                topic: will.message.topic,
                payload,
                delay_secs: will.delay_secs,
                properties: PublishProperties::default(),
            }),
            properties: ConnectProperties {
                session_expiry_secs: (expiry_secs > 0).then_some(expiry_secs),
                receive_maximum: NonZeroU16::new(self.profile.receive_maximum),
                topic_alias_maximum: Some(self.profile.topic_alias_maximum),
                ..ConnectProperties::default()
            },
            ..Connect::new(version, &self.name)
        });
        self.begins_anew = clean_start;
        let mut link = Link::new(number, version, expiry_secs, hands.now);
        link.is_clean = clean_start;
        link.write(&packet, hands.now);
        self.link = Some(link);
        let link = number;
        let deed = Deed::Connect { link, clean_start, expiry_secs, will };
        hands.judge.note_deed(self.index, deed);
        self.flush(hands);
    }

    fn draw_will(&mut self) -> WillSpec {
        let delay_secs = match self.profile.version {
            Version::V5 => *self.random.choose(&[0, 0, 1, 5]),
            Version::V31 | Version::V311 => 0,
        };
        let retain = self.random.percent(self.profile.retain_percent);
        let message = self.draw_message(retain);
        WillSpec { message: Spec { is_empty: false, expiry_secs: None, ..message }, delay_secs }
    }

    fn draw_message(&mut self, retain: bool) -> Spec {
        let id = MessageId { client: self.index, number: self.next_number };
        self.next_number += 1;
        let is_v5 = self.profile.version == Version::V5;
        let expires = is_v5 && self.random.percent(self.profile.expiry_percent);
        Spec {
            id,
            topic: self.random.choose::<&'static str>(&self.topics),
            qos: *self.random.choose(&QoS::ALL),
            retain,
            is_empty: retain && self.random.percent(20),
            expiry_secs: expires.then(|| *self.random.choose(&[1, 5, 60])),
        }
    }

    /// Says goodbye. The broker closes when it has read that.
    fn disconnect(&mut self, hands: &mut Hands<'_>, with_will: bool, expiry_secs: Option<u32>) {
        let Some(link) = self.link.as_mut() else { return };
        let reason = match with_will {
            true => ReasonCode::DISCONNECT_WITH_WILL_MESSAGE,
            false => ReasonCode::NORMAL_DISCONNECTION,
        };
        let properties = DisconnectProperties {
            session_expiry_secs: expiry_secs,
            ..DisconnectProperties::default()
        };
        link.write(&Packet::Disconnect(Disconnect { reason, properties }), hands.now);
        link.is_leaving = true;
        link.left_at = hands.now;
        let deed = Deed::Disconnect { with_will, expiry_secs };
        hands.judge.note_deed(self.index, deed);
        self.flush(hands);
    }

    /// Gives its connection up, without a word.
    fn drop_link(&mut self, hands: &mut Hands<'_>, is_acknowledged: bool) {
        let Some(link) = self.link.take() else { return };
        self.has_ended |= link.is_open && link.expiry_secs == 0;
        if !link.is_open {
            // A CONNECT that was refused has made no session.
            self.may_have_session |= !link.is_clean && !link.is_dismissed;
            self.connects_not_before = hands.now + UNANSWERED_MICROS;
        }
        hands.wires.client_close(link.number);
        let link = link.number;
        hands.judge.note_deed(self.index, Deed::Parted { link, is_acknowledged });
        let pause = match self.mode {
            Mode::Active => 1 + self.random.scattered(0..3 * SECOND),
            Mode::Settling | Mode::Inspecting | Mode::Clearing | Mode::Leaving | Mode::Gone => {
                100_000
            }
        };
        self.wakes_at = hands.now + pause;
    }

    /// Leaves its connection open and turns away from it: it is about to make another.
    fn abandon_link(&mut self, hands: &mut Hands<'_>) {
        let Some(link) = self.link.take() else { return };
        self.old_links.push(link.number);
        // Nothing of it is read any more, and nothing is written. The broker will close it.
        hands
            .judge
            .note_deed(self.index, Deed::Parted { link: link.number, is_acknowledged: false });
    }

    /// Writes what waits to be written, as far as it fits.
    fn flush(&mut self, hands: &mut Hands<'_>) {
        let Some(link) = self.link.as_mut() else { return };
        while !link.output.is_empty() {
            match hands.wires.client_write(link.number, &link.output) {
                Ok(count) => drop(link.output.drain(..count)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    link.stuck_at = hands.now;
                    return;
                }
                // Reading will tell.
                Err(_) => {
                    link.output.clear();
                    return;
                }
            }
        }
    }

    /// Returns a packet identifier that is free.
    fn draw_packet_id(&mut self) -> PacketId {
        loop {
            self.last_packet_id = self.last_packet_id % 65_535 + 1;
            let id = PacketId::new(self.last_packet_id).expect("from 1 to 65,535");
            let is_asked = self.link.as_ref().is_some_and(|link| link.asked.contains_key(&id));
            if !is_asked && self.sent.iter().all(|it| it.packet_id != id) {
                return id;
            }
        }
    }
}

/// After a CONNECT that was not answered, the next one waits so long: the broker may have read the first, and is at
/// it, and two connections may not overtake each other.
const UNANSWERED_MICROS: u64 = SECOND;
