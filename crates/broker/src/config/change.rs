//! What a new configuration changes in a running broker.

use std::fmt;

use super::check::listener_key;
use super::{Config, Listener, Mistakes, Setting, acl, listener_keys};

/// A setting that a new configuration gives another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The setting, or the listener and its key.
    pub key: String,
    /// The value so far, as TOML; nothing when it was not set.
    pub old: Option<String>,
    /// The value to come.
    pub new: Option<String>,
    /// When it takes effect.
    pub takes_effect: TakesEffect,
}

/// When a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakesEffect {
    /// With the reload. What is announced to clients in CONNACK holds for connections from here on.
    AtOnce,
    /// With the next start of the broker.
    AtRestart,
}

impl Config {
    /// Returns what `next` changes.
    pub fn changes(&self, next: &Self) -> Vec<Change> {
        let mut changes = listener_changes(&self.listeners, &next.listeners);
        if self.banned != next.banned {
            let show = |config: &Self| Some(format!("{} in all", config.banned.len()));
            let (old, new) = (show(self), show(next));
            changes.push(Change {
                key: "ban".to_owned(),
                old,
                new,
                takes_effect: TakesEffect::AtOnce,
            });
        }
        if self.acl != next.acl {
            let count = |config: &Self| Some(format!("{} rules", config.acl.len()));
            let (key, takes_effect) = (acl::TABLE.to_owned(), TakesEffect::AtOnce);
            changes.push(Change { key, old: count(self), new: count(next), takes_effect });
        }
        for setting in Self::settings() {
            let (old, new) = (setting.show(self), setting.show(next));
            if old != new {
                let takes_effect = setting.takes_effect();
                changes.push(Change { key: setting.key(), old, new, takes_effect });
            }
        }
        changes
    }

    /// Returns this configuration with what a running broker can take up of `next`.
    ///
    /// # Errors
    ///
    /// Together with what only a restart would change it is no good.
    pub fn reloaded(&self, next: &Self) -> Result<Self, Mistakes> {
        let mut config = self.clone();
        for setting in Self::settings() {
            if setting.takes_effect() == TakesEffect::AtOnce {
                (setting.copy)(next, &mut config);
            }
        }
        for (index, listener) in config.listeners.iter_mut().enumerate() {
            if let Some(after) = counterpart(&self.listeners, index, &next.listeners) {
                listener.authentication.clone_from(&after.authentication);
            }
        }
        config.banned.clone_from(&next.banned);
        config.acl.clone_from(&next.acl);
        config.check()?;
        Ok(config)
    }
}

impl Setting {
    /// Returns when a change of this setting takes effect.
    pub fn takes_effect(&self) -> TakesEffect {
        let key = self.key();
        let is_reloaded = RELOADED.iter().any(|it| match it.strip_suffix('*') {
            Some(table) => key.starts_with(table),
            None => key == *it,
        });
        if is_reloaded { TakesEffect::AtOnce } else { TakesEffect::AtRestart }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
        let (old, new) = (show(&self.old), show(&self.new));
        let effect = match self.takes_effect {
            TakesEffect::AtOnce => "from here on",
            TakesEffect::AtRestart => "which needs a restart",
        };
        write!(f, "{} changes from {old} to {new}, {effect}", self.key)
    }
}

/// Returns what is said elsewhere of a listener. Of several with one address, as with port 0, the first is the first.
fn counterpart<'a>(
    listeners: &[Listener],
    index: usize,
    others: &'a [Listener],
) -> Option<&'a Listener> {
    let address = &listeners[index].address;
    let earlier = listeners[..index].iter().filter(|it| it.address == *address).count();
    others.iter().filter(|it| it.address == *address).nth(earlier)
}

/// Listeners are known by their address. One that comes or goes is one change.
fn listener_changes(old: &[Listener], new: &[Listener]) -> Vec<Change> {
    let takes_effect = TakesEffect::AtRestart;
    let mut changes = Vec::new();
    for (index, before) in old.iter().enumerate() {
        let Some(after) = counterpart(old, index, new) else {
            let (old, new) = (Some("listening".to_owned()), None);
            changes.push(Change { key: listener_key(before), old, new, takes_effect });
            continue;
        };
        for key in listener_keys::keys() {
            let (old, new) = ((key.show)(before), (key.show)(after));
            if old != new {
                let takes_effect = key.takes_effect();
                let key = format!("{}.{}", listener_key(before), key.name);
                changes.push(Change { key, old, new, takes_effect });
            }
        }
    }
    for (index, after) in new.iter().enumerate() {
        if counterpart(new, index, old).is_none() {
            let (old, new) = (None, Some("listening".to_owned()));
            changes.push(Change { key: listener_key(after), old, new, takes_effect });
        }
    }
    changes
}

/// The settings that a running broker takes up; `*` stands for a whole table. A setting that is not here needs a
/// restart, so that nobody is told of an effect that nobody has written.
const RELOADED: &[&str] = &[
    "acl_file",
    "authentication.certificate.*",
    "authentication.chain",
    "authentication.http.*",
    "authentication.jwt.*",
    "authentication.password_file",
    "allow_anonymous",
    "filter_on_delivery",
    "identity_rules",
    "shared_strategy",
    "limits.*",
    "rates.*",
    "bans.*",
    "overload.*",
    "policy.*",
    "sys.*",
    "stop.*",
    "log.level",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_say_when_they_take_effect() {
        let old = Config::default();
        let mut next = old.clone();
        next.shards = 3.try_into().ok();
        next.limits.receive_maximum = 7;
        next.log.level = "debug".to_owned();
        next.listeners[0].connections_max = Some(5);
        next.listeners[1].address = super::super::Address::Unix("a".into());
        let told: Vec<String> = old.changes(&next).iter().map(ToString::to_string).collect();
        let expected = [
            "listener.127.0.0.1:1883.connections_max changes from not set to 5, which needs a restart",
            "listener.[::1]:1883 changes from listening to not set, which needs a restart",
            "listener.unix:a changes from not set to listening, which needs a restart",
            "shards changes from not set to 3, which needs a restart",
            "limits.receive_maximum changes from 1_000 to 7, from here on",
            "log.level changes from \"info\" to \"debug\", from here on",
        ];
        assert_eq!(told, expected);
        let reloaded = old.reloaded(&next).unwrap();
        assert_eq!((reloaded.limits.receive_maximum, reloaded.shards), (7, None));
        assert_eq!(reloaded.listeners, old.listeners);
        assert!(old.changes(&old).is_empty());
    }

    /// Each of two configurations is good, and what a reload would make of them is not.
    #[test]
    fn what_would_open_the_broker_is_refused() {
        let mut old = Config { allow_anonymous: Some(true), ..Config::default() };
        old.listeners[0].address = super::super::Address::Tcp(([0, 0, 0, 0], 1883).into());
        old.check().unwrap();
        let next = Config::default();
        next.check().unwrap();
        let mistakes = old.reloaded(&next).unwrap_err().to_string();
        assert!(mistakes.contains("no authentication is configured"), "{mistakes}");
    }
}
