//! The properties of MQTT 5.0: one table (table 2-4), from which reading, writing and all checks derive.
//!
//! A row gives identifier, name, the field of [`PropertySet`] with its type, and the places where the
//! property may appear. The type is data type and rule of value in one: a `bool` is a byte of 0 or 1, a
//! `NonZeroU16` a Two Byte Integer that must not be 0; the rest is in `property_value.rs`.

use core::fmt;
use core::num::{NonZeroU16, NonZeroU32};

use crate::error::{DecodeError, Malformed, Violation};
use crate::property_value::{SubscriptionId, TopicName, Value};
use crate::read::Reader;
use crate::write::{Sink, Write};
use crate::{QoS, SubscriptionIds, UserProperties};

macro_rules! properties {
    (
        once {$(
            $variant:ident = $id:literal, $name:literal, $field:ident: $value:ty, [$($place:ident),*];
        )*}
        many {$(
            $many:ident = $many_id:literal, $many_name:literal, $many_field:ident: $view:ident of $item:ty,
            [$($many_place:ident),*];
        )*}
    ) => {
        /// A property of MQTT 5.0.
        #[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Property {
            $(#[doc = concat!($name, ".")] $variant = $id,)*
            $(#[doc = concat!($many_name, ".")] $many = $many_id,)*
        }

        impl Property {
            /// All properties, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)* $(Self::$many,)*];

            /// Returns the property with the identifier `id`.
            #[inline]
            pub fn from_id(id: u8) -> Option<Self> {
                match id {
                    $($id => Some(Self::$variant),)*
                    $($many_id => Some(Self::$many),)*
                    _ => None,
                }
            }

            /// Returns the name that the specification uses.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    $(Self::$many => $many_name,)*
                }
            }

            /// Returns whether the property may appear in `place`.
            #[inline]
            pub(crate) fn is_allowed_in(self, place: Place) -> bool {
                let places = match self {
                    $(Self::$variant => $(Place::$place.bit() |)* 0,)*
                    $(Self::$many => $(Place::$many_place.bit() |)* 0,)*
                };
                places & place.bit() != 0
            }

            /// Reads a value of this property without keeping it.
            pub(crate) fn skip<'a>(self, reader: &mut Reader<'a>) -> Result<(), Malformed> {
                match self {
                    $(Self::$variant => <$value as Value<'a>>::read(reader).map(drop),)*
                    $(Self::$many => <$item as Value<'a>>::read(reader).map(drop),)*
                }
            }
        }

        /// All properties that one place can have, and more: what a packet's own properties are read from and
        /// written through.
        #[derive(Clone, Copy, Debug, Default)]
        pub(crate) struct PropertySet<'a> {
            $(pub(crate) $field: Option<$value>,)*
            $(pub(crate) $many_field: $view<'a>,)*
            /// The forwarded properties as they stand in the packet, if they stand side by side.
            pub(crate) forwarded: Option<&'a [u8]>,
        }

        impl<'a> PropertySet<'a> {
            /// Reads a value of `property`. Of those that may come several times the value is only checked:
            /// the views are made when the whole section has been read.
            ///
            /// # Errors
            ///
            /// A fault in the value, or a second value where one is allowed.
            #[inline]
            pub(crate) fn read_value(
                &mut self,
                property: Property,
                reader: &mut Reader<'a>,
            ) -> Result<(), DecodeError> {
                match property {
                    $(Property::$variant => {
                        let value = <$value as Value>::read(reader)?.ok_or_else(|| property.value_fault())?;
                        if self.$field.replace(value).is_some() {
                            return Err(Violation::PropertyRepeated(property).into());
                        }
                    })*
                    $(Property::$many => {
                        <$item as Value>::read(reader)?.ok_or_else(|| property.value_fault())?;
                    })*
                }
                Ok(())
            }
        }

        impl Write for PropertySet<'_> {
            fn write<S: Sink>(&self, sink: &mut S) {
                $(if let Some(value) = self.$field {
                    sink.byte($id);
                    value.write(sink);
                })*
                $(for value in self.$many_field {
                    sink.byte($many_id);
                    <$item>::from(value).write(sink);
                })*
            }
        }
    };
}

