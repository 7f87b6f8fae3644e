//! Messages of one publisher on one topic come in the order in which they were sent, at each quality of service.
//!
//! What comes for the first time is never older than what has come before. What comes again comes again in order:
//! on one connection nothing goes back, but to a QoS 1 message that its publisher has sent again and that is
//! therefore there twice. Retained messages, wills and shared subscriptions are not part of it.

use std::collections::HashMap;
use std::rc::Rc;

use super::Verdict;
use crate::facts::{Facts, Received, Session, certainly_subscribed};
use crate::history::ClientIndex;

/// What is in order: publisher, topic, quality of service from the publisher and to the receiver.
type Stream = (ClientIndex, Rc<str>, u8, u8);

pub(super) fn check(facts: &Facts<'_>, verdict: &mut Verdict) {
    for ((client, _), session) in &facts.sessions {
        let mut newest: HashMap<Stream, u32> = HashMap::new();
        let mut last: HashMap<(Stream, usize), u32> = HashMap::new();
        for (index, received) in session.receipts.iter().enumerate() {
            let Some(stream) = stream_of(facts, session, received) else { continue };
            let id = received.receipt.message;
            let is_first = session.by_message[&id][0] == index;
            let newest = newest.entry(stream.clone()).or_default();
            let last = last.insert((stream, received.connection), id.number);
            if is_first && id.number < *newest && !is_late_copy(facts, session, received) {
                let what = format!(
                    "{id} came to {client} for the first time after number {newest} (entry {})",
                    received.at
                );
                verdict.add("order", what, Some(id), Some(*client));
            } else if last.is_some_and(|last| id.number <= last) && !is_twice(facts, received) {
                let what =
                    format!("{id} came to {client} again, out of its turn (entry {})", received.at);
                verdict.add("order", what, Some(id), Some(*client));
            }
            *newest = id.number.max(*newest);
        }
    }
}

/// Returns the stream that a delivery is part of, if it is part of one.
fn stream_of(facts: &Facts<'_>, session: &Session, received: &Received) -> Option<Stream> {
    let receipt = &received.receipt;
    let message = facts.messages.get(&receipt.message)?;
    let is_shared = session.matching(&receipt.topic).any(|(it, _)| it.starts_with("$share/"));
    let is_ordered = !receipt.retain && !message.is_will && !is_shared;
    let publisher = receipt.message.publisher;
    is_ordered.then(|| (publisher, receipt.topic.clone(), message.publish.qos, receipt.qos))
}

/// Says whether what came may be the copy that the publisher sent last, because the session may not have been
/// subscribed yet when it was sent first.
fn is_late_copy(facts: &Facts<'_>, session: &Session, received: &Received) -> bool {
    let Some(message) = facts.messages.get(&received.receipt.message) else { return false };
    let first = message.sent[0];
    let last = message.sent.iter().rfind(|sent| **sent < received.at).copied().unwrap_or(first);
    let mut filters = session.matching(&received.receipt.topic);
    is_twice(facts, received)
        && !filters.any(|(_, changes)| certainly_subscribed(changes, first, last).is_some())
}

/// Says whether the broker may have a message twice, because its publisher has sent it again.
fn is_twice(facts: &Facts<'_>, received: &Received) -> bool {
    let message = facts.messages.get(&received.receipt.message);
    message.is_some_and(|message| message.copies_until(received.at) > 1)
}

#[cfg(test)]
mod tests {
    use crate::checker::testing::*;

    #[test]
    fn in_order() {
        let mut it = three_sent(1);
        it.receive(1, "m/a", 1);
        it.receive(2, "m/a", 1);
        it.receive(3, "m/a", 1);
        it.check(&[]);
    }

    #[test]
    fn out_of_order() {
        for qos in [1, 2] {
            let mut it = three_sent(qos);
            it.receive(1, "m/a", qos);
            it.receive(3, "m/a", qos);
            it.receive(2, "m/a", qos);
            it.check(&["order"]);
        }
    }

    #[test]
    fn out_of_order_over_a_crash() {
        let mut it = three_sent(2);
        it.receive(1, "m/a", 2);
        it.receive(3, "m/a", 2);
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.receive(2, "m/a", 2);
        it.check(&["order"]);
    }

    #[test]
    fn unacknowledged_comes_again_in_order() {
        let mut it = three_sent(1);
        it.receive(1, "m/a", 1);
        it.receive(2, "m/a", 1);
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.receive_again(1, "m/a", 1);
        it.receive_again(2, "m/a", 1);
        it.receive(3, "m/a", 1);
        it.check(&[]);
    }

    #[test]
    fn unacknowledged_comes_again_out_of_order() {
        let mut it = three_sent(1);
        it.receive(1, "m/a", 1);
        it.receive(2, "m/a", 1);
        it.receive(3, "m/a", 1);
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.receive_again(2, "m/a", 1);
        it.receive_again(1, "m/a", 1);
        it.check(&["order"]);
    }

    #[test]
    fn publisher_sends_again_in_order() {
        let mut it = Script::with_subscription("m/#", 1);
        it.publish(1, "m/a", 1);
        it.publish(2, "m/a", 1);
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.resume(PUBLISHER, true);
        it.publish_again(1, "m/a", 1);
        it.publish_again(2, "m/a", 1);
        for number in [1, 2, 1, 2] {
            it.receive(number, "m/a", 1);
        }
        it.check(&[]);
    }

    #[test]
    fn subscription_came_between_first_sending_and_second() {
        let mut it = Script::new();
        it.connect(SUBSCRIBER);
        it.publish(1, "m/a", 1);
        it.subscribe("m/#", 1);
        it.publish(2, "m/a", 1);
        it.receive(2, "m/a", 1);
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.resume(PUBLISHER, true);
        it.publish_again(1, "m/a", 1);
        it.publish_again(2, "m/a", 1);
        it.receive(1, "m/a", 1);
        it.receive(2, "m/a", 1);
        it.check(&[]);
    }

    #[test]
    fn topics_are_apart() {
        let mut it = Script::with_subscription("m/#", 1);
        it.publish(1, "m/a", 1);
        it.publish(2, "m/b", 1);
        it.receive(2, "m/b", 1);
        it.receive(1, "m/a", 1);
        it.check(&[]);
    }

    fn three_sent(qos: u8) -> Script {
        let mut it = Script::with_subscription("m/#", qos);
        for number in [1, 2, 3] {
            it.publish(number, "m/a", qos);
            it.accept(number);
        }
        // What is missing is for another rule.
        it.forgive("loss");
        it
    }
}
