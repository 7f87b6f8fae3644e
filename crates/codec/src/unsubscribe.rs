//! UNSUBSCRIBE.

use core::fmt;

use crate::{PacketId, UserProperties};

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
}

impl<'a> Iterator for UnsubscribeFilters<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        match &mut self.0 {
            Source::Wire(_) => None,
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
