//! Who is asked about a client, in which order, and what comes of it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use quelea_codec::ReasonCode;

use crate::{Credentials, Exchange, Identity};

/// Something that knows clients: a password file, a service, the keys of those who issue tokens.
pub trait Source: Send + Sync {
    /// Judges a client by what came with its CONNECT. Called where it may take its time.
    fn judge(&self, credentials: &Credentials) -> Verdict;

    /// Begins an enhanced authentication, if it has one by this name, of a client that says to have this identifier.
    /// Must not take long.
    fn begin(&self, method: &str, client_id: &str) -> Option<Box<dyn Exchange>> {
        let _ = (method, client_id);
        None
    }

    /// Looks whether what it goes by has changed. Called every now and then, where it may take its time.
    fn refresh(&self) {}

    /// Returns what it has counted, by name, for whoever looks after the broker.
    fn numbers(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

/// What a source says about a client.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// It is this one.
    Accept(Identity),
    /// It is not who it says, and nobody else is asked.
    Refuse(ReasonCode),
    /// Someone else may know it.
    Next,
    /// It cannot tell for now, as a service that is down. Someone else may; if nobody knows it, that is not its fault.
    Unable,
    /// It has to ask elsewhere, and holds up no thread meanwhile.
    Later(Later),
}

/// A verdict that is not there yet. It is worked out on the runtime of whoever judges, and never blocks.
pub struct Later(Pin<Box<dyn Future<Output = Verdict> + Send>>);

/// What has become of a judgement.
#[derive(Debug)]
pub enum Judged {
    /// Who the client is, or that it was let in without being anyone, or why it is refused.
    Done(Result<Option<Identity>, ReasonCode>),
    /// One of the sources says it later. [`Chain::go_on`] takes up what it says.
    Later {
        /// What it says.
        verdict: Later,
        /// How far it has come.
        so_far: SoFar,
    },
}

/// How far a judgement has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SoFar {
    /// Sources that were asked.
    asked: usize,
    /// One of them could not tell.
    was_unable: bool,
}

/// What becomes of a client that brings nothing to say who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strangers {
    /// It may come in, as nobody.
    Admitted,
    /// It is refused.
    Refused,
}

/// Sources in the order in which they are asked.
pub struct Chain {
    sources: Vec<Arc<dyn Source>>,
}

impl Chain {
    /// Makes a chain.
    pub fn new(sources: Vec<Arc<dyn Source>>) -> Self {
        Self { sources }
    }

    /// Judges a client.
    ///
    /// A name that nobody knows is never let in as a stranger: who says a name means it.
    pub fn judge(&self, credentials: &Credentials, strangers: Strangers) -> Judged {
        self.go_on(SoFar::default(), Verdict::Next, credentials, strangers)
    }

    /// Goes on with what the latest source has said.
    pub fn go_on(
        &self,
        so_far: SoFar,
        latest: Verdict,
        credentials: &Credentials,
        strangers: Strangers,
    ) -> Judged {
        let (mut so_far, mut latest) = (so_far, latest);
        loop {
            match latest {
                Verdict::Accept(identity) => return Judged::Done(Ok(Some(identity))),
                Verdict::Refuse(reason) => return Judged::Done(Err(reason)),
                Verdict::Later(verdict) => return Judged::Later { verdict, so_far },
                Verdict::Unable => so_far.was_unable = true,
                Verdict::Next => {}
            }
            let Some(source) = self.sources.get(so_far.asked) else { break };
            so_far.asked += 1;
            latest = source.judge(credentials);
        }
        let is_stranger = credentials.user_name.is_none() && credentials.password.is_none();
        Judged::Done(match (is_stranger, strangers) {
            // Strangers too: it might have known them by their certificate or address, and denied them.
            _ if so_far.was_unable => Err(ReasonCode::SERVER_UNAVAILABLE),
            (true, Strangers::Admitted) => Ok(None),
            (true, Strangers::Refused) => Err(ReasonCode::NOT_AUTHORIZED),
            (false, _) => Err(ReasonCode::BAD_USER_NAME_OR_PASSWORD),
        })
    }

    /// Begins an enhanced authentication with the first source that has it.
    pub fn begin(&self, method: &str, client_id: &str) -> Option<Box<dyn Exchange>> {
        self.sources.iter().find_map(|it| it.begin(method, client_id))
    }
}

impl Later {
    /// Makes one of the future that works it out.
    pub fn new(verdict: impl Future<Output = Verdict> + Send + 'static) -> Self {
        Self(Box::pin(verdict))
    }
}

impl Future for Later {
    type Output = Verdict;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Verdict> {
        self.0.as_mut().poll(context)
    }
}

