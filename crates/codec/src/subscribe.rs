//! SUBSCRIBE.

use core::fmt;

use crate::error::{DecodeError, Malformed, Violation};
use crate::property::{Place, PropertySet};
use crate::read::Reader;
use crate::topic::check_topic_filter;
use crate::write::Sink;
use crate::{PacketId, QoS, SubscriptionIds, UserProperties, Version};

/// A SUBSCRIBE packet (section 3.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// Packet Identifier.
    pub packet_id: PacketId,
    /// Subscription Identifier, of 1 to 268,435,455; none in 3.x.
    pub subscription_id: Option<u32>,
    /// User Properties; none in 3.x.
    pub user_properties: UserProperties<'a>,
    filters: SubscribeFilters<'a>,
}

/// One subscription asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscribeFilter<'a> {
    /// Topic Filter, well-formed.
    pub filter: &'a str,
    /// Subscription Options.
    pub options: SubscriptionOptions,
}

/// Subscription Options (section 3.8.3.1). In 3.x there is only the QoS.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq)]
pub struct SubscriptionOptions {
    /// Maximum QoS.
    pub qos: QoS,
    /// Messages are not forwarded to the client that published them.
    pub no_local: bool,
    /// Forwarded messages keep their RETAIN flag.
    pub retain_as_published: bool,
    /// Whether retained messages are sent when the subscription is made.
    pub retain_handling: RetainHandling,
}

/// When the retained messages are sent to a new subscription.
#[derive(Clone, Copy, Debug, Default, Hash, PartialEq, Eq)]
#[repr(u8)]
pub enum RetainHandling {
    /// Whenever the client subscribes.
    #[default]
    SendAtSubscribe = 0,
    /// When the subscription did not exist.
    SendIfNew = 1,
    /// Never.
    DoNotSend = 2,
}

/// The Topic Filters of a SUBSCRIBE with their options: both the view and its iterator.
#[derive(Clone, Copy)]
pub struct SubscribeFilters<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    /// A checked payload.
    Wire(&'a [u8]),
    Slice(&'a [(&'a str, SubscriptionOptions)]),
}

impl<'a> Subscribe<'a> {
    /// Returns a SUBSCRIBE without User Properties, for encoding.
    pub fn new(
        packet_id: PacketId,
        subscription_id: Option<u32>,
        filters: &'a [(&'a str, SubscriptionOptions)],
    ) -> Self {
        Self {
            packet_id,
            subscription_id,
            user_properties: UserProperties::EMPTY,
            filters: SubscribeFilters(Source::Slice(filters)),
        }
    }

    /// Returns the subscriptions asked for, in their order.
    pub fn filters(&self) -> SubscribeFilters<'a> {
        self.filters
    }

    pub(crate) fn decode(mut reader: Reader<'a>, version: Version) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let set = if version.is_v5() {
            PropertySet::read_section(&mut reader, Place::Subscribe)?
        } else {
            PropertySet::default()
        };
        if reader.is_empty() {
            return Err(Violation::SubscribeEmpty.into());
        }
        let filters = SubscribeFilters(Source::Wire(reader.rest()));
        while !reader.is_empty() {
            check_filter(&mut reader, version)?;
        }
        let subscription_id = set.subscription_ids.iter().next();
        Ok(Self { packet_id, subscription_id, user_properties: set.user_properties, filters })
    }

    pub(crate) fn write_body<S: Sink>(&self, version: Version, sink: &mut S) {
        sink.two_bytes(self.packet_id.value());
        if version.is_v5() {
            let set = PropertySet {
                subscription_ids: SubscriptionIds::from_slice(self.subscription_id.as_slice()),
                user_properties: self.user_properties,
                ..PropertySet::default()
            };
            set.write_section(sink);
        }
        for SubscribeFilter { filter, options } in self.filters {
            sink.text(filter);
            sink.byte(if version.is_v5() { options.to_byte() } else { options.qos.to_byte() });
        }
    }
}

