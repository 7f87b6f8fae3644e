//! The task that drives a client: it connects, and connects again, whatever the application does or doesn't do.

use std::sync::Arc;
use std::task::Waker;

use quelea_codec::{ConnAckProperties, Disconnect, DisconnectProperties, Packet, ReasonCode};
use quelea_session::client::{Event as SessionEvent, Resumption};
use quelea_session::{Outbox, Time};
use tokio::time::{Duration, Instant, timeout, timeout_at};

use crate::authentication::Exchange;
use crate::backoff::Waits;
use crate::error::{ConnectionError, Reason};
use crate::event::Event;
use crate::journal::Operation;
use crate::link::{Link, Step};
use crate::options::Attempt;
use crate::registry::Knowledge;
use crate::shared::{Core, Lifecycle, Shared};
use crate::transport::{Dialer, Io};
use crate::url::Target;

/// Drives a client until it is closed.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    dialer: Dialer,
    target: Target,
    /// Where the broker has referred us, for the next attempt.
    referral: Option<Target>,
    /// Ours, or what the broker assigned.
    client_id: String,
    attempt: Attempt,
    /// When the broker accepted the present connection.
    accepted_at: Option<Instant>,
    exchange: Option<Box<dyn Exchange>>,
    /// What the broker has said in it, and waits for the answer to.
    challenge: Option<Vec<u8>>,
}

/// How a connection is to be looked at.
enum Turn {
    /// It goes on, at the latest then.
    GoOn(Option<Instant>),
    /// All is said.
    Leave,
}

impl Driver {
    pub(crate) fn new(shared: Arc<Shared>, dialer: Dialer, target: Target) -> Self {
        Self {
            client_id: shared.options.id().to_owned(),
            shared,
            dialer,
            target,
            referral: None,
            attempt: Attempt::First,
            accepted_at: None,
            exchange: None,
            challenge: None,
        }
    }

    pub(crate) async fn run(mut self) {
        let mut waits = Waits::new(self.shared.options.backoff.clone());
        loop {
            let end = self.connect_and_serve().await;
            self.leave_connection();
            let Err(error) = end else {
                break;
            };
            if self.accepted_at.take().is_some_and(|it| it.elapsed() > STABLE_AFTER) {
                waits.reset();
            }
            if is_lasting(&error) {
                waits.skip_to_longest();
            }
            let retry_in = waits.next();
            self.shared.emit(Event::Disconnected { error, retry_in });
            if timeout(retry_in, gives_up(&self.shared)).await.is_ok() {
                break;
            }
        }
        if let Some(journal) = self.shared.journal() {
            journal.close().await;
        }
        self.shared.finish_close();
    }

    /// Connects, and returns when the connection has ended: without an error only when the client has closed it.
    async fn connect_and_serve(&mut self) -> Result<(), ConnectionError> {
        let limit = self.shared.options.connect_timeout;
        let until = Instant::now() + limit;
        let target = self.referral.take().unwrap_or_else(|| self.target.clone());
        // What it takes to connect is given back when the connection is there.
        let mut dial = Box::pin(timeout_at(until, self.dialer.dial(&target)));
        let dialed = tokio::select! {
            biased;
            () = gives_up(&self.shared) => return Ok(()),
            dialed = &mut dial => dialed,
        };
        drop(dial);
        let io = dialed.map_err(|_| ConnectionError::TimedOut(limit))??;
        // What the broker has received on the last connection is kept before its PUBREL goes out again on this.
        if let Some(journal) = self.shared.journal() {
            journal.flush().await;
        }
        self.serve(io, until).await
    }

    async fn serve(&mut self, io: Box<dyn Io>, until: Instant) -> Result<(), ConnectionError> {
        let mut link = Link::new(io);
        self.write_connect();
        loop {
            let turn = self.turn(&mut link, until);
            let step = match turn {
                Ok(Turn::GoOn(deadline)) => link.step(&self.shared.wake, deadline).await,
                Ok(Turn::Leave) => {
                    link.close(FAREWELL_MAX).await;
                    return Ok(());
                }
                Err(error) => return Err(leave(&self.shared, link, error).await),
            };
            match step? {
                Step::Read => {
                    if let Err(error) = self.read(&mut link) {
                        return Err(leave(&self.shared, link, error).await);
                    }
                }
                Step::Wrote => {
                    let now = self.shared.now();
                    self.shared.lock().session.wrote(now);
                }
                Step::Woken => {}
            }
        }
    }

