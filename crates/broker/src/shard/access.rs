//! What clients may do: asked when they publish, subscribe and receive, and judged again when the rules change.
//!
//! A session knows its permissions, so that no message costs a look at the rules. Without rules it has none, and
//! nothing is asked. Whoever is unknown since a restart is judged by what the log says of it, its client identifier and
//! its owner, until it comes back: its will is held to that, and so is what waits for it.

use std::sync::Arc;

use quelea_acl::{Granted, Permissions, Publish, Recent, Subject, Verdict};
use quelea_auth::Identity;
use quelea_codec::QoS;
use quelea_session::Time;

use super::Shard;
use super::fanout::DropLog;
use super::sessions::HomeSession;
use super::subscriptions::Subscription;
use crate::arena::Key;
use crate::net::Io;

/// What one session's client may do.
#[derive(Debug)]
pub(super) struct Access {
    permissions: Permissions,
    recent: Recent,
    /// Deliveries are looked at. A subscription that was granted with these permissions, and all of it, needs none of that.
    checks_deliveries: bool,
}

/// What a client's connection says of it.
#[derive(Debug, Default)]
pub(super) struct Way {
    listener: Option<Arc<str>>,
    /// The common name in its certificate.
    certificate: Option<Box<str>>,
}

impl Access {
    fn new(permissions: Permissions) -> Box<Self> {
        let checks_deliveries = permissions.filters_deliveries();
        Box::new(Self { permissions, recent: Recent::default(), checks_deliveries })
    }

    /// Has each delivery looked at from here on: the session has subscriptions or messages that are older than this.
    pub(super) fn check_deliveries(&mut self) {
        self.checks_deliveries = true;
    }

    /// Returns whether subscriptions that were granted under `before` need not be judged: nothing is decided otherwise.
    /// Those of before a restart were granted under what nobody knows any more.
    pub(super) fn grants_as(&self, before: &Self) -> bool {
        before.is_known() && self.permissions.decides_as(&before.permissions)
    }

    /// Returns whether all is known of the client: it has been here since the broker started.
    fn is_known(&self) -> bool {
        self.permissions.subject().listener.is_some()
    }

    /// Decides about a message that the client publishes, or has published in its name.
    pub(super) fn publish(&mut self, topic: &str, qos: QoS, retain: bool) -> Verdict {
        let publish = Publish { topic, qos: qos as u8, retain };
        self.recent.publish(&self.permissions, publish)
    }
}

impl HomeSession {
    /// Returns whether the rules keep a message with this topic from the client.
    #[inline]
    pub(super) fn may_not_receive(&self, topic: &str) -> bool {
        let access = self.access.as_ref().filter(|access| access.checks_deliveries);
        access.is_some_and(|access| !access.permissions.receive(topic).is_allowed())
    }
}

impl Shard {
    /// Returns what a client may do that connects, or is back after a restart; nothing when it may do all.
    pub(super) fn access_of(
        &mut self,
        client_id: &str,
        identity: Option<&Identity>,
        way: Way,
    ) -> Option<Box<Access>> {
        self.access_of_subject(subject(client_id, identity, way))
    }

    fn access_of_subject(&mut self, subject: Subject) -> Option<Box<Access>> {
        let is_restricted = self.compiler.rules().restrict(&subject);
        is_restricted.then(|| Access::new(self.compiler.permissions(subject)))
    }

    /// Returns by which way a link's client has come in.
    pub(super) fn way_of(&self, key: Key, io: &dyn Io) -> Way {
        let Some(link) = self.links.get(key) else { return Way::default() };
        let certificate = io.certificate(key).and_then(|it| it.common_name());
        Way { listener: Some(self.rules.chains.door(link.listener).name.clone()), certificate }
    }

    /// Judges a client again that has authenticated again: its groups and claims may be others.
    pub(super) fn authorize_again(&mut self, link: Key, io: &dyn Io) {
        let way = self.way_of(link, io);
        let Some(open) = self.links.get_mut(link).and_then(|link| link.open()) else { return };
        let (key, identity) = (open.session, open.identity.clone());
        let Some(session) = self.sessions.get(key) else { return };
        let subject = subject(&session.client_id, identity.as_deref(), way);
        let mut access = self.access_of_subject(subject);
        if let Some(access) = &mut access {
            access.check_deliveries();
        }
        if let Some(session) = self.sessions.get_mut(key) {
            session.access = access;
        }
        self.judge_subscriptions(key);
        self.drop_queued_denied(key);
    }

    /// Returns whether the rules keep a client from publishing a message, and says so.
    #[inline]
    pub(super) fn denies_publish(
        &mut self,
        session: Key,
        topic: &str,
        qos: QoS,
        retain: bool,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(session) else { return false };
        let Some(access) = &mut session.access else { return false };
        let Verdict::Deny { rule } = access.publish(topic, qos, retain) else { return false };
        let origin = access.permissions.origin(&self.rules.access, rule);
        note(&mut self.denial_log, self.now, origin, &session.client_id, "publish", topic);
        self.counters().dropped_not_authorized.add(1);
        true
    }

    /// Returns whether the rules keep a client from having its will published, and says so.
    pub(super) fn denies_will(
        &mut self,
        access: Option<&mut Box<Access>>,
        client_id: &str,
        topic: &str,
        qos: QoS,
        retain: bool,
    ) -> bool {
        let Some(access) = access else { return false };
        let Verdict::Deny { rule } = access.publish(topic, qos, retain) else { return false };
        let origin = access.permissions.origin(&self.rules.access, rule);
        note(&mut self.denial_log, self.now, origin, client_id, "will", topic);
        self.counters().dropped_not_authorized.add(1);
        true
    }

