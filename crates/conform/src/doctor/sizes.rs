//! How long and how many things may be.

use super::delivery::announced_number;
use super::{Finding, Measure, Probe};
use crate::client::as_publish;
use crate::wire::{Packet, property as id, publish};
use crate::{Broker, Outcome};

pub(super) static PROBES: &[Probe] = &[
    Probe {
        name: "bytes of a packet",
        ask: packet_bytes,
        advise: |it| below(it, 65_536, "Divide large payloads, or send where they can be had."),
    },
    Probe {
        name: "bytes of a topic",
        ask: topic_bytes,
        advise: |it| below(it, 1_024, "Keep topics short."),
    },
    Probe {
        name: "levels of a topic",
        ask: topic_levels,
        advise: |it| below(it, 64, "Keep topics flat."),
    },
    Probe {
        name: "bytes of a client identifier",
        ask: client_id_bytes,
        advise: |it| {
            below(it, 64, "Keep client identifiers short: 23 letters and digits always do.")
        },
    },
    Probe { name: "empty client identifiers", ask: empty_client_id, advise: |_| None },
    Probe {
        name: "topic aliases of a client",
        ask: topic_aliases,
        advise: |it| match it {
            Measure::Exactly(0) => {
                Some("Publishers send each topic in full: short topics save bytes.")
            }
            _ => None,
        },
    },
    Probe {
        name: "topic aliases of the broker",
        ask: topic_aliases_of_the_broker,
        advise: |_| None,
    },
];

