//! Who is asked about a client, in which order, and what comes of it.

use std::fmt;
use std::sync::Arc;

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
}

/// What a source says about a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is this one.
    Accept(Identity),
    /// It is not who it says, and nobody else is asked.
    Refuse(ReasonCode),
    /// Someone else may know it.
    Next,
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

    /// Judges a client. `None` is one that was let in without being anyone.
    ///
    /// # Errors
    ///
    /// Why it is refused. A name that nobody knows is never let in as a stranger: who says a name means it.
    pub fn judge(
        &self,
        credentials: &Credentials,
        strangers: Strangers,
    ) -> Result<Option<Identity>, ReasonCode> {
        for source in &self.sources {
            match source.judge(credentials) {
                Verdict::Accept(identity) => return Ok(Some(identity)),
                Verdict::Refuse(reason) => return Err(reason),
                Verdict::Next => {}
            }
        }
        let is_stranger = credentials.user_name.is_none() && credentials.password.is_none();
        match (is_stranger, strangers) {
            (true, Strangers::Admitted) => Ok(None),
            (true, Strangers::Refused) => Err(ReasonCode::NOT_AUTHORIZED),
            (false, _) => Err(ReasonCode::BAD_USER_NAME_OR_PASSWORD),
        }
    }

    /// Begins an enhanced authentication with the first source that has it.
    pub fn begin(&self, method: &str, client_id: &str) -> Option<Box<dyn Exchange>> {
        self.sources.iter().find_map(|it| it.begin(method, client_id))
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
        let refused = chain.judge(&Credentials::default(), Strangers::Refused);
        assert_eq!(refused, Err(ReasonCode::NOT_AUTHORIZED));
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
        let judged = Chain::new(sources).judge(&credentials, Strangers::Admitted);
        let expected = expected.map(|it| it.map(Identity::of_user));
        assert_eq!(judged, expected);
    }
}
