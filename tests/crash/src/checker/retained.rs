//! No retained message rises again: what a new subscription is sent is not older than what was acknowledged
//! before the subscription was asked for, and never comes after newer messages of its topic.
//!
//! An exception: what was in the queue and left it unsent, because it was not the latest any more, may have been sent
//! as far as a broker knows after a crash. Then it comes with DUP, and what is newer comes again after it.
//!
//! That no retained message is missing is looked at while the campaign runs: see `inspection`.
//!
//! Each topic has one publisher, whose messages have rising numbers.

use std::collections::HashMap;
use std::rc::Rc;

use super::Verdict;
use crate::facts::{Change, Facts, Message, Received, Session};
use crate::history::MessageId;

pub(super) fn check(facts: &Facts<'_>, verdict: &mut Verdict) {
    let shelf = Shelf::new(facts);
    for ((client, _), session) in &facts.sessions {
        // Of each topic, the newest message that came live and that outlives a crash.
        let mut newest: HashMap<&str, MessageId> = HashMap::new();
        for (index, received) in session.receipts.iter().enumerate() {
            let receipt = &received.receipt;
            let id = receipt.message;
            let Some(message) = facts.messages.get(&id) else { continue };
            if !message.publish.retain {
                continue;
            }
            let topic = &*receipt.topic;
            if !receipt.retain {
                if message.publish.qos > 0
                    && newest.get(topic).is_none_or(|it| it.number < id.number)
                {
                    newest.insert(topic, id);
                }
                continue;
            }
            let is_first = session.by_message[&id][0] == index;
            let newer = newest.get(topic).filter(|newer| {
                is_first
                    && newer.number > id.number
                    && !is_made_good(facts, session, index, **newer)
            });
            if let Some(newer) = newer {
                let what = format!("retained {id} on {topic} came to {client} after {newer}");
                verdict.add("retained", what, Some(id), Some(*client));
            }
            if let Some(newer) = shelf.replaced_by(facts, session, received) {
                let what = format!(
                    "retained {id} on {topic} came to {client} (entry {}), but {newer} had replaced it",
                    received.at
                );
                verdict.add("retained", what, Some(id), Some(*client));
            }
            if message.publish.is_clear {
                let what =
                    format!("{client} got the removal {id} of {topic} as a retained message");
                verdict.add("retained", what, Some(id), Some(*client));
            }
        }
    }
}

/// Says whether an old message came because of a crash, and a newer one again after it, if the session has lived on.
fn is_made_good(facts: &Facts<'_>, session: &Session, index: usize, newer: MessageId) -> bool {
    let (old, later) = (&session.receipts[index], &session.receipts[index + 1..]);
    let is_newer = |it: &Received| {
        it.receipt.topic == old.receipt.topic && it.receipt.message.number >= newer.number
    };
    let lives_on = facts.final_sessions().any(|(_, it)| std::ptr::eq(it, session));
    old.receipt.dup && (!lives_on || later.iter().any(is_newer))
}

/// The retained messages of each topic, in the order of their publication.
struct Shelf<'a>(HashMap<Rc<str>, Vec<&'a Message>>);

impl<'a> Shelf<'a> {
    fn new(facts: &'a Facts<'_>) -> Self {
        let mut topics: HashMap<Rc<str>, Vec<&Message>> = HashMap::new();
        for message in facts.messages.values().filter(|it| it.publish.retain) {
            topics.entry(message.publish.topic.clone()).or_default().push(message);
        }
        Self(topics)
    }

    /// Returns the message that had certainly replaced a retained message before the session asked for it last.
    fn replaced_by(
        &self,
        facts: &Facts<'_>,
        session: &Session,
        received: &Received,
    ) -> Option<MessageId> {
        let receipt = &received.receipt;
        let changes = session.matching(&receipt.topic).flat_map(|(_, changes)| changes);
        let asked = changes.filter_map(|change| match change {
            Change::SubscribeSent(at, _) if *at < received.at => Some(*at),
            Change::SubscribeSent(..)
            | Change::Subscribed(_)
            | Change::UnsubscribeSent(_)
            | Change::Unsubscribed(_) => None,
        });
        // What came because of an earlier request may come late, and may come again.
        let asked = asked.min()?;
        let last_sent = *facts.messages.get(&receipt.message)?.sent.last()?;
        let newer = self.0.get(&receipt.topic)?.iter().filter(|it| {
            // What was sent again after it may have been taken again after it.
            it.sent[0] > last_sent
                && it.accepted.is_some_and(|accepted| facts.is_long_before(accepted, asked))
        });
        newer.map(|it| it.publish.message).next()
    }
}

#[cfg(test)]
mod tests {
    use crate::checker::testing::*;

    #[test]
    fn current_value_comes() {
        let mut it = two_published();
        it.subscribe("r/#", 1);
        it.receive_retained(2, "r/a", 1);
        it.check(&[]);
    }

    #[test]
    fn replaced_value_rises_again() {
        let mut it = two_published();
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.subscribe("r/#", 1);
        it.receive_retained(1, "r/a", 1);
        it.check(&["retained"]);
    }

    #[test]
    fn removed_value_rises_again() {
        let mut it = two_published();
        it.clear(3, "r/a");
        it.accept(3);
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.subscribe("r/#", 1);
        it.receive_retained(2, "r/a", 1);
        it.check(&["retained"]);
    }

    #[test]
    fn value_whose_replacement_was_not_acknowledged_may_come() {
        let mut it = two_published();
        it.retain(3, "r/a", 1);
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.subscribe("r/#", 1);
        it.receive_retained(2, "r/a", 1);
        it.check(&[]);
    }

    #[test]
    fn value_that_was_sent_again_after_its_replacement_may_come() {
        let mut it = Script::new();
        it.connect(SUBSCRIBER);
        it.retain(1, "r/a", 1);
        it.retain(2, "r/a", 2);
        it.accept(2);
        it.leave(PUBLISHER);
        it.resume(PUBLISHER, true);
        it.retain(1, "r/a", 1);
        it.accept(1);
        it.wait(5_000);
        it.subscribe("r/#", 1);
        it.receive_retained(1, "r/a", 1);
        it.check(&[]);
    }

    #[test]
    fn older_value_after_a_newer_message() {
        let mut it = two_published();
        it.subscribe("r/#", 1);
        it.retain(3, "r/a", 1);
        it.receive(3, "r/a", 1);
        it.receive_retained(2, "r/a", 1);
        it.check(&["retained"]);
    }

    #[test]
    fn older_value_before_the_newer_one_again_after_a_crash() {
        let mut it = two_published();
        it.subscribe("r/#", 1);
        it.retain(3, "r/a", 1);
        it.receive(3, "r/a", 1);
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.receive_retained_again(2, "r/a", 1);
        it.check(&["retained"]);
        it.receive_again(3, "r/a", 1);
        it.check(&[]);
    }

    #[test]
    fn twice_for_one_subscription_at_qos_2() {
        let mut it = two_published();
        it.subscribe("r/#", 2);
        it.receive_retained(2, "r/a", 2);
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.receive_retained(2, "r/a", 2);
        it.check(&["duplicates"]);
    }

    fn two_published() -> Script {
        let mut it = Script::new();
        it.connect(SUBSCRIBER);
        for number in [1, 2] {
            it.retain(number, "r/a", 2);
            it.accept(number);
        }
        it.wait(5_000);
        it
    }
}