fn below(measure: &Measure, enough: u64, advice: &'static str) -> Option<&'static str> {
    matches!(measure, Measure::Exactly(it) if *it < enough).then_some(advice)
}

fn packet_bytes(broker: &Broker<'_>) -> Finding {
    let topic = broker.topic("t");
    let overhead = publish(&topic, "").bytes(broker.version).len() as u64;
    let announced = announced_number(broker, id::MAXIMUM_PACKET_SIZE, PACKET_BYTES_MOST)?;
    let announced = match announced {
        Measure::Exactly(PACKET_BYTES_MOST) => Measure::AtLeast(PACKET_BYTES_MOST),
        announced => announced,
    };
    let measured = largest(&[1 << 10, 1 << 14, 1 << 16, 1 << 18, 1 << 20], |bytes| {
        // Its length takes one byte to three, which the shortest packet has counted as one.
        let length_bytes = if bytes < 130 {
            1
        } else if bytes < 16_387 {
            2
        } else {
            3
        };
        passes(broker, &topic, (bytes - overhead - length_bytes + 1) as usize)
    })?;
    // Nothing larger is tried than a megabyte: that CONNACK allows more is no contradiction.
    Ok((measured, Some(announced)))
}

fn topic_bytes(broker: &Broker<'_>) -> Finding {
    let root = broker.topic("");
    let measured = largest(&[128, 1_024, 16_384, 65_535], |bytes| {
        passes(broker, &format!("{root}{}", "x".repeat(bytes as usize - root.len())), 0)
    })?;
    Ok((exact_at(measured, 65_535), None))
}

fn topic_levels(broker: &Broker<'_>) -> Finding {
    let root = broker.topic("");
    let measured = largest(&[8, 64, 512, 4_096, 32_000], |levels| {
        // The root is two levels of them.
        passes(broker, &format!("{root}{}x", "/".repeat(levels as usize - 2)), 0)
    })?;
    Ok((measured, None))
}

fn client_id_bytes(broker: &Broker<'_>) -> Finding {
    let measured = largest(&[23, 64, 256, 1_024, 65_535], |bytes| {
        let id = broker.id();
        let long = format!("{id}{}", "x".repeat((bytes as usize).saturating_sub(id.len())));
        Ok(broker.connect(|it| it.client_id(&long)).is_ok())
    })?;
    Ok((exact_at(measured, 65_535), None))
}

fn empty_client_id(broker: &Broker<'_>) -> Finding {
    let is_accepted = broker.connect(|it| it.client_id("")).is_ok();
    Ok((Measure::of(is_accepted), None))
}

fn topic_aliases(broker: &Broker<'_>) -> Finding {
    broker.need(broker.version.is_v5(), "MQTT 3 has none")?;
    let announced = announced_number(broker, id::TOPIC_ALIAS_MAXIMUM, 0)?;
    // More than was announced must not be tried: a correct broker closes.
    let Measure::Exactly(count @ 1..) = announced else {
        return Ok((Measure::Exactly(0), Some(announced)));
    };
    let topic = broker.topic("t");
    let mut subscriber = broker.client()?;
    subscriber.subscribe(&topic, 0)?;
    let mut publisher = broker.client()?;
    let mut measured = 0;
    for alias in [1, count.div_ceil(2), count] {
        let with_alias =
            |topic: &str| publish(topic, "x").with(|it| it.two(id::TOPIC_ALIAS, alias as u16));
        publisher.publish(with_alias(&topic))?;
        publisher.publish(with_alias(""))?;
        if subscriber.expect_publish("x").and_then(|_| subscriber.expect_publish("x")).is_err() {
            break;
        }
        measured = alias;
    }
    Ok((Measure::Exactly(measured), Some(announced)))
}

fn topic_aliases_of_the_broker(broker: &Broker<'_>) -> Finding {
    broker.need(broker.version.is_v5(), "MQTT 3 has none")?;
    let topic = broker.topic("t");
    let mut subscriber = broker.connect(|it| it.topic_alias_maximum(8))?;
    subscriber.subscribe(&topic, 0)?;
    let mut publisher = broker.client()?;
    let mut is_used = false;
    for _ in 0..4 {
        publisher.publish(publish(&topic, "x"))?;
        let delivered = subscriber.expect_publish("x")?;
        is_used |= delivered.received.number(id::TOPIC_ALIAS).is_some();
    }
    Ok((Measure::of(is_used), None))
}

/// Says whether a message with a payload of this length is delivered on this topic.
fn passes(broker: &Broker<'_>, topic: &str, payload_bytes: usize) -> Outcome<bool> {
    let mut client = broker.client()?;
    if client.request_subscribe(&[(topic, 0)], |it| it).map_or(true, |it| it.reasons != [0]) {
        return Ok(false);
    }
    let mut publisher = broker.client()?;
    publisher.publish(publish(topic, &"x".repeat(payload_bytes)))?;
    // Who closes says so at once; who drops it answers this.
    if publisher.ping().is_err() {
        return Ok(false);
    }
    let mut packets: Vec<Packet> = client.drain_after(&mut publisher)?;
    let delivered = packets.pop().as_ref().and_then(as_publish);
    Ok(delivered.is_some_and(|it| it.topic == topic && it.payload.len() == payload_bytes))
}

/// Finds the largest number that passes: up the ladder, and between the steps where it ends.
fn largest(ladder: &[u64], mut passes: impl FnMut(u64) -> Outcome<bool>) -> Outcome<Measure> {
    let mut good = 0;
    for &step in ladder {
        if passes(step)? {
            good = step;
            continue;
        }
        let mut bad = step;
        for _ in 0..BISECTIONS_MAX {
            let middle = good + (bad - good) / 2;
            if middle <= good.max(ladder[0] / 2) {
                break;
            }
            if passes(middle)? {
                good = middle;
            } else {
                bad = middle;
            }
        }
        return Ok(Measure::Exactly(good));
    }
    Ok(Measure::AtLeast(good))
}

/// There is nothing beyond what the protocol can say.
fn exact_at(measure: Measure, most: u64) -> Measure {
    if measure == Measure::AtLeast(most) { Measure::Exactly(most) } else { measure }
}

/// What MQTT itself allows.
const PACKET_BYTES_MOST: u64 = 268_435_460;

/// Enough for the widest step of a ladder.
const BISECTIONS_MAX: usize = 20;
