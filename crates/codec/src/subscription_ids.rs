//! Subscription Identifiers of a PUBLISH: a view over the wire, or over a slice to be encoded.

use core::fmt;

use crate::property::Property;
use crate::property_value::{SubscriptionId, Value};
use crate::read::Reader;

/// The Subscription Identifiers of a PUBLISH. Their order has no meaning (section 3.3.2.3.8).
#[derive(Clone, Copy)]
pub struct SubscriptionIds<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    /// A checked run of properties, among them Subscription Identifiers.
    Wire(&'a [u8]),
    Slice(&'a [u32]),
}

/// The identifiers of [`SubscriptionIds`].
#[derive(Clone, Debug)]
pub struct SubscriptionIdsIter<'a>(SubscriptionIds<'a>);

impl<'a> SubscriptionIds<'a> {
    /// No identifiers.
    pub const EMPTY: Self = Self(Source::Slice(&[]));

    /// Returns a view of `ids`, each of 1 to 268,435,455, for encoding.
    pub const fn from_slice(ids: &'a [u32]) -> Self {
        Self(Source::Slice(ids))
    }

    /// Returns a view of the Subscription Identifiers in `run`, checked properties of any sort; `run` is empty
    /// if there are none.
    #[inline]
    pub(crate) fn from_wire(run: &'a [u8]) -> Self {
        Self(Source::Wire(run))
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        match self.0 {
            Source::Wire(bytes) => bytes.is_empty(),
            Source::Slice(ids) => ids.is_empty(),
        }
    }

    /// Returns the identifiers.
    pub fn iter(&self) -> SubscriptionIdsIter<'a> {
        SubscriptionIdsIter(*self)
    }
}

impl Iterator for SubscriptionIdsIter<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        match &mut self.0.0 {
            Source::Slice(ids) => {
                let (&id, rest) = ids.split_first()?;
                *ids = rest;
                Some(id)
            }
            Source::Wire(run) => {
                let mut reader = Reader::new(run);
                let id = next_id(&mut reader);
                *run = reader.rest();
                id
            }
        }
    }
}

/// Reads up to and with the next identifier. The run was checked, so an error ends it only in theory.
fn next_id(reader: &mut Reader<'_>) -> Option<u32> {
    loop {
        match Property::from_id(reader.byte().ok()?)? {
            Property::SubscriptionIdentifier => {
                return SubscriptionId::read(reader).ok()?.map(|id| id.0);
            }
            other => other.skip(reader).ok()?,
        }
    }
}

impl Default for SubscriptionIds<'_> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<'a> IntoIterator for SubscriptionIds<'a> {
    type Item = u32;
    type IntoIter = SubscriptionIdsIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for SubscriptionIds<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for SubscriptionIds<'_> {}

impl fmt::Debug for SubscriptionIds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
