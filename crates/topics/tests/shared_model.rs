//! The choice of a shared subscription's member against what it is defined to be.

use proptest::prelude::*;
use quelea_topics::{MemberLoad, SharedStrategy, choose_member};

proptest! {
    #[test]
    fn least_in_flight_is_the_least(members in members(), mut rotation: u32, hash: u64) {
        let turn = rotation as usize % members.len();
        let chosen = choose(SharedStrategy::LeastInFlight, &members, &mut rotation, hash, None);
        let share = |it: &MemberLoad| f64::from(it.in_flight) / f64::from(it.window);
        let least = candidates(&members).map(|it| share(&members[it])).fold(f64::MAX, f64::min);
        // The first of the least from where the last choice ended.
        let mut ties: Vec<usize> = candidates(&members).filter(|it| share(&members[*it]) == least).collect();
        ties.sort_by_key(|it| (it + members.len() - turn) % members.len());
        prop_assert_eq!(chosen, ties[0]);
        prop_assert_eq!(rotation as usize, (chosen + 1) % members.len());
    }

    #[test]
    fn whoever_is_chosen_is_online_if_anyone_is(
        strategy in strategy(),
        members in members(),
        mut rotation: u32,
        hash: u64,
        sticky in prop::option::of(0..10_usize),
    ) {
        let chosen = choose(strategy, &members, &mut rotation, hash, sticky);
        prop_assert!(candidates(&members).any(|it| it == chosen));
    }

    /// Members that finish a message before the next one comes all get the same number of messages.
    #[test]
    fn nobody_starves(
        strategy in prop::sample::select(&[SharedStrategy::LeastInFlight, SharedStrategy::RoundRobin]),
        online in prop::collection::vec(any::<bool>(), 1..8),
        windows in prop::collection::vec(1..100_u32, 8),
        mut rotation: u32,
    ) {
        let member = |(is_online, window): (&bool, &u32)| MemberLoad { is_online: *is_online, in_flight: 0, window: *window };
        let members: Vec<MemberLoad> = online.iter().zip(&windows).map(member).collect();
        let mut received = vec![0; members.len()];
        for _ in 0..candidates(&members).count() * 3 {
            received[choose(strategy, &members, &mut rotation, 0, None)] += 1;
        }
        prop_assert!(candidates(&members).all(|it| received[it] == 3), "{received:?}");
    }

    /// Members that finish nothing fill up evenly, each in proportion to its window.
    #[test]
    fn windows_fill_evenly(windows in prop::collection::vec(1..20_u32, 1..6), mut rotation: u32) {
        let member = |window: &u32| MemberLoad { is_online: true, in_flight: 0, window: *window };
        let mut members: Vec<MemberLoad> = windows.iter().map(member).collect();
        for _ in 0..windows.iter().sum() {
            let chosen = choose(SharedStrategy::LeastInFlight, &members, &mut rotation, 0, None);
            members[chosen].in_flight += 1;
        }
        prop_assert!(members.iter().all(|it| it.in_flight <= it.window), "{members:?}");
    }

    /// A member that comes or goes offline moves no publisher of another.
    #[test]
    fn a_publisher_moves_only_with_its_member(mut members in members(), hash: u64, other in 0..8_usize) {
        for member in &mut members {
            member.is_online = true;
        }
        let before = choose(SharedStrategy::HashPublisher, &members, &mut 0, hash, None);
        let other = other % members.len();
        members[other].is_online = false;
        let behind = choose(SharedStrategy::HashPublisher, &members, &mut 0, hash, None);
        prop_assert!(behind == before || other == before);
    }
}

fn choose(
    strategy: SharedStrategy,
    members: &[MemberLoad],
    rotation: &mut u32,
    hash: u64,
    sticky: Option<usize>,
) -> usize {
    let chosen = choose_member(strategy, members.len(), |it| members[it], rotation, hash, sticky);
    chosen.expect("there is a member")
}

/// All that are online; all when nobody is.
fn candidates(members: &[MemberLoad]) -> impl Iterator<Item = usize> {
    let any_online = members.iter().any(|it| it.is_online);
    (0..members.len()).filter(move |it| members[*it].is_online == any_online)
}

fn members() -> impl Strategy<Value = Vec<MemberLoad>> {
    let member = (any::<bool>(), 0..6_u32, 1..4_u32);
    let member = member.prop_map(|(is_online, in_flight, window)| MemberLoad {
        is_online,
        in_flight,
        window,
    });
    prop::collection::vec(member, 1..8)
}

fn strategy() -> impl Strategy<Value = SharedStrategy> {
    prop::sample::select(&[
        SharedStrategy::HashPublisher,
        SharedStrategy::LeastInFlight,
        SharedStrategy::RoundRobin,
        SharedStrategy::Sticky,
    ])
}
