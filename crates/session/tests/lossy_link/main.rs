//! A session and a client that keeps to the protocol, over a link that breaks at any moment, with a host whose
//! store answers late and may crash: nothing is lost, nothing comes twice, nothing is out of order, nothing
//! leaks.

mod client;
mod file;
mod host;
mod library;
mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use quelea_codec::{QoS, Version};
use quelea_session::{Class, Overflow, SessionLimits};

use client::Client;
use host::Host;
use library::LibraryClient;
use wire::Wire;

/// One step of a run.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A message for the client.
    ToClient {
        qos: QoS,
        /// Positions that the store has given to nobody.
        gap: u64,
        expires: bool,
    },
    /// A message from the client.
    FromClient(QoS),
    /// The host writes what it may.
    Pump,
    /// What the host has written goes onto the link.
    Flush,
    /// The client takes packets from the link, and answers later.
    ClientReads(u8),
    /// The client answers, in order.
    ClientWrites(u8),
    /// The host takes packets from the link.
    HostReads(u8),
    /// The store completes operations.
    StoreCompletes(u8),
    /// A second passes.
    Tick,
    /// The link breaks with all that is on it, and is made again with another window.
    Reconnect { window: u16 },
    /// The host forgets all that the store does not know.
    Crash { window: u16 },
    /// What the client has submitted to its file is there for certain.
    FileSyncs,
    /// The client's process dies, and the next begins with its file: what was synced, and so many records more.
    ClientCrash { window: u16, kept: u8 },
}

impl Step {
    fn keeps_the_connection(&self) -> bool {
        !matches!(self, Self::Reconnect { .. } | Self::Crash { .. })
    }

    fn is_for_the_client(&self) -> bool {
        matches!(self, Self::ToClient { .. })
    }
}

/// What is the same for a whole run.
#[derive(Clone, Copy, Debug)]
struct Setting {
    version: Version,
    class: Class,
    window: u16,
    overflow: Overflow,
    outbox_bytes_max: usize,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn live_sessions_deliver_while_they_last(
        setting in setting(Class::Live),
        steps in prop::collection::vec(step(), 0..300),
    ) {
        run(plain_client(setting), setting, steps.into_iter().filter(Step::keeps_the_connection));
    }

    #[test]
    fn live_sessions_and_our_client_deliver_while_they_last(
        setting in setting(Class::Live),
        steps in prop::collection::vec(step(), 0..300),
    ) {
        run(library_client(setting), setting, steps.into_iter().filter(Step::keeps_the_connection));
    }

    #[test]
    fn durable_sessions_deliver_over_broken_connections_and_crashes(
        setting in setting(Class::Durable),
        steps in prop::collection::vec(step(), 0..300),
    ) {
        run(plain_client(setting), setting, steps.into_iter());
    }

    #[test]
    fn durable_sessions_and_our_client_deliver_over_broken_connections_and_crashes(
        setting in setting(Class::Durable),
        steps in prop::collection::vec(step(), 0..300),
    ) {
        run(library_client(setting), setting, steps.into_iter());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Exactly once at QoS 2, though the process that publishes dies at any moment. What it receives is the next one's
    /// again, and so nothing is sent to it here.
    #[test]
    fn what_a_client_has_kept_is_published_by_the_next_process(
        setting in setting(Class::Durable),
        steps in prop::collection::vec(step_of_a_keeper(), 0..300),
    ) {
        let client =
            LibraryClient::keeping(setting.version, setting.window, host::RECEIVE_MAXIMUM);
        run(client, setting, steps.into_iter().filter(|it| !it.is_for_the_client()));
    }
}

/// The broker forgets a packet identifier with its PUBREL. If that goes out again on a new connection before the file has
/// that the broker has the message, and the process dies, the next one publishes a second time.
#[test]
fn what_the_broker_has_is_kept_before_its_pubrel_goes_out_again() {
    let setting = Setting {
        version: Version::V5,
        class: Class::Durable,
        window: 3,
        overflow: Overflow::RejectNewest,
        outbox_bytes_max: 1000,
    };
    let there_and_back = [
        Step::ClientWrites(9),
        Step::HostReads(9),
        Step::StoreCompletes(9),
        Step::Pump,
        Step::Flush,
        Step::ClientReads(9),
    ];
    let begin = [Step::FromClient(QoS::ExactlyOnce), Step::ClientWrites(9), Step::FileSyncs];
    let steps = begin.into_iter().chain(there_and_back).chain([Step::Reconnect { window: 3 }]);
    let end = Step::ClientCrash { window: 3, kept: 0 };
    let client = LibraryClient::keeping(setting.version, setting.window, host::RECEIVE_MAXIMUM);
    run(client, setting, steps.chain(there_and_back).chain([end]));
}

fn plain_client(setting: Setting) -> Client {
    Client::new(setting.window, host::RECEIVE_MAXIMUM)
}

fn library_client(setting: Setting) -> LibraryClient {
    LibraryClient::new(setting.version, setting.window, host::RECEIVE_MAXIMUM)
}

fn run(client: impl Peer, setting: Setting, steps: impl Iterator<Item = Step>) {
    let mut world = World::new(client, setting);
    for step in steps {
        world.step(step);
        world.host.check_bounds();
    }
    world.finish();
}

/// The client's end of the link.
trait Peer {
    /// Has a message published in its turn.
    fn publish(&mut self, qos: QoS);