    fn write_connect(&mut self) {
        let options = &self.shared.options;
        let authenticator = options.authenticator.as_deref();
        self.exchange = authenticator.map(|it| it.begin());
        let first = self.exchange.as_mut().map(|it| it.first()).unwrap_or_default();
        let authentication = authenticator.map(|it| (it.method(), &first[..]));
        let mut core = self.shared.lock();
        let Core { session, out, .. } = &mut *core;
        out.clear();
        options.with_connect(&self.client_id, self.attempt, authentication, |connect| {
            session.connect(connect, out);
        });
    }

    /// Does what is to be done between two waits.
    fn turn(&mut self, link: &mut Link, until: Instant) -> Result<Turn, ConnectionError> {
        let settled = self.shared.take_settled();
        let now = self.shared.now();
        let mut guard = self.shared.lock();
        let core = &mut *guard;
        for (receipt, answer) in settled {
            match answer {
                Some(reason) => core.session.acknowledge(receipt, reason, &mut core.out),
                None => core.session.abandon(receipt),
            }
        }
        if !core.session.is_connected() {
            link.take(&mut core.out);
            if Instant::now() >= until {
                return Err(ConnectionError::TimedOut(self.shared.options.connect_timeout));
            }
            // A client that is being closed need not wait for a broker that does not answer.
            let gives_up_at = core.gives_up_at();
            if gives_up_at.is_some_and(|limit| Instant::now() >= limit) {
                return Ok(Turn::Leave);
            }
            return Ok(Turn::GoOn(Some(gives_up_at.map_or(until, |limit| limit.min(until)))));
        }
        self.expire_claims(core);
        let shared = &self.shared;
        core.registry.write_requests(&mut core.session, &mut core.out, |filter, error| {
            shared.emit(Event::SubscriptionLost { filter, error });
        });
        if std::mem::take(&mut core.reauthenticates)
            && let Some(authenticator) = &shared.options.authenticator
        {
            let mut exchange = authenticator.begin();
            // While one is under way another would change nothing.
            if core.session.reauthenticate(&exchange.first(), &mut core.out).is_ok() {
                self.exchange = Some(exchange);
            }
        }
        core.session.on_deadline(now, &mut core.out)?;
        shared.extend_mark(core);
        let bytes_max = OUTBOX_BYTES_MAX.saturating_sub(link.unsent());
        let mut outbox = Outbox { buffer: &mut core.out, unsent_before: 0, bytes_max };
        core.session.pump(now, &mut outbox, &mut core.done);
        shared.finish(&mut core.done);
        if let Some(limit) = core.closes_at()
            && (core.is_done() || Instant::now() >= limit)
        {
            let ends = shared.options.session_ends_with_client();
            let expiry_secs = ends.then_some(0);
            core.session.disconnect(ReasonCode::NORMAL_DISCONNECTION, expiry_secs, &mut core.out);
            link.take(&mut core.out);
            return Ok(Turn::Leave);
        }
        link.take(&mut core.out);
        core.out_bytes_max = OUTBOX_BYTES_MAX.saturating_sub(link.unsent());
        let deadline = core.session.deadline().map(|it| shared.instant(it));
        let deadlines = [deadline, core.closes_at(), core.claims.deadline()];
        Ok(Turn::GoOn(deadlines.into_iter().flatten().min()))
    }

    /// Handles the packets that have come.
    fn read(&mut self, link: &mut Link) -> Result<(), ConnectionError> {
        let packet_bytes_max = self.shared.options.packet_bytes_max.get();
        let version = self.shared.options.version;
        let shared = Arc::clone(&self.shared);
        let mut core = shared.lock();
        let now = shared.now();
        core.session.heard(now);
        let handled = link.frames(packet_bytes_max, |frame| {
            let packet = Packet::decode(frame, version)?;
            self.handle(&mut core, now, &packet)
        });
        let wakers = std::mem::take(&mut core.wakers);
        drop(core);
        wakers.into_iter().for_each(Waker::wake);
        handled?;
        self.answer_challenge()
    }

