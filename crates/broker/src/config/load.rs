//! Joins what the file, the environment and the flags say into one configuration.
//!
//! Flags win over the environment, that over the file, and that over the defaults. Nothing stops at the first
//! mistake: whoever edits a configuration is told all of them.

use super::check::listener_key;
use super::file::read_file;
use super::listener::{self, Listener};
use super::mistake::{Mistake, Mistakes, Origin, Origins};
use super::nearest::nearest_key;
use super::value::Raw;
use super::{AclRule, Ban, Config, Setting};

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The configuration file: its name, for messages, and its text.
    pub file: Option<(String, String)>,
    /// Environment variables. Those that do not begin with `QUELEA_` are passed over.
    pub environment: Vec<(String, String)>,
    /// What the command line sets.
    pub flags: Vec<Flag>,
}

/// A setting made by the command line.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The flag as the user knows it: `--listen`.
    pub flag: String,
    /// The setting's key: `limits.connections_max`. Several flags with the key `listener.address` add up.
    pub key: String,
    /// The value, as text.
    pub value: String,
}

/// A configuration, and where its settings were given.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// What to run with.
    pub config: Config,
    /// Where each setting that has been given was given. The others are defaults.
    pub origins: Origins,
}

impl Loaded {
    /// Loads a configuration and checks it as a whole.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn from_sources(sources: &Sources) -> Result<Self, Mistakes> {
        let mut loading = Loading::default();
        if let Some((name, text)) = &sources.file {
            read_file(name, text, &mut loading);
        }
        for (variable, value) in &sources.environment {
            loading.environment_variable(variable, value);
        }
        loading.flags(&sources.flags);
        loading.finish()
    }
}

/// A configuration that is being put together.
#[derive(Default)]
pub(super) struct Loading {
    loaded: Loaded,
    mistakes: Vec<Mistake>,
}

impl Loading {
    /// Sets `setting`, or notes why not.
    pub(super) fn set(&mut self, setting: &Setting, raw: Raw<'_>, origin: Origin) {
        match (setting.read)(&mut self.loaded.config, raw, &setting.kind) {
            Ok(()) => {
                self.loaded.origins.insert(setting.key(), origin);
            }
            Err(expected) => self.mistake(origin, format!("{} {expected}", setting.key())),
        }
    }

    /// Replaces the listeners by those of a source that names some.
    pub(super) fn set_listeners(&mut self, listeners: Vec<(Origin, Listener)>) {
        if listeners.is_empty() {
            return;
        }
        self.loaded.config.listeners.clear();
        for (origin, listener) in listeners {
            self.loaded.origins.insert(listener_key(&listener), origin);
            self.loaded.config.listeners.push(listener);
        }
    }

    /// Takes up who may not connect. Only a file says so.
    pub(super) fn set_bans(&mut self, bans: Vec<Ban>) {
        self.loaded.config.banned = bans;
    }

    /// Adds a rule behind those that were read before.
    pub(super) fn add_acl_rule(&mut self, rule: AclRule) {
        self.loaded.config.acl.push(rule);
    }

    /// Replaces the listeners by plain ones on `addresses`.
    fn set_addresses(&mut self, addresses: Vec<(Origin, String)>) {
        let mut listeners = Vec::new();
        for (origin, address) in addresses {
            match listener::read_address(&address) {
                Ok(address) => listeners.push((origin, Listener::at(address))),
                Err(expected) => self.mistake(origin, expected),
            }
        }
        self.set_listeners(listeners);
    }

    /// Notes a key that no setting has.
    pub(super) fn unknown_key(&mut self, origin: Origin, key: &str) {
        let mut message = format!("there is no setting \"{key}\"");
        if let Some(nearest) = nearest_key(key) {
            message.push_str(&format!("; the nearest is \"{nearest}\""));
        }
        self.mistake(origin, message);
    }

    /// Notes a mistake.
    pub(super) fn mistake(&mut self, origin: Origin, message: String) {
        self.mistakes.push(Mistake { origin: Some(origin), message });
    }

    fn environment_variable(&mut self, variable: &str, value: &str) {
        let Some(name) = variable.strip_prefix(PREFIX) else {
            return;
        };
        if NOT_SETTINGS.contains(&name)
            || SERVICE_LINKS.iter().any(|prefix| name.starts_with(prefix))
        {
            return;
        }
        let origin = Origin::Environment(variable.to_owned());
        if name == LISTEN {
            let addresses = value.split(',').map(|it| (origin.clone(), it.trim().to_owned()));
            self.set_addresses(addresses.collect());
        } else if let Some(setting) =
            Config::settings().find(|setting| setting.variable() == variable)
        {
            self.set(setting, Raw::Word(value), origin);
        } else {
            self.unknown_variable(origin, variable);
        }
    }

    fn unknown_variable(&mut self, origin: Origin, variable: &str) {
        // The first underscore may stand for the dot of a table, or not: the nearer reading counts.
        let name = variable[PREFIX.len()..].to_lowercase();
        let nearest = nearest_key(&name.replacen('_', ".", 1)).or_else(|| nearest_key(&name));
        let nearest =
            nearest.and_then(|key| Config::settings().find(|setting| setting.key() == key));
        let mut message = "sets nothing".to_owned();
        if let Some(setting) = nearest {
            message.push_str(&format!("; the nearest is {}", setting.variable()));
        }
        self.mistake(origin, message);
    }

    fn flags(&mut self, flags: &[Flag]) {
        let (listeners, settings): (Vec<_>, Vec<_>) =
            flags.iter().partition(|flag| flag.key == listener::ADDRESS_KEY);
        let origin = |flag: &Flag| Origin::Flag(flag.flag.clone());
        let addresses = listeners.iter().map(|flag| (origin(flag), flag.value.clone()));
        self.set_addresses(addresses.collect());
        for flag in settings {
            match Config::settings().find(|setting| setting.key() == flag.key) {
                Some(setting) => {
                    self.check_once(setting, flag);
                    self.set(setting, Raw::Word(&flag.value), origin(flag));
                }
                None => self.unknown_key(origin(flag), &flag.key),
            }
        }
    }

    /// Two different flags for one setting leave open which is meant. The same one twice does not: the last.
    fn check_once(&mut self, setting: &Setting, flag: &Flag) {
        let key = setting.key();
        if let Some(Origin::Flag(other)) = self.loaded.origins.get(&key)
            && *other != flag.flag
        {
            let message = format!("{key} is set by {other} too");
            self.mistake(Origin::Flag(flag.flag.clone()), message);
        }
    }

    fn finish(mut self) -> Result<Loaded, Mistakes> {
        self.mistakes.extend(self.loaded.config.mistakes(&self.loaded.origins));
        Mistakes::none_or(self.mistakes)?;
        Ok(self.loaded)
    }
}

/// What the environment variables of settings begin with.
const PREFIX: &str = "QUELEA_";

/// The variable of the listeners' addresses, separated by commas, without the prefix.
const LISTEN: &str = "LISTEN";

/// Variables that the command line reads for itself.
const NOT_SETTINGS: &[&str] = &["CONFIG"];

/// Kubernetes gives every container such variables for a service named `quelea`; they are nobody's mistake.
const SERVICE_LINKS: &[&str] = &["PORT", "SERVICE_"];
