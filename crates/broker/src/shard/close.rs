//! The end of a link.
//!
//! A link ends in two steps. First it parts from its session, and its last packet is put into its
//! output ([`Shard::end_link`]). When that has left, our side of the connection is shut down, and
//! what the peer still sends is thrown away until it closes too: closing at once could take the
//! last packet away from a peer that has not read it yet.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use quelea_codec::{Disconnect, DisconnectProperties, Packet, PacketId, ReasonCode, Version};
use quelea_session::Time;
use quelea_store::{Operation, Presence, Submission};

use super::Shard;
use super::held::{Held, HeldEntry};
use super::link::{Ending, Link, Stage};
use super::wheel::Subject;
use crate::arena::Key;
use crate::limits::Newest;
use crate::mail::Letter;
use crate::net::{Io, Peer};

impl Shard {
    /// Handles a DISCONNECT.
    pub(super) fn on_disconnect(&mut self, key: Key, disconnect: &Disconnect<'_>) {
        let Some(link) = self.links.get_mut(key) else { return };
        let Some(session_key) = link.open().map(|open| open.session) else {
            self.end_link(key, Ending::Abnormal(ReasonCode::SUCCESS));
            return;
        };
        let ending = match disconnect.reason {
            ReasonCode::NORMAL_DISCONNECTION => Ending::Normal,
            // With 0x04, and with any error of the client's, the will is published.
            _ => Ending::WithWill,
        };
        let Some(session) = self.sessions.get_mut(session_key) else { return };
        let expiry_secs = session.extra.as_ref().map_or(0, |extra| extra.expiry_secs);
        if let Some(asked) = disconnect.properties.session_expiry_secs {
            // [MQTT-3.14.2-2] and the rule beside it: a session that ends with its connection
            // cannot be made to outlive it any more.
            if expiry_secs == 0 && asked != 0 {
                self.fail(key, ReasonCode::PROTOCOL_ERROR, &"session expiry raised from zero");
                return;
            }
            let expiry_secs = asked.min(self.rules.server_limits.session_expiry_max_secs);
            if let Some(extra) = &mut session.extra {
                extra.expiry_secs = expiry_secs;
            }
        }
        let after = self.store_leaving(session_key, ending);
        // The close is the acknowledgement: it says that the will is gone and the expiry known.
        self.hold(Some(key), HeldEntry { after, grace: 0, held: Held::Close(ending) });
        if let Some(link) = self.links.get_mut(key) {
            link.is_leaving = true;
        }
        self.release_held(key);
    }

    /// Tells the store how a client leaves. Returns what the close, which says that it knows, waits for.
    fn store_leaving(&mut self, key: Key, ending: Ending) -> Submission {
        let Some(session) = self.sessions.get(key) else { return Submission::default() };
        let Some(extra) = &session.extra else { return Submission::default() };
        let Some(number) = session.stored_number() else { return Submission::default() };
        let expiry_secs = extra.expiry_secs;
        let forgets_will = ending == Ending::Normal && extra.will.is_some();
        // Until the close it may be sent more.
        let sent_before = extra.kept.as_ref().map(|kept| kept.told());
        let mut after = Submission::default();
        if forgets_will {
            after = self.submit(Operation::Will { session: number, will: None });
        }
        if let Some(sent_before) = sent_before {
            let presence = Presence::Lost(self.shared.wall(self.now));
            after = self.submit(Operation::SessionChange {
                session: number,
                expiry_secs,
                presence,
                sent_before,
            });
        }
        after
    }

    /// Parts a link from its session, says goodbye where the version has a word for it, and lets
    /// what was written leave.
    pub(super) fn end_link(&mut self, key: Key, ending: Ending) {
        let Some(link) = self.links.get_mut(key) else { return };
        let version = link.version();
        let was_answered = link.is_answered;
        let ending = link.ending(ending);
        let stage = std::mem::replace(&mut link.stage, Stage::Lingering);
        let held = link.held.take().map(|held| *held);
        link.is_answered = false;
        link.is_paused = false;
        link.is_throttled = false;
        link.is_leaving = false;
        link.unread = Vec::new();
        link.has_packets = false;
        link.stage_ends_at = self.now.plus_millis(LINGER_MILLIS);
        let deadline = link.stage_ends_at;
        let address = link.address;
        if matches!(stage, Stage::Lingering) {
            return;
        }
        let reason = ending.reason();
        if version == Version::V5 && was_answered && reason != ReasonCode::SUCCESS {
            let properties = DisconnectProperties::default();
            Packet::Disconnect(Disconnect { reason, properties })
                .encode(Version::V5, &mut link.output);
        }
        if link.has_input {
            self.list_readable(key);
        }
        self.arm_link(key, deadline);
        // Even with nothing to write: the flush shuts the connection down.
        self.mark_dirty(key);
        if let Stage::Open(open) = stage {
            self.part(open.session, key, ending, held, address);
        }
    }

