//! The handshake: CONNECT against the server's limits, and CONNACK.
//!
//! Who the client is, and whether it may be here, is decided elsewhere.

use alloc::vec::Vec;
use core::fmt;
use core::num::{NonZeroU16, NonZeroU32};

use quelea_codec::{ConnAck, ConnAckProperties, Connect, Packet, QoS, ReasonCode, Version, Will};

use crate::connection::PacketTooLarge;
use crate::session::Class;

/// What a server offers its clients.
#[derive(Clone, Debug)]
pub struct ServerLimits {
    /// QoS 1 and 2 messages that a client may have under way to us, not 0. A 3.x client cannot be told and is not
    /// held to it.
    pub receive_maximum: u16,
    /// QoS 1 and 2 messages that we have under way to a client, not 0.
    pub send_window_max: u16,
    /// The largest packet we accept, not 0.
    pub packet_bytes_max: u32,
    /// The highest Topic Alias we accept.
    pub topic_alias_maximum: u16,
    /// The highest Topic Alias we use.
    pub topic_alias_maximum_out: u16,
    /// The highest QoS of a PUBLISH and of a will.
    pub qos_max: QoS,
    /// Whether messages are retained.
    pub retain_available: bool,
    /// Whether topic filters may have wildcards.
    pub wildcard_available: bool,
    /// Whether subscriptions may have identifiers.
    pub subscription_ids_available: bool,
    /// Whether there are shared subscriptions.
    pub shared_available: bool,
    /// The longest Keep Alive, and the one of clients that want none; 0 is no limit.
    pub keep_alive_max_secs: u16,
    /// The longest Session Expiry Interval of 5.0; `u32::MAX` is no limit.
    pub session_expiry_max_secs: u32,
    /// How long a 3.x session with Clean Session 0 is kept; `u32::MAX` is for ever.
    pub v3_session_expiry_secs: u32,
}

/// What a connection runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// Protocol version.
    pub version: Version,
    /// Clean Start; Clean Session in 3.x.
    pub clean_start: bool,
    /// Session Expiry Interval in force; `u32::MAX` is never.
    pub session_expiry_secs: u32,
    /// The same where it differs from what the client asked for, and so is announced.
    pub announced_session_expiry_secs: Option<u32>,
    /// Keep Alive in force; 0 is none.
    pub keep_alive_secs: u16,
    /// Server Keep Alive: the same where it differs from what the client asked for.
    pub server_keep_alive: Option<u16>,
    /// QoS 1 and 2 messages that the client may have under way.
    pub receive_maximum: u16,
    /// QoS 1 and 2 messages that may be under way to the client.
    pub send_window: u16,
    /// The largest packet the client accepts, or that there can be.
    pub packet_bytes_max_to_peer: u32,
    /// The highest Topic Alias of the client.
    pub topic_alias_maximum_in: u16,
    /// The highest Topic Alias to the client.
    pub topic_alias_maximum_out: u16,
    /// The highest QoS of a PUBLISH of the client.
    pub qos_max: QoS,
    /// Whether the client may have messages retained.
    pub is_retain_available: bool,
    /// Request Problem Information ([MQTT-3.1.2-29]).
    pub wants_problem_information: bool,
    /// Request Response Information ([MQTT-3.1.2-28]).
    pub wants_response_information: bool,
}

/// A valid CONNECT that the server cannot serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// A Will QoS above the Maximum QoS.
    WillQoSNotSupported,
    /// A retained will where nothing is retained.
    WillRetainNotSupported,
}

