//! Packets from arbitrary bytes: each byte decides something, and missing bytes count as zero.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::LazyLock;

use quelea_codec::{
    Ack, AckProperties, Auth, AuthProperties, ConnAck, ConnAckProperties, Connect,
    ConnectProperties, Disconnect, DisconnectProperties, Packet, PacketId, PacketKind, Publish,
    PublishProperties, QoS, ReasonCode, RetainHandling, SubAck, Subscribe, SubscriptionIds,
    SubscriptionOptions, UnsubAck, Unsubscribe, UserProperties, Version, Will,
};

/// Returns the valid packet of `version` that `choices` describe.
pub(crate) fn any_packet(choices: &[u8], version: Version) -> Packet<'_> {
    let mut choices = Choices { rest: choices, version };
    match choices.of(&PacketKind::ALL) {
        PacketKind::Connect => Packet::Connect(choices.connect()),
        PacketKind::ConnAck => Packet::ConnAck(choices.connack()),
        PacketKind::Publish => Packet::Publish(choices.publish()),
        PacketKind::PubAck => Packet::PubAck(choices.ack(PacketKind::PubAck)),
        PacketKind::PubRec => Packet::PubRec(choices.ack(PacketKind::PubRec)),
        PacketKind::PubRel => Packet::PubRel(choices.ack(PacketKind::PubRel)),
        PacketKind::PubComp => Packet::PubComp(choices.ack(PacketKind::PubComp)),
        PacketKind::Subscribe => Packet::Subscribe(choices.subscribe()),
        PacketKind::SubAck => Packet::SubAck(choices.suback()),
        PacketKind::Unsubscribe => Packet::Unsubscribe(choices.unsubscribe()),
        PacketKind::UnsubAck => Packet::UnsubAck(choices.unsuback()),
        PacketKind::PingReq => Packet::PingReq,
        PacketKind::PingResp => Packet::PingResp,
        PacketKind::Disconnect => Packet::Disconnect(choices.disconnect()),
        PacketKind::Auth if version.is_v5() => Packet::Auth(choices.auth()),
        PacketKind::Auth => Packet::PingReq,
    }
}

struct Choices<'a> {
    rest: &'a [u8],
    version: Version,
}

