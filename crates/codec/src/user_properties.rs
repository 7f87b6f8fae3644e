//! User Properties: a view over the wire, or over a slice to be encoded.

use core::fmt;

use crate::property::Property;
use crate::property_value::Value;
use crate::read::Reader;

/// The User Properties of a packet, in their order.
///
/// Decoded ones are a view of the packet's bytes, which have been checked and are walked again by
/// [`iter`](Self::iter); built ones borrow a slice of pairs.
#[derive(Clone, Copy)]
pub struct UserProperties<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    /// A checked run of properties, among them User Properties.
    Wire(&'a [u8]),
    Pairs(&'a [(&'a str, &'a str)]),
}

/// The pairs of [`UserProperties`].
#[derive(Clone, Debug)]
pub struct UserPropertiesIter<'a>(UserProperties<'a>);

impl<'a> UserProperties<'a> {
    /// No properties.
    pub const EMPTY: Self = Self(Source::Pairs(&[]));

    /// Returns a view of `pairs`, for encoding.
    pub const fn from_pairs(pairs: &'a [(&'a str, &'a str)]) -> Self {
        Self(Source::Pairs(pairs))
    }

    /// Returns a view of the User Properties in `run`, checked properties of any sort; `run` is empty if there
    /// are none.
    #[inline]
    pub(crate) fn from_wire(run: &'a [u8]) -> Self {
        Self(Source::Wire(run))
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        match self.0 {
            Source::Wire(bytes) => bytes.is_empty(),
            Source::Pairs(pairs) => pairs.is_empty(),
        }
    }

    /// Returns the pairs of name and value, in their order.
    pub fn iter(&self) -> UserPropertiesIter<'a> {
        UserPropertiesIter(*self)
    }
}

impl<'a> Iterator for UserPropertiesIter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0.0 {
            Source::Pairs(pairs) => {
                let (&pair, rest) = pairs.split_first()?;
                *pairs = rest;
                Some(pair)
            }
            Source::Wire(run) => {
                let mut reader = Reader::new(run);
                let pair = next_pair(&mut reader);
                *run = reader.rest();
                pair
            }
        }
    }
}

/// Reads up to and with the next User Property. The run was checked, so an error ends it only in theory.
fn next_pair<'a>(reader: &mut Reader<'a>) -> Option<(&'a str, &'a str)> {
    loop {
        match Property::from_id(reader.byte().ok()?)? {
            Property::UserProperty => return Value::read(reader).ok()?,
            other => other.skip(reader).ok()?,
        }
    }
}

impl Default for UserProperties<'_> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<'a> IntoIterator for UserProperties<'a> {
    type Item = (&'a str, &'a str);
    type IntoIter = UserPropertiesIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for UserProperties<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for UserProperties<'_> {}

impl fmt::Debug for UserProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