/// Works out what a connection runs with.
///
/// # Errors
///
/// A [`Refusal`] when the server cannot do what the CONNECT demands.
pub fn negotiate(connect: &Connect<'_>, limits: &ServerLimits) -> Result<Negotiated, Refusal> {
    if let Some(will) = &connect.will {
        check_will(will, limits)?;
    }
    let asked = &connect.properties;
    let is_v5 = connect.version.is_v5();
    let asked_expiry_secs = asked.session_expiry_secs.unwrap_or(0);
    let session_expiry_secs = match (is_v5, connect.clean_start) {
        (true, _) => asked_expiry_secs.min(limits.session_expiry_max_secs),
        // Clean Session 1 is a session that lasts as long as the connection (v3.1.1 [MQTT-3.1.2-6]).
        (false, true) => 0,
        (false, false) => limits.v3_session_expiry_secs,
    };
    let keep_alive_secs = keep_alive(connect, limits);
    let packet_bytes_max_to_peer =
        asked.packet_bytes_max.map_or(PACKET_BYTES_MAX, |bytes| bytes.get().min(PACKET_BYTES_MAX));
    let client_receive_maximum = asked.receive_maximum.map_or(u16::MAX, NonZeroU16::get);
    Ok(Negotiated {
        version: connect.version,
        clean_start: connect.clean_start,
        session_expiry_secs,
        announced_session_expiry_secs: (is_v5 && session_expiry_secs != asked_expiry_secs)
            .then_some(session_expiry_secs),
        keep_alive_secs,
        server_keep_alive: (keep_alive_secs != connect.keep_alive_secs).then_some(keep_alive_secs),
        // A 3.x client has never heard of a limit, so there is none but the number of identifiers.
        receive_maximum: if is_v5 { limits.receive_maximum.max(1) } else { u16::MAX },
        // [MQTT-4.9.0-1]
        send_window: client_receive_maximum.min(limits.send_window_max).max(1),
        packet_bytes_max_to_peer,
        topic_alias_maximum_in: if is_v5 { limits.topic_alias_maximum } else { 0 },
        // [MQTT-3.1.2-27]
        topic_alias_maximum_out: asked
            .topic_alias_maximum
            .unwrap_or(0)
            .min(limits.topic_alias_maximum_out),
        qos_max: limits.qos_max,
        is_retain_available: limits.retain_available,
        wants_problem_information: is_v5 && asked.request_problem_information.unwrap_or(true),
        wants_response_information: asked.request_response_information.unwrap_or(false),
    })
}

/// [MQTT-3.2.2-12], [MQTT-3.2.2-13]
fn check_will(will: &Will<'_>, limits: &ServerLimits) -> Result<(), Refusal> {
    if will.qos > limits.qos_max {
        return Err(Refusal::WillQoSNotSupported);
    }
    if will.retain && !limits.retain_available {
        return Err(Refusal::WillRetainNotSupported);
    }
    Ok(())
}

/// Returns the Keep Alive in force ([MQTT-3.2.2-22]).
///
/// Policy: a 3.x client keeps what it asked for, because there is no way to tell it another value
/// (v3.1.1 [MQTT-3.1.2-24]).
fn keep_alive(connect: &Connect<'_>, limits: &ServerLimits) -> u16 {
    match (connect.keep_alive_secs, limits.keep_alive_max_secs) {
        (asked, 0) => asked,
        (asked, _) if !connect.version.is_v5() => asked,
        (0, limit) => limit,
        (asked, limit) => asked.min(limit),
    }
}

/// Writes the CONNACK that accepts a connection.
///
/// `response_information` is written if the client asked for it ([MQTT-3.1.2-28]) and its Maximum Packet Size
/// leaves room; `auth` is method and data of an extended authentication ([MQTT-4.12.0-5]).
///
/// # Errors
///
/// [`PacketTooLarge`] if the client does not accept even the smallest CONNACK ([MQTT-3.1.2-24]). Nothing is
/// written then, and all that is left is to close.
pub fn write_connack(
    negotiated: &Negotiated,
    limits: &ServerLimits,
    session_present: bool,
    assigned_client_id: Option<&str>,
    auth: Option<(&str, &[u8])>,
    response_information: Option<&str>,
    out: &mut Vec<u8>,
) -> Result<(), PacketTooLarge> {
    // Session Present is never set with Clean Start ([MQTT-3.2.2-2], v3.1.1 [MQTT-3.2.2-1]).
    let session_present = session_present && !negotiated.clean_start;
    let mut connack = ConnAck {
        session_present,
        reason: ReasonCode::SUCCESS,
        properties: ConnAckProperties {
            session_expiry_secs: negotiated.announced_session_expiry_secs,
            receive_maximum: NonZeroU16::new(negotiated.receive_maximum)
                .filter(|maximum| *maximum != NonZeroU16::MAX),
            // [MQTT-3.2.2-9]
            maximum_qos: (limits.qos_max < QoS::ExactlyOnce).then_some(limits.qos_max),
            retain_available: unless_available(limits.retain_available),
            packet_bytes_max: NonZeroU32::new(limits.packet_bytes_max)
                .filter(|bytes| bytes.get() < PACKET_BYTES_MAX),
            assigned_client_id,
            topic_alias_maximum: (limits.topic_alias_maximum > 0)
                .then_some(limits.topic_alias_maximum),
            wildcard_subscription_available: unless_available(limits.wildcard_available),
            subscription_id_available: unless_available(limits.subscription_ids_available),
            shared_subscription_available: unless_available(limits.shared_available),
            server_keep_alive_secs: negotiated.server_keep_alive,
            response_information: response_information
                .filter(|_| negotiated.wants_response_information),
            authentication_method: auth.map(|(method, _)| method),
            authentication_data: auth.map(|(_, data)| data).filter(|data| !data.is_empty()),
            ..ConnAckProperties::default()
        },
    };
    let packet_bytes_max = negotiated.packet_bytes_max_to_peer;
    if write_within(&connack, negotiated.version, packet_bytes_max, out).is_ok() {
        return Ok(());
    }
    connack.properties.response_information = None;
    write_within(&connack, negotiated.version, packet_bytes_max, out)
}

