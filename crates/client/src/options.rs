//! How a client behaves: everything that is chosen before it connects.

use std::fmt;
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use quelea_codec::{
    Connect, ConnectProperties, PublishProperties, QoS, UserProperties, Version,
    is_valid_topic_name,
};

use crate::authentication::Authenticator;
use crate::backoff::{Backoff, Random};
use crate::error::StartError;
use crate::message::{BINARY_BYTES_MAX, Publish, is_valid_text};
use crate::proxy::Proxy;
use crate::url::Url;

/// How a client behaves. What is not set has a default that suits most.
///
/// ```
/// use std::time::Duration;
/// use quelea_client::{Options, Publish};
///
/// let options = Options::new()
///     .client_id("plant-7")
///     .credentials("plant", "secret")
///     .keep_alive(Duration::from_secs(30))
///     .will(&Publish::new("plant/7/status", "lost").retain());
/// ```
#[derive(Clone)]
pub struct Options {
    pub(crate) version: Version,
    client_id: Option<String>,
    username: Option<String>,
    password: Option<Vec<u8>>,
    resumes_session: bool,
    starts_anew: bool,
    session_expiry: Option<Duration>,
    keep_alive: Duration,
    will: Option<OwnedWill>,
    user_properties: Vec<(String, String)>,
    pub(crate) receive_maximum: NonZeroU16,
    pub(crate) packet_bytes_max: NonZeroU32,
    topic_alias_maximum: u16,
    pub(crate) queue: Queue,
    pub(crate) queue_file: Option<PathBuf>,
    pub(crate) connect_timeout: Duration,
    pub(crate) ping_timeout: Duration,
    pub(crate) backoff: Backoff,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) local_address: Option<IpAddr>,
    pub(crate) authenticator: Option<Arc<dyn Authenticator>>,
    #[cfg(feature = "tls")]
    pub(crate) tls: crate::Tls,
    /// The first fault of what was set, found out when the client starts.
    fault: Option<&'static str>,
}

/// How many messages may be under way or wait, connected or not.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    /// Messages.
    pub messages_max: usize,
    /// Bytes of topics, payloads and properties.
    pub bytes_max: usize,
    /// What becomes of one more message.
    pub overflow: QueueOverflow,
}

/// What a full queue does with one more message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueOverflow {
    /// [`Client::publish`](crate::Client::publish) waits for room.
    #[default]
    Wait,
    /// The new message is refused.
    RejectNewest,
    /// The oldest message that was never sent makes room. If all were sent, the new one is refused.
    DropOldest,
}

#[derive(Clone)]
struct OwnedWill {
    topic: String,
    payload: Vec<u8>,
    qos: QoS,
    retain: bool,
    delay_secs: u32,
    expiry_secs: Option<u32>,
    forwarded: Vec<u8>,
}

impl Options {
    /// Returns the defaults: MQTT 5, a client id of its own, a session that ends with the client.
    pub fn new() -> Self {
        Self {
            version: Version::V5,
            client_id: None,
            username: None,
            password: None,
            resumes_session: false,
            starts_anew: false,
            session_expiry: None,
            keep_alive: Duration::from_secs(60),
            will: None,
            user_properties: Vec::new(),
            receive_maximum: const { NonZeroU16::new(1_000).unwrap() },
            packet_bytes_max: const { NonZeroU32::new(16 * 1024 * 1024).unwrap() },
            topic_alias_maximum: 32,
            queue: Queue::default(),
            queue_file: None,
            connect_timeout: Duration::from_secs(10),
            ping_timeout: Duration::from_secs(10),
            backoff: Backoff::default(),
            proxy: None,
            local_address: None,
            authenticator: None,
            #[cfg(feature = "tls")]
            tls: crate::Tls::default(),
            fault: None,
        }
    }

    /// Sets the version of MQTT: 5.0 unless set.
    #[must_use]
    pub fn version(self, version: Version) -> Self {
        Self { version, ..self }
    }

    /// Sets the client id, which must be the client's alone. Without it the client makes one up.
    #[must_use]
    pub fn client_id(self, client_id: impl Into<String>) -> Self {
        Self { client_id: Some(client_id.into()), ..self }
    }

    /// Sets user name and password. They win over those of the broker's address.
    #[must_use]
    pub fn credentials(self, username: impl Into<String>, password: impl Into<Vec<u8>>) -> Self {
        Self { username: Some(username.into()), password: Some(password.into()), ..self }
    }

    /// Sets the user name alone. It wins over that of the broker's address.
    #[must_use]
    pub fn username(self, username: impl Into<String>) -> Self {
        Self { username: Some(username.into()), ..self }
    }

