//! Property sections: a Property Length and the properties (section 2.2.2).

use crate::error::{DecodeError, Malformed, Violation};
use crate::property::{Place, Property, PropertySet};
use crate::read::Reader;
use crate::write::{Sink, Write};
use crate::{SubscriptionIds, UserProperties};

/// Declares that a packet's properties are those fields of [`PropertySet`] that have the same names.
macro_rules! properties_of {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl<'a> From<$crate::property::PropertySet<'a>> for $name<'a> {
            fn from(set: $crate::property::PropertySet<'a>) -> Self {
                Self { $($field: set.$field),* }
            }
        }

        impl<'a> From<$name<'a>> for $crate::property::PropertySet<'a> {
            fn from(properties: $name<'a>) -> Self {
                Self { $($field: properties.$field,)* ..Self::default() }
            }
        }
    };
}
pub(crate) use properties_of;

impl<'a> PropertySet<'a> {
    /// Reads the property section of `place`.
    pub(crate) fn read_section(reader: &mut Reader<'a>, place: Place) -> Result<Self, DecodeError> {
        let mut set = Self::default();
        let length = reader.variable()?;
        set.fill(reader.take(length as usize)?, place)?;
        Ok(set)
    }

    /// Reads `section`, properties that stand without their length, into an empty set. After an error the set is
    /// of no use.
    pub(crate) fn fill(&mut self, section: &'a [u8], place: Place) -> Result<(), DecodeError> {
        let mut user_properties = Span::default();
        let mut subscription_ids = Span::default();
        let mut forwarded = Span::default();

        let mut reader = Reader::new(section);
        while !reader.is_empty() {
            let start = section.len() - reader.rest().len();
            let property = Property::from_id(reader.byte()?).ok_or(Malformed::PropertyUnknown)?;
            if !property.is_allowed_in(place) {
                return Err(Malformed::PropertyNotAllowed(property).into());
            }
            self.read_value(property, &mut reader)?;

            let end = section.len() - reader.rest().len();
            if property.is_forwarded() {
                forwarded.add(start, end);
            }
            if property == Property::UserProperty {
                user_properties.add(start, end);
            }
            if property == Property::SubscriptionIdentifier {
                // A PUBLISH has one for each subscription that matched (section 3.3.2.3.8), a SUBSCRIBE one
                // (section 3.8.2.1.2).
                if place == Place::Subscribe && subscription_ids.own_bytes != 0 {
                    return Err(Violation::PropertyRepeated(property).into());
                }
                subscription_ids.add(start, end);
            }
        }

        self.user_properties = UserProperties::from_wire(user_properties.of(section));
        self.subscription_ids = SubscriptionIds::from_wire(subscription_ids.of(section));
        self.forwarded = forwarded.is_gapless().then(|| forwarded.of(section));
        Ok(())
    }

    /// Writes the properties with their length, which is 0 for none ([MQTT-2.2.2-1]).
    pub(crate) fn write_section<S: Sink>(&self, sink: &mut S) {
        write_section(self, sink);
    }
}

/// Writes properties with their length.
pub(crate) fn write_section<S: Sink>(properties: &impl Write, sink: &mut S) {
    sink.variable(properties.written_len());
    properties.write(sink);
}

/// Where the properties of some sort stand in a section.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: usize,
    end: usize,
    /// How much between `start` and `end` is of the sort.
    own_bytes: usize,
}

impl Span {
    #[inline]
    fn add(&mut self, start: usize, end: usize) {
        if self.own_bytes == 0 {
            self.start = start;
        }
        self.end = end;
        self.own_bytes += end - start;
    }

    /// Returns whether nothing of another sort stands between.
    #[inline]
    fn is_gapless(self) -> bool {
        self.end - self.start == self.own_bytes
    }

