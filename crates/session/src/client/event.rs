//! What a client's session tells its host.

use quelea_codec::{
    AckProperties, Auth, ConnAckProperties, Disconnect, PacketId, Publish, QoS, ReasonCode,
};

use super::ack_order::Receipt;
use crate::position::Position;
use crate::publishing::Topic;

/// What a packet of the broker means to the host.
#[derive(Debug)]
pub enum Event<'p, T> {
    /// Nothing: the session has dealt with it.
    Nothing,
    /// The broker has answered a message for the last time.
    Acknowledged {
        /// What the host knows the message by.
        ticket: T,
        /// Its place among the accepted.
        position: Position,
        /// What the broker says of it: of QoS 2, what its PUBREC said.
        reason: ReasonCode,
        /// Properties of the last acknowledgement.
        properties: AckProperties<'p>,
    },
    /// The broker goes on with the authentication: [`ClientSession::authenticate`](super::ClientSession::authenticate)
    /// answers.
    Authenticate(Auth<'p>),
    /// The broker has accepted a re-authentication.
    Authenticated(Auth<'p>),
    /// The broker has accepted the connection.
    Connected {
        /// What became of the session.
        resumption: Resumption,
        /// All that the broker announces.
        properties: ConnAckProperties<'p>,
    },
    /// The broker ends the connection.
    Disconnected(Disconnect<'p>),
    /// A message.
    Message(Incoming<'p>),
    /// The broker has a QoS 2 message for certain. With
    /// [`keeps_beyond_process`](super::ClientSettings::keeps_beyond_process) only: the host calls
    /// [`ClientSession::release`](super::ClientSession::release) once it can never send the message again.
    Received {
        /// Its place among the accepted.
        position: Position,
    },
    /// The broker has refused the connection.
    Refused {
        /// Why.
        reason: ReasonCode,
        /// More about it.
        properties: ConnAckProperties<'p>,
    },
    /// A SUBSCRIBE is answered.
    Subscribed {
        /// Which.
        request: PacketId,
        /// A reason code for each filter.
        reasons: &'p [u8],
        /// More about it.
        properties: AckProperties<'p>,
    },
    /// An UNSUBSCRIBE is answered.
    Unsubscribed {
        /// Which.
        request: PacketId,
        /// A reason code for each filter; none in 3.x, where it always succeeds.
        reasons: &'p [u8],
        /// More about it.
        properties: AckProperties<'p>,
    },
}

/// What became of the session with a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumption {
    /// The broker has it: everything goes on, and its subscriptions are there.
    Resumed,
    /// The broker has begun a new one. What we knew of an older one is gone, and its subscriptions with it.
    New,
    /// MQTT 3.1 does not say. The broker should have it, because it was asked to keep it: exchanges go on, and whoever
    /// wants to be sure subscribes again.
    Presumed,
}

/// A message of the broker.
#[derive(Clone, Debug)]
pub struct Incoming<'p> {
    /// Its topic, whether it came by name or by alias.
    pub topic: Topic<'p>,
    /// The packet.
    pub publish: Publish<'p>,
    /// What to hand to [`ClientSession::acknowledge`](super::ClientSession::acknowledge); none at QoS 0.
    pub receipt: Option<Receipt>,
}

/// A message that is done with, though no acknowledgement came.
#[derive(Debug)]
pub struct Done<T> {
    /// What the host knows it by.
    pub ticket: T,
    /// Its place among the accepted.
    pub position: Position,
    /// What is known of it.
    pub outcome: Outcome,
}

/// What became of a message that no acknowledgement came for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Its Message Expiry Interval passed before it was sent.
    Expired,
    /// The broker has a Maximum QoS below the message's ([MQTT-3.2.2-11]).
    QoSNotSupported,
    /// The broker does not retain messages ([MQTT-3.2.2-14]).
    RetainNotSupported,
    /// At QoS 0: it is on its way, and nobody will say whether it arrived.
    Sent,
    /// The broker does not accept packets of this size ([MQTT-3.2.2-15]).
    TooLarge,
    /// At QoS 2: it was sent, and then the broker lost the session. It may have been received; to send it again
    /// might be twice.
    Unknown,
}

/// A message that is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unacceptable {
    /// It does not fit any packet.
    TooLarge,
    /// Empty, with a wildcard or U+0000, or longer than 65,535 bytes.
    TopicInvalid,
}

/// A request that was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unsent {
    /// Too many requests wait for their answer: ask again after the next.
    Busy,
    /// A filter that is not well-formed, or No Local on a shared subscription ([MQTT-3.8.3-4]).
    FilterInvalid,
    /// There is no connection, or it is not accepted, or it is being closed.
    NotConnected,
    /// The broker has said that it does not support it, and would answer with this.
    NotSupported(ReasonCode),
    /// The broker does not accept packets of this size ([MQTT-3.2.2-15]).
    TooLarge,
}

/// What the broker has announced in its CONNACK, or what holds where it announces nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerOffer {
    /// The highest QoS of a PUBLISH.
    pub qos_max: QoS,
    /// Whether messages are retained.
    pub retain_available: bool,
    /// QoS 1 and 2 messages that may be under way to it.
    pub receive_maximum: u16,
    /// The largest packet it accepts.
    pub packet_bytes_max: u32,
    /// Whether topic filters may have wildcards.
    pub wildcard_available: bool,
    /// Whether subscriptions may have identifiers.
    pub subscription_ids_available: bool,
    /// Whether there are shared subscriptions.
    pub shared_available: bool,
    /// Keep Alive in force; 0 is none.
    pub keep_alive_secs: u16,
}
