//! The store of a broker that remembers nothing over a restart.

use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use quelea_session::Position;

use crate::{
    Body, Completions, Operation, Placed, SessionNumber, ShardIndex, Store, Submission, Target,
};

/// Gives messages their places and completes every submission at once.
pub struct Memory {
    completions: Arc<dyn Completions>,
    /// The next free place of each session. Held for one submission, which is one turn of one
    /// shard: the lock is what makes the order of places the same for all who publish.
    next: Mutex<HashMap<SessionNumber, Position, FixedState>>,
}

impl Memory {
    /// Makes an empty store that answers to `completions`.
    pub fn new(completions: Arc<dyn Completions>) -> Self {
        Self { completions, next: Mutex::new(HashMap::default()) }
    }
}

impl Store for Memory {
    fn submit(&self, shard: ShardIndex, through: Submission, operations: Vec<Operation>) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let mut by_home: Vec<(ShardIndex, Vec<Placed>)> = Vec::new();
        let mut unplaced = Vec::new();
        for operation in operations {
            apply(&mut next, operation, &mut by_home, &mut unplaced);
        }
        // Still under the lock: two shards' entries for one session must reach its mailbox in the
        // order of their places.
        for (home, placed) in by_home {
            self.completions.placed(home, placed);
        }
        drop(next);
        if !unplaced.is_empty() {
            self.completions.unplaced(shard, unplaced);
        }
        self.completions.durable(shard, through);
    }
}

fn apply(
    next: &mut HashMap<SessionNumber, Position, FixedState>,
    operation: Operation,
    by_home: &mut Vec<(ShardIndex, Vec<Placed>)>,
    unplaced: &mut Vec<(Target, Body)>,
) {
    match operation {
        Operation::Publish { body, targets, .. } => {
            for target in targets {
                // A session that ended since the message was routed has no queue to place it in.
                let Some(position) = next.get_mut(&target.session) else {
                    if target.attributes.group.is_some() {
                        unplaced.push((target, body.clone()));
                    }
                    continue;
                };
                let placed = Placed {
                    session: target.session,
                    position: *position,
                    body: body.clone(),
                    attributes: target.attributes,
                };
                *position = Position::new(position.value() + 1);
                match by_home.iter_mut().find(|(home, _)| *home == target.home) {
                    Some((_, list)) => list.push(placed),
                    None => by_home.push((target.home, vec![placed])),
                }
            }
        }
        Operation::SessionStart { session, .. } => {
            next.insert(session, Position::new(0));
        }
        Operation::SessionEnd { session } => {
            next.remove(&session);
        }
        // The shards hold all of this in memory themselves.
        Operation::Finish { .. }
        | Operation::Received { .. }
        | Operation::Release { .. }
        | Operation::SessionChange { .. }
        | Operation::Subscribe { .. }
        | Operation::Unsubscribe { .. }
        | Operation::Will { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use quelea_codec::QoS;
    use quelea_session::{Content, Message};

    use super::*;
    use crate::Attributes;

    #[derive(Default)]
    struct Recorded {
        placed: Mutex<Vec<(ShardIndex, Vec<Placed>)>>,
        unplaced: Mutex<Vec<SessionNumber>>,
        durable: Mutex<Vec<(ShardIndex, Submission)>>,
    }

    impl Completions for Recorded {
        fn placed(&self, shard: ShardIndex, placed: Vec<Placed>) {
            self.placed.lock().unwrap().push((shard, placed));
        }

        fn unplaced(&self, _: ShardIndex, unplaced: Vec<(Target, Body)>) {
            let sessions = unplaced.iter().map(|(target, _)| target.session);
            self.unplaced.lock().unwrap().extend(sessions);
        }

        fn durable(&self, shard: ShardIndex, through: Submission) {
            self.durable.lock().unwrap().push((shard, through));
        }
    }

    #[test]
    fn places_are_given_in_order_and_only_to_sessions_that_exist() {
        let recorded = Arc::new(Recorded::default());
        let store = Memory::new(recorded.clone());
        store.submit(ShardIndex(0), Submission(3), vec![start(7), publish(&[7, 8]), publish(&[7])]);
        store.submit(ShardIndex(1), Submission(2), vec![end(7), publish(&[7])]);

        let placed = recorded.placed.lock().unwrap();
        assert_eq!(placed.len(), 1, "a session that is gone gets nothing");
        let places: Vec<_> = placed[0].1.iter().map(|it| (it.session, it.position)).collect();
        let seven = SessionNumber(7);
        assert_eq!(places, [(seven, Position::new(0)), (seven, Position::new(1))]);
        assert_eq!(*recorded.unplaced.lock().unwrap(), []);
        let durable = recorded.durable.lock().unwrap();
        assert_eq!(*durable, [(ShardIndex(0), Submission(3)), (ShardIndex(1), Submission(2))]);
    }

    #[test]
    fn what_a_group_chose_a_session_for_is_reported_when_the_session_is_gone() {
        let recorded = Arc::new(Recorded::default());
        let store = Memory::new(recorded.clone());
        let mut shared = publish(&[7]);
        if let Operation::Publish { targets, .. } = &mut shared {
            targets[0].attributes.group = quelea_session::GroupId::new(1);
        }
        store.submit(ShardIndex(0), Submission(3), vec![start(7), end(7), shared]);
        assert_eq!(*recorded.unplaced.lock().unwrap(), [SessionNumber(7)]);
    }

    fn start(session: u64) -> Operation {
        Operation::SessionStart {
            session: SessionNumber(session),
            home: ShardIndex(0),
            client_id: "c".into(),
            expiry_secs: 60,
        }
    }

    fn end(session: u64) -> Operation {
        Operation::SessionEnd { session: SessionNumber(session) }
    }

    fn publish(sessions: &[u64]) -> Operation {
        let content = Content { topic: "t", payload: b"p", forwarded: &[], expires_at: None };
        let target = |session: &u64| Target {
            session: SessionNumber(*session),
            home: ShardIndex(0),
            attributes: Attributes {
                qos: QoS::AtLeastOnce,
                retain: false,
                subscription_ids: Box::default(),
                group: None,
            },
        };
        Operation::Publish {
            body: Body::Message(Message::new(&content)),
            targets: sessions.iter().map(target).collect(),
            received: None,
            retain: false,
        }
    }
}
