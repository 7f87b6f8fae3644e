//! Nothing comes twice: at QoS 2 never, at QoS 1 only what was left unacknowledged on either side.
//!
//! A publisher that did not learn that its QoS 1 message was taken sends it again, and that is another message
//! to the broker: there may be as many copies as it was sent. The broker in turn may send a copy again on a later
//! connection if it cannot know that the client has it: because the client did not acknowledge it, or because the
//! acknowledgement was lost in a crash.
//!
//! How far the delivery of retained messages has come at QoS 0 is acknowledged by nobody: what came just before a
//! crash may come again.

use super::Verdict;
use crate::facts::{Change, Connection, Facts, Message, Received, Session};
use crate::history::{ClientIndex, MessageId};

pub(super) fn check(facts: &Facts<'_>, verdict: &mut Verdict) {
    for ((client, _), session) in &facts.sessions {
        for (id, receipts) in &session.by_message {
            let Some(message) = facts.messages.get(id) else {
                let what = format!("{id} came to {client}, but nobody has sent it");
                verdict.add("duplicates", what, Some(*id), Some(*client));
                continue;
            };
            let receipts = receipts.iter().map(|index| &session.receipts[*index]);
            let (retained, live): (Vec<_>, Vec<_>) = receipts.partition(|it| it.receipt.retain);
            let copies = |at| message.copies_until(at);
            check_one(facts, *client, *id, &live, &copies, verdict);
            let copies = |at| subscriptions(session, message, at);
            check_one(facts, *client, *id, &retained, &copies, verdict);
        }
    }
}

/// Checks the deliveries of one message to one session. Until `at` there were `copies_until(at)` of it.
fn check_one(
    facts: &Facts<'_>,
    client: ClientIndex,
    id: MessageId,
    receipts: &[&Received],
    copies_until: &dyn Fn(usize) -> usize,
    verdict: &mut Verdict,
) {
    for (index, received) in receipts.iter().enumerate() {
        let before = &receipts[..index];
        let is_again = received.receipt.qos == 1;
        let gone = before.iter().filter(|it| is_done(facts, client, it, received));
        let copies = copies_until(received.at);
        if gone.count() + 1 > copies {
            let qos = received.receipt.qos;
            let what = format!(
                "{id} came to {client} once more at QoS {qos} (entry {}), of {copies} copies",
                received.at
            );
            verdict.add("duplicates", what, Some(id), Some(client));
            return;
        }
        // [MQTT-3.3.1-1]: without DUP each copy is sent once.
        let first = before.iter().filter(|it| !it.receipt.dup);
        if is_again && !received.receipt.dup && first.count() >= copies {
            let what =
                format!("{id} was sent to {client} again without DUP (entry {})", received.at);
            verdict.add("duplicates", what, Some(id), Some(client));
        }
    }
}

/// Says whether the broker knew that a delivery was done when it made a later one, so that this was another copy.
fn is_done(facts: &Facts<'_>, client: ClientIndex, earlier: &Received, later: &Received) -> bool {
    let connections = &facts.connections[&client];
    let (before, after) = (&connections[earlier.connection], &connections[later.connection]);
    let id = earlier.receipt.message;
    match earlier.receipt.qos {
        _ if earlier.connection == later.connection => true,
        0 if earlier.receipt.retain => is_kept(facts, earlier.at, earlier.at, after),
        1 => before.acks.iter().any(|(sent, acked)| {
            let read = facts.read_at(before, *sent).filter(|_| *acked == id);
            read.is_some_and(|read| is_kept(facts, *sent, read, after))
        }),
        _ => true,
    }
}

/// Says whether what the broker did between `from` and `until` was on its disk before a crash, and known when the
/// client came back with the connection `after`.
fn is_kept(facts: &Facts<'_>, from: usize, until: usize, after: &Connection) -> bool {
    // What the client read last, a broker may have sent that was dead by then.
    let mut crashes = facts.kills.iter().filter(|kill| (from..after.sent).contains(kill));
    crashes.next().is_none_or(|kill| facts.is_long_before(until, *kill))
}

/// Returns how often a retained message may have been owed until `at`: once to each new subscription.
fn subscriptions(session: &Session, message: &Message, at: usize) -> usize {
    let changes = session.matching(&message.publish.topic).flat_map(|(_, changes)| changes);
    changes.filter(|it| matches!(it, Change::SubscribeSent(sent, _) if *sent < at)).count()
}

#[cfg(test)]
mod tests {
    use crate::checker::testing::*;

