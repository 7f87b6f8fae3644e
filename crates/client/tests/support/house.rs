//! A broker in this process, for one test.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::thread;

use quelea_broker::config::{Durability, Listener};
use quelea_broker::{Broker, Config, Extensions};

/// A broker that stops when it is dropped.
pub struct House {
    broker: Option<Broker>,
    pub address: SocketAddr,
}

impl House {
    pub fn new() -> Self {
        Self::with(|_| {}, Extensions::default())
    }

    pub fn with(change: impl FnOnce(&mut Config), extensions: Extensions) -> Self {
        let mut config = Config {
            listeners: vec![Listener::new(([127, 0, 0, 1], 0).into())],
            shards: NonZeroUsize::new(1),
            ..Config::default()
        };
        config.store.durability = Durability::Memory;
        config.stop.flush_timeout_secs = 1;
        change(&mut config);
        // Its runtime cannot start on a thread that runs the test's.
        let start = move || Broker::start_with(config, extensions);
        let started = thread::spawn(start).join().expect("starting does not panic");
        let broker = started.expect("port 0 is always free");
        let address = broker.local_addrs()[0];
        Self { broker: Some(broker), address }
    }

    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(broker) = self.broker.take() {
            // Nobody waits for it: the clients that it takes its leave of may be on this thread.
            thread::spawn(|| broker.stop());
        }
    }
}
