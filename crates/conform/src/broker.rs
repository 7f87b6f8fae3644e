//! The broker as one case sees it: a place to connect to, with names that no other case uses.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use crate::case::{Finding, Verdict};
use crate::connect::Connect;
use crate::statement;
use crate::target::Limits;
use crate::wire::{self, property as id};
use crate::{Client, Failure, Outcome, Stream, Target, Version, WebSocket};

/// The broker under judgement, for the time of one case.
#[derive(Debug)]
pub struct Broker<'a> {
    /// The version that clients of this case speak unless they say otherwise.
    pub version: Version,
    target: &'a Target,
    patience: Duration,
    topic_root: String,
    connection_count: Cell<usize>,
    leftovers: RefCell<Leftovers>,
    evidence: Evidence,
    findings: RefCell<Vec<Finding>>,
    /// The statements that are judged at the moment, and where their evidence begins; none means all of the case's.
    chapter: Cell<Option<(&'static str, usize)>>,
}

/// The packets of a case, in the order seen here.
pub(crate) type Evidence = Rc<RefCell<Vec<String>>>;

/// What a case may leave in the broker.
#[derive(Debug, Default)]
struct Leftovers {
    sessions: Vec<(Version, String)>,
    retained: Vec<String>,
}

impl<'a> Broker<'a> {
    pub(crate) fn new(target: &'a Target, version: Version) -> Self {
        Self {
            version,
            target,
            patience: target.patience,
            topic_root: target.topic_root(),
            connection_count: Cell::new(0),
            leftovers: RefCell::default(),
            evidence: Evidence::default(),
            findings: RefCell::default(),
            chapter: Cell::new(None),
        }
    }

    /// Waits for answers for as long as `patience` says.
    pub(crate) fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Judges some of the case's statements apart: what fails in `step` is theirs alone, and the case goes on.
    ///
    /// What the case does next must not depend on the step, so that it has connections of its own, or none.
    pub(crate) fn judge(
        &self,
        statements: &'static str,
        step: impl FnOnce() -> Outcome,
    ) -> Outcome {
        self.judge_all(&[statements], step)
    }

