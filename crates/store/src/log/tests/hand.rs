//! A hand that drives a log: random operations that make sense.

use std::collections::VecDeque;

use proptest::prelude::*;
use quelea_codec::{PacketId, QoS};
use quelea_session::{Content, Message, Position, SubscriptionIds, Time};

use super::model::Model;
use crate::log::disk::SimulatedDisk;
use crate::log::engine::{Appended, Engine};
use crate::{
    Attributes, Batch, Cleaning, CursorPlace, Operation, Options, Presence, QueueLimits, Recovered,
    SessionIdentity, SessionNumber, ShardIndex, StoredWill, Submission, Target, WallMillis,
};

/// Something that a shard may do; which session and which entry it is about is found when it is done.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Publish { targets: u8, qos: u8, kind: u8, size: u16, topic: u8, inbound: Option<(u8, u16)> },
    Finish { who: u8, nth: u8, count: u8 },
    Received { who: u8, nth: u8 },
    Release { who: u8, packet_id: u16 },
    Start { who: u8 },
    Change { who: u8, sent: u8, is_lost: bool },
    End { who: u8 },
    Subscribe { who: u8, filter: u8, has_cursor: bool },
    Cursor { who: u8, filter: u8, topic: Option<u8> },
    Unsubscribe { who: u8, filter: u8 },
    Will { who: u8, is_set: bool },
    Unretain { topic: u8 },
}

pub(super) fn acts() -> impl Strategy<Value = Vec<Act>> {
    prop::collection::vec(act(), 1..12)
}

fn act() -> impl Strategy<Value = Act> {
    let who = || 0..CLIENTS;
    let inbound = prop::option::of((who(), 1..4_u16));
    prop_oneof![
        8 => (any::<u8>(), 0..3_u8, 0..6_u8, 0..600_u16, 0..4_u8, inbound).prop_map(
            |(targets, qos, kind, size, topic, inbound)| {
                Act::Publish { targets, qos, kind, size, topic, inbound }
            }
        ),
        6 => (who(), 0..4_u8, 1..6_u8).prop_map(|(who, nth, count)| Act::Finish { who, nth, count }),
        1 => (who(), 0..4_u8).prop_map(|(who, nth)| Act::Received { who, nth }),
        1 => (who(), 1..4_u16).prop_map(|(who, packet_id)| Act::Release { who, packet_id }),
        3 => who().prop_map(|who| Act::Start { who }),
        2 => (who(), 0..8_u8, any::<bool>())
            .prop_map(|(who, sent, is_lost)| Act::Change { who, sent, is_lost }),
        1 => who().prop_map(|who| Act::End { who }),
        1 => (who(), 0..3_u8, any::<bool>())
            .prop_map(|(who, filter, has_cursor)| Act::Subscribe { who, filter, has_cursor }),
        1 => (who(), 0..3_u8, prop::option::of(0..4_u8))
            .prop_map(|(who, filter, topic)| Act::Cursor { who, filter, topic }),
        1 => (who(), 0..3_u8).prop_map(|(who, filter)| Act::Unsubscribe { who, filter }),
        1 => (who(), any::<bool>()).prop_map(|(who, is_set)| Act::Will { who, is_set }),
        1 => (0..4_u8).prop_map(|topic| Act::Unretain { topic }),
    ]
}

/// A log, the disk it is on, and what must be in it.
pub(super) struct Hand {
    pub(super) disk: SimulatedDisk,
    pub(super) engine: Engine<SimulatedDisk>,
    pub(super) model: Model,
    pub(super) options: Options,
    /// What the log has been since the last sync, the latest last.
    pub(super) history: Vec<Model>,
    clients: Vec<Option<SessionNumber>>,
    order: u64,
    serial: u64,
    submitted: u64,
}

impl Hand {
    pub(super) fn new(options: Options) -> Self {
        let disk = SimulatedDisk::new(64 << 20);
        let (engine, _) = Engine::open(disk.clone(), options).unwrap();
        Self {
            disk,
            engine,
            model: Model::default(),
            options,
            history: vec![Model::default()],
            clients: vec![None; usize::from(CLIENTS)],
            order: 0,
            serial: 0,
            submitted: 0,
        }
    }

    /// Does all of it in one batch.
    pub(super) fn append(&mut self, acts: &[Act]) {
        let operations: Vec<_> = acts.iter().filter_map(|it| self.operation(it)).collect();
        self.append_operations(operations);
    }

    /// Returns a batch that does something.
    pub(super) fn batch(&mut self, act: &Act) -> Batch {
        let operations: Vec<_> = self.operation(act).into_iter().collect();
        self.submitted += operations.len() as u64;
        Batch { through: Submission(self.submitted), is_awaited: true, operations }
    }

