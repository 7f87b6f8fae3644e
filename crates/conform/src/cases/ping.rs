//! PINGREQ and keep alive.

use std::time::{Duration, Instant};

use crate::case::{cases, claim};
use crate::exchange::reason;
use crate::wire::{Packet, property as id, publish};

cases! {
    /// [MQTT-3.12.4-1] v3.1.1 [MQTT-3.12.4-1] A PINGREQ is answered by a PINGRESP.
    #[versions(V31, V311, V5)]
    fn pingreq_is_answered(broker) {
        let mut client = broker.client()?;
        client.expect_silence()?;
        client.send_ping();
        client.expect_silence()?;
    }

    /// [MQTT-3.1.2-22, MQTT-3.2.2-22] v3.1.1 [MQTT-3.1.2-24] A client that is silent for one and a half times its
    /// Keep Alive is cut off, as if the network had failed.
    #[versions(V31, V311, V5)]
    fn silent_client_is_closed(broker) {
        let mut client = broker.connect(|it| it.keep_alive(1))?;
        let granted = client.connack().properties.number(id::SERVER_KEEP_ALIVE);
        broker.need(granted.is_none(), "the broker sets the Keep Alive itself")?;
        let start = Instant::now();
        let packets = client.expect_close_within(broker.keep_alive_patience())?;
        if client.is_quelea() {
            // A server may cut a silent client off earlier.
            claim(
                start.elapsed() >= Duration::from_millis(1_400),
                "closed before 1.5 times Keep Alive",
            )?;
            claim(
                start.elapsed() < Duration::from_secs(4),
                "closed long after 1.5 times Keep Alive",
            )?;
        }
        if client.is_quelea() && client.version.is_v5() {
            let said = packets.iter().any(|packet| {
                matches!(packet, Packet::Disconnect(it) if it.reason == reason::KEEP_ALIVE_TIMEOUT)
            });
            claim(said, format!("no DISCONNECT with Keep Alive timeout, but {packets:?}"))?;
        }
    }

    /// [MQTT-3.1.2-22] v3.1.1 [MQTT-3.1.2-24] Any packet of the client counts for its Keep Alive.
    #[versions(V31, V311, V5)]
    fn any_packet_keeps_a_client_alive(broker) {
        let mut client = broker.connect(|it| it.keep_alive(2))?;
        for _ in 0..4 {
            // Nothing comes: the time that passes is the point.
            let early = client.expect_packet_within(Duration::from_millis(1_300));
            claim(early.is_err(), format!("got {early:?}"))?;
            client.send_publish(publish(&broker.topic("t"), "alive"));
        }
        client.expect_silence()?;
    }

    /// [MQTT-3.1.2-22] v3.1.1 [MQTT-3.1.2-24] What a client receives does not count for its Keep Alive.
    #[versions(V31, V311, V5)]
    fn deliveries_do_not_keep_a_client_alive(broker) {
        let mut client = broker.connect(|it| it.keep_alive(1))?;
        let topic = broker.topic("t");
        client.subscribe(&topic, 0)?;
        let mut other = broker.client()?;
        let start = Instant::now();
        let limit = broker.keep_alive_patience();
        let mut is_open = true;
        while is_open && start.elapsed() < limit {
            other.publish(publish(&topic, "noise"))?;
            let packet = client.expect_packet_within(Duration::from_millis(300));
            is_open = matches!(packet, Ok(Packet::Publish(_)));
        }
        claim(!is_open, format!("still open after {limit:?}"))?;
    }

    /// [Q5-3.1.2.10-1, Q4-3.1.2.10-1] A Keep Alive of zero means none.
    #[versions(V31, V311, V5)]
    fn keep_alive_of_zero_is_none(broker) {
        let mut client = broker.connect(|it| it.keep_alive(0))?;
        let granted = client.connack().properties.number(id::SERVER_KEEP_ALIVE);
        broker.need(granted.is_none(), "the broker sets the Keep Alive itself")?;
        let early = client.expect_packet_within(Duration::from_secs(3));
        claim(early.is_err(), format!("got {early:?}"))?;
        client.expect_silence()?;
    }
}
