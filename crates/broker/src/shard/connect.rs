//! CONNECT: whose connection it is, where it lives, and whether it may be.
//!
//! The order matters. The client identifier decides the shard, and the connection moves there
//! before anything else is read. Authentication comes next. Only then is any session of that
//! identifier looked at: a stranger can neither end a session nor learn that there is one.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use quelea_codec::{Connect, Frame, Framing, ReasonCode, Version, next_frame};
use quelea_session::{
    Class, Connection, Content, DropReason, Message, Negotiated, ServerLimits, Session, Time,
    negotiate, write_connack, write_refusal,
};
use quelea_store::{Condition, Operation, Presence, SessionIdentity, StoredWill, Submission};

use super::Shard;
use super::authenticate::Admitted;
use super::held::{Held, HeldEntry};
use super::link::{Ending, Link, OpenLink, Stage};
use super::queues::Kept;
use super::rates::is_beyond;
use super::sessions::{Extra, HomeSession};
use crate::arena::Key;
use crate::auth::{Admission, Pending};
use crate::limits::Caller;
use crate::mail::{Arrival, Letter};
use crate::net::Io;

/// A CONNACK that accepts, ready to be written.
#[derive(Debug)]
pub(super) struct Welcome {
    packet: Vec<u8>,
    session: Key,
    is_resumed: bool,
}

/// What becomes of an earlier session of the same client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Earlier {
    /// There was none.
    None,
    /// It goes on.
    Resumed(Key),
    /// It was ended.
    Discarded,
}

impl Shard {
    /// Takes in a network connection, from a listener or from the shard that read its CONNECT.
    pub(super) fn on_arrival(&mut self, arrival: Arrival, io: &mut dyn Io) {
        if self.is_stopping {
            self.forget_arrival(arrival.is_home);
            return;
        }
        let wait_secs = self.rules.config.limits.connect_timeout_secs;
        let deadline = arrival.accepted_at.plus_secs(wait_secs);
        let mut link = Link::new(arrival.address, self.now, deadline);
        link.has_packets = !arrival.unread.is_empty();
        // A layer may know of an end that no event tells of any more.
        link.has_input = arrival.is_home;
        link.unread = arrival.unread;
        link.is_home = arrival.is_home;
        link.bounds = arrival.bounds;
        link.listener = arrival.listener;
        link.arrival = arrival.number;
        let key = self.links.insert(link);
        if let Err(error) = io.adopt(key, arrival.stream) {
            tracing::warn!(%error, address = %arrival.address, "a connection cannot be watched");
            self.links.remove(key);
            self.forget_arrival(arrival.is_home);
            return;
        }
        if !arrival.is_home {
            self.counters().connections_opened.add(1);
        }
        self.arm_link(key, deadline);
        if let Some(admission) = arrival.admission {
            self.admit(key, admission, io);
        }
        if arrival.is_home {
            self.list_readable(key);
        }
    }

    /// A connection goes before this shard has begun to serve it.
    fn forget_arrival(&self, was_opened: bool) {
        self.shared.connection_count.fetch_sub(1, Ordering::Relaxed);
        // Another shard has counted it as opened.
        self.counters().connections_closed.add(u64::from(was_opened));
    }

    /// Handles the first packet. `rest` is it and all that was read after it. Returns whether the
    /// link has left this shard, with all of that.
    pub(super) fn on_first_packet(
        &mut self,
        key: Key,
        frame: Frame<'_>,
        rest: &[u8],
        io: &mut dyn Io,
    ) -> bool {
        let connect = match Connect::decode(frame) {
            Ok(connect) => connect,
            Err(error) => {
                self.counters().protocol_errors.add(1);
                match error.answer() {
                    Some((version, reason)) => self.refuse(key, version, reason),
                    None => self.end_link(key, Ending::Abnormal(ReasonCode::SUCCESS)),
                }
                return false;
            }
        };
        let bounds = self.links.get(key).and_then(|link| link.bounds.as_ref());
        if bounds.is_some_and(|bounds| !bounds.admits_version(connect.version)) {
            self.refuse(key, connect.version, ReasonCode::UNSUPPORTED_PROTOCOL_VERSION);
            return false;
        }
        let home = self.shared.home_of(connect.client_id);
        let is_home = self.links.get(key).is_some_and(|link| link.is_home);
        if !connect.client_id.is_empty() && home != self.index && !is_home {
            self.move_home(key, rest.to_vec(), usize::from(home.0), None, io);
            return true;
        }
        self.on_connect(key, &connect, &rest[..frame_len(rest)], io);
        false
    }