impl<'a> Choices<'a> {
    fn connect(&mut self) -> Connect<'a> {
        let clean_start = self.flag();
        let may_be_anonymous = match self.version {
            Version::V31 => false,
            Version::V311 => clean_start,
            Version::V5 => true,
        };
        let client_id =
            if may_be_anonymous { self.text() } else { self.of(&["c", "client-1", "\u{FEFF}"]) };
        let username = self.option(Self::text);
        let password =
            self.option(Self::binary).filter(|_| self.version.is_v5() || username.is_some());
        Connect {
            clean_start,
            keep_alive_secs: self.number() as u16,
            will: self.option(Self::will),
            username,
            password,
            properties: self.in_v5(Self::connect_properties),
            ..Connect::new(self.version, client_id)
        }
    }

    fn connect_properties(&mut self) -> ConnectProperties<'a> {
        let authentication_method = self.option(Self::text);
        ConnectProperties {
            session_expiry_secs: self.option(Self::number),
            receive_maximum: NonZeroU16::new(self.number() as u16),
            packet_bytes_max: NonZeroU32::new(self.number()),
            topic_alias_maximum: self.option(Self::number).map(|number| number as u16),
            request_response_information: self.option(Self::flag),
            request_problem_information: self.option(Self::flag),
            authentication_method,
            authentication_data: self
                .option(Self::binary)
                .filter(|_| authentication_method.is_some()),
            user_properties: self.user_properties(),
        }
    }

    fn will(&mut self) -> Will<'a> {
        let hop = PublishProperties {
            topic_alias: None,
            subscription_ids: SubscriptionIds::EMPTY,
            ..Default::default()
        };
        let properties = self.in_v5(Self::publish_properties);
        Will {
            qos: self.of(&QoS::ALL),
            retain: self.flag(),
            topic: self.of(&TOPICS),
            payload: self.binary(),
            delay_secs: self.in_v5(Self::number),
            properties: PublishProperties {
                topic_alias: hop.topic_alias,
                subscription_ids: hop.subscription_ids,
                ..properties
            },
        }
    }

    fn connack(&mut self) -> ConnAck<'a> {
        let reason = match self.version {
            Version::V5 => self.reason(PacketKind::ConnAck),
            Version::V31 | Version::V311 => {
                ReasonCode::from_v3_connack(self.byte() % 6).expect("six return codes")
            }
        };
        let may_resume = reason == ReasonCode::SUCCESS && self.version != Version::V31;
        ConnAck {
            session_present: may_resume && self.flag(),
            reason,
            properties: self.in_v5(Self::connack_properties),
        }
    }

    fn connack_properties(&mut self) -> ConnAckProperties<'a> {
        ConnAckProperties {
            session_expiry_secs: self.option(Self::number),
            receive_maximum: NonZeroU16::new(self.number() as u16),
            maximum_qos: self.option(|it| it.of(&QoS::ALL[..2])),
            retain_available: self.option(Self::flag),
            packet_bytes_max: NonZeroU32::new(self.number()),
            assigned_client_id: self.option(Self::text),
            topic_alias_maximum: self.option(Self::number).map(|number| number as u16),
            reason_string: self.option(Self::text),
            user_properties: self.user_properties(),
            wildcard_subscription_available: self.option(Self::flag),
            subscription_id_available: self.option(Self::flag),
            shared_subscription_available: self.option(Self::flag),
            server_keep_alive_secs: self.option(Self::number).map(|number| number as u16),
            response_information: self.option(Self::text),
            server_reference: self.option(Self::text),
            authentication_method: self.option(Self::text),
            authentication_data: self.option(Self::binary),
        }
    }

    fn publish(&mut self) -> Publish<'a> {
        let qos = self.of(&QoS::ALL);
        let has_id = qos != QoS::AtMostOnce;
        let properties = self.in_v5(Self::publish_properties);
        let is_alias_alone = properties.topic_alias.is_some() && self.flag();
        Publish {
            dup: has_id && self.flag(),
            qos,
            retain: self.flag(),
            topic: if is_alias_alone { "" } else { self.of(&TOPICS) },
            packet_id: has_id.then(|| self.packet_id()),
            properties,
            payload: self.binary(),
        }
    }

    fn publish_properties(&mut self) -> PublishProperties<'a> {
        PublishProperties {
            payload_is_utf8: self.option(Self::flag),
            message_expiry_secs: self.option(Self::number),
            topic_alias: Some(self.number() as u16).filter(|&alias| alias != 0),
            response_topic: self.option(|it| it.of(&TOPICS)),
            correlation_data: self.option(Self::binary),
            subscription_ids: SubscriptionIds::from_slice(self.some_of(&SUBSCRIPTION_IDS)),
            content_type: self.option(Self::text),
            user_properties: self.user_properties(),
            ..PublishProperties::default()
        }
    }

    fn ack(&mut self, kind: PacketKind) -> Ack<'a> {
        let packet_id = self.packet_id();
        let reason = self.in_v5(|it| it.reason(kind));
        Ack { packet_id, reason, properties: self.in_v5(Self::ack_properties) }
    }

    fn ack_properties(&mut self) -> AckProperties<'a> {
        AckProperties {
            reason_string: self.option(Self::text),
            user_properties: self.user_properties(),
        }
    }

    fn subscribe(&mut self) -> Subscribe<'a> {
        let filters =
            if self.version.is_v5() { &FILTERS_WITH_OPTIONS[..] } else { &FILTERS_WITH_QOS[..] };
        let subscription_id = self.in_v5(|it| it.option(|it| it.of(&SUBSCRIPTION_IDS)));
        let mut subscribe =
            Subscribe::new(self.packet_id(), subscription_id, self.at_least_one_of(filters));
        subscribe.user_properties = self.in_v5(Self::user_properties);
        subscribe
    }

    fn suback(&mut self) -> SubAck<'a> {
        let reasons = if self.version.is_v5() { &SUBACK_REASONS[..] } else { &SUBACK_REASONS[..4] };
        SubAck {
            packet_id: self.packet_id(),
            reasons: self.at_least_one_of(reasons),
            properties: self.in_v5(Self::ack_properties),
        }
    }

    fn unsubscribe(&mut self) -> Unsubscribe<'a> {
        let mut unsubscribe = Unsubscribe::new(self.packet_id(), self.at_least_one_of(&FILTERS));
        unsubscribe.user_properties = self.in_v5(Self::user_properties);
        unsubscribe
    }

    fn unsuback(&mut self) -> UnsubAck<'a> {
        UnsubAck {
            packet_id: self.packet_id(),
            reasons: self
                .in_v5(|it| it.at_least_one_of(&[0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91])),
            properties: self.in_v5(Self::ack_properties),
        }
    }

    fn disconnect(&mut self) -> Disconnect<'a> {
        Disconnect {
            reason: self.in_v5(|it| it.reason(PacketKind::Disconnect)),
            properties: self.in_v5(|it| DisconnectProperties {
                session_expiry_secs: it.option(Self::number),
                reason_string: it.option(Self::text),
                user_properties: it.user_properties(),
                server_reference: it.option(Self::text),
            }),
        }
    }

    fn auth(&mut self) -> Auth<'a> {
        let properties = AuthProperties {
            method: Some(self.text()),
            data: self.option(Self::binary),
            reason_string: self.option(Self::text),
            user_properties: self.user_properties(),
        };
        Auth { reason: self.reason(PacketKind::Auth), properties }
    }

    fn reason(&mut self, kind: PacketKind) -> ReasonCode {
        let codes: Vec<ReasonCode> =
            (0..=u8::MAX).map(ReasonCode).filter(|code| code.is_allowed_in(kind)).collect();
        self.of(&codes)
    }

    fn packet_id(&mut self) -> PacketId {
        PacketId::new(self.number() as u16).unwrap_or(PacketId::new(1).expect("not zero"))
    }

    fn user_properties(&mut self) -> UserProperties<'a> {
        UserProperties::from_pairs(self.some_of(&USER_PROPERTIES))
    }

    /// Makes something that 3.x does not have, where it stays empty.
    fn in_v5<T: Default>(&mut self, make: impl FnOnce(&mut Self) -> T) -> T {
        if self.version.is_v5() { make(self) } else { T::default() }
    }

    fn option<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.flag() { Some(make(self)) } else { None }
    }

    /// Returns a string of a length from the limits that matter.
    fn text(&mut self) -> &'a str {
        let text: &'static str = &TEXT;
        &text[..self.of(&[0, 1, 2, 5, 23, 64, 127, 128, 300, 65_535])]
    }

    /// Returns some of the choices themselves: they are arbitrary enough.
    fn binary(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.rest.len());
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    fn number(&mut self) -> u32 {
        match self.byte() {
            small @ 0..128 => small.into(),
            128..192 => u32::from_be_bytes([0, 0, self.byte(), self.byte()]),
            _ => u32::from_be_bytes([self.byte(), self.byte(), self.byte(), self.byte()]),
        }
    }

    fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[usize::from(self.byte()) % items.len()]
    }

    fn some_of<T>(&mut self, items: &'static [T]) -> &'static [T] {
        let start = usize::from(self.byte()) % (items.len() + 1);
        let count = usize::from(self.byte()) % (items.len() - start + 1);
        &items[start..start + count]
    }

    fn at_least_one_of<T>(&mut self, items: &'static [T]) -> &'static [T] {
        let start = usize::from(self.byte()) % items.len();
        let count = usize::from(self.byte()) % (items.len() - start);
        &items[start..=start + count]
    }

    fn flag(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.rest.split_first() else {
            return 0;
        };
        self.rest = rest;
        byte
    }
}

/// A text of one-byte characters, so that every length of it is a text.
static TEXT: LazyLock<String> =
    LazyLock::new(|| "!a/b +#$~".chars().cycle().take(65_535).collect());

static TOPICS: [&str; 8] = [
    "t",
    "/",
    "plant/7/line/3/temperature",
    "$SYS/broker",
    " ",
    "\u{FEFF}",
    "Z\u{FC}rich/\u{6E29}\u{5EA6}/\u{1F321}",
    "a/topic/that/is/longer/than/one/hundred/and/twenty-seven/bytes/so/that/its/packet/has/a/longer/header/than/most/packets/do/and/a/bit/more",
];

static FILTERS: [&str; 7] = ["a", "#", "+/+", "$SYS/#", "$share/g/a/+", "\u{FEFF}/b", "//"];

static FILTERS_WITH_QOS: [(&str, SubscriptionOptions); 3] = [
    ("a/#", options(QoS::AtMostOnce, false, false, RetainHandling::SendAtSubscribe)),
    ("b", options(QoS::AtLeastOnce, false, false, RetainHandling::SendAtSubscribe)),
    ("$share/g/+", options(QoS::ExactlyOnce, false, false, RetainHandling::SendAtSubscribe)),
];

static FILTERS_WITH_OPTIONS: [(&str, SubscriptionOptions); 5] = [
    ("a/#", options(QoS::AtMostOnce, true, false, RetainHandling::SendIfNew)),
    ("b", options(QoS::AtLeastOnce, false, true, RetainHandling::DoNotSend)),
    ("$share/g/+", options(QoS::ExactlyOnce, false, true, RetainHandling::SendAtSubscribe)),
    ("+", options(QoS::ExactlyOnce, true, true, RetainHandling::DoNotSend)),
    ("/", options(QoS::AtMostOnce, false, false, RetainHandling::SendAtSubscribe)),
];

static SUBSCRIPTION_IDS: [u32; 8] =
    [1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455];

/// Those of 3.1.1 first.
static SUBACK_REASONS: [u8; 12] =
    [0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2];

static USER_PROPERTIES: [(&str, &str); 5] = [
    ("", ""),
    ("k", "v"),
    ("k", "v"),
    ("\u{FEFF}", "\u{1F321}"),
    ("a name", "and a value that is not so short"),
];

const fn options(
    qos: QoS,
    no_local: bool,
    retain_as_published: bool,
    retain_handling: RetainHandling,
) -> SubscriptionOptions {
    SubscriptionOptions { qos, no_local, retain_as_published, retain_handling }
}