    pub(super) fn append_operations(&mut self, operations: Vec<Operation>) {
        self.submitted += operations.len() as u64;
        let through = Submission(self.submitted);
        let batch = Batch { through, is_awaited: true, operations };
        let mut batches = VecDeque::from([(ShardIndex(0), batch)]);
        assert_eq!(self.engine.append(&mut batches).unwrap(), Appended::Done);
        assert!(batches.is_empty());
        self.history.push(self.model.clone());
    }

    pub(super) fn sync(&mut self) {
        self.engine.sync().unwrap();
        let last = self.history.pop().unwrap();
        self.history = vec![last];
        self.engine.take_outcomes();
    }

    /// Does a chore, if there is one.
    pub(super) fn do_chore(&mut self) {
        if let Some(chore) = self.engine.next_chore() {
            self.engine.end_chore(chore.run()).unwrap();
        }
    }

    /// Does all chores, and cleans as long as there is something to clean.
    pub(super) fn do_chores(&mut self) {
        self.engine.look_for_space();
        for _ in 0..10_000 {
            let chore = self.engine.next_chore();
            let is_done = chore.is_none() && !self.engine.wants_append();
            if let Some(chore) = chore {
                self.engine.end_chore(chore.run()).unwrap();
            }
            self.engine.append(&mut VecDeque::new()).unwrap();
            if is_done {
                return;
            }
        }
        panic!("the chores never end");
    }

    /// Opens the log anew, after a crash.
    pub(super) fn reopen(&mut self) {
        let (engine, recovered) = Engine::open(self.disk.clone(), self.options).unwrap();
        self.engine = engine;
        self.find(&recovered);
    }

    fn find(&mut self, recovered: &Recovered) {
        let seen = Model::of(recovered, &mut self.engine);
        let known = self.history.iter().rposition(|it| it.clone().reopened_as(&seen) == seen);
        let Some(known) = known else {
            let last = self.history.last().cloned().unwrap_or_default();
            panic!(
                "the log has become something else than it last was: {}",
                last.reopened().difference(&seen)
            );
        };
        self.model = self.history.swap_remove(known).reopened_as(&seen);
        self.history = vec![self.model.clone()];
        for client in &mut self.clients {
            *client =
                client.filter(|it| self.model.sessions.get(it).is_some_and(|it| !it.is_ghost));
        }
    }

    fn operation(&mut self, act: &Act) -> Option<Operation> {
        let operation = self.try_operation(act)?;
        self.model.apply(&operation, &self.options.limits);
        Some(operation)
    }

    fn try_operation(&mut self, act: &Act) -> Option<Operation> {
        Some(match *act {
            Act::Publish { targets, qos, kind, size, topic, inbound } => {
                return Some(self.publish(targets, qos, kind, size, topic, inbound));
            }
            Act::Finish { who, nth, count } => {
                let (session, it) = self.any_session(who)?;
                let positions = it.queue.keys().skip(nth.into()).take(count.into());
                let positions = positions.map(|it| Position::new(*it)).collect();
                Operation::Finish { session, positions }
            }
            Act::Received { who, nth } => {
                let (session, it) = self.any_session(who)?;
                let position = Position::new(*it.queue.keys().nth(nth.into())?);
                Operation::Received { session, position }
            }
            Act::Release { who, packet_id } => {
                let packet_id = PacketId::new(packet_id)?;
                Operation::Release { session: self.client(who)?, packet_id }
            }
            Act::Start { who } => {
                if self.client(who).is_some() {
                    return None;
                }
                let session = self.engine.new_session();
                self.clients[usize::from(who)] = Some(session);
                let client_id = format!("client {who}").into();
                let identity = SessionIdentity { client_id, owner: "owner".into() };
                Operation::SessionStart { session, identity, expiry_secs: 7 }
            }
            Act::Change { who, sent, is_lost } => {
                let session = self.client(who)?;
                let first = self.model.sessions[&session].queue.keys().next().copied();
                let sent_before = Position::new(first.unwrap_or(0) + u64::from(sent));
                self.serial += 1;
                let presence = match is_lost {
                    true => Presence::Lost(WallMillis(self.serial)),
                    false => Presence::Connected,
                };
                Operation::SessionChange { session, expiry_secs: 9, presence, sent_before }
            }
            Act::End { who } => {
                let session = self.client(who)?;
                self.clients[usize::from(who)] = None;
                Operation::SessionEnd { session }
            }
            Act::Subscribe { who, filter, has_cursor } => {
                let session = self.client(who)?;
                self.serial += 1;
                let subscription_id = self.serial as u32;
                let cursor = has_cursor.then(|| self.cursor(None));
                Operation::Subscribe {
                    session,
                    filter: filter_name(filter),
                    options: filter,
                    subscription_id,
                    cursor,
                }
            }
            Act::Cursor { who, filter, topic } => {
                let session = self.client(who)?;
                let cursor = topic.map(|it| self.cursor(Some(it)));
                Operation::Cursor { session, filter: filter_name(filter), cursor }
            }
            Act::Unsubscribe { who, filter } => {
                Operation::Unsubscribe { session: self.client(who)?, filter: filter_name(filter) }
            }
            Act::Will { who, is_set } => {
                let session = self.client(who)?;
                let will = is_set.then(|| StoredWill {
                    message: self.message(9, 40),
                    qos: QoS::AtLeastOnce,
                    retain: true,
                    delay_secs: 5,
                    expiry_secs: Some(11),
                });
                Operation::Will { session, will }
            }
            Act::Unretain { topic } => {
                let topic = topic_name(topic);
                let order = self.model.retained.get(&*topic)?.0;
                Operation::Unretain { topic, order }
            }
        })
    }

