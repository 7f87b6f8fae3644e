//! Nothing acknowledged is lost: a message that the broker took reaches every session that was certainly
//! subscribed from before the message was sent until after it was acknowledged.
//!
//! Judged for sessions that are there, with their client, at the end. One that has ended took what it was owed
//! with it.

use super::Verdict;
use crate::facts::{Facts, certainly_subscribed};

pub(super) fn check(facts: &Facts<'_>, verdict: &mut Verdict) {
    for (client, session) in facts.final_sessions() {
        for (id, message) in &facts.messages {
            let Some(accepted) = message.accepted else { continue };
            let sent = message.sent[0];
            let is_owed = session.matching(&message.publish.topic).any(|(filter, changes)| {
                !filter.starts_with("$share/")
                    && certainly_subscribed(changes, sent, accepted).is_some_and(|qos| qos > 0)
            });
            if !is_owed {
                continue;
            }
            verdict.figures.owed += 1;
            if !session.by_message.contains_key(id) {
                let what = format!("{id} on {} never came to {client}", message.publish.topic);
                verdict.add("loss", what, Some(*id), Some(client));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::checker::testing::*;

    #[test]
    fn what_is_acknowledged_comes() {
        let mut it = Script::with_subscription("m/#", 1);
        it.publish(1, "m/a", 1);
        it.accept(1);
        it.receive(1, "m/a", 1);
        it.check(&[]);
    }

    #[test]
    fn what_is_acknowledged_and_never_comes_is_lost() {
        let mut it = Script::with_subscription("m/#", 1);
        it.publish(1, "m/a", 1);
        it.accept(1);
        it.check(&["loss"]);
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.check(&["loss"]);
    }

    #[test]
    fn what_is_acknowledged_may_come_after_a_crash() {
        let mut it = Script::with_subscription("m/#", 2);
        it.publish(1, "m/a", 2);
        it.accept(1);
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.check(&["loss"]);
        it.receive(1, "m/a", 2);
        it.check(&[]);
    }

    #[test]
    fn what_is_not_acknowledged_may_be_lost() {
        let mut it = Script::with_subscription("m/#", 1);
        it.publish(1, "m/a", 1);
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.check(&[]);
    }

    #[test]
    fn a_subscription_in_the_making_or_going_is_owed_nothing() {
        let mut it = Script::new();
        it.connect(SUBSCRIBER);
        it.subscribe_sent("m/#", 1);
        it.publish(1, "m/a", 1);
        it.subscribed("m/#");
        it.accept(1);
        it.publish(2, "m/a", 1);
        it.unsubscribe_sent("m/#");
        it.accept(2);
        it.check(&[]);
    }

    #[test]
    fn an_unsubscription_after_the_acknowledgement_comes_too_late() {
        let mut it = Script::with_subscription("m/#", 1);
        it.publish(1, "m/a", 1);
        it.accept(1);
        it.unsubscribe_sent("m/#");
        it.unsubscribed("m/#");
        it.check(&["loss"]);
    }

    #[test]
    fn qos_0_is_owed_to_nobody() {
        let mut it = Script::with_subscription("m/#", 0);
        it.publish(1, "m/a", 1);
        it.accept(1);
        it.check(&[]);
    }

    #[test]
    fn a_session_that_has_ended_is_owed_nothing() {
        let mut it = Script::with_subscription("m/#", 1);
        it.publish(1, "m/a", 1);
        it.accept(1);
        it.leave(SUBSCRIBER);
        it.connect_clean(SUBSCRIBER);
        it.check(&[]);
    }
}
