//! Mistakes that only the configuration as a whole can have.

use std::net::SocketAddr;

use super::mistake::{Mistake, Mistakes, Origins};
use super::{Config, listener};

impl Config {
    /// Checks the configuration as a whole, for whoever made it without loading it.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn check(&self) -> Result<(), Mistakes> {
        Mistakes::none_or(self.mistakes(&Origins::new()))
    }

    /// Returns everything that is wrong, with where it was written as far as `origins` knows it.
    pub(super) fn mistakes(&self, origins: &Origins) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        let mut note = |key: &str, message: String| {
            mistakes.push(Mistake { origin: origins.get(key).cloned(), message });
        };
        self.check_access(&mut note);
        self.check_listeners(&mut note);
        self.check_log(&mut note);
        self.check_store(&mut note);
        self.check_limits(&mut note);
        mistakes
    }

    fn check_access(&self, note: &mut impl FnMut(&str, String)) {
        if self.allow_anonymous == Some(false) {
            let message =
                "allow_anonymous = false lets nobody in: this version has no other authentication";
            note("allow_anonymous", message.to_owned());
        }
        let open = self
            .listeners
            .iter()
            .map(|listener| listener.address)
            .filter(|it| !it.ip().is_loopback());
        for address in open.filter(|_| self.allow_anonymous.is_none()) {
            let message = format!(
                "clients on other machines can reach {address}, and no authentication is configured: listen on 127.0.0.1 \
                 or [::1] instead, or let everybody in with allow_anonymous = true (--allow-anonymous)"
            );
            note(&listener_key(address), message);
        }
    }

    fn check_listeners(&self, note: &mut impl FnMut(&str, String)) {
        if self.listeners.is_empty() {
            note(listener::TABLE, "there is no listener: name at least one".to_owned());
        }
        for (index, second) in self.listeners.iter().enumerate() {
            let second = second.address;
            let first = self.listeners[..index].iter().find(|first| overlap(first.address, second));
            if let Some(first) = first.map(|first| first.address) {
                note(
                    &listener_key(second),
                    format!("the listeners {first} and {second} are in each other's way"),
                );
            }
        }
    }

    fn check_log(&self, note: &mut impl FnMut(&str, String)) {
        for directive in self.log.level.split(',') {
            let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level).trim();
            if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
                let levels = LEVELS.join(", ");
                note(
                    "log.level",
                    format!("\"{level}\" in log.level is no level: the levels are {levels}"),
                );
            }
        }
    }

    fn check_store(&self, note: &mut impl FnMut(&str, String)) {
        if let Some(directory) = &self.store.data_dir {
            let message = format!(
                "the durable log is not there yet, so nothing can be kept in {}: leave out store.data_dir (--data-dir), and \
                 sessions and messages live in memory",
                directory.display()
            );
            note("store.data_dir", message);
        }
        if !self.store.in_memory {
            let message = "the durable log is not there yet: store.in_memory must be true";
            note("store.in_memory", message.to_owned());
        }
    }

    fn check_limits(&self, note: &mut impl FnMut(&str, String)) {
        let (longest, v3) =
            (self.limits.session_expiry_max_secs, self.limits.v3_session_expiry_secs);
        // "Never", the default, is bounded without a word: who shortens the one need not touch the other.
        if v3 > longest && v3 != u32::MAX {
            note(
                "limits.v3_session_expiry_secs",
                "limits.v3_session_expiry_secs is more than limits.session_expiry_max_secs"
                    .to_owned(),
            );
        }
    }
}

/// Two listeners overlap if no connection could tell them apart; the system gives any free port for port 0.
fn overlap(first: SocketAddr, second: SocketAddr) -> bool {
    let same_family = first.is_ipv4() == second.is_ipv4();
    let same_ip =
        first.ip() == second.ip() || first.ip().is_unspecified() || second.ip().is_unspecified();
    first.port() != 0 && first.port() == second.port() && same_family && same_ip
}

/// The key under which the origin of a listener is kept.
pub(super) fn listener_key(address: SocketAddr) -> String {
    format!("{}.{address}", listener::TABLE)
}

const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];
