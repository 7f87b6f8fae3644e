//! Mistakes that only the configuration as a whole can have.

use super::mistake::{Mistake, Mistakes, Origin, Origins};
use super::{Address, Config, CrlExpiry, Listener, Protocol, Tls, UnixFile, acl, listener};

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
        self.check_chains(&mut note);
        self.authentication.jwt.check(&mut note);
        self.check_access(&mut note);
        self.check_listeners(&mut note);
        self.check_acl(&mut note);
        self.check_log(&mut note);
        self.check_store(origins, &mut note);
        self.check_limits(&mut note);
        self.authentication.http.check(&self.limits, &mut note);
        mistakes
    }

    fn check_listeners(&self, note: &mut impl FnMut(&str, String)) {
        if self.listeners.is_empty() {
            note(listener::TABLE, "there is no listener: name at least one".to_owned());
        }
        if self.listeners.len() > LISTENERS_MAX {
            note(listener::TABLE, format!("there are more than {LISTENERS_MAX} listeners"));
        }
        for (index, second) in self.listeners.iter().enumerate() {
            let mut others = self.listeners[..index].iter();
            if let Some(first) = others.find(|it| overlap(&it.address, &second.address)) {
                let (first, second_address) = (&first.address, &second.address);
                note(
                    &listener_key(second),
                    format!("the listeners {first} and {second_address} are in each other's way"),
                );
            }
            if second.unix != UnixFile::default() && !matches!(second.address, Address::Unix(_)) {
                let message = "listener.mode, listener.owner and listener.group need an address that begins with unix:";
                note(&listener_key(second), message.to_owned());
            }
            let tls = second.tls.iter().flat_map(tls_mistakes);
            for message in tls.chain(websocket_mistakes(second)) {
                note(&listener_key(second), message);
            }
        }
    }

    fn check_acl(&self, note: &mut impl FnMut(&str, String)) {
        if self.acl.len() > ACL_RULES_MAX {
            note(acl::TABLE, format!("there are more than {ACL_RULES_MAX} rules"));
        }
        // Those of a file have been looked at where their lines are known.
        for message in self.acl.iter().filter_map(|rule| rule.to_rule().err()) {
            note(acl::TABLE, message);
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

    fn check_store(&self, origins: &Origins, note: &mut impl FnMut(&str, String)) {
        let store = &self.store;
        // In a file, or in the environment of a container, the directory stands for the day when it is needed.
        let is_flag = matches!(origins.get("store.data_dir"), Some(Origin::Flag(_)));
        if is_flag && store.is_in_memory() {
            let message = format!(
                "nothing is kept in {} with store.durability = \"memory\" (--in-memory): leave out one of them",
                store.data_dir.display()
            );
            note("store.data_dir", message);
        }
        let least = SEGMENTS_MIN * store.segment_bytes;
        if let Some(most) = store.disk_bytes_max.filter(|most| *most < least) {
            let message = format!(
                "store.disk_bytes_max is {most}, which is less than {SEGMENTS_MIN} times store.segment_bytes, and that is {least}"
            );
            note("store.disk_bytes_max", message);
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

/// Returns what is wrong with settings of WebSocket.
fn websocket_mistakes(listener: &Listener) -> Vec<String> {
    let mut mistakes = Vec::new();
    let is_set = listener.path.is_some()
        || !listener.allowed_origins.is_empty()
        || !listener.forwarded_for.is_empty();
    if listener.protocol != Protocol::WebSocket && is_set {
        mistakes.push(
            "listener.path, listener.allowed_origins and listener.forwarded_for need protocol = \"websocket\"".to_owned(),
        );
    }
    if let Some(path) = listener.path.as_ref().filter(|path| !path.starts_with('/')) {
        mistakes.push(format!("listener.path must begin with /, and {path} does not"));
    }
    let is_origin =
        |text: &str| matches!(text, "*" | "null") || text.contains("://") && !text.ends_with('/');
    for origin in listener.allowed_origins.iter().filter(|origin| !is_origin(origin)) {
        mistakes.push(format!(
            "{origin} in listener.allowed_origins is no origin: write one as \"https://app.example.com\", or \"*\" for all"
        ));
    }
    mistakes
}

/// Returns what is wrong with settings of TLS. What the files hold is only known when they are read.
fn tls_mistakes(tls: &Tls) -> Vec<String> {
    let mut mistakes = Vec::new();
    let (certificates, keys) = (tls.certificates.len(), tls.keys.len());
    if certificates == 0 || keys == 0 {
        mistakes.push("TLS needs listener.tls.certificate and listener.tls.key".to_owned());
    } else if certificates != keys {
        mistakes.push(format!(
            "listener.tls.certificate has {certificates} files and listener.tls.key has {keys}: each certificate needs its key"
        ));
    } else if certificates > CERTIFICATES_MAX {
        mistakes.push(format!("listener.tls.certificate has more than {CERTIFICATES_MAX} files"));
    }
    if tls.client_cas.is_empty() && tls.client_certificate.is_some() {
        mistakes.push(
            "listener.tls.client_certificate needs listener.tls.client_ca, which says whose are good".to_owned(),
        );
    }
    if tls.client_cas.is_empty() && !tls.crls.is_empty() {
        mistakes
            .push("listener.tls.crl is about clients: it needs listener.tls.client_ca".to_owned());
    }
    if tls.crls.is_empty() && tls.crl_expiry != CrlExpiry::Warned {
        mistakes
            .push("listener.tls.crl_expiry is about lists: it needs listener.tls.crl".to_owned());
    }
    mistakes
}

/// Two listeners overlap if no connection could tell them apart; the system gives any free port for port 0.
fn overlap(first: &Address, second: &Address) -> bool {
    let (first, second) = match (first, second) {
        (Address::Tcp(first), Address::Tcp(second)) => (first, second),
        // Sockets from systemd may share a name.
        (Address::Unix(first), Address::Unix(second)) => return first == second,
        _ => return false,
    };
    let same_family = first.is_ipv4() == second.is_ipv4();
    let same_ip =
        first.ip() == second.ip() || first.ip().is_unspecified() || second.ip().is_unspecified();
    first.port() != 0 && first.port() == second.port() && same_family && same_ip
}

/// The key under which the origin of a listener is kept.
pub(super) fn listener_key(listener: &Listener) -> String {
    format!("{}.{}", listener::TABLE, listener.address)
}

/// Rules of the configuration. Those about a client are gone through for each new topic that it publishes to.
const ACL_RULES_MAX: usize = 10_000;

/// Listeners. Each has a thread of its own that accepts connections.
const LISTENERS_MAX: usize = 1_024;

/// Certificates of one listener. A handshake looks through them for the name that the client asks for.
const CERTIFICATES_MAX: usize = 256;

/// A log needs one segment to write to, two in reserve, and one that can be cleaned.
const SEGMENTS_MIN: u64 = 6;

const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];