/// Checks one Topic Filter and its options.
///
/// Policy: the form of `$share` filters binds in every version, because every version can use them.
fn check_filter(reader: &mut Reader<'_>, version: Version) -> Result<(), DecodeError> {
    let shape = check_topic_filter(reader.text()?).map_err(Malformed::TopicFilter)?;
    let byte = reader.byte()?;
    let reserved = if version.is_v5() { 0b1100_0000 } else { 0b1111_1100 };
    if byte & reserved != 0 {
        return Err(Malformed::SubscriptionOptions.into());
    }
    if byte & 0b11 == 0b11 {
        // 3.1.1 calls it malformed (v3.1.1 [MQTT-3-8.3-4]), 5.0 a Protocol Error (section 3.8.3.1).
        let is_v5 = version.is_v5();
        return Err(if is_v5 {
            Violation::SubscribeQoS.into()
        } else {
            Malformed::SubscriptionOptions.into()
        });
    }
    let options = SubscriptionOptions::from_byte(byte).ok_or(Violation::RetainHandling)?;
    if options.no_local && shape.shared.is_some() {
        return Err(Violation::NoLocalOnShared.into());
    }
    Ok(())
}

impl SubscriptionOptions {
    /// Returns options with nothing but a maximum QoS.
    pub fn new(qos: QoS) -> Self {
        Self { qos, ..Self::default() }
    }

    /// Returns the options written as `byte`, or `None` if it has reserved bits or values.
    pub fn from_byte(byte: u8) -> Option<Self> {
        let retain_handling = match byte >> 4 {
            0 => RetainHandling::SendAtSubscribe,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return None,
        };
        Some(Self {
            qos: QoS::from_byte(byte & 0b11)?,
            no_local: byte & NO_LOCAL != 0,
            retain_as_published: byte & RETAIN_AS_PUBLISHED != 0,
            retain_handling,
        })
    }

    /// Returns the options as they are written in 5.0.
    pub fn to_byte(self) -> u8 {
        self.qos.to_byte()
            | if self.no_local { NO_LOCAL } else { 0 }
            | if self.retain_as_published { RETAIN_AS_PUBLISHED } else { 0 }
            | (self.retain_handling as u8) << 4
    }
}

const NO_LOCAL: u8 = 1 << 2;
const RETAIN_AS_PUBLISHED: u8 = 1 << 3;

impl<'a> Iterator for SubscribeFilters<'a> {
    type Item = SubscribeFilter<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Source::Wire(payload) => {
                let mut reader = Reader::new(payload);
                let filter = reader.text().ok()?;
                let options = SubscriptionOptions::from_byte(reader.byte().ok()?)?;
                *payload = reader.rest();
                Some(SubscribeFilter { filter, options })
            }
            Source::Slice(filters) => {
                let (&(filter, options), rest) = filters.split_first()?;
                *filters = rest;
                Some(SubscribeFilter { filter, options })
            }
        }
    }
}

impl PartialEq for SubscribeFilters<'_> {
    fn eq(&self, other: &Self) -> bool {
        Iterator::eq(*self, *other)
    }
}

impl Eq for SubscribeFilters<'_> {}

