//! From directives to settings.

use quelea_broker::config::{Loaded, Sources};

use super::directive::Directive;
use super::draft::Draft;
use super::listener::Listener;
use super::settings::{Fate, fate_of};

/// A configuration that was translated.
pub(super) struct Translation {
    /// The `quelea.toml`.
    pub(super) text: String,
    /// What could not be carried over, or has to be looked at.
    pub(super) notes: Vec<String>,
}

/// A translation under way.
#[derive(Default)]
struct Translator {
    draft: Draft,
    notes: Vec<String>,
    listeners: Vec<Listener>,
    /// The options in front of the first `listener` that belong to a listener.
    default: Option<Listener>,
    is_per_listener: bool,
    /// What says who may connect, each with the number of listeners before it.
    access: Vec<(usize, Directive)>,
    bridge: Option<String>,
    log_types: Vec<Directive>,
}

impl Translation {
    pub(super) fn of(directives: &[Directive]) -> Self {
        let per_listener = directives.iter().rev().find(|it| it.key == "per_listener_settings");
        let is_per_listener = per_listener.is_some_and(|it| it.value == "true");
        let mut translator = Translator { is_per_listener, ..Translator::default() };
        for directive in directives {
            translator.take(directive);
        }
        translator.finish(directives)
    }
}

impl Translator {
    fn take(&mut self, directive: &Directive) {
        let Directive { at, key, value } = directive;
        match fate_of(key) {
            None => self.note(directive, "Mosquitto has no such option"),
            Some(Fate::Needless | Fate::Special) => self.take_special(directive),
            Some(Fate::Lost(why)) => self.note(directive, why),
            Some(Fate::Access) => {
                let place = self.listeners.len();
                self.access.push((place, directive.clone()));
            }
            Some(Fate::Switch(setting)) => match value.as_str() {
                "true" | "false" => self.draft.switch(setting, value == "true", at),
                _ => self.note(directive, "it is neither true nor false"),
            },
            Some(Fate::Number(settings, unlimited)) => {
                self.take_number(directive, settings, unlimited)
            }
            Some(Fate::Bridge) => self.take_bridge(directive),
            Some(Fate::Listener) => self.take_listener(directive),
        }
    }

    fn take_number(&mut self, directive: &Directive, settings: &[&str], unlimited: u64) {
        let number = match directive.value.parse() {
            Ok(0) => unlimited,
            Ok(number) => number,
            Err(_) => return self.note(directive, "it is no number"),
        };
        for setting in settings {
            if !self.draft.number(setting, number, &directive.at) {
                self.note(directive, "this version has no such limit");
            }
        }
    }

    fn take_bridge(&mut self, directive: &Directive) {
        if directive.key == "connection" {
            self.bridge = Some(directive.value.clone());
        }
        let bridge = self.bridge.clone().unwrap_or_default();
        self.note(directive, &format!("bridges are not there yet (bridge {bridge})"));
    }

    fn take_listener(&mut self, directive: &Directive) {
        if directive.key == "listener" {
            match Listener::read(directive) {
                Ok(listener) => self.listeners.push(listener),
                Err(note) => self.notes.push(note),
            }
            return;
        }
        let at = directive.at.clone();
        let default = || Listener::default_at(at);
        match self.listeners.last_mut() {
            // These are about the default listener wherever they stand.
            Some(_) if matches!(directive.key.as_str(), "port" | "bind_address") => {
                self.default.get_or_insert_with(default).take(directive);
            }
            Some(listener) => listener.take(directive),
            None => self.default.get_or_insert_with(default).take(directive),
        }
    }

    fn take_special(&mut self, directive: &Directive) {
        let Directive { at, key, value } = directive;
        match (key.as_str(), value.as_str()) {
            ("persistence_location", path) => {
                let directory = format!("{}/quelea", path.trim_end_matches('/'));
                self.draft.text("store.data_dir", &directory, at);
            }
            ("persistent_client_expiration", duration) => match seconds(duration) {
                Some(secs) => {
                    let _ = self.draft.number("limits.session_expiry_max_secs", secs, at);
                }
                None => self.note(directive, "it is no duration such as 2h or 14d"),
            },
            ("log_type", _) => self.log_types.push(directive.clone()),
            ("allow_zero_length_clientid", "false") => {
                self.note(directive, "clients may leave their client id to the broker");
            }
            ("auto_id_prefix", _) => {
                self.note(directive, "client ids that the broker gives begin with quelea-")
            }
            ("user", user) if user != "mosquitto" => {
                self.note(directive, "whoever starts the broker says as whom it runs, such as User= of a systemd unit");
            }
            _ => {}
        }
    }

