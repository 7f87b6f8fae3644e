//! A broker of this process, stopped when its test ends.

use std::net::SocketAddr;

use quelea_broker::config::{Durability, Listener, Loaded, Rates, Sources, Tls};
use quelea_broker::{Broker, Config, StartError, Totals};

use crate::pki::{Directory, Identity};

pub(crate) struct House {
    broker: Option<Broker>,
    pub(crate) address: SocketAddr,
    pub(crate) directory: Directory,
}

impl House {
    /// Starts a broker with one listener, as `change` would have it.
    pub(crate) fn new(change: impl FnOnce(&mut Listener, &Directory)) -> Self {
        let directory = Directory::new();
        let mut listener = Listener::new(([127, 0, 0, 1], 0).into());
        change(&mut listener, &directory);
        let broker = start(listener).unwrap();
        let address = broker.local_addrs()[0];
        Self { broker: Some(broker), address, directory }
    }

    /// Starts a broker with a whole configuration, and the directory that its files are in.
    pub(crate) fn with_config(config: Config, directory: Directory) -> Self {
        let broker = Broker::start(config).unwrap();
        let address = broker.local_addrs()[0];
        Self { broker: Some(broker), address, directory }
    }

    /// Starts a broker with one listener, held to `rates`.
    pub(crate) fn with_rates(listener: Listener, rates: Rates) -> Self {
        Self::with_config(Config { rates, ..config(listener) }, Directory::new())
    }

    /// Starts a broker with one listener for TLS, as `change` would have it.
    pub(crate) fn with_tls(identity: &Identity, change: impl FnOnce(&mut Tls, &Directory)) -> Self {
        Self::new(|listener, directory| {
            let mut tls = tls(identity, directory);
            change(&mut tls, directory);
            listener.tls = Some(tls);
        })
    }

    /// Has the broker read the files of TLS again, at once.
    pub(crate) fn reload(&self) {
        self.broker.as_ref().unwrap().reload_files();
    }

    /// Puts another configuration in force, as SIGHUP does.
    pub(crate) fn apply(&self, config: &Config) {
        self.broker.as_ref().unwrap().reload(config).unwrap();
    }

    pub(crate) fn totals(&self) -> Totals {
        self.broker.as_ref().unwrap().totals()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(broker) = self.broker.take() {
            broker.stop();
        }
    }
}

/// Starts a broker with two shards, so that half of the clients move.
pub(crate) fn start(listener: Listener) -> Result<Broker, StartError> {
    Broker::start(config(listener))
}

pub(crate) fn config(listener: Listener) -> Config {
    let mut config = Config {
        listeners: vec![listener],
        shards: Some(2.try_into().unwrap()),
        allow_anonymous: Some(true),
        ..Config::default()
    };
    config.store.durability = Durability::Memory;
    config.stop.flush_timeout_secs = 1;
    config
}

/// Returns the listener that a configuration file describes.
pub(crate) fn listener_of(text: &str) -> Listener {
    let file = Some(("test.toml".to_owned(), format!("allow_anonymous = true\n{text}")));
    let loaded = Loaded::from_sources(&Sources { file, ..Sources::default() }).unwrap();
    loaded.config.listeners[0].clone()
}

pub(crate) fn tls(identity: &Identity, directory: &Directory) -> Tls {
    let (certificate, key) = identity.write(directory, "server");
    Tls { certificates: vec![certificate], keys: vec![key], ..Tls::default() }
}
