//! Who may not connect: as configured, and whom the broker has banned for a while.
//!
//! As long as nobody is banned, and nothing is counted to ban somebody, a look costs one load.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use quelea_session::Time;
use quelea_store::WallMillis;

use super::addresses::network_of;
use crate::config::{self, BanSubject};

/// Those who are banned, and those who may be soon.
pub(crate) struct Banned {
    is_any: AtomicBool,
    lists: Mutex<Lists>,
}

struct Lists {
    /// From the configuration.
    configured: Vec<config::Ban>,
    /// Of the broker's own making, with their ends. At most `bans.bans_max`.
    own: HashMap<Subject, Time, FixedState>,
    /// What was counted in this window. At most `TALLIES_MAX`.
    tallies: HashMap<Subject, Tally, FixedState>,
}

/// Whom the broker bans by itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Address(Ipv6Addr),
    /// By its SHA-256: client identifiers may have 64 KiB each.
    ClientId([u8; SHA256_OUTPUT_LEN]),
}

#[derive(Clone, Copy, Debug)]
struct Tally {
    since: Time,
    count: u32,
}

/// A client as bans see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) user: Option<&'a str>,
    pub(crate) ip: Option<IpAddr>,
}

impl Banned {
    /// Begins with those of the configuration. Strangers fill the tables: `seed` keeps them from choosing where.
    pub(crate) fn new(bans: &[config::Ban], seed: u64) -> Self {
        let lists = Lists {
            configured: Vec::new(),
            own: HashMap::with_hasher(FixedState::with_seed(seed)),
            tallies: HashMap::with_hasher(FixedState::with_seed(seed)),
        };
        let banned = Self { is_any: AtomicBool::new(false), lists: Mutex::new(lists) };
        banned.configure(bans);
        banned
    }

    /// Takes up what the configuration says. Bans of the broker's own making last.
    pub(crate) fn configure(&self, bans: &[config::Ban]) {
        let mut lists = self.lock();
        lists.configured = bans.to_vec();
        self.is_any.store(lists.is_any(), Ordering::Release);
    }

    /// Returns whether a client may not connect.
    pub(crate) fn has(&self, caller: Caller<'_>, now: Time, wall: WallMillis) -> bool {
        if !self.is_any.load(Ordering::Acquire) {
            return false;
        }
        let named = Subject::of_client_id(caller.client_id);
        let mut lists = self.lock();
        let is_configured = lists.configured.iter().any(|ban| {
            let is_over = ban.until.as_ref().is_some_and(|until| until.unix_millis <= wall.0);
            !is_over && caller.is(&ban.subject)
        });
        let is_own = lists.has_own(caller.ip.map(|ip| Subject::Address(network_of(ip))), now)
            || lists.has_own(Some(named), now);
        self.is_any.store(lists.is_any(), Ordering::Release);
        is_configured || is_own
    }

    /// Counts a session that a client begins or resumes. Returns whether that was one too many: it is banned.
    pub(crate) fn count_connect(&self, client_id: &str, now: Time, bans: &config::Bans) -> bool {
        let Some(max) = bans.connects_max else { return false };
        let is_banned = self.count(Subject::of_client_id(client_id), max, now, bans);
        if is_banned {
            let secs = bans.ban_secs;
            tracing::warn!(%client_id, secs, "banned: it connects again and again");
        }
        is_banned
    }

    /// Counts a client that was refused for who it says it is.
    pub(crate) fn count_failure(&self, ip: Option<IpAddr>, now: Time, bans: &config::Bans) {
        let (Some(max), Some(ip)) = (bans.failures_max, ip) else { return };
        if self.count(Subject::Address(network_of(ip)), max, now, bans) {
            let secs = bans.ban_secs;
            tracing::warn!(address = %ip, secs, "banned: its clients fail to say who they are");
        }
    }

