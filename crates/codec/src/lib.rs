//! MQTT 3.1, 3.1.1 and 5.0 packets: bytes to packets and back, no_std, without unsafe code.
//!
//! One packet model serves all versions: what a version lacks is `None` or empty. Decoding borrows from
//! the bytes it is given and allocates nothing; encoding reserves its exact size once and appends.
//! Whatever a packet's bytes alone can prove wrong is reported here, as [`Malformed`] or [`Violation`];
//! what depends on the connection or the session (direction, limits agreed, packet identifiers in use)
//! is left to others.
//!
//! ```
//! use quelea_codec::{Framing, Packet, Version, next_frame};
//!
//! let bytes = [0xC0, 0x00, 0xD0];
//! let Ok(Framing::Complete { frame, consumed }) = next_frame(&bytes, 1024) else {
//!     panic!("one whole packet is there");
//! };
//! assert_eq!(Packet::decode(frame, Version::V5), Ok(Packet::PingReq));
//! assert_eq!(consumed, 2);
//! ```

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod ack;
mod auth;
mod connack;
mod connect;
mod connect_error;
mod connect_flags;
mod disconnect;
mod error;
mod frame;
#[cfg(test)]
mod notation;
mod outgoing;
mod packet;
mod packet_id;
mod property;
mod property_section;
mod property_value;
mod publish;
mod publish_properties;
mod qos;
mod read;
mod reason_code;
mod suback;
mod subscribe;
mod subscription_ids;
mod text;
mod topic;
mod unsubscribe;
mod user_properties;
mod version;
mod write;

pub use ack::{Ack, AckProperties, encode_ack};
pub use auth::{Auth, AuthProperties};
pub use connack::{ConnAck, ConnAckProperties};
pub use connect::{Connect, ConnectProperties, Will};
pub use connect_error::ConnectError;
pub use disconnect::{Disconnect, DisconnectProperties};
pub use error::{DecodeError, Malformed, Violation};
pub use frame::{Frame, Framing, next_frame};
pub use outgoing::OutgoingPublish;
pub use packet::{Packet, PacketKind};
pub use packet_id::PacketId;
pub use property::Property;
pub use publish::{Publish, decode_publish};
pub use publish_properties::{PublishProperties, WireForm};
pub use qos::QoS;
pub use reason_code::ReasonCode;
pub use suback::{SubAck, UnsubAck};
pub use subscribe::{
    RetainHandling, Subscribe, SubscribeFilter, SubscribeFilters, SubscriptionOptions,
};
pub use subscription_ids::{SubscriptionIds, SubscriptionIdsIter};
pub use topic::{FilterError, FilterShape, check_topic_filter, is_valid_topic_name};
pub use unsubscribe::{Unsubscribe, UnsubscribeFilters};
pub use user_properties::{UserProperties, UserPropertiesIter};
pub use version::Version;
