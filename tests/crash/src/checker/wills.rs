//! A will is published exactly once, or not at all if its client said good-bye or came back in time.
//!
//! Seen by the sessions that were certainly subscribed to its topic before its CONNECT was sent, and that are
//! there at the end.

use super::Verdict;
use crate::facts::{Connection, Facts, Lost, PLENTY_OF_TIME_MILLIS, Session, certainly_subscribed};
use crate::history::{ClientIndex, Will};

/// What has to become of a will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is published.
    Published,
    /// It is not.
    Withdrawn,
    /// Either is right.
    Open,
}

pub(super) fn check(facts: &Facts<'_>, verdict: &mut Verdict) {
    let watchers: Vec<(ClientIndex, &Session)> = facts.final_sessions().collect();
    for connections in facts.connections.values() {
        for (index, connection) in connections.iter().enumerate() {
            let Some(will) = &connection.connect.will else { continue };
            let case = Case::new(facts, connection, &connections[index + 1..], will);
            let fate = case.fate();
            match fate {
                Fate::Published => verdict.figures.wills_owed += 1,
                Fate::Withdrawn => verdict.figures.wills_withdrawn += 1,
                Fate::Open => {}
            }
            for (watcher, session) in &watchers {
                check_one(facts, &case, fate, *watcher, session, verdict);
            }
        }
    }
}

fn check_one(
    facts: &Facts<'_>,
    case: &Case<'_>,
    fate: Fate,
    watcher: ClientIndex,
    session: &Session,
    verdict: &mut Verdict,
) {
    let id = case.will.message;
    let receipt = session.by_message.get(&id).map(|all| &session.receipts[all[0]]);
    let is_watching = session.matching(&case.will.topic).any(|(_, changes)| {
        certainly_subscribed(changes, case.connection.sent, usize::MAX).is_some_and(|qos| qos > 0)
    });
    let what = match (fate, receipt) {
        (Fate::Published, None) if is_watching => format!("will {id} never came to {watcher}"),
        (Fate::Withdrawn, Some(received)) => {
            format!("will {id} came to {watcher} (entry {}), though it was withdrawn", received.at)
        }
        (Fate::Published | Fate::Open, Some(received))
            if facts.millis(received.at) < case.earliest_millis() =>
        {
            format!("will {id} came to {watcher} (entry {}) before its delay was over", received.at)
        }
        (Fate::Published | Fate::Withdrawn | Fate::Open, _) => return,
    };
    verdict.add("wills", what, Some(id), Some(watcher));
}

/// A will, and what came after the connection that had it.
struct Case<'a> {
    facts: &'a Facts<'a>,
    connection: &'a Connection,
    later: &'a [Connection],
    will: &'a Will,
    lost: Lost,
    /// The delay that counts, which the session's end cuts short.
    delay_millis: u64,
}

impl<'a> Case<'a> {
    fn new(
        facts: &'a Facts<'a>,
        connection: &'a Connection,
        later: &'a [Connection],
        will: &'a Will,
    ) -> Self {
        let next = later.first().map(|next| next.sent);
        let old_expiry_secs = connection.connect.expiry_secs;
        let expiry_secs = match connection.new_expiry_secs {
            Some(new) if facts.parted_at(connection).is_some() => new,
            // Whether the good-bye was read nobody knows.
            Some(new) => new.min(old_expiry_secs),
            None => old_expiry_secs,
        };
        Self {
            facts,
            connection,
            later,
            will,
            lost: facts.lost(connection, next),
            delay_millis: u64::from(will.delay_secs.min(expiry_secs)) * 1_000,
        }
    }

    fn fate(&self) -> Fate {
        let facts = self.facts;
        if self.connection.accepted.is_none() || self.connection.ended.is_none() {
            return Fate::Open;
        }
        let is_parted = facts.parted_at(self.connection).is_some();
        match self.connection.disconnect {
            Some((_, false)) if is_parted => return Fate::Withdrawn,
            // Whether the good-bye was read nobody knows.
            Some(_) if !is_parted => return Fate::Open,
            Some(_) | None => {}
        }
        if self.is_due_while_away() {
            return Fate::Published;
        }
        let Some(back) = self.later.iter().find_map(|it| Some((it, it.accepted?))) else {
            return Fate::Open;
        };
        let (returned, (accepted, session_present)) = back;
        let is_in_time =
            facts.millis(accepted) < self.lost.earliest.saturating_add(self.delay_millis);
        if session_present && is_in_time && !self.may_have_been_replaced(returned) {
            return Fate::Withdrawn;
        }
        // The session's end is the end of the delay; but when it was the broker that was away, nobody has died.
        if returned.connect.clean_start && !self.lost.is_cut {
            return Fate::Published;
        }
        Fate::Open
    }