    fn count(&self, subject: Subject, max: u32, now: Time, bans: &config::Bans) -> bool {
        let mut lists = self.lock();
        lists.make_room(now, bans.window_secs);
        let tally = lists.tallies.entry(subject.clone()).or_insert(Tally { since: now, count: 0 });
        if tally.since.plus_secs(bans.window_secs) <= now {
            *tally = Tally { since: now, count: 0 };
        }
        tally.count = tally.count.saturating_add(1);
        let is_banned = tally.count > max;
        if is_banned {
            lists.tallies.remove(&subject);
            lists.ban(subject, now, bans);
            self.is_any.store(true, Ordering::Release);
        }
        is_banned
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lists {
    fn is_any(&self) -> bool {
        !self.configured.is_empty() || !self.own.is_empty()
    }

    fn has_own(&mut self, subject: Option<Subject>, now: Time) -> bool {
        let Some(subject) = subject else { return false };
        let Some(until) = self.own.get(&subject).copied() else { return false };
        if until <= now {
            self.own.remove(&subject);
        }
        until > now
    }

    fn ban(&mut self, subject: Subject, now: Time, bans: &config::Bans) {
        if self.own.len() >= bans.bans_max as usize {
            self.own.retain(|_, until| *until > now);
        }
        while self.own.len() >= bans.bans_max as usize {
            let first = self.own.iter().min_by_key(|(_, until)| **until);
            let Some(first) = first.map(|(subject, _)| subject.clone()) else { break };
            self.own.remove(&first);
        }
        self.own.insert(subject, now.plus_secs(bans.ban_secs));
    }

    /// Forgets windows that are over when there are too many; if that is not enough, all.
    fn make_room(&mut self, now: Time, window_secs: u32) {
        if self.tallies.len() < TALLIES_MAX {
            return;
        }
        self.tallies.retain(|_, tally| tally.since.plus_secs(window_secs) > now);
        if self.tallies.len() > TALLIES_MAX / 2 {
            self.tallies.clear();
        }
    }
}

impl Subject {
    fn of_client_id(client_id: &str) -> Self {
        let mut hash = [0; SHA256_OUTPUT_LEN];
        hash.copy_from_slice(digest(&SHA256, client_id.as_bytes()).as_ref());
        Self::ClientId(hash)
    }
}

impl Caller<'_> {
    fn is(self, subject: &BanSubject) -> bool {
        match subject {
            BanSubject::Address(network) => self.ip.is_some_and(|ip| network.contains(ip)),
            BanSubject::ClientId(client_id) => self.client_id == client_id,
            BanSubject::User(user) => self.user == Some(user),
        }
    }
}

/// Clients and addresses that are counted at once.
const TALLIES_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Ban, Bans, Loaded, Sources};

    #[test]
    fn who_is_configured_is_banned_until_then() {
        let banned = Banned::new(
            &bans(
                "[[ban]]\naddress = \"203.0.113.0/24\"\n[[ban]]\nclient_id = \"a\"\nuntil = 1970-01-01T00:00:10Z\n\
             [[ban]]\nuser = \"u\"\n",
            ),
            SEED,
        );
        let has = |client_id, user, ip: &str, secs: u64| {
            let caller = Caller { client_id, user, ip: ip.parse().ok() };
            banned.has(caller, NOW, WallMillis(secs * 1_000))
        };
        assert!(has("b", None, "203.0.113.9", 0) && !has("b", None, "203.0.114.9", 0));
        assert!(has("a", None, "", 9) && !has("a", None, "", 10));
        assert!(
            has("b", Some("u"), "", 0) && !has("b", Some("v"), "", 0) && !has("u", None, "", 0)
        );
        banned.configure(&[]);
        assert!(!has("b", None, "203.0.113.9", 0));
    }

    #[test]
    fn who_flaps_is_banned_for_a_while() {
        let banned = Banned::new(&[], SEED);
        let settings = Bans { connects_max: Some(3), ..Bans::default() };
        let caller = Caller { client_id: "a", user: None, ip: None };
        let mut now = NOW;
        // Slow enough: never.
        for _ in 0..20 {
            assert!(!banned.count_connect("a", now, &settings));
            now = now.plus_secs(20);
        }
        now = now.plus_secs(60);
        let counted: Vec<bool> =
            (0..4).map(|_| banned.count_connect("a", now, &settings)).collect();
        assert_eq!(counted, [false, false, false, true]);
        assert!(banned.has(caller, now.plus_secs(299), WallMillis(0)));
        assert!(!banned.has(caller, now.plus_secs(300), WallMillis(0)));
        assert!(!banned.is_any.load(Ordering::Relaxed), "and a look costs a load again");
    }

    #[test]
    fn addresses_that_fail_are_banned() {
        let banned = Banned::new(&[], SEED);
        let settings = Bans { failures_max: Some(2), ..Bans::default() };
        let fail = |ip: &str| banned.count_failure(ip.parse().ok(), NOW, &settings);
        let has = |ip: &str| {
            banned.has(
                Caller { client_id: "", user: None, ip: ip.parse().ok() },
                NOW,
                WallMillis(0),
            )
        };
        for ip in
            ["192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8::3"]
        {
            fail(ip);
        }
        assert!(!has("192.0.2.1") && !has("192.0.2.2"));
        assert!(has("2001:db8::ffff") && !has("2001:db8:0:1::1"));
        fail("::ffff:192.0.2.1");
        assert!(has("192.0.2.1"));
    }

    /// Whoever has many names fills no memory, and the tables keep their bounds.
    #[test]
    fn the_lists_are_bounded() {
        let banned = Banned::new(&[], SEED);
        let settings = Bans { connects_max: Some(1), bans_max: 100, ..Bans::default() };
        for number in 0..150_000_u32 {
            let client_id = number.to_string();
            assert!(!banned.count_connect(&client_id, NOW, &settings));
            if number < 1_000 {
                assert!(banned.count_connect(
                    &client_id,
                    NOW.plus_millis(number.into()),
                    &settings
                ));
            }
        }
        let lists = banned.lock();
        assert!(lists.tallies.len() <= TALLIES_MAX, "{}", lists.tallies.len());
        assert_eq!(lists.own.len(), 100);
        assert!(
            lists.own.contains_key(&Subject::of_client_id("999")),
            "the last one stays longest"
        );
    }

    /// A long name costs no more than a short one, and is another than one that begins like it.
    #[test]
    fn long_client_ids_fill_no_memory() {
        let banned = Banned::new(&[], SEED);
        let settings = Bans { connects_max: Some(1), ..Bans::default() };
        let long = "x".repeat(usize::from(u16::MAX));
        let counted = [(); 2].map(|()| banned.count_connect(&long, NOW, &settings));
        assert_eq!(counted, [false, true]);
        let has =
            |client_id| banned.has(Caller { client_id, user: None, ip: None }, NOW, WallMillis(0));
        assert!(has(&long) && !has(&long[1..]));
        assert!(size_of::<(Subject, Tally)>() <= 64, "what is kept of one");
    }

    fn bans(text: &str) -> Vec<Ban> {
        let file = Some(("q.toml".to_owned(), text.to_owned()));
        Loaded::from_sources(&Sources { file, ..Sources::default() }).unwrap().config.banned
    }

    const NOW: Time = Time::from_millis(1_000_000);
    const SEED: u64 = 1;
}
