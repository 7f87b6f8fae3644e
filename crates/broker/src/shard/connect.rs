//! CONNECT: whose connection it is, where it lives, and whether it may be.
//!
//! The order matters. The client identifier decides the shard, and the connection moves there
//! before anything else is read. Authentication comes next. Only then is any session of that
//! identifier looked at: a stranger can neither end a session nor learn that there is one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use quelea_codec::{
    Auth, AuthProperties, Connect, Frame, Framing, Packet, ReasonCode, Version, next_frame,
};
use quelea_session::{
    Class, Connection, Content, Message, Negotiated, Session, Time, negotiate, write_connack,
    write_refusal,
};
use quelea_store::{Operation, Submission};

use super::Shard;
use super::held::{Held, HeldEntry};
use super::link::{Ending, Link, OpenLink, Stage};
use super::sessions::{Extra, HomeSession, Will};
use crate::arena::Key;
use crate::auth::{Answer, Pending, Step};
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
            self.shared.connection_count.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let wait_secs = self.shared.config.limits.connect_timeout_secs;
        let deadline = arrival.accepted_at.plus_secs(wait_secs);
        let mut link = Link::new(arrival.address, self.now, deadline);
        link.has_packets = !arrival.unread.is_empty();
        link.unread = arrival.unread;
        link.is_home = arrival.is_home;
        let key = self.links.insert(link);
        if let Err(error) = io.adopt(key, arrival.stream) {
            tracing::warn!(%error, address = %arrival.address, "a connection cannot be watched");
            self.links.remove(key);
            self.shared.connection_count.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        if !arrival.is_home {
            self.counters().connections_opened.add(1);
        }
        self.arm_link(key, deadline);
        if arrival.is_home {
            self.list_readable(key);
        }
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
        // [MQTT-3.1.0-1]: whoever begins otherwise speaks something else, and gets no answer.
        if frame.first_byte >> 4 != CONNECT {
            self.counters().protocol_errors.add(1);
            self.end_link(key, Ending::Abnormal(ReasonCode::SUCCESS));
            return false;
        }
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
        let home = self.shared.home_of(connect.client_id);
        let is_home = self.links.get(key).is_some_and(|link| link.is_home);
        if !connect.client_id.is_empty() && home != self.index && !is_home {
            self.move_home(key, rest, usize::from(home.0), io);
            return true;
        }
        self.on_connect(key, &connect, &rest[..frame_len(rest)]);
        false
    }

    /// Sends a link to the shard where its session lives.
    fn move_home(&mut self, key: Key, unread: &[u8], home: usize, io: &mut dyn Io) {
        let (Some(stream), Some(link)) = (io.release(key), self.links.remove(key)) else { return };
        let arrival =
            Arrival {
                stream,
                address: link.address,
                unread: unread.to_vec(),
                accepted_at: Time::from_millis(link.stage_ends_at.as_millis().saturating_sub(
                    u64::from(self.shared.config.limits.connect_timeout_secs) * 1_000,
                )),
                is_home: true,
            };
        self.outgoing[home].letters.push(Letter::Arrived(Box::new(arrival)));
    }

    /// Handles a CONNECT on its home shard.
    fn on_connect(&mut self, key: Key, connect: &Connect<'_>, packet: &[u8]) {
        if self.shared.config.allow_anonymous == Some(false) {
            self.refuse(key, connect.version, ReasonCode::NOT_AUTHORIZED);
            return;
        }
        match connect.properties.authentication_method {
            Some(method) => self.begin_authentication(key, connect, method, packet),
            None => self.open_session(key, connect, None),
        }
    }

    fn begin_authentication(
        &mut self,
        key: Key,
        connect: &Connect<'_>,
        method: &str,
        packet: &[u8],
    ) {
        let Some(exchange) = self.shared.authority.begin(method, connect.client_id) else {
            self.refuse(key, connect.version, ReasonCode::BAD_AUTHENTICATION_METHOD);
            return;
        };
        let pending = Pending::new(connect.version, method, packet.to_vec());
        let Some(link) = self.links.get_mut(key) else { return };
        link.stage = Stage::Authenticating(Box::new(pending));
        let data = connect.properties.authentication_data.unwrap_or_default().to_vec();
        if !self.shared.authority.ask(usize::from(self.index.0), key, exchange, data) {
            self.refuse(key, connect.version, ReasonCode::SERVER_BUSY);
        }
    }

    /// Refuses a client that sends something else in the middle of its authentication.
    pub(super) fn reject_early_packet(&mut self, key: Key) {
        self.counters().protocol_errors.add(1);
        if let Some(link) = self.links.get(key)
            && matches!(link.stage, Stage::Authenticating(_))
        {
            let version = link.version();
            self.refuse(key, version, ReasonCode::PROTOCOL_ERROR);
        }
    }

    /// Handles AUTH: the next step of an authentication, or the first of another one.
    pub(super) fn on_auth(&mut self, key: Key, auth: &Auth<'_>) {
        let Some(link) = self.links.get_mut(key) else { return };
        let (pending, is_again) = match &mut link.stage {
            Stage::Authenticating(pending) => (Some(pending), false),
            Stage::Open(open) => (open.exchange.as_mut(), true),
            Stage::Connecting | Stage::Lingering => (None, false),
        };
        let method = auth.properties.method.unwrap_or_default();
        // The method is the one of the CONNECT, always ([MQTT-4.12.0-5]).
        let Some(pending) = pending.filter(|pending| *pending.method == *method) else {
            self.fail(key, ReasonCode::PROTOCOL_ERROR, &"AUTH without or with another method");
            return;
        };
        let exchange = match auth.reason {
            ReasonCode::CONTINUE_AUTHENTICATION => pending.exchange.take(),
            ReasonCode::RE_AUTHENTICATE if is_again => {
                let session = link.open().map(|open| open.session);
                let client_id = session.and_then(|it| self.sessions.get(it));
                let client_id = client_id.map_or("", |session| &session.client_id);
                self.shared.authority.begin(method, client_id)
            }
            _ => None,
        };
        let Some(exchange) = exchange else {
            self.fail(key, ReasonCode::PROTOCOL_ERROR, &"AUTH out of turn");
            return;
        };
        let data = auth.properties.data.unwrap_or_default().to_vec();
        if !self.shared.authority.ask(usize::from(self.index.0), key, exchange, data) {
            self.end_link(key, Ending::Abnormal(ReasonCode::SERVER_BUSY));
        }
    }

    /// An authenticator has worked a step out.
    pub(super) fn on_answer(&mut self, key: Key, answer: Answer) {
        let Some(link) = self.links.get_mut(key) else { return };
        let version = link.version();
        match &mut link.stage {
            Stage::Authenticating(pending) => match answer.step {
                Step::Continue(data) => {
                    pending.exchange = Some(answer.exchange);
                    let method = pending.method.clone();
                    self.send_auth(key, ReasonCode::CONTINUE_AUTHENTICATION, &method, &data);
                }
                Step::Accept(data) => {
                    let pending = std::mem::replace(&mut link.stage, Stage::Connecting);
                    let Stage::Authenticating(pending) = pending else { return };
                    self.finish_authentication(key, *pending, data);
                }
                Step::Refuse(reason) => self.refuse(key, version, reason),
            },
            Stage::Open(open) => {
                let Some(pending) = &mut open.exchange else { return };
                let method = pending.method.clone();
                match answer.step {
                    Step::Continue(data) => {
                        pending.exchange = Some(answer.exchange);
                        self.send_auth(key, ReasonCode::CONTINUE_AUTHENTICATION, &method, &data);
                    }
                    Step::Accept(data) => self.send_auth(key, ReasonCode::SUCCESS, &method, &data),
                    Step::Refuse(reason) => self.end_link(key, Ending::Abnormal(reason)),
                }
            }
            Stage::Connecting | Stage::Lingering => {}
        }
    }

    fn send_auth(&mut self, key: Key, reason: ReasonCode, method: &str, data: &[u8]) {
        let properties = AuthProperties {
            method: Some(method),
            data: Some(data).filter(|data| !data.is_empty()),
            ..AuthProperties::default()
        };
        let mut packet = Vec::new();
        Packet::Auth(Auth { reason, properties }).encode(Version::V5, &mut packet);
        self.append_output(key, &packet);
    }

    /// Goes on with the CONNECT of a client that has shown who it is.
    fn finish_authentication(&mut self, key: Key, pending: Pending, data: Vec<u8>) {
        let Ok(Framing::Complete { frame, .. }) = next_frame(&pending.connect, u32::MAX) else {
            return;
        };
        // It was decoded before, so it can be again.
        let Ok(connect) = Connect::decode(frame) else { return };
        self.open_session(key, &connect, Some((&pending.method, data)));
    }

    /// Gives a connection its session, new or resumed.
    fn open_session(&mut self, key: Key, connect: &Connect<'_>, auth: Option<(&str, Vec<u8>)>) {
        let negotiated = match negotiate(connect, &self.shared.server_limits) {
            Ok(negotiated) => negotiated,
            Err(refusal) => {
                self.refuse(key, connect.version, refusal.reason_code());
                return;
            }
        };
        let assigned = connect.client_id.is_empty().then(|| self.draw_client_id());
        let client_id = assigned.as_deref().unwrap_or(connect.client_id);
        let submitted_before = self.submitted;
        let earlier = self.settle_earlier(client_id, &negotiated);
        let session = match earlier {
            Earlier::Resumed(session) => session,
            Earlier::None | Earlier::Discarded => self.new_session(client_id, &negotiated),
        };
        self.store_will(session, connect);
        self.connect_session(session, key, &negotiated);
        let mut packet = Vec::new();
        let response_information = self.response_information(client_id, &negotiated);
        let is_resumed = matches!(earlier, Earlier::Resumed(_));
        let written = write_connack(
            &negotiated,
            &self.shared.server_limits,
            is_resumed,
            // Only 5.0 can be told; a 3.x client that gave no name does not need it.
            assigned.as_deref().filter(|_| negotiated.version == Version::V5),
            auth.as_ref().map(|(method, data)| (*method, data.as_slice())),
            response_information.as_deref(),
            &mut packet,
        );
        let Some(link) = self.links.get_mut(key) else { return };
        link.stage = Stage::Open(OpenLink {
            connection: Connection::new(&negotiated),
            session,
            exchange: auth
                .map(|(method, _)| Box::new(Pending::new(negotiated.version, method, Vec::new()))),
        });
        if written.is_err() {
            self.end_link(key, Ending::Abnormal(ReasonCode::PACKET_TOO_LARGE));
            return;
        }
        let after = if self.submitted == submitted_before { Submission(0) } else { self.submitted };
        let held = Held::Connack(Box::new(Welcome { packet, session, is_resumed }));
        self.hold(Some(key), HeldEntry { after, grace: 0, held });
        self.release_held(key);
    }

    /// Returns what a client is told about where to expect responses, if it asks.
    fn response_information(&self, client_id: &str, negotiated: &Negotiated) -> Option<String> {
        let template = &self.shared.config.policy.response_information;
        let is_wanted = negotiated.wants_response_information && !template.is_empty();
        is_wanted.then(|| template.replace("%c", client_id))
    }

    /// Ends the earlier connection of the same client, and its session if that does not go on.
    fn settle_earlier(&mut self, client_id: &str, negotiated: &Negotiated) -> Earlier {
        let Some(key) = self.find_session(client_id) else { return Earlier::None };
        let Some(session) = self.sessions.get(key) else { return Earlier::None };
        let is_ending = negotiated.clean_start
            || session.extra.as_ref().is_none_or(|extra| extra.expiry_secs == 0);
        if let Some(link) = session.link {
            // [MQTT-3.1.4-3]
            self.end_link(link, Ending::TakenOver { ends: is_ending });
        }
        if !is_ending {
            self.resume_session(key);
            return Earlier::Resumed(key);
        }
        if self.sessions.get(key).is_some() {
            self.counters().clients_disconnected.add(1_u64.wrapping_neg());
            self.end_session(key);
        }
        Earlier::Discarded
    }

    /// A client is back before its session ended: what was to happen without it does not.
    fn resume_session(&mut self, key: Key) {
        self.counters().clients_disconnected.add(1_u64.wrapping_neg());
        let Some(session) = self.sessions.get_mut(key) else { return };
        let number = session.number();
        if let Some(extra) = &mut session.extra {
            extra.ends_at = None;
            extra.will_at = None;
            // [MQTT-3.1.3-9]: in time, so the delayed will is not sent.
            extra.will = None;
        }
        if let Some(session) = number {
            self.submit(Operation::Will { session, will: None });
        }
    }

    fn new_session(&mut self, client_id: &str, negotiated: &Negotiated) -> Key {
        let class = negotiated.class();
        let mut session = HomeSession {
            protocol: Session::new(class),
            client_id: client_id.into(),
            link: None,
            subscriptions: Default::default(),
            extra: None,
        };
        if class == Class::Live {
            return self.add_session(session);
        }
        let number = self.new_number();
        let expiry_secs = negotiated.session_expiry_secs;
        session.extra = Some(Box::new(Extra {
            expiry_secs,
            number: Some(number),
            gauge: Some(Arc::default()),
            ..Extra::default()
        }));
        let key = self.add_session(session);
        self.numbers.insert(number, key);
        self.submit(Operation::SessionStart {
            session: number,
            home: self.index,
            client_id: client_id.into(),
            expiry_secs,
        });
        key
    }

    fn store_will(&mut self, key: Key, connect: &Connect<'_>) {
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
        let Some(session) = self.sessions.get_mut(key) else { return };
        let number = session.number();
        session.extra_mut().will = Some(Will {
            message: Arc::clone(&message),
            expiry_secs: will.properties.message_expiry_secs,
            qos: will.qos,
            retain: will.retain,
            delay_secs: will.delay_secs,
        });
        if let Some(session) = number {
            let will = Some((message, will.qos, will.retain, will.delay_secs));
            self.submit(Operation::Will { session, will });
        }
    }

    /// Ties session and link together.
    fn connect_session(&mut self, session_key: Key, link: Key, negotiated: &Negotiated) {
        let Some(session) = self.sessions.get_mut(session_key) else { return };
        session.link = Some(link);
        let expiry_secs = negotiated.session_expiry_secs;
        let number = session.number();
        if let Some(extra) = &mut session.extra {
            extra.expiry_secs = expiry_secs;
            if let Some(gauge) = &extra.gauge {
                gauge.is_online.store(true, Ordering::Relaxed);
                gauge.window.store(u32::from(negotiated.send_window), Ordering::Relaxed);
            }
        }
        if let Some(session) = number {
            self.submit(Operation::SessionChange { session, expiry_secs, is_connected: true });
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
        self.counters().connects_accepted.add(1);
        // What the client sent after its CONNECT has waited until here.
        self.list_readable(key);
        if welcome.is_resumed {
            if let Some(session) = self.sessions.get_mut(welcome.session) {
                session.protocol.resume();
            }
            self.pump(key, welcome.session);
        }
    }

    /// Answers a CONNECT with a refusal, and closes ([MQTT-3.2.2-7]).
    fn refuse(&mut self, key: Key, version: Version, reason: ReasonCode) {
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

const CONNECT: u8 = 1;
