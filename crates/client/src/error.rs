//! What can go wrong, for whom, and what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use quelea_codec::{DecodeError, ReasonCode};
use quelea_session::client::Fault;

use crate::url::UrlError;

/// What a broker said, where it said more than a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The reason code.
    pub code: ReasonCode,
    /// What the broker adds for people.
    pub text: Option<String>,
}

/// Why there is no connection, or is none any more.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The application's part in the enhanced authentication failed.
    Authentication(String),
    /// The broker ended the connection in good order.
    Disconnected(Reason),
    /// The broker broke the protocol.
    Fault(Fault),
    /// The network failed, or the broker closed the connection without a word.
    Io(Arc<io::Error>),
    /// The broker sent what is no MQTT packet.
    Malformed(DecodeError),
    /// The broker refused the connection.
    Refused(Reason),
    /// The broker was not there, or did not answer, in the time allowed.
    TimedOut(Duration),
    /// The broker's certificate was not accepted, or ours was not.
    Tls(Arc<io::Error>),
}

/// Why a client could not be started.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StartError {
    /// What was asked for contradicts itself, or the version of MQTT.
    Options(&'static str),
    /// The address of the broker cannot be read.
    Url(UrlError),
    /// The file for accepted messages cannot be used.
    Journal(JournalError),
    /// The certificates cannot be used.
    Tls(String),
    /// The system has no thread for it.
    System(String),
}

/// Why the file for accepted messages cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JournalError {
    /// A record is damaged, and those behind it are not: it was not a crash that did this.
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where the damaged record begins.
        offset: u64,
    },
    /// Another client has it open, of this process or another.
    InUse(PathBuf),
    /// It cannot be opened, read or written.
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: String,
    },
    /// It is another file than one of a client's messages.
    NotOurs(PathBuf),
    /// It has the messages of another client id. Their packet identifiers are those of its session.
    OtherClient {
        /// The file.
        path: PathBuf,
        /// That client id.
        client_id: String,
    },
}

/// Why a client did not connect.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// It could not be started.
    Start(StartError),
    /// It could not connect to the broker.
    Connection {
        /// The address.
        broker: String,
        /// What was in the way.
        source: ConnectionError,
    },
}

/// Why a message was not, or may not have been, published.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// The client is closed.
    Closed,
    /// It was the oldest in a full queue, and made room for a newer one ([`QueueOverflow::DropOldest`](crate::QueueOverflow::DropOldest)).
    Displaced,
    /// Its expiry passed before it could be sent.
    Expired,
    /// The file for accepted messages cannot be written any more.
    JournalFailed,
    /// Accepted messages go to a file, and that takes waiting: [`publish`](crate::Client::publish) does.
    NeedsWaiting,
    /// A property is too long, or is no text or topic that MQTT can carry.
    PropertyInvalid,
    /// The broker's highest QoS is below the message's.
    QoSNotSupported,
    /// The queue is full.
    QueueFull,
    /// The broker refused it.
    Refused(Reason),
    /// The broker does not retain messages.
    RetainNotSupported,
    /// It is larger than the broker, or MQTT, accepts, or than the whole queue.
    TooLarge,
    /// The topic is empty, has a wildcard, or is too long.
    TopicInvalid,
    /// It was sent at QoS 2, and then the broker lost the session: it may have been published, and was not sent again.
    Unknown,
}

/// Why a subscription was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The client is closed.
    Closed,
    /// The topic filter is not well-formed, or a shared one is not to have local messages left out.
    FilterInvalid,
    /// The broker refused it.
    Refused(Reason),
    /// The filter is longer than the broker accepts.
    TooLarge,
}

/// Why a request has no response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// The request was not published.
    Publish(PublishError),
    /// The responses cannot be subscribed to.
    Subscribe(SubscribeError),
    /// No response came in the time allowed.
    TimedOut,
    /// The version of MQTT has no requests.
    VersionTooOld,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.code.name().unwrap_or("unknown reason");
        write!(f, "{name} (0x{:02X})", self.code.0)?;
        match &self.text {
            Some(text) => write!(f, ": {text}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authentication(why) => write!(f, "authentication failed: {why}"),
            Self::Disconnected(reason) => {
                write!(f, "the broker ended the connection: {reason}{}", advice(reason.code))
            }
            Self::Fault(Fault::Silent) => f.write_str(
                "the broker gave no sign of life: the network is broken, or the broker hangs",
            ),
            Self::Fault(fault) => write!(f, "the broker broke the protocol: {fault}"),
            Self::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                write!(f, "{error}. Is a broker running there?")
            }
            Self::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => f.write_str(
                "the broker closed the connection without a word. If that happens at once, it may not speak this \
                 version of MQTT, or want TLS",
            ),
            Self::Io(error) => error.fmt(f),
            Self::Malformed(error) => write!(
                f,
                "the broker sent what is no MQTT packet ({error}). Is this the port of a broker, and does it want TLS?"
            ),
            Self::Refused(reason) => {
                write!(f, "the broker refused the connection: {reason}{}", advice(reason.code))
            }
            Self::TimedOut(limit) => write!(
                f,
                "no answer within {limit:?}. Is the address right, and does the network let it through? \
                 Options::connect_timeout allows more"
            ),
            Self::Tls(error) => write!(
                f,
                "TLS: {error}. Tls::ca_pem accepts a certificate authority of your own, and the host name must be one \
                 of the certificate's"
            ),
        }
    }
}

