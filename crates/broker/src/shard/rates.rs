//! Links that are held to rates: what arrives is counted, and who has used too much waits, is refused, or goes.

use std::sync::atomic::Ordering;

use quelea_auth::Limits;
use quelea_codec::{Publish, ReasonCode};
use quelea_session::Time;

use super::Shard;
use super::link::{Ending, Stage};
use crate::arena::Key;
use crate::config::RateExceeded;
use crate::limits::{Bounds, Caller, TooMany, Use};

impl Shard {
    /// Gives a link that opens its bounds, if it has any.
    pub(super) fn bound_link(&mut self, key: Key) {
        let Some(link) = self.links.get_mut(key) else { return };
        let identity = link.open().and_then(|open| open.identity.as_ref());
        let own = identity.map(|identity| identity.limits).unwrap_or_default();
        if self.rules.config.rates.bounds_connections() || own != Limits::default() {
            let output_bytes = link.output.len();
            link.bounds.get_or_insert_with(|| Bounds::after(output_bytes));
        }
        // One that has authenticated again may have others, or none.
        if let Some(bounds) = &mut link.bounds {
            bounds.own = own;
        }
    }

    /// Counts a link with the address that a proxy has named. Returns false if that has too many, and the link must go.
    pub(super) fn enter_address(&mut self, key: Key) -> bool {
        let Some(link) = self.links.get_mut(key) else { return true };
        let rates = &self.rules.config.rates;
        match self.shared.addresses.enter(link.address.ip(), self.now, rates) {
            Ok(Some(place)) => {
                link.bounds.get_or_insert_default().enter(place);
                true
            }
            Ok(None) => true,
            Err(TooMany) => {
                self.shared.connections_refused.fetch_add(1, Ordering::Relaxed);
                false
            }
        }
    }

    /// Bounds the links that are open already, after a reload.
    pub(super) fn bound_open_links(&mut self) {
        if !self.rules.config.rates.bounds_connections() {
            return;
        }
        for key in self.links.keys() {
            if self.links.get(key).is_some_and(|link| matches!(link.stage, Stage::Open(_))) {
                self.bound_link(key);
            }
        }
    }

    /// Ends the links of those whom a reload has banned (0x8A is for CONNACK only). User names are known of
    /// those who have authenticated.
    pub(super) fn end_banned_links(&mut self) {
        if self.rules.config.banned.is_empty() {
            return;
        }
        let wall = self.shared.wall(self.now);
        for key in self.links.keys() {
            let Some(link) = self.links.get_mut(key) else { continue };
            let ip = link.address.ip();
            let Some(open) = link.open() else { continue };
            let identity = open.identity.clone();
            let user = identity.as_ref().and_then(|it| it.user.as_deref());
            let Some(session) = self.sessions.get(open.session) else { continue };
            let caller = Caller { client_id: &session.client_id, user, ip };
            if self.shared.banned.has(caller, self.now, wall) {
                self.end_link(key, Ending::Abnormal(ReasonCode::ADMINISTRATIVE_ACTION));
            }
        }
    }

    /// Counts a packet of a link that has bounds. Returns false if it is not to be handled: the link has ended.
    #[cold]
    pub(super) fn charge_input(&mut self, key: Key, bytes: usize, is_publish: bool) -> bool {
        let now = self.now;
        let rates = &self.rules.config.rates;
        let Some(link) = self.links.get_mut(key) else { return false };
        let Some(bounds) = link.bounds.as_mut().filter(|_| matches!(link.stage, Stage::Open(_)))
        else {
            return true;
        };
        // Who is paused is not read from: what is read is counted, whatever it makes.
        let may_be_refused = rates.exceeded != RateExceeded::Pause;
        let is_over = may_be_refused && bounds.input_wait_millis(now, rates) > 0;
        bounds.is_over = false;
        match rates.exceeded {
            RateExceeded::Disconnect if is_over => return self.end_for_rate(key),
            RateExceeded::Refuse if is_over && is_publish => {
                bounds.is_over = true;
                return true;
            }
            RateExceeded::Disconnect | RateExceeded::Pause | RateExceeded::Refuse => {}
        }
        let used = Use { messages: u64::from(is_publish), bytes: bytes as u64 };
        let wait = bounds.charge_input(now, used, rates);
        let waits = match rates.exceeded {
            RateExceeded::Pause => wait > 0,
            RateExceeded::Refuse => wait > 0 && !is_publish,
            RateExceeded::Disconnect => false,
        };
        if !waits {
            return true;
        }
        if wait > WAIT_MAX_MILLIS {
            return self.end_for_rate(key);
        }
        link.is_throttled = true;
        bounds.read_at = now.plus_millis(wait);
        let due = bounds.read_at;
        self.counters().rate_pauses.add(1);
        self.arm_link(key, due);
        true
    }

    /// Returns why a message is one too many for its publisher, if it is.
    #[inline]
    pub(super) fn excess_of(
        &mut self,
        key: Key,
        topic: &str,
        publish: &Publish<'_>,
    ) -> Option<ReasonCode> {
        let rates = &self.rules.config.rates;
        let is_too_big = is_beyond(publish.payload, rates.payload_bytes_max);
        let link = self.links.get_mut(key)?;
        let Some(bounds) = &mut link.bounds else {
            return is_too_big.then_some(ReasonCode::QUOTA_EXCEEDED);
        };
        let is_over = std::mem::take(&mut bounds.is_over);
        let is_new = |max| !bounds.knows_topic(self.shared.hash(topic.as_bytes()), max);
        let is_refused =
            is_too_big || is_over || rates.topics_per_connection_max.is_some_and(is_new);
        is_refused.then_some(ReasonCode::QUOTA_EXCEEDED)
    }

    /// Lets a link go on whose time has come.
    pub(super) fn resume_throttled(&mut self, key: Key) {
        let now = self.now;
        let rates = &self.rules.config.rates;
        let Some(link) = self.links.get_mut(key) else { return };
        let Some(bounds) = &mut link.bounds else { return };
        let may_write = bounds.write_at <= now;
        if may_write {
            bounds.write_at = Time::ZERO;
        }
        if !link.is_throttled {
            bounds.read_at = Time::ZERO;
        } else if bounds.read_at <= now {
            // Others of the same address or listener may have been faster, and a reload may have raised the rate.
            let wait = bounds.input_wait_millis(now, rates);
            bounds.read_at = now.plus_millis(wait);
            if wait == 0 {
                bounds.read_at = Time::ZERO;
                link.is_throttled = false;
                // Keep alive did not run while nothing was read.
                link.last_packet_at = now;
                self.list_readable(key);
            }
        }
        if may_write && self.links.get(key).is_some_and(|link| link.unsent_bytes() > 0) {
            self.mark_dirty(key);
        }
    }

    fn end_for_rate(&mut self, key: Key) -> bool {
        self.counters().clients_ended_by_rate.add(1);
        self.end_link(key, Ending::Abnormal(ReasonCode::MESSAGE_RATE_TOO_HIGH));
        false
    }
}

/// Returns whether a payload is larger than it may be.
pub(super) fn is_beyond(payload: &[u8], bytes_max: Option<u32>) -> bool {
    bytes_max.is_some_and(|max| payload.len() > max as usize)
}

/// Whoever would have to wait longer for what it has sent is given up.
const WAIT_MAX_MILLIS: u64 = 60_000;
