//! A shared subscription gets every acknowledged message: some member of the group has it, and at QoS 2 only one.
//!
//! Judged for groups of which a member was certainly subscribed while the message went round, and is there at the
//! end.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::Verdict;
use crate::facts::{Change, Facts, Session, certainly_subscribed, matches};
use crate::history::ClientIndex;

/// The members of a group that are there at the end.
type Members<'a> = Vec<(ClientIndex, &'a Session)>;

pub(super) fn check(facts: &Facts<'_>, verdict: &mut Verdict) {
    let mut groups: BTreeMap<Rc<str>, Members<'_>> = BTreeMap::new();
    for (client, session) in facts.final_sessions() {
        for filter in session.filters.keys().filter(|filter| filter.starts_with("$share/")) {
            groups.entry(filter.clone()).or_default().push((client, session));
        }
    }
    for (filter, members) in &groups {
        check_group(facts, filter, members, verdict);
    }
}

fn check_group(facts: &Facts<'_>, filter: &Rc<str>, members: &Members<'_>, verdict: &mut Verdict) {
    for (id, message) in &facts.messages {
        let Some(accepted) = message.accepted else { continue };
        if !matches(filter, &message.publish.topic) {
            continue;
        }
        let is_owed = members.iter().any(|(_, session)| {
            let qos = certainly_subscribed(&session.filters[filter], message.sent[0], accepted);
            qos.is_some_and(|qos| qos > 0)
        });
        let having: Vec<_> =
            members.iter().filter(|(_, session)| session.by_message.contains_key(id)).collect();
        if is_owed {
            verdict.figures.shared += 1;
            if having.is_empty() {
                let what = format!("{id} on {} never came to {filter}", message.publish.topic);
                verdict.add("shared", what, Some(*id), None);
            }
        }
        // At QoS 1 a member that leaves the group hands on what it has not acknowledged.
        let is_handed_on =
            message.publish.qos == 1 && having.iter().any(|(_, session)| has_left(session, filter));
        if having.len() > message.copies_until(usize::MAX) && !is_handed_on {
            let what = format!("{id} came to {} members of {filter}", having.len());
            verdict.add("shared", what, Some(*id), having.first().map(|(client, _)| *client));
        }
    }
}

fn has_left(session: &Session, filter: &Rc<str>) -> bool {
    session.filters[filter].iter().any(|change| matches!(change, Change::UnsubscribeSent(_)))
}

#[cfg(test)]
mod tests {
    use crate::checker::testing::*;

    #[test]
    fn one_member_has_it() {
        let mut it = group(1);
        it.check(&["shared"]);
        it.receive(1, "s/a", 1);
        it.check(&[]);
    }

    #[test]
    fn two_members_have_it() {
        let mut it = group(2);
        it.receive(1, "s/a", 2);
        it.receive_by(OTHER, 1, "s/a", 2);
        it.check(&["shared"]);
    }

    #[test]
    fn two_members_have_what_was_sent_twice() {
        let mut it = group_before(1);
        it.publish(1, "s/a", 1);
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.resume(OTHER, true);
        it.resume(PUBLISHER, true);
        it.publish_again(1, "s/a", 1);
        it.accept(1);
        it.receive(1, "s/a", 1);
        it.receive_by(OTHER, 1, "s/a", 1);
        it.check(&[]);
    }

    fn group(qos: u8) -> Script {
        let mut it = group_before(qos);
        it.publish(1, "s/a", qos);
        it.accept(1);
        it
    }

    fn group_before(qos: u8) -> Script {
        let mut it = Script::with_subscription("$share/g/s/#", qos);
        it.connect(OTHER);
        it.subscribe_by(OTHER, "$share/g/s/#", qos);
        it
    }
}