    /// Sends a link to the shard where its session lives.
    pub(super) fn move_home(
        &mut self,
        key: Key,
        unread: Vec<u8>,
        home: usize,
        admission: Option<Box<Admission>>,
        io: &mut dyn Io,
    ) {
        let (Some(stream), Some(link)) = (io.release(key), self.links.remove(key)) else { return };
        let arrival =
            Arrival {
                stream,
                address: link.address,
                listener: link.listener,
                unread,
                accepted_at: Time::from_millis(link.stage_ends_at.as_millis().saturating_sub(
                    u64::from(self.rules.config.limits.connect_timeout_secs) * 1_000,
                )),
                number: link.arrival,
                is_home: true,
                bounds: link.bounds,
                admission,
            };
        self.outgoing[home].letters.push(Letter::Arrived(Box::new(arrival)));
    }

    /// Handles a CONNECT on its home shard.
    fn on_connect(&mut self, key: Key, connect: &Connect<'_>, packet: &[u8], io: &mut dyn Io) {
        let Some(link) = self.links.get(key) else { return };
        let ip = link.address.ip();
        let door = self.rules.chains.door(link.listener);
        let (is_asked, is_shut) = (door.chain.is_some(), door.is_shut());
        let caller = Caller { client_id: connect.client_id, user: connect.username, ip };
        if self.shared.banned.has(caller, self.now, self.shared.wall(self.now)) {
            self.refuse(key, connect.version, ReasonCode::BANNED);
            return;
        }
        if self.shared.is_overloaded.load(Ordering::Relaxed) {
            self.counters().connects_refused_busy.add(1);
            self.refuse(key, connect.version, ReasonCode::SERVER_BUSY);
            return;
        }
        match connect.properties.authentication_method {
            Some(method) => self.begin_authentication(key, connect, method, packet),
            None if is_asked => self.judge(key, connect, packet, io),
            None if is_shut => {
                self.refuse(key, connect.version, ReasonCode::NOT_AUTHORIZED);
            }
            None => {
                let way = self.way_of(key, io);
                self.open_session(key, connect, Admitted { way, ..Admitted::default() });
            }
        }
    }

