//! What `Store` and `Completions` promise, asked of both stores.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use quelea_codec::QoS;
use quelea_session::{Content, Message, Position, SubscriptionIds};
use quelea_store::{
    Attributes, Batch, Completions, Dropped, Engine, Fetch, Fetched, Memory, Operation, Options,
    Placed, Presence, QueueLimits, SessionIdentity, SessionNumber, ShardIndex, SimulatedDisk,
    Store, StoreError, Submission, Target, WallMillis, Which,
};

const A: ShardIndex = ShardIndex(0);
const B: ShardIndex = ShardIndex(1);

/// A message is reported where the session lives, before its publisher hears that it is durable; positions rise.
#[test]
fn what_is_placed_is_told_where_the_session_lives() {
    for mut store in stores(QueueLimits::default()) {
        let session = store.start(A, "one");
        store.submit(B, vec![publish("first", &[session]), publish("second", &[session])]);
        store.submit(A, vec![publish("third", &[session])]);
        store.expect(&[
            "A durable 1",
            "A placed 0 first",
            "A placed 1 second",
            "B durable 2",
            "A placed 2 third",
            "A durable 2",
        ]);
        store.change(B, session, Presence::Connected, 3);
        store.submit(A, vec![publish("fourth", &[session])]);
        store.expect(&["B durable 3", "B placed 3 fourth", "A durable 3"]);
    }
}

#[test]
fn what_comes_while_the_client_is_away_is_fetched() {
    for mut store in stores(QueueLimits::default()) {
        let session = store.start(A, "one");
        store.change(A, session, Presence::Lost(WallMillis(9)), 0);
        store.submit(B, vec![publish("first", &[session]), publish("second", &[session])]);
        store.submit(B, vec![publish("third", &[session])]);
        store.expect(&["A durable 1", "A durable 2", "B durable 2", "B durable 3"]);
        store.fetch(A, session, 0, 2, Which::All);
        store.expect(&["A fetched 0 first, 1 second; next 2", "A durable 3"]);
        store.fetch(A, session, 2, 2, Which::All);
        store.expect(&["A fetched 2 third; last, next 3", "A durable 4"]);
        store.fetch(A, session, 3, 2, Which::All);
        store.expect(&["A fetched ; last, next 3", "A durable 5"]);
    }
}

#[test]
fn what_is_finished_is_gone_and_what_is_received_has_no_message() {
    for mut store in stores(QueueLimits::default()) {
        let session = store.start(A, "one");
        store.change(A, session, Presence::Lost(WallMillis(9)), 0);
        let four = ["a", "b", "c", "d"].map(|it| publish(it, &[session]));
        store.submit(A, four.into());
        let positions = vec![Position::new(1), Position::new(3), Position::new(77)];
        store.submit(
            A,
            vec![
                Operation::Finish { session, positions },
                Operation::Received { session, position: Position::new(2) },
            ],
        );
        store.fetch(A, session, 0, 9, Which::All);
        store.expect(&[
            "A durable 1",
            "A durable 2",
            "A durable 6",
            "A durable 8",
            "A fetched 0 a, 2 -; last, next 4",
            "A durable 9",
        ]);
    }
}

#[test]
fn a_target_that_is_gone_is_skipped_and_one_of_a_group_is_told() {
    for mut store in stores(QueueLimits::default()) {
        let (gone, there) = (store.start(A, "gone"), store.start(A, "there"));
        store.submit(A, vec![Operation::SessionEnd { session: gone }]);
        store.submit(B, vec![publish("plain", &[gone, there]), shared("shared", gone)]);
        store.expect(&[
            "A durable 1",
            "A durable 2",
            "A durable 3",
            "A placed 0 plain",
            "B unplaced shared",
            "B skipped 1",
            "B durable 2",
        ]);
    }
}

/// A session gets a message once more for each shared group that chose it.
#[test]
fn a_session_that_a_group_chose_too_gets_both() {
    for mut store in stores(QueueLimits::default()) {
        let (one, other) = (store.start(A, "one"), store.start(B, "other"));
        let mut both = publish("both", &[one, one, other]);
        if let Operation::Publish { targets, attributes, .. } = &mut both {
            let share = Some("$share/g/t".into());
            attributes.push(Attributes { share, ..attributes[0].clone() });
            targets[1].attributes = 1;
        }
        store.submit(A, vec![both]);
        store.expect(&[
            "A durable 1",
            "B durable 1",
            "A placed 0 both",
            "A placed 1 both",
            "B placed 0 both",
            "A durable 2",
        ]);
        store.submit(A, vec![Operation::SessionEnd { session: one }]);
        store.fetch(A, one, 0, 9, Which::All);
        store.expect(&["A durable 3", "A fetched 1 both; last, next 2", "A durable 4"]);
    }
}

