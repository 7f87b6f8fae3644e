//! A broker in this process, for one test.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;
use std::{fs, process};

use quelea_broker::config::Listener;
use quelea_broker::{Broker, Config, Extensions, Totals};

use crate::client::{Client, Options, PATIENCE};

/// A broker that stops when it is dropped.
pub(crate) struct House {
    broker: Option<Broker>,
    pub(crate) address: SocketAddr,
    data_dir: Option<DataDir>,
    config: Config,
}

/// A directory of a broker's own, until it is dropped.
struct DataDir(PathBuf);

impl DataDir {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("stress-{}-{count}", process::id());
        Self(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name))
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        // One that stays is in nobody's way.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl House {
    /// Starts a broker with this many shards.
    pub(crate) fn new(shards: usize) -> Self {
        Self::with(shards, |_| {})
    }

    pub(crate) fn with(shards: usize, change: impl FnOnce(&mut Config)) -> Self {
        Self::with_extensions(shards, change, Extensions::default())
    }

    pub(crate) fn with_extensions(
        shards: usize,
        change: impl FnOnce(&mut Config),
        extensions: Extensions,
    ) -> Self {
        let mut config = Config {
            listeners: vec![Listener::new(([127, 0, 0, 1], 0).into())],
            shards: NonZeroUsize::new(shards),
            ..Config::default()
        };
        config.stop.flush_timeout_secs = 1;
        change(&mut config);
        Self::open(config, DataDir::new(), extensions)
    }

    fn open(mut config: Config, data_dir: DataDir, extensions: Extensions) -> Self {
        config.store.data_dir.clone_from(&data_dir.0);
        let kept = config.clone();
        let broker = Broker::start_with(config, extensions).expect("port 0 is always free");
        let address = broker.local_addrs()[0];
        Self { broker: Some(broker), address, data_dir: Some(data_dir), config: kept }
    }

    /// Connects a client with a clean session.
    #[track_caller]
    pub(crate) fn client(&self, client_id: &str) -> Client {
        Client::connect(self.address, &Options::new(client_id))
    }

    #[track_caller]
    pub(crate) fn connect(&self, options: &Options) -> Client {
        Client::connect(self.address, options)
    }

    /// Has the running broker take up another configuration.
    pub(crate) fn reload(&self, change: impl FnOnce(&mut Config)) {
        let mut next = self.config.clone();
        change(&mut next);
        let broker = self.broker.as_ref().expect("the broker runs until the house is dropped");
        broker.reload(&next).expect("the configuration is good");
    }

    pub(crate) fn totals(&self) -> Totals {
        self.broker.as_ref().expect("the broker runs until the house is dropped").totals()
    }

    /// Waits until the counters are as wanted. Each look costs a round trip to the broker, so that it gets on
    /// meanwhile.
    #[track_caller]
    pub(crate) fn wait_until(&self, what: &str, is_so: impl Fn(&Totals) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut probe = self.client("probe");
        while !is_so(&self.totals()) {
            assert!(Instant::now() < deadline, "{what}: {:#?}", self.totals());
            probe.before_pong();
        }
    }

    /// Waits until every connection has been closed, but that of the one who looks.
    #[track_caller]
    pub(crate) fn wait_until_empty(&self) {
        self.wait_until("connections are left", |it| {
            it.connections_opened - it.connections_closed == 1
        });
    }

    /// Stops the broker in good order, and starts another with the same data.
    pub(crate) fn restart(mut self) -> Self {
        if let Some(broker) = self.broker.take() {
            broker.stop();
        }
        let data_dir = self.data_dir.take().expect("it has one until it is dropped");
        Self::open(self.config.clone(), data_dir, Extensions::default())
    }

    /// Stops the broker in good order.
    pub(crate) fn stop(mut self) {
        if let Some(broker) = self.broker.take() {
            broker.stop();
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // A test that has failed is not to wait for its clients.
        if let Some(broker) = self.broker.take().filter(|_| !std::thread::panicking()) {
            broker.stop();
        }
    }
}
