//! Authentication: a CONNECT that is judged, and enhanced authentication (section 4.12) with its AUTH packets,
//! before CONNACK and again later.
//!
//! Either is worked out elsewhere; until the answer comes, the link waits and the shard goes on. Who has said all in
//! its CONNECT is not read from meanwhile.

use std::sync::Arc;

use quelea_auth::{Credentials, Identity, Step};
use quelea_codec::{
    Auth, AuthProperties, Connect, Framing, Packet, PacketKind, ReasonCode, Version, next_frame,
};
use quelea_session::Time;

use super::Shard;
use super::access::Way;
use super::link::{Ending, Stage};
use crate::arena::Key;
use crate::auth::{Admission, Answer, Judgement, Pending};
use crate::net::Io;

/// What authentication has found out about a client that may come in.
#[derive(Default)]
pub(super) struct Admitted<'a> {
    pub(super) identity: Option<Arc<Identity>>,
    /// The method of an enhanced authentication, and what CONNACK says of it.
    pub(super) exchange: Option<(&'a str, Vec<u8>)>,
    pub(super) way: Way,
    /// The client identifier is not the client's choice, and it has made none.
    pub(super) is_named: bool,
}

impl Shard {
    /// Has a client judged by what its CONNECT and its connection say.
    pub(super) fn judge(
        &mut self,
        key: Key,
        connect: &Connect<'_>,
        packet: &[u8],
        io: &mut dyn Io,
    ) {
        let Some(link) = self.links.get_mut(key) else { return };
        let door = self.rules.chains.door(link.listener);
        let Some(chain) = door.chain.clone() else { return };
        let credentials = Credentials {
            client_id: connect.client_id.into(),
            user_name: connect.username.map(Into::into),
            password: connect.password.map(Into::into),
            certificate: io.certificate(key),
            address: link.address.ip(),
            listener: Arc::clone(&door.name),
            version: Some(connect.version),
        };
        let judgement = Judgement::new(chain, credentials, door.strangers());
        let mut pending = Pending::new(connect.version, "", packet.to_vec());
        pending.is_asked = true;
        link.stage = Stage::Authenticating(Box::new(pending));
        let deadline = link.stage_ends_at;
        let shard = usize::from(self.index.0);
        if !self.shared.authority.judge(shard, key, judgement, deadline) {
            self.refuse(key, connect.version, ReasonCode::SERVER_BUSY);
        }
    }

    pub(super) fn begin_authentication(
        &mut self,
        key: Key,
        connect: &Connect<'_>,
        method: &str,
        packet: &[u8],
    ) {
        let Some(link) = self.links.get(key) else { return };
        let door = self.rules.chains.door(link.listener);
        let Some(exchange) = self.shared.authority.begin(door, method, connect.client_id) else {
            self.refuse(key, connect.version, ReasonCode::BAD_AUTHENTICATION_METHOD);
            return;
        };
        let mut pending = Pending::new(connect.version, method, packet.to_vec());
        pending.is_asked = true;
        let Some(link) = self.links.get_mut(key) else { return };
        link.stage = Stage::Authenticating(Box::new(pending));
        let deadline = link.stage_ends_at;
        let data = connect.properties.authentication_data.unwrap_or_default().to_vec();
        if !self.shared.authority.ask(usize::from(self.index.0), key, exchange, data, deadline) {
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
        let listener = link.listener;
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
            ReasonCode::CONTINUE_AUTHENTICATION => {
                pending.is_asked |= pending.exchange.is_some();
                pending.exchange.take()
            }
            // One at a time: the answer to the step under way belongs to the exchange before.
            ReasonCode::RE_AUTHENTICATE if is_again && !pending.is_asked => {
                pending.is_asked = true;
                let session = link.open().map(|open| open.session);
                let client_id = session.and_then(|it| self.sessions.get(it));
                let client_id = client_id.map_or("", |session| &session.client_id);
                self.shared.authority.begin(self.rules.chains.door(listener), method, client_id)
            }
            _ => None,
        };
        let Some(exchange) = exchange else {
            self.fail(key, ReasonCode::PROTOCOL_ERROR, &"AUTH out of turn");
            return;
        };
        let data = auth.properties.data.unwrap_or_default().to_vec();
        let deadline = self.now.plus_secs(self.rules.config.limits.connect_timeout_secs);
        if !self.shared.authority.ask(usize::from(self.index.0), key, exchange, data, deadline) {
            self.end_link(key, Ending::Abnormal(ReasonCode::SERVER_BUSY));
        }
    }

    /// An authenticator has worked a step out.
    pub(super) fn on_answer(&mut self, key: Key, answer: Answer, io: &mut dyn Io) {
        let Some(link) = self.links.get_mut(key) else { return };
        match &mut link.stage {
            Stage::Authenticating(_) => self.on_first_answer(key, answer, io),
            Stage::Open(_) => self.on_later_answer(key, answer, io),
            // It has not waited.
            Stage::Connecting | Stage::Lingering => {}
        }
    }

