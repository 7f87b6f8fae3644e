//! A broker of this process with rules, stopped when its test ends.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quelea_auth::Source;
use quelea_broker::config::{Change, Durability, Loaded, Sources};
use quelea_broker::{Broker, Config, Extensions, Totals};

use crate::client::{Client, Version};

pub(crate) struct House {
    broker: Option<Broker>,
    pub(crate) address: SocketAddr,
    /// Where an ACL file may be written.
    pub(crate) acl_file: PathBuf,
}

impl House {
    /// Starts a broker with these rules, written as in its configuration file.
    pub(crate) fn new(rules: &str) -> Self {
        Self::with_file(rules, None)
    }

    /// Starts a broker with rules in its configuration and in an ACL file.
    pub(crate) fn with_file(rules: &str, acl: Option<&str>) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("quelea-acl-{}-{number}", std::process::id());
        let acl_file = std::env::temp_dir().join(name);
        let mut config = config(rules);
        if let Some(acl) = acl {
            fs::write(&acl_file, acl).unwrap();
            config.acl_file = Some(acl_file.clone());
        }
        Self::start(config, acl_file, Extensions::default())
    }

    /// Starts a broker with these rules that asks `source` who its clients are.
    pub(crate) fn with_source(rules: &str, source: Arc<dyn Source>) -> Self {
        let sources = vec![source];
        Self::start(config(rules), PathBuf::new(), Extensions { sources, ..Extensions::default() })
    }

    fn start(config: Config, acl_file: PathBuf, extensions: Extensions) -> Self {
        let broker = Broker::start_with(config, extensions).unwrap();
        let address = broker.local_addrs()[0];
        Self { broker: Some(broker), address, acl_file }
    }

    /// Starts a broker that keeps what it must in `directory`.
    pub(crate) fn on_disk(rules: &str, directory: &Path) -> Self {
        Self::on_disk_with(rules, directory, Vec::new())
    }

    /// Starts such a broker that asks `sources` who its clients are.
    pub(crate) fn on_disk_with(
        rules: &str,
        directory: &Path,
        sources: Vec<Arc<dyn Source>>,
    ) -> Self {
        let mut config = config(rules);
        config.store.durability = Durability::Interval;
        config.store.data_dir = directory.to_owned();
        Self::start(config, PathBuf::new(), Extensions { sources, ..Extensions::default() })
    }

    /// Puts other rules in force, as SIGHUP does.
    pub(crate) fn reload(&self, config: &Config) -> Result<Vec<Change>, String> {
        self.broker.as_ref().unwrap().reload(config).map_err(|error| error.to_string())
    }

    pub(crate) fn totals(&self) -> Totals {
        self.broker.as_ref().unwrap().totals()
    }

    pub(crate) fn connect(&self, version: Version, client_id: &str) -> Client {
        Client::connect(self.address, version, client_id)
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(broker) = self.broker.take() {
            broker.stop();
        }
        // Not all have one.
        let _ = fs::remove_file(&self.acl_file);
    }
}

/// Returns the configuration of a broker with two shards and these rules.
pub(crate) fn config(rules: &str) -> Config {
    let text = format!("allow_anonymous = true\nshards = 2\n{rules}");
    let file = Some(("test.toml".to_owned(), text));
    let flag = |key: &str, value: &str| quelea_broker::config::Flag {
        flag: key.to_owned(),
        key: key.to_owned(),
        value: value.to_owned(),
    };
    let flags = vec![flag("listener.address", "127.0.0.1:0")];
    let mut config =
        Loaded::from_sources(&Sources { file, flags, ..Sources::default() }).unwrap().config;
    config.store.durability = Durability::Memory;
    config.stop.flush_timeout_secs = 1;
    config
}
