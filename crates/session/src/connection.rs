//! What belongs to one network connection and vanishes with it: what was agreed in the handshake, the quotas, and
//! the topic aliases.

use alloc::boxed::Box;
use alloc::vec::Vec;

use quelea_codec::{
    Ack, AckProperties, OutgoingPublish, Packet, PacketId, PacketKind, Publish, QoS, ReasonCode,
    Version, encode_ack,
};

use crate::alias_in::InboundAliases;
use crate::alias_out::{AliasUse, OutboundAliases};
use crate::connect::Negotiated;
use crate::publishing::Topic;
use crate::quota::{ReceiveQuota, SendQuota};
use crate::violation::Violation;

/// The protocol state of one network connection after CONNECT.
///
/// Small while nothing happens: the alias tables come with the first alias.
#[derive(Debug)]
pub struct Connection {
    pub(crate) send_quota: SendQuota,
    pub(crate) receive_quota: ReceiveQuota,
    inbound_aliases: Option<Box<InboundAliases>>,
    outbound_aliases: Option<Box<OutboundAliases>>,
    packet_bytes_max_to_peer: u32,
    keep_alive_secs: u16,
    topic_alias_maximum_in: u16,
    topic_alias_maximum_out: u16,
    version: Version,
    qos_max: QoS,
    is_retain_available: bool,
    wants_problem_information: bool,
    /// The peer is a server, whose messages say which subscriptions they came through.
    takes_subscription_ids: bool,
}

/// A packet above the peer's Maximum Packet Size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketTooLarge;

impl Connection {
    /// Returns the state of a connection that was just agreed upon.
    pub fn new(settings: &Negotiated) -> Self {
        Self {
            send_quota: SendQuota::new(settings.send_window),
            receive_quota: ReceiveQuota::new(settings.receive_maximum),
            inbound_aliases: None,
            outbound_aliases: None,
            packet_bytes_max_to_peer: settings.packet_bytes_max_to_peer,
            keep_alive_secs: settings.keep_alive_secs,
            topic_alias_maximum_in: settings.topic_alias_maximum_in,
            topic_alias_maximum_out: settings.topic_alias_maximum_out,
            version: settings.version,
            qos_max: settings.qos_max,
            is_retain_available: settings.is_retain_available,
            wants_problem_information: settings.wants_problem_information,
            takes_subscription_ids: false,
        }
    }

    /// Returns the state of a client's connection.
    pub(crate) fn to_server(settings: &Negotiated) -> Self {
        Self { takes_subscription_ids: true, ..Self::new(settings) }
    }

    /// Writes a PUBACK, PUBREC, PUBREL or PUBCOMP.
    ///
    /// The reason string is left out where the client does not want it ([MQTT-3.1.2-29]) and where it would
    /// make the packet too large ([MQTT-3.4.2-2], [MQTT-3.5.2-2], [MQTT-3.6.2-2], [MQTT-3.7.2-2]).
    #[inline]
    pub fn write_ack(
        &self,
        kind: PacketKind,
        packet_id: PacketId,
        reason: ReasonCode,
        reason_string: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        let reason_string =
            reason_string.filter(|text| self.may_send_reason_string(kind, packet_id, reason, text));
        encode_ack(kind, packet_id, reason, reason_string, self.version, out);
    }

    #[cold]
    fn may_send_reason_string(
        &self,
        kind: PacketKind,
        packet_id: PacketId,
        reason: ReasonCode,
        text: &str,
    ) -> bool {
        let properties = AckProperties { reason_string: Some(text), ..AckProperties::default() };
        let ack = Ack { packet_id, reason, properties };
        let packet = match kind {
            PacketKind::PubRec => Packet::PubRec(ack),
            PacketKind::PubRel => Packet::PubRel(ack),
            PacketKind::PubComp => Packet::PubComp(ack),
            _ => Packet::PubAck(ack),
        };
        self.wants_problem_information && self.has_room_for(packet.encoded_len(self.version))
    }

    /// Writes `packet`, whose topic is given by name, or by an alias if that saves something.
    ///
    /// # Errors
    ///
    /// [`PacketTooLarge`] if the peer does not accept a packet of this size ([MQTT-3.1.2-24]). Then nothing is
    /// written.
    #[inline]
    pub(crate) fn write_publish(
        &mut self,
        mut packet: OutgoingPublish<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), PacketTooLarge> {
        // Rather than the exact size, which takes longer, one that it cannot exceed.
        let bytes_at_most = PUBLISH_OVERHEAD_MAX
            + packet.topic.len()
            + packet.forwarded.len()
            + SUBSCRIPTION_ID_BYTES_MAX * packet.subscription_ids.len()
            + packet.payload.len();
        if !self.has_room_for(bytes_at_most) {
            return self.write_large_publish(packet, out);
        }
        if self.topic_alias_maximum_out > 0 {
            self.choose_alias(&mut packet);
        }
        packet.encode(self.version, out);
        Ok(())
    }

