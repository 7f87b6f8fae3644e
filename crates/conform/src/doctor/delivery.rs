//! What a message may be, and whom it reaches.

use super::{Finding, Measure, Probe};
use crate::client::as_publish;
use crate::wire::{property as id, publish};
use crate::{Broker, Client, Failure, Outcome};

pub(super) static PROBES: &[Probe] = &[
    Probe {
        name: "highest QoS",
        ask: qos,
        advise: |it| match it {
            Measure::Exactly(2) => None,
            Measure::Exactly(1) => Some("Use QoS 1, and have receivers tell repetitions apart."),
            _ => Some("Messages may be lost: nothing above QoS 0 is there."),
        },
    },
    Probe {
        name: "retained messages",
        ask: retain,
        advise: |it| no(it, "Who subscribes later gets no last value: have publishers repeat it."),
    },
    Probe {
        name: "wildcard subscriptions",
        ask: wildcards,
        advise: |it| no(it, "Subscribe to each topic by its whole name."),
    },
    Probe {
        name: "shared subscriptions",
        ask: shared,
        advise: |it| no(it, "Several consumers cannot share one stream: divide it by topic."),
    },
    Probe {
        name: "subscription identifiers",
        ask: subscription_ids,
        advise: |it| no(it, "Find the handler of a message by its topic."),
    },
    Probe {
        name: "copies for two filters that match",
        ask: overlapping,
        advise: |it| match it {
            Measure::Exactly(2..) => Some("Overlapping filters bring a message several times."),
            _ => None,
        },
    },
    Probe { name: "its own statistics in $SYS", ask: statistics, advise: |_| None },
];

pub(super) fn no(measure: &Measure, advice: &'static str) -> Option<&'static str> {
    (*measure == Measure::No).then_some(advice)
}

fn qos(broker: &Broker<'_>) -> Finding {
    let announced = announced_number(broker, id::MAXIMUM_QOS, 2)?;
    let mut highest = None;
    for qos in 0..=2 {
        if is_delivered(broker, qos).unwrap_or(false) {
            highest = Some(u64::from(qos));
        }
    }
    let highest = highest.ok_or_else(|| Failure::skipped("no message is delivered"))?;
    Ok((Measure::Exactly(highest), Some(announced)))
}

fn is_delivered(broker: &Broker<'_>, qos: u8) -> Outcome<bool> {
    let topic = broker.topic(&format!("qos{qos}"));
    let mut client = broker.client()?;
    let suback = client.request_subscribe(&[(&topic, qos)], |it| it)?;
    if suback.reasons != [qos] {
        return Ok(false);
    }
    broker.client()?.publish(publish(&topic, "x").qos(qos))?;
    Ok(client.take("x")?.qos == qos)
}

fn retain(broker: &Broker<'_>) -> Finding {
    let announced = announced_flag(broker, id::RETAIN_AVAILABLE)?;
    let topic = broker.topic("retained");
    broker.will_retain(&topic);
    let mut publisher = broker.client()?;
    let qos = broker.limits().qos_max().min(1);
    publisher.send_publish(publish(&topic, "x").qos(qos).retain());
    if publisher.ping().is_err() {
        return Ok((Measure::No, Some(announced)));
    }
    let mut subscriber = broker.client()?;
    subscriber.subscribe(&topic, 0)?;
    // What comes with the subscription comes before what is published afterwards.
    let packets = subscriber.drain_after(&mut publisher)?;
    let is_there = packets.iter().filter_map(as_publish).any(|it| it.is_retained);
    Ok((Measure::of(is_there), Some(announced)))
}

fn wildcards(broker: &Broker<'_>) -> Finding {
    let announced = announced_flag(broker, id::WILDCARD_SUBSCRIPTION_AVAILABLE)?;
    let mut count = 0;
    for filter in ["+/x", "a/#"] {
        count += receives(broker, &[&broker.topic(filter)], "a/x")?;
    }
    Ok((Measure::of(count == 2), Some(announced)))
}

fn shared(broker: &Broker<'_>) -> Finding {
    let announced = announced_flag(broker, id::SHARED_SUBSCRIPTION_AVAILABLE)?;
    let topic = broker.topic("shared");
    let filter = format!("$share/group/{topic}");
    let mut members = Vec::new();
    for _ in 0..2 {
        let mut member = broker.client()?;
        let suback = member.request_subscribe(&[(&filter, 0)], |it| it);
        if suback.map_or(true, |it| it.reasons != [0]) {
            return Ok((Measure::No, Some(announced)));
        }
        members.push(member);
    }
    let mut publisher = broker.client()?;
    for _ in 0..SHARED_MESSAGES {
        publisher.publish(publish(&topic, "x"))?;
    }
    let mut count = 0;
    for member in &mut members {
        count += member.drain_after(&mut publisher)?.len();
    }
    Ok((Measure::of(count == SHARED_MESSAGES), Some(announced)))
}

fn subscription_ids(broker: &Broker<'_>) -> Finding {
    broker.need(broker.version.is_v5(), "MQTT 3 has none")?;
    let announced = announced_flag(broker, id::SUBSCRIPTION_IDENTIFIERS_AVAILABLE)?;
    let topic = broker.topic("t");
    let mut client = broker.client()?;
    let suback =
        client.request_subscribe(&[(&topic, 0)], |it| it.variable(id::SUBSCRIPTION_IDENTIFIER, 7));
    if suback.map_or(true, |it| it.reasons != [0]) {
        return Ok((Measure::No, Some(announced)));
    }
    broker.client()?.publish(publish(&topic, "x"))?;
    let ids = client.expect_publish("x")?.received.subscription_ids();
    Ok((Measure::of(ids == [7]), Some(announced)))
}

fn overlapping(broker: &Broker<'_>) -> Finding {
    let count = receives(broker, &[&broker.topic("a/x"), &broker.topic("+/x")], "a/x")?;
    Ok((Measure::Exactly(count as u64), None))
}

fn statistics(broker: &Broker<'_>) -> Finding {
    let mut client = broker.client()?;
    let suback = client.request_subscribe(&[("$SYS/#", 0)], |it| it)?;
    if suback.reasons != [0] {
        return Ok((Measure::No, None));
    }
    let mut publisher = broker.client()?;
    let packets = client.drain_after(&mut publisher)?;
    Ok((Measure::of(!packets.is_empty()), None))
}

/// Subscribes to filters and returns how often a message on a topic comes; 0 if a filter is refused.
fn receives(broker: &Broker<'_>, filters: &[&str], topic: &str) -> Outcome<usize> {
    let mut client = broker.client()?;
    for filter in filters {
        if client.request_subscribe(&[(filter, 0)], |it| it).map_or(true, |it| it.reasons != [0]) {
            return Ok(0);
        }
    }
    let mut publisher = broker.client()?;
    publisher.publish(publish(&broker.topic(topic), "x"))?;
    Ok(client.drain_after(&mut publisher)?.len())
}

/// Returns a number of CONNACK, or what it means that it is not there.
pub(super) fn announced_number(
    broker: &Broker<'_>,
    property: u8,
    otherwise: u64,
) -> Outcome<Measure> {
    let client: Client = broker.client()?;
    let said = client.connack().properties.number(property);
    Ok(Measure::Exactly(said.map_or(otherwise, u64::from)))
}

/// Returns a yes or no of CONNACK; silence means yes.
fn announced_flag(broker: &Broker<'_>, property: u8) -> Outcome<Measure> {
    Ok(Measure::of(announced_number(broker, property, 1)? != Measure::Exactly(0)))
}

const SHARED_MESSAGES: usize = 6;
