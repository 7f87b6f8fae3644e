//! The configuration of a broker: every setting with its default, how it is loaded and how it is checked.
//!
//! [`Config::default`] is a broker for this machine only: both loopback addresses, anonymous access, and what has
//! to be remembered in `quelea-data`, below the working directory.

mod acl;
mod authentication;
mod ban;
mod certificate;
mod change;
mod check;
mod check_access;
mod document;
mod file;
mod http;
mod jwt;
mod limits;
mod listener;
mod listener_keys;
mod load;
mod mistake;
mod nearest;
mod network;
mod overload;
mod rates;
#[cfg(test)]
mod reference;
mod sections;
mod setting;
#[cfg(test)]
mod tests;
mod value;

use std::num::NonZeroUsize;
use std::path::PathBuf;

pub use acl::{AclRule, IdentityRules};
pub use authentication::{Authentication, ListenerAuthentication, SourceName};
pub use ban::{Ban, BanSubject, Bans, Moment};
pub use certificate::{CertificateField, CertificateIdentity};
pub use change::{Change, TakesEffect};
pub use http::{Http, OnFailure};
pub use jwt::{Jwt, SecretEncoding};
pub use limits::{Limits, QueueOverflow};
pub use listener::{
    Address, ClientCertificate, CrlExpiry, Listener, MqttVersion, Protocol, Tls, TlsVersion,
    UnixFile,
};
pub use load::{Flag, Loaded, Sources};
pub use mistake::{Mistake, Mistakes, Origin, Origins};
use nearest::nearest_of;
pub use network::Network;
pub use overload::Overload;
pub use rates::{RateExceeded, Rates};
pub use sections::{
    Durability, Log, LogFormat, Policy, SharedStrategy, Stop, Store, Sys, V3Refusal,
    V31DeniedSubscribe,
};
use setting::settings;
pub use setting::{Kind, Setting};

settings! {
    /// Everything that can be set.
    pub struct Config in [] {
        /// Whether clients may connect without saying who they are. Unset, they may as long as every listener
        /// is on a loopback address; with a listener that others can reach, the broker then refuses to start.
        pub allow_anonymous: Option<bool> = None, Switch;

        /// Threads that serve clients, each with its own sessions. Unset, one for each processor core.
        pub shards: Option<NonZeroUsize> = None, Count(1..=64);

        /// Which member of a shared subscription gets a message: the one with the fewest in flight relative to
        /// its window (`least-in-flight`), each in turn (`round-robin`), one by the publisher's client id
        /// (`hash-publisher`), or the same one as long as it is connected (`sticky`).
        pub shared_strategy: SharedStrategy = SharedStrategy::LeastInFlight, Choice(SharedStrategy::WORDS);

        /// A file with rules in the form of Mosquitto's ACL files. They are asked after those of this file. With rules of
        /// any kind, what none of them allows is denied. It is read again with the configuration, on SIGHUP.
        pub acl_file: Option<PathBuf> = None, Path;

        /// Whether a subscription is granted as soon as the rules allow a part of what it matches, and each message is
        /// checked before it is delivered. Otherwise a rule must allow all of it. Unset, it is so with an `acl_file`,
        /// because that is what its rules are written for.
        pub filter_on_delivery: Option<bool> = None, Switch;

        /// When the rules are asked that a client's token has, or that a service says of it: `before` those of `[[acl]]`
        /// and `acl_file`, or `after` them. The first rule that matches decides: with `after` what is written here cannot be
        /// overruled from elsewhere.
        pub identity_rules: IdentityRules = IdentityRules::After, Choice(IdentityRules::WORDS);
    }
    with {
        /// Who may publish and subscribe to what. The first rule that matches decides.
        pub acl: Vec<AclRule> = Vec::new();
        /// Where the broker listens.
        pub listeners: Vec<Listener> = Listener::loopback();
        /// Who is asked who clients are.
        pub authentication: Authentication = Authentication::default();
        /// The bounds that the broker keeps its clients within.
        pub limits: Limits = Limits::default();
        /// How fast clients may use the broker.
        pub rates: Rates = Rates::default();
        /// Who may not connect.
        pub banned: Vec<Ban> = Vec::new();
        /// When the broker bans by itself.
        pub bans: Bans = Bans::default();
        /// When the broker protects itself.
        pub overload: Overload = Overload::default();
        /// Answers where MQTT leaves a choice.
        pub policy: Policy = Policy::default();
        /// The broker's own topics.
        pub sys: Sys = Sys::default();
        /// What is logged.
        pub log: Log = Log::default();
        /// Where sessions and messages are kept.
        pub store: Store = Store::default();
        /// What happens when the broker is told to stop.
        pub stop: Stop = Stop::default();
    }
}

impl Config {
    /// Returns every setting, in the order of the documentation.
    pub fn settings() -> impl Iterator<Item = &'static Setting> {
        [
            Self::SETTINGS,
            Authentication::SETTINGS,
            CertificateIdentity::SETTINGS,
            Jwt::SETTINGS,
            Http::SETTINGS,
            Limits::SETTINGS,
            Rates::SETTINGS,
            Bans::SETTINGS,
            Overload::SETTINGS,
            Policy::SETTINGS,
            Sys::SETTINGS,
            Log::SETTINGS,
            Store::SETTINGS,
            Stop::SETTINGS,
        ]
        .into_iter()
        .flatten()
    }
}