    fn finish(mut self, directives: &[Directive]) -> Translation {
        let last = |key: &str| directives.iter().rev().find(|it| it.key == key);
        // Mosquitto keeps nothing unless it is told to.
        match last("persistence") {
            Some(directive) if directive.value == "true" => {
                {
                    let _ = self.draft.text("store.durability", "fsync", &directive.at);
                };
            }
            Some(directive) => {
                let _ = self.draft.text("store.durability", "memory", &directive.at);
            }
            None => {
                let why = "Mosquitto's default; leave it out to keep what has to be remembered on the disk";
                self.draft.text("store.durability", "memory", &why);
            }
        }
        self.finish_log();
        self.finish_listeners();
        self.finish_access();
        self.finish_certificates();
        self.close_for_lost(directives);
        let text = self.draft.to_toml();
        let file = Some(("the result".to_owned(), text.clone()));
        if let Err(mistakes) = Loaded::from_sources(&Sources { file, ..Sources::default() }) {
            let mistakes = mistakes.iter().map(|it| format!("to be done by hand: {it}"));
            self.notes.extend(mistakes);
        }
        Translation { text, notes: self.notes }
    }

    fn finish_log(&mut self) {
        let Some(last) = self.log_types.last() else { return };
        let has =
            |names: &[&str]| self.log_types.iter().any(|it| names.contains(&it.value.as_str()));
        let level = match () {
            () if has(&["all", "debug"]) => "debug",
            () if has(&["information", "notice", "subscribe", "unsubscribe", "websockets"]) => {
                "info"
            }
            () if has(&["warning"]) => "warn",
            () if has(&["error"]) => "error",
            () => "off",
        };
        self.draft.text("log.level", level, &last.at);
    }

    fn finish_listeners(&mut self) {
        let mut listeners = std::mem::take(&mut self.listeners);
        if let Some(default) = self.default.take() {
            // Global options of TLS count for the default listener only, which is there if it is placed.
            if default.is_placed() || listeners.is_empty() {
                listeners.insert(0, default);
                for (place, _) in &mut self.access {
                    *place += usize::from(*place > 0);
                }
            }
        }
        let mut tables = String::new();
        for listener in &listeners {
            listener.write(&mut tables, &mut self.notes);
        }
        self.draft.listeners = tables;
        for (option, setting) in
            [("max_qos", "limits.qos_max"), ("max_topic_alias", "limits.topic_alias_max")]
        {
            let given: Vec<&Directive> =
                listeners.iter().filter_map(|it| it.option(option)).collect();
            let Some(first) = given.first() else { continue };
            let is_for_all =
                given.len() == listeners.len() && given.iter().all(|it| it.value == first.value);
            match first.value.parse() {
                Ok(number) if is_for_all => {
                    let _ = self.draft.number(setting, number, &first.at);
                }
                _ => self.note(
                    first,
                    "it is not the same for all listeners, and here it can only be that",
                ),
            }
        }
        self.listeners = listeners;
    }

    /// Carries over who may connect. Mosquitto lets nobody in without a password once it has a listener.
    fn finish_access(&mut self) {
        let has_listeners = self.listeners.iter().any(Listener::is_placed);
        for key in ["allow_anonymous", "password_file", "acl_file", "psk_file"] {
            let given: Vec<(usize, Directive)> =
                self.access.iter().filter(|(_, it)| it.key == key).cloned().collect();
            if let Some(last) = self.one_of(&given, key) {
                self.finish_access_key(&last);
            }
        }
        let is_said = self.access.iter().any(|(_, it)| it.key == "allow_anonymous");
        let is_proven = has_listeners && self.listeners.iter().all(Listener::demands_certificate);
        if !is_said && has_listeners && !is_proven {
            self.draft.switch(
                "allow_anonymous",
                false,
                &"Mosquitto's default when there are listeners",
            );
        }
    }