    fn handle(
        &mut self,
        core: &mut Core,
        now: Time,
        packet: &Packet<'_>,
    ) -> Result<(), ConnectionError> {
        let event = core.session.on_packet(now, packet, &mut core.out, &mut core.done)?;
        match event {
            SessionEvent::Nothing => {}
            SessionEvent::Acknowledged { ticket, position, reason, properties } => {
                self.shared.acknowledged(position, ticket, reason, &properties);
            }
            SessionEvent::Received { position } => {
                if let Some(journal) = self.shared.journal() {
                    journal.submit(Operation::Received(position));
                }
            }
            SessionEvent::Message(incoming) => {
                if let Some(topic) = core.deliver(&self.shared, &incoming) {
                    self.shared.emit(Event::Unclaimed { topic });
                }
            }
            SessionEvent::Connected { resumption, properties } => {
                self.on_connected(core, resumption, &properties)?;
            }
            SessionEvent::Refused { reason, properties } => {
                self.refer(reason, properties.server_reference);
                let text = properties.reason_string.map(str::to_owned);
                return Err(ConnectionError::Refused(Reason { code: reason, text }));
            }
            SessionEvent::Disconnected(disconnect) => return Err(self.disconnected(&disconnect)),
            SessionEvent::Authenticate(auth) => {
                self.challenge = Some(auth.properties.data.unwrap_or_default().to_vec());
            }
            SessionEvent::Authenticated(auth) => {
                self.finish_authentication(auth.properties.data)?;
            }
            SessionEvent::Subscribed { request, reasons, properties } => {
                let code = ReasonCode(reasons.first().copied().unwrap_or_default());
                let text = properties.reason_string.map(str::to_owned);
                let shared = &self.shared;
                core.registry.on_subscribed(request, Reason { code, text }, |filter, error| {
                    shared.emit(Event::SubscriptionLost { filter, error });
                });
            }
            SessionEvent::Unsubscribed { request, .. } => core.registry.on_unsubscribed(request),
        }
        Ok(())
    }

    fn on_connected(
        &mut self,
        core: &mut Core,
        resumption: Resumption,
        properties: &ConnAckProperties<'_>,
    ) -> Result<(), ConnectionError> {
        self.finish_authentication(properties.authentication_data)?;
        self.attempt = Attempt::Later;
        self.accepted_at = Some(Instant::now());
        if let Some(assigned) = properties.assigned_client_id {
            assigned.clone_into(&mut self.client_id);
        }
        core.registry.on_connected(match resumption {
            Resumption::Resumed => Knowledge::Everything,
            Resumption::Presumed => Knowledge::Perhaps,
            Resumption::New => Knowledge::Nothing,
        });
        if resumption != Resumption::New {
            core.claims.begin(Instant::now());
        }
        self.shared.finish(&mut core.done);
        let session_present = resumption == Resumption::Resumed;
        self.shared.emit(Event::Connected { session_present });
        Ok(())
    }

    fn disconnected(&mut self, disconnect: &Disconnect<'_>) -> ConnectionError {
        let Disconnect { reason: code, properties } = *disconnect;
        let DisconnectProperties { reason_string, server_reference, .. } = properties;
        self.refer(code, server_reference);
        ConnectionError::Disconnected(Reason { code, text: reason_string.map(str::to_owned) })
    }

    /// Follows a broker that refers to another: for once, or for good.
    fn refer(&mut self, reason: ReasonCode, reference: Option<&str>) {
        let Some(target) = reference.and_then(|it| self.target.referred_to(it)) else {
            return;
        };
        if reason == ReasonCode::SERVER_MOVED {
            self.target = target;
        } else if reason == ReasonCode::USE_ANOTHER_SERVER {
            self.referral = Some(target);
        }
    }

    /// Has the authenticator answer the broker. That may take it long, and so it is not done under the lock.
    fn answer_challenge(&mut self) -> Result<(), ConnectionError> {
        let (Some(challenge), Some(exchange)) = (self.challenge.take(), &mut self.exchange) else {
            return Ok(());
        };
        let answer = exchange.answer(&challenge).map_err(ConnectionError::Authentication)?;
        let mut core = self.shared.lock();
        let Core { session, out, .. } = &mut *core;
        // The session has just said that an answer is due.
        let _ = session.authenticate(&answer, out);
        Ok(())
    }

