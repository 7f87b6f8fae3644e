//! The flags of a client's connection, and what they make of the client library's options.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgAction, Args};
use quelea_client::{Client, Options, Proxy, Publish, QoS, Queue, Scram, Tls, Version};
use quelea_codec::{check_topic_filter, is_valid_topic_name};

use crate::address::Address;
use crate::failure::Failure;
use crate::properties::Properties;
use crate::trouble;
use crate::watch::{OnLoss, Tells, Watch};
use crate::way::TlsArgs;

/// How to connect to a broker. The flags are those of Mosquitto's clients.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArgs {
    /// The broker's host name or address, or HOST:PORT; or a URL, as mqtts://HOST[:PORT] or wss://HOST[:PORT]/PATH.
    #[arg(short = 'h', long, value_name = "HOST", default_value = "localhost")]
    host: String,

    /// The broker's port. [default: 1883, with TLS 8883, for ws:// 80, for wss:// 443]
    #[arg(short, long)]
    port: Option<u16>,

    /// All at once: mqtt(s)://[USER[:PASSWORD]@]HOST[:PORT]/TOPIC.
    #[arg(short = 'L', long, value_name = "URL", conflicts_with_all = ["host", "port", "unix"])]
    url: Option<String>,

    /// Connects to a Unix socket of this machine.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["host", "port"])]
    unix: Option<PathBuf>,

    /// Connects over a proxy: socks5h://[USER[:PASSWORD]@]HOST[:PORT], or http://….
    #[arg(long, value_name = "URL", value_parser = proxy)]
    proxy: Option<Proxy>,

    /// Connects from this address of this machine.
    #[arg(short = 'A', long, value_name = "ADDRESS")]
    bind_address: Option<String>,

    /// The protocol version: mqttv5, mqttv311 or mqttv31, or just 5, 311 or 31. [default: mqttv311; mqttv5 with -D,
    /// and for rr]
    #[arg(short = 'V', long, value_name = "VERSION", value_parser = version)]
    protocol_version: Option<Version>,

    /// The client id. By default one that nobody else has.
    #[arg(short, long, value_name = "ID")]
    id: Option<String>,

    /// A client id of this and the number of the process.
    #[arg(short = 'I', long, value_name = "PREFIX", conflicts_with = "id")]
    id_prefix: Option<String>,

    /// The user name.
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,

    /// The password, which others on this machine may see: --pw-file hides it.
    #[arg(short = 'P', long, value_name = "PASSWORD", allow_hyphen_values = true)]
    pw: Option<String>,

    /// The file whose first line is the password; - for standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "pw")]
    pw_file: Option<PathBuf>,

    /// Authenticates by SCRAM-SHA-256, by which the password does not travel. Needs MQTT 5.
    #[arg(long, requires = "username")]
    scram: bool,

    /// Keep alive: seconds after which a silent connection is checked. 0 never checks.
    #[arg(short, long, value_name = "SECS", default_value_t = 60)]
    keepalive: u16,

    /// Keeps the session of this client id, and goes on with it if there is one.
    #[arg(short = 'c', long)]
    disable_clean_session: bool,

    /// MQTT 5: seconds that the session outlives the connection; -1 for ever. [default: for ever with -c, else 0]
    #[arg(short = 'x', long, value_name = "SECS", allow_hyphen_values = true, value_parser = session_expiry)]
    session_expiry_interval: Option<u32>,

    /// Ends when the connection is lost, with exit code 7, instead of connecting again.
    #[arg(long)]
    no_reconnect: bool,

    /// A property of MQTT 5: -D connect|publish|will PROPERTY VALUE, or -D … user-property NAME VALUE. May be repeated.
    #[arg(short = 'D', long = "property", num_args = 3..=4, value_names = ["PACKET", "PROPERTY", "VALUE"], action = ArgAction::Append)]
    properties: Vec<String>,

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

    /// Takes flags from this file, one a line, before those that are given. [default: ~/.config/quelea/COMMAND, or else
    /// ~/.config/mosquitto_COMMAND]
    // `options_file` has read it.
    #[arg(short = 'o', long, value_name = "FILE", help_heading = "Options")]
    options_file: Option<PathBuf>,

    /// Says on standard error what happens.
    #[arg(short, long, help_heading = "Options")]
    debug: bool,

    /// Says nothing on standard error, but of wrong usage.
    #[arg(long, conflicts_with = "debug", help_heading = "Options")]
    quiet: bool,

    /// Packets leave at once; they always do.
    #[arg(long, hide = true)]
    nodelay: bool,

    #[command(flatten)]
    absent: AbsentArgs,

    /// Prints this help.
    // `-h` is the host, as it is for Mosquitto's clients.
    #[arg(long, action = ArgAction::Help, help_heading = "Options")]
    help: Option<bool>,
}

