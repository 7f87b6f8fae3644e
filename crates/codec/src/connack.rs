//! CONNACK.

use core::num::{NonZeroU16, NonZeroU32};

use crate::error::{DecodeError, Malformed, Violation};
use crate::property::{Place, PropertySet};
use crate::property_section::properties_of;
use crate::read::Reader;
use crate::write::Sink;
use crate::{PacketKind, QoS, ReasonCode, UserProperties, Version};

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

properties_of!(ConnAckProperties {
    session_expiry_secs,
    receive_maximum,
    maximum_qos,
    retain_available,
    packet_bytes_max,
    assigned_client_id,
    topic_alias_maximum,
    reason_string,
    user_properties,
    wildcard_subscription_available,
    subscription_id_available,
    shared_subscription_available,
    server_keep_alive_secs,
    response_information,
    server_reference,
    authentication_method,
    authentication_data,
});

impl<'a> ConnAck<'a> {
    pub(crate) fn decode(mut reader: Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let flags = reader.byte()?;
        if version.has_session_present() && flags & !SESSION_PRESENT != 0 {
            return Err(Malformed::ConnAckFlags.into());
        }
        let session_present = version.has_session_present() && flags != 0;
        let code = reader.byte()?;
        let (reason, properties) = if version.is_v5() {
            let reason = ReasonCode(code);
            if !reason.is_allowed_in(PacketKind::ConnAck) {
                return Err(Violation::ReasonCodeNotAllowed(PacketKind::ConnAck).into());
            }
            (reason, PropertySet::read_section(&mut reader, Place::ConnAck)?.into())
        } else {
            let reason = ReasonCode::from_v3_connack(code).ok_or(Malformed::ReturnCode)?;
            (reason, ConnAckProperties::default())
        };
        reader.finish()?;
        if session_present && reason != ReasonCode::SUCCESS {
            return Err(Violation::SessionPresentOnRefusal.into());
        }
        Ok(Self { session_present, reason, properties })
    }

    pub(crate) fn write_body<S: Sink>(&self, version: Version, sink: &mut S) {
        let session_present = self.session_present
            && version.has_session_present()
            && self.reason == ReasonCode::SUCCESS;
        sink.byte(if session_present { SESSION_PRESENT } else { 0 });
        if !version.is_v5() {
            // A reason that 3.x has no return code for is best not sent; sent all the same, it is said vaguely.
            sink.byte(self.reason.to_v3_connack().unwrap_or(V3_SERVER_UNAVAILABLE));
            return;
        }
        sink.byte(self.reason.0);
        let mut set = PropertySet::from(self.properties);
        set.maximum_qos = set.maximum_qos.filter(|&qos| qos != QoS::ExactlyOnce);
        set.write_section(sink);
    }
}

/// The Session Present flag; the other flags are reserved.
const SESSION_PRESENT: u8 = 1;

/// The return code of 3.x that gives the least away.
const V3_SERVER_UNAVAILABLE: u8 = 3;
