//! What a seed decides before the run begins: how large the house is, what its clients are like, and what goes
//! wrong.
//!
//! Each kind of trouble is absent from some runs, so that none hides behind another.

use quelea_broker::Config;
use quelea_broker::config::{Limits, QueueOverflow, SharedStrategy};
use quelea_codec::Version;
use quelea_store::QueueLimits;

use crate::network::Manners;
use crate::random::Random;
use crate::store::DiskManners;

/// The setting of a run.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// How the broker is configured.
    pub(crate) config: Config,
    /// Shards.
    pub(crate) shard_count: usize,
    /// Its clients.
    pub(crate) profiles: Vec<Profile>,
    /// The topics there are.
    pub(crate) topics: Vec<&'static str>,
    /// The filters that are asked for.
    pub(crate) filters: Vec<&'static str>,
    /// Microseconds in which things go wrong.
    pub(crate) active_micros: u64,
    /// How the network is.
    pub(crate) manners: Manners,
    /// How the disk is, when nothing is wrong with it.
    pub(crate) disk: DiskManners,
    /// Microseconds from one of these to the next, about; nothing where it does not happen.
    pub(crate) crash_every: Option<u64>,
    /// The same for a connection that breaks.
    pub(crate) cut_every: Option<u64>,
    /// The same for a disk that is full for a while.
    pub(crate) full_every: Option<u64>,
    /// The same for a disk that is slow for a while.
    pub(crate) slow_every: Option<u64>,
    /// The same for a shard that stands still for a while.
    pub(crate) stall_every: Option<u64>,
    /// The same for a stop in good order.
    pub(crate) stop_every: Option<u64>,
    /// A turn takes up to so many microseconds.
    pub(crate) turn_max: u64,
}

/// What a client is like.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    /// The version it speaks.
    pub(crate) version: Version,
    /// Seconds its session outlives its connection.
    pub(crate) expiry_secs: u32,
    /// Messages it takes at once.
    pub(crate) receive_maximum: u16,
    /// Keep Alive.
    pub(crate) keep_alive_secs: u16,
    /// Topic aliases it understands.
    pub(crate) topic_alias_maximum: u16,
    /// Microseconds from one thing it does to the next, about.
    pub(crate) idles_for: u64,
    /// In a hundred connections, how many have a will.
    pub(crate) will_percent: u64,
    /// In a hundred connections of a durable client, how many begin anew.
    pub(crate) clean_percent: u64,
    /// In a hundred messages, how many are retained.
    pub(crate) retain_percent: u64,
    /// In a hundred messages, how many expire.
    pub(crate) expiry_percent: u64,
    /// Relative weights of what it does.
    pub(crate) habits: Habits,
    /// Bytes of the longest payload.
    pub(crate) payload_bytes_max: u64,
}

/// How often a client does what, relative to each other.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Habits {
    /// Publishes a few messages.
    pub(crate) publish: u64,
    /// Subscribes.
    pub(crate) subscribe: u64,
    /// Unsubscribes.
    pub(crate) unsubscribe: u64,
    /// Says goodbye.
    pub(crate) disconnect: u64,
    /// Is gone without a word.
    pub(crate) vanish: u64,
    /// Connects again while it is connected.
    pub(crate) take_over: u64,
    /// Does not read for a while.
    pub(crate) doze: u64,
}

impl Setting {
    /// Returns the setting of a seed.
    pub(crate) fn draw(random: &mut Random) -> Self {
        let active_micros = random.within(1..8) * SECOND;
        let trouble = |random: &mut Random, percent: u64, least: u64| {
            random.percent(percent).then(|| random.within(least..least + active_micros))
        };
        let client_count = random.within(2..9);
        let config = config(random);
        let mut profiles: Vec<_> = (0..client_count).map(|_| Profile::draw(random)).collect();
        let limits = &config.limits;
        if limits.v3_session_expiry_secs != u32::MAX
            || limits.queue_overflow == QueueOverflow::EndSession
        {
            // A client of 3.1 is not told that its session has ended.
            let old = profiles.iter_mut().filter(|it| it.version == Version::V31);
            old.for_each(|it| it.version = Version::V311);
        }
        let mut topics = TOPICS.to_vec();
        topics.truncate(random.within(1..TOPICS.len() as u64 + 1) as usize);
        let mut filters = FILTERS.to_vec();
        // What a member gets from its group has no order, and hides what comes by its own subscriptions.
        let has_groups = random.percent(50);
        filters.retain(|it| has_groups || !it.starts_with("$share/"));
        let is_far = random.percent(15);
        let manners = Manners {
            latency_max: if is_far { 200_000 } else { *random.choose(&[50, 1_000, 20_000]) },
            pipe_bytes: *random.choose(&[64, 1_500, 65_536]),
            piece_bytes_max: *random.choose(&[4, 200, 4_096]),
        };
        let commit_max = *random.choose(&[100, 2_000, 50_000]);
        Self {
            config,
            shard_count: random.within(1..5) as usize,
            profiles,
            topics,
            filters,
            active_micros,
            manners,
            disk: DiskManners { commit_max, is_full: false },
            crash_every: trouble(random, 50, SECOND),
            cut_every: trouble(random, 60, SECOND / 5),
            full_every: trouble(random, 20, SECOND),
            slow_every: trouble(random, 20, SECOND),
            stall_every: trouble(random, 30, SECOND),
            stop_every: trouble(random, 10, SECOND),
            turn_max: *random.choose(&[20, 500, 5_000]),
        }
    }

