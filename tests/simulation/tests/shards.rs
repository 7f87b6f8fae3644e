//! A shard by hand: the store's answers come in the order that a test wants, and clients when it wants.

#![allow(clippy::unwrap_used, reason = "the panic is the test's failure")]

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};

use quelea_broker::Config;
use quelea_broker::simulation::{House, Mailboxes, Network, Readiness, Wait};
use quelea_codec::QoS;
use quelea_session::{Message, Position, Time};
use quelea_store::{
    Attributes, Completions, Dropped, Fetched, Memory, Placed, Presence, QueueLimits, Recovered,
    RecoveredSession, SessionIdentity, SessionNumber, ShardIndex, StoreError, Submission,
    WallMillis,
};

/// What expired while the broker was down has ended, however fast its client is (section 3.1.2.11.2).
#[test]
fn a_session_that_expired_while_the_broker_was_down_is_not_resumed() {
    for (expiry_secs, is_resumed) in [(59, false), (60, false), (61, true)] {
        let recovered = Recovered {
            sessions: vec![RecoveredSession {
                session: SessionNumber::new(9, 1),
                identity: SessionIdentity { client_id: "sleeper".into(), owner: "".into() },
                expiry_secs,
                presence: Presence::Lost(WallMillis(0)),
                sent_before: Position::new(0),
                queued_messages: 0,
                queued_bytes: 0,
                received: Vec::new(),
                subscriptions: Vec::new(),
                will: None,
            }],
            ..Recovered::default()
        };
        let mut hand = Hand::new(recovered, WallMillis(60_000));
        // It is there before the shard has its first turn.
        let sleeper = hand.connect("sleeper");
        hand.run();
        assert_eq!(hand.packets(sleeper), [(0x20, vec![u8::from(is_resumed), 0])], "{expiry_secs}");
    }
}

/// A sweep gives to another member what the store has placed and the shard does not know of yet: the report of it, which
/// comes later, is about nothing.
#[test]
fn what_a_sweep_has_moved_is_not_sent_when_its_report_comes() {
    for placed_first in [true, false] {
        let mut hand = Hand::new(Recovered::default(), WallMillis(0));
        let (leaves, stays) = (hand.connect("leaves"), hand.connect("stays"));
        let publisher = hand.connect("publisher");
        hand.subscribe(leaves, "$share/g/t", QoS::ExactlyOnce);
        hand.run();
        hand.send(publisher, 0x34, b"\0\x01t\0\x01only once");
        hand.turn();
        let placed = hand.hold_back(Kind::Placed);
        hand.subscribe(stays, "$share/g/t", QoS::ExactlyOnce);
        hand.send(leaves, 0xA2, b"\0\x07\0\x0A$share/g/t");
        let deliver = |hand: &mut Hand| placed.into_iter().for_each(|it| it(&*hand.post));
        if placed_first {
            deliver(&mut hand);
            hand.run();
        } else {
            hand.run();
            deliver(&mut hand);
            hand.run();
        }
        let count = |packets: &[(u8, Vec<u8>)]| packets.iter().filter(|it| it.0 >> 4 == 3).count();
        let (left, stayed) = (hand.packets(leaves), hand.packets(stays));
        // What was sent at QoS 2 before it left does not move.
        let expected = if placed_first { (1, 0) } else { (0, 1) };
        assert_eq!((count(&left), count(&stayed)), expected, "{left:?} {stayed:?}");
    }
}

/// A shard, its clients and its store.
struct Hand {
    house: House,
    post: Arc<dyn Completions>,
    answers: Arc<Answers>,
    wires: Arc<Mutex<Wires>>,
    now: Time,
    connections: u64,
}

/// The store's answers that were not delivered.
#[derive(Default)]
struct Answers(Mutex<VecDeque<(Kind, Answer)>>);

type Answer = Box<dyn FnOnce(&dyn Completions) + Send>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Placed,
    Other,
}

/// What clients have sent and the broker has not read, and what the broker has sent, by connection.
#[derive(Default)]
struct Wires {
    up: BTreeMap<u64, VecDeque<u8>>,
    down: BTreeMap<u64, Vec<u8>>,
}

impl Hand {
    fn new(recovered: Recovered, wall_at_zero: WallMillis) -> Self {
        let mailboxes = Mailboxes::new(1);
        let post = mailboxes.completions();
        let answers = Arc::new(Answers::default());
        let told = Arc::clone(&answers) as Arc<dyn Completions>;
        let store = Arc::new(Memory::new(told, QueueLimits::default()));
        let (now, config) = (Time::from_millis(0), Config::default());
        let (house, _) = House::new(config, mailboxes, store, recovered, 7, now, wall_at_zero);
        let wires = Arc::new(Mutex::new(Wires::default()));
        Self { house, post, answers, wires, now, connections: 0 }
    }

