//! Properties that no client may send.

use crate::Broker;
use crate::case::cases;
use crate::exchange::reason::{MALFORMED_PACKET, PROTOCOL_ERROR, TOPIC_ALIAS_INVALID};
use crate::wire::{Body, Kind, PROPERTIES, Properties, property as id};

use super::connect_format::ILL_FORMED;
use super::malformed::{reject, reject_any};

cases! {
    /// [Q5-3.3.2.3.3-1, Q5-3.3.2.3.2-1, Q5-3.3.2.3.4-1, Q5-3.3.2.3.5-1, Q5-3.3.2.3.6-1, Q5-3.3.2.3.9-1, Q5-3.8.2.1.2-1,
    /// Q5-3.4.2.2.2-1, Q5-3.5.2.2.2-1, Q5-3.6.2.2.2-1, Q5-3.7.2.2.2-1, Q5-3.14.2.2.2-1, Q5-3.14.2.2.3-1] A property
    /// other than User Property comes once.
    #[versions(V5)]
    fn repeated_property_is_rejected(broker) {
        broker.need_topic_aliases(1)?;
        broker.need_subscription_ids()?;
        let rows: [(u8, Properties); 13] = [
            (0x30, Properties::new().byte(id::PAYLOAD_FORMAT_INDICATOR, 1)),
            (0x30, Properties::new().four(id::MESSAGE_EXPIRY_INTERVAL, 60)),
            (0x30, Properties::new().two(id::TOPIC_ALIAS, 1)),
            (0x30, Properties::new().text(id::RESPONSE_TOPIC, "answers")),
            (0x30, Properties::new().binary(id::CORRELATION_DATA, b"data")),
            (0x30, Properties::new().text(id::CONTENT_TYPE, "text")),
            (0x40, Properties::new().text(id::REASON_STRING, "reason")),
            (0x50, Properties::new().text(id::REASON_STRING, "reason")),
            (0x62, Properties::new().text(id::REASON_STRING, "reason")),
            (0x70, Properties::new().text(id::REASON_STRING, "reason")),
            (0x82, Properties::new().variable(id::SUBSCRIPTION_IDENTIFIER, 1)),
            (0xE0, Properties::new().four(id::SESSION_EXPIRY_INTERVAL, 0)),
            (0xE0, Properties::new().text(id::REASON_STRING, "reason")),
        ];
        for (first_byte, properties) in rows {
            let bytes = with_properties(broker, first_byte, &properties.clone().all(&properties));
            reject(broker, &bytes, PROTOCOL_ERROR)?;
        }
    }

    /// [Q5-2.2.2.2-1] A property that the packet does not have is rejected.
    #[versions(V5)]
    fn property_of_another_packet_is_rejected(broker) {
        let limit = broker.limits().topic_alias_maximum();
        for first_byte in [0x30, 0x40, 0x50, 0x62, 0x70, 0x82, 0xA2, 0xE0] {
            for (property, kind, packets) in PROPERTIES {
                // A PUBACK that answers nothing may be rejected for that.
                if packets.contains(&(first_byte >> 4))
                    || *property == id::TOPIC_ALIAS && limit == 0
                {
                    continue;
                }
                let bytes = with_properties(broker, first_byte, &sample(*property, *kind));
                reject_any(broker, &bytes, &[MALFORMED_PACKET, PROTOCOL_ERROR])?;
            }
        }
    }

    /// [Q5-2.2.2.2-2] A property with an identifier that does not exist is rejected.
    #[versions(V5)]
    fn unknown_property_is_rejected(broker) {
        for raw in [&[0x00, 0][..], &[0x2B, 0], &[0x7F, 0], &[0x80, 0x01, 0], &[0x04, 0]] {
            for first_byte in [0x30, 0x82, 0xA2, 0xE0] {
                reject(
                    broker,
                    &with_properties(broker, first_byte, &Properties::new().raw(raw)),
                    MALFORMED_PACKET,
                )?;
            }
        }
    }

    /// [Q5-2.2.2.2-3, Q5-2.2.2.1-1, MQTT-2.2.2-1] Properties end where their length says, and values are whole.
    #[versions(V5)]
    fn truncated_properties_are_rejected(broker) {
        for (property, kind, packets) in PROPERTIES {
            if !packets.contains(&3) {
                continue;
            }
            let whole = sample(*property, *kind);
            let cut = whole.cut();
            // The length of the properties says that the value ends too early.
            broker.judge("[Q5-2.2.2.2-3]", || {
                reject(broker, &with_properties(broker, 0x30, &cut), MALFORMED_PACKET)
            })?;
        }
        // The length says more than the packet has.
        let body =
            Body::new().text(&broker.topic("t")).raw(&[100, id::PAYLOAD_FORMAT_INDICATOR, 1]);
        broker.judge("[Q5-2.2.2.1-1]", || reject(broker, &body.packet(0x30), MALFORMED_PACKET))?;
        let no_length = Body::new().text(&broker.topic("t"));
        broker.judge("[MQTT-2.2.2-1]", || {
            reject(broker, &no_length.packet(0x30), MALFORMED_PACKET)
        })?;
    }

    /// [MQTT-1.5.7-1, MQTT-3.3.2-13, MQTT-3.3.2-19] The strings of properties are UTF-8 without U+0000.
    #[versions(V5)]
    fn ill_formed_strings_in_properties_are_rejected(broker) {
        for text in ILL_FORMED {
            let pair = Body::new().binary(b"name").binary(text).packet(0);
            let name = Body::new().binary(text).binary(b"value").packet(0);
            let user_property = |pair: &[u8]| Properties::new().raw(&[id::USER_PROPERTY]).raw(pair);
            let rows = [
                ("[MQTT-3.3.2-19]", Properties::new().binary(id::CONTENT_TYPE, text)),
                ("[MQTT-3.3.2-13]", Properties::new().binary(id::RESPONSE_TOPIC, text)),
                ("[MQTT-1.5.7-1]", user_property(&pair[2..])),
                ("[MQTT-1.5.7-1]", user_property(&name[2..])),
            ];
            for (statement, properties) in rows {
                let bytes = with_properties(broker, 0x30, &properties);
                broker.judge(statement, || reject(broker, &bytes, MALFORMED_PACKET))?;
            }
        }
    }

    /// [Q5-3.3.2.3.8-1, MQTT-3.3.4-6] A client does not send subscription identifiers in a PUBLISH.
    #[versions(V5)]
    fn publish_with_subscription_id_is_rejected(broker) {
        for number in [1, 268_435_455] {
            let properties = Properties::new().variable(id::SUBSCRIPTION_IDENTIFIER, number);
            let bytes = with_properties(broker, 0x30, &properties);
            let outcome = reject_any(broker, &bytes, &[PROTOCOL_ERROR, MALFORMED_PACKET]);
            broker.may_tolerate(outcome)?;
        }
    }

    /// [Q5-3.8.2.1.2-2] Subscription identifiers start at 1.
    #[versions(V5)]
    fn subscription_id_0_is_rejected(broker) {
        broker.need_subscription_ids()?;
        let properties = Properties::new().variable(id::SUBSCRIPTION_IDENTIFIER, 0);
        reject(broker, &with_properties(broker, 0x82, &properties), PROTOCOL_ERROR)?;
    }

    /// [MQTT-3.3.2-14] A Response Topic has no wildcard.
    #[versions(V5)]
    fn wildcard_in_response_topic_is_rejected(broker) {
        broker.need_quelea("the text does not say that a server checks it")?;
        for topic in ["#", "+", "a/+", "a/#"] {
            let bytes =
                with_properties(broker, 0x30, &Properties::new().text(id::RESPONSE_TOPIC, topic));
            reject_any(broker, &bytes, &[PROTOCOL_ERROR, MALFORMED_PACKET, 0x90])?;
        }
    }

    /// [Q5-3.3.2.3.2-2] The Payload Format Indicator is 0 or 1.
    #[versions(V5)]
    fn payload_format_of_2_is_rejected(broker) {
        broker.need_quelea("the text does not call other values an error")?;
        let bytes =
            with_properties(broker, 0x30, &Properties::new().byte(id::PAYLOAD_FORMAT_INDICATOR, 2));
        reject_any(broker, &bytes, &[PROTOCOL_ERROR, MALFORMED_PACKET])?;
    }

    /// [MQTT-3.3.2-8, Q5-3.3.4-1] A topic alias is not 0.
    #[versions(V5)]
    fn topic_alias_0_is_rejected(broker) {
        let bytes = with_properties(broker, 0x30, &Properties::new().two(id::TOPIC_ALIAS, 0));
        reject(broker, &bytes, TOPIC_ALIAS_INVALID)?;
    }
}

/// Returns an otherwise correct packet with these properties.
fn with_properties(broker: &Broker<'_>, first_byte: u8, properties: &Properties) -> Vec<u8> {
    let topic = broker.topic("t");
    let body = match first_byte >> 4 {
        3 => Body::new().text(&topic).properties(properties).raw(b"x"),
        8 => Body::new().two(1).properties(properties).text(&topic).byte(0),
        10 => Body::new().two(1).properties(properties).text(&topic),
        14 => Body::new().byte(0).properties(properties),
        _ => Body::new().two(1).byte(0).properties(properties),
    };
    body.packet(first_byte)
}

/// Returns a property with a value that is right for it.
fn sample(property: u8, kind: Kind) -> Properties {
    match kind {
        Kind::Byte => Properties::new().byte(property, 1),
        Kind::Two => Properties::new().two(property, 1),
        Kind::Four => Properties::new().four(property, 1),
        Kind::Variable => Properties::new().variable(property, 1),
        Kind::Text => Properties::new().text(property, "text"),
        Kind::Binary => Properties::new().binary(property, b"data"),
        Kind::Pair => Properties::new().pair("name", "value"),
    }
}