/// None is like another: what they will say is not known.
impl PartialEq for Later {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Later")
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("sources", &self.sources.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_knows_decides() {
        let bad = ReasonCode::BAD_USER_NAME_OR_PASSWORD;
        let (bob, amy) = (Knows("bob", Some("b")), Knows("amy", None));
        check(&[bob, amy], Some("bob"), Ok(Some("b")));
        check(&[bob, amy], Some("amy"), Err(ReasonCode::BANNED));
        check(&[amy, Knows("amy", Some("a"))], Some("amy"), Err(ReasonCode::BANNED));
        check(&[bob, amy], Some("eve"), Err(bad));
        check(&[], Some("eve"), Err(bad));
    }

    #[test]
    fn strangers_come_in_only_without_a_name() {
        check(&[Knows("bob", Some("b"))], None, Ok(None));
        let chain = Chain::new(Vec::new());
        let refused = done(chain.judge(&Credentials::default(), Strangers::Refused));
        assert_eq!(refused, Err(ReasonCode::NOT_AUTHORIZED));
    }

    /// Who says it later is not asked again, and those behind it are asked if it does not know.
    #[test]
    fn the_others_wait_for_who_says_it_later() {
        let bob = || Ok(Some(Identity::of_user("bob")));
        let accepted = Verdict::Accept(Identity::of_user("bob"));
        check_later(accepted, bob());
        check_later(Verdict::Refuse(ReasonCode::BANNED), Err(ReasonCode::BANNED));
        check_later(Verdict::Next, Ok(Some(Identity::of_user("b"))));
        check_later(Verdict::Unable, Ok(Some(Identity::of_user("b"))));
    }

    /// A client that nobody could judge may be right in all that it says, and let in it is not.
    #[test]
    fn who_cannot_tell_blames_nobody() {
        let unavailable = Err(ReasonCode::SERVER_UNAVAILABLE);
        for (name, strangers, expected) in [
            (Some("amy"), Strangers::Admitted, unavailable.clone()),
            (None, Strangers::Refused, unavailable.clone()),
            (None, Strangers::Admitted, unavailable),
        ] {
            let chain = Chain::new(vec![Arc::new(Slow), Arc::new(Knows("bob", Some("b")))]);
            let credentials =
                Credentials { user_name: name.map(Into::into), ..Credentials::default() };
            let so_far = SoFar { asked: 1, was_unable: false };
            let judged = chain.go_on(so_far, Verdict::Unable, &credentials, strangers);
            assert_eq!(done(judged), expected);
        }
    }

    /// Has a source say `verdict` later, before one that knows bob as b.
    #[track_caller]
    fn check_later(verdict: Verdict, expected: Result<Option<Identity>, ReasonCode>) {
        let sources: [Arc<dyn Source>; 3] =
            [Arc::new(Knows("amy", None)), Arc::new(Slow), Arc::new(Knows("bob", Some("b")))];
        let chain = Chain::new(sources.into());
        let credentials = Credentials { user_name: Some("bob".into()), ..Credentials::default() };
        let Judged::Later { so_far, .. } = chain.judge(&credentials, Strangers::Refused) else {
            panic!("it is not known yet");
        };
        assert_eq!(so_far.asked, 2);
        let judged = chain.go_on(so_far, verdict, &credentials, Strangers::Refused);
        assert_eq!(done(judged), expected);
    }

    #[track_caller]
    fn done(judged: Judged) -> Result<Option<Identity>, ReasonCode> {
        match judged {
            Judged::Done(outcome) => outcome,
            Judged::Later { so_far, .. } => panic!("{so_far:?}, and one says it later"),
        }
    }

    /// Says nothing at once.
    struct Slow;

    impl Source for Slow {
        fn judge(&self, _: &Credentials) -> Verdict {
            Verdict::Later(Later::new(std::future::pending()))
        }
    }

    /// Knows one name: who that is, or that nobody may be.
    #[derive(Clone, Copy)]
    struct Knows(&'static str, Option<&'static str>);

    impl Source for Knows {
        fn judge(&self, credentials: &Credentials) -> Verdict {
            match (credentials.user_name.as_deref() == Some(self.0), self.1) {
                (false, _) => Verdict::Next,
                (true, Some(user)) => Verdict::Accept(Identity::of_user(user)),
                (true, None) => Verdict::Refuse(ReasonCode::BANNED),
            }
        }
    }

    #[track_caller]
    fn check(sources: &[Knows], name: Option<&str>, expected: Result<Option<&str>, ReasonCode>) {
        let sources = sources.iter().map(|it| Arc::new(*it) as Arc<dyn Source>).collect();
        let credentials = Credentials { user_name: name.map(Into::into), ..Credentials::default() };
        let judged = done(Chain::new(sources).judge(&credentials, Strangers::Admitted));
        let expected = expected.map(|it| it.map(Identity::of_user));
        assert_eq!(judged, expected);
    }
}
