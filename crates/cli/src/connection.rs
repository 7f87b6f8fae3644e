//! The flags of a client's connection, and the handshake that they ask for.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::time::Instant;

use clap::{ArgAction, Args};
use quelea_codec::{
    ConnAck, Connect, ConnectProperties, Packet, QoS, ReasonCode, Version, Will,
    is_valid_topic_name,
};

use crate::failure::{CONNECTION_LOST, Failure, TIMED_OUT};
use crate::link::{ANSWER_TIME_MAX, Link, LinkError, Reason};
use crate::way::{Resume, TlsArgs, Way};

/// How to connect to a broker. The flags are those of Mosquitto's clients.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArgs {
    /// The broker's host name or address; or a URL, as mqtts://HOST[:PORT] or wss://HOST[:PORT]/PATH.
    #[arg(short = 'h', long, value_name = "HOST", default_value = "localhost")]
    host: String,

    /// The broker's port. [default: 1883, with TLS 8883, for ws:// 80, for wss:// 443]
    #[arg(short, long)]
    port: Option<u16>,

    /// The protocol version: mqttv5, mqttv311 or mqttv31, or just 5, 311 or 31.
    #[arg(short = 'V', long, value_name = "VERSION", default_value = "mqttv311", value_parser = version)]
    protocol_version: Version,

    /// The client id. By default one that nobody else has.
    #[arg(short, long, value_name = "ID")]
    id: Option<String>,

    /// The user name.
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,

    /// The password.
    #[arg(short = 'P', long, value_name = "PASSWORD", allow_hyphen_values = true)]
    pw: Option<String>,

    /// Keep alive: seconds after which a silent connection is checked. 0 never checks.
    #[arg(short, long, value_name = "SECS", default_value_t = 60)]
    keepalive: u16,

    /// Keeps the session of this client id, and goes on with it if there is one.
    #[arg(short = 'c', long, requires = "id")]
    disable_clean_session: bool,

    /// MQTT 5: seconds that the session outlives the connection; -1 for ever. [default: for ever with -c, else 0]
    #[arg(short = 'x', long, value_name = "SECS", allow_hyphen_values = true, value_parser = session_expiry)]
    session_expiry_interval: Option<u32>,

    /// The topic of the will, which the broker publishes when this client is lost.
    #[arg(long, value_name = "TOPIC", help_heading = "Will")]
    will_topic: Option<String>,

    /// The message of the will; empty by default.
    #[arg(
        long,
        value_name = "MESSAGE",
        requires = "will_topic",
        allow_hyphen_values = true,
        help_heading = "Will"
    )]
    will_payload: Option<String>,

    /// The QoS of the will.
    #[arg(long, value_name = "QOS", requires = "will_topic", default_value = "0", value_parser = qos, help_heading = "Will")]
    will_qos: QoS,

    /// Whether the will is retained.
    #[arg(long, requires = "will_topic", help_heading = "Will")]
    will_retain: bool,

    #[command(flatten)]
    tls: TlsArgs,

    /// Prints this help.
    // `-h` is the host, as it is for Mosquitto's clients.
    #[arg(long, action = ArgAction::Help, help_heading = "Options")]
    help: Option<bool>,
}

impl ConnectionArgs {
    /// Connects, and has the broker accept this client, before `until` if that is given.
    pub(crate) fn open(&self, role: &str, until: Option<Instant>) -> Result<Link, Failure> {
        self.check()?;
        let version = self.protocol_version;
        let way = Way::new(&self.host, self.port, &self.tls, Resume::Offered)?;
        let mut link =
            Link::connect(&way, version).map_err(|error| cannot_connect(&way, &error))?;
        let client_id = self.id.clone().unwrap_or_else(|| unique_id(role));
        link.send(&Packet::Connect(self.connect(&client_id))).map_err(lost)?;
        let patience = Instant::now() + ANSWER_TIME_MAX;
        let answer = link.receive(Some(until.map_or(patience, |until| until.min(patience))));
        let keep_alive_secs = match answer {
            Ok(Some(Packet::ConnAck(answer))) => accepted(&answer, version, self.keepalive)?,
            Ok(Some(packet)) => {
                let name = packet.kind().name();
                return Err(Failure::new(format!("the broker answered CONNECT with {name}")));
            }
            Ok(None) if until.is_some_and(|until| until <= Instant::now()) => {
                return Err(timed_out());
            }
            Ok(None) => {
                return Err(Failure::new("the broker accepts connections but does not answer"));
            }
            Err(error) => return Err(self.refused_without_answer(&error)),
        };
        link.set_keep_alive(keep_alive_secs);
        Ok(link)
    }

    fn check(&self) -> Result<(), Failure> {
        if self.session_expiry_interval.is_some() && !self.protocol_version.is_v5() {
            return Err(Failure::usage("-x needs MQTT 5: add -V 5"));
        }
        // MQTT 3.x has no way to write it.
        if self.pw.is_some() && self.username.is_none() && !self.protocol_version.is_v5() {
            return Err(Failure::usage(
                "a password without a user name needs MQTT 5: add -u NAME or -V 5",
            ));
        }
        match &self.will_topic {
            Some(topic) => check_topic(topic),
            None => Ok(()),
        }
    }