    /// Sets the password alone, as a token that needs no user name: of MQTT 5 only. It wins over that of the broker's
    /// address.
    #[must_use]
    pub fn password(self, password: impl Into<Vec<u8>>) -> Self {
        Self { password: Some(password.into()), ..self }
    }

    /// Goes on with the session that the broker has of this client id, and has it keep it when the client is gone:
    /// messages that arrive meanwhile wait there.
    ///
    /// Without this the session is new, and ends when the client closes.
    #[must_use]
    pub fn resume_session(self) -> Self {
        Self { resumes_session: true, ..self }
    }

    /// Has the broker end the session that it has of this client id, and begin a new one. With
    /// [`resume_session`](Self::resume_session) it is the new one that the broker keeps: of MQTT 5 only.
    #[must_use]
    pub fn start_anew(self) -> Self {
        Self { starts_anew: true, ..self }
    }

    /// Sets how long the broker keeps the session without a connection: a week unless set if it is to be
    /// [resumed](Self::resume_session), and otherwise five minutes, for nobody but this client would ask for it. Of MQTT 5
    /// only; in 3.x it is the broker's to decide.
    #[must_use]
    pub fn session_expiry(self, session_expiry: Duration) -> Self {
        Self { session_expiry: Some(session_expiry), ..self }
    }

    /// Sets after how long a silence the connection is checked: a minute unless set. Zero never checks.
    #[must_use]
    pub fn keep_alive(self, keep_alive: Duration) -> Self {
        Self { keep_alive, ..self }
    }

    /// Sets the message that the broker publishes when it loses the client.
    #[must_use]
    pub fn will(self, will: &Publish<'_>) -> Self {
        self.delayed_will(will, Duration::ZERO)
    }

    /// Sets the message that the broker publishes when the client has been gone for some time. MQTT 3.x has no delay.
    #[must_use]
    pub fn delayed_will(mut self, will: &Publish<'_>, delay: Duration) -> Self {
        let Ok(forwarded) = will.forwarded() else {
            return self.with_fault("a property of the will is not one that MQTT can carry");
        };
        if !is_valid_topic_name(will.topic) || will.payload.len() > BINARY_BYTES_MAX {
            return self.with_fault(
                "the will needs a topic without + and #, and a payload of at most 65535 bytes",
            );
        }
        self.will = Some(OwnedWill {
            topic: will.topic.to_owned(),
            payload: will.payload.to_owned(),
            qos: will.qos,
            retain: will.retain,
            delay_secs: secs(delay),
            expiry_secs: will.expiry.map(secs),
            forwarded,
        });
        self
    }