    #[test]
    fn twice_on_one_connection() {
        for qos in [1, 2] {
            let mut it = delivered(qos);
            it.receive(1, "m/a", qos);
            it.check(&["duplicates", "order"]);
        }
    }

    #[test]
    fn twice_at_qos_2_over_a_crash() {
        let mut it = delivered(2);
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.receive_again(1, "m/a", 2);
        it.check(&["duplicates"]);
    }

    #[test]
    fn unacknowledged_at_qos_1_comes_again() {
        let mut it = delivered(1);
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.receive_again(1, "m/a", 1);
        it.check(&[]);
    }

    #[test]
    fn what_comes_again_has_dup() {
        let mut it = delivered(1);
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.receive(1, "m/a", 1);
        it.check(&["duplicates"]);
    }

    #[test]
    fn second_copy_comes_without_dup() {
        let mut it = Script::with_subscription("m/#", 1);
        it.publish(1, "m/a", 1);
        it.receive(1, "m/a", 1);
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.receive_again(1, "m/a", 1);
        it.resume(PUBLISHER, true);
        it.publish_again(1, "m/a", 1);
        it.receive(1, "m/a", 1);
        it.check(&[]);
    }

    #[test]
    fn acknowledgement_on_its_way_is_lost_in_a_crash() {
        let mut it = delivered(1);
        it.ack(1);
        it.wait(5_000);
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.receive_again(1, "m/a", 1);
        it.check(&[]);
    }

    #[test]
    fn acknowledgement_that_was_read_long_before_is_not_lost() {
        let mut it = delivered(1);
        it.ack(1);
        it.ping(SUBSCRIBER);
        it.wait(5_000);
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.receive_again(1, "m/a", 1);
        it.check(&["duplicates"]);
    }

    #[test]
    fn acknowledgement_that_was_just_read_may_be_lost() {
        let mut it = delivered(1);
        it.ack(1);
        it.ping(SUBSCRIBER);
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.receive_again(1, "m/a", 1);
        it.check(&[]);
    }

    #[test]
    fn answer_that_is_read_after_a_crash_was_sent_just_before() {
        let mut it = delivered(1);
        it.ack(1);
        it.ping_sent(SUBSCRIBER);
        it.kill();
        it.pinged(SUBSCRIBER);
        it.restart();
        it.resume(SUBSCRIBER, true);
        it.receive_again(1, "m/a", 1);
        it.check(&[]);
    }

    #[test]
    fn acknowledgement_before_a_good_bye_is_not_lost_without_a_crash() {
        let mut it = delivered(1);
        it.ack(1);
        it.disconnect(SUBSCRIBER);
        it.resume(SUBSCRIBER, true);
        it.receive_again(1, "m/a", 1);
        it.check(&["duplicates"]);
    }

    #[test]
    fn publisher_sends_again_what_was_not_acknowledged() {
        let mut it = Script::with_subscription("m/#", 1);
        it.publish(1, "m/a", 1);
        it.receive(1, "m/a", 1);
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.resume(PUBLISHER, true);
        it.publish_again(1, "m/a", 1);
        it.receive(1, "m/a", 1);
        it.check(&[]);
        it.receive(1, "m/a", 1);
        it.check(&["duplicates"]);
    }

    #[test]
    fn publisher_at_qos_2_makes_no_second_copy() {
        let mut it = Script::with_subscription("m/#", 2);
        it.publish(1, "m/a", 2);
        it.receive(1, "m/a", 2);
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.resume(PUBLISHER, true);
        it.publish_again(1, "m/a", 2);
        it.receive(1, "m/a", 2);
        it.check(&["duplicates"]);
    }

    #[test]
    fn retained_at_qos_0_comes_again_after_a_crash_only() {
        for (is_crash, expected) in [(true, &[][..]), (false, &["duplicates"])] {
            let mut it = Script::new();
            it.connect(SUBSCRIBER);
            it.retain(1, "r/a", 0);
            it.subscribe("r/#", 0);
            it.receive_retained(1, "r/a", 0);
            if is_crash {
                it.crash();
            }
            it.resume(SUBSCRIBER, true);
            it.receive_retained(1, "r/a", 0);
            it.check(expected);
        }
    }

    #[test]
    fn nobody_has_sent_it() {
        let mut it = Script::with_subscription("m/#", 1);
        it.receive(7, "m/a", 1);
        it.check(&["duplicates", "resurrection"]);
    }

    fn delivered(qos: u8) -> Script {
        let mut it = Script::with_subscription("m/#", qos);
        it.publish(1, "m/a", qos);
        it.accept(1);
        it.receive(1, "m/a", qos);
        it
    }
}