/// Flags of Mosquitto's clients that are understood, only to say why there is nothing behind them.
#[derive(Clone, Debug, Args)]
struct AbsentArgs {
    #[arg(short = 'S', hide = true)]
    srv: bool,
    #[arg(long, hide = true, value_name = "LIST")]
    ciphers: Option<String>,
    #[arg(long, hide = true, value_name = "FORM")]
    keyform: Option<String>,
    #[arg(long, hide = true, value_name = "KEY")]
    psk: Option<String>,
    #[arg(long, hide = true, value_name = "IDENTITY")]
    psk_identity: Option<String>,
    #[arg(long, hide = true, value_name = "ENGINE")]
    tls_engine: Option<String>,
    #[arg(long, hide = true, value_name = "SHA1")]
    tls_engine_kpass_sha1: Option<String>,
}

/// A client that is ready to be started.
pub(crate) struct Connection {
    address: Address,
    options: Options,
    version: Version,
    tells: Tells,
    on_loss: OnLoss,
    pub(crate) properties: Properties,
}

/// What a client does, in its id and by its defaults.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Role {
    pub(crate) name: &'static str,
    pub(crate) version: Version,
}

impl ConnectionArgs {
    /// Checks the flags, and makes a client's options of them.
    pub(crate) fn prepare(&self, role: Role) -> Result<Connection, Failure> {
        self.absent.check()?;
        let properties = self.properties()?;
        let needs_v5 = !self.properties.is_empty() || self.scram;
        let default = if needs_v5 { Version::V5 } else { role.version };
        let version = self.protocol_version.unwrap_or(default);
        if needs_v5 && !version.is_v5() {
            return Err(Failure::usage("-D and --scram need MQTT 5: leave out -V, or write -V 5"));
        }
        if self.session_expiry_interval.is_some() && !version.is_v5() {
            return Err(Failure::usage("-x needs MQTT 5: add -V 5"));
        }
        let address = match (&self.url, &self.unix) {
            (Some(url), _) => Address::of_url(url, &self.tls)?,
            (None, Some(path)) => Address::of_unix(path)?,
            (None, None) => Address::of_host(&self.host, self.port, &self.tls)?,
        };
        let options = Options::new()
            .version(version)
            .keep_alive(secs(self.keepalive.into()))
            .connect_timeout(CONNECT_TIME_MAX);
        let options = properties.connect.apply(options);
        let options = self.identify(options, &address, role.name)?;
        let options = self.keep_session(options, &properties)?;
        let options = self.leave_will(options, &properties)?;
        let options = self.choose_way(options, &address)?;
        let tells = match (self.quiet, self.debug) {
            (true, _) => Tells::Nothing,
            (false, true) => Tells::Everything,
            (false, false) => Tells::Troubles,
        };
        let on_loss = if self.no_reconnect { OnLoss::End } else { OnLoss::Reconnect };
        Ok(Connection { address, options, version, tells, on_loss, properties })
    }

