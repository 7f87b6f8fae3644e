//! Signed tokens (JWT, RFC 7519) as a source of identities.
//!
//! A client brings a token as its password, or by enhanced authentication, by which it can bring the next one before
//! the first has expired. Only signed tokens in the compact form are read, and nothing of one is believed before a
//! key has verified its signature.
//!
//! | module | what it does |
//! |---|---|
//! | `token` | a token as a text, taken apart |
//! | `key`, `keys` | who may have signed it |
//! | `checks` | whom it is for, and when |
//! | `template` | texts with claims in them |
//! | `mapping` | what its claims say about the client |
//! | `key_file` | keys in a file |
//! | `server_keys`, `schedule` | keys from a server, and when they are fetched |
//! | `news` | waiting for them |

mod checks;
mod key;
mod key_file;
mod keys;
mod mapping;
mod news;
mod schedule;
mod server_keys;
mod template;
#[cfg(test)]
mod tests;
mod token;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use quelea_codec::ReasonCode;

pub use checks::{Checks, Expiry};
pub use key_file::{KeyFile, KeyFileError, KeyFormat};
pub use keys::{Keys, KeysError};
pub use mapping::Mapping;
pub use news::News;
pub use server_keys::{Fetched, ServerKeys};
pub use template::{Template, TemplateError};

use crate::{Credentials, Exchange, Identity, Later, Source, Step, Verdict};
use token::Token;

/// Tokens as a source of identities.
pub struct Tokens {
    judge: Arc<Judge>,
}

/// Where the keys of those who issue tokens come from. Nothing here takes long.
pub trait Keyring: Send + Sync {
    /// Returns the keys in force; nothing when there are none to be had at present.
    fn keys(&self) -> Option<Arc<Keys>>;

    /// Returns whether a key that is not there does not exist. Otherwise nobody can tell at present.
    fn is_sure(&self) -> bool {
        true
    }

    /// A token was signed with a key that is not there. Returns when that may be another matter, if it soon is.
    fn news(&self) -> Option<News> {
        None
    }

    /// Looks whether they have changed. May take its time.
    fn refresh(&self) {}
}

/// What is asked of a token, and what its claims mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRules {
    /// Whom it is for, and when.
    pub checks: Checks,
    /// What its claims say about the client.
    pub mapping: Mapping,
    /// Whether a user name beside the token counts.
    pub user_name: UserName,
}

/// What becomes of the user name of a CONNECT that has a token as its password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserName {
    /// It is passed over: the token says who the client is.
    Ignored,
    /// If there is one, it must be the user of the token.
    Matches,
}

/// Judges tokens.
struct Judge {
    rules: TokenRules,
    keyring: Arc<dyn Keyring>,
    /// A thread waits for keys. No other may: there are few, and others wait for them.
    has_waiting_thread: AtomicBool,
}

/// What is wrong with a token. It says nothing of what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Its algorithm is none that a key of ours is for. `none` is such a one.
    Algorithm,
    /// It is for somebody else.
    Audience,
    /// It has more claims than may be.
    ClaimCount,
    /// A claim of this name is not there, or not what it has to be.
    Claim(Box<str>),
    /// The client says to be another one than it.
    ClientId,
    /// It has an extension that must be understood.
    Critical,
    /// It has expired.
    Expired,
    /// It comes from somebody else.
    Issuer,
    /// The key that it names is not there.
    KeyId,
    /// The keys, or the one that it names, are not to be had at present.
    NoKeys,
    /// It holds later, or was issued later.
    NotYet,
    /// What was signed is no object of JSON.
    Payload,
    /// The rules that it brings are none.
    Rules(String),
    /// The signature is not that of the key.
    Signature,
    /// It is longer than a token may be.
    TooLong,
    /// The user name is not that of the token.
    UserName,
}

/// An enhanced authentication that is one token, whose only step this is.
struct Presentation {
    judge: Arc<Judge>,
    client_id: Box<str>,
}

impl Tokens {
    /// Makes a source of rules and keys.
    pub fn new(rules: TokenRules, keyring: Arc<dyn Keyring>) -> Self {
        Self { judge: Arc::new(Judge::new(rules, keyring)) }
    }
}

impl Source for Tokens {
    fn judge(&self, credentials: &Credentials) -> Verdict {
        let judged = self.judge.judge_password(credentials);
        let Some(news) = judged.as_ref().err().and_then(|fault| self.judge.news(fault)) else {
            return verdict(judged, credentials);
        };
        let (judge, credentials) = (Arc::clone(&self.judge), credentials.clone());
        Verdict::Later(Later::new(async move {
            news.await;
            verdict(judge.judge_password(&credentials), &credentials)
        }))
    }

    fn begin(&self, method: &str, client_id: &str) -> Option<Box<dyn Exchange>> {
        let judge = Arc::clone(&self.judge);
        let presentation = Presentation { judge, client_id: client_id.into() };
        METHODS.contains(&method).then(|| Box::new(presentation) as Box<dyn Exchange>)
    }

    fn refresh(&self) {
        self.judge.keyring.refresh();
    }
}

impl Exchange for Presentation {
    fn step(&mut self, data: &[u8]) -> Step {
        match self.judge.patiently(data, &self.client_id) {
            Ok(Some(identity)) => Step::Identify(Box::new(identity), Vec::new()),
            Ok(None) => Step::Refuse(ReasonCode::NOT_AUTHORIZED),
            Err(fault) => Step::Refuse(fault.refuse(&self.client_id)),
        }
    }
}