    /// Carries over by what of their certificates clients are known, and that the others are not asked for any.
    fn finish_certificates(&mut self) {
        let named: Vec<(Directive, &str)> = self
            .listeners
            .iter()
            .filter_map(|it| it.identity())
            .map(|(directive, field)| (directive.clone(), field))
            .collect();
        let Some((first, field)) = named.first() else { return };
        self.draft.text("authentication.certificate.user", field, &first.at);
        for (other, _) in named.iter().filter(|(_, it)| it != field) {
            self.note(other, "it can be only one for all listeners, and here it is the first");
            self.draft.switch("allow_anonymous", false, &other.at);
        }
        let passwords = ["password_file"];
        let has_passwords = self.draft.has("authentication.password_file");
        if has_passwords || named.len() < self.listeners.len() {
            let chain = if has_passwords { &passwords[..] } else { &[] };
            self.draft.list("authentication.chain", chain, &"those without such an option");
        }
    }

    /// Returns what counts for all listeners; says so if they differ.
    fn one_of(&mut self, given: &[(usize, Directive)], key: &str) -> Option<Directive> {
        let (_, last) = given.last()?.clone();
        if !self.is_per_listener {
            return Some(last);
        }
        let places: std::collections::BTreeSet<usize> =
            given.iter().map(|(place, _)| *place).collect();
        let is_for_all = places.len() == self.listeners.len().max(1);
        let is_one = given.iter().all(|(_, it)| it.value == last.value);
        if is_for_all && is_one {
            return Some(last);
        }
        let why = "with per_listener_settings it is not the same for all listeners";
        match key {
            "allow_anonymous" => {
                self.note(&last, &format!("{why}: nobody is let in without saying who they are"));
                Some(Directive { value: "false".to_owned(), ..last })
            }
            _ if is_one => {
                self.note(&last, &format!("{why}: it counts for all of them here"));
                Some(last)
            }
            // Whom one listener knows, the other may not.
            _ => {
                self.note(&last, &format!("{why}, and there can be one only: nobody is let in"));
                self.draft.switch("allow_anonymous", false, &last.at);
                None
            }
        }
    }

    fn finish_access_key(&mut self, directive: &Directive) {
        let Directive { at, key, value } = directive;
        let is_carried = match key.as_str() {
            "allow_anonymous" => {
                let proven = self.listeners.iter().filter(|it| it.demands_certificate()).count();
                // A certificate is proof enough, and "nobody without a password" would shut its owner out.
                let is_proven = proven > 0 && proven == self.listeners.len();
                if value == "true" || !is_proven {
                    self.draft.switch("allow_anonymous", value == "true", at);
                }
                return;
            }
            "password_file" => self.draft.text("authentication.password_file", value, at),
            "acl_file" => {
                // Mosquitto closes no connection for a filter of which nothing is allowed.
                self.draft.text("policy.v31_denied_subscribe", "grant-nothing", at);
                self.draft.text("acl_file", value, at)
            }
            _ => false,
        };
        if !is_carried {
            self.note(directive, "this version has no such setting, so nobody is let in");
            self.draft.switch("allow_anonymous", false, at);
        }
    }

    /// Something that kept clients out is gone: nobody is let in until somebody has looked at it.
    fn close_for_lost(&mut self, directives: &[Directive]) {
        let lost = directives.iter().find(|it| KEEPS_OUT.contains(&it.key.as_str()));
        if let Some(directive) = lost {
            self.draft.switch("allow_anonymous", false, &directive.at);
        }
    }

    fn note(&mut self, directive: &Directive, why: &str) {
        self.notes.push(format!("{}: {} is not carried over: {why}", directive.at, directive.key));
    }
}

/// What may have kept clients out, and has no counterpart.
const KEEPS_OUT: &[&str] = &["auth_plugin", "clientid_prefixes", "global_plugin", "plugin"];

/// Reads "2h", "14d", "1w", "6m" or "1y".
fn seconds(text: &str) -> Option<u64> {
    let unit = match text.chars().last()? {
        'h' => 3_600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        'm' => 30 * 86_400,
        'y' => 365 * 86_400,
        _ => return None,
    };
    text[..text.len() - 1].trim().parse::<u64>().ok()?.checked_mul(unit)
}