    fn finish_authentication(&mut self, data: Option<&[u8]>) -> Result<(), ConnectionError> {
        match self.exchange.take() {
            Some(mut exchange) => exchange.finish(data).map_err(ConnectionError::Authentication),
            None => Ok(()),
        }
    }

    /// Drops the messages that nobody has claimed in time.
    fn expire_claims(&self, core: &mut Core) {
        if core.claims.deadline().is_none_or(|deadline| Instant::now() < deadline) {
            return;
        }
        for message in core.claims.end() {
            message.acknowledge();
            self.shared.emit(Event::Unclaimed { topic: message.topic().to_owned() });
        }
    }

    /// Lets go of what belonged to a connection.
    fn leave_connection(&mut self) {
        self.exchange = None;
        self.challenge = None;
        let mut guard = self.shared.lock();
        let core = &mut *guard;
        // Unacknowledged: the broker has them.
        drop(core.claims.end());
        core.session.disconnected();
        core.registry.on_disconnected();
        core.out = Vec::new();
    }
}

impl Core {
    /// Returns until when the client has time to close, if it does.
    fn closes_at(&self) -> Option<Instant> {
        match self.lifecycle {
            Lifecycle::Open => None,
            Lifecycle::Closing(limit) => Some(limit),
            Lifecycle::Closed => Some(Instant::now()),
        }
    }

    /// Returns until when a client without a connection tries to get one, if it is to close.
    fn gives_up_at(&self) -> Option<Instant> {
        let limit = self.closes_at()?;
        // It is only for what is there to be published that it has not closed.
        Some(if self.session.unfinished() == 0 { Instant::now() } else { limit })
    }

    /// Returns whether nothing is left to be published, or to be said to the broker.
    fn is_done(&self) -> bool {
        self.session.unfinished() == 0 && !self.registry.is_leaving()
    }
}

/// Waits until a client without a connection is to close.
async fn gives_up(shared: &Shared) {
    loop {
        let woken = shared.wake.notified();
        let limit = shared.lock().gives_up_at();
        match limit {
            None => woken.await,
            Some(limit) if Instant::now() >= limit => return,
            Some(limit) => drop(timeout_at(limit, woken).await),
        }
    }
}

/// Ends the connection for an error, telling the broker what it is to know of it.
async fn leave(shared: &Shared, mut link: Link, error: ConnectionError) -> ConnectionError {
    let reason = match &error {
        ConnectionError::Fault(fault) => fault.reason_code(),
        ConnectionError::Malformed(malformed) => malformed.reason_code(),
        ConnectionError::Authentication(_) => ReasonCode::NOT_AUTHORIZED,
        ConnectionError::Disconnected(_)
        | ConnectionError::Io(_)
        | ConnectionError::Refused(_)
        | ConnectionError::TimedOut(_)
        | ConnectionError::Tls(_) => return error,
    };
    {
        let mut core = shared.lock();
        let Core { session, out, .. } = &mut *core;
        session.disconnect(reason, None, out);
        link.take(out);
    }
    link.close(FAREWELL_MAX).await;
    error
}

/// Returns whether an attempt that is made soon will fail in the same way.
fn is_lasting(error: &ConnectionError) -> bool {
    let code = match error {
        ConnectionError::Refused(reason) | ConnectionError::Disconnected(reason) => reason.code,
        ConnectionError::Authentication(_) | ConnectionError::Tls(_) => return true,
        ConnectionError::Fault(_)
        | ConnectionError::Io(_)
        | ConnectionError::Malformed(_)
        | ConnectionError::TimedOut(_) => return false,
    };
    matches!(
        code,
        ReasonCode::UNSUPPORTED_PROTOCOL_VERSION
            | ReasonCode::CLIENT_IDENTIFIER_NOT_VALID
            | ReasonCode::BAD_USER_NAME_OR_PASSWORD
            | ReasonCode::NOT_AUTHORIZED
            | ReasonCode::BANNED
            | ReasonCode::BAD_AUTHENTICATION_METHOD
            | ReasonCode::SESSION_TAKEN_OVER
    )
}

/// How long a connection has to last before its loss counts as the first.
const STABLE_AFTER: Duration = Duration::from_secs(5);

/// How long the broker may take to read our last words.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// How many bytes may be on their way before further messages wait for them to leave.
const OUTBOX_BYTES_MAX: usize = 64 * 1024;
