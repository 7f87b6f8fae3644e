//! UNSUBSCRIBE.

use core::fmt;

use crate::error::{DecodeError, Malformed, Violation};
use crate::property::{Place, PropertySet};
use crate::read::Reader;
use crate::topic::check_topic_filter;
use crate::write::Sink;
use crate::{PacketId, UserProperties, Version};

/// An UNSUBSCRIBE packet (section 3.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// Packet Identifier.
    pub packet_id: PacketId,
    /// User Properties; none in 3.x.
    pub user_properties: UserProperties<'a>,
    filters: UnsubscribeFilters<'a>,
}

/// The Topic Filters of an UNSUBSCRIBE: both the view and its iterator.
#[derive(Clone, Copy)]
pub struct UnsubscribeFilters<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    /// A checked payload.
    Wire(&'a [u8]),
    Slice(&'a [&'a str]),
}

impl<'a> Unsubscribe<'a> {
    /// Returns an UNSUBSCRIBE without User Properties, for encoding.
    pub fn new(packet_id: PacketId, filters: &'a [&'a str]) -> Self {
        Self {
            packet_id,
            user_properties: UserProperties::EMPTY,
            filters: UnsubscribeFilters(Source::Slice(filters)),
        }
    }

    /// Returns the Topic Filters, in their order.
    pub fn filters(&self) -> UnsubscribeFilters<'a> {
        self.filters
    }

    pub(crate) fn decode(mut reader: Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let set = if version.is_v5() {
            PropertySet::read_section(&mut reader, Place::Unsubscribe)?
        } else {
            PropertySet::default()
        };
        if reader.is_empty() {
            return Err(Violation::UnsubscribeEmpty.into());
        }
        let filters = UnsubscribeFilters(Source::Wire(reader.rest()));
        while !reader.is_empty() {
            check_topic_filter(reader.text()?).map_err(Malformed::TopicFilter)?;
        }
        Ok(Self { packet_id, user_properties: set.user_properties, filters })
    }

    pub(crate) fn write_body<S: Sink>(&self, version: Version, sink: &mut S) {
        sink.two_bytes(self.packet_id.value());
        if version.is_v5() {
            let set =
                PropertySet { user_properties: self.user_properties, ..PropertySet::default() };
            set.write_section(sink);
        }
        for filter in self.filters {
            sink.text(filter);
        }
    }
}

impl<'a> Iterator for UnsubscribeFilters<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        match &mut self.0 {
            Source::Wire(payload) => {
                let mut reader = Reader::new(payload);
                let filter = reader.text().ok()?;
                *payload = reader.rest();
                Some(filter)
            }
            Source::Slice(filters) => {
                let (filter, rest) = filters.split_first()?;
                *filters = rest;
                Some(filter)
            }
        }
    }
}

impl PartialEq for UnsubscribeFilters<'_> {
    fn eq(&self, other: &Self) -> bool {
        Iterator::eq(*self, *other)
    }
}

impl Eq for UnsubscribeFilters<'_> {}

impl fmt::Debug for UnsubscribeFilters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notation::{check_decodes, check_fault, check_packet};
    use crate::{FilterError, Packet};

    const V3: [Version; 2] = [Version::V31, Version::V311];
    const V5: [Version; 1] = [Version::V5];

    #[test]
    fn filters() {
        let mut unsubscribe = Unsubscribe::new(id(), &["a/b", "c/+"]);
        check_packet(&V3, 0xA2, "000A <a/b> <c/+>", &Packet::Unsubscribe(unsubscribe));
        check_packet(&V5, 0xA2, "000A 00 <a/b> <c/+>", &Packet::Unsubscribe(unsubscribe));
        unsubscribe.user_properties = UserProperties::from_pairs(&[("k", "v")]);
        check_packet(
            &V5,
            0xA2,
            "000A { 26 <k> <v> } <a/b> <c/+>",
            &Packet::Unsubscribe(unsubscribe),
        );
    }

    /// v3.1 §2.1, [MQTT-3.10.1-1], v3.1.1 [MQTT-3.10.1-1]
    #[test]
    fn dup() {
        let packet = Packet::Unsubscribe(Unsubscribe::new(id(), &["a"]));
        check_decodes(&[Version::V31], 0xAA, "000A <a>", &packet);
        check_fault(&[Version::V311, Version::V5], 0xAA, "000A <a>", Malformed::FixedHeaderFlags);
    }

    /// [MQTT-3.10.3-1], [MQTT-3.10.3-2]
    #[test]
    fn filters_are_there_and_well_formed() {
        check_fault(&V3, 0xA2, "000A", Violation::UnsubscribeEmpty);
        check_fault(&V5, 0xA2, "000A 00", Violation::UnsubscribeEmpty);
        check_fault(&V3, 0xA2, "0000 <a>", Violation::ZeroPacketId);
        check_fault(&V3, 0xA2, "000A 0005 61", Malformed::Truncated);
        check_fault(&V3, 0xA2, "000A <a> 00", Malformed::Truncated);
        check_fault(&V3, 0xA2, "000A 0001 00", Malformed::NullCharacter);
        check_fault(&V3, 0xA2, "000A <a> <>", Malformed::TopicFilter(FilterError::Empty));
    }

    fn id() -> PacketId {
        PacketId::new(10).expect("not zero")
    }
}