    /// The socket is gone, or has nothing more to give.
    pub(super) fn lose(&mut self, key: Key, error: Option<&io::Error>, io: &mut dyn Io) {
        let Some(mut link) = self.links.remove(key) else { return };
        io.close(key);
        self.counters().connections_closed.add(1);
        self.shared.connection_count.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        if let Some(error) = error {
            tracing::debug!(address = %link.address, %error, "connection lost");
        }
        let ending = link.ending(Ending::Abnormal(ReasonCode::SUCCESS));
        if let Stage::Open(open) = link.stage {
            self.part(open.session, key, ending, link.held.take().map(|held| *held), link.address);
        }
    }

    /// Parts a session from its link.
    fn part(
        &mut self,
        session_key: Key,
        link: Key,
        ending: Ending,
        held: Option<VecDeque<HeldEntry>>,
        address: Peer,
    ) {
        let Some(session) = self.sessions.get_mut(session_key) else { return };
        if session.link != Some(link) {
            return;
        }
        tracing::info!(client_id = %session.client_id, %address, reason = ending.as_str(), "disconnected");
        let exchanges = held.iter().flatten().filter_map(HeldEntry::exchange);
        let mut awaited: Vec<PacketId> = exchanges.collect();
        awaited.sort_unstable();
        // In this order: what the client published goes before its will.
        if let Some(held) = held {
            self.adopt_held(held);
        }
        self.detach(session_key, ending, &awaited);
        self.release_orphans();
    }

    /// Has a link looked at by `due`. It has one timer that counts: the earliest.
    pub(super) fn arm_link(&mut self, key: Key, due: Time) {
        let now = self.now;
        let Some(link) = self.links.get_mut(key) else { return };
        // Links' deadlines move all the time: looking too early, and again, costs less than a
        // place among the wheel's far entries.
        let due = due.min(now.plus_millis(LOOK_AT_LEAST_EVERY_MILLIS));
        if link.timer_at <= now || due < link.timer_at {
            link.timer_at = due;
            self.timers.arm(Subject::Link, key, due);
        }
    }

    /// Looks at a link whose time may be up.
    pub(super) fn on_link_timer(&mut self, key: Key, io: &mut dyn Io) {
        let now = self.now;
        let Some(link) = self.links.get_mut(key) else { return };
        if link.timer_at > now {
            // Another one counts.
            return;
        }
        link.timer_at = Time::ZERO;
        if link.bounds.is_some() {
            self.resume_throttled(key);
        }
        let identity_ends_at = self.identity_ends_at(key);
        if identity_ends_at.is_some_and(|at| at <= now) {
            self.end_link(key, Ending::Abnormal(ReasonCode::NOT_AUTHORIZED));
            return;
        }
        let Some(link) = self.links.get_mut(key) else { return };
        let stage_ends_at = link.stage_ends_at;
        let resumes_at = link.bounds.as_ref().and_then(|bounds| bounds.next_deadline());
        let deadline = match &link.stage {
            Stage::Connecting | Stage::Authenticating(_) | Stage::Lingering => stage_ends_at,
            // The silence is ours, but it has an end.
            Stage::Open(_) if link.is_paused => stage_ends_at,
            Stage::Open(_) if link.is_throttled => resumes_at.unwrap_or(now),
            // Something has arrived that we owe a look.
            Stage::Open(_) if link.is_listed => now.plus_millis(LISTED_MILLIS),
            Stage::Open(open) => match open.connection.keep_alive_limit_millis() {
                Some(limit) => link.last_packet_at.plus_millis(limit),
                None => match resumes_at.or(identity_ends_at) {
                    Some(at) => at,
                    None => return,
                },
            },
        };
        let deadline =
            [resumes_at, identity_ends_at].into_iter().flatten().fold(deadline, Time::min);
        if deadline > now {
            self.arm_link(key, deadline);
        } else if matches!(link.stage, Stage::Open(_)) && !link.is_paused {
            // [MQTT-3.1.2-22]
            self.end_link(key, Ending::Abnormal(ReasonCode::KEEP_ALIVE_TIMEOUT));
        } else if let Stage::Authenticating(pending) = &link.stage
            && pending.is_asked
        {
            // It has had no time: others were before it.
            let version = pending.version();
            self.refuse(key, version, ReasonCode::SERVER_BUSY);
        } else {
            tracing::debug!(address = %link.address, "closed: it has had its time");
            self.lose(key, None, io);
        }
    }