    /// Writes a packet of about the greatest size. It introduces no alias: a packet that is discarded would have
    /// the peer know less than we think.
    #[cold]
    fn write_large_publish(
        &self,
        mut packet: OutgoingPublish<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), PacketTooLarge> {
        let alias = self.outbound_aliases.as_deref().and_then(|it| it.alias_of(packet.topic));
        if alias.is_some() {
            packet.topic_alias = alias;
            packet.topic = "";
        }
        if !self.has_room_for(packet.encoded_len(self.version)) {
            return Err(PacketTooLarge);
        }
        packet.encode(self.version, out);
        Ok(())
    }

    fn choose_alias(&mut self, packet: &mut OutgoingPublish<'_>) {
        let alias_max = self.topic_alias_maximum_out;
        let aliases =
            self.outbound_aliases.get_or_insert_with(|| Box::new(OutboundAliases::new(alias_max)));
        match aliases.choose(packet.topic) {
            AliasUse::Name => {}
            AliasUse::Both(alias) => packet.topic_alias = Some(alias),
            AliasUse::Alias(alias) => {
                packet.topic_alias = Some(alias);
                packet.topic = "";
            }
        }
    }

    /// Checks a PUBLISH against what the handshake allowed, and finds its topic.
    #[inline]
    pub(crate) fn accept<'p>(&mut self, publish: &Publish<'p>) -> Result<Topic<'p>, Violation> {
        if publish.qos > self.qos_max {
            return Err(Violation::QoSNotSupported);
        }
        if publish.retain && !self.is_retain_available {
            return Err(Violation::RetainNotSupported);
        }
        // MQTT 3.x has no properties: spare it the look at them.
        if self.version.is_v5()
            && !self.takes_subscription_ids
            && !publish.properties.subscription_ids.is_empty()
        {
            return Err(Violation::SubscriptionIdFromClient);
        }
        match publish.properties.topic_alias {
            Some(alias) => self.resolve(alias, publish.topic),
            None if publish.topic.is_empty() => Err(Violation::TopicNameMissing),
            None => Ok(Topic::Borrowed(publish.topic)),
        }
    }

    /// Sets or reads the meaning of an alias, as section 3.3.4 lists the cases.
    fn resolve<'p>(&mut self, alias: u16, topic: &'p str) -> Result<Topic<'p>, Violation> {
        if alias == 0 || alias > self.topic_alias_maximum_in {
            return Err(Violation::TopicAliasAboveMaximum);
        }
        if !topic.is_empty() {
            self.inbound_aliases.get_or_insert_default().set(alias, topic);
            return Ok(Topic::Borrowed(topic));
        }
        let known = self.inbound_aliases.as_deref().and_then(|it| it.topic(alias));
        known.cloned().map(Topic::Aliased).ok_or(Violation::TopicAliasUnknown)
    }

    /// Returns the protocol version.
    #[inline]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns the Keep Alive in force; 0 is none.
    pub fn keep_alive_secs(&self) -> u16 {
        self.keep_alive_secs
    }

    /// Returns after how long a silence the connection is closed: one and a half times the Keep Alive
    /// ([MQTT-3.1.2-22], v3.1.1 [MQTT-3.1.2-24]).
    pub fn keep_alive_limit_millis(&self) -> Option<u64> {
        (self.keep_alive_secs > 0).then(|| u64::from(self.keep_alive_secs) * 1500)
    }

    /// Returns whether the client wants reason strings and user properties on acknowledgements
    /// ([MQTT-3.1.2-29]).
    pub fn wants_problem_information(&self) -> bool {
        self.wants_problem_information
    }

    /// Returns the largest packet that the peer accepts.
    pub fn packet_bytes_max_to_peer(&self) -> u32 {
        self.packet_bytes_max_to_peer
    }

    /// Returns whether the peer accepts a packet of `packet_bytes` ([MQTT-3.1.2-24]).
    #[inline]
    pub fn has_room_for(&self, packet_bytes: usize) -> bool {
        packet_bytes <= self.packet_bytes_max_to_peer as usize
    }

    /// Returns how many QoS 1 and 2 messages may be under way to the peer.
    pub fn send_window(&self) -> u16 {
        self.send_quota.start()
    }
}

/// Fixed header 5, topic length 2, packet identifier 2, property length 4, expiry 5, alias 3.
const PUBLISH_OVERHEAD_MAX: usize = 21;

const SUBSCRIPTION_ID_BYTES_MAX: usize = 5;