    /// Returns the flags with another broker: a host, `HOST:PORT` or a URL.
    pub(crate) fn at(mut self, broker: &str) -> Self {
        broker.clone_into(&mut self.host);
        self
    }

    /// Returns a failure as it is to be told.
    pub(crate) fn tell(&self, failure: Failure) -> Failure {
        if self.quiet { failure.silenced() } else { failure }
    }

    /// Takes the values of all `-D` apart: each begins with the name of a packet, and has three or four.
    fn properties(&self) -> Result<Properties, Failure> {
        let mut flags: Vec<Vec<String>> = Vec::new();
        for word in &self.properties {
            match flags.last_mut() {
                Some(words) if words.len() < 3 || words.len() < wanted(words) => {
                    words.push(word.clone());
                }
                _ => flags.push(vec![word.clone()]),
            }
        }
        Properties::read(&flags)
    }

    fn identify(
        &self,
        mut options: Options,
        address: &Address,
        role: &str,
    ) -> Result<Options, Failure> {
        let id = match (&self.id, &self.id_prefix) {
            (Some(id), _) if !id.is_empty() => id.clone(),
            (_, Some(prefix)) => format!("{prefix}{}", process::id()),
            (_, None) => unique_id(role),
        };
        options = options.client_id(id);
        let password = match &self.pw_file {
            Some(file) => Some(password_of(file)?),
            None => self.pw.clone(),
        };
        let username = self.username.clone().or_else(|| address.username.clone());
        let password = password.or_else(|| address.password.clone());
        if self.scram {
            let (Some(username), Some(password)) = (username, password) else {
                return Err(Failure::usage("--scram needs a user name and a password: -u and -P"));
            };
            return Ok(options.authenticator(Arc::new(
                Scram::new(&username, &password).map_err(Failure::usage)?,
            )));
        }
        if let Some(username) = username {
            options = options.username(username);
        }
        if let Some(password) = password {
            options = options.password(password);
        }
        Ok(options)
    }

    fn keep_session(&self, options: Options, properties: &Properties) -> Result<Options, Failure> {
        let expiry = self.session_expiry_interval.or(properties.connect.session_expiry_secs);
        let names_itself =
            self.id_prefix.is_some() || self.id.as_deref().is_some_and(|id| !id.is_empty());
        if !names_itself && (self.disable_clean_session || expiry == Some(u32::MAX)) {
            return Err(Failure::usage(
                "a session that is kept needs a name to be found again: add -i (--id)",
            ));
        }
        let for_ever = secs(u32::MAX.into());
        Ok(match (self.disable_clean_session, expiry) {
            (false, None | Some(0)) => options,
            (false, Some(expiry)) => {
                options.resume_session().start_anew().session_expiry(secs(expiry.into()))
            }
            (true, expiry) => options
                .resume_session()
                .session_expiry(expiry.map_or(for_ever, |it| secs(it.into()))),
        })
    }

    fn leave_will(&self, options: Options, properties: &Properties) -> Result<Options, Failure> {
        let Some(topic) = &self.will_topic else {
            if !properties.will.is_empty() {
                return Err(Failure::usage("-D will needs a will: add --will-topic"));
            }
            return Ok(options);
        };
        check_topic(topic)?;
        let payload = self.will_payload.as_deref().unwrap_or_default();
        let mut will = properties.will.apply(Publish::new(topic, payload).qos(self.will_qos));
        if self.will_retain {
            will = will.retain();
        }
        Ok(options.delayed_will(&will, secs(properties.will.delay_secs.into())))
    }

    fn choose_way(&self, mut options: Options, address: &Address) -> Result<Options, Failure> {
        if let Some(config) = &address.tls {
            options = options.tls(Tls::new().rustls(Arc::clone(config)));
        }
        if let Some(proxy) = &self.proxy {
            options = options.proxy(proxy.clone());
        }
        if let Some(name) = &self.bind_address {
            options = options.local_address(local_address(name)?);
        }
        Ok(options)
    }
}