    /// Says how old the links here are. The last shard to do so tells all of them which have to go.
    pub(super) fn count_newest(&mut self, newest: &Arc<Newest>) {
        let ages = self.open_links().filter_map(|(_, link)| newest.age_of(link.arrival)).collect();
        let Some(age_max) = newest.tell(ages) else { return };
        for mailbox in self.shared.mailboxes.iter() {
            mailbox.send(Letter::Shed { newest: Arc::clone(newest), age_max });
        }
    }

    /// Ends the newest links: those who have been served longest are served on.
    pub(super) fn shed(&mut self, newest: &Newest, age_max: u32) {
        let goes = |link: &Link| newest.age_of(link.arrival).is_some_and(|age| age <= age_max);
        let mut keys: Vec<_> = self.open_links().filter(|(_, link)| goes(link)).collect();
        keys.sort_unstable_by_key(|(_, link)| newest.age_of(link.arrival));
        let keys: Vec<Key> = keys.into_iter().map(|(key, _)| key).collect();
        self.counters().clients_shed.add(keys.len() as u64);
        for key in keys {
            self.end_link(key, Ending::Abnormal(ReasonCode::SERVER_BUSY));
        }
    }

    fn open_links(&self) -> impl Iterator<Item = (Key, &Link)> {
        let links = self.links.keys().into_iter();
        let links = links.filter_map(|key| Some((key, self.links.get(key)?)));
        links.filter(|(_, link)| matches!(link.stage, Stage::Open(_)))
    }

    /// Tells those who watch the store since when it has owed something.
    pub(super) fn note_waiting(&mut self) {
        if self.awaited <= self.durable {
            self.waits_since = Time::ZERO;
        } else if self.waits_since == Time::ZERO {
            self.waits_since = self.now;
        }
        self.shared.loads[usize::from(self.index.0)].note_waiting(self.waits_since);
    }

    /// The broker stops: everyone is told, and nothing new is taken in.
    pub(super) fn on_stop(&mut self, io: &mut dyn Io) {
        self.is_stopping = true;
        for key in self.links.keys() {
            match self.links.get(key).map(|link| &link.stage) {
                Some(Stage::Open(_)) => {
                    self.end_link(key, Ending::Abnormal(ReasonCode::SERVER_SHUTTING_DOWN));
                }
                Some(Stage::Connecting | Stage::Authenticating(_)) => self.lose(key, None, io),
                Some(Stage::Lingering) | None => {}
            }
        }
    }
}

impl Ending {
    /// Returns what a 5.0 client is told; success when it is told nothing.
    fn reason(self) -> ReasonCode {
        match self {
            Self::Normal | Self::WithWill => ReasonCode::SUCCESS,
            Self::Abnormal(reason) => reason,
            Self::TakenOver { .. } => ReasonCode::SESSION_TAKEN_OVER,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "client disconnected",
            Self::WithWill => "client disconnected with will",
            Self::TakenOver { .. } => "session taken over",
            Self::Abnormal(ReasonCode::SUCCESS) => "connection lost",
            Self::Abnormal(ReasonCode::KEEP_ALIVE_TIMEOUT) => "keep alive timeout",
            Self::Abnormal(ReasonCode::SERVER_SHUTTING_DOWN) => "server shutting down",
            Self::Abnormal(_) => "closed by the broker",
        }
    }
}

/// A link with a timer is looked at this often.
const LOOK_AT_LEAST_EVERY_MILLIS: u64 = 60_000;

/// A link with unread input is looked at again after this time.
const LISTED_MILLIS: u64 = 500;

/// How long a peer has to close its side after its last packet was written.
const LINGER_MILLIS: u64 = 2_000;
