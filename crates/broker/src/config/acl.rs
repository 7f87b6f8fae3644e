//! The `[[acl]]` tables: who may publish and subscribe to what.
//!
//! Reading the file, naming the nearest known key, `quelea config show` and the reference in the documentation all
//! come from one row for each key.

use quelea_acl::{Actions, Draft, Glob, Rule, Who};

use super::Kind;
use super::listener_keys::{Given, list, put};
use super::value::{Value, choice, quoted};

/// One rule, as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AclRule {
    /// The line it was read from, for logs.
    pub origin: String,
    /// Only clients without a user.
    pub anonymous: bool,
    /// The user, with `*` for any text.
    pub user: Option<String>,
    /// A group of the user, with `*` for any text.
    pub group: Option<String>,
    /// The client identifier, with `*` for any text.
    pub client_id: Option<String>,
    /// The common name of the client's certificate, with `*` for any text.
    pub certificate: Option<String>,
    /// The address of the listener, with `*` for any text.
    pub listener: Option<String>,
    /// What the rule allows.
    pub allow: Option<Vec<String>>,
    /// What the rule denies.
    pub deny: Option<Vec<String>>,
    /// The topic filters that it is about, with placeholders.
    pub topics: Vec<String>,
    /// The highest quality of service that it allows.
    pub qos_max: Option<u8>,
    /// Whether it allows retained messages.
    pub retain: Option<bool>,
}

choice! {
    /// When the rules are asked that a client brings.
    pub enum IdentityRules {
        /// Before those that are configured.
        Before = "before",
        /// After them.
        After = "after",
    }
}

/// A key of a rule.
pub(super) struct AclKey {
    pub(super) name: &'static str,
    /// What its values are, in words.
    pub(super) values: &'static str,
    /// What it means.
    pub(super) doc: &'static str,
    /// A value that could be set, as TOML.
    pub(super) sample: &'static str,
    pub(super) read: fn(&mut AclRule, &Given) -> Result<(), String>,
    pub(super) show: fn(&AclRule) -> Option<String>,
}

impl AclRule {
    /// Returns the rule as it is applied.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn to_rule(&self) -> Result<Rule, String> {
        if self.anonymous && (self.user.is_some() || self.group.is_some()) {
            return Err("a client with acl.anonymous has neither acl.user nor acl.group".to_owned());
        }
        let glob = |text: &Option<String>| text.as_deref().map(Glob::new);
        let who = Who {
            is_anonymous: self.anonymous,
            user: glob(&self.user),
            group: glob(&self.group),
            client_id: glob(&self.client_id),
            certificate: glob(&self.certificate),
            listener: glob(&self.listener),
        };
        let draft = Draft {
            allow: self.allow.clone(),
            deny: self.deny.clone(),
            topics: self.topics.clone(),
            qos_max: self.qos_max,
            retain: self.retain,
        };
        draft.rule(&self.origin, who)
    }
}

fn action_words(given: &Given) -> Result<Option<Vec<String>>, String> {
    let words = given.texts()?;
    Actions::of_words(&words)?;
    Ok(Some(words))
}

fn show_texts(texts: &[String]) -> String {
    list(texts.iter().map(String::as_str))
}

/// Returns every key, in the order of the documentation.
pub(super) fn keys() -> impl Iterator<Item = &'static AclKey> {
    KEYS.iter()
}

/// The name of the tables.
pub(super) const TABLE: &str = "acl";

const NAME: Kind = Kind::Text;