    #[inline]
    fn of(self, section: &[u8]) -> &[u8] {
        &section[self.start..self.end]
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use std::format;
    use std::string::String;

    use super::*;
    use crate::notation::{bytes, check_fault};
    use crate::{PacketKind, Version};

    /// A place, with a packet of it around the section `{}`.
    const PLACES: [(Place, u8, &str); 14] = [
        (Place::Connect, 0x10, "<MQTT> 05 02 0000 {} <c>"),
        (Place::Will, 0x10, "<MQTT> 05 06 0000 00 <c> {} <w> <p>"),
        (Place::ConnAck, 0x20, "00 00 {}"),
        (Place::Publish, 0x30, "<t> {}"),
        (Place::PubAck, 0x40, "0001 00 {}"),
        (Place::PubRec, 0x50, "0001 00 {}"),
        (Place::PubRel, 0x62, "0001 00 {}"),
        (Place::PubComp, 0x70, "0001 00 {}"),
        (Place::Subscribe, 0x82, "0001 {} <f> 00"),
        (Place::SubAck, 0x90, "0001 {} 00"),
        (Place::Unsubscribe, 0xA2, "0001 {} <f>"),
        (Place::UnsubAck, 0xB0, "0001 {} 00"),
        (Place::Disconnect, 0xE0, "00 {}"),
        (Place::Auth, 0xF0, "00 {}"),
    ];

    /// Section 2.2.2.2: each property in each place.
    #[test]
    fn properties_out_of_place() {
        for (place, first_byte, body) in PLACES {
            for &property in Property::ALL {
                let section = format!("{{ {} }}", sample(property));
                let body = body.replace("{}", &section);
                let decoded = decode(first_byte, &body);
                let fault = Err(Malformed::PropertyNotAllowed(property).into());
                assert_eq!(
                    decoded == fault,
                    !property.is_allowed_in(place),
                    "{property} in {place:?}"
                );
            }
        }
    }

    /// Table 2-4 has so many properties in each packet.
    #[test]
    fn as_many_properties_as_the_table_has() {
        for (place, count) in [
            (Place::Connect, 9),
            (Place::Will, 7),
            (Place::ConnAck, 17),
            (Place::Publish, 8),
            (Place::PubAck, 2),
            (Place::Subscribe, 2),
            (Place::Unsubscribe, 1),
            (Place::Disconnect, 4),
            (Place::Auth, 4),
        ] {
            let allowed = Property::ALL.iter().filter(|property| property.is_allowed_in(place));
            assert_eq!(allowed.count(), count, "{place:?}");
        }
        assert_eq!(Property::ALL.len(), 27);
    }

    /// What the property texts call a Protocol Error "to include more than once".
    #[test]
    fn repeated_properties() {
        for (place, first_byte, body) in PLACES {
            for &property in Property::ALL.iter().filter(|property| property.is_allowed_in(place)) {
                let sample = sample(property);
                let body = body.replace("{}", &format!("{{ {sample} {sample} }}"));
                let is_repeatable = property == Property::UserProperty
                    || (property, place) == (Property::SubscriptionIdentifier, Place::Publish);
                let fault = Err(Violation::PropertyRepeated(property).into());
                assert_eq!(
                    decode(first_byte, &body) == fault,
                    !is_repeatable,
                    "{property} in {place:?}"
                );
            }
        }
    }

    /// What the property texts call a Protocol Error for its value, and [MQTT-3.3.2-8].
    #[test]
    fn values_out_of_range() {
        for (value, property) in [
            ("21 0000", Property::ReceiveMaximum),
            ("27 00000000", Property::MaximumPacketSize),
            ("24 02", Property::MaximumQoS),
            ("25 02", Property::RetainAvailable),
            ("28 FF", Property::WildcardSubscriptionAvailable),
            ("29 02", Property::SubscriptionIdentifierAvailable),
            ("2A 02", Property::SharedSubscriptionAvailable),
        ] {
            check(0x20, "00 00 {}", value, Violation::PropertyValue(property));
        }
        for (value, property) in [
            ("17 02", Property::RequestProblemInformation),
            ("19 02", Property::RequestResponseInformation),
            ("21 0000", Property::ReceiveMaximum),
        ] {
            check(0x10, "<MQTT> 05 02 0000 {} <c>", value, Violation::PropertyValue(property));
        }
        check(0x30, "<t> {}", "01 02", Violation::PropertyValue(Property::PayloadFormatIndicator));
        check(0x30, "<t> {}", "0B 00", Violation::PropertyValue(Property::SubscriptionIdentifier));
        check(
            0x82,
            "0001 {} <f> 00",
            "0B 00",
            Violation::PropertyValue(Property::SubscriptionIdentifier),
        );
        check(0x30, "<t> {}", "23 0000", Violation::TopicAliasZero);
    }

    /// [MQTT-3.3.2-13], [MQTT-3.3.2-14], [MQTT-3.3.2-19], [MQTT-1.5.7-1]
    #[test]
    fn strings_in_properties() {
        for (value, fault) in [
            ("08 <a/+>", Malformed::TopicNameWildcard),
            ("08 <#>", Malformed::TopicNameWildcard),
            ("08 <>", Malformed::TopicNameEmpty),
            ("08 0001 FF", Malformed::Utf8),
            ("03 0001 FF", Malformed::Utf8),
            ("03 0001 00", Malformed::NullCharacter),
            ("26 0001 FF <v>", Malformed::Utf8),
            ("26 <k> 0001 FF", Malformed::Utf8),
            ("26 <k> 0001 00", Malformed::NullCharacter),
        ] {
            check(0x30, "<t> {}", value, fault);
        }
    }

    /// [MQTT-1.5.5-1], section 2.2.2.2
    #[test]
    fn lengths_and_identifiers() {
        for (body, fault) in [
            ("<t> 05 01", Malformed::Truncated),
            ("<t> 80", Malformed::Truncated),
            ("<t> 8000", Malformed::VariableByteInteger),
            ("<t> 8080808001", Malformed::VariableByteInteger),
            ("<t> { 01 }", Malformed::Truncated),
            ("<t> { 02 000000 } 00", Malformed::Truncated),
            ("<t> { 03 0005 61 } 61616161", Malformed::Truncated),
            ("<t> { 0B 80 } 01", Malformed::Truncated),
            ("<t> { 0B 8100 }", Malformed::VariableByteInteger),
            ("<t> { 0B FFFFFFFF01 }", Malformed::VariableByteInteger),
            ("<t> { 00 }", Malformed::PropertyUnknown),
            ("<t> { 04 00 }", Malformed::PropertyUnknown),
            ("<t> { 2B 00 }", Malformed::PropertyUnknown),
            ("<t> { 8100 01 }", Malformed::PropertyUnknown),
        ] {
            check_fault(&[Version::V5], 0x30, body, fault);
        }
    }

    /// Returns `property` with some value.
    fn sample(property: Property) -> String {
        let value = match property {
            Property::PayloadFormatIndicator
            | Property::RequestProblemInformation
            | Property::RequestResponseInformation
            | Property::MaximumQoS
            | Property::RetainAvailable
            | Property::WildcardSubscriptionAvailable
            | Property::SubscriptionIdentifierAvailable
            | Property::SharedSubscriptionAvailable
            | Property::SubscriptionIdentifier => "01",
            Property::ServerKeepAlive
            | Property::ReceiveMaximum
            | Property::TopicAliasMaximum
            | Property::TopicAlias => "0001",
            Property::MessageExpiryInterval
            | Property::SessionExpiryInterval
            | Property::WillDelayInterval
            | Property::MaximumPacketSize => "00000001",
            Property::ContentType
            | Property::ResponseTopic
            | Property::CorrelationData
            | Property::AssignedClientIdentifier
            | Property::AuthenticationMethod
            | Property::AuthenticationData
            | Property::ResponseInformation
            | Property::ServerReference
            | Property::ReasonString => "<x>",
            Property::UserProperty => "<k> <v>",
        };
        format!("{:02X} {value}", property.id())
    }

    fn decode(first_byte: u8, body: &str) -> Result<PacketKind, DecodeError> {
        let body: Vec<u8> = bytes(body);
        let frame = crate::Frame { first_byte, body: &body };
        crate::Packet::decode(frame, Version::V5).map(|packet| packet.kind())
    }

    #[track_caller]
    fn check(first_byte: u8, body: &str, properties: &str, fault: impl Into<DecodeError>) {
        let body = body.replace("{}", &format!("{{ {properties} }}"));
        check_fault(&[Version::V5], first_byte, &body, fault);
    }
}