    /// The link was made again.
    fn reconnect(&mut self, window: u16);

    /// What is to survive the process is kept.
    fn sync(&mut self) {}

    /// The process has died, and the next is connected.
    fn crash(&mut self, _window: u16, _kept: u8) {
        unreachable!("nothing of it would survive");
    }

    fn read(&mut self, packet: Wire);

    /// Writes up to `count` packets.
    fn write(&mut self, count: u8) -> Vec<Wire>;

    /// Returns whether nothing is left that happens without the host.
    fn is_at_rest(&self) -> bool;

    fn check_at_rest(&self);

    fn received(&self) -> &[(QoS, u32)];

    fn published(&self) -> &[(QoS, u32)];
}

/// Both ends and the link between them.
struct World<P> {
    host: Host,
    client: P,
    to_client: VecDeque<Wire>,
    to_host: VecDeque<Wire>,
}

impl<P: Peer> World<P> {
    fn new(client: P, setting: Setting) -> Self {
        let limits = SessionLimits {
            queued_messages_max: 8,
            queued_bytes_max: 1000,
            overflow: setting.overflow,
        };
        Self {
            host: Host::new(setting, limits),
            client,
            to_client: VecDeque::new(),
            to_host: VecDeque::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::ToClient { qos, gap, expires } => self.host.offer(qos, gap, expires),
            Step::FromClient(qos) => self.client.publish(qos),
            Step::Pump => self.host.pump(),
            Step::Flush => self.to_client.extend(self.host.flush()),
            Step::ClientReads(count) => {
                for packet in take(&mut self.to_client, count) {
                    self.client.read(packet);
                }
            }
            Step::ClientWrites(count) => self.to_host.extend(self.client.write(count)),
            Step::HostReads(count) => {
                for packet in take(&mut self.to_host, count) {
                    self.host.read(packet);
                }
            }
            Step::StoreCompletes(count) => self.host.store_completes(count),
            Step::Tick => self.host.tick(),
            Step::Reconnect { window } => {
                self.host.reconnect(window);
                self.relink(window);
            }
            Step::Crash { window } => {
                self.host.crash(window);
                self.relink(window);
            }
            Step::FileSyncs => self.client.sync(),
            Step::ClientCrash { window, kept } => {
                self.host.reconnect(window);
                self.to_client.clear();
                self.to_host.clear();
                self.client.crash(window, kept);
            }
        }
    }

    fn relink(&mut self, window: u16) {
        self.to_client.clear();
        self.to_host.clear();
        self.client.reconnect(window);
    }