const KEYS: &[AclKey] = &[
    AclKey {
        name: "user",
        values: "a name, with `*` for any text",
        doc: "Clients of this user. Who is let in without being asked is no user, whatever name it gives, and `*` does not \
              mean it.",
        sample: "\"admin\"",
        read: |rule, given| put(&mut rule.user, given.value::<String>(&NAME).map(Some)),
        show: |rule| rule.user.as_ref().map(|it| quoted(it)),
    },
    AclKey {
        name: "group",
        values: "a name, with `*` for any text",
        doc: "Clients whose user is in a group of this name.",
        sample: "\"device\"",
        read: |rule, given| put(&mut rule.group, given.value::<String>(&NAME).map(Some)),
        show: |rule| rule.group.as_ref().map(|it| quoted(it)),
    },
    AclKey {
        name: "client_id",
        values: "a name, with `*` for any text",
        doc: "Clients with this client identifier.",
        sample: "\"sensor-*\"",
        read: |rule, given| put(&mut rule.client_id, given.value::<String>(&NAME).map(Some)),
        show: |rule| rule.client_id.as_ref().map(|it| quoted(it)),
    },
    AclKey {
        name: "certificate",
        values: "a name, with `*` for any text",
        doc: "Clients with a certificate whose common name is this, whoever they are found to be. A certificate with several \
              common names, or none, has none here.",
        sample: "\"gateway-*\"",
        read: |rule, given| put(&mut rule.certificate, given.value::<String>(&NAME).map(Some)),
        show: |rule| rule.certificate.as_ref().map(|it| quoted(it)),
    },
    AclKey {
        name: "listener",
        values: "an address, with `*` for any text",
        doc: "Clients that came in by the listener with this `address`, as it is written there.",
        sample: "\"unix:*\"",
        read: |rule, given| put(&mut rule.listener, given.value::<String>(&NAME).map(Some)),
        show: |rule| rule.listener.as_ref().map(|it| quoted(it)),
    },
    AclKey {
        name: "anonymous",
        values: "true or false",
        doc: "With `true`, only clients that are let in without being asked who they are.",
        sample: "true",
        read: |rule, given| put(&mut rule.anonymous, given.switch()),
        show: |rule| rule.anonymous.then(|| rule.anonymous.to_string()),
    },
    AclKey {
        name: "allow",
        values: "a list of \"publish\" and \"subscribe\"",
        doc: "What the rule allows. Each rule has this or `deny`.",
        sample: "[\"publish\", \"subscribe\"]",
        read: |rule, given| put(&mut rule.allow, action_words(given)),
        show: |rule| rule.allow.as_deref().map(show_texts),
    },
    AclKey {
        name: "deny",
        values: "a list of \"publish\" and \"subscribe\"",
        doc: "What the rule denies. A subscription is denied if it might match any topic of the rule.",
        sample: "[\"subscribe\"]",
        read: |rule, given| put(&mut rule.deny, action_words(given)),
        show: |rule| rule.deny.as_deref().map(show_texts),
    },
    AclKey {
        name: "topics",
        values: "a list of topic filters",
        doc: "The topics that the rule is about. `%u` stands for the user, `%c` for the client identifier, and `${name}` for \
              what else is known of the user by that name. A value with `/`, `+` or `#` stands for nothing: a rule that allows \
              does not match then, and one that denies is widened to all that it could have meant.",
        sample: "[\"site/${site}/device/%c/#\"]",
        read: |rule, given| put(&mut rule.topics, given.texts()),
        show: |rule| Some(show_texts(&rule.topics)),
    },
    AclKey {
        name: "qos_max",
        values: "0, 1 or 2",
        doc: "With `allow`: messages that are published above it do not match the rule, and subscriptions are granted no more.",
        sample: "1",
        read: |rule, given| {
            put(&mut rule.qos_max, given.value::<u8>(&Kind::Count(0..=2)).map(Some))
        },
        show: |rule| rule.qos_max.and_then(|it| it.show()),
    },
    AclKey {
        name: "retain",
        values: "true or false",
        doc: "With `allow` and `false`: messages that are to be retained do not match the rule.",
        sample: "false",
        read: |rule, given| put(&mut rule.retain, given.switch().map(Some)),
        show: |rule| rule.retain.map(|it| it.to_string()),
    },
];
