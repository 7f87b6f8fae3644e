//! CONNECT as we sent it, and what CONNACK makes of it.

use alloc::boxed::Box;
use core::num::{NonZeroU16, NonZeroU32};

use quelea_codec::{ConnAckProperties, Connect, QoS, Version};

use super::event::ServerOffer;
use crate::connect::Negotiated;

/// What has to be remembered of a CONNECT until its CONNACK, and some of it beyond.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) version: Version,
    pub(super) clean_start: bool,
    pub(super) method: Option<Box<str>>,
    keep_alive_secs: u16,
    receive_maximum: u16,
    topic_alias_maximum: u16,
    wants_problem_information: bool,
}

impl Asked {
    pub(super) fn new(connect: &Connect<'_>) -> Self {
        let properties = &connect.properties;
        let is_v5 = connect.version.is_v5();
        Self {
            version: connect.version,
            clean_start: connect.clean_start,
            method: properties.authentication_method.filter(|_| is_v5).map(Box::from),
            keep_alive_secs: connect.keep_alive_secs,
            // A 3.x server has never heard of a limit, so there is none but the number of identifiers.
            receive_maximum: properties
                .receive_maximum
                .filter(|_| is_v5)
                .map_or(u16::MAX, NonZeroU16::get),
            topic_alias_maximum: properties.topic_alias_maximum.filter(|_| is_v5).unwrap_or(0),
            wants_problem_information: properties.request_problem_information.unwrap_or(true),
        }
    }

    /// Returns what the broker offers: a 3.x broker everything.
    pub(super) fn offer(&self, answered: &ConnAckProperties<'_>) -> ServerOffer {
        ServerOffer {
            qos_max: answered.maximum_qos.unwrap_or(QoS::ExactlyOnce),
            retain_available: answered.retain_available.unwrap_or(true),
            receive_maximum: answered.receive_maximum.map_or(u16::MAX, NonZeroU16::get),
            packet_bytes_max: answered
                .packet_bytes_max
                .map_or(PACKET_BYTES_MAX, NonZeroU32::get)
                .min(PACKET_BYTES_MAX),
            wildcard_available: answered.wildcard_subscription_available.unwrap_or(true),
            // 3.x has no place for identifiers.
            subscription_ids_available: self.version.is_v5()
                && answered.subscription_id_available.unwrap_or(true),
            shared_available: answered.shared_subscription_available.unwrap_or(true),
            // [MQTT-3.1.2-21], [MQTT-3.2.2-21]
            keep_alive_secs: answered.server_keep_alive_secs.unwrap_or(self.keep_alive_secs),
        }
    }

    /// Returns what the connection runs with: the same as a server's, with the roles exchanged.
    pub(super) fn negotiated(
        &self,
        offer: &ServerOffer,
        answered: &ConnAckProperties<'_>,
        send_window_max: u16,
    ) -> Negotiated {
        Negotiated {
            version: self.version,
            clean_start: self.clean_start,
            session_expiry_secs: answered.session_expiry_secs.unwrap_or(0),
            announced_session_expiry_secs: answered.session_expiry_secs,
            keep_alive_secs: offer.keep_alive_secs,
            server_keep_alive: answered.server_keep_alive_secs,
            receive_maximum: self.receive_maximum,
            // [MQTT-3.3.4-7]
            send_window: offer.receive_maximum.min(send_window_max).max(1),
            packet_bytes_max_to_peer: offer.packet_bytes_max,
            // [MQTT-3.3.2-10]
            topic_alias_maximum_in: self.topic_alias_maximum,
            // [MQTT-3.2.2-17], [MQTT-3.2.2-18]
            topic_alias_maximum_out: answered.topic_alias_maximum.unwrap_or(0),
            qos_max: QoS::ExactlyOnce,
            is_retain_available: true,
            wants_problem_information: self.wants_problem_information,
            wants_response_information: false,
        }
    }
}

/// The largest packet there can be: the Remaining Length has at most four bytes.
pub(super) const PACKET_BYTES_MAX: u32 = 268_435_455 + 5;