impl AbsentArgs {
    fn check(&self) -> Result<(), Failure> {
        let absent = [
            (self.srv, "-S", "no DNS SRV records are looked up: -h names the host"),
            (
                self.ciphers.is_some(),
                "--ciphers",
                "the cipher suites are those that are safe: --tls-version narrows them",
            ),
            (
                self.psk.is_some() || self.psk_identity.is_some(),
                "--psk",
                "TLS goes by certificates: --cafile, --cert and --key",
            ),
            (
                self.keyform.is_some()
                    || self.tls_engine.is_some()
                    || self.tls_engine_kpass_sha1.is_some(),
                "--tls-engine",
                "keys are read from PEM files: --key",
            ),
        ];
        match absent.iter().find(|it| it.0) {
            Some((_, flag, why)) => Err(Failure::usage(format!("there is no {flag}: {why}"))),
            None => Ok(()),
        }
    }
}

impl Connection {
    /// Starts the client; `prepare` may take up its streams before anything can come.
    pub(crate) fn start(self) -> Result<(Client, Watch), Failure> {
        let Self { address, options, version, tells, on_loss, .. } = self;
        let client =
            Client::start(&address.url, options).map_err(|it| trouble::not_started(&it))?;
        let watch = Watch::new(&client, &address.place, version, tells, on_loss)?;
        Ok((client, watch))
    }

    /// Returns the topic that a URL has named.
    pub(crate) fn topic(&self) -> Option<&str> {
        self.address.topic.as_deref()
    }

    /// Sets how many messages may be accepted and not acknowledged.
    pub(crate) fn limit_queue(&mut self, messages_max: usize) {
        let queue = Queue { messages_max, ..Queue::default() };
        self.options = self.options.clone().queue(queue);
    }

    /// Says nothing on standard error, where the screen is.
    pub(crate) fn silenced(self) -> Self {
        Self { tells: Tells::Nothing, ..self }
    }

    /// Returns where the broker is, for people.
    pub(crate) fn place(&self) -> &str {
        &self.address.place
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.tells == Tells::Nothing
    }
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

/// Checks a topic filter.
pub(crate) fn check_filter(filter: &str) -> Result<(), Failure> {
    match check_topic_filter(filter) {
        Ok(_) => Ok(()),
        Err(_) => Err(Failure::usage(format!(
            "\"{filter}\" is no topic filter: it must not be empty nor longer than 65,535 bytes, + must fill a level, \
             and # the last one"
        ))),
    }
}

/// Reads a QoS.
pub(crate) fn qos(text: &str) -> Result<QoS, String> {
    text.parse().ok().and_then(QoS::from_byte).ok_or_else(|| "QoS is 0, 1 or 2".to_owned())
}

/// Returns how many values a `-D` has that begins with these.
fn wanted(words: &[String]) -> usize {
    if words.get(1).is_some_and(|name| name == "user-property") { 4 } else { 3 }
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

fn proxy(text: &str) -> Result<Proxy, String> {
    Proxy::new(text).map_err(|error| error.to_string())
}

/// Returns an address of this machine, which may have a name.
fn local_address(name: &str) -> Result<IpAddr, Failure> {
    let found = (name, 0).to_socket_addrs().ok().and_then(|mut it| it.next());
    let found = found.ok_or_else(|| Failure::usage(format!("-A: {name} has no address")))?;
    Ok(found.ip())
}

/// Returns the password of a file: its first line.
pub(crate) fn password_of(file: &Path) -> Result<String, Failure> {
    let text = if file.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        fs::read_to_string(file)
    };
    let text = text.map_err(|error| {
        Failure::usage(format!("cannot read the password from {}: {error}", file.display()))
    })?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// How long a broker may take to accept. Those that wait for something else than MQTT mostly give up before, and so say
/// more than silence does.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(30);

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
