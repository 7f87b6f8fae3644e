//! CONNACK.

use core::num::{NonZeroU16, NonZeroU32};

use crate::{QoS, ReasonCode, UserProperties};

/// A CONNACK packet (section 3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnAck<'a> {
    /// Session Present: the server resumes a session. Never with a refusal ([MQTT-3.2.2-6]), never in 3.1.
    pub session_present: bool,
    /// Connect Reason Code. In 3.x it goes through [`ReasonCode::to_v3_connack`].
    pub reason: ReasonCode,
    /// Properties; none in 3.x.
    pub properties: ConnAckProperties<'a>,
}

/// The properties of CONNACK. Where one is absent its default holds, as the field says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnAckProperties<'a> {
    /// Session Expiry Interval; absent: as the client asked.
    pub session_expiry_secs: Option<u32>,
    /// Receive Maximum; absent: 65,535.
    pub receive_maximum: Option<NonZeroU16>,
    /// Maximum QoS, 0 or 1; absent: 2. A QoS 2 is not written, for it means the same.
    pub maximum_qos: Option<QoS>,
    /// Retain Available; absent: yes.
    pub retain_available: Option<bool>,
    /// Maximum Packet Size; absent: no limit.
    pub packet_bytes_max: Option<NonZeroU32>,
    /// Assigned Client Identifier.
    pub assigned_client_id: Option<&'a str>,
    /// Topic Alias Maximum; absent: 0.
    pub topic_alias_maximum: Option<u16>,
    /// Reason String.
    pub reason_string: Option<&'a str>,
    /// User Properties.
    pub user_properties: UserProperties<'a>,
    /// Wildcard Subscription Available; absent: yes.
    pub wildcard_subscription_available: Option<bool>,
    /// Subscription Identifier Available; absent: yes.
    pub subscription_id_available: Option<bool>,
    /// Shared Subscription Available; absent: yes.
    pub shared_subscription_available: Option<bool>,
    /// Server Keep Alive; absent: as the client asked.
    pub server_keep_alive_secs: Option<u16>,
    /// Response Information.
    pub response_information: Option<&'a str>,
    /// Server Reference.
    pub server_reference: Option<&'a str>,
    /// Authentication Method.
    pub authentication_method: Option<&'a str>,
    /// Authentication Data.
    pub authentication_data: Option<&'a [u8]>,
}
