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
        let length = reader.variable()?;
        let section = reader.take(length as usize)?;
        Self::read_run(section, place)
    }

    /// Reads properties that stand without their length.
    pub(crate) fn read_run(section: &'a [u8], place: Place) -> Result<Self, DecodeError> {
        let mut set = Self::default();
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
            set.read_value(property, &mut reader)?;

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

        set.user_properties = UserProperties::from_wire(user_properties.of(section));
        set.subscription_ids = SubscriptionIds::from_wire(subscription_ids.of(section));
        set.forwarded = forwarded.is_gapless().then(|| forwarded.of(section));
        Ok(set)
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
