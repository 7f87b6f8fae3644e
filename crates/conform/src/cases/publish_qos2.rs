//! QoS 2, both ways.

use crate::case::{cases, claim, claim_eq};
use crate::wire::publish;

cases! {
    /// [MQTT-4.3.3-8, MQTT-4.3.3-11, MQTT-2.2.1-5] v3.1.1 [MQTT-4.3.3-2, MQTT-2.3.1-6] A PUBLISH of QoS 2 is
    /// answered by PUBREC, and PUBREL by PUBCOMP, all with its packet identifier.
    #[versions(V31, V311, V5)]
    fn qos2_publish_is_acknowledged(broker) {
        broker.need_qos(2)?;
        let mut client = broker.client()?;
        for packet_id in [1, 300, 65_535] {
            client.send_publish(publish(&broker.topic("t"), "x").qos(2).packet_id(packet_id));
            client.wait_for_pubrec(packet_id)?;
            client.send_pubrel(packet_id);
            client.wait_for_pubcomp(packet_id)?;
        }
        client.expect_silence()?;
    }

    /// [MQTT-4.3.3-10] v3.1.1 [MQTT-4.3.3-2] A PUBLISH of QoS 2 sent again before PUBREL is acknowledged again
    /// and delivered once.
    #[versions(V31, V311, V5)]
    fn qos2_duplicate_is_delivered_once(broker) {
        broker.need_qos(2)?;
        let topic = broker.topic("t");
        let mut subscriber = broker.client()?;
        subscriber.subscribe(&topic, 2)?;
        let mut publisher = broker.client()?;
        let message = publish(&topic, "once").qos(2).packet_id(7);
        publisher.send_publish(message.clone());
        publisher.wait_for_pubrec(7)?;
        publisher.send_publish(message.dup());
        publisher.wait_for_pubrec(7)?;
        publisher.send_pubrel(7);
        publisher.wait_for_pubcomp(7)?;
        let delivered = subscriber.take("once")?;
        claim_eq("QoS", delivered.qos, 2)?;
        claim(!delivered.is_dup, "a first delivery with DUP")?;
        subscriber.expect_silence_after(&mut publisher)?;
    }
}
