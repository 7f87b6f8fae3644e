//! The properties of MQTT 5.0: one table (table 2-4) from which all checks derive.

use core::fmt;

/// Declares the enum and its definitions from the one table.
macro_rules! properties {
    ($($variant:ident = $id:literal, $name:literal, $kind:ident, $rule:ident, [$($place:ident),*];)*) => {
        /// A property of MQTT 5.0.
        #[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Property {
            $(#[doc = concat!($name, ".")] $variant = $id,)*
        }

        impl Property {
            /// All properties, in the order of their identifiers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the property with the identifier `id`.
            #[inline]
            pub fn from_id(id: u8) -> Option<Self> {
                match id {
                    $($id => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Returns the name that the specification uses.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Returns the row of the table.
            #[inline]
            pub(crate) fn definition(self) -> Definition {
                match self {
                    $(Self::$variant => Definition {
                        kind: Kind::$kind,
                        rule: Rule::$rule,
                        places: $(Place::$place.bit() |)* 0,
                    },)*
                }
            }
        }
    };
}

properties! {
    PayloadFormatIndicator = 0x01, "Payload Format Indicator", Byte, Boolean, [Publish, Will];
    MessageExpiryInterval = 0x02, "Message Expiry Interval", FourBytes, Any, [Publish, Will];
    ContentType = 0x03, "Content Type", Text, Any, [Publish, Will];
    ResponseTopic = 0x08, "Response Topic", Text, TopicName, [Publish, Will];
    CorrelationData = 0x09, "Correlation Data", Binary, Any, [Publish, Will];
    SubscriptionIdentifier = 0x0B, "Subscription Identifier", Variable, NonZero, [Publish, Subscribe];
    SessionExpiryInterval = 0x11, "Session Expiry Interval", FourBytes, Any, [Connect, ConnAck, Disconnect];
    AssignedClientIdentifier = 0x12, "Assigned Client Identifier", Text, Any, [ConnAck];
    ServerKeepAlive = 0x13, "Server Keep Alive", TwoBytes, Any, [ConnAck];
    AuthenticationMethod = 0x15, "Authentication Method", Text, Any, [Connect, ConnAck, Auth];
    AuthenticationData = 0x16, "Authentication Data", Binary, Any, [Connect, ConnAck, Auth];
    RequestProblemInformation = 0x17, "Request Problem Information", Byte, Boolean, [Connect];
    WillDelayInterval = 0x18, "Will Delay Interval", FourBytes, Any, [Will];
    RequestResponseInformation = 0x19, "Request Response Information", Byte, Boolean, [Connect];
    ResponseInformation = 0x1A, "Response Information", Text, Any, [ConnAck];
    ServerReference = 0x1C, "Server Reference", Text, Any, [ConnAck, Disconnect];
    ReasonString = 0x1F, "Reason String", Text, Any,
        [ConnAck, PubAck, PubRec, PubRel, PubComp, SubAck, UnsubAck, Disconnect, Auth];
    ReceiveMaximum = 0x21, "Receive Maximum", TwoBytes, NonZero, [Connect, ConnAck];
    TopicAliasMaximum = 0x22, "Topic Alias Maximum", TwoBytes, Any, [Connect, ConnAck];
    TopicAlias = 0x23, "Topic Alias", TwoBytes, NonZero, [Publish];
    MaximumQoS = 0x24, "Maximum QoS", Byte, Boolean, [ConnAck];
    RetainAvailable = 0x25, "Retain Available", Byte, Boolean, [ConnAck];
    UserProperty = 0x26, "User Property", TextPair, Any,
        [Connect, ConnAck, Publish, Will, PubAck, PubRec, PubRel, PubComp, Subscribe, SubAck, Unsubscribe,
         UnsubAck, Disconnect, Auth];
    MaximumPacketSize = 0x27, "Maximum Packet Size", FourBytes, NonZero, [Connect, ConnAck];
    WildcardSubscriptionAvailable = 0x28, "Wildcard Subscription Available", Byte, Boolean, [ConnAck];
    SubscriptionIdentifierAvailable = 0x29, "Subscription Identifier Available", Byte, Boolean, [ConnAck];
    SharedSubscriptionAvailable = 0x2A, "Shared Subscription Available", Byte, Boolean, [ConnAck];
}

/// What the table says of one property.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Definition {
    /// How the value is written.
    pub(crate) kind: Kind,
    /// Which values are allowed.
    pub(crate) rule: Rule,
    /// A bit for each [`Place`].
    places: u16,
}

/// The data type of a property's value (section 1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Byte,
    TwoBytes,
    FourBytes,
    Variable,
    Text,
    TextPair,
    Binary,
}

/// Which values of its type a property may have. All else is a Protocol Error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Every value.
    Any,
    /// 0 or 1.
    Boolean,
    /// Every value but 0.
    NonZero,
    /// A topic name: not empty, no wildcard.
    TopicName,
}

/// A set of properties: that of a packet, or that of the will inside CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Place {
    Will = 0,
    Connect = 1,
    ConnAck = 2,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    SubAck = 9,
    Unsubscribe = 10,
    UnsubAck = 11,
    Disconnect = 14,
    Auth = 15,
}

impl Definition {
    /// Returns whether the property may appear in `place`.
    #[inline]
    pub(crate) fn is_allowed_in(self, place: Place) -> bool {
        self.places & place.bit() != 0
    }
}

impl Property {
    /// Returns the identifier. All are below 128, so their Variable Byte Integer is one byte.
    #[inline]
    pub fn id(self) -> u8 {
        self as u8
    }

    /// Returns whether the property may appear more than once in `place`.
    ///
    /// User Properties everywhere; Subscription Identifiers in a PUBLISH, one for each subscription that
    /// matched (section 3.3.2.3.8), but once in a SUBSCRIBE (section 3.8.2.1.2).
    #[inline]
    pub(crate) fn is_repeatable_in(self, place: Place) -> bool {
        self == Self::UserProperty
            || (self == Self::SubscriptionIdentifier && place == Place::Publish)
    }
}

impl Place {
    /// Returns the place's bit in [`Definition::places`].
    #[inline]
    const fn bit(self) -> u16 {
        1 << self as u8
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