    /// Connects a client of MQTT 3.1.1 with a session that lasts.
    fn connect(&mut self, client_id: &str) -> u64 {
        self.connections += 1;
        let connection = self.connections;
        assert!(self.house.accept(connection, self.now));
        let mut body = b"\0\x04MQTT\x04\0\0\0\0".to_vec();
        body.push(client_id.len() as u8);
        body.extend(client_id.as_bytes());
        self.send(connection, 0x10, &body);
        connection
    }

    fn subscribe(&mut self, connection: u64, filter: &str, qos: QoS) {
        let mut body = vec![0, 5, 0, filter.len() as u8];
        body.extend(filter.as_bytes());
        body.push(qos as u8);
        self.send(connection, 0x82, &body);
    }

    fn send(&mut self, connection: u64, first: u8, body: &[u8]) {
        let mut wires = self.wires.lock().unwrap();
        let up = wires.up.entry(connection).or_default();
        up.extend([first, body.len() as u8]);
        up.extend(body);
    }

    /// Gives the shard a turn.
    fn turn(&mut self) {
        let unread = self.unread();
        let readiness = |connection: &u64| Readiness {
            connection: *connection,
            is_readable: true,
            is_writable: true,
            is_closed: false,
        };
        let ready: Vec<Readiness> = unread.iter().map(readiness).collect();
        let wires = Arc::clone(&self.wires) as Arc<Mutex<dyn Network>>;
        self.house.turn(0, self.now, &ready, &wires);
    }

    fn unread(&self) -> Vec<u64> {
        let wires = self.wires.lock().unwrap();
        wires.up.iter().filter(|it| !it.1.is_empty()).map(|it| *it.0).collect()
    }

    /// Gives the shard turns, and delivers the store's answers, until nothing is left to do.
    fn run(&mut self) {
        for _ in 0..1_000 {
            self.turn();
            let answers = std::mem::take(&mut *self.answers.0.lock().unwrap());
            let is_still = answers.is_empty() && self.house.wait(0) != Wait::Now;
            let is_done = is_still && self.unread().is_empty();
            answers.into_iter().for_each(|(_, deliver)| deliver(&*self.post));
            if is_done {
                return;
            }
        }
        panic!("it never ends");
    }

    /// Takes the answers of a kind away: the test delivers them.
    fn hold_back(&mut self, kind: Kind) -> Vec<Answer> {
        let mut answers = self.answers.0.lock().unwrap();
        let (held, left) =
            std::mem::take(&mut *answers).into_iter().partition(|it: &(Kind, _)| it.0 == kind);
        *answers = left;
        let held: VecDeque<(Kind, Answer)> = held;
        assert!(!held.is_empty(), "there is no {kind:?}");
        held.into_iter().map(|it| it.1).collect()
    }

    /// Returns the packets that a client has got: the first byte and the body of each. All of them are short.
    fn packets(&self, connection: u64) -> Vec<(u8, Vec<u8>)> {
        let wires = self.wires.lock().unwrap();
        let mut bytes = wires.down.get(&connection).map_or(&[][..], |it| it);
        let mut packets = Vec::new();
        while let [first, length, rest @ ..] = bytes {
            let (body, rest) = rest.split_at((*length).into());
            packets.push((*first, body.to_vec()));
            bytes = rest;
        }
        packets
    }
}

impl Answers {
    fn push(&self, kind: Kind, answer: impl FnOnce(&dyn Completions) + Send + 'static) {
        self.0.lock().unwrap().push_back((kind, Box::new(answer)));
    }
}

impl Completions for Answers {
    fn placed(&self, shard: ShardIndex, placed: Vec<Placed>) {
        self.push(Kind::Placed, move |it| it.placed(shard, placed));
    }

    fn unplaced(&self, shard: ShardIndex, unplaced: Vec<(Attributes, Arc<Message>)>) {
        self.push(Kind::Other, move |it| it.unplaced(shard, unplaced));
    }

    fn skipped(&self, shard: ShardIndex, target_count: u64) {
        self.push(Kind::Other, move |it| it.skipped(shard, target_count));
    }

    fn fetched(&self, shard: ShardIndex, fetched: Fetched) {
        self.push(Kind::Other, move |it| it.fetched(shard, fetched));
    }

    fn dropped(&self, shard: ShardIndex, dropped: Vec<Dropped>) {
        self.push(Kind::Other, move |it| it.dropped(shard, dropped));
    }

    fn durable(&self, shard: ShardIndex, through: Submission) {
        self.push(Kind::Other, move |it| it.durable(shard, through));
    }

    fn failed(&self, failure: StoreError) {
        panic!("{failure}");
    }
}

impl Network for Wires {
    fn adopt(&mut self, _: u64, _: usize) {}

    fn release(&mut self, _: u64) {}

    fn read(&mut self, connection: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let up = self.up.entry(connection).or_default();
        if up.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        io::Read::read(up, buffer)
    }

    fn write(&mut self, connection: u64, bytes: &[u8]) -> io::Result<usize> {
        self.down.entry(connection).or_default().extend(bytes);
        Ok(bytes.len())
    }

    fn shutdown(&mut self, _: u64) {}

    fn close(&mut self, _: u64) {}
}
