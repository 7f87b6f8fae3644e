//! The configuration in force, which a reload replaces while the broker serves.
//!
//! It is an immutable snapshot with a generation. A shard looks at the generation once a turn, and takes the
//! next snapshot when there is one: all that happens in a turn happens under the same rules, and no message
//! costs a lock. Others, as the accept threads, ask for the snapshot when they need it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use quelea_acl::Rules as AccessRules;
use quelea_codec::QoS;
use quelea_session::{Overflow, ServerLimits, SessionLimits};
use quelea_topics::SharedStrategy;

use crate::chains::Chains;
use crate::config::{Config, QueueOverflow, SharedStrategy as Strategy};

/// Holds the rules in force.
#[derive(Debug)]
pub(crate) struct Live {
    generation: AtomicU64,
    rules: Mutex<Arc<Rules>>,
}

/// A configuration, and what follows from it.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) generation: u64,
    pub(crate) config: Config,
    /// Who may do what.
    pub(crate) access: Arc<AccessRules>,
    /// Who is asked who clients are.
    pub(crate) chains: Arc<Chains>,
    pub(crate) server_limits: ServerLimits,
    pub(crate) session_limits: SessionLimits,
    pub(crate) strategy: SharedStrategy,
}

impl Live {
    /// Begins with a configuration under which nobody is asked who they are, and everybody may do all.
    pub(crate) fn new(config: Config) -> Self {
        let open = Arc::new(AccessRules { is_open: true, ..AccessRules::default() });
        let rules = Rules::new(config, open, Arc::default(), 0);
        Self { generation: AtomicU64::new(0), rules: Mutex::new(Arc::new(rules)) }
    }

    /// Puts `config` in force, and what was made of it. Where `access` is another, shards judge their sessions again.
    pub(crate) fn replace(&self, config: Config, access: Arc<AccessRules>, chains: Arc<Chains>) {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = rules.generation + 1;
        *rules = Arc::new(Rules::new(config, access, chains, generation));
        self.generation.store(generation, Ordering::Release);
    }

    /// Returns the rules in force. Takes a lock, which is held for a moment by whoever asks.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the rules in force if they are not `known`. Without news it costs a load.
    #[inline]
    pub(crate) fn newer_than(&self, known: &Rules) -> Option<Arc<Rules>> {
        (self.generation.load(Ordering::Acquire) != known.generation).then(|| self.rules())
    }
}

impl Rules {
    fn new(config: Config, access: Arc<AccessRules>, chains: Arc<Chains>, generation: u64) -> Self {
        Self {
            generation,
            access,
            chains,
            server_limits: server_limits(&config),
            session_limits: session_limits(&config),
            strategy: strategy(&config),
            config,
        }
    }
}

fn server_limits(config: &Config) -> ServerLimits {
    let limits = &config.limits;
    ServerLimits {
        receive_maximum: limits.receive_maximum,
        send_window_max: limits.send_window_max,
        packet_bytes_max: limits.packet_bytes_max,
        topic_alias_maximum: limits.topic_alias_max,
        topic_alias_maximum_out: limits.topic_alias_out_max,
        qos_max: match limits.qos_max {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        },
        retain_available: limits.retain_available,
        wildcard_available: limits.wildcard_available,
        subscription_ids_available: limits.subscription_ids_available,
        shared_available: limits.shared_available,
        keep_alive_max_secs: limits.keep_alive_max_secs,
        session_expiry_max_secs: limits.session_expiry_max_secs,
        v3_session_expiry_secs: limits.v3_session_expiry_secs,
    }
}

fn session_limits(config: &Config) -> SessionLimits {
    let limits = &config.limits;
    SessionLimits {
        queued_messages_max: limits.queued_messages_max,
        queued_bytes_max: limits.queued_bytes_max,
        overflow: match limits.queue_overflow {
            QueueOverflow::RejectNewest => Overflow::RejectNewest,
            QueueOverflow::DropOldest => Overflow::DropOldest,
            // A live session has its client: what arrives gives way.
            QueueOverflow::EndSession => Overflow::RejectNewest,
        },
    }
}

fn strategy(config: &Config) -> SharedStrategy {
    match config.shared_strategy {
        Strategy::LeastInFlight => SharedStrategy::LeastInFlight,
        Strategy::RoundRobin => SharedStrategy::RoundRobin,
        Strategy::HashPublisher => SharedStrategy::HashPublisher,
        Strategy::Sticky => SharedStrategy::Sticky,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_seen_once() {
        let live = Live::new(Config::default());
        let known = live.rules();
        assert!(live.newer_than(&known).is_none());
        let mut next = Config::default();
        next.limits.receive_maximum = 7;
        live.replace(next, Arc::default(), Arc::default());
        let news = live.newer_than(&known).unwrap();
        assert_eq!(news.server_limits.receive_maximum, 7);
        assert!(live.newer_than(&news).is_none());
        assert_ne!(known.config, news.config, "who has the old ones keeps them");
    }
}
