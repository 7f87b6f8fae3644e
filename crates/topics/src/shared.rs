//! Which member of a shared subscription gets a message.
//!
//! A pure choice over what the caller shows: who the members are, what they have in flight and where the choice of the
//! last message ended is the caller's to keep. MQTT 5.0 section 4.8.2 leaves the choice free.

use std::cmp::Ordering;

/// How a shared subscription spreads its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SharedStrategy {
    /// All messages of one publisher go to one member, as long as the members stay the same.
    HashPublisher,
    /// The member with the least in flight relative to its window.
    #[default]
    LeastInFlight,
    /// One after the other.
    RoundRobin,
    /// The member that got the last message, until it is offline.
    Sticky,
}

/// What the choice needs to know of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberLoad {
    /// Whether the member's session has a connection.
    pub is_online: bool,
    /// Messages sent to the member or queued for it, and not finished.
    pub in_flight: u32,
    /// How many the member takes at once: its send quota.
    pub window: u32,
}

/// Returns which of `member_count` members gets a message; `None` only when there is none.
///
/// Members that are online are preferred whatever the strategy. With none online any may be chosen: the caller shows
/// only those that may queue the message. `rotation` is kept by the caller from one message to the next, `sticky` is
/// what was chosen for the last one. `publisher_hash` decides only with [`SharedStrategy::HashPublisher`].
pub fn choose_member(
    strategy: SharedStrategy,
    member_count: usize,
    load: impl Fn(usize) -> MemberLoad,
    rotation: &mut u32,
    publisher_hash: u64,
    sticky: Option<usize>,
) -> Option<usize> {
    if member_count == 0 {
        return None;
    }
    let any_online = (0..member_count).any(|member| load(member).is_online);
    let is_candidate = |member: &usize| load(*member).is_online == any_online;
    let next_from = |start: usize| {
        let members = (start..member_count).chain(0..start);
        members.filter(is_candidate)
    };
    // A member may have left since: any start will do.
    let turn = *rotation as usize % member_count;
    let chosen = match strategy {
        SharedStrategy::HashPublisher => {
            // Whose member is offline goes to the next: the others stay where they are.
            let start = publisher_hash % member_count as u64;
            return next_from(start as usize).next();
        }
        SharedStrategy::LeastInFlight => next_from(turn).min_by(by_load(&load)),
        SharedStrategy::RoundRobin => next_from(turn).next(),
        SharedStrategy::Sticky => {
            let last = sticky.filter(|member| *member < member_count && is_candidate(member));
            if last.is_some() {
                return last;
            }
            next_from(turn).min_by(by_load(&load))
        }
    };
    let next_turn = chosen.map_or(0, |member| (member + 1) % member_count);
    *rotation = u32::try_from(next_turn).unwrap_or(0);
    chosen
}

