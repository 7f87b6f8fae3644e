//! Session present is as promised: a session is there as long as the last answered CONNECT and DISCONNECT said,
//! and neither longer nor shorter.

use super::Verdict;
use crate::facts::{Connection, Facts, Lost};
use crate::history::ClientIndex;

/// What may have become of a client's session.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// There is none.
    Absent,
    /// It is there from the end of its connection until it has expired.
    Expires {
        /// No earlier than this, in milliseconds.
        earliest: u64,
        /// No later than this.
        latest: u64,
    },
}

pub(super) fn check(facts: &Facts<'_>, verdict: &mut Verdict) {
    for (client, connections) in &facts.connections {
        let mut fates = vec![Fate::Absent];
        for (index, connection) in connections.iter().enumerate() {
            if let Some((accepted, session_present)) = connection.accepted {
                let expected = expected(facts, connection, accepted, &fates);
                match expected {
                    Some(true) => verdict.figures.resumed += 1,
                    Some(false) => verdict.figures.begun += 1,
                    None => {}
                }
                if expected.is_some_and(|expected| expected != session_present) {
                    complain(*client, accepted, session_present, verdict);
                }
                fates.clear();
            }
            let next = connections.get(index + 1).map(|next| next.sent);
            fates.extend(fates_after(facts, connection, next));
        }
    }
}

fn complain(client: ClientIndex, at: usize, session_present: bool, verdict: &mut Verdict) {
    let what = if session_present {
        format!("{client} found a session that had ended (entry {at})")
    } else {
        format!("{client} did not find its session (entry {at})")
    };
    verdict.add("sessions", what, None, Some(client));
}

/// Returns whether a connection finds a session, if that is certain.
fn expected(
    facts: &Facts<'_>,
    connection: &Connection,
    accepted: usize,
    fates: &[Fate],
) -> Option<bool> {
    if connection.connect.clean_start {
        return Some(false);
    }
    let (sent, accepted) = (facts.millis(connection.sent), facts.millis(accepted));
    let is_present = |fate: &Fate| match *fate {
        Fate::Absent => Some(false),
        Fate::Expires { earliest, .. } if accepted < earliest => Some(true),
        Fate::Expires { latest, .. } if sent > latest => Some(false),
        Fate::Expires { .. } => None,
    };
    let first = is_present(fates.first()?)?;
    fates.iter().all(|fate| is_present(fate) == Some(first)).then_some(first)
}

/// Returns what may have become of the session of a connection that was made, or that was asked for, until the
/// client's next CONNECT.
fn fates_after(facts: &Facts<'_>, connection: &Connection, next: Option<usize>) -> Vec<Fate> {
    let mut expiries = vec![connection.connect.expiry_secs];
    if let Some(new) = connection.new_expiry_secs {
        // The broker's close says that it is known.
        if facts.parted_at(connection).is_some() {
            expiries.clear();
        }
        expiries.push(new);
    }
    let Lost { earliest, latest, .. } = facts.lost(connection, next);
    let fate = |expiry_secs: &u32| match *expiry_secs {
        0 => Fate::Absent,
        u32::MAX => Fate::Expires { earliest: u64::MAX, latest: u64::MAX },
        secs => {
            let millis = u64::from(secs) * 1_000;
            Fate::Expires {
                earliest: earliest.saturating_add(millis),
                latest: latest.saturating_add(millis),
            }
        }
    };
    expiries.iter().map(fate).collect()
}

#[cfg(test)]
mod tests {
    use crate::checker::testing::*;

    #[test]
    fn session_that_is_kept_is_there() {
        let mut it = Script::new();
        it.connect(SUBSCRIBER);
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.check(&[]);
    }

    #[test]
    fn session_that_is_kept_is_gone() {
        let mut it = Script::new();
        it.connect(SUBSCRIBER);
        it.crash();
        it.resume(SUBSCRIBER, false);
        it.check(&["sessions"]);
    }

    #[test]
    fn session_that_was_not_answered_may_be_there_or_not() {
        for session_present in [true, false] {
            let mut it = Script::new();
            it.connect_unanswered(SUBSCRIBER, u32::MAX);
            it.crash();
            it.resume(SUBSCRIBER, session_present);
            it.check(&[]);
        }
    }

    #[test]
    fn session_rises_again_after_a_clean_start() {
        let mut it = Script::new();
        it.connect(SUBSCRIBER);
        it.leave(SUBSCRIBER);
        it.connect_for(SUBSCRIBER, true, 0, false);
        it.crash();
        it.resume(SUBSCRIBER, true);
        it.check(&["sessions"]);
    }

    #[test]
    fn session_that_ends_with_its_connection() {
        for (session_present, expected) in [(false, &[][..]), (true, &["sessions"])] {
            let mut it = Script::new();
            it.connect_for(SUBSCRIBER, false, 0, false);
            it.crash();
            it.resume(SUBSCRIBER, session_present);
            it.check(expected);
        }
    }

    #[test]
    fn expiry_is_kept() {
        for (millis, session_present, expected) in [
            (500, true, &[][..]),
            (500, false, &["sessions"]),
            (30_000, false, &[]),
            (30_000, true, &["sessions"]),
            (2_500, true, &[]),
            (2_500, false, &[]),
        ] {
            let mut it = Script::new();
            it.connect_for(SUBSCRIBER, false, 2, false);
            it.leave(SUBSCRIBER);
            it.wait(millis);
            it.resume(SUBSCRIBER, session_present);
            it.check(expected);
        }
    }

    #[test]
    fn expiry_begins_after_a_crash_with_the_next_start_and_its_grace() {
        for (millis, session_present, expected) in
            [(2_500, false, &["sessions"][..]), (2_500, true, &[]), (30_000, true, &["sessions"])]
        {
            let mut it = Script::with_grace(1_000);
            it.connect_for(SUBSCRIBER, false, 2, false);
            it.crash();
            it.wait(millis);
            it.resume(SUBSCRIBER, session_present);
            it.check(expected);
        }
    }

    #[test]
    fn expiry_is_changed_by_a_good_bye() {
        for (session_present, expected) in [(false, &[][..]), (true, &["sessions"])] {
            let mut it = Script::new();
            it.connect(SUBSCRIBER);
            it.disconnect_for(SUBSCRIBER, Some(0));
            it.resume(SUBSCRIBER, session_present);
            it.check(expected);
        }
    }
}