    /// Gives a connection its session, new or resumed.
    pub(super) fn open_session(&mut self, key: Key, connect: &Connect<'_>, admitted: Admitted<'_>) {
        let negotiated = match negotiate(connect, &self.limits_of(key)) {
            Ok(negotiated) => negotiated,
            Err(refusal) => {
                self.refuse(key, connect.version, refusal.reason_code());
                return;
            }
        };
        // A will is a publish like any other, except that nobody is there to be refused then.
        let bytes_max = self.rules.config.rates.payload_bytes_max;
        let refusal = connect.will.as_ref().and_then(|will| {
            let is_too_big = is_beyond(will.payload, bytes_max);
            self.refusal_of(will.topic).or(is_too_big.then_some(ReasonCode::QUOTA_EXCEEDED))
        });
        if let Some(reason) = refusal {
            self.refuse(key, connect.version, reason);
            return;
        }
        let known = self.find_session(connect.client_id);
        let is_full = self.shared.session_count() >= self.rules.config.limits.sessions_max.into();
        let is_stored = negotiated.class() == Class::Durable || connect.will.is_some();
        // Whoever comes back may take what fills the disk.
        let needs_space = is_stored && known.is_none();
        let has_space = !needs_space || self.shared.store.condition() != Condition::Full;
        if (known.is_none() && is_full) || !has_space {
            self.refuse(key, connect.version, ReasonCode::QUOTA_EXCEEDED);
            return;
        }
        let Admitted { identity, exchange, way, is_named } = admitted;
        let owner = identity.as_ref().and_then(|it| it.user.as_deref()).unwrap_or_default();
        // What nobody owns is whoever's: it gives way, below.
        let is_others = known.is_some_and(|it| !["", owner].contains(&self.owner_of(it)));
        if is_others {
            self.refuse(key, connect.version, ReasonCode::CLIENT_IDENTIFIER_NOT_VALID);
            return;
        }
        // Authentication may have found out another name than the one it gave.
        let ip = self.links.get(key).and_then(|link| link.address.ip());
        let user = Some(owner).filter(|owner| !owner.is_empty());
        let caller = Caller { client_id: connect.client_id, user, ip };
        if identity.is_some()
            && self.shared.banned.has(caller, self.now, self.shared.wall(self.now))
        {
            self.refuse(key, connect.version, ReasonCode::BANNED);
            return;
        }
        // Not before it has shown who it is: a stranger could have others banned.
        let bans = &self.rules.config.bans;
        if !connect.client_id.is_empty()
            && self.shared.banned.count_connect(connect.client_id, self.now, bans)
        {
            self.refuse(key, connect.version, ReasonCode::BANNED);
            return;
        }
        let assigned = connect.client_id.is_empty().then(|| self.draw_client_id());
        let client_id = assigned.as_deref().unwrap_or(connect.client_id);
        let mut access = self.access_of(client_id, identity.as_deref(), way);
        if let Some(will) = &connect.will
            && self.denies_will(access.as_mut(), client_id, will.topic, will.qos, will.retain)
        {
            // It is who it says: that is no reason to ban it, or others of its address.
            self.turn_away(key, connect.version, ReasonCode::NOT_AUTHORIZED);
            return;
        }
        let awaited_before = self.awaited;
        let earlier = self.settle_earlier(client_id, owner, &negotiated);
        let session = match earlier {
            Earlier::Resumed(session) => session,
            Earlier::None | Earlier::Discarded => self.new_session(client_id, owner, &negotiated),
        };
        if let Some(home) = self.sessions.get_mut(session)
            && (access.is_some() || home.access.is_some())
        {
            if let (Some(access), Earlier::Resumed(_)) = (&mut access, earlier) {
                access.check_deliveries();
            }
            // There may be very many, and a client may come back again and again.
            let both = access.as_deref().zip(home.access.as_deref());
            let is_judged = both.is_some_and(|(next, before)| next.grants_as(before));
            home.access = access;
            if !is_judged {
                self.judge_subscriptions(session);
            }
        }
        self.store_will(session, connect, owner);
        self.connect_session(session, key, &negotiated);
        let mut packet = Vec::new();
        let response_information = self.response_information(client_id, &negotiated);
        let is_resumed = matches!(earlier, Earlier::Resumed(_));
        let written = write_connack(
            &negotiated,
            &self.limits_of(key),
            is_resumed,
            // Only 5.0 can be told; a 3.x client that gave no name does not need it.
            Some(client_id)
                .filter(|_| assigned.is_some() || is_named)
                .filter(|_| negotiated.version == Version::V5),
            exchange.as_ref().map(|(method, data)| (*method, data.as_slice())),
            response_information.as_deref(),
            &mut packet,
        );
        let Some(link) = self.links.get_mut(key) else { return };
        link.stage = Stage::Open(OpenLink {
            connection: Connection::new(&negotiated),
            session,
            identity: identity.clone(),
            exchange: exchange
                .map(|(method, _)| Box::new(Pending::new(negotiated.version, method, Vec::new()))),
        });
        if written.is_err() {
            // The connection was never accepted, so its will was never in force.
            self.forget_will(session);
            self.end_link(key, Ending::Abnormal(ReasonCode::PACKET_TOO_LARGE));
            return;
        }
        self.bound_link(key);
        self.refill(session);
        let after = if self.awaited == awaited_before && self.orphans.is_empty() {
            Submission(0)
        } else {
            // What an earlier connection published goes first, this client's among it.
            self.awaited
        };
        let held = Held::Connack(Box::new(Welcome { packet, session, is_resumed }));
        self.hold(Some(key), HeldEntry { after, grace: 0, held });
        self.release_held(key);
    }