impl Judge {
    fn new(rules: TokenRules, keyring: Arc<dyn Keyring>) -> Self {
        Self { rules, keyring, has_waiting_thread: AtomicBool::new(false) }
    }

    /// Judges a password, which may be a token.
    fn judge_password(&self, credentials: &Credentials) -> Result<Option<Identity>, Fault> {
        let Some(password) = &credentials.password else { return Ok(None) };
        let user_name = credentials.user_name.as_deref();
        self.judge(password.bytes(), &credentials.client_id, user_name, now())
    }

    /// Judges a text, and waits for keys if they come in a moment and nobody else does.
    fn patiently(&self, text: &[u8], client_id: &str) -> Result<Option<Identity>, Fault> {
        let judge = || self.judge(text, client_id, None, now());
        let judged = judge();
        let Some(news) = judged.as_ref().err().and_then(|fault| self.news(fault)) else {
            return judged;
        };
        if self.has_waiting_thread.swap(true, Ordering::AcqRel) {
            return Err(Fault::NoKeys);
        }
        let has_come = news.wait(WAIT_MAX);
        self.has_waiting_thread.store(false, Ordering::Release);
        if has_come { judge() } else { Err(Fault::NoKeys) }
    }

    /// Judges a text. Nothing comes of one that is no token.
    fn judge(
        &self,
        text: &[u8],
        client_id: &str,
        user_name: Option<&str>,
        now: SystemTime,
    ) -> Result<Option<Identity>, Fault> {
        let Some(token) = Token::read(text, TOKEN_BYTES_MAX)? else { return Ok(None) };
        self.verify(&token)?;
        let claims = token.claims()?;
        let expires_at = self.rules.checks.check(&claims, now)?;
        let mut identity = self.rules.mapping.identity(&claims)?;
        identity.expires_at = expires_at;
        // Who may choose among client identifiers could take over the session of another.
        let assigned = identity.client_id.as_deref();
        if assigned.is_some_and(|it| !client_id.is_empty() && it != client_id) {
            return Err(Fault::ClientId);
        }
        let user = identity.user.as_deref();
        if self.rules.user_name == UserName::Matches && user_name.is_some_and(|it| user != Some(it))
        {
            return Err(Fault::UserName);
        }
        Ok(Some(identity))
    }

    fn verify(&self, token: &Token<'_>) -> Result<(), Fault> {
        let keys = self.keyring.keys().ok_or(Fault::NoKeys)?;
        let outcome = keys.verify(token);
        if outcome == Err(Fault::KeyId) && !self.keyring.is_sure() {
            return Err(Fault::NoKeys);
        }
        outcome
    }

    /// Returns when a token may be judged otherwise that was refused for this fault.
    fn news(&self, fault: &Fault) -> Option<News> {
        matches!(fault, Fault::KeyId | Fault::NoKeys).then(|| self.keyring.news()).flatten()
    }
}

impl Fault {
    /// Says why to whoever looks for it, and returns what the client is told.
    fn refuse(&self, client_id: &str) -> ReasonCode {
        match self {
            // Only the issuer can be at fault, and it will be so for many clients.
            Self::Rules(_) => tracing::warn!(client_id, "token refused: {self}"),
            _ => tracing::debug!(client_id, "token refused: {self}"),
        }
        match self {
            Self::ClientId => ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
            Self::NoKeys => ReasonCode::SERVER_UNAVAILABLE,
            Self::Rules(_) => ReasonCode::NOT_AUTHORIZED,
            Self::Algorithm
            | Self::Audience
            | Self::Claim(_)
            | Self::ClaimCount
            | Self::Critical
            | Self::Expired
            | Self::Issuer
            | Self::KeyId
            | Self::NotYet
            | Self::Payload
            | Self::Signature
            | Self::TooLong
            | Self::UserName => ReasonCode::BAD_USER_NAME_OR_PASSWORD,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Algorithm => "its algorithm is not one of the key's",
            Self::Audience => "it is for another audience",
            Self::Claim(name) => {
                return write!(f, "its claim {name} is missing, or not what it should be");
            }
            Self::ClaimCount => "it has too many claims",
            Self::ClientId => "it is for another client id",
            Self::Critical => "it has an extension that is not understood",
            Self::Expired => "it has expired",
            Self::Issuer => "it is from another issuer",
            Self::KeyId => "the key that it names is not known",
            Self::NoKeys => "the keys to verify it with are not to be had",
            Self::NotYet => "it holds later only",
            Self::Payload => "its claims are no object of JSON",
            Self::Rules(why) => return write!(f, "its rules are not right: {why}"),
            Self::Signature => "its signature is wrong",
            Self::TooLong => "it is too long",
            Self::UserName => "it is for another user name",
        })
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("rules", &self.judge.rules).finish_non_exhaustive()
    }
}

fn verdict(judged: Result<Option<Identity>, Fault>, credentials: &Credentials) -> Verdict {
    match judged {
        Ok(Some(identity)) => Verdict::Accept(identity),
        Ok(None) => Verdict::Next,
        Err(fault) => Verdict::Refuse(fault.refuse(&credentials.client_id)),
    }
}

fn now() -> SystemTime {
    SystemTime::now()
}

/// The methods of enhanced authentication that take a token as their data. The others are what Azure Event Grid calls
/// it, by who has issued the token.
const METHODS: &[&str] = &["JWT", "OAUTH2-JWT", "CUSTOM-JWT"];

/// The longest that a step waits for keys, on its thread.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// The longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