/// What a group chose a session for outlives it, until it is moved and finished.
#[test]
fn messages_of_groups_stay_when_their_session_ends() {
    for mut store in stores(QueueLimits::default()) {
        let (one, other) = (store.start(A, "one"), store.start(B, "other"));
        store.change(A, one, Presence::Lost(WallMillis(9)), 0);
        store.submit(A, vec![publish("own", &[one]), shared("group's", one)]);
        store.submit(A, vec![Operation::SessionEnd { session: one }]);
        store.fetch(A, one, 0, 9, Which::Shared);
        store.expect(&[
            "A durable 1",
            "B durable 1",
            "A durable 2",
            "A durable 4",
            "A durable 5",
            "A fetched 1 group's; last, next 2",
            "A durable 6",
        ]);
        let finish = Operation::Finish { session: one, positions: vec![Position::new(1)] };
        store.submit(A, vec![shared("group's", other), finish]);
        store.fetch(A, one, 0, 9, Which::All);
        // Of a session of which nothing is left nothing is known.
        store.expect(&[
            "B placed 0 group's",
            "A durable 8",
            "A fetched ; last, next 0",
            "A durable 9",
        ]);
    }
}

#[test]
fn the_oldest_that_was_never_sent_gives_way() {
    let limits =
        QueueLimits { queued_messages_max: 2, queued_bytes_max: u64::MAX, drops_oldest: true };
    for mut store in stores(limits) {
        let session = store.start(A, "one");
        store.submit(A, vec![publish("sent", &[session])]);
        store.change(A, session, Presence::Lost(WallMillis(9)), 1);
        store.expect(&["A durable 1", "A placed 0 sent", "A durable 2", "A durable 3"]);
        let four = ["a", "b", "c", "d"].map(|it| publish(it, &[session]));
        store.submit(B, four.into());
        store.expect(&["A dropped 2", "B durable 4"]);
        store.fetch(A, session, 0, 9, Which::All);
        store.expect(&["A fetched 0 sent, 3 c, 4 d; last, next 5", "A durable 4"]);
    }
}

#[test]
fn a_number_is_given_once() {
    for mut store in stores(QueueLimits::default()) {
        let mut seen = Vec::new();
        for _ in 0..1_000 {
            let session = store.start(A, "one");
            store.submit(A, vec![Operation::SessionEnd { session }]);
            assert!(!seen.contains(&session));
            seen.push(session);
        }
    }
}

/// One of the stores, and what it has told.
struct Subject {
    name: &'static str,
    store: Kind,
    told: Arc<Told>,
    submitted: [u64; 2],
}

enum Kind {
    Memory(Box<Memory>),
    Log(Box<Engine<SimulatedDisk>>),
}

/// What was told, as text, in order.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

fn stores(limits: QueueLimits) -> [Subject; 2] {
    let told = [Arc::new(Told::default()), Arc::new(Told::default())];
    let memory = Memory::new(Arc::clone(&told[0]) as Arc<dyn Completions>, limits);
    let options = Options { segment_bytes: 1 << 16, limits, ..Options::default() };
    let (log, _) = Engine::open(SimulatedDisk::new(64 << 20), options).expect("the disk is empty");
    let [of_memory, of_log] = told;
    [
        Subject {
            name: "memory",
            store: Kind::Memory(Box::new(memory)),
            told: of_memory,
            submitted: [0; 2],
        },
        Subject { name: "log", store: Kind::Log(Box::new(log)), told: of_log, submitted: [0; 2] },
    ]
}

impl Subject {
    fn start(&mut self, shard: ShardIndex, client_id: &str) -> SessionNumber {
        let session = match &self.store {
            Kind::Memory(memory) => memory.new_session(),
            Kind::Log(engine) => engine.new_session(),
        };
        let identity = SessionIdentity { client_id: client_id.into(), owner: "".into() };
        self.submit(shard, vec![Operation::SessionStart { session, identity, expiry_secs: 60 }]);
        session
    }

    fn change(&mut self, shard: ShardIndex, session: SessionNumber, presence: Presence, sent: u64) {
        let sent_before = Position::new(sent);
        let change = Operation::SessionChange { session, expiry_secs: 60, presence, sent_before };
        self.submit(shard, vec![change]);
    }