/// Returns what to do about a reason that is the client's to do something about.
fn advice(code: ReasonCode) -> &'static str {
    match code {
        ReasonCode::BAD_USER_NAME_OR_PASSWORD | ReasonCode::NOT_AUTHORIZED => {
            ". Options::credentials sets user name and password"
        }
        ReasonCode::CLIENT_IDENTIFIER_NOT_VALID => ". Options::client_id sets another client id",
        ReasonCode::UNSUPPORTED_PROTOCOL_VERSION => ". Options::version sets another version",
        ReasonCode::SESSION_TAKEN_OVER => {
            ". Another client uses the same client id: Options::client_id sets another"
        }
        ReasonCode::PACKET_TOO_LARGE => ". The broker's limit is below the size of this packet",
        ReasonCode::BAD_AUTHENTICATION_METHOD => {
            ". The broker does not know the authenticator's method"
        }
        _ => "",
    }
}

/// Returns what to do about a topic that is not this client's.
fn permission(code: ReasonCode) -> &'static str {
    match code {
        ReasonCode::NOT_AUTHORIZED => {
            ". The broker's access rules do not allow this user this topic: Options::credentials says who it is"
        }
        _ => "",
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(what) => f.write_str(what),
            Self::Url(error) => error.fmt(f),
            Self::Journal(error) => error.fmt(f),
            Self::System(error) => write!(f, "the system has no thread for the client: {error}"),
            Self::Tls(what) => write!(f, "the certificates cannot be used: {what}"),
        }
    }
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt { path, offset } => write!(
                f,
                "{} is damaged at byte {offset}, and whole behind it. It has messages that were not published: move it \
                 away to go on without them",
                path.display()
            ),
            Self::InUse(path) => {
                write!(f, "{} is in use: each client needs a queue file of its own", path.display())
            }
            Self::Io { path, error } => write!(f, "{}: {error}", path.display()),
            Self::NotOurs(path) => write!(
                f,
                "{} has something else than messages to be published: choose another path",
                path.display()
            ),
            Self::OtherClient { path, client_id } => write!(
                f,
                "{} has messages of the client id \"{client_id}\": use that one, or another file",
                path.display()
            ),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => error.fmt(f),
            Self::Connection { broker, source } => {
                write!(f, "cannot connect to {broker}: {source}")
            }
        }
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the client is closed"),
            Self::Displaced => {
                f.write_str("dropped for a newer message, because the queue was full")
            }
            Self::Expired => f.write_str("expired before it could be sent"),
            Self::JournalFailed => f.write_str(
                "the file for accepted messages cannot be written: Event::JournalFailed says why",
            ),
            Self::NeedsWaiting => {
                f.write_str("with Options::queue_file only publish() accepts messages: it waits for the disk")
            }
            Self::PropertyInvalid => f.write_str(
                "a property is no valid text or response topic, or longer than 65535 bytes",
            ),
            Self::QoSNotSupported => {
                f.write_str("the broker does not support this QoS: publish with a lower one")
            }
            Self::QueueFull => f.write_str(
                "the queue is full: publish() waits for room, and Options::queue sets another limit",
            ),
            Self::Refused(reason) => {
                write!(f, "the broker refused the message: {reason}{}", permission(reason.code))
            }
            Self::RetainNotSupported => f.write_str("the broker does not retain messages"),
            Self::TooLarge => {
                f.write_str("larger than the broker accepts, or than the queue may become")
            }
            Self::TopicInvalid => f.write_str(
                "no topic to publish to: it must not be empty, nor have + or #, nor be longer than 65535 bytes",
            ),
            Self::Unknown => f.write_str(
                "it may have been published or not: the broker lost the session while the message was under way",
            ),
        }
    }
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the client is closed"),
            Self::FilterInvalid => f.write_str(
                "no topic filter: # may only stand alone at the end, + only alone between slashes, and it must not be \
                 empty; a shared one cannot leave out local messages",
            ),
            Self::Refused(reason) => {
                write!(f, "the broker refused the subscription: {reason}{}", permission(reason.code))
            }
            Self::TooLarge => f.write_str("the filter is longer than the broker accepts"),
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publish(error) => write!(f, "the request was not published: {error}"),
            Self::Subscribe(error) => write!(f, "responses cannot be received: {error}"),
            Self::TimedOut => f.write_str("no response came in time"),
            Self::VersionTooOld => f.write_str("requests need MQTT 5: see Options::version"),
        }
    }
}

impl std::error::Error for ConnectionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) | Self::Tls(error) => Some(error),
            Self::Fault(fault) => Some(fault),
            Self::Malformed(error) => Some(error),
            Self::Authentication(_)
            | Self::Disconnected(_)
            | Self::Refused(_)
            | Self::TimedOut(_) => None,
        }
    }
}

impl std::error::Error for StartError {}
impl std::error::Error for JournalError {}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Start(error) => Some(error),
            Self::Connection { source, .. } => Some(source),
        }
    }
}

impl std::error::Error for PublishError {}
impl std::error::Error for SubscribeError {}
impl std::error::Error for RequestError {}

impl From<UrlError> for StartError {
    fn from(error: UrlError) -> Self {
        Self::Url(error)
    }
}

impl From<JournalError> for StartError {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

impl From<StartError> for ConnectError {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}

impl From<io::Error> for ConnectionError {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

impl From<Fault> for ConnectionError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<DecodeError> for ConnectionError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}