    fn connect<'a>(&'a self, client_id: &'a str) -> Connect<'a> {
        let never = self.disable_clean_session.then_some(u32::MAX);
        let session_expiry_secs = self.session_expiry_interval.or(never);
        Connect {
            clean_start: !self.disable_clean_session,
            keep_alive_secs: self.keepalive,
            will: self.will_topic.as_deref().map(|topic| Will {
                qos: self.will_qos,
                retain: self.will_retain,
                topic,
                payload: self.will_payload.as_deref().unwrap_or_default().as_bytes(),
                ..Will::default()
            }),
            username: self.username.as_deref(),
            password: self.pw.as_deref().map(str::as_bytes),
            properties: ConnectProperties { session_expiry_secs, ..ConnectProperties::default() },
            ..Connect::new(self.protocol_version, client_id)
        }
    }

    /// Brokers close at a version that they do not speak, or say so in a form of another version.
    fn refused_without_answer(&self, error: &LinkError) -> Failure {
        let hint = match (self.protocol_version, error) {
            (Version::V5, LinkError::Closed | LinkError::Malformed(_)) => {
                "; if it does not speak MQTT 5, try -V 311"
            }
            (Version::V31, LinkError::Closed) => "; if it does not speak MQTT 3.1, try -V 311",
            _ => "",
        };
        Failure::new(format!("not connected: {error}{hint}")).with_code(CONNECTION_LOST)
    }
}

/// Returns the keep alive to use, if the broker accepts.
fn accepted(answer: &ConnAck<'_>, version: Version, keep_alive_secs: u16) -> Result<u16, Failure> {
    let reason = answer.reason;
    if reason == ReasonCode::SUCCESS {
        return Ok(answer.properties.server_keep_alive_secs.unwrap_or(keep_alive_secs));
    }
    let hint = match reason {
        ReasonCode::BAD_USER_NAME_OR_PASSWORD | ReasonCode::NOT_AUTHORIZED => {
            "; -u and -P give user name and password"
        }
        ReasonCode::UNSUPPORTED_PROTOCOL_VERSION => "; -V names another version",
        ReasonCode::CLIENT_IDENTIFIER_NOT_VALID => "; -i gives another client id",
        _ => "",
    };
    let reason_text = Reason(reason, answer.properties.reason_string);
    // The exit code is the code of the wire, as it is for Mosquitto's clients.
    let code = if version.is_v5() { Some(reason.0) } else { reason.to_v3_connack() };
    Err(Failure::new(format!("the broker refuses the connection: {reason_text}{hint}"))
        .with_code(code.unwrap_or(1)))
}

fn cannot_connect(way: &Way, error: &io::Error) -> Failure {
    // What is no failure of the system is one of TLS or WebSocket: somebody is there.
    if error.kind() == io::ErrorKind::InvalidData {
        return Failure::new(format!("cannot connect to {way}: {error}"));
    }
    Failure::new(format!(
        "cannot connect to {way}: {error}. Is a broker running there? `quelea serve` starts one here, and -h and -p say \
         where another is"
    ))
}

/// The failure of a connection that was there.
pub(crate) fn lost(error: LinkError) -> Failure {
    Failure::new(error).with_code(CONNECTION_LOST)
}

/// The failure of a client whose time is over.
pub(crate) fn timed_out() -> Failure {
    Failure::new("timed out").with_code(TIMED_OUT)
}

/// Checks a topic to publish to.
pub(crate) fn check_topic(topic: &str) -> Result<(), Failure> {
    if is_valid_topic_name(topic) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "\"{topic}\" is no topic to publish to: it must not be empty, nor have + or #, nor be longer than 65,535 bytes"
    )))
}

/// Reads a QoS.
pub(crate) fn qos(text: &str) -> Result<QoS, String> {
    text.parse().ok().and_then(QoS::from_byte).ok_or_else(|| "QoS is 0, 1 or 2".to_owned())
}

fn version(text: &str) -> Result<Version, String> {
    match text {
        "mqttv5" | "5" | "5.0" => Ok(Version::V5),
        "mqttv311" | "311" | "3.1.1" => Ok(Version::V311),
        "mqttv31" | "31" | "3.1" => Ok(Version::V31),
        _ => Err("the versions are mqttv5, mqttv311 and mqttv31".to_owned()),
    }
}

fn session_expiry(text: &str) -> Result<u32, String> {
    match text {
        "-1" | "never" | "∞" => Ok(u32::MAX),
        _ => text.parse().map_err(|_| {
            "write a number of seconds, or -1 for a session that never expires".to_owned()
        }),
    }
}

/// Makes a client id: at most 23 bytes, which MQTT 3.1 asks for.
fn unique_id(role: &str) -> String {
    let random = RandomState::new().build_hasher().finish();
    format!("quelea-{role}-{:012x}", random >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_mosquitto_reads_them() {
        let read = |words: [&str; 3]| words.map(|word| version(word).expect(word));
        assert_eq!(read(["mqttv31", "31", "3.1"]), [Version::V31; 3]);
        assert_eq!(read(["mqttv311", "311", "3.1.1"]), [Version::V311; 3]);
        assert_eq!(read(["mqttv5", "5", "5.0"]), [Version::V5; 3]);
        version("4").expect_err("there is no such version");
    }

    #[test]
    fn session_expiry_may_be_never() {
        let read = |words: [&str; 4]| words.map(|word| session_expiry(word).expect(word));
        assert_eq!(read(["-1", "never", "∞", "4294967295"]), [u32::MAX; 4]);
        assert_eq!(session_expiry("60"), Ok(60));
        session_expiry("-2").expect_err("this is no time");
        session_expiry("4294967296").expect_err("this is too long");
    }

    /// MQTT 3.1 allows 23 bytes.
    #[test]
    fn client_ids_are_short_and_differ() {
        let (first, second) = (unique_id("pub"), unique_id("pub"));
        assert!(first.len() <= 23, "{first}");
        assert_ne!(first, second);
    }
}