    fn fetch(
        &mut self,
        shard: ShardIndex,
        session: SessionNumber,
        from: u64,
        most: u32,
        which: Which,
    ) {
        let (from, bytes_max) = (Position::new(from), u64::MAX);
        let fetch = Fetch { session, token: 5, from, entries_max: most, bytes_max, which };
        self.submit(shard, vec![Operation::Fetch(fetch)]);
    }

    fn submit(&mut self, shard: ShardIndex, operations: Vec<Operation>) {
        let submitted = &mut self.submitted[usize::from(shard.0)];
        *submitted += operations.len() as u64;
        let batch = Batch { through: Submission(*submitted), is_awaited: true, operations };
        let engine = match &mut self.store {
            Kind::Memory(memory) => return memory.submit(shard, batch),
            Kind::Log(engine) => engine,
        };
        let mut batches = VecDeque::from([(shard, batch)]);
        while !batches.is_empty() {
            engine.append(&mut batches).expect("the disk is well");
            let mut outcomes = engine.take_outcomes();
            if engine.has_unsynced() {
                assert!(outcomes.is_empty(), "nothing is told before it is durable");
                assert!(engine.is_sync_due());
                engine.sync().expect("the disk is well");
                outcomes = engine.take_outcomes();
            }
            for (shard, lookup) in engine.take_lookups() {
                self.told.fetched(shard, lookup.read().expect("the disk is well"));
            }
            outcomes.deliver(&*self.told);
        }
    }

    #[track_caller]
    fn expect(&mut self, expected: &[&str]) {
        let told = std::mem::take(&mut *self.told.0.lock().expect("nobody has panicked"));
        assert_eq!(told, expected, "{}", self.name);
    }
}

impl Told {
    fn say(&self, shard: ShardIndex, what: String) {
        let shard = if shard == A { "A" } else { "B" };
        self.0.lock().expect("nobody has panicked").push(format!("{shard} {what}"));
    }
}

impl Completions for Told {
    fn placed(&self, shard: ShardIndex, placed: Vec<Placed>) {
        for it in placed {
            self.say(shard, format!("placed {} {}", it.position.value(), payload(&it.message)));
        }
    }

    fn unplaced(&self, shard: ShardIndex, unplaced: Vec<(Attributes, Arc<Message>)>) {
        for (attributes, message) in unplaced {
            assert!(attributes.share.is_some());
            self.say(shard, format!("unplaced {}", payload(&message)));
        }
    }

    fn skipped(&self, shard: ShardIndex, target_count: u64) {
        self.say(shard, format!("skipped {target_count}"));
    }

    fn fetched(&self, shard: ShardIndex, fetched: Fetched) {
        assert_eq!(fetched.token, 5);
        let entry = |it: &quelea_store::FetchedEntry| {
            let message = it.message.as_ref().map_or("-".to_owned(), |it| payload(it));
            format!("{} {message}", it.position.value())
        };
        let entries: Vec<_> = fetched.entries.iter().map(entry).collect();
        let last = if fetched.is_last { "last, " } else { "" };
        let next = fetched.next.value();
        self.say(shard, format!("fetched {}; {last}next {next}", entries.join(", ")));
    }

    fn dropped(&self, shard: ShardIndex, dropped: Vec<Dropped>) {
        for it in dropped {
            assert!(it.bytes > 0);
            self.say(shard, format!("dropped {}", it.messages));
        }
    }

    fn durable(&self, shard: ShardIndex, through: Submission) {
        self.say(shard, format!("durable {}", through.0));
    }

    fn failed(&self, failure: StoreError) {
        panic!("{failure}");
    }
}

fn payload(message: &Message) -> String {
    String::from_utf8_lossy(message.content().payload).into_owned()
}

fn publish(text: &str, sessions: &[SessionNumber]) -> Operation {
    operation(text, sessions, None)
}

fn shared(text: &str, session: SessionNumber) -> Operation {
    operation(text, &[session], Some("$share/g/t".into()))
}

fn operation(text: &str, sessions: &[SessionNumber], share: Option<Arc<str>>) -> Operation {
    let payload = text.as_bytes();
    let content = Content { topic: "t", payload, forwarded: &[], expires_at: None };
    let subscription_ids = SubscriptionIds::new(&[]);
    let (qos, retain, retained_order) = (QoS::AtLeastOnce, false, 0);
    Operation::Publish {
        message: Message::new(&content),
        qos,
        targets: sessions
            .iter()
            .map(|session| Target { session: *session, attributes: 0 })
            .collect(),
        attributes: vec![Attributes { qos, retain, subscription_ids, share, retained_order }],
        received: None,
        retain: None,
    }
}