    fn publish(
        &mut self,
        targets: u8,
        qos: u8,
        kind: u8,
        size: u16,
        topic: u8,
        inbound: Option<(u8, u16)>,
    ) -> Operation {
        let qos = QoS::from_byte(qos).unwrap();
        let plain = Attributes {
            qos,
            retain: false,
            subscription_ids: SubscriptionIds::new(&[]),
            share: None,
            retained_order: 0,
        };
        let attributes = match kind {
            0 => vec![Attributes { share: Some("$share/g/a".into()), ..plain }],
            1 => vec![Attributes { retained_order: 3, retain: true, ..plain }],
            2 => (0..20)
                .map(|id| Attributes {
                    subscription_ids: SubscriptionIds::new(&[id, 77]),
                    ..plain.clone()
                })
                .collect(),
            _ => vec![plain],
        };
        let mut sessions: Vec<_> = (0..CLIENTS)
            .filter(|it| targets & (1 << it) != 0)
            .filter_map(|it| self.client(it))
            .collect();
        sessions.sort_unstable();
        let attribute = |it: &SessionNumber| (it.slot() * 7 + 13) % attributes.len() as u32;
        let mut targets = Vec::new();
        for session in sessions {
            targets.push(Target { session, attributes: attribute(&session) });
            // A group has chosen it, too.
            if kind == 2 && session.slot() % 2 == 1 {
                targets.push(Target { session, attributes: 20 });
            }
        }
        let mut attributes = attributes;
        if kind == 2 {
            attributes
                .push(Attributes { share: Some("$share/h/a".into()), ..attributes[0].clone() });
        }
        let retain = (kind >= 4).then(|| {
            self.order += 1;
            self.order
        });
        // A large one now and then: more than a segment.
        let size = if size == 599 { 9_000 } else { size };
        let size = if kind == 5 && size < 200 { 0 } else { size };
        let message = self.message(topic, size);
        let received = inbound.and_then(|(who, id)| Some((self.client(who)?, PacketId::new(id)?)));
        Operation::Publish { message, qos, targets, attributes, received, retain }
    }

    fn message(&mut self, topic: u8, size: u16) -> std::sync::Arc<Message> {
        self.serial += 1;
        let mut payload = self.serial.to_le_bytes().to_vec();
        payload.resize(size.into(), self.serial as u8);
        let expires_at = self.serial.is_multiple_of(5).then_some(Time::from_millis(self.serial));
        Message::new(&Content {
            topic: &topic_name(topic),
            payload: &payload,
            forwarded: &[1, 1],
            expires_at,
        })
    }

    fn cursor(&mut self, topic: Option<u8>) -> CursorPlace {
        CursorPlace { until: self.order + 1, partition: 3, after: topic.map(topic_name) }
    }

    fn client(&self, who: u8) -> Option<SessionNumber> {
        self.clients[usize::from(who)]
    }

    /// Returns a client's session, or what is left of one.
    fn any_session(&self, who: u8) -> Option<(SessionNumber, &super::model::ModelSession)> {
        let ghost = || self.model.sessions.iter().find(|it| it.1.is_ghost).map(|it| *it.0);
        let session = self.client(who).or_else(ghost)?;
        Some((session, self.model.sessions.get(&session)?))
    }
}

/// Returns options with segments so small that everything moves all the time.
pub(super) fn options(drops_oldest: bool) -> Options {
    Options {
        segment_bytes: 4_096,
        limits: QueueLimits { queued_messages_max: 12, queued_bytes_max: 4_000, drops_oldest },
        cleaning: Cleaning { ratio: 2, slack_bytes: 4_096 },
        ..Options::default()
    }
}

fn filter_name(filter: u8) -> Box<str> {
    format!("filter/{filter}/#").into()
}

fn topic_name(topic: u8) -> Box<str> {
    format!("topic/{topic}").into()
}

const CLIENTS: u8 = 5;
