//! Enhanced authentication (section 4.12): AUTH packets, before CONNACK and again later.
//!
//! A step is worked out elsewhere; until its answer comes, the link waits and the shard goes on.

use quelea_codec::{
    Auth, AuthProperties, Connect, Framing, Packet, ReasonCode, Version, next_frame,
};

use super::Shard;
use super::link::{Ending, Stage};
use crate::arena::Key;
use crate::auth::{Answer, Pending, Step};

impl Shard {
    pub(super) fn begin_authentication(
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
        let mut pending = Pending::new(connect.version, method, packet.to_vec());
        pending.is_asked = true;
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
                    pending.is_asked = false;
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
                pending.is_asked = false;
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
}