    /// Adds the client that looks at what is retained in the end.
    pub(crate) fn add_inspector(&mut self) {
        self.profiles.push(Profile {
            version: Version::V5,
            expiry_secs: 0,
            receive_maximum: 10,
            keep_alive_secs: 0,
            topic_alias_maximum: 0,
            idles_for: SECOND,
            will_percent: 0,
            clean_percent: 100,
            retain_percent: 0,
            expiry_percent: 0,
            habits: Habits::default(),
            payload_bytes_max: 1,
        });
    }

    /// Returns whether messages may be refused that are taken when they are sent again.
    pub(crate) fn may_refuse(&self) -> bool {
        let limits = &self.config.limits;
        let has_limits =
            limits.queued_messages_max < MANY || limits.queued_messages_total_max < MANY.into();
        has_limits || self.full_every.is_some()
    }

    /// Returns whether sessions end when their queue is full.
    pub(crate) fn may_end_sessions(&self) -> bool {
        self.config.limits.queue_overflow == QueueOverflow::EndSession
    }

    /// Returns the limits of queues, as the store knows them.
    pub(crate) fn queue_limits(&self) -> QueueLimits {
        let limits = &self.config.limits;
        QueueLimits {
            queued_messages_max: limits.queued_messages_max,
            queued_bytes_max: limits.queued_bytes_max,
            drops_oldest: limits.queue_overflow == QueueOverflow::DropOldest,
        }
    }
}

impl Profile {
    fn draw(random: &mut Random) -> Self {
        let version = *random.choose(&Version::ALL);
        let expiry_secs = match version {
            // 3.x says only whether.
            Version::V31 | Version::V311 => *random.choose(&[0, u32::MAX, u32::MAX]),
            Version::V5 => *random.choose(&[0, 3, 3_600, u32::MAX, u32::MAX]),
        };
        let one_in = |random: &mut Random, percent| if random.percent(percent) { 1 } else { 0 };
        Self {
            version,
            expiry_secs,
            receive_maximum: *random.choose(&[1, 2, 10, 1_000]),
            keep_alive_secs: *random.choose(&[0, 2, 10]),
            topic_alias_maximum: *random.choose(&[0, 2]),
            idles_for: *random.choose(&[10_000, 50_000, 500_000]),
            will_percent: *random.choose(&[0, 30, 100]),
            clean_percent: *random.choose(&[0, 0, 10, 40]),
            retain_percent: *random.choose(&[0, 0, 30]),
            expiry_percent: *random.choose(&[0, 0, 30]),
            habits: Habits {
                publish: *random.choose(&[0, 10, 100, 100]),
                subscribe: *random.choose(&[2, 10]),
                unsubscribe: *random.choose(&[0, 0, 2, 5]),
                disconnect: one_in(random, 40),
                vanish: one_in(random, 40),
                take_over: one_in(random, 30),
                doze: 2 * one_in(random, 30),
            },
            payload_bytes_max: *random.choose(&[16, 16, 200, 8_000]),
        }
    }
}

fn config(random: &mut Random) -> Config {
    let mut config = Config::default();
    config.store.restart_grace_secs = *random.choose(&[0, 2, 10]);
    let strategies = [
        SharedStrategy::LeastInFlight,
        SharedStrategy::RoundRobin,
        SharedStrategy::HashPublisher,
        SharedStrategy::Sticky,
    ];
    config.shared_strategy = *random.choose(&strategies);
    let limits: &mut Limits = &mut config.limits;
    limits.write_buffer_bytes_max = *random.choose(&[4_096, 1_048_576]);
    limits.receive_maximum = *random.choose(&[1, 5, 1_000]);
    limits.send_window_max = *random.choose(&[1, 8, 65_535]);
    limits.topic_alias_out_max = *random.choose(&[0, 2]);
    limits.v3_session_expiry_secs = *random.choose(&[u32::MAX, u32::MAX, 5]);
    limits.queue_qos0_offline = random.percent(30);
    if random.percent(25) {
        limits.queued_messages_max = random.within(1..20) as u32;
        limits.queue_overflow = *random.choose(&[
            QueueOverflow::RejectNewest,
            QueueOverflow::DropOldest,
            QueueOverflow::EndSession,
        ]);
    }
    if random.percent(10) {
        limits.queued_messages_total_max = random.within(1..50);
    }
    config
}

/// More messages than there are in a run.
const MANY: u32 = 10_000;

/// A second, in microseconds.
pub(crate) const SECOND: u64 = 1_000_000;

/// Topics, each matched by some of the [`FILTERS`].
const TOPICS: [&str; 5] = ["a", "a/b", "a/c", "d/b", "d/b/e"];

/// Filters.
const FILTERS: [&str; 10] =
    ["a", "a/b", "a/+", "+/b", "a/#", "d/b/e", "d/#", "+/+", "$share/g/a/#", "$share/h/+/b"];
