//! No subscription and no session rises again: what comes was asked for by a subscription of this very session
//! that may have been in force while the message went round.

use super::Verdict;
use crate::facts::{Facts, Message, Received, Session, possibly_subscribed};

pub(super) fn check(facts: &Facts<'_>, verdict: &mut Verdict) {
    for ((client, _), session) in &facts.sessions {
        for received in &session.receipts {
            let id = received.receipt.message;
            let is_possible = facts
                .messages
                .get(&id)
                .is_some_and(|message| is_possible(facts, session, message, received));
            if !is_possible {
                let what = format!(
                    "{id} on {} came to {client}, which had no subscription for it (entry {})",
                    received.receipt.topic, received.at
                );
                verdict.add("resurrection", what, Some(id), Some(*client));
            }
        }
    }
}

fn is_possible(
    facts: &Facts<'_>,
    session: &Session,
    message: &Message,
    received: &Received,
) -> bool {
    if message.publish.topic != received.receipt.topic {
        return false;
    }
    let sent = message.sent[0];
    session.matching(&message.publish.topic).any(|(filter, changes)| {
        // A group may hand a message on later, and a retained message is there when the subscription comes.
        let is_timeless = filter.starts_with("$share/") || received.receipt.retain;
        let until = if is_timeless { received.at } else { went_round(facts, message, received) };
        possibly_subscribed(changes, sent, until)
    })
}

/// Returns until when a message may have been on its way to the queues of subscribers, as far as that matters to
/// one that had it at `received`.
fn went_round(facts: &Facts<'_>, message: &Message, received: &Received) -> usize {
    // Of a will, nobody is told when it goes round.
    message.accepted.map_or(received.at, |accepted| facts.long_after(accepted).min(received.at))
}

#[cfg(test)]
mod tests {
    use crate::checker::testing::*;

    #[test]
    fn never_subscribed() {
        let mut it = Script::with_subscription("m/#", 1);
        it.publish(1, "n/a", 1);
        it.receive(1, "n/a", 1);
        it.check(&["resurrection"]);
    }

    #[test]
    fn on_another_topic() {
        let mut it = Script::with_subscription("m/#", 1);
        it.publish(1, "m/a", 1);
        it.receive(1, "m/b", 1);
        it.check(&["resurrection"]);
    }

    #[test]
    fn subscription_that_had_ended() {
        let mut it = unsubscribed();
        it.publish(1, "m/a", 1);
        it.receive(1, "m/a", 1);
        it.check(&["resurrection"]);
    }

    #[test]
    fn subscription_that_had_ended_before_a_crash() {
        let mut it = unsubscribed();
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.publish(1, "m/a", 1);
        it.accept(1);
        it.receive(1, "m/a", 1);
        it.check(&["resurrection"]);
    }

    #[test]
    fn subscription_whose_end_was_not_answered() {
        let mut it = Script::with_subscription("m/#", 1);
        it.unsubscribe_sent("m/#");
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.publish(1, "m/a", 1);
        it.receive(1, "m/a", 1);
        it.check(&[]);
    }

    #[test]
    fn sent_before_the_end_of_the_subscription() {
        let mut it = Script::with_subscription("m/#", 1);
        it.publish(1, "m/a", 1);
        it.unsubscribe_sent("m/#");
        it.unsubscribed("m/#");
        it.receive(1, "m/a", 1);
        it.check(&[]);
    }

    #[test]
    fn message_of_the_session_before() {
        let mut it = Script::with_subscription("m/#", 1);
        it.publish(1, "m/a", 1);
        it.accept(1);
        it.leave(SUBSCRIBER);
        it.crash();
        it.connect_clean(SUBSCRIBER);
        it.subscribe_sent("m/#", 1);
        it.subscribed("m/#");
        it.receive(1, "m/a", 1);
        it.check(&["resurrection"]);
    }

    #[test]
    fn subscription_of_the_session_before() {
        let mut it = Script::with_subscription("m/#", 1);
        it.leave(SUBSCRIBER);
        it.connect_clean(SUBSCRIBER);
        it.publish(1, "m/a", 1);
        it.receive(1, "m/a", 1);
        it.check(&["resurrection"]);
    }

    fn unsubscribed() -> Script {
        let mut it = Script::with_subscription("m/#", 1);
        it.unsubscribe_sent("m/#");
        it.unsubscribed("m/#");
        it
    }
}