    /// Returns the quality of service up to which a client may subscribe to a filter, without `$share`; nothing if it
    /// may not, which is said.
    pub(super) fn granted_qos(&mut self, session: Key, filter: &str) -> Option<QoS> {
        let session = self.sessions.get(session)?;
        let Some(access) = &session.access else { return Some(QoS::ExactlyOnce) };
        match access.permissions.subscribe(filter) {
            Granted::UpTo(0) => Some(QoS::AtMostOnce),
            Granted::UpTo(1) => Some(QoS::AtLeastOnce),
            Granted::UpTo(_) => Some(QoS::ExactlyOnce),
            Granted::Denied { rule } => {
                let (log, now) = (&mut self.denial_log, self.now);
                let origin = access.permissions.origin(&self.rules.access, rule);
                note(log, now, origin, &session.client_id, "subscribe", filter);
                self.counters().subscriptions_denied.add(1);
                None
            }
        }
    }

    /// The rules are others: everybody is judged again, some in each turn.
    pub(super) fn judge_all_again(&mut self) {
        self.to_judge = self.sessions.keys();
    }

    /// Goes on with the sessions that are to be judged again.
    pub(super) fn judge_some(&mut self, io: &dyn Io) {
        let mut units = JUDGED_A_TURN;
        while units > 0
            && let Some(key) = self.to_judge.pop()
        {
            let Some(session) = self.sessions.get_mut(key) else { continue };
            // One session is not divided: it may be more than a turn's worth.
            units = units.saturating_sub(SESSION_UNITS + session.subscriptions.len());
            let subject = match session.access.take() {
                Some(access) => Some(access.permissions.subject().clone()),
                None => self.subject_of(key, io),
            };
            let access = subject.and_then(|subject| self.access_of_subject(subject));
            let Some(mut access) = access else { continue };
            access.check_deliveries();
            // Of who is away since a restart too little is known to take anything away: it is judged when it is back.
            let is_known = access.is_known();
            if let Some(session) = self.sessions.get_mut(key) {
                session.access = Some(access);
            }
            if is_known {
                self.judge_subscriptions(key);
                self.drop_queued_denied(key);
            }
        }
        if self.to_judge.is_empty() {
            let generation = self.rules.generation;
            self.reloads.retain(|reload| reload.generation > generation);
        }
    }

    /// Returns what is known of the client of a session that had no rules so far.
    fn subject_of(&mut self, key: Key, io: &dyn Io) -> Option<Subject> {
        let link = self.sessions.get(key)?.link;
        let way = link.map(|link| self.way_of(link, io)).unwrap_or_default();
        let open = link.and_then(|link| self.links.get_mut(link)).and_then(|link| link.open());
        let identity = open.and_then(|open| open.identity.clone());
        let session = self.sessions.get(key)?;
        let owner = session.extra.as_ref().map_or("", |extra| &extra.owner);
        let identity = identity.or_else(|| owner_identity(owner).map(Arc::new));
        Some(subject(&session.client_id, identity.as_deref(), way))
    }

    /// Ends the subscriptions of a session that the rules do not grant. The others keep their quality of service.
    pub(super) fn judge_subscriptions(&mut self, key: Key) {
        let Some(session) = self.sessions.get(key) else { return };
        if session.access.is_none() {
            return;
        }
        let table = &self.shared.table;
        let text = |it: &Subscription| match &it.group {
            Some(group) => Some(group.text.to_string()),
            None => table.filter_of(it.filter),
        };
        let texts: Vec<String> = session.subscriptions.iter().filter_map(text).collect();
        for text in texts {
            if self.granted_qos(key, behind_share(&text)).is_none() {
                self.end_subscription(key, &text);
            }
        }
    }

    /// Drops what waits in memory for a client and must not be delivered. What waits in the store is looked at when it
    /// is fetched.
    fn drop_queued_denied(&mut self, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(access) = &session.access else { return };
        let permissions = &access.permissions;
        let is_denied = |topic: &str| !permissions.receive(topic).is_allowed();
        let dropped = session.protocol.drop_queued(is_denied, &mut self.effects);
        self.counters().dropped_denied.add(dropped);
        self.settle(key);
    }
}

/// Returns what rules may look at.
fn subject(client_id: &str, identity: Option<&Identity>, way: Way) -> Subject {
    let client_id = client_id.into();
    let Way { listener, certificate } = way;
    let nobody = Subject { client_id, listener, certificate, ..Subject::default() };
    let Some(identity) = identity else { return nobody };
    Subject {
        user: identity.user.clone(),
        groups: identity.groups.clone(),
        claims: identity.claims.clone(),
        rules: identity.rules.clone(),
        ..nobody
    }
}

/// Returns what the log knows of a client: whose its session is.
pub(super) fn owner_identity(owner: &str) -> Option<Identity> {
    (!owner.is_empty()).then(|| Identity::of_user(owner))
}

/// Says what was denied, to whom and why: a line a second.
#[cold]
fn note(log: &mut DropLog, now: Time, rule: &str, client_id: &str, action: &str, topic: &str) {
    let Some(others) = log.next_line(now) else { return };
    tracing::warn!(client_id, action, topic, rule, others, "not authorized");
}

/// Returns a subscription's filter without `$share` and the group.
fn behind_share(text: &str) -> &str {
    let behind = text.strip_prefix("$share/").and_then(|rest| rest.split_once('/'));
    behind.map_or(text, |(_, filter)| filter)
}

/// What is judged again in one turn: so many subscriptions.
const JUDGED_A_TURN: usize = 4_096;

/// As many as these a session counts for, beside those that it has.
const SESSION_UNITS: usize = 16;