    /// Before CONNACK.
    fn on_first_answer(&mut self, key: Key, answer: Answer, io: &mut dyn Io) {
        let Some(link) = self.links.get_mut(key) else { return };
        let Stage::Authenticating(pending) = &mut link.stage else { return };
        let (identity, data) = match answer.step {
            Step::Continue(data) => {
                pending.is_asked = false;
                pending.exchange = answer.exchange;
                let method = pending.method.clone();
                self.send_auth(key, ReasonCode::CONTINUE_AUTHENTICATION, &method, &data);
                return;
            }
            Step::Accept(data) => (None, data),
            Step::Identify(identity, data) => (Some(Arc::from(identity)), data),
            Step::Refuse(reason) => {
                let version = pending.version();
                self.refuse(key, version, reason);
                return;
            }
        };
        // It has ended before it has begun, and must not end the connection of whoever has the session.
        let ends_at = identity.as_ref().and_then(|it: &Arc<Identity>| it.expires_at);
        if ends_at.is_some_and(|at| self.shared.time_of(at) <= self.now) {
            let version = pending.version();
            self.refuse(key, version, ReasonCode::NOT_AUTHORIZED);
            return;
        }
        let stage = std::mem::replace(&mut link.stage, Stage::Connecting);
        let Stage::Authenticating(pending) = stage else { return };
        self.admit(key, Box::new(Admission { pending, identity, data }), io);
    }

    /// An open connection authenticates again: it goes on as the same user, or ends.
    fn on_later_answer(&mut self, key: Key, answer: Answer, io: &dyn Io) {
        let Some(open) = self.links.get_mut(key).and_then(|link| link.open()) else { return };
        let Some(pending) = &mut open.exchange else { return };
        let method = pending.method.clone();
        pending.is_asked = false;
        let data = match answer.step {
            Step::Continue(data) => {
                pending.exchange = answer.exchange;
                self.send_auth(key, ReasonCode::CONTINUE_AUTHENTICATION, &method, &data);
                return;
            }
            Step::Accept(data) => data,
            Step::Identify(identity, data) => {
                let user = open.identity.as_ref().and_then(|it| it.user.as_deref());
                let session = self.sessions.get(open.session);
                let client_id = session.map(|session| &session.client_id);
                // The session is the user's and the client's, so it cannot become another's.
                if user != identity.user.as_deref()
                    || identity.client_id.as_ref().is_some_and(|it| Some(it) != client_id)
                {
                    self.end_link(key, Ending::Abnormal(ReasonCode::NOT_AUTHORIZED));
                    return;
                }
                open.identity = Some(Arc::from(identity));
                self.arm_expiry(key);
                self.bound_link(key);
                self.authorize_again(key, io);
                data
            }
            Step::Refuse(reason) => {
                // What CONNACK would say, DISCONNECT may have no code for.
                let is_known = reason.is_allowed_in(PacketKind::Disconnect);
                let reason = if is_known { reason } else { ReasonCode::NOT_AUTHORIZED };
                self.end_link(key, Ending::Abnormal(reason));
                return;
            }
        };
        self.send_auth(key, ReasonCode::SUCCESS, &method, &data);
    }

    /// Goes on with the CONNECT of a client that has shown who it is: on the shard of its client identifier, which
    /// may be another one only now.
    pub(super) fn admit(&mut self, key: Key, admission: Box<Admission>, io: &mut dyn Io) {
        let assigned = admission.identity.as_ref().and_then(|it| it.client_id.as_deref());
        let home = assigned.map(|it| usize::from(self.shared.home_of(it).0));
        if let Some(home) = home.filter(|home| *home != usize::from(self.index.0)) {
            // There is no output to take along: who has answered has read all that it was sent.
            let Some(link) = self.links.get_mut(key) else { return };
            let unread = std::mem::take(&mut link.unread);
            self.move_home(key, unread, home, Some(admission), io);
            return;
        }
        let Ok(Framing::Complete { frame, .. }) = next_frame(&admission.pending.connect, u32::MAX)
        else {
            return;
        };
        // It was decoded before, so it can be again.
        let Ok(mut connect) = Connect::decode(frame) else { return };
        let is_named = assigned.is_some() && connect.client_id.is_empty();
        connect.client_id = assigned.unwrap_or(connect.client_id);
        let pending = &admission.pending;
        let exchange = (!pending.is_plain()).then(|| (&*pending.method, admission.data.clone()));
        let identity = admission.identity.clone();
        let way = self.way_of(key, io);
        self.open_session(key, &connect, Admitted { identity, exchange, way, is_named });
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

    /// Has the link's timer look at it when its identity ends.
    pub(super) fn arm_expiry(&mut self, key: Key) {
        if let Some(at) = self.identity_ends_at(key) {
            self.arm_link(key, at);
        }
    }

    /// Returns when the client has to have authenticated again.
    pub(super) fn identity_ends_at(&self, key: Key) -> Option<Time> {
        let Stage::Open(open) = &self.links.get(key)?.stage else { return None };
        let expires_at = open.identity.as_ref()?.expires_at?;
        Some(self.shared.time_of(expires_at))
    }
}