    /// Like [`Self::judge`], with statements from several lists.
    pub(crate) fn judge_all(
        &self,
        statements: &[&'static str],
        step: impl FnOnce() -> Outcome,
    ) -> Outcome {
        // A second failure of the same statements would tell nothing new, and could take long.
        let mut ids = statements.iter().flat_map(|it| statement::binding(it, self.version));
        if ids.all(|id| self.has_failed(id)) {
            return Ok(());
        }
        let start = self.evidence.borrow().len();
        let verdict = Verdict::of(&step());
        let evidence = start..self.evidence.borrow().len();
        for statements in statements {
            self.find(statements, verdict.clone(), evidence.clone());
        }
        Ok(())
    }

    /// Says which of the case's statements are judged from here on: a failure is theirs alone, and what was judged
    /// before has passed.
    pub(crate) fn turn_to(&self, statements: &'static str) {
        let here = self.evidence.borrow().len();
        if let Some((finished, start)) = self.chapter.replace(Some((statements, here))) {
            self.find(finished, Verdict::Pass, start..here);
        }
    }

    fn has_failed(&self, id: &str) -> bool {
        let findings = self.findings.borrow();
        findings.iter().any(|it| it.id == id && matches!(it.verdict, Verdict::Fail(_)))
    }

    fn find(&self, statements: &str, verdict: Verdict, evidence: Range<usize>) {
        // A claim about what came before has no packets of its own.
        let evidence = if evidence.is_empty() { 0..evidence.end } else { evidence };
        let mut findings = self.findings.borrow_mut();
        let mut blame = |statements: &str, verdict: &Verdict| {
            let ids = statement::binding(statements, self.version).filter_map(|id| {
                statement::all().iter().map(|it| it.id).find(|known| *known == id)
            });
            findings.extend(ids.map(|id| Finding {
                id,
                verdict: verdict.clone(),
                evidence: evidence.clone(),
            }));
        };
        match verdict.other_fault(self.version) {
            Some((cited, unjudged)) => {
                blame(cited, &verdict);
                blame(statements, &unjudged);
            }
            None => blame(statements, &verdict),
        }
    }

    /// Returns what there is to say of each of the case's statements.
    pub(crate) fn conclude(&self, outcome: &Outcome, statements: &[&'static str]) -> Vec<Finding> {
        let all = 0..self.evidence.borrow().len();
        let verdict = Verdict::of(outcome);
        let chapter = self.chapter.take();
        if let Some((current, start)) = chapter {
            self.find(current, verdict.clone(), start..all.end);
        }
        // A failure of the current statements says nothing of those that no step was about.
        let rest = match (verdict.other_fault(self.version), &verdict) {
            (None, Verdict::Fail(why)) if chapter.is_some() => Verdict::skip_after(why),
            (None, _) => verdict,
            (Some((cited, unjudged)), _) => {
                self.find(cited, verdict.clone(), all.clone());
                unjudged
            }
        };
        let mut findings = self.findings.take();
        for id in statements {
            if !findings.iter().any(|it| it.id == *id) {
                findings.push(Finding { id, verdict: rest.clone(), evidence: all.clone() });
            }
        }
        findings
    }

    /// Opens a connection and sends nothing.
    #[track_caller]
    pub(crate) fn open(&self) -> Outcome<Client> {
        self.open_as(self.version)
    }

    /// Opens a connection for a client of `version` and sends nothing.
    #[track_caller]
    pub(crate) fn open_as(&self, version: Version) -> Outcome<Client> {
        let stream = match self.target.open() {
            Ok(stream) => stream,
            Err(error) => return Err(Failure::broken(format!("cannot connect: {error}"))),
        };
        Ok(self.client_of(version, stream))
    }

    /// Opens a WebSocket for a client of this case, or skips the case where there is none.
    #[track_caller]
    pub(crate) fn open_websocket(&self) -> Outcome<WebSocket> {
        match self.target.open_websocket() {
            Some(Ok(websocket)) => Ok(websocket),
            Some(Err(error)) => Err(Failure::broken(format!("cannot connect: {error}"))),
            None => Err(Failure::skipped("no WebSocket is known")),
        }
    }

    /// Makes a client of a connection that is open.
    pub(crate) fn client_on(&self, stream: Box<dyn Stream>) -> Client {
        self.client_of(self.version, stream)
    }

    fn client_of(&self, version: Version, stream: Box<dyn Stream>) -> Client {
        self.connection_count.set(self.connection_count.get() + 1);
        let label = self.connection_count.get();
        Client::new(stream, version, self, label, self.evidence.clone())
    }

    /// Connects a client with a clean session and a client identifier of its own, as `options` changes it,
    /// and expects to be accepted.
    #[track_caller]
    pub(crate) fn connect(&self, options: impl FnOnce(Connect) -> Connect) -> Outcome<Client> {
        self.connect_as(self.version, options)
    }

    /// Like [`Self::connect`], with a client of `version`.
    #[track_caller]
    pub(crate) fn connect_as(
        &self,
        version: Version,
        options: impl FnOnce(Connect) -> Connect,
    ) -> Outcome<Client> {
        let connect = options(self.connect_options(version));
        let mut client = self.send_connect(&connect)?;
        client.expect_accepted()?;
        Ok(client)
    }

    /// Opens a connection and sends `connect`; the answer is still to come.
    #[track_caller]
    pub(crate) fn send_connect(&self, connect: &Connect) -> Outcome<Client> {
        if connect.outlives_connection() {
            let session = (connect.version(), connect.id().to_owned());
            self.leftovers.borrow_mut().sessions.push(session);
        }
        let mut client = self.open_as(connect.version())?;
        client.send(&connect.bytes());
        Ok(client)
    }

    /// Returns the CONNECT that [`Self::connect`] starts from.
    pub(crate) fn connect_options(&self, version: Version) -> Connect {
        let mut connect = Connect::new(version, self.id());
        if let Some(username) = &self.target.username {
            connect = connect.username(username);
        }
        if let Some(password) = &self.target.password {
            connect = connect.password(password);
        }
        connect
    }

    /// Connects a client with a clean session.
    #[track_caller]
    pub(crate) fn client(&self) -> Outcome<Client> {
        self.connect(|it| it)
    }

    /// Publishes a retained message by a client of its own, and returns when the broker has it.
    #[track_caller]
    pub(crate) fn retain(&self, topic: &str, payload: &str) -> Outcome {
        self.will_retain(topic);
        let qos = self.limits().qos_max().min(1);
        let mut publisher = self.client()?;
        publisher.publish(wire::publish(topic, payload).qos(qos).retain())?;
        publisher.ping()
    }

    /// Remembers that the case leaves a retained message on `topic`.
    pub(crate) fn will_retain(&self, topic: &str) {
        self.leftovers.borrow_mut().retained.push(topic.to_owned());
    }

    /// Returns a topic that no other case uses.
    pub(crate) fn topic(&self, levels: &str) -> String {
        format!("{}/{levels}", self.topic_root)
    }

    /// Returns the topics of the suite, and those of this case among them, by what they begin with.
    pub(crate) fn topic_stems(&self) -> [String; 2] {
        [self.target.topic_stem(), self.topic_root.clone()]
    }

    pub(crate) fn target(&self) -> &'a Target {
        self.target
    }

    /// Returns a client identifier that nobody used before.
    pub(crate) fn id(&self) -> String {
        self.target.client_id()
    }

    pub(crate) fn limits(&self) -> Limits<'a> {
        self.target.limits(self.version)
    }

