//! What a broker keeps, how much of it, and how long.

use std::time::Instant;

use super::delivery::{announced_number, no};
use super::{Finding, Measure, Probe};
use crate::Broker;
use crate::wire::{Packet, property as id, publish};

pub(super) static PROBES: &[Probe] = &[
    Probe {
        name: "sessions that outlive a connection",
        ask: persistent,
        advise: |it| {
            no(it, "Who was away has to subscribe again, and has missed what came meanwhile.")
        },
    },
    Probe {
        name: "longest session expiry, in seconds",
        ask: session_expiry,
        advise: |it| match it {
            Measure::Exactly(secs) if *secs < 3_600 => {
                Some("A client that is away for longer finds its session gone.")
            }
            _ => None,
        },
    },
    Probe {
        name: "messages that wait for an absent client",
        ask: queue,
        advise: |it| match it {
            Measure::Exactly(0) => Some("What is published while a client is away is lost to it."),
            Measure::Exactly(_) => Some("More than that is lost to a client that is away."),
            _ => None,
        },
    },
    Probe { name: "QoS 0 messages wait too", ask: queue_of_qos0, advise: |_| None },
    Probe {
        name: "messages in flight to a client",
        ask: in_flight_to_client,
        advise: |it| match it {
            Measure::Exactly(count) if *count < 10 => Some(
                "Over long distances few messages are on their way at once: acknowledge quickly.",
            ),
            _ => None,
        },
    },
    Probe {
        name: "messages in flight from a client",
        ask: in_flight_from_client,
        advise: |_| None,
    },
    Probe {
        name: "milliseconds until a silent client with Keep Alive 1 is closed",
        ask: keep_alive,
        advise: |it| match it {
            Measure::No => {
                Some("Clients that are lost are not noticed: their wills may never come.")
            }
            _ => None,
        },
    },
    Probe {
        name: "longest Keep Alive, in seconds",
        ask: keep_alive_maximum,
        advise: |it| match it {
            Measure::Exactly(secs) if *secs < 65_535 => Some(
                "Clients of MQTT 5.0 are told; those of 3.1.1 have to ask for no more than this.",
            ),
            _ => None,
        },
    },
];

fn persistent(broker: &Broker<'_>) -> Finding {
    let client_id = broker.id();
    let topic = broker.topic("t");
    let mut client = broker.connect(|it| it.client_id(&client_id).keep_session())?;
    client.subscribe(&topic, 0)?;
    client.disconnect()?;
    let mut client = broker.connect(|it| it.client_id(&client_id).keep_session())?;
    broker.client()?.publish(publish(&topic, "x"))?;
    let is_kept = client.expect_publish("x").is_ok();
    Ok((Measure::of(is_kept), None))
}

fn session_expiry(broker: &Broker<'_>) -> Finding {
    broker.need(broker.version.is_v5(), "MQTT 3 has none")?;
    let client_id = broker.id();
    let asked = u32::MAX - 1;
    let client = broker.connect(|it| it.client_id(&client_id).resume().session_expiry(asked))?;
    let granted = client.connack().properties.number(id::SESSION_EXPIRY_INTERVAL).unwrap_or(asked);
    client.disconnect()?;
    let back = broker.connect(|it| it.client_id(&client_id).keep_session())?;
    let announced = Measure::Exactly(granted.into());
    let measured = if back.is_session_present() { announced.clone() } else { Measure::Exactly(0) };
    Ok((measured, Some(announced)))
}

fn queue(broker: &Broker<'_>) -> Finding {
    broker.need_qos(1)?;
    let client_id = broker.id();
    let topic = broker.topic("t");
    let mut client = broker.connect(|it| it.client_id(&client_id).keep_session())?;
    client.subscribe(&topic, 1)?;
    client.disconnect()?;
    let mut publisher = broker.client()?;
    let until = Instant::now() + broker.patience();
    let mut sent = 0;
    while sent < QUEUED_MESSAGES && Instant::now() < until {
        let ids: Vec<u16> =
            (0..WINDOW).map(|_| publisher.send_publish(publish(&topic, "x").qos(1))).collect();
        for id in ids {
            publisher.wait_for_puback(id)?;
        }
        sent += WINDOW;
    }
    let mut client = broker.connect(|it| it.client_id(&client_id).keep_session())?;
    let mut count = 0;
    while count < sent {
        // Nothing says that there is no more; what there is, is at hand.
        let Ok(Packet::Publish(message)) = client.expect_packet_within(broker.patience() / 2)
        else {
            break;
        };
        client.acknowledge(&message)?;
        count += 1;
    }
    let measured = if count == sent { Measure::AtLeast(count) } else { Measure::Exactly(count) };
    Ok((measured, None))
}