    /// Returns what a client is granted: that of its listener goes first.
    fn limits_of(&self, key: Key) -> Cow<'_, ServerLimits> {
        let limits = &self.rules.server_limits;
        let bounds = self.links.get(key).and_then(|link| link.bounds.as_ref());
        bounds.and_then(|bounds| bounds.limits(limits)).map_or(Cow::Borrowed(limits), Cow::Owned)
    }

    /// Returns what a client is told about where to expect responses, if it asks.
    fn response_information(&self, client_id: &str, negotiated: &Negotiated) -> Option<String> {
        let template = &self.rules.config.policy.response_information;
        let is_wanted = negotiated.wants_response_information && !template.is_empty();
        is_wanted.then(|| template.replace("%c", client_id))
    }

    /// Ends the earlier connection of the same client, and its session if that does not go on.
    fn settle_earlier(&mut self, client_id: &str, owner: &str, negotiated: &Negotiated) -> Earlier {
        let Some(key) = self.find_session(client_id) else { return Earlier::None };
        let Some(session) = self.sessions.get(key) else { return Earlier::None };
        // Policy: what a client left that nobody had asked for its name does not become a user's: anyone may have
        // put anything there. Nor does it keep the user out.
        let is_ending = self.owner_of(key) != owner
            || negotiated.clean_start
            || session.extra.as_ref().is_none_or(|extra| extra.expiry_secs == 0);
        // After a restart a client may be faster than the timer of its session (section 3.1.2.11.2).
        let ends_at = session.extra.as_ref().and_then(|extra| extra.ends_at);
        if !is_ending && ends_at.is_some_and(|at| at <= self.now) {
            self.expire_session(key);
            return Earlier::Discarded;
        }
        if let Some(link) = session.link {
            // [MQTT-3.1.4-3]
            self.end_link(link, Ending::TakenOver { ends: is_ending });
        }
        if !is_ending {
            self.resume_session(key);
            return Earlier::Resumed(key);
        }
        if let Some(session) = self.sessions.get(key) {
            // It is the broker that was away: nobody has died.
            if session.extra.as_ref().is_some_and(|extra| extra.was_cut) {
                self.forget_will(key);
            }
            self.counters().clients_disconnected.add(1_u64.wrapping_neg());
            self.end_session(key);
        }
        Earlier::Discarded
    }

    /// A client is back before its session ended: what was to happen without it does not.
    fn resume_session(&mut self, key: Key) {
        self.counters().clients_disconnected.add(1_u64.wrapping_neg());
        let Some(session) = self.sessions.get_mut(key) else { return };
        if let Some(extra) = &mut session.extra {
            extra.ends_at = None;
            extra.will_at = None;
            extra.was_cut = false;
        }
        // [MQTT-3.1.3-9]: in time, so the delayed will is not sent.
        self.forget_will(key);
    }

    /// A will is not to be published any more. CONNACK waits until the store knows.
    fn forget_will(&mut self, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let number = session.stored_number();
        let will = session.extra.as_mut().and_then(|extra| extra.will.take());
        if let (Some(session), Some(_)) = (number, will) {
            self.submit(Operation::Will { session, will: None });
        }
    }

    /// Returns whose a session is, who alone may resume or end it: a user, or nobody (empty).
    fn owner_of(&self, key: Key) -> &str {
        let Some(session) = self.sessions.get(key) else { return "" };
        if session.kept().is_some() {
            return session.extra.as_ref().map_or("", |extra| &extra.owner);
        }
        // It ends with its connection, so it has one.
        match session.link.and_then(|it| self.links.get(it)).map(|link| &link.stage) {
            Some(Stage::Open(open)) => {
                open.identity.as_ref().and_then(|it| it.user.as_deref()).unwrap_or_default()
            }
            _ => "",
        }
    }

    fn new_session(&mut self, client_id: &str, owner: &str, negotiated: &Negotiated) -> Key {
        let class = negotiated.class();
        let mut session = HomeSession {
            protocol: Session::new(class),
            client_id: client_id.into(),
            link: None,
            subscriptions: Default::default(),
            access: None,
            extra: None,
        };
        if class == Class::Live {
            return self.add_session(session);
        }
        let number = self.shared.store.new_session();
        let expiry_secs = negotiated.session_expiry_secs;
        session.extra = Some(Box::new(Extra {
            expiry_secs,
            owner: owner.into(),
            kept: Some(Kept::new(number)),
            gauge: Some(Arc::default()),
            ..Extra::default()
        }));
        let key = self.add_session(session);
        self.numbers.insert(number, key);
        let identity = SessionIdentity { client_id: client_id.into(), owner: owner.into() };
        self.submit(Operation::SessionStart { session: number, identity, expiry_secs });
        key
    }

    fn store_will(&mut self, key: Key, connect: &Connect<'_>, owner: &str) {
        let Some(will) = &connect.will else { return };
        let mut forwarded = Vec::new();
        will.properties.append_forwarded(&mut forwarded);
        let content = Content {
            topic: will.topic,
            payload: will.payload,
            forwarded: &forwarded,
            expires_at: None,
        };
        let message = Message::new(&content);
        let will = StoredWill {
            message,
            qos: will.qos,
            retain: will.retain,
            delay_secs: will.delay_secs,
            expiry_secs: will.properties.message_expiry_secs,
        };
        let Some(session) = self.sessions.get_mut(key) else { return };
        let number = session.stored_number();
        let identity =
            SessionIdentity { client_id: session.client_id.clone(), owner: owner.into() };
        session.extra_mut().will = Some(will.clone());
        // A session that ends with its connection is stored for its will: the broker may crash.
        let session = match number {
            Some(number) => number,
            None => {
                let session_number = self.shared.store.new_session();
                session.extra_mut().will_number = Some(session_number);
                let (session, expiry_secs) = (session_number, 0);
                self.submit(Operation::SessionStart { session, identity, expiry_secs });
                session_number
            }
        };
        self.submit(Operation::Will { session, will: Some(will) });
    }

    /// Ties session and link together.
    fn connect_session(&mut self, session_key: Key, link: Key, negotiated: &Negotiated) {
        let Some(session) = self.sessions.get_mut(session_key) else { return };
        session.link = Some(link);
        let expiry_secs = negotiated.session_expiry_secs;
        let sent_before = session.protocol.sent_before();
        let mut change = None;
        if let Some(extra) = &mut session.extra {
            extra.expiry_secs = expiry_secs;
            change = extra.kept.as_mut().map(|kept| (kept.number, kept.attach(sent_before)));
            if let Some(gauge) = &extra.gauge {
                gauge.is_online.store(true, Ordering::Relaxed);
                gauge.window.store(u32::from(negotiated.send_window), Ordering::Relaxed);
                let messages = gauge.take_dropped();
                if messages > 0 {
                    let client_id = &session.client_id;
                    let reason = DropReason::QueueFull.as_str();
                    tracing::warn!(%client_id, messages, reason, "messages dropped since it last connected");
                }
            }
        }
        if let Some((session, sent_before)) = change {
            let presence = Presence::Connected;
            let change = Operation::SessionChange { session, expiry_secs, presence, sent_before };
            self.submit(change);
        }
        self.counters().clients_connected.add(1);
    }

    /// Writes CONNACK: the connection is open.
    pub(super) fn welcome(&mut self, key: Key, welcome: &Welcome) {
        self.append_output(key, &welcome.packet);
        let Some(link) = self.links.get_mut(key) else { return };
        link.is_answered = true;
        link.last_packet_at = self.now;
        let Stage::Open(open) = &mut link.stage else { return };
        if let Some(limit) = open.connection.keep_alive_limit_millis() {
            self.arm_link(key, self.now.plus_millis(limit));
        }
        self.arm_expiry(key);
        self.counters().connects_accepted.add(1);
        // What the client sent after its CONNECT has waited until here.
        self.list_readable(key);
        if welcome.is_resumed {
            self.pump(key, welcome.session);
        }
    }

    /// Answers a CONNECT with a refusal, which counts for bans where it is about who the client says it is.
    pub(super) fn refuse(&mut self, key: Key, version: Version, reason: ReasonCode) {
        if matches!(
            reason,
            ReasonCode::BAD_USER_NAME_OR_PASSWORD
                | ReasonCode::NOT_AUTHORIZED
                | ReasonCode::BAD_AUTHENTICATION_METHOD
        ) {
            let ip = self.links.get(key).and_then(|link| link.address.ip());
            self.shared.banned.count_failure(ip, self.now, &self.rules.config.bans);
        }
        self.turn_away(key, version, reason);
    }

    /// Answers a CONNECT with a refusal, and closes ([MQTT-3.2.2-7]).
    fn turn_away(&mut self, key: Key, version: Version, reason: ReasonCode) {
        self.counters().connects_refused.add(1);
        let mut packet = Vec::new();
        write_refusal(version, reason, None, None, &mut packet);
        if let Some(link) = self.links.get(key) {
            tracing::info!(address = %link.address, reason = %reason.0, "connection refused");
        }
        self.append_output(key, &packet);
        self.end_link(key, Ending::Abnormal(ReasonCode::SUCCESS));
    }

    /// Draws a client identifier whose home is this shard.
    fn draw_client_id(&mut self) -> String {
        loop {
            self.draws = self.draws.wrapping_add(1);
            let number = self.shared.hash(&self.draws.to_le_bytes());
            let client_id = format!("quelea-{}-{number:016x}", self.index.0);
            let is_here = self.shared.home_of(&client_id) == self.index;
            if is_here && self.find_session(&client_id).is_none() {
                return client_id;
            }
        }
    }
}

/// Returns the length of the packet at the start of `bytes`, which is known to be whole.
fn frame_len(bytes: &[u8]) -> usize {
    match next_frame(bytes, u32::MAX) {
        Ok(Framing::Complete { consumed, .. }) => consumed,
        Ok(Framing::Incomplete { .. }) | Err(_) => bytes.len(),
    }
}