    /// Adds a property of the application's own to the CONNECT packet, of MQTT 5 only.
    #[must_use]
    pub fn user_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.user_properties.push((name.into(), value.into()));
        self
    }

    /// Sets how many messages at QoS 1 and 2 the broker may send before they are acknowledged: 1,000 unless set. MQTT
    /// 3.x brokers have a limit of their own.
    #[must_use]
    pub fn receive_maximum(self, receive_maximum: NonZeroU16) -> Self {
        Self { receive_maximum, ..self }
    }

    /// Sets the largest packet that the client accepts: 16 MiB unless set. A 3.x broker is not told, and is left when
    /// it sends a larger one.
    #[must_use]
    pub fn packet_bytes_max(self, packet_bytes_max: NonZeroU32) -> Self {
        Self { packet_bytes_max, ..self }
    }

    /// Sets how many topics the broker may abbreviate: 32 unless set.
    #[must_use]
    pub fn topic_alias_maximum(self, topic_alias_maximum: u16) -> Self {
        Self { topic_alias_maximum, ..self }
    }

    /// Sets how many messages may wait, and what becomes of one more.
    #[must_use]
    pub fn queue(self, queue: Queue) -> Self {
        Self { queue, ..self }
    }

    /// Keeps accepted messages in a file, so that they survive the process: a message is accepted when it is on the
    /// disk. The next process that is started with the same file and client id publishes what is left.
    ///
    /// Needs [`resume_session`](Self::resume_session), because QoS 2 is exact over a crash only as long as the broker
    /// keeps the session. The limits of the [queue](Self::queue) are the file's; it may take twice as much on the disk.
    #[must_use]
    pub fn queue_file(self, path: impl Into<PathBuf>) -> Self {
        Self { queue_file: Some(path.into()), ..self }
    }

    /// Sets how long one attempt to connect may take: ten seconds unless set.
    #[must_use]
    pub fn connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// Sets how long the broker may take to answer a PINGREQ: ten seconds unless set.
    #[must_use]
    pub fn ping_timeout(self, ping_timeout: Duration) -> Self {
        Self { ping_timeout, ..self }
    }

    /// Sets how long to wait between attempts to connect.
    #[must_use]
    pub fn backoff(self, backoff: Backoff) -> Self {
        Self { backoff, ..self }
    }

    /// Sets the proxy over which the client connects, but for sockets of this machine.
    #[must_use]
    pub fn proxy(self, proxy: Proxy) -> Self {
        Self { proxy: Some(proxy), ..self }
    }

    /// Sets the address of this machine that the client connects from. Without it the system chooses.
    #[must_use]
    pub fn local_address(self, address: IpAddr) -> Self {
        Self { local_address: Some(address), ..self }
    }

    /// Sets the client's part in an enhanced authentication, of MQTT 5 only.
    #[must_use]
    pub fn authenticator(self, authenticator: Arc<dyn Authenticator>) -> Self {
        Self { authenticator: Some(authenticator), ..self }
    }

    /// Sets whom the client trusts with `mqtts`, and with which certificate it shows who it is.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(self, tls: crate::Tls) -> Self {
        Self { tls, ..self }
    }

    fn with_fault(mut self, fault: &'static str) -> Self {
        self.fault.get_or_insert(fault);
        self
    }

    /// Completes the options with what `url` says, and with a client id.
    pub(crate) fn complete(mut self, url: &Url) -> Result<Self, StartError> {
        self.username = self.username.or_else(|| url.credentials.username.clone());
        self.password =
            self.password.or_else(|| url.credentials.password.clone().map(String::into_bytes));
        self.check().map_err(StartError::Options)?;
        self.client_id.get_or_insert_with(|| {
            // MQTT 3.1 allows 23 bytes.
            format!("quelea-{:012x}", Random::from_system().next() >> 16)
        });
        Ok(self)
    }

    fn check(&self) -> Result<(), &'static str> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if self.resumes_session && self.client_id.as_deref().unwrap_or_default().is_empty() {
            return Err(
                "a session that outlives the client needs Options::client_id: it is kept under that name",
            );
        }
        if self.resumes_session && self.starts_anew && !self.version.is_v5() {
            return Err("a session that is begun anew and outlives the client needs MQTT 5");
        }
        if self.client_id.as_deref() == Some("") {
            return Err("an empty client id is none: leave it out to have one made up");
        }
        let texts = self.user_properties.iter().flat_map(|(name, value)| [name, value]);
        let texts = texts.chain(&self.client_id).chain(&self.username);
        if !texts.into_iter().all(|it| is_valid_text(it)) {
            return Err(
                "client id, user name and properties have at most 65535 bytes, and no U+0000",
            );
        }
        if self.password.as_ref().is_some_and(|it| it.len() > BINARY_BYTES_MAX) {
            return Err("a password has at most 65535 bytes");
        }
        // v3.1.1 [MQTT-3.1.2-22]
        if self.password.is_some() && self.username.is_none() && !self.version.is_v5() {
            return Err("a password without a user name needs MQTT 5");
        }
        if self.authenticator.is_some() && !self.version.is_v5() {
            return Err("enhanced authentication needs MQTT 5");
        }
        if self.queue_file.is_some() && !self.resumes_session {
            return Err(
                "messages that survive the process need Options::resume_session: without the session a crash would \
                        publish some twice",
            );
        }
        if self.queue.messages_max == 0 || self.queue.bytes_max == 0 {
            return Err("a queue without room cannot publish anything");
        }
        Ok(())
    }

    /// Returns the client id.
    pub(crate) fn id(&self) -> &str {
        self.client_id.as_deref().unwrap_or_default()
    }

    /// Returns whether the session ends when the client closes.
    pub(crate) fn session_ends_with_client(&self) -> bool {
        !self.resumes_session
    }

    /// Calls `send` with the CONNECT of this client, whose id the broker may have assigned.
    pub(crate) fn with_connect(
        &self,
        client_id: &str,
        attempt: Attempt,
        authentication: Option<(&str, &[u8])>,
        send: impl FnOnce(&Connect<'_>),
    ) {
        let user_properties: Vec<(&str, &str)> =
            self.user_properties.iter().map(|(name, value)| (&**name, &**value)).collect();
        let is_v5 = self.version.is_v5();
        // A match on the version, because a session that outlives the connection is asked for in different ways: in
        // 3.x by Clean Session 0 in every CONNECT, in 5.0 by its expiry, and Clean Start is only about the past.
        let begins = !self.resumes_session || self.starts_anew;
        let clean_start = begins && (!is_v5 || attempt == Attempt::First);
        let default_expiry = if self.resumes_session { RESUMED_EXPIRY } else { OWN_EXPIRY };
        let expiry_secs = secs(self.session_expiry.unwrap_or(default_expiry));
        let connect = Connect {
            clean_start,
            keep_alive_secs: u16::try_from(
                self.keep_alive.as_secs().max(u64::from(!self.keep_alive.is_zero())),
            )
            .unwrap_or(u16::MAX),
            will: self.will.as_ref().map(OwnedWill::borrow),
            username: self.username.as_deref(),
            password: self.password.as_deref(),
            properties: ConnectProperties {
                session_expiry_secs: Some(expiry_secs).filter(|it| *it > 0),
                receive_maximum: Some(self.receive_maximum),
                packet_bytes_max: Some(self.packet_bytes_max),
                topic_alias_maximum: Some(self.topic_alias_maximum).filter(|it| *it > 0),
                authentication_method: authentication.map(|(method, _)| method),
                authentication_data: authentication
                    .map(|(_, data)| data)
                    .filter(|it| !it.is_empty()),
                user_properties: UserProperties::from_pairs(&user_properties),
                ..ConnectProperties::default()
            },
            ..Connect::new(self.version, client_id)
        };
        send(&connect);
    }
}