fn queue_of_qos0(broker: &Broker<'_>) -> Finding {
    broker.need_qos(1)?;
    let client_id = broker.id();
    let topic = broker.topic("t");
    let mut client = broker.connect(|it| it.client_id(&client_id).keep_session())?;
    client.subscribe(&topic, 1)?;
    client.disconnect()?;
    let mut publisher = broker.client()?;
    publisher.publish(publish(&topic, "qos 0"))?;
    publisher.publish(publish(&topic, "qos 1").qos(1))?;
    let mut client = broker.connect(|it| it.client_id(&client_id).keep_session())?;
    let is_kept = match client.expect_packet()? {
        Packet::Publish(message) => message.qos == 0,
        _ => false,
    };
    Ok((Measure::of(is_kept), None))
}

fn in_flight_to_client(broker: &Broker<'_>) -> Finding {
    broker.need_qos(1)?;
    let topic = broker.topic("t");
    let mut subscriber = broker.client()?;
    subscriber.subscribe(&topic, 1)?;
    let mut publisher = broker.client()?;
    for _ in 0..IN_FLIGHT_MESSAGES {
        publisher.publish(publish(&topic, "x").qos(1))?;
    }
    let count = subscriber.drain_after(&mut publisher)?.len() as u64;
    let is_all = count == IN_FLIGHT_MESSAGES;
    Ok((if is_all { Measure::AtLeast(count) } else { Measure::Exactly(count) }, None))
}

/// Never more than the broker has announced, which it may take for an error.
fn in_flight_from_client(broker: &Broker<'_>) -> Finding {
    broker.need_qos(2)?;
    let announced = announced_number(broker, id::RECEIVE_MAXIMUM, 65_535)?;
    let tried = u64::from(broker.limits().receive_maximum()).min(IN_FLIGHT_MESSAGES);
    let topic = broker.topic("t");
    let mut publisher = broker.client()?;
    let ids: Vec<u16> =
        (0..tried).map(|_| publisher.send_publish(publish(&topic, "x").qos(2))).collect();
    let mut count = 0;
    for id in &ids {
        if publisher.wait_for_pubrec(*id).map_or(true, |it| it.reason >= 0x80) {
            break;
        }
        count += 1;
    }
    for id in &ids {
        publisher.send_pubrel(*id);
    }
    let is_all = count == tried && announced != Measure::Exactly(tried);
    Ok((if is_all { Measure::AtLeast(count) } else { Measure::Exactly(count) }, Some(announced)))
}

fn keep_alive(broker: &Broker<'_>) -> Finding {
    let mut client = broker.connect(|it| it.keep_alive(1))?;
    let granted = client.connack().properties.number(id::SERVER_KEEP_ALIVE);
    broker.need(granted.is_none(), "the broker sets the Keep Alive itself")?;
    let start = Instant::now();
    let measured = match client.expect_close_within(broker.patience() * 2) {
        Ok(_) => Measure::Exactly(start.elapsed().as_millis() as u64),
        Err(_) => Measure::No,
    };
    Ok((measured, None))
}

fn keep_alive_maximum(broker: &Broker<'_>) -> Finding {
    let client = broker.connect(|it| it.keep_alive(u16::MAX));
    let Ok(client) = client else {
        return Ok((Measure::Unknown("a client with 65,535 is refused".to_owned()), None));
    };
    let granted = client.connack().properties.number(id::SERVER_KEEP_ALIVE).unwrap_or(65_535);
    Ok((Measure::Exactly(granted.into()), Some(Measure::Exactly(granted.into()))))
}

/// More than the queue of any session that Mosquitto keeps by default.
const QUEUED_MESSAGES: u64 = 1_200;

/// How many of them are under way at once.
const WINDOW: u64 = 10;

const IN_FLIGHT_MESSAGES: u64 = 150;
