//! MQTT over WebSocket: section 6 of MQTT 3.1.1 and 5.0.

use crate::case::{cases, claim_eq};

cases! {
    /// [MQTT-6.0.0-1] v3.1.1 [MQTT-6.0.0-1] A frame that is not binary ends the connection.
    #[versions(V311, V5)]
    fn text_frame_ends_the_connection(broker) {
        let mut websocket = broker.open_websocket()?;
        let connect = broker.connect_options(broker.version).bytes();
        // That the broker has closed shows below.
        let _ = websocket.send_frame(0x81, &connect);
        broker.client_on(Box::new(websocket)).expect_close()?;

        let mut websocket = broker.open_websocket()?;
        let _ = websocket.send_frame(0x82, &connect);
        broker.client_on(Box::new(websocket)).expect_accepted()?;
    }

    /// [MQTT-6.0.0-2] v3.1.1 [MQTT-6.0.0-2] A frame may hold a part of a packet, or many packets.
    #[versions(V311, V5)]
    fn frames_and_packets_need_not_begin_together(broker) {
        let mut websocket = broker.open_websocket()?;
        let mut bytes = broker.connect_options(broker.version).bytes();
        bytes.extend([0xC0, 0, 0xC0, 0, 0xC0]);
        let (first, rest) = bytes.split_at(3);
        let (second, third) = rest.split_at(1);
        for (opcode, part) in [(0x82, first), (0x02, second), (0x80, third), (0x82, &[0])] {
            let _ = websocket.send_frame(opcode, part);
        }
        let mut client = broker.client_on(Box::new(websocket));
        client.expect_accepted()?;
        for _ in 0..3 {
            client.expect_pong()?;
        }
    }

    /// [MQTT-6.0.0-4] v3.1.1 [MQTT-6.0.0-4] The broker chooses the subprotocol mqtt.
    #[versions(V311, V5)]
    fn subprotocol_is_mqtt(broker) {
        let websocket = broker.open_websocket()?;
        claim_eq("the subprotocol", websocket.protocol(), Some("mqtt"))?;
    }
}