/// Which connection of a client it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// None has been accepted so far.
    First,
    /// One has.
    Later,
}

impl OwnedWill {
    fn borrow(&self) -> quelea_codec::Will<'_> {
        quelea_codec::Will {
            qos: self.qos,
            retain: self.retain,
            topic: &self.topic,
            payload: &self.payload,
            delay_secs: self.delay_secs,
            properties: PublishProperties {
                message_expiry_secs: self.expiry_secs,
                ..PublishProperties::from_forwarded(&self.forwarded)
            },
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for Queue {
    /// 10,000 messages of 64 MiB together, then publishing waits.
    fn default() -> Self {
        Self {
            messages_max: 10_000,
            bytes_max: 64 * 1024 * 1024,
            overflow: QueueOverflow::default(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the password nor the will.
        f.debug_struct("Options")
            .field("version", &self.version)
            .field("client_id", &self.client_id)
            .field("resumes_session", &self.resumes_session)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

/// Returns whole seconds, as MQTT has them: the next longer time. `u32::MAX` is for ever.
pub(crate) fn secs(duration: Duration) -> u32 {
    let secs = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    u32::try_from(secs).unwrap_or(u32::MAX)
}

/// How long a session waits for the next process of a client.
const RESUMED_EXPIRY: Duration = Duration::from_secs(7 * 24 * 3_600);

/// How long one waits for the next connection of a client that has no successor.
const OWN_EXPIRY: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    /// [Q5-4.7.0-1] v3.1.1 [Q4-4.7.1-1]
    #[test]
    fn what_contradicts_itself_is_refused_with_advice() {
        let v311 = || Options::new().version(Version::V311);
        for (options, advice) in [
            (Options::new().resume_session(), "client_id"),
            (Options::new().client_id(""), "leave it out"),
            (Options::new().client_id("a\0"), "65535"),
            (Options::new().will(&Publish::new("a/+", "")), "will"),
            (Options::new().queue(Queue { messages_max: 0, ..Queue::default() }), "queue"),
        ] {
            let error = complete(options).expect_err(advice);
            assert!(error.to_string().contains(advice), "{error}");
        }
        complete(v311().client_id("c").resume_session()).unwrap();
    }

    #[test]
    fn options_win_over_the_address() {
        let url = Url::parse("mqtt://user:one@host").unwrap();
        let options = Options::new().complete(&url).unwrap();
        assert_eq!(options.username.as_deref(), Some("user"));
        let options = Options::new().credentials("other", "two").complete(&url).unwrap();
        assert_eq!(options.username.as_deref(), Some("other"));
    }

    /// [MQTT-3.1.2-4]
    #[test]
    fn a_session_is_begun_once() {
        for (version, resumes, attempt, clean) in [
            (Version::V5, false, Attempt::First, true),
            (Version::V5, false, Attempt::Later, false),
            (Version::V5, true, Attempt::First, false),
            (Version::V311, false, Attempt::First, true),
            (Version::V311, false, Attempt::Later, true),
            (Version::V311, true, Attempt::First, false),
        ] {
            let mut options = Options::new().version(version).client_id("c");
            options.resumes_session = resumes;
            options.with_connect("c", attempt, None, |connect| {
                assert_eq!(connect.clean_start, clean, "{version:?} {resumes} {attempt:?}");
            });
        }
    }

    /// v3.1.1 [MQTT-3.1.3-7] [Q3-3.1-1]
    #[test]
    fn generated_ids_fit_every_version() {
        let [first, second] = [(); 2].map(|()| complete(Options::new()).unwrap());
        assert!(first.id().len() <= 23);
        assert_ne!(first.id(), second.id());
    }

    fn complete(options: Options) -> Result<Options, StartError> {
        options.complete(&Url::parse("mqtt://host").unwrap())
    }
}
