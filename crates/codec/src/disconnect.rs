//! DISCONNECT.

use crate::{ReasonCode, UserProperties};

/// A DISCONNECT packet (section 3.14).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// Disconnect Reason Code; always normal disconnection in 3.x.
    pub reason: ReasonCode,
    /// Properties; none in 3.x.
    pub properties: DisconnectProperties<'a>,
}

/// The properties of DISCONNECT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DisconnectProperties<'a> {
    /// Session Expiry Interval, from a client only ([MQTT-3.14.2-2]).
    pub session_expiry_secs: Option<u32>,
    /// Reason String.
    pub reason_string: Option<&'a str>,
    /// User Properties.
    pub user_properties: UserProperties<'a>,
    /// Server Reference, from a server only.
    pub server_reference: Option<&'a str>,
}