properties! {
    once {
        PayloadFormatIndicator = 0x01, "Payload Format Indicator", payload_is_utf8: bool, [Publish, Will];
        MessageExpiryInterval = 0x02, "Message Expiry Interval", message_expiry_secs: u32, [Publish, Will];
        ContentType = 0x03, "Content Type", content_type: &'a str, [Publish, Will];
        ResponseTopic = 0x08, "Response Topic", response_topic: TopicName<'a>, [Publish, Will];
        CorrelationData = 0x09, "Correlation Data", correlation_data: &'a [u8], [Publish, Will];
        SessionExpiryInterval = 0x11, "Session Expiry Interval", session_expiry_secs: u32,
            [Connect, ConnAck, Disconnect];
        AssignedClientIdentifier = 0x12, "Assigned Client Identifier", assigned_client_id: &'a str, [ConnAck];
        ServerKeepAlive = 0x13, "Server Keep Alive", server_keep_alive_secs: u16, [ConnAck];
        AuthenticationMethod = 0x15, "Authentication Method", authentication_method: &'a str,
            [Connect, ConnAck, Auth];
        AuthenticationData = 0x16, "Authentication Data", authentication_data: &'a [u8],
            [Connect, ConnAck, Auth];
        RequestProblemInformation = 0x17, "Request Problem Information", request_problem_information: bool,
            [Connect];
        WillDelayInterval = 0x18, "Will Delay Interval", will_delay_secs: u32, [Will];
        RequestResponseInformation = 0x19, "Request Response Information", request_response_information: bool,
            [Connect];
        ResponseInformation = 0x1A, "Response Information", response_information: &'a str, [ConnAck];
        ServerReference = 0x1C, "Server Reference", server_reference: &'a str, [ConnAck, Disconnect];
        ReasonString = 0x1F, "Reason String", reason_string: &'a str,
            [ConnAck, PubAck, PubRec, PubRel, PubComp, SubAck, UnsubAck, Disconnect, Auth];
        ReceiveMaximum = 0x21, "Receive Maximum", receive_maximum: NonZeroU16, [Connect, ConnAck];
        TopicAliasMaximum = 0x22, "Topic Alias Maximum", topic_alias_maximum: u16, [Connect, ConnAck];
        TopicAlias = 0x23, "Topic Alias", topic_alias: NonZeroU16, [Publish];
        MaximumQoS = 0x24, "Maximum QoS", maximum_qos: QoS, [ConnAck];
        RetainAvailable = 0x25, "Retain Available", retain_available: bool, [ConnAck];
        MaximumPacketSize = 0x27, "Maximum Packet Size", packet_bytes_max: NonZeroU32, [Connect, ConnAck];
        WildcardSubscriptionAvailable = 0x28, "Wildcard Subscription Available",
            wildcard_subscription_available: bool, [ConnAck];
        SubscriptionIdentifierAvailable = 0x29, "Subscription Identifier Available",
            subscription_id_available: bool, [ConnAck];
        SharedSubscriptionAvailable = 0x2A, "Shared Subscription Available",
            shared_subscription_available: bool, [ConnAck];
    }
    many {
        SubscriptionIdentifier = 0x0B, "Subscription Identifier",
            subscription_ids: SubscriptionIds of SubscriptionId, [Publish, Subscribe];
        UserProperty = 0x26, "User Property", user_properties: UserProperties of (&str, &str),
            [Connect, ConnAck, Publish, Will, PubAck, PubRec, PubRel, PubComp, Subscribe, SubAck, Unsubscribe,
             UnsubAck, Disconnect, Auth];
    }
}

/// A set of properties: that of a packet, or that of the will inside CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Place {
    Will,
    Connect,
    ConnAck,
    Publish,
    PubAck,
    PubRec,
    PubRel,
    PubComp,
    Subscribe,
    SubAck,
    Unsubscribe,
    UnsubAck,
    Disconnect,
    Auth,
}

impl Property {
    /// Returns the identifier. All are below 128, so their Variable Byte Integer is one byte.
    #[inline]
    pub fn id(self) -> u8 {
        self as u8
    }

    /// Returns whether a server sends the property on, unaltered, to the receivers of a message.
    #[inline]
    pub(crate) fn is_forwarded(self) -> bool {
        matches!(
            self,
            Self::PayloadFormatIndicator
                | Self::ContentType
                | Self::ResponseTopic
                | Self::CorrelationData
                | Self::UserProperty
        )
    }

    /// Returns what a value outside the rule is called.
    #[cold]
    fn value_fault(self) -> Violation {
        if self == Self::TopicAlias {
            Violation::TopicAliasZero
        } else {
            Violation::PropertyValue(self)
        }
    }
}

impl Place {
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