    /// Says whether the will was due with the broker running and its client away, for plenty of time.
    fn is_due_while_away(&self) -> bool {
        let facts = self.facts;
        let due = self.lost.latest.saturating_add(self.delay_millis);
        let back = self.later.first().map_or(facts.end_millis(), |next| facts.millis(next.sent));
        let lives = facts.starts.iter().map(|start| {
            let end = facts.kills.iter().find(|kill| *kill > start);
            (facts.millis(*start), end.map_or(facts.end_millis(), |end| facts.millis(*end)))
        });
        lives.into_iter().any(|(start, end)| {
            due.max(start).saturating_add(PLENTY_OF_TIME_MILLIS) <= end.min(back)
        })
    }

    /// Says whether an attempt to connect, of which the client has seen no end, may have ended the session before
    /// the client came back.
    fn may_have_been_replaced(&self, returned: &Connection) -> bool {
        let attempts = self.later.iter().take_while(|it| it.sent < returned.sent);
        attempts.into_iter().any(|it| it.connect.clean_start || it.connect.expiry_secs == 0)
    }

    /// Returns the first moment at which the will may be published.
    fn earliest_millis(&self) -> u64 {
        let due = self.lost.earliest.saturating_add(self.delay_millis);
        // Whoever ends the session ends the delay.
        let next = self.later.first().map_or(u64::MAX, |next| self.facts.millis(next.sent));
        due.min(next)
    }
}

#[cfg(test)]
mod tests {
    use crate::checker::testing::*;

    #[test]
    fn published_once() {
        let mut it = lost(1);
        it.wait(30_000);
        it.check(&["wills"]);
        it.receive_will(1);
        it.check(&[]);
        it.receive_will(1);
        it.check(&["duplicates"]);
    }

    #[test]
    fn published_before_its_delay_is_over() {
        let mut it = lost(5);
        it.receive_will(1);
        it.wait(30_000);
        it.check(&["wills"]);
    }

    #[test]
    fn client_was_back_in_time() {
        let mut it = lost(5);
        it.resume(PUBLISHER, true);
        it.wait(30_000);
        it.check(&[]);
        it.receive_will(1);
        it.check(&["wills"]);
    }

    #[test]
    fn client_was_back_too_late() {
        let mut it = lost(1);
        it.wait(10_000);
        it.resume(PUBLISHER, true);
        it.wait(10_000);
        it.check(&["wills"]);
        it.receive_will(1);
        it.check(&[]);
    }

    #[test]
    fn clean_start_ends_the_delay() {
        let mut it = lost(60);
        it.wait(5_000);
        it.connect_clean(PUBLISHER);
        it.check(&["wills"]);
        it.receive_will(1);
        it.check(&[]);
    }

    #[test]
    fn good_bye_withdraws() {
        let mut it = Script::with_subscription("w/#", 2);
        it.connect_with_will(PUBLISHER, 1, 0);
        it.disconnect(PUBLISHER);
        it.wait(30_000);
        it.check(&[]);
        it.receive_will(1);
        it.check(&["wills"]);
    }

    #[test]
    fn good_bye_may_be_lost_in_a_crash() {
        let mut it = Script::with_subscription("w/#", 2);
        it.connect_with_will(PUBLISHER, 1, 0);
        it.disconnect_unanswered(PUBLISHER);
        it.crash();
        it.wait(30_000);
        it.resume(SUBSCRIBER, true);
        it.check(&[]);
        it.receive_will(1);
        it.check(&[]);
    }

    #[test]
    fn crash_makes_the_client_lost_after_a_grace() {
        let mut it = Script::with_grace(2_000);
        it.connect(SUBSCRIBER);
        it.subscribe("w/#", 2);
        it.connect_with_will(PUBLISHER, 1, 1);
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.wait(30_000);
        it.check(&["wills"]);
        it.receive_will(1);
        it.check(&[]);
    }

    #[test]
    fn client_is_back_within_the_grace() {
        let mut it = Script::with_grace(2_000);
        it.connect(SUBSCRIBER);
        it.subscribe("w/#", 2);
        it.connect_with_will(PUBLISHER, 1, 0);
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.resume(PUBLISHER, true);
        it.wait(30_000);
        it.check(&[]);
        it.receive_will(1);
        it.check(&["wills"]);
    }

    fn lost(delay_secs: u32) -> Script {
        let mut it = Script::with_subscription("w/#", 2);
        it.connect_with_will(PUBLISHER, 1, delay_secs);
        it.leave(PUBLISHER);
        it
    }
}
