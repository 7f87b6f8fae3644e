//! Table 2-4 of MQTT 5.0: the properties, their types, and the packets that may carry them.

/// What the value of a property is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A Byte.
    Byte,
    /// A Two Byte Integer.
    Two,
    /// A Four Byte Integer.
    Four,
    /// A Variable Byte Integer.
    Variable,
    /// A UTF-8 Encoded String.
    Text,
    /// Binary Data.
    Binary,
    /// A UTF-8 String Pair.
    Pair,
}

/// The property identifiers.
pub mod property {
    #![allow(missing_docs)]
    pub const PAYLOAD_FORMAT_INDICATOR: u8 = 0x01;
    pub const MESSAGE_EXPIRY_INTERVAL: u8 = 0x02;
    pub const CONTENT_TYPE: u8 = 0x03;
    pub const RESPONSE_TOPIC: u8 = 0x08;
    pub const CORRELATION_DATA: u8 = 0x09;
    pub const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
    pub const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
    pub const ASSIGNED_CLIENT_IDENTIFIER: u8 = 0x12;
    pub const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub const AUTHENTICATION_METHOD: u8 = 0x15;
    pub const AUTHENTICATION_DATA: u8 = 0x16;
    pub const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
    pub const WILL_DELAY_INTERVAL: u8 = 0x18;
    pub const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
    pub const RESPONSE_INFORMATION: u8 = 0x1A;
    pub const SERVER_REFERENCE: u8 = 0x1C;
    pub const REASON_STRING: u8 = 0x1F;
    pub const RECEIVE_MAXIMUM: u8 = 0x21;
    pub const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub const TOPIC_ALIAS: u8 = 0x23;
    pub const MAXIMUM_QOS: u8 = 0x24;
    pub const RETAIN_AVAILABLE: u8 = 0x25;
    pub const USER_PROPERTY: u8 = 0x26;
    pub const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    pub const WILDCARD_SUBSCRIPTION_AVAILABLE: u8 = 0x28;
    pub const SUBSCRIPTION_IDENTIFIERS_AVAILABLE: u8 = 0x29;
    pub const SHARED_SUBSCRIPTION_AVAILABLE: u8 = 0x2A;
}

/// Identifier, type, and the packets that may carry it: the packet types by number, and 0 for the will.
pub static PROPERTIES: &[(u8, Kind, &[u8])] = {
    use Kind::*;
    const WILL: u8 = 0;
    const CONNECT: u8 = 1;
    const CONNACK: u8 = 2;
    const PUBLISH: u8 = 3;
    const SUBSCRIBE: u8 = 8;
    const DISCONNECT: u8 = 14;
    const AUTH: u8 = 15;
    &[
        (property::PAYLOAD_FORMAT_INDICATOR, Byte, &[PUBLISH, WILL]),
        (property::MESSAGE_EXPIRY_INTERVAL, Four, &[PUBLISH, WILL]),
        (property::CONTENT_TYPE, Text, &[PUBLISH, WILL]),
        (property::RESPONSE_TOPIC, Text, &[PUBLISH, WILL]),
        (property::CORRELATION_DATA, Binary, &[PUBLISH, WILL]),
        (property::SUBSCRIPTION_IDENTIFIER, Variable, &[PUBLISH, SUBSCRIBE]),
        (property::SESSION_EXPIRY_INTERVAL, Four, &[CONNECT, CONNACK, DISCONNECT]),
        (property::ASSIGNED_CLIENT_IDENTIFIER, Text, &[CONNACK]),
        (property::SERVER_KEEP_ALIVE, Two, &[CONNACK]),
        (property::AUTHENTICATION_METHOD, Text, &[CONNECT, CONNACK, AUTH]),
        (property::AUTHENTICATION_DATA, Binary, &[CONNECT, CONNACK, AUTH]),
        (property::REQUEST_PROBLEM_INFORMATION, Byte, &[CONNECT]),
        (property::WILL_DELAY_INTERVAL, Four, &[WILL]),
        (property::REQUEST_RESPONSE_INFORMATION, Byte, &[CONNECT]),
        (property::RESPONSE_INFORMATION, Text, &[CONNACK]),
        (property::SERVER_REFERENCE, Text, &[CONNACK, DISCONNECT]),
        (property::REASON_STRING, Text, &[CONNACK, 4, 5, 6, 7, 9, 11, DISCONNECT, AUTH]),
        (property::RECEIVE_MAXIMUM, Two, &[CONNECT, CONNACK]),
        (property::TOPIC_ALIAS_MAXIMUM, Two, &[CONNECT, CONNACK]),
        (property::TOPIC_ALIAS, Two, &[PUBLISH]),
        (property::MAXIMUM_QOS, Byte, &[CONNACK]),
        (property::RETAIN_AVAILABLE, Byte, &[CONNACK]),
        (property::USER_PROPERTY, Pair, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 15]),
        (property::MAXIMUM_PACKET_SIZE, Four, &[CONNECT, CONNACK]),
        (property::WILDCARD_SUBSCRIPTION_AVAILABLE, Byte, &[CONNACK]),
        (property::SUBSCRIPTION_IDENTIFIERS_AVAILABLE, Byte, &[CONNACK]),
        (property::SHARED_SUBSCRIPTION_AVAILABLE, Byte, &[CONNACK]),
    ]
};
