//! A broker for one test, and what can be done to it.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use quelea_broker::config::{Durability, Listener};
use quelea_broker::{Broker, Config};

use crate::conditions::{Conditions, Way};
use crate::directory::Directory;
use crate::relay::Relay;

/// A broker that runs until it is dropped, and the way to it.
///
/// See the [crate](crate) for what can go wrong on demand.
pub struct TestBroker {
    relay: Relay,
    config: Config,
    /// Absent while it is killed.
    broker: Option<Broker>,
    /// Where it keeps what it is to remember, if it is durable.
    directory: Option<Directory>,
}

/// A broker that is to be started.
#[must_use = "it is started by `start`"]
pub struct Setup {
    config: Config,
    is_durable: bool,
}

impl Setup {
    /// Has the broker keep sessions and messages over a restart, in a directory that is removed in the end.
    pub fn durable(mut self) -> Self {
        self.is_durable = true;
        self
    }

    /// Changes the broker's settings. Where it listens and where it stores is the kit's to say.
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Starts the broker. It serves clients when this returns.
    ///
    /// # Panics
    ///
    /// If the system has no port, thread or directory for it.
    #[track_caller]
    pub fn start(self) -> TestBroker {
        let relay = Relay::start().unwrap_or_else(|it| panic!("no port for a test broker: {it}"));
        let mut broker = TestBroker { relay, config: self.config, broker: None, directory: None };
        broker.config.listeners = vec![Listener::new((Ipv4Addr::LOCALHOST, 0).into())];
        broker.config.store.durability = Durability::Memory;
        if self.is_durable {
            // It is closed in good order: a sync for each message would only make it slower.
            broker.config.store.durability = Durability::Interval;
            broker.new_directory();
        }
        broker.begin_life();
        broker
    }
}

impl TestBroker {
    /// Starts a broker that has everything in memory.
    ///
    /// # Panics
    ///
    /// As [`Setup::start`].
    #[track_caller]
    pub fn start() -> Self {
        Self::setup().start()
    }

    /// Starts a broker that keeps sessions and messages over a [restart](Self::restart).
    ///
    /// # Panics
    ///
    /// As [`Setup::start`].
    #[track_caller]
    pub fn durable() -> Self {
        Self::setup().durable().start()
    }

    /// Returns a broker to be started, for settings of its own.
    pub fn setup() -> Setup {
        let mut config = Config { shards: NonZeroUsize::new(1), ..Config::default() };
        // Whoever leaves is not waited for, and may come again at once.
        config.stop.flush_timeout_secs = 0;
        config.store.restart_grace_secs = 0;
        Setup { config, is_durable: false }
    }

    /// Returns where clients connect to, such as `mqtt://127.0.0.1:40123`: the same as long as this lives.
    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address())
    }

    /// Returns address and port of [`url`](Self::url).
    pub fn address(&self) -> SocketAddr {
        self.relay.address
    }

    /// Returns where clients connect to that no fault is to touch. After a restart it is elsewhere.
    ///
    /// # Panics
    ///
    /// While the broker is [killed](Self::kill).
    #[track_caller]
    pub fn direct_url(&self) -> String {
        let address = self.relay.conditions.borrow().broker;
        format!("mqtt://{}", address.expect("the broker was killed, and not restarted"))
    }

    /// Breaks all connections. New ones are made.
    pub fn cut(&self) {
        self.change(|it| it.cuts += 1);
    }

    /// Ends each new connection at once. Those that there are go on.
    pub fn refuse(&self) {
        self.change(|it| it.way = Way::Refusing);
    }

    /// Lets nothing pass, and ends nothing: only a timeout shows that something is wrong. What is under way when the way
    /// is [restored](Self::restore) arrives then.
    pub fn black_hole(&self) {
        self.change(|it| it.way = Way::Dark);
    }

    /// Delays all bytes that are sent from now on, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.change(|it| it.delay = delay);
    }

    /// Drops each PUBACK, PUBREC and PUBCOMP of the broker.
    pub fn drop_acknowledgements(&self) {
        self.change(|it| it.drops_acknowledgements = true);
    }

    /// Breaks the connection in place of each of the next `count` acknowledgements: the broker has the message, and its
    /// publisher does not know.
    pub fn cut_at_acknowledgements(&self, count: u64) {
        self.change(|it| it.acknowledgements_to_cut = count);
    }

    /// Returns how many acknowledgements were dropped or replaced by the end of their connection.
    pub fn acknowledgements_lost(&self) -> u64 {
        self.relay.conditions.borrow().acknowledgements_lost
    }

    /// Returns how many connections there are, but for direct ones.
    pub fn connections(&self) -> usize {
        self.relay.conditions.borrow().connections
    }

    /// Ends what [`refuse`](Self::refuse), [`black_hole`](Self::black_hole), [`delay`](Self::delay) and those that lose
    /// acknowledgements have begun.
    pub fn restore(&self) {
        self.change(Conditions::restore);
    }

    /// Breaks all connections, and ends the broker. New connections end at once until it is restarted.
    pub fn kill(&mut self) {
        self.change(|it| {
            it.broker = None;
            it.cuts += 1;
        });
        if let Some(broker) = self.broker.take() {
            // Like starting: not on a thread that runs the test's runtime.
            let stopped = thread::spawn(|| broker.stop()).join();
            stopped.expect("stopping does not panic");
        }
        self.change(|it| it.buried += 1);
    }

    /// Starts the broker anew, having [killed](Self::kill) it if it runs. A [durable](Self::durable) one has its sessions
    /// and messages.
    ///
    /// # Panics
    ///
    /// As [`Setup::start`].
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill();
        self.begin_life();
    }

    /// Starts the broker anew, as [`restart`](Self::restart) does, but nothing is left of what it had.
    ///
    /// # Panics
    ///
    /// As [`Setup::start`].
    #[track_caller]
    pub fn restart_empty(&mut self) {
        self.kill();
        if self.directory.is_some() {
            self.new_directory();
        }
        self.begin_life();
    }

    #[track_caller]
    fn begin_life(&mut self) {
        let config = self.config.clone();
        // The broker has a runtime, which cannot start on a thread that runs the test's.
        let started = thread::spawn(move || Broker::start(config)).join();
        let broker = started.expect("starting does not panic");
        let broker = broker.unwrap_or_else(|it| panic!("the test broker does not start: {it}"));
        let address = broker.local_addrs()[0];
        self.broker = Some(broker);
        self.change(|it| it.broker = Some(address));
    }

    #[track_caller]
    fn new_directory(&mut self) {
        let directory =
            Directory::new().unwrap_or_else(|it| panic!("no directory for a test broker: {it}"));
        directory.path().clone_into(&mut self.config.store.data_dir);
        self.directory = Some(directory);
    }

    fn change(&self, change: impl FnOnce(&mut Conditions)) {
        self.relay.conditions.send_modify(change);
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        self.kill();
    }
}

impl std::fmt::Debug for TestBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestBroker").field("url", &self.url()).finish_non_exhaustive()
    }
}