impl fmt::Debug for SubscribeFilters<'_> {
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
    fn filters_with_options() {
        let first = SubscriptionOptions::new(QoS::AtLeastOnce);
        let second = SubscriptionOptions::new(QoS::ExactlyOnce);
        let filters = [("a/b", first), ("c/#", second)];
        let packet = Packet::Subscribe(Subscribe::new(id(), None, &filters));
        check_packet(&V3, 0x82, "000A <a/b> 01 <c/#> 02", &packet);
        check_packet(&V5, 0x82, "000A 00 <a/b> 01 <c/#> 02", &packet);

        let third = SubscriptionOptions {
            qos: QoS::AtMostOnce,
            no_local: true,
            retain_as_published: true,
            retain_handling: RetainHandling::DoNotSend,
        };
        let filters = [("$share/g/a", first), ("+", third)];
        let mut subscribe = Subscribe::new(id(), Some(128), &filters);
        subscribe.user_properties = UserProperties::from_pairs(&[("k", "v")]);
        let body = "000A { 0B 8001 26 <k> <v> } <$share/g/a> 01 <+> 2C";
        check_packet(&V5, 0x82, body, &Packet::Subscribe(subscribe));
    }

    /// v3.1 §2.1, [MQTT-3.8.1-1], v3.1.1 [MQTT-3.8.1-1]
    #[test]
    fn dup() {
        let filters = [("a", SubscriptionOptions::default())];
        let packet = Packet::Subscribe(Subscribe::new(id(), None, &filters));
        check_decodes(&[Version::V31], 0x8A, "000A <a> 00", &packet);
        check_fault(
            &[Version::V311, Version::V5],
            0x8A,
            "000A <a> 00",
            Malformed::FixedHeaderFlags,
        );
    }

    /// [MQTT-3.8.3-5], v3.1.1 [MQTT-3-8.3-4], section 3.8.3.1
    #[test]
    fn options_out_of_range() {
        for options in ["03", "04", "08", "10", "40", "80"] {
            check_fault(
                &V3,
                0x82,
                &std::format!("000A <a> {options}"),
                Malformed::SubscriptionOptions,
            );
        }
        for options in ["40", "80", "C3"] {
            check_fault(
                &V5,
                0x82,
                &std::format!("000A 00 <a> {options}"),
                Malformed::SubscriptionOptions,
            );
        }
        check_fault(&V5, 0x82, "000A 00 <a> 03", Violation::SubscribeQoS);
        check_fault(&V5, 0x82, "000A 00 <a> 30", Violation::RetainHandling);
        check_fault(&V5, 0x82, "000A 00 <ok> 00 <a> 31", Violation::RetainHandling);
    }

    /// [MQTT-3.8.3-4]
    #[test]
    fn no_local_on_shared() {
        check_fault(&V5, 0x82, "000A 00 <$share/g/a> 04", Violation::NoLocalOnShared);
    }

    /// [MQTT-3.8.3-1], [MQTT-3.8.3-2], [MQTT-4.7.1-1], [MQTT-4.7.3-1], [MQTT-4.8.2-2]
    #[test]
    fn filters_are_there_and_well_formed() {
        check_fault(&V3, 0x82, "000A", Violation::SubscribeEmpty);
        check_fault(&V5, 0x82, "000A 00", Violation::SubscribeEmpty);
        check_fault(&Version::ALL, 0x82, "00", Malformed::Truncated);
        check_fault(&V3, 0x82, "000A <a>", Malformed::Truncated);
        check_fault(&V3, 0x82, "000A <a> 00 00", Malformed::Truncated);
        check_fault(&V3, 0x82, "000A <a> 00 <b>", Malformed::Truncated);
        check_fault(&Version::ALL, 0x82, "0000 00 <a> 00", Violation::ZeroPacketId);
        check_fault(&V3, 0x82, "000A 0001 FF 00", Malformed::Utf8);
        for (filter, fault) in [
            ("<>", FilterError::Empty),
            ("<a#>", FilterError::MultiLevelWildcard),
            ("<a+>", FilterError::SingleLevelWildcard),
            ("<$share/g>", FilterError::ShareFilterMissing),
        ] {
            check_fault(
                &V3,
                0x82,
                &std::format!("000A {filter} 00"),
                Malformed::TopicFilter(fault),
            );
            check_fault(
                &V5,
                0x82,
                &std::format!("000A 00 {filter} 00"),
                Malformed::TopicFilter(fault),
            );
        }
    }

    #[test]
    fn options_survive_their_byte() {
        for byte in 0..=u8::MAX {
            if let Some(options) = SubscriptionOptions::from_byte(byte) {
                assert_eq!(options.to_byte(), byte);
            }
        }
        assert_eq!((0..=u8::MAX).filter_map(SubscriptionOptions::from_byte).count(), 3 * 2 * 2 * 3);
    }

    fn id() -> PacketId {
        PacketId::new(10).expect("not zero")
    }
}
