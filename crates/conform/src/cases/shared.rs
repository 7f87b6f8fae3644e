//! Shared subscriptions.

use std::collections::BTreeSet;

use crate::case::{cases, claim, claim_eq};
use crate::client::as_publish;
use crate::exchange::reason::NO_SUBSCRIPTION_EXISTED;
use crate::wire::{Body, property as id, publish};
use crate::{Broker, Client, Outcome};

cases! {
    /// [Q5-4.8.2-1] Each message goes to one member of a group, and to one of each group.
    #[versions(V5)]
    fn one_member_of_each_group_gets_a_message(broker) {
        broker.need_shared()?;
        let topic = broker.topic("t");
        let mut members = Vec::new();
        for group in ["a", "a", "a", "b", "b"] {
            let mut member = broker.client()?;
            member.subscribe(&format!("$share/{group}/{topic}"), 0)?;
            members.push(member);
        }
        let mut plain = broker.client()?;
        plain.subscribe(&topic, 0)?;
        let mut publisher = broker.client()?;
        let payloads: Vec<String> = (0..12).map(|index| format!("{index}")).collect();
        for payload in &payloads {
            publisher.publish(publish(&topic, payload))?;
        }
        let first = collect(&mut members[..3], &mut publisher)?;
        let second = collect(&mut members[3..], &mut publisher)?;
        let mut sorted = payloads.clone();
        sorted.sort();
        claim_eq("group a", first, sorted.clone())?;
        claim_eq("group b", second, sorted)?;
        for payload in &payloads {
            plain.expect_publish(payload)?;
        }
    }

    /// [Q5-4.8.2-2] A group of one gets all that a plain subscription gets.
    #[versions(V5)]
    fn group_of_one_gets_all(broker) {
        broker.need_shared()?;
        broker.need_wildcards()?;
        let mut member = broker.client()?;
        member.subscribe(&format!("$share/g/{}", broker.topic("+/b/#")), 1)?;
        let mut publisher = broker.client()?;
        for levels in ["a/b", "a/c", "x/b/c"] {
            publisher.publish(publish(&broker.topic(levels), levels).qos(1))?;
        }
        member.take("a/b")?;
        member.take("x/b/c")?;
        member.expect_silence_after(&mut publisher)?;
    }

    /// [Q5-4.8.2-3] A filter after the share name may start with a level of no characters.
    #[versions(V5)]
    fn shared_filter_may_start_with_a_slash(broker) {
        broker.need_shared()?;
        let topic = format!("/{}", broker.topic("t"));
        let mut member = broker.client()?;
        member.subscribe(&format!("$share/g/{topic}"), 0)?;
        broker.client()?.publish(publish(&topic, "x"))?;
        member.expect_publish("x")?;
    }

    /// [Q5-4.8.2-4, Q5-3.8.4-3] No retained messages are sent to a shared subscription.
    #[versions(V5)]
    fn shared_subscription_brings_no_retained_messages(broker) {
        broker.need_shared()?;
        broker.need_retain()?;
        let topic = broker.topic("t");
        broker.retain(&topic, "retained")?;
        let mut publisher = broker.client()?;
        for _ in 0..2 {
            let mut member = broker.client()?;
            member.subscribe(&format!("$share/g/{topic}"), 1)?;
            member.expect_silence_after(&mut publisher)?;
            member.unsubscribe(&[&format!("$share/g/{topic}")])?;
        }
    }

    /// [MQTT-4.8.2-3] Each member gets messages with the QoS that it was granted.
    #[versions(V5)]
    fn each_member_has_its_own_qos(broker) {
        broker.need_shared()?;
        broker.need_qos(2)?;
        let topic = broker.topic("t");
        let filter = format!("$share/g/{topic}");
        for qos in 0..=2 {
            let mut member = broker.client()?;
            member.subscribe(&filter, qos)?;
            let mut publisher = broker.client()?;
            publisher.publish(publish(&topic, "x").qos(2))?;
            claim_eq("QoS", member.take("x")?.qos, qos)?;
            member.unsubscribe(&[&filter])?;
        }
    }

    /// [Q5-4.8.2-5, Q5-3.10.4-1] UNSUBSCRIBE with the whole filter leaves the group; the others get the messages.
    #[versions(V5)]
    fn member_leaves_by_unsubscribe(broker) {
        broker.need_shared()?;
        let topic = broker.topic("t");
        let filter = format!("$share/g/{topic}");
        let mut leaver = broker.client()?;
        let mut stayer = broker.client()?;
        // Subscribing twice is not being in the group twice.
        leaver.subscribe(&filter, 0)?;
        leaver.subscribe(&filter, 0)?;
        stayer.subscribe(&filter, 0)?;
        claim_eq("result", leaver.unsubscribe(&[&topic])?.reasons, vec![NO_SUBSCRIPTION_EXISTED])?;
        claim_eq("result", leaver.unsubscribe(&[&filter])?.reasons, vec![0])?;
        let mut publisher = broker.client()?;
        for _ in 0..6 {
            publisher.publish(publish(&topic, "x"))?;
            stayer.expect_publish("x")?;
        }
        leaver.expect_silence_after(&mut publisher)?;
    }

    /// [Q5-4.8.2-6] A member whose session has ended gets nothing, and nobody's messages are lost with it.
    #[versions(V5)]
    fn member_leaves_with_its_session(broker) {
        broker.need_shared()?;
        let topic = broker.topic("t");
        let filter = format!("$share/g/{topic}");
        let mut leaver = broker.client()?;
        leaver.subscribe(&filter, 1)?;
        let mut stayer = broker.client()?;
        stayer.subscribe(&filter, 1)?;
        leaver.disconnect()?;
        let mut publisher = broker.client()?;
        for _ in 0..6 {
            publisher.publish(publish(&topic, "x").qos(1))?;
            stayer.take("x")?;
        }
    }

    /// [Q5-4.8.2-7] A client with a shared and a plain subscription gets a copy for each.
    #[versions(V5)]
    fn shared_and_plain_subscriptions_are_apart(broker) {
        broker.need_shared()?;
        broker.need_subscription_ids()?;
        let topic = broker.topic("t");
        let mut client = broker.client()?;
        client.subscribe_with(&topic, 0, |it| it.variable(id::SUBSCRIPTION_IDENTIFIER, 1))?;
        client.subscribe_with(&format!("$share/g/{topic}"), 0, |it| {
            it.variable(id::SUBSCRIPTION_IDENTIFIER, 2)
        })?;
        let mut publisher = broker.client()?;
        publisher.publish(publish(&topic, "x"))?;
        let packets = client.drain_after(&mut publisher)?;
        let ids: BTreeSet<Vec<u32>> = packets
            .iter()
            .filter_map(as_publish)
            .map(|it| it.received.subscription_ids())
            .collect();
        claim_eq("deliveries", packets.len(), 2)?;
        claim_eq("subscription identifiers", ids, BTreeSet::from([vec![1], vec![2]]))?;
    }

    /// [Q5-3.3.4-4] A member gets the subscription identifier of its own SUBSCRIBE.
    #[versions(V5)]
    fn members_have_their_own_subscription_ids(broker) {
        broker.need_shared()?;
        broker.need_subscription_ids()?;
        let topic = broker.topic("t");
        let filter = format!("$share/g/{topic}");
        let mut members = Vec::new();
        for number in [11, 12] {
            let mut member = broker.client()?;
            member.subscribe_with(&filter, 0, |it| {
                it.variable(id::SUBSCRIPTION_IDENTIFIER, number)
            })?;
            members.push((number, member));
        }
        let mut publisher = broker.client()?;
        for _ in 0..8 {
            publisher.publish(publish(&topic, "x"))?;
        }
        for (number, member) in &mut members {
            for delivered in member.drain_after(&mut publisher)?.iter().filter_map(as_publish) {
                claim_eq("identifiers", delivered.received.subscription_ids(), vec![*number])?;
            }
        }
    }

    /// [MQTT-4.8.2-4, MQTT-4.8.2-5] A QoS 2 delivery to a member is completed with that member, and goes to no other when its
    /// session ends.
    #[versions(V5)]
    fn started_qos2_delivery_stays_with_its_member(broker) {
        broker.need_shared()?;
        broker.need_qos(2)?;
        let topic = broker.topic("t");
        let filter = format!("$share/g/{topic}");
        let client_id = broker.id();
        let mut member = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        member.subscribe(&filter, 2)?;
        let mut publisher = broker.client()?;
        publisher.publish(publish(&topic, "first").qos(2))?;
        publisher.publish(publish(&topic, "second").qos(2))?;
        let first = member.expect_publish("first")?;
        let second = member.expect_publish("second")?;
        member.send_pubrec(first.packet_id);
        member.expect_pubrel()?;
        member.break_off()?;
        broker.turn_to("[MQTT-4.8.2-4]");
        let mut other = broker.client()?;
        other.subscribe(&filter, 2)?;
        other.expect_silence_after(&mut publisher)?;
        let mut member = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        member.wait_for_pubrel(first.packet_id)?;
        let again = member.expect_publish("second")?;
        claim_eq("packet identifier", again.packet_id, second.packet_id)?;
        member.break_off()?;
        broker.turn_to("[MQTT-4.8.2-5]");
        // A clean start ends the session of the member.
        broker.connect(|it| it.client_id(&client_id))?.disconnect()?;
        other.expect_silence_after(&mut publisher)?;
    }

    /// [Q5-4.8.2-8] A QoS 1 message that a member did not acknowledge goes to another when its session ends.
    #[versions(V5)]
    fn unacknowledged_qos1_moves_when_the_session_ends(broker) {
        broker.need_quelea("a server should, but need not, send it to another member")?;
        let topic = broker.topic("t");
        let filter = format!("$share/g/{topic}");
        let client_id = broker.id();
        let mut member = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        member.subscribe(&filter, 1)?;
        let mut publisher = broker.client()?;
        publisher.publish(publish(&topic, "x").qos(1))?;
        member.expect_publish("x")?;
        let mut other = broker.client()?;
        other.subscribe(&filter, 1)?;
        member.break_off()?;
        broker.connect(|it| it.client_id(&client_id))?.disconnect()?;
        let moved = other.take("x")?;
        claim(!moved.is_dup, "DUP on the first delivery to this member")?;
    }

    /// [MQTT-4.8.2-6] A message that a member refuses is sent to no other.
    #[versions(V5)]
    fn refused_message_is_sent_to_nobody_else(broker) {
        broker.need_shared()?;
        broker.need_qos(2)?;
        let topic = broker.topic("t");
        let filter = format!("$share/g/{topic}");
        let mut member = broker.client()?;
        member.subscribe(&filter, 2)?;
        let mut publisher = broker.client()?;
        publisher.publish(publish(&topic, "one").qos(1))?;
        publisher.publish(publish(&topic, "two").qos(2))?;
        let one = member.expect_publish("one")?;
        let two = member.expect_publish("two")?;
        let mut other = broker.client()?;
        other.subscribe(&filter, 2)?;
        member.send(&Body::new().two(one.packet_id).byte(0x83).packet(0x40));
        member.send(&Body::new().two(two.packet_id).byte(0x83).packet(0x50));
        member.expect_silence()?;
        member.disconnect()?;
        other.expect_silence_after(&mut publisher)?;
    }

    /// [Q5-4.8.2-9] With no member connected, messages wait for a member whose session goes on.
    #[versions(V5)]
    fn messages_wait_for_an_absent_member(broker) {
        broker.need_quelea("what happens to a group with no member connected")?;
        let topic = broker.topic("t");
        let client_id = broker.id();
        let mut member = broker.connect(|it| it.client_id(&client_id).keep_session())?;
        member.subscribe(&format!("$share/g/{topic}"), 1)?;
        member.disconnect()?;
        broker.client()?.publish(publish(&topic, "x").qos(1))?;
        broker.connect(|it| it.client_id(&client_id).keep_session())?.take("x")?;
    }

    /// [Q4-4.7-1] Quelea's choice: 3.x clients can use shared subscriptions too.
    #[versions(V31, V311)]
    fn shared_subscriptions_work_in_v3(broker) {
        broker.need_quelea("3.x has no shared subscriptions")?;
        let topic = broker.topic("t");
        let mut members = Vec::new();
        for _ in 0..2 {
            let mut member = broker.client()?;
            member.subscribe(&format!("$share/g/{topic}"), 0)?;
            members.push(member);
        }
        let mut publisher = broker.client()?;
        for payload in ["1", "2", "3", "4"] {
            publisher.publish(publish(&topic, payload))?;
        }
        let got = collect(&mut members, &mut publisher)?;
        claim_eq("payloads", got, ["1", "2", "3", "4"].map(str::to_owned).to_vec())?;
    }

    /// [Q5-4.8.2-10] Quelea's choice: by default a member with fewer messages in flight is preferred.
    #[versions(V5)]
    fn idle_members_are_preferred(broker) {
        broker.need_quelea("which member gets a message")?;
        shares_work(broker)?;
    }
}

/// Two members, one of which acknowledges nothing: the other gets what follows.
#[track_caller]
fn shares_work(broker: &Broker<'_>) -> Outcome {
    let topic = broker.topic("t");
    let filter = format!("$share/g/{topic}");
    let mut lazy = broker.connect(|it| it.receive_maximum(1))?;
    lazy.subscribe(&filter, 1)?;
    let mut publisher = broker.client()?;
    publisher.publish(publish(&topic, "first").qos(1))?;
    lazy.expect_publish("first")?;
    let mut busy = broker.client()?;
    busy.subscribe(&filter, 1)?;
    for payload in ["2", "3", "4", "5"] {
        publisher.publish(publish(&topic, payload).qos(1))?;
        busy.take(payload)?;
        busy.ping()?;
    }
    claim(lazy.expect_silence().is_ok(), "the lazy member got more")
}

/// Returns the payloads that came to these members, sorted.
#[track_caller]
fn collect(members: &mut [Client], publisher: &mut Client) -> Outcome<Vec<String>> {
    let mut payloads = Vec::new();
    for member in members {
        let packets = member.drain_after(publisher)?;
        payloads.extend(packets.iter().filter_map(as_publish).map(|it| it.text()));
    }
    payloads.sort();
    Ok(payloads)
}