    /// Says whether Quelea's own choices are judged too.
    pub(crate) fn is_quelea(&self) -> bool {
        self.target.is_quelea
    }

    /// Says whether clients of this case give a user name or a password.
    pub(crate) fn wants_credentials(&self) -> bool {
        self.target.username.is_some() || self.target.password.is_some()
    }

    pub(crate) fn challenge_method(&self) -> Option<&str> {
        self.target.challenge_method.as_deref()
    }

    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Returns how long a broker may take to notice that a client with a Keep Alive of one second is silent: many look
    /// every few seconds only.
    pub(crate) fn keep_alive_patience(&self) -> Duration {
        (self.patience * 2).max(Duration::from_secs(20))
    }

    /// Skips the case for other brokers: the specification leaves them another choice.
    pub(crate) fn need_quelea(&self, choice: &str) -> Outcome {
        self.need(self.is_quelea(), &format!("the specification leaves a choice: {choice}"))
    }

    /// Makes a failure of other brokers a skip: the statement binds clients, and the text does not call it an error.
    pub(crate) fn may_tolerate(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Err(Failure::Broken { what, .. }) if !self.is_quelea() => {
                Err(Failure::skipped(format!(
                    "the statement binds clients, and the broker tolerates what breaks it: {what}"
                )))
            }
            outcome => outcome,
        }
    }

    pub(crate) fn need_qos(&self, qos: u8) -> Outcome {
        self.need(self.limits().qos_max() >= qos, &format!("no QoS {qos}"))
    }

    pub(crate) fn need_retain(&self) -> Outcome {
        self.need(self.limits().offers(id::RETAIN_AVAILABLE), "no retained messages")
    }

    pub(crate) fn need_wildcards(&self) -> Outcome {
        let offered = self.limits().offers(id::WILDCARD_SUBSCRIPTION_AVAILABLE);
        self.need(offered, "no wildcard subscriptions")
    }

    pub(crate) fn need_shared(&self) -> Outcome {
        let offered = self.limits().offers(id::SHARED_SUBSCRIPTION_AVAILABLE);
        self.need(offered, "no shared subscriptions")
    }

    pub(crate) fn need_subscription_ids(&self) -> Outcome {
        let offered = self.limits().offers(id::SUBSCRIPTION_IDENTIFIERS_AVAILABLE);
        self.need(offered, "no subscription identifiers")
    }

    pub(crate) fn need_topic_aliases(&self, count: u32) -> Outcome {
        let offered = self.limits().topic_alias_maximum();
        self.need(offered >= count, &format!("accepts only {offered} topic aliases"))
    }

    /// Skips the case unless `offered`.
    pub(crate) fn need(&self, offered: bool, otherwise: &str) -> Outcome {
        if offered { Ok(()) } else { Err(Failure::skipped(otherwise)) }
    }

    /// Removes what the case may have left. Best effort: the verdict is made.
    pub(crate) fn sweep(&self) {
        let Leftovers { sessions, retained } = self.leftovers.take();
        for (version, id) in sessions {
            let _ = self.connect_as(version, |it| it.client_id(&id));
        }
        if retained.is_empty() {
            return;
        }
        if let Ok(mut client) = self.client() {
            let qos = self.limits().qos_max().min(1);
            for topic in retained {
                let _ = client.publish(wire::publish(&topic, "").qos(qos).retain());
            }
            let _ = client.ping();
        }
    }

    pub(crate) fn evidence(&self) -> Vec<String> {
        self.evidence.borrow().clone()
    }
}