/// Compares what members have in flight relative to their windows. The first of equals is the least: ties rotate.
fn by_load(load: impl Fn(usize) -> MemberLoad) -> impl Fn(&usize, &usize) -> Ordering {
    move |one, other| {
        let (one, other) = (load(*one), load(*other));
        // a / b < c / d as a * d < c * b. A window of nothing counts as one: full with anything in flight.
        let share =
            |it: MemberLoad, of: MemberLoad| u64::from(it.in_flight) * u64::from(of.window.max(1));
        share(one, other).cmp(&share(other, one))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use SharedStrategy::{HashPublisher, LeastInFlight, RoundRobin, Sticky};

    const FREE: MemberLoad = MemberLoad { is_online: true, in_flight: 0, window: 10 };
    const OFFLINE: MemberLoad = MemberLoad { is_online: false, in_flight: 0, window: 10 };

    #[test]
    fn least_in_flight_counts_relative_to_the_window() {
        let half = MemberLoad { in_flight: 5, ..FREE };
        let third = MemberLoad { in_flight: 10, window: 30, ..FREE };
        check(LeastInFlight, &[half, third], &[1, 1, 1]);
        check(LeastInFlight, &[half, third, FREE], &[2, 2, 2]);
    }

    #[test]
    fn ties_rotate() {
        check(LeastInFlight, &[FREE, FREE, FREE], &[0, 1, 2, 0, 1]);
        let busy = MemberLoad { in_flight: 1, ..FREE };
        check(LeastInFlight, &[FREE, busy, FREE], &[0, 2, 0, 2]);
        // Equal shares of different windows are a tie too.
        let one_of_ten = MemberLoad { in_flight: 1, window: 10, ..FREE };
        let two_of_twenty = MemberLoad { in_flight: 2, window: 20, ..FREE };
        check(LeastInFlight, &[one_of_ten, two_of_twenty], &[0, 1, 0, 1]);
    }

    #[test]
    fn round_robin_ignores_the_load() {
        let full = MemberLoad { in_flight: 10, ..FREE };
        check(RoundRobin, &[FREE, full, FREE], &[0, 1, 2, 0]);
    }

    #[test]
    fn online_members_come_first() {
        let full = MemberLoad { in_flight: 10, ..FREE };
        check(LeastInFlight, &[OFFLINE, full, OFFLINE], &[1, 1, 1]);
        check(RoundRobin, &[OFFLINE, full, OFFLINE, FREE], &[1, 3, 1, 3]);
        check(HashPublisher, &[OFFLINE, full, OFFLINE], &[1, 1]);
        check(Sticky, &[OFFLINE, full, OFFLINE], &[1, 1]);
    }

    #[test]
    fn with_none_online_any_is_chosen() {
        for strategy in [HashPublisher, LeastInFlight, RoundRobin, Sticky] {
            check(strategy, &[OFFLINE], &[0, 0]);
            check(strategy, &[], &[]);
            let mut rotation = 7;
            let none = choose_member(strategy, 0, |_| FREE, &mut rotation, 0, None);
            assert_eq!((none, rotation), (None, 7));
        }
        check(RoundRobin, &[OFFLINE, OFFLINE], &[0, 1, 0]);
    }

    #[test]
    fn a_publisher_stays_with_its_member() {
        let place = |members: &[MemberLoad], hash| {
            choose_member(HashPublisher, members.len(), |it| members[it], &mut 0, hash, None)
        };
        assert_eq!(place(&[FREE, FREE, FREE], 4), Some(1));
        assert_eq!(place(&[OFFLINE, FREE, FREE], 4), Some(1), "another's absence moves nobody");
        assert_eq!(place(&[FREE, OFFLINE, FREE], 4), Some(2));
        assert_eq!(place(&[FREE, FREE, OFFLINE], 5), Some(0));
    }

    #[test]
    fn sticky_stays_until_it_is_offline() {
        let full = MemberLoad { in_flight: 10, ..FREE };
        let choose = |members: &[MemberLoad], sticky| {
            choose_member(Sticky, members.len(), |it| members[it], &mut 0, 0, sticky)
        };
        assert_eq!(choose(&[FREE, full], Some(1)), Some(1));
        assert_eq!(choose(&[FREE, OFFLINE], Some(1)), Some(0));
        assert_eq!(choose(&[full, FREE], None), Some(1));
        assert_eq!(choose(&[OFFLINE, OFFLINE], Some(1)), Some(1));
        assert_eq!(choose(&[FREE, FREE], Some(2)), Some(0), "who has left is not chosen");
    }

    /// The members never change their load, so each choice depends on the rotation alone.
    #[track_caller]
    fn check(strategy: SharedStrategy, members: &[MemberLoad], expected: &[usize]) {
        let mut rotation = 0;
        let mut sticky = None;
        for (turn, expected) in expected.iter().enumerate() {
            sticky =
                choose_member(strategy, members.len(), |it| members[it], &mut rotation, 1, sticky);
            assert_eq!(sticky, Some(*expected), "{strategy:?}, message {turn}");
        }
    }
}