/// Returns `Some(false)` for what is not available: what is needs no mention.
fn unless_available(is_available: bool) -> Option<bool> {
    (!is_available).then_some(false)
}

/// Writes the CONNACK that refuses a connection.
///
/// Nothing is written if the version has no code for the reason (v3.1.1 [MQTT-3.2.2-6]), or the packet is above
/// `packet_bytes_max`: the Maximum Packet Size of the CONNECT, if it has one and could be read. The connection
/// is closed in any case ([MQTT-3.2.2-7]).
pub fn write_refusal(
    version: Version,
    reason: ReasonCode,
    reason_string: Option<&str>,
    packet_bytes_max: Option<NonZeroU32>,
    out: &mut Vec<u8>,
) {
    if !version.is_v5() && reason.to_v3_connack().is_none() {
        return;
    }
    let packet_bytes_max = packet_bytes_max.map_or(PACKET_BYTES_MAX, NonZeroU32::get);
    let mut connack = ConnAck { reason, ..ConnAck::default() };
    connack.properties.reason_string = reason_string;
    if write_within(&connack, version, packet_bytes_max, out).is_err() {
        // [MQTT-3.2.2-19]
        connack.properties.reason_string = None;
        // If this is too large as well, the close alone is the answer.
        let _ = write_within(&connack, version, packet_bytes_max, out);
    }
}

fn write_within(
    connack: &ConnAck<'_>,
    version: Version,
    packet_bytes_max: u32,
    out: &mut Vec<u8>,
) -> Result<(), PacketTooLarge> {
    let packet = Packet::ConnAck(*connack);
    if packet.encoded_len(version) > packet_bytes_max as usize {
        return Err(PacketTooLarge);
    }
    packet.encode(version, out);
    Ok(())
}

impl Negotiated {
    /// Returns the kind of session that the connection has: one that ends with it, or one that may be resumed.
    pub fn class(&self) -> Class {
        if self.session_expiry_secs == 0 { Class::Live } else { Class::Durable }
    }
}

impl Refusal {
    /// Returns the statement of MQTT 5.0 that demands the refusal.
    pub fn statement(self) -> &'static str {
        match self {
            Self::WillQoSNotSupported => "MQTT-3.2.2-12",
            Self::WillRetainNotSupported => "MQTT-3.2.2-13",
        }
    }

    /// Returns what the client is told in CONNACK.
    pub fn reason_code(self) -> ReasonCode {
        match self {
            Self::WillQoSNotSupported => ReasonCode::QOS_NOT_SUPPORTED,
            Self::WillRetainNotSupported => ReasonCode::RETAIN_NOT_SUPPORTED,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WillQoSNotSupported => "will QoS above the maximum",
            Self::WillRetainNotSupported => "retained will, but retain is not supported",
        })
    }
}

impl core::error::Error for Refusal {}

/// The largest packet that the protocol can express: five bytes of fixed header and 268,435,455 more.
const PACKET_BYTES_MAX: u32 = 268_435_460;

#[cfg(test)]
mod tests;
