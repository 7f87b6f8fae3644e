//! The types of property values: how each is read and written, and which values it leaves out.

use core::num::{NonZeroU16, NonZeroU32};

use crate::QoS;
use crate::error::Malformed;
use crate::read::Reader;
use crate::text::topic_name;
use crate::write::Sink;

/// A value of a property.
pub(crate) trait Value<'a>: Sized {
    /// Reads a value: `None` where it is of the data type but not allowed, which is a Protocol Error.
    fn read(reader: &mut Reader<'a>) -> Result<Option<Self>, Malformed>;

    fn write<S: Sink>(self, sink: &mut S);
}

/// A string that names a topic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TopicName<'a>(pub(crate) &'a str);

/// A Subscription Identifier: a Variable Byte Integer other than 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SubscriptionId(pub(crate) u32);

/// A byte of 0 or 1.
///
/// Policy: of the Payload Format Indicator the text does not say what other values are. They are treated as
/// those of its siblings, a Protocol Error.
impl Value<'_> for bool {
    #[inline]
    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        Ok(match reader.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        })
    }

    #[inline]
    fn write<S: Sink>(self, sink: &mut S) {
        sink.byte(self.into());
    }
}

/// Maximum QoS: 0 or 1, for 2 is said by leaving it out (section 3.2.2.3.4).
impl Value<'_> for QoS {
    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        Ok(Self::from_byte(reader.byte()?).filter(|&qos| qos != Self::ExactlyOnce))
    }

    fn write<S: Sink>(self, sink: &mut S) {
        sink.byte(self.to_byte());
    }
}

impl Value<'_> for u16 {
    #[inline]
    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        reader.two_bytes().map(Some)
    }

    #[inline]
    fn write<S: Sink>(self, sink: &mut S) {
        sink.two_bytes(self);
    }
}

impl Value<'_> for u32 {
    #[inline]
    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        reader.four_bytes().map(Some)
    }

    #[inline]
    fn write<S: Sink>(self, sink: &mut S) {
        sink.four_bytes(self);
    }
}

impl Value<'_> for NonZeroU16 {
    #[inline]
    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        reader.two_bytes().map(Self::new)
    }

    #[inline]
    fn write<S: Sink>(self, sink: &mut S) {
        sink.two_bytes(self.get());
    }
}

impl Value<'_> for NonZeroU32 {
    #[inline]
    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        reader.four_bytes().map(Self::new)
    }

    #[inline]
    fn write<S: Sink>(self, sink: &mut S) {
        sink.four_bytes(self.get());
    }
}

impl Value<'_> for SubscriptionId {
    #[inline]
    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        Ok(Some(reader.variable()?).filter(|&id| id != 0).map(Self))
    }

    #[inline]
    fn write<S: Sink>(self, sink: &mut S) {
        sink.variable(self.0 as usize);
    }
}

impl<'a> Value<'a> for &'a str {
    #[inline]
    fn read(reader: &mut Reader<'a>) -> Result<Option<Self>, Malformed> {
        reader.text().map(Some)
    }

    #[inline]
    fn write<S: Sink>(self, sink: &mut S) {
        sink.text(self);
    }
}

impl<'a> Value<'a> for &'a [u8] {
    #[inline]
    fn read(reader: &mut Reader<'a>) -> Result<Option<Self>, Malformed> {
        reader.binary().map(Some)
    }

    #[inline]
    fn write<S: Sink>(self, sink: &mut S) {
        sink.binary(self);
    }
}

/// Both strings are held to the rules of strings ([MQTT-1.5.7-1]).
impl<'a> Value<'a> for (&'a str, &'a str) {
    #[inline]
    fn read(reader: &mut Reader<'a>) -> Result<Option<Self>, Malformed> {
        Ok(Some((reader.text()?, reader.text()?)))
    }

    #[inline]
    fn write<S: Sink>(self, sink: &mut S) {
        sink.text(self.0);
        sink.text(self.1);
    }
}

/// The Response Topic has no wildcards ([MQTT-3.3.2-14]).
///
/// Policy: nor is it empty, since it is used as a Topic Name ([MQTT-4.7.3-1]). Both are faults of the string,
/// hence Malformed Packet, as in the Topic Name itself.
impl<'a> Value<'a> for TopicName<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Option<Self>, Malformed> {
        topic_name(reader.binary()?).map(|name| Some(Self(name)))
    }

    fn write<S: Sink>(self, sink: &mut S) {
        sink.text(self.0);
    }
}

impl From<u32> for SubscriptionId {
    fn from(id: u32) -> Self {
        Self(id)
    }
}