    /// Lets everything come to rest, and looks at what came of it.
    fn finish(mut self) {
        for _ in 0..5000 {
            for step in [
                Step::Pump,
                Step::Flush,
                Step::ClientReads(u8::MAX),
                Step::FileSyncs,
                Step::ClientWrites(u8::MAX),
                Step::HostReads(u8::MAX),
                Step::StoreCompletes(u8::MAX),
            ] {
                self.step(step);
            }
            let is_link_empty = self.to_client.is_empty() && self.to_host.is_empty();
            if is_link_empty && self.host.is_at_rest() && self.client.is_at_rest() {
                break;
            }
        }
        self.host.check_at_rest();
        self.client.check_at_rest();
        check_deliveries(&self.host.expected, &self.host.revived, self.client.received());
        check_routed(self.client.published(), &self.host.routed);
    }
}

/// QoS 1 at least once, QoS 2 exactly once, and each QoS in order.
fn check_deliveries(
    expected: &BTreeMap<u32, QoS>,
    revived: &BTreeSet<u32>,
    received: &[(QoS, u32)],
) {
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    let mut last = [None; 3];
    for &(qos, number) in received {
        let count = counts.entry(number).or_default();
        *count += 1;
        if *count == 1 && !revived.contains(&number) {
            let last = &mut last[usize::from(qos.to_byte())];
            assert!(last.is_none_or(|last| last < number), "{number} after {last:?} at {qos:?}");
            *last = Some(number);
        }
    }
    for (number, qos) in expected {
        let count = counts.get(number).copied().unwrap_or_default();
        match qos {
            QoS::AtMostOnce => assert!(count <= 1, "{number} came {count} times"),
            QoS::AtLeastOnce => assert!(count >= 1, "{number} is lost"),
            QoS::ExactlyOnce => assert_eq!(count, 1, "{number}"),
        }
    }
    assert!(counts.keys().all(|number| expected.contains_key(number)), "dropped, and yet received");
}

/// The same for messages of the client; those at QoS 2 in the order published.
fn check_routed(published: &[(QoS, u32)], routed: &[(QoS, u32)]) {
    for &(qos, number) in published {
        let count = routed.iter().filter(|it| it.1 == number).count();
        match qos {
            QoS::AtMostOnce => assert!(count <= 1, "{number} routed {count} times"),
            QoS::AtLeastOnce => assert!(count >= 1, "{number} is lost"),
            QoS::ExactlyOnce => assert_eq!(count, 1, "{number}"),
        }
    }
    let is_published = |number| published.iter().any(|it| it.1 == number);
    assert!(routed.iter().all(|it| is_published(it.1)), "sent, and then not kept: {routed:?}");
    let once: Vec<u32> =
        routed.iter().filter(|it| it.0 == QoS::ExactlyOnce).map(|it| it.1).collect();
    assert!(once.is_sorted(), "{once:?}");
}

fn take(packets: &mut VecDeque<Wire>, count: u8) -> Vec<Wire> {
    let count = packets.len().min(usize::from(count));
    packets.drain(..count).collect()
}

fn setting(class: Class) -> impl Strategy<Value = Setting> {
    let version = prop::sample::select(Version::ALL.to_vec());
    let overflow = prop::sample::select(vec![Overflow::RejectNewest, Overflow::DropOldest]);
    (version, 1..5u16, overflow, prop::sample::select(vec![30usize, 1000])).prop_map(
        move |(version, window, overflow, outbox_bytes_max)| Setting {
            version,
            class,
            window,
            overflow,
            outbox_bytes_max,
        },
    )
}

fn step_of_a_keeper() -> impl Strategy<Value = Step> {
    // Bursts, and few syncs: else the file has nearly always all that was sent.
    let burst = prop::sample::select(QoS::ALL.to_vec()).prop_map(Step::FromClient);
    prop_oneof![
        20 => step(),
        8 => burst,
        2 => Just(Step::FileSyncs),
        1 => (1..5u16).prop_map(|window| Step::Reconnect { window }),
        1 => (1..5u16, 0..4u8).prop_map(|(window, kept)| Step::ClientCrash { window, kept }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let qos = || prop::sample::select(QoS::ALL.to_vec());
    let count = || 1..6u8;
    let window = || 1..5u16;
    prop_oneof![
        6 => (qos(), prop_oneof![9 => Just(0), 1 => 1..100u64], prop::bool::weighted(0.1))
            .prop_map(|(qos, gap, expires)| Step::ToClient { qos, gap, expires }),
        4 => qos().prop_map(Step::FromClient),
        4 => Just(Step::Pump),
        6 => Just(Step::Flush),
        6 => count().prop_map(Step::ClientReads),
        6 => count().prop_map(Step::ClientWrites),
        6 => count().prop_map(Step::HostReads),
        5 => count().prop_map(Step::StoreCompletes),
        1 => Just(Step::Tick),
        1 => window().prop_map(|window| Step::Reconnect { window }),
        1 => window().prop_map(|window| Step::Crash { window }),
    ]
}
