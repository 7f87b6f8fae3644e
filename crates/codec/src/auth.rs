//! AUTH, in 5.0 only.

use crate::error::{DecodeError, Violation};
use crate::property::{Place, PropertySet};
use crate::read::Reader;
use crate::write::Sink;
use crate::{PacketKind, ReasonCode, UserProperties};

/// An AUTH packet (section 3.15).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Auth<'a> {
    /// Authenticate Reason Code.
    pub reason: ReasonCode,
    /// Properties.
    pub properties: AuthProperties<'a>,
}

/// The properties of AUTH.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuthProperties<'a> {
    /// Authentication Method. Absent only in the short form, a success without any properties.
    pub method: Option<&'a str>,
    /// Authentication Data.
    pub data: Option<&'a [u8]>,
    /// Reason String.
    pub reason_string: Option<&'a str>,
    /// User Properties.
    pub user_properties: UserProperties<'a>,
}

impl<'a> Auth<'a> {
    /// Decodes an AUTH.
    ///
    /// The short form, a success without method, is legal by section 3.15.2.1 though section 3.15.2.2.2 calls the
    /// missing method a Protocol Error. Policy: it decodes, and who knows the method of the CONNECT judges it.
    pub(crate) fn decode(mut reader: Reader<'a>) -> Result<Self, DecodeError> {
        if reader.is_empty() {
            return Ok(Self::default());
        }
        let reason = reader.reason()?;
        if !reason.is_allowed_in(PacketKind::Auth) {
            return Err(Violation::ReasonCodeNotAllowed(PacketKind::Auth).into());
        }
        let properties = AuthProperties::from(PropertySet::read_section(&mut reader, Place::Auth)?);
        reader.finish()?;
        if properties.method.is_none() {
            return Err(Violation::AuthenticationMethodMissing.into());
        }
        Ok(Self { reason, properties })
    }

    pub(crate) fn write_body<S: Sink>(&self, sink: &mut S) {
        if *self != Self::default() {
            sink.byte(self.reason.0);
            PropertySet::from(self.properties).write_section(sink);
        }
    }
}

impl<'a> From<PropertySet<'a>> for AuthProperties<'a> {
    fn from(set: PropertySet<'a>) -> Self {
        Self {
            method: set.authentication_method,
            data: set.authentication_data,
            reason_string: set.reason_string,
            user_properties: set.user_properties,
        }
    }
}

impl<'a> From<AuthProperties<'a>> for PropertySet<'a> {
    fn from(properties: AuthProperties<'a>) -> Self {
        Self {
            authentication_method: properties.method,
            authentication_data: properties.data,
            reason_string: properties.reason_string,
            user_properties: properties.user_properties,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Malformed;
    use crate::notation::{check_fault, check_packet};
    use crate::{Packet, Version};

    const V5: [Version; 1] = [Version::V5];

    #[test]
    fn short_and_long_forms() {
        check_packet(&V5, 0xF0, "", &Packet::Auth(Auth::default()));
        let properties = AuthProperties {
            method: Some("m"),
            data: Some(b"d"),
            reason_string: Some("r"),
            user_properties: UserProperties::from_pairs(&[("k", "v")]),
        };
        let packet = Packet::Auth(Auth { reason: ReasonCode::CONTINUE_AUTHENTICATION, properties });
        check_packet(&V5, 0xF0, "18 { 15 <m> 16 <d> 1F <r> 26 <k> <v> }", &packet);
    }

    /// [MQTT-3.15.1-1], [MQTT-3.15.2-1], section 3.15.2.2.2
    #[test]
    fn faults() {
        check_fault(&[Version::V31, Version::V311], 0xF0, "", Malformed::PacketType);
        check_fault(&V5, 0xF1, "", Malformed::FixedHeaderFlags);
        check_fault(&V5, 0xF0, "01 00", Violation::ReasonCodeNotAllowed(PacketKind::Auth));
        check_fault(&V5, 0xF0, "18", Malformed::Truncated);
        check_fault(&V5, 0xF0, "18 00", Violation::AuthenticationMethodMissing);
        check_fault(&V5, 0xF0, "18 { 16 <d> }", Violation::AuthenticationMethodMissing);
        check_fault(&V5, 0xF0, "18 { 15 <m> } 00", Malformed::TrailingBytes);
    }
}
